//! `courierpop3dsizelist`: what Courier's POP3 server told its clients.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use super::uidlist::base;

/// UIDLs by the part of a file's name that stays. The first line of version 2 is `/2 <next> <uidvalidity>`, of version 1 `/1 <next>`; then
/// `NAME SIZE UID[:UIDVALIDITY]` a line. A message of version 1 or 2 is called `UID<uid>-<uidvalidity>`, or, of version 1, `UID<uid>`; one with
/// number 0 by its file's name (Courier's `pop3dserver.c`).
pub(super) fn uidls(directory: &Path) -> BTreeMap<String, String> {
    let octets = fs::read(directory.join("courierpop3dsizelist")).unwrap_or_default();
    parse(&String::from_utf8_lossy(&octets))
}

fn parse(text: &str) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    for line in text.lines().filter(|l| !l.starts_with('/')) {
        let mut words = line.split(' ');
        let (Some(name), Some(_size)) = (words.next(), words.next()) else {
            continue;
        };
        let number = words.next().unwrap_or("0");
        let uidl = match number.split_once(':') {
            Some(("0", _)) => base(name).to_owned(),
            Some((uid, "0")) => format!("UID{uid}"),
            Some((uid, validity)) => format!("UID{uid}-{validity}"),
            None if number == "0" => base(name).to_owned(),
            None => format!("UID{number}"),
        };
        found.insert(base(name).to_owned(), uidl);
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_version_names_messages_its_way() {
        let found = parse("/2 9 1700\na.b,S=3 3 7:1700\nc.d:2,S 4 0:0\ne 5 8:0\n");
        assert_eq!(found["a.b,S=3"], "UID7-1700");
        assert_eq!((found["c.d"].as_str(), found["e"].as_str()), ("c.d", "UID8"));
        assert!(parse("nonsense\n").is_empty());
    }
}
