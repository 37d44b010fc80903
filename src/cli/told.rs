//! The findings of several environments as one result: what two environments share is told once.

use std::collections::BTreeSet;

use super::args::Format;
use super::context::Context;
use super::failure::Failure;
use crate::model::diagnostic::{Diagnostic, Diagnostics, Severity};
use crate::model::source::{Origin, Sources};
use crate::reporting::diagnostics;

/// What was told so far.
#[derive(Default)]
pub struct Told {
    seen: BTreeSet<(&'static str, String, Option<Origin>)>,
    /// Places that another environment has told of, where only names that it maps differ.
    places: BTreeSet<(&'static str, String, Origin)>,
    all: Vec<Diagnostic>,
    documents: Vec<serde_json::Value>,
}

impl Told {
    /// Tells what is new; as JSON, keeps it for the end.
    pub fn tell(&mut self, context: &Context, sources: &Sources, found: &Diagnostics) {
        let mut fresh = Diagnostics::default();
        let mut places = BTreeSet::new();
        for d in found.iter() {
            let shown = d.labels.first().map(|l| (d.code, l.text.clone(), sources.origin(l.span)));
            if shown.as_ref().is_some_and(|s| self.places.contains(s)) {
                continue;
            }
            places.extend(shown);
            let place = d.labels.first().map(|l| sources.origin(l.span));
            if self.seen.insert((d.code, d.message.clone(), place)) {
                fresh.push(d.clone());
                self.all.push(d.clone());
            }
        }
        self.places.append(&mut places);
        if context.json() {
            let mut document = diagnostics::json(sources, &fresh);
            self.documents.extend(document["diagnostics"].as_array_mut().map(std::mem::take).unwrap_or_default());
        } else if !fresh.is_empty() {
            let style = diagnostics::Style { color: context.out.color(), ..diagnostics::Style::default() };
            context.out.result(diagnostics::text(sources, &fresh, style));
        }
    }

    fn count(&self, severity: Severity) -> usize {
        self.all.iter().filter(|d| d.severity == severity).count()
    }

    /// The end of the result: counts and how to allow, or `clean` when there is neither error nor warning. Fails on errors, and
    /// on warnings that are denied.
    pub fn end(
        self,
        context: &Context,
        deny_warnings: bool,
        clean: impl FnOnce() -> Vec<String>,
    ) -> Result<(), Failure> {
        let (errors, warnings) = (self.count(Severity::Error), self.count(Severity::Warning));
        let allows = diagnostics::allows(self.all.iter());
        if context.globals.format == Format::Json {
            context.out.json(&serde_json::json!({ "diagnostics": self.documents }));
        } else {
            if !allows.is_empty() {
                let lines: String = allows.iter().map(|a| format!("\n    {a}")).collect();
                context
                    .out
                    .result(format!("\nTo keep what a rule speaks of, give the reason in the topology:{lines}\n"));
            }
            if errors + warnings > 0 {
                let counted = |n: usize, word: &str| format!("{n} {word}{}", if n == 1 { "" } else { "s" });
                context.out.result(format!("{}, {}", counted(errors, "error"), counted(warnings, "warning")));
            } else {
                clean().into_iter().for_each(|line| context.out.result(line));
            }
        }
        if errors > 0 || (deny_warnings && warnings > 0) {
            return Err(Failure::shown());
        }
        Ok(())
    }
}
