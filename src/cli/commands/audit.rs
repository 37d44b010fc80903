use std::time::Duration;

use jiff::Timestamp;

use super::super::args::Format;
use super::super::audited;
use super::super::context::Context;
use super::super::exit::Exit;
use super::super::failure::Failure;
use super::super::near::Near;
use super::super::project::Project;
use super::super::runtime;
use super::super::silences::watchers;
use super::Answer;
use crate::auditing::{self, Course, Wish};
use crate::language::glob;
use crate::model::HostName;
use crate::model::audit::{AuditReport, Verdict};
use crate::reporting::{Paint, audit_text};

/// All questions of a host; each has twenty seconds of its own.
const LIMIT: Duration = Duration::from_secs(180);

/// Hold hosts against their baselines, and change nothing
///
/// Asks each host in one round trip for every `check` and `setting` of the baselines that it has. A deviation that a waiver covers is told
/// and does not count; a waiver that has ended covers nothing. What could not be asked is never taken for as wanted.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  cutover audit --env production             0 all as wanted, 1 something could not be asked, 2 deviations
  cutover audit \"mail-*\" --baseline relay    these hosts, this baseline
  cutover audit --format json                for a monitor
  cutover audit --record                     and keep when each deviation began and ended
  cutover audit --due --alert                what `audit-every` says is due, told to Alertmanager; for a timer")]
pub struct Args {
    /// Servers, with * as wildcard [default: all that have a baseline]
    #[arg(value_name = "HOST")]
    hosts: Vec<String>,
    /// Only this baseline; may be repeated
    #[arg(long = "baseline", short = 'b', value_name = "NAME")]
    baselines: Vec<String>,
    /// Only baselines whose last recorded audit is older than their `audit-every`; implies --record
    #[arg(long)]
    due: bool,
    /// Keep in the state folder what deviates since when
    #[arg(long)]
    record: bool,
    /// Tell Alertmanager on the servers with the role monitor what deviates and what does no more; implies --record
    #[arg(long)]
    alert: bool,
}

pub fn run(args: &Args, context: &Context) -> Answer {
    let format = context.formats("audit", &[Format::Text, Format::Json])?;
    let project = Project::compile(context)?;
    let (state, now) = (project.state(context), Timestamp::now());
    let whole = wished(&project)?;
    if args.alert && watchers(&project).is_empty() {
        return Err(Failure::new("no server has the role monitor: there is no Alertmanager to tell")
            .help("leave --alert out, or give a server the role"));
    }
    let mut wish = chosen(&project, whole.clone(), args)?;
    if args.due {
        let known = audited::known(&state)?;
        let due = known.due(&project.topology, now);
        wish.keep(|_, q| due.contains(q.baseline.as_str()));
    }
    let near = Near::once(context, &project);
    let report = runtime::block_on(audit(context, &project, &near, &wish))?;
    let told = if args.record || args.due || args.alert {
        let (known, ended) = audited::record(&project, &state, &whole, &report, now)?;
        let alerts = audited::told(&project, &known, &ended, now).filter(|_| args.alert);
        alerts.map_or(Ok(Ok(())), |alerts| runtime::block_on(audited::tell(&project, &near, &alerts)))?
    } else {
        Ok(())
    };
    match format {
        Format::Json => context.out.json(&report),
        _ => context.out.result(audit_text(&report, Paint::when(context.out.color()))),
    }
    told?;
    match report.count(Verdict::NotAsked) {
        0 if report.count(Verdict::Deviates) > 0 => Ok(Exit::Changes),
        0 => Ok(Exit::Ok),
        n => Err(Failure::new(format!(
            "{n} of {} checks could not be asked; whether they deviate is not known",
            report.items.len()
        ))),
    }
}

/// Everything that baselines want; what cannot be asked in that form is told whole.
fn wished(project: &Project) -> Result<Wish, Failure> {
    let wish = auditing::wish(&project.topology, jiff::Zoned::now().date());
    match wish.wrong.is_empty() {
        true => Ok(wish),
        false => {
            Err(Failure::several(wish.wrong).help("no host was asked; `cutover docs check` says what can be written"))
        }
    }
}

/// The part of it that is meant.
fn chosen(project: &Project, mut wish: Wish, args: &Args) -> Result<Wish, Failure> {
    let topology = &project.topology;
    let mut unknown: Vec<String> = Vec::new();
    for name in args.baselines.iter().filter(|n| topology.get("baseline", n).is_none()) {
        unknown.push(format!("the topology has no baseline `{name}`"));
    }
    let named = |pattern: &String| topology.all("server").any(|s| glob(pattern, &s.id.name));
    unknown.extend(args.hosts.iter().filter(|p| !named(p)).map(|p| format!("no server is called `{p}`")));
    if !unknown.is_empty() {
        return Err(Failure::several(unknown));
    }
    let host = |name: &HostName| args.hosts.is_empty() || args.hosts.iter().any(|p| glob(p, &name.0));
    wish.keep(|name, q| host(name) && (args.baselines.is_empty() || args.baselines.contains(&q.baseline)));
    Ok(wish)
}

async fn audit(context: &Context, project: &Project, near: &Near, wish: &Wish) -> AuditReport {
    let course = Course { parallel: usize::from(context.globals.parallel), limit: LIMIT };
    let (mut done, all) = (0, wish.hosts.len());
    let progress = |host: &HostName, answered: bool| {
        done += 1;
        let word = if answered { "answered" } else { "failed" };
        context.out.passing(&format!("asking hosts: {done} of {all} ({host} {word})"));
    };
    let (items, failed) = auditing::ask(near.network(), &project.site.hosts, &wish.hosts, course, progress).await;
    context.out.passing("");
    AuditReport {
        organization: project.topology.organization().map(|o| o.id.name.to_string()).unwrap_or_default(),
        environment: project.topology.environment.clone(),
        day: jiff::Zoned::now().date().to_string(),
        hosts: all,
        items,
        failed,
    }
}
