//! The lab's networks: one bridge a subnet pair, without the engine's DNS (hosts know each other by /etc/hosts).

use super::engine::{Engine, EngineKind};
use super::progress::Progress;
use super::record::NetworkRecord;
use super::spec::{LabSpec, gateway};
use super::{LAB_LABEL, LabError};

/// Whether this machine has IPv6 at all.
pub(crate) fn has_ipv6() -> bool {
    std::fs::read_to_string("/proc/sys/net/ipv6/conf/all/disable_ipv6").is_ok_and(|v| v.trim() == "0")
}

pub(crate) fn name(lab: &str, network: &str) -> String {
    format!("cutover-{lab}-{network}")
}

/// Makes the networks that are not there.
pub(crate) fn ensure(engine: &Engine, spec: &LabSpec, progress: Progress<'_>) -> Result<Vec<NetworkRecord>, LabError> {
    let existing = engine.call("listing networks", ["network", "ls", "--format", "{{.Name}}"])?;
    let mut made = Vec::new();
    for network in &spec.networks {
        let subnets: Vec<_> = network.subnets.iter().copied().filter(|s| has_ipv6() || s.addr().is_ipv4()).collect();
        let record = NetworkRecord { network: name(&spec.name, &network.name), subnets };
        if !existing.lines().any(|l| l == record.network) {
            create(engine, &spec.name, &record)?;
            let shown: Vec<String> = record.subnets.iter().map(|s| s.to_string()).collect();
            progress.step(&format!("network {} {}", network.name, shown.join(" ")));
        }
        made.push(record);
    }
    Ok(made)
}

fn create(engine: &Engine, lab: &str, record: &NetworkRecord) -> Result<(), LabError> {
    let mut args: Vec<String> = ["network", "create", "--label"].map(String::from).into();
    args.push(format!("{LAB_LABEL}={lab}"));
    if engine.kind == EngineKind::Podman {
        args.push("--disable-dns".into());
    }
    if record.subnets.iter().any(|s| s.addr().is_ipv6()) {
        args.push("--ipv6".into());
    }
    for subnet in &record.subnets {
        args.extend(["--subnet".into(), subnet.to_string(), "--gateway".into(), gateway(subnet).to_string()]);
    }
    args.push(record.network.clone());
    match engine.call(&format!("making network {}", record.network), args) {
        Ok(_) => Ok(()),
        // The words of Podman and of Docker.
        Err(LabError::Command { message, .. })
            if message.contains("already used") || message.contains("overlaps with other") =>
        {
            let subnets = record.subnets.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
            Err(LabError::Network { subnets, message })
        }
        Err(other) => Err(other),
    }
}

/// Removes every network of a lab.
pub(crate) fn remove_all(engine: &Engine, lab: &str) -> Result<usize, LabError> {
    let filter = format!("label={LAB_LABEL}={lab}");
    let listed = engine.call("listing networks", ["network", "ls", "--filter", &filter, "--format", "{{.Name}}"])?;
    let names: Vec<&str> = listed.lines().filter(|l| !l.is_empty()).collect();
    for name in &names {
        engine.call(&format!("removing network {name}"), ["network", "rm", name])?;
    }
    Ok(names.len())
}
