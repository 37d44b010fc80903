//! A CSV with one server a line.

use std::collections::BTreeMap;

use super::Imported;
use super::foreign::Foreign;
use super::quoting::{name, quoted, word};
use super::server::{self, Server, ServerOptions, identity};
use crate::model::unit::parse_size;
use crate::model::{SourceId, Span};
use crate::people::plain_header;

const CODE: &str = "E1303";

/// Field of a server, and the headers that are taken for it.
const HEADERS: [(&str, &[&str]); 14] = [
    ("name", &["name", "host", "hostname", "server", "servername", "computer", "computername"]),
    ("fqdn", &["fqdn", "dns", "dnsname"]),
    ("ip", &["ip", "ipv4", "address", "ipaddress", "ipv4address"]),
    ("ip6", &["ip6", "ipv6", "ipv6address"]),
    ("site", &["site", "location", "datacenter", "datacentre", "adsite"]),
    ("platform", &["platform"]),
    ("roles", &["roles", "role", "serverrole", "serverroles"]),
    ("labels", &["labels", "label", "tags", "tag"]),
    ("connection", &["connection"]),
    ("subnet", &["subnet"]),
    ("hardware", &["hardware"]),
    ("os", &["os", "operatingsystem"]),
    ("cpu", &["cpu", "cpus", "cores", "vcpu"]),
    ("memory", &["memory", "ram"]),
];

pub fn import(f: &mut Foreign, id: SourceId, options: &ServerOptions) -> Option<Imported> {
    let table = read(f, id, CODE)?;
    let mut columns: BTreeMap<&str, usize> = BTreeMap::new();
    for (field, header) in &options.columns {
        let known = HEADERS.iter().find(|(n, _)| n == field);
        let at = table.headers.iter().position(|h| h.eq_ignore_ascii_case(header));
        match (known, at) {
            (Some((field, _)), Some(at)) => drop(columns.insert(field, at)),
            (None, _) => {
                let fields: Vec<&str> = HEADERS.iter().map(|(n, _)| *n).collect();
                let help = format!("fields are {}", fields.join(", "));
                f.wrong(
                    CODE,
                    table.header,
                    format!("--column names the field `{field}`, which servers do not have"),
                    help,
                );
            }
            (_, None) => {
                let help = format!("headers are {}", table.headers.join(", "));
                f.wrong(CODE, table.header, format!("there is no column `{header}`"), help);
            }
        }
    }
    for (field, names) in HEADERS {
        if !columns.contains_key(field)
            && let Some(at) = table.headers.iter().position(|h| names.contains(&plain_header(h).as_str()))
        {
            columns.insert(field, at);
        }
    }
    if !columns.contains_key("name") {
        let help = "call it `name`, or say which it is: --column name=HEADER";
        f.wrong(CODE, table.header, "no column holds the name of the server", help);
        return None;
    }
    let left_out: Vec<String> = table
        .headers
        .iter()
        .enumerate()
        .filter(|(i, _)| !columns.values().any(|c| c == i))
        .map(|(_, h)| format!("column {h}"))
        .collect();
    let mut servers: Vec<Server> = Vec::new();
    for (place, row) in &table.rows {
        let get = |field: &str| {
            let text = columns.get(field).and_then(|i| row.get(*i)).map(|t| t.trim()).unwrap_or_default();
            (!text.is_empty()).then(|| text.to_owned())
        };
        let Some(host) = get("name") else {
            f.wrong(CODE, *place, "this line has no name", "give the server a name, or take the line out");
            continue;
        };
        let (label, fqdn, address) = identity(&host);
        let list = |field: &str| -> Vec<String> {
            let text = get(field).unwrap_or_default();
            text.split([' ', ',', ';', '|', '+', '/']).filter(|w| !w.is_empty()).map(str::to_ascii_lowercase).collect()
        };
        let mut more: Vec<(String, String)> = Vec::new();
        for field in ["subnet", "hardware"] {
            more.extend(get(field).map(|v| (field.to_owned(), word(&name(&v)))));
        }
        more.extend(get("os").map(|v| ("os".to_owned(), quoted(&v))));
        if let Some(v) = get("cpu") {
            match v.parse::<u32>() {
                Ok(n) => more.push(("cpu".into(), n.to_string())),
                Err(_) => f.wrong(CODE, *place, format!("cpu `{v}` is no whole number"), "as in 8"),
            }
        }
        if let Some(v) = get("memory") {
            match size(&v) {
                Some(v) => more.push(("memory".into(), quoted(&v))),
                None => f.wrong(CODE, *place, format!("memory `{v}` has no unit"), "as in 64GiB, 64 GB or 512MiB"),
            }
        }
        let mut roles = list("roles");
        roles.retain(|r| {
            let known = options.known_roles.is_empty() || options.known_roles.contains(r);
            if !known {
                let all: Vec<&str> = options.known_roles.iter().map(String::as_str).collect();
                f.wrong(CODE, *place, format!("no role is called `{r}`"), format!("roles are {}", all.join(", ")));
            }
            known
        });
        servers.push(Server {
            name: label,
            fqdn: get("fqdn").map(|n| n.trim_end_matches('.').to_ascii_lowercase()).or(fqdn),
            ip: get("ip").or_else(|| address.filter(|a| a.is_ipv4()).map(|a| a.to_string())),
            ip6: get("ip6").or_else(|| address.filter(|a| a.is_ipv6()).map(|a| a.to_string())),
            site: get("site").map(|s| name(&s)),
            platform: get("platform").map(|p| name(&p)),
            roles,
            labels: list("labels").iter().map(|l| name(l)).collect(),
            named_connection: get("connection").map(|c| name(&c)),
            connection: None,
            more,
            place: *place,
        });
    }
    server::write(f, CODE, &mut servers, &left_out, options)
}

/// A size of the language out of `64 GB`, `64GiB`, `512 MiB`.
fn size(text: &str) -> Option<String> {
    let joined: String = text.chars().filter(|c| !c.is_whitespace()).collect();
    parse_size(&joined).map(|_| joined)
}

/// A CSV with its places.
pub struct Table {
    pub headers: Vec<String>,
    pub header: Span,
    pub rows: Vec<(Span, csv::StringRecord)>,
}

/// Reads a CSV whole (RFC 4180; `,`, `;` or tab, whichever the header has most of). `None`: reported.
pub fn read(f: &mut Foreign, id: SourceId, code: &'static str) -> Option<Table> {
    let text = f.text(id);
    let first = text.lines().next().unwrap_or_default();
    let count = |c: char| first.matches(c).count();
    let delimiter = [',', ';', '\t'].into_iter().max_by_key(|c| (count(*c), *c == ',')).unwrap_or(',');
    let mut reader =
        csv::ReaderBuilder::new().delimiter(delimiter as u8).trim(csv::Trim::All).from_reader(text.as_bytes());
    let header = f.line(id, 1);
    let headers: Vec<String> = match reader.headers() {
        Ok(h) if !h.iter().all(str::is_empty) => h.iter().map(str::to_owned).collect(),
        Ok(_) => {
            f.wrong(code, header, "the file is empty", "its first line names the columns");
            return None;
        }
        Err(e) => {
            f.wrong(code, header, format!("the header cannot be read: {e}"), "its first line names the columns");
            return None;
        }
    };
    let lines = line_starts(&text);
    let mut rows = Vec::new();
    for record in reader.into_records() {
        let line = |p: Option<&csv::Position>| {
            let at = p.map_or(1, |p| p.line() as usize).clamp(1, lines.len());
            let end = lines.get(at).copied().unwrap_or(text.len());
            let start = lines.get(at - 1).copied().unwrap_or(0);
            Span { source: id, offset: start, len: text[start..end].trim_end().len() }
        };
        match record {
            Ok(r) if r.iter().all(str::is_empty) => {}
            Ok(r) => rows.push((line(r.position()), r)),
            Err(e) => {
                let message = match e.kind() {
                    csv::ErrorKind::UnequalLengths { expected_len, len, .. } => {
                        format!("{len} values under {expected_len} headers")
                    }
                    _ => e.to_string(),
                };
                let place = line(e.position());
                f.wrong(code, place, message, "a value that holds the separator stands in quotes");
            }
        }
    }
    if rows.is_empty() {
        f.wrong(code, header, "there is nothing below the header", "one line for each");
        return None;
    }
    Some(Table { headers, header, rows })
}

fn line_starts(text: &str) -> Vec<usize> {
    std::iter::once(0).chain(text.match_indices('\n').map(|(i, _)| i + 1)).collect()
}
