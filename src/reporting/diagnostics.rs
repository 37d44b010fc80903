//! Diagnostics for people (miette's graphical form) and for programs (JSON). Secrets are masked to a fixed width, because
//! logs of a pipeline are kept and shared.

use std::cell::RefCell;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{Display, Write as _};
use std::sync::Arc;

use miette::{
    GraphicalReportHandler, GraphicalTheme, LabeledSpan, MietteError, MietteSpanContents, SourceCode, SourceSpan,
    SpanContents,
};

use crate::model::glyph::{is_hidden, sign, steers, tame};
use crate::model::{Diagnostic, Diagnostics, Severity, SourceId, Sources, Span};

/// What stands for a secret of any length.
const MASK: &str = "*********";

/// Bytes of the longest line that is drawn.
const LONGEST_LINE: usize = 1000;

fn line_len(text: &str, at: usize) -> usize {
    let at = text.floor_char_boundary(at);
    let start = text[..at].rfind('\n').map_or(0, |i| i + 1);
    text[at..].find('\n').map_or(text.len(), |i| at + i) - start
}

/// How to draw.
#[derive(Debug, Clone, Copy)]
pub struct Style {
    pub color: bool,
    /// Columns of the terminal.
    pub width: usize,
}

impl Default for Style {
    fn default() -> Self {
        Self { color: false, width: 100 }
    }
}

/// All diagnostics, errors first, one blank line between two.
pub fn text(sources: &Sources, diagnostics: &Diagnostics, style: Style) -> String {
    let theme = if style.color { GraphicalTheme::unicode() } else { GraphicalTheme::unicode_nocolor() };
    let handler = GraphicalReportHandler::new_themed(theme).with_width(style.width).with_links(false);
    let masks = Masks::new(sources, diagnostics);
    let mut out = String::new();
    for d in diagnostics.clone().sorted() {
        if !out.is_empty() {
            out.push('\n');
        }
        let shown = Shown::new(sources, &masks, &d);
        let mut one = String::new();
        if handler.render_report(&mut one, &shown).is_err() {
            // The picture failed, so say it without: a diagnostic is never lost.
            let at = d.labels.first().map(|l| format!(" ({})", sources.origin(l.span))).unwrap_or_default();
            one = format!("cutover::{}: {}{}\n", d.code, tame(&d.message), tame(&at));
        }
        out.push_str(&one);
    }
    out
}

/// One line per diagnostic, as compilers write it: `file:line:column: error[E0102]: message`.
pub fn lines(sources: &Sources, diagnostics: &Diagnostics) -> String {
    let mut out = String::new();
    for d in diagnostics.clone().sorted() {
        let at = d.labels.first().map(|l| format!("{}: ", sources.origin(l.span))).unwrap_or_default();
        let _ = writeln!(out, "{}{}[{}]: {}", tame(&at), severity(d.severity), d.code, tame(&d.message));
    }
    out
}

/// More nodes than this are not named one by one.
const NAMED: usize = 8;

/// For each lint rule that spoke, the line that would silence it, to be given a reason and pasted: the nodes by name, or
/// everywhere when they are many.
pub fn allows<'d>(diagnostics: impl Iterator<Item = &'d Diagnostic>) -> Vec<String> {
    let mut nodes: BTreeMap<(Option<&str>, &str), BTreeSet<&str>> = BTreeMap::new();
    for lint in diagnostics.filter_map(|d| d.lint.as_ref()) {
        nodes.entry((lint.environment.as_deref(), lint.rule)).or_default().extend(lint.on.iter().map(String::as_str));
    }
    nodes
        .into_iter()
        .map(|((environment, rule), on)| allow(environment, rule, &on.into_iter().collect::<Vec<_>>()))
        .collect()
}

/// A node that an environment made has its `allow` there.
pub(super) fn allow<S: AsRef<str>>(environment: Option<&str>, rule: &str, on: &[S]) -> String {
    let on = match on.len() {
        0..=NAMED => {
            format!(" {{ on {}; }}", on.iter().map(|o| format!("\"{}\"", o.as_ref())).collect::<Vec<_>>().join(" "))
        }
        _ => String::new(),
    };
    match environment {
        Some(e) => format!("(add)allow {rule} reason=\"..\"{on} // in environment {e}"),
        None => format!("allow {rule} reason=\"..\"{on}"),
    }
}

pub use super::diagnostics_json::json;

pub(super) fn severity(s: Severity) -> &'static str {
    match s {
        Severity::Error => "error",
        Severity::Warning => "warning",
        Severity::Advice => "advice",
    }
}

/// What an excerpt shows in the place of what stands in the file: secrets are masked, over all diagnostics, because the neighbour
/// of a mistake may hold another one's secret; what would steer the terminal is named.
struct Masks {
    /// By place, none inside another.
    list: BTreeMap<SourceId, Vec<(Span, String)>>,
    /// The shown text of a file, made once.
    texts: RefCell<BTreeMap<SourceId, Arc<String>>>,
}

impl Masks {
    fn new(sources: &Sources, diagnostics: &Diagnostics) -> Self {
        let shown = diagnostics.iter().filter_map(|d| d.labels.first()).map(|l| l.span.source);
        let shown: BTreeSet<SourceId> = shown.collect();
        let mut list = BTreeMap::new();
        for id in shown {
            let text = &sources.get(id).text;
            let mut spans: Vec<(Span, String)> = sources.masks(id).map(|s| (s, MASK.to_owned())).collect();
            let labels = diagnostics.iter().flat_map(|d| &d.labels).filter(|l| l.mask && l.span.source == id);
            spans.extend(labels.map(|l| (l.span, MASK.to_owned())));
            // What is not seen shows where a mistake is about it.
            let unseen = diagnostics.iter().flat_map(|d| &d.labels).filter(|l| l.span.source == id).filter_map(|l| {
                let c = text.get(l.span.offset..l.span.offset + l.span.len)?.chars().next()?;
                (is_hidden(c) && c.len_utf8() == l.span.len).then(|| (l.span, sign(c)))
            });
            spans.extend(unseen);
            let signs = text.char_indices().filter(|(i, c)| steers(*c) && !text[*i..].starts_with("\r\n"));
            spans.extend(signs.map(|(i, c)| (Span { source: id, offset: i, len: c.len_utf8() }, sign(c))));
            // The longer of two that begin together holds.
            spans.sort_by_key(|(s, _)| (s.offset, Reverse(s.len)));
            // Two that overlap become one: what a dropped one covered would show.
            let mut apart: Vec<(Span, String)> = Vec::with_capacity(spans.len());
            for (s, shown) in spans {
                match apart.last_mut() {
                    Some((last, _)) if s.offset < last.offset + last.len => {
                        last.len = last.len.max(s.offset + s.len - last.offset);
                    }
                    _ => apart.push((s, shown)),
                }
            }
            list.insert(id, apart);
        }
        Self { list, texts: RefCell::default() }
    }

    fn of(&self, id: SourceId) -> &[(Span, String)] {
        self.list.get(&id).map_or(&[], Vec::as_slice)
    }

    /// The file's text with every such place replaced.
    fn text(&self, id: SourceId, text: &str) -> Arc<String> {
        let made = || {
            let (mut out, mut at) = (String::with_capacity(text.len()), 0);
            for (s, shown) in self.of(id) {
                out.push_str(text.get(at..s.offset).unwrap_or_default());
                out.push_str(shown);
                at = (s.offset + s.len).min(text.len());
            }
            out.push_str(text.get(at..).unwrap_or_default());
            Arc::new(out)
        };
        Arc::clone(self.texts.borrow_mut().entry(id).or_insert_with(made))
    }

    /// Where a byte of the file stands in the shown text.
    /// `end`: inside a mask the place is its end, not its start.
    fn shift(&self, id: SourceId, offset: usize, end: bool) -> usize {
        let mut shifted = offset as isize;
        for (s, shown) in self.of(id).iter().take_while(|(s, _)| s.offset < offset) {
            let behind = s.offset + s.len;
            if offset >= behind {
                shifted += shown.len() as isize - s.len as isize;
            } else {
                shifted -= (offset - s.offset) as isize - if end { shown.len() as isize } else { 0 };
            }
        }
        usize::try_from(shifted).unwrap_or(0)
    }
}

/// The shown text of a file. What stands before the mistake may be masked, and the drawing counts bytes: the place that is said is
/// the one in the file, in characters.
#[derive(Debug)]
struct Excerpt {
    name: String,
    text: Arc<String>,
    /// Where the mistake begins in the shown text, and its column in the file, from 0.
    place: usize,
    column: usize,
}

impl SourceCode for Excerpt {
    fn read_span<'a>(
        &'a self,
        span: &SourceSpan,
        before: usize,
        after: usize,
    ) -> Result<Box<dyn SpanContents<'a> + 'a>, MietteError> {
        let read = self.text.read_span(span, before, after)?;
        let at = if before == 0 && span.offset() == self.place { self.column } else { read.column() };
        Ok(Box::new(MietteSpanContents::new_named(
            self.name.clone(),
            read.data(),
            *read.span(),
            read.line(),
            at,
            read.line_count(),
        )))
    }
}

#[derive(Debug)]
struct Shown {
    code: String,
    message: String,
    severity: miette::Severity,
    help: Option<String>,
    source: Option<Excerpt>,
    labels: Vec<LabeledSpan>,
}

impl Shown {
    fn new(sources: &Sources, masks: &Masks, d: &Diagnostic) -> Self {
        // A line of a whole file is no picture: only its place is said.
        let long = d.labels.iter().any(|l| line_len(&sources.get(l.span.source).text, l.span.offset) > LONGEST_LINE);
        let home = d.labels.first().map(|l| l.span.source).filter(|_| !long);
        let source = home.map(|id| {
            let file = sources.get(id);
            let first = d.labels.first().map_or(Span { source: id, offset: 0, len: 0 }, |l| l.span);
            Excerpt {
                name: tame(&file.name).into_owned(),
                text: masks.text(id, &file.text),
                place: masks.shift(id, first.offset.min(file.text.len()), false),
                column: sources.origin(first).column as usize - 1,
            }
        });
        let mut help = d.help.as_deref().map(|h| tame(h).into_owned());
        let mut labels = Vec::new();
        for l in d.labels.iter().filter(|l| !l.text.is_empty()) {
            if Some(l.span.source) == home {
                let end = sources.get(l.span.source).text.len();
                let from = masks.shift(l.span.source, l.span.offset.min(end), false);
                let to = masks.shift(l.span.source, (l.span.offset + l.span.len).min(end), true);
                // The drawing slices by bytes: an end inside a character would stop the program.
                let edge = |at: usize| source.as_ref().map_or(at, |s| s.text.floor_char_boundary(at));
                let (from, to) = (edge(from), edge(to));
                let (text, len) = (Some(tame(&l.text).into_owned()), to.saturating_sub(from));
                labels.push(if labels.is_empty() {
                    LabeledSpan::new_primary_with_span(text, (from, len))
                } else {
                    LabeledSpan::new(text, from, len)
                });
            } else {
                // One picture shows one file; a place in another file, or without a picture, is named.
                let line = tame(&format!("{}: {}", sources.origin(l.span), l.text)).into_owned();
                help = Some(help.map_or(line.clone(), |h| format!("{h}\n{line}")));
            }
        }
        labels.sort_by_key(LabeledSpan::offset);
        Self {
            code: match &d.lint {
                Some(l) => format!("cutover::{} ({})", d.code, l.rule),
                None => format!("cutover::{}", d.code),
            },
            message: tame(&d.message).into_owned(),
            severity: match d.severity {
                Severity::Error => miette::Severity::Error,
                Severity::Warning => miette::Severity::Warning,
                Severity::Advice => miette::Severity::Advice,
            },
            help,
            source,
            labels,
        }
    }
}

impl Display for Shown {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Shown {}

impl miette::Diagnostic for Shown {
    fn code<'a>(&'a self) -> Option<Box<dyn Display + 'a>> {
        Some(Box::new(&self.code))
    }

    fn severity(&self) -> Option<miette::Severity> {
        Some(self.severity)
    }

    fn help<'a>(&'a self) -> Option<Box<dyn Display + 'a>> {
        self.help.as_ref().map(|h| Box::new(h) as Box<dyn Display>)
    }

    fn source_code(&self) -> Option<&dyn SourceCode> {
        self.source.as_ref().map(|s| s as &dyn SourceCode)
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        Some(Box::new(self.labels.iter().cloned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(text: &str, offset: usize, len: usize) -> (Sources, Span) {
        let mut sources = Sources::default();
        let source = sources.add("a.kdl", text);
        (sources, Span { source, offset, len })
    }

    #[test]
    fn masks_have_one_width() {
        for secret in ["\"x\"", "\"a very long secret indeed\""] {
            let file = format!("legacy a admin={secret} host=b\nlegacy c\n");
            let (mut sources, span) = one(&file, 15, secret.len());
            let mut ds = Diagnostics::default();
            // A mistake elsewhere shows the line of the secret as context.
            let other = Span { offset: file.len() - 2, len: 1, ..span };
            ds.push(Diagnostic::error("E0102", "x").label(other, "here"));
            sources.mask(span);
            let shown = super::text(&sources, &ds, Style::default());
            assert!(shown.contains("admin=********* host=b"), "{shown}");
            assert!(!shown.contains(secret), "{shown}");
        }
    }

    #[test]
    fn labels_behind_a_mask_stay_in_place() {
        let (mut sources, span) = one("a k=\"sesame\" bad=1", 4, 8);
        sources.mask(span);
        let mut ds = Diagnostics::default();
        ds.push(Diagnostic::error("E0102", "x").label(Span { offset: 13, len: 3, ..span }, "here"));
        let shown = super::text(&sources, &ds, Style::default());
        let lines: Vec<&str> = shown.lines().collect();
        let line = lines.iter().position(|l| l.contains("bad=1")).expect(&shown);
        let column = |l: &str, what: &str| l.find(what).map(|i| l[..i].chars().count());
        assert_eq!(column(lines[line], "bad"), column(lines[line + 1], "─┬─"), "{shown}");
    }

    #[test]
    fn json_names_the_place() {
        let (sources, span) = one("site a\nsite ü b\n", 15, 1);
        let mut ds = Diagnostics::default();
        ds.push(Diagnostic::error("E0103", "m").label(span, "l").help("h"));
        let v = super::json(&sources, &ds);
        let d = &v["diagnostics"][0];
        assert_eq!((d["line"].as_u64(), d["column"].as_u64()), (Some(2), Some(8)));
        assert_eq!(d["code"], "E0103");
        assert_eq!((&d["place"]["offset"], &d["place"]["end_column"]), (&15.into(), &9.into()));
        assert_eq!(d["labels"][0]["place"]["utf16"]["character"], 7);
        assert_eq!(d["labels"][0]["text"], "l");
    }

    #[test]
    fn a_place_in_another_file_is_named() {
        let (mut sources, span) = one("site a\n", 5, 1);
        let other = sources.add("b.kdl", "\nsite a");
        let mut ds = Diagnostics::default();
        ds.push(
            Diagnostic::error("E0304", "twice")
                .label(span, "again")
                .label(Span { source: other, offset: 6, len: 1 }, "first"),
        );
        let shown = super::text(&sources, &ds, Style::default());
        assert!(shown.contains("b.kdl:2:6: first"), "{shown}");
    }
}
