//! A plan for a pull request: a table, what to look at twice, then folded diffs; never longer than a comment may be.

use std::fmt::Write as _;

use crate::model::address::HostName;
use crate::model::plan::Plan;
use crate::model::step::{Action, Step, Undo};

use super::changes::{self, Counts};
use super::plan_text::title;
use super::schedule::schedule_markdown;
use super::style::{counted, one_line, symbol};

/// Characters that a comment of GitHub may have.
pub const LIMIT: usize = 65_536;

/// Kept free for the line that says what was left out.
const RESERVE: usize = 300;

/// Rows of the table of hosts, and lines of each list, before the rest is counted.
const ROWS: usize = 100;
const LISTED: usize = 50;

/// The plan as Markdown of at most [`LIMIT`] characters.
pub fn plan_markdown(plan: &Plan) -> String {
    let mut out = Bounded { text: String::new(), chars: 0, left: LIMIT - RESERVE };
    out.push(&format!("## {}\n\n{}\n\n", escape(&title(plan)), headline(plan)));
    write_blockers(&mut out, plan);
    if let Some(schedule) = &plan.schedule {
        out.push(&schedule_markdown(schedule));
        out.push("\n");
    }
    write_table(&mut out, plan);
    write_attention(&mut out, plan);
    let dropped = write_steps(&mut out, plan);
    if let Some(line) = dropped.sentence() {
        out.text.push_str(&line);
    }
    out.text.push_str(&format!("\n<sub>intent {}</sub>\n", plan.intent.short()));
    out.text
}

/// Text that grows up to a number of characters.
struct Bounded {
    text: String,
    chars: usize,
    left: usize,
}

impl Bounded {
    /// Adds all of it or nothing.
    fn push(&mut self, part: &str) -> bool {
        let n = part.chars().count();
        if n > self.left {
            return false;
        }
        self.text.push_str(part);
        self.chars += n;
        self.left -= n;
        true
    }
}

#[derive(Default)]
struct Dropped {
    diffs: usize,
    steps: usize,
}

impl Dropped {
    fn sentence(&self) -> Option<String> {
        let mut parts = Vec::new();
        if self.diffs > 0 {
            parts.push(format!("the details of {}", counted(self.diffs, "step")));
        }
        if self.steps > 0 {
            parts.push(format!("{} altogether", counted(self.steps, "step")));
        }
        (!parts.is_empty()).then(|| {
            format!(
                "\n**Left out**, because a comment holds {LIMIT} characters: {}. `cutover plan` shows everything.\n",
                parts.join(", and ")
            )
        })
    }
}

fn headline(plan: &Plan) -> String {
    if plan.steps.is_empty() {
        return match plan.blocked() {
            true => "**No plan**: see below.".to_owned(),
            false => format!("**Nothing to do**: {} looked at.", counted(plan.examined, "resource")),
        };
    }
    let counts = Counts::of(&plan.steps);
    let hosts = changes::per_host(&plan.steps).len();
    format!(
        "**{}**: {} on {}; {} unchanged.",
        counted(counts.total(), "step"),
        counts.sentence(),
        counted(hosts, "host"),
        changes::unchanged(plan)
    )
}

fn write_blockers(out: &mut Bounded, plan: &Plan) {
    let failed = plan.failed.iter().map(|f| format!("could not ask {}: {}", code(&f.host.0), escape(&f.message)));
    let blocked = plan.notes.iter().filter(|n| n.blocks).map(note);
    let lines: Vec<String> = failed.chain(blocked).collect();
    if !lines.is_empty() {
        out.push("> **This plan cannot be applied.**\n");
        write_list(out, "> ", &lines);
        out.push("\n");
    }
    let notes: Vec<String> = plan.notes.iter().filter(|n| !n.blocks).map(note).collect();
    if !notes.is_empty() {
        write_list(out, "", &notes);
        out.push("\n");
    }
}

fn note(note: &crate::model::plan::PlanNote) -> String {
    match &note.address {
        Some(address) => format!("{} {}", code(&address.to_string()), escape(&note.text)),
        None => escape(&note.text),
    }
}

fn write_list(out: &mut Bounded, indent: &str, lines: &[String]) {
    for line in lines.iter().take(LISTED) {
        out.push(&format!("{indent}- {}\n", shortened(line, 400)));
    }
    if lines.len() > LISTED {
        out.push(&format!("{indent}- … and {} more\n", lines.len() - LISTED));
    }
}

fn write_table(out: &mut Bounded, plan: &Plan) {
    if plan.steps.is_empty() {
        return;
    }
    let all = Counts::of(&plan.steps);
    let columns: Vec<Action> = Action::ALL.into_iter().filter(|a| all.get(*a) > 0).collect();
    let row = |name: &str, counts: &Counts| {
        let cells = columns.iter().map(|a| match counts.get(*a) {
            0 => String::new(),
            n => n.to_string(),
        });
        format!("| {name} | {} |\n", cells.collect::<Vec<_>>().join(" | "))
    };
    let heads: Vec<&str> = columns.iter().map(|a| a.as_str()).collect();
    out.push(&format!("| host | {} |\n|---|{}\n", heads.join(" | "), "--:|".repeat(columns.len())));
    let hosts = changes::per_host(&plan.steps);
    for (host, counts) in hosts.iter().take(ROWS) {
        out.push(&row(&escape(&host.0), counts));
    }
    if hosts.len() > ROWS {
        let rest = plan.steps.iter().filter(|s| hosts.keys().skip(ROWS).any(|h| **h == s.address.host));
        out.push(&row(&format!("{} more hosts", hosts.len() - ROWS), &Counts::of(rest)));
    }
    if hosts.len() > 1 {
        out.push(&row("**all**", &all));
    }
    out.push("\n");
}

/// What must not hide in a fold.
fn write_attention(out: &mut Bounded, plan: &Plan) {
    let lines: Vec<String> = plan
        .steps
        .iter()
        .filter_map(|s| {
            let mut why: Vec<String> = Vec::new();
            if matches!(s.action, Action::Delete | Action::Replace) {
                why.push(format!("is {}d", s.action.as_str()));
            }
            if s.risky {
                why.push("could cut us off".to_owned());
            }
            if matches!(s.undo, Undo::Irreversible(_)) {
                why.push("cannot be undone".to_owned());
            }
            (!why.is_empty()).then(|| format!("{} {}", code(&s.address.to_string()), why.join(", ")))
        })
        .collect();
    if !lines.is_empty() {
        out.push("**Look twice:**\n\n");
        write_list(out, "", &lines);
        out.push("\n");
    }
}

fn write_steps(out: &mut Bounded, plan: &Plan) -> Dropped {
    let mut dropped = Dropped::default();
    let mut host: Option<&HostName> = None;
    for step in &plan.steps {
        let heading = match host {
            Some(h) if *h == step.address.host => String::new(),
            _ => format!("\n#### {}\n\n", escape(&step.address.host.0)),
        };
        let (short, full) = forms(plan, step);
        if let Some(full) = &full
            && out.push(&format!("{heading}{full}"))
        {
            host = Some(&step.address.host);
            continue;
        }
        if out.push(&format!("{heading}{short}")) {
            host = Some(&step.address.host);
            dropped.diffs += usize::from(full.is_some());
        } else {
            dropped.steps += 1;
        }
    }
    dropped
}

/// One line, and the folded form where there is more to say.
fn forms(plan: &Plan, step: &Step) -> (String, Option<String>) {
    let name = format!("{} {}", step.action.as_str(), step.address.local());
    let reason = escape(&shortened(&one_line(&step.reason), 200));
    let short = format!("- `{}` {} ({reason})\n", symbol(step.action), code(&name));
    let diff = changes::diff(plan, step);
    let mut lines = changes::fields(step, diff.is_some());
    lines.extend(changes::warnings(step).into_iter().map(|w| format!("! {w}")));
    if diff.is_none() && lines.is_empty() {
        return (short, None);
    }
    let mut body = String::new();
    for line in lines {
        let _ = writeln!(body, "{line}");
    }
    if let Some(diff) = diff {
        body.push_str(&diff);
        if !body.ends_with('\n') {
            body.push('\n');
        }
    }
    let fence = fence(&body);
    let summary = format!("<code>{} {}</code> ({reason})", html(symbol(step.action)), html(&one_line(&name)));
    let full = format!("<details><summary>{summary}</summary>\n\n{fence}diff\n{body}{fence}\n\n</details>\n");
    (short, Some(full))
}

/// Longer than any run of backticks inside.
fn fence(body: &str) -> String {
    let longest = body.split(|c| c != '`').map(str::len).max().unwrap_or(0);
    "`".repeat(longest.max(2) + 1)
}

/// An inline code span that holds any text.
fn code(text: &str) -> String {
    let text = one_line(text).replace('|', "\\|");
    let longest = text.split(|c| c != '`').map(str::len).max().unwrap_or(0);
    let ticks = "`".repeat(longest + 1);
    let pad = if text.starts_with('`') || text.ends_with('`') { " " } else { "" };
    format!("{ticks}{pad}{text}{pad}{ticks}")
}

fn html(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// Text that stays text: no tags, no tables, no emphasis, no one called by name.
fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in one_line(text).chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '@' => out.push_str("&#64;"),
            '\\' | '`' | '*' | '_' | '[' | ']' | '|' | '#' | '~' => {
                out.push('\\');
                out.push(c);
            }
            c => out.push(c),
        }
    }
    out
}

fn shortened(text: &str, limit: usize) -> String {
    if text.chars().count() <= limit {
        return text.to_owned();
    }
    text.chars().take(limit - 1).chain(['…']).collect()
}
