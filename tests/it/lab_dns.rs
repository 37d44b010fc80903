//! DNS on the wire against Knot and BIND, each primary of a zone of its own on a host of its own.
//! `CUTOVER_TRANSFERS=1000`, `CUTOVER_RECORDS=100000` and `CUTOVER_SWAPS=10000` for the full form.
#![allow(clippy::print_stderr)] // counts are part of the result

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use cutover::lab::Fault;
use cutover::model::dns::{RecordSet, SetChange, SetKey};
use cutover::protocol::dns::data::{canonical, canonical_name};
use cutover::protocol::dns::{Batch, DnsError, Link, TsigKey, TsigTrouble, ask, batches, transfer, update};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::support::lab::Lab;

pub const ZONE: &str = "acme.test";
pub const SECRET: &str = "b25seSBhIHRlc3Qgc2VjcmV0IG9mIDMyIG9jdGV0cy4=";
pub const PATIENCE: Duration = Duration::from_secs(10);
const SERVERS: [&str; 2] = ["knot", "bind"];

fn count(name: &str, sample: usize) -> usize {
    std::env::var(name).ok().and_then(|n| n.parse().ok()).unwrap_or(sample)
}

pub fn key() -> TsigKey {
    TsigKey::new("cutover.acme.test", "hmac-sha256", SECRET).expect("key")
}

fn server(lab: &Lab, host: &str) -> SocketAddr {
    SocketAddr::new(lab.ip(host), 53)
}

/// Both servers with one zone of `records` addresses and texts.
pub fn world(name: &str, records: usize) -> Option<Lab> {
    let lab = Lab::new(name).host("knot").host("bind").up()?;
    let install = |host: &str, packages: &str| {
        lab.sh(host, &format!("apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends {packages} >/dev/null 2>&1"));
    };
    std::thread::scope(|s| {
        s.spawn(|| install("knot", "knot"));
        s.spawn(|| install("bind", "bind9"));
    });
    // Written on each host: a zone of 10,000 records is longer than a command line may be.
    let zone = format!(
        "{{ echo '$TTL 300'; echo '@ SOA ns.{ZONE}. hostmaster.{ZONE}. 1 3600 600 86400 60'; echo '@ NS ns'; echo 'ns A {}'; echo 'ns AAAA {}'; \
         echo '@ MX 10 old'; echo 'old A 192.0.2.2'; echo 'new A 192.0.2.3'; \
         i=0; while [ $i -lt {records} ]; do echo \"h$i A 192.0.2.9\"; echo \"h$i TXT \\\"text number $i\\\"\"; i=$((i+2)); done; }}",
        lab.ip("knot"),
        lab.ip6("knot").expect("IPv6"),
    );
    lab.sh("knot", &format!(
        "{zone} > /var/lib/knot/{ZONE}.zone && chown knot: /var/lib/knot/{ZONE}.zone && cat > /etc/knot/knot.conf <<'END'
server:
    listen: [ 0.0.0.0@53, \"::@53\" ]
key:
  - id: cutover.acme.test
    algorithm: hmac-sha256
    secret: {SECRET}
acl:
  - id: cutover
    key: cutover.acme.test
    action: [transfer, update]
zone:
  - domain: {ZONE}
    storage: /var/lib/knot
    file: {ZONE}.zone
    acl: cutover
END
systemctl restart knot"
    ));
    lab.sh("bind", &format!(
        "mkdir -p /var/lib/bind && {zone} > /var/lib/bind/{ZONE}.zone && chown bind: /var/lib/bind/{ZONE}.zone && cat > /etc/bind/named.conf <<'END'
options {{ directory \"/var/cache/bind\"; recursion no; listen-on {{ any; }}; listen-on-v6 {{ any; }}; }};
key cutover.acme.test {{ algorithm hmac-sha256; secret \"{SECRET}\"; }};
zone {ZONE} {{ type primary; file \"/var/lib/bind/{ZONE}.zone\"; allow-transfer {{ key cutover.acme.test; }}; allow-update {{ key cutover.acme.test; }}; }};
END
systemctl restart named"
    ));
    let soa = SetKey { name: format!("{ZONE}."), kind: "SOA".into() };
    for host in SERVERS {
        let ready = (0..100).any(|_| {
            let served = run(ask(server(&lab, host), &soa, Link::Tcp, Duration::from_secs(1)));
            let up = served.is_ok_and(|a| a.serial.is_some());
            up || {
                std::thread::sleep(Duration::from_millis(200));
                false
            }
        });
        assert!(ready, "{host} does not serve {ZONE}");
    }
    Some(lab)
}

pub fn run<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("runtime").block_on(work)
}

fn set(name: &str, kind: &str, ttl: u32, data: &[&str]) -> RecordSet {
    let data = data.iter().map(|d| canonical(kind, d).expect("data")).collect();
    RecordSet { key: SetKey { name: canonical_name(name).expect("name"), kind: kind.into() }, ttl, data }
}

fn mx(host: &str) -> RecordSet {
    set(ZONE, "MX", 300, &[&format!("10 {host}.{ZONE}.")])
}

fn swap(from: &str, to: &str) -> Batch {
    Batch { changes: vec![SetChange { before: Some(mx(from)), after: Some(mx(to)) }] }
}

/// Passes a connection on, at most so many octets of the answer, in small pieces with a pause between them.
async fn relay(to: SocketAddr, octets: usize, pause: Duration) -> SocketAddr {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("listener");
    let here = listener.local_addr().expect("address");
    tokio::spawn(async move {
        let (mut near, _) = listener.accept().await.expect("accepted");
        let mut far = tokio::net::TcpStream::connect(to).await.expect("server");
        let mut question = vec![0; 4096];
        let n = near.read(&mut question).await.expect("question");
        far.write_all(&question[..n]).await.expect("sent");
        let (mut left, mut piece) = (octets, vec![0; 16_384]);
        while left > 0 {
            let room = left.min(piece.len());
            let Ok(n @ 1..) = far.read(&mut piece[..room]).await else { break };
            if near.write_all(&piece[..n]).await.is_err() {
                break;
            }
            left -= n;
            tokio::time::sleep(pause).await;
        }
    });
    here
}

#[test]
fn transfers_are_whole_or_an_error() {
    let records = count("CUTOVER_RECORDS", 10_000);
    let Some(lab) = world("axfr", records) else { return };
    let whole: Vec<_> = SERVERS
        .iter()
        .map(|host| run(transfer(server(&lab, host), ZONE, Some(&key()), PATIENCE)).expect("a transfer"))
        .collect();
    assert_eq!(whole[0].records, records + 7, "SOA, NS, MX, four addresses");
    assert_eq!(whole[0].sets, whole[1].sets, "both servers were given the same");
    assert_eq!((whole[0].negative_ttl, whole[0].refresh), (60, 3600));

    let times = count("CUTOVER_TRANSFERS", 20);
    for (host, wanted) in SERVERS.iter().zip(&whole) {
        let there = server(&lab, host);
        let (mut lost, mut told) = (0, 0);
        for n in 0..times {
            // Every fourth reader is slow: the server waits for it or, as Knot does after its tcp-io-timeout, cuts it off. That is
            // told, and asked again; what must not be is a transfer that ends well and has lost something.
            let pause = Duration::from_millis(if n % 4 == 0 { 5 } else { 0 });
            let got = loop {
                let got = run(async {
                    let through = relay(there, usize::MAX, pause).await;
                    transfer(through, ZONE, Some(&key()), PATIENCE).await
                });
                match got {
                    Err(DnsError::CutShort { .. }) if told < times => told += 1,
                    other => break other,
                }
            };
            lost += usize::from(got.expect("a transfer") != *wanted);
        }
        assert_eq!(lost, 0, "{host}: transfers that lost records, of {times}");
        eprintln!(
            "{host}: {times} transfers of {} records, one in four to a slow reader: none lost a record, {told} were cut off and said so",
            records + 7
        );

        // Cut anywhere, it is an error and never a part of a zone.
        let octets = 400_000;
        for n in 0..times {
            let at = 1 + n * (octets / 2) / times;
            let got = run(async {
                let through = relay(there, at, Duration::ZERO).await;
                transfer(through, ZONE, Some(&key()), PATIENCE).await
            });
            assert!(matches!(got, Err(DnsError::CutShort { .. })), "{host} cut after {at} octets: {got:?}");
        }
    }
    eprintln!(
        "{times} transfers of {} records from each server, one in four to a slow reader: none lost a record; {times} cuts each told",
        records + 7
    );
}

#[test]
fn refusals_say_what_is_wrong() {
    let Some(lab) = world("dnsno", 10) else { return };
    let text = |e: DnsError| e.to_string();
    for host in SERVERS {
        let there = server(&lab, host);
        let of = |zone: &str, key: Option<&TsigKey>| run(transfer(there, zone, key, PATIENCE)).expect_err("refused");
        let other = TsigKey::new("other", "hmac-sha256", SECRET).expect("key");
        let wrong =
            TsigKey::new("cutover.acme.test", "hmac-sha256", "d3Jvbmcgd3Jvbmcgd3Jvbmcgd3Jvbmcgd3Jvbmch").expect("key");
        assert!(text(of(ZONE, Some(&other))).contains("BADKEY"), "{host}: {}", text(of(ZONE, Some(&other))));
        assert!(text(of(ZONE, Some(&wrong))).contains("BADSIG"), "{host}: {}", text(of(ZONE, Some(&wrong))));
        assert!(matches!(of(ZONE, None), DnsError::Refused { .. }), "{host}: unsigned");
        let not_here = of("other.test", Some(&key()));
        assert!(
            matches!(&not_here, DnsError::Refused { code, .. } if code == "NOTAUTH" || code == "REFUSED"),
            "{not_here}"
        );
        let nobody = SocketAddr::new(lab.ip(host), 5399);
        assert!(matches!(run(transfer(nobody, ZONE, None, PATIENCE)), Err(DnsError::Unreachable { .. })));
    }
    imported_from_servers(&lab);
    lab.sh("knot", "apt-get install -qq -y faketime >/dev/null 2>&1");
    lab.fault(Fault::Skew { host: "knot".into(), service: "knot".into(), seconds: 7_200 });
    let late = run(transfer(server(&lab, "knot"), ZONE, Some(&key()), PATIENCE)).expect_err("clocks are apart");
    let DnsError::Tsig { trouble: TsigTrouble::BadTime(Some(ahead)), .. } = late else { panic!("{late}") };
    assert!((7_100..7_300).contains(&ahead), "{ahead}");
}

/// `import zone --from` brings home what each server has, with a key in the words of either product.
fn imported_from_servers(lab: &Lab) {
    let keys = [
        ("knot", format!("key:\n- id: cutover.acme.test\n  algorithm: hmac-sha256\n  secret: {SECRET}\n")),
        ("bind", format!("key \"cutover.acme.test\" {{\n\talgorithm hmac-sha256;\n\tsecret \"{SECRET}\";\n}};\n")),
    ];
    for (host, text) in keys {
        let file = lab.root().join(format!("{host}.key"));
        std::fs::write(&file, text).expect("key file");
        let import = |keyed: bool| {
            let mut c = std::process::Command::new(env!("CARGO_BIN_EXE_cutover"));
            c.args(["import", "zone", "--from", &lab.ip(host).to_string(), "--name", ZONE]);
            if keyed {
                c.arg("--key-file").arg(&file);
            }
            let out = c.output().expect("runs");
            let both = format!("{}{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
            assert!(!both.contains(SECRET), "the key is shown");
            (out.status.code(), both)
        };
        let (code, said) = import(true);
        assert_eq!(code, Some(0), "{host}: {said}");
        for part in [
            "zone acme.test provider=imported ttl=\"5m\"",
            "record \"@\" MX old.acme.test priority=10",
            "record old A \"192.0.2.2\"",
            "record h8 TXT \"text number 8\"",
            "16 records of acme.test",
        ] {
            assert!(said.contains(part), "{host}: no {part} in {said}");
        }
        let (code, said) = import(false);
        assert!(code == Some(1) && said.contains("--key-file"), "{host}: {said}");
    }
}

#[test]
fn an_update_swaps_what_is_there_and_nothing_else() {
    let Some(lab) = world("swap", 10) else { return };
    for host in SERVERS {
        let there = server(&lab, host);
        let send = |batch: &Batch| run(update(there, ZONE, batch, Some(&key()), PATIENCE));
        let served = || run(transfer(there, ZONE, Some(&key()), PATIENCE)).expect("zone");
        let before = served();
        send(&swap("old", "new")).expect("swapped");
        assert_eq!(served().sets[&mx("new").key], mx("new"));
        // The same again is stale: the zone is not as it says.
        let stale = send(&swap("old", "new")).expect_err("stale");
        assert!(matches!(&stale, DnsError::Changed { code, .. } if code == "NXRRSET"), "{stale}");
        // One stale change of several: none is done.
        let fresh = set("fresh.acme.test", "A", 60, &["192.0.2.77"]);
        let mut batch = swap("old", "new");
        batch.changes.insert(0, SetChange { before: None, after: Some(fresh.clone()) });
        assert!(matches!(send(&batch), Err(DnsError::Changed { .. })));
        assert!(!served().sets.contains_key(&fresh.key), "{host}: half of a message was done");
        // TTL alone, name servers of the zone, and back: the zone is what it was, its serial apart.
        let mut short = mx("new");
        short.ttl = 60;
        send(&Batch { changes: vec![SetChange { before: Some(mx("new")), after: Some(short.clone()) }] }).expect("TTL");
        assert_eq!(served().sets[&short.key].ttl, 60);
        let ns = |names: &[&str]| {
            set(
                ZONE,
                "NS",
                300,
                &names
                    .iter()
                    .map(|n| format!("{n}.{ZONE}."))
                    .collect::<Vec<_>>()
                    .iter()
                    .map(String::as_str)
                    .collect::<Vec<_>>(),
            )
        };
        let glue = set("ns2.acme.test", "A", 300, &["192.0.2.53"]);
        let there_and_back = [
            SetChange { before: None, after: Some(glue.clone()) },
            SetChange { before: Some(ns(&["ns"])), after: Some(ns(&["ns2"])) },
        ];
        for change in &there_and_back {
            send(&Batch { changes: vec![change.clone()] }).expect("name server");
        }
        assert_eq!(served().sets[&ns(&["ns2"]).key], ns(&["ns2"]));
        for change in there_and_back.iter().rev() {
            send(&Batch { changes: vec![SetChange { before: change.after.clone(), after: change.before.clone() }] })
                .expect("back");
        }
        send(&Batch { changes: vec![SetChange { before: Some(short), after: Some(mx("old")) }] }).expect("back");
        let after = served();
        assert_eq!(after.sets, before.sets, "{host}");
        assert_ne!(after.serial, before.serial);
        // Without a signature nothing is taken.
        assert!(matches!(run(update(there, ZONE, &swap("old", "new"), None, PATIENCE)), Err(DnsError::Refused { .. })));
    }
    // A wrong secret changes nothing and is told as such.
    let wrong =
        TsigKey::new("cutover.acme.test", "hmac-sha256", "d3Jvbmcgd3Jvbmcgd3Jvbmcgd3Jvbmcgd3Jvbmch").expect("key");
    let refused =
        run(update(server(&lab, "bind"), ZONE, &swap("old", "new"), Some(&wrong), PATIENCE)).expect_err("refused");
    assert!(matches!(refused, DnsError::Tsig { trouble: TsigTrouble::BadSignature, .. }), "{refused}");
}

/// An MX whose preference counts the swaps that were taken; the host changes with each.
fn counted(n: usize) -> RecordSet {
    set(ZONE, "MX", 300, &[&format!("{n} {}.{ZONE}.", if n.is_multiple_of(2) { "old" } else { "new" })])
}

/// Tens of thousands of connections in a minute use up this machine's ports for a while.
async fn with_a_port<T, F: Future<Output = Result<T, DnsError>>>(ask: impl Fn() -> F) -> Result<T, DnsError> {
    loop {
        match ask().await {
            Err(DnsError::Unreachable { why, .. }) if why.contains("os error 99") => {
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
            other => return other,
        }
    }
}

/// Several editors swap the MX at once, each from what it has just read; readers never see it empty and no swap is lost: the
/// preference that each swap raises by one ends at the number of swaps that were taken.
#[test]
fn concurrent_editors_lose_nothing_and_readers_never_see_an_empty_mx() {
    let Some(lab) = world("editors", 10) else { return };
    let swaps = count("CUTOVER_SWAPS", 200);
    for host in SERVERS {
        let there = server(&lab, host);
        let first = SetChange { before: Some(mx("old")), after: Some(counted(0)) };
        run(update(there, ZONE, &Batch { changes: vec![first] }, Some(&key()), PATIENCE)).expect("begun");
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("runtime");
        let [done, refused, read] = [0; 3].map(|n| Arc::new(AtomicUsize::new(n)));
        let over = Arc::new(AtomicBool::new(false));
        let began = std::time::Instant::now();
        runtime.block_on(async {
            let reader = {
                let (over, read, mx) = (over.clone(), read.clone(), counted(0).key);
                tokio::spawn(async move {
                    while !over.load(Ordering::SeqCst) {
                        let link = if read.fetch_add(1, Ordering::SeqCst) % 2 == 0 { Link::Udp } else { Link::Tcp };
                        let said = with_a_port(|| ask(there, &mx, link, PATIENCE)).await;
                        let said = said.expect("an answer");
                        assert_eq!(said.set.map(|s| s.data.len()), Some(1), "{host}: not one MX but");
                    }
                })
            };
            let editors: Vec<_> = (0..4)
                .map(|_| {
                    let (done, refused, mx, key) = (done.clone(), refused.clone(), counted(0).key, key());
                    tokio::spawn(async move {
                        while done.load(Ordering::SeqCst) < swaps {
                            let now = with_a_port(|| ask(there, &mx, Link::Tcp, PATIENCE)).await;
                            let now = now.expect("an answer");
                            let now = now.set.expect("an MX");
                            let n = now.data.first().and_then(|d| d.split(' ').next()?.parse::<usize>().ok());
                            let after = counted(n.expect("a preference") + 1);
                            let batch = Batch { changes: vec![SetChange { before: Some(now), after: Some(after) }] };
                            match with_a_port(|| update(there, ZONE, &batch, Some(&key), PATIENCE)).await {
                                Ok(()) => done.fetch_add(1, Ordering::SeqCst),
                                Err(DnsError::Changed { .. }) => refused.fetch_add(1, Ordering::SeqCst),
                                Err(e) => panic!("{host}: {e}"),
                            };
                        }
                    })
                })
                .collect();
            for e in editors {
                e.await.expect("an editor");
            }
            over.store(true, Ordering::SeqCst);
            reader.await.expect("the reader");
        });
        let [done, refused, read] = [done, refused, read].map(|n| n.load(Ordering::SeqCst));
        let zone = run(transfer(there, ZONE, Some(&key()), PATIENCE)).expect("zone");
        assert_eq!(zone.sets[&counted(0).key], counted(done), "{host}: a swap was lost or done twice");
        eprintln!(
            "{host}: {done} swaps by four editors, {refused} stale ones refused, {read} reads, never empty, {:.1} s",
            began.elapsed().as_secs_f64()
        );
    }
}

#[test]
fn ten_thousand_changes_go_in_a_few_messages() {
    let Some(lab) = world("bulk", 10) else { return };
    let changes: Vec<SetChange> = (0..10_000)
        .map(|n| SetChange { before: None, after: Some(set(&format!("n{n}.{ZONE}"), "A", 300, &["192.0.2.1"])) })
        .collect();
    let batches = batches(ZONE, &changes).expect("batches");
    for host in SERVERS {
        let began = std::time::Instant::now();
        for b in &batches {
            run(update(server(&lab, host), ZONE, b, Some(&key()), Duration::from_secs(60))).expect("taken");
        }
        let seconds = began.elapsed().as_secs_f64();
        let zone = run(transfer(server(&lab, host), ZONE, Some(&key()), PATIENCE)).expect("zone");
        assert_eq!(zone.records, 10_000 + 17, "{host}");
        eprintln!("{host}: 10,000 additions in {} messages, {seconds:.2} s", batches.len());
    }
}

/// The commands, beside a primary that has the zone and a second server that has an older one.
#[test]
fn verify_and_diff_say_what_is_served() {
    let Some(lab) = world("dnsask", 10) else { return };
    let text = format!(
        "organization o domain={ZONE}\nplatform ns knot=\"3.2\" bind=\"9.18\"\nsite s\n\
         server knot platform=ns site=s fqdn=ns.{ZONE} ip=\"{}\" ip6=\"{}\" {{ roles dns; }}\nserver bind platform=ns site=s ip=\"{}\" {{ roles dns; }}\n\
         dns-provider p type=rfc2136 host=knot tsig-name=cutover.acme.test key=(secret)\"env:DNS_KEY\" {{ secondaries \"{}\"; }}\n\
         accepted-domain {ZONE}\n\
         zone {ZONE} provider=p ttl=\"300s\" {{\n record \"@\" MX new.{ZONE} priority=10\n \
         record new A \"192.0.2.3\"\n}}\n",
        lab.ip("knot"),
        lab.ip6("knot").expect("IPv6"),
        lab.ip("bind"),
        lab.ip("bind"),
    );
    std::fs::write(lab.root().join("topology.kdl"), text).expect("topology");
    let cutover = |args: &[&str]| {
        let out = std::process::Command::new(env!("CARGO_BIN_EXE_cutover"))
            .args(["dns", "--root"])
            .arg(lab.root())
            .args(args)
            .env("DNS_KEY", SECRET)
            .output()
            .expect("runs");
        let both = format!("{}{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
        assert!(!both.contains(SECRET), "the key is shown");
        (out.status.code(), both)
    };
    let (code, said) = cutover(&["diff"]);
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("served  10 old.acme.test.") && said.contains("1 set not as wanted"), "{said}");

    run(update(server(&lab, "knot"), ZONE, &swap("old", "new"), Some(&key()), PATIENCE)).expect("swapped");
    let (code, said) = cutover(&["diff", ZONE]);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("as wanted") && said.contains("untouched"), "{said}");
    let (code, said) = cutover(&["verify"]);
    assert_eq!(code, Some(2), "{said}");
    let lines = |host: &str| {
        said.lines().filter(|l| l.contains(&lab.ip(host).to_string())).map(str::to_owned).collect::<Vec<_>>()
    };
    assert!(lines("knot").len() == 2 && lines("knot").iter().all(|l| l.contains("as wanted")), "UDP and TCP: {said}");
    assert!(lines("bind").len() == 2 && lines("bind").iter().all(|l| l.contains("lags, the newest is 2")), "{said}");
    assert_eq!(said.matches(&lab.ip6("knot").expect("IPv6").to_string()).count(), 2, "IPv6 too: {said}");

    run(update(server(&lab, "bind"), ZONE, &swap("old", "new"), Some(&key()), PATIENCE)).expect("swapped");
    assert_eq!(cutover(&["verify"]).0, Some(0));
    lab.sh("bind", "systemctl stop named");
    let (code, said) = cutover(&["verify", "--timeout", "1"]);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("could not be asked") && said.contains("not known"), "{said}");
    let (code, said) = cutover(&["verify", "other.test"]);
    assert!(code == Some(1) && said.contains("there are acme.test"), "{said}");
}
