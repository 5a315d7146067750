//! The figures as pictures: SVG that needs no script and reads on a light page and a dark one.

use std::fmt::Write;

use super::Table;
use super::report::{Summary, summary};

/// Pixels of the whole picture, and where the bars begin and end in it.
const WIDTH: f64 = 720.0;
const LEFT: f64 = 110.0;
const RIGHT: f64 = 620.0;
/// Pixels of a row, a bundle's heading, and the axis with its words.
const ROW: f64 = 26.0;
const HEADING: f64 = 34.0;
const AXIS: f64 = 62.0;

pub const STYLE: &str = "\
text{font:13px sans-serif;fill:#1f2328}.s{font-size:11px;fill:#59636e}.h{font-weight:bold}.e{text-anchor:end}\
.m{text-anchor:middle}.bg{fill:#fff}.bar{fill:#9aa7b4}.own{fill:#2f81d6}.grid{stroke:#d1d9e0}\
.w{stroke:#1f2328;stroke-width:1.5}\
@media(prefers-color-scheme:dark){text{fill:#f0f6fc}.s{fill:#9198a1}.bg{fill:#0d1117}.bar{fill:#656c76}\
.own{fill:#4493f8}.grid{stroke:#3d444d}.w{stroke:#f0f6fc}}";

/// Text that may stand in XML.
pub fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// The step between two lines of the grid: 1, 2 or 5 times a power of ten, four to ten of them below `limit`.
pub fn step(limit: f64) -> f64 {
    let power = 10_f64.powf(limit.log10().floor());
    let times = limit / power;
    power
        * if times < 2.0 {
            0.2
        } else if times < 5.0 {
            0.5
        } else {
            1.0
        }
}

/// Milliseconds along the picture.
struct Scale {
    limit: f64,
}

impl Scale {
    fn of(tables: &[&Table]) -> Self {
        let times = tables.iter().flat_map(|table| &table.series).map(|series| summary(series).upper);
        let most = times.filter(|time| time.is_finite()).fold(0.0_f64, f64::max).max(0.001);
        let step = step(most);
        Self { limit: (most / step).ceil() * step }
    }

    fn x(&self, time: f64) -> f64 {
        LEFT + (RIGHT - LEFT) * time / self.limit
    }

    fn grid(&self, out: &mut String, bottom: f64) {
        let step = step(self.limit);
        let mut time = 0.0;
        while time <= self.limit * 1.001 {
            let x = self.x(time);
            let _ = write!(
                out,
                "<line class=\"grid\" x1=\"{x:.1}\" y1=\"34\" x2=\"{x:.1}\" y2=\"{bottom:.1}\"/>\
                 <text class=\"s m\" x=\"{x:.1}\" y=\"{:.1}\">{}</text>",
                bottom + 16.0,
                (time * 1000.0).round() / 1000.0
            );
            time += step;
        }
    }
}

/// A bar to the median, with a whisker from the first to the third quartile and the median in words.
fn row(out: &mut String, scale: &Scale, name: &str, times: &Summary, y: f64) {
    let class = if name.starts_with("orlop") { "own" } else { "bar" };
    let (low, middle, high) = (scale.x(times.quartile), scale.x(times.median), scale.x(times.upper));
    let centre = y + ROW / 2.0;
    let (top, bottom) = (centre - 5.0, centre + 5.0);
    let _ = writeln!(
        out,
        "<text class=\"e\" x=\"{:.1}\" y=\"{:.1}\">{}</text>\
         <rect class=\"{class}\" x=\"{LEFT}\" y=\"{:.1}\" width=\"{:.1}\" height=\"{:.1}\"/>\
         <path class=\"w\" d=\"M{low:.1} {centre:.1}H{high:.1}M{low:.1} {top:.1}V{bottom:.1}M{high:.1} {top:.1}V{bottom:.1}\"/>\
         <text x=\"{:.1}\" y=\"{:.1}\">{:.2} ms</text>",
        LEFT - 8.0,
        centre + 4.5,
        escaped(name),
        y + 4.0,
        middle - LEFT,
        ROW - 8.0,
        high.max(middle) + 8.0,
        centre + 4.5,
        times.median
    );
}

/// One operation on all bundles it was measured on.
pub fn svg(operation: &str, tables: &[&Table]) -> String {
    let scale = Scale::of(tables);
    let rows: f64 = tables.iter().flat_map(|table| &table.series).map(|_| ROW).sum();
    let headings: f64 = tables.iter().map(|_| HEADING).sum();
    let bottom = 30.0 + headings + rows;
    let height = bottom + AXIS;
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" role=\"img\">\n\
         <title>Time of {operation}</title><style>{STYLE}</style>\n\
         <rect class=\"bg\" width=\"{WIDTH}\" height=\"{height}\"/>\
         <text class=\"h\" x=\"16\" y=\"22\">{operation}</text>\n"
    );
    scale.grid(&mut out, bottom);
    let mut y = 30.0;
    for table in tables {
        let _ = writeln!(
            out,
            "<text class=\"s\" x=\"16\" y=\"{:.1}\">{}</text>",
            y + 22.0,
            escaped(&table.bundle)
        );
        y += HEADING;
        for series in &table.series {
            row(&mut out, &scale, &series.name, &summary(series), y);
            y += ROW;
        }
    }
    let _ = writeln!(
        out,
        "<text class=\"s m\" x=\"{:.1}\" y=\"{:.1}\">milliseconds of wall time: the median, from the first quartile to \
         the third; less is better</text>\n</svg>",
        f64::midpoint(LEFT, RIGHT),
        bottom + 40.0
    );
    out
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::options::Operation;
    use super::super::{Series, Table};
    use super::{step, svg};

    fn table(names: &[(&str, &[u64])]) -> Table {
        let series = |(name, times): &(&str, &[u64])| Series {
            name: (*name).to_owned(),
            times: times.iter().copied().map(Duration::from_millis).collect(),
            counts: None,
        };
        Table {
            operation: Operation::Run,
            bundle: "plain".to_owned(),
            series: names.iter().map(series).collect(),
            dropped: Vec::new(),
        }
    }

    #[test]
    fn every_bar_is_within_the_picture_and_as_long_as_its_time() {
        let picture = svg("run", &[&table(&[("orlop", &[10, 10, 10, 10]), ("a<b", &[40, 40, 40, 40])])]);
        let widths: Vec<f64> = picture
            .split("class=\"own\"")
            .flat_map(|part| part.split("class=\"bar\""))
            .skip(1)
            .map(|part| part.split("width=\"").nth(1).unwrap().split('"').next().unwrap().parse().unwrap())
            .collect();
        let [own, other] = widths.as_slice() else { panic!("{widths:?}") };
        assert!((other / own - 4.0).abs() < 0.05, "{widths:?}");
        assert!(*other <= super::RIGHT - super::LEFT, "{widths:?}");
        assert!(picture.contains("a&lt;b") && !picture.contains("a<b"), "{picture}");
    }

    #[test]
    fn a_picture_of_nothing_has_numbers_only() {
        let picture = svg("run", &[&table(&[])]);
        assert!(!picture.contains("NaN") && !picture.contains("inf"), "{picture}");
    }

    #[test]
    fn the_grid_has_few_lines() {
        for limit in [0.3, 1.0, 1.9, 4.4, 9.9, 10.0, 37.0, 480.0] {
            let lines = limit / step(limit);
            assert!((4.0..=10.0).contains(&lines), "{limit}: {lines}");
        }
    }
}
