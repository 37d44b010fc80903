//! What a server needs to know of the content service: on the service's own host how it opens both sides and whom it moves, on
//! a store which services may open its mailboxes.

use std::borrow::Cow;
use std::collections::BTreeSet;

use serde_json::{Value as Json, json};

use crate::model::topology::{Node, NodeId, Value};
use crate::model::{Diagnostic, Diagnostics};
use crate::people::{self, Chosen};

use super::super::survey::{Server, Survey, leaf, refs};
use super::super::template::secret_marker;
use super::proxy::{behind, bracket, lasting, size};
use super::{Service, Shared};

/// Name of the service at stores that our packs make.
const MASTER: &str = "cutover-cms";
/// Between a user and a master user, in a login to such a store (Dovecot's auth_master_user_separator).
const SEPARATOR: &str = "*";

/// Ports of what an end is spoken to with: plain or STARTTLS, and TLS from the first octet.
const PORTS: [(&str, u16, u16); 3] = [("imap", 143, 993), ("pop3", 110, 995), ("lmtp", 24, 24)];

const SERVICE: Service =
    Service { kind: "cms", plural: "cms", role: "migration", broken: "E1041", uninstalled: "W1009" };

/// `null` on a server that no content service is on.
pub fn data(survey: &Survey<'_>, server: &Server<'_>, shared: &Shared<'_>, diagnostics: &mut Diagnostics) -> Json {
    let Some(cms) = SERVICE.on(survey, server, diagnostics) else { return Json::Null };
    Place { survey, server, shared, cms }.data(diagnostics)
}

/// Who may open the mailboxes of a store with one password: `name secret from`.
pub fn masters(survey: &Survey<'_>, server: &Server<'_>) -> Vec<Json> {
    let mut out = Vec::new();
    if !server.is_store() {
        return out;
    }
    for cms in survey.topology.all("cms") {
        let from: Vec<&str> = refs(cms, "on")
            .filter_map(|id| survey.servers.get(id.name.as_str()))
            .flat_map(|s| s.ip.into_iter().chain(s.ip6))
            .collect();
        if let Some(secret) = cms.secret("password")
            && targets(survey, cms).iter().any(|s| s.name == server.name)
        {
            out.push(json!({"name": MASTER, "secret": secret_marker(secret), "from": from}));
        }
        let Some(legacy) = legacy(survey, cms).filter(|l| l.text("server") == Some(server.name)) else { continue };
        if let (Some(name), Some(secret)) = (legacy.text("master-user"), legacy.secret("admin")) {
            out.push(json!({"name": name, "secret": secret_marker(secret), "from": from}));
        }
    }
    out
}

fn legacy<'t>(survey: &Survey<'t>, cms: &Node) -> Option<&'t Node> {
    refs(cms, "from").next().and_then(|id| survey.topology.get("legacy", &id.name))
}

fn targets<'s, 't>(survey: &'s Survey<'t>, cms: &Node) -> Vec<&'s Server<'t>> {
    let mut servers = Vec::new();
    refs(cms, "to").for_each(|id: &NodeId| behind(survey, id, 3, &mut servers));
    servers
}

fn broken(message: String) -> Diagnostic {
    Diagnostic::error(SERVICE.broken, message)
}

struct Place<'a, 't> {
    survey: &'a Survey<'t>,
    server: &'a Server<'t>,
    shared: &'a Shared<'a>,
    cms: &'t Node,
}

/// One side before `access` of the topology has its say.
#[derive(Default)]
struct Usual<'a> {
    kind: &'a str,
    profile: &'a str,
    host: Option<String>,
    port: Option<i64>,
    tls: &'a str,
    trusted: bool,
    master: Option<&'a str>,
    separator: &'a str,
    secret: String,
    sessions: Option<i64>,
}

impl<'t> Place<'_, 't> {
    fn data(&self, diagnostics: &mut Diagnostics) -> Json {
        let c = self.cms;
        let sides = [self.old_side(diagnostics), self.new_side(diagnostics)];
        let parts = sides.iter().filter_map(|s| s["parts"].as_array()).flatten();
        let secrets: Vec<&Json> = sides.iter().chain(parts).filter(|s| s["secret"] != "").collect();
        json!({
            "secrets": secrets,
            "name": c.id.name,
            "workers": c.int("workers"),
            "connections": c.int("connections"),
            "delta_every": lasting(c, "delta-every"),
            "verify": c.text("verify").unwrap_or("hash"),
            "items": c.texts("items"),
            "metrics": c.text("metrics"),
            "rate": rate(c),
            "hours": c.texts("hours"),
            "largest": size(c, "largest").map(|octets| format!("{octets}B")),
            "skip": c.texts("skip"),
            "max_failed": percent(c),
            "queue": self.queue(),
            "sides": sides,
            "preflight": self.preflight(),
            "mailboxes": self.mailboxes(),
        })
    }

    /// What is looked for in the mailboxes of the old side before they move.
    fn preflight(&self) -> Json {
        let from = refs(self.cms, "from").next();
        let mut all = self.survey.topology.all("preflight");
        let ours = all.find(|p| refs(p, "on").any(|id| Some(id) == from));
        ours.map_or(Json::Null, |p| json!({"find": p.texts("find"), "block": p.flag("block")}))
    }

    /// The folder into which a proxy on the same server writes who has logged in on the old side.
    fn queue(&self) -> Option<&'static str> {
        let mut proxies = self.survey.topology.all("proxy");
        let told = |p: &&Node| refs(p, "cms").any(|id| *id == self.cms.id);
        let here = |p: &&Node| refs(p, "on").any(|s| s.name == self.server.name) && self.server.has("proxy");
        proxies.find(|p| told(p) && here(p)).map(|_| super::proxy::QUEUE)
    }

    fn old_side(&self, diagnostics: &mut Diagnostics) -> Json {
        let Some(legacy) = legacy(self.survey, self.cms) else { return Json::Null };
        let server = legacy.text("server").and_then(|s| self.survey.servers.get(s));
        let host = server.map(|s| s.fqdn.to_string()).or_else(|| legacy.text("host").map(str::to_owned));
        let kind = self.cms.text("extractor").unwrap_or("imap");
        if legacy.value("master-user").is_some() != legacy.value("admin").is_some() {
            let d = broken(format!("legacy {}: `master-user` and `admin` go together", legacy.id.name));
            diagnostics.push(d.label(legacy.span, "one without the other").help("write both, or neither"));
        }
        let usual = Usual {
            kind,
            profile: profile(legacy.text("product").unwrap_or("other")),
            host,
            port: legacy.int("port").filter(|_| kind == "imap"),
            tls: legacy.text("tls").unwrap_or("starttls"),
            trusted: server.is_some_and(|s| self.shared.certificates.is_trusted(s.name)),
            master: legacy.text("master-user"),
            separator: legacy.text("separator").unwrap_or("*"),
            secret: legacy.secret("admin").map_or_else(String::new, secret_marker),
            sessions: legacy.int("sessions"),
        };
        self.side("source", "old", usual, diagnostics)
    }

    fn new_side(&self, diagnostics: &mut Diagnostics) -> Json {
        let servers = targets(self.survey, self.cms);
        let (kind, profile) = match self.cms.text("importer").unwrap_or("imap") {
            "exchange-2003" => ("imap", "exchange-2003"),
            "exchange-2007" => ("ews", "exchange-2007"),
            "ews" => ("ews", "exchange"),
            other => (other, "generic"),
        };
        let first = servers.first();
        let store = first.is_some_and(|s| s.is_store());
        if servers.is_empty() {
            let d = broken(format!("no server is behind `to` of cms {}", self.cms.id.name));
            let d = d.label(self.cms.at("to"), "leads to none");
            diagnostics.push(d.help("name a server, a pair, or a platform with servers of role imap or mailbox"));
        }
        if store && matches!(kind, "imap" | "jmap") && self.cms.value("password").is_none() {
            let d = broken(format!("cms {} cannot open the mailboxes of the new side", self.cms.id.name));
            let d = d.label(self.cms.span, "has no password");
            diagnostics
                .push(d.help("write password=(secret)\"file:secrets/cms\": apply makes a master user with it there"));
        }
        let usual = Usual {
            kind,
            profile: if store { "dovecot" } else { profile },
            host: first.map(|s| s.fqdn.to_string()),
            port: None,
            tls: "implicit",
            trusted: first.is_some_and(|s| self.shared.certificates.is_trusted(s.name)),
            master: (store || self.cms.value("password").is_some()).then_some(MASTER),
            separator: SEPARATOR,
            secret: self.cms.secret("password").map_or_else(String::new, secret_marker),
            sessions: None,
        };
        self.side("target", "new", usual, diagnostics)
    }

    fn side(&self, key: &str, name: &str, usual: Usual<'_>, diagnostics: &mut Diagnostics) -> Json {
        let said = self.cms.children("access").find(|a| leaf(self.cms, a) == name);
        let text = |field: &str| said.and_then(|a| a.text(field));
        let tls = text("tls").unwrap_or(usual.tls);
        let ports = PORTS.iter().find(|(kind, ..)| *kind == usual.kind);
        let port = said.and_then(|a| a.int("port")).or(usual.port);
        let port =
            port.or(ports.map(|(_, plain, implicit)| i64::from(if tls == "implicit" { *implicit } else { *plain })));
        let server = usual.host.as_deref().zip(port.filter(|_| ports.is_some()));
        if ports.is_some() && server.is_none() {
            let d = broken(format!("cms {} knows no host of its {name} side", self.cms.id.name));
            let at = if name == "old" { "from" } else { "to" };
            diagnostics.push(d.label(self.cms.at(at), "has none").help("write host=NAME at the legacy node"));
        }
        let authzid = said.is_some_and(|a| a.flag("authzid"));
        let login = text("login").map(str::to_owned).unwrap_or_else(|| match usual.master {
            Some(_) if !authzid => format!("{{user}}{}{{master}}", usual.separator),
            _ => "{user}".into(),
        });
        let verify = text("verify").unwrap_or("name");
        let trust = self.shared.certificates.json(self.server.name)["trust"].as_str().map(str::to_owned);
        let ca = text("ca").map(str::to_owned).or(trust.filter(|_| usual.trusted));
        json!({
            "key": key,
            "kind": usual.kind,
            "profile": usual.profile,
            "server": server.map(|(host, port)| format!("{}:{port}", bracket(host))),
            "url": text("url"),
            "tls": tls,
            "verify": verify,
            "ca": ca.filter(|_| verify == "name" && tls != "none"),
            "tls_name": text("tls-name"),
            "pins": said.map(|a| a.texts("pins")).unwrap_or_default(),
            "login": login,
            "authzid": authzid,
            "master": usual.master,
            "secret": usual.secret,
            "sessions": said.and_then(|a| a.int("sessions")).or(usual.sessions),
            "path": text("path"),
            "program": said.map(|a| a.texts("program")).unwrap_or_default(),
            "parts": self.parts(key, name, diagnostics),
        })
    }

    /// Where a side keeps rules and contacts. What it is spoken to with follows from the address: `sieve:` (RFC 5804, section 3), CardDAV.
    fn parts(&self, key: &str, name: &str, diagnostics: &mut Diagnostics) -> Vec<Json> {
        let mut parts = Vec::new();
        for end in self.cms.children("end") {
            let what = leaf(self.cms, end);
            let table = if what == "managesieve" { "rules" } else { "contacts" };
            let field = if name == "old" { "from" } else { "to" };
            let Some(url) = end.text(field) else { continue };
            let place = url.strip_prefix("sieve://").map(|rest| rest.split('/').next().unwrap_or_default());
            // Exchange holds both behind its Web Services.
            let ews = ["/ews", "/exchange.asmx"].iter().any(|e| url.trim_end_matches('/').to_lowercase().ends_with(e));
            let (kind, server, url) = match (place, what) {
                (Some(place), "managesieve") => ("managesieve", Some(with_port(place, 4190)), None),
                (None, _) if ews => ("ews", None, Some(url)),
                (None, "carddav") => ("carddav", None, Some(url)),
                _ => {
                    let d = broken(format!("`{url}` is no address of {table}"));
                    let help = "write sieve://HOST:PORT for rules, https://HOST/PATH for contacts";
                    diagnostics.push(d.label(end.at(field), "leads to something else").help(help));
                    continue;
                }
            };
            parts.push(json!({
                "key": format!("{key}-{table}"),
                "table": table,
                "kind": kind,
                "server": server,
                "url": url,
                "secret": end.secret("login").map_or_else(String::new, secret_marker),
            }));
        }
        parts
    }

    /// The users of the cohorts that move with this service; without any, the accounts of the new side that the old side has
    /// too, as far as the topology knows.
    fn mailboxes(&self) -> Vec<Json> {
        let topology = self.survey.topology;
        let ours = |c: &&Node| {
            let migration = refs(c, "migration").next().and_then(|id| topology.get("migration", &id.name));
            migration.is_some_and(|m| refs(m, "cms").any(|id| *id == self.cms.id))
        };
        // Whoever lowers without reading lists sees the people that the topology itself names.
        let named: Vec<Cow<'_, Chosen>> = topology
            .all("cohort")
            .filter(ours)
            .map(|c| match self.shared.people.get(c.id.name.as_str()) {
                Some(chosen) => Cow::Borrowed(chosen),
                None => Cow::Owned(people::named_here(topology, c)),
            })
            .collect();
        let mut users: BTreeSet<&str> = named.iter().flat_map(|c| c.addresses()).collect();
        if users.is_empty() {
            let on = |name: &str| -> BTreeSet<&str> {
                self.survey.accounts_on(name).into_iter().map(|a| a.address).collect()
            };
            users = targets(self.survey, self.cms).iter().flat_map(|s| on(s.name)).collect();
            let old = legacy(self.survey, self.cms).and_then(|l| l.text("server"));
            if let Some(had) = old.map(on) {
                users.retain(|u| had.contains(u));
            }
        }
        users.into_iter().map(|u| json!({"user": u})).collect()
    }
}

/// `HOST:PORT` of what may have no port; an IPv6 address stands in brackets.
fn with_port(place: &str, port: u16) -> String {
    let after = place.rsplit_once(']').map_or(place, |(_, rest)| rest);
    if after.contains(':') { place.to_owned() } else { format!("{place}:{port}") }
}

/// Products by the dialect that the service knows of them.
fn profile(product: &str) -> &str {
    match product {
        "dovecot" | "courier" | "cyrus" | "netwin" | "openwave" | "mailsite" | "exchange-2003" | "exchange-2007"
        | "domino" => product,
        "exchange-2010" => "exchange",
        _ => "generic",
    }
}

/// Bits a second, as the service reads them.
fn rate(cms: &Node) -> Option<String> {
    match cms.value("throttle").map(|v| &v.value) {
        Some(Value::Rate(bits)) => Some(format!("{bits}bit/s")),
        _ => None,
    }
}

fn percent(cms: &Node) -> String {
    match cms.value("max-failed").map(|v| &v.value) {
        Some(Value::Percent(share)) => share.to_string(),
        _ => "0%".into(),
    }
}
