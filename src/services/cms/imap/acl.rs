//! Who else may do what in a folder (RFC 4314; RFC 2086 where a server is older).

use super::{Part, Session};
use crate::protocol::imap::answer::Answer;
use crate::protocol::imap::name;
use crate::services::cms::mailbox::{Class, Fault, Folder};

/// Folders that are asked about in one packet.
const BATCH: usize = 100;
/// Rights of RFC 4314.
const RIGHTS: &str = "lrswipkxtea";

impl Session {
    /// Whether this server keeps access control lists.
    pub fn has_acl(&self) -> bool {
        self.can("ACL")
    }

    /// Whose a folder is that stands in the namespace of other users; `None` for one's own, and for what belongs to nobody.
    pub fn owner_of(&self, folder: &Folder) -> Option<String> {
        let space = self.owned.iter().find(|s| folder.raw.starts_with(&s.prefix))?;
        let rest = &folder.raw[space.prefix.len()..];
        let delimiter = space.delimiter.or(self.personal.delimiter)?;
        let owner = rest.split(|b| *b == delimiter).next().filter(|o| !o.is_empty())?;
        Some(name::shown(owner))
    }

    /// Whether it knows the rights of RFC 4314 (`RIGHTS=kxte`), and not only those of RFC 2086.
    fn divides_rights(&self) -> bool {
        self.capabilities.iter().any(|c| c.strip_prefix("RIGHTS=").is_some_and(|r| r.contains(['T', 'E', 'K', 'X'])))
    }

    /// Each folder's identifiers with their rights in letters of RFC 4314, sorted; or why a folder does not tell. In one round trip a batch.
    pub async fn grants(&mut self, folders: &[Folder]) -> Result<Vec<Result<Vec<(String, String)>, Fault>>, Fault> {
        let divides = self.divides_rights();
        let mut told = Vec::with_capacity(folders.len());
        for batch in folders.chunks(BATCH) {
            let mut tags = Vec::with_capacity(batch.len());
            for folder in batch {
                tags.push(self.begin(&[Part::Text("GETACL "), Part::String(&folder.raw)]).await?);
            }
            self.stream.flush().await?;
            for (tag, folder) in tags.iter().zip(batch) {
                let mut found: Vec<(String, String)> = Vec::new();
                let done = self
                    .finish(tag, |answer| {
                        if let Answer::Acl(_, all) = answer {
                            found = all.into_iter().map(|(who, rights)| (who, neutral(&rights, divides))).collect();
                        }
                    })
                    .await?;
                told.push(match done.is_ok() {
                    true => Ok(found),
                    false => Err(self.fault(&done, &format!("GETACL {}", folder.path), Class::Permission)),
                });
            }
        }
        Ok(told)
    }

    /// What who is logged in may do in a folder.
    pub async fn my_rights(&mut self, folder: &Folder) -> Result<String, Fault> {
        let divides = self.divides_rights();
        let mut mine = None;
        let done = self
            .ask(&[Part::Text("MYRIGHTS "), Part::String(&folder.raw)], |answer| {
                if let Answer::MyRights(_, rights) = answer {
                    mine = Some(neutral(&rights, divides));
                }
            })
            .await?;
        match mine.filter(|_| done.is_ok()) {
            Some(rights) => Ok(rights),
            None => Err(self.fault(&done, &format!("MYRIGHTS {}", folder.path), Class::Permission)),
        }
    }

    /// What an identifier may be given in a folder, where the server takes the identifier.
    pub async fn rights_of(&mut self, folder: &Folder, who: &str) -> Result<String, Fault> {
        let divides = self.divides_rights();
        let mut may = String::new();
        let parts =
            [Part::Text("LISTRIGHTS "), Part::String(&folder.raw), Part::Text(" "), Part::String(who.as_bytes())];
        let done = self
            .ask(&parts, |answer| {
                if let Answer::ListRights(.., groups) = answer {
                    may = neutral(&groups.concat(), divides);
                }
            })
            .await?;
        match done.is_ok() {
            true => Ok(may),
            false => Err(self.fault(&done, &format!("LISTRIGHTS {}", folder.path), Class::Permission)),
        }
    }

    /// Gives exactly these rights (letters of RFC 4314); takes all away where there are none. Rights that an older server gives only
    /// together with others are not given: they come back.
    pub async fn grant(&mut self, folder: &Folder, who: &str, rights: &str) -> Result<String, Fault> {
        let (letters, left) = written(rights, self.divides_rights());
        let done = if letters.is_empty() {
            let parts =
                [Part::Text("DELETEACL "), Part::String(&folder.raw), Part::Text(" "), Part::String(who.as_bytes())];
            self.ask(&parts, |_| {}).await?
        } else {
            let parts = [
                Part::Text("SETACL "),
                Part::String(&folder.raw),
                Part::Text(" "),
                Part::String(who.as_bytes()),
                Part::Text(" "),
                Part::Text(&letters),
            ];
            self.ask(&parts, |_| {}).await?
        };
        match done.is_ok() {
            true => Ok(left),
            false => Err(self.fault(&done, &format!("SETACL {} for {who}", folder.path), Class::Permission)),
        }
    }
}

fn sorted(mut letters: Vec<char>) -> String {
    letters.sort_unstable();
    letters.dedup();
    letters.into_iter().collect()
}

/// Letters of RFC 4314. `c` and `d` are shadows there (section 2.1.1); an older server means by `c` making and deleting folders, by `d`
/// marking and expunging.
fn neutral(rights: &str, divides: bool) -> String {
    let mut letters = Vec::new();
    for letter in rights.chars() {
        match letter {
            'c' if !divides => letters.extend(['k', 'x']),
            'd' if !divides => letters.extend(['t', 'e']),
            'c' | 'd' => {}
            other => letters.push(other),
        }
    }
    sorted(letters)
}

/// What is written to a server, and what of the rights is left over: never more is given than there was.
fn written(rights: &str, divides: bool) -> (String, String) {
    let rights: Vec<char> = rights.chars().filter(|c| RIGHTS.contains(*c) || c.is_ascii_digit()).collect();
    if divides {
        return (sorted(rights), String::new());
    }
    let has = |c: char| rights.contains(&c);
    let mut letters: Vec<char> = rights.iter().copied().filter(|c| !"kxte".contains(*c)).collect();
    let mut left = Vec::new();
    for (one, two, both) in [('k', 'x', 'c'), ('t', 'e', 'd')] {
        match (has(one), has(two)) {
            (true, true) => letters.push(both),
            (false, false) => {}
            (first, _) => left.push(if first { one } else { two }),
        }
    }
    (sorted(letters), sorted(left))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 4314 section 2.1.1.
    #[test]
    fn old_and_new_rights_mean_the_same() {
        assert_eq!(neutral("lrswipcda", false), "aeiklprstwx");
        assert_eq!(neutral("lrswipkxteacd", true), "aeiklprstwx");
        assert_eq!(written("aeiklprstwx", false), ("acdilprsw".into(), String::new()));
        assert_eq!(written("lrt", false), ("lr".into(), "t".into()), "d would give expunging, too");
        assert_eq!(written("lrt", true), ("lrt".into(), String::new()));
    }
}
