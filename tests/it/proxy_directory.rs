//! The proxy's directory against a server that answers as it is told: well, wrongly, late, not at all.

#![allow(clippy::unwrap_used)] // a test that cannot go on fails

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use cutover::services::proxy::config::{Config, Directory as Settings};
use cutover::services::proxy::directory::{Directory, Unknown};
use cutover::services::proxy::handle::Handle;
use cutover::services::proxy::meter::Meter;
use cutover::services::proxy::route::Route;
use cutover::services::proxy::router::Router;
use cutover::services::proxy::session::{Protocol, Refusal};
use proptest::prelude::*;

/// How it answers a search.
const WELL: u8 = 0;
const SILENT: u8 = 1;
const GARBAGE: u8 = 2;
const CLOSED: u8 = 3;
/// From here on: this result code, less 100 (RFC 4511 section 4.1.9).
const CODE: u8 = 100;

struct Server {
    port: u16,
    mode: Arc<AtomicU8>,
    searches: Arc<AtomicUsize>,
    asked: Arc<Mutex<Vec<String>>>,
    /// Where it sends for those whom it does not know.
    elsewhere: Arc<Mutex<Option<String>>>,
}

fn tlv(tag: u8, body: &[u8]) -> Vec<u8> {
    let mut out = vec![tag];
    match body.len() {
        n @ ..128 => out.push(n as u8),
        n => out.extend([0x82, (n >> 8) as u8, n as u8]),
    }
    out.extend_from_slice(body);
    out
}

/// Tag, body, and what stands behind.
fn read(octets: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (tag, first) = (*octets.first()?, *octets.get(1)?);
    let (length, at) = match first {
        0..128 => (usize::from(first), 2),
        n => {
            let n = usize::from(n & 0x7f);
            (octets.get(2..2 + n)?.iter().fold(0, |l, b| l << 8 | usize::from(*b)), 2 + n)
        }
    };
    Some((tag, octets.get(at..at + length)?, octets.get(at + length..)?))
}

fn result(tag: u8, code: u8) -> Vec<u8> {
    tlv(tag, &[tlv(0x0a, &[code]), tlv(4, b""), tlv(4, b"")].concat())
}

fn entry(dn: &str, attributes: &[(&str, &str)]) -> Vec<u8> {
    let one = |(name, value): &(&str, &str)| {
        tlv(0x30, &[tlv(4, name.as_bytes()), tlv(0x31, &tlv(4, value.as_bytes()))].concat())
    };
    let all: Vec<u8> = attributes.iter().flat_map(one).collect();
    tlv(0x64, &[tlv(4, dn.as_bytes()), tlv(0x30, &all)].concat())
}

/// The value that `(mail=..)` compares with.
fn compared(octets: &[u8]) -> Option<String> {
    let at = octets.windows(6).position(|w| w == b"\x04\x04mail")?;
    let (_, value, _) = read(&octets[at + 6..])?;
    Some(String::from_utf8_lossy(value).into_owned())
}

impl Server {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let server = Self {
            port: listener.local_addr().unwrap().port(),
            mode: Arc::default(),
            searches: Arc::default(),
            asked: Arc::default(),
            elsewhere: Arc::default(),
        };
        let (mode, searches, asked) = (server.mode.clone(), server.searches.clone(), server.asked.clone());
        let elsewhere = server.elsewhere.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (mode, searches, asked) = (mode.clone(), searches.clone(), asked.clone());
                let elsewhere = elsewhere.clone();
                std::thread::spawn(move || serve(stream, &mode, &searches, &asked, &elsewhere));
            }
        });
        server
    }

    fn set(&self, mode: u8) {
        self.mode.store(mode, Ordering::SeqCst);
    }

    fn searches(&self) -> usize {
        self.searches.load(Ordering::SeqCst)
    }
}

fn serve(
    mut stream: TcpStream,
    mode: &AtomicU8,
    searches: &AtomicUsize,
    asked: &Mutex<Vec<String>>,
    elsewhere: &Mutex<Option<String>>,
) -> Option<()> {
    let mut held = Vec::new();
    loop {
        let Some((_, message, rest)) = read(&held) else {
            let mut octets = [0; 4096];
            let n = stream.read(&mut octets).ok().filter(|n| *n > 0)?;
            held.extend_from_slice(&octets[..n]);
            continue;
        };
        let (message, rest) = (message.to_vec(), rest.to_vec());
        held = rest;
        let (_, id, operation) = read(&message)?;
        let answers = match operation[0] {
            0x60 => vec![result(0x61, 0)],
            0x63 => {
                searches.fetch_add(1, Ordering::SeqCst);
                let user = compared(operation).unwrap_or_default();
                asked.lock().unwrap().push(user.clone());
                // So that those who ask at the same time find it asked.
                std::thread::sleep(Duration::from_millis(20));
                match mode.load(Ordering::SeqCst) {
                    SILENT => continue,
                    GARBAGE => {
                        let _ = stream.write_all(&[0x30, 0x84, 0xff, 0xff, 0xff, 0xff, 0x02]);
                        continue;
                    }
                    CLOSED => return None,
                    code @ CODE.. => vec![result(0x65, code - CODE)],
                    _ => {
                        let one = |side| entry(&format!("mail={user}"), &[("Side", side), ("LOGIN", "ann-1")]);
                        let mut all = match user.as_str() {
                            "ann@acme.test" => vec![one("old-1")],
                            "bob@acme.test" => vec![one("NEW")],
                            "twin@acme.test" => vec![one("old-1"), one("new")],
                            "bad@acme.test" => vec![entry("x", &[("side", "new"), ("login", "a\r\nDELE 1")])],
                            "odd@acme.test" => vec![entry("x", &[("side", "elsewhere")])],
                            // SearchResultReference (RFC 4511 section 4.5.3).
                            _ => {
                                elsewhere.lock().unwrap().iter().map(|url| tlv(0x73, &tlv(4, url.as_bytes()))).collect()
                            }
                        };
                        all.push(result(0x65, 0));
                        all
                    }
                }
            }
            _ => return None,
        };
        for answer in answers {
            stream.write_all(&tlv(0x30, &[tlv(2, id), answer].concat())).ok()?;
        }
    }
}

fn settings(servers: &[&Server], more: &str) -> String {
    let urls: Vec<String> = servers.iter().map(|s| format!("\"ldap://127.0.0.1:{}\"", s.port)).collect();
    format!(
        "servers = [{}]\nbase = \"dc=acme\"\nfilter = \"(mail={{user}})\"\nattribute = \"side\"\nold = [\"old*\"]\nnew = [\"new\"]\n{more}",
        urls.join(", ")
    )
}

fn directory(servers: &[&Server], more: &str) -> Arc<Directory> {
    let settings: Settings = toml::from_str(&settings(servers, more)).unwrap();
    Directory::begin(&settings, Arc::new(Meter::default())).unwrap()
}

async fn side(directory: &Directory, user: &str) -> Result<Option<Route>, Unknown> {
    directory.ask(user).await.map(|answer| answer.and_then(|a| a.route))
}

#[tokio::test]
async fn answers_are_read_and_remembered() {
    let server = Server::start();
    let d = directory(&[&server], "login-old = \"login\"");
    assert_eq!(side(&d, "ann@acme.test").await, Ok(Some(Route::Old)));
    assert_eq!(side(&d, "bob@acme.test").await, Ok(Some(Route::New)));
    assert_eq!(d.ask("nobody@acme.test").await, Ok(None));
    assert_eq!(side(&d, "odd@acme.test").await, Ok(None));
    assert_eq!(d.ask("ann@acme.test").await.unwrap().unwrap().login(Route::Old), Some("ann-1"));
    assert_eq!(server.searches(), 4, "what was asked before is not asked again");
    for wrong in ["twin@acme.test", "bad@acme.test"] {
        assert!(matches!(d.ask(wrong).await, Err(Unknown::Wrong(_))), "{wrong}");
    }
    assert!(d.flush("ann@acme.test") && !d.flush("ann@acme.test"));
    d.ask("ann@acme.test").await.unwrap();
    assert_eq!(server.searches(), 7);
}

#[tokio::test]
async fn a_thousand_logins_of_one_user_ask_once() {
    let server = Server::start();
    let d = directory(&[&server], "");
    let all: Vec<_> = (0..1000)
        .map(|_| {
            let d = d.clone();
            tokio::spawn(async move { side(&d, "bob@acme.test").await })
        })
        .collect();
    for login in all {
        assert_eq!(login.await.unwrap(), Ok(Some(Route::New)));
    }
    assert_eq!(server.searches(), 1);
}

/// A moved user must not land on the old side because somebody could not be asked.
#[tokio::test]
async fn could_not_be_asked_is_never_not_there() {
    for mode in [
        SILENT,
        GARBAGE,
        CLOSED,
        CODE + 1,
        CODE + 3,
        CODE + 11,
        CODE + 32,
        CODE + 50,
        CODE + 51,
        CODE + 52,
        CODE + 53,
        CODE + 80,
    ] {
        let server = Server::start();
        let d = directory(&[&server], "timeout = \"500ms\"\ncache = \"1ms\"\nstale = \"1h\"");
        assert_eq!(side(&d, "bob@acme.test").await, Ok(Some(Route::New)));
        server.set(mode);
        tokio::time::sleep(Duration::from_millis(5)).await;
        let began = Instant::now();
        assert_eq!(side(&d, "bob@acme.test").await, Ok(Some(Route::New)), "{mode}: what was known serves");
        assert!(began.elapsed() < Duration::from_secs(5), "{mode}: {:?}", began.elapsed());
        let began = Instant::now();
        assert!(matches!(side(&d, "ann@acme.test").await, Err(Unknown::Unreachable(_))), "{mode}");
        assert!(began.elapsed() < Duration::from_millis(400), "{mode}: nobody waits for each time-out again");
        server.set(WELL);
        let end = Instant::now() + Duration::from_secs(20);
        while side(&d, "ann@acme.test").await != Ok(Some(Route::Old)) {
            assert!(Instant::now() < end, "{mode}: it does not come back");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}

#[tokio::test]
async fn another_server_is_asked_when_one_does_not_answer() {
    let (first, second) = (Server::start(), Server::start());
    let d = directory(&[&first, &second], "timeout = \"1s\"\ncache = \"1ms\"");
    assert_eq!(side(&d, "ann@acme.test").await, Ok(Some(Route::Old)));
    first.set(SILENT);
    tokio::time::sleep(Duration::from_millis(5)).await;
    assert_eq!(side(&d, "ann@acme.test").await, Ok(Some(Route::Old)));
    let asked = first.searches();
    for _ in 0..5 {
        tokio::time::sleep(Duration::from_millis(5)).await;
        assert_eq!(side(&d, "bob@acme.test").await, Ok(Some(Route::New)));
    }
    assert_eq!(first.searches(), asked, "who did not answer comes last for a while");
}

#[tokio::test]
async fn a_referral_is_followed_one_step_or_not_at_all() {
    let (here, there, further) = (Server::start(), Server::start(), Server::start());
    let to = |server: &Server| Some(format!("ldap://127.0.0.1:{}/dc=there%2Cdc=acme??sub", server.port));
    *here.elsewhere.lock().unwrap() = to(&there);
    *there.elsewhere.lock().unwrap() = to(&further);
    let ignores = directory(&[&here], "");
    assert_eq!(ignores.ask("nobody@acme.test").await, Ok(None));
    assert_eq!(there.searches(), 0);
    let follows = directory(&[&here], "referrals = \"follow\"");
    assert_eq!(side(&follows, "ann@acme.test").await, Ok(Some(Route::Old)), "who is here is not looked for elsewhere");
    assert_eq!(follows.ask("nobody@acme.test").await, Ok(None));
    assert_eq!((there.searches(), further.searches()), (1, 0));
    // Whoever is there cannot be asked: nobody knows whether the user is.
    there.set(CODE + 52);
    assert!(matches!(follows.ask("other@acme.test").await, Err(Unknown::Unreachable(_))));
}

fn router(state: &std::path::Path, server: &Server, more: &str) -> Arc<Router> {
    let text = format!(
        "[proxy]\nname = \"x\"\nstate = {state:?}\n[[listen]]\nprotocol = \"imap\"\naddress = \"127.0.0.1:0\"\ntls = \"none\"\nplain-login = true\n\
         [side.old.imap]\nservers = [\"127.0.0.1:1\"]\n[side.new.imap]\nservers = [\"127.0.0.1:1\"]\n[rewrite]\nlower-case = true\n[directory]\n{}",
        settings(&[server], more)
    );
    Router::begin(&Config::parse(&text).unwrap(), Arc::default()).unwrap_or_else(|e| panic!("{e:?}"))
}

fn handle() -> Arc<Handle> {
    let any = ([127, 0, 0, 1], 4711).into();
    Arc::new(Handle::new(Protocol::Imap, any, any))
}

#[tokio::test]
async fn a_login_waits_for_nobody_and_lands_nowhere_by_accident() {
    let (state, server) = (tempfile::tempdir().unwrap(), Server::start());
    let router = router(state.path(), &server, "login-new = \"login\"");
    let enter =
        async |user: &str| router.enter(user, &handle()).await.map(|e| (e.route, e.login)).map_err(|d| d.refusal);
    assert_eq!(enter("Bob@acme.test").await, Ok((Route::New, "ann-1".into())));
    assert_eq!(enter("nobody@acme.test").await, Ok((Route::Old, "nobody@acme.test".into())));
    assert_eq!(enter("twin@acme.test").await, Err(Refusal::Later));
    server.set(CODE + 52);
    assert_eq!(enter("else@acme.test").await, Err(Refusal::Later));
    // The table comes first, and then nobody has to be asked for the route; for the login the answer that is left serves.
    let wish = |user: &str, route| cutover::services::proxy::router::Wish {
        users: vec![(user.into(), Some(route))],
        ..Default::default()
    };
    router.set(wish("bob@acme.test", Route::Old)).unwrap();
    assert_eq!(enter("bob@acme.test").await, Ok((Route::Old, "bob@acme.test".into())));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]
    /// Who logs in is whose route is found, whose answer is asked for and remembered, and who arrives at the backend.
    #[test]
    fn session_route_cache_and_backend_know_one_user(names in prop::collection::vec("[a-cA-C@.*()\\\\ é%{}-]{1,8}", 1..6)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let (state, server) = (tempfile::tempdir().unwrap(), Server::start());
            let router = router(state.path(), &server, "");
            for name in &names {
                let entry = router.enter(name, &handle()).await.unwrap_or_else(|d| panic!("{}", d.why));
                assert_eq!(entry.user, name.to_lowercase());
                assert_eq!(entry.ticket.user(), entry.user);
                assert_eq!(entry.login, entry.user);
            }
            let mut asked = server.asked.lock().unwrap().clone();
            asked.sort();
            let mut expected: Vec<String> = names.iter().map(|n| n.to_lowercase()).collect();
            expected.sort();
            expected.dedup();
            assert_eq!(asked, expected, "each user once, by their own name");
        });
    }
}
