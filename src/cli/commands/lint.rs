use std::fmt::Write as _;

use serde_json::json;

use super::super::args::Format;
use super::super::context::Context;
use super::super::exit::Exit;
use super::super::project;
use super::super::told::Told;
use super::Answer;
use crate::model::diagnostic::Severity;
use crate::rules::{self, AREAS};

/// Find what is legal in the topology and yet goes wrong
///
/// Runs the lint rules over every environment; `check` does so too, after everything else. A finding that is meant stays silent
/// with `allow RULE reason=".."` in the topology, on the nodes that it names, until its date.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  cutover lint                           all environments
  cutover lint --env production          one environment
  cutover lint --deny-warnings           warnings count as errors
  cutover lint --list                    all rules with code, severity and source
  cutover lint --list --format markdown  the same as a page")]
pub struct Args {
    /// End with 1 when there are warnings
    #[arg(long)]
    deny_warnings: bool,
    /// Print every rule instead of running them
    #[arg(long, conflicts_with = "deny_warnings")]
    list: bool,
}

pub fn run(args: &Args, context: &Context) -> Answer {
    if args.list {
        return list(context);
    }
    context.formats("lint", &[Format::Text, Format::Json])?;
    let linted = project::lint_all(context)?;
    let mut told = Told::default();
    for compiled in &linted {
        told.tell(context, &compiled.sources, &compiled.diagnostics);
    }
    told.end(context, args.deny_warnings, || {
        let rules = rules::all().count();
        let line = |c: &crate::language::Compiled| {
            let of = c.topology.environment.as_deref().unwrap_or("base");
            format!("{of}: {rules} rules have nothing to say of {} nodes", c.topology.nodes.len())
        };
        linted.iter().map(line).collect()
    })?;
    Ok(Exit::Ok)
}

fn list(context: &Context) -> Answer {
    match context.formats("lint --list", &[Format::Text, Format::Json, Format::Markdown])? {
        Format::Json => {
            let rules: Vec<_> = AREAS
                .iter()
                .flat_map(|a| a.rules.iter().map(move |r| (a, r)))
                .map(|(a, r)| {
                    json!({
                        "code": format!("cutover::{}", r.code),
                        "name": r.name,
                        "severity": severity(r.severity),
                        "area": a.title,
                        "about": r.about,
                        "source": r.source,
                    })
                })
                .collect();
            context.out.json(&json!({ "rules": rules }));
        }
        Format::Markdown => context.out.result(page()),
        _ => context.out.result(text()),
    }
    Ok(Exit::Ok)
}

fn text() -> String {
    let mut out = String::new();
    for area in AREAS {
        let _ = writeln!(out, "{}", area.title);
        for r in area.rules {
            let _ = writeln!(out, "  {} {} ({})", r.code, r.name, severity(r.severity));
            let _ = writeln!(out, "        {}\n        {}", r.about, r.source);
        }
    }
    let _ = writeln!(out, "{} rules", rules::all().count());
    out
}

/// docs/rules.md is this page.
fn page() -> String {
    let mut out = String::from(
        "# Lint rules\n\n\
        What `cutover lint` and `cutover check` speak of, beside mistakes. This page is the output of `cutover lint --list --format \
        markdown`.\n\n\
        A warning works until it does not; an error is refused by the product or the protocol and ends a check; advice is a better \
        way. What is meant stays silent with a reason, on some nodes or on all, for ever or until a date:\n\n\
        ```kdl\nallow single-point-of-failure reason=\"five users; a second gate is one more name\" until=\"2027-06-30\" {\n    \
        on server:gate\n}\n```\n",
    );
    for area in AREAS {
        let _ = writeln!(out, "\n## {}\n\n| code | rule | severity | what must hold, and why | source |", area.title);
        out.push_str("|---|---|---|---|---|\n");
        for r in area.rules {
            let cell = |t: &str| t.replace('|', "\\|");
            let (about, source) = (cell(r.about), cell(r.source));
            let _ = writeln!(out, "| {} | `{}` | {} | {about} | {source} |", r.code, r.name, severity(r.severity));
        }
    }
    out
}

fn severity(severity: Severity) -> &'static str {
    match severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
        Severity::Advice => "advice",
    }
}
