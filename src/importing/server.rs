//! Servers as lines of KDL; neighbours that differ in a number only become one range.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use super::Imported;
use super::foreign::Foreign;
use super::quoting::{comment, name, word};
use crate::model::Span;

/// What an inventory does not say.
#[derive(Debug, Clone, Default)]
pub struct ServerOptions {
    /// Site and platform of every server that names none.
    pub site: Option<String>,
    pub platform: Option<String>,
    /// Roles of every server that no group or column gives any.
    pub roles: Vec<String>,
    /// Roles by the name of an Ansible group.
    pub group_roles: BTreeMap<String, Vec<String>>,
    /// Header of a CSV by the field that it stands for.
    pub columns: BTreeMap<String, String>,
    /// The roles of the language: groups of these names give them.
    pub known_roles: BTreeSet<String>,
    /// Write no sites, platforms and connections: the topology has them.
    pub servers_only: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Connection {
    pub transport: Option<String>,
    pub user: Option<String>,
    pub port: Option<u16>,
    pub key: Option<String>,
    pub become_method: Option<String>,
    pub become_password: bool,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Server {
    pub name: String,
    pub fqdn: Option<String>,
    pub ip: Option<String>,
    pub ip6: Option<String>,
    pub site: Option<String>,
    pub platform: Option<String>,
    pub roles: Vec<String>,
    pub labels: Vec<String>,
    /// Name of a connection that the topology has, or a new one.
    pub named_connection: Option<String>,
    pub connection: Option<Connection>,
    /// Further fields, the value as KDL.
    pub more: Vec<(String, String)>,
    pub place: Span,
}

/// Servers out of an inventory, checked: host names, no doubles, roles. `None` and reports otherwise.
pub fn write(
    f: &mut Foreign,
    code: &'static str,
    servers: &mut [Server],
    left_out: &[String],
    options: &ServerOptions,
) -> Option<Imported> {
    let before: BTreeMap<String, Span> = BTreeMap::new();
    check(f, code, servers, before, options);
    let site = options.site.clone().unwrap_or_else(|| "imported".into());
    let platform = options.platform.clone().unwrap_or_else(|| "imported".into());
    for s in servers.iter_mut() {
        s.site.get_or_insert_with(|| site.clone());
        s.platform.get_or_insert_with(|| platform.clone());
        if s.roles.is_empty() {
            s.roles.clone_from(&options.roles);
        }
    }
    servers.sort_by_cached_key(|s| natural(&s.name));
    let connections = connections(servers);
    let mut kdl = String::new();
    if !options.servers_only {
        let of = |get: fn(&Server) -> Option<&String>| servers.iter().filter_map(get).collect::<BTreeSet<_>>();
        for site in of(|s| s.site.as_ref()) {
            kdl += &format!("site {}\n", word(site));
        }
        for platform in of(|s| s.platform.as_ref()) {
            kdl += &format!(
                "// Say what these hosts run, for example postfix=\"3.7\" dovecot=\"2.3\" or exchange=\"2010\".\nplatform {} {{ product unknown \"0\"; }}\n",
                word(platform)
            );
        }
        kdl.push('\n');
        for (c, name) in &connections {
            kdl += &connection(c, name);
        }
        for named in of(|s| s.named_connection.as_ref()) {
            kdl += &format!("connection {}\n", word(named));
        }
        kdl.push('\n');
    }
    let mut lines = 0;
    for run in runs(servers, &connections) {
        kdl += &line(run, &connections);
        lines += 1;
    }
    if !left_out.is_empty() {
        kdl += "\n// Left out:\n";
        for note in left_out {
            kdl += &format!("//   {}\n", comment(note));
        }
    }
    let summary = format!("{} servers in {lines} nodes", servers.len());
    Some(Imported { kdl, files: BTreeMap::new(), summary })
}

fn check(
    f: &mut Foreign,
    code: &'static str,
    servers: &[Server],
    mut seen: BTreeMap<String, Span>,
    options: &ServerOptions,
) {
    let mut bare: Vec<&Server> = Vec::new();
    for s in servers {
        let label = !s.name.is_empty()
            && s.name.len() <= 63
            && !s.name.starts_with('-')
            && !s.name.ends_with('-')
            && s.name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-');
        if !label {
            let help = "a host name holds a to z, 0 to 9 and `-`, at most 63 of them (RFC 1123)";
            f.wrong(code, s.place, format!("`{}` cannot name a server", s.name), help);
        }
        if let Some(first) = seen.get(&s.name) {
            let d = crate::model::Diagnostic::error(code, format!("two servers would be called `{}`", s.name))
                .label(s.place, "again here")
                .label(*first, "first here")
                .help("the name is the first label of the host's name; rename one");
            f.report(d);
        }
        seen.entry(s.name.clone()).or_insert(s.place);
        if s.roles.is_empty() && options.roles.is_empty() {
            bare.push(s);
        }
        for (value, v6) in [(&s.ip, false), (&s.ip6, true)] {
            if let Some(ip) = value
                && !ip.parse::<IpAddr>().is_ok_and(|a| a.is_ipv6() == v6 || !v6)
            {
                f.wrong(code, s.place, format!("`{ip}` is no IP address"), "as in 192.0.2.10 or 2001:db8::10");
            }
        }
    }
    if let Some(first) = bare.first() {
        let names: Vec<&str> = bare.iter().take(3).map(|s| s.name.as_str()).collect();
        let more = if bare.len() > 3 { format!(" and {} more", bare.len() - 3) } else { String::new() };
        f.wrong(
            code,
            first.place,
            format!("no role for {}{more}", names.join(", ")),
            "say what they do: --roles imap,smtp for all without one, --role GROUP=ROLE,ROLE for an Ansible group",
        );
    }
}

/// Connections by what they say, with a name each.
fn connections(servers: &[Server]) -> BTreeMap<Connection, String> {
    let mut out: BTreeMap<Connection, String> = BTreeMap::new();
    let all: BTreeSet<&Connection> = servers.iter().filter_map(|s| s.connection.as_ref()).collect();
    for c in all {
        let base = c.user.as_deref().map_or("ssh".into(), name);
        let taken = |n: &str| out.values().any(|o| o == n);
        let mut free = base.clone();
        let mut count = 1;
        while taken(&free) {
            count += 1;
            free = format!("{base}-{count}");
        }
        out.insert(c.clone(), free);
    }
    out
}

fn connection(c: &Connection, name: &str) -> String {
    let mut line = format!("connection {}", word(name));
    if let Some(t) = &c.transport {
        line += &format!(" transport={t}");
    }
    if let Some(u) = &c.user {
        line += &format!(" user={}", word(u));
    }
    if let Some(p) = c.port {
        line += &format!(" port={p}");
    }
    if let Some(k) = &c.key {
        line += &format!(" key=(secret){}", word(&format!("file:{k}")));
    }
    if let Some(b) = &c.become_method {
        line += &format!(" become={b}");
    }
    if c.become_password {
        let upper = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' };
        let variable: String = name.chars().map(upper).collect();
        line = format!(
            "// Its password stood in the inventory and was not copied: give it in the variable that is named.\n{line} become-password=(secret)\"env:{variable}_BECOME_PASSWORD\""
        );
    }
    line + "\n"
}

/// `mbx-2` before `mbx-10`; numbers of one width stand together, so that `08`, `09`, `10` do.
fn natural(text: &str) -> Vec<(String, usize, u64)> {
    let mut out = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let at = rest.find(|c: char| c.is_ascii_digit()).unwrap_or(rest.len());
        let (letters, tail) = rest.split_at(at);
        let end = tail.find(|c: char| !c.is_ascii_digit()).unwrap_or(tail.len());
        out.push((letters.to_owned(), end, tail[..end].parse().unwrap_or(u64::MAX)));
        rest = &tail[end..];
    }
    out
}

/// The last number of a text: what stands before it, its digits, what stands behind.
fn split(text: &str) -> Option<(&str, &str, &str)> {
    let end = text.rfind(|c: char| c.is_ascii_digit())? + 1;
    let start = text[..end].rfind(|c: char| !c.is_ascii_digit()).map_or(0, |i| i + 1);
    Some((&text[..start], &text[start..end], &text[end..]))
}

/// The digits that follow in a range which began with `first`: padded as it is.
fn follows(first: &str, by: u64) -> Option<String> {
    let n = first.parse::<u64>().ok()?.checked_add(by)?;
    let padded = first.len() > 1 && first.starts_with('0');
    Some(if padded { format!("{n:0width$}", width = first.len()) } else { n.to_string() })
}

/// An address with its last part counted up, where that part is decimal and stays one octet.
fn address_follows(first: &str, by: u64) -> Option<String> {
    let at = first.rfind(['.', ':'])? + 1;
    let last = &first[at..];
    let n = last.parse::<u64>().ok()?.checked_add(by)?;
    let most = if first.contains(':') { 9999 } else { 255 };
    (n <= most && (last == "0" || !last.starts_with('0'))).then(|| format!("{}{n}", &first[..at]))
}

/// Neighbours that one range can name.
fn runs<'s>(servers: &'s [Server], connections: &BTreeMap<Connection, String>) -> Vec<&'s [Server]> {
    let mut out = Vec::new();
    let mut start = 0;
    for end in 1..=servers.len() {
        if end == servers.len() || !continues(&servers[start], &servers[end], (end - start) as u64, connections) {
            out.push(&servers[start..end]);
            start = end;
        }
    }
    out
}

fn continues(first: &Server, next: &Server, by: u64, connections: &BTreeMap<Connection, String>) -> bool {
    let Some((before, digits, after)) = split(&first.name) else { return false };
    let named = follows(digits, by).is_some_and(|d| format!("{before}{d}{after}") == next.name);
    let address = |a: &Option<String>, b: &Option<String>| match (a, b) {
        (None, None) => true,
        (Some(a), Some(b)) => address_follows(a, by).as_ref() == Some(b),
        _ => false,
    };
    let domain = |s: &Server| s.fqdn.as_ref().map(|f| f.strip_prefix(&s.name).map(str::to_owned));
    let fqdn = match (domain(first), domain(next)) {
        (None, None) => true,
        (Some(Some(a)), Some(Some(b))) => a == b,
        _ => false,
    };
    let via = |s: &Server| s.connection.as_ref().and_then(|c| connections.get(c)).cloned();
    named
        && fqdn
        && address(&first.ip, &next.ip)
        && address(&first.ip6, &next.ip6)
        && (&first.site, &first.platform, &first.roles, &first.labels, &first.named_connection, &first.more)
            == (&next.site, &next.platform, &next.roles, &next.labels, &next.named_connection, &next.more)
        && via(first) == via(next)
}

fn line(run: &[Server], connections: &BTreeMap<Connection, String>) -> String {
    let (Some(first), Some(last)) = (run.first(), run.last()) else { return String::new() };
    let one = run.len() == 1;
    let range = |a: &str, b: &str| format!("[{a}:{b}]");
    let mut out = "server ".to_owned();
    let mut fqdn = first.fqdn.clone().map(|f| word(&f));
    match (split(&first.name), split(&last.name)) {
        (Some((before, a, after)), Some((_, b, _))) if !one => {
            out += &format!("\"{before}{}{after}\"", range(a, b));
            let place = if after.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_') { "${1}" } else { "$1" };
            fqdn = first
                .fqdn
                .as_ref()
                .and_then(|f| f.strip_prefix(&first.name))
                .map(|domain| format!("\"{before}{place}{after}{domain}\""));
        }
        _ => out += &word(&first.name),
    }
    for (field, value) in [("platform", &first.platform), ("site", &first.site)] {
        if let Some(v) = value {
            out += &format!(" {field}={}", word(v));
        }
    }
    let via = first.connection.as_ref().and_then(|c| connections.get(c)).or(first.named_connection.as_ref());
    if let Some(c) = via {
        out += &format!(" connection={}", word(c));
    }
    for (field, a, b) in [("ip", &first.ip, &last.ip), ("ip6", &first.ip6, &last.ip6)] {
        if let (Some(a), Some(b)) = (a, b) {
            let at = a.rfind(['.', ':']).map_or(0, |i| i + 1);
            let value = if one { a.clone() } else { format!("{}{}", &a[..at], range(&a[at..], &b[at..])) };
            out += &format!(" {field}=\"{value}\"");
        }
    }
    if let Some(f) = fqdn {
        out += &format!(" fqdn={f}");
    }
    for (field, value) in &first.more {
        out += &format!(" {field}={value}");
    }
    let words = |list: &[String]| list.iter().map(|w| word(w)).collect::<Vec<_>>().join(" ");
    out += &format!(" {{ roles {}; ", words(&first.roles));
    if !first.labels.is_empty() {
        out += &format!("labels {}; ", words(&first.labels));
    }
    out + "}\n"
}

/// Host of an inventory to name and domain: `mbx-01.acme.example` is `mbx-01` with that fqdn, an address names nothing by itself.
pub fn identity(host: &str) -> (String, Option<String>, Option<IpAddr>) {
    if let Ok(ip) = host.parse::<IpAddr>() {
        let name: String =
            host.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' }).collect();
        return (format!("host-{}", name.trim_matches('-')), None, Some(ip));
    }
    let host = host.trim_end_matches('.').to_ascii_lowercase();
    let label = host.split('.').next().unwrap_or_default().replace('_', "-");
    let fqdn = host.contains('.').then(|| host.clone());
    (label, fqdn, None)
}
