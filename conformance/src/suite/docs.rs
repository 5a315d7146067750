//! Puts the matrix and the coverage into `docs/conformance.md`, between its markers, and `docs/conformance.html`.

use std::fs;
use std::path::Path;

use super::Failure;
use super::report::{Column, markdown};
use super::statements;
use crate::pages::Page;

fn page(directory: &Path, matrix: &str) -> Result<Page, Failure> {
    let mut page = Page::read(directory.join("conformance.md"))?;
    page.replace("matrix", matrix)?;
    page.replace("coverage", &statements::coverage())?;
    Ok(page)
}

/// Fails now if it could not be put there in the end.
pub fn check(directory: &Path) -> Result<(), Failure> {
    page(directory, "").map(drop)
}

/// Writes both pages.
pub fn write(directory: &Path, columns: &[Column], html: &str) -> Result<(), Failure> {
    let page = page(directory, &markdown::document(columns))?;
    fs::write(directory.join("conformance.html"), html)?;
    page.write()
}

#[cfg(test)]
mod tests {
    use crate::pages::Page;

    /// What the page says of the coverage is what the tables say: `make conformance-docs` after a change of them.
    #[test]
    fn the_page_is_of_the_present_tables() {
        let directory = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs");
        let mut page = Page::read(directory.join("conformance.md")).unwrap();
        let present = page.text.clone();
        page.replace("coverage", &super::statements::coverage()).unwrap();
        assert_eq!(page.text, present, "run make conformance-docs");
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
