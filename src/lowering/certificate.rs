//! Certificates as files on the servers that carry them. Pure: issuing is the caller's, see [`Request`] and [`Issued`].

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Map, Value as Json, json};

use crate::catalog;
use crate::model::resource::{Notify, NotifyHow, Resource};
use crate::model::topology::{Node, Topology};
use crate::model::version;
use crate::model::{Address, Attr, Body, Diagnostic, Diagnostics, HostName, Kind, SecretRef, Segment, Sources, Span};

use super::expand::Wanted;
use super::survey::{Survey, refs};

/// Folder of certificates on a host.
pub const FOLDER: &str = "/etc/ssl/cutover";

/// What a service of a `certificate` node is called on the host, to reload it.
const SERVICES: &[(&str, &[&str])] = &[
    ("smtp", &["postfix", "cutover-proxy"]),
    ("imap", &["dovecot", "cutover-proxy"]),
    ("pop", &["dovecot", "cutover-proxy"]),
    ("https", &["nginx"]),
    ("um", &[]),
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Issuer {
    /// The organisation's own authority, kept in the state folder.
    Internal,
    /// Signed by its own key.
    SelfSigned,
    /// Made elsewhere: `chain` and `key` of the node.
    Import,
}

/// A certificate that the topology asks for.
#[derive(Debug, Clone, PartialEq)]
pub struct Request {
    /// Name of the `certificate` node.
    pub name: String,
    pub issuer: Issuer,
    /// Common name, the first of `names`.
    pub subject: String,
    /// DNS names, sorted, the subject among them.
    pub names: Vec<String>,
    /// Addresses of the servers that carry it: replication and proxies connect by address.
    pub addresses: Vec<String>,
    /// Issue anew when it is valid for less than this.
    pub renew_before: Duration,
    /// Some server that carries it runs Exchange.
    pub exchange: bool,
    /// The node's own key, for `import`.
    pub key: Option<SecretRef>,
    /// PEM file of the chain, leaf first, for `import`; relative to the root folder.
    pub chain: Option<String>,
    /// The same of the certificate that comes next.
    pub next: Option<String>,
    pub span: Span,
}

/// A certificate as issued. The key is a reference, so that it never enters a plan.
#[derive(Debug, Clone, PartialEq)]
pub struct Issued {
    /// PEM, leaf first.
    pub chain: String,
    /// PEM that verifies the chain, where it is not a public authority's.
    pub trust: Option<String>,
    pub key: SecretRef,
    /// SHA-256 of the public keys that servers show, in hex: its own, and that of the certificate that comes next.
    pub keys: Vec<String>,
}

/// The certificates that a topology asks for, by name.
pub fn requests(topology: &Topology) -> Vec<Request> {
    topology.all("certificate").filter_map(|node| request(topology, node)).collect()
}

fn request(topology: &Topology, node: &Node) -> Option<Request> {
    let subject = node.text("subject")?.to_owned();
    let mut names: Vec<String> = node.texts("names").into_iter().map(str::to_owned).collect();
    names.push(subject.clone());
    names.sort();
    names.dedup();
    let servers = refs(node, "on").filter_map(|id| topology.get("server", &id.name));
    let mut addresses: Vec<String> =
        servers.flat_map(|s| [s.text("ip"), s.text("ip6")].into_iter().flatten()).map(str::to_owned).collect();
    addresses.sort();
    addresses.dedup();
    let mut servers = refs(node, "on").filter_map(|id| topology.get("server", &id.name));
    let exchange =
        servers.any(|s| topology.target(s, "platform").is_some_and(|p| version::of_platform(p, "exchange").is_some()));
    let issuer = match node.text("issuer") {
        Some("internal") => Issuer::Internal,
        Some("self-signed") => Issuer::SelfSigned,
        _ => Issuer::Import,
    };
    Some(Request {
        name: node.id.name.to_string(),
        issuer,
        subject,
        names,
        addresses,
        renew_before: node.duration("renew-before").unwrap_or(Duration::from_secs(30 * 86_400)),
        exchange,
        key: node.secret("key").cloned(),
        chain: node.text("chain").map(str::to_owned),
        next: node.text("next").map(str::to_owned),
        span: node.span,
    })
}

/// The certificates of a run, by the servers that carry them.
pub struct Certificates<'a> {
    survey: &'a Survey<'a>,
    issued: &'a BTreeMap<String, Issued>,
}

impl<'a> Certificates<'a> {
    pub fn new(survey: &'a Survey<'a>, issued: &'a BTreeMap<String, Issued>, diagnostics: &mut Diagnostics) -> Self {
        for node in survey.topology.all("certificate") {
            if !issued.contains_key(node.id.name.as_str()) {
                diagnostics.push(
                    Diagnostic::error("E1014", format!("certificate {} could not be issued or read", node.id.name))
                        .label(node.span, "asked for here"),
                );
            }
        }
        Self { survey, issued }
    }

    fn on<'s>(&'s self, server: &'s str) -> impl Iterator<Item = &'s Node> {
        self.survey.topology.all("certificate").filter(move |c| refs(c, "on").any(|s| s.name == server))
    }

    /// The certificate that a server shows for a service.
    pub fn of<'s>(&'s self, server: &'s str, service: &'s str) -> Option<&'s Node> {
        self.on(server).find(|c| serves(c, service))
    }

    /// Certificates of mail services on a server, each with the reference to its key: for programs that may not read [`FOLDER`].
    pub fn of_mail(&self, server: &str) -> Vec<(&str, &SecretRef)> {
        let mail = |c: &&Node| ["imap", "pop", "smtp"].iter().any(|s| serves(c, s));
        let issued = |c: &'a Node| Some((c.id.name.as_str(), &self.issued.get(c.id.name.as_str())?.key));
        self.survey
            .topology
            .all("certificate")
            .filter(move |c| refs(c, "on").any(|s| s.name == server))
            .filter(mail)
            .filter_map(issued)
            .collect()
    }

    /// Peers can verify the certificate that this server shows for SMTP.
    pub fn is_trusted(&self, server: &str) -> bool {
        let certificate = self.of(server, "smtp").or_else(|| self.of(server, "imap"));
        certificate.and_then(|c| self.issued.get(c.id.name.as_str())).is_some_and(|i| i.trust.is_some())
    }

    pub fn json(&self, server: &str) -> Json {
        let mut map = Map::new();
        for (service, _) in SERVICES {
            let found = self.of(server, service).map(|c| {
                json!({
                    "name": c.id.name,
                    "certificate": format!("{FOLDER}/{}.pem", c.id.name),
                    "key": format!("{FOLDER}/{}.key", c.id.name),
                })
            });
            map.insert((*service).to_owned(), found.unwrap_or(Json::Null));
        }
        let trust = self.trust().is_some() && self.on(server).next().is_some();
        map.insert("trust".into(), if trust { Json::String(format!("{FOLDER}/ca.pem")) } else { Json::Null });
        Json::Object(map)
    }

    /// All authorities that are not public, so that the organisation's servers can verify each other.
    pub fn trust(&self) -> Option<String> {
        let mut all: Vec<&str> = self.issued.values().filter_map(|i| i.trust.as_deref()).map(str::trim).collect();
        all.sort_unstable();
        all.dedup();
        (!all.is_empty()).then(|| all.join("\n") + "\n")
    }

    /// The files of one server. Services that use them are reloaded when they change.
    pub fn resources(&self, server: &str, services: &[String], sources: &Sources) -> Vec<Wanted> {
        let host = HostName::from(server);
        let nodes: Vec<&Node> = self.on(server).filter(|c| self.issued.contains_key(c.id.name.as_str())).collect();
        let Some(&first) = nodes.first() else { return Vec::new() };
        let make = |node: &Node, kind: Kind, key: String, attrs: Vec<(&str, &str)>, notifies: Vec<Notify>| Resource {
            address: Address::new(&host, kind, key),
            attrs: attrs.into_iter().map(|(k, v)| (k.to_owned(), Attr::text(v))).collect(),
            group: group(server),
            stage: catalog::spec(kind).stage,
            after: Vec::new(),
            notifies,
            protect: false,
            owner: node.id.to_string(),
            origin: sources.origin(node.span),
        };
        let wanted = |resource, body, node: &Node| Wanted {
            resource,
            bodies: body,
            role: "certificate".into(),
            pack: None,
            asked: node.span,
        };
        let mut out = Vec::new();
        out.push(wanted(
            make(
                first,
                Kind::Directory,
                FOLDER.to_owned(),
                vec![("owner", "root"), ("group", "root"), ("mode", "0755")],
                vec![],
            ),
            vec![],
            first,
        ));
        let mut everyone = Vec::new();
        for node in &nodes {
            let name = node.id.name.as_str();
            let Some(issued) = self.issued.get(name) else { continue };
            let notifies: Vec<Notify> = SERVICES
                .iter()
                .filter(|(service, _)| serves(node, service))
                .flat_map(|(_, units)| units.iter())
                .filter(|unit| services.iter().any(|s| s == *unit))
                .map(|unit| Notify { service: (*unit).to_owned(), how: NotifyHow::Reload })
                .collect();
            everyone.extend(notifies.iter().cloned());
            let key = vec![Segment::Secret(issued.key.clone()), Segment::Text("\n".into())];
            out.push(wanted(
                make(
                    node,
                    Kind::File,
                    format!("{FOLDER}/{name}.key"),
                    vec![("owner", "root"), ("group", "root"), ("mode", "0600")],
                    notifies.clone(),
                ),
                vec![("content".into(), Body { segments: key })],
                node,
            ));
            out.push(wanted(
                make(
                    node,
                    Kind::File,
                    format!("{FOLDER}/{name}.pem"),
                    vec![("owner", "root"), ("group", "root"), ("mode", "0644")],
                    notifies,
                ),
                vec![("content".into(), Body::text(issued.chain.clone()))],
                node,
            ));
        }
        if let Some(trust) = self.trust() {
            everyone.sort();
            everyone.dedup();
            out.push(wanted(
                make(
                    first,
                    Kind::File,
                    format!("{FOLDER}/ca.pem"),
                    vec![("owner", "root"), ("group", "root"), ("mode", "0644")],
                    everyone,
                ),
                vec![("content".into(), Body::text(trust))],
                first,
            ));
        }
        out
    }
}

/// Group of a server's certificate files; roles that use them wait for it.
pub fn group(server: &str) -> String {
    format!("server.{server}/certificate")
}

/// A certificate without `services` serves all.
fn serves(node: &Node, service: &str) -> bool {
    let services = node.texts("services");
    services.is_empty() || services.contains(&service)
}
