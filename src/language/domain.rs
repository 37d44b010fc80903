//! Domain names: what makes one, and why a text is none.

use std::borrow::Cow;

/// Octets of a label and of a name as DNS carries them, without the last dot (RFC 1035, sections 2.3.4 and 3.1).
const LABEL: usize = 63;
const NAME: usize = 253;

/// A host name of one label (RFC 1123, section 2.1).
pub(super) fn is_label(t: &str) -> bool {
    (1..=LABEL).contains(&t.len())
        && t.chars().all(|c| c.is_ascii_alphanumeric() || c == '-')
        && !t.starts_with('-')
        && !t.ends_with('-')
}

/// Why a text is no domain name; `None` where it is one. A leading `*.` and labels with `_` are names too (RFC 4592, RFC 8552);
/// names in other scripts are those of IDNA (RFC 5891; UTS 46).
pub(super) fn wrong(t: &str) -> Option<String> {
    let example = || Some("as in mail.acme.example, without a dot at the end".to_owned());
    let body = t.strip_prefix("*.").unwrap_or(t);
    if !body.contains('.') || body.ends_with('.') || body.contains(|c: char| c.is_whitespace() || c == '/') {
        return example();
    }
    if let Some(label) = body.split('.').find(|l| l.is_empty() || l.starts_with('-') || l.ends_with('-')) {
        return Some(match label {
            "" => "two dots stand side by side".into(),
            l => format!("the label `{l}` begins or ends with `-`"),
        });
    }
    let ascii = match in_ascii(body) {
        Ok(a) => a,
        Err(label) => return Some(format!("the label `{label}` is no name in any script that DNS can carry (IDNA)")),
    };
    if let Some((label, written)) = ascii.split('.').zip(body.split('.')).find(|(l, _)| l.len() > LABEL) {
        let n = label.len();
        return Some(format!("a label has {LABEL} octets at most (RFC 1035), `{}…` has {n}", head(written)));
    }
    let bad = ascii.chars().find(|c| !(c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.')));
    if let Some(c) = bad {
        return Some(format!("it cannot hold `{c}`: {}", example().unwrap_or_default()));
    }
    if ascii.len() > NAME {
        return Some(format!("a name has {NAME} octets at most (RFC 1035), this one {}", ascii.len()));
    }
    let number = |l: &str| l.bytes().all(|b| b.is_ascii_digit());
    ascii.rsplit('.').next().filter(|l| number(l)).and_then(|_| example())
}

/// The form that DNS carries; the first label that has none is the error. Labels in `xn--` form must be ones of IDNA too.
fn in_ascii(body: &str) -> Result<Cow<'_, str>, &str> {
    let coded = |l: &str| l.get(..4).is_some_and(|p| p.eq_ignore_ascii_case("xn--"));
    if body.is_ascii() && !body.split('.').any(coded) {
        return Ok(Cow::Borrowed(body));
    }
    let plain = |l: &str| l.is_ascii() && !coded(l);
    match body.split('.').find(|l| !plain(l) && idna::domain_to_ascii_strict(l).is_err() && idna_length(l)) {
        Some(label) => Err(label),
        None => Ok(Cow::Owned(body.split('.').map(|l| code(l, plain(l))).collect::<Vec<_>>().join("."))),
    }
}

/// A label that is only too long has a better message.
fn idna_length(label: &str) -> bool {
    idna::domain_to_ascii(label).is_err()
}

fn code(label: &str, plain: bool) -> String {
    if plain { label.to_owned() } else { idna::domain_to_ascii(label).unwrap_or_default() }
}

fn head(label: &str) -> String {
    label.chars().take(12).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn domain_names() {
        let long = format!("{}.example", "a".repeat(63));
        let good = [
            "acme.example",
            "*.acme.example",
            "_dmarc.acme.example",
            "bücher.example",
            "xn--bcher-kva.example",
            "پست.example",
            "10.in-addr.arpa",
            &long,
        ];
        for name in good {
            assert_eq!(wrong(name), None, "{name}");
        }
        let bad = [
            ("acme", "as in mail"),
            ("acme.example.", "without a dot at the end"),
            ("a..example", "two dots"),
            ("-a.example", "begins or ends"),
            ("a b.example", "as in mail"),
            ("a,b.example", "cannot hold `,`"),
            ("10.0.0.1", "as in mail"),
            ("xn--zzzzzzz99999.example", "no name in any script"),
            ("a\u{2488}b.example", "IDNA"),
        ];
        for (name, why) in bad {
            assert!(wrong(name).is_some_and(|w| w.contains(why)), "{name}: {:?}", wrong(name));
        }
        assert!(wrong(&format!("a{long}")).is_some_and(|w| w.contains("63 octets") && w.contains("has 64")));
        assert!(wrong(&format!("{}.example", "ü".repeat(60))).is_some_and(|w| w.contains("63 octets")));
        assert!(wrong(&format!("{}example", "abcdefghi.".repeat(26))).is_some_and(|w| w.contains("253 octets")));
    }
}
