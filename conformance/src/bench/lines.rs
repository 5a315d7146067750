//! How a time grows, as a picture: a line for each contender over the sizes.

use std::fmt::Write;

use super::plot::{STYLE, escaped, step};
use super::report::summary;
use super::{Group, Table};

/// Pixels of the whole picture, and where the lines are in it.
const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 380.0;
const LEFT: f64 = 60.0;
const RIGHT: f64 = 560.0;
const TOP: f64 = 44.0;
const BOTTOM: f64 = 312.0;
/// Pixels between two names beside the ends of lines.
const NAME: f64 = 15.0;

/// What the lines add to the style of all pictures.
const LINES: &str = "\
polyline{fill:none;stroke:#9aa7b4;stroke-width:2}.l{stroke:#2f81d6}.f{stroke-dasharray:4 4}circle{fill:#59636e}\
@media(prefers-color-scheme:dark){polyline{stroke:#656c76}.l{stroke:#4493f8}circle{fill:#9198a1}}";

/// A contender's line: the first quartile of each size at which it could be measured.
struct Line<'a> {
    name: &'a str,
    points: Vec<(usize, f64)>,
}

fn lines(group: &Group) -> Vec<Line<'_>> {
    let mut lines: Vec<Line> = Vec::new();
    for (at, table) in group.tables.iter().enumerate() {
        for series in &table.series {
            let time = summary(series).quartile;
            match lines.iter_mut().find(|line| line.name == series.name) {
                Some(line) => line.points.push((at, time)),
                None => lines.push(Line { name: &series.name, points: vec![(at, time)] }),
            }
        }
    }
    lines
}

#[allow(clippy::cast_precision_loss, reason = "there are a handful of sizes")]
fn x(at: usize, tables: &[Table]) -> f64 {
    LEFT + 20.0 + (RIGHT - LEFT - 40.0) * at as f64 / (tables.len().max(2) - 1) as f64
}

fn grid(out: &mut String, limit: f64, y: impl Fn(f64) -> f64) {
    let step = step(limit);
    let mut time = 0.0;
    while time <= limit * 1.001 {
        let at = y(time);
        let _ = write!(
            out,
            "<line class=\"grid\" x1=\"{LEFT}\" y1=\"{at:.1}\" x2=\"{RIGHT}\" y2=\"{at:.1}\"/>\
             <text class=\"s e\" x=\"{:.1}\" y=\"{:.1}\">{}</text>",
            LEFT - 8.0,
            at + 4.0,
            (time * 1000.0).round() / 1000.0
        );
        time += step;
    }
}

/// The names at the right, beside the ends of their lines, none upon another.
fn names(out: &mut String, lines: &[Line], y: impl Fn(f64) -> f64) {
    let mut ends: Vec<(f64, &str)> =
        lines.iter().filter_map(|line| Some((y(line.points.last()?.1), line.name))).collect();
    ends.sort_by(|one, other| one.0.total_cmp(&other.0));
    // From below, each as low as it wants or just above the one before.
    let mut free = BOTTOM + NAME;
    for (end, name) in ends.into_iter().rev() {
        let at = end.min(free);
        free = at - NAME;
        let _ =
            writeln!(out, "<text x=\"{:.1}\" y=\"{:.1}\">{}</text>", RIGHT + 8.0, at + 4.5, escaped(name));
    }
}

/// All sizes of a group.
pub fn svg(title: &str, group: &Group) -> String {
    let lines = lines(group);
    let times = lines.iter().flat_map(|line| &line.points).map(|point| point.1);
    let most = times.filter(|time| time.is_finite()).fold(0.0_f64, f64::max).max(0.001);
    let limit = (most / step(most)).ceil() * step(most);
    let y = |time: f64| BOTTOM - (BOTTOM - TOP) * time / limit;
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\">\n\
         <title>{0}</title><style>{STYLE}{LINES}</style>\n\
         <rect class=\"bg\" width=\"{WIDTH}\" height=\"{HEIGHT}\"/>\
         <text class=\"h\" x=\"16\" y=\"22\">{0}</text>\n",
        escaped(title)
    );
    grid(&mut out, limit, y);
    for (at, size) in group.sizes.iter().enumerate() {
        let _ = writeln!(
            out,
            "<text class=\"s m\" x=\"{:.1}\" y=\"{:.1}\">{}</text>",
            x(at, &group.tables),
            BOTTOM + 18.0,
            escaped(size)
        );
    }
    for line in &lines {
        let class = match line.name {
            name if name.starts_with("orlop") => "l",
            "floor" => "f",
            _ => "p",
        };
        let points: Vec<(f64, f64)> =
            line.points.iter().map(|(at, time)| (x(*at, &group.tables), y(*time))).collect();
        let path: Vec<String> = points.iter().map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
        let _ = write!(out, "<polyline class=\"{class}\" points=\"{}\"/>", path.join(" "));
        for (x, y) in points {
            let _ = write!(out, "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3\"/>");
        }
        out.push('\n');
    }
    names(&mut out, &lines, y);
    let _ = writeln!(
        out,
        "<text class=\"s m\" x=\"{:.1}\" y=\"{:.1}\">milliseconds of wall time, first quartiles; less is better</text>\n</svg>",
        f64::midpoint(LEFT, RIGHT),
        BOTTOM + 46.0
    );
    out
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::options::Operation;
    use super::super::{Group, Series, Table};
    use super::svg;

    fn group(times: &[&[(&str, u64)]]) -> Group {
        let table = |times: &&[(&str, u64)]| {
            let mut table = Table::new(Operation::Run, "plain");
            table.series.extend(times.iter().map(|(name, time)| Series {
                name: (*name).to_owned(),
                times: vec![Duration::from_millis(*time)],
                counts: None,
            }));
            table
        };
        Group {
            file: "mounts",
            title: "mounts",
            prose: "",
            sizes: times.iter().map(|one| one.len().to_string()).collect(),
            tables: times.iter().map(table).collect(),
        }
    }

    /// The heights of the points of the first line of a class.
    fn heights(picture: &str, class: &str) -> Vec<f64> {
        let line = picture.split(&format!("polyline class=\"{class}\" points=\"")).nth(1).unwrap();
        let points = line.split('"').next().unwrap().split(' ');
        points.map(|point| point.split(',').nth(1).unwrap().parse().unwrap()).collect()
    }

    #[test]
    fn what_takes_longer_is_higher() {
        let picture = svg("m", &group(&[&[("orlop", 5), ("runc", 20)], &[("orlop", 5), ("runc", 40)]]));
        let (own, other) = (heights(&picture, "l"), heights(&picture, "p"));
        assert!((own[0] - own[1]).abs() < 0.01, "{own:?}");
        assert!(other[0] > other[1] && other[0] < own[0], "{other:?}");
        assert!(other[1] >= super::TOP, "{other:?}");
    }

    #[test]
    fn names_do_not_lie_upon_each_other() {
        let picture = svg("m", &group(&[&[("orlop", 5), ("a", 5), ("b", 5), ("c", 400)]]));
        let start = format!("<text x=\"{:.1}\" y=\"", super::RIGHT + 8.0);
        let mut at: Vec<f64> = picture
            .split(&start)
            .skip(1)
            .map(|part| part.split('"').next().unwrap().parse().unwrap())
            .collect();
        at.sort_by(f64::total_cmp);
        assert_eq!(at.len(), 4, "{picture}");
        assert!(at.windows(2).all(|pair| pair[1] - pair[0] >= super::NAME - 0.2), "{at:?}");
    }

    #[test]
    fn a_picture_of_nothing_has_numbers_only() {
        let picture = svg("m", &group(&[&[], &[]]));
        assert!(!picture.contains("NaN") && !picture.contains("inf"), "{picture}");
    }
}
