//! Each fault does to a real host what it says, and healing takes it back.

use std::time::{Duration, Instant};

use cutover::lab::{self, Fault, HostState, Peer};

use crate::support::lab::Lab;

/// Whether sshd of `to` greets a client on `from`; a busy machine may take its time.
fn reaches(lab: &Lab, from: &str, to: &str) -> bool {
    greeted(lab, from, to, 10)
}

/// Whether nothing of it comes for two seconds.
fn cut_off(lab: &Lab, from: &str, to: &str) -> bool {
    !greeted(lab, from, to, 2)
}

fn greeted(lab: &Lab, from: &str, to: &str, seconds: u32) -> bool {
    let line = format!("timeout {seconds} bash -c 'exec 3<>/dev/tcp/{to}/22; head -c 4 <&3 | grep -q SSH-'");
    lab.try_sh(from, &line).status.success()
}

fn state(lab: &Lab, host: &str) -> HostState {
    let status = lab::status(lab.name(), lab.dir()).expect("the lab is up");
    status.hosts.iter().find(|h| h.name == host).expect("a host of the lab").state
}

#[test]
fn a_cut_link_is_cut_both_ways_and_for_both_families_and_outlives_a_reboot() {
    let Some(lab) = Lab::new("cut").host("a").host("b").host("c").up() else { return };
    let b6 = lab.ip6("b").expect("IPv6").to_string();
    assert!(reaches(&lab, "a", "b") && reaches(&lab, "a", &b6));
    lab.fault(Fault::Cut { host: "a".into(), peer: Peer::Host("b".into()) });
    for (from, to) in [("a", "b"), ("b", "a"), ("a", b6.as_str())] {
        assert!(cut_off(&lab, from, to), "{from} still reaches {to}");
    }
    assert!(reaches(&lab, "a", "c") && reaches(&lab, "c", "b"), "other links are whole");
    // A firewall of the host that is loaded anew does not mend the link.
    lab.sh("a", "nft flush ruleset");
    assert!(cut_off(&lab, "a", "b"));
    lab.sh("a", "echo kept > /etc/kept");
    lab.fault(Fault::Reboot { host: "a".into() });
    assert!(cut_off(&lab, "a", "b"), "a reboot is no way round");
    assert_eq!(lab.sh("a", "cat /etc/kept"), "kept");
    assert_eq!(lab.sh("a", "hostname -I | tr ' ' '\n' | head -1"), lab.ip("a").to_string());
    lab.heal();
    assert!(reaches(&lab, "a", "b") && reaches(&lab, "b", "a") && reaches(&lab, "a", &b6));
}

#[test]
fn a_host_can_be_cut_off_from_the_machine_alone() {
    let Some(lab) = Lab::new("off").host("a").host("b").up() else { return };
    lab.fault(Fault::Cut { host: "a".into(), peer: Peer::Machine });
    assert!(!lab.ssh("a", "true").status.success());
    assert!(lab.ssh("b", "true").status.success());
    assert!(reaches(&lab, "b", "a"));
    lab.heal();
    assert!(lab.ssh("a", "true").status.success());
}

#[test]
fn a_slow_link_costs_its_round_trips_and_keeps_addresses_and_bytes() {
    let Some(lab) = Lab::new("slow").host("a").host("b").up() else { return };
    // b answers with the address that a connection comes from.
    lab.sh(
        "b",
        "printf '[Socket]\\nListenStream=0.0.0.0:7000\\nAccept=yes\\n' > /etc/systemd/system/peer.socket
         printf '[Service]\\nStandardOutput=socket\\nExecStart=/bin/sh -c \"echo $REMOTE_ADDR\"\\n' > /etc/systemd/system/peer@.service
         systemctl daemon-reload; systemctl start peer.socket",
    );
    let b = lab.ip("b");
    let ask = |from: &str| lab.sh(from, &format!("timeout 5 bash -c 'exec 3<>/dev/tcp/{b}/7000; head -1 <&3'"));
    assert_eq!(ask("a"), lab.ip("a").to_string());
    let quick = Instant::now();
    assert!(lab.ssh("b", "true").status.success());
    let quick = quick.elapsed();

    lab.fault(Fault::Slow { host: "b".into(), peer: Peer::Machine, delay: Duration::from_millis(100) });
    let slow = Instant::now();
    assert!(lab.ssh("b", "true").status.success());
    let slow = slow.elapsed();
    // An SSH login takes at least four round trips.
    assert!(slow > quick + Duration::from_millis(800), "{quick:?}, then {slow:?}");

    lab.fault(Fault::Slow { host: "a".into(), peer: Peer::Host("b".into()), delay: Duration::from_millis(100) });
    let began = Instant::now();
    assert_eq!(ask("a"), lab.ip("a").to_string(), "the relay does not hide the client");
    assert!(began.elapsed() > Duration::from_millis(300), "{:?}", began.elapsed());
    lab.sh("a", "nft flush ruleset; sleep 1.5");
    let began = Instant::now();
    ask("a");
    assert!(began.elapsed() > Duration::from_millis(300), "the relay puts its rules back: {:?}", began.elapsed());

    lab.heal();
    assert_eq!(lab.sh("a", "nft list ruleset | grep -c cutover || true"), "0");
    let began = Instant::now();
    assert!(lab.ssh("b", "true").status.success());
    assert!(began.elapsed() < quick + Duration::from_millis(700));
}

#[test]
fn a_thin_link_loses_packets_and_has_a_rate() {
    let Some(lab) = Lab::new("thin").host("a").host("b").up() else { return };
    let lost = |lab: &Lab| {
        let out = lab.try_sh("a", "ping -q -i 0.01 -c 200 -W 1 b | grep -o '[0-9]* received' | cut -d' ' -f1");
        200 - String::from_utf8_lossy(&out.stdout).trim().parse::<i32>().unwrap()
    };
    assert_eq!(lost(&lab), 0);
    lab.fault(Fault::Thin {
        host: "a".into(),
        peer: Peer::Host("b".into()),
        loss_permille: 200,
        bytes_per_second: None,
    });
    // Each ping passes twice: 36 % are lost; chance alone stays within these bounds but for once in a billion runs.
    let seen = lost(&lab);
    assert!((30..120).contains(&seen), "{seen} of 200 lost");
    lab.heal();
    assert_eq!(lost(&lab), 0);
    let send = "head -c 400000 /dev/zero | timeout 60 ssh -o StrictHostKeyChecking=no -o BatchMode=yes -i /root/k b 'cat >/dev/null'";
    lab.sh("a", "ssh-keygen -q -t ed25519 -N '' -f /root/k");
    let public = lab.sh("a", "cat /root/k.pub");
    lab.sh("b", &format!("echo '{public}' >> /root/.ssh/authorized_keys"));
    lab.sh("a", send);
    lab.fault(Fault::Thin {
        host: "a".into(),
        peer: Peer::Host("b".into()),
        loss_permille: 0,
        bytes_per_second: Some(100_000),
    });
    let began = Instant::now();
    lab.sh("a", send);
    assert!(began.elapsed() > Duration::from_secs(2), "{:?}", began.elapsed());
}

#[test]
fn hosts_are_paused_and_killed_and_come_back_with_their_data() {
    let Some(lab) = Lab::new("power").host("a").up() else { return };
    lab.sh("a", "echo data > /srv/data; sync");
    lab.fault(Fault::Pause { host: "a".into() });
    assert_eq!(state(&lab, "a"), HostState::Paused);
    assert!(!lab::status(lab.name(), lab.dir()).unwrap().hosts[0].answers);
    lab.heal();
    assert_eq!(state(&lab, "a"), HostState::Running);
    lab.fault(Fault::Kill { host: "a".into() });
    assert_eq!(state(&lab, "a"), HostState::Stopped);
    let again = lab.try_fault(Fault::Pause { host: "a".into() }).unwrap_err();
    assert!(again.to_string().contains("stopped"), "{again}");
    lab.heal();
    assert!(lab.ssh("a", "cat /srv/data").stdout.starts_with(b"data"));
    assert!(lab::status(lab.name(), lab.dir()).unwrap().faults.is_empty());
}

#[test]
fn a_full_disk_is_full_and_gives_everything_back() {
    let Some(lab) = Lab::new("fill").host_with_disk("a", "/srv/mail", 16 << 20).up() else { return };
    lab.sh("a", "echo before > /srv/mail/before; mkdir -p /etc/thing; echo x > /etc/thing/x; chmod 640 /etc/thing/x; chown root:mail /etc/thing/x");
    for path in ["/srv/mail", "/etc/thing"] {
        lab.fault(Fault::Fill { host: "a".into(), path: path.into(), leave: 65536 });
        let big = lab.try_sh("a", &format!("head -c 400000 /dev/zero > {path}/big"));
        assert!(String::from_utf8_lossy(&big.stderr).contains("No space left"), "{path}: {big:?}");
        lab.sh("a", &format!("rm {path}/big; echo small > {path}/small"));
    }
    lab.fault(Fault::Reboot { host: "a".into() });
    assert!(!lab.try_sh("a", "head -c 400000 /dev/zero > /etc/thing/big").status.success(), "still full");
    lab.sh("a", "rm -f /etc/thing/big");
    lab.heal();
    for path in ["/srv/mail", "/etc/thing"] {
        lab.sh("a", &format!("head -c 400000 /dev/zero > {path}/big && cat {path}/small && rm {path}/big"));
    }
    assert_eq!(
        lab.sh(
            "a",
            "cat /srv/mail/before; stat -c '%a %G' /etc/thing/x; ls -A /etc /srv/mail | grep -c cutover-lab || true"
        ),
        "before\n640 mail\n0"
    );
}

#[test]
fn services_are_stopped_and_clocks_skewed() {
    let Some(lab) = Lab::new("inside").host("a").up() else { return };
    lab.fault(Fault::Stop { host: "a".into(), service: "cron".into() });
    assert_eq!(lab.sh("a", "systemctl is-active cron || true"), "inactive");
    lab.fault(Fault::Reboot { host: "a".into() });
    assert_eq!(lab.sh("a", "systemctl is-active cron || true"), "inactive", "stopped again after the reboot");
    lab.heal();
    assert_eq!(lab.sh("a", "systemctl is-active cron"), "active");

    lab.sh("a", "printf '[Service]\nExecStart=/bin/sh -c \"while :; do date +%%%%s > /run/clock; sleep 0.2; done\"\n' > /etc/systemd/system/clock.service; systemctl daemon-reload; systemctl start clock");
    let off = || lab.sh("a", "sleep 1; echo $(( $(cat /run/clock) - $(date +%s) ))").parse::<i64>().unwrap();
    assert!(off().abs() < 5);
    lab.fault(Fault::Skew { host: "a".into(), service: "clock".into(), seconds: -7200 });
    assert!((-7210..-7190).contains(&off()), "the service sees another time, the host does not");
    lab.heal();
    assert!(off().abs() < 5);
    let none = lab.try_fault(Fault::Stop { host: "a".into(), service: "no-such".into() }).unwrap_err();
    assert!(none.to_string().contains("no-such"), "{none}");
    assert!(lab::status(lab.name(), lab.dir()).unwrap().faults.is_empty(), "a fault that was not made is not active");
}
