//! One step after the other. What is sent is in the diary before it is sent, so that a run that was killed is known as such.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::super::super::args::Format;
use super::super::super::context::Context;
use super::super::super::exit::Exit;
use super::super::super::failure::Failure;
use super::super::super::near::Near;
use super::super::super::project::Project;
use super::super::super::runtime;
use super::super::Answer;
use super::diary::{self, Diary, Entry, Event};
use super::{Book, find};
use crate::model::Digest;
use crate::model::host::{HostAccess, Reach};
use crate::model::suggest::did_you_mean;
use crate::model::unit::format_duration;
use crate::process::runbook::{Block, Step};
use crate::reporting::visible;

#[derive(Debug, clap::Args)]
pub struct Args {
    name: String,
    /// Where its commands run: hosts of the topology, one after the other
    #[arg(long, value_name = "HOST", value_delimiter = ',')]
    on: Vec<String>,
    /// Go on with this step
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    from: Option<u64>,
    /// Ask nothing: run all commands, and tell what is a person's to do
    #[arg(long)]
    yes: bool,
    /// What it is about, for the record: an incident, a change
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
}

/// A step as people read it.
pub fn told(n: usize, of: usize, step: &Step) -> String {
    let kind = match &step.command {
        Some(Block { limit, .. }) => format!("command, {} at most", format_duration(*limit)),
        None => "for a person".to_owned(),
    };
    let mut text = format!("Step {n} of {of} ({kind})");
    if !step.title.is_empty() {
        let _ = write!(text, ": {}", step.title);
    }
    for line in step.text.lines() {
        let _ = write!(text, "\n  {line}");
    }
    for line in step.command.iter().flat_map(|b| b.shell.lines()) {
        let _ = write!(text, "\n  $ {line}");
    }
    text
}

/// The hosts that were named, in their order.
fn hosts<'p>(project: &'p Project, names: &[String]) -> Result<Vec<(String, &'p HostAccess)>, Failure> {
    let known = || {
        let real = |(_, a): &(_, &HostAccess)| matches!(a.reach, Reach::Ssh | Reach::Local);
        project.site.hosts.iter().filter(real)
    };
    let mut found: Vec<(String, &HostAccess)> = Vec::new();
    let mut bad = Vec::new();
    for name in names {
        match known().find(|(h, _)| h.0 == *name) {
            Some((host, access)) if found.iter().all(|(h, _)| *h != host.0) => found.push((host.0.clone(), access)),
            Some(_) => {}
            None => bad.push(match did_you_mean(name, known().map(|(h, _)| h.0.as_str())) {
                Some(near) => format!("the topology has no host `{name}`; did you mean {near}?"),
                None => format!("the topology has no host `{name}`"),
            }),
        }
    }
    if bad.is_empty() { Ok(found) } else { Err(Failure::new(bad.join("\n")).help("nothing was carried out")) }
}

enum Word {
    Go,
    Skip,
    Leave,
}

struct Running<'p> {
    context: &'p Context,
    near: Near,
    hosts: Vec<(String, &'p HostAccess)>,
    diary: Diary,
    yes: bool,
    from: usize,
    /// Hosts that had the first step behind them.
    behind: Vec<String>,
}

pub fn run(args: &Args, context: &Context) -> Answer {
    context.formats("runbook run", &[Format::Text])?;
    let project = Project::compile(context)?;
    let book = Book::of(context, find(&project.topology, &args.name)?);
    let read = book.usable()?;
    let steps = &read.steps;
    let hosts = hosts(&project, &args.on)?;
    let from = usize::try_from(args.from.unwrap_or(1)).unwrap_or(usize::MAX);
    if from > steps.len() {
        return Err(Failure::new(format!("runbook {} has {} steps, not {from}", args.name, steps.len())));
    }
    if hosts.is_empty() && steps.iter().skip(from - 1).any(|s| s.command.is_some()) {
        return Err(Failure::new(format!("runbook {} has commands, and it is not said where", args.name))
            .help("say --on HOST, or --on HOST,HOST; nothing was carried out"));
    }
    if !args.yes && !context.out.interactive() {
        return Err(Failure::new("each step is asked about, and nobody is there to answer").help(
            "run it at a terminal, or say --yes: all its commands run then, and what is a person's to do is only told",
        ));
    }
    let state = project.state(context);
    let entries = diary::file(&state).read()?;
    // A runbook of people's steps alone is of no host.
    let names: Vec<String> = hosts.iter().map(|(h, _)| h.clone()).collect();
    let nowhere = [String::new()];
    let places = if names.is_empty() { &nowhere[..] } else { &names };
    let left: BTreeMap<&str, Vec<&Entry>> = places
        .iter()
        .map(|h| (h.as_str(), diary::open(&entries, &args.name, h)))
        .filter(|(_, run)| !run.is_empty())
        .collect();
    if let (Some(last), None) = (left.values().filter_map(|run| run.last()).next(), args.from) {
        let text = format!("a run of {} that {} began at {} {}", args.name, last.by, last.at, diary::end(last));
        let help = format!(
            "see how it is, then say where to go on: --from {}, or --from 1 for all of it again",
            last.step.max(1)
        );
        return Err(Failure::new(text).help(help));
    }
    let digest = Digest::of(serde_json::to_string(read).unwrap_or_default().as_bytes());
    if let Some(last) = entries.iter().rfind(|e| e.runbook == args.name).filter(|e| from > 1 && e.digest != digest) {
        context
            .out
            .note(format!("the runbook is another than it was at {}: its steps may have other numbers", last.at));
    }
    // Hosts of a run that was cut off in this step, and that had it behind them.
    let behind = |h: &&String| {
        let done = |e: &&&Entry| e.step == from && e.event == Event::Done && e.host.as_deref() == Some(h);
        args.from.is_some() && from > 1 && left.get(h.as_str()).is_some_and(|run| run.iter().any(|e| done(&e)))
    };
    let behind: Vec<String> = names.iter().filter(behind).cloned().collect();
    let diary = Diary::begin(&state, &args.name, digest, args.reason.clone(), names, from)?;
    let running = Running { context, near: Near::of(context, &project), hosts, diary, yes: args.yes, from, behind };
    let done = runtime::block_on(async {
        for (n, step) in (1..).zip(steps).skip(from - 1) {
            context.out.result(told(n, steps.len(), step));
            if !running.step(n, step).await? {
                running.diary.write(n, None, Event::Left, None)?;
                context.out.note(format!("left before step {n}; go on with --from {n}"));
                return Ok(false);
            }
        }
        running.diary.write(steps.len(), None, Event::Ended, None)?;
        Ok::<_, Failure>(true)
    })??;
    Ok(if done { Exit::Ok } else { Exit::Interrupted })
}

impl Running<'_> {
    /// False: somebody wants no more.
    async fn step(&self, n: usize, step: &Step) -> Result<bool, Failure> {
        let event = match (&step.command, self.yes) {
            (None, true) => Event::Told,
            (None, false) => match self.ask("done?") {
                Word::Go => Event::Done,
                Word::Skip => Event::Skipped,
                Word::Leave => return Ok(false),
            },
            (Some(block), _) => {
                let on = self.hosts.iter().map(|(h, _)| h.as_str()).collect::<Vec<_>>().join(", ");
                match if self.yes { Word::Go } else { self.ask(&format!("run it on {on}?")) } {
                    Word::Go => {
                        for (i, (host, access)) in self.hosts.iter().enumerate() {
                            if n == self.from && self.behind.contains(host) {
                                self.context.out.note(format!(
                                    "{host}: step {n} was done there by the run before; it is not done again"
                                ));
                                continue;
                            }
                            let rest: Vec<&str> = self.hosts[i + 1..].iter().map(|(h, _)| h.as_str()).collect();
                            self.command(n, block, host, access, &rest).await?;
                        }
                        return Ok(true);
                    }
                    Word::Skip => Event::Skipped,
                    Word::Leave => return Ok(false),
                }
            }
        };
        self.diary.write(n, None, event, None).map(|()| true)
    }

    fn ask(&self, question: &str) -> Word {
        loop {
            // Whoever closed the terminal did not say yes.
            let Some(answer) = self.context.out.ask(&format!("{question} [y]es, [s]kip, [q]uit:")) else {
                return Word::Leave;
            };
            match answer.to_ascii_lowercase().as_str() {
                "y" | "yes" => return Word::Go,
                "s" | "skip" => return Word::Skip,
                "q" | "quit" => return Word::Leave,
                _ => {}
            }
        }
    }

    async fn command(
        &self,
        n: usize,
        block: &Block,
        host: &str,
        access: &HostAccess,
        rest: &[&str],
    ) -> Result<(), Failure> {
        self.diary.write(n, Some(host), Event::Begun, None)?;
        let say = |line: &str| self.context.out.result(format!("{host} | {}", visible(line)));
        // One compound command: nothing of it runs unless all of it can be read.
        let script = format!("{{ set -e\n{}\n}}\n", block.shell);
        let heard = self.near.run_each(access, script, block.limit, say).await;
        let again = |has: &str| {
            let it = match rest.is_empty() {
                true => format!("--from {}", n + 1),
                false => format!("--from {n} --on {} first, then --from {}", rest.join(","), n + 1),
            };
            format!("look on {host}; to do it again: --from {n} (hosts that are done are passed over); {has}: {it}")
        };
        let heard = match heard {
            Ok(heard) => heard,
            Err(why) => {
                self.diary.write(n, Some(host), Event::Unknown, None)?;
                let text = format!("step {n} on {host}: {why}; it may have run, and may still");
                return Err(Failure::new(text).help(again("if it has run")));
            }
        };
        heard.err.lines().for_each(say);
        match heard.code {
            Some(0) => self.diary.write(n, Some(host), Event::Done, Some(0)),
            code => {
                self.diary.write(n, Some(host), Event::Failed, code)?;
                let end = code.map_or("was ended by a signal".to_owned(), |c| format!("ended with {c}"));
                Err(Failure::new(format!("step {n} on {host} {end}")).help(again("to go on without it")))
            }
        }
    }
}
