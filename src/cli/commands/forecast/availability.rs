use std::fmt::Write as _;

use super::super::super::args::Format;
use super::super::super::context::Context;
use super::super::super::exit::Exit;
use super::super::super::project::Project;
use super::super::Answer;
use crate::availability::{Capacity, Forecast, Level, Verdict, forecast, percent, span};

pub fn run(context: &Context) -> Answer {
    let format = context.formats("forecast availability", &[Format::Text, Format::Json])?;
    let (_, topology) = Project::topology(context)?;
    let found = forecast(&topology);
    match format {
        Format::Json => context.out.json(&found),
        _ => context.out.result(text(&found)),
    }
    let bad = found.levels.iter().any(|l| l.verdict == Verdict::OutOfReach);
    Ok(if bad { Exit::Changes } else { Exit::Ok })
}

fn text(found: &Forecast) -> String {
    let mut out = "Predicted from the topology, and unvalidated until drills and incidents take the place of what is assumed.\n\
        From the lower end, where some failures are common to a role in a site, to the upper one, where all are independent.\n"
        .to_owned();
    found.levels.iter().for_each(|l| out.push_str(&level(l)));
    if !found.capacity.is_empty() {
        out.push_str("\nMailboxes that tiers carry, at 80%:\n");
        found.capacity.iter().for_each(|c| out.push_str(&capacity(c)));
    }
    out.push_str("\nReckoned with:\n");
    for i in &found.inputs {
        let (often, long) = (span(i.mtbf as f64), span(i.mttr as f64));
        let _ = writeln!(out, "  {} {}: {often} between failures, {long} to repair; {}", i.count, i.of, i.source);
    }
    out
}

fn level(l: &Level) -> String {
    let window = span(l.window as f64);
    let mut out = match (&l.level, l.target) {
        (Some(name), Some(target)) => {
            let budget = l.budget.map_or_else(String::new, |b| format!(", {} of {window} may be lost", span(b)));
            format!("\n{name}: {} of {} promised{budget}\n", percent(target), l.of)
        }
        (Some(name), None) => format!("\n{name}: {}, no target\n", l.of),
        (None, _) => "\nthe whole service: nothing is promised\n".to_owned(),
    };
    if let Some((low, high)) = l.low.zip(l.high) {
        let verdict = if l.target.is_some() { format!(": {}", l.verdict.as_str()) } else { String::new() };
        let _ = writeln!(out, "  {} to {}{verdict}", percent(low), percent(high));
    }
    if let Some((low, high)) = l.maintenance {
        let _ = writeln!(out, "  left for maintenance: {}", between(low, high));
    }
    let width = |of: fn(&crate::availability::Part) -> &str| l.parts.iter().map(|p| of(p).len()).max().unwrap_or(0);
    let (first, second) = (width(|p| &p.part), width(|p| &p.of));
    for p in &l.parts {
        let cost = between(p.at_least, p.at_most);
        let _ = writeln!(out, "    {:<first$}  {:<second$}  costs {cost} of {window}", p.part, p.of);
    }
    if let Some((name, low, high)) = &l.worst {
        let _ = writeln!(out, "  least: {name}, {} to {}", percent(*low), percent(*high));
    }
    l.notes.iter().for_each(|n| _ = writeln!(out, "  note: {n}"));
    out
}

fn capacity(c: &Capacity) -> String {
    let at = c.site.as_ref().map_or_else(String::new, |s| format!(" at {s}"));
    let spare = if c.has_spare() { "" } else { ": too few" };
    let mut out = format!(
        "  {}{at}: {} by {} servers, of {}; {} without {}{spare}\n",
        c.role, c.carries, c.servers, c.mailboxes, c.without_largest, c.largest
    );
    if !c.not_without.is_empty() {
        let _ = writeln!(out, "    too few without site {}", c.not_without.join(", without site "));
    }
    out
}

fn between(least: f64, most: f64) -> String {
    let (least, most) = (span(least), span(most));
    if least == most { most } else { format!("{least} to {most}") }
}
