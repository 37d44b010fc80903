//! Files of others: reading them, and mistakes with their lines.

use std::io::Read as _;
use std::path::Path;

use super::{Imported, Outcome};
use crate::model::{Diagnostic, Diagnostics, SourceId, Sources, Span};

/// More than this is not an inventory.
const MAX_BYTES: u64 = 256 * 1024 * 1024;

/// More mistakes than this in one run tell nobody anything new.
const MAX_MISTAKES: usize = 50;

/// The files read so far and what is wrong with them.
#[derive(Debug, Default)]
pub struct Foreign {
    pub sources: Sources,
    diagnostics: Diagnostics,
    mistakes: usize,
}

/// Reads the file and lets the importer work on it; mistakes win over what it made.
pub fn read(path: &Path, importer: impl FnOnce(&mut Foreign, SourceId) -> Option<Imported>) -> Outcome {
    let mut f = Foreign::default();
    let imported = f.open(path).and_then(|id| importer(&mut f, id));
    outcome(f, imported)
}

/// As [`read`], of a text that came by another way than a file.
pub fn given(name: &str, text: &str, importer: impl FnOnce(&mut Foreign, SourceId) -> Option<Imported>) -> Outcome {
    let mut f = Foreign::default();
    let id = f.sources.add(name, text);
    f.mask(id);
    let imported = importer(&mut f, id);
    outcome(f, imported)
}

fn outcome(mut f: Foreign, imported: Option<Imported>) -> Outcome {
    let imported = imported.filter(|_| f.mistakes == 0);
    if f.mistakes > MAX_MISTAKES {
        f.diagnostics.push(Diagnostic::error("E1301", format!("and {} more mistakes", f.mistakes - MAX_MISTAKES)));
    }
    Outcome { sources: f.sources, diagnostics: f.diagnostics, imported }
}

impl Foreign {
    /// Loads a UTF-8 file; what is wrong with it is reported.
    pub fn open(&mut self, path: &Path) -> Option<SourceId> {
        let shown = path.display();
        let bytes = match bytes(path) {
            Ok(bytes) => bytes,
            Err(why) => {
                self.report(Diagnostic::error("E1301", format!("{shown} cannot be read: {why}")));
                return None;
            }
        };
        match String::from_utf8(bytes) {
            Ok(text) => {
                let id = self.sources.add(shown.to_string(), text.trim_start_matches('\u{feff}'));
                self.mask(id);
                Some(id)
            }
            Err(e) => {
                let good = e.utf8_error().valid_up_to();
                let line = e.as_bytes()[..good].iter().filter(|b| **b == b'\n').count() + 1;
                self.report(
                    Diagnostic::error("E1301", format!("{shown} is not UTF-8: line {line}, byte {good}")).help(
                        format!("iconv -f WINDOWS-1252 -t UTF-8 {shown} > utf8, or the character set that it has"),
                    ),
                );
                None
            }
        }
    }

    pub fn text(&self, id: SourceId) -> std::sync::Arc<str> {
        self.sources.get(id).text.clone()
    }

    /// A mistake on a line (from 1).
    pub fn wrong(&mut self, code: &'static str, place: Span, message: impl Into<String>, help: impl Into<String>) {
        self.report(Diagnostic::error(code, message).label(place, "here").help(help));
    }

    pub fn report(&mut self, d: Diagnostic) {
        self.mistakes += 1;
        if self.mistakes <= MAX_MISTAKES {
            self.diagnostics.push(d);
        }
    }

    /// A line without its end; lines count from 1.
    pub fn line(&self, id: SourceId, line: usize) -> Span {
        let text = &self.sources.get(id).text;
        let mut offset = 0;
        for (i, l) in text.split_inclusive('\n').enumerate() {
            if i + 1 == line {
                return Span { source: id, offset, len: l.trim_end().len() };
            }
            offset += l.len();
        }
        Span { source: id, offset: text.len(), len: 0 }
    }

    /// No excerpt shows what stands behind the name of a secret.
    fn mask(&mut self, id: SourceId) {
        let text = self.text(id);
        let mut offset = 0;
        let mut folded = false;
        for line in text.split_inclusive('\n') {
            let lower = line.to_ascii_lowercase();
            let secret = ["pass", "secret", "token", "pwd", "private", "vault"].iter().any(|w| lower.contains(w));
            folded = secret || folded && line.starts_with([' ', '\t']);
            let from = if secret { line.find(['=', ':']).map_or(0, |i| i + 1) } else { 0 };
            let len = line.trim_end().len();
            if folded && from < len {
                self.sources.mask(Span { source: id, offset: offset + from, len: len - from });
            }
            offset += line.len();
        }
    }
}

fn bytes(path: &Path) -> Result<Vec<u8>, String> {
    let fail = |e: std::io::Error| match e.kind() {
        std::io::ErrorKind::NotFound => "there is no such file".to_owned(),
        _ => e.to_string(),
    };
    let meta = std::fs::metadata(path).map_err(fail)?;
    if meta.is_dir() {
        return Err("it is a folder".to_owned());
    }
    if meta.len() > MAX_BYTES {
        return Err(format!("it has {} MiB; split it into files below {}", meta.len() >> 20, MAX_BYTES >> 20));
    }
    let mut out = Vec::new();
    std::fs::File::open(path).map_err(fail)?.take(MAX_BYTES).read_to_end(&mut out).map_err(fail)?;
    Ok(out)
}
