//! Interpolation: `$name`, `${name}`, `$1`; `$$` is `$`. What a scope binds.

use std::collections::BTreeMap;

use crate::model::Span;
use crate::model::topology::Layer;
use crate::model::tree::Scalar;

/// The value of a variable, let or parameter.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Bound {
    pub scalar: Scalar,
    /// Written with `(secret)`, so it may stand where a secret is wanted.
    pub secret: bool,
    pub span: Option<Span>,
    /// Who gave it its value, the last one last: what `explain` shows behind a value that uses it.
    pub layers: Vec<Layer>,
}

/// The names that texts of one place can use.
#[derive(Debug, Clone, Default)]
pub(super) struct Scope {
    pub names: BTreeMap<String, Bound>,
    /// `None` at top level, else the module.
    pub module: Option<String>,
    /// What explain calls the layer: `base` or `module NAME`.
    pub layer: String,
    /// Names that could not be bound; using them is no second mistake.
    pub broken: Vec<String>,
}

/// A text after interpolation.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Filled {
    pub text: String,
    /// Set when the whole text was one `$x`: its typed value.
    pub whole: Option<Scalar>,
    pub secret: bool,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Missing {
    Name(String),
    Capture(usize),
}

/// The text that a scalar has inside another text.
pub(super) fn shown(s: &Scalar) -> String {
    match s {
        Scalar::Text(t) | Scalar::Raw(t) => t.clone(),
        Scalar::Int(i) => i.to_string(),
        Scalar::Float(f) => f.to_string(),
        Scalar::Bool(b) => b.to_string(),
        Scalar::Null => "null".into(),
    }
}

/// The names that a text interpolates.
pub(super) fn names(text: &str) -> impl Iterator<Item = &str> {
    pieces(text).filter_map(|p| match p {
        Piece::Name(n) => Some(n),
        Piece::Text(_) => None,
    })
}

/// True when the text uses `$1`, `$2`: it differs from one name of a range to the next.
pub(super) fn has_capture(text: &str) -> bool {
    text.contains('$')
        && pieces(text).any(|p| matches!(p, Piece::Name(n) if n.starts_with(|c: char| c.is_ascii_digit())))
}

pub(super) fn fill(text: &str, scope: &Scope, captures: &[String]) -> Result<Filled, Missing> {
    if !text.contains('$') {
        return Ok(Filled { text: text.to_owned(), whole: None, secret: false });
    }
    let mut out = Filled { text: String::with_capacity(text.len()), whole: None, secret: false };
    let mut count = 0;
    for piece in pieces(text) {
        count += 1;
        match piece {
            Piece::Text(t) => out.text.push_str(t),
            Piece::Name(n) if n.starts_with(|c: char| c.is_ascii_digit()) => {
                let i: usize = n.parse().unwrap_or(usize::MAX);
                let hit = i.checked_sub(1).and_then(|i| captures.get(i)).ok_or(Missing::Capture(i))?;
                out.text.push_str(hit);
            }
            Piece::Name(n) => {
                let bound = scope.names.get(n).ok_or_else(|| Missing::Name(n.to_owned()))?;
                out.text.push_str(&shown(&bound.scalar));
                out.whole = Some(bound.scalar.clone());
                out.secret |= bound.secret;
            }
        }
    }
    if count != 1 {
        out.whole = None;
    }
    Ok(out)
}

enum Piece<'a> {
    Text(&'a str),
    Name(&'a str),
}

fn pieces(text: &str) -> impl Iterator<Item = Piece<'_>> {
    let mut rest = text;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let Some(dollar) = rest.find('$') else {
            return Some(Piece::Text(std::mem::take(&mut rest)));
        };
        if dollar > 0 {
            let (head, tail) = rest.split_at(dollar);
            rest = tail;
            return Some(Piece::Text(head));
        }
        let after = &rest[1..];
        if let Some(tail) = after.strip_prefix('$') {
            rest = tail;
            return Some(Piece::Text("$"));
        }
        if let Some(body) = after.strip_prefix('{')
            && let Some(end) = body.find('}')
        {
            rest = &body[end + 1..];
            return Some(Piece::Name(&body[..end]));
        }
        let digits = after.starts_with(|c: char| c.is_ascii_digit());
        let stop = |c: char| if digits { !c.is_ascii_digit() } else { !(c.is_ascii_alphanumeric() || c == '_') };
        let len = after.find(stop).unwrap_or(after.len());
        rest = &after[len..];
        // A `$` before nothing that could be a name is itself.
        Some(if len == 0 { Piece::Text("$") } else { Piece::Name(&after[..len]) })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fills() {
        let bound = |s: Scalar| Bound { scalar: s, secret: false, span: None, layers: Vec::new() };
        let scope = Scope {
            names: [("n".to_owned(), bound(Scalar::Int(3))), ("self".to_owned(), bound(Scalar::Text("red".into())))]
                .into(),
            ..Scope::default()
        };
        let ok = |t: &str| fill(t, &scope, &["x".into(), "07".into()]).map(|f| f.text);
        assert_eq!(ok("$self-mbx-[1:$n]").as_deref(), Ok("red-mbx-[1:3]"));
        assert_eq!(ok("a${n}b$2c$1").as_deref(), Ok("a3b07cx"));
        assert_eq!(ok("10$$ $ x").as_deref(), Ok("10$ $ x"));
        assert_eq!(ok("$zz"), Err(Missing::Name("zz".into())));
        assert_eq!(ok("$3"), Err(Missing::Capture(3)));
        assert_eq!(fill("$n", &scope, &[]).map(|f| f.whole), Ok(Some(Scalar::Int(3))));
        assert_eq!(fill("x$n", &scope, &[]).map(|f| f.whole), Ok(None));
        assert!(has_capture("a$1") && !has_capture("$$1 $a") && has_capture("${2}"));
    }
}
