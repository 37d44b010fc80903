//! The texts that the editor holds open. They stand in place of the files of the same paths.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use gen_lsp_types::{TextDocumentContentChangeEvent, Uri};

use super::position::Text;
use super::uri;

#[derive(Debug, Clone)]
pub(super) struct Document {
    /// As the editor wrote it, for everything that goes back.
    pub uri: Uri,
    pub version: i32,
    pub text: Text,
}

/// Open documents by path.
#[derive(Debug, Default)]
pub(super) struct Documents {
    open: BTreeMap<PathBuf, Document>,
}

impl Documents {
    pub fn open(&mut self, uri: Uri, version: i32, text: String) -> PathBuf {
        let path = uri::to_path(&uri);
        self.open.insert(path.clone(), Document { uri, version, text: Text::open(text) });
        path
    }

    /// Applies changes in their order. `None` for a document that is not open.
    pub fn change(&mut self, uri: &Uri, version: i32, changes: Vec<TextDocumentContentChangeEvent>) -> Option<PathBuf> {
        let path = uri::to_path(uri);
        let document = self.open.get_mut(&path)?;
        for change in changes {
            document.text = match change {
                TextDocumentContentChangeEvent::TextDocumentContentChangePartial(c) => {
                    document.text.edited(c.range, &c.text)
                }
                TextDocumentContentChangeEvent::TextDocumentContentChangeWholeDocument(c) => Text::open(c.text),
            };
        }
        document.version = version;
        Some(path)
    }

    pub fn close(&mut self, uri: &Uri) -> Option<PathBuf> {
        let path = uri::to_path(uri);
        self.open.remove(&path).map(|_| path)
    }

    pub fn get(&self, path: &Path) -> Option<&Document> {
        self.open.get(path)
    }

    pub fn paths(&self) -> impl Iterator<Item = &Path> {
        self.open.keys().map(PathBuf::as_path)
    }

    /// The URI of a path, in the editor's own writing where it has one.
    pub fn uri(&self, path: &Path) -> Uri {
        self.open.get(path).map_or_else(|| uri::of_path(path), |d| d.uri.clone())
    }

    pub fn versions(&self) -> BTreeMap<PathBuf, i32> {
        self.open.iter().map(|(p, d)| (p.clone(), d.version)).collect()
    }

    /// All texts as they are now.
    pub fn snapshot(&self) -> BTreeMap<PathBuf, Arc<str>> {
        self.open.iter().map(|(p, d)| (p.clone(), d.text.shared())).collect()
    }
}
