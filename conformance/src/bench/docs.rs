//! Puts the figures into `docs/`: the pictures as files, the tables between two markers of `benchmarks.md`.

use std::fs;
use std::path::Path;

use super::options::Options;
use super::{Failure, Figures, Table, lines, plot, report};
use crate::pages::Page;

fn page(directory: &Path) -> Result<Page, Failure> {
    Page::read(directory.join("benchmarks.md"))
}

/// Fails now if the figures could not be put there in the end.
pub fn check(directory: &Path) -> Result<(), Failure> {
    let mut page = page(directory)?;
    page.replace("bench", "")?;
    page.replace("shim", "")
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
        let title = group.title.replace('`', "");
        let picture =
            if group.sizes.is_empty() { plot::svg(&title, &tables) } else { lines::svg(&title, group) };
        fs::write(pictures.join(format!("{}.svg", group.file)), picture)?;
    }
    let mut page = page(directory)?;
    page.replace("bench", &report::section(options, facts, figures))?;
    if let Some(table) = &options.shim {
        page.replace("shim", &format!("\n{}\n", fs::read_to_string(table)?))?;
    }
    page.write()
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_page_has_both() {
        super::check(&std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs")).unwrap();
    }
}
