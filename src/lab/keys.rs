//! SSH keys of the lab: a host key for each host, so that known_hosts is written and nothing is trusted on first use.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::record::{LabRecord, write_atomic};
use super::{LabError, engine};

/// The pair in `dir`, made when it is not there. Gives back the public half without its comment.
pub(crate) fn host_key(dir: &Path) -> Result<(PathBuf, String), LabError> {
    let path = dir.join("ssh_host_ed25519_key");
    let public = path.with_extension("pub");
    if !path.exists() || !public.exists() {
        std::fs::create_dir_all(dir).map_err(|e| LabError::io(dir, e))?;
        let _ = std::fs::remove_file(&path);
        generate(&path, "lab host key")?;
    }
    let text = std::fs::read_to_string(&public).map_err(|e| LabError::io(&public, e))?;
    Ok((path, text.split_whitespace().take(2).collect::<Vec<_>>().join(" ")))
}

/// A fresh ed25519 pair without a passphrase at `path` and `path.pub`, mode 0600.
pub fn generate(path: &Path, comment: &str) -> Result<(), LabError> {
    let mut command = Command::new("ssh-keygen");
    command.args(["-q", "-t", "ed25519", "-N", "", "-C", comment, "-f"]).arg(path);
    engine::run("making an SSH key", &mut command, None).map_err(|e| match e {
        LabError::Command { message, .. } if message.contains("No such file") => {
            LabError::NoTool { tool: "ssh-keygen", package: "openssh-client" }
        }
        other => other,
    })?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).map_err(|e| LabError::io(path, e))
}

/// Where the lab's known_hosts stands.
pub fn known_hosts(dir: &Path) -> PathBuf {
    dir.join("known_hosts")
}

/// One line a host: its name and addresses, then the key.
pub(crate) fn write_known_hosts(dir: &Path, record: &LabRecord) -> Result<(), LabError> {
    let mut text = String::new();
    for host in &record.hosts {
        let names: Vec<String> =
            std::iter::once(host.name.clone()).chain(host.addresses.iter().map(|a| a.to_string())).collect();
        text.push_str(&format!("{} {}\n", names.join(","), host.host_key));
    }
    write_atomic(&known_hosts(dir), text.as_bytes())
}
