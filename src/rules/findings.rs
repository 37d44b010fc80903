//! What one rule found.

use super::Rule;
use crate::model::Diagnostic;
use crate::model::topology::NodeId;

/// Findings of one rule: code and severity come from the rule, so that a rule only says what and where.
pub struct Findings {
    code: &'static str,
    severity: crate::model::diagnostic::Severity,
    list: Vec<(NodeId, Diagnostic)>,
}

impl Findings {
    pub(super) fn of(rule: &Rule) -> Self {
        Self { code: rule.code, severity: rule.severity, list: Vec::new() }
    }

    /// One finding; `on` is the top-level node that an `allow` can name, `say` adds places and help to the message.
    pub fn push(&mut self, on: &NodeId, message: impl Into<String>, say: impl FnOnce(Diagnostic) -> Diagnostic) {
        let bare = Diagnostic { severity: self.severity, ..Diagnostic::warning(self.code, message) };
        self.list.push((on.clone(), say(bare)));
    }

    pub(super) fn take(self) -> Vec<(NodeId, Diagnostic)> {
        self.list
    }
}
