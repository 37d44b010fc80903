//! What a lab can do to its hosts, each with its way back.
//!
//! | fault | made by | survives a reboot of the host |
//! |---|---|---|
//! | cut, thin | nftables on the bridge, outside of the hosts, so that no firewall of theirs undoes it | yes |
//! | slow | a relay of ours in both ends' network, for TCP connections made from now on | made again |
//! | pause, kill | the engine | - |
//! | fill | a filler on a disk of its own, or a size-capped tmpfs over the folder | yes; made again |
//! | stop, skew | systemd in the host | made again |

mod inside;
mod link;
mod slow;

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use super::host::{self, HostState};
use super::progress::Progress;
use super::record::{HostRecord, LabLock, LabRecord};
use super::{LabError, engine};

/// The other end of a link.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Peer {
    Host(String),
    /// The machine that carries the lab, from which `apply` runs.
    Machine,
    /// All hosts and the machine.
    Everyone,
}

impl Peer {
    /// `machine`, `everyone` or the name of a host.
    pub fn parse(text: &str) -> Self {
        match text {
            "machine" => Peer::Machine,
            "everyone" => Peer::Everyone,
            host => Peer::Host(host.to_owned()),
        }
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Peer::Host(name) => name,
            Peer::Machine => "machine",
            Peer::Everyone => "everyone",
        })
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "fault")]
pub enum Fault {
    /// Nothing passes between the two, in either direction.
    Cut { host: String, peer: Peer },
    /// Each direction of a TCP connection is held back by `delay`; making one costs a round trip more.
    Slow { host: String, peer: Peer, delay: Duration },
    /// Packets are lost, by chance and above a rate, in each direction.
    Thin {
        host: String,
        peer: Peer,
        /// Packets lost of 1,000.
        loss_permille: u32,
        bytes_per_second: Option<u64>,
    },
    /// All processes of the host stand still; connections stay open and silent.
    Pause { host: String },
    /// Power is cut. Healing boots the host again.
    Kill { host: String },
    /// An orderly reboot; over when the host answers again, so it never stays active.
    Reboot { host: String },
    /// Only `leave` bytes are left at `path`.
    Fill { host: String, path: String, leave: u64 },
    /// A systemd unit is stopped.
    Stop { host: String, service: String },
    /// The unit's main process sees a clock that is off by `seconds`; the unit is restarted for it.
    Skew { host: String, service: String, seconds: i64 },
}

impl Fault {
    pub fn host(&self) -> &str {
        match self {
            Fault::Cut { host, .. }
            | Fault::Slow { host, .. }
            | Fault::Thin { host, .. }
            | Fault::Pause { host }
            | Fault::Kill { host }
            | Fault::Reboot { host }
            | Fault::Fill { host, .. }
            | Fault::Stop { host, .. }
            | Fault::Skew { host, .. } => host,
        }
    }

    /// Ends with the host's network, mounts and processes, so it must be made again after a reboot of `host`.
    fn ends_with_boot_of(&self, rebooted: &str) -> bool {
        match self {
            Fault::Slow { host, peer, .. } => {
                host == rebooted || *peer == Peer::Everyone || *peer == Peer::Host(rebooted.to_owned())
            }
            Fault::Fill { host, .. } | Fault::Stop { host, .. } | Fault::Skew { host, .. } => host == rebooted,
            Fault::Cut { .. }
            | Fault::Thin { .. }
            | Fault::Pause { .. }
            | Fault::Kill { .. }
            | Fault::Reboot { .. } => false,
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fault::Cut { host, peer } => write!(f, "cut: nothing passes between {host} and {peer}"),
            Fault::Slow { host, peer, delay } => {
                write!(f, "slow: {} ms each way between {host} and {peer}", delay.as_millis())
            }
            Fault::Thin { host, peer, loss_permille, bytes_per_second } => {
                write!(f, "thin: between {host} and {peer}")?;
                if *loss_permille > 0 {
                    write!(f, " {}.{} % lost", loss_permille / 10, loss_permille % 10)?;
                }
                bytes_per_second.map_or(Ok(()), |rate| write!(f, " at most {rate} B/s"))
            }
            Fault::Pause { host } => write!(f, "pause: {host} stands still"),
            Fault::Kill { host } => write!(f, "kill: {host} is without power"),
            Fault::Reboot { host } => write!(f, "reboot: {host}"),
            Fault::Fill { host, path, leave } => write!(f, "fill: {leave} bytes left at {path} of {host}"),
            Fault::Stop { host, service } => write!(f, "stop: {service} of {host} is stopped"),
            Fault::Skew { host, service, seconds } => {
                write!(f, "skew: {service} of {host} sees a clock {seconds:+} s off")
            }
        }
    }
}

/// A fault in force.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ActiveFault {
    /// `f1`, `f2` …: what [`heal`] takes.
    pub id: String,
    pub fault: Fault,
    /// Seconds since 1970.
    pub since: u64,
    pub relays: Vec<RelayProcess>,
}

/// A relay that runs for a fault.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RelayProcess {
    pub pid: u32,
    /// Start time in the kernel's ticks: the same id later is another process.
    pub started: String,
}

/// The program that relays run in: `cutover` with the hidden arguments before those of the relay.
#[derive(Debug, Clone)]
pub struct RelayProgram {
    pub program: PathBuf,
    pub arguments: Vec<String>,
}

/// What all kinds of fault need.
struct Scene<'a> {
    record: &'a LabRecord,
    dir: &'a Path,
    relay: &'a RelayProgram,
}

/// Makes a fault. `None`: it is over already (a reboot).
pub fn inject(
    name: &str,
    dir: &Path,
    fault: Fault,
    relay: &RelayProgram,
    progress: Progress<'_>,
) -> Result<Option<ActiveFault>, LabError> {
    engine::require_root()?;
    let dir = &super::absolute(dir)?;
    let mut record = super::load(name, dir)?;
    let _lock = LabLock::take(dir)?;
    let host = record.host(fault.host())?.clone();
    if let Some(same) = record.faults.iter().find(|f| f.fault == fault) {
        return Err(LabError::Fault(format!("it is active already, as {}", same.id)));
    }
    if let Fault::Reboot { .. } = fault {
        reboot(&record, dir, relay, &host, progress)?.save(dir)?;
        return Ok(None);
    }
    let id = format!("f{}", record.next_fault);
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
    let mut active = ActiveFault { id, fault, since, relays: Vec::new() };
    record.next_fault += 1;
    // Written before it is made: a fault that was made half is still healed by its number.
    record.faults.push(active.clone());
    record.save(dir)?;
    let scene = Scene { record: &record, dir, relay };
    match scene.make(&mut active, &host) {
        Ok(()) => {
            progress.step(&format!("{}  {}", active.id, active.fault));
            if let Some(last) = record.faults.last_mut() {
                *last = active.clone();
            }
            record.save(dir)?;
            Ok(Some(active))
        }
        Err(e) => {
            // What was made of it goes again; the first error is the one to tell.
            let _ = scene.undo(&active, &host);
            record.faults.pop();
            record.save(dir)?;
            Err(e)
        }
    }
}

/// Takes one fault back, or all of them, the last one first. Gives back what was healed.
pub fn heal(
    name: &str,
    dir: &Path,
    id: Option<&str>,
    relay: &RelayProgram,
    progress: Progress<'_>,
) -> Result<Vec<ActiveFault>, LabError> {
    engine::require_root()?;
    let dir = &super::absolute(dir)?;
    let mut record = super::load(name, dir)?;
    let _lock = LabLock::take(dir)?;
    let wanted: Vec<ActiveFault> =
        record.faults.iter().rev().filter(|f| id.is_none_or(|id| f.id == id)).cloned().collect();
    if let (Some(id), true) = (id, wanted.is_empty()) {
        return Err(LabError::NoFault(id.to_owned()));
    }
    for active in &wanted {
        let host = record.host(active.fault.host())?.clone();
        Scene { record: &record, dir, relay }.undo(active, &host)?;
        progress.step(&format!("healed {}  {}", active.id, active.fault));
        record.faults.retain(|f| f.id != active.id);
        record.save(dir)?;
    }
    Ok(wanted)
}

/// Takes away what faults left outside of the hosts; for `down`, which removes the hosts themselves.
pub(crate) fn forget_all(lab: &str) -> Result<(), LabError> {
    slow::stop_relays_of(lab);
    link::remove_tables(lab)
}

impl Scene<'_> {
    fn make(&self, active: &mut ActiveFault, host: &HostRecord) -> Result<(), LabError> {
        let engine = &self.record.engine;
        match &active.fault {
            Fault::Cut { peer, .. } => link::cut(self.record, &active.id, host, peer),
            Fault::Thin { peer, loss_permille, bytes_per_second, .. } => {
                link::thin(self.record, &active.id, host, peer, *loss_permille, *bytes_per_second)
            }
            Fault::Slow { peer, delay, .. } => {
                active.relays = slow::start(self, &active.id, host, peer, *delay)?;
                Ok(())
            }
            Fault::Pause { .. } => {
                running(self.record, host)?;
                engine.call("pausing a host", ["pause", &host.container]).map(drop)
            }
            Fault::Kill { .. } => {
                running(self.record, host)?;
                engine.call("killing a host", ["kill", "--signal", "KILL", &host.container]).map(drop)
            }
            Fault::Fill { path, leave, .. } => inside::fill(self.record, host, path, *leave),
            Fault::Stop { service, .. } => inside::stop(self.record, host, service),
            Fault::Skew { service, seconds, .. } => inside::skew(self.record, host, service, *seconds),
            Fault::Reboot { .. } => Ok(()),
        }
    }

    fn undo(&self, active: &ActiveFault, host: &HostRecord) -> Result<(), LabError> {
        let engine = &self.record.engine;
        match &active.fault {
            Fault::Cut { .. } | Fault::Thin { .. } => link::heal(self.record, &active.id),
            Fault::Slow { .. } => {
                slow::stop(self.record, active);
                Ok(())
            }
            Fault::Pause { .. } => match state(self.record, host)? {
                HostState::Paused => engine.call("waking a host", ["unpause", &host.container]).map(drop),
                _ => Ok(()),
            },
            Fault::Kill { .. } => match state(self.record, host)? {
                HostState::Running => Ok(()),
                _ => {
                    host::start(engine, &host.container)?;
                    host::wait_for_ssh(host)
                }
            },
            Fault::Fill { path, .. } => inside::empty(self.record, host, path),
            Fault::Stop { service, .. } => inside::start(self.record, host, service),
            Fault::Skew { service, .. } => inside::unskew(self.record, host, service),
            Fault::Reboot { .. } => Ok(()),
        }
    }
}

/// Reboots in an orderly way; faults that end with the host's network, mounts and processes are made again afterwards.
fn reboot(
    record: &LabRecord,
    dir: &Path,
    relay: &RelayProgram,
    host: &HostRecord,
    progress: Progress<'_>,
) -> Result<LabRecord, LabError> {
    running(record, host)?;
    let mut after = record.clone();
    let scene = Scene { record, dir, relay };
    let again: Vec<usize> =
        (0..record.faults.len()).filter(|n| record.faults[*n].fault.ends_with_boot_of(&host.name)).collect();
    for n in again.iter().rev() {
        let active = &record.faults[*n];
        // A service that is stopped stays so until the reboot; starting it only to stop it would be an event of its own.
        if !matches!(active.fault, Fault::Stop { .. }) {
            scene.undo(active, record.host(active.fault.host())?)?;
        }
    }
    progress.detail(&format!("{} reboots", host.name));
    record.engine.call("rebooting a host", ["restart", "--time", "20", &host.container])?;
    // Faults of links may keep us from its sshd: then systemd's word must do.
    inside::wait_until_booted(record, host)?;
    for n in again {
        let mut active = record.faults[n].clone();
        let host = record.host(active.fault.host())?;
        scene.make(&mut active, host)?;
        after.faults[n] = active;
    }
    progress.step(&format!("{} is up again", host.name));
    Ok(after)
}

fn state(record: &LabRecord, host: &HostRecord) -> Result<HostState, LabError> {
    let states = host::states(&record.engine, &record.name)?;
    Ok(states.into_iter().find(|(c, _)| *c == host.container).map_or(HostState::Missing, |(_, s)| s))
}

/// The host's state must be `running` for what comes next.
fn running(record: &LabRecord, host: &HostRecord) -> Result<(), LabError> {
    match state(record, host)? {
        HostState::Running => Ok(()),
        other => Err(LabError::NotRunning { host: host.name.clone(), state: other.to_string() }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_say_what_they_do() {
        let thin =
            Fault::Thin { host: "a".into(), peer: Peer::Machine, loss_permille: 25, bytes_per_second: Some(9000) };
        assert_eq!(thin.to_string(), "thin: between a and machine 2.5 % lost at most 9000 B/s");
        let skew = Fault::Skew { host: "a".into(), service: "knot".into(), seconds: 3600 };
        assert_eq!(skew.to_string(), "skew: knot of a sees a clock +3600 s off");
    }

    #[test]
    fn a_reboot_ends_what_lives_in_the_host() {
        let slow = |peer| Fault::Slow { host: "a".into(), peer, delay: Duration::from_millis(50) };
        assert!(slow(Peer::Machine).ends_with_boot_of("a"));
        assert!(slow(Peer::Host("b".into())).ends_with_boot_of("b"));
        assert!(!slow(Peer::Host("b".into())).ends_with_boot_of("c"));
        assert!(!Fault::Cut { host: "a".into(), peer: Peer::Machine }.ends_with_boot_of("a"));
    }
}
