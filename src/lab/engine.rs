//! The container engine, Podman or Docker: which one, with which runtime, and how it is called.

use std::io::Read;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::LabError;

/// Longest time that a call of the engine may take; a container that does not stop in time is killed by the engine after 10 s.
const CALL_LIMIT: Duration = Duration::from_secs(120);

/// Beyond an engine's defaults: mounts and namespaces of systemd's units (`PrivateDevices=` makes nodes), nftables, ping, sudo's audit.
const CAPABILITIES: [&str; 6] = ["SYS_ADMIN", "NET_ADMIN", "NET_RAW", "MKNOD", "SYS_PTRACE", "AUDIT_WRITE"];

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EngineKind {
    Podman,
    Docker,
}

impl EngineKind {
    pub fn program(self) -> &'static str {
        match self {
            EngineKind::Podman => "podman",
            EngineKind::Docker => "docker",
        }
    }
}

/// How this machine runs systemd hosts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Engine {
    pub kind: EngineKind,
    /// OCI runtime to ask for; `None`: the engine's own default serves.
    pub runtime: Option<String>,
}

/// The engine and how it was found, to be said to the user.
#[derive(Debug, Clone)]
pub struct Chosen {
    pub engine: Engine,
    /// One line: `podman with runc (crun: cgroup layout refused)`.
    pub why: String,
}

/// Which cgroup layout the machine has. systemd in a container needs a writable tree: under v2 the engine gives one,
/// under v1 and hybrid it must be mounted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cgroups {
    V1OrHybrid,
    V2,
}

pub(crate) fn cgroups() -> Cgroups {
    if Path::new("/sys/fs/cgroup/cgroup.controllers").exists() { Cgroups::V2 } else { Cgroups::V1OrHybrid }
}

impl Engine {
    /// Finds an engine that answers. The runtime is probed later, with an image ([`Engine::choose_runtime`]).
    pub fn find() -> Result<Engine, LabError> {
        let mut found = Vec::new();
        for kind in [EngineKind::Podman, EngineKind::Docker] {
            let args: &[&str] = match kind {
                EngineKind::Podman => &["version", "--format", "{{.Client.Version}}"],
                // Asks the daemon, so that a client without one does not count.
                EngineKind::Docker => &["version", "--format", "{{.Server.Version}}"],
            };
            match limited(Command::new(kind.program()).args(args), None, Duration::from_secs(20)) {
                Ok(out) if out.status.success() => return Ok(Engine { kind, runtime: None }),
                Ok(out) => found.push(format!("{}: {}", kind.program(), last_line(&out.stderr))),
                Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
                    found.push(format!("{}: not installed", kind.program()));
                }
                Err(e) => found.push(format!("{}: {e}", kind.program())),
            }
        }
        Err(LabError::NoEngine { found: found.join("; ") })
    }

    /// Tries the engine's default runtime, then crun and runc, each with the flags of a lab host, and takes the first that starts.
    pub fn choose_runtime(mut self, image: &str) -> Result<Chosen, LabError> {
        let mut refused = Vec::new();
        let candidates: &[Option<&str>] = match self.kind {
            EngineKind::Podman => &[None, Some("runc"), Some("crun")],
            EngineKind::Docker => &[None],
        };
        for candidate in candidates {
            self.runtime = candidate.map(str::to_owned);
            let mut command = self.command();
            command.args(["run", "--rm", "--network", "none", "--entrypoint", "/bin/true"]);
            command.args(self.host_flags()).arg(image);
            let shown = candidate.map_or_else(|| self.default_runtime(), str::to_owned);
            match limited(&mut command, None, CALL_LIMIT) {
                Ok(out) if out.status.success() => {
                    let because = if refused.is_empty() { String::new() } else { format!(" ({})", refused.join("; ")) };
                    let why = format!("{} with {shown}{because}", self.kind.program());
                    return Ok(Chosen { engine: self, why });
                }
                Ok(out) => refused.push(format!("{shown}: {}", last_line(&out.stderr))),
                Err(e) => refused.push(format!("{shown}: {e}")),
            }
        }
        Err(LabError::NoRuntime { found: refused.join("; ") })
    }

    /// What the engine uses unless told otherwise.
    fn default_runtime(&self) -> String {
        let format = match self.kind {
            EngineKind::Podman => "{{.Host.OCIRuntime.Name}}",
            EngineKind::Docker => "{{.DefaultRuntime}}",
        };
        let told = self.call("asking for the runtime", ["info", "--format", format]).unwrap_or_default();
        if told.trim().is_empty() { "its default runtime".into() } else { format!("{} (its default)", told.trim()) }
    }

    /// Flags that make a container a host: systemd as PID 1, network and mounts its own to change.
    pub(crate) fn host_flags(&self) -> Vec<String> {
        let mut flags: Vec<String> = CAPABILITIES.iter().map(|c| format!("--cap-add={c}")).collect();
        // A profile that forbids mounts would break units of systemd; where there is no such module the flags mean nothing.
        flags.extend(["--security-opt=apparmor=unconfined", "--security-opt=label=disable"].map(String::from));
        match self.kind {
            EngineKind::Podman => flags.push("--systemd=always".into()),
            EngineKind::Docker => {
                let more =
                    ["--tmpfs=/run:exec,mode=755", "--tmpfs=/run/lock", "--stop-signal=SIGRTMIN+3", "--cgroupns=host"];
                flags.extend(more.map(String::from));
                flags.extend(["--security-opt=seccomp=unconfined"].map(String::from));
            }
        }
        if self.kind == EngineKind::Docker || cgroups() == Cgroups::V1OrHybrid {
            flags.extend(["-v".into(), "/sys/fs/cgroup:/sys/fs/cgroup:rw".into()]);
        }
        // Raising limits above our own may not be permitted, so a host's limits stay within them.
        let (files, processes) = own_limits();
        flags.extend(["--ulimit".into(), format!("nofile=1024:{}", files.min(524_288))]);
        flags.extend(["--ulimit".into(), format!("nproc={0}:{0}", processes.min(4096))]);
        flags
    }

    /// The engine's command with its runtime chosen.
    pub(crate) fn command(&self) -> Command {
        let mut command = Command::new(self.kind.program());
        if self.kind == EngineKind::Podman {
            // Warnings of every call about cgroups that it can do without would stand between the lines of `lab exec`.
            command.args(["--log-level", "error"]);
        }
        if let (EngineKind::Podman, Some(runtime)) = (self.kind, &self.runtime) {
            command.args(["--runtime", runtime]);
        }
        command
    }

    /// Calls the engine; its output when it succeeded, else what it said last.
    pub(crate) fn call<I, S>(&self, what: &str, args: I) -> Result<String, LabError>
    where
        I: IntoIterator<Item = S>,
        S: AsRef<std::ffi::OsStr>,
    {
        let mut command = self.command();
        command.args(args);
        run(what, &mut command, None)
    }

    pub(crate) fn image_exists(&self, image: &str) -> bool {
        self.call("looking for the image", ["image", "inspect", "--format", "{{.Id}}", image]).is_ok()
    }

    /// Runs a shell script inside a host as root, outside of SSH; gives back its output.
    pub(crate) fn script(&self, container: &str, what: &str, script: &str) -> Result<String, LabError> {
        let mut command = self.command();
        command.args(["exec", "-i", container, "sh", "-seu"]);
        run(what, &mut command, Some(script.as_bytes()))
    }

    /// Process id of a container's PID 1 as this machine sees it; `None` when it does not run.
    pub(crate) fn pid(&self, container: &str) -> Option<u32> {
        let out = self.call("asking for the process", ["inspect", "--format", "{{.State.Pid}}", container]).ok()?;
        out.trim().parse().ok().filter(|p| *p != 0)
    }
}

/// Runs a command to its end within [`CALL_LIMIT`], feeding `input`.
pub(crate) fn run(what: &str, command: &mut Command, input: Option<&[u8]>) -> Result<String, LabError> {
    let out = limited(command, input, CALL_LIMIT).map_err(|e| match e.kind() {
        std::io::ErrorKind::TimedOut => LabError::Slow { what: what.into(), seconds: CALL_LIMIT.as_secs() },
        _ => LabError::Command { what: what.into(), message: e.to_string() },
    })?;
    if out.status.success() {
        return Ok(String::from_utf8_lossy(&out.stdout).into_owned());
    }
    let said = if out.stderr.is_empty() { last_line(&out.stdout) } else { last_line(&out.stderr) };
    Err(LabError::Command { what: what.into(), message: if said.is_empty() { out.status.to_string() } else { said } })
}

/// Output of a command that may hang: killed at the limit. Output is read on threads, so that full pipes do not stall it.
fn limited(command: &mut Command, input: Option<&[u8]>, limit: Duration) -> std::io::Result<Output> {
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command.stdin(if input.is_some() { Stdio::piped() } else { Stdio::null() });
    let mut child = command.spawn()?;
    let (mut stdout, mut stderr, stdin) = (child.stdout.take(), child.stderr.take(), child.stdin.take());
    std::thread::scope(|scope| {
        let out = scope.spawn(move || read_all(stdout.as_mut()));
        let err = scope.spawn(move || read_all(stderr.as_mut()));
        if let (Some(mut pipe), Some(bytes)) = (stdin, input) {
            scope.spawn(move || {
                // A command that ends without reading its input closes the pipe: its exit status says why.
                let _ = std::io::Write::write_all(&mut pipe, bytes);
            });
        }
        let end = Instant::now() + limit;
        let status = loop {
            if let Some(status) = child.try_wait()? {
                break status;
            }
            if Instant::now() >= end {
                child.kill()?;
                child.wait()?;
                return Err(std::io::ErrorKind::TimedOut.into());
            }
            std::thread::sleep(Duration::from_millis(10));
        };
        let joined = |h: std::thread::ScopedJoinHandle<'_, Vec<u8>>| h.join().unwrap_or_default();
        Ok(Output { status, stdout: joined(out), stderr: joined(err) })
    })
}

fn read_all(pipe: Option<&mut impl Read>) -> Vec<u8> {
    let mut bytes = Vec::new();
    if let Some(pipe) = pipe {
        let _ = pipe.read_to_end(&mut bytes);
    }
    bytes
}

/// The last line with something in it that is not a warning; engines print the error last.
pub(crate) fn last_line(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let mut lines: Vec<&str> = text.lines().map(str::trim).filter(|l| !l.is_empty()).collect();
    if lines.iter().any(|l| !l.contains("level=warning")) {
        lines.retain(|l| !l.contains("level=warning"));
    }
    lines.last().unwrap_or(&"").trim_start_matches("Error: ").to_owned()
}

/// Hard limits of this process: open files, processes.
fn own_limits() -> (u64, u64) {
    let text = std::fs::read_to_string("/proc/self/limits").unwrap_or_default();
    (hard_limit(&text, "Max open files"), hard_limit(&text, "Max processes"))
}

/// `Max open files            20000                20000                files`; `unlimited` is the largest number.
fn hard_limit(limits: &str, name: &str) -> u64 {
    limits
        .lines()
        .find_map(|l| l.strip_prefix(name))
        .and_then(|rest| rest.split_whitespace().nth(1))
        .map_or(1024, |v| v.parse().unwrap_or(u64::MAX))
}

/// Fails early and clearly for a user that the engine would refuse in riddles.
pub(crate) fn require_root() -> Result<(), LabError> {
    use std::os::unix::fs::MetadataExt;
    let uid = std::fs::metadata("/proc/self").map(|m| m.uid()).unwrap_or(0);
    if uid == 0 { Ok(()) } else { Err(LabError::NotRoot { uid }) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_read_from_the_kernels_table() {
        let table = "Limit                     Soft Limit           Hard Limit           Units     \n\
                     Max processes             96364                unlimited            processes \n\
                     Max open files            1024                 20000                files     \n";
        assert_eq!(hard_limit(table, "Max open files"), 20000);
        assert_eq!(hard_limit(table, "Max processes"), u64::MAX);
        assert_eq!(hard_limit("", "Max processes"), 1024);
    }

    #[test]
    fn the_error_is_taken_not_the_warning_around_it() {
        let said = b"time=1 level=warning msg=\"cgroup\"\nError: no such container\ntime=2 level=warning msg=\"x\"\n";
        assert_eq!(last_line(said), "no such container");
        assert_eq!(last_line(b"level=warning only\n"), "level=warning only");
        assert_eq!(last_line(b""), "");
    }

    #[test]
    fn a_hanging_command_is_ended_and_a_chatty_one_is_not_stalled() {
        let slow = limited(Command::new("sleep").arg("60"), None, Duration::from_millis(50)).unwrap_err();
        assert_eq!(slow.kind(), std::io::ErrorKind::TimedOut);
        let big = vec![b'x'; 1 << 20];
        let echoed = limited(&mut Command::new("cat"), Some(&big), Duration::from_secs(20)).unwrap();
        assert_eq!(echoed.stdout.len(), big.len());
    }
}
