//! Pages of `docs/` of which a part is made by this program: it stands between two lines that name it.

use std::fs;
use std::path::PathBuf;

use crate::bench::Failure;

/// A page, as it is to become.
pub struct Page {
    path: PathBuf,
    /// What will stand there.
    pub text: String,
}

impl Page {
    /// The page as it is.
    pub fn read(path: PathBuf) -> Result<Self, Failure> {
        let text = fs::read_to_string(&path);
        let text = text.map_err(|error| Failure(format!("{}: {error}", path.display())))?;
        Ok(Self { path, text })
    }

    /// Puts `part` between the lines `<!-- NAME: begin -->` and `<!-- NAME: end -->`, in place of what was there.
    pub fn replace(&mut self, name: &str, part: &str) -> Result<(), Failure> {
        let failed = |Failure(what)| Failure(format!("{}: {what}", self.path.display()));
        self.text = replaced(&self.text, name, part).map_err(failed)?;
        Ok(())
    }

    /// Writes it.
    pub fn write(&self) -> Result<(), Failure> {
        Ok(fs::write(&self.path, &self.text)?)
    }
}

fn replaced(page: &str, name: &str, part: &str) -> Result<String, Failure> {
    let (begin, end) = (format!("<!-- {name}: begin -->\n"), format!("<!-- {name}: end -->\n"));
    let wanted = || Failure(format!("want the lines {} and {}", begin.trim(), end.trim()));
    let (before, rest) = page.split_once(&begin).ok_or_else(wanted)?;
    let (_, after) = rest.split_once(&end).ok_or_else(wanted)?;
    Ok(format!("{before}{begin}{part}{end}{after}"))
}

#[cfg(test)]
mod tests {
    use super::replaced;

    const BEGIN: &str = "<!-- x: begin -->\n";
    const END: &str = "<!-- x: end -->\n";

    #[test]
    fn what_stands_around_the_markers_stays() {
        let page = format!("a\n{BEGIN}old\n{END}b\n");
        let new = replaced(&page, "x", "new\n").unwrap();
        assert_eq!(new, format!("a\n{BEGIN}new\n{END}b\n"));
        assert_eq!(replaced(&new, "x", "new\n").unwrap(), new);
        assert!(replaced(&page, "y", "").is_err());
    }

    #[test]
    fn a_page_without_both_markers_is_refused() {
        assert!(replaced(END, "x", "").is_err());
        assert!(replaced(&format!("{END}{BEGIN}"), "x", "").is_err());
    }
}
