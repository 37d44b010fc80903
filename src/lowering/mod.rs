//! Topology and role packs become a site: the desired resources of every host, each with who asked for it.
//!
//! ```text
//! Topology ──survey──▶ servers, stores, accounts ──context──▶ data of a server ─┐
//! packs ──pack──▶ roles ──choice──▶ role of a server ──expand + template────────┴▶ resources ──merge, order──▶ Site
//! ```
//!
//! Pure: certificates and generated secrets are made before, from what [`needs`] lists, and handed in.

pub mod access;
pub mod certificate;
pub mod choice;
mod codes;
mod cohort;
mod context;
pub mod expand;
mod firewall;
pub mod mail_auth;
mod merge;
mod order;
pub mod pack;
mod probed;
mod retire;
mod setting;
mod survey;
pub mod template;
mod trigger;
pub mod window;
pub mod zone;

use std::collections::{BTreeMap, BTreeSet};

use crate::model::host::HostAccess;
use crate::model::pack::PackSource;
use crate::model::resource::Dependency;
use crate::model::site::Site;
use crate::model::topology::{Node, Topology};
use crate::model::trigger::Probe;
use crate::model::{Diagnostic, Diagnostics, HostName, Kind, SecretRef, Sources, Span};
use crate::people::{Accounts, Chosen, Password};

pub use codes::CHAPTERS;

use certificate::{Certificates, Issued, Request};
use choice::Choice;
use context::Shared;
use expand::{Place, Wanted, holds};
use firewall::Port;
use mail_auth::{KeyRequest, PublicKey, Selector};
use merge::Merged;
use pack::{Pack, RoleDef};
use survey::{Server, Survey};
use template::{Data, Engine};

/// The role that every server has beside its own where another one watches it.
const WATCHED: &str = "watched";

/// What lowering is given beside topology and packs.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Certificates by the name of their node, for each [`Request`] of [`needs`].
    pub certificates: BTreeMap<String, Issued>,
    /// Generated secrets by name, for each of [`Needs::secrets`].
    pub secrets: BTreeMap<String, SecretRef>,
    /// Selectors of DKIM by the name of their node, for each of [`Needs::signing`].
    pub signing: BTreeMap<String, Vec<Selector>>,
    /// The people of each cohort, by its name.
    pub people: BTreeMap<String, Chosen>,
    /// What the lists of accounts say, by the node's name.
    pub accounts: BTreeMap<String, Accounts>,
}

/// What has to be made before lowering.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Needs {
    pub certificates: Vec<Request>,
    /// Names of random secrets that stay the same from run to run, such as `pair-store`.
    pub secrets: Vec<String>,
    /// Keys that sign mail.
    pub signing: Vec<KeyRequest>,
}

pub fn needs(topology: &Topology) -> Needs {
    Needs {
        certificates: certificate::requests(topology),
        secrets: topology.all("pair").map(secret_of_pair).collect(),
        signing: mail_auth::requests(topology),
    }
}

impl Needs {
    /// The first passwords of people of lists, where they are made here.
    pub fn of_people(&mut self, accounts: &BTreeMap<String, Accounts>) {
        let people = accounts.values().flat_map(|a| &a.mailboxes).filter(|m| m.password == Password::Reset);
        self.secrets.extend(people.map(|m| survey::secret_of_person(&m.address)));
    }
}

/// The secret with which the two members of a pair log in to each other.
fn secret_of_pair(pair: &Node) -> String {
    format!("pair-{}", pair.id.name)
}

impl Options {
    /// Stand-ins for everything that `needs` lists: to check packs and templates where nothing may be issued or written.
    pub fn unissued(needs: &Needs) -> Self {
        let issued = |r: &Request| {
            let text = format!("(certificate {} is not issued yet)\n", r.name);
            Issued { chain: text.clone(), trust: Some(text), key: SecretRef("env:NOT_ISSUED".into()), keys: Vec::new() }
        };
        Self {
            certificates: needs.certificates.iter().map(|r| (r.name.clone(), issued(r))).collect(),
            secrets: needs.secrets.iter().map(|s| (s.clone(), SecretRef("env:NOT_ISSUED".into()))).collect(),
            signing: needs
                .signing
                .iter()
                .map(|k| (k.node.clone(), vec![Selector::only(k, PublicKey::unread(k))]))
                .collect(),
            people: BTreeMap::new(),
            accounts: BTreeMap::new(),
        }
    }
}

/// All probes of a topology by name, or why one of them cannot be made. `hosts`: those of its site.
pub fn probes(
    topology: &Topology,
    options: &Options,
    hosts: &BTreeMap<HostName, HostAccess>,
) -> BTreeMap<String, Result<Probe, String>> {
    // What is wrong with the topology was said when it was lowered.
    let survey = survey::survey(topology, &options.accounts, &options.secrets, &mut Diagnostics::default());
    let zones = if asks_zones(topology) { zone::zones(topology, options).0 } else { Vec::new() };
    trigger::probes(&survey, hosts, &zones)
}

fn asks_zones(topology: &Topology) -> bool {
    topology.all("probe").any(|p| p.text("type") == Some("dns"))
}

/// Expands every server's roles through the packs. With errors the site is incomplete and must not be planned.
pub fn lower(topology: &Topology, packs: &[PackSource], sources: &Sources, options: &Options) -> (Site, Diagnostics) {
    let mut diagnostics = Diagnostics::default();
    let survey = survey::survey(topology, &options.accounts, &options.secrets, &mut diagnostics);
    let packs: Vec<Pack> = packs.iter().map(|p| pack::read(p, &mut diagnostics)).collect();
    let mut engine = Engine::new(sources);
    for id in packs.iter().flat_map(|p| p.templates.values()) {
        engine.add_file(*id, &mut diagnostics);
    }
    let choice = Choice::new(&packs, &mut diagnostics);
    let certificates = Certificates::new(&survey, &options.certificates, &mut diagnostics);
    let composed = mail_auth::compose(&survey, options, &mut diagnostics);
    let mut roles = choice.role_names();
    roles.extend(survey.servers.values().flat_map(|s| s.roles.iter().map(|(r, _)| *r)));
    let mut hosts = access::hosts(&survey, &mut diagnostics);
    // Made once for all servers, and only where something of ours makes them.
    let watches = survey.with_role(&["monitor"]).next().is_some();
    let zones = if asks_zones(topology) { zone::asked(&survey, &composed) } else { Vec::new() };
    let probes = match watches {
        true => probed::with_records(trigger::probes(&survey, &hosts, &zones), topology, &zones),
        false => BTreeMap::new(),
    };
    probed::tell(&probes, topology, &mut diagnostics);
    let shared = Shared {
        roles,
        products: choice.product_names(),
        certificates: &certificates,
        secrets: &options.secrets,
        composed: &composed,
        people: &options.people,
        probes: &probes,
    };

    let mut told = Once::default();
    told.add(diagnostics);
    let mut merged = Merged::default();
    // Names all servers: made when the first role of a pack asks for it.
    let mut data = None;
    for server in survey.servers.values() {
        let ssh_port = hosts.get(&HostName::from(server.name)).map_or(22, |h| h.port);
        let run = Run { survey: &survey, sources, choice: &choice, shared: &shared, ssh_port };
        let mut found = Diagnostics::default();
        for wanted in run.server(server, &mut data, &mut engine, &mut found) {
            merged.add(wanted, &mut found);
        }
        told.add(found);
    }
    // What a role lacks after a mistake of its own is no second mistake.
    let mut dangling = Diagnostics::default();
    order::order(&mut merged, &mut dangling);
    if !told.list.has_errors() {
        told.add(dangling);
    }
    let (mut resources, mut bodies) = merged.finish();
    let retirements = retire::retirements(&survey, &resources, &mut bodies);
    let anchor = topology.organization().and_then(|o| o.text("anchor")).map(HostName::from);
    let anchor = anchor.or_else(|| hosts.keys().next().cloned());
    let ledger = anchor.as_ref().and_then(|a| hosts.get(a));
    let cohorts = cohort::lanes(&survey, sources, &hosts, &resources, ledger, &options.people);
    let packed = zone::Packed::of(&resources);
    let mut found = Diagnostics::default();
    let lanes = zone::lanes(&survey, sources, &hosts, &packed, ledger, &composed, &mut found);
    told.add(found);
    resources.extend(lanes.resources);
    resources.extend(cohorts.resources);
    resources.sort_by(|a, b| a.address.cmp(&b.address));
    hosts.extend(lanes.hosts);
    hosts.extend(cohorts.hosts);
    let mut found = Diagnostics::default();
    let mut windows = window::windows(topology, &hosts, &resources, &composed, &mut found);
    let ways = trigger::ways(&survey, &hosts, &zones);
    windows.iter_mut().for_each(|w| w.way_back = ways.get(&w.name).cloned());
    trigger::attach(&ways, &mut hosts);
    told.add(found);
    let site = Site {
        organization: survey.organization.to_owned(),
        environment: topology.environment.clone(),
        anchor,
        hosts,
        resources,
        bodies,
        retirements,
        windows,
        gone: gone(topology),
        moved: topology.moved.iter().map(|(from, to)| (from.to_string(), to.to_string())).collect(),
    };
    (site, told.list)
}

/// People whose mailboxes may go, now that no list names them.
fn gone(topology: &Topology) -> BTreeSet<String> {
    let named = topology.all("accounts").flat_map(|a| a.texts("gone"));
    named.map(str::to_lowercase).collect()
}

/// What all servers of a run share.
struct Run<'a> {
    survey: &'a Survey<'a>,
    sources: &'a Sources,
    choice: &'a Choice<'a>,
    shared: &'a Shared<'a>,
    ssh_port: u16,
}

impl Run<'_> {
    fn server(
        &self,
        server: &Server<'_>,
        data: &mut Option<Data>,
        engine: &mut Engine<'_>,
        diagnostics: &mut Diagnostics,
    ) -> Vec<Wanted> {
        let mut found: Vec<(Span, &Pack, &RoleDef)> = server
            .roles
            .iter()
            .filter_map(|(role, span)| {
                let (pack, def) = self.choice.find(role, *span, server, diagnostics)?;
                Some((*span, pack, def))
            })
            .collect();
        let products = found.iter().flat_map(|(_, _, def)| self.choice.products_of(def, server));
        let used: BTreeSet<&str> = products.map(|p| p.name.as_str()).collect();
        let settings = setting::settings(server, &self.shared.products, &used, diagnostics);
        found.retain(|(span, _, role)| self.check_role(server, *span, role, diagnostics));
        // What tells figures of a host stands beside whatever else the host is for.
        let asked = found.first().map(|(span, ..)| *span).filter(|_| !server.has(WATCHED));
        if let Some(span) = asked.filter(|_| self.survey.with_role(&["monitor"]).next().is_some()) {
            found.extend(self.choice.find(WATCHED, span, server, diagnostics).map(|(pack, def)| (span, pack, def)));
        }
        // Without a role that a pack fills nothing reads the data; fleets of such servers are large.
        if !found.is_empty() {
            let data = data.get_or_insert_with(|| Data::new(context::base(self.survey, self.shared)));
            data.replace(context::own(self.survey, server, self.shared, &settings, diagnostics));
            // Without a proxy or a content service on the server, which has been said, its role has nothing to say.
            for (of, name) in [("proxy", "proxy"), ("cms", "migration"), ("monitor", "monitor"), (WATCHED, WATCHED)] {
                let on = !data.json()[of].is_null();
                found.retain(|(_, _, role)| on || role.name.value != name);
            }
        }
        let mut out = Vec::new();
        let mut ports = BTreeSet::new();
        for (asked, pack, role) in &found {
            let Some(data) = data.as_mut() else { break };
            let waits_for = match role.certificates.is_empty() {
                true => Vec::new(),
                false => vec![Dependency::Group(certificate::group(server.name))],
            };
            let place = Place {
                topology: self.survey.topology,
                sources: self.sources,
                server: server.name,
                pack,
                role,
                asked: *asked,
                protect: server.node.flag("protect"),
                settings: &settings,
                waits_for,
            };
            out.extend(place.expand(data, engine, diagnostics));
            self.listens(role, data, &mut ports, diagnostics);
        }
        let services = out.iter().filter(|w| w.resource.address.kind == Kind::Service);
        let services: Vec<String> = services.map(|w| w.resource.address.key.clone()).collect();
        out.extend(self.shared.certificates.resources(server.name, &services, self.sources));
        out.extend(settings.firewall.map(|span| self.firewall(server, &ports, span)));
        out
    }

    /// Whether a role can be expanded: nothing that it excludes is there, and the certificates that it cannot do without are.
    fn check_role(&self, server: &Server<'_>, span: Span, role: &RoleDef, diagnostics: &mut Diagnostics) -> bool {
        let mut fine = true;
        for other in role.conflicts.iter().filter(|c| server.has(c)) {
            let there = server.roles.iter().find(|(r, _)| r == other).map_or(span, |(_, s)| *s);
            diagnostics.push(
                Diagnostic::error("E1018", format!("roles {} and {other} cannot be on one server", role.name.value))
                    .label(span, format!("server {}", server.name))
                    .label(there, "the other one")
                    .help("give one of them to another server"),
            );
            fine = false;
        }
        for service in role.certificates.iter().filter(|s| self.shared.certificates.of(server.name, s).is_none()) {
            diagnostics.push(
                Diagnostic::error(
                    "E1019",
                    format!("role {} of server {} has no certificate for {service}", role.name.value, server.name),
                )
                .label(span, "without TLS nobody could log in safely")
                .help(format!(
                    "write certificate NAME subject={} issuer=internal {{ on {}; services {service}; }}",
                    server.fqdn, server.name
                )),
            );
            fine = false;
        }
        if role.name.value == "imap" || role.name.value == "mailbox" {
            self.check_pair(server, diagnostics);
        }
        fine
    }

    /// Dovecot 2.4 dropped replication: <https://doc.dovecot.org/2.4.0/installation/upgrade/2.3-to-2.4.html>.
    fn check_pair(&self, server: &Server<'_>, diagnostics: &mut Diagnostics) {
        let Some(pair) = self.survey.pair_of(server.name) else { return };
        let Some(method) = pair.value("method") else { return };
        let limit = pack::ProductDef { name: "dovecot".into(), since: Some("2.2".into()), until: Some("2.3".into()) };
        match server.products.get("dovecot") {
            Some(version) if pair.text("method") == Some("dsync") && !choice::covers(&limit, version) => diagnostics
                .push(
                    Diagnostic::error(
                        "E1020",
                        format!("pair {}: dsync replicates with Dovecot 2.2 and 2.3, not {version}", pair.id.name),
                    )
                    .label(method.span, "dsync")
                    .help("stay on Dovecot 2.3, or use shared storage: method=shared"),
                ),
            _ => {}
        }
        if matches!(pair.text("method"), Some("drbd" | "shared")) {
            diagnostics.push(
                Diagnostic::warning(
                    "W1002",
                    format!(
                        "pair {}: the storage of method {} is not set up by a pack",
                        pair.id.name,
                        pair.text("method").unwrap_or("")
                    ),
                )
                .label(method.span, "mount it at /var/vmail yourself"),
            );
        }
    }

    fn listens(&self, role: &RoleDef, data: &Data, ports: &mut BTreeSet<Port>, diagnostics: &mut Diagnostics) {
        for listen in &role.listens {
            if holds(listen.when.as_ref(), data.json(), diagnostics) {
                ports.extend(listen.ports.iter().map(|(name, port)| Port::new(*port, listen.udp, name, listen.from)));
            }
        }
    }

    fn firewall(&self, server: &Server<'_>, ports: &BTreeSet<Port>, span: Span) -> Wanted {
        let others = || self.survey.servers.values();
        let own4: Vec<&str> = others().filter_map(|s| s.ip).collect();
        let own6: Vec<&str> = others().filter_map(|s| s.ip6).collect();
        firewall::wanted(server.name, firewall::rules(ports, self.ssh_port, &own4, &own6), span, self.sources)
    }
}

/// The same mistake of a pack shows once, not once for every server, and is kept once.
#[derive(Default)]
struct Once {
    list: Diagnostics,
    seen: BTreeSet<(&'static str, Option<Span>, String)>,
}

impl Once {
    fn add(&mut self, found: Diagnostics) {
        for d in found {
            if self.seen.insert((d.code, d.labels.first().map(|l| l.span), d.message.clone())) {
                self.list.push(d);
            }
        }
    }
}
