//! Numbers of KDL 2 (decimal, hexadecimal, octal, binary, with `_` between digits), and the escapes of its texts.

use super::{is_newline, is_space};

/// Digit, sign and digit, `.digit`: such a word is a number or nothing.
pub(super) fn starts_like_number(word: &str) -> bool {
    let body = word.strip_prefix(['+', '-']).unwrap_or(word);
    let body = body.strip_prefix('.').unwrap_or(body);
    body.starts_with(|c: char| c.is_ascii_digit())
}

pub(in crate::language) fn is_number(word: &str) -> bool {
    parse_int(word).is_some() || is_float(word)
}

pub(in crate::language) fn parse_int(word: &str) -> Option<i128> {
    let (negative, body) = match word.strip_prefix('-') {
        Some(b) => (true, b),
        None => (false, word.strip_prefix('+').unwrap_or(word)),
    };
    let (radix, digits) = match body.get(..2) {
        Some("0x") => (16, &body[2..]),
        Some("0o") => (8, &body[2..]),
        Some("0b") => (2, &body[2..]),
        _ => (10, body),
    };
    if digits.is_empty() || digits.starts_with('_') || digits.contains(['+', '-']) {
        return None;
    }
    let n = i128::from_str_radix(&digits.replace('_', ""), radix).ok()?;
    Some(if negative { -n } else { n })
}

fn is_float(word: &str) -> bool {
    let body = word.strip_prefix(['+', '-']).unwrap_or(word);
    let (mantissa, exponent) = match body.split_once(['e', 'E']) {
        Some((m, e)) => (m, Some(e.strip_prefix(['+', '-']).unwrap_or(e))),
        None => (body, None),
    };
    let digits =
        |t: &str| t.starts_with(|c: char| c.is_ascii_digit()) && t.chars().all(|c| c.is_ascii_digit() || c == '_');
    let whole = match mantissa.split_once('.') {
        Some((w, f)) => digits(w) && digits(f),
        None => digits(mantissa),
    };
    whole && exponent.is_none_or(digits) && (mantissa.contains('.') || exponent.is_some())
}

/// Length of the escape at the start of `text`, backslash included. A backslash before whitespace swallows all of it.
pub(super) fn escape_len(text: &str) -> Option<usize> {
    let after = &text[1..];
    match after.chars().next()? {
        '\\' | '"' | 'b' | 'f' | 'n' | 'r' | 't' | 's' => Some(2),
        'u' => {
            let hex = after.strip_prefix("u{")?;
            let end = hex.find('}')?;
            let code = u32::from_str_radix(hex.get(..end)?, 16).ok()?;
            (1..=6).contains(&end).then_some(())?;
            char::from_u32(code)?;
            Some(4 + end)
        }
        c if is_space(c) || is_newline(c) => {
            let n = after.find(|c| !is_space(c) && !is_newline(c)).unwrap_or(after.len());
            Some(1 + n)
        }
        _ => None,
    }
}
