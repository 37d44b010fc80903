//! Real hosts for tests: `Lab::new("drift").host("mail-1").host("mail-2").up()`.
//!
//! Labs run side by side, each on a subnet of its own. A lab is taken down when it is dropped, also by a panic; what a killed
//! test left is taken down by the next one that starts.
//!
//! Only with `CUTOVER_LAB=1`: hosts need root, Podman or Docker, and minutes. Then a lab that cannot be made fails the test.

use std::fs::File;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use cutover::lab::{
    self, ActiveFault, Fault, ImageChoice, Input, LabDisk, LabHost, LabNetwork, LabRecord, LabSpec, LabUser, Note,
    Progress, RelayProgram, Sudo,
};
use cutover::model::attr::SecretRef;
use cutover::model::host::HostAccess;

/// Container label: which process made a test lab, as `pid-starttime`.
const OWNER: &str = "cutover.test.owner";

pub struct Lab {
    pub record: LabRecord,
    pub spec: LabSpec,
    dir: PathBuf,
    root: Option<tempfile::TempDir>,
    _subnet: Subnet,
}

/// A lab to be: hosts by name; addresses come from the lab's subnet, `.11` for the first, `.12` for the second.
pub struct LabBuilder {
    name: String,
    hosts: Vec<LabHost>,
}

impl Lab {
    /// `name`: short, lower case, unlike that of any other test.
    #[allow(clippy::new_ret_no_self)] // reads as the story that the test tells
    pub fn new(name: &str) -> LabBuilder {
        LabBuilder { name: name.to_owned(), hosts: Vec::new() }
    }

    /// Whether lab tests run here; says why not.
    pub fn wanted() -> bool {
        let wanted = std::env::var("CUTOVER_LAB").is_ok_and(|v| v == "1");
        if !wanted {
            eprintln!("not run: needs real hosts; set CUTOVER_LAB=1 (root, podman and mmdebstrap needed)");
        }
        wanted
    }

    /// Folder of the lab's records (known_hosts, lab.json).
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// A folder for the test's own files; the private key stands there as `key`.
    pub fn root(&self) -> &Path {
        self.root.as_ref().expect("there until drop").path()
    }

    pub fn name(&self) -> &str {
        &self.record.name
    }

    pub fn key(&self) -> PathBuf {
        self.root().join("key")
    }

    pub fn known_hosts(&self) -> PathBuf {
        lab::known_hosts(&self.dir)
    }

    pub fn container(&self, host: &str) -> &str {
        &self.record.host(host).expect("a host of this lab").container
    }

    /// The host's IPv4 address.
    pub fn ip(&self, host: &str) -> IpAddr {
        self.record.host(host).expect("a host of this lab").addresses[0]
    }

    pub fn ip6(&self, host: &str) -> Option<IpAddr> {
        self.record.host(host).expect("a host of this lab").addresses.iter().copied().find(IpAddr::is_ipv6)
    }

    /// How to reach a host as root, its key pinned. `file:key` is relative to [`Lab::root`].
    pub fn access(&self, host: &str) -> HostAccess {
        HostAccess {
            key: Some(SecretRef("file:key".into())),
            host_key: Some(self.record.host(host).expect("a host of this lab").host_key.clone()),
            ..HostAccess::at(host, self.ip(host).to_string())
        }
    }

    /// Runs a shell line as root inside a host, not over SSH (works with sshd gone or the link cut). Panics when it fails.
    pub fn sh(&self, host: &str, line: &str) -> String {
        let out = self.try_sh(host, line);
        let said = String::from_utf8_lossy(&out.stderr).into_owned();
        assert!(out.status.success(), "on {host}: {line}\n{}{said}", String::from_utf8_lossy(&out.stdout));
        String::from_utf8_lossy(&out.stdout).trim_end().to_owned()
    }

    /// As [`Lab::sh`], but the caller judges the result.
    pub fn try_sh(&self, host: &str, line: &str) -> Output {
        let argv = ["sh", "-c", line].map(String::from);
        let mut command = lab::exec_command(&self.record, host, &argv, Input::None).expect("a host of this lab");
        command.output().expect("the engine answers")
    }

    /// `lab up` once more, with the spec as it is now.
    pub fn up_again(&mut self) {
        self.record = lab::up(&self.spec, Progress::silent()).expect("up again");
    }

    /// Makes a fault; panics when it cannot be made.
    pub fn fault(&self, fault: Fault) -> Option<ActiveFault> {
        lab::inject(self.name(), &self.dir, fault, &relay(), Progress::silent()).expect("the fault is made")
    }

    pub fn try_fault(&self, fault: Fault) -> Result<Option<ActiveFault>, lab::LabError> {
        lab::inject(self.name(), &self.dir, fault, &relay(), Progress::silent())
    }

    /// Takes all faults back.
    pub fn heal(&self) {
        lab::heal(self.name(), &self.dir, None, &relay(), Progress::silent()).expect("the faults are healed");
    }

    /// Runs a line over SSH, as an administrator would.
    pub fn ssh(&self, host: &str, line: &str) -> Output {
        let argv = [line.to_owned()];
        let mut command = lab::ssh_command(&self.record, &self.dir, host, "root", &self.key(), &argv).expect("host");
        command.stdin(std::process::Stdio::null()).output().expect("ssh runs")
    }
}

impl LabBuilder {
    pub fn host(self, name: &str) -> Self {
        self.host_with(name, |_| {})
    }

    pub fn host_with(mut self, name: &str, change: impl FnOnce(&mut LabHost)) -> Self {
        let mut host = LabHost::new(name, Vec::new());
        change(&mut host);
        self.hosts.push(host);
        self
    }

    /// A host with a file system of `size` bytes mounted at `path`.
    pub fn host_with_disk(self, name: &str, path: &str, size: u64) -> Self {
        self.host_with(name, |h| h.disks.push(LabDisk { path: path.into(), size }))
    }

    /// A host on which `user` may use sudo.
    pub fn host_with_user(self, name: &str, user: &str, sudo: Sudo) -> Self {
        self.host_with(name, |h| h.user = Some(LabUser { name: user.into(), sudo }))
    }

    /// The lab, up; `None` when lab tests are not wanted here.
    pub fn up(self) -> Option<Lab> {
        if !Lab::wanted() {
            return None;
        }
        reap();
        let subnet = Subnet::take();
        let root = tempfile::Builder::new().prefix("cutover-test-").tempdir().expect("a folder");
        let dir = root.path().join("lab");
        let key = root.path().join("key");
        lab::generate_key(&key, "lab test").expect("ssh-keygen");
        let public = std::fs::read_to_string(key.with_extension("pub")).expect("public key").trim().to_owned();
        let mut hosts = self.hosts;
        for (n, host) in hosts.iter_mut().enumerate() {
            host.addresses = subnet.addresses(11 + n);
        }
        let spec = LabSpec {
            name: format!("{}-{}", self.name, subnet.number),
            dir: dir.clone(),
            networks: vec![subnet.network()],
            hosts,
            authorized_keys: vec![public],
            image: ImageChoice::from_setting(std::env::var("CUTOVER_LAB_IMAGE").ok()),
            labels: vec![(OWNER.into(), owner())],
        };
        let said = |note: Note<'_>| {
            if let Note::Step(text) = note {
                eprintln!("lab {}: {text}", self.name);
            }
        };
        match lab::up(&spec, Progress::new(&said)) {
            Ok(record) => Some(Lab { record, spec, dir, root: Some(root), _subnet: subnet }),
            Err(e) => {
                let _ = lab::down(&spec.name, &dir, Progress::silent());
                panic!("the lab cannot be made: {e}\n{}", e.help().unwrap_or_default());
            }
        }
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        if std::env::var("CUTOVER_LAB_KEEP").is_ok() {
            let root = self.root.take().map(tempfile::TempDir::keep);
            eprintln!("lab {} is kept, as CUTOVER_LAB_KEEP asks: {root:?}", self.record.name);
            return;
        }
        if let Err(e) = lab::down(&self.record.name, &self.dir, Progress::silent()) {
            eprintln!("lab {} is not wholly gone: {e}", self.record.name);
        }
    }
}

/// A /24 and a /64 that no other running test has, held by a file lock that ends with the process.
struct Subnet {
    number: usize,
    _lock: File,
}

impl Subnet {
    fn take() -> Subnet {
        let folder = std::env::temp_dir().join("cutover-test-subnets");
        std::fs::create_dir_all(&folder).expect("a folder for locks");
        for number in 0..250 {
            let lock = File::create(folder.join(number.to_string())).expect("a lock file");
            if lock.try_lock().is_ok() {
                return Subnet { number, _lock: lock };
            }
        }
        panic!("250 labs are running");
    }

    fn network(&self) -> LabNetwork {
        let n = self.number;
        let subnets = [format!("10.213.{n}.0/24"), format!("fd00:213:{n}::/64")];
        LabNetwork { name: "lan".into(), subnets: subnets.map(|s| s.parse().expect("a subnet")).into() }
    }

    fn addresses(&self, host: usize) -> Vec<IpAddr> {
        let n = self.number;
        [format!("10.213.{n}.{host}"), format!("fd00:213:{n}::{host}")].map(|a| a.parse().expect("an address")).into()
    }
}

/// Relays of slow links run in the program itself.
fn relay() -> RelayProgram {
    RelayProgram { program: env!("CARGO_BIN_EXE_cutover").into(), arguments: Vec::new() }
}

/// This process, told apart from a later one with the same id.
fn owner() -> String {
    let pid = std::process::id();
    format!("{pid}-{}", start_time(pid).expect("of this process"))
}

/// Field 22 of `/proc/PID/stat`, counted after the command name, which may hold spaces.
fn start_time(pid: u32) -> Option<String> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(')')?.1.split_whitespace().nth(19).map(str::to_owned)
}

/// Takes down labs whose test is gone.
fn reap() {
    let Ok(engine) = lab::Engine::find() else { return };
    let format = format!(
        "{{{{index .Labels \"{OWNER}\"}}}} {{{{index .Labels \"cutover.lab\"}}}} {{{{index .Labels \"cutover.dir\"}}}}"
    );
    let listed = Command::new(engine.kind.program())
        .args(["ps", "-a", "--filter", &format!("label={OWNER}"), "--format", &format])
        .output();
    let Ok(listed) = listed else { return };
    let text = String::from_utf8_lossy(&listed.stdout).into_owned();
    let mut lines: Vec<&str> = text.lines().collect();
    lines.sort_unstable();
    lines.dedup();
    for line in lines {
        let [owner, name, dir] = line.splitn(3, ' ').collect::<Vec<_>>()[..] else { continue };
        let Some((pid, started)) = owner.split_once('-') else { continue };
        let alive = pid.parse().ok().and_then(start_time).is_some_and(|now| now == started);
        if !alive {
            eprintln!("taking down lab {name}, which a killed test left");
            let _ = lab::down(name, Path::new(dir), Progress::silent());
            if let Some(root) = Path::new(dir).parent().filter(|p| p.starts_with(std::env::temp_dir())) {
                let _ = std::fs::remove_dir_all(root);
            }
        }
    }
}
