use std::time::Duration;

use clap::Subcommand;

use super::super::super::context::Context;
use super::super::super::exit::Exit;
use super::super::super::failure::Failure;
use super::super::Answer;
use super::{Lab, with_progress};
use crate::lab::fault::{Fault, Peer, RelayProgram, heal, inject};
use crate::model::unit::{parse_duration, parse_size};

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  cutover lab fault --env lab cut mail-1 mail-2       nothing passes between them
  cutover lab fault --env lab slow mail-1 machine 50ms
  cutover lab fault --env lab thin gate everyone --loss 2%
  cutover lab fault --env lab fill mail-1 /var/mail --leave 1MiB
  cutover lab fault --env lab skew mail-1 dovecot -- -3600
  cutover lab fault --env lab heal f1                 take one back; without a number: all")]
pub struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Nothing passes between a host and PEER
    Cut {
        host: String,
        /// Another host, `machine` (where cutover runs) or `everyone`
        peer: String,
    },
    /// Connections are slow: each direction is held back
    Slow {
        host: String,
        /// Another host, `machine` or `everyone`
        peer: String,
        /// Such as 50ms
        #[arg(value_parser = duration)]
        delay: Duration,
    },
    /// Packets are lost by chance, or above a rate
    Thin {
        host: String,
        /// Another host, `machine` or `everyone`
        peer: String,
        /// Share of packets lost, such as 2% or 0.5%
        #[arg(long, value_parser = permille, default_value = "0%", required_unless_present = "rate")]
        loss: u32,
        /// Bytes per second, such as 64KiB
        #[arg(long, value_parser = size)]
        rate: Option<u64>,
    },
    /// All processes of the host stand still
    Pause { host: String },
    /// Power is cut; healing boots the host again
    Kill { host: String },
    /// An orderly reboot
    Reboot { host: String },
    /// Leave nearly no room at a path
    Fill {
        host: String,
        path: String,
        /// Room that stays, such as 1MiB
        #[arg(long, value_parser = size, default_value = "0B")]
        leave: u64,
    },
    /// Stop a service
    Stop { host: String, service: String },
    /// Give a service a clock that is wrong by so many seconds
    Skew {
        host: String,
        service: String,
        #[arg(allow_negative_numbers = true)]
        seconds: i64,
    },
    /// Take a fault back, or all of them
    Heal {
        /// Number from `lab status`, such as f1
        fault: Option<String>,
    },
}

pub(super) fn run(args: &Args, lab: &Lab, context: &Context) -> Answer {
    let relay = RelayProgram {
        program: std::env::current_exe().map_err(|e| Failure::new(format!("cutover does not find itself: {e}")))?,
        arguments: vec!["lab-relay".into(), "--".into()],
    };
    let fault = match fault_of(&args.what) {
        Ok(fault) => fault,
        Err(id) => {
            let healed = with_progress(context, |p| heal(&lab.name, &lab.dir, id.as_deref(), &relay, p))?;
            match healed.len() {
                0 => context.out.result("no fault was in force"),
                _ => healed.iter().for_each(|f| context.out.result(format!("healed {}  {}", f.id, f.fault))),
            }
            return Ok(Exit::Ok);
        }
    };
    let active = with_progress(context, |p| inject(&lab.name, &lab.dir, fault, &relay, p))?;
    match active {
        Some(active) if context.json() => context.out.json(&active),
        Some(active) => context.out.result(format!("{}  {}", active.id, active.fault)),
        None => context.out.result("it is over already"),
    }
    Ok(Exit::Ok)
}

/// The fault that is meant; `Err`: one to heal.
fn fault_of(what: &What) -> Result<Fault, Option<String>> {
    let peer = |text: &String| Peer::parse(text);
    Ok(match what {
        What::Cut { host, peer: p } => Fault::Cut { host: host.clone(), peer: peer(p) },
        What::Slow { host, peer: p, delay } => Fault::Slow { host: host.clone(), peer: peer(p), delay: *delay },
        What::Thin { host, peer: p, loss, rate } => {
            Fault::Thin { host: host.clone(), peer: peer(p), loss_permille: *loss, bytes_per_second: *rate }
        }
        What::Pause { host } => Fault::Pause { host: host.clone() },
        What::Kill { host } => Fault::Kill { host: host.clone() },
        What::Reboot { host } => Fault::Reboot { host: host.clone() },
        What::Fill { host, path, leave } => Fault::Fill { host: host.clone(), path: path.clone(), leave: *leave },
        What::Stop { host, service } => Fault::Stop { host: host.clone(), service: service.clone() },
        What::Skew { host, service, seconds } => {
            Fault::Skew { host: host.clone(), service: service.clone(), seconds: *seconds }
        }
        What::Heal { fault } => return Err(fault.clone()),
    })
}

fn duration(text: &str) -> Result<Duration, String> {
    parse_duration(text).ok_or_else(|| "write a time with its unit, such as 50ms or 2s".to_owned())
}

fn size(text: &str) -> Result<u64, String> {
    parse_size(text).ok_or_else(|| "write a size with its unit, such as 64KiB or 0B".to_owned())
}

/// `2%`, `0.5%`: in thousandths.
fn permille(text: &str) -> Result<u32, String> {
    let wrong = || "write a share with one decimal at most, such as 2% or 0.5%".to_owned();
    let millionths = crate::model::unit::Percent::parse(text).ok_or_else(wrong)?.0;
    if millionths % 100_000 != 0 || millionths > 100_000_000 {
        return Err(wrong());
    }
    u32::try_from(millionths / 100_000).map_err(|_| wrong())
}
