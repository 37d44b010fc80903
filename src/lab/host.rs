//! One lab host: a systemd container with keys, addresses and disks of its own.

use std::io::Read;
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use sha2::{Digest, Sha256};

use super::engine::{self, Engine, EngineKind};
use super::record::HostRecord;
use super::spec::{LabHost, LabSpec, Sudo};
use super::{DIR_LABEL, HOST_LABEL, LAB_LABEL, LabError, keys, network};

/// A booted host answers on port 22 in about a second; eight at once on two busy cores take up to half a minute.
const BOOT_LIMIT: Duration = Duration::from_secs(90);

/// State of a container as the engine tells it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum HostState {
    Running,
    Paused,
    Stopped,
    Missing,
}

impl std::fmt::Display for HostState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            HostState::Running => "running",
            HostState::Paused => "paused",
            HostState::Stopped => "stopped",
            HostState::Missing => "missing",
        })
    }
}

pub(crate) fn container_name(lab: &str, host: &str) -> String {
    format!("cutover-{lab}-{host}")
}

/// Containers of a lab with their states.
pub(crate) fn states(engine: &Engine, lab: &str) -> Result<Vec<(String, HostState)>, LabError> {
    let filter = format!("label={LAB_LABEL}={lab}");
    let ids = engine.call("listing hosts", ["ps", "-aq", "--filter", &filter])?;
    if ids.trim().is_empty() {
        return Ok(Vec::new());
    }
    // Only `inspect` tells the state in one word under every version of both engines.
    let mut args = vec!["inspect", "--format", "{{.Name}} {{.State.Status}}"];
    args.extend(ids.split_whitespace());
    let told = engine.call("asking for the state of hosts", args)?;
    Ok(told.lines().filter_map(|l| l.split_once(' ')).map(|(name, state)| state_of(name, state)).collect())
}

fn state_of(name: &str, state: &str) -> (String, HostState) {
    let state = match state.trim() {
        "running" => HostState::Running,
        "paused" => HostState::Paused,
        _ => HostState::Stopped,
    };
    (name.trim_start_matches('/').to_owned(), state)
}

/// What happened to a host on the way up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Raised {
    Made,
    MadeAnew,
    Started,
    /// It ran and got other keys or names.
    Told,
    Kept,
}

/// All that raising a host needs to know.
pub(crate) struct Raise<'a> {
    pub engine: &'a Engine,
    pub spec: &'a LabSpec,
    pub image: &'a str,
    /// `/etc/hosts` is the same everywhere but for the first line.
    pub neighbours: &'a str,
    pub before: Option<&'a HostRecord>,
    pub state: HostState,
}

impl Raise<'_> {
    /// Makes, remakes, starts or keeps the host, so that it runs as the spec says.
    pub(crate) fn host(&self, host: &LabHost) -> Result<(HostRecord, Raised), LabError> {
        let container = container_name(&self.spec.name, &host.name);
        let made_from = self.digest(host);
        let folder = self.spec.dir.join("hosts").join(&host.name);
        let (_, host_key) = keys::host_key(&folder.join("keys"))?;
        let seed = self.seed(host, &folder)?;
        let same = self.before.is_some_and(|b| b.made_from == made_from);
        let mut raised = match self.state {
            HostState::Missing => Raised::Made,
            _ if !same => {
                self.engine.call("removing a changed host", ["rm", "-f", "-v", &container])?;
                Raised::MadeAnew
            }
            HostState::Running => Raised::Kept,
            HostState::Paused => {
                self.engine.call("waking a host", ["unpause", &container])?;
                Raised::Started
            }
            HostState::Stopped => Raised::Started,
        };
        for (n, disk) in host.disks.iter().enumerate() {
            ensure_disk(&self.spec.dir, &host.name, n, disk.size)?;
        }
        let new = matches!(raised, Raised::Made | Raised::MadeAnew);
        if new {
            self.create(host, &container)?;
        }
        if new || self.before.is_some_and(|b| b.seeded_with != seed.digest) {
            let from = format!("{}/.", seed.root.display());
            self.engine.call("handing keys to a host", ["cp", &from, &format!("{container}:/")])?;
            raised = if raised == Raised::Kept { Raised::Told } else { raised };
        }
        if !matches!(raised, Raised::Kept | Raised::Told) {
            start(self.engine, &container)?;
        }
        let record = HostRecord {
            name: host.name.clone(),
            container,
            addresses: self.addresses(host),
            disks: host.disks.clone(),
            made_from,
            seeded_with: seed.digest,
            host_key,
        };
        wait_for_ssh(&record)?;
        if raised != Raised::Kept {
            self.settle(host, &record)?;
        }
        Ok((record, raised))
    }

    /// Addresses that this machine can carry.
    fn addresses(&self, host: &LabHost) -> Vec<IpAddr> {
        host.addresses.iter().copied().filter(|a| a.is_ipv4() || network::has_ipv6()).collect()
    }

    fn digest(&self, host: &LabHost) -> String {
        let mut hash = Sha256::new();
        hash.update(format!("{:?}{:?}{:?}{:?}", self.image, self.addresses(host), host.memory, host.disks));
        hex(&hash.finalize())
    }

    fn create(&self, host: &LabHost, container: &str) -> Result<(), LabError> {
        let mut args: Vec<String> = ["create", "--name", container, "--hostname", &host.name].map(String::from).into();
        args.extend(self.engine.host_flags());
        // A host that reboots itself comes back; one that is killed by the engine stays down.
        args.push("--restart=always".into());
        let mut labels = vec![
            (LAB_LABEL.to_owned(), self.spec.name.clone()),
            (HOST_LABEL.to_owned(), host.name.clone()),
            (DIR_LABEL.to_owned(), self.spec.dir.display().to_string()),
        ];
        labels.extend(self.spec.labels.iter().cloned());
        args.extend(labels.into_iter().flat_map(|(k, v)| ["--label".to_owned(), format!("{k}={v}")]));
        if self.engine.kind == EngineKind::Podman {
            args.push("--no-hosts".into());
        }
        if let Some(bytes) = host.memory {
            args.extend(["--memory".into(), bytes.to_string()]);
        }
        for (n, disk) in host.disks.iter().enumerate() {
            let source = disk_mount(&self.spec.dir, &host.name, n);
            args.extend(["--mount".into(), format!("type=bind,source={},target={}", source.display(), disk.path)]);
        }
        let mut joins = self.joins(host)?.into_iter();
        if let Some(first) = joins.next() {
            args.extend(first.flags(self.engine.kind));
        }
        let more: Vec<Join> = joins.collect();
        if self.engine.kind == EngineKind::Podman {
            args.extend(more.iter().flat_map(|j| j.flags(EngineKind::Podman)));
        }
        args.extend([self.image.to_owned(), "/sbin/init".into()]);
        self.engine.call(&format!("making host {}", host.name), args)?;
        if self.engine.kind == EngineKind::Docker {
            for join in more {
                let mut args: Vec<String> = ["network", "connect"].map(String::from).into();
                args.extend(join.address_flags());
                args.extend([join.network, container.to_owned()]);
                self.engine.call("joining a network", args)?;
            }
        }
        Ok(())
    }

    /// The networks that the host's addresses lie in, in the order of the spec.
    fn joins(&self, host: &LabHost) -> Result<Vec<Join>, LabError> {
        let mut joins: Vec<Join> = Vec::new();
        for address in self.addresses(host) {
            let Some(net) = self.spec.network_of(address) else { continue };
            let network = network::name(&self.spec.name, &net.name);
            let known = joins.iter_mut().position(|j| j.network == network);
            let n = known.unwrap_or_else(|| {
                joins.push(Join { network, ip: None, ip6: None });
                joins.len() - 1
            });
            let slot = if address.is_ipv4() { &mut joins[n].ip } else { &mut joins[n].ip6 };
            if slot.replace(address).is_some() {
                return Err(LabError::Spec(format!(
                    "host `{}` has two addresses in one subnet: a lab host has one IPv4 and one IPv6 address a network",
                    host.name
                )));
            }
        }
        Ok(joins)
    }

    /// Files that a host gets before it boots, laid out under `root/`.
    fn seed(&self, host: &LabHost, folder: &Path) -> Result<Seed, LabError> {
        let root = folder.join("root");
        let _ = std::fs::remove_dir_all(&root);
        let (key, public) = keys::host_key(&folder.join("keys"))?;
        let private = std::fs::read_to_string(&key).map_err(|e| LabError::io(&key, e))?;
        let mut files = vec![
            ("etc/ssh/ssh_host_ed25519_key", private, 0o600),
            ("etc/ssh/ssh_host_ed25519_key.pub", format!("{public}\n"), 0o644),
            ("root/.ssh/authorized_keys", self.spec.authorized_keys.join("\n") + "\n", 0o600),
        ];
        if self.engine.kind == EngineKind::Podman {
            files.push((
                "etc/hosts",
                format!("127.0.0.1 localhost\n::1 localhost ip6-localhost\n{}", self.neighbours),
                0o644,
            ));
        }
        let mut hash = Sha256::new();
        for (path, text, mode) in files {
            hash.update(path);
            hash.update(&text);
            let path = root.join(path);
            let parent = path.parent().unwrap_or(&root);
            std::fs::create_dir_all(parent).map_err(|e| LabError::io(parent, e))?;
            std::fs::write(&path, text).map_err(|e| LabError::io(&path, e))?;
            set_mode(&path, mode)?;
        }
        for (path, mode) in [("", 0o755), ("etc", 0o755), ("etc/ssh", 0o755), ("root", 0o700), ("root/.ssh", 0o700)] {
            set_mode(&root.join(path), mode)?;
        }
        hash.update(format!("{:?}", host.user));
        Ok(Seed { root, digest: hex(&hash.finalize()) })
    }

    /// What only a running host can take: users, and names under Docker, which owns `/etc/hosts`.
    fn settle(&self, host: &LabHost, record: &HostRecord) -> Result<(), LabError> {
        let mut script = String::new();
        if self.engine.kind == EngineKind::Docker {
            script.push_str(&format!("cat >> /etc/hosts <<'END'\n{}END\n", self.neighbours));
        }
        if let Some(user) = host.user.as_ref().filter(|u| u.name != "root") {
            let name = shlex::try_quote(&user.name)
                .map_err(|_| LabError::Spec(format!("host `{}`: no such user name", host.name)))?;
            script.push_str(&format!(
                "id {name} >/dev/null 2>&1 || useradd -m -s /bin/bash {name}\n\
                 install -d -m 700 -o {name} -g {name} /home/{name}/.ssh\n\
                 install -m 600 -o {name} -g {name} /root/.ssh/authorized_keys /home/{name}/.ssh/authorized_keys\n"
            ));
            let rule = match user.sudo {
                Sudo::None => None,
                Sudo::WithoutPassword => Some("NOPASSWD:ALL"),
                Sudo::WithPassword => Some("ALL"),
            };
            if let Some(rule) = rule {
                script.push_str(&format!(
                    "echo {name}' ALL=(ALL:ALL) {rule}' > /etc/sudoers.d/lab; chmod 440 /etc/sudoers.d/lab\n"
                ));
            }
        }
        if script.is_empty() {
            return Ok(());
        }
        self.engine.script(&record.container, &format!("settling host {}", host.name), &script).map(drop)
    }
}

struct Seed {
    root: PathBuf,
    digest: String,
}

struct Join {
    network: String,
    ip: Option<IpAddr>,
    ip6: Option<IpAddr>,
}

impl Join {
    fn flags(&self, kind: EngineKind) -> Vec<String> {
        if kind == EngineKind::Docker {
            let mut flags = vec!["--network".to_owned(), self.network.clone()];
            flags.extend(self.address_flags());
            return flags;
        }
        let both = [("ip", self.ip), ("ip6", self.ip6)];
        let parts: Vec<String> = both.iter().filter_map(|(k, a)| a.map(|a| format!("{k}={a}"))).collect();
        vec!["--network".to_owned(), format!("{}:{}", self.network, parts.join(","))]
    }

    fn address_flags(&self) -> Vec<String> {
        let both = [("--ip", self.ip), ("--ip6", self.ip6)];
        both.iter().filter_map(|(k, a)| a.map(|a| [(*k).to_owned(), a.to_string()])).flatten().collect()
    }
}

pub(crate) fn start(engine: &Engine, container: &str) -> Result<(), LabError> {
    engine.call("starting a host", ["start", container]).map(drop)
}

/// Waits until sshd says its greeting; an open port alone may be a dying one.
pub(crate) fn wait_for_ssh(host: &HostRecord) -> Result<(), LabError> {
    let end = Instant::now() + BOOT_LIMIT;
    let Some(address) = host.addresses.first() else { return Ok(()) };
    while Instant::now() < end {
        if greets(SocketAddr::new(*address, 22)) {
            return Ok(());
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    Err(LabError::NoSsh { host: host.name.clone(), seconds: BOOT_LIMIT.as_secs() })
}

pub(crate) fn greets(address: SocketAddr) -> bool {
    let greeting = || -> std::io::Result<bool> {
        let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(1))?;
        stream.set_read_timeout(Some(Duration::from_secs(5)))?;
        let mut start = [0; 4];
        stream.read_exact(&mut start)?;
        Ok(&start == b"SSH-")
    };
    greeting().unwrap_or(false)
}

fn disk_image(dir: &Path, host: &str, n: usize) -> PathBuf {
    dir.join("disks").join(format!("{host}-{n}.img"))
}

pub(crate) fn disk_mount(dir: &Path, host: &str, n: usize) -> PathBuf {
    dir.join("disks").join(format!("{host}-{n}"))
}

/// A file with an ext4 file system of that size, mounted on this machine and handed to the host as a folder.
fn ensure_disk(dir: &Path, host: &str, n: usize, size: u64) -> Result<(), LabError> {
    let (image, mount) = (disk_image(dir, host, n), disk_mount(dir, host, n));
    std::fs::create_dir_all(&mount).map_err(|e| LabError::io(&mount, e))?;
    let fresh = !image.exists();
    if fresh {
        let file = std::fs::File::create(&image).map_err(|e| LabError::io(&image, e))?;
        file.set_len(size).map_err(|e| LabError::io(&image, e))?;
        // No journal and no reserve: the size given is the size that can be filled.
        let mut mkfs = Command::new("mkfs.ext4");
        engine::run("making a disk", mkfs.args(["-q", "-F", "-m", "0", "-O", "^has_journal"]).arg(&image), None)?;
    }
    if !is_mounted(&mount) {
        engine::run("mounting a disk", Command::new("mount").args(["-o", "loop"]).arg(&image).arg(&mount), None)?;
    }
    if fresh {
        let _ = std::fs::remove_dir(mount.join("lost+found"));
    }
    Ok(())
}

fn is_mounted(path: &Path) -> bool {
    let path = std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    mounts.lines().any(|l| l.split(' ').nth(1).is_some_and(|m| Path::new(m) == path))
}

/// Unmounts every disk under the lab's folder; the kernel frees the loop device with the last user.
pub(crate) fn release_disks(dir: &Path) -> Result<(), LabError> {
    let Ok(entries) = std::fs::read_dir(dir.join("disks")) else { return Ok(()) };
    for mount in entries.flatten().map(|e| e.path()).filter(|p| p.is_dir()) {
        if is_mounted(&mount) {
            engine::run("unmounting a disk", Command::new("umount").arg(&mount), None)?;
        }
    }
    Ok(())
}

fn set_mode(path: &Path, mode: u32) -> Result<(), LabError> {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).map_err(|e| LabError::io(path, e))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}
