//! The sessions of the proxy fuzzed: octets of a client, of a backend, and of a submission behind its login.
//!
//! A sample runs with the other tests, one for each protocol. The long form, from the root of the repository:
//! `CUTOVER_FUZZ_SECONDS=3600 CUTOVER_FUZZ_DIR=/tmp/proxy-fuzz cargo test --test proxy_fuzz --config profile.dev.package.cutover.opt-level=2 -- --nocapture`
//! (`CUTOVER_FUZZ_SEED=N` begins elsewhere). Findings are written to that folder, one file each.

#![allow(clippy::print_stdout)]

#[path = "../dice.rs"]
mod dice;
mod make;

use std::collections::{BTreeMap, HashSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use cutover::services::proxy::session::{
    Ask, Back, BackSettings, BackStep, Front, FrontSettings, Guard, Login, Protocol, Refusal,
};
use dice::Dice;
use make::Input;

/// Executions of the sample, in a debug build.
const SAMPLE: u64 = 4_000;

/// What any machine may hold of a peer.
const BOUND: usize = 16 * 1024;

fn settings(dice: &mut Dice) -> FrontSettings {
    FrontSettings {
        host: "mail.acme.test".into(),
        tls: dice.below(4) == 0,
        starttls: dice.below(4) > 0,
        plain_login: dice.below(8) > 0,
        tokens: dice.below(2) == 0,
        ehlo: vec!["PIPELINING".into(), "8BITMIME".into()],
        patience: 1 + dice.below(8) as u32,
    }
}

/// Whole lines, each ended by CR LF, nothing that another reader would cut otherwise.
fn lines(octets: &[u8]) -> bool {
    let mut before = 0;
    octets.ends_with(b"\r\n")
        && octets.iter().all(|octet| {
            let fits = match octet {
                0 => false,
                b'\n' => before == b'\r',
                _ => before != b'\r',
            };
            before = *octet;
            fits
        })
}

/// A front over octets in parts of `cut`. All that it said, how it ended, and what a run is told apart by.
struct Run {
    front: Front,
    said: Vec<u8>,
    end: Option<Ask>,
    pushed: usize,
}

fn front(protocol: Protocol, settings: &FrontSettings, octets: &[u8], cut: usize, refuse: u32) -> Result<Run, String> {
    let mut front = Front::new(protocol, settings.clone());
    let mut said = front.greeting();
    let (mut pushed, mut refused, mut steps) = (0, 0, 0);
    loop {
        steps += 1;
        if steps > 200_000 {
            return Err("a front that never waits".into());
        }
        if front.room() > BOUND {
            return Err(format!("room for {}", front.room()));
        }
        match front.ask() {
            Ask::Wait if pushed == octets.len() => return Ok(Run { front, said, end: None, pushed }),
            Ask::Wait => {
                let n = cut.min(front.room()).min(octets.len() - pushed);
                if n == 0 {
                    return Err("it waits, and has no room".into());
                }
                front.push(&octets[pushed..pushed + n]);
                pushed += n;
            }
            Ask::Say(s) => {
                if !lines(&s) {
                    return Err(format!("it says {:?}", String::from_utf8_lossy(&s)));
                }
                said.extend(s);
            }
            Ask::Login(_) if refused < refuse => {
                refused += 1;
                let refusal = [Refusal::Wrong, Refusal::Later, Refusal::Blocked, Refusal::Limit][refused as usize % 4];
                let line = [None, Some(&b"-ERR\rno\n\x00\xff"[..])][refused as usize % 2];
                let s = front.refused(refusal, line);
                if !lines(&s) {
                    return Err(format!("it refuses by {:?}", String::from_utf8_lossy(&s)));
                }
                said.extend(s);
            }
            end => {
                let say: &[u8] = match &end {
                    Ask::StartTls(say) | Ask::Close { say, .. } => say,
                    _ => b"\r\n",
                };
                if !lines(say) {
                    return Err(format!("it ends by {:?}", String::from_utf8_lossy(say)));
                }
                return Ok(Run { front, said, end: Some(end), pushed });
            }
        }
    }
}

/// The verbs by which a proxy logs in. Everything else in front of a backend came from the client.
fn known(protocol: Protocol, sent: &[u8]) -> bool {
    let text = String::from_utf8_lossy(sent);
    let first: Vec<&str> = text.lines().next().unwrap_or_default().split(' ').collect();
    let base64 = |word: &str| word.bytes().all(|b| b.is_ascii_alphanumeric() || b"+/=".contains(&b));
    match (protocol, first.as_slice()) {
        (_, [verb]) if ["STAT", "LIST", "DELE", "QUIT", "NOOP", "RSET", "DATA", "MAIL", "RCPT"].contains(verb) => false,
        (_, [response]) if base64(response) => true,
        (Protocol::Pop3, [verb, ..]) => ["STLS", "CAPA", "USER", "PASS", "AUTH"].contains(verb),
        (Protocol::Submission, [verb, ..]) => ["EHLO", "STARTTLS", "XCLIENT", "AUTH"].contains(verb),
        // A literal of LOGIN holds anything, and its length stands in front of it.
        (Protocol::Imap, _) => true,
        (_, []) => false,
    }
}

/// A login at a backend that says anything. The signature of the run.
fn back(protocol: Protocol, login: Login, octets: &[u8], cut: usize, starttls: bool) -> Result<String, String> {
    let settings =
        BackSettings { starttls, host: "gate.acme.test".into(), client: Some(([192, 0, 2, 7], 4711).into()) };
    let user = login.credentials.user.clone();
    let mut back = Back::new(protocol, settings, login);
    let (mut pushed, mut sent, mut steps) = (0, 0, 0);
    let mut out = String::new();
    let mut step = back.step();
    loop {
        steps += 1;
        if steps > 200_000 || sent > 20 {
            return Err("a back that never ends".into());
        }
        step = match step {
            BackStep::Wait if pushed == octets.len() => return Ok(out + "wait"),
            BackStep::Wait => {
                let n = cut.min(back.room()).min(octets.len() - pushed);
                if n == 0 || back.room() > BOUND {
                    return Err(format!("it waits with room for {}", back.room()));
                }
                back.push(&octets[pushed..pushed + n]);
                pushed += n;
                back.step()
            }
            BackStep::Say(say) => {
                sent += 1;
                // A literal of IMAP may hold any octet but NUL.
                let whole = if protocol == Protocol::Imap { say.ends_with(b"\r\n") } else { lines(&say) };
                if !whole || !known(protocol, &say) {
                    return Err(format!("for {user:?} it sends {:?}", String::from_utf8_lossy(&say)));
                }
                out += std::str::from_utf8(say.get(..4).unwrap_or_default()).unwrap_or("?");
                back.step()
            }
            BackStep::Tls => {
                out += "tls ";
                back.secured()
            }
            BackStep::In(said) => {
                let rest = back.rest();
                if !octets[..pushed].ends_with(&rest) {
                    return Err("octets behind the login are lost".into());
                }
                return Ok(format!("{out}in {}", said.len().ilog2()));
            }
            BackStep::Refused { refusal, .. } => return Ok(format!("{out}{refusal:?}")),
            BackStep::Broken(why) => {
                return Ok(out + &why.chars().filter(|c| c.is_alphabetic()).take(24).collect::<String>());
            }
        };
    }
}

/// The guard of a submission: the same verdict however octets are cut, never more than there is.
fn guard(input: &Input, cut: usize) -> Result<String, String> {
    let run = |cut: usize| {
        let mut guard = Guard::new(cut.is_multiple_of(2) || input.flag);
        let mut passed = 0;
        for part in input.client.chunks(cut) {
            match guard.client(part) {
                Ok(n) if n > part.len() => return Err("more than there is".to_owned()),
                Ok(n) if n < part.len() => return Ok((passed + n, "waits".to_owned())),
                Ok(n) => passed += n,
                Err(fault) => return Ok((passed, fault.to_string())),
            }
        }
        Ok((passed, "passed".to_owned()))
    };
    let (whole, parts) = (run(usize::MAX - 1)?, run(cut * 2)?);
    if whole.1 != parts.1 {
        return Err(format!("{whole:?} at once and {parts:?} in parts of {}", cut * 2));
    }
    Ok(whole.1)
}

/// One input through all machines of its protocol.
fn run(protocol: Protocol, input: &Input, seed: u64) -> Result<String, String> {
    let mut dice = Dice(seed);
    let settings = settings(&mut dice);
    let (cut, refuse) = (1 + dice.below(40), dice.below(3) as u32);
    let whole = front(protocol, &settings, &input.client, usize::MAX, refuse)?;
    let mut parts = front(protocol, &settings, &input.client, cut, refuse)?;
    // STARTTLS alone depends on what has arrived behind it.
    let tls = |run: &Run| matches!(run.end, Some(Ask::StartTls(_) | Ask::Close { .. }));
    if !tls(&whole) && !tls(&parts) && (whole.said != parts.said || whole.end != parts.end) {
        return Err(format!("at once {:?}, in parts of {cut} {:?}", whole.end, parts.end));
    }
    let rest = parts.front.rest();
    if !input.client[..parts.pushed].ends_with(&rest) {
        return Err("octets behind the login are not the client's".into());
    }
    let mut signature = String::new();
    for line in String::from_utf8_lossy(&parts.said).lines().take(40) {
        signature
            .extend(line.split(' ').skip(1).take(4).flat_map(str::chars).filter(char::is_ascii_alphabetic).take(16));
    }
    match parts.end {
        Some(Ask::Login(login)) => {
            let c = &login.credentials;
            if c.user.is_empty() || c.user.len() > 512 || c.user.chars().any(char::is_control) {
                return Err(format!("a user {:?}", c.user));
            }
            signature += &back(protocol, *login, &input.server, cut, input.flag)?;
        }
        Some(Ask::Close { why, .. }) => signature += &why,
        Some(_) => signature += "tls",
        None => signature += "waits",
    }
    if protocol == Protocol::Submission {
        signature += &guard(input, cut)?;
    }
    Ok(signature)
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

fn fuzz(protocol: Protocol) {
    let seconds = number("CUTOVER_FUZZ_SECONDS").map(Duration::from_secs);
    let dir = std::env::var_os("CUTOVER_FUZZ_DIR").map(std::path::PathBuf::from);
    let mut dice = Dice(number("CUTOVER_FUZZ_SEED").unwrap_or(1) ^ protocol as u64);
    let mut pool = make::seeds(protocol);
    let mut seen: HashSet<String> = HashSet::new();
    let mut findings: BTreeMap<String, u64> = BTreeMap::new();
    let (began, mut runs, mut octets) = (Instant::now(), 0u64, 0u64);
    while seconds.map_or(runs < SAMPLE, |s| !runs.is_multiple_of(64) || began.elapsed() < s) {
        let input = make::mutate(protocol, &pool, &mut dice);
        let seed = dice.next();
        runs += 1;
        octets += (input.client.len() + input.server.len()) as u64;
        let outcome = catch_unwind(AssertUnwindSafe(|| run(protocol, &input, seed)));
        let fault = match outcome {
            Ok(Ok(signature)) => {
                if pool.len() < 20_000 && input.client.len() < 8 << 10 && seen.insert(signature) {
                    pool.push(input);
                }
                continue;
            }
            Ok(Err(fault)) => fault,
            Err(_) => "panic".to_owned(),
        };
        let kind: String = fault.chars().filter(|c| c.is_alphabetic() || *c == ' ').take(20).collect();
        let times = findings.entry(kind).or_default();
        *times += 1;
        if *times == 1 {
            println!("{} run {runs} seed {seed}: {fault}\n{input:?}", protocol.as_str());
            if let Some(dir) = &dir {
                let _ = std::fs::create_dir_all(dir);
                let name = format!("{}-{runs}.txt", protocol.as_str());
                let _ = std::fs::write(dir.join(name), format!("{fault}\nseed {seed}\n{input:?}\n"));
            }
        }
    }
    let took = began.elapsed().as_secs_f64();
    let account = format!(
        "{}: {runs} executions of {octets} octets in {took:.0} s, {} kinds of runs, {} findings",
        protocol.as_str(),
        seen.len(),
        findings.len()
    );
    println!("{account}");
    if let Some(dir) = &dir {
        let _ = std::fs::create_dir_all(dir);
        let _ = std::fs::write(dir.join(format!("{}.account", protocol.as_str())), account + "\n");
    }
    assert!(findings.is_empty(), "{findings:?}");
}

#[test]
fn fuzz_imap() {
    fuzz(Protocol::Imap);
}

#[test]
fn fuzz_pop3() {
    fuzz(Protocol::Pop3);
}

#[test]
fn fuzz_submission() {
    fuzz(Protocol::Submission);
}
