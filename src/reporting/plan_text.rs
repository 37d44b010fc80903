//! A plan for the terminal.

use std::fmt::Write as _;

use crate::model::plan::Plan;
use crate::model::step::{Action, Step};

use super::changes::{self, Counts};
use super::schedule::schedule_text;
use super::style::{Paint, counted, one_line, symbol};

/// How much to show.
#[derive(Debug, Clone, Copy)]
pub struct TextOptions {
    pub paint: Paint,
    /// Diffs of contents.
    pub diffs: bool,
    /// Lines of one diff; the rest is counted. 0: all.
    pub diff_lines: usize,
}

impl Default for TextOptions {
    fn default() -> Self {
        Self { paint: Paint::Plain, diffs: true, diff_lines: 0 }
    }
}

/// The plan as text: one line a step, its attribute changes and its diff, then what blocks it and the sum.
pub fn plan_text(plan: &Plan, options: &TextOptions) -> String {
    let mut out = String::new();
    let paint = options.paint;
    if !plan.steps.is_empty() {
        let _ = writeln!(out, "{}\n", paint.bold(&title(plan)));
    }
    for step in &plan.steps {
        write_step(&mut out, plan, step, options);
    }
    if !plan.steps.is_empty() {
        out.push('\n');
    }
    if let Some(schedule) = &plan.schedule {
        out.push_str(&schedule_text(schedule));
        out.push('\n');
    }
    for note in plan.notes.iter() {
        let about = note.address.as_ref().map(|a| format!("{} ", one_line(&a.to_string()))).unwrap_or_default();
        let word = if note.blocks { paint.red("blocked:") } else { paint.yellow("note:") };
        let _ = writeln!(out, "{word} {about}{}", one_line(&note.text));
    }
    for failed in &plan.failed {
        let _ = writeln!(out, "{} could not ask {}: {}", paint.red("failed:"), failed.host, one_line(&failed.message));
        if let Some(help) = &failed.help {
            let _ = writeln!(out, "  {}", paint.dim(&one_line(help)));
        }
    }
    if !plan.notes.is_empty() || !plan.failed.is_empty() {
        out.push('\n');
    }
    write_sum(&mut out, plan, paint);
    out
}

pub(super) fn title(plan: &Plan) -> String {
    let mut out = format!("Plan for {}", plan.organization);
    if let Some(environment) = &plan.environment {
        let _ = write!(out, ", environment {environment}");
    }
    if let Some(phase) = &plan.phase {
        let _ = write!(out, ", phase {phase}");
    }
    if !plan.targets.is_empty() {
        let _ = write!(out, ", only {}", plan.targets.join(" "));
    }
    out
}

fn write_step(out: &mut String, plan: &Plan, step: &Step, options: &TextOptions) {
    let paint = options.paint;
    let verb = match step.action {
        Action::Reload | Action::Restart | Action::Replace | Action::Restore => format!(" {}", step.action.as_str()),
        Action::Create | Action::Update | Action::Delete | Action::Run | Action::Wait | Action::Move => String::new(),
    };
    let address = one_line(&step.address.to_string());
    let _ = writeln!(
        out,
        "{} {}{verb}  {}",
        paint.action(step.action, symbol(step.action)),
        paint.bold(&address),
        paint.dim(&format!("({})", one_line(&step.reason))),
    );
    let diff = if options.diffs { changes::diff(plan, step) } else { None };
    for line in changes::fields(step, diff.is_some()) {
        let _ = writeln!(out, "    {line}");
    }
    for line in changes::warnings(step) {
        let _ = writeln!(out, "    {} {line}", paint.yellow("!"));
    }
    let Some(diff) = diff else { return };
    let lines = diff.lines().count();
    let shown = if options.diff_lines == 0 { lines } else { options.diff_lines };
    for line in diff.lines().take(shown) {
        let _ = writeln!(out, "    {}", paint.diff_line(line));
    }
    if lines > shown {
        let _ = writeln!(out, "    {}", paint.dim(&format!("… {} more", counted(lines - shown, "line"))));
    }
}

fn write_sum(out: &mut String, plan: &Plan, paint: Paint) {
    let hosts = changes::per_host(&plan.steps);
    if plan.steps.is_empty() {
        let _ = match plan.blocked() {
            true => writeln!(out, "{}", paint.red("No plan: see above.")),
            false => writeln!(
                out,
                "{} {} as the topology wants {}.",
                paint.green("Nothing to do:"),
                counted(plan.examined, "resource"),
                if plan.examined == 1 { "it" } else { "them" }
            ),
        };
        return;
    }
    let counts = Counts::of(&plan.steps);
    let _ = writeln!(
        out,
        "{} {} on {}; {} unchanged.",
        paint.bold(&format!("{}:", counted(counts.total(), "step"))),
        counts.sentence(),
        counted(hosts.len(), "host"),
        changes::unchanged(plan),
    );
    if hosts.len() > 1 {
        let width = hosts.keys().map(|h| h.0.chars().count()).max().unwrap_or(0);
        for (host, counts) in &hosts {
            let _ = writeln!(out, "  {:<width$}  {}", host.0, counts.sentence());
        }
    }
    if plan.blocked() {
        let _ = writeln!(out, "{}", paint.red("This plan cannot be applied: see above."));
    }
}
