//! Host patterns: `mbx-[01:62].acme.example`, `db-[a:f]`, `[1:9:2]`, and the port behind a name.

/// More hosts than this in one pattern is a slip.
const MOST: usize = 100_000;

/// Splits `host:2222` and `[2001:db8::1]:2222`; a bare IPv6 address has no port.
pub fn port(text: &str) -> (&str, Option<&str>) {
    if let Some(rest) = text.strip_prefix('[')
        && let Some((inside, after)) = rest.split_once(']')
        && inside.parse::<std::net::Ipv6Addr>().is_ok()
    {
        return (inside, after.strip_prefix(':'));
    }
    // A colon inside of brackets belongs to a range.
    let outside = text.rfind(']').map_or(0, |i| i + 1);
    match text[outside..].split_once(':') {
        Some((_, port)) if !port.contains(':') && port.chars().all(|c| c.is_ascii_digit()) && !port.is_empty() => {
            (&text[..text.len() - port.len() - 1], Some(port))
        }
        _ => (text, None),
    }
}

/// All names of a pattern.
pub fn expand(text: &str) -> Result<Vec<String>, String> {
    let mut out = vec![String::new()];
    let mut rest = text;
    while let Some(at) = rest.find('[') {
        let (before, tail) = rest.split_at(at);
        let Some((inside, after)) = tail[1..].split_once(']') else {
            return Err(format!("`{text}` opens a range and does not close it"));
        };
        let values = range(inside).ok_or_else(|| format!("`[{inside}]` is no range: [01:62], [a:f] or [1:9:2]"))?;
        if out.len().saturating_mul(values.len()) > MOST {
            return Err(format!("`{text}` stands for more than {MOST} hosts"));
        }
        out = out.iter().flat_map(|o| values.iter().map(move |v| format!("{o}{before}{v}"))).collect();
        rest = after;
    }
    out.iter_mut().for_each(|o| o.push_str(rest));
    Ok(out)
}

fn range(text: &str) -> Option<Vec<String>> {
    let parts: Vec<&str> = text.split(':').collect();
    let (first, last) = (*parts.first()?, *parts.get(1)?);
    let step: usize = match parts.get(2) {
        Some(s) => s.parse().ok().filter(|n| *n > 0)?,
        None => 1,
    };
    if parts.len() > 3 || last.is_empty() {
        return None;
    }
    let first = if first.is_empty() { "0" } else { first };
    if let (Ok(a), Ok(b)) = (first.parse::<u64>(), last.parse::<u64>()) {
        let width = if first.len() > 1 && first.starts_with('0') { first.len() } else { 0 };
        let count = b.checked_sub(a)? as usize / step + 1;
        return (a <= b && count <= MOST).then(|| (a..=b).step_by(step).map(|n| format!("{n:0width$}")).collect());
    }
    let letter = |s: &str| Some(s.chars().next()?).filter(|c| c.is_ascii_alphabetic() && s.len() == 1);
    let (a, b) = (letter(first)?, letter(last)?);
    (a <= b).then(|| (a..=b).step_by(step).map(String::from).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_as_ansible_writes_them() {
        assert_eq!(expand("a-[08:10].x").unwrap(), ["a-08.x", "a-09.x", "a-10.x"]);
        assert_eq!(expand("[a:c][1:3:2]").unwrap(), ["a1", "a3", "b1", "b3", "c1", "c3"]);
        assert_eq!(expand("plain").unwrap(), ["plain"]);
        for bad in ["a[1:", "a[1]", "a[3:1]", "a[x:9]", "a[1:9999999999]", "a[1:2:0]", "a[1:400][1:400][1:400]"] {
            assert!(expand(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn ports() {
        assert_eq!(port("a.b:2222"), ("a.b", Some("2222")));
        assert_eq!(port("a[1:3].b"), ("a[1:3].b", None));
        assert_eq!(port("a[1:3].b:22"), ("a[1:3].b", Some("22")));
        assert_eq!(port("2001:db8::1"), ("2001:db8::1", None));
        assert_eq!(port("[2001:db8::1]:22"), ("2001:db8::1", Some("22")));
    }
}
