//! What name servers serve, beside what the topology wants.

use std::fmt::Write as _;

use serde::Serialize;

use super::style::{Paint, counted, one_line};
use crate::model::dns::RecordSet;

/// What `dns verify` or `dns diff` found in one zone.
#[derive(Debug, Clone, PartialEq, Serialize, schemars::JsonSchema)]
pub struct ZoneReport {
    pub zone: String,
    pub view: String,
    /// Record sets that the topology names.
    pub wanted: usize,
    /// Highest serial seen.
    pub serial: Option<u32>,
    pub servers: Vec<ServerReport>,
}

/// What one address of one name server said over one link.
#[derive(Debug, Clone, PartialEq, Serialize, schemars::JsonSchema)]
pub struct ServerReport {
    pub server: String,
    /// Address and port.
    pub address: String,
    /// `UDP`, `TCP` or `AXFR`.
    pub link: String,
    pub serial: Option<u32>,
    /// It serves an older serial than another server of the zone.
    pub lags: bool,
    pub differences: Vec<SetDifference>,
    /// Sets of the zone that the topology does not name, where the whole zone was read. They are not ours.
    pub foreign: Option<usize>,
    /// Why it could not be asked; what it serves is then not known.
    pub error: Option<String>,
}

/// A record set that is not served as wanted.
#[derive(Debug, Clone, PartialEq, Serialize, schemars::JsonSchema)]
pub struct SetDifference {
    pub name: String,
    #[serde(rename = "type")]
    pub kind: String,
    pub wanted: SetShown,
    /// `null`: not there.
    pub served: Option<SetShown>,
    /// What the server said instead, as in `NXDOMAIN`.
    pub said: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Serialize, schemars::JsonSchema)]
pub struct SetShown {
    /// Seconds.
    pub ttl: u32,
    pub data: Vec<String>,
}

impl From<&RecordSet> for SetShown {
    fn from(set: &RecordSet) -> Self {
        Self { ttl: set.ttl, data: set.data.iter().cloned().collect() }
    }
}

impl ZoneReport {
    pub fn differs(&self) -> bool {
        self.servers.iter().any(|s| s.lags || !s.differences.is_empty())
    }

    pub fn unasked(&self) -> usize {
        self.servers.iter().filter(|s| s.error.is_some()).count()
    }
}

/// For people: one block a zone, one line a server and link, the differences below it.
pub fn zones_text(zones: &[ZoneReport], paint: Paint) -> String {
    let mut out = String::new();
    for zone in zones {
        let view = if zone.view == "both" { String::new() } else { format!(", view {}", zone.view) };
        let _ = writeln!(out, "{}{view}: {}", paint.bold(&zone.zone), counted(zone.wanted, "record set"));
        let width = |f: fn(&ServerReport) -> usize| zone.servers.iter().map(f).max().unwrap_or(0);
        let (name, address) = (width(|s| s.server.len()), width(|s| s.address.len()));
        for s in &zone.servers {
            let at = format!("  {:name$}  {:address$}  {:4}", s.server, s.address, s.link);
            let _ = writeln!(out, "{at}  {}", verdict(zone, s, paint));
            for d in &s.differences {
                let _ = writeln!(out, "      {} {}", d.name, d.kind);
                let _ = writeln!(out, "        wanted  {}", shown(&d.wanted));
                let served =
                    d.served.as_ref().map_or_else(|| d.said.clone().unwrap_or_else(|| "nothing".into()), shown);
                let _ = writeln!(out, "        served  {}", paint.red(&one_line(&served)));
            }
        }
    }
    out
}

fn verdict(zone: &ZoneReport, s: &ServerReport, paint: Paint) -> String {
    if let Some(error) = &s.error {
        return paint.red(&format!("could not be asked: {error}"));
    }
    let mut words = vec![s.serial.map_or_else(|| "no serial".to_owned(), |n| format!("serial {n}"))];
    if s.lags {
        let newest = zone.serial.map_or(String::new(), |n| format!(", the newest is {n}"));
        words.push(paint.yellow(&format!("lags{newest}")));
    }
    match s.differences.len() {
        0 => words.push(paint.green("as wanted")),
        n => words.push(paint.red(&format!("{} not as wanted", counted(n, "set")))),
    }
    if let Some(n) = s.foreign {
        words.push(format!("{} of others, untouched", counted(n, "set")));
    }
    words.join(", ")
}

fn shown(set: &SetShown) -> String {
    format!("{}  ({} s)", set.data.join(" | "), set.ttl)
}
