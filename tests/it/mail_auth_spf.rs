//! SPF of generated policies: who may send is exactly who the topology says, within the limits of a check. The evaluator here
//! is written from RFC 7208 alone and shares nothing with what composes the records.
#![allow(clippy::unwrap_used)] // a test may end so

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use cutover::lowering::mail_auth::spf::{LONGEST, Others, Policy};
use ipnet::IpNet;

/// Texts of SPF and addresses of names, as DNS would give them.
#[derive(Default)]
struct World {
    texts: BTreeMap<String, String>,
    hosts: BTreeMap<String, Vec<IpAddr>>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Verdict {
    Pass,
    Fail,
    Softfail,
    Neutral,
    PermError,
}

#[derive(Default)]
struct Count {
    lookups: usize,
    void: usize,
}

/// `check_host()` (RFC 7208, section 4), with its limits.
fn check(world: &World, domain: &str, ip: IpAddr, count: &mut Count) -> Verdict {
    let Some(text) = world.texts.get(domain) else { return Verdict::PermError };
    for term in text.strip_prefix("v=spf1").unwrap().split_whitespace() {
        let (sign, bare) = match term.split_at(1) {
            ("-", rest) => (Verdict::Fail, rest),
            ("~", rest) => (Verdict::Softfail, rest),
            ("?", rest) => (Verdict::Neutral, rest),
            _ => (Verdict::Pass, term),
        };
        let (name, value) = bare.split_once(':').unwrap_or((bare, ""));
        let hit = match name {
            "all" => true,
            "ip4" | "ip6" => {
                let net: IpNet = value.parse().unwrap_or_else(|_| IpNet::from(value.parse::<IpAddr>().unwrap()));
                net.contains(&ip)
            }
            "a" | "include" => {
                count.lookups += 1;
                if count.lookups > 10 {
                    return Verdict::PermError;
                }
                if name == "a" {
                    let found = world.hosts.get(value).cloned().unwrap_or_default();
                    count.void += usize::from(found.is_empty());
                    if count.void > 2 {
                        return Verdict::PermError;
                    }
                    found.contains(&ip)
                } else {
                    match check(world, value, ip, count) {
                        Verdict::Pass => true,
                        Verdict::PermError => return Verdict::PermError,
                        _ => false,
                    }
                }
            }
            other => panic!("unknown term {other}"),
        };
        if hit {
            return sign;
        }
    }
    Verdict::Neutral
}

/// A generator of numbers that is the same everywhere (xorshift).
struct Dice(u64);

impl Dice {
    fn next(&mut self, below: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % below as u64).unwrap()
    }

    /// From small nets, so that neighbours, doubles and gaps are frequent.
    fn address(&mut self) -> IpAddr {
        match self.next(4) {
            0 => Ipv6Addr::new(0x2001, 0xdb8, 0, self.next(2) as u16, 0, 0, 0, self.next(40) as u16).into(),
            n => Ipv4Addr::new(198, 51, 100 + n as u8, self.next(64) as u8).into(),
        }
    }
}

fn neighbours(ip: IpAddr) -> [IpAddr; 2] {
    match ip {
        IpAddr::V4(a) => {
            [Ipv4Addr::from(u32::from(a).wrapping_sub(1)).into(), Ipv4Addr::from(u32::from(a).wrapping_add(1)).into()]
        }
        IpAddr::V6(a) => {
            [Ipv6Addr::from(u128::from(a).wrapping_sub(1)).into(), Ipv6Addr::from(u128::from(a).wrapping_add(1)).into()]
        }
    }
}

#[test]
fn who_may_send_is_exactly_who_is_named() {
    let mut dice = Dice(0x9e37_79b9_7f4a_7c15);
    let (mut split, mut asked, mut longest) = (0, 0, 0);
    // `CUTOVER_POLICIES=10000` for the full form.
    // With `CUTOVER_POLICIES_OUT=FILE` each world and what was asked of it stands there as a line of JSON, for tests/soak/spf.
    let mut out = std::env::var("CUTOVER_POLICIES_OUT")
        .ok()
        .map(|path| std::io::BufWriter::new(std::fs::File::create(path).unwrap()));
    let rounds = std::env::var("CUTOVER_POLICIES").ok().and_then(|n| n.parse().ok()).unwrap_or(500);
    for round in 0..rounds {
        let many = if round % 10 == 0 { 90 } else { 12 };
        let own: Vec<IpAddr> = (0..dice.next(many)).map(|_| dice.address()).collect();
        // Systems that are still there: some by address, some by name.
        let legacy: Vec<IpAddr> = (0..dice.next(4)).map(|_| dice.address()).collect();
        let mut world = World::default();
        let mut hosts = Vec::new();
        for i in 0..dice.next(3) {
            let name = format!("old{i}.example");
            world.hosts.insert(name.clone(), (0..=dice.next(2)).map(|_| dice.address()).collect());
            hosts.push(name);
        }
        let mut includes = Vec::new();
        for i in 0..dice.next(3) {
            let name = format!("partner{i}.example");
            let partner = Policy {
                addresses: (0..dice.next(5)).map(|_| dice.address()).collect(),
                hosts: vec![],
                includes: vec![],
                others: Others::Fail,
            };
            world.texts.extend(partner.records(&name));
            includes.push(name);
        }
        let others = [Others::Fail, Others::Softfail, Others::Neutral][dice.next(3)];
        let otherwise = [Verdict::Fail, Verdict::Softfail, Verdict::Neutral]
            [[Others::Fail, Others::Softfail, Others::Neutral].iter().position(|o| *o == others).unwrap()];

        // During the move both sides may send; after it the legacy side may not.
        for moving in [true, false] {
            let policy = Policy {
                addresses: own.iter().chain(legacy.iter().filter(|_| moving)).copied().collect(),
                hosts: if moving { hosts.clone() } else { vec![] },
                includes: includes.clone(),
                others,
            };
            let records = policy.records("acme.example");
            split += usize::from(records.len() > 1);
            let mut now = World { texts: world.texts.clone(), hosts: world.hosts.clone() };
            now.texts.extend(records.iter().cloned());
            let nets: Vec<IpNet> = includes.iter().flat_map(|i| networks(&world.texts[i])).collect();
            let mut named: BTreeSet<IpAddr> = policy.addresses.iter().copied().collect();
            named.extend(policy.hosts.iter().flat_map(|h| world.hosts[h].iter().copied()));
            let mut probes: BTreeSet<IpAddr> = own.iter().chain(&legacy).copied().collect();
            probes.extend(world.hosts.values().flatten().copied());
            probes.extend(nets.iter().flat_map(|n| [n.network(), n.broadcast()]));
            probes.extend(probes.clone().into_iter().flat_map(neighbours));
            let mut verdicts = BTreeMap::new();
            for ip in probes {
                let mut count = Count::default();
                let verdict = check(&now, "acme.example", ip, &mut count);
                let may = named.contains(&ip) || nets.iter().any(|n| n.contains(&ip));
                let right = if may { Verdict::Pass } else { otherwise };
                assert_eq!(verdict, right, "round {round}, {ip}: {records:?}");
                assert!(count.lookups <= 10 && count.void <= 2, "{records:?}");
                asked += 1;
                verdicts.insert(ip.to_string(), format!("{right:?}").to_lowercase());
            }
            if let Some(out) = &mut out {
                let line = serde_json::json!({ "texts": now.texts, "hosts": now.hosts, "verdicts": verdicts });
                writeln!(out, "{line}").unwrap();
            }
            for (name, text) in &records {
                assert!(text.len() <= LONGEST, "{name}: {text}");
                longest = longest.max(text.len());
                let ends = text.rsplit(' ').next().unwrap();
                assert!(ends.ends_with("all") && text.matches("all").count() == 1, "{text}");
                let first_name = text.find(" a:").or(text.find(" include:")).unwrap_or(text.len());
                let last_ip = text.rfind(" ip").unwrap_or(0);
                assert!(last_ip < first_name, "addresses before names: {text}");
            }
        }
    }
    assert!(split > rounds / 100, "{split} policies were split");
    assert!(asked > 50 * rounds && longest > 400, "{asked} checks, longest {longest}");
}

/// The networks that a text names itself.
fn networks(text: &str) -> Vec<IpNet> {
    let nets = text.split_whitespace().filter_map(|t| t.strip_prefix("ip4:").or_else(|| t.strip_prefix("ip6:")));
    nets.map(|n| n.parse::<IpNet>().unwrap_or_else(|_| IpNet::from(n.parse::<IpAddr>().unwrap()))).collect()
}
