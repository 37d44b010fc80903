//! From the login that somebody types to the name by which the routes know them, and on to the name that a backend knows.

use std::collections::BTreeMap;
use std::net::IpAddr;

/// How logins are read. In this order: characters are substituted, capitals become small, a suffix is appended where there is
/// no domain, the domain is mapped.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rewrite {
    /// `%` -> `@`, as in `bob%acme.example`; longer ones before shorter ones.
    pub substitutes: Vec<(String, String)>,
    pub lower_case: bool,
    /// By the address that the client has connected to: hosting companies gave each domain its own, so that users of
    /// different domains could have one name. With its `@`.
    pub suffixes: BTreeMap<IpAddr, String>,
    /// Domains that have got another name.
    pub domains: BTreeMap<String, String>,
}

/// A rewritten name that is no login any more. Names no secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RewriteFault {
    #[error("nothing is left of the login after its characters are substituted")]
    Empty,
    #[error("the login is longer than 512 octets with its suffix")]
    TooLong,
}

impl Rewrite {
    /// `typed` on a connection to `local`.
    pub fn user(&self, typed: &str, local: IpAddr) -> Result<String, RewriteFault> {
        let mut user = self.substituted(typed);
        if self.lower_case {
            user = user.to_lowercase();
        }
        if !user.contains('@')
            && let Some(suffix) = self.suffixes.get(&local.to_canonical())
        {
            user += suffix;
        }
        if let Some((name, domain)) = user.rsplit_once('@')
            && let Some(mapped) = self.domains.get(&domain.to_lowercase())
        {
            user = format!("{name}@{mapped}");
        }
        match user.len() {
            0 => Err(RewriteFault::Empty),
            1..=512 => Ok(user),
            _ => Err(RewriteFault::TooLong),
        }
    }

    /// In one pass from left to right, so that what one substitution writes is not read by another.
    fn substituted(&self, typed: &str) -> String {
        let mut out = String::with_capacity(typed.len());
        let mut rest = typed;
        while let Some(first) = rest.chars().next() {
            let found = self.substitutes.iter().find(|(from, _)| !from.is_empty() && rest.starts_with(from.as_str()));
            match found {
                Some((from, to)) => {
                    out += to;
                    rest = &rest[from.len()..];
                }
                None => {
                    out.push(first);
                    rest = &rest[first.len_utf8()..];
                }
            }
        }
        out
    }
}

/// How a backend wants to be told the user: `{user}` is the whole name, `{name}` what stands before the last `@`, `{domain}`
/// what stands behind it. `{user}*migrate` is a master user of Dovecot, `{domain}/{name}` one of Exchange 2007.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoginForm(Vec<Part>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Text(String),
    User,
    Name,
    Domain,
}

impl Default for LoginForm {
    fn default() -> Self {
        Self(vec![Part::User])
    }
}

impl std::str::FromStr for LoginForm {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut parts = Vec::new();
        let mut rest = text;
        while !rest.is_empty() {
            let (before, behind) = rest.split_once('{').unwrap_or((rest, ""));
            if before.contains('}') {
                return Err(format!("`{text}`: a `}}` has no `{{`"));
            }
            if !before.is_empty() {
                parts.push(Part::Text(before.to_owned()));
            }
            if rest.len() == before.len() {
                break;
            }
            let (word, behind) = behind.split_once('}').ok_or_else(|| format!("`{text}`: a `{{` is not closed"))?;
            parts.push(match word {
                "user" => Part::User,
                "name" => Part::Name,
                "domain" => Part::Domain,
                other => {
                    return Err(format!("`{text}`: there is no {{{other}}}; write {{user}}, {{name}} or {{domain}}"));
                }
            });
            rest = behind;
        }
        match parts.iter().any(|p| matches!(p, Part::User | Part::Name)) {
            true => Ok(Self(parts)),
            // Everybody would be one user there.
            false => Err(format!("`{text}` names no user; write {{user}} or {{name}}")),
        }
    }
}

impl LoginForm {
    pub fn of(&self, user: &str) -> String {
        let (name, domain) = user.rsplit_once('@').unwrap_or((user, ""));
        self.0
            .iter()
            .map(|part| match part {
                Part::Text(text) => text,
                Part::User => user,
                Part::Name => name,
                Part::Domain => domain,
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANY: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));

    #[test]
    fn a_suffix_goes_by_the_address_that_was_called() {
        let mut r = Rewrite::default();
        r.suffixes.insert("192.0.2.1".parse().unwrap(), "@acme.example".into());
        r.suffixes.insert("2001:db8::2".parse().unwrap(), "@beta.example".into());
        assert_eq!(r.user("bob", ANY).unwrap(), "bob@acme.example");
        assert_eq!(r.user("bob", "2001:db8::2".parse().unwrap()).unwrap(), "bob@beta.example");
        // A socket for both families shows IPv4 so.
        assert_eq!(r.user("bob", "::ffff:192.0.2.1".parse().unwrap()).unwrap(), "bob@acme.example");
        assert_eq!(r.user("bob", "192.0.2.9".parse().unwrap()).unwrap(), "bob");
        assert_eq!(r.user("bob@other.example", ANY).unwrap(), "bob@other.example");
    }

    #[test]
    fn characters_are_substituted_once_and_before_the_suffix() {
        let mut r =
            Rewrite { substitutes: vec![("%".into(), "@".into()), ("@".into(), "#".into())], ..Rewrite::default() };
        r.suffixes.insert(ANY, "@acme.example".into());
        assert_eq!(r.user("bob%beta.example", ANY).unwrap(), "bob@beta.example");
        assert_eq!(r.user("a@b", ANY).unwrap(), "a#b@acme.example");
        r.substitutes = vec![("x".into(), String::new())];
        r.suffixes.clear();
        assert_eq!(r.user("xx", ANY), Err(RewriteFault::Empty));
        assert_eq!(r.user(&"y".repeat(600), ANY), Err(RewriteFault::TooLong));
    }

    #[test]
    fn capitals_and_domains() {
        let mut r = Rewrite { lower_case: true, ..Rewrite::default() };
        r.domains.insert("old.example".into(), "new.example".into());
        assert_eq!(r.user("Bob@OLD.example", ANY).unwrap(), "bob@new.example");
        r.lower_case = false;
        assert_eq!(r.user("Bob@OLD.example", ANY).unwrap(), "Bob@new.example");
        assert_eq!(r.user("Bob@elsewhere", ANY).unwrap(), "Bob@elsewhere");
    }

    #[test]
    fn forms_of_backends() {
        let form = |text: &str| text.parse::<LoginForm>();
        assert_eq!(LoginForm::default().of("bob@a"), "bob@a");
        assert_eq!(form("{user}*migrate").unwrap().of("bob@a"), "bob@a*migrate");
        assert_eq!(form("{domain}\\{name}").unwrap().of("bob@a"), "a\\bob");
        assert_eq!(form("{name}").unwrap().of("bob"), "bob");
        for bad in ["", "admin", "{domain}", "{user", "user}", "{mailbox}", "{user}}"] {
            assert!(form(bad).is_err(), "{bad}");
        }
    }
}
