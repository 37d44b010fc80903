//! How a side names folders where users write them, as in a Sieve script: prefix and delimiter of its personal namespace.

use super::FolderPath;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Space {
    pub prefix: String,
    pub delimiter: char,
}

impl Default for Space {
    fn default() -> Self {
        Self { prefix: String::new(), delimiter: '/' }
    }
}

impl Space {
    pub fn read(&self, name: &str) -> FolderPath {
        let bare = name.strip_prefix(self.prefix.as_str()).filter(|b| !b.is_empty()).unwrap_or(name);
        let names = bare.split(self.delimiter).filter(|n| !n.is_empty());
        FolderPath::new(names).unwrap_or_else(FolderPath::inbox)
    }

    pub fn write(&self, path: &FolderPath) -> String {
        let name = path.names().join(&self.delimiter.to_string());
        if path.names().first().is_some_and(|n| n == "INBOX") { name } else { format!("{}{name}", self.prefix) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_of_one_side_is_said_as_the_other_says_it() {
        let courier = Space { prefix: "INBOX.".into(), delimiter: '.' };
        let dovecot = Space::default();
        for (old, new) in [("INBOX.Work.a b", "Work/a b"), ("INBOX", "INBOX"), ("INBOX.Ümläut", "Ümläut")] {
            assert_eq!(dovecot.write(&courier.read(old)), new);
            assert_eq!(courier.write(&dovecot.read(new)), old);
        }
    }
}
