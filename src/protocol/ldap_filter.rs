//! Search filters of LDAP (RFC 4515), held against entries of an export instead of a directory. No schema is known here: values are compared
//! without case and with one blank for many (caseIgnoreMatch), and by their order as numbers where both are.

use std::collections::BTreeSet;

use ldap3::asn1::{ASNTag as _, PL, StructureTag};

use super::ldif::Entry;

/// Deeper ones are nobody's, and the parser goes down by recursion.
const DEEPEST: usize = 64;

/// Rules of Active Directory for bits of a number: all of them, any of them ([MS-ADTS], section 3.1.1.3.4.4).
const ALL_BITS: &str = "1.2.840.113556.1.4.803";
const ANY_BIT: &str = "1.2.840.113556.1.4.804";

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Filter {
    All(Vec<Filter>),
    Any(Vec<Filter>),
    Not(Box<Filter>),
    Present(String),
    Equal(String, String),
    /// What it begins with, what is in between in this order, what it ends with.
    Like(String, Option<String>, Vec<String>, Option<String>),
    AtLeast(String, String),
    AtMost(String, String),
    Bits {
        attribute: String,
        mask: u64,
        all: bool,
    },
}

impl Filter {
    /// The error is for people.
    pub fn parse(text: &str) -> Result<Self, String> {
        let text = text.trim();
        let mut depth = 0usize;
        for c in text.chars() {
            depth = match c {
                '(' => depth + 1,
                ')' => depth.saturating_sub(1),
                _ => depth,
            };
            if depth > DEEPEST {
                return Err(format!("it is more than {DEEPEST} filters deep"));
            }
        }
        let tag = ldap3::parse_filter(text).map_err(|()| "it is no filter, as in (&(objectClass=person)(ou=Sales))")?;
        of(tag.into_structure())
    }

    pub fn matches(&self, entry: &Entry) -> bool {
        let has = |name: &str, test: &dyn Fn(&str) -> bool| entry.all(name).any(|v| test(&plain(&v)));
        match self {
            Filter::All(all) => all.iter().all(|f| f.matches(entry)),
            Filter::Any(any) => any.iter().any(|f| f.matches(entry)),
            // An attribute that is not there equals nothing: servers say false, and not that they cannot tell.
            Filter::Not(inner) => !inner.matches(entry),
            Filter::Present(name) => entry.values.iter().any(|(n, _)| n == name),
            Filter::Equal(name, wanted) => has(name, &|v| v == wanted),
            Filter::Like(name, first, middle, last) => has(name, &|v| like(v, first, middle, last)),
            Filter::AtLeast(name, least) => has(name, &|v| order(v, least).is_ge()),
            Filter::AtMost(name, most) => has(name, &|v| order(v, most).is_le()),
            Filter::Bits { attribute, mask, all } => has(attribute, &|v| {
                // Numbers of a directory have a sign, and bit 31 of a group's type is it.
                let bits = v.parse::<i64>().map_or(0, |n| n as u64) & mask;
                if *all { bits == *mask } else { bits != 0 }
            }),
        }
    }
}

impl Filter {
    /// The attributes that it looks at, in small letters.
    pub fn attributes(&self) -> BTreeSet<String> {
        match self {
            Filter::All(inner) | Filter::Any(inner) => inner.iter().flat_map(Self::attributes).collect(),
            Filter::Not(inner) => inner.attributes(),
            Filter::Present(name)
            | Filter::Equal(name, _)
            | Filter::Like(name, ..)
            | Filter::AtLeast(name, _)
            | Filter::AtMost(name, _)
            | Filter::Bits { attribute: name, .. } => BTreeSet::from([name.clone()]),
        }
    }
}

/// As values are compared.
fn plain(value: &str) -> String {
    value.split_whitespace().collect::<Vec<_>>().join(" ").to_lowercase()
}

fn order(a: &str, b: &str) -> std::cmp::Ordering {
    match (a.parse::<i64>(), b.parse::<i64>()) {
        (Ok(a), Ok(b)) => a.cmp(&b),
        _ => a.cmp(b),
    }
}

fn like(value: &str, first: &Option<String>, middle: &[String], last: &Option<String>) -> bool {
    let Some(mut rest) = value.strip_prefix(first.as_deref().unwrap_or_default()) else { return false };
    for part in middle {
        let Some(at) = rest.find(part.as_str()) else { return false };
        rest = rest.get(at + part.len()..).unwrap_or_default();
    }
    rest.ends_with(last.as_deref().unwrap_or_default())
}

fn octets(tag: StructureTag) -> Result<String, String> {
    match tag.payload {
        PL::P(octets) => String::from_utf8(octets).map_err(|_| "a value in it is no text (UTF-8)".to_owned()),
        PL::C(_) => Err("it is no filter".to_owned()),
    }
}

fn parts(tag: StructureTag) -> Vec<StructureTag> {
    match tag.payload {
        PL::C(tags) => tags,
        PL::P(_) => Vec::new(),
    }
}

/// Options of a name (`;lang-de`) are not looked at, as in [`Entry`].
fn attribute(tag: StructureTag) -> Result<String, String> {
    Ok(octets(tag)?.split(';').next().unwrap_or_default().to_lowercase())
}

/// The choices of Filter (RFC 4511, section 4.5.1) by their tags.
fn of(tag: StructureTag) -> Result<Filter, String> {
    let id = tag.id;
    if id == 7 {
        return Ok(Filter::Present(attribute(tag)?));
    }
    let inner = parts(tag);
    match id {
        0 | 1 => {
            let all = inner.into_iter().map(of).collect::<Result<Vec<_>, _>>()?;
            Ok(if id == 0 { Filter::All(all) } else { Filter::Any(all) })
        }
        2 => Ok(Filter::Not(Box::new(of(one(inner)?)?))),
        9 => extensible(inner),
        _ => {
            let [name, value] = <[StructureTag; 2]>::try_from(inner).map_err(|_| "it is no filter")?;
            let name = attribute(name)?;
            Ok(match id {
                // Both are the same where no rule of likeness is known.
                3 | 8 => Filter::Equal(name, plain(&octets(value)?)),
                4 => substrings(name, parts(value))?,
                5 => Filter::AtLeast(name, plain(&octets(value)?)),
                6 => Filter::AtMost(name, plain(&octets(value)?)),
                _ => return Err("it is no filter".to_owned()),
            })
        }
    }
}

fn one(inner: Vec<StructureTag>) -> Result<StructureTag, String> {
    inner.into_iter().next().ok_or_else(|| "it is no filter".to_owned())
}

fn substrings(name: String, all: Vec<StructureTag>) -> Result<Filter, String> {
    let (mut first, mut middle, mut last) = (None, Vec::new(), None);
    for part in all {
        let id = part.id;
        // Blanks at an end belong to it: `ou=sales *`.
        let text = octets(part)?.to_lowercase();
        match id {
            0 => first = Some(text),
            1 => middle.push(text),
            _ => last = Some(text),
        }
    }
    Ok(Filter::Like(name, first, middle, last))
}

fn extensible(inner: Vec<StructureTag>) -> Result<Filter, String> {
    let (mut rule, mut name, mut value) = (None, None, String::new());
    for part in inner {
        match part.id {
            1 => rule = Some(octets(part)?),
            2 => name = Some(attribute(part)?),
            3 => value = octets(part)?,
            _ => return Err("parts of names (:dn:) are not looked at here".to_owned()),
        }
    }
    let name = name.ok_or("a rule without an attribute is not known here")?;
    let bits = |all: bool| {
        let mask = value.parse().map_err(|_| format!("`{value}` is no number of bits"))?;
        Ok(Filter::Bits { attribute: name.clone(), mask, all })
    };
    match rule.as_deref() {
        None | Some("caseIgnoreMatch") => Ok(Filter::Equal(name, plain(&value))),
        Some(ALL_BITS) => bits(true),
        Some(ANY_BIT) => bits(false),
        Some(other) => Err(format!("the rule {other} is not known here")),
    }
}

#[cfg(test)]
mod tests {
    use super::super::ldif;
    use super::*;

    fn entry() -> Entry {
        let text = "dn: cn=Ann,ou=Sales,dc=acme\nobjectClass: top\nobjectClass: person\ncn: Ann  Lee\nmail: ann@acme.example\n\
                    ou;lang-de: Vertrieb\nemployeeNumber: 900\nuserAccountControl: 66050\n";
        let (mut all, bad) = ldif::parse(text.as_bytes());
        assert!(bad.is_empty());
        all.remove(0)
    }

    fn says(text: &str) -> bool {
        Filter::parse(text).unwrap_or_else(|why| panic!("{text}: {why}")).matches(&entry())
    }

    #[test]
    fn a_filter_says_what_a_server_says() {
        for yes in [
            "(objectClass=PERSON)",
            "mail=ann@acme.example",
            "(cn=ann lee)",
            "(cn=ann*)",
            "(cn=*n l*)",
            "(mail=*@ACME.example)",
            "(mail=a*n@*.ex*ple)",
            "(ou=vertrieb)",
            "(employeeNumber>=90)",
            "(employeeNumber<=1000)",
            "(mail=*)",
            "(!(description=*))",
            "(!(description=none))",
            "(&)",
            "(&(objectClass=person)(|(ou=none)(cn=Ann Lee))(!(cn=bob)))",
            "(cn=\\41nn lee)",
            "(userAccountControl:1.2.840.113556.1.4.803:=514)",
            "(userAccountControl:1.2.840.113556.1.4.804:=3)",
        ] {
            assert!(says(yes), "{yes}");
        }
        for no in [
            "(|)",
            "(cn=ann)",
            "(cn=*lee*ann*)",
            "(mail=ann@acme.example*x)",
            "(employeeNumber>=1000)",
            "(description=*)",
            "(!(mail=*))",
            "(!(userAccountControl:1.2.840.113556.1.4.803:=2))",
            "(userAccountControl:1.2.840.113556.1.4.804:=1)",
        ] {
            assert!(!says(no), "{no}");
        }
    }

    #[test]
    fn what_is_no_filter_or_asks_for_more_than_an_export_has_is_told() {
        let deep = format!("{}(a=b){}", "(!".repeat(80), ")".repeat(80));
        let wrong =
            ["", "(", "(mail=a", "(mail=a)x", "(mail=(a))", "(ou:dn:=x)", "(:1.2.3:=x)", "(a:1.2.3:=x)", "(a=\\ff)"];
        for bad in wrong.into_iter().chain([deep.as_str()]) {
            assert!(Filter::parse(bad).is_err(), "{bad}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_text_breaks_it(text in "[()&|!=*<>~:;\\\\a-c0-9 ]{0,60}") {
            if let Ok(filter) = Filter::parse(&text) {
                filter.matches(&entry());
            }
        }

        #[test]
        fn a_part_in_any_place_is_found(value in "[a-c]{1,8}", from in 0usize..8, to in 0usize..8) {
            let (from, to) = (from.min(value.len()), to.min(value.len()));
            let (from, to) = (from.min(to), from.max(to));
            let (first, middle, last) = (value[..from].to_owned(), value[from..to].to_owned(), value[to..].to_owned());
            proptest::prop_assert!(like(&value, &Some(first), &[middle], &Some(last)));
        }
    }
}
