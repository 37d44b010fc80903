//! Cuts and losses by nftables in the bridge family on this machine: outside of the hosts, by their addresses.
//!
//! Frames between two hosts pass the `forward` hook; between a host and this machine (and hosts of another subnet, which this
//! machine routes) `input` and `output`.

use std::fmt::Write as _;
use std::net::IpAddr;
use std::process::Command;

use super::Peer;
use crate::lab::record::{HostRecord, LabRecord};
use crate::lab::spec::gateway;
use crate::lab::{LabError, engine};

/// Tables of a lab start with this. The underscore ends the name and a name has none, so no lab's prefix is another's.
fn prefix(lab: &str) -> String {
    format!("cutover_lab_{}_", lab.replace('-', "."))
}

pub(super) fn table(lab: &str, id: &str) -> String {
    format!("{}{id}", prefix(lab))
}

pub(super) fn cut(record: &LabRecord, id: &str, host: &HostRecord, peer: &Peer) -> Result<(), LabError> {
    apply(record, id, host, peer, &["drop".to_owned()])
}

pub(super) fn thin(
    record: &LabRecord,
    id: &str,
    host: &HostRecord,
    peer: &Peer,
    loss_permille: u32,
    bytes_per_second: Option<u64>,
) -> Result<(), LabError> {
    if loss_permille > 1000 {
        return Err(LabError::Fault(format!("{loss_permille} of 1,000 packets cannot be lost")));
    }
    let mut verdicts = Vec::new();
    if loss_permille > 0 {
        verdicts.push(format!("numgen random mod 1000 < {loss_permille} drop"));
    }
    if let Some(rate) = bytes_per_second {
        // nftables knows bytes as a unit; the burst lets one full window of a slow link through.
        verdicts.push(format!("limit rate over {rate} bytes/second burst {} bytes drop", (rate / 4).max(3000)));
    }
    if verdicts.is_empty() {
        return Err(LabError::Fault("neither a loss nor a rate is given".into()));
    }
    apply(record, id, host, peer, &verdicts)
}

fn apply(record: &LabRecord, id: &str, host: &HostRecord, peer: &Peer, verdicts: &[String]) -> Result<(), LabError> {
    let matches = matches(&host.addresses, &peer_addresses(record, host, peer)?);
    nft(&ruleset(&table(&record.name, id), &matches, verdicts))
}

/// Addresses of the other end; empty for everyone.
pub(super) fn peer_addresses(record: &LabRecord, host: &HostRecord, peer: &Peer) -> Result<Vec<IpAddr>, LabError> {
    match peer {
        Peer::Everyone => Ok(Vec::new()),
        Peer::Machine => Ok(record.networks.iter().flat_map(|n| &n.subnets).map(gateway).collect()),
        Peer::Host(name) if *name == host.name => Err(LabError::Fault(format!("`{name}` has no link to itself"))),
        Peer::Host(name) => Ok(record.host(name)?.addresses.clone()),
    }
}

/// Both directions between each pair of addresses of one family.
fn matches(ours: &[IpAddr], theirs: &[IpAddr]) -> Vec<String> {
    let family = |a: &IpAddr| if a.is_ipv4() { "ip" } else { "ip6" };
    let mut lines = Vec::new();
    for a in ours {
        if theirs.is_empty() {
            lines.push(format!("{0} saddr {a}", family(a)));
            lines.push(format!("{0} daddr {a}", family(a)));
        }
        for b in theirs.iter().filter(|b| b.is_ipv4() == a.is_ipv4()) {
            lines.push(format!("{0} saddr {a} {0} daddr {b}", family(a)));
            lines.push(format!("{0} saddr {b} {0} daddr {a}", family(a)));
        }
    }
    lines
}

fn ruleset(table: &str, matches: &[String], verdicts: &[String]) -> String {
    let mut text = format!("table bridge {table} {{\n");
    for hook in ["forward", "input", "output"] {
        let _ = writeln!(text, "  chain {hook} {{\n    type filter hook {hook} priority -250; policy accept;");
        for line in matches {
            for verdict in verdicts {
                let _ = writeln!(text, "    {line} {verdict}");
            }
        }
        text.push_str("  }\n");
    }
    text.push_str("}\n");
    text
}

pub(super) fn heal(record: &LabRecord, id: &str) -> Result<(), LabError> {
    let table = table(&record.name, id);
    // Adding before deleting makes the deletion right whether or not the table is there.
    nft(&format!("add table bridge {table}\ndelete table bridge {table}\n"))
}

/// Deletes every table that faults of a lab left on this machine.
pub(super) fn remove_tables(lab: &str) -> Result<(), LabError> {
    let listed = match engine::run("listing nftables", Command::new("nft").args(["list", "tables"]), None) {
        Ok(listed) => listed,
        // Without nft no fault of a link was ever made.
        Err(LabError::Command { message, .. }) if message.contains("No such file") => return Ok(()),
        Err(e) => return Err(e),
    };
    let prefix = prefix(lab);
    // `table bridge NAME`
    for line in listed.lines().filter(|l| l.split_whitespace().nth(2).is_some_and(|name| name.starts_with(&prefix))) {
        nft(&format!("delete {line}\n"))?;
    }
    Ok(())
}

fn nft(script: &str) -> Result<(), LabError> {
    engine::run("nft", Command::new("nft").args(["-f", "-"]), Some(script.as_bytes())).map(drop).map_err(|e| match e {
        LabError::Command { message, .. } if message.contains("No such file or directory (os error") => {
            LabError::NoTool { tool: "nft", package: "nftables" }
        }
        other => other,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_directions_and_families_are_matched_and_never_mixed() {
        let address = |s: &str| s.parse::<IpAddr>().unwrap();
        let lines = matches(&[address("10.0.0.1"), address("fd00::1")], &[address("10.0.0.2"), address("fd00::2")]);
        assert_eq!(
            lines,
            [
                "ip saddr 10.0.0.1 ip daddr 10.0.0.2",
                "ip saddr 10.0.0.2 ip daddr 10.0.0.1",
                "ip6 saddr fd00::1 ip6 daddr fd00::2",
                "ip6 saddr fd00::2 ip6 daddr fd00::1"
            ]
        );
        assert_eq!(matches(&[address("10.0.0.1")], &[]), ["ip saddr 10.0.0.1", "ip daddr 10.0.0.1"]);
    }

    #[test]
    fn no_lab_takes_another_ones_tables_for_its_own() {
        assert!(!table("acme-lab-2", "f1").starts_with(&prefix("acme-lab")));
        assert!(!table("acme-2dlab", "f1").starts_with(&prefix("acme")));
        assert!(table("acme-lab", "f12").starts_with(&prefix("acme-lab")));
    }
}
