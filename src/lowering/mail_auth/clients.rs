//! What mail programs fetch to set themselves up: Thunderbird's `config-v1.1.xml`
//! (<https://wiki.mozilla.org/Thunderbird:Autoconfiguration:ConfigFileFormat>) and Outlook's POX autodiscover for IMAP, POP3 and SMTP
//! (MS-OXDSCLI, section 2.2.4). Both are made from the namespaces of `discovery`, and served by its `host`.

use serde_json::{Value as Json, json};

use crate::model::topology::{Node, Topology};
use crate::model::{Diagnostic, Diagnostics, Span};

use super::super::certificate::FOLDER;
use super::super::survey::{Server, Survey, refs};
use super::zones::Zones;
use super::{Composed, covers, senders};

/// The files of one domain, and who serves them.
pub struct Clients<'t> {
    domain: &'t str,
    config: String,
    /// `None`: an Exchange of the domain answers itself.
    autodiscover: Option<String>,
    host: &'t str,
    span: Span,
}

/// Service of a namespace, what Thunderbird and what Outlook call it, port, TLS from the first octet.
const SERVERS: &[(&str, &str, &str, u16, bool)] = &[
    ("imap", "imap", "IMAP", 993, true),
    ("pop", "pop3", "POP3", 995, true),
    ("submission", "smtp", "SMTP", 465, true),
    ("submission", "smtp", "SMTP", 587, false),
];

/// Each server that mail programs use: host, and its line of [`SERVERS`].
type Used<'a> = (&'a str, &'static (&'static str, &'static str, &'static str, u16, bool));

fn used<'t>(topology: &'t Topology, node: &Node) -> Vec<Used<'t>> {
    let spaces: Vec<&'t Node> = refs(node, "namespaces").filter_map(|id| topology.get("namespace", &id.name)).collect();
    let of = |line: &'static (&str, &str, &str, u16, bool)| {
        let here = spaces.iter().filter(move |n| n.texts("services").contains(&line.0));
        here.map(move |n| (n.id.name.trim_end_matches('.'), line)).collect::<Vec<_>>()
    };
    SERVERS.iter().flat_map(of).collect()
}

/// Names of hosts have no character that XML would take for its own, but a wrong topology must not become another document.
fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

fn config(domain: &str, used: &[Used<'_>]) -> String {
    let domain = escape(domain);
    let mut out = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<clientConfig version=\"1.1\">\n  <emailProvider id=\"{domain}\">\n    <domain>{domain}</domain>\n    <displayName>{domain}</displayName>\n    <displayShortName>{domain}</displayShortName>\n"
    );
    for (host, (_, kind, _, port, tls)) in used {
        let tag = if *kind == "smtp" { "outgoingServer" } else { "incomingServer" };
        let socket = if *tls { "SSL" } else { "STARTTLS" };
        out.push_str(&format!(
            "    <{tag} type=\"{kind}\">\n      <hostname>{}</hostname>\n      <port>{port}</port>\n      <socketType>{socket}</socketType>\n      <authentication>password-cleartext</authentication>\n      <username>%EMAILADDRESS%</username>\n    </{tag}>\n",
            escape(host)
        ));
    }
    out.push_str("  </emailProvider>\n</clientConfig>\n");
    out
}

fn autodiscover(used: &[Used<'_>]) -> String {
    let mut out = "<?xml version=\"1.0\" encoding=\"utf-8\"?>\n<Autodiscover xmlns=\"http://schemas.microsoft.com/exchange/autodiscover/responseschema/2006\">\n  <Response xmlns=\"http://schemas.microsoft.com/exchange/autodiscover/outlook/responseschema/2006a\">\n    <Account>\n      <AccountType>email</AccountType>\n      <Action>settings</Action>\n".to_owned();
    for (host, (_, _, kind, port, tls)) in used {
        // Outlook takes the first of a type.
        if *port == 587 {
            continue;
        }
        let ssl = if *tls { "on" } else { "off" };
        let smtp = if *kind == "SMTP" {
            "        <UsePOPAuth>off</UsePOPAuth>\n        <SMTPLast>off</SMTPLast>\n"
        } else {
            ""
        };
        out.push_str(&format!(
            "      <Protocol>\n        <Type>{kind}</Type>\n        <Server>{}</Server>\n        <Port>{port}</Port>\n        <DomainRequired>off</DomainRequired>\n        <SPA>off</SPA>\n        <SSL>{ssl}</SSL>\n        <AuthRequired>on</AuthRequired>\n{smtp}      </Protocol>\n",
            escape(host)
        ));
    }
    out.push_str("    </Account>\n  </Response>\n</Autodiscover>\n");
    out
}

impl<'t> Composed<'t> {
    /// Names and files of one domain, where its `discovery` has a `host`.
    pub(super) fn clients(
        &mut self,
        survey: &Survey<'t>,
        zones: &Zones<'t>,
        auth: &'t Node,
        node: &'t Node,
        diagnostics: &mut Diagnostics,
    ) {
        let domain = auth.id.name.as_str();
        let Some(host) = refs(node, "host").next().and_then(|id| survey.servers.get(id.name.as_str())) else { return };
        if !host.has("autoconfig") {
            diagnostics.push(
                Diagnostic::warning(
                    "W1007",
                    format!("server {} does not serve what mail programs of {domain} ask for", host.name),
                )
                .label(node.at("host"), "served there")
                .help(format!(
                    "give it the role autoconfig and a platform with nginx: server {} {{ roles autoconfig; }}",
                    host.name
                )),
            );
        }
        let used = used(survey.topology, node);
        let ip = senders::addresses(survey, zones, host.name);
        self.addresses(zones, &format!("autoconfig.{domain}"), &ip);
        let exchange = refs(node, "namespaces")
            .filter_map(|id| survey.topology.get("namespace", &id.name))
            .any(|n| n.texts("services").contains(&"autodiscover"));
        if !exchange {
            let name = format!("autodiscover.{domain}");
            self.addresses(zones, &name, &ip);
            self.record(zones, &format!("_autodiscover._tcp.{domain}"), "SRV", format!("0 1 443 {name}."));
        }
        self.clients.push(Clients {
            domain,
            config: config(domain, &used),
            autodiscover: (!exchange).then(|| autodiscover(&used)),
            host: host.name,
            span: node.span,
        });
    }

    /// The files that a server serves, as templates have them. Each domain needs a certificate of these names on this server.
    pub fn autoconfig(&self, survey: &Survey<'_>, server: &Server<'_>, diagnostics: &mut Diagnostics) -> Json {
        if !server.has("autoconfig") {
            return json!([]);
        }
        let here = self.clients.iter().filter(|c| c.host == server.name);
        here.filter_map(|c| {
            let own = format!("autoconfig.{}", c.domain);
            let mut names = vec![own.clone()];
            names.extend(c.autodiscover.is_some().then(|| format!("autodiscover.{}", c.domain)));
            let fits = |node: &&Node| {
                let services = node.texts("services");
                let of = || node.texts("names").into_iter().chain(node.text("subject"));
                refs(node, "on").any(|s| s.name == server.name)
                    && (services.is_empty() || services.contains(&"https"))
                    && names.iter().all(|n| of().any(|pattern| covers(pattern, n)))
            };
            let Some(certificate) = survey.topology.all("certificate").find(fits) else {
                diagnostics.push(
                    Diagnostic::error(
                        "E1019",
                        format!("server {} has no certificate for {}", server.name, names.join(" and ")),
                    )
                    .label(c.span, "mail programs ask these names by HTTPS")
                    .help(format!(
                        "write certificate NAME subject={own} issuer=.. {{ names {}; on {}; services https; }}",
                        names.join(" "),
                        server.name
                    )),
                );
                return None;
            };
            Some(json!({
                "domain": c.domain,
                "name": own,
                "names": names.join(" "),
                "config": c.config,
                "autodiscover": c.autodiscover.as_deref().unwrap_or_default(),
                "certificate": format!("{FOLDER}/{}.pem", certificate.id.name),
                "key": format!("{FOLDER}/{}.key", certificate.id.name),
            }))
        })
        .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_cannot_become_markup() {
        let text = config("a<b>&\"c", &[("h<", &SERVERS[0])]);
        assert!(
            text.contains("id=\"a&lt;b&gt;&amp;&quot;c\"") && text.contains("<hostname>h&lt;</hostname>"),
            "{text}"
        );
    }
}
