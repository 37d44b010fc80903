//! The sockets of the proxy: servers that are none, ends of connections, many sessions, few files.
#![allow(clippy::print_stderr)] // times are part of the result

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::process::Command;
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use cutover::services::proxy::session::Protocol;

use crate::support::proxy::{Proxy, Setting};
use crate::support::wire::{backend, dial, imap, log_in, read_line, take_login};

fn setting(old: SocketAddr, new: SocketAddr) -> Setting {
    Setting {
        old: vec![(Protocol::Imap, old)],
        new: vec![(Protocol::Imap, new)],
        more: "[limits]\nper-address = 0\nper-user = 0\nbackend-timeout = \"2s\"\n".into(),
        ..Setting::default()
    }
}

fn session(proxy: &Proxy, user: &str) -> TcpStream {
    let mut line = dial(proxy.at(Protocol::Imap));
    let answer = log_in(&mut line, user).expect("an answer");
    assert!(answer.starts_with("a OK"), "{answer}");
    line
}

fn noop(line: &mut TcpStream) -> bool {
    line.write_all(b"n NOOP\r\n").is_ok() && read_line(line).is_ok_and(|l| l == "n OK done\r\n")
}

/// `cutover-proxy` with the control socket of a proxy that runs.
fn command(proxy: &Proxy, words: &[&str]) -> String {
    let out = Command::new(env!("CARGO_BIN_EXE_cutover-proxy"))
        .args(words)
        .arg("--socket")
        .arg(proxy.dir().join("control.sock"))
        .output()
        .expect("it runs");
    assert!(out.status.success(), "{words:?}: {}{}", String::from_utf8_lossy(&out.stderr), proxy.file("stderr"));
    String::from_utf8_lossy(&out.stdout).into_owned()
}

#[test]
fn a_server_that_is_none_is_told_as_later_and_the_next_one_is_asked() {
    let hang = |mut s: TcpStream| drop(s.read(&mut [0; 64]));
    let garbage = |mut s: TcpStream| drop(s.write_all(b"\x16\x03\x01 what is this\r\n\r\n"));
    let half = |mut s: TcpStream| drop(s.write_all(b"* OK [CAPAB"));
    let endless = |mut s: TcpStream| {
        let _ = s.write_all(b"* OK ");
        while s.write_all(&[b'x'; 65536]).is_ok() {}
    };
    let full = |mut s: TcpStream| drop(s.write_all(b"* BYE too many\r\n"));
    let bad = [backend(hang), backend(garbage), backend(half), backend(endless), backend(full)];
    let good = backend(imap);
    for server in bad {
        let setting = setting(server, good);
        let proxy = Proxy::start(&setting);
        let before = proxy.resident();
        let began = Instant::now();
        let mut line = dial(proxy.at(Protocol::Imap));
        let answer = log_in(&mut line, "ann").expect("an answer");
        assert!(answer.starts_with("a NO [UNAVAILABLE]"), "{answer}");
        assert!(began.elapsed() < Duration::from_secs(4), "{:?}", began.elapsed());
        assert!(proxy.resident() < before + (4 << 20), "{} {before}", proxy.resident());
        drop(proxy);
        let proxy = Proxy::start_with(&setting, |t| {
            t.replacen(&format!("servers = [\"{server}\"]"), &format!("servers = [\"{server}\", \"{good}\"]"), 1)
        });
        let first = Instant::now();
        drop(session(&proxy, "ann"));
        assert!(first.elapsed() < Duration::from_secs(3));
        // Now the one that did not answer comes last.
        let second = Instant::now();
        drop(session(&proxy, "ann"));
        assert!(second.elapsed() < Duration::from_millis(700), "{:?}", second.elapsed());
    }
}

#[test]
fn each_side_may_end_before_the_other() {
    // The client ends first: the server has the last word.
    let (told, heard) = channel();
    let last_word = backend(move |mut s| {
        take_login(&mut s).expect("a login");
        let mut all = Vec::new();
        s.read_to_end(&mut all).expect("the end");
        told.send(all).expect("heard");
        s.write_all(&vec![b'y'; 300_000]).expect("sent");
    });
    let proxy = Proxy::start(&setting(last_word, last_word));
    let mut line = session(&proxy, "ann");
    line.write_all(&vec![b'x'; 300_000]).expect("sent");
    line.shutdown(Shutdown::Write).expect("ended");
    let mut all = Vec::new();
    line.read_to_end(&mut all).expect("the end");
    assert_eq!((all.len(), heard.recv().expect("heard").len()), (300_000, 300_000));
    drop(proxy);

    // The server ends first: it still hears the client.
    let (told, heard) = channel();
    let listens = backend(move |mut s| {
        take_login(&mut s).expect("a login");
        s.write_all(b"bye\r\n").expect("sent");
        s.shutdown(Shutdown::Write).expect("ended");
        let mut all = Vec::new();
        s.read_to_end(&mut all).expect("the end");
        told.send(all.len()).expect("heard");
    });
    let proxy = Proxy::start(&setting(listens, listens));
    let mut line = session(&proxy, "ann");
    let mut all = Vec::new();
    line.read_to_end(&mut all).expect("the end");
    assert_eq!(all, b"bye\r\n");
    line.write_all(&vec![b'z'; 200_000]).expect("sent");
    drop(line);
    assert_eq!(heard.recv_timeout(Duration::from_secs(5)).expect("heard"), 200_000);
}

#[test]
fn a_moved_user_is_closed_at_once_and_two_thousand_others_feel_nothing() {
    let (old, new) = (backend(imap), backend(imap));
    let proxy = Proxy::start(&setting(old, new));
    let mut lines: Vec<TcpStream> = (0..2000).map(|n| session(&proxy, &format!("u{n}@acme.test"))).collect();
    let mut late = Vec::new();
    for victim in [7usize, 700, 1999] {
        let socket = proxy.dir().join("control.sock");
        let mut watched = lines[victim].try_clone().expect("a line");
        let watcher = std::thread::spawn(move || {
            let ended = watched.read(&mut [0; 16]).is_ok_and(|n| n == 0);
            (ended, Instant::now())
        });
        std::thread::sleep(Duration::from_millis(50));
        // The request alone, without the time that a process takes to start.
        let mut control = std::os::unix::net::UnixStream::connect(&socket).expect("the control socket");
        let request = serde_json::json!({"command": "set", "users": [format!("u{victim}@acme.test")], "to": "new", "close": true});
        let began = Instant::now();
        control.write_all(format!("{request}\n").as_bytes()).expect("asked");
        let mut answer = String::new();
        std::io::BufRead::read_line(&mut std::io::BufReader::new(control), &mut answer).expect("an answer");
        assert!(answer.contains("done"), "{answer}");
        let (ended, at) = watcher.join().expect("ended");
        assert!(ended);
        late.push(at.saturating_duration_since(began));
        let again = session(&proxy, &format!("u{victim}@acme.test"));
        assert_eq!(again.peer_addr().expect("an address"), proxy.at(Protocol::Imap));
        lines[victim] = again;
    }
    assert!(lines.iter_mut().all(noop), "somebody else was dropped");
    eprintln!("closed after {late:?}");
    assert!(late.iter().all(|l| *l < Duration::from_millis(150)), "{late:?}");
    let shown = command(&proxy, &["status"]);
    assert!(shown.contains("1997 old, 3 new"), "{shown}");
}

#[test]
fn held_logins_go_on_at_once_and_those_who_left_are_forgotten() {
    let (old, new) = (backend(imap), backend(imap));
    let proxy = Proxy::start(&setting(old, new));
    command(&proxy, &["hold", "ann@acme.test"]);
    let waits: Vec<_> = (0..20)
        .map(|_| {
            let mut line = dial(proxy.at(Protocol::Imap));
            std::thread::spawn(move || (log_in(&mut line, "ann@acme.test").expect("an answer"), Instant::now()))
        })
        .collect();
    let mut gone = dial(proxy.at(Protocol::Imap));
    read_line(&mut gone).expect("a greeting");
    gone.write_all(b"a LOGIN ann@acme.test pw\r\n").expect("sent");
    std::thread::sleep(Duration::from_millis(400));
    assert!(command(&proxy, &["status"]).contains("21 logins on their way"), "{}", command(&proxy, &["status"]));
    drop(gone);
    std::thread::sleep(Duration::from_millis(600));
    assert!(command(&proxy, &["status"]).contains("20 logins on their way"), "{}", command(&proxy, &["status"]));
    command(&proxy, &["route", "set", "ann@acme.test", "--to", "new"]);
    let released = Instant::now();
    let mut last = Duration::ZERO;
    for wait in waits {
        let (answer, at) = wait.join().expect("a login");
        assert!(answer.starts_with("a OK"), "{answer}");
        last = last.max(at.saturating_duration_since(released));
    }
    eprintln!("the last of 20 held logins was through {last:?} after the release");
    assert!(last < Duration::from_millis(200), "{last:?}");
}

#[test]
fn without_files_connections_wait_or_are_shed_and_the_proxy_lives() {
    use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit};
    let server = backend(imap);
    let all = getrlimit(Resource::Nofile).maximum.unwrap_or(1 << 20);
    let mut shed = setting(server, server);
    shed.more = format!("[limits]\nper-address = 0\nspare-files = {}\n", all - 60);
    let proxy = Proxy::start(&shed);
    let mut lines: Vec<TcpStream> = (0..80).map(|_| dial(proxy.at(Protocol::Imap))).collect();
    let words: Vec<String> = lines.iter_mut().map(|l| read_line(l).unwrap_or_default()).collect();
    let sent_away = words.iter().filter(|w| w.starts_with("* BYE")).count();
    assert!((20..75).contains(&sent_away), "{sent_away} {words:?}");
    lines.clear();
    std::thread::sleep(Duration::from_millis(300));
    drop(session(&proxy, "ann"));
    drop(proxy);

    let mut none = setting(server, server);
    none.more = "[limits]\nper-address = 0\nspare-files = 0\n".into();
    let proxy = Proxy::start(&none);
    let pid = Pid::from_raw(proxy.pid() as i32).expect("a process");
    prlimit(Some(pid), Resource::Nofile, Rlimit { current: Some(50), maximum: Some(all) }).expect("a limit");
    let lines: Vec<TcpStream> = (0..80).map(|_| dial(proxy.at(Protocol::Imap))).collect();
    let before = cpu(proxy.pid());
    std::thread::sleep(Duration::from_secs(1));
    assert!(cpu(proxy.pid()) - before < 30, "it spins");
    drop(lines);
    std::thread::sleep(Duration::from_millis(500));
    drop(session(&proxy, "ann"));
}

/// Processor time of a process, in hundredths of a second.
fn cpu(pid: u32) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).expect("a process");
    let fields: Vec<&str> = stat.rsplit_once(')').expect("a name").1.split_whitespace().collect();
    fields[11].parse::<u64>().expect("a number") + fields[12].parse::<u64>().expect("a number")
}

#[test]
fn a_proxy_header_is_needed_from_those_who_send_one_and_from_nobody_else() {
    let (told, heard) = channel();
    let told = std::sync::Mutex::new(told);
    let server = backend(move |mut s| {
        let header = read_line(&mut s).unwrap_or_default();
        told.lock().expect("not poisoned").send(header).expect("heard");
        let _ = take_login(&mut s);
    });
    let mut with = setting(server, server);
    with.listen += "proxy-protocol = [\"127.0.0.0/8\"]\n";
    with.back += "proxy-protocol = \"v1\"\n";
    let proxy = Proxy::start(&with);
    let header = b"PROXY TCP4 192.0.2.7 192.0.2.1 4711 143\r\n";
    for cut in 0..header.len() {
        let mut line = dial(proxy.at(Protocol::Imap));
        line.write_all(&header[..cut]).expect("sent");
        if cut % 9 == 0 {
            std::thread::sleep(Duration::from_millis(5));
        }
        line.write_all(&header[cut..]).expect("sent");
        let answer = log_in(&mut line, "ann").expect("an answer");
        assert!(answer.starts_with("a OK"), "{answer}");
        assert_eq!(heard.recv().expect("a header").as_bytes(), header);
    }
    let mut line = dial(proxy.at(Protocol::Imap));
    line.write_all(b"a LOGIN ann pw\r\n").expect("sent");
    assert!(read_line(&mut line).is_err(), "served without a header");
    drop(proxy);

    let proxy = Proxy::start(&setting(server, server));
    let mut line = dial(proxy.at(Protocol::Imap));
    read_line(&mut line).expect("a greeting");
    line.write_all(header).expect("sent");
    assert!(read_line(&mut line).is_err(), "a header of somebody else was taken");
}
