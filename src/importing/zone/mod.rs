//! A zone file as a `zone` with its records. Lines are split here, so that one mistake does not hide the next; data is judged by
//! the `domain` crate, one record at a time.

mod record;

use std::collections::BTreeMap;
use std::path::Path;

use super::Imported;
use super::foreign::Foreign;
use super::quoting::{comment, quoted, word};
use crate::model::SourceId;
use crate::model::unit::format_duration;
use record::Record;

const CODE: &str = "E1304";

#[derive(Debug, Clone, Default)]
pub struct ZoneOptions {
    /// Name of the zone where the file has neither `$ORIGIN` nor a full name.
    pub name: Option<String>,
    /// A provider that the topology has.
    pub provider: Option<String>,
    /// `public`, `internal` or `both`.
    pub view: Option<String>,
}

pub fn import(f: &mut Foreign, id: SourceId, path: &Path, options: &ZoneOptions) -> Option<Imported> {
    let mut reader = record::Reader::new(options.name.as_deref());
    reader.file(f, id, path, 0);
    let (records, left_out) = (reader.records, reader.left_out);
    let Some(zone) = options.name.clone().map(|n| n.trim_end_matches('.').to_ascii_lowercase()).or(reader.apex) else {
        f.wrong(CODE, f.line(id, 1), "the name of the zone is not said", "say it: --name acme.example");
        return None;
    };
    for r in &records {
        if r.owner != zone && !r.owner.ends_with(&format!(".{zone}")) {
            let message = format!("{} does not lie in the zone {zone}", comment(&r.owner));
            f.wrong(CODE, r.place, message, "a name without a dot at its end lies below $ORIGIN");
        }
    }
    if records.is_empty() {
        f.wrong(CODE, f.line(id, 1), "there are no records", "name the file of the zone");
    }
    let ttl = reader.default_ttl.unwrap_or_else(|| usual(&records));
    let mut kdl = String::new();
    let provider = options.provider.clone().unwrap_or_else(|| "imported".into());
    if options.provider.is_none() {
        kdl +=
            "// Say who writes the zone: rfc2136, zone-file, powerdns, cloudflare, route53; with manual, people do.\n";
        kdl += "dns-provider imported type=manual\n\n";
    }
    kdl += &format!("zone {} provider={}", word(&zone), word(&provider));
    if let Some(view) = &options.view {
        kdl += &format!(" view={}", word(view));
    }
    kdl += &format!(" ttl=\"{}\" {{\n", duration(ttl));
    // Values of one name and type stand together, in the order of the file.
    let mut at: BTreeMap<(&str, &str, u32, Option<u16>), usize> = BTreeMap::new();
    let mut lines: Vec<(&Record, Vec<&str>)> = Vec::new();
    for r in &records {
        let key = (r.owner.as_str(), r.kind.as_str(), r.ttl, r.priority);
        match at.get(&key).filter(|_| !matches!(r.kind.as_str(), "TXT" | "CNAME")) {
            Some(i) => lines[*i].1.push(&r.value),
            None => {
                at.insert(key, lines.len());
                lines.push((r, vec![&r.value]));
            }
        }
    }
    for (r, values) in &lines {
        let name = r.owner.strip_suffix(&zone).map_or(r.owner.as_str(), |n| n.trim_end_matches('.'));
        let name = if name.is_empty() { "\"@\"".to_owned() } else { word(name) };
        let list: Vec<String> = values.iter().map(|v| word(v)).collect();
        kdl += &format!("record {name} {} {}", r.kind, list.join(" "));
        if let Some(p) = r.priority {
            kdl += &format!(" priority={p}");
        }
        if r.ttl != ttl {
            kdl += &format!(" ttl=\"{}\"", duration(r.ttl));
        }
        kdl.push('\n');
    }
    kdl += "}\n";
    if !left_out.is_empty() {
        kdl += "\n// Left out, and left alone in the zone as cutover owns only what it names:\n";
        for (what, count) in &left_out {
            kdl += &format!("//   {} ({count})\n", comment(what));
        }
    }
    let summary = format!("{} records of {zone}", records.len());
    Some(Imported { kdl, files: BTreeMap::new(), summary })
}

fn duration(seconds: u32) -> String {
    format_duration(std::time::Duration::from_secs(seconds.into()))
}

/// The TTL that most records have.
fn usual(records: &[Record]) -> u32 {
    let mut counts: BTreeMap<u32, usize> = BTreeMap::new();
    records.iter().for_each(|r| *counts.entry(r.ttl).or_default() += 1);
    counts.into_iter().max_by_key(|(_, n)| *n).map_or(3600, |(ttl, _)| ttl)
}

/// For messages.
fn shown(text: &str) -> String {
    quoted(text).trim_matches('"').to_owned()
}
