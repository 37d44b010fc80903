//! SSH by the `openssh` crate: one master a host, kept open; each script is one channel in it.
//!
//! All options stand in a configuration file of ours, one block a host and one for each jump host, so a jump host is
//! reached with its own key, port and known host key, which `-J` alone cannot say.

use std::fmt::Write as _;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio as Std;
use std::time::Duration;

use openssh::{Session, Stdio};
use tempfile::TempDir;
use tokio::process::Command;

use crate::model::attr::SecretRef;
use crate::model::host::{HostAccess, HostError, HostErrorKind};

use super::quote::sh;
use super::refusal::{error, of_connect};
use super::session::{Pipes, converse};
use super::{Exit, Script, SecretReader, boot, folder};

/// Everything ssh needs for one host, in a folder that only we can read.
pub struct Profile {
    pub dir: TempDir,
    pub config: PathBuf,
    /// Name of the host's block in the configuration.
    pub alias: String,
    /// Jump hosts, nearest to the host first, and where the ssh to each writes its messages.
    pub jumps: Vec<(HostAccess, PathBuf)>,
}

/// Writes the profile. `route` is the host, then its jump host, then that one's, and so on.
pub async fn profile(
    route: &[&HostAccess],
    known_hosts: &[PathBuf],
    secrets: &dyn SecretReader,
) -> Result<Profile, HostError> {
    let Some(host) = route.first() else {
        return Err(HostError {
            host: "".into(),
            kind: HostErrorKind::Protocol,
            message: "no host to connect to".into(),
            help: None,
        });
    };
    let broken =
        |e: io::Error| error(host, HostErrorKind::Protocol, format!("no folder for the SSH session: {e}"), None);
    let dir = folder::make().map_err(broken)?;
    let config = dir.path().join("config");
    let log = |hop: usize| dir.path().join(format!("jump{hop}"));
    let mut text = String::new();
    for (i, hop) in route.iter().enumerate() {
        let key = match &hop.key {
            Some(key) => Some(key_file(host, key, dir.path(), i, secrets).await?),
            None => None,
        };
        let pinned = match &hop.host_key {
            None => None,
            Some(pin) => {
                let path = dir.path().join(format!("known{i}"));
                std::fs::write(&path, format!("{} {}\n", alias(hop), pin.trim())).map_err(broken)?;
                Some(path)
            }
        };
        // Not ProxyJump: ssh throws away what the ssh to a jump host says when the session is a kept one.
        let jump = route.get(i + 1).map(|j| {
            let quoted = |p: &Path| sh(&p.display().to_string());
            format!("ssh -F {} -E {} -W '[%h]:%p' {}", quoted(&config), quoted(&log(i + 1)), alias(j))
        });
        block(&mut text, hop, key.as_deref(), pinned.as_deref(), jump.as_deref(), known_hosts)?;
    }
    std::fs::write(&config, text).map_err(broken)?;
    let jumps = route.iter().enumerate().skip(1).map(|(i, hop)| ((*hop).clone(), log(i))).collect();
    Ok(Profile { alias: alias(host), config, dir, jumps })
}

fn alias(host: &HostAccess) -> String {
    format!("cutover-{}", host.name)
}

async fn key_file(
    host: &HostAccess,
    key: &SecretRef,
    dir: &Path,
    hop: usize,
    secrets: &dyn SecretReader,
) -> Result<PathBuf, HostError> {
    let refuse = |m: String| error(host, HostErrorKind::Secret, m, None);
    if let Some(path) = secrets.path(key) {
        // ssh would only say "Permission denied" later.
        std::fs::File::open(&path)
            .map_err(|e| refuse(format!("the key {key} cannot be read: {}: {e}", path.display())))?;
        return Ok(path);
    }
    let value = secrets.read(key).await.map_err(refuse)?;
    let path = folder::key(dir, hop);
    let write = || -> io::Result<()> {
        use std::io::Write as _;
        use std::os::unix::fs::OpenOptionsExt as _;
        let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
        file.write_all(&value)?;
        if value.last() != Some(&b'\n') {
            file.write_all(b"\n")?;
        }
        Ok(())
    };
    write().map_err(|e| refuse(format!("the key {key} cannot be handed to ssh: {e}")))?;
    Ok(path)
}

fn block(
    out: &mut String,
    host: &HostAccess,
    key: Option<&Path>,
    pinned: Option<&Path>,
    jump: Option<&str>,
    known_hosts: &[PathBuf],
) -> Result<(), HostError> {
    for word in [&host.address, &host.user, &host.name.0] {
        if word.is_empty()
            || word.starts_with('-')
            || word.contains(|c: char| c.is_whitespace() || c.is_control() || "\"'%$`*?!\\".contains(c))
        {
            return Err(error(
                host,
                HostErrorKind::Protocol,
                format!("`{word}` cannot stand in an SSH configuration"),
                None,
            ));
        }
    }
    let quoted = |p: &Path| format!("\"{}\"", p.display());
    let _ = writeln!(out, "Host {}", alias(host));
    let mut set = |name: &str, value: &str| {
        let _ = writeln!(out, "  {name} {value}");
    };
    set("HostName", &host.address);
    set("Port", &host.port.to_string());
    set("User", &host.user);
    set("BatchMode", "yes");
    set("ConnectTimeout", &host.timeout_seconds.max(1).to_string());
    // A dead link is noticed within 15 s.
    set("ServerAliveInterval", "5");
    set("ServerAliveCountMax", "3");
    set("StrictHostKeyChecking", "yes");
    set("UpdateHostKeys", "no");
    set("ForwardAgent", "no");
    set("ForwardX11", "no");
    set("PermitLocalCommand", "no");
    if let Some(key) = key {
        set("IdentityFile", &quoted(key));
        set("IdentitiesOnly", "yes");
    }
    match pinned {
        Some(path) => {
            set("HostKeyAlias", &alias(host));
            set("UserKnownHostsFile", &quoted(path));
            set("GlobalKnownHostsFile", "/dev/null");
        }
        None => {
            let mut files: Vec<String> = known_hosts.iter().map(|p| quoted(p)).collect();
            files.extend(["~/.ssh/known_hosts".to_owned(), "~/.ssh/known_hosts2".to_owned()]);
            set("UserKnownHostsFile", &files.join(" "));
        }
    }
    if let Some(jump) = jump {
        set("ProxyCommand", jump);
    }
    Ok(())
}

/// Starts the master and waits until it is logged in.
pub async fn connect(host: &HostAccess, profile: Profile, hops: usize) -> Result<Session, HostError> {
    let log = profile.dir.path().join("log");
    // A jump host's ssh writes to standard error; the master keeps it open, so it is a file, not a pipe.
    let errors = profile.dir.path().join("err");
    let file = std::fs::File::create(&errors)
        .map_err(|e| error(host, HostErrorKind::Protocol, format!("no file for ssh's messages: {e}"), None))?;
    let mut command = Command::new("ssh");
    command
        .arg("-F")
        .arg(&profile.config)
        .arg("-E")
        .arg(&log)
        .arg("-S")
        .arg(profile.dir.path().join("master"))
        // The master outlives a killed cutover by two idle minutes at most.
        .args(["-M", "-f", "-N", "-o", "ControlPersist=120"])
        .arg(&profile.alias)
        .stdin(Std::null())
        .stdout(Std::null())
        .stderr(file)
        .kill_on_drop(true);
    // ConnectTimeout ends with the banner; a stuck login is ended here.
    let patience = host.timeout() * (1 + hops as u32) + Duration::from_secs(5);
    let status = match tokio::time::timeout(patience, command.status()).await {
        Ok(Ok(status)) => status,
        Ok(Err(e)) => {
            let help = "install openssh-client on this machine".to_owned();
            return Err(error(host, HostErrorKind::Protocol, format!("ssh cannot be started here: {e}"), Some(help)));
        }
        Err(_) => {
            let message = format!("{}:{} did not log us in within {} s", host.address, host.port, patience.as_secs());
            return Err(error(host, HostErrorKind::Unreachable, message, None));
        }
    };
    if !status.success() {
        let read = |p: &Path| std::fs::read_to_string(p).unwrap_or_default();
        return Err(refused(host, &profile.jumps, &format!("{}{}", read(&errors), read(&log))));
    }
    folder::forget_keys(profile.dir.path());
    Ok(Session::new_native_mux(profile.dir))
}

/// Why no login came about: at the host, or at the last jump host that has something to say.
fn refused(host: &HostAccess, jumps: &[(HostAccess, PathBuf)], log: &str) -> HostError {
    for (hop, path) in jumps.iter().rev() {
        let said = std::fs::read_to_string(path).unwrap_or_default();
        // The jump host let us in; it is the host behind it that does not answer.
        if said.contains("open failed") || said.contains("stdio forwarding failed") {
            return of_connect(host, &said);
        }
        if !said.trim().is_empty() {
            let e = of_connect(hop, &said);
            return HostError {
                host: host.name.clone(),
                message: format!("at its jump host {}: {}", hop.name, e.message),
                ..e
            };
        }
    }
    of_connect(host, log)
}

/// Why a script did not run or end over a kept session.
pub enum Trouble {
    /// The master is gone; the script has not started, so a new master may carry it.
    Gone,
    /// The server takes no more channels now; the script has not started.
    Busy,
    Failed(HostError),
}

/// Runs a script over a kept session.
pub async fn exec(
    host: &HostAccess,
    session: &Session,
    script: &Script,
    shell: &str,
    password: Option<&str>,
    on_line: impl FnMut(&str) + Send,
) -> Result<Exit, Trouble> {
    let line = boot::command_line(host, script, shell, password.is_some());
    let mut command = session.raw_command(line);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = match command.spawn().await {
        Ok(child) => child,
        Err(e) => {
            let text = chain(&e);
            return Err(if text.contains("refused by peer") || text.contains("Session open refused") {
                Trouble::Busy
            } else {
                tracing::debug!(host = %host.name, "session gone: {text}");
                Trouble::Gone
            });
        }
    };
    let (Some(stdin), Some(stdout), Some(stderr)) =
        (child.stdin().take(), child.stdout().take(), child.stderr().take())
    else {
        return Err(Trouble::Failed(error(host, HostErrorKind::Protocol, "an SSH channel has no pipes", None)));
    };
    let input = boot::input(script, password);
    let wait = async move {
        match child.wait().await {
            Ok(status) => Ok(status.code()),
            // The crate's word for exit status 127.
            Err(openssh::Error::Remote(e)) if e.kind() == io::ErrorKind::NotFound => Ok(Some(127)),
            Err(openssh::Error::RemoteProcessTerminated) => Ok(None),
            Err(e) => Err(chain(&e)),
        }
    };
    converse(host, Pipes { stdin, stdout, stderr }, input, script.limit, on_line, wait).await.map_err(Trouble::Failed)
}

/// Runs a script over a connection of its own.
pub async fn exec_fresh(
    host: &HostAccess,
    profile: Profile,
    script: Script,
    shell: &str,
    password: Option<&str>,
    on_line: impl FnMut(&str) + Send,
) -> Result<Exit, HostError> {
    let line = boot::command_line(host, &script, shell, password.is_some());
    let mut command = Command::new("ssh");
    command
        .arg("-F")
        .arg(&profile.config)
        .args(["-o", "ControlMaster=no", "-o", "ControlPath=none", "-T"])
        .arg(&profile.alias)
        .arg(line);
    let exit = super::local::spawn(host, command, script, password, on_line).await?;
    // 255 is ssh's own failure; our scripts never end so.
    if exit.code == Some(255) {
        return Err(refused(host, &profile.jumps, &exit.stderr));
    }
    Ok(exit)
}

fn chain(e: &dyn std::error::Error) -> String {
    let mut text = e.to_string();
    let mut source = e.source();
    while let Some(inner) = source {
        let _ = write!(text, ": {inner}");
        source = inner.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transport::FileSecrets;

    fn host(name: &str) -> HostAccess {
        HostAccess { port: 2222, user: "ops".into(), timeout_seconds: 7, ..HostAccess::at(name, "192.0.2.7") }
    }

    #[tokio::test]
    async fn a_profile_speaks_for_the_host_and_for_its_jump_host() {
        let jump = HostAccess { host_key: Some("ssh-ed25519 AAAA".into()), ..host("gate") };
        let end = host("mail-1");
        let secrets = FileSecrets { root: "/".into() };
        let profile = profile(&[&end, &jump], &["/lab/known hosts".into()], &secrets).await.unwrap();
        let text = std::fs::read_to_string(&profile.config).unwrap();
        assert!(text.contains("Host cutover-mail-1\n  HostName 192.0.2.7\n  Port 2222\n  User ops\n"), "{text}");
        assert!(text.contains("-W '[%h]:%p' cutover-gate\n"), "{text}");
        assert!(text.contains("UserKnownHostsFile \"/lab/known hosts\" ~/.ssh/known_hosts"), "{text}");
        assert!(text.contains("HostKeyAlias cutover-gate\n"), "{text}");
        assert_eq!(text.matches("StrictHostKeyChecking yes").count(), 2);
        let pinned = std::fs::read_to_string(profile.dir.path().join("known1")).unwrap();
        assert_eq!(pinned, "cutover-gate ssh-ed25519 AAAA\n");
    }

    #[tokio::test]
    async fn words_that_would_change_the_configuration_are_refused() {
        let secrets = FileSecrets { root: "/".into() };
        for address in ["-oProxyCommand=x", "a\nProxyCommand x", "a b", ""] {
            let bad = HostAccess { address: address.into(), ..host("mail-1") };
            assert!(profile(&[&bad], &[], &secrets).await.is_err(), "{address:?}");
        }
    }

    #[tokio::test]
    async fn a_missing_key_is_told_before_ssh_starts() {
        let secrets = FileSecrets { root: "/nowhere".into() };
        let bad = HostAccess { key: Some(SecretRef("file:id".into())), ..host("mail-1") };
        let e = profile(&[&bad], &[], &secrets).await.err().unwrap();
        assert_eq!(e.kind, HostErrorKind::Secret);
        assert!(e.message.contains("file:id"), "{e}");
    }
}
