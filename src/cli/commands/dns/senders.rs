use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use super::super::super::args::Format;
use super::super::super::context::Context;
use super::super::super::exit::Exit;
use super::super::super::failure::Failure;
use super::super::super::project::Project;
use super::super::super::receiver::{Receiver, system};
use super::super::super::runtime;
use super::super::Answer;
use crate::lowering::mail_auth::reverse::egress;
use crate::reporting::{SendersReport, senders_text};

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Domains of mail-auth nodes; all when none is named
    domains: Vec<String>,
    /// Resolver to ask, ADDRESS or ADDRESS:PORT [default: the first of the system]
    #[arg(long, value_name = "ADDRESS", value_parser = place)]
    resolver: Option<SocketAddr>,
    /// Seconds to wait for one answer
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=600))]
    timeout: u64,
}

fn place(text: &str) -> Result<SocketAddr, String> {
    let bare = text.parse::<IpAddr>().map(|ip| SocketAddr::new(ip, 53));
    bare.or_else(|_| text.parse()).map_err(|_| "write an address as 192.0.2.53, [2001:db8::53]:5353".to_owned())
}

pub fn run(args: &Args, format: Format, context: &Context) -> Answer {
    let (_, topology) = Project::topology(context)?;
    let known: BTreeSet<String> = topology
        .all("mail-auth")
        .filter(|m| m.children("spf").next().is_some())
        .map(|m| m.id.name.to_string())
        .collect();
    if let Some(unknown) = args.domains.iter().find(|d| !known.contains(*d)) {
        return Err(Failure::new(format!("no mail-auth with spf is called `{unknown}`")));
    }
    let resolver = args
        .resolver
        .or_else(system)
        .ok_or_else(|| Failure::new("/etc/resolv.conf names no resolver").help("name one with --resolver ADDRESS"))?;
    let receiver = Receiver::new(resolver, Duration::from_secs(args.timeout));
    let chosen = known.iter().filter(|d| args.domains.is_empty() || args.domains.contains(d));
    let report = runtime::block_on(async {
        let mut report = SendersReport::default();
        for domain in chosen {
            report.domains.push(receiver.spf(domain).await?);
        }
        for host in egress(&topology, &args.domains) {
            report.hosts.extend(receiver.host(&host).await?);
        }
        Ok::<_, Failure>(report)
    })??;
    match format {
        Format::Json => context.out.json(&report),
        _ => context.out.result(senders_text(&report).trim_end()),
    }
    Ok(if report.fine() { Exit::Ok } else { Exit::Changes })
}
