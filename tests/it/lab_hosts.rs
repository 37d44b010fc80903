//! The lab makes hosts that are what a topology's hosts are: systemd, sshd, addresses, names, packages.

use std::process::Command;
use std::time::{Duration, Instant};

use cutover::lab::{self, Fault, HostState, LabHost, Progress, Sudo};

use crate::support::lab::Lab;

#[test]
fn hosts_boot_and_reach_each_other_by_name_and_address() {
    let Some(lab) = Lab::new("names").host("a").host("b").up() else { return };
    assert_eq!(lab.sh("a", "ps -p 1 -o comm="), "systemd");
    let logged_in = lab.ssh("a", "hostname");
    assert_eq!(String::from_utf8_lossy(&logged_in.stdout), "a\n", "{logged_in:?}");
    for there in ["b".to_owned(), lab.ip("b").to_string(), lab.ip6("b").expect("this machine has IPv6").to_string()] {
        lab.sh("a", &format!("ping -c 1 -W 5 {there}"));
        lab.sh("a", &format!("timeout 5 bash -c 'exec 3<>/dev/tcp/{there}/22; head -1 <&3 | grep -q ^SSH-'"));
    }
    let keys: Vec<&str> = lab.record.hosts.iter().map(|h| h.host_key.as_str()).collect();
    assert_ne!(keys[0], keys[1], "each host has a key of its own");
}

#[test]
fn a_host_can_install_packages() {
    let Some(lab) = Lab::new("apt").host("a").up() else { return };
    lab.sh("a", "apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -qq -y knot >/dev/null 2>&1");
    lab.sh("a", "systemctl is-active knot || { systemctl start knot && systemctl is-active knot; }");
}

#[test]
fn up_twice_changes_nothing_and_down_leaves_nothing() {
    let Some(mut lab) = Lab::new("twice").host("a").host_with_disk("b", "/srv/mail", 16 << 20).up() else { return };
    lab.sh("a", "echo kept > /etc/kept");
    lab.sh("b", "echo kept > /srv/mail/kept");
    let boot = lab.sh("a", "systemctl show -p UserspaceTimestamp");
    let known = std::fs::read_to_string(lab.known_hosts()).unwrap();
    lab.up_again();
    assert_eq!(lab.sh("a", "systemctl show -p UserspaceTimestamp"), boot, "the host was not touched");
    assert_eq!(std::fs::read_to_string(lab.known_hosts()).unwrap(), known);
    let status = lab::status(lab.name(), lab.dir()).unwrap();
    assert!(status.hosts.iter().all(|h| h.state == HostState::Running && h.answers), "{status:?}");
    assert!(!lab.try_sh("b", "dd if=/dev/zero of=/srv/mail/x bs=1M count=20").status.success(), "the disk has a size");

    // A stopped host is started with its data; one that changed is made anew; one that is no longer named goes; names follow.
    lab.fault(Fault::Kill { host: "b".into() });
    let a = lab.spec.hosts.remove(0);
    let mut c = LabHost::new("c", a.addresses);
    c.aliases = vec!["c.acme.test".into()];
    lab.spec.hosts.push(c);
    lab.up_again();
    assert_eq!(lab.sh("b", "cat /srv/mail/kept"), "kept");
    lab.sh("b", "getent hosts c.acme.test && ! getent hosts a");
    assert_eq!(lab.sh("c", "hostname --fqdn"), "c.acme.test");
    assert!(lab.ssh("c", "true").status.success());

    let (name, dir) = (lab.name().to_owned(), lab.dir().to_owned());
    drop(lab);
    assert!(lab::status(&name, &dir).is_err());
    let podman = |args: &[&str]| {
        String::from_utf8_lossy(&Command::new("podman").args(args).output().unwrap().stdout).into_owned()
    };
    assert_eq!(podman(&["ps", "-aq", "--filter", &format!("label=cutover.lab={name}")]), "");
    assert_eq!(podman(&["network", "ls", "-q", "--filter", &format!("label=cutover.lab={name}")]), "");
    assert!(!std::fs::read_to_string("/proc/self/mounts").unwrap().contains(&name), "no mount is left");
    assert!(!dir.exists());
    // A second time there is nothing to do, and nothing is wrong.
    lab::down(&name, &dir, Progress::silent()).unwrap();
}

#[test]
fn a_host_that_reboots_itself_comes_back_and_a_user_may_use_sudo() {
    let Some(lab) = Lab::new("self").host_with_user("a", "admin", Sudo::WithoutPassword).up() else { return };
    lab.sh("a", "su admin -c 'sudo -n id -u'");
    let boot = lab.sh("a", "systemctl show -p UserspaceTimestamp");
    lab.try_sh("a", "systemctl reboot");
    let end = Instant::now() + Duration::from_secs(60);
    while lab.ssh("a", "systemctl show -p UserspaceTimestamp").stdout.trim_ascii() == boot.as_bytes()
        || !lab.ssh("a", "true").status.success()
    {
        assert!(Instant::now() < end, "it did not come back");
        std::thread::sleep(Duration::from_millis(200));
    }
}

#[test]
fn a_lab_of_another_folder_is_not_taken_over() {
    let Some(lab) = Lab::new("mine").host("a").up() else { return };
    let mut other = lab.spec.clone();
    other.dir = lab.root().join("other");
    let refused = lab::up(&other, Progress::silent()).unwrap_err();
    assert!(refused.to_string().contains(&lab.dir().display().to_string()), "{refused}");
    assert!(lab.ssh("a", "true").status.success());

    // Nor is it taken down from there, while the folder that made it stands.
    let refused = lab::down(&lab.spec.name, &other.dir, Progress::silent()).unwrap_err();
    assert_eq!(refused.code(), "E1209", "{refused}");
    assert!(lab.ssh("a", "true").status.success());

    // Under another name its network is still taken, and the error says so.
    other.name = format!("{}-two", lab.spec.name);
    let refused = lab::up(&other, Progress::silent()).unwrap_err();
    assert_eq!(refused.code(), "E1219", "{refused}");
    lab::down(&other.name, &other.dir, Progress::silent()).unwrap();
    assert!(lab.ssh("a", "true").status.success());
}
