//! What an answer is made of: the text as it is now, and the last analysis that had trees, brought into line with each other.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};

use gen_lsp_types as lsp;

use super::analysis::{Analysis, Shift};
use super::client::Client;
use super::documents::Documents;
use super::position::Text;
use super::publish::Found;
use super::roots::{Root, Roots};
use crate::model::Span;

pub(super) struct View<'a> {
    /// The file that is asked about.
    pub path: PathBuf,
    /// Its root.
    pub root: Option<&'a Root>,
    pub roots: &'a Roots,
    pub documents: &'a Documents,
    pub client: &'a Client,
    /// What the editor shows.
    pub published: &'a BTreeMap<PathBuf, (Option<i32>, Found)>,
}

impl<'a> View<'a> {
    /// The text of a file: open, or as it was analysed.
    pub fn text_of(&self, path: &Path) -> Option<Text> {
        if let Some(d) = self.documents.get(path) {
            return Some(d.text.clone());
        }
        let analysis = self.root?.latest.as_ref()?;
        Some(analysis.text(analysis.source(path)?))
    }

    pub fn text(&self) -> Option<Text> {
        self.text_of(&self.path)
    }

    /// The last analysis with trees.
    pub fn good(&self) -> Option<&'a Analysis> {
        self.root?.good.as_deref()
    }

    /// The analysis of the texts as they are, when it has trees: for answers that change texts.
    pub fn exact(&self) -> Option<&'a Analysis> {
        let root = self.root?;
        root.latest.as_deref().filter(|a| root.current() && a.trees.is_some())
    }

    /// A byte of the text now as a place in the last analysis with trees.
    pub fn there(&self, offset: usize) -> Option<Span> {
        let good = self.good()?;
        let source = good.source(&self.path)?;
        let shift = Shift::between(&good.sources.get(source).text, self.text()?.as_str());
        Some(Span { source, offset: shift.back(offset)?, len: 0 })
    }

    /// A place of the last analysis with trees in the texts as they are now.
    pub fn here(&self, span: Span) -> Option<(PathBuf, Range<usize>)> {
        let good = self.good()?;
        let path = good.path(span.source);
        let text = self.text_of(&path)?;
        let shift = Shift::between(&good.sources.get(span.source).text, text.as_str());
        Some((path, shift.forth(span.offset..span.offset + span.len)?))
    }

    pub fn location(&self, span: Span) -> Option<lsp::Location> {
        let (path, bytes) = self.here(span)?;
        let range = self.text_of(&path)?.range(bytes);
        Some(lsp::Location { uri: self.documents.uri(&path), range })
    }
}
