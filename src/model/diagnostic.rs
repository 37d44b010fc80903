//! What went wrong in the user's input, where, and what to do. Rendered by `reporting::diagnostics`.

use super::source::Span;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    Error,
    Warning,
    Advice,
}

/// A marked place with a short text. The first label of a diagnostic is the primary one.
#[derive(Debug, Clone, PartialEq)]
pub struct Label {
    pub span: Span,
    pub text: String,
    /// The text under the span is masked in the excerpt (a literal secret).
    pub mask: bool,
}

/// Which lint rule speaks, and of which nodes, so that an `allow` can be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lint {
    pub rule: &'static str,
    /// The nodes as `on` of an `allow` takes them: `server:gate`, `zone:acme.example@public`. Several where one line makes many.
    pub on: Vec<String>,
    /// The environment that made the nodes: elsewhere an `allow` cannot name them.
    pub environment: Option<String>,
}

/// One mistake: code (`E0102`, `W1001`), message, places, help.
#[derive(Debug, Clone, PartialEq)]
pub struct Diagnostic {
    /// Stable code without the `cutover::` prefix, as in `E0102`.
    pub code: &'static str,
    pub severity: Severity,
    pub message: String,
    pub labels: Vec<Label>,
    pub help: Option<String>,
    /// `None` for what is no lint rule.
    pub lint: Option<Box<Lint>>,
}

impl Diagnostic {
    pub fn error(code: &'static str, message: impl Into<String>) -> Self {
        Self { code, severity: Severity::Error, message: message.into(), labels: Vec::new(), help: None, lint: None }
    }

    pub fn warning(code: &'static str, message: impl Into<String>) -> Self {
        Self { severity: Severity::Warning, ..Self::error(code, message) }
    }

    pub fn label(mut self, span: Span, text: impl Into<String>) -> Self {
        self.labels.push(Label { span, text: text.into(), mask: false });
        self
    }

    /// Label whose excerpt must not show the text under the span.
    pub fn masked(mut self, span: Span, text: impl Into<String>) -> Self {
        self.labels.push(Label { span, text: text.into(), mask: true });
        self
    }

    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }
}

impl IntoIterator for Diagnostics {
    type Item = Diagnostic;
    type IntoIter = std::vec::IntoIter<Diagnostic>;

    fn into_iter(self) -> Self::IntoIter {
        self.list.into_iter()
    }
}

impl FromIterator<Diagnostic> for Diagnostics {
    fn from_iter<T: IntoIterator<Item = Diagnostic>>(list: T) -> Self {
        Self { list: list.into_iter().collect() }
    }
}

/// All diagnostics of a run, collected; one run shows every mistake.
#[derive(Debug, Clone, Default)]
pub struct Diagnostics {
    list: Vec<Diagnostic>,
}

impl Diagnostics {
    pub fn push(&mut self, d: Diagnostic) {
        self.list.push(d);
    }

    pub fn extend(&mut self, other: Diagnostics) {
        self.list.extend(other.list);
    }

    pub fn has_errors(&self) -> bool {
        self.list.iter().any(|d| d.severity == Severity::Error)
    }

    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    pub fn len(&self) -> usize {
        self.list.len()
    }

    pub fn iter(&self) -> impl Iterator<Item = &Diagnostic> {
        self.list.iter()
    }

    /// Errors first, then by place, so that output is stable.
    pub fn sorted(mut self) -> Vec<Diagnostic> {
        self.list.sort_by_key(|d| (d.severity, d.labels.first().map(|l| l.span), d.code));
        self.list
    }
}
