//! Texts: how they are shown, and by what they are compared.

use std::fmt;
use std::net::IpAddr;

use crate::exchange::dialect::Shape;

/// A text with the form in which it is compared.
#[derive(Debug, Clone)]
pub struct Word {
    shown: String,
    key: String,
}

impl PartialEq for Word {
    fn eq(&self, other: &Self) -> bool {
        self.key == other.key
    }
}

impl fmt::Display for Word {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}

impl Word {
    pub fn exact(text: &str) -> Self {
        Self { shown: text.to_owned(), key: text.to_owned() }
    }

    /// Case does not count.
    pub fn folded(text: &str) -> Self {
        Self { shown: text.to_owned(), key: text.to_lowercase() }
    }

    fn keyed(shown: &str, key: String) -> Self {
        Self { shown: shown.to_owned(), key }
    }
}

/// `None` where the text is no value of the shape.
pub(super) fn read(shape: Shape, text: &str) -> Option<Word> {
    Some(match shape {
        Shape::Name | Shape::Enum => Word::folded(text.trim()),
        Shape::Guid => Word::keyed(text, guid(text)?),
        Shape::Url => Word::keyed(text, url(text.trim())),
        Shape::Address => {
            let key = text.trim().parse::<IpAddr>().ok()?.to_string();
            Word::keyed(text, key)
        }
        Shape::Time => Word::keyed(text, time(text.trim())?),
        Shape::ProxyAddress => Word::keyed(text, proxy_address(text.trim())),
        Shape::AddressSpace => Word::keyed(text, address_space(text.trim())?),
        _ => Word::exact(text),
    })
}

/// Lower case, without braces.
pub(super) fn guid(text: &str) -> Option<String> {
    let bare = text.trim().trim_start_matches('{').trim_end_matches('}').to_ascii_lowercase();
    let lengths: Vec<usize> = bare.split('-').map(str::len).collect();
    let digits = bare.bytes().all(|b| b == b'-' || b.is_ascii_hexdigit());
    (digits && lengths == [8, 4, 4, 4, 12]).then_some(bare)
}

/// Scheme and host in lower case, the scheme's own port left out, no path as `/`.
fn url(text: &str) -> String {
    let Some((scheme, rest)) = text.split_once("://") else { return text.to_lowercase() };
    let scheme = scheme.to_ascii_lowercase();
    let (host, path) = rest.find('/').map_or((rest, "/"), |at| rest.split_at(at));
    let host = host.to_lowercase();
    let port = match scheme.as_str() {
        "https" => ":443",
        "http" => ":80",
        _ => "",
    };
    let host = if port.is_empty() { host.as_str() } else { host.strip_suffix(port).unwrap_or(&host) };
    format!("{scheme}://{host}{path}")
}

/// An instant in UTC, from RFC 3339 or as JSON serialisers of .NET write it.
fn time(text: &str) -> Option<String> {
    if let Some(ms) = text.strip_prefix("/Date(").and_then(|t| t.strip_suffix(")/")) {
        return jiff::Timestamp::from_millisecond(ms.parse().ok()?).ok().map(|t| t.to_string());
    }
    text.parse::<jiff::Timestamp>().ok().map(|t| t.to_string())
}

/// The case of the prefix tells the primary address from the others; of the address it does not count, of a template it does.
fn proxy_address(text: &str) -> String {
    let (prefix, address) = text.split_once(':').unwrap_or(("smtp", text));
    let address = if address.contains('%') { address.to_owned() } else { address.to_lowercase() };
    format!("{prefix}:{address}")
}

/// `TYPE:ADDRESS;COST`; SMTP and 1 where nothing else is said.
fn address_space(text: &str) -> Option<String> {
    let (space, cost) = text.rsplit_once(';').unwrap_or((text, "1"));
    let cost: u8 = cost.trim().parse().ok()?;
    let (kind, address) = space.split_once(':').unwrap_or(("smtp", space));
    Some(format!("{}:{};{cost}", kind.trim().to_lowercase(), address.trim().to_lowercase()))
}
