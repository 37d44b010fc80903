//! The image of a lab host: Debian with systemd and sshd, built once per recipe and kept by the engine under the recipe's hash.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use sha2::{Digest, Sha256};

use super::apt::{self, AptSettings};
use super::engine::Engine;
use super::progress::Progress;
use super::spec::ImageChoice;
use super::{LabError, engine};

/// The release that lab hosts run.
pub const SUITE: &str = "bookworm";

/// What a plain server install would have, and what the faults need (nftables, libfaketime). No mail software: apply installs it.
const PACKAGES: &str = "systemd systemd-sysv dbus openssh-server iproute2 iputils-ping nftables ca-certificates sudo procps \
                        netbase adduser ucf cron libfaketime faketime";

/// Downloaded into the image but not installed, so that eight hosts do not fetch the same archives eight times.
const ARCHIVES: &str = "postfix postfix-pcre dovecot-imapd dovecot-pop3d dovecot-lmtpd dovecot-sieve dovecot-managesieved \
                        dovecot-submissiond                         knot knot-dnsutils rspamd redis-server haproxy rsync";

/// Changes to the fresh root; `$1` is its path. Each line has its reason.
const CUSTOMISE: &str = r#"
set -eu
root=$1
# Every host gets keys of its own when it is made.
rm -f "$root"/etc/ssh/ssh_host_*
# Units that need hardware, consoles or the network's time, or that would install packages behind a test's back.
chroot "$root" systemctl --quiet mask console-getty.service getty.target systemd-udevd.service systemd-udev-trigger.service \
  systemd-modules-load.service systemd-ask-password-console.path systemd-ask-password-wall.path apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer \
  e2scrub_all.timer e2scrub_reap.service fstrim.timer sys-kernel-config.mount sys-kernel-debug.mount \
  sys-kernel-tracing.mount dev-hugepages.mount 2>/dev/null || true
mkdir -p "$root/etc/systemd/system.conf.d" "$root/etc/ssh/sshd_config.d" "$root/etc/systemd/journald.conf.d" "$root/etc/dpkg/dpkg.cfg.d"
# A reboot in a test should not wait 90 s for a stuck service.
printf '[Manager]\nDefaultTimeoutStopSec=10s\n' > "$root/etc/systemd/system.conf.d/lab.conf"
# The journal survives a reboot, within bounds.
mkdir -p "$root/var/log/journal"
printf '[Journal]\nSystemMaxUse=32M\n' > "$root/etc/systemd/journald.conf.d/lab.conf"
# Many connections at once from one address are a test, not an attack.
printf 'UseDNS no\nMaxStartups 200\n' > "$root/etc/ssh/sshd_config.d/lab.conf"
# A lab host that loses power is made anew: no fsync per unpacked file.
printf 'force-unsafe-io\n' > "$root/etc/dpkg/dpkg.cfg.d/lab"
printf 'Acquire::Languages "none";\n' > "$root/etc/apt/apt.conf.d/90lab"
[ ! -d "$root/usr/local/share/ca-certificates" ] || chroot "$root" update-ca-certificates >/dev/null 2>&1
rm -f "$root"/var/cache/apt/archives/*.deb
"#;

/// The image's name, made if the engine does not have it yet.
pub(crate) fn ensure(engine: &Engine, choice: &ImageChoice, progress: Progress<'_>) -> Result<String, LabError> {
    let image = match choice {
        ImageChoice::Given(image) if engine.image_exists(image) => return Ok(image.clone()),
        ImageChoice::Given(image) => {
            return Err(LabError::NoImage { image: image.clone(), engine: engine.kind.program() });
        }
        ImageChoice::Built => Recipe::of_this_machine(),
    };
    let name = image.name();
    if engine.image_exists(&name) {
        return Ok(name);
    }
    // Two labs that start together build one image: the second waits for the first.
    let path = std::env::temp_dir().join("cutover-lab-image.lock");
    let lock = File::create(&path).map_err(|e| LabError::io(&path, e))?;
    if lock.try_lock().is_err() {
        progress.step("another run builds the image: waiting for it");
        lock.lock().map_err(|e| LabError::io(&path, e))?;
    }
    if !engine.image_exists(&name) {
        image.build(engine, &name, progress)?;
    }
    Ok(name)
}

/// All that decides what is in the image.
struct Recipe {
    apt: AptSettings,
    sources: Vec<String>,
    authorities: Vec<u8>,
}

impl Recipe {
    fn of_this_machine() -> Self {
        let apt = apt::of_this_machine(SUITE);
        let sources = if apt.sources.is_empty() {
            apt::DEBIAN.iter().map(|l| l.replace("{suite}", SUITE)).collect()
        } else {
            apt.sources.clone()
        };
        let authorities = apt.authorities.iter().filter_map(|p| std::fs::read(p).ok()).flatten().collect();
        Self { apt, sources, authorities }
    }

    /// `localhost/cutover-lab:<first 16 digits of the recipe's SHA-256>`.
    fn name(&self) -> String {
        let mut hash = Sha256::new();
        for part in [SUITE, PACKAGES, ARCHIVES, CUSTOMISE] {
            hash.update(part);
            hash.update([0]);
        }
        for line in self.sources.iter().chain(&self.apt.options) {
            hash.update(line);
            hash.update([0]);
        }
        hash.update(&self.authorities);
        let digest: String = hash.finalize().iter().take(8).map(|b| format!("{b:02x}")).collect();
        format!("localhost/cutover-lab:{digest}")
    }

    fn build(&self, engine: &Engine, name: &str, progress: Progress<'_>) -> Result<(), LabError> {
        progress.step("building the image of the lab's hosts from Debian packages (once, about two minutes)");
        let dir = tempfile::Builder::new()
            .prefix("cutover-lab-")
            .tempdir()
            .map_err(|e| LabError::io(std::env::temp_dir(), e))?;
        let root = dir.path().join("root.tar");
        self.debootstrap(&root, dir.path(), progress)?;
        progress.step("importing the image");
        engine.call("importing the image", ["import".as_ref(), root.as_os_str(), name.as_ref()]).map(drop)
    }

    fn debootstrap(&self, root: &Path, scratch: &Path, progress: Progress<'_>) -> Result<(), LabError> {
        let hook = scratch.join("customise.sh");
        std::fs::write(&hook, CUSTOMISE).map_err(|e| LabError::io(&hook, e))?;
        let mut command = Command::new("mmdebstrap");
        command.args(["--variant=minbase", "--skip=cleanup/apt,cleanup/tmp"]);
        command.arg(format!("--include={}", PACKAGES.split_whitespace().collect::<Vec<_>>().join(",")));
        for option in &self.apt.options {
            command.arg(format!("--aptopt={}", option.trim_end_matches(';')));
        }
        for authority in &self.apt.authorities {
            command.arg(format!(
                "--essential-hook=mkdir -p \"$1/usr/local/share/ca-certificates\" && cp '{}' \"$1/usr/local/share/ca-certificates/\"",
                authority.display()
            ));
        }
        command.arg(format!("--customize-hook=sh '{}' \"$1\"", hook.display()));
        command.arg(format!(
            "--customize-hook=chroot \"$1\" apt-get -qq -y -o APT::Sandbox::User=root --download-only install {}",
            ARCHIVES.split_whitespace().collect::<Vec<_>>().join(" ")
        ));
        command.arg(SUITE).arg(root).args(&self.sources);
        watched(&mut command, progress)
    }
}

/// Runs mmdebstrap, passing its `I:` lines on, so that two minutes do not look like a hang.
fn watched(command: &mut Command, progress: Progress<'_>) -> Result<(), LabError> {
    let spawned = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn();
    let mut child = spawned.map_err(|e| match e.kind() {
        std::io::ErrorKind::NotFound => LabError::NoTool { tool: "mmdebstrap", package: "mmdebstrap" },
        _ => LabError::Image { message: e.to_string() },
    })?;
    let mut errors: Vec<String> = Vec::new();
    if let Some(stderr) = child.stderr.take() {
        for line in BufReader::new(stderr).split(b'\n').map_while(Result::ok) {
            let line = String::from_utf8_lossy(&line).trim().to_owned();
            match line.strip_prefix("I: ") {
                Some(said) => progress.detail(said),
                None if line.starts_with("E: ") => errors.push(line),
                None => {}
            }
        }
    }
    let status = child.wait().map_err(|e| LabError::Image { message: e.to_string() })?;
    if status.success() {
        return Ok(());
    }
    errors.truncate(3);
    Err(LabError::Image {
        message: if errors.is_empty() { format!("mmdebstrap: {status}") } else { errors.join("; ") },
    })
}

/// Removes the images that recipes of any version left; for `lab down --images`.
pub(crate) fn remove_all(engine: &Engine) -> Result<usize, LabError> {
    let listed = engine.call(
        "listing images",
        ["images", "--format", "{{.Repository}}:{{.Tag}}", "--filter", "reference=localhost/cutover-lab"],
    )?;
    let names: Vec<&str> = listed.lines().filter(|l| l.starts_with("localhost/cutover-lab:")).collect();
    for name in &names {
        let mut command = engine.command();
        command.args(["rmi", name]);
        engine::run("removing an image", &mut command, None)?;
    }
    Ok(names.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_follows_the_recipe() {
        let recipe = |sources: &[&str], options: &[&str]| Recipe {
            apt: AptSettings { options: options.iter().map(|o| (*o).to_owned()).collect(), ..AptSettings::default() },
            sources: sources.iter().map(|s| (*s).to_owned()).collect(),
            authorities: Vec::new(),
        };
        let one = recipe(&["deb http://a.example bookworm main"], &[]).name();
        assert_eq!(one, recipe(&["deb http://a.example bookworm main"], &[]).name());
        assert_ne!(one, recipe(&["deb http://b.example bookworm main"], &[]).name());
        assert_ne!(one, recipe(&["deb http://a.example bookworm main"], &["Acquire::Retries \"3\";"]).name());
        assert!(one.starts_with("localhost/cutover-lab:"), "{one}");
    }
}
