mod senders;

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use clap::Subcommand;
use futures_util::StreamExt as _;

use super::super::args::Format;
use super::super::context::Context;
use super::super::exit::Exit;
use super::super::failure::Failure;
use super::super::project::{Project, accept};
use super::super::{runtime, secrets};
use super::Answer;
use crate::lowering::zone::zones;
use crate::model::dns::{NameServer, RecordSet, SetKey, Zone};
use crate::protocol::dns::data::wanted as in_one_spelling;
use crate::protocol::dns::{Answer as Said, Link, TsigKey, ask, newer, transfer};
use crate::providers::delegated;
use crate::reporting::{Paint, ServerReport, SetDifference, ZoneReport, zones_text};
use crate::secret::Resolve as _;

/// Questions in flight: enough that a slow server holds nobody up, few enough for one small name server.
const AT_ONCE: usize = 16;

/// Compare the zones of the topology with what name servers serve, and change nothing
///
/// Each server is asked itself, without a cache between: what it says is what the world gets. Ends with 2 when something is not
/// served as wanted, with 1 when a server could not be asked.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  cutover dns verify --env production              every name server of every zone, by UDP and TCP, IPv4 and IPv6
  cutover dns verify acme.example --format json
  cutover dns diff acme.example                    the primary alone; the whole zone where its provider has a TSIG key
  cutover dns senders --resolver 192.0.2.53        as a receiver of mail asks: SPF with all includes, names of addresses and back")]
pub struct Args {
    #[command(subcommand)]
    command: DnsCommand,
}

#[derive(Debug, Subcommand)]
enum DnsCommand {
    /// Ask every name server of the zones, and say which lags or differs
    Verify(Which),
    /// Compare the zones with their primary
    Diff(Which),
    /// Ask a resolver as a receiver of mail does: lookups of SPF, PTR and HELO names of the hosts that send
    Senders(senders::Args),
}

#[derive(Debug, clap::Args)]
struct Which {
    /// Zones by name; all when none is named
    zones: Vec<String>,
    /// Seconds to wait for one answer
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=600))]
    timeout: u64,
    /// Port of the name servers [default: that of the zone's provider, else 53]
    #[arg(long)]
    port: Option<u16>,
}

/// A zone with its records in their one spelling.
struct Wanted {
    zone: Zone,
    sets: Vec<RecordSet>,
}

pub fn run(args: &Args, context: &Context) -> Answer {
    let format = context.formats("dns", &[Format::Text, Format::Json])?;
    if let DnsCommand::Senders(args) = &args.command {
        return senders::run(args, format, context);
    }
    // Public keys and certificates of the topology stand in its zones.
    let project = Project::of_zones(context)?;
    let (DnsCommand::Verify(which) | DnsCommand::Diff(which)) = &args.command else { return Ok(Exit::Ok) };
    let (zones, found) = zones(&project.topology, &project.made);
    accept(context, &project.sources, &found)?;
    let mut wanted = wanted(zones, which)?;
    let reports = runtime::block_on(async {
        let mut reports = Vec::new();
        for w in &mut wanted {
            // The topology does not say who speaks for a zone that a service holds, or that people write.
            if w.zone.servers.is_empty() {
                w.zone.servers = delegated(&w.zone.name)
                    .await
                    .map_err(|why| Failure::new(format!("zone {}: {why}", w.zone.name)))?;
            }
            reports.push(match &args.command {
                DnsCommand::Verify(_) => verify(w, which).await,
                DnsCommand::Diff(_) | DnsCommand::Senders(_) => diff(&project, w, which).await?,
            });
        }
        Ok::<_, Failure>(reports)
    })??;
    match format {
        Format::Json => context.out.json(&reports),
        _ => context.out.result(zones_text(&reports, Paint::when(context.out.color())).trim_end()),
    }
    let unasked: usize = reports.iter().map(ZoneReport::unasked).sum();
    if unasked > 0 {
        return Err(Failure::new(format!("{unasked} questions had no answer; what is served there is not known")));
    }
    Ok(if reports.iter().any(ZoneReport::differs) { Exit::Changes } else { Exit::Ok })
}

fn wanted(all: Vec<Zone>, which: &Which) -> Result<Vec<Wanted>, Failure> {
    let names: BTreeSet<&str> = all.iter().map(|z| z.name.as_str()).collect();
    if let Some(unknown) = which.zones.iter().find(|z| !names.contains(z.trim_end_matches('.'))) {
        let there = if names.is_empty() {
            "the topology has no zone that a server of it holds".to_owned()
        } else {
            format!("there are {}", names.into_iter().collect::<Vec<_>>().join(", "))
        };
        return Err(Failure::new(format!("no zone `{unknown}`: {there}")));
    }
    let chosen = |z: &Zone| which.zones.is_empty() || which.zones.iter().any(|w| w.trim_end_matches('.') == z.name);
    all.into_iter()
        .filter(chosen)
        .map(|zone| {
            Ok(Wanted {
                sets: in_one_spelling(&zone.records)
                    .map_err(|e| Failure::new(format!("zone {}: {e}", zone.name)))?
                    .into_values()
                    .collect(),
                zone,
            })
        })
        .collect()
}

/// Addresses of a name server: the topology's, else what the system's resolver says.
async fn addresses(server: &NameServer, port: u16) -> Result<Vec<SocketAddr>, String> {
    if !server.addresses.is_empty() {
        return Ok(server.addresses.iter().map(|a| SocketAddr::new(*a, port)).collect());
    }
    let found = tokio::net::lookup_host((server.name.as_str(), port)).await;
    let found: BTreeSet<SocketAddr> = found.map_err(|e| format!("its name leads nowhere: {e}"))?.collect();
    Ok(found.into_iter().collect())
}

async fn verify(wanted: &Wanted, which: &Which) -> ZoneReport {
    let patience = Duration::from_secs(which.timeout);
    let mut servers = Vec::new();
    for server in &wanted.zone.servers {
        match addresses(server, which.port.unwrap_or(wanted.zone.port)).await {
            Err(why) => servers.push(unasked(&server.name, "", "", why)),
            Ok(found) => {
                for address in found {
                    for link in [Link::Udp, Link::Tcp] {
                        servers.push(one(wanted, server, address, link, patience).await);
                    }
                }
            }
        }
    }
    report(wanted, servers)
}

/// One address over one link: its serial, then every set that is ours.
async fn one(
    wanted: &Wanted,
    server: &NameServer,
    address: SocketAddr,
    link: Link,
    patience: Duration,
) -> ServerReport {
    let soa = SetKey { name: format!("{}.", wanted.zone.name), kind: "SOA".into() };
    let serial = match ask(address, &soa, link, patience).await {
        Ok(said) if said.serial.is_some() && said.authoritative => said.serial,
        Ok(said) => {
            let why = format!("it does not hold the zone: it answers {} without its SOA", said.code);
            return unasked(&server.name, &shown(address), &link.to_string(), why);
        }
        Err(e) => return unasked(&server.name, &shown(address), &link.to_string(), e.to_string()),
    };
    let asked = futures_util::stream::iter(&wanted.sets).map(|set| async move {
        let mut said = ask(address, &set.key, link, patience).await;
        // What does not fit into UDP is asked again by TCP, as every resolver does.
        if said.as_ref().is_ok_and(|s| s.truncated) {
            said = ask(address, &set.key, Link::Tcp, patience).await;
        }
        (set, said)
    });
    let mut differences = Vec::new();
    let mut answers = asked.buffered(AT_ONCE);
    while let Some((set, said)) = answers.next().await {
        match said {
            Err(e) => return unasked(&server.name, &shown(address), &link.to_string(), format!("{}: {e}", set.key)),
            Ok(said) => differences.extend(difference(set, said.set.as_ref(), Some(&said))),
        }
    }
    ServerReport {
        server: server.name.clone(),
        address: shown(address),
        link: link.to_string(),
        serial,
        lags: false,
        differences,
        foreign: None,
        error: None,
    }
}

async fn diff(project: &Project, wanted: &Wanted, which: &Which) -> Result<ZoneReport, Failure> {
    let patience = Duration::from_secs(which.timeout);
    let Some(primary) = wanted.zone.servers.first() else { return Ok(report(wanted, Vec::new())) };
    let address = match addresses(primary, which.port.unwrap_or(wanted.zone.port)).await {
        Ok(found) => found.into_iter().next(),
        Err(why) => return Ok(report(wanted, vec![unasked(&primary.name, "", "", why)])),
    };
    let Some(address) = address else {
        return Ok(report(wanted, vec![unasked(&primary.name, "", "", "it has no address".into())]));
    };
    let Some(key) = &wanted.zone.key else {
        return Ok(report(wanted, vec![one(wanted, primary, address, Link::Tcp, patience).await]));
    };
    let resolver = secrets::resolver(&project.root, &project.topology);
    let secret =
        resolver.bytes(&key.secret).await.map_err(|e| Failure::new(format!("secret {}: {}", key.secret, e.message)))?;
    let secret =
        std::str::from_utf8(&secret).map_err(|_| Failure::new(format!("secret {}: not base64", key.secret)))?;
    let key = TsigKey::new(&key.name, &key.algorithm, secret).map_err(|e| Failure::new(e.to_string()))?;
    let server = match transfer(address, &wanted.zone.name, Some(&key), patience).await {
        Err(e) => unasked(&primary.name, &shown(address), "AXFR", e.to_string()),
        Ok(zone) => ServerReport {
            server: primary.name.clone(),
            address: shown(address),
            link: "AXFR".into(),
            serial: Some(zone.serial),
            lags: false,
            differences: wanted.sets.iter().filter_map(|s| difference(s, zone.sets.get(&s.key), None)).collect(),
            foreign: Some(zone.sets.len() - wanted.sets.iter().filter(|s| zone.sets.contains_key(&s.key)).count()),
            error: None,
        },
    };
    Ok(report(wanted, vec![server]))
}

fn difference(wanted: &RecordSet, served: Option<&RecordSet>, said: Option<&Said>) -> Option<SetDifference> {
    if served == Some(wanted) {
        return None;
    }
    let instead = said.map(|s| match &s.alias {
        Some(alias) => format!("an alias of {}", alias.trim_end_matches('.')),
        None if s.code == "NOERROR" => "nothing of this type".to_owned(),
        None => s.code.clone(),
    });
    Some(SetDifference {
        name: wanted.key.name.clone(),
        kind: wanted.key.kind.clone(),
        wanted: wanted.into(),
        served: served.map(Into::into),
        said: instead.filter(|_| served.is_none()),
    })
}

fn unasked(server: &str, address: &str, link: &str, why: String) -> ServerReport {
    ServerReport {
        server: server.to_owned(),
        address: address.to_owned(),
        link: link.to_owned(),
        serial: None,
        lags: false,
        differences: Vec::new(),
        foreign: None,
        error: Some(why),
    }
}

/// The port only where it is not the one of DNS.
fn shown(address: SocketAddr) -> String {
    match (address.port(), address.ip()) {
        (53, ip) => ip.to_string(),
        (port, IpAddr::V6(ip)) => format!("[{ip}]:{port}"),
        (port, ip) => format!("{ip}:{port}"),
    }
}

fn report(wanted: &Wanted, mut servers: Vec<ServerReport>) -> ZoneReport {
    let newest = servers.iter().filter_map(|s| s.serial).reduce(|a, b| if newer(b, a) { b } else { a });
    for s in &mut servers {
        s.lags = s.serial.zip(newest).is_some_and(|(here, newest)| newer(newest, here));
    }
    ZoneReport {
        zone: wanted.zone.name.clone(),
        view: wanted.zone.view.clone(),
        wanted: wanted.sets.len(),
        serial: newest,
        servers,
    }
}
