//! Whether what a host shows is what is wanted: the one comparison of planning and of recovery.

use super::Compare;
use crate::model::{Attr, Digest};

/// Whether the host shows what is wanted.
pub fn same(compare: Compare, desired: &Attr, found: Option<&Attr>) -> bool {
    let Some(found) = found else { return empty(desired) };
    match (desired, found) {
        (Attr::Content(c), Attr::Digest(d)) => c.digest.as_ref() == Some(d),
        (Attr::Content(_), _) => false,
        (Attr::Digest(a), Attr::Digest(b)) => a == b,
        (Attr::Text(t), Attr::Digest(d)) if compare == Compare::Content => Digest::of(t.as_bytes()) == *d,
        (Attr::List(a), Attr::List(b)) if compare == Compare::Set => set(a) == set(b),
        (Attr::List(a), Attr::List(b)) => a == b,
        (Attr::List(a), b) | (b, Attr::List(a)) => {
            let text = b.to_string();
            let words: Vec<String> = text.split_whitespace().map(str::to_owned).collect();
            if compare == Compare::Set { set(a) == set(&words) } else { *a == words }
        }
        // `1000` and `"1000"` are one value: a host answers in text.
        (a, b) => a == b || a.to_string() == b.to_string(),
    }
}

fn empty(a: &Attr) -> bool {
    matches!(a, Attr::Text(t) if t.is_empty()) || matches!(a, Attr::List(l) if l.is_empty())
}

fn set(list: &[String]) -> std::collections::BTreeSet<&str> {
    list.iter().map(String::as_str).collect()
}
