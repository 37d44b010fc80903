//! The zones of the topology for what asks and changes name servers: records absolute, servers with their addresses; and their
//! record sets as resources where a zone is changed over the network.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use super::Options;
use super::context::dns::{Entry, absolute, entries, name_of, owner, provider, view};
use super::mail_auth::{self, Composed};
use super::survey::{Server, Survey, survey};
use crate::catalog;
use crate::catalog::record_set;
use crate::model::attr::SecretRef;
use crate::model::dns::{NameServer, RecordSet, SetKey, WantedRecord, Zone, ZoneKey};
use crate::model::host::{HostAccess, Reach, ServiceKind, ZoneAccess, ZoneFile, ZoneService};
use crate::model::resource::{Dependency, Resource};
use crate::model::topology::{Node, Topology};
use crate::model::{Address, Attr, Diagnostic, Diagnostics, HostName, Kind, Sources};
use crate::protocol::dns::data::{canonical, canonical_name};

/// Where DNS is spoken.
const PORT: u16 = 53;

/// Where the HTTP interface of PowerDNS is unless its configuration says otherwise (`webserver-port`).
const API: u16 = 8081;

/// Where the interfaces of these services are, the same for everybody.
const CLOUDFLARE: &str = "https://api.cloudflare.com/client/v4";
const ROUTE53: &str = "https://route53.amazonaws.com";

/// Every zone whose provider can be asked. `options` has what was made before, as for [`super::lower`].
pub fn zones(topology: &Topology, options: &Options) -> (Vec<Zone>, Diagnostics) {
    let mut diagnostics = Diagnostics::default();
    let survey = survey(topology, &options.accounts, &options.secrets, &mut diagnostics);
    let composed = mail_auth::compose(&survey, options, &mut diagnostics);
    (all(&survey, &composed, &mut diagnostics), diagnostics)
}

/// The same for what only asks: what is wrong with them is said where they are changed.
pub fn asked(survey: &Survey<'_>, composed: &Composed<'_>) -> Vec<Zone> {
    all(survey, composed, &mut Diagnostics::default())
}

fn all(survey: &Survey<'_>, composed: &Composed<'_>, diagnostics: &mut Diagnostics) -> Vec<Zone> {
    let zones = survey.topology.all("zone").filter_map(|node| {
        let held = Held::of(survey, node, composed, diagnostics)?;
        // The name server that a zone has without being told is whoever holds it.
        let said = held.entries.iter().filter(|e| e.node.is_some());
        let records = said.filter_map(|e| written(name_of(node), e)).collect();
        Some(Zone {
            node: node.id.clone(),
            name: name_of(node).to_owned(),
            view: view(node).to_owned(),
            records,
            servers: held.servers(survey),
            port: held.port,
            key: held.key(),
        })
    });
    zones.collect()
}

/// A zone with its primary.
struct Held<'a, 't> {
    node: &'t Node,
    provider: &'t Node,
    /// `None`: not a server of the topology.
    ours: Option<&'a Server<'t>>,
    /// `None` where a service holds the zone and the topology does not say which server speaks for it.
    primary: Option<NameServer>,
    port: u16,
    service: Option<ZoneService>,
    entries: Vec<Entry<'t>>,
}

impl<'a, 't> Held<'a, 't> {
    fn of(
        survey: &'a Survey<'t>,
        node: &'t Node,
        composed: &Composed<'_>,
        diagnostics: &mut Diagnostics,
    ) -> Option<Self> {
        let provider = provider(survey.topology, node)?;
        let ours = provider.text("host").and_then(|h| survey.servers.get(h));
        let service = match service_kind(provider) {
            Some(kind) => Some(service(provider, kind, ours)?),
            None => None,
        };
        let (primary, port) = match (provider.text("endpoint"), ours) {
            (Some(url), _) if is_wire(provider) => endpoint(url).map(|(server, port)| (Some(server), port))?,
            (_, Some(server)) => (Some(of(server)), PORT),
            _ if service.is_some() => (None, PORT),
            _ => return None,
        };
        // Which name servers a zone has that a service holds is the service's to say.
        let named = ours.filter(|_| service.is_none());
        let entries = entries(survey, named, node, composed, diagnostics);
        Some(Self { node, provider, ours, primary, port, service, entries })
    }

    fn file(&self, hosts: &BTreeMap<HostName, HostAccess>) -> Option<ZoneFile> {
        let host = hosts.get(&HostName::from(self.ours?.name))?.clone();
        let view = Some(view(self.node)).filter(|v| *v != "both").map(str::to_owned);
        Some(ZoneFile { host, path: self.provider.text("path")?.to_owned(), view })
    }

    fn key(&self) -> Option<ZoneKey> {
        // The key of a service is none that signs messages of DNS.
        let named = self.provider.text("tsig-name").filter(|_| self.service.is_none());
        named.zip(self.provider.secret("key")).map(|(name, secret)| ZoneKey {
            name: name.to_owned(),
            algorithm: self.provider.text("tsig-algorithm").unwrap_or("hmac-sha256").to_owned(),
            secret: secret.clone(),
        })
    }

    /// All name servers, the primary first.
    fn servers(&self, survey: &Survey<'_>) -> Vec<NameServer> {
        let zone = name_of(self.node);
        let mut servers: Vec<NameServer> = self.primary.iter().cloned().collect();
        let mut add = |server: NameServer| {
            let known = servers.iter().any(|s| {
                s.name == server.name
                    || (!s.addresses.is_empty() && server.addresses.iter().any(|a| s.addresses.contains(a)))
            });
            if !known {
                servers.push(server);
            }
        };
        let by_name = |text: &str| {
            let bare = text.trim_end_matches('.');
            let ours = survey.servers.values().find(|s| s.fqdn == bare || s.name == bare);
            // A server of others may have its address in this very zone.
            let glue = || {
                let here = self.entries.iter().filter(|e| absolute_name(zone, &e.name) == absolute(bare));
                here.filter_map(|e| e.data.parse().ok()).collect()
            };
            ours.map(of).unwrap_or_else(|| NameServer { name: bare.to_owned(), addresses: glue() })
        };
        for e in self.entries.iter().filter(|e| e.kind == "NS" && e.name == "@") {
            add(by_name(&e.data));
        }
        for text in self.provider.texts("secondaries") {
            add(match text.parse::<IpAddr>() {
                Ok(ip) => {
                    let ours = survey.servers.values().find(|s| of(s).addresses.contains(&ip));
                    ours.map(of).unwrap_or_else(|| NameServer { name: text.to_owned(), addresses: vec![ip] })
                }
                Err(_) => by_name(text),
            });
        }
        servers
    }
}

fn of(server: &Server<'_>) -> NameServer {
    let addresses = [server.ip, server.ip6].into_iter().flatten().filter_map(|a| a.parse().ok()).collect();
    NameServer { name: server.fqdn.to_string(), addresses }
}

/// `dns://192.0.2.53`, `dns://ns1.example.net:5353`, `dns://[2001:db8::53]`.
fn endpoint(url: &str) -> Option<(NameServer, u16)> {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest).trim_end_matches('/');
    let (host, port) = match rest.strip_prefix('[').and_then(|r| r.split_once(']')) {
        Some((host, port)) => (host, port.strip_prefix(':')),
        None => rest.split_once(':').map_or((rest, None), |(host, port)| (host, Some(port))),
    };
    let port = port.map_or(Some(PORT), |p| p.parse().ok())?;
    Some((NameServer { name: host.to_owned(), addresses: host.parse().into_iter().collect() }, port))
}

fn is_wire(provider: &Node) -> bool {
    provider.text("type") == Some("rfc2136")
}

/// The service that a provider stands for, where it is one.
pub fn service_kind(provider: &Node) -> Option<ServiceKind> {
    match provider.text("type") {
        Some("powerdns") => Some(ServiceKind::Powerdns),
        Some("cloudflare") => Some(ServiceKind::Cloudflare),
        Some("route53") => Some(ServiceKind::Route53),
        Some("manual") => Some(ServiceKind::Manual),
        _ => None,
    }
}

/// `None` where it is not said where the service is.
fn service(provider: &Node, kind: ServiceKind, ours: Option<&Server<'_>>) -> Option<ZoneService> {
    let given = provider.text("endpoint").map(|url| url.trim_end_matches('/').to_owned());
    let url = match kind {
        ServiceKind::Powerdns => given.or_else(|| {
            let ip = ours.and_then(|s| s.ip.map(str::to_owned).or_else(|| s.ip6.map(|ip| format!("[{ip}]"))))?;
            Some(format!("http://{ip}:{API}"))
        })?,
        ServiceKind::Cloudflare => given.unwrap_or_else(|| CLOUDFLARE.to_owned()),
        ServiceKind::Route53 => given.unwrap_or_else(|| ROUTE53.to_owned()),
        ServiceKind::Manual => String::new(),
    };
    Some(ZoneService {
        kind,
        url,
        account: provider.text("account").map(str::to_owned),
        key: provider.secret("key").cloned(),
        ca: provider.text("ca").map(|path| SecretRef(format!("file:{path}"))),
    })
}

/// The name of a record, absolute.
fn absolute_name(zone: &str, name: &str) -> String {
    match name {
        "@" => absolute(zone),
        n if n.ends_with('.') => n.to_owned(),
        n => format!("{n}.{}", absolute(zone)),
    }
}

fn written(zone: &str, e: &Entry<'_>) -> Option<WantedRecord> {
    let name = absolute_name(zone, &e.name);
    // A name of the zone itself stands as `@` in data too.
    let data = match e.data.strip_suffix('@') {
        Some(before) if before.is_empty() || before.ends_with(' ') => format!("{before}{}", absolute(zone)),
        _ => e.data.clone(),
    };
    Some(WantedRecord { name, kind: e.kind.to_owned(), ttl: u32::try_from(e.ttl).ok()?, data })
}

/// The zone as a place of record sets.
pub fn lane(zone: &Node) -> HostName {
    HostName::of_zone(name_of(zone), view(zone))
}

/// The set that a record of a zone belongs to.
pub fn set_key(zone: &Node, record: &Node) -> Option<SetKey> {
    let name = canonical_name(&absolute_name(name_of(zone), owner(zone, record))).ok()?;
    Some(SetKey { name, kind: record.text("type")?.to_owned() })
}

/// Zones that are changed over the network: each a place like a host, with its record sets.
#[derive(Debug, Default)]
pub struct Lanes {
    pub hosts: BTreeMap<HostName, HostAccess>,
    /// Sorted by address.
    pub resources: Vec<Resource>,
}

/// What packs make for the zones of the topology, as their resources say.
#[derive(Debug, Default)]
pub struct Packed<'r> {
    /// By host and zone: the role that holds it there.
    groups: BTreeMap<(&'r HostName, &'r str), &'r str>,
    /// Zones that a pack writes whole.
    files: BTreeSet<(&'r HostName, &'r str)>,
}

impl<'r> Packed<'r> {
    pub fn of(resources: &'r [Resource]) -> Self {
        let mut out = Self::default();
        for r in resources.iter().filter(|r| r.owner.starts_with("zone:")) {
            let at = (&r.address.host, r.owner.as_str());
            out.groups.entry(at).or_insert(&r.group);
            if r.address.kind == Kind::DnsZone {
                out.files.insert(at);
            }
        }
        out
    }
}

/// `ledger` is the host that keeps what cutover owns in the zones.
pub fn lanes(
    survey: &Survey<'_>,
    sources: &Sources,
    hosts: &BTreeMap<HostName, HostAccess>,
    packed: &Packed<'_>,
    ledger: Option<&HostAccess>,
    composed: &Composed<'_>,
    diagnostics: &mut Diagnostics,
) -> Lanes {
    let mut out = Lanes::default();
    let mut refused: BTreeMap<String, Diagnostic> = BTreeMap::new();
    for node in survey.topology.all("zone") {
        let Some(provider) = provider(survey.topology, node) else { continue };
        let kind = service_kind(provider);
        let wire = is_wire(provider) || kind.is_some();
        if !wire && provider.text("type") != Some("zone-file") {
            refused.entry(provider.id.name.to_string()).or_insert_with(|| unknown(provider));
            continue;
        }
        let Some(held) = Held::of(survey, node, composed, diagnostics) else {
            if !wire {
                continue;
            }
            diagnostics.push(
                Diagnostic::error("E1031", format!("dns-provider {}: it names no server", provider.id.name))
                    .label(provider.span, "neither host= nor endpoint=")
                    .help(match service_kind(provider) {
                        Some(_) => "write endpoint=\"https://dns.acme.example:8081\", or host=SERVER for a server of the topology that runs it",
                        None => "write host=SERVER for a server of the topology, or endpoint=\"dns://192.0.2.53\"",
                    }),
            );
            continue;
        };
        if let Some(why) = held.service.as_ref().and_then(keyless) {
            diagnostics.push(
                Diagnostic::error("E1031", format!("dns-provider {}: {why}", provider.id.name))
                    .label(provider.span, "nobody is let in without")
                    .help(
                        "write key=(secret)\"env:NAME\"; a dns-provider of type route53 has account=ACCESS-KEY-ID too",
                    ),
            );
            continue;
        }
        let (host, id) = (held.ours.map(|s| HostName::from(s.name)), node.id.to_string());
        let place = host.as_ref().map(|h| (h, id.as_str()));
        // A zone that no pack writes was made by others, and only what is ours in it is changed.
        if !wire && place.is_some_and(|p| packed.files.contains(&p)) {
            continue;
        }
        // The name server itself comes first, where the topology makes it.
        let group = place.and_then(|p| packed.groups.get(&p));
        let after = group.map(|g| Dependency::Group((*g).to_owned()));
        let file = if wire { None } else { held.file(hosts) };
        if !wire && file.is_none() {
            diagnostics.push(
                Diagnostic::error("E1031", format!("dns-provider {}: it names no file", provider.id.name))
                    .label(provider.span, "no path=")
                    .help("write path=\"/etc/bind/db.acme.example\", or give the host a role whose pack writes it, as dns does"),
            );
            continue;
        }
        let Some(ledger) = ledger else {
            // A topology of records alone, as an import writes it: there is nothing to carry out yet.
            if kind == Some(ServiceKind::Manual) {
                continue;
            }
            diagnostics.push(
                Diagnostic::error("E1031", format!("zone {}: no host keeps what is owned in it", name_of(node)))
                    .label(node.span, "changed over the network")
                    .help("a topology needs a server that keeps the ledger: organization NAME anchor=SERVER"),
            );
            continue;
        };
        let lane = lane(node);
        let address = match (&held.service, &held.primary) {
            (Some(service), _) if service.kind == ServiceKind::Manual => "by hand".to_owned(),
            (Some(service), _) => service.url.clone(),
            (None, Some(primary)) => primary.addresses.first().map_or_else(|| primary.name.clone(), IpAddr::to_string),
            (None, None) => continue,
        };
        let zone = ZoneAccess {
            zone: name_of(node).to_owned(),
            view: view(node).to_owned(),
            host,
            servers: held.servers(survey),
            key: held.key(),
            file,
            service: held.service.clone(),
            departed: false,
            ledger: ledger.clone(),
        };
        let reach = Reach::Zone(Box::new(zone));
        let access =
            HostAccess { reach, port: held.port, user: String::new(), ..HostAccess::at(lane.clone(), address) };
        out.hosts.insert(lane.clone(), access);
        resources(&held, &lane, after, sources, &mut out.resources, diagnostics);
    }
    refused.into_values().for_each(|d| diagnostics.push(d));
    twice(survey, diagnostics);
    out.resources.sort_by(|a, b| a.address.cmp(&b.address));
    out
}

/// What a service is not asked without.
fn keyless(service: &ZoneService) -> Option<&'static str> {
    match service.kind {
        ServiceKind::Manual => None,
        _ if service.key.is_none() => Some("it has no key"),
        ServiceKind::Route53 if service.account.is_none() => Some("it has no account: whose key is it?"),
        ServiceKind::Powerdns | ServiceKind::Cloudflare | ServiceKind::Route53 => None,
    }
}

/// A type that the language has a word for, and nothing behind it.
fn unknown(provider: &Node) -> Diagnostic {
    let kind = provider.text("type").unwrap_or_default();
    Diagnostic::error("E1037", format!("dns-provider {}: cutover cannot change zones of type {kind}", provider.id.name))
        .label(provider.at("type"), "a word without a provider behind it")
        .help("write type=manual: cutover then says what to enter there, and waits until it is served")
}

/// A service has one zone of a name, whatever its views: two that are written as one would undo each other's work.
fn twice(survey: &Survey<'_>, diagnostics: &mut Diagnostics) {
    let mut seen: BTreeMap<(String, String), &Node> = BTreeMap::new();
    for node in survey.topology.all("zone") {
        let Some(provider) = provider(survey.topology, node) else { continue };
        let Some(kind) = service_kind(provider) else { continue };
        let inner = kind == ServiceKind::Route53 && view(node) == "internal";
        let place = provider.text("endpoint").or(provider.text("host")).unwrap_or_else(|| kind.product());
        // By hand, each view is entered where its own name servers are.
        let place = if kind == ServiceKind::Manual { &*provider.id.name } else { place };
        let key = (format!("{kind:?} {place} {inner}"), name_of(node).to_owned());
        if let Some(first) = seen.insert(key, node) {
            diagnostics.push(
                Diagnostic::error("E1038", format!("zone {}: it stands twice at one provider", name_of(node)))
                    .label(node.span, "this one")
                    .label(first.span, "and this one would write to the same zone")
                    .help("give each view a provider of its own; a zone for everybody is written once, without view="),
            );
        }
    }
}

/// Whether sets of this type are written before those that point at them: a server may refuse a name that leads nowhere.
fn is_address(kind: &str) -> bool {
    matches!(kind, "A" | "AAAA")
}

fn resources(
    held: &Held<'_, '_>,
    lane: &HostName,
    after: Option<Dependency>,
    sources: &Sources,
    out: &mut Vec<Resource>,
    diagnostics: &mut Diagnostics,
) {
    let zone = name_of(held.node);
    let mut sets: BTreeMap<SetKey, (RecordSet, &Node)> = BTreeMap::new();
    for e in &held.entries {
        let (Some(node), Some(record)) = (e.node, written(zone, e)) else { continue };
        let made = canonical_name(&record.name).and_then(|n| Ok((n, canonical(&record.kind, &record.data)?)));
        match made {
            Ok((name, data)) => {
                let key = SetKey { name, kind: record.kind };
                let (set, _) = sets
                    .entry(key.clone())
                    .or_insert_with(|| (RecordSet { key, ttl: record.ttl, data: Default::default() }, node));
                // One set has one time to live; the shortest counts (RFC 2181, section 5.2).
                set.ttl = set.ttl.min(record.ttl);
                set.data.insert(data);
            }
            Err(e) => diagnostics.push(
                Diagnostic::error("E1032", format!("record {} {} of zone {zone}: {e}", record.name, record.kind))
                    .label(node.span, "cannot be written into a zone")
                    .help("write the data as a zone file has it (RFC 1035, section 5.1)"),
            ),
        }
    }
    let stage = catalog::spec(Kind::RecordSet).stage;
    out.extend(sets.into_iter().map(|(key, (set, node))| {
        let mut attrs = record_set::attrs(&set);
        if node.flag("adopt") {
            attrs.insert("adopt".to_owned(), Attr::Bool(true));
        }
        Resource {
            address: Address::new(lane, Kind::RecordSet, record_set::key(&key)),
            attrs,
            group: lane.0.clone(),
            stage: if is_address(&key.kind) { stage } else { stage + 1 },
            after: after.iter().cloned().collect(),
            notifies: Vec::new(),
            protect: held.node.flag("protect"),
            owner: held.node.id.to_string(),
            origin: sources.origin(node.span),
        }
    }));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_are_read() {
        for (url, name, port) in [
            ("dns://192.0.2.53", "192.0.2.53", 53),
            ("dns://192.0.2.53:5353", "192.0.2.53", 5353),
            ("dns://[2001:db8::53]", "2001:db8::53", 53),
            ("dns://[2001:db8::53]:5353/", "2001:db8::53", 5353),
            ("dns://ns1.example.net", "ns1.example.net", 53),
        ] {
            let (server, found) = endpoint(url).expect(url);
            assert_eq!((server.name.as_str(), found), (name, port), "{url}");
            assert_eq!(server.addresses.len(), usize::from(!name.starts_with("ns")), "{url}");
        }
        assert!(endpoint("dns://192.0.2.53:many").is_none());
    }
}
