use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use super::super::exit::Exit;
use super::super::output::Output;
use super::super::runtime;
use super::ask;
use crate::model::unit::{format_bytes, format_duration};
use crate::services::cms::ledger::{Summary, Way};
use crate::services::cms::service::wire::{Answer, Request};

/// Show how far each mailbox has come
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Only these; `-` reads a user a line from standard input
    users: Vec<String>,
    #[arg(long)]
    json: bool,
}

pub fn run(args: &Args, path: &Path, out: &Output) -> Result<Exit, Vec<String>> {
    let (config, _) = super::read(path)?;
    let users = super::listed(&args.users)?;
    let mut found = match ask::ask(&config.cms.control, &Request::Status {})? {
        Some(Answer::Status(status)) => {
            if !args.json {
                let left = status.left_seconds.map(|s| format!(", {} left", format_duration(Duration::from_secs(s))));
                out.note(format!(
                    "cutover-cms {}: {} passes run, {} wait{}",
                    status.version,
                    status.moving,
                    status.waiting,
                    left.unwrap_or_default()
                ));
            }
            status.mailboxes
        }
        Some(_) => return Err(vec!["the service gave another answer than was asked for".into()]),
        None => {
            let ledger = super::ledger(&config)?;
            let found = runtime::block_on(ledger.summaries(None))
                .map_err(|_| vec!["the system gives no threads".to_owned()])?;
            found.map_err(|e| vec![e.to_string()])?
        }
    };
    if !args.users.is_empty() {
        let named: BTreeSet<String> = users.iter().map(|u| u.to_lowercase()).collect();
        found.retain(|s| named.contains(&s.user.to_lowercase()));
    }
    match args.json {
        true => out.json(&found),
        false => found.iter().for_each(|s| out.result(line(s))),
    }
    Ok(Exit::Ok)
}

fn line(s: &Summary) -> String {
    let mut text = format!("{}: {}", s.user, s.phase.as_str());
    if s.way == Way::Back {
        text += " (rollback)";
    }
    if s.paused {
        text += ", paused";
    }
    text += &format!(", {} of {} messages, {}", s.messages, s.total.max(s.messages), format_bytes(s.octets));
    if s.total_octets > s.octets {
        text += &format!(" of {}", format_bytes(s.total_octets));
    }
    if s.exceptions > 0 {
        text += &format!(", {} exceptions", s.exceptions);
    }
    if s.watched > 0 {
        text += &format!(", {} appends watched", s.watched);
    }
    if let Some(fault) = &s.fault {
        text += &format!("; {fault}");
    }
    text
}
