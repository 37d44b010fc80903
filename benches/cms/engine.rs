//! For `benches/cms/run`: the mover with its ledger (two passes), and our IMAP ends without one: copies, appends only, asks what has
//! changed, fills a mailbox.
//!
//! `engine move FROM USER TO USER STATE` ·
//! `engine fill HOST:PORT USER` · `engine copy FROM USER TO USER SESSIONS` · `engine append TO USER SESSIONS` · `engine idle FROM USER`
//! · `engine relay PORT TO MILLISECONDS` (a link with that round trip). Passwords are `secret`.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

use std::collections::VecDeque;
use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, mpsc as threads};
use std::time::{Duration, Instant};

use cutover::services::cms::config::{Config, End};
use cutover::services::cms::ledger::Ledger;
use cutover::services::cms::mailbox::{
    Access, Budget, Changes, Fetched, Flags, Folder, FolderPath, Id, Message, Spool,
};
use cutover::services::cms::mover::{Mover, Pass};
use cutover::services::cms::people::People;
use cutover::services::cms::source::{Means, Source};
use cutover::services::cms::target::{Appended, Target};
use tokio::sync::mpsc;

fn main() {
    let words: Vec<String> = std::env::args().skip(1).filter(|a| a != "--bench").collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    if let ["relay", port, to, milliseconds] = words.as_slice() {
        return relay(port.parse().unwrap(), to, Duration::from_micros(milliseconds.parse::<u64>().unwrap() * 500));
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let began = Instant::now();
    let messages = runtime.block_on(async {
        match words.as_slice() {
            ["fill", server, user] => fill(server, user).await,
            ["copy", from, user, to, other, sessions] => copy(from, user, to, other, sessions.parse().unwrap()).await,
            ["append", to, user, sessions] => append(to, user, sessions.parse().unwrap()).await,
            ["move", from, user, to, other, state] => moved(from, user, to, other, state).await,
            ["idle", from, user] => idle(from, user).await,
            _ => 0,
        }
    });
    if messages > 0 {
        let seconds = began.elapsed().as_secs_f64();
        println!("{messages} messages in {seconds:.3} s, {:.0}/s", messages as f64 / seconds);
    }
}

fn end(server: &str) -> End {
    let text = format!(
        "[cms]\n[[mailbox]]\nuser = \"x\"\n[source]\nkind = \"imap\"\nserver = \"{server}\"\ntls = \"none\"\n[target]\nkind = \"imap\"\nserver = \"x:1\"\n"
    );
    Config::parse(&text).unwrap().source
}

fn access(user: &str) -> Access {
    Access { user: user.into(), login: user.into(), master: None, password: "secret".to_owned().into() }
}

fn means() -> Means {
    Means { budget: Budget::new(24 << 20), spool: std::env::temp_dir(), largest: 1 << 31 }
}

/// 5,000 messages in 6 folders: sizes spread around a median of 8.4 KB, 15 above 1 MB, 131 MB in all, as the anchor measured.
fn shapes() -> Vec<(usize, usize)> {
    let mut state = 4711u64;
    let mut random = move || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as f64 / f64::from(1u32 << 31)
    };
    let mut shapes = Vec::new();
    for n in 0..5000 {
        // Log-normal by twelve dice.
        let normal: f64 = (0..12).map(|_| random()).sum::<f64>() - 6.0;
        let size = match n % 333 {
            300 => 1_100_000 + (random() * 2_000_000.0) as usize,
            _ => (8400.0 * (1.3 * normal).exp()).clamp(300.0, 900_000.0) as usize,
        };
        shapes.push((n % 6, size));
    }
    shapes
}

fn made(n: usize, size: usize) -> Vec<u8> {
    let mut message = format!(
        "Return-Path: <a{n}@example.org>\r\nMessage-ID: <{n}.{size}@example.org>\r\nDate: Wed, 1 Jul 2020 10:00:00 +0200\r\nFrom: Some One <a{n}@example.org>\r\n\
         To: bob@example.org\r\nSubject: message {n} of a benchmark\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n"
    )
    .into_bytes();
    let mut state = n as u64 + 1;
    while message.len() < size {
        // As little squeezable as Base64.
        for _ in 0..76 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            message.push(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"[(state >> 58) as usize]);
        }
        message.extend_from_slice(b"\r\n");
    }
    message
}

const FOLDERS: [&[&str]; 6] =
    [&["INBOX"], &["Sent"], &["Drafts"], &["Archive", "2023"], &["Archive", "2024"], &["Lists"]];

fn message(n: usize, size: usize) -> Message {
    let octets = made(n, size);
    let mut spool = Spool::begin(octets.len() as u64, None, &std::env::temp_dir()).unwrap();
    spool.push(&octets).unwrap();
    let (content, digest) = spool.end();
    let flags = Flags::of(["\\Seen", "$Forwarded", "\\Flagged", "Work"].into_iter().take(n % 5));
    let date = Some(cutover::services::cms::mailbox::Date {
        at: jiff::Timestamp::from_second(1_593_590_400 + n as i64 * 3600).unwrap(),
        zone: jiff::tz::Offset::from_seconds(7200).unwrap(),
    });
    Message { id: Id::uid(1), flags, date, content, digest, uidl: None }
}

async fn store(target: &mut Target, batch: &[Message]) {
    match target.append(batch).await {
        Appended::Stored(_) => {}
        Appended::Each(each) if each.iter().all(Result::is_ok) => {}
        other => panic!("{other:?}"),
    }
}

async fn fill(server: &str, user: &str) -> usize {
    let mut target = Target::connect(&end(server), &access(user)).await.unwrap();
    let shapes = shapes();
    let mut sizes: Vec<usize> = shapes.iter().map(|s| s.1).collect();
    sizes.sort_unstable();
    println!(
        "{} octets, median {}, {} above 1 MB",
        sizes.iter().sum::<usize>(),
        sizes[2500],
        sizes.iter().filter(|s| **s > 1_000_000).count()
    );
    for (f, names) in FOLDERS.iter().enumerate() {
        let folder = target.create(&FolderPath::new(names.iter().copied()).unwrap(), None).await.unwrap();
        target.subscribe(&folder, true).await.unwrap();
        target.open(&folder).await.unwrap();
        let of: Vec<(usize, usize)> =
            shapes.iter().enumerate().filter(|(_, s)| s.0 == f).map(|(n, s)| (n, s.1)).collect();
        for batch in of.chunks(50) {
            let batch: Vec<Message> = batch.iter().map(|(n, size)| message(*n, *size)).collect();
            store(&mut target, &batch).await;
        }
    }
    target.close().await;
    shapes.len()
}

/// Parts of folders, taken by whoever is free.
type Work = Arc<Mutex<VecDeque<(Folder, Folder, Vec<Id>)>>>;

async fn copy(from: &str, user: &str, to: &str, other: &str, sessions: usize) -> usize {
    let mut first = Source::connect(&end(from), &access(user)).await.unwrap();
    let mut making = Target::connect(&end(to), &access(other)).await.unwrap();
    let (mut count, mut parts) = (0, VecDeque::new());
    for folder in first.folders().await.unwrap() {
        if !folder.selectable || folder.foreign {
            continue;
        }
        let made = making.create(&folder.path, folder.special).await.unwrap();
        making.subscribe(&made, folder.subscribed).await.unwrap();
        first.open(&folder).await.unwrap();
        let Changes::Whole(seen) = first.changes(None).await.unwrap() else { panic!("no listing") };
        count += seen.len();
        // The mover keeps the order within a folder; pieces of a whole folder's fourth are near to that.
        let each = seen.len().div_ceil(sessions).max(1);
        parts.extend(
            seen.chunks(each)
                .map(|c| (folder.clone(), made.clone(), c.iter().map(|s| s.id.clone()).collect::<Vec<_>>())),
        );
    }
    let work: Work = Arc::new(Mutex::new(parts));
    let mut tasks = Vec::new();
    for n in 0..sessions {
        let work = work.clone();
        let (from, to, user, other) = (end(from), end(to), access(user), access(other));
        tasks.push(tokio::spawn(async move {
            let mut source = Source::connect(&from, &user).await.unwrap();
            let mut target = Target::connect(&to, &other).await.unwrap();
            // The lock is not held while anybody waits.
            let next = || work.lock().unwrap().pop_front();
            while let Some((folder, made, ids)) = next() {
                source.open(&folder).await.unwrap();
                target.open(&made).await.unwrap();
                let (sender, mut receiver) = mpsc::channel(256);
                let means = means();
                let reading = async {
                    source.fetch(&ids, &means, &sender).await.unwrap();
                    drop(sender);
                };
                let writing = async {
                    let (most, octets) = (target.abilities().batch, target.abilities().batch_octets);
                    let (mut batch, mut size) = (Vec::new(), 0);
                    while let Some(fetched) = receiver.recv().await {
                        let Fetched::Message(message) = fetched else { panic!("{fetched:?}") };
                        size += message.content.length();
                        batch.push(*message);
                        if batch.len() >= most || size >= octets {
                            store(&mut target, &batch).await;
                            batch.clear();
                            size = 0;
                        }
                    }
                    store(&mut target, &batch).await;
                };
                tokio::join!(reading, writing);
            }
            source.close().await;
            target.close().await;
            n
        }));
    }
    for task in tasks {
        task.await.unwrap();
    }
    count
}

/// What `cutover-cms run --once` does, twice: the second pass finds nothing to do.
async fn moved(from: &str, user: &str, to: &str, other: &str, state: &str) -> usize {
    let side = |at: &str| format!("kind = \"imap\"\nserver = \"{at}\"\ntls = \"none\"\npassword = \"env:X\"\n");
    let text = format!(
        "[cms]\nstate = \"{state}\"\n[[mailbox]]\nuser = \"{user}\"\ntarget-user = \"{other}\"\n[source]\n{}[target]\n{}",
        side(from),
        side(to)
    );
    let config = Config::parse(&text).unwrap();
    let people = People::of(&config, None).unwrap();
    std::fs::create_dir_all(state).unwrap();
    let ledger = Ledger::open(&config.cms.state, None).unwrap();
    let mover = Mover::new(config, people, Arc::new(|_, _| Ok("secret".to_owned().into())), ledger).unwrap();
    let mover = Arc::new(mover);
    let mut first = 0;
    for pass in ["bulk", "nothing new"] {
        let began = Instant::now();
        let (passed, fault) = mover.pass(user, Pass::Delta).await.unwrap();
        assert!(fault.is_none() && passed.exceptions == 0, "{passed:?} {fault:?}");
        println!("{pass}: {:.3} s, {} messages", began.elapsed().as_secs_f64(), passed.appended);
        first += passed.appended;
    }
    first as usize
}

/// What a target takes at the most: contents are made beforehand, batches are sent one behind another.
async fn append(to: &str, user: &str, sessions: usize) -> usize {
    let mut making = Target::connect(&end(to), &access(user)).await.unwrap();
    let shapes = shapes();
    let mut tasks = Vec::new();
    for n in 0..sessions {
        let names = FOLDERS[n % 6];
        let folder = making.create(&FolderPath::new(names.iter().copied()).unwrap(), None).await.unwrap();
        let mine: Vec<Message> =
            shapes.iter().enumerate().filter(|(m, _)| m % sessions == n).map(|(m, s)| message(m, s.1)).collect();
        let (to, user) = (end(to), access(user));
        tasks.push(tokio::spawn(async move {
            let mut target = Target::connect(&to, &user).await.unwrap();
            target.open(&folder).await.unwrap();
            let began = Instant::now();
            for batch in mine.chunks(100) {
                store(&mut target, batch).await;
            }
            began.elapsed()
        }));
    }
    let mut longest = Duration::ZERO;
    for task in tasks {
        longest = longest.max(task.await.unwrap());
    }
    println!("append only: {:.3} s, {:.0}/s", longest.as_secs_f64(), shapes.len() as f64 / longest.as_secs_f64());
    0
}

/// A pass over a mailbox in which nothing has changed: marks of the listing only.
async fn idle(from: &str, user: &str) -> usize {
    let mut source = Source::connect(&end(from), &access(user)).await.unwrap();
    let was = source.folders().await.unwrap();
    source.close().await;
    let began = Instant::now();
    let mut source = Source::connect(&end(from), &access(user)).await.unwrap();
    let is = source.folders().await.unwrap();
    assert!(was.iter().zip(&is).all(|(a, b)| a.mark == b.mark && a.mark.as_ref().unwrap().modseq.is_some()));
    println!("nothing has changed: {:.1} ms with connection and login", began.elapsed().as_secs_f64() * 1000.0);
    0
}

/// Octets arrive half a round trip later.
fn relay(port: u16, to: &str, half: Duration) {
    for client in TcpListener::bind(("127.0.0.1", port)).unwrap().incoming().map_while(Result::ok) {
        let server = TcpStream::connect(to).unwrap();
        for socket in [&client, &server] {
            socket.set_nodelay(true).unwrap();
        }
        for (mut one, mut two) in [(client.try_clone().unwrap(), server.try_clone().unwrap()), (server, client)] {
            let (sender, receiver) = threads::channel::<(Instant, Vec<u8>)>();
            std::thread::spawn(move || {
                let mut piece = vec![0; 64 << 10];
                while let Ok(n @ 1..) = one.read(&mut piece) {
                    if sender.send((Instant::now() + half, piece[..n].to_vec())).is_err() {
                        return;
                    }
                }
            });
            std::thread::spawn(move || {
                for (at, octets) in receiver {
                    std::thread::sleep(at.saturating_duration_since(Instant::now()));
                    if two.write_all(&octets).is_err() {
                        break;
                    }
                }
                let _ = two.shutdown(Shutdown::Both);
            });
        }
    }
}
