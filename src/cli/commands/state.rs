use std::fmt::Write as _;
use std::path::PathBuf;

use clap::Subcommand;

use super::super::args::Format;
use super::super::context::Context;
use super::super::exit::Exit;
use super::super::failure::Failure;
use super::super::project::Project;
use super::super::recorded;
use super::super::session::{Session, Wish};
use super::Answer;
use super::plan::WishArgs;
use crate::execution::{Clock as _, SystemClock};
use crate::journal::Journal;
use crate::model::Address;
use crate::model::observed::{Observation, Observed};

/// Look at what cutover knows of the hosts
///
/// The truth is on the hosts: each keeps its own ledger of what cutover owns there, so they are asked. `--cached` reads the last
/// answers from the journal instead.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  cutover state list --env lab                          what cutover owns, by host
  cutover state show server.mail-1/service:dovecot      one resource as the host last showed it
  cutover state rm old-1                                a host that left the topology and does not exist any more
  cutover state observe --out today.json                ask all hosts and keep their answers, for plan --recorded")]
pub struct Args {
    #[command(subcommand)]
    command: StateCommand,
    /// Ask no host; show the last answers that the journal holds
    #[arg(long, global = true)]
    cached: bool,
}

#[derive(Debug, Subcommand)]
enum StateCommand {
    /// What cutover owns on the hosts, as they last said
    List {
        /// Only this host
        host: Option<String>,
    },
    /// One resource as its host last showed it
    Show {
        /// Such as server.mail-1/file:/etc/postfix/main.cf
        address: String,
    },
    /// Forget a host that left the topology and is gone for good, so that nobody asks it any more
    Rm { host: String },
    /// Ask the hosts and write down their answers
    Observe {
        #[command(flatten)]
        wish: WishArgs,
        /// File to write [default: standard output]
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
    },
}

pub fn run(args: &Args, context: &Context) -> Answer {
    context.formats("state", &[Format::Text, Format::Json])?;
    match &args.command {
        StateCommand::List { host } => list(host.as_deref(), args.cached, context),
        StateCommand::Show { address } => show(address, args.cached, context),
        StateCommand::Rm { host } => forget(host, context),
        StateCommand::Observe { wish, out } => observe(wish, out.as_deref(), context),
    }
}

/// The answers of the hosts, with their times (Unix milliseconds); of one host only when it is named.
fn answers(host: Option<&str>, cached: bool, context: &Context) -> Result<Vec<(i64, Observation)>, Failure> {
    if !cached {
        let session = Session::open_to_ask(context)?;
        let wish = Wish { targets: host.map(str::to_owned).into_iter().collect(), ..Wish::default() };
        let observed = session.block_on(session.observe(&wish))?;
        complain(&observed)?;
        session.remember(observed.clone());
        let now = SystemClock.now();
        return Ok(observed.hosts.into_values().map(|o| (now, o)).collect());
    }
    let state = Project::compile(context)?.state(context).state();
    let none = || Failure::new("no host was asked from here yet").help("leave --cached away");
    if !state.exists() {
        return Err(none());
    }
    let journal = Journal::read(&state)?;
    let mut found = Vec::new();
    for name in journal.known_hosts()?.keys().filter(|n| host.is_none_or(|h| n.0 == h)) {
        found.extend(journal.last_observation(name)?);
    }
    if found.is_empty() { Err(none()) } else { Ok(found) }
}

fn complain(observed: &Observed) -> Result<(), Failure> {
    if observed.failed.is_empty() {
        return Ok(());
    }
    let why = observed.failed.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n  ");
    Err(Failure::new(format!("could not ask:\n  {why}")))
}

fn when(at: i64) -> String {
    jiff::Timestamp::from_millisecond(at).map_or_else(|_| "?".into(), |t| format!("{t:.0}"))
}

fn list(host: Option<&str>, cached: bool, context: &Context) -> Answer {
    let answers = answers(host, cached, context)?;
    if context.json() {
        let rows: Vec<_> = answers
            .iter()
            .map(|(at, o)| serde_json::json!({ "host": o.host, "at": at, "facts": o.facts, "owned": o.owned, "lease": o.lease }))
            .collect();
        context.out.json(&rows);
        return Ok(Exit::Ok);
    }
    let mut text = String::new();
    for (at, o) in &answers {
        let _ = writeln!(text, "{} ({}, asked {}): {} resources", o.host, o.facts.os, when(*at), o.owned.len());
        if let Some(lease) = &o.lease {
            let _ = writeln!(text, "  lease {} of {} (apply {})", lease.token, lease.holder, lease.apply);
        }
        for owned in &o.owned {
            let _ = writeln!(text, "  {}:{}  ({})", owned.kind, owned.key, owned.owner);
        }
    }
    context.out.result(text);
    Ok(Exit::Ok)
}

fn show(address: &str, cached: bool, context: &Context) -> Answer {
    let address: Address = address.parse().map_err(Failure::new)?;
    let answers = answers(Some(&address.host.0), cached, context)?;
    let Some((at, observation)) = answers.iter().find(|(_, o)| o.host == address.host) else {
        return Err(Failure::new(format!("host {} did not answer", address.host)));
    };
    let Some(record) = observation.records.get(&address.local()) else {
        return Err(Failure::new(format!("{address} was not among what the host was asked for"))
            .help("`cutover state list` shows what there is"));
    };
    let owned = observation.owned.iter().find(|o| o.kind == address.kind && o.key == address.key);
    if context.json() {
        context.out.json(&serde_json::json!({ "address": address, "at": at, "record": record, "owned": owned }));
        return Ok(Exit::Ok);
    }
    let mut text = format!("{address}, asked {}\n", when(*at));
    let _ = writeln!(text, "  present: {}", record.present);
    match owned {
        Some(o) => drop(writeln!(text, "  owned: yes, asked for by {}", o.owner)),
        None => drop(writeln!(text, "  owned: no")),
    }
    for (name, value) in &record.attrs {
        let _ = writeln!(text, "  {name}: {value}");
    }
    let _ = writeln!(text, "  fingerprint: {}", record.fingerprint);
    context.out.result(text);
    Ok(Exit::Ok)
}

fn forget(host: &str, context: &Context) -> Answer {
    let project = Project::compile(context)?;
    if project.site.hosts.contains_key(&host.into()) {
        return Err(Failure::new(format!("host {host} stands in the topology, so it is asked with every plan"))
            .help("take it out of the topology first"));
    }
    let state = project.state(context);
    let journal = if state.state().exists() { Journal::open(&state, None)?.0 } else { return unknown(host) };
    let mut hosts = journal.known_hosts()?;
    if hosts.remove(&host.into()).is_none() {
        return unknown(host);
    }
    journal.remember(SystemClock.now(), Observed::default(), &hosts)?;
    // A question is answered after what was written before it.
    journal.history()?;
    context.out.result(format!("host {host} is forgotten; what cutover made there was not touched"));
    Ok(Exit::Ok)
}

fn unknown(host: &str) -> Answer {
    Err(Failure::new(format!("host {host} is not known here")))
}

fn observe(wish: &WishArgs, out: Option<&std::path::Path>, context: &Context) -> Answer {
    let session = Session::open_to_ask(context)?;
    let observed = session.block_on(session.observe(&wish.wish(false)))?;
    match out {
        Some(path) => {
            recorded::save(path, &observed)?;
            context.out.note(format!("{} answers written to {}", observed.hosts.len(), path.display()));
        }
        None => context.out.json(&observed),
    }
    complain(&observed)?;
    Ok(Exit::Ok)
}
