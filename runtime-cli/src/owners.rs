//! The names of users, as this host has them.

use std::collections::HashMap;

/// User names by id, of a passwd file.
pub struct Owners<'a> {
    names: HashMap<u32, &'a str>,
}

impl<'a> Owners<'a> {
    /// Reads the form of passwd(5); lines of another form are passed over.
    pub fn new(passwd: &'a str) -> Self {
        let mut names = HashMap::new();
        for line in passwd.lines() {
            let mut fields = line.split(':');
            if let (Some(name), Some(_), Some(Ok(id))) =
                (fields.next(), fields.next(), fields.next().map(str::parse))
            {
                // The first line of an id is its name, as for getpwuid(3).
                names.entry(id).or_insert(name);
            }
        }
        Self { names }
    }

    /// The name, or the id behind a `#` where it has none.
    pub fn name(&self, id: u32) -> String {
        self.names.get(&id).map_or_else(|| format!("#{id}"), |name| (*name).to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn owners_have_the_name_of_the_first_line() {
        let owners =
            Owners::new("root:x:0:0::/root:/bin/sh\ntoor:x:0:0::/:\n\nbad\nx:y:zz:\nann:x:1000:1000:::\n");
        assert_eq!(owners.name(0), "root");
        assert_eq!(owners.name(1000), "ann");
        assert_eq!(owners.name(7), "#7");
    }
}
