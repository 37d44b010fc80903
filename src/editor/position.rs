//! Places in a text: bytes for us, lines and UTF-16 code units for the protocol.

use std::ops::Range as Bytes;
use std::sync::Arc;

use gen_lsp_types::{Position, Range};

/// A text with its lines. Cheap to clone.
///
/// Lines end with `\n`, `\r\n` or `\r`, as the protocol counts them; KDL knows more line ends, which stand inside a line here.
#[derive(Debug, Clone)]
pub(super) struct Text {
    text: Arc<str>,
    starts: Arc<[usize]>,
    /// Bytes of a byte order mark that the editor does not show: of a file from the disk. An open text has none, or one that counts.
    hidden: usize,
}

impl Text {
    /// The text of an open document.
    pub fn open(text: impl Into<Arc<str>>) -> Self {
        Self::new(text.into(), 0)
    }

    /// The text of a file as it lies on the disk.
    pub fn saved(text: Arc<str>) -> Self {
        let hidden = if text.starts_with('\u{feff}') { '\u{feff}'.len_utf8() } else { 0 };
        Self::new(text, hidden)
    }

    fn new(text: Arc<str>, hidden: usize) -> Self {
        let bytes = text.as_bytes();
        let ends = |i: usize| bytes[i] == b'\n' || bytes[i] == b'\r' && bytes.get(i + 1) != Some(&b'\n');
        let starts = std::iter::once(0).chain((0..bytes.len()).filter(|i| ends(*i)).map(|i| i + 1)).collect();
        Self { text, starts, hidden }
    }

    pub fn as_str(&self) -> &str {
        &self.text
    }

    pub fn shared(&self) -> Arc<str> {
        Arc::clone(&self.text)
    }

    /// First byte of a line, and the byte behind its last character, line end left out.
    fn line(&self, line: usize) -> Option<Bytes<usize>> {
        let mut start = *self.starts.get(line)?;
        let end = self.starts.get(line + 1).copied().unwrap_or(self.text.len());
        let body = self.text[start..end].trim_end_matches(['\r', '\n']).len();
        let end = start + body;
        if line == 0 {
            start = self.hidden;
        }
        Some(start..end.max(start))
    }

    /// The byte of a position. What lies behind the end of a line means its end, a line behind the last one the end of the text; half a
    /// surrogate pair means the whole character before it.
    pub fn offset(&self, at: Position) -> usize {
        let Some(line) = self.line(at.line as usize) else { return self.text.len() };
        let mut left = at.character as usize;
        for (i, c) in self.text[line.clone()].char_indices() {
            if left < c.len_utf16() {
                return line.start + i;
            }
            left -= c.len_utf16();
        }
        line.end
    }

    /// The position of a byte; one inside a character means its start.
    pub fn position(&self, offset: usize) -> Position {
        let offset = self.text.floor_char_boundary(offset.min(self.text.len()));
        let line = self.starts.partition_point(|s| *s <= offset) - 1;
        let start = if line == 0 { self.hidden } else { self.starts[line] };
        let before = self.text.get(start..offset).unwrap_or_default();
        Position { line: line as u32, character: before.encode_utf16().count() as u32 }
    }

    pub fn range(&self, bytes: Bytes<usize>) -> Range {
        Range { start: self.position(bytes.start), end: self.position(bytes.end) }
    }

    pub fn bytes(&self, range: Range) -> Bytes<usize> {
        let (a, b) = (self.offset(range.start), self.offset(range.end));
        a.min(b)..a.max(b)
    }

    /// The text with one range replaced.
    pub fn edited(&self, range: Range, new: &str) -> Self {
        let at = self.bytes(range);
        let mut text = String::with_capacity(self.text.len() + new.len());
        text.push_str(&self.text[..at.start]);
        text.push_str(new);
        text.push_str(&self.text[at.end..]);
        Self::open(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn at(line: u32, character: u32) -> Position {
        Position { line, character }
    }

    #[test]
    fn columns_count_utf16() {
        let t = Text::open("site تهران\r\nsite \u{1f4e7}b\rc\n");
        assert_eq!(t.offset(at(0, 10)), 15);
        assert_eq!(t.position(15), at(0, 10));
        assert_eq!(t.offset(at(0, 99)), 15, "before the line end");
        let mail = t.as_str().find('\u{1f4e7}').expect("there");
        assert_eq!(t.offset(at(1, 5)), mail);
        assert_eq!(t.offset(at(1, 6)), mail, "half a pair");
        assert_eq!(t.offset(at(1, 7)), mail + 4);
        assert_eq!(t.position(mail + 2), at(1, 5));
        assert_eq!(t.offset(at(2, 0)), mail + 6);
        assert_eq!(t.offset(at(9, 9)), t.as_str().len());
    }

    #[test]
    fn a_mark_on_the_disk_is_not_shown() {
        let t = Text::saved("\u{feff}site a".into());
        assert_eq!(t.offset(at(0, 0)), 3);
        assert_eq!(t.position(3), at(0, 0));
        assert_eq!(t.position(8), at(0, 5));
        assert_eq!(t.position(0), at(0, 0));
    }

    #[test]
    fn edits_may_cut_anywhere() {
        let t = Text::open("a\u{1f4e7}b\n");
        let r = |a, b| Range { start: a, end: b };
        assert_eq!(t.edited(r(at(0, 2), at(0, 3)), "").as_str(), "ab\n", "half a pair goes whole");
        assert_eq!(t.edited(r(at(0, 3), at(0, 1)), "x").as_str(), "axb\n", "backwards");
        assert_eq!(t.edited(r(at(7, 0), at(8, 0)), "x").as_str(), "a\u{1f4e7}b\nx");
    }

    proptest! {
        #[test]
        fn there_and_back(text in "[a\\r\\nü\u{1f4e7}]{0,40}", pick in 0usize..200) {
            let t = Text::open(text.clone());
            let offset = text.floor_char_boundary(pick.min(text.len()));
            let back = t.offset(t.position(offset));
            // Inside `\r\n` there is no position; its line's end stands for it.
            let inside = offset > 0 && text[..offset].ends_with('\r') && text[offset..].starts_with('\n');
            prop_assert!(back == offset || inside && back == offset - 1, "{text:?} {offset} {back}");
        }
    }
}
