//! What is wanted of a directory for its people, and how two exports of it differ.

use std::collections::{BTreeMap, BTreeSet};

use super::accounts::address_of;
use crate::model::topology::Topology;
use crate::protocol::ldap_filter::Filter;
use crate::protocol::ldif::Entry;

/// What lists of accounts and notices read, and by what people are told apart.
const ATTRIBUTES: [&str; 29] = [
    "objectClass",
    "mail",
    "mailAlternateAddress",
    "mailLocalAddress",
    "proxyAddresses",
    "mailForwardingAddress",
    "mailDeliveryOption",
    "mailQuota",
    "mailQuotaSize",
    "preferredLanguage",
    "member",
    "uniqueMember",
    "rfc822MailMember",
    "mgrpRFC822MailMember",
    "cn",
    "sn",
    "givenName",
    "displayName",
    "uid",
    "sAMAccountName",
    "userPrincipalName",
    "userAccountControl",
    "employeeType",
    "title",
    "department",
    "company",
    "ou",
    "o",
    "l",
];

/// The attribute with hashes of passwords (RFC 4519, section 2.41).
pub const PASSWORD: &str = "userPassword";

/// The usual ones, those of `more`, and those that filters of the topology's cohorts look at; never one of [`is_secret`].
pub fn wanted(topology: &Topology, more: &[String]) -> Vec<String> {
    let cohorts = topology.all("cohort");
    let lines = cohorts.flat_map(|c| c.children("select").chain(c.children("exclude")));
    let filters = lines.filter_map(|line| Filter::parse(line.text("ldap")?).ok());
    let asked: BTreeSet<String> = filters.flat_map(|f| f.attributes()).collect();
    let mut seen = BTreeSet::new();
    let all = ATTRIBUTES.iter().map(|a| (*a).to_owned()).chain(more.iter().cloned()).chain(asked);
    all.filter(|a| !is_secret(a) && seen.insert(a.to_lowercase())).collect()
}

/// Whether an attribute holds a password or what one is made of. Times and counts of passwords are none.
pub fn is_secret(attribute: &str) -> bool {
    let name = attribute.split(';').next().unwrap_or_default().to_lowercase();
    let harmless = ["set", "time", "count", "changed", "changedtime", "expires", "age", "length"];
    let password = ["password", "pwd", "passwd", "passphrase"].iter().any(|w| name.contains(w));
    let key = ["krbprincipalkey", "krb5key", "supplementalcredentials", "privatekey"].iter().any(|w| name.contains(w));
    key || password && !harmless.iter().any(|end| name.ends_with(end))
}

/// An export as it is written: entries by their names, attributes by theirs, values in order, so that the same directory gives the same file
/// whichever server is asked. `mail` keeps its order: its first value is who somebody is.
pub fn laid_out(mut entries: Vec<Entry>) -> Vec<Entry> {
    for entry in &mut entries {
        entry.values.retain(|(name, _)| !is_secret(name));
        let key = |name: &str| name.to_lowercase();
        entry.values.sort_by(|(a, v), (b, w)| {
            let mail = key(a) == "mail" && key(b) == "mail";
            key(a).cmp(&key(b)).then(if mail { std::cmp::Ordering::Equal } else { v.cmp(w) })
        });
        entry.values.dedup();
    }
    entries.retain(|e| !e.values.is_empty());
    entries.sort_by_cached_key(|e| (e.dn.to_lowercase(), e.dn.clone()));
    entries
}

/// What is another now. Names of entries.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Differences {
    pub new: Vec<String>,
    pub gone: Vec<String>,
    /// With the attributes that changed.
    pub changed: Vec<(String, Vec<String>)>,
}

impl Differences {
    pub fn none(&self) -> bool {
        self.new.is_empty() && self.gone.is_empty() && self.changed.is_empty()
    }

    /// Of two exports as they were read from a file.
    pub fn of(before: &[Entry], now: &[Entry]) -> Self {
        let by_name = |entries| -> BTreeMap<String, &Entry> {
            let entries: &[Entry] = entries;
            entries.iter().map(|e| (e.dn.to_lowercase(), e)).collect()
        };
        let (before, now) = (by_name(before), by_name(now));
        let mut out = Self::default();
        for (name, entry) in &now {
            match before.get(name) {
                None => out.new.push(shown(entry)),
                Some(old) => {
                    let names: BTreeSet<&String> = entry.values.iter().chain(&old.values).map(|(n, _)| n).collect();
                    let of = |e: &Entry, n: &String| -> Vec<Vec<u8>> {
                        e.values.iter().filter(|(name, _)| name == n).map(|(_, v)| v.clone()).collect()
                    };
                    let changed: Vec<String> =
                        names.into_iter().filter(|n| of(entry, n) != of(old, n)).cloned().collect();
                    if !changed.is_empty() {
                        out.changed.push((shown(entry), changed));
                    }
                }
            }
        }
        out.gone = before.iter().filter(|(name, _)| !now.contains_key(*name)).map(|(_, e)| shown(e)).collect();
        out
    }
}

/// An entry for people: its address and its name.
fn shown(entry: &Entry) -> String {
    let plain = |text: &str| text.chars().map(|c| if c.is_control() { '?' } else { c }).collect::<String>();
    match address_of(entry) {
        Some(address) => format!("{} ({})", plain(&address), plain(&entry.dn)),
        None => plain(&entry.dn),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(dn: &str, values: &[(&str, &str)]) -> Entry {
        let values = values.iter().map(|(n, v)| ((*n).to_owned(), v.as_bytes().to_vec())).collect();
        Entry { line: 0, dn: dn.into(), values }
    }

    #[test]
    fn passwords_are_known_by_their_names() {
        for secret in
            ["userPassword", "unicodePwd", "sambaNTPassword", "ms-Mcs-AdmPwd", "userPassword;x-a", "pwdHistory"]
        {
            assert!(is_secret(secret), "{secret}");
        }
        for plain in ["pwdLastSet", "badPwdCount", "badPasswordTime", "shadowLastChange", "mail", "cn;lang-fa"] {
            assert!(!is_secret(plain), "{plain}");
        }
    }

    #[test]
    fn the_same_entries_are_the_same_file_in_any_order() {
        let ann = |first: &str, second: &str| {
            entry(
                "uid=Ann",
                &[
                    ("sn", "A"),
                    ("mail", "b@a.test"),
                    ("mail", "a@a.test"),
                    ("cn", first),
                    ("cn", second),
                    ("unicodePwd", "x"),
                ],
            )
        };
        let one = laid_out(vec![entry("uid=bob", &[("cn", "B")]), ann("x", "y")]);
        let two = laid_out(vec![ann("y", "x"), entry("uid=bob", &[("cn", "B")])]);
        assert_eq!(one, two);
        assert_eq!(one[0].all("mail").next().as_deref(), Some("b@a.test"), "who she is");
        assert!(one[0].values.iter().all(|(n, _)| n != "unicodePwd"));
    }

    #[test]
    fn differences_name_who_came_went_and_changed() {
        let before = [entry("uid=ann", &[("cn", "A"), ("l", "x")]), entry("uid=bob", &[("cn", "B")])];
        let now = [entry("UID=Ann", &[("cn", "A"), ("l", "y")]), entry("uid=cem", &[("mail", "cem@a.test")])];
        let found = Differences::of(&before, &now);
        assert_eq!(found.new, ["cem@a.test (uid=cem)"]);
        assert_eq!(found.gone, ["uid=bob"]);
        assert_eq!(found.changed, [("UID=Ann".to_owned(), vec!["l".to_owned()])]);
        assert!(Differences::of(&now, &now).none());
    }
}
