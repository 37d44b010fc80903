//! All entries below a base that match a filter, page by page (RFC 2696). It comes to all of them or to an error: half of a directory would
//! read as if the others had left.

use std::collections::BTreeMap;
use std::time::Duration;

use ldap3::asn1::{PL, parse_tag};
use ldap3::controls::{Control, ControlType, PagedResults, RawControl};
use ldap3::{Ldap, LdapError, Scope, SearchEntry, SearchResult, parse_refs};

use super::{late, plain, result};
use crate::protocol::ldif::Entry;

/// Entries of a page: no more than Active Directory gives at once (`MaxPageSize`).
const PAGE: i32 = 1000;

/// What is asked for.
pub struct Asked<'a> {
    pub base: &'a str,
    pub filter: &'a str,
    pub attributes: &'a [String],
    /// For each page.
    pub limit: Duration,
}

/// What was found: each entry once, by its name in small letters, in no other order than that.
#[derive(Debug, Default)]
pub struct Found {
    pub entries: Vec<Entry>,
    /// Other servers that have more of it. They are not asked.
    pub referrals: Vec<String>,
}

impl Asked<'_> {
    /// Errors are for people.
    pub async fn all(&self, ldap: &mut Ldap) -> Result<Found, String> {
        let (mut entries, mut referrals, mut cookie) = (BTreeMap::new(), Vec::new(), Vec::new());
        loop {
            let page = RawControl::from(PagedResults { size: PAGE, cookie: cookie.clone() });
            ldap.with_controls(vec![page]);
            let found = self.search(ldap, self.base, Scope::Subtree, self.attributes.to_vec(), entries.len()).await?;
            let SearchResult(items, end) = found;
            referrals.extend(end.refs);
            let before = entries.len();
            for item in items {
                match item.is_ref() {
                    true => referrals.extend(parse_refs(item.0)),
                    false if item.is_intermediate() => {}
                    false => {
                        let entry = self.whole(ldap, SearchEntry::construct(item)).await?;
                        // One that was renamed or touched between two pages may come twice.
                        entries.insert(entry.dn.to_lowercase(), entry);
                    }
                }
            }
            match next(&end.ctrls)? {
                Some(more) if entries.len() > before || more != cookie => cookie = more,
                Some(_) => return Err("its pages do not end".into()),
                None => break,
            }
        }
        referrals.sort();
        referrals.dedup();
        Ok(Found { entries: entries.into_values().collect(), referrals })
    }

    async fn search(
        &self,
        ldap: &mut Ldap,
        base: &str,
        scope: Scope,
        attributes: Vec<String>,
        so_far: usize,
    ) -> Result<SearchResult, String> {
        let asked = tokio::time::timeout(self.limit, ldap.search(base, scope, self.filter_of(scope), attributes)).await;
        let found = asked.map_err(|_| format!("{} after {so_far} entries", late(self.limit)))?;
        let found = found.map_err(|e| match e {
            LdapError::FilterParsing => format!("`{}` is no filter of RFC 4515", self.filter),
            e => format!("after {so_far} entries the line was lost: {}", plain(&e)),
        })?;
        // RFC 4511, section 4.1.9.
        let why = match found.1.rc {
            0 => return Ok(found),
            3 => "its time limit ended the search".to_owned(),
            4 => "its size limit ended the search (sizeLimitExceeded)".to_owned(),
            10 => format!("it has nothing of this and refers to {}", found.1.refs.join(" ")),
            11 => "an administrative limit ended the search".to_owned(),
            32 => format!("it has no {base}"),
            rc => result(rc, &found.1.text),
        };
        Err(format!("{why}, after {} entries", so_far + found.0.len()))
    }

    fn filter_of(&self, scope: Scope) -> &str {
        if scope == Scope::Base { "(objectClass=*)" } else { self.filter }
    }

    /// An entry with all values: of many Active Directory gives a part (`member;range=0-1499`) and is asked for the others
    /// ([MS-ADTS], section 3.1.1.3.1.3.3).
    async fn whole(&self, ldap: &mut Ldap, found: SearchEntry) -> Result<Entry, String> {
        let dn = found.dn.clone();
        let mut values = values(found);
        let mut parts: Vec<(String, u64)> = values.iter().filter_map(|(name, _)| range(name)).collect();
        parts.dedup();
        for (name, last) in parts {
            let mut from = last + 1;
            loop {
                let asked = format!("{name};range={from}-*");
                let part = self.search(ldap, &dn, Scope::Base, vec![asked.clone()], 0).await;
                let part = part.map_err(|e| format!("{dn}: {asked}: {e}"))?;
                let entry = part.0.into_iter().find(|item| !item.is_ref() && !item.is_intermediate());
                let more = entry.map(|item| self::values(SearchEntry::construct(item))).unwrap_or_default();
                // Nothing of it is no end: what follows was not told.
                let base = |n: &str| n.split(';').next().is_some_and(|n| n.eq_ignore_ascii_case(&name));
                if !more.iter().any(|(n, _)| base(n)) {
                    return Err(format!("{dn}: {asked}: it tells none of these values"));
                }
                let goes_on = more.iter().find_map(|(n, _)| range(n)).map(|(_, last)| last + 1);
                values.extend(more);
                match goes_on {
                    Some(next) if next > from => from = next,
                    Some(_) => return Err(format!("{dn}: the parts of {name} do not end")),
                    None => break,
                }
            }
        }
        for (name, _) in &mut values {
            let options: Vec<&str> =
                name.split(';').filter(|o| !o.to_ascii_lowercase().starts_with("range=")).collect();
            *name = options.join(";");
        }
        values.retain(|(_, value)| !value.is_empty());
        Ok(Entry { line: 0, dn, values })
    }
}

/// Texts and octets alike, a pair for each value.
fn values(found: SearchEntry) -> Vec<(String, Vec<u8>)> {
    let texts = found.attrs.into_iter().flat_map(|(n, all)| all.into_iter().map(move |v| (n.clone(), v.into_bytes())));
    let octets = found.bin_attrs.into_iter().flat_map(|(n, all)| all.into_iter().map(move |v| (n.clone(), v)));
    texts.chain(octets).collect()
}

/// Of `member;range=0-1499` the attribute and the last place; nothing where no more follows (`*`).
fn range(name: &str) -> Option<(String, u64)> {
    let (base, options) = name.split_once(';')?;
    let range = options.split(';').find_map(|o| o.to_ascii_lowercase().strip_prefix("range=").map(str::to_owned))?;
    Some((base.to_owned(), range.split_once('-')?.1.parse().ok()?))
}

/// Where the next page begins. The library's own reader of this control panics at one that is broken.
fn next(controls: &[Control]) -> Result<Option<Vec<u8>>, String> {
    let page = controls.iter().find(|Control(kind, _)| matches!(kind, Some(ControlType::PagedResults)));
    let Some(Control(_, RawControl { val, .. })) = page else { return Ok(None) };
    let octets = val.as_ref().ok_or("its control of pages has no value")?;
    let cookie = parse_tag(octets).ok().and_then(|(_, tag)| match tag.payload {
        PL::C(parts) => parts.into_iter().nth(1),
        PL::P(_) => None,
    });
    match cookie.map(|tag| tag.payload) {
        Some(PL::P(cookie)) => Ok((!cookie.is_empty()).then_some(cookie)),
        _ => Err("its control of pages cannot be read".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(octets: &[u8]) -> Vec<Control> {
        let raw = RawControl { ctype: "1.2.840.113556.1.4.319".into(), crit: false, val: Some(octets.to_vec()) };
        vec![Control(Some(ControlType::PagedResults), raw)]
    }

    #[test]
    fn pages_end_with_an_empty_cookie_and_broken_ones_are_an_error() {
        let made = RawControl::from(PagedResults { size: 0, cookie: b"go on".to_vec() }).val.unwrap_or_default();
        assert_eq!(next(&page(&made)), Ok(Some(b"go on".to_vec())));
        assert_eq!(next(&page(&[0x30, 5, 2, 1, 0, 4, 0])), Ok(None));
        assert_eq!(next(&[]), Ok(None));
        for cut in 0..made.len() {
            assert!(next(&page(&made[..cut])).is_err(), "{cut}");
        }
    }

    #[test]
    fn parts_of_values_are_known_by_their_option() {
        assert_eq!(range("member;range=0-1499"), Some(("member".into(), 1499)));
        assert_eq!(range("member;Range=1500-2999"), Some(("member".into(), 2999)));
        assert_eq!(range("member;range=3000-*"), None);
        assert_eq!(range("cn;lang-de"), None);
        assert_eq!(range("member"), None);
    }
}
