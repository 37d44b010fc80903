//! Paths of files as URIs and back. RFC 8089, with what editors write: percent-encoded UTF-8.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use gen_lsp_types::Uri;

use crate::language::lexical;

/// The path of a `file:` URI. Any other URI (an unsaved text) is its own, relative path, which no file has.
pub(super) fn to_path(uri: &Uri) -> PathBuf {
    let Some(rest) = uri.0.strip_prefix("file://") else { return lexical(Path::new(&uri.0)) };
    // `file://localhost/x` is `/x`; another host is none that files are read from.
    let path = rest.strip_prefix("localhost").unwrap_or(rest);
    lexical(Path::new(&decoded(path)))
}

pub(super) fn of_path(path: &Path) -> Uri {
    if !path.is_absolute() {
        return Uri(path.to_string_lossy().into_owned());
    }
    let mut out = String::from("file://");
    for b in path.to_string_lossy().bytes() {
        if b.is_ascii_alphanumeric() || matches!(b, b'/' | b'-' | b'.' | b'_' | b'~') {
            out.push(char::from(b));
        } else {
            let _ = write!(out, "%{b:02X}");
        }
    }
    Uri(out)
}

fn decoded(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut i = 0;
    while i < bytes.len() {
        let hex = (bytes[i] == b'%').then(|| text.get(i + 1..i + 3)).flatten();
        match hex.and_then(|h| u8::from_str_radix(h, 16).ok()) {
            Some(b) => {
                out.push(b);
                i += 3;
            }
            None => {
                out.push(bytes[i]);
                i += 1;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_go_there_and_back() {
        for path in ["/a/b.kdl", "/a b/تهران#1%.kdl", "/a/\u{1f4e7}"] {
            assert_eq!(to_path(&of_path(Path::new(path))), Path::new(path));
        }
        assert_eq!(of_path(Path::new("/a b/ü")).0, "file:///a%20b/%C3%BC");
    }

    #[test]
    fn odd_uris_do_no_harm() {
        assert_eq!(to_path(&Uri("file://localhost/a/./b/../c".into())), Path::new("/a/c"));
        assert_eq!(to_path(&Uri("untitled:Untitled-1".into())), Path::new("untitled:Untitled-1"));
        assert_eq!(to_path(&Uri("file:///a%2".into())), Path::new("/a%2"));
        assert_eq!(to_path(&Uri("file:///a%ff%".into())), Path::new("/a\u{fffd}%"));
    }
}
