//! Hosts for a proof of concept: systemd containers with sshd on networks of their own, made by Podman or Docker.
//!
//! ```text
//! up:    spec ─check─▶ engine ─▶ image ─▶ networks ─▶ hosts (side by side) ─▶ known_hosts, lab.json
//! fault: lab.json ─▶ host ─▶ nftables, relay, freezer, disk, clock ─▶ lab.json
//! down:  whatever carries the lab's label, whether lab.json knows it or not
//! ```
//!
//! Nothing here knows a topology; the command line makes the [`LabSpec`] from one. All calls block; none is silent for long.

mod apt;
mod engine;
mod error;
pub mod fault;
mod host;
mod image;
mod keys;
mod machine;
mod network;
mod progress;
mod record;
pub mod relay;
mod spec;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::Path;
use std::process::Command;
use std::sync::Mutex;
use std::time::Instant;

pub use engine::{Chosen, Engine, EngineKind};
pub use error::LabError;
pub use fault::{ActiveFault, Fault, Peer, RelayProgram, heal, inject};
pub use host::HostState;
pub use keys::{generate as generate_key, known_hosts};
pub use progress::{Note, Progress};
pub use record::{HostRecord, LabRecord, NetworkRecord};
pub use spec::{ImageChoice, LabDisk, LabHost, LabNetwork, LabSpec, LabUser, Sudo};

use record::LabLock;

/// Marks containers and networks of a lab.
pub(crate) const LAB_LABEL: &str = "cutover.lab";
pub(crate) const HOST_LABEL: &str = "cutover.host";
pub(crate) const DIR_LABEL: &str = "cutover.dir";

/// Hosts started at once; more only queue for the engine's own lock.
const AT_ONCE: usize = 4;

/// Makes the lab as the spec says; what is there already and fits is kept, what does not fit is made anew, hosts that the
/// spec does not name are removed.
pub fn up(spec: &LabSpec, progress: Progress<'_>) -> Result<LabRecord, LabError> {
    engine::require_root()?;
    spec.check()?;
    let spec = &LabSpec { dir: absolute(&spec.dir)?, ..spec.clone() };
    let _lock = LabLock::take(&spec.dir)?;
    let before = LabRecord::load(&spec.dir)?;
    let began = Instant::now();

    let engine = Engine::find()?;
    if let Some(other) = foreign(&engine, &spec.name, &spec.dir)? {
        return Err(LabError::Foreign { lab: spec.name.clone(), other });
    }
    let image = image::ensure(&engine, &spec.image, progress)?;
    let chosen = choose(engine, &image, before.as_ref())?;
    progress.step(&format!("engine: {}", chosen.why));
    let networks = network::ensure(&chosen.engine, spec, progress)?;
    machine::make_room(spec.hosts.len(), progress);
    let states: BTreeMap<String, HostState> = host::states(&chosen.engine, &spec.name)?.into_iter().collect();
    remove_unnamed(&chosen.engine, spec, &states, progress)?;

    let mut record = LabRecord {
        version: record::VERSION,
        name: spec.name.clone(),
        engine: chosen.engine,
        engine_why: chosen.why,
        image,
        networks,
        hosts: before.as_ref().map(|b| b.hosts.clone()).unwrap_or_default(),
        faults: before.as_ref().map(|b| b.faults.clone()).unwrap_or_default(),
        next_fault: before.as_ref().map_or(1, |b| b.next_fault),
    };
    // Written before the first host is made: whatever happens now, `down` knows the lab.
    record.save(&spec.dir)?;
    record.hosts = raise(spec, &record, &states, progress)?;
    record.save(&spec.dir)?;
    keys::write_known_hosts(&spec.dir, &record)?;
    progress.step(&format!("{} hosts are up after {:.1} s", record.hosts.len(), began.elapsed().as_secs_f32()));
    Ok(record)
}

/// Removes all that the lab of this name made: containers, networks, disks, relays, records. The image stays as a cache.
/// A lab of another folder is refused while that folder is there.
pub fn down(name: &str, dir: &Path, progress: Progress<'_>) -> Result<(), LabError> {
    engine::require_root()?;
    let dir = &absolute(dir)?;
    match foreign(&Engine::find()?, name, dir)? {
        Some(other) if Path::new(&other).exists() => return Err(LabError::Foreign { lab: name.to_owned(), other }),
        _ => {}
    }
    if dir.exists() {
        let lock = LabLock::take(dir)?;
        take_down(name, dir, progress)?;
        drop(lock);
        std::fs::remove_dir_all(dir).map_err(|e| LabError::io(dir, e))
    } else {
        take_down(name, dir, progress)
    }
}

fn take_down(name: &str, dir: &Path, progress: Progress<'_>) -> Result<(), LabError> {
    let engine = Engine::find()?;
    fault::forget_all(name)?;
    let hosts = host::states(&engine, name)?;
    if !hosts.is_empty() {
        progress.step(&format!("removing {} hosts", hosts.len()));
        let mut args: Vec<&str> = vec!["rm", "-f", "-v"];
        args.extend(hosts.iter().map(|(container, _)| container.as_str()));
        engine.call("removing hosts", args)?;
    }
    let networks = network::remove_all(&engine, name)?;
    if networks > 0 {
        progress.step(&format!("removed {networks} networks"));
    }
    host::release_disks(dir)
}

/// Removes the built images. A lab that is up keeps the one it runs on, as the engine refuses to remove it.
pub fn remove_images() -> Result<usize, LabError> {
    image::remove_all(&Engine::find()?)
}

/// One host as `status` shows it.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct HostStatus {
    pub name: String,
    pub container: String,
    pub addresses: Vec<IpAddr>,
    pub state: HostState,
    /// sshd greets.
    pub answers: bool,
}

/// The lab as it is now.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct LabStatus {
    pub name: String,
    pub engine: String,
    pub image: String,
    pub hosts: Vec<HostStatus>,
    pub faults: Vec<ActiveFault>,
}

/// Asks the engine and each host. `NotUp` when no lab was made in `dir`.
pub fn status(name: &str, dir: &Path) -> Result<LabStatus, LabError> {
    let record = load(name, dir)?;
    let states: BTreeMap<String, HostState> = host::states(&record.engine, name)?.into_iter().collect();
    let hosts = std::thread::scope(|scope| {
        let asked: Vec<_> = record
            .hosts
            .iter()
            .map(|h| {
                let state = states.get(&h.container).copied().unwrap_or(HostState::Missing);
                scope.spawn(move || HostStatus {
                    name: h.name.clone(),
                    container: h.container.clone(),
                    addresses: h.addresses.clone(),
                    state,
                    answers: state == HostState::Running
                        && h.addresses.first().is_some_and(|a| host::greets((*a, 22).into())),
                })
            })
            .collect();
        asked.into_iter().filter_map(|a| a.join().ok()).collect()
    });
    Ok(LabStatus { name: record.name, engine: record.engine_why, image: record.image, hosts, faults: record.faults })
}

/// What the lab of this folder is called; nothing when none was made there.
pub fn recorded_name(dir: &Path) -> Result<Option<String>, LabError> {
    Ok(LabRecord::load(dir)?.map(|record| record.name))
}

/// The record of a lab that is up.
pub fn load(name: &str, dir: &Path) -> Result<LabRecord, LabError> {
    LabRecord::load(dir)?.ok_or_else(|| LabError::NotUp { lab: name.to_owned() })
}

/// What a command inside a host reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Input {
    /// Nothing. Podman 4.3 that is asked for an input which is at its end already may go before it has handed on what a short command says:
    /// 17 of 60 were lost, and none without an input.
    None,
    Piped,
    Terminal,
}

/// A command that runs `argv` as root inside a host without SSH, for the caller to spawn with its own terminal.
pub fn exec_command(record: &LabRecord, host: &str, argv: &[String], input: Input) -> Result<Command, LabError> {
    let host = record.host(host)?;
    let mut command = record.engine.command();
    command.arg("exec");
    match input {
        Input::None => command.stdin(std::process::Stdio::null()),
        Input::Piped => command.arg("-i"),
        Input::Terminal => command.arg("-it"),
    };
    command.arg(&host.container).args(argv);
    Ok(command)
}

/// An `ssh` command to a host with the lab's known_hosts; `argv` empty opens a shell.
pub fn ssh_command(
    record: &LabRecord,
    dir: &Path,
    host: &str,
    user: &str,
    key: &Path,
    argv: &[String],
) -> Result<Command, LabError> {
    let host = record.host(host)?;
    let address =
        host.addresses.first().ok_or_else(|| LabError::Spec(format!("host `{}` has no address", host.name)))?;
    let mut command = Command::new("ssh");
    command.arg("-i").arg(key).arg("-o").arg(format!("UserKnownHostsFile={}", known_hosts(dir).display()));
    command.args(["-o", "StrictHostKeyChecking=yes", "-o", "IdentitiesOnly=yes", "-o", "ConnectTimeout=10"]);
    command.arg(format!("{user}@{address}"));
    if !argv.is_empty() {
        command.arg("--").args(argv);
    }
    Ok(command)
}

fn choose(engine: Engine, image: &str, before: Option<&LabRecord>) -> Result<Chosen, LabError> {
    // A probe starts a container; what worked for this lab before works still.
    match before {
        Some(b) if b.engine.kind == engine.kind => Ok(Chosen { engine: b.engine.clone(), why: b.engine_why.clone() }),
        _ => engine.choose_runtime(image),
    }
}

/// The folder of the lab of this name when it is not `dir`: two checkouts of one topology would fight for the same hosts.
fn foreign(engine: &Engine, name: &str, dir: &Path) -> Result<Option<String>, LabError> {
    let filter = format!("label={LAB_LABEL}={name}");
    let format = format!("{{{{index .Labels \"{DIR_LABEL}\"}}}}");
    let docker = format!("{{{{.Label \"{DIR_LABEL}\"}}}}");
    let format = if engine.kind == EngineKind::Docker { docker } else { format };
    let dirs = engine.call("listing hosts", ["ps", "-a", "--filter", &filter, "--format", &format])?;
    let own = dir.display().to_string();
    Ok(dirs.lines().find(|d| !d.is_empty() && *d != own).map(str::to_owned))
}

fn remove_unnamed(
    engine: &Engine,
    spec: &LabSpec,
    states: &BTreeMap<String, HostState>,
    progress: Progress<'_>,
) -> Result<(), LabError> {
    let named: Vec<String> = spec.hosts.iter().map(|h| host::container_name(&spec.name, &h.name)).collect();
    for container in states.keys().filter(|c| !named.contains(c)) {
        progress.step(&format!("removing {container}: the topology no longer has it"));
        engine.call("removing a host", ["rm", "-f", "-v", container])?;
    }
    Ok(())
}

/// Raises all hosts, a few at a time. The first failure is reported after the others have ended, so that none is left half made.
fn raise(
    spec: &LabSpec,
    record: &LabRecord,
    states: &BTreeMap<String, HostState>,
    progress: Progress<'_>,
) -> Result<Vec<HostRecord>, LabError> {
    let neighbours = neighbours(spec);
    let queue = Mutex::new(spec.hosts.iter());
    let done = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE.min(spec.hosts.len()) {
            scope.spawn(|| {
                while let Some(host) = lock(&queue).next() {
                    let container = host::container_name(&spec.name, &host.name);
                    let raise = host::Raise {
                        engine: &record.engine,
                        spec,
                        image: &record.image,
                        neighbours: &neighbours,
                        before: record.hosts.iter().find(|h| h.name == host.name),
                        state: states.get(&container).copied().unwrap_or(HostState::Missing),
                    };
                    let raised = raise.host(host);
                    if let Ok((made, how)) = &raised {
                        progress.detail(&told(made, *how));
                    }
                    lock(&done).push(raised);
                }
            });
        }
    });
    let results = done.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    let mut hosts = results.into_iter().map(|r| r.map(|(h, _)| h)).collect::<Result<Vec<_>, _>>()?;
    hosts.sort_by_key(|h| spec.hosts.iter().position(|s| s.name == h.name));
    Ok(hosts)
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

fn told(host: &HostRecord, how: host::Raised) -> String {
    let verb = match how {
        host::Raised::Made => "is up",
        host::Raised::MadeAnew => "was changed and is made anew",
        host::Raised::Started => "runs again",
        host::Raised::Told => "runs already and has new keys and names",
        host::Raised::Kept => "runs already",
    };
    let addresses: Vec<String> = host.addresses.iter().map(|a| a.to_string()).collect();
    format!("{} {verb} ({})", host.name, addresses.join(", "))
}

/// The lines of `/etc/hosts` that all hosts share.
fn neighbours(spec: &LabSpec) -> String {
    let mut text = String::new();
    for host in &spec.hosts {
        for address in host.addresses.iter().filter(|a| a.is_ipv4() || network::has_ipv6()) {
            // The full name first: it is what `hostname --fqdn` gives.
            let (full, rest): (Vec<&String>, Vec<&String>) = host.aliases.iter().partition(|a| a.contains('.'));
            let names: Vec<&str> = full.into_iter().chain([&host.name]).chain(rest).map(String::as_str).collect();
            text.push_str(&format!("{address} {}\n", names.join(" ")));
        }
    }
    text
}

fn absolute(dir: &Path) -> Result<std::path::PathBuf, LabError> {
    std::path::absolute(dir).map_err(|e| LabError::io(dir, e))
}
