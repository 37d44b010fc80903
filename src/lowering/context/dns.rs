//! Zones of the topology with their records as text of a zone file (RFC 1035 5.1).

use crate::model::topology::{Node, NodeId, Topology, Value};
use crate::model::{Diagnostic, Diagnostics};

use super::super::mail_auth::Composed;
use super::super::survey::{Server, Survey, leaf, refs};

/// Whom a zone answers: `public`, `internal` or `both`.
pub fn view(zone: &Node) -> &str {
    zone.text("view").unwrap_or("both")
}

/// What tells a zone from others of its name; as its `dns-zone` is called.
pub fn key(zone: &Node) -> String {
    match view(zone) {
        "both" => name_of(zone).to_owned(),
        view => format!("{}@{view}", name_of(zone)),
    }
}

pub fn provider<'t>(topology: &'t Topology, zone: &Node) -> Option<&'t Node> {
    topology.get("dns-provider", zone.text("provider")?)
}

/// One record of a zone, as text of a zone file.
pub struct Entry<'t> {
    /// Within the zone, `@` for the zone itself.
    pub name: String,
    /// Seconds.
    pub ttl: u64,
    pub kind: &'t str,
    pub data: String,
    /// Who asked for it; `None` for the name server that a zone has without being told.
    pub node: Option<&'t Node>,
}

/// The zone's name without its view.
pub fn name_of(zone: &Node) -> &str {
    zone.id.plain()
}

/// Records of a zone. `primary` is the name server of the topology that holds it.
pub fn entries<'t>(
    survey: &Survey<'t>,
    primary: Option<&Server<'_>>,
    zone: &'t Node,
    composed: &Composed<'_>,
    diagnostics: &mut Diagnostics,
) -> Vec<Entry<'t>> {
    let ttl = zone.duration("ttl").map_or(3600, |d| d.as_secs());
    let mut out: Vec<Entry<'t>> = Vec::new();
    let mut data = Vec::new();
    for record in zone.children("record") {
        values(survey, zone, name_of(zone), record, &mut data, diagnostics);
        let ttl = record.duration("ttl").map_or(ttl, |d| d.as_secs());
        let kind = record.text("type").unwrap_or_default();
        let entry = |data| Entry { name: owner(zone, record).to_owned(), ttl, kind, data, node: Some(record) };
        out.extend(data.drain(..).map(entry));
    }
    out.extend(composed.of_zone(zone).iter().map(|r| Entry {
        name: below(&r.name, name_of(zone)).to_owned(),
        ttl,
        kind: r.kind,
        data: r.data.clone(),
        node: Some(zone),
    }));
    if let Some(primary) = primary
        && !out.iter().any(|r| r.kind == "NS" && r.name == "@")
    {
        out.splice(0..0, own_ns(primary, name_of(zone), ttl, &out));
    }
    out
}

/// A zone needs a name server (RFC 1035 5.2): this one, with its addresses where its name lies in the zone and has none yet.
fn own_ns<'t>(server: &Server<'_>, zone: &str, ttl: u64, records: &[Entry<'_>]) -> Vec<Entry<'t>> {
    let implied = |name: &str, kind, data: String| Entry { name: name.to_owned(), ttl, kind, data, node: None };
    let mut out = vec![implied("@", "NS", absolute(&server.fqdn))];
    if let Some(name) = server.fqdn.strip_suffix(zone).and_then(|n| n.strip_suffix('.'))
        && !records.iter().any(|r| r.name == name)
    {
        let addresses = [("A", server.ip), ("AAAA", server.ip6)];
        out.extend(addresses.into_iter().filter_map(|(kind, ip)| Some(implied(name, kind, ip?.to_owned()))));
    }
    out
}

/// An absolute name as it stands in the zone's file.
fn below<'n>(name: &'n str, zone: &str) -> &'n str {
    let head = name.len().checked_sub(zone.len()).filter(|i| name[*i..].eq_ignore_ascii_case(zone));
    match head {
        Some(0) => "@",
        Some(i) => name[..i].trim_end_matches('.'),
        None => name,
    }
}

/// The name of a record in its zone. Its node is called `NAME@TYPE`, for a name may have records of several types.
pub fn owner<'n>(zone: &Node, record: &'n Node) -> &'n str {
    match leaf(zone, record).split_once('@') {
        Some(("", _)) => "@",
        Some((name, _)) => name,
        None => leaf(zone, record),
    }
}

/// The record's data, once per literal value or address of its target.
pub fn values(
    survey: &Survey<'_>,
    zone: &Node,
    zone_name: &str,
    record: &Node,
    out: &mut Vec<String>,
    diagnostics: &mut Diagnostics,
) {
    let kind = record.text("type").unwrap_or_default();
    let priority = record.int("priority").unwrap_or(10);
    for value in record.values("values") {
        let text = match &value.value {
            Value::Text(t) => t.to_string(),
            Value::Int(i) => i.to_string(),
            _ => continue,
        };
        out.push(match kind {
            "MX" if text.contains(' ') => with_host_last(&text),
            "MX" => format!("{priority} {}", absolute(&text)),
            "NS" | "CNAME" | "PTR" => absolute(&text),
            "SRV" => with_host_last(&text),
            "TXT" => quoted(&text),
            _ => text,
        });
    }
    for target in refs(record, "to") {
        // A shared address stands for all members of a load balancer or a pair.
        let shared = match kind {
            "A" => Some("vip"),
            "AAAA" => Some("vip6"),
            _ => None,
        };
        let node = survey.topology.get(&target.kind, &target.name);
        if let Some(ip) = shared.and_then(|field| node?.text(field)) {
            out.push(ip.to_owned());
            continue;
        }
        let servers = targets(survey, target);
        if servers.is_empty() && target.kind != "namespace" {
            diagnostics.push(
                Diagnostic::error(
                    "E1013",
                    format!("record {} of zone {zone_name}: {target} is no server", owner(zone, record)),
                )
                .label(record.span, "points there")
                .help("point the record at a server, a pair or a load balancer with a vip, or write its value"),
            );
        }
        for server in servers {
            let data = match kind {
                "A" => server.ip.map(str::to_owned),
                "AAAA" => server.ip6.map(str::to_owned),
                "MX" => Some(format!("{priority} {}", absolute(&server.fqdn))),
                "NS" | "CNAME" | "PTR" => Some(absolute(&server.fqdn)),
                _ => None,
            };
            match data {
                Some(data) => out.push(data),
                None => diagnostics.push(
                    Diagnostic::error(
                        "E1013",
                        format!(
                            "record {} {kind} of zone {zone_name}: server {} has no such address",
                            owner(zone, record),
                            server.name
                        ),
                    )
                    .label(record.span, "points there")
                    .label(server.node.span, if kind == "AAAA" { "no ip6=" } else { "no ip=" }),
                ),
            }
        }
        if target.kind == "namespace" && matches!(kind, "CNAME" | "MX") {
            let name = absolute(&target.name);
            out.push(if kind == "MX" { format!("{priority} {name}") } else { name });
        }
    }
}

pub fn targets<'a, 't>(survey: &'a Survey<'t>, target: &NodeId) -> Vec<&'a Server<'t>> {
    let names: Vec<&str> = match target.kind.as_str() {
        "server" => vec![target.name.as_str()],
        "legacy" => survey.topology.get("legacy", &target.name).and_then(|l| l.text("server")).into_iter().collect(),
        _ => survey.hosts_of(target),
    };
    names.into_iter().filter_map(|n| survey.servers.get(n)).collect()
}

pub fn absolute(name: &str) -> String {
    if name.ends_with('.') || name == "@" { name.to_owned() } else { format!("{name}.") }
}

fn with_host_last(text: &str) -> String {
    match text.rsplit_once(' ') {
        Some((before, host)) => format!("{before} {}", absolute(host)),
        None => absolute(text),
    }
}

/// Strings of at most 255 octets (RFC 1035 3.3), quoted.
pub fn quoted(text: &str) -> String {
    let mut parts = vec![String::new()];
    for c in text.chars() {
        let escaped = match c {
            '"' => "\\\"".to_owned(),
            '\\' => "\\\\".to_owned(),
            c => c.to_string(),
        };
        // 250: an escape or a long character must not be cut.
        if parts.last().is_some_and(|p| p.len() + escaped.len() > 250) {
            parts.push(String::new());
        }
        if let Some(last) = parts.last_mut() {
            last.push_str(&escaped);
        }
    }
    parts.iter().map(|p| format!("\"{p}\"")).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_records_are_cut_and_quoted() {
        assert_eq!(quoted("v=spf1 -all"), "\"v=spf1 -all\"");
        assert_eq!(quoted("a\"b\\c"), "\"a\\\"b\\\\c\"");
        let long = quoted(&"x".repeat(600));
        assert!(long.split(' ').count() == 3 && long.split(' ').all(|p| p.len() <= 257), "{long}");
    }

    #[test]
    fn host_names_become_absolute() {
        assert_eq!(absolute("mail.acme.example"), "mail.acme.example.");
        assert_eq!(absolute("@"), "@");
        assert_eq!(with_host_last("10 20 993 mail.acme.example"), "10 20 993 mail.acme.example.");
    }
}
