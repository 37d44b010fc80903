//! The IMAP end of the content service against a server whose answers are mangled: no panic, no hang, every id answered once, nothing
//! believed that was not said.
//!
//! A sample runs with the other tests. The long form, from the root of the repository:
//! `CUTOVER_FUZZ_SECONDS=3600 cargo test --test cms_fuzz --config profile.dev.package.cutover.opt-level=2 -- --nocapture`
//! (`CUTOVER_FUZZ_SEED=N` begins elsewhere). A failing seed is printed.

#![allow(clippy::print_stdout, clippy::unwrap_used)]

#[path = "../../dice.rs"]
mod dice;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use cutover::services::cms::config::{Config, End};
use cutover::services::cms::mailbox::{Access, Budget, Changes, Fetched, Flags, FolderPath, Id, Message, Spool};
use cutover::services::cms::source::{Means, Source};
use cutover::services::cms::target::{Appended, Target};
use dice::Dice;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

/// Sessions of the sample, and how many run side by side.
const SAMPLE: u64 = 600;
const TOGETHER: u64 = 40;
/// How long a session may take in all: it asks some thirty times and waits [`PATIENCE`] for each.
const LONGEST: Duration = Duration::from_secs(60);
const PATIENCE: &str = "150ms";

const CAPABILITIES: &str = "IMAP4rev1 LITERAL+ ENABLE ID CONDSTORE QRESYNC UIDPLUS MULTIAPPEND NAMESPACE LIST-EXTENDED LIST-STATUS SPECIAL-USE UNSELECT AUTH=PLAIN SASL-IR";

/// What a sound server answers, the tagged line left out.
fn answer(line: &str) -> String {
    let (_, command) = line.split_once(' ').unwrap_or_default();
    let verb = command.split(' ').next().unwrap_or_default();
    match verb {
        "CAPABILITY" => format!("* CAPABILITY {CAPABILITIES}\r\n"),
        "ENABLE" => "* ENABLED QRESYNC\r\n".into(),
        "NAMESPACE" => "* NAMESPACE ((\"\" \"/\")) NIL ((\"Shared/\" \"/\"))\r\n".into(),
        "LIST" if command.ends_with("\"\"") => "* LIST (\\Noselect) \"/\" \"\"\r\n".into(),
        "LIST" => "* LIST (\\HasNoChildren \\Subscribed) \"/\" INBOX\r\n* STATUS INBOX (MESSAGES 3 UIDNEXT 9 UIDVALIDITY 7 HIGHESTMODSEQ 12)\r\n\
                   * LIST (\\HasNoChildren \\Sent) \"/\" {4}\r\nSent\r\n* STATUS \"Sent\" (MESSAGES 0 UIDNEXT 1 UIDVALIDITY 8 HIGHESTMODSEQ 1)\r\n"
            .into(),
        "SELECT" | "EXAMINE" => "* FLAGS (\\Seen Work)\r\n* OK [PERMANENTFLAGS (\\Seen \\*)] ok\r\n* 3 EXISTS\r\n* OK [UIDVALIDITY 7] ok\r\n\
                                 * OK [UIDNEXT 9] ok\r\n* OK [HIGHESTMODSEQ 12] ok\r\n"
            .into(),
        "UID" if command.contains("BODY.PEEK") => (1..=3)
            .map(|n| format!("* {n} FETCH (UID {} FLAGS (\\Seen) INTERNALDATE \" 1-Jul-2020 10:00:00 +0200\" BODY[] {{20}}\r\nSubject: x\r\n\r\nbody\r\n)\r\n", n * 2))
            .collect(),
        "UID" if command.contains("CHANGEDSINCE") => "* VANISHED (EARLIER) 1,3,5\r\n* 2 FETCH (UID 4 FLAGS () INTERNALDATE \" 1-Jul-2020 10:00:00 +0200\" RFC822.SIZE 20 MODSEQ (12))\r\n".into(),
        "UID" if command.contains("FETCH") => (1..=3)
            .map(|n| format!("* {n} FETCH (UID {} FLAGS (\\Seen $F) INTERNALDATE \" 1-Jul-2020 10:00:00 +0200\" RFC822.SIZE 20 MODSEQ (5))\r\n", n * 2))
            .collect(),
        _ => String::new(),
    }
}

/// Octets changed, doubled, cut out, or words of the protocol put between.
fn mangle(octets: &mut Vec<u8>, dice: &mut Dice) {
    const WORDS: [&[u8]; 14] = [
        b"\r\n",
        b"(",
        b")",
        b"\"",
        b"{5}\r\n",
        b"{999999999999}\r\n",
        b"* BYE\r\n",
        b" NIL ",
        b"* 4294967295 EXISTS\r\n",
        b"* VANISHED 1:4294967295\r\n",
        b"* OK [UIDVALIDITY 8] x\r\n",
        b"+ go\r\n",
        b"\0",
        b"* 1 FETCH (UID 2)\r\n",
    ];
    for _ in 0..1 + dice.small(3) {
        let at = dice.below(octets.len() + 1);
        match dice.below(4) {
            0 if at < octets.len() => octets[at] = dice.next() as u8,
            1 => drop(octets.splice(at..at, dice.pick(&WORDS).iter().copied())),
            2 => {
                let end = (at + dice.small(6)).min(octets.len());
                octets.drain(at..end);
            }
            _ => {
                let end = (at + dice.small(7)).min(octets.len());
                let again = octets[at..end].to_vec();
                octets.splice(at..at, again);
            }
        }
    }
}

async fn serve(socket: TcpStream, mut dice: Dice) -> std::io::Result<()> {
    let (reader, mut writer) = socket.into_split();
    let mut lines = BufReader::new(reader).split(b'\n');
    writer.write_all(format!("* OK [CAPABILITY {CAPABILITIES}] ready\r\n").as_bytes()).await?;
    // Many sessions come as far as a fetch or an append.
    let begin = dice.below(14);
    let mut count = 0;
    while let Some(line) = lines.next_segment().await? {
        let line = String::from_utf8_lossy(&line).trim_end().to_owned();
        let Some((tag, command)) = line.split_once(' ') else { continue };
        if !tag.starts_with('c') || !tag[1..].bytes().all(|b| b.is_ascii_digit()) {
            // Of an append: its messages hold no such line, so its answer is due at the empty one.
            continue;
        }
        count += 1;
        let mut octets = answer(&line).into_bytes();
        let code = if command.starts_with("APPEND") { "[APPENDUID 7 9:10] " } else { "" };
        octets.extend_from_slice(format!("{tag} OK {code}done\r\n").as_bytes());
        if count > begin && dice.below(3) == 0 {
            mangle(&mut octets, &mut dice);
        }
        writer.write_all(&octets).await?;
        if count > begin && dice.below(40) == 0 {
            return Ok(());
        }
    }
    Ok(())
}

fn end(port: u16) -> End {
    let text = format!(
        "[cms]\n[[mailbox]]\nuser = \"x\"\n[source]\nkind = \"imap\"\nserver = \"127.0.0.1:{port}\"\ntls = \"none\"\ntimeout = \"{PATIENCE}\"\n[target]\nkind = \"imap\"\nserver = \"x:1\"\n"
    );
    Config::parse(&text).unwrap().source
}

fn message() -> Message {
    let octets = b"Subject: x\r\n\r\nbody\r\n";
    let mut spool = Spool::begin(octets.len() as u64, None, &std::env::temp_dir()).unwrap();
    spool.push(octets).unwrap();
    let (content, digest) = spool.end();
    Message { id: Id::uid(1), flags: Flags::of(["\\Seen"]), date: None, content, digest, uidl: None }
}

/// How far a session came, for the sum that is printed.
async fn read(end: &End, access: &Access, means: &Means) -> usize {
    let Ok(mut source) = Source::connect(end, access).await else { return 0 };
    let Ok(folders) = source.folders().await else { return 1 };
    let Some(inbox) = folders.iter().find(|f| f.path.is_inbox()) else { return 1 };
    let Ok(mark) = source.open(inbox).await else { return 2 };
    if let Ok(Changes::Whole(seen)) = source.changes(None).await {
        assert!(seen.windows(2).all(|w| w[0].id != w[1].id));
    }
    let mut former = mark.clone();
    former.modseq = mark.modseq.map(|m| m.saturating_sub(1));
    let _ = source.changes(Some(&former)).await;
    let ids: Vec<Id> = [2, 4, 6, 8].map(Id::uid).into();
    let (to, mut from) = mpsc::channel(2);
    let gather = async {
        let mut answers: BTreeMap<Id, usize> = BTreeMap::new();
        while let Some(fetched) = from.recv().await {
            let id = match fetched {
                Fetched::Message(m) => m.id,
                Fetched::Failed(id, _) => id,
            };
            *answers.entry(id).or_default() += 1;
        }
        answers
    };
    let run = async {
        let done = source.fetch(&ids, means, &to).await;
        drop(to);
        done
    };
    let (answers, done) = tokio::join!(gather, run);
    assert!(answers.iter().all(|(id, n)| *n == 1 && ids.contains(id)), "{answers:?}");
    assert!(done.is_err() || answers.len() == ids.len(), "{answers:?}");
    source.close().await;
    3
}

async fn write(end: &End, access: &Access) -> usize {
    let Ok(mut target) = Target::connect(end, access).await else { return 0 };
    let Ok(inbox) = target.create(&FolderPath::inbox(), None).await else { return 1 };
    if target.open(&inbox).await.is_err() {
        return 2;
    }
    match target.append(&[message(), message()]).await {
        Appended::Stored(ids) => assert_eq!(ids.len(), 2),
        Appended::Each(each) => assert_eq!(each.len(), 2),
        Appended::Refused { stored, culprit, .. } => assert!(stored.len() <= 2 && culprit.is_none_or(|c| c < 2)),
        Appended::Unknown(_) => {}
    }
    let _ = target.arrived(Some(4)).await;
    let _ = target.set_flags(&[(Id::uid(2), Flags::of(["Work"]))]).await;
    let _ = target.remove(&[Id::uid(2)]).await;
    target.close().await;
    3
}

async fn session(seed: u64) -> [usize; 2] {
    let mut dice = Dice(seed);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let (one, two) = (dice.next(), dice.next());
    let serving = tokio::spawn(async move {
        for seed in [one, two] {
            let Ok((socket, _)) = listener.accept().await else { return };
            tokio::spawn(serve(socket, Dice(seed)));
        }
    });
    let end = end(port);
    let access = Access { user: "x".into(), login: "x".into(), master: None, password: "secret".to_owned().into() };
    let means = Means { budget: Budget::new(1 << 20), spool: std::env::temp_dir(), largest: 1 << 20 };
    let came = [read(&end, &access, &means).await, write(&end, &access).await];
    serving.abort();
    came
}

#[test]
fn mangled_answers_never_panic_hang_or_answer_an_id_twice() {
    let number = |name: &str| std::env::var(name).ok().and_then(|v| v.parse::<u64>().ok());
    let until = number("CUTOVER_FUZZ_SECONDS").map(|s| Instant::now() + Duration::from_secs(s));
    let first = number("CUTOVER_FUZZ_SEED").unwrap_or(1);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let mut seed = first;
    let mut came = [[0usize; 4]; 2];
    while until.map_or(seed < first + SAMPLE, |u| Instant::now() < u) {
        let some = seed..seed + TOGETHER;
        seed = some.end;
        let session = |s: u64| async move { tokio::time::timeout(LONGEST, session(s.wrapping_mul(0x9e37_79b9))).await };
        let running: Vec<_> = some.map(|s| (s, runtime.spawn(session(s)))).collect();
        for (seed, task) in running {
            let done = runtime.block_on(task).unwrap_or_else(|e| panic!("seed {seed}: {e}"));
            let [read, written] = done.unwrap_or_else(|_| panic!("seed {seed}: it hangs"));
            came[0][read] += 1;
            came[1][written] += 1;
        }
    }
    println!("{} sessions; refused at login, in listing, at opening, went to the end: {came:?}", seed - first);
    assert!(came.iter().all(|c| c[3] > (seed - first) as usize / 10), "hardly any comes to the end: {came:?}");
}
