//! Slow links: one relay process of ours in the network of each end, which holds back the TCP connections that start there.
//!
//! Each end relays only what it opens itself, so the other end sees the right source address and its firewall the right port.

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::{ActiveFault, Peer, RelayProcess, Scene};
use crate::lab::LabError;
use crate::lab::record::{HostRecord, LabRecord};
use crate::lab::relay::{READY, RelayArgs, WORD};

use super::link::{peer_addresses, table};

/// Starts the relays of one fault. On failure those that run already are stopped.
pub(super) fn start(
    scene: &Scene<'_>,
    id: &str,
    host: &HostRecord,
    peer: &Peer,
    delay: Duration,
) -> Result<Vec<RelayProcess>, LabError> {
    let record = scene.record;
    let there = peer_addresses(record, host, peer)?;
    let mut relays = Vec::new();
    let mut ends = vec![(Some(host), there)];
    match peer {
        Peer::Host(name) => ends.push((Some(record.host(name)?), host.addresses.clone())),
        Peer::Machine => ends.push((None, host.addresses.clone())),
        Peer::Everyone => {
            let others = record.hosts.iter().filter(|h| h.name != host.name);
            ends.extend(others.map(|h| (Some(h), host.addresses.clone())));
            ends.push((None, host.addresses.clone()));
        }
    }
    for (end, to) in ends {
        let args = RelayArgs {
            lab: record.name.clone(),
            table: table(&record.name, id),
            delay,
            to,
            while_exists: scene.dir.join("lab.json"),
        };
        match spawn(scene, end, &args) {
            Ok(relay) => relays.push(relay),
            Err(e) => {
                relays.iter().for_each(end_process);
                return Err(e);
            }
        }
    }
    Ok(relays)
}

fn spawn(scene: &Scene<'_>, end: Option<&HostRecord>, args: &RelayArgs) -> Result<RelayProcess, LabError> {
    let relay = scene.relay;
    let mut command = match end {
        Some(host) => {
            let pid = scene
                .record
                .engine
                .pid(&host.container)
                .ok_or_else(|| LabError::NotRunning { host: host.name.clone(), state: "not running".into() })?;
            let mut command = Command::new("nsenter");
            command.arg(format!("--net=/proc/{pid}/ns/net")).arg("--").arg(&relay.program);
            command
        }
        None => Command::new(&relay.program),
    };
    let log = scene.dir.join("relay.log");
    let errors = std::fs::File::options().create(true).append(true).open(&log).map_err(|e| LabError::io(&log, e))?;
    command.args(&relay.arguments).args(args.to_argv());
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(errors);
    // A group of its own: Ctrl-C at the prompt that started it does not end it.
    std::os::unix::process::CommandExt::process_group(&mut command, 0);
    let shown = "the relay of a slow link";
    let failed = |message: String| LabError::Command { what: shown.into(), message };
    let mut child = command.spawn().map_err(|e| failed(e.to_string()))?;
    let mut first = String::new();
    if let Some(out) = child.stdout.take() {
        BufReader::new(out).read_line(&mut first).map_err(|e| failed(e.to_string()))?;
    }
    if first.trim() != READY {
        let _ = child.kill();
        let _ = child.wait();
        let said = std::fs::read_to_string(&log).unwrap_or_default();
        return Err(failed(said.lines().last().unwrap_or("it ended at once").to_owned()));
    }
    // nsenter has become the relay: the process id stays.
    let pid = child.id();
    Ok(RelayProcess { pid, started: start_time(pid).unwrap_or_default() })
}

pub(super) fn stop(record: &LabRecord, active: &ActiveFault) {
    active.relays.iter().for_each(end_process);
    // A relay that was killed hard could not take its table with it; in the hosts' networks it went with them or is harmless,
    // here it would lead to a dead port.
    let table = table(&record.name, &active.id);
    let script = format!("add table inet {table}\ndelete table inet {table}\n");
    let _ = crate::lab::engine::run("nft", Command::new("nft").args(["-f", "-"]), Some(script.as_bytes()));
    for host in &record.hosts {
        if let Some(pid) = record.engine.pid(&host.container) {
            let mut nft = Command::new("nsenter");
            nft.arg(format!("--net=/proc/{pid}/ns/net")).args(["--", "nft", "-f", "-"]);
            let _ = crate::lab::engine::run("nft", &mut nft, Some(script.as_bytes()));
        }
    }
}

/// Ends every relay of a lab, whether or not a record names it.
pub(crate) fn stop_relays_of(lab: &str) {
    let Ok(processes) = std::fs::read_dir("/proc") else { return };
    for pid in processes.flatten().filter_map(|e| e.file_name().to_str()?.parse::<u32>().ok()) {
        let line = std::fs::read(PathBuf::from(format!("/proc/{pid}/cmdline"))).unwrap_or_default();
        let words: Vec<&[u8]> = line.split(|b| *b == 0).collect();
        if words.windows(3).any(|w| w[0] == WORD.as_bytes() && w[1] == b"--lab" && w[2] == lab.as_bytes()) {
            end_process(&RelayProcess { pid, started: start_time(pid).unwrap_or_default() });
        }
    }
}

/// Asks a relay to end, and ends it when it does not within two seconds. Another process under its number is left alone.
fn end_process(relay: &RelayProcess) {
    for signal in ["TERM", "KILL"] {
        if start_time(relay.pid).as_ref() != Some(&relay.started) {
            return;
        }
        let _ = Command::new("sh").args(["-c", &format!("kill -{signal} {}", relay.pid)]).status();
        let end = Instant::now() + Duration::from_secs(2);
        while Instant::now() < end && start_time(relay.pid).as_ref() == Some(&relay.started) {
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

/// Field 22 of `/proc/PID/stat`; a zombie counts as gone.
fn start_time(pid: u32) -> Option<String> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
    let state = fields.next()?;
    if state == "Z" { None } else { fields.nth(18).map(str::to_owned) }
}
