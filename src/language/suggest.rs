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
