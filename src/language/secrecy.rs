//! Where secrets stand that should not: found by tokens, so that it works on a file that does not parse, and kept out of every
//! excerpt and message. Marks rather too much than too little.

use std::collections::{BTreeSet, HashSet};
use std::sync::OnceLock;

use super::scan::{Tok, Token, scan_all};
use super::schema::schema;
use crate::model::{Diagnostic, Diagnostics, SourceId, Sources, Span};

/// Parts of words that name a secret wherever they stand; the fields of the schema come on top.
const TELLING: [&str; 10] =
    ["passw", "passphrase", "passwd", "secret", "token", "pwd", "apikey", "api-key", "api_key", "private-key"];

/// Stands for a secret of any length.
const MASK: &str = "*********";

/// A secret of fewer characters is not looked for in messages: it would be found everywhere.
const SHORTEST: usize = 3;

/// Marks every secret of every file, then takes their words out of the messages. Cheap where there is nothing to tell.
pub fn guard(sources: &mut Sources, found: Diagnostics) -> Diagnostics {
    if found.is_empty() {
        return found;
    }
    let ids: Vec<SourceId> = sources.iter().map(|(id, _)| id).collect();
    // A variable of type secret is set in one file and declared in another.
    let declared: BTreeSet<String> = ids.iter().flat_map(|id| declared(&sources.get(*id).text, *id)).collect();
    for id in ids {
        mask(sources, id, &declared);
    }
    let words = words(sources);
    found.into_iter().map(|d| clean(d, sources, &words)).collect()
}

/// Marks the secrets of one file.
pub(super) fn mask(sources: &mut Sources, id: SourceId, declared: &BTreeSet<String>) {
    let text = sources.get(id).text.clone();
    let mut found = Vec::new();
    literals(&text, 0, id, declared, &mut found, true);
    addresses(&text, &mut found);
    blocks(&text, &mut found);
    for (start, end) in found {
        sources.mask(Span { source: id, offset: start, len: end - start });
    }
}

/// Names of variables and parameters of type secret.
fn declared(text: &str, id: SourceId) -> Vec<String> {
    let mut names = Vec::new();
    if !text.contains("secret") {
        return names;
    }
    let tokens: Vec<Token> = scan_all(id, text).into_iter().filter(|t| !is_blank(*t)).collect();
    for (i, t) in tokens.iter().enumerate() {
        if let Some(name) = tokens.get(i + 1)
            && matches!(&text[t.start..t.end], "variable" | "param")
            && says_secret(text, &tokens, i)
        {
            names.push(text[name.start..name.end].trim_matches('"').to_owned());
        }
    }
    names
}

/// True when the declaration that begins here, or goes on here, is of type secret.
fn says_secret(text: &str, tokens: &[Token], at: usize) -> bool {
    let mut depth = 0usize;
    for t in tokens[at + 1..].iter().take(24) {
        match (t.tok, text[t.start..t.end].trim_matches('"')) {
            (Tok::Open, _) => depth += 1,
            (Tok::Close, _) => depth = depth.saturating_sub(1),
            (Tok::Newline, _) if depth == 0 => return false,
            (_, "secret") => return true,
            (_, "variable" | "param") => return false,
            _ => {}
        }
    }
    false
}

fn is_blank(t: Token) -> bool {
    matches!(t.tok, Tok::Space | Tok::BlockComment | Tok::LineComment)
}

/// Values behind the names of secrets. `base` is where the text stands in the file. Comments are read as code, one level deep.
fn literals(
    text: &str,
    base: usize,
    id: SourceId,
    declared: &BTreeSet<String>,
    found: &mut Vec<(usize, usize)>,
    comments: bool,
) {
    let tokens = scan_all(id, text);
    // The kind of each open node, of the node of this line, and of the last declaration: is it of type secret?
    let (mut open, mut line): (Vec<&str>, &str) = (Vec::new(), "");
    let (mut starts, mut secret_default) = (true, false);
    for (i, t) in tokens.iter().enumerate() {
        let word = &text[t.start..t.end];
        let first = starts;
        match t.tok {
            Tok::Newline | Tok::Semicolon => starts = true,
            Tok::Open => {
                open.push(line);
                starts = true;
            }
            Tok::Close => {
                open.pop();
                starts = true;
            }
            Tok::Space | Tok::BlockComment | Tok::Slashdash | Tok::ParenOpen | Tok::ParenClose => {}
            _ => starts = false,
        }
        if matches!(t.tok, Tok::LineComment | Tok::BlockComment) {
            let inner = word.trim_start_matches('/').trim_start_matches('*');
            if comments {
                literals(inner.trim_end_matches("*/"), base + t.end - inner.len(), id, declared, found, false);
            }
            continue;
        }
        if matches!(word, "variable" | "param") && first {
            let solid: Vec<Token> = tokens[i..].iter().copied().filter(|t| !is_blank(*t)).take(26).collect();
            secret_default = says_secret(text, &solid, 0);
        }
        // `(secret)"hunter2"`: what follows must be a reference.
        if t.tok == Tok::ParenClose && text[..t.start].trim_end().ends_with("secret") {
            if let Some(v) = tokens.get(i + 1).filter(|v| v.is_value() && !is_reference(&text[v.start..v.end])) {
                found.push((base + v.start, base + run(&tokens, i + 1)));
            }
            continue;
        }
        if !t.is_string() {
            continue;
        }
        let kind = if first { open.last().copied().unwrap_or_default() } else { line };
        if first {
            line = word;
        }
        let name = word.trim_matches(['"', '#']).trim_end_matches(':').to_ascii_lowercase();
        let names = declared.contains(&name) && !matches!(line, "variable" | "param")
            || schema().secret_fields.contains(&name)
            || name == "default" && secret_default;
        let misspelt = |w: &str| {
            w.starts_with('p') && (6..=10).contains(&w.len()) && strsim::damerau_levenshtein(w, "password") <= 2
        };
        let tells =
            name.len() <= 40 && (TELLING.iter().any(|w| name.contains(w)) || name.split(['-', '_']).any(misspelt));
        if !(names || tells) || harmless(kind, &name) {
            continue;
        }
        let solid =
            |from: usize| (from..tokens.len()).find(|i| !matches!(tokens[*i].tok, Tok::Space | Tok::BlockComment));
        let Some(mut at) = solid(i + 1) else { continue };
        let colon = word.ends_with(':') || text[tokens[at].start..tokens[at].end].starts_with(':');
        let property = tokens[at].tok == Tok::Equals || colon;
        if tokens[at].tok == Tok::Equals || text[tokens[at].start..tokens[at].end] == *":" {
            match solid(at + 1) {
                Some(next) => at = next,
                None => continue,
            }
        }
        if !(property || first || line == "setting" || line == "set" && declared.contains(&name)) {
            continue;
        }
        // A list of values, a YAML text of several words: to the end of the line.
        let mut end = at;
        while property && !colon && end == at || (!property || colon) && tokens.get(end).is_some_and(|t| !ends_line(*t))
        {
            let Some(v) = tokens.get(end) else { break };
            if v.tok == Tok::ParenOpen {
                break;
            }
            let plain = matches!(&text[v.start..v.end], "#true" | "#false" | "#null");
            if v.is_value() && !plain && !is_reference(&text[v.start..v.end]) {
                found.push((base + v.start, base + run(&tokens, end)));
            }
            end += 1;
        }
    }
}

/// Where the values that stand without a space behind this one end: `hun"ter2` is one secret in two tokens.
fn run(tokens: &[Token], from: usize) -> usize {
    let mut end = from;
    while tokens.get(end + 1).is_some_and(|t| !is_blank(*t) && !ends_line(*t) && t.tok != Tok::Close) {
        end += 1;
    }
    tokens[end].end
}

fn ends_line(t: Token) -> bool {
    matches!(t.tok, Tok::Newline | Tok::Semicolon | Tok::Close | Tok::Open | Tok::LineComment)
}

fn is_reference(value: &str) -> bool {
    let text = value.trim_matches(['"', '#']);
    ["env:", "file:", "age:", "vault:", "cmd:"].iter().any(|s| text.starts_with(s))
        || text
            .strip_prefix('$')
            .is_some_and(|n| n.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || "_{}".contains(c)))
}

/// The schema knows this word here, and as something else: `key` of a `check`, the kind `password-policy`.
fn harmless(kind: &str, name: &str) -> bool {
    let Some(kind) = schema().kind(kind) else { return kind.is_empty() && schema().kind(name).is_some() };
    match kind.field(name) {
        Some(f) => f.ty != super::types::Type::Secret && f.ty != super::types::Type::Any,
        None => kind.has_child(name),
    }
}

/// `ldap://admin:hunter2@dc1`: what stands between `:` and `@`.
fn addresses(text: &str, found: &mut Vec<(usize, usize)>) {
    let mut from = 0;
    while let Some(i) = text[from..].find("://").map(|i| from + i + 3) {
        let stop = |c: char| c.is_whitespace() || matches!(c, '/' | '"' | '?' | '#');
        let end = text[i..].find(stop).map_or(text.len(), |n| i + n);
        if let Some(at) = text[i..end].rfind('@')
            && let Some(colon) = text[i..i + at].find(':')
            && colon + 1 < at
        {
            found.push((i + colon + 1, i + at));
        }
        from = i;
    }
}

/// PEM blocks of private keys, in a text or a comment.
fn blocks(text: &str, found: &mut Vec<(usize, usize)>) {
    let mut from = 0;
    while let Some(i) = text[from..].find("PRIVATE KEY-----").map(|i| from + i + 16) {
        let end = text[i..].find("-----END").map_or(text.len(), |n| i + n);
        if i < end && !text[..i].ends_with("END PRIVATE KEY-----") {
            found.push((i, end));
        }
        from = i;
    }
}

/// Words that messages are made of: kinds, fields, values, and the prose of the schema and of the catalogue of codes. Such a word
/// is no secret where it stands in a sentence; it is hidden where a message quotes the value, see [`quoted`].
fn ordinary(word: &str) -> bool {
    static WORDS: OnceLock<HashSet<&'static str>> = OnceLock::new();
    let words = WORDS.get_or_init(|| {
        let kinds = schema().kinds.iter();
        let fields = kinds.clone().flat_map(|k| &k.fields);
        let texts = kinds.clone().map(|k| k.doc.as_str()).chain(fields.clone().map(|f| f.doc.as_str()));
        let codes = super::CHAPTERS.iter().flat_map(|c| c.codes).flat_map(|c| [c.title, c.means, c.mend]);
        let names = kinds.map(|k| k.name.as_str()).chain(fields.map(|f| f.name.as_str()));
        let prose = texts.chain(codes).flat_map(|t| t.split(|c: char| !c.is_ascii_alphabetic()));
        names.chain(prose).collect()
    });
    words.contains(word)
}

/// The words of all secrets, the longest first, so that a part never uncovers the rest.
fn words(sources: &Sources) -> Vec<String> {
    let mut words: BTreeSet<String> = BTreeSet::new();
    for (id, file) in sources.iter() {
        for m in sources.masks(id) {
            let Some(raw) = file.text.get(m.offset..m.offset + m.len) else { continue };
            for w in [raw, raw.trim_matches(['"', '#'])] {
                if w.chars().count() >= SHORTEST && w.len() <= 4096 && !ordinary(w) {
                    words.insert(w.to_owned());
                }
            }
        }
    }
    let mut words: Vec<String> = words.into_iter().collect();
    words.sort_by_key(|w| std::cmp::Reverse(w.len()));
    words.truncate(2000);
    words
}

fn clean(mut d: Diagnostic, sources: &Sources, words: &[String]) -> Diagnostic {
    let hits: Vec<&str> = d.labels.iter().flat_map(|l| covering(sources, l.span)).collect();
    let wash = |text: &mut String| {
        for w in words {
            if text.contains(w.as_str()) {
                *text = text.replace(w.as_str(), MASK);
            }
        }
        if !hits.is_empty() {
            quoted(text, &hits);
        }
    };
    wash(&mut d.message);
    d.help.iter_mut().for_each(wash);
    d.labels.iter_mut().for_each(|l| wash(&mut l.text));
    d
}

/// The secrets that a label lies in or over.
fn covering(sources: &Sources, span: Span) -> Vec<&str> {
    let text = &sources.get(span.source).text;
    let over = |m: &Span| m.offset < span.offset + span.len.max(1) && span.offset < m.offset + m.len;
    sources.masks(span.source).filter(over).filter_map(|m| text.get(m.offset..m.offset + m.len)).collect()
}

/// A part of a secret that a message quotes: `$ord` of `pass$ord`.
fn quoted(text: &mut String, secrets: &[&str]) {
    for quote in ['`', '"'] {
        let field = |p: &str| schema().is_kind(p) || schema().kinds.iter().any(|k| k.field(p).is_some());
        let hides = |p: &str| p.chars().count() >= SHORTEST && !field(p) && secrets.iter().any(|s| s.contains(p));
        let parts = text.split(quote).enumerate();
        let washed: Vec<&str> = parts.map(|(i, p)| if i % 2 == 1 && hides(p) { MASK } else { p }).collect();
        *text = washed.join(quote.to_string().as_str());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn masked(text: &str) -> Vec<String> {
        let mut sources = Sources::default();
        let id = sources.add("t", text);
        let declared: BTreeSet<String> = declared(text, id).into_iter().collect();
        mask(&mut sources, id, &declared);
        let mut found: Vec<Span> = sources.masks(id).collect();
        found.sort();
        found.dedup();
        found.iter().map(|s| text[s.offset..s.offset + s.len].to_owned()).collect()
    }

    #[test]
    fn literals_are_found_by_token() {
        let cases: [(&str, &[&str]); 22] = [
            (
                "legacy a admin=\"s1\" {\n password \"s2\"\n key (secret)\"env:X\"\n}\nbroken token=s3 {",
                &["\"s1\"", "\"s2\"", "s3"],
            ),
            ("connection c key=(secret)\"hunter2\"", &["\"hunter2\""]),
            ("connection c password: hunter2 two", &["hunter2", "two"]),
            ("connection c\n  password: \"hunter2\"", &["\"hunter2\""]),
            ("password = hunter2", &["hunter2"]),
            ("connection c passwrod=x pasword=hunter2", &["x", "hunter2"]),
            ("connection c \"password\"=hunter2", &["hunter2"]),
            ("connection c PASSWORD=hunter2", &["hunter2"]),
            ("connection c password=hun\"ter2", &["hun\"ter2"]),
            ("connection c password=\"hunter2", &["\"hunter2"]),
            ("connection c password=9hunter2 {", &["9hunter2"]),
            ("// connection c password=hunter2\nsite a", &["hunter2"]),
            ("/* password: hunter2 */", &["hunter2"]),
            ("/-connection c password=hunter2", &["hunter2"]),
            ("variable v type=secret default=hunter2", &["hunter2"]),
            ("variable v {\n type secret\n default hunter2\n}", &["hunter2"]),
            ("variable v type=secret\nenvironment e purpose=lab { set v hunter2; }", &["hunter2"]),
            ("module m { param p type=secret; }\nuse m x p=hunter2", &["hunter2"]),
            ("directory d type=ldap url=\"ldap://cn=admin:hunter2@dc1/x\"", &["hunter2"]),
            ("baseline b { check c source=file key=\"/etc/x\" expect=y; }", &[]),
            ("setting \"postfix:smtp_sasl_password_maps\" \"hash:/x\"", &["\"hash:/x\""]),
            ("connection c password=$v key=(secret)\"file:k\"", &[]),
        ];
        for (text, expected) in cases {
            assert_eq!(masked(text), expected, "{text}");
        }
    }

    #[test]
    fn behind_many_mistakes_too() {
        let text = format!("{}connection c password=hunter2", "a [\n".repeat(200));
        assert_eq!(masked(&text), ["hunter2"]);
    }

    /// The word of a sentence says nothing of a secret that is the same word; the value itself is hidden where it stands.
    #[test]
    fn a_common_word_is_hidden_at_its_place_only() {
        let mut sources = Sources::default();
        let id = sources.add("t", "connection c password=\"secret\" key=\"Secret7\"");
        let mut ds = Diagnostics::default();
        let at = Span { source: id, offset: 13, len: 17 };
        let d = Diagnostic::error("E0701", "`password` must be a reference to a secret, not `secret` or Secret7");
        ds.push(d.label(at, "literal value").help("write (secret)\"env:NAME\""));
        let ds = guard(&mut sources, ds);
        let d = ds.iter().next().expect("one");
        assert_eq!(d.message, "`password` must be a reference to a secret, not `*********` or *********");
        assert_eq!(d.help.as_deref(), Some("write (secret)\"env:NAME\""));
        assert_eq!(sources.masks(id).count(), 2);
    }

    #[test]
    fn parts_of_a_secret_are_not_quoted() {
        let mut sources = Sources::default();
        let id = sources.add("t", "connection c password=\"pass$ord\"");
        let mut ds = Diagnostics::default();
        let at = Span { source: id, offset: 13, len: 19 };
        ds.push(Diagnostic::error("E0511", "nothing is called `$ord` here").label(at, "unknown").help("or `pass$ord`"));
        let ds = guard(&mut sources, ds);
        let d = ds.iter().next().expect("one");
        assert_eq!(
            (d.message.as_str(), d.help.as_deref()),
            ("nothing is called `*********` here", Some("or `*********`"))
        );
    }
}
