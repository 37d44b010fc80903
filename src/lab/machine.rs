//! What the machine that carries the lab must have room for.

use super::progress::Progress;

/// All hosts share root's inotify instances with the machine; a systemd host takes about seven (PID 1 five, dbus, logind), and the
/// kernel's default of 128 ends at eighteen hosts, after which systemd waits for ever in the middle of its boot.
const INSTANCES: &str = "/proc/sys/fs/inotify/max_user_instances";
const PER_HOST: u64 = 8;
const ENOUGH: u64 = 1024;

/// Raises the limit until the machine's next boot when it could become too tight. Without the permission the hosts may still come up.
pub(crate) fn make_room(hosts: usize, progress: Progress<'_>) {
    let now = std::fs::read_to_string(INSTANCES).ok().and_then(|v| v.trim().parse::<u64>().ok());
    let Some((now, wanted)) = now.and_then(|now| Some((now, wanted(now, hosts)?))) else { return };
    if std::fs::write(INSTANCES, wanted.to_string()).is_ok() {
        progress.step(&format!(
            "fs.inotify.max_user_instances raised from {now} to {wanted} until the next boot: each host needs some"
        ));
    } else {
        progress.step(&format!(
            "fs.inotify.max_user_instances is {now} and cannot be raised; hosts beyond the {}th may not boot",
            now / PER_HOST
        ));
    }
}

fn wanted(now: u64, hosts: usize) -> Option<u64> {
    let wanted = ENOUGH.max(hosts as u64 * PER_HOST * 2);
    (now < wanted).then_some(wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_roomy_machine_is_left_alone() {
        assert_eq!(wanted(128, 8), Some(1024));
        assert_eq!(wanted(1024, 8), None);
        assert_eq!(wanted(1024, 100), Some(1600));
    }
}
