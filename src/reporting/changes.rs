//! What every form of a plan says about its steps: counts, attribute changes, content diffs.

use std::borrow::Cow;
use std::collections::BTreeMap;

use similar::TextDiff;

use crate::model::address::HostName;
use crate::model::attr::{Attr, Content};
use crate::model::plan::Plan;
use crate::model::step::{Action, FieldChange, Step, Undo};

use super::style::{one_line, visible};

/// Steps by action, in the order in which they are named.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counts {
    by_action: BTreeMap<Action, usize>,
}

impl Counts {
    pub fn of<'a>(steps: impl IntoIterator<Item = &'a Step>) -> Self {
        let mut out = Self::default();
        for step in steps {
            *out.by_action.entry(step.action).or_default() += 1;
        }
        out
    }

    pub fn get(&self, action: Action) -> usize {
        self.by_action.get(&action).copied().unwrap_or(0)
    }

    pub fn total(&self) -> usize {
        self.by_action.values().sum()
    }

    /// `3 to create, 1 to delete`.
    pub fn sentence(&self) -> String {
        let parts: Vec<String> =
            self.by_action.iter().map(|(action, n)| format!("{n} to {}", action.as_str())).collect();
        parts.join(", ")
    }
}

/// Counts of each host that has steps, by name.
pub fn per_host(steps: &[Step]) -> BTreeMap<&HostName, Counts> {
    let mut out: BTreeMap<&HostName, Counts> = BTreeMap::new();
    for step in steps {
        *out.entry(&step.address.host).or_default().by_action.entry(step.action).or_default() += 1;
    }
    out
}

/// Resources that are as they should be.
pub fn unchanged(plan: &Plan) -> usize {
    let touched = plan.steps.iter().filter(|s| !matches!(s.action, Action::Reload | Action::Restart)).count();
    plan.examined.saturating_sub(touched)
}

fn content(step: &Step) -> Option<(&str, &Content)> {
    step.attrs.iter().find_map(|(name, a)| match a {
        Attr::Content(c) => Some((name, c)),
        _ => None,
    })
}

/// The unified diff of a step's content, control characters made visible; `None` where there is none or where it may not be
/// shown. Lines begin with ` `, `+`, `-` or `@@`.
pub fn diff(plan: &Plan, step: &Step) -> Option<String> {
    let (before, after) = texts(plan, step)?;
    unified(&before, &after)
}

/// The same the other way round: from what is wanted to what was found.
pub fn diff_back(plan: &Plan, step: &Step) -> Option<String> {
    let (before, after) = texts(plan, step)?;
    unified(&after, &before)
}

/// Content before and after, where it changes and both may be shown.
fn texts<'a>(plan: &Plan, step: &'a Step) -> Option<(Cow<'a, str>, String)> {
    if !matches!(step.action, Action::Create | Action::Update | Action::Replace) {
        return None;
    }
    let (field, content) = content(step)?;
    if content.sensitive || !step.changes.iter().any(|c| c.field == field) {
        return None;
    }
    let after = plan.bodies.get(&content.id).filter(|b| !b.sensitive())?.shown()?;
    let before = match (&step.before_text, step.action) {
        (Some(text), _) => visible(text),
        (None, Action::Create) => "".into(),
        // It was there, and it was too large or no text.
        (None, _) => return None,
    };
    Some((before, visible(&after).into_owned()))
}

fn unified(before: &str, after: &str) -> Option<String> {
    let diff = TextDiff::from_lines(before, after);
    let text = diff.unified_diff().context_radius(3).missing_newline_hint(true).to_string();
    (!text.is_empty()).then_some(text)
}

/// The attribute changes that are not shown as a diff, one line each.
pub fn fields(step: &Step, has_diff: bool) -> Vec<String> {
    let hidden = content(step).map(|(name, _)| name).filter(|_| has_diff);
    step.changes.iter().filter(|c| Some(c.field.as_str()) != hidden).map(|c| field(step.action, c)).collect()
}

fn field(action: Action, c: &FieldChange) -> String {
    let force = if c.forces_replacement { " (forces a replacement)" } else { "" };
    let name = &c.field;
    match (&c.before, &c.after) {
        (Some(b), Some(a)) if b == a => format!("{name}: {} changes{force}", one_line(a)),
        (Some(b), Some(a)) => format!("{name}: {} -> {}{force}", quoted(b), quoted(a)),
        (None, Some(a)) if matches!(action, Action::Create | Action::Run) => format!("{name}: {}", quoted(a)),
        (None, Some(a)) => format!("{name}: not set -> {}{force}", quoted(a)),
        (Some(b), None) if action == Action::Delete => format!("{name}: {}", quoted(b)),
        (Some(b), None) => format!("{name}: {} -> not set{force}", quoted(b)),
        (None, None) => name.clone(),
    }
}

/// Marks an empty value, and one with space at its ends.
fn quoted(value: &str) -> String {
    let line = one_line(value);
    if line.is_empty() || line.trim() != line { format!("\"{line}\"") } else { line }
}

/// What a reader has to know beside the change itself.
pub fn warnings(step: &Step) -> Vec<String> {
    let mut out = Vec::new();
    if step.risky {
        out.push("could cut us off from the host: a dead man's switch is armed first".to_owned());
    }
    if let Undo::Irreversible(why) = &step.undo {
        out.push(format!("cannot be undone: {}", one_line(why)));
    }
    out
}
