//! Barriers against name servers in this process that lag, stop, serve what is stale, go back, answer in turn from several machines,
//! fail, or speak for somebody else. None may open before every address has followed for good.
//! `CUTOVER_BARRIERS=1000` for the long form, `CUTOVER_BARRIER_SEED=N` begins elsewhere.
#![allow(clippy::print_stderr)] // counts are part of the result

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use cutover::catalog::barrier::{self, Barrier};
use cutover::model::dns::{NameServer, RecordSet, SetKey};
use cutover::model::host::{HostAccess, Reach};
use cutover::model::step::{Action, Outcome};
use cutover::model::{HostName, Kind};
use cutover::providers::agent::{Agent as _, Batch};
use futures_util::{StreamExt as _, stream};
use hickory_proto::op::{Message, MessageType, ResponseCode};
use hickory_proto::rr::{Name, RData, Record, RecordType};
use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, UdpSocket};

use crate::support::nameserver::set;
use crate::support::steps::{outcome, resource, step};
use crate::zones_world::World;

/// What a server does until it follows; milliseconds since the barrier began.
#[derive(Debug, Clone, PartialEq)]
enum Ill {
    /// Still serves the former records.
    Stale,
    /// Does not answer.
    Silent,
    /// Serves the new records for some time, then the former ones again: it was restarted from its disk.
    Flaps { new: u64, old: u64 },
    /// Several machines behind one address answer in turn; one of them lags.
    Turns(u32),
    /// SERVFAIL, as with an expired zone.
    Fails,
    /// Answers from a cache: not authoritative.
    Lame,
    /// The new data with another TTL.
    OtherTtl,
    /// One of the two sets only.
    Half,
    /// NXDOMAIN and NODATA look alike here: no record at all.
    Nothing,
}

#[derive(Debug, Clone)]
struct Server {
    ill: Ill,
    /// When it follows for good; `None`: never.
    well: Option<u64>,
    /// Its answers do not fit into UDP.
    cut: bool,
}

fn servers() -> impl Strategy<Value = Vec<Server>> {
    let ill = prop_oneof![
        4 => Just(Ill::Stale),
        2 => Just(Ill::Silent),
        3 => (50..300u64, 400..700u64).prop_map(|(new, old)| Ill::Flaps { new, old }),
        3 => (2..6u32).prop_map(Ill::Turns),
        1 => Just(Ill::Fails),
        1 => Just(Ill::Lame),
        1 => Just(Ill::OtherTtl),
        1 => Just(Ill::Half),
        1 => Just(Ill::Nothing),
    ];
    let well = prop_oneof![3 => Just(Some(0u64)), 4 => (1..2_500u64).prop_map(Some), 1 => Just(None)];
    let server = (ill, well, prop::bool::weighted(0.2)).prop_map(|(ill, well, cut)| Server { ill, well, cut });
    prop::collection::vec(server, 1..6)
}

fn mx(ttl: u32, host: &str) -> RecordSet {
    set("acme.example", "MX", ttl, &[&format!("10 {host}.acme.example.")])
}

fn address(ttl: u32, ip: &str) -> RecordSet {
    set("mail.acme.example", "A", ttl, &[ip])
}

impl Server {
    /// Code, authority and set of its answer now; `None`: it does not answer.
    fn says(&self, key: &SetKey, since: Duration, asked: u32) -> Option<(ResponseCode, bool, Option<RecordSet>)> {
        let (old, new) = match key.kind.as_str() {
            "MX" => (mx(300, "old"), mx(300, "new")),
            _ => (address(60, "192.0.2.1"), address(60, "192.0.2.2")),
        };
        let now = since.as_millis() as u64;
        let good = |set| Some((ResponseCode::NoError, true, Some(set)));
        if self.well.is_some_and(|well| now >= well) {
            return good(new);
        }
        match &self.ill {
            Ill::Stale => good(old),
            Ill::Silent => None,
            Ill::Flaps { new: up, old: down } => good(if now % (up + down) < *up { new } else { old }),
            Ill::Turns(machines) => good(if asked.is_multiple_of(*machines) { old } else { new }),
            Ill::Fails => Some((ResponseCode::ServFail, true, None)),
            Ill::Lame => Some((ResponseCode::NoError, false, Some(new))),
            Ill::OtherTtl => good(RecordSet { ttl: new.ttl + 1, ..new }),
            Ill::Half => good(if key.kind == "MX" { new } else { old }),
            Ill::Nothing => Some((ResponseCode::NoError, true, None)),
        }
    }

    fn answer(&self, question: &[u8], since: Duration, asked: &AtomicU32, udp: bool) -> Option<Vec<u8>> {
        let mut message = Message::from_vec(question).ok()?;
        let query = message.queries.first()?.clone();
        let key = SetKey { name: query.name().to_lowercase().to_ascii(), kind: query.query_type().to_string() };
        let (code, authoritative, set) = self.says(&key, since, asked.fetch_add(1, Ordering::SeqCst))?;
        message.metadata.message_type = MessageType::Response;
        message.metadata.response_code = code;
        message.metadata.authoritative = authoritative;
        let whole = !(udp && self.cut);
        message.metadata.truncation = !whole;
        for set in set.iter().filter(|_| whole) {
            let (name, kind): (Name, RecordType) = (query.name().clone(), query.query_type());
            for d in &set.data {
                let data = RData::try_from_str(kind, d).expect("data");
                message.add_answer(Record::from_rdata(name.clone(), set.ttl, data));
            }
        }
        message.to_vec().ok()
    }
}

/// Answers by UDP and TCP until its tasks are dropped.
async fn serve(server: Server, at: SocketAddr, began: Instant) -> [tokio::task::JoinHandle<()>; 2] {
    let udp = UdpSocket::bind(at).await.expect("an address of its own");
    let tcp = TcpListener::bind(at).await.expect("the same by TCP");
    // Those in turn count by link and kind, so that two questions at once do not even out.
    let asked = Arc::new([const { AtomicU32::new(0) }; 4]);
    let (server, counts) = (Arc::new(server), Arc::clone(&asked));
    let by_udp = Arc::clone(&server);
    let first = tokio::spawn(async move {
        let mut bytes = vec![0; 2048];
        while let Ok((n, from)) = udp.recv_from(&mut bytes).await {
            let kind = usize::from(bytes[..n].windows(4).any(|w| w == [0, 15, 0, 1]));
            if let Some(answer) = by_udp.answer(&bytes[..n], began.elapsed(), &counts[kind], true) {
                let _ = udp.send_to(&answer, from).await;
            }
        }
    });
    let second = tokio::spawn(async move {
        while let Ok((mut line, _)) = tcp.accept().await {
            let (server, asked) = (Arc::clone(&server), Arc::clone(&asked));
            tokio::spawn(async move {
                let n = line.read_u16().await.unwrap_or(0);
                let mut bytes = vec![0; usize::from(n)];
                if line.read_exact(&mut bytes).await.is_err() {
                    return;
                }
                let kind = usize::from(bytes.windows(4).any(|w| w == [0, 15, 0, 1]));
                if let Some(answer) = server.answer(&bytes, began.elapsed(), &asked[2 + kind], false) {
                    let _ = line.write_u16(answer.len() as u16).await;
                    let _ = line.write_all(&answer).await;
                }
            });
        }
    });
    [first, second]
}

/// What became of one barrier.
#[derive(Default)]
struct Tally {
    opened: u32,
    shut: u32,
    wrong: Vec<String>,
}

async fn one(world: &World, lane: &HostAccess, n: u32, servers: Vec<Server>) -> Result<bool, String> {
    let ip = |i: usize| IpAddr::V4(Ipv4Addr::new(127, 10 + (n / 250 % 200) as u8, (n % 250) as u8 + 1, i as u8 + 1));
    let began = Instant::now();
    let begin = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("a time").as_secs() as i64;
    let mut tasks = Vec::new();
    for (i, server) in servers.iter().enumerate() {
        tasks.extend(serve(server.clone(), SocketAddr::new(ip(i), lane.port), began).await);
    }
    let mut lane = lane.clone();
    if let Reach::Zone(zone) = &mut lane.reach {
        let named = |i| NameServer { name: format!("ns{i}.acme.example."), addresses: vec![ip(i)] };
        zone.servers = (0..servers.len()).map(named).collect();
    }
    let wanted = Barrier {
        sets: vec![mx(300, "new"), address(60, "192.0.2.2")],
        servers: Vec::new(),
        timeout: 3,
        rolls_back: false,
    };
    let mut place = resource("zone.acme.example", Kind::Barrier, "night/flip-mx", &[]);
    place.attrs = barrier::attrs(&wanted);
    let batch = Batch {
        organization: "acme".into(),
        apply: format!("b{n}"),
        token: 1,
        state_key: "key".into(),
        steps: vec![step(0, &place, Action::Wait, None, None)],
        later: Vec::new(),
        arm_seconds: None,
        patience: std::time::Duration::ZERO,
    };
    let (send, mut receive) = tokio::sync::mpsc::unbounded_channel();
    let ran = world.agent.run(&lane, batch, send).await;
    let took = began.elapsed().as_millis() as u64;
    tasks.iter().for_each(tokio::task::JoinHandle::abort);
    ran.map_err(|e| format!("{e}"))?;
    let mut reports = Vec::new();
    while let Ok(report) = receive.try_recv() {
        reports.push(report);
    }
    let latest = servers.iter().map(|s| s.well).try_fold(0, |most, well| well.map(|w| most.max(w)));
    match outcome(&reports, 0) {
        Some(Outcome::Done { fingerprint: Some(f) }) => {
            let moment = barrier::moment(&f).ok_or("no moment")?;
            let latest = latest.filter(|at| *at <= took).ok_or(format!("opened after {took} ms: {servers:?}"))?;
            match moment * 1_000 >= begin * 1_000 + latest as i64 {
                true => Ok(true),
                false => Err(format!("its moment {moment} is before the slowest: {begin} + {latest} ms")),
            }
        }
        Some(Outcome::Failed { output, .. }) => {
            let quiet = servers.iter().any(|s| s.ill == Ill::Silent && s.well != Some(0));
            if latest.is_some_and(|at| at == 0) {
                return Err(format!("all follow at once, and it stayed shut: {output}: {servers:?}"));
            }
            // Who never follows is named with its address, unless its turn in the last round was a good one.
            let never = |s: &Server| s.well.is_none() && !matches!(s.ill, Ill::Flaps { .. } | Ill::Turns(_));
            let missing = servers.iter().enumerate().find(|(i, s)| never(s) && !output.contains(&ip(*i).to_string()));
            match missing.filter(|_| !quiet) {
                None => Ok(false),
                Some((i, s)) => Err(format!("{} ({s:?}) is not named in: {output}", ip(i))),
            }
        }
        other => Err(format!("{other:?}")),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_barrier_opens_before_every_server_has_followed_for_good() {
    let number = |name: &str, or: u32| std::env::var(name).ok().and_then(|n| n.parse().ok()).unwrap_or(or);
    let (runs, seed) = (number("CUTOVER_BARRIERS", 40), number("CUTOVER_BARRIER_SEED", 1));
    let world = World::new(&[mx(300, "old")], "record \"@\" MX new.acme.example priority=10 adopt=#true");
    let site = world.site();
    let lane = site.hosts.get(&HostName::from("zone.acme.example")).expect("a lane").clone();
    let mut bytes = [7; 32];
    bytes[..4].copy_from_slice(&seed.to_le_bytes());
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
    let mut runner = TestRunner::new_with_rng(Config::default(), rng);
    let cases: Vec<(u32, Vec<Server>)> =
        (0..runs).map(|n| (n, servers().new_tree(&mut runner).expect("servers").current())).collect();
    let each = cases.into_iter().map(|(n, servers)| one(&world, &lane, n, servers));
    let mut all = stream::iter(each).buffer_unordered(20);
    let mut tally = Tally::default();
    while let Some(ended) = all.next().await {
        match ended {
            Ok(true) => tally.opened += 1,
            Ok(false) => tally.shut += 1,
            Err(why) => tally.wrong.push(why),
        }
    }
    let Tally { opened, shut, wrong } = tally;
    eprintln!("{runs} barriers: {opened} opened, {shut} stayed shut, {} wrong", wrong.len());
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(opened > runs / 5 && shut > runs / 5, "both ends are tried: {opened} opened, {shut} stayed shut");
}
