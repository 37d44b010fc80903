//! Keys that sign mail (DKIM): what has to be read or made before lowering, and which server signs with which.

use std::time::Duration;

use serde_json::{Value as Json, json};

use crate::model::topology::{Node, Topology};
use crate::model::{Diagnostic, Diagnostics, SecretRef, Span};

use super::super::context::dns::quoted;
use super::super::survey::{Server, Survey, leaf, refs};
use super::super::template::secret_marker;
use super::rotation::IN_FLIGHT;
use super::zones::Zones;

/// A key whose public half the topology publishes.
#[derive(Debug, Clone, PartialEq)]
pub struct KeyRequest {
    /// The node, `acme.example.s1`: what [`super::super::Options::signing`] is keyed by.
    pub node: String,
    pub domain: String,
    pub selector: String,
    /// Ed25519 (RFC 8463), else RSA.
    pub ed25519: bool,
    /// Of a new RSA key.
    pub bits: u32,
    /// Make it where `key` points, when nothing is there.
    pub generate: bool,
    pub key: SecretRef,
    /// Some server signs with it.
    pub signs: bool,
    /// How often the key is changed.
    pub rotate: Option<Duration>,
    /// How long mail that it signed may wait in queues.
    pub in_flight: Duration,
    /// Of the zone that publishes it.
    pub ttl: Duration,
    pub span: Span,
}

impl KeyRequest {
    /// Its keys are made and changed by cutover, not by hand.
    pub fn automatic(&self) -> bool {
        self.generate && self.rotate.is_some() && self.signs
    }
}

/// One selector of a `dkim` node: a key that is changed has two for a while.
#[derive(Debug, Clone, PartialEq)]
pub struct Selector {
    /// The label before `_domainkey`.
    pub name: String,
    pub public: PublicKey,
    /// The private half.
    pub key: SecretRef,
    /// The node's signers sign with it.
    pub signs: bool,
}

impl Selector {
    /// The only one of a node.
    pub fn only(request: &KeyRequest, public: PublicKey) -> Self {
        Self { name: request.selector.clone(), public, key: request.key.clone(), signs: request.signs }
    }

    /// Its TXT record below a domain: the absolute name without the last dot, and the text.
    pub fn record(&self, domain: &str) -> (String, String) {
        (format!("{}._domainkey.{domain}", self.name).to_ascii_lowercase(), super::texts::dkim(&self.public))
    }

    /// The record's data as in a zone file.
    pub fn data(&self) -> String {
        quoted(&super::texts::dkim(&self.public))
    }
}

/// The public half, as a DKIM record has it.
#[derive(Debug, Clone, PartialEq)]
pub struct PublicKey {
    /// `rsa` or `ed25519`: the tag `k=`.
    pub kind: &'static str,
    /// The tag `p=`: SubjectPublicKeyInfo for RSA (RFC 6376, erratum 3017), the 32 octets themselves for Ed25519.
    pub base64: String,
    pub bits: u32,
}

impl PublicKey {
    /// A stand-in for a key that was not read.
    pub fn unread(request: &KeyRequest) -> Self {
        let kind = if request.ed25519 { "ed25519" } else { "rsa" };
        Self { kind, base64: "NOT+READ".into(), bits: request.bits }
    }
}

/// How long mail may wait in queues: [`IN_FLIGHT`], shortened by a lab's `time-scale`.
pub fn in_flight(topology: &Topology) -> Duration {
    let scale = topology.environment().and_then(|e| e.int("time-scale")).and_then(|s| u32::try_from(s).ok());
    IN_FLIGHT / scale.unwrap_or(1).max(1)
}

/// The keys of a topology.
pub fn requests(topology: &Topology) -> Vec<KeyRequest> {
    let zones = Zones::new(topology);
    let in_flight = in_flight(topology);
    let ttl = |domain: &str| {
        let holding = zones.holding(&domain.to_ascii_lowercase());
        holding.iter().filter_map(|z| z.duration("ttl")).max().unwrap_or(Duration::from_secs(3600))
    };
    let all = topology.all("mail-auth").flat_map(|m| m.children("dkim").map(move |k| (m, k)));
    all.filter_map(|(auth, node)| {
        Some(KeyRequest {
            node: node.id.name.to_string(),
            domain: auth.id.name.to_string(),
            selector: leaf(auth, node).to_owned(),
            ed25519: ed25519(node),
            bits: node.int("bits").and_then(|b| u32::try_from(b).ok()).unwrap_or(2048),
            generate: node.flag("generate"),
            key: node.secret("key")?.clone(),
            signs: node.value("signers").is_some(),
            rotate: node.duration("rotate"),
            in_flight,
            ttl: ttl(&auth.id.name),
            span: node.span,
        })
    })
    .collect()
}

fn ed25519(node: &Node) -> bool {
    node.text("algorithm") == Some("ed25519-sha256")
}

/// A key with the servers that sign with it.
pub struct Key<'t> {
    domain: &'t str,
    /// The selectors that are signed with.
    selectors: Vec<Selector>,
    node: &'t Node,
}

/// The program of a server that signs, by its roles.
fn signer(server: &Server<'_>) -> Option<&'static str> {
    if server.has("edge") {
        Some("rspamd")
    } else if server.has_any(&["smtp", "relay", "hub"]) {
        Some("opendkim")
    } else {
        None
    }
}

pub fn key<'t>(
    survey: &Survey<'t>,
    auth: &'t Node,
    node: &'t Node,
    selectors: &[Selector],
    diagnostics: &mut Diagnostics,
) -> Key<'t> {
    let (domain, selector) = (auth.id.name.as_str(), leaf(auth, node));
    for (id, span) in node.refs("signers") {
        let Some(server) = survey.servers.get(id.name.as_str()) else { continue };
        match signer(server) {
            None => diagnostics.push(
                Diagnostic::warning("W1005", format!("server {} does not sign for {domain}", id.name))
                    .label(span, format!("should sign with {selector}"))
                    .help("give it a role that sends mail (smtp, relay, hub, edge), or name another server"),
            ),
            // OpenDKIM 2.11, the last release and what distributions ship, knows rsa-sha1 and rsa-sha256 only.
            Some("opendkim") if ed25519(node) => diagnostics.push(
                Diagnostic::error("E1039", format!("server {} cannot sign for {domain} with Ed25519", id.name))
                    .label(node.at("algorithm"), format!("key {selector}"))
                    .label(span, "OpenDKIM signs there, and has no Ed25519")
                    .help("let a server with the role edge sign with it (rspamd), beside an RSA key that others sign with; or write algorithm=rsa-sha256"),
            ),
            Some(_) => {}
        }
    }
    Key { domain, selectors: selectors.iter().filter(|s| s.signs).cloned().collect(), node }
}

/// The keys of one server. A key goes to no other.
pub fn signing(keys: &[Key<'_>], server: &Server<'_>, inside: &[&str]) -> Json {
    let program = signer(server).filter(|_| !server.legacy);
    // rspamd reads RSA keys as PEM, and of Ed25519 the seed in base64 alone.
    let private = |k: &Key<'_>, s: &Selector| match ed25519(k.node) && program == Some("rspamd") {
        true => secret_marker(&SecretRef(format!("ed25519-seed:{}", s.key))),
        false => secret_marker(&s.key),
    };
    let own = keys.iter().filter(|k| refs(k.node, "signers").any(|s| s.name == server.name));
    let keys: Vec<Json> = own
        .flat_map(|k| k.selectors.iter().map(move |s| (k, s)))
        .map(|(k, s)| {
            json!({
                "domain": k.domain,
                "selector": s.name,
                "name": format!("{}.{}", s.name, k.domain),
                "ed25519": ed25519(k.node),
                "key": private(k, s),
                "node": format!("mail-auth:{}", k.domain),
            })
        })
        .collect();
    let mut domains: Vec<Json> = Vec::new();
    for key in &keys {
        match domains.iter_mut().find(|d| d["name"] == key["domain"]) {
            Some(d) => d["keys"].as_array_mut().into_iter().for_each(|list| list.push(key.clone())),
            None => domains.push(json!({"name": key["domain"], "keys": [key]})),
        }
    }
    let program = program.filter(|_| !keys.is_empty());
    json!({
        "opendkim": program == Some("opendkim"),
        "rspamd": program == Some("rspamd"),
        "keys": keys,
        // The same by domain: `name keys`.
        "domains": domains,
        "inside": inside,
    })
}
