//! Puts the figures into `docs/`: the pictures as files, the tables between two markers of `benchmarks.md`.

use std::fs;
use std::path::Path;

use super::options::Options;
use super::{Failure, Figures, Table, plot, report};

const BEGIN: &str = "<!-- bench: begin -->\n";
const END: &str = "<!-- bench: end -->\n";

/// The page with `part` between its markers, in place of what was there.
fn replaced(page: &str, part: &str) -> Result<String, Failure> {
    let wanted = || Failure(format!("benchmarks.md: want the lines {} and {}", BEGIN.trim(), END.trim()));
    let (before, rest) = page.split_once(BEGIN).ok_or_else(wanted)?;
    let (_, after) = rest.split_once(END).ok_or_else(wanted)?;
    Ok(format!("{before}{BEGIN}{part}{END}{after}"))
}

/// Fails now if the figures could not be put there in the end.
pub fn check(directory: &Path) -> Result<(), Failure> {
    let path = directory.join("benchmarks.md");
    let page = fs::read_to_string(&path).map_err(|error| Failure(format!("{}: {error}", path.display())))?;
    replaced(&page, "").map(drop)
}

/// Writes the pictures, then the page.
pub fn write(
    directory: &Path,
    options: &Options,
    facts: &[String],
    figures: &Figures,
) -> Result<(), Failure> {
    let pictures = directory.join("benchmarks");
    fs::create_dir_all(&pictures)?;
    for operation in &options.operations {
        let own: Vec<&Table> = figures.tables.iter().filter(|table| table.operation == *operation).collect();
        let name = operation.name();
        fs::write(pictures.join(format!("{name}.svg")), plot::svg(name, &own))?;
    }
    for group in &figures.groups {
        let tables: Vec<&Table> = group.tables.iter().collect();
        fs::write(pictures.join(format!("{}.svg", group.file)), plot::svg(group.title, &tables))?;
    }
    let path = directory.join("benchmarks.md");
    let page = replaced(&fs::read_to_string(&path)?, &report::section(options, facts, figures))?;
    fs::write(path, page)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{BEGIN, END, replaced};

    #[test]
    fn what_stands_around_the_markers_stays() {
        let page = format!("a\n{BEGIN}old\n{END}b\n");
        let new = replaced(&page, "new\n").unwrap();
        assert_eq!(new, format!("a\n{BEGIN}new\n{END}b\n"));
        assert_eq!(replaced(&new, "new\n").unwrap(), new);
    }

    #[test]
    fn a_page_without_both_markers_is_refused() {
        assert!(replaced(END, "").is_err());
        assert!(replaced(&format!("{END}{BEGIN}"), "").is_err());
    }

    #[test]
    fn the_page_has_both() {
        super::check(&std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs")).unwrap();
    }
}
