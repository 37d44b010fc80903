//! "Did you mean": the nearest of the names that would have been right.

/// The nearest candidate, when it is near enough to be what was meant.
pub(super) fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let candidates: Vec<&str> = candidates.into_iter().collect();
    if let Some(same) = candidates.iter().find(|c| c.eq_ignore_ascii_case(word) && **c != word) {
        return Some(same);
    }
    let length = word.chars().count();
    let limit = match length {
        0..=3 => 1,
        4..=5 => 2,
        _ => 3,
    };
    candidates
        .into_iter()
        .filter(|c| c.len().abs_diff(word.len()) <= 8 && *c != word)
        .map(|c| (strsim::damerau_levenshtein(word, c), c))
        .filter(|(d, c)| *d <= limit && *d < length.max(c.chars().count()))
        .min()
        .map(|(_, c)| c)
}

/// What to write in the place of a word of another language; `None` for one that is none.
pub(super) fn habit(word: &str) -> Option<String> {
    match word {
        "-" => Some("nodes and values stand without `-` before them".into()),
        "--" | "---" | "%" | "rem" | "REM" => Some("a comment starts with //".into()),
        _ => {
            let name = word.strip_suffix(':').filter(|n| !n.is_empty())?;
            Some(format!("write `{name} ..`, without the `:`"))
        }
    }
}

/// What a thing is called here that others call otherwise.
pub(super) fn otherwise(word: &str) -> Option<&'static str> {
    Some(match word.to_ascii_lowercase().as_str() {
        "mailbox" | "mailboxes" | "account" | "user" | "users" => {
            "mail-account ann@acme.example on=SERVER password=(secret)\"file:PATH\""
        }
        "host" | "node" | "machine" | "vm" | "gate" | "gateway" | "nameserver" | "name-server" => {
            "server NAME platform=.. site=.. { roles ..; }; what it does stands in its roles"
        }
        "domain" | "mail-domain" => "accepted-domain acme.example",
        "dns" => "zone acme.example provider=.., where the provider is a dns-provider",
        "cert" | "tls" => "certificate NAME subject=mail.acme.example issuer=internal",
        "network" | "net" | "lan" => "subnet NAME cidr=\"192.0.2.0/24\" site=..",
        "location" | "datacenter" | "office" => "site NAME",
        "ssh" | "access" => "connection NAME user=.. key=(secret)\"file:PATH\"",
        "org" | "organisation" | "company" => "organization NAME domain=acme.example",
        "env" | "stage" => "environment NAME purpose=..",
        "cluster" => "pair NAME { members A B; }, or a dag of Exchange",
        "var" | "parameter" => "variable NAME type=..",
        _ => return None,
    })
}

/// `a`, `a or b`, `a, b or c`.
pub(super) fn either<S: AsRef<str>>(words: &[S]) -> String {
    match words {
        [] => String::new(),
        [one] => one.as_ref().to_owned(),
        [head @ .., last] => {
            let head: Vec<&str> = head.iter().map(AsRef::as_ref).collect();
            format!("{} or {}", head.join(", "), last.as_ref())
        }
    }
}

/// `62 servers`, `1 server`.
pub(super) fn counted(n: usize, word: &str) -> String {
    if n == 1 { format!("1 {word}") } else { format!("{n} {word}s") }
}
