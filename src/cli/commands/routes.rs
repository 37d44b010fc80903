use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::PathBuf;

use clap::Subcommand;

use super::super::args::Format;
use super::super::context::Context;
use super::super::exit::Exit;
use super::super::failure::Failure;
use super::super::routes::Reached;
use super::super::runtime;
use super::Answer;
use crate::moving::gates::{self as flow, Broken, Order, Phase, Table};
use crate::services::proxy::route::Route;

/// See and change which side the users of a proxy are sent to, on all of its gates
///
/// A change is made on every gate or on none: users are held everywhere first, then get their route everywhere, so that no gate lets
/// them in on the side that they leave once another one lets them in on the other. Done again after it was cut off, it comes to
/// the same end. Sessions of others feel nothing.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  cutover routes show --env production                      all routes; ends with 2 when gates differ
  cutover routes set ann@acme.example --to new              from her next login on
  cutover routes set --users wave-1.txt --to new            a user a line
  cutover routes hold ann@acme.example                      logins and mail wait, for the final delta
  cutover routes set ann@acme.example --to new --without gate-2   gate-2 is gone and serves nobody
  cutover routes sync --from gate-1                         a gate that is new, or was away, gets the routes of gate-1")]
pub struct Args {
    #[command(subcommand)]
    command: RoutesCommand,
    /// The proxy, when the topology has several
    #[arg(long, global = true, value_name = "NAME")]
    proxy: Option<String>,
    /// Leave out a gate that does not answer. It must serve nobody; give it the routes of the others before it does again
    #[arg(long, global = true, value_name = "GATE")]
    without: Vec<String>,
}

#[derive(Debug, Subcommand)]
enum RoutesCommand {
    /// Show the routes of all users that have one of their own, or of these
    Show(Who),
    /// Send users to a side, or refuse their logins
    Set {
        #[command(flatten)]
        who: Who,
        /// old, new or blocked
        #[arg(long, value_name = "ROUTE", value_parser = side)]
        to: Route,
        /// Close their sessions on the side that they leave; else these go on there until they end
        #[arg(long)]
        close: bool,
    },
    /// Let logins and mail of users wait, and close their sessions
    Hold(Who),
    /// Send users who are held back to the old side, or on to the new one
    Release {
        #[command(flatten)]
        who: Who,
        /// old or new
        #[arg(long, value_name = "ROUTE", value_parser = side)]
        to: Route,
    },
    /// Take away the route of users: the directory or the default says again where they belong
    Forget(Who),
    /// Close all sessions of users; they may log in again at once
    Kick(Who),
    /// Show the sessions that the gates serve
    Sessions(Who),
    /// Give all gates the routes of one of them
    Sync {
        #[arg(long, value_name = "GATE")]
        from: String,
    },
}

#[derive(Debug, clap::Args)]
pub struct Who {
    /// Users as their routes know them: after suffixes and substitutions, most often their mail address
    #[arg(value_name = "USER")]
    names: Vec<String>,
    /// A file with a user a line; `-` is standard input
    #[arg(long = "users", value_name = "FILE")]
    file: Option<PathBuf>,
}

fn side(text: &str) -> Result<Route, String> {
    Route::named(text).filter(|r| *r != Route::Held).ok_or_else(|| "old, new or blocked; to let them wait: hold".into())
}

pub fn run(args: &Args, context: &Context) -> Answer {
    context.formats("routes", &[Format::Text, Format::Json])?;
    let gates = Reached::open(context, args.proxy.as_deref(), &args.without)?;
    let users = |who: &Who| who.users(gates.lower_case);
    let some = |who: &Who| match users(who)? {
        none if none.is_empty() => Err(Failure::new("no user is named").help("name users, or --users FILE")),
        users => Ok(users),
    };
    let changes = !matches!(args.command, RoutesCommand::Show(_) | RoutesCommand::Sessions(_) | RoutesCommand::Kick(_));
    if gates.by_file && changes {
        return Err(Failure::new(format!("proxy {} takes its routes from a file that others write", gates.proxy))
            .help("change them there, or write route-by=store"));
    }
    let runtime = runtime::start()?;
    let done = |result: Result<BTreeMap<String, Table>, Broken>, what: String| match result {
        Ok(tables) => {
            if context.json() {
                context.out.json(&tables);
            } else {
                context.out.result(format!("{what} on {}", list(tables.keys())));
            }
            Ok(Exit::Ok)
        }
        Err(broken) => Err(failure(&broken)),
    };
    let told = |order: Order| runtime.block_on(flow::all(&gates, &order));
    match &args.command {
        RoutesCommand::Show(who) => {
            let tables = runtime.block_on(flow::tell(&gates, &users(who)?)).map_err(|b| failure(&b))?;
            show(&tables, context)
        }
        RoutesCommand::Set { who, to, close } => {
            let users = some(who)?;
            let result = runtime.block_on(flow::set(&gates, &users, *to, *close));
            done(result, format!("{} {}", people(&users), to.as_str()))
        }
        RoutesCommand::Hold(who) => {
            let users = some(who)?;
            done(runtime.block_on(flow::set(&gates, &users, Route::Held, true)), format!("{} held", people(&users)))
        }
        RoutesCommand::Release { who, to } => {
            let users = some(who)?;
            done(
                runtime.block_on(flow::set(&gates, &users, *to, false)),
                format!("{} released to {}", people(&users), to.as_str()),
            )
        }
        RoutesCommand::Forget(who) => {
            let users = some(who)?;
            answered(told(Order::Forget(users.clone())))?;
            done(
                runtime.block_on(flow::tell(&gates, &users)),
                format!("{} without a route of their own", people(&users)),
            )
        }
        RoutesCommand::Kick(who) => {
            let users = some(who)?;
            done(Ok(answered(told(Order::Kick(users.clone())))?), format!("{} closed", people(&users)))
        }
        RoutesCommand::Sessions(who) => sessions(&answered(told(Order::Sessions(users(who)?)))?, context),
        RoutesCommand::Sync { from } => {
            if !flow::Gates::names(&gates).contains(from) {
                return Err(Failure::new(format!("--from {from}: it is no gate of proxy {}", gates.proxy)));
            }
            done(runtime.block_on(flow::sync(&gates, from)), format!("the routes of {from} stand"))
        }
    }
}

impl Who {
    pub fn users(&self, lower_case: bool) -> Result<Vec<String>, Failure> {
        let mut users = self.names.clone();
        if let Some(file) = &self.file {
            let text = match file.to_str() {
                Some("-") => std::io::read_to_string(std::io::stdin()),
                _ => std::fs::read_to_string(file),
            };
            let text = text.map_err(|e| Failure::new(format!("{}: {e}", file.display())))?;
            users.extend(text.lines().map(|l| l.trim().to_owned()).filter(|l| !l.is_empty() && !l.starts_with('#')));
        }
        if let Some(bad) = users.iter().find(|u| u.len() > 512 || u.chars().any(char::is_control)) {
            return Err(Failure::new(format!("{bad:?} is no user")));
        }
        if lower_case {
            users = users.into_iter().map(|u| u.to_lowercase()).collect();
        }
        users.sort();
        users.dedup();
        Ok(users)
    }
}

fn people(users: &[String]) -> String {
    match users {
        [one] => format!("{one}:"),
        many => format!("{} users:", many.len()),
    }
}

fn list<'a>(names: impl Iterator<Item = &'a String>) -> String {
    names.map(String::as_str).collect::<Vec<_>>().join(", ")
}

fn answered(said: BTreeMap<String, flow::Said>) -> Result<BTreeMap<String, Table>, Failure> {
    flow::sound(said, Phase::Asked).map_err(|broken| {
        Failure::new(format!("the others have obeyed, but not {}:{}", list(broken.gates.keys()), reasons(&broken)))
    })
}

/// A line for each gate that failed.
fn reasons(broken: &Broken) -> String {
    broken.gates.iter().map(|(gate, why)| format!("\n  {gate}: {why}")).collect()
}

pub fn failure(broken: &Broken) -> Failure {
    let why = reasons(broken);
    let names = list(broken.gates.keys());
    let first = broken.gates.keys().next().map_or("", String::as_str);
    match broken.phase {
        Phase::Asked => Failure::new(format!("{names} cannot be asked; nothing was changed:{why}"))
            .help(format!("if it is gone and serves nobody: --without {first}")),
        Phase::Held if broken.held.is_empty() => Failure::new(format!(
            "{names} did not hold these users; the other gates have their former routes again:{why}"
        ))
        .help(format!("do it again, or --without {first} if it is gone and serves nobody")),
        Phase::Held => Failure::new(format!(
            "{names} did not hold these users, and they are held still on {}:{why}",
            list(broken.held.iter())
        ))
        .help("do it again: until then they cannot log in there"),
        Phase::Set => Failure::new(format!("{names} holds these users still; the other gates have changed:{why}"))
            .help("do it again: until then they cannot log in there. Nobody is let in on the side that they left"),
        Phase::Checked => Failure::new(format!("the gates were told, and do not agree:{why}"))
            .help("look with cutover routes show, and set them again"),
    }
}

fn show(tables: &BTreeMap<String, Table>, context: &Context) -> Answer {
    let apart = flow::apart(tables);
    if context.json() {
        context.out.json(&serde_json::json!({ "gates": tables, "apart": apart }));
    } else {
        let mut text = String::new();
        let users: BTreeMap<&String, Route> =
            tables.values().flat_map(|t| t.users.iter().map(|(user, route)| (user, *route))).collect();
        for (user, route) in users.iter().filter(|(u, _)| !apart.contains_key(**u)) {
            let _ = writeln!(text, "{:<8} {user}", route.as_str());
        }
        for (user, by) in &apart {
            let each = by.iter().map(|(gate, r)| format!("{} on {gate}", r.map_or("none", Route::as_str)));
            let _ = writeln!(text, "{:<8} {user}: {}", "apart", each.collect::<Vec<_>>().join(", "));
        }
        let count = users.len();
        let _ = write!(text, "{count} routes on {}; everybody else goes by directory or default", list(tables.keys()));
        context.out.result(text);
        if !apart.is_empty() {
            context.out.note("The gates do not agree: cutover routes sync --from GATE, or set these users again.");
        }
    }
    Ok(if apart.is_empty() { Exit::Ok } else { Exit::Changes })
}

fn sessions(tables: &BTreeMap<String, Table>, context: &Context) -> Answer {
    if context.json() {
        context.out.json(tables);
        return Ok(Exit::Ok);
    }
    let mut text = String::new();
    for (gate, table) in tables {
        for s in &table.sessions {
            let side = s.side.map_or("login", Route::as_str);
            let tls = if s.tls { "tls" } else { "plain" };
            let _ =
                writeln!(text, "{gate}  {side:<5} {:<10} {tls:<5} {}  from {}", s.protocol.as_str(), s.user, s.client);
        }
    }
    let count: usize = tables.values().map(|t| t.sessions.len()).sum();
    let _ = write!(text, "{count} sessions on {}", list(tables.keys()));
    context.out.result(text);
    Ok(Exit::Ok)
}
