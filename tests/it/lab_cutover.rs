//! A window against real servers: Knot as primary, BIND as secondary, a Postfix that posts every 200 ms through an unbound cache, and
//! two Postfix hosts between which the MX moves, there and back. The program is killed in each stage and goes on.
//! `CUTOVER_CUTOVERS=20` for the long form: that many windows, one after the other.
#![allow(clippy::print_stderr)] // counts are part of the result

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::support::lab::Lab;

const ZONE: &str = "acme.test";
const SECRET: &str = "b25seSBhIHRlc3Qgc2VjcmV0IG9mIDMyIG9jdGV0cy4=";

fn install(lab: &Lab, host: &str, packages: &str) {
    lab.sh(
        host,
        &format!(
            "apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends {packages} >/dev/null 2>&1"
        ),
    );
}

fn world() -> Option<Lab> {
    let lab = Lab::new("mxmove").host("knot").host("bind").host("old").host("new").host("sender").up()?;
    std::thread::scope(|s| {
        for (host, packages) in
            [("knot", "knot"), ("bind", "bind9"), ("old", "postfix"), ("new", "postfix"), ("sender", "postfix unbound")]
        {
            let lab = &lab;
            s.spawn(move || install(lab, host, packages));
        }
    });
    let ip = |host: &str| lab.ip(host).to_string();
    lab.sh(
        "knot",
        &format!(
            "cat > /var/lib/knot/{ZONE}.zone <<'END'
$TTL 300
@ 60 SOA ns.{ZONE}. hostmaster.{ZONE}. 1 5 5 86400 3
@ NS ns
@ NS ns2
ns A {}
ns2 A {}
@ 6 MX 10 old
old 5 A {}
new 5 A {}
intranet TXT \"not ours\"
END
chown knot: /var/lib/knot/{ZONE}.zone && cat > /etc/knot/knot.conf <<'END'
server:
    listen: [ 0.0.0.0@53, \"::@53\" ]
key:
  - id: cutover.acme.test
    algorithm: hmac-sha256
    secret: {SECRET}
remote:
  - id: second
    address: {}
acl:
  - id: cutover
    key: cutover.acme.test
    action: [transfer, update]
  - id: second
    address: {}
    action: transfer
zone:
  - domain: {ZONE}
    storage: /var/lib/knot
    file: {ZONE}.zone
    notify: second
    acl: [cutover, second]
END
systemctl restart knot",
            ip("knot"),
            ip("bind"),
            ip("old"),
            ip("new"),
            ip("bind"),
            ip("bind"),
        ),
    );
    lab.sh(
        "bind",
        &format!(
            "cat > /etc/bind/named.conf <<'END'
options {{ directory \"/var/cache/bind\"; recursion no; listen-on {{ any; }}; listen-on-v6 {{ any; }}; }};
zone {ZONE} {{ type secondary; primaries {{ {}; }}; file \"/var/cache/bind/{ZONE}\"; }};
END
systemctl restart named",
            ip("knot"),
        ),
    );
    for host in ["old", "new"] {
        lab.sh(host, &format!(
            "postconf -e maillog_file=/var/log/postfix.log mydestination={ZONE} local_recipient_maps= local_transport=discard: inet_interfaces=all \
             smtpd_client_connection_rate_limit=0 && systemctl restart postfix"
        ));
    }
    lab.sh("sender", &format!(
        "cat > /etc/unbound/unbound.conf.d/lab.conf <<'END'
server:
    interface: 127.0.0.1
    local-zone: \"test.\" nodefault
    domain-insecure: \"{ZONE}\"
stub-zone:
    name: \"{ZONE}\"
    stub-addr: {}
    stub-addr: {}
END
rm -f /etc/unbound/unbound.conf.d/root-auto-trust-anchor-file.conf
systemctl reset-failed unbound; systemctl restart unbound && echo nameserver 127.0.0.1 > /etc/resolv.conf
postconf -e maillog_file=/var/log/postfix.log mydestination= inet_interfaces=loopback-only inet_protocols=ipv4 myhostname=sender.test relayhost= \
 smtp_connection_cache_on_demand=no minimal_backoff_time=2s maximal_backoff_time=4s queue_run_delay=2s smtp_host_lookup=dns
systemctl restart postfix",
        ip("knot"), ip("bind"),
    ));
    let served = (0..100).any(|_| {
        let up = lab.try_sh(
            "sender",
            &format!("unbound-host -C /dev/null -t MX {ZONE} 127.0.0.1 >/dev/null 2>&1; getent ahostsv4 old.{ZONE}"),
        );
        let bind = lab.try_sh("bind", &format!("test -s /var/cache/bind/{ZONE}"));
        up.status.success() && bind.status.success() || {
            std::thread::sleep(Duration::from_millis(200));
            false
        }
    });
    assert!(served, "the zone is not served to the sender");
    Some(lab)
}

fn now() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("a time").as_secs() as i64
}

/// Writes the topology, its window `lead` seconds from now.
fn topology(lab: &Lab, lead: i64, lasts: i64) {
    let start = jiff::Timestamp::from_second(now() + lead).expect("a time").strftime("%Y-%m-%dT%H:%M:%S");
    let access = lab.access("knot");
    let text = format!(
        "language 1\norganization o domain={ZONE} anchor=knot\nplatform p knot=\"3.2\"\nsite s\n\
         connection root user=root key=(secret)\"file:key\" host-key=\"{}\"\n\
         server knot platform=p site=s fqdn=ns.{ZONE} ip=\"{}\" connection=root {{ roles bastion; }}\n\
         dns-provider d type=rfc2136 endpoint=\"dns://{}\" tsig-name=cutover.acme.test key=(secret)\"env:DNS_KEY\" {{ secondaries \"{}\"; }}\n\
         accepted-domain {ZONE}\n\
         zone {ZONE} provider=d ttl=\"30s\" cutover-ttl=\"2s\" {{\n record \"@\" MX new.{ZONE} priority=10 held-until=night\n}}\n\
         rollback-point back restores=dns valid-for=\"1d\"\n\
         cutover-window night start=\"{start}\" for=\"{lasts}s\" rollback=back {{ steps lower-ttl flip-mx verify raise-ttl prune; }}\n",
        access.host_key.expect("a key"),
        lab.ip("knot"),
        lab.ip("knot"),
        lab.ip("bind"),
    );
    std::fs::write(lab.root().join("topology.kdl"), text).expect("topology");
}

fn cutover(lab: &Lab, args: &[&str]) -> Child {
    Command::new(env!("CARGO_BIN_EXE_cutover"))
        .arg("--root")
        .arg(lab.root())
        .args(args)
        .env("DNS_KEY", SECRET)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("runs")
}

fn ended(child: Child) -> (Option<i32>, String) {
    let out = child.wait_with_output().expect("ends");
    (out.status.code(), format!("{}{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr)))
}

/// Waits until the primary shows this, or the program has ended; then a little longer.
fn until(lab: &Lab, child: &mut Child, shows: &str, millis: u64) {
    let end = Instant::now() + Duration::from_secs(120);
    while Instant::now() < end && child.try_wait().expect("asked").is_none() && !zone(lab).contains(shows) {}
    std::thread::sleep(Duration::from_millis(millis));
}

/// Runs, is killed whenever the zone shows something, goes on, and ends with one of these codes.
fn with_kills(lab: &Lab, first: &[&str], kills: &[(&str, u64)], codes: &[i32]) -> String {
    let mut child = cutover(lab, first);
    let mut killed = 0;
    for (shows, millis) in kills {
        until(lab, &mut child, shows, *millis);
        if child.try_wait().expect("asked").is_none() {
            child.kill().expect("killed");
            killed += 1;
        }
        let (code, said) = ended(child);
        assert!(code.is_none_or(|c| codes.contains(&c)), "{code:?}: {said}");
        child = cutover(lab, &["resume", "--wait", "2m"]);
    }
    let (code, said) = ended(child);
    assert!(code.is_some_and(|c| codes.contains(&c)), "{code:?}: {said}");
    eprintln!("{first:?}: killed {killed} times");
    said
}

/// The zone as its primary has it, without the SOA.
fn zone(lab: &Lab) -> String {
    lab.sh("knot", &format!("knotc zone-read {ZONE} | grep -v ' SOA ' | sort"))
}

fn landed(lab: &Lab, host: &str) -> u32 {
    lab.sh(host, "grep -c 'to=<u.*status=sent' /var/log/postfix.log || true").parse().unwrap_or(0)
}

#[test]
fn mail_lands_while_its_mx_moves_there_and_back_and_the_program_is_killed() {
    let Some(lab) = world() else { return };
    let before = zone(&lab);
    lab.sh(
        "sender",
        &format!(
            "cat > /root/post <<'END'
i=0
while [ ! -e /root/stop ]; do
    i=$((i+1)); echo $i > /root/posted
    printf 'Subject: %d\\n\\nx\\n' $i | sendmail -f a@sender.test u$i@{ZONE}
    sleep 0.2
done
touch /root/over
END
systemd-run --quiet --unit=poster sh /root/post"
        ),
    );
    let rounds: u32 = std::env::var("CUTOVER_CUTOVERS").ok().and_then(|n| n.parse().ok()).unwrap_or(1);
    for round in 0..rounds {
        // There: killed while it lowers, while it waits for the old TTL, right after the swap and while it waits for what follows.
        topology(&lab, 15, 900);
        let shift = u64::from(round) * 130;
        let (low, new) = ("2 MX 10 old.acme.test.", "2 MX 10 new.acme.test.");
        let kills = [(low, shift), (low, 1_500 + shift), (new, shift), (new, 1_000 + shift)];
        let apply = ["apply", "--window", "night", "--short-lead", "--yes", "--wait", "2m"];
        let said = with_kills(&lab, &apply, &kills, &[3]);
        assert!(said.contains("waits until"), "it waits for the end of the window: {said}");
        let served = zone(&lab);
        assert!(served.contains("2 MX 10 new.acme.test."), "{served}");
        // Twice the short TTL after the slowest server nobody asks the old host any more.
        std::thread::sleep(Duration::from_secs(5));
        let old = landed(&lab, "old");
        lab.sh("old", "systemctl stop postfix");
        std::thread::sleep(Duration::from_secs(4));
        lab.sh("old", "systemctl start postfix");
        assert_eq!(landed(&lab, "old"), old, "mail went to the old host after its answers had run out");
        assert!(landed(&lab, "new") > 0);

        // And back.
        let said = with_kills(&lab, &["rollback", "back", "--yes"], &[("6 MX 10 old.acme.test.", shift)], &[0]);
        // It is over when every name server serves the old record; what caches still hold of the new one runs out after its TTL.
        std::thread::sleep(Duration::from_secs(5));
        let new = landed(&lab, "new");
        lab.sh("new", "systemctl stop postfix");
        std::thread::sleep(Duration::from_secs(4));
        lab.sh("new", "systemctl start postfix");
        assert_eq!(landed(&lab, "new"), new, "mail went to the new host after its answers had run out: {said}");
        assert_eq!(zone(&lab), before, "the zone is what it was, its serial apart");
    }
    lab.sh("sender", "touch /root/stop; while [ ! -e /root/over ]; do sleep 0.1; done");
    let posted: u32 = lab.sh("sender", "cat /root/posted").parse().expect("a number");
    let empty = (0..150).any(|_| {
        let queue = lab.sh("sender", "postqueue -j | wc -l");
        queue == "0" || {
            std::thread::sleep(Duration::from_millis(200));
            false
        }
    });
    assert!(empty, "mail is left in the queue: {}", lab.sh("sender", "postqueue -p"));
    let unique = |host: &str| {
        lab.sh(host, "grep -o 'to=<u[0-9]*@.*status=sent' /var/log/postfix.log | grep -o 'u[0-9]*@' | sort -u")
    };
    let (old, new) = (unique("old"), unique("new"));
    let all: std::collections::BTreeSet<&str> = old.lines().chain(new.lines()).collect();
    assert_eq!(all.len() as u32, posted, "every message landed");
    let log = |what: &str| lab.sh("sender", &format!("grep -c 'to=<u.*status={what}' /var/log/postfix.log || true"));
    assert_eq!(
        (log("bounced").as_str(), log("deferred").as_str()),
        ("0", "0"),
        "none bounced, none had to be tried twice"
    );
    eprintln!(
        "{rounds} windows there and back, {posted} messages: {} landed on the old host, {} on the new one, none lost, bounced or deferred",
        old.lines().count(),
        new.lines().count()
    );
}
