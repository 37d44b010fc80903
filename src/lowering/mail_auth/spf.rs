//! SPF (RFC 7208): one policy as its TXT records, exact in its addresses and within the limits of a check.

use std::net::IpAddr;

use ipnet::IpNet;

/// What receivers think of everybody else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Others {
    Fail,
    Softfail,
    Neutral,
}

impl Others {
    fn term(self) -> &'static str {
        match self {
            Self::Fail => "-all",
            Self::Softfail => "~all",
            Self::Neutral => "?all",
        }
    }
}

/// Who may send for a domain.
#[derive(Debug, Clone, PartialEq)]
pub struct Policy {
    pub addresses: Vec<IpAddr>,
    /// Host names of senders whose addresses the topology does not know (`a:`): one lookup each.
    pub hosts: Vec<String>,
    /// Domains whose senders may send too (`include:`).
    pub includes: Vec<String>,
    pub others: Others,
}

/// Octets of a record that still fit into an answer of 512 (RFC 7208, section 3.4).
pub const LONGEST: usize = 450;
/// DNS lookups of one check (RFC 7208, section 4.6.4).
pub const LOOKUPS: usize = 10;

/// One TXT record: its absolute name without the last dot, and its text.
pub type Text = (String, String);

impl Policy {
    /// The records of a domain, its own first. Addresses come before names and includes, so that a receiver asks DNS only for
    /// what no address matched; neighbours are joined to networks, exactly. A policy that does not fit into one record has its
    /// addresses in records of `_spf1`, `_spf2`.. below the domain.
    pub fn records(&self, domain: &str) -> Vec<Text> {
        let addresses = self.address_terms();
        let mut rest: Vec<String> = self.hosts.iter().map(|h| format!("a:{h}")).collect();
        rest.extend(self.includes.iter().map(|i| format!("include:{i}")));
        let whole = text(addresses.iter().chain(&rest), self.others.term());
        if whole.len() <= LONGEST || addresses.len() < 2 {
            return vec![(domain.to_owned(), whole)];
        }
        // What matches no address of a part is no match for the include: its own `all` only ends it (section 5.2).
        let mut parts: Vec<Vec<String>> = vec![Vec::new()];
        let mut used = text([].iter(), "-all").len();
        for term in addresses {
            if used + term.len() + 1 > LONGEST {
                parts.push(Vec::new());
                used = text([].iter(), "-all").len();
            }
            used += term.len() + 1;
            if let Some(last) = parts.last_mut() {
                last.push(term);
            }
        }
        let name = |i: usize| format!("_spf{}.{domain}", i + 1);
        let includes: Vec<String> = (0..parts.len()).map(|i| format!("include:{}", name(i))).collect();
        let own = text(includes.iter().chain(&rest), self.others.term());
        let mut out = vec![(domain.to_owned(), own)];
        out.extend(parts.iter().enumerate().map(|(i, terms)| (name(i), text(terms.iter(), "-all"))));
        out
    }

    fn address_terms(&self) -> Vec<String> {
        let nets: Vec<IpNet> = self.addresses.iter().copied().map(IpNet::from).collect();
        let mut nets = IpNet::aggregate(&nets);
        nets.sort_by_key(|n| (matches!(n, IpNet::V6(_)), *n));
        nets.into_iter()
            .map(|n| {
                let kind = if matches!(n, IpNet::V4(_)) { "ip4" } else { "ip6" };
                if n.prefix_len() == n.max_prefix_len() {
                    format!("{kind}:{}", n.addr())
                } else {
                    format!("{kind}:{n}")
                }
            })
            .collect()
    }
}

fn text<'a>(terms: impl Iterator<Item = &'a String>, all: &'a str) -> String {
    let mut out = "v=spf1".to_owned();
    for term in terms.map(String::as_str).chain([all]) {
        out.push(' ');
        out.push_str(term);
    }
    out
}

/// Lookups that a check of this text makes: one for each term that asks DNS, and those of the texts that `of` knows behind an
/// include. `of` gives what the topology knows; other records cost the one lookup that finds them. Ends behind 100: records that
/// include themselves have no end.
pub fn lookups(policy: &str, of: &dyn Fn(&str) -> Option<String>) -> usize {
    let mut total = 0;
    let mut open = vec![policy.to_owned()];
    while let Some(text) = open.pop() {
        for term in text.split_whitespace().skip(1).map(|t| t.trim_start_matches(['+', '-', '~', '?'])) {
            let (name, value) = term.split_at(term.find([':', '=', '/']).unwrap_or(term.len()));
            match name.to_ascii_lowercase().as_str() {
                "include" | "redirect" => {
                    total += 1;
                    open.extend(of(value.trim_start_matches([':', '='])));
                }
                "a" | "mx" | "ptr" | "exists" => total += 1,
                _ => {}
            }
            if total > 100 {
                return total;
            }
        }
    }
    total
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(addresses: &[&str], includes: &[&str]) -> Policy {
        Policy {
            addresses: addresses.iter().map(|a| a.parse().expect("address")).collect(),
            hosts: vec!["old.acme.example".into()],
            includes: includes.iter().map(|i| (*i).to_owned()).collect(),
            others: Others::Softfail,
        }
    }

    #[test]
    fn addresses_come_first_and_all_comes_last() {
        let made = policy(&["2001:db8::1", "192.0.2.9", "192.0.2.9"], &["crm.example"]).records("acme.example");
        let text = "v=spf1 ip4:192.0.2.9 ip6:2001:db8::1 a:old.acme.example include:crm.example ~all";
        assert_eq!(made, [("acme.example".to_owned(), text.to_owned())]);
    }

    #[test]
    fn neighbours_become_a_network_and_nobody_else_joins_it() {
        let made = policy(&["192.0.2.4", "192.0.2.5", "192.0.2.6", "192.0.2.7", "192.0.2.8"], &[]).records("a.example");
        assert_eq!(made[0].1, "v=spf1 ip4:192.0.2.4/30 ip4:192.0.2.8 a:old.acme.example ~all");
    }

    #[test]
    fn a_long_policy_is_split_and_counted() {
        let many: Vec<String> = (0..60).map(|i| format!("198.51.100.{}", i * 2)).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        let made = policy(&many, &["crm.example"]).records("acme.example");
        assert_eq!(made.len(), 4);
        assert_eq!(
            made[0].1,
            "v=spf1 include:_spf1.acme.example include:_spf2.acme.example include:_spf3.acme.example a:old.acme.example include:crm.example ~all"
        );
        assert!(made.iter().all(|(_, t)| t.len() <= LONGEST), "{made:?}");
        let find = |n: &str| made.iter().find(|(name, _)| name == n).map(|(_, t)| t.clone());
        assert_eq!(lookups(&made[0].1, &find), 5);
    }

    #[test]
    fn a_record_that_includes_itself_ends() {
        let of = |_: &str| Some("v=spf1 include:a.example -all".to_owned());
        assert!(lookups("v=spf1 include:a.example -all", &of) > LOOKUPS);
    }
}
