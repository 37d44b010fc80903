//! What a directory is asked about a user, and what its answer means.

use super::super::config;
use super::super::route::Route;

/// What an entry says of its user.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Answer {
    /// Nothing when no value means a side.
    pub route: Option<Route>,
    /// Names that the backends are told instead of the user's.
    pub login_old: Option<String>,
    pub login_new: Option<String>,
}

impl Answer {
    /// The name at the servers of a side, where the entry tells one.
    pub fn login(&self, route: Route) -> Option<&str> {
        match route {
            Route::Old => self.login_old.as_deref(),
            Route::New => self.login_new.as_deref(),
            Route::Held | Route::Blocked => None,
        }
    }
}

/// A value in a filter (RFC 4515 section 3): whatever stands in it is compared and never read as a filter. Escaped is more than has
/// to be, so that no reader of filters can differ about it.
pub fn escape(value: &str) -> String {
    let mut out = String::with_capacity(value.len());
    for octet in value.bytes() {
        match octet {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'@' | b'.' | b'-' | b'_' | b'+' => out.push(octet.into()),
            other => out += &format!("\\{other:02x}"),
        }
    }
    out
}

/// The filter of a user. `{user}`, `{name}` and `{domain}` are put in once: what is put in is not looked through again.
pub fn filter(form: &str, user: &str) -> String {
    let (name, domain) = user.rsplit_once('@').unwrap_or((user, ""));
    let mut out = String::with_capacity(form.len() + user.len());
    let mut rest = form;
    while let Some(at) = rest.find('{') {
        out += &rest[..at];
        rest = &rest[at..];
        let word =
            [("{user}", user), ("{name}", name), ("{domain}", domain)].into_iter().find(|(w, _)| rest.starts_with(w));
        match word {
            Some((word, value)) => {
                out += &escape(value);
                rest = &rest[word.len()..];
            }
            None => {
                out.push('{');
                rest = &rest[1..];
            }
        }
    }
    out + rest
}

/// Whether a value means what a pattern says: without case, `*` at the end stands for any end.
fn means(pattern: &str, value: &str) -> bool {
    let (pattern, value) = (pattern.to_lowercase(), value.to_lowercase());
    pattern.strip_suffix('*').map_or(pattern == value, |begin| value.starts_with(begin))
}

/// The side that the values of an attribute mean.
pub fn side(config: &config::Directory, values: &[String]) -> Result<Option<Route>, String> {
    let all = [
        (Route::Old, &config.old),
        (Route::New, &config.new),
        (Route::Held, &config.held),
        (Route::Blocked, &config.blocked),
    ];
    // A pattern with an end says more than one without: `blocked` beside `*`.
    let fits = |patterns: &[String], exact: bool| {
        patterns.iter().filter(|p| p.ends_with('*') != exact).any(|p| values.iter().any(|v| means(p, v)))
    };
    for exact in [true, false] {
        let found: Vec<Route> = all.iter().filter(|(_, p)| fits(p, exact)).map(|(r, _)| *r).collect();
        match found.as_slice() {
            [] => {}
            [route] => return Ok(Some(*route)),
            [one, other, ..] => {
                let (one, other) = (one.as_str(), other.as_str());
                return Err(format!("its `{}` means {one} and {other}", config.attribute));
            }
        }
    }
    Ok(None)
}

/// The one value of an attribute that is a login.
pub fn login(attribute: Option<&str>, values: &[String]) -> Result<Option<String>, String> {
    let Some(attribute) = attribute else { return Ok(None) };
    match values {
        [] => Ok(None),
        [one]
            if one.is_empty()
                || one.len() > 512
                || one.contains(|c: char| c.is_control() || matches!(c, '\u{2028}' | '\u{2029}')) =>
        {
            Err(format!("its `{attribute}` is no login"))
        }
        [one] => Ok(Some(one.clone())),
        _ => Err(format!("its `{attribute}` has {} values", values.len())),
    }
}

#[cfg(test)]
mod tests {
    use ldap3::asn1::{ASNTag as _, PL, StructureTag};

    use super::*;

    fn directory() -> config::Directory {
        let text = r#"
servers = ["ldap://x"]
base = "dc=x"
filter = "(mail={user})"
attribute = "side"
old = ["old*"]
new = ["new", "CN=moved,DC=x"]
blocked = ["oldest"]
"#;
        toml::from_str(text).unwrap()
    }

    /// All octets that a filter compares with, as a server reads it.
    fn values(tag: &StructureTag, out: &mut Vec<Vec<u8>>) {
        match &tag.payload {
            PL::P(octets) => out.push(octets.clone()),
            PL::C(tags) => tags.iter().for_each(|t| values(t, out)),
        }
    }

    #[test]
    fn every_octet_in_a_name_is_compared_and_none_is_read() {
        for c in (0..0x100u32).filter_map(char::from_u32) {
            for user in [format!("a{c}b@acme.example"), format!("{c}"), format!("*)({c}mail=*"), format!("x@{c}")] {
                let text = filter("(&(objectClass=user)(|(mail={user})(uid={name})(dc={domain})))", &user);
                assert!(text.is_ascii() && !text.contains(char::is_control), "{text:?}");
                let parsed = ldap3::parse_filter(&text).unwrap_or_else(|()| panic!("{text}")).into_structure();
                let (name, domain) = user.rsplit_once('@').unwrap_or((&user, ""));
                let mut seen = Vec::new();
                values(&parsed, &mut seen);
                let expected = ["objectClass", "user", "mail", &user, "uid", name, "dc", domain];
                let expected: Vec<Vec<u8>> = expected.iter().map(|s| s.as_bytes().to_vec()).collect();
                assert_eq!(seen, expected, "{user:?}");
            }
        }
    }

    #[test]
    fn what_is_put_in_is_not_looked_through_again() {
        assert_eq!(filter("(a={user})(b={name})", "{domain}@x"), "(a=\\7bdomain\\7d@x)(b=\\7bdomain\\7d)");
        assert_eq!(filter("{odd}{user", "x"), "{odd}{user");
    }

    #[test]
    fn values_mean_one_side_or_none() {
        let d = directory();
        let of = |values: &[&str]| side(&d, &values.iter().map(|v| (*v).to_owned()).collect::<Vec<_>>());
        assert_eq!(of(&["OLD-1"]), Ok(Some(Route::Old)));
        assert_eq!(of(&["cn=staff,dc=x", "cn=Moved,dc=x"]), Ok(Some(Route::New)));
        assert_eq!(of(&["oldest"]), Ok(Some(Route::Blocked)), "the exact one says more");
        assert_eq!(of(&[]), Ok(None));
        assert_eq!(of(&["elsewhere"]), Ok(None));
        assert!(of(&["new", "oldest"]).is_err());
    }

    #[test]
    fn a_login_of_the_directory_is_one_line() {
        let of = |values: &[&str]| login(Some("uid"), &values.iter().map(|v| (*v).to_owned()).collect::<Vec<_>>());
        assert_eq!(of(&["ann"]), Ok(Some("ann".into())));
        assert_eq!(of(&[]), Ok(None));
        for bad in [&["a\r\nb"][..], &[""], &["a", "b"], &["a\u{2028}"]] {
            assert!(of(bad).is_err(), "{bad:?}");
        }
    }
}
