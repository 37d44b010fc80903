//! What a server needs to know of the proxy that runs on it: listeners, the servers of both sides, rules for logins and routes.

use std::collections::BTreeSet;

use serde_json::{Map, Value as Json, json};

use crate::model::topology::{Node, NodeId, Value};
use crate::model::unit::format_duration;
use crate::model::{Diagnostic, Diagnostics};

use super::super::survey::{Server, Survey, leaf, refs};
use super::super::template::secret_marker;
use super::{Service, Shared, mail};

/// Where the proxy names users of the old side who have logged in. Its own folder, which the content service on the same host may
/// read and take from.
pub(super) const QUEUE: &str = "/var/spool/cutover-cms";

/// Listeners: name, protocol, TLS, port (RFC 8314 section 7, RFC 6409).
const LISTENERS: [(&str, &str, &str, u16); 6] = [
    ("imap", "imap", "starttls", 143),
    ("imaps", "imap", "implicit", 993),
    ("pop3", "pop3", "starttls", 110),
    ("pop3s", "pop3", "implicit", 995),
    ("submission", "submission", "starttls", 587),
    ("submissions", "submission", "implicit", 465),
];

const SERVICE: Service =
    Service { kind: "proxy", plural: "proxies", role: "proxy", broken: "E1040", uninstalled: "W1008" };

/// `null` on a server that no proxy is on.
pub fn data(survey: &Survey<'_>, server: &Server<'_>, shared: &Shared<'_>, diagnostics: &mut Diagnostics) -> Json {
    let Some(proxy) = SERVICE.on(survey, server, diagnostics) else { return Json::Null };
    Place { survey, server, shared, proxy }.data(diagnostics)
}

fn broken(message: String) -> Diagnostic {
    Diagnostic::error(SERVICE.broken, message)
}

struct Place<'a, 't> {
    survey: &'a Survey<'t>,
    server: &'a Server<'t>,
    shared: &'a Shared<'a>,
    proxy: &'t Node,
}

impl Place<'_, '_> {
    fn data(&self, diagnostics: &mut Diagnostics) -> Json {
        let p = self.proxy;
        let asked = p.texts("listen");
        let listeners: Vec<_> = LISTENERS.iter().filter(|l| asked.contains(&l.0)).collect();
        let ports: Map<String, Json> =
            LISTENERS.iter().map(|(name, ..)| ((*name).to_owned(), asked.contains(name).into())).collect();
        let protocols: BTreeSet<&str> = listeners.iter().map(|l| l.1).collect();
        let gates: Vec<&str> = refs(p, "on").map(|id| id.name.as_str()).collect();
        let listen: Vec<Json> = listeners
            .iter()
            .map(|(name, protocol, tls, port)| json!({"name": name, "protocol": protocol, "tls": tls, "port": port}))
            .collect();
        json!({
            "name": p.id.name,
            "gates": gates,
            "listen": listen,
            "ports": ports,
            "plain_login": p.flag("plain-login"),
            "tokens": p.flag("tokens"),
            "header_from": p.texts("header-from"),
            "certificates": self.certificates(),
            "sides": [self.old_side(&protocols, diagnostics), self.new_side(&protocols, diagnostics)],
            "routes": {
                "default": p.text("default-route").unwrap_or("old"),
                "source": p.text("route-by").unwrap_or("store"),
                "file": self.route_file(diagnostics),
                "held": p.text("held").unwrap_or("wait"),
                "held_for": lasting(p, "held-for"),
            },
            "directory": self.directory(diagnostics),
            "rewrite": {
                "lower_case": p.flag("lower-case"),
                "substitute": self.pairs("substitute", "with"),
                "suffix": self.pairs("suffix", "append"),
                "domain": self.pairs("login-domain", "to"),
            },
            "limits": self.limits(),
            "passwords": {
                "mode": p.text("passwords").unwrap_or("pass"),
                "recipient": p.text("recipient").filter(|_| p.text("passwords") == Some("capture")),
                "store": p.text("store"),
                "max_size": size(p, "store-max"),
                "purge": lasting(p, "purge").filter(|_| p.text("passwords") == Some("capture")),
            },
            "cms": p.value("cms").map(|_| QUEUE),
            "metrics": p.text("metrics"),
            "socketmap": self.socketmap(),
        })
    }

    fn certificates(&self) -> Vec<Json> {
        let of = self.shared.certificates.of_mail(self.server.name);
        let folder = super::super::certificate::FOLDER;
        of.into_iter()
            .map(|(name, key)| json!({"name": name, "chain": format!("{folder}/{name}.pem"), "secret": secret_marker(key)}))
            .collect()
    }

    fn legacy(&self) -> Option<&Node> {
        refs(self.proxy, "old").next().and_then(|id| self.survey.topology.get("legacy", &id.name))
    }

    /// The server that the old system is, where the topology has it.
    fn legacy_server(&self, legacy: &Node) -> Option<&Server<'_>> {
        self.survey.servers.get(legacy.text("server")?)
    }

    fn old_side(&self, protocols: &BTreeSet<&str>, diagnostics: &mut Diagnostics) -> Json {
        let legacy = self.legacy();
        let server = legacy.and_then(|l| self.legacy_server(l));
        let host = server.map(|s| s.fqdn.to_string()).or_else(|| Some(legacy?.text("host")?.to_owned()));
        if host.is_none() {
            let d = broken(format!("proxy {} knows no host of its old side", self.proxy.id.name));
            let d = d.label(self.proxy.at("old"), "has neither `host` nor `server`");
            diagnostics.push(d.help("write host=NAME at the legacy node"));
        }
        let tls = legacy.and_then(|l| l.text("tls")).unwrap_or("starttls");
        let imap = legacy.and_then(|l| l.int("port")).and_then(|p| u16::try_from(p).ok());
        let hosts: Vec<String> = host.into_iter().collect();
        self.side(
            "old",
            tls,
            &hosts,
            server.is_some_and(|s| self.shared.certificates.is_trusted(s.name)),
            protocols,
            imap,
        )
    }

    fn new_side(&self, protocols: &BTreeSet<&str>, diagnostics: &mut Diagnostics) -> Json {
        let mut servers = Vec::new();
        refs(self.proxy, "new").for_each(|id| behind(self.survey, id, 3, &mut servers));
        if servers.is_empty() {
            let d = broken(format!("no server is behind the new side of proxy {}", self.proxy.id.name));
            let d = d.label(self.proxy.at("new"), "leads to none");
            diagnostics.push(d.help("name a pair, a dag, or a platform with servers of role imap, mailbox or cas"));
        }
        let trusted = servers.iter().any(|s| self.shared.certificates.is_trusted(s.name));
        let hosts: Vec<String> = servers.iter().map(|s| s.fqdn.to_string()).collect();
        self.side("new", "starttls", &hosts, trusted, protocols, None)
    }

    fn side(
        &self,
        name: &str,
        tls: &str,
        hosts: &[String],
        trusted: bool,
        protocols: &BTreeSet<&str>,
        imap: Option<u16>,
    ) -> Json {
        let said = self.proxy.children("side").find(|s| leaf(self.proxy, s) == name);
        let text = |field: &str| said.and_then(|s| s.text(field));
        let tls = text("tls").unwrap_or(tls);
        let own = trusted.then(|| self.shared.certificates.json(self.server.name)["trust"].as_str().map(str::to_owned));
        let services: Vec<Json> = protocols
            .iter()
            .map(|protocol| {
                let usual = LISTENERS.iter().find(|l| l.1 == *protocol && (l.2 == "implicit") == (tls == "implicit"));
                let port = imap.filter(|_| *protocol == "imap").or(usual.map(|l| l.3)).unwrap_or(143);
                let servers: Vec<String> = hosts.iter().map(|h| format!("{}:{port}", bracket(h))).collect();
                json!({"protocol": protocol, "servers": servers})
            })
            .collect();
        let verify = text("verify").unwrap_or("name");
        json!({
            "name": name,
            "services": services,
            "tls": tls,
            "verify": verify,
            "ca": text("ca").map(str::to_owned).or(own.flatten()).filter(|_| verify == "name" && tls != "none"),
            "tls_name": text("tls-name"),
            "pins": said.map(|s| s.texts("pins")).unwrap_or_default(),
            "login": text("login").unwrap_or("{user}"),
            "proxy_protocol": text("proxy-protocol").unwrap_or("none"),
            "client": text("client").unwrap_or("tell"),
        })
    }

    fn route_file(&self, diagnostics: &mut Diagnostics) -> Option<&str> {
        let (file, by) = (self.proxy.text("route-file"), self.proxy.text("route-by") == Some("file"));
        if by != file.is_some() {
            let d = broken(format!("proxy {}: route-by=file and route-file go together", self.proxy.id.name));
            let at = if by { "route-by" } else { "route-file" };
            let d = d.label(self.proxy.at(at), if by { "which file?" } else { "is not read" });
            diagnostics.push(d.help("write route-by=file route-file=\"/var/lib/..\", or neither"));
        }
        file.filter(|_| by)
    }

    fn directory(&self, diagnostics: &mut Diagnostics) -> Json {
        let name = &self.proxy.id.name;
        let asked = refs(self.proxy, "directory").next().and_then(|id| self.survey.topology.get("directory", &id.name));
        let lookup = self.proxy.children("lookup").next();
        let (node, lookup) = match (asked, lookup) {
            (Some(node), Some(lookup)) => (node, lookup),
            (None, None) => return Json::Null,
            (node, lookup) => {
                let d = broken(format!("proxy {name}: `directory` and `lookup` go together"));
                let span = lookup.map_or_else(|| self.proxy.at("directory"), |l| l.span);
                let what = if node.is_some() { "what do its objects say of a user?" } else { "where?" };
                diagnostics.push(d.label(span, what).help(
                    "write directory=NAME and lookup \"(mail={user})\" attribute=mailHost { old \"old.*\"; new \"new.*\"; }",
                ));
                return Json::Null;
            }
        };
        let (Some(url), Some(base)) = (node.text("url"), node.text("base")) else {
            let d = broken(format!("proxy {name} asks directory {}, which has no `url` or no `base`", node.id.name));
            let d = d.label(node.span, "where is it?").label(self.proxy.at("directory"), "asked by the proxy");
            diagnostics.push(d.help("write url=\"ldaps://HOST\" and base=\"dc=..\" there"));
            return Json::Null;
        };
        let bind = node.text("bind-dn").zip(node.secret("bind"));
        let values = |field: &str| lookup.texts(field);
        json!({
            "servers": [url],
            "base": base,
            "ca": node.text("ca"),
            "bind_dn": bind.map(|(dn, _)| dn),
            "secret": bind.map(|(_, secret)| secret_marker(secret)),
            "filter": leaf(self.proxy, lookup),
            "attribute": lookup.text("attribute"),
            "old": values("old"),
            "new": values("new"),
            "held": values("held"),
            "blocked": values("blocked"),
            "login_old": lookup.text("login-old"),
            "login_new": lookup.text("login-new"),
            "starttls": lookup.flag("starttls"),
            "cache": lasting(lookup, "cache"),
            "on_failure": lookup.text("on-failure").unwrap_or("refuse"),
        })
    }

    fn pairs(&self, kind: &str, field: &str) -> Vec<Json> {
        let children = self.proxy.children(kind);
        children.map(|c| json!({"from": leaf(self.proxy, c), "to": c.text(field).unwrap_or_default()})).collect()
    }

    /// The bounds that the topology names, as keys and values of the configuration.
    fn limits(&self) -> Vec<Json> {
        let Some(limits) = self.proxy.children("limits").next() else { return Vec::new() };
        let count = |f: &str| limits.int(f).map(Json::from);
        let time = |f: &str| lasting(limits, f).map(Json::from);
        ["connections", "per-address", "per-user", "failures-per-minute"]
            .into_iter()
            .filter_map(|f| Some((f, count(f)?)))
            .chain(
                ["login-timeout", "backend-timeout", "idle-timeout", "failure-delay"]
                    .into_iter()
                    .filter_map(|f| Some((f, time(f)?))),
            )
            .map(|(key, value)| json!({"key": key, "value": value}))
            .collect()
    }

    /// What Postfix on the same host is told: where mail goes that comes in on port 25.
    fn socketmap(&self) -> Json {
        if !self.server.has_any(&["relay", "edge"]) {
            return Json::Null;
        }
        let Some(legacy) = self.legacy() else { return Json::Null };
        let Some(host) = self.legacy_server(legacy).map(|s| s.address()).or_else(|| legacy.text("host")) else {
            return Json::Null;
        };
        json!({
            "path": "/run/cutover-proxy/socketmap.sock",
            "old": format!("smtp:{}:25", mail::bracket(host)),
            // Empty: each account has its own, which stands in the transport table.
            "new": mail::default_route(self.survey, self.server),
            "domains": self.survey.topology.all("accepted-domain").map(|d| d.id.name.as_str()).collect::<Vec<_>>(),
        })
    }
}

pub(super) fn lasting(node: &Node, field: &str) -> Option<String> {
    node.duration(field).map(format_duration)
}

pub(super) fn size(node: &Node, field: &str) -> Option<u64> {
    match node.value(field).map(|v| &v.value) {
        Some(Value::Size(bytes)) => Some(*bytes),
        _ => None,
    }
}

pub(super) fn bracket(host: &str) -> String {
    if host.contains(':') { format!("[{host}]") } else { host.to_owned() }
}

/// Servers behind a node, in the order in which it names them.
pub(super) fn behind<'s, 't>(survey: &'s Survey<'t>, id: &NodeId, depth: u8, out: &mut Vec<&'s Server<'t>>) {
    let field = match id.kind.as_str() {
        "server" => {
            out.extend(survey.servers.get(id.name.as_str()));
            return;
        }
        "platform" => {
            let of = |roles: &'static [&'static str]| survey.with_role(roles).filter(|s| s.platform == id.name);
            // Client access servers stand in front of the stores.
            match of(&["cas"]).next() {
                Some(_) => out.extend(of(&["cas"])),
                None => out.extend(of(&["imap", "mailbox"])),
            }
            return;
        }
        "namespace" => "target",
        _ => "members",
    };
    let node = survey.topology.get(id.kind.as_str(), &id.name);
    if depth > 0
        && let Some(node) = node
    {
        refs(node, field).for_each(|id| behind(survey, id, depth - 1, out));
    }
}
