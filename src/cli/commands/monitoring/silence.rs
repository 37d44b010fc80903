//! Silences of Alertmanager, made and ended by hand.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use jiff::tz::TimeZone;

use super::super::super::calendar::moment;
use super::super::super::context::Context;
use super::super::super::exit::Exit;
use super::super::super::failure::Failure;
use super::super::super::near::Near;
use super::super::super::project::Project;
use super::super::super::runtime;
use super::super::super::silences::{self, Done, Silences, Wish};
use super::super::Answer;
use crate::lowering::window;
use crate::model::unit::parse_duration;
use crate::monitoring::silence::{Silence, servers};

/// Longest silence without a window.
const LONGEST: Duration = Duration::from_secs(86_400);

#[derive(Debug, clap::Args)]
pub struct Args {
    /// A cutover-window: the servers of its cohorts are silent for as long as it lasts, and no longer
    #[arg(value_name = "WINDOW", required_unless_present = "on", conflicts_with = "on")]
    window: Option<String>,
    /// These servers, without a window
    #[arg(long, value_name = "SERVER", value_delimiter = ',')]
    on: Vec<String>,
    /// For how long, at most 24h
    #[arg(long = "for", value_name = "DURATION", requires = "on", value_parser = length)]
    lasts: Option<Duration>,
    /// End it now
    #[arg(long)]
    end: bool,
}

fn length(text: &str) -> Result<Duration, String> {
    match parse_duration(text) {
        Some(d) if !d.is_zero() && d <= LONGEST => Ok(d),
        Some(_) => Err("from 1s to 24h; what takes longer is a cutover-window".into()),
        None => Err("a duration, as 30m".into()),
    }
}

pub fn run(args: &Args, context: &Context) -> Answer {
    let project = Project::compile(context)?;
    let name = window::timezone(&project.topology);
    let zone = TimeZone::get(name).map_err(|e| Failure::new(format!("no timezone is called {name}: {e}")))?;
    let wanted = wanted(args, &project, &zone)?;
    let silences = Silences::of(&project, &Arc::new(Near::of(context, &project)), &project.state(context));
    if silences.is_empty() {
        return Err(Failure::new("no server with the role monitor can be reached: nobody here could be silenced")
            .help("Alertmanager stands on the servers with that role"));
    }
    let wish = if args.end { Wish::End } else { Wish::Make };
    let said = runtime::start()?.block_on(silences.carry_out(&wanted, wish));
    if context.json() {
        let name = |done: &Result<Done, Failure>| match done {
            Ok(Done::Silent) => "silent".to_owned(),
            Ok(Done::Kept) => "kept".to_owned(),
            Ok(Done::Ended(n)) => format!("ended {n}"),
            Err(e) => format!("failed: {}", e.told()),
        };
        let hosts: BTreeMap<&String, String> = said.iter().map(|(host, done)| (host, name(done))).collect();
        context.out.json(&serde_json::json!({
            "of": wanted.of, "servers": wanted.servers, "from": wanted.from, "until": wanted.until, "hosts": hosts,
        }));
    } else {
        context.out.result(silences::told(&wanted, &said, &zone).join("\n"));
        if !args.end {
            context.out.note("service levels count on, and their alerts are heard");
        }
    }
    if said.values().any(Result::is_err) { Err(Failure::shown()) } else { Ok(Exit::Ok) }
}

fn wanted(args: &Args, project: &Project, zone: &TimeZone) -> Result<Silence, Failure> {
    let topology = &project.topology;
    let now = jiff::Timestamp::now().as_second();
    let Some(name) = &args.window else {
        let servers: BTreeSet<String> = args.on.iter().cloned().collect();
        let known = |s: &&String| topology.all("server").any(|n| n.id.name.as_str() == s.as_str());
        let unknown: Vec<&str> = servers.iter().filter(|s| !known(s)).map(String::as_str).collect();
        if !unknown.is_empty() {
            return Err(Failure::new(format!("no server is called {}", unknown.join(", "))));
        }
        let lasts = match args.lasts {
            Some(lasts) => i64::try_from(lasts.as_secs()).unwrap_or(i64::MAX),
            None if args.end => 0,
            None => return Err(Failure::new("for how long?").help("write --for 30m; at most 24h")),
        };
        let names = servers.iter().map(String::as_str).collect::<Vec<_>>().join(", ");
        return Ok(Silence { of: format!("servers {names}"), servers, from: now, until: now.saturating_add(lasts) });
    };
    let all = || topology.all("cutover-window");
    let Some(node) = all().find(|w| w.id.name.as_str() == name) else {
        let known = all().map(|w| w.id.name.as_str()).collect::<Vec<_>>().join(", ");
        return Err(Failure::new(format!("no cutover-window `{name}`")).help(format!("known: {known}")));
    };
    let (from, until) = window::span(node, zone.clone())
        .ok_or_else(|| Failure::new(format!("window {name} has no time that could be read")))?;
    if until <= now && !args.end {
        let over = jiff::Timestamp::from_second(until).unwrap_or_default();
        return Err(Failure::new(format!("window {name} was over at {}: nothing is silenced", moment(over, zone))));
    }
    let servers = servers(topology, node);
    if servers.is_empty() {
        return Err(Failure::new(format!("window {name} touches no server that is watched"))
            .help("a window touches both sides of the cohorts that name it, and what stands between them"));
    }
    Ok(Silence { of: format!("window {name}"), servers, from: from.max(now), until })
}
