//! What stands at a name while both sides are led to: nothing that the old side needs goes before the window is long over.

use std::collections::BTreeSet;

use ipnet::IpNet;

use crate::model::dns::{RecordSet, SetKey, joined};

/// Octets of an SPF record that still fit into an answer of 512 (RFC 7208, section 3.4).
pub const LONGEST: usize = 450;
/// DNS lookups of one check (RFC 7208, section 4.6.4).
pub const LOOKUPS: usize = 10;

/// Whether both sides need the data of this set while a window moves one of `held`: the SPF policy of a name whose MX moves, and the
/// TLSA of a name that keeps its name while its address moves.
pub fn shared<'k>(key: &SetKey, held: impl IntoIterator<Item = &'k SetKey>) -> bool {
    held.into_iter().any(|h| match (h.kind.as_str(), key.kind.as_str()) {
        ("MX", "TXT") => key.name == h.name || part_of_policy(&key.name, &h.name),
        ("A" | "AAAA", "TLSA") => key.name.strip_prefix("_25._tcp.") == Some(&h.name),
        _ => false,
    })
}

/// `_spf1.acme.example.`: where addresses stand that did not fit into the policy itself.
fn part_of_policy(name: &str, domain: &str) -> bool {
    let number = name.strip_suffix(domain).and_then(|front| front.strip_prefix("_spf")?.strip_suffix('.'));
    number.is_some_and(|n| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit()))
}

/// Whether a set that nobody names any more may be needed by the old side: answers lead to its addresses, its certificates are
/// compared with it, and mail that is still on its way was signed with its key.
pub fn of_old_side(key: &SetKey) -> bool {
    let text = key.name.contains("._domainkey.")
        || key.name.strip_prefix("_spf").is_some_and(|n| n.starts_with(|c: char| c.is_ascii_digit()));
    matches!(key.kind.as_str(), "A" | "AAAA" | "TLSA") || (key.kind == "TXT" && text)
}

/// The data of both, where `wanted` alone would take something away that the old side needs. `None`: it takes nothing away.
pub fn both(observed: &RecordSet, wanted: &RecordSet) -> Option<RecordSet> {
    let data = match wanted.key.kind.as_str() {
        "TLSA" if !observed.data.is_subset(&wanted.data) => observed.data.union(&wanted.data).cloned().collect(),
        "TXT" => texts(&observed.data, &wanted.data)?,
        _ => return None,
    };
    Some(RecordSet { data, ..wanted.clone() })
}

/// The SPF policy of a set of TXT records, as one text.
pub fn policy(data: &BTreeSet<String>) -> Option<(&String, String)> {
    data.iter().map(|d| (d, joined(d))).find(|(_, text)| {
        text.get(..6).is_some_and(|v| v.eq_ignore_ascii_case("v=spf1"))
            && text[6..].chars().next().is_none_or(|c| c == ' ')
    })
}

/// Lookups that the policy itself asks for, without those behind its includes.
pub fn lookups(text: &str) -> usize {
    let asks = |t: &str| {
        let term = t.trim_start_matches(['+', '-', '~', '?']).to_ascii_lowercase();
        let name = term.split([':', '=', '/']).next().unwrap_or_default();
        matches!(name, "include" | "redirect" | "a" | "mx" | "ptr" | "exists")
    };
    text.split_whitespace().skip(1).filter(|t| asks(t)).count()
}

fn texts(observed: &BTreeSet<String>, wanted: &BTreeSet<String>) -> Option<BTreeSet<String>> {
    let (record, old) = policy(observed)?;
    let mut data = wanted.clone();
    match policy(wanted) {
        None => drop(data.insert(record.clone())),
        Some((other, new)) => {
            let merged = merged(&old, &new)?;
            data.remove(other);
            data.insert(quoted(&merged));
        }
    }
    Some(data)
}

/// Both policies in one: addresses before what asks DNS, and of the two ends the one that refuses less. `None`: `new` allows all that
/// `old` does.
fn merged(old: &str, new: &str) -> Option<String> {
    let terms = |text: &str| text.split_whitespace().skip(1).map(str::to_owned).collect::<Vec<_>>();
    let (old, new) = (terms(old), terms(new));
    let allows = |t: &&String| !t.starts_with(['-', '~', '?']) && end(t).is_none();
    let has = |term: &str| new.iter().filter(allows).any(|n| covers(n, term));
    let missing: Vec<String> = old
        .iter()
        .filter(allows)
        .map(|t| match t.split_at_checked(9) {
            // Where the other policy ends by itself nobody would follow it.
            Some((head, domain)) if head.eq_ignore_ascii_case("redirect=") => format!("include:{domain}"),
            _ => t.clone(),
        })
        .filter(|t| !t.contains('=') && !has(t))
        .collect();
    // Without an end it is neutral (RFC 7208, section 4.7), unless another policy says it.
    let says = |terms: &[String]| {
        let handed = terms.iter().any(|t| t.to_ascii_lowercase().starts_with("redirect="));
        terms.iter().find_map(|t| end(t)).or((!handed).then_some('?'))
    };
    let rank = |c: char| "-~?+".find(c).unwrap_or(0);
    let (was, is) = (says(&old), says(&new));
    let laxer = was.filter(|was| is.is_some_and(|is| rank(*was) > rank(is)));
    if missing.is_empty() && laxer.is_none() {
        return None;
    }
    let (addresses, others): (Vec<String>, Vec<String>) = missing.into_iter().partition(|t| net(t).is_some());
    let rest: Vec<String> = new.iter().filter(|t| end(t).is_none()).cloned().collect();
    let first = rest.iter().position(|t| net(t).is_none()).unwrap_or(rest.len());
    let modifiers = rest.iter().position(|t| t.contains('=')).unwrap_or(rest.len()).max(first);
    let mut out = vec!["v=spf1".to_owned()];
    out.extend_from_slice(&rest[..first]);
    out.extend(addresses);
    out.extend_from_slice(&rest[first..modifiers]);
    out.extend(others);
    let last = laxer.or(new.iter().find_map(|t| end(t)));
    out.extend(last.map(|c| if c == '+' { "all".to_owned() } else { format!("{c}all") }));
    out.extend_from_slice(&rest[modifiers..]);
    Some(out.join(" "))
}

/// The qualifier of an `all`.
fn end(term: &str) -> Option<char> {
    let (sign, name) = match term.chars().next() {
        Some(c @ ('+' | '-' | '~' | '?')) => (c, &term[1..]),
        _ => ('+', term),
    };
    name.eq_ignore_ascii_case("all").then_some(sign)
}

/// The addresses of `ip4:` and `ip6:`.
fn net(term: &str) -> Option<IpNet> {
    let (kind, value) = term.trim_start_matches('+').split_once(':')?;
    if !matches!(kind.to_ascii_lowercase().as_str(), "ip4" | "ip6") {
        return None;
    }
    value.parse().ok().or_else(|| value.parse::<std::net::IpAddr>().ok().map(IpNet::from))
}

fn covers(wide: &str, narrow: &str) -> bool {
    match (net(wide), net(narrow)) {
        (Some(wide), Some(narrow)) => wide.contains(&narrow),
        (None, None) => wide.trim_start_matches('+').eq_ignore_ascii_case(narrow.trim_start_matches('+')),
        _ => false,
    }
}

/// Strings of at most 255 octets (RFC 1035, section 3.3), quoted; a policy is ASCII without quotes.
fn quoted(text: &str) -> String {
    let parts: Vec<String> =
        text.as_bytes().chunks(250).map(|c| format!("\"{}\"", String::from_utf8_lossy(c))).collect();
    parts.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(name: &str, kind: &str, data: &[&str]) -> RecordSet {
        let key = SetKey { name: name.into(), kind: kind.into() };
        RecordSet { key, ttl: 300, data: data.iter().map(|d| (*d).to_owned()).collect() }
    }

    #[test]
    fn a_policy_keeps_what_the_old_side_sends_from_and_refuses_no_more_than_before() {
        for (old, new, merged) in [
            ("v=spf1 ip4:192.0.2.1 -all", "v=spf1 ip4:192.0.2.2 -all", Some("v=spf1 ip4:192.0.2.2 ip4:192.0.2.1 -all")),
            ("v=spf1 ip4:192.0.2.4 ~all", "v=spf1 ip4:192.0.2.4/30 -all", Some("v=spf1 ip4:192.0.2.4/30 ~all")),
            ("v=spf1 ip4:192.0.2.4 -all", "v=spf1 ip4:192.0.2.4/30 include:crm.example ~all", None),
            (
                "v=spf1 ip6:2001:db8::1 a:old.acme.example mx -all",
                "v=spf1 ip4:192.0.2.2 include:crm.example -all",
                Some("v=spf1 ip4:192.0.2.2 ip6:2001:db8::1 include:crm.example a:old.acme.example mx -all"),
            ),
            (
                "v=spf1 redirect=old.example",
                "v=spf1 ip4:192.0.2.2 -all",
                Some("v=spf1 ip4:192.0.2.2 include:old.example -all"),
            ),
            ("v=spf1 mx", "v=spf1 mx -all", Some("v=spf1 mx ?all")),
            ("v=spf1 -ip4:192.0.2.9 mx -all", "v=spf1 mx -all", None),
        ] {
            let quoted = |t: &str| format!("\"{t}\"");
            let (old, new) = (set("a.", "TXT", &[&quoted(old)]), set("a.", "TXT", &[&quoted(new), "\"other\""]));
            let both = both(&old, &new);
            let found = both.as_ref().map(|b| policy(&b.data).expect("a policy").1);
            assert_eq!(found.as_deref(), merged, "{old:?} {new:?}");
            assert!(
                both.is_none_or(|b| b.data.contains("\"other\"") && b.data.len() == 2),
                "other texts are the topology's"
            );
        }
    }

    #[test]
    fn a_policy_stays_where_the_topology_has_none() {
        let old = set("a.", "TXT", &["\"v=spf1 mx\" \" -all\""]);
        assert_eq!(policy(&old.data).expect("a policy").1, "v=spf1 mx -all");
        let new = set("a.", "TXT", &["\"x\""]);
        assert_eq!(
            both(&old, &new).expect("both").data,
            BTreeSet::from(["\"x\"".into(), "\"v=spf1 mx\" \" -all\"".into()])
        );
        assert_eq!(both(&new, &old), None);
        assert_eq!(lookups("v=spf1 ip4:192.0.2.1 a mx include:b ?exists:%{i}.c -all"), 4);
    }

    #[test]
    fn digests_of_both_certificates_stand_beside_each_other() {
        let name = "_25._tcp.mail.acme.example.";
        let (old, new) = (set(name, "TLSA", &["3 1 1 aa"]), set(name, "TLSA", &["3 1 1 bb"]));
        let two = both(&old, &new).expect("both");
        assert_eq!(two.data.len(), 2);
        assert_eq!(both(&old, &two), None, "it is what the topology wants already");
    }

    #[test]
    fn what_both_sides_need_is_known_by_its_name() {
        let key = |name: &str, kind: &str| SetKey { name: name.into(), kind: kind.into() };
        let held = [key("acme.example.", "MX"), key("mail.acme.example.", "A")];
        for (name, kind, is) in [
            ("acme.example.", "TXT", true),
            ("_spf2.acme.example.", "TXT", true),
            ("_spfx.acme.example.", "TXT", false),
            ("_dmarc.acme.example.", "TXT", false),
            ("_25._tcp.mail.acme.example.", "TLSA", true),
            ("_25._tcp.new.acme.example.", "TLSA", false),
        ] {
            assert_eq!(shared(&key(name, kind), &held), is, "{name} {kind}");
        }
        assert!(
            of_old_side(&key("s1._domainkey.acme.example.", "TXT")) && of_old_side(&key("_spf1.acme.example.", "TXT"))
        );
        assert!(!of_old_side(&key("acme.example.", "TXT")) && !of_old_side(&key("www.acme.example.", "CNAME")));
    }
}
