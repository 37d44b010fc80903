use std::time::Duration;

use clap::Subcommand;
use clap::builder::{PossibleValuesParser, TypedValueParser};

use super::super::args::users;
use super::super::output::Output;
use super::ask::{Socket, closed, millis};
use crate::model::unit::parse_duration;
use crate::services::proxy::control::wire::{Changed, Request, Shown};
use crate::services::proxy::route::Route;

/// Show and change routes of users on the proxy that serves
///
/// New logins follow a change at once, on all protocols. Sessions that run go on, unless `--close` is given: then they end after
/// their current command, and the command waits for it.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    socket: Socket,
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Show the routes of users, or the whole table
    Show {
        users: Vec<String>,
        #[arg(long)]
        json: bool,
    },
    /// Give users a route, all of them in one epoch
    Set {
        #[command(flatten)]
        whom: Whom,
        #[arg(long, value_parser = one_of(&Route::ALL))]
        to: Route,
        #[command(flatten)]
        how: How,
    },
    /// Take users out of the table: the directory tells their route, or the default holds
    Unset {
        #[command(flatten)]
        whom: Whom,
        #[command(flatten)]
        how: How,
    },
}

/// Hold users: their logins wait for the release, or are told to come again, by `routes.held`
#[derive(Debug, clap::Args)]
pub struct Hold {
    #[command(flatten)]
    socket: Socket,
    #[command(flatten)]
    whom: Whom,
    #[command(flatten)]
    how: How,
}

/// Release users to a side: their logins go on within milliseconds
#[derive(Debug, clap::Args)]
pub struct Release {
    #[command(flatten)]
    socket: Socket,
    #[command(flatten)]
    whom: Whom,
    #[arg(long, value_parser = one_of(&SIDES))]
    to: Route,
    #[command(flatten)]
    how: How,
}

#[derive(Debug, clap::Args)]
pub struct Whom {
    /// Users as the routes know them; `-` reads more from standard input, one a line
    #[arg(required = true, value_name = "USER")]
    pub users: Vec<String>,
}

#[derive(Debug, clap::Args)]
struct How {
    /// Close sessions of these users that run by another route, and wait for their end
    #[arg(long)]
    close: bool,
    /// How long to wait for them
    #[arg(long, default_value = "5s", value_parser = duration)]
    wait: Duration,
    /// Change nothing unless the table has this epoch
    #[arg(long, value_name = "N")]
    expect_epoch: Option<u64>,
    #[arg(long)]
    json: bool,
}

const SIDES: [Route; 2] = [Route::Old, Route::New];

/// One of these routes, by its name.
fn one_of(routes: &'static [Route]) -> impl TypedValueParser<Value = Route> {
    PossibleValuesParser::new(routes.iter().map(|r| r.as_str()))
        .try_map(|name| Route::named(&name).ok_or_else(|| format!("there is no route `{name}`")))
}

pub fn duration(text: &str) -> Result<Duration, String> {
    parse_duration(text).ok_or_else(|| "write a duration as 500ms, 5s or 2m".to_owned())
}

pub fn run(args: Args, out: &Output) -> Result<(), Vec<String>> {
    match args.action {
        Action::Show { users, json } => show(&args.socket, users, json, out),
        Action::Set { whom, to, how } => change(&args.socket, &whom, Some(to), &how, out),
        Action::Unset { whom, how } => change(&args.socket, &whom, None, &how, out),
    }
}

pub fn hold(args: Hold, out: &Output) -> Result<(), Vec<String>> {
    change(&args.socket, &args.whom, Some(Route::Held), &args.how, out)
}

pub fn release(args: Release, out: &Output) -> Result<(), Vec<String>> {
    change(&args.socket, &args.whom, Some(args.to), &args.how, out)
}

fn show(socket: &Socket, users: Vec<String>, json: bool, out: &Output) -> Result<(), Vec<String>> {
    let shown: Shown = socket.ask(&Request::Routes { users }, Duration::from_secs(30))?;
    if json {
        out.json(&shown);
        return Ok(());
    }
    for r in &shown.routes {
        out.result(format!("{:<8} {} ({})", r.route.map_or("?", |route| route.as_str()), r.user, r.by));
    }
    out.note(format!("epoch {}, default {}", shown.epoch, shown.default.as_str()));
    Ok(())
}

fn change(socket: &Socket, whom: &Whom, to: Option<Route>, how: &How, out: &Output) -> Result<(), Vec<String>> {
    let request = Request::Set {
        users: users(&whom.users)?,
        to,
        close: how.close,
        expect_epoch: how.expect_epoch,
        wait_ms: millis(how.wait),
    };
    let changed: Changed = socket.ask(&request, how.wait)?;
    match how.json {
        true => out.json(&changed),
        false => {
            let closed = if how.close {
                format!(", {} sessions closed", changed.told - changed.remaining)
            } else {
                String::new()
            };
            out.result(format!("epoch {}: {} users{closed}", changed.epoch, changed.users));
        }
    }
    closed(&changed)
}
