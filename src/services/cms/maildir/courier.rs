//! `courierpop3dsizelist`: what Courier's POP3 server told its clients.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use super::uidlist::{Record, Uidlist, base};

/// UIDLs by the part of a file's name that stays. The first line is `/3 <next> <uidvalidity>` (`/2` before 1.0, `/1 <next>` long before); then
/// `NAME SIZE UID[:UIDVALIDITY[:TIME]]` a line. A message is called `UID<uid>-<uidvalidity>`, without a uidvalidity `UID<uid>`; one with number 0 by its
/// file's name (Courier's `pop3dserver.c`; version 3 as Courier 1.0.16 writes it).
pub(super) fn uidls(directory: &Path) -> BTreeMap<String, String> {
    entries(&read(directory))
        .map(|(name, uid, validity)| {
            let uidl = match (uid, validity) {
                (0, _) => name.to_owned(),
                (_, 0) => format!("UID{uid}"),
                _ => format!("UID{uid}-{validity}"),
            };
            (name.to_owned(), uidl)
        })
        .collect()
}

/// The order that POP3 clients saw, where IMAP's list is not there.
pub(super) fn numbers(directory: &Path) -> Option<Uidlist> {
    let text = read(directory);
    let mut list = Uidlist::new(1);
    for (name, uid, _) in entries(&text).filter(|(_, uid, _)| *uid > 0) {
        list.put(uid, Record { words: Vec::new(), name: name.to_owned() });
    }
    (!text.is_empty()).then_some(list)
}

fn read(directory: &Path) -> String {
    let octets = fs::read(directory.join("courierpop3dsizelist")).unwrap_or_default();
    String::from_utf8_lossy(&octets).into_owned()
}

fn entries(text: &str) -> impl Iterator<Item = (&str, u32, u32)> {
    text.lines().filter(|l| !l.starts_with('/')).filter_map(|line| {
        let mut words = line.split(' ');
        let (name, _size) = (words.next()?, words.next()?);
        let mut numbers = words.next().unwrap_or("0").split(':').map(|n| n.parse().unwrap_or(0));
        Some((base(name), numbers.next()?, numbers.next().unwrap_or(0)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_version_names_messages_its_way() {
        let folder = tempfile::tempdir().expect("folder");
        let write = |text: &str| fs::write(folder.path().join("courierpop3dsizelist"), text).expect("written");
        write("/2 9 1700\na.b,S=3 3 7:1700\nc.d:2,S 4 0:0\ne 5 8:0\n");
        let found = uidls(folder.path());
        assert_eq!(found["a.b,S=3"], "UID7-1700");
        assert_eq!((found["c.d"].as_str(), found["e"].as_str()), ("c.d", "UID8"));
        // Courier 1.0.16.
        write("/3 6 1795373484\n1795373453.M9P3V0I0_0.vm,S=21:2,S 25 2:1795373484:0\n");
        assert_eq!(uidls(folder.path())["1795373453.M9P3V0I0_0.vm,S=21"], "UID2-1795373484");
        assert_eq!(numbers(folder.path()).and_then(|l| l.number("1795373453.M9P3V0I0_0.vm,S=21")), Some(2));
        write("nonsense\n");
        assert!(uidls(folder.path()).is_empty());
    }
}
