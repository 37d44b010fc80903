//! A primary of one zone in this process: AXFR and UPDATE with prerequisites (RFC 2136, section 3) over TCP, unsigned, with faults
//! that a real server gives seldom.
#![allow(clippy::unwrap_used)] // helpers of tests are tests

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use cutover::model::dns::{RecordSet, SetKey};
use cutover::protocol::dns::data::{Sets, canonical, canonical_name};
use hickory_proto::op::{Message, OpCode, ResponseCode};
use hickory_proto::rr::rdata::SOA;
use hickory_proto::rr::{DNSClass, Name, RData, Record, RecordType};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// What happens to a request instead of, or after, the answer that it should get.
#[derive(Debug, Clone, PartialEq)]
pub enum Fault {
    /// Answered with this code; nothing is done.
    Code(ResponseCode),
    /// Done, and the connection closes without an answer.
    DoneAndSilent,
    /// Not done, and the connection closes without an answer.
    Closed,
    /// Never answered.
    Hangs,
    /// A transfer that ends in the middle.
    CutShort,
    /// Somebody else changes the zone right before an update is looked at.
    Foreign(Vec<RecordSet>),
    /// Answered with NOERROR; nothing is done.
    Ignored,
}

type Kept = BTreeMap<(Name, RecordType), (u32, Vec<RData>)>;

#[derive(Default)]
pub struct State {
    kept: Kept,
    pub serial: u32,
    /// MINIMUM of the SOA, 60 where nothing is set.
    pub negative_ttl: Option<u32>,
    /// Faults for the next updates, in order.
    pub updates: Vec<Option<Fault>>,
    /// Faults for the next transfers, in order.
    pub transfers: Vec<Option<Fault>>,
    /// REFUSED for every update that touches this name, as BIND does for an MX that leads nowhere.
    pub refuses: Option<String>,
    /// Updates that were taken, each with the sets that it touched.
    pub taken: Vec<Vec<String>>,
    /// Largest request in octets.
    pub largest: usize,
}

#[derive(Clone)]
pub struct NameServer {
    pub address: SocketAddr,
    zone: Name,
    state: Arc<Mutex<State>>,
}

pub fn set(name: &str, kind: &str, ttl: u32, data: &[&str]) -> RecordSet {
    let data = data.iter().map(|d| canonical(kind, d).expect("data")).collect();
    RecordSet { key: SetKey { name: canonical_name(name).expect("name"), kind: kind.into() }, ttl, data }
}

fn typed(set: &RecordSet) -> ((Name, RecordType), (u32, Vec<RData>)) {
    let kind: RecordType = set.key.kind.parse().unwrap();
    let data = set.data.iter().map(|d| RData::try_from_str(kind, d).unwrap()).collect();
    ((Name::from_ascii(&set.key.name).unwrap(), kind), (set.ttl, data))
}

/// Data as text of a zone file; the crate prints the octets of a text as if they were characters.
fn written(data: &RData) -> String {
    let RData::TXT(txt) = data else { return data.to_string() };
    let octet = |b: &u8| format!("\\{b:03}");
    txt.txt_data
        .iter()
        .map(|s| format!("\"{}\"", s.iter().map(octet).collect::<String>()))
        .collect::<Vec<_>>()
        .join(" ")
}

impl NameServer {
    /// Serves `zone` on a port of its own, in a thread of its own, until the process ends.
    pub fn start(zone: &str, sets: &[RecordSet]) -> Self {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let this = Self {
            address: listener.local_addr().unwrap(),
            zone: Name::from_ascii(format!("{zone}.")).unwrap(),
            state: Arc::new(Mutex::new(State { serial: 1, ..State::default() })),
        };
        this.put(sets);
        let server = this.clone();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async move {
                let listener = TcpListener::from_std(listener).unwrap();
                while let Ok((stream, _)) = listener.accept().await {
                    let server = server.clone();
                    tokio::spawn(async move {
                        let _ = server.serve(stream).await;
                    });
                }
            });
        });
        this
    }

    pub fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// By another hand.
    pub fn put(&self, sets: &[RecordSet]) {
        self.state().kept.extend(sets.iter().map(typed));
    }

    pub fn remove(&self, name: &str, kind: &str) {
        let key = (Name::from_ascii(canonical_name(name).unwrap()).unwrap(), kind.parse().unwrap());
        self.state().kept.remove(&key);
    }

    /// All sets, without the SOA.
    pub fn sets(&self) -> Sets {
        let state = self.state();
        let of = |((name, kind), (ttl, data)): (&(Name, RecordType), &(u32, Vec<RData>))| {
            let data: Vec<String> = data.iter().map(written).collect();
            let data: Vec<&str> = data.iter().map(String::as_str).collect();
            let set = set(&name.to_ascii(), &kind.to_string(), *ttl, &data);
            (set.key.clone(), set)
        };
        state.kept.iter().map(of).collect()
    }

    pub fn get(&self, name: &str, kind: &str) -> Option<RecordSet> {
        self.sets().remove(&SetKey { name: canonical_name(name).unwrap(), kind: kind.into() })
    }

    async fn serve(&self, mut stream: TcpStream) -> std::io::Result<()> {
        loop {
            let mut length = [0; 2];
            stream.read_exact(&mut length).await?;
            let mut bytes = vec![0; usize::from(u16::from_be_bytes(length))];
            stream.read_exact(&mut bytes).await?;
            let request = Message::from_vec(&bytes).unwrap();
            let update = request.metadata.op_code == OpCode::Update;
            let fault = {
                let mut state = self.state();
                state.largest = state.largest.max(bytes.len());
                let queue = if update { &mut state.updates } else { &mut state.transfers };
                if queue.is_empty() { None } else { queue.remove(0) }
            };
            match &fault {
                Some(Fault::Code(code)) => {
                    send(&mut stream, &answer(&request, *code)).await?;
                    continue;
                }
                Some(Fault::Closed) => return Ok(()),
                Some(Fault::Hangs) => tokio::time::sleep(Duration::from_secs(3600)).await,
                Some(Fault::Foreign(sets)) => {
                    self.put(sets);
                    self.state().serial += 1;
                }
                _ => {}
            }
            if !update {
                self.transfer(&mut stream, &request, fault == Some(Fault::CutShort)).await?;
                continue;
            }
            let code = if fault == Some(Fault::Ignored) { ResponseCode::NoError } else { self.update(&request) };
            if fault == Some(Fault::DoneAndSilent) {
                return Ok(());
            }
            send(&mut stream, &answer(&request, code)).await?;
        }
    }

    async fn transfer(&self, stream: &mut TcpStream, request: &Message, cut: bool) -> std::io::Result<()> {
        let (kept, serial, negative) = {
            let state = self.state();
            (state.kept.clone(), state.serial, state.negative_ttl.unwrap_or(60))
        };
        let soa = SOA::new(self.zone.clone(), self.zone.clone(), serial, 3600, 600, 86_400, negative);
        let soa = Record::from_rdata(self.zone.clone(), 300, RData::SOA(soa));
        let all = kept.iter().flat_map(|((name, _), (ttl, data))| {
            data.iter().map(|d| Record::from_rdata(name.clone(), *ttl, d.clone()))
        });
        let all: Vec<Record> = std::iter::once(soa.clone()).chain(all).chain([soa]).collect();
        for (n, part) in all.chunks(300).enumerate() {
            let mut message = answer(request, ResponseCode::NoError);
            message.answers = part.to_vec();
            if cut && (n > 0 || all.len() <= 300) {
                message.answers.pop();
                send(stream, &message).await?;
                return stream.shutdown().await;
            }
            send(stream, &message).await?;
        }
        Ok(())
    }

    fn update(&self, request: &Message) -> ResponseCode {
        let mut state = self.state();
        if let Some(name) = &state.refuses {
            let name = Name::from_ascii(name).unwrap();
            if request.authorities.iter().any(|r| r.name == name && r.dns_class == DNSClass::IN) {
                return ResponseCode::Refused;
            }
        }
        let mut exact: BTreeMap<(Name, RecordType), Vec<RData>> = BTreeMap::new();
        for r in &request.answers {
            let key = (r.name.clone(), r.record_type());
            match r.dns_class {
                DNSClass::NONE if state.kept.contains_key(&key) => return ResponseCode::YXRRSet,
                DNSClass::ANY if !state.kept.contains_key(&key) => return ResponseCode::NXRRSet,
                DNSClass::IN => exact.entry(key).or_default().push(r.data.clone()),
                _ => {}
            }
        }
        let sorted = |data: &[RData]| {
            let mut data: Vec<String> = data.iter().map(|d| d.to_string().to_lowercase()).collect();
            data.sort();
            data
        };
        for (key, data) in &exact {
            if state.kept.get(key).map(|(_, d)| sorted(d)) != Some(sorted(data)) {
                return ResponseCode::NXRRSet;
            }
        }
        let mut touched = Vec::new();
        for r in &request.authorities {
            let key = (r.name.clone(), r.record_type());
            touched.push(format!("{} {}", r.name, r.record_type()));
            match r.dns_class {
                DNSClass::ANY => drop(state.kept.remove(&key)),
                DNSClass::NONE => {
                    if let Some((_, data)) = state.kept.get_mut(&key) {
                        data.retain(|d| *d != r.data);
                    }
                }
                _ => {
                    // An alias beside other records, or the other way round, is left out without a word (section 3.4.2.2).
                    let alias = key.1 == RecordType::CNAME;
                    let clash = state.kept.keys().any(|(n, k)| *n == key.0 && (*k == RecordType::CNAME) != alias);
                    if !clash {
                        let entry = state.kept.entry(key).or_insert((r.ttl, Vec::new()));
                        entry.0 = r.ttl;
                        if !entry.1.contains(&r.data) {
                            entry.1.push(r.data.clone());
                        }
                    }
                }
            }
        }
        state.kept.retain(|_, (_, data)| !data.is_empty());
        touched.dedup();
        state.taken.push(touched);
        state.serial += 1;
        ResponseCode::NoError
    }
}

fn answer(request: &Message, code: ResponseCode) -> Message {
    let mut message = Message::response(request.metadata.id, request.metadata.op_code);
    message.metadata.authoritative = true;
    message.metadata.response_code = code;
    message.add_queries(request.queries.to_vec());
    message
}

async fn send(stream: &mut TcpStream, message: &Message) -> std::io::Result<()> {
    let bytes = message.to_vec().unwrap();
    stream.write_all(&(bytes.len() as u16).to_be_bytes()).await?;
    stream.write_all(&bytes).await
}
