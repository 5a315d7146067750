//! Puts the matrix and the coverage into `docs/conformance.md`, between its markers, and `docs/conformance.html`.

use std::fs;
use std::path::Path;

use super::Failure;
use super::report::{Column, markdown};
use super::statements;

/// The page with `part` between the markers of that name, in place of what was there.
fn replaced(page: &str, name: &str, part: &str) -> Result<String, Failure> {
    let (begin, end) = (format!("<!-- {name}: begin -->\n"), format!("<!-- {name}: end -->\n"));
    let wanted = || Failure(format!("conformance.md: want the lines {} and {}", begin.trim(), end.trim()));
    let (before, rest) = page.split_once(&begin).ok_or_else(wanted)?;
    let (_, after) = rest.split_once(&end).ok_or_else(wanted)?;
    Ok(format!("{before}{begin}{part}{end}{after}"))
}

fn page(directory: &Path, matrix: &str) -> Result<String, Failure> {
    let path = directory.join("conformance.md");
    let text = fs::read_to_string(&path).map_err(|error| Failure(format!("{}: {error}", path.display())))?;
    replaced(&replaced(&text, "matrix", matrix)?, "coverage", &statements::coverage())
}

/// Fails now if it could not be put there in the end.
pub fn check(directory: &Path) -> Result<(), Failure> {
    page(directory, "").map(drop)
}

/// Writes both pages.
pub fn write(directory: &Path, columns: &[Column], html: &str) -> Result<(), Failure> {
    let text = page(directory, &markdown::document(columns))?;
    fs::write(directory.join("conformance.html"), html)?;
    fs::write(directory.join("conformance.md"), text)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::replaced;

    #[test]
    fn what_stands_around_the_markers_stays() {
        let page = "a\n<!-- x: begin -->\nold\n<!-- x: end -->\nb\n";
        let new = replaced(page, "x", "new\n").unwrap();
        assert_eq!(new, "a\n<!-- x: begin -->\nnew\n<!-- x: end -->\nb\n");
        assert!(replaced(page, "y", "").is_err());
    }

    /// What the page says of the coverage is what the tables say: `make conformance-docs` after a change of them.
    #[test]
    fn the_page_is_of_the_present_tables() {
        let directory = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs");
        let page = std::fs::read_to_string(directory.join("conformance.md")).unwrap();
        let coverage = super::statements::coverage();
        assert_eq!(replaced(&page, "coverage", &coverage).unwrap(), page, "run make conformance-docs");
        super::check(&directory).unwrap();
    }

    /// The tests of which the matrix says that a runtime fails them, and the names of the table of who is right.
    #[test]
    fn every_failure_is_judged() {
        let directory = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs");
        let page = std::fs::read_to_string(directory.join("conformance.md")).unwrap();
        let (_, judged) = page.split_once("## Who is right").unwrap();
        let (judged, _) = judged.split_once("## Coverage").unwrap();
        let rows = judged.lines().filter_map(|line| line.strip_prefix("| `"));
        let names: Vec<&str> = rows
            .filter_map(|row| row.split_once(" | "))
            .flat_map(|(names, _)| names.split(", "))
            .map(|name| name.trim_matches('`'))
            .collect();
        let failed = page.lines().filter(|line| line.contains("**FAIL**"));
        let failed: Vec<&str> = failed.filter_map(|line| line.split(' ').nth(1)).collect();
        assert!(!failed.is_empty() && !names.is_empty());
        for test in failed {
            let fits = |name: &&str| match name.strip_suffix('*') {
                Some(beginning) => test.starts_with(beginning),
                None => test == *name,
            };
            assert!(names.iter().any(fits), "{test} fails somewhere, and nothing is said of it");
        }
    }
}
