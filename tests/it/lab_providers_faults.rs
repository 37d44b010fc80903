//! What goes wrong with a real host: it cannot be reached, its disk is full, its script is killed, nobody disarms the switch.
#![allow(clippy::unwrap_used, clippy::print_stderr)] // helpers of tests are tests

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use cutover::lab::{Fault, Sudo};
use cutover::model::attr::{Attr, SecretRef};
use cutover::model::host::{Become, HostAccess, HostErrorKind};
use cutover::model::resource::{Notify, NotifyHow, Resource};
use cutover::model::step::{Action, Outcome, StepId};
use cutover::model::{HostName, Kind};
use cutover::providers::agent::{Agent, RemoteStep, StepReport};
use cutover::transport::{FileSecrets, Link, Script, Settings, Transport};

use crate::support::lab::Lab;
use crate::support::life::Place;
use crate::support::steps::{content, done, outcome, resource, step};

fn file(path: &str, text: &[u8]) -> Resource {
    resource("h", Kind::File, path, &[("content", content(text, false))])
}

fn make(id: StepId, path: &str, text: &[u8]) -> RemoteStep {
    step(id, &file(path, text), Action::Create, Some("absent"), Some(text))
}

#[tokio::test]
async fn a_host_that_cannot_be_asked_says_why() {
    let Some(lab) = Lab::new("refusals").host_with_user("h", "ops", Sudo::WithPassword).host("gate").up() else {
        return;
    };
    let (root, gate) = (lab.access("h"), lab.access("gate"));
    std::fs::write(lab.root().join("wrong"), "not it\n").unwrap();
    let mut p = Place::new(lab);
    let fails = async |p: &mut Place, host: &HostAccess| {
        p.host = host.clone();
        let e = p.try_observe(&[]).await.unwrap_err();
        eprintln!("{:?} {e} | {}", e.kind, e.help.clone().unwrap_or_default());
        e
    };
    let with = |change: &dyn Fn(&mut HostAccess)| {
        let mut host = root.clone();
        // A session is kept by name.
        host.name = HostName(format!("{}-{}", host.name, fastrand()));
        change(&mut host);
        host
    };

    let down = fails(
        &mut p,
        &with(&|h| {
            h.address = "10.213.255.77".into();
            h.timeout_seconds = 1
        }),
    )
    .await;
    assert_eq!(down.kind, HostErrorKind::Unreachable);
    assert_eq!(fails(&mut p, &with(&|h| h.port = 2222)).await.kind, HostErrorKind::Unreachable);
    let pinned = |key: &str| with(&|h| h.host_key = Some(key.to_owned()));
    let changed = fails(&mut p, &pinned(gate.host_key.as_deref().unwrap())).await;
    assert_eq!(changed.kind, HostErrorKind::HostKey);
    assert!(changed.message.contains("not the one"), "{changed}");
    assert_eq!(
        fails(&mut p, &with(&|h| h.host_key = None)).await.kind,
        HostErrorKind::HostKey,
        "unknown, nothing pinned"
    );
    assert_eq!(fails(&mut p, &with(&|h| h.user = "nobody".into())).await.kind, HostErrorKind::Denied);
    assert_eq!(
        fails(&mut p, &with(&|h| h.key = Some(SecretRef("file:none".into())))).await.kind,
        HostErrorKind::Secret
    );

    // A login without rights; sudo without and with its password, the right one and another.
    let ops = |become_, password: Option<&str>| {
        with(&|h| {
            h.user = "ops".into();
            h.become_ = become_;
            h.become_password = password.map(|p| SecretRef(format!("file:{p}")));
        })
    };
    assert_eq!(fails(&mut p, &ops(Become::None, None)).await.kind, HostErrorKind::Become);
    assert_eq!(fails(&mut p, &ops(Become::Doas, None)).await.kind, HostErrorKind::Become, "no doas there");
    p.sh("echo 'ops:o p$w' | chpasswd");
    std::fs::write(p.lab.root().join("right"), "o p$w\n").unwrap();
    let wants = fails(&mut p, &ops(Become::Sudo, None)).await;
    assert_eq!(wants.kind, HostErrorKind::Become);
    assert!(wants.message.contains("password"), "{wants}");
    assert_eq!(fails(&mut p, &ops(Become::Sudo, Some("wrong"))).await.kind, HostErrorKind::Become);
    p.host = ops(Become::Sudo, Some("right"));
    let seen = p.observe(&[file("/etc/shadow", b"")]).await;
    assert!(seen.records["file:/etc/shadow"].present && seen.facts.os.starts_with("debian"), "{seen:?}");
    // sudo that does not ask: the password on standard input is not taken for a part of the script.
    p.sh("printf 'ops ALL=(ALL) NOPASSWD: ALL\\n' >/etc/sudoers.d/zz");
    p.host = ops(Become::Sudo, Some("wrong"));
    p.observe(&[]).await;
    p.sh("printf 'ops ALL=(ALL) !ALL\\n' >/etc/sudoers.d/zz");
    assert_eq!(fails(&mut p, &ops(Become::Sudo, Some("right"))).await.kind, HostErrorKind::Become, "not in sudoers");

    // Shells that talk: before our output, without a newline, on both streams, at the end.
    p.sh("printf 'echo Welcome; printf \"no newline\"; echo warn >&2; trap \"echo bye\" EXIT\\n' >/root/.bashrc; chsh -s /bin/bash");
    p.host = with(&|_| ());
    assert_eq!(p.observe(&[file("/etc/hostname", b"")]).await.facts.hostname, "h");
    p.host = root.clone();
    done(p.one("chatty", make(0, "/srv/x", b"x")).await);

    // Through a jump host, its own key pinned; a wrong pin of the jump host is found too.
    let behind = |pin: Option<String>| {
        let hop = HostAccess { host_key: pin, ..gate.clone() };
        let mut end = root.clone();
        end.jump = Some("gate".into());
        (end, BTreeMap::from([(HostName::from("gate"), hop)]))
    };
    let lab = p.lab;
    lab.sh("h", &format!("nft add table inet t; nft 'add chain inet t i {{ type filter hook input priority 0; }}'; nft add rule inet t i tcp dport 22 ip saddr != {} drop", lab.ip("gate")));
    let mut direct = root.clone();
    direct.timeout_seconds = 2;
    let mut p = Place::reached_as(lab, direct, BTreeMap::new());
    assert_eq!(p.try_observe(&[]).await.unwrap_err().kind, HostErrorKind::Unreachable);
    let (end, hosts) = behind(gate.host_key.clone());
    p = Place::reached_as(p.lab, end, hosts);
    assert_eq!(p.observe(&[]).await.facts.hostname, "h");
    let (end, hosts) = behind(root.host_key.clone());
    p = Place::reached_as(p.lab, end, hosts);
    let e = p.try_observe(&[]).await.unwrap_err();
    assert_eq!(e.kind, HostErrorKind::HostKey);
    assert!(e.message.starts_with("at its jump host gate"), "{e}");
}

fn fastrand() -> u64 {
    use std::sync::atomic::{AtomicU64, Ordering};
    static NEXT: AtomicU64 = AtomicU64::new(0);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

#[tokio::test]
async fn known_hosts_of_a_lab_serve_and_a_lost_session_is_made_anew() {
    let Some(lab) = Lab::new("session").host("h").up() else { return };
    let mut host = lab.access("h");
    host.host_key = None;
    let secrets = std::sync::Arc::new(FileSecrets { root: lab.root().into() });
    let settings = Settings { known_hosts: vec![lab.known_hosts()], ..Default::default() };
    let network = cutover::transport::Network::new(settings, BTreeMap::new(), secrets);
    let say = async |line: &str| {
        let script = Script {
            body: format!("{line}\n").into(),
            payload: None,
            link: Link::Kept,
            limit: Duration::from_secs(5),
            far: cutover::transport::Far::Shell,
        };
        let mut out = vec![];
        network.exec(&host, script, |l| out.push(l.to_owned())).await.map(|exit| (out, exit.code))
    };
    assert_eq!(say("echo hello; exit 3").await.unwrap(), (vec!["hello".to_owned()], Some(3)));
    // Many at once in one session: none is refused, at most four are in flight.
    let many = futures(20, || say("echo $PPID; sleep 0.1")).await;
    let parents: std::collections::BTreeSet<_> = many.iter().map(|r| r.as_ref().unwrap().0[0].clone()).collect();
    assert_eq!(parents.len(), 1, "one connection: {parents:?}");
    // The connection dies while nothing runs: the next script gets a new one.
    lab.sh("h", "pkill -f '[s]shd: root'");
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(say("echo again").await.unwrap().0, ["again"]);
    // And while one runs: that one is lost, never repeated.
    let lost = say("echo ran >>/tmp/ran; pkill -f '[s]shd: root'; sleep 3").await;
    assert!(!matches!(&lost, Ok((_, Some(0)))), "{lost:?}");
    assert_eq!(lab.sh("h", "cat /tmp/ran"), "ran");
    let late = say("sleep 30").await.unwrap_err();
    assert_eq!(late.kind, HostErrorKind::Timeout);
}

/// Runs the same thing `n` times side by side.
async fn futures<F: Future>(n: usize, make: impl Fn() -> F) -> Vec<F::Output> {
    let mut running: Vec<_> = (0..n).map(|_| Box::pin(make())).collect();
    let mut out: Vec<Option<F::Output>> = running.iter().map(|_| None).collect();
    std::future::poll_fn(|cx| {
        for (slot, f) in out.iter_mut().zip(&mut running).filter(|(slot, _)| slot.is_none()) {
            if let std::task::Poll::Ready(v) = f.as_mut().poll(cx) {
                *slot = Some(v);
            }
        }
        if out.iter().all(Option::is_some) { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
    })
    .await;
    out.into_iter().flatten().collect()
}

#[tokio::test]
async fn a_full_disk_leaves_nothing_half_done() {
    let built = Lab::new("full").host_with("h", |h| {
        h.disks.push(cutover::lab::LabDisk { path: "/srv/small".into(), size: 4 << 20 });
        h.disks.push(cutover::lab::LabDisk { path: "/var/lib/cutover".into(), size: 4 << 20 });
    });
    let Some(lab) = built.up() else { return };
    let p = Place::new(lab);
    let old = b"old\n".repeat(1000);
    done(p.one("a", make(0, "/srv/small/f", &old)).await);
    let now = p.look(&file("/srv/small/f", &old)).await.fingerprint;
    p.lab.fault(Fault::Fill { host: "h".into(), path: "/srv/small".into(), leave: 8 << 10 });
    let new = b"new\n".repeat(10_000);
    let failed = p.one("b", step(0, &file("/srv/small/f", &new), Action::Update, Some(&now), Some(&new))).await;
    assert!(matches!(&failed, Outcome::Failed { output, .. } if output.contains("disk full")), "{failed:?}");
    assert_eq!(p.look(&file("/srv/small/f", &old)).await.fingerprint, now);
    assert_eq!(p.sh("ls -A /srv/small | grep cutover-new || true"), "");
    p.lab.heal();
    // No room for the former content, the marks and the ledger: nothing is begun.
    p.lab.fault(Fault::Fill { host: "h".into(), path: "/var/lib/cutover".into(), leave: 0 });
    let (reports, result) = p
        .run_batch(Place::batch(
            "c",
            vec![step(0, &file("/srv/small/f", &new), Action::Update, Some(&now), Some(&new))],
        ))
        .await;
    let refused = outcome(&reports, 0);
    assert!(
        result.is_err() || matches!(&refused, Some(Outcome::Failed { output, .. }) if output.contains("disk full")),
        "{result:?} {refused:?}"
    );
    assert_eq!(p.look(&file("/srv/small/f", &old)).await.fingerprint, now);
    p.lab.heal();
    done(p.one("c", step(0, &file("/srv/small/f", &new), Action::Update, Some(&now), Some(&new))).await);
}

/// Runs a batch and kills the far side's script, as often as asked, at whatever it is doing; then goes on as a resume would.
#[tokio::test]
async fn a_script_that_is_killed_anywhere_is_taken_up_again() {
    let Some(lab) = Lab::new("killed").host("h").up() else { return };
    let p = Place::new(lab);
    p.sh("mkdir /srv/t");
    const N: u32 = 5;
    let steps = || {
        let mut steps: Vec<RemoteStep> =
            (0..N).map(|i| make(i, &format!("/srv/t/{i}"), format!("{i}\n").as_bytes())).collect();
        let run = [("run", Attr::text("echo ran >>/srv/t/log; sleep 0.2")), ("once", Attr::Bool(true))];
        steps.push(step(
            N,
            &resource("h", Kind::Command, "once", &run),
            Action::Run,
            Some("command unsatisfied"),
            None,
        ));
        steps.push(make(N + 1, "/srv/t/last", b"last"));
        steps
    };
    let resources: Vec<Resource> = (0..N).map(|i| file(&format!("/srv/t/{i}"), format!("{i}\n").as_bytes())).collect();
    let (mut kills, mut unknown) = (0, 0);
    // Milliseconds in which a kill falls.
    let mut window = 1500u64;
    for round in 0..40u64 {
        if round >= 8 && kills > 4 {
            break;
        }
        let apply = format!("k{round}");
        p.sh("rm -rf /srv/t/*; rm -rf /var/lib/cutover/acme/once /var/lib/cutover/acme/owned");
        let mut left = steps();
        let mut attempts = 0;
        loop {
            attempts += 1;
            assert!(attempts < 20, "it never ends");
            let killer = async {
                tokio::time::sleep(Duration::from_millis((round * 7919 + attempts * 104_729) % window)).await;
                // The script's own shell: it holds our marker text only by standard input, so it is found by its lock.
                p.lab.try_sh("h", "for d in /proc/[0-9]*; do for f in $d/fd/9; do case $(readlink $f 2>/dev/null) in */run.lock) kill -9 ${d#/proc/};; esac; done; done")
            };
            let batch = Place::batch(&apply, left.clone());
            let ((reports, result), _) = tokio::join!(p.run_batch(batch), async {
                if attempts <= 3 {
                    killer.await;
                }
            });
            for r in &reports {
                if let StepReport::Ended(id, o) = r {
                    assert!(o.is_done(), "{apply} {id}: {o:?}");
                }
            }
            if result.is_ok() {
                // Too late: a fast machine is done sooner.
                window = (window / 2).max(20);
                break;
            }
            kills += 1;
            // As a resume: what do the marks say, what does the host show?
            let marks = p.agent.outcomes(&p.host, "acme", &apply).await.unwrap();
            let seen = p.observe(&resources).await;
            for r in &mut left {
                match marks.get(&r.step.id) {
                    None => {}
                    Some(o) if o.is_done() => {}
                    Some(Outcome::Unknown { .. }) => {
                        unknown += 1;
                        if let Some(record) = seen.records.get(&r.step.address.local()) {
                            r.step.expect = Some(record.fingerprint.clone());
                        }
                    }
                    Some(o) => panic!("{o:?}"),
                }
            }
        }
        let seen = p.observe(&resources).await;
        for r in &resources {
            let (record, Some(Attr::Content(wanted))) = (&seen.records[&r.address.local()], r.attrs.get("content"))
            else {
                panic!("{r:?}")
            };
            assert_eq!(
                record.attrs.get("content"),
                wanted.digest.clone().map(Attr::Digest).as_ref(),
                "{apply} {}",
                r.address
            );
            assert!(seen.owned.iter().any(|o| o.key == r.address.key), "{apply}: {} is not in the ledger", r.address);
        }
        assert_eq!(p.sh("ls -A /srv/t | grep cutover-new || true"), "");
        let ran = p.sh("wc -l </srv/t/log");
        assert_eq!(ran.trim(), "1", "{apply}: the command ran more than once or never");
    }
    eprintln!("{kills} kills, {unknown} steps were unknown");
    assert!(kills > 4, "only {kills} kills hit");
}

#[tokio::test]
async fn the_switch_puts_back_what_nobody_confirmed() {
    let Some(lab) = Lab::new("deadman").host("h").up() else { return };
    let p = Place::new(lab);
    p.sh("printf 'good\\n' >/etc/net.conf; chmod 0604 /etc/net.conf");
    p.sh("printf '[Service]\\nType=notify\\nExecStart=/bin/sh -c \"systemd-notify --ready; cp /etc/net.conf /run/read; exec sleep 9999\"\\nNotifyAccess=all\\n' >/etc/systemd/system/net.service; systemctl daemon-reload; systemctl start net");
    let mut conf = file("/etc/net.conf", b"bad\n");
    conf.notifies = vec![Notify { service: "net".into(), how: NotifyHow::Restart }];
    let service = resource("h", Kind::Service, "net", &[]);
    let former = p.look(&conf).await.fingerprint;
    let units = "ls /etc/systemd/system | grep cutover-revert || true; ls /etc/systemd/system/multi-user.target.wants | grep cutover-revert || true";
    let risky = |apply: &str, seconds: u64| {
        let mut change = step(0, &conf, Action::Update, Some(&former), Some(b"bad\n"));
        change.step.risky = true;
        let mut restart = step(1, &service, Action::Restart, None, None);
        restart.step.risky = true;
        restart.after_in_batch = vec![0];
        let mut batch = Place::batch(apply, vec![change, restart]);
        batch.arm_seconds = Some(seconds);
        batch
    };
    let armed = async |apply: &str, seconds| {
        let (reports, result) = p.run_batch(risky(apply, seconds)).await;
        result.unwrap();
        assert_eq!(reports.first(), Some(&StepReport::Armed));
        assert!((0..2).all(|i| outcome(&reports, i).is_some_and(|o| o.is_done())), "{reports:?}");
        assert_eq!(p.sh("cat /run/read"), "bad");
        assert_eq!(p.observe(&[]).await.armed.as_deref(), Some(apply));
    };
    let is_former = async || {
        assert_eq!(p.look(&conf).await.fingerprint, former);
        assert_eq!(p.sh("cat /run/read; systemctl is-active net"), "good\nactive");
        let seen = p.observe(&[]).await;
        assert_eq!((seen.armed, seen.owned.len()), (None, 0));
        assert_eq!(p.sh(units), "");
    };

    // Nobody says a word.
    armed("d1", 3).await;
    let begun = Instant::now();
    while p.sh("cat /etc/net.conf") != "good" {
        assert!(begun.elapsed() < Duration::from_secs(60), "it does not go back");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    tokio::time::sleep(Duration::from_secs(3)).await;
    is_former().await;
    assert_eq!(
        p.agent.outcomes(&p.host, "acme", "d1").await.unwrap(),
        BTreeMap::from([(0, Outcome::Reverted), (1, Outcome::Reverted)])
    );
    assert!(!p.agent.disarm(&p.host, "acme", "d1").await.unwrap(), "too late");

    // A reboot in between.
    armed("d2", 600).await;
    p.lab.fault(Fault::Reboot { host: "h".into() });
    let begun = Instant::now();
    while p.sh("cat /etc/net.conf") != "good" {
        assert!(begun.elapsed() < Duration::from_secs(60), "it does not go back after a reboot");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    tokio::time::sleep(Duration::from_secs(2)).await;
    p.sh("systemctl start net");
    is_former().await;

    // Cut off by our own firewall: SSH is dead until the host helps itself.
    let rules =
        b"table inet cutover {\n\tchain input {\n\t\ttype filter hook input priority -10; policy drop;\n\t}\n}\n";
    let wall =
        resource("h", Kind::Firewall, "cutover", &[("content", content(rules, false)), ("loaded", Attr::Bool(true))]);
    let mut step_wall = step(0, &wall, Action::Create, Some("absent"), Some(rules));
    step_wall.step.risky = true;
    let mut batch = Place::batch("d3", vec![step_wall]);
    batch.arm_seconds = Some(8);
    let begun = Instant::now();
    let (reports, result) = p.run_batch(batch).await;
    eprintln!("cut off: {reports:?} {result:?} after {:?}", begun.elapsed());
    let mut fresh = p.host.clone();
    fresh.timeout_seconds = 2;
    while p.agent.disarm(&fresh, "acme", "d3").await.is_err() {
        assert!(begun.elapsed() < Duration::from_secs(60), "still cut off");
    }
    assert!(!p.agent.disarm(&fresh, "acme", "d3").await.unwrap());
    assert!(!p.look(&wall).await.present);
    assert_eq!(p.agent.outcomes(&p.host, "acme", "d3").await.unwrap()[&0], Outcome::Reverted);
    eprintln!("back after {:?}", begun.elapsed());

    // Confirmed: it stays, and nothing of the switch is left.
    armed("d4", 600).await;
    assert!(p.agent.disarm(&p.host, "acme", "d4").await.unwrap());
    assert_eq!(p.sh(units), "");
    assert_eq!(p.sh("cat /etc/net.conf; systemctl list-units --all --plain --no-legend 'cutover-revert*'"), "bad");
    assert_eq!(p.observe(&[]).await.armed, None);
    assert!(p.agent.outcomes(&p.host, "acme", "d4").await.unwrap().values().all(Outcome::is_done));
}
