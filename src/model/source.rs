//! Where a value stands in the user's files: sources, spans, and the resolved origin that plans carry.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// Index of a file in [`Sources`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SourceId(pub u32);

/// A range of bytes in one source file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Span {
    pub source: SourceId,
    /// Byte offset from the start of the file.
    pub offset: usize,
    /// Length in bytes.
    pub len: usize,
}

/// A value with the place that it was written at.
#[derive(Debug, Clone, PartialEq)]
pub struct Spanned<T> {
    pub value: T,
    pub span: Span,
}

impl<T> Spanned<T> {
    pub fn new(value: T, span: Span) -> Self {
        Self { value, span }
    }
}

/// One loaded file: the name shown to people (relative to the root folder) and its text.
#[derive(Debug, Clone)]
pub struct SourceFile {
    pub name: String,
    pub text: Arc<str>,
    line_starts: Arc<[usize]>,
}

/// All files of one run. Spans index into it.
#[derive(Debug, Clone, Default)]
pub struct Sources {
    files: Vec<SourceFile>,
    masks: Vec<Span>,
}

impl Sources {
    pub fn add(&mut self, name: impl Into<String>, text: impl Into<Arc<str>>) -> SourceId {
        let text = text.into();
        let line_starts: Vec<usize> = std::iter::once(0).chain(text.match_indices('\n').map(|(i, _)| i + 1)).collect();
        self.files.push(SourceFile { name: name.into(), text, line_starts: line_starts.into() });
        SourceId(self.files.len() as u32 - 1)
    }

    pub fn get(&self, id: SourceId) -> &SourceFile {
        &self.files[id.0 as usize]
    }

    /// Marks text that no excerpt may show: a secret that was written out where only a reference may stand.
    pub fn mask(&mut self, span: Span) {
        self.masks.push(span);
    }

    /// The masked places of one file, in no order.
    pub fn masks(&self, id: SourceId) -> impl Iterator<Item = Span> + '_ {
        self.masks.iter().copied().filter(move |s| s.source == id)
    }

    pub fn iter(&self) -> impl Iterator<Item = (SourceId, &SourceFile)> {
        self.files.iter().enumerate().map(|(i, f)| (SourceId(i as u32), f))
    }

    /// Line from 0 and column from 0 in units of UTF-16 of a span's start, as editors count.
    pub fn utf16(&self, span: Span) -> (u32, u32) {
        let file = self.get(span.source);
        let offset = file.text.floor_char_boundary(span.offset);
        let line = file.line_starts.partition_point(|s| *s <= offset) - 1;
        let start = file.line_starts[line];
        let column = file.text.get(start..offset).map_or(0, |t| t.encode_utf16().count());
        (line as u32, column as u32)
    }

    /// File name, line and column (both from 1; the column counts characters) of a span's start.
    pub fn origin(&self, span: Span) -> Origin {
        let file = self.get(span.source);
        let offset = span.offset.min(file.text.len());
        let line = file.line_starts.partition_point(|s| *s <= offset);
        let start = file.line_starts[line - 1];
        let column = file.text.get(start..offset).map_or(0, |t| t.chars().count()) + 1;
        Origin { file: file.name.clone(), line: line as u32, column: column as u32 }
    }
}

/// A span resolved to file, line and column, fit for a saved plan or a report.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Origin {
    pub file: String,
    /// From 1.
    pub line: u32,
    /// From 1, in characters.
    pub column: u32,
}

impl std::fmt::Display for Origin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}:{}", self.file, self.line, self.column)
    }
}
