//! What goes wrong around a move: links, disks, quotas, passwords, other hands on the same mailbox. Each ends with a word about it and
//! without harm, and when the cause is gone the move goes on to sameness, judged by the verifier.

#![allow(clippy::unwrap_used)] // a test that cannot go on fails

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use super::support::dovecot::{Client, Dovecot};
use super::support::mover::{Move, USER, mail};
use super::support::relay::{From, Relay, Reply};

const DATE: &str = "05-Feb-2021 07:08:09 +0130";

fn filled(m: &Move, count: usize) -> Client {
    let mut source = m.source();
    source.ask("CREATE Box");
    for n in 0..count {
        source.append(if n % 3 == 0 { "Box" } else { "INBOX" }, ["", "\\Seen work"][n % 2], DATE, &mail(n));
    }
    source
}

fn large(n: usize, octets: usize) -> Vec<u8> {
    let line = format!("{n:08} {}\r\n", "z".repeat(60));
    format!("Subject: {n}\r\n\r\n{}", line.repeat(octets / line.len())).into_bytes()
}

fn ends_moved(m: &Move) {
    m.run(&["retry", USER]).ok();
    moved(m);
    m.same();
}

fn moved(m: &Move) {
    let said = m.run(&["final", USER]);
    assert!(said.code == 0, "{} {}", said.text, m.run(&["report", USER]).text);
}

#[test]
fn fault_a_link_that_is_cut_again_and_again() {
    let m = Move::new();
    filled(&m, 90);
    // At every so manieth line of both links, ten times each.
    let cutting = |port: u16, every: usize| {
        let (lines, cuts) = (AtomicUsize::new(0), AtomicUsize::new(0));
        Relay::start(port, move |_, _| {
            let n = lines.fetch_add(1, Ordering::SeqCst);
            match n % every == every - 1 && cuts.fetch_add(1, Ordering::SeqCst) < 10 {
                true => Reply::Cut,
                false => Reply::Pass,
            }
        })
    };
    let (old, new) = (cutting(m.old.imap, 71), cutting(m.new.imap, 53));
    m.configure(old.port, new.port, "");
    for _ in 0..8 {
        if m.run(&["run", "--once"]).code == 0 {
            break;
        }
    }
    ends_moved(&m);
}

/// 200 ms for each command of the target: few commands, so it stays quick.
#[test]
fn fault_a_link_of_200_ms_on_the_target() {
    let m = Move::new();
    filled(&m, 120);
    let slow = Relay::start(m.new.imap, |from, line| {
        match from == From::Client && line.starts_with('c') && !line.contains(" APPEND ")
            || line.contains("Dovecot ready")
        {
            true => Reply::Wait(Duration::from_millis(200)),
            false => Reply::Pass,
        }
    });
    m.configure(m.old.imap, slow.port, "");
    let began = Instant::now();
    m.once();
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
    ends_moved(&m);
}

/// A small file system, where the right to mount one is there.
struct Small(PathBuf);

impl Small {
    #[allow(clippy::print_stderr)]
    fn mount(at: &Path, kib: usize) -> Option<Self> {
        std::fs::create_dir_all(at).unwrap();
        let size = format!("size={kib}k,mode=0777");
        let done = Command::new("mount").args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(at).output();
        if done.is_ok_and(|d| d.status.success()) {
            return Some(Self(at.to_owned()));
        }
        eprintln!("not run: a full disk is a small tmpfs, and this user may not mount one");
        assert!(std::env::var_os("CI").is_none(), "CI has to be able to mount a tmpfs");
        None
    }

    fn grow(&self, kib: usize) {
        let size = format!("remount,size={kib}k");
        assert!(Command::new("mount").args(["-o", &size]).arg(&self.0).status().unwrap().success());
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

#[test]
fn fault_the_disk_of_the_target_is_full() {
    let m = Move::new();
    let Some(disk) = Small::mount(&m.new.path().join("home"), 500) else { return };
    let mut source = filled(&m, 20);
    (0..30).for_each(|n| source.append("INBOX", "", DATE, &large(n, 40_000)));
    let said = m.run(&["run", "--once"]);
    // Dovecot says OVERQUOTA of a message that does not fit, and SERVERBUG of an index.
    assert!(said.code == 1 && (said.text.contains("quota") || said.text.contains("busy")), "{}", said.text);
    disk.grow(50_000);
    ends_moved(&m);
}

#[test]
fn fault_the_disk_of_the_movers_state_is_full() {
    let m = Move::new();
    let Some(disk) = Small::mount(&m.path("state"), 200) else { return };
    let mut source = filled(&m, 400);
    // Two that go through the spool.
    (0..2).for_each(|n| source.append("INBOX", "", DATE, &large(n, 1_500_000)));
    let said = m.run(&["run", "--once"]);
    assert!(said.code == 1 && said.text.contains("local"), "{}", said.text);
    disk.grow(50_000);
    ends_moved(&m);
}

const QUOTA: &str = "mail_plugins = quota\nprotocol imap {\n mail_plugins = quota imap_quota\n}\n\
    plugin {\n quota = maildir:User quota\n quota_rule = *:storage=300K\n}\n";

#[test]
fn fault_the_quota_of_the_target_is_reached() {
    let m = Move::between(Dovecot::start(), Dovecot::with(QUOTA));
    let mut source = filled(&m, 20);
    (0..20).for_each(|n| source.append("INBOX", "", DATE, &large(n, 40_000)));
    assert!(m.run(&["preflight"]).text.contains("quota"));
    let said = m.run(&["run", "--once"]);
    assert!(said.code == 1 && said.text.contains("quota"), "{}", said.text);
    assert!(m.run(&["status"]).text.contains("failed"));
    m.new.reconfigure("storage=300K", "storage=30M");
    ends_moved(&m);
}

/// A pass through a relay before the source that calls `then` when so many lines with this word have come from the client.
fn midway(m: &Move, word: &'static str, nth: usize, then: impl Fn() + Send + Sync + 'static) -> Relay {
    let seen = AtomicUsize::new(0);
    let relay = Relay::start(m.old.imap, move |from, line| {
        if from == From::Client && line.contains(word) && seen.fetch_add(1, Ordering::SeqCst) + 1 == nth {
            then();
        }
        Reply::Pass
    });
    m.configure(relay.port, m.new.imap, "");
    relay
}

#[test]
fn fault_the_password_is_changed_midway() {
    let m = Arc::new(Move::new());
    filled(&m, 400);
    let (inner, changed) = (Arc::downgrade(&m), AtomicBool::new(false));
    let _relay = midway(&m, "UID FETCH", 3, move || {
        let (Some(m), false) = (inner.upgrade(), changed.swap(true, Ordering::SeqCst)) else { return };
        m.new.reconfigure("password=secret", "password=another");
        m.new.doveadm(&["kick", USER]);
    });
    let said = m.run(&["run", "--once"]);
    assert!(said.code == 1 && said.text.contains("login"), "{}", said.text);
    let report = m.run(&["status"]).text;
    assert!(report.contains("failed") && !report.contains("secret"), "{report}");
    m.new.reconfigure("password=another", "password=secret");
    ends_moved(&m);
}

const OAUTH: &str = "auth_mechanisms = plain xoauth2 oauthbearer\npassdb {\n driver = oauth2\n mechanisms = xoauth2 oauthbearer\n \
    args = /KEYS/oauth2.conf\n}\n";

/// A signed token (JWT, RFC 7519) of so many seconds, which Dovecot checks itself.
fn token(seconds: i64) -> String {
    let script = format!(
        "import base64,hashlib,hmac,json,time\nb=lambda d: base64.urlsafe_b64encode(d).rstrip(b'=')\n\
         t=int(time.time())\nh=b(json.dumps(dict(typ='JWT',alg='HS256')).encode())\n\
         p=b(json.dumps(dict(sub='{USER}',iat=t-5,nbf=t-5,exp=t+{seconds})).encode())\n\
         print((h+b'.'+p+b'.'+b(hmac.new(b'key of the test',h+b'.'+p,hashlib.sha256).digest())).decode())"
    );
    let made = Command::new("python3").args(["-c", &script]).output().unwrap();
    String::from_utf8(made.stdout).unwrap()
}

#[test]
fn fault_a_token_expires_midway() {
    let keys = tempfile::Builder::new().prefix("cms-keys-").tempdir().unwrap();
    std::fs::set_permissions(keys.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let at = keys.path().display();
    std::fs::create_dir_all(keys.path().join("default/HS256")).unwrap();
    std::fs::write(keys.path().join("default/HS256/default"), "a2V5IG9mIHRoZSB0ZXN0").unwrap();
    let conf = format!(
        "introspection_mode = local\nlocal_validation_key_dict = fs:posix:prefix={at}/\nusername_attribute = sub\n"
    );
    std::fs::write(keys.path().join("oauth2.conf"), conf).unwrap();
    let m = Move::between(Dovecot::start(), Dovecot::with(&OAUTH.replace("/KEYS", &at.to_string())));
    filled(&m, 60);
    let toml = std::fs::read_to_string(m.path("cms.toml")).unwrap();
    let (before, target) = toml.split_once("[target]").unwrap();
    let target = target.replace("/password\"", "/token\"\ntoken = true");
    std::fs::write(m.path("cms.toml"), format!("{before}[target]{target}")).unwrap();
    std::fs::write(m.path("token"), token(3600)).unwrap();
    m.once();
    m.same();
    // One that has ended meanwhile.
    std::fs::write(m.path("token"), token(-10)).unwrap();
    let mut source = m.source();
    source.append("INBOX", "", DATE, &mail(1000));
    let said = m.run(&["run", "--once"]);
    assert!(said.code == 1 && said.text.contains("login"), "{}", said.text);
    assert!(!said.text.contains("eyJ"), "{}", said.text);
    std::fs::write(m.path("token"), token(3600)).unwrap();
    ends_moved(&m);
}

#[test]
fn fault_uidvalidity_is_bumped_midway_on_either_side() {
    for target in [false, true] {
        let m = Arc::new(Move::new());
        filled(&m, 200);
        let (inner, bumped) = (Arc::downgrade(&m), AtomicBool::new(false));
        let _relay = midway(&m, "UID FETCH", 3, move || {
            let (Some(m), false) = (inner.upgrade(), bumped.swap(true, Ordering::SeqCst)) else { return };
            let side = if target { &m.new } else { &m.old };
            side.doveadm(&["mailbox", "update", "-u", USER, "--uid-validity", "4711", "INBOX"]);
        });
        for _ in 0..4 {
            if m.run(&["run", "--once"]).code == 0 {
                break;
            }
        }
        ends_moved(&m);
        // Where it came after the last look, the next pass has to see it.
        ends_moved(&m);
        assert!(m.audit().contains("renumbered"), "target: {target}");
    }
}

#[test]
fn fault_a_mailbox_is_renamed_midway() {
    let m = Arc::new(Move::new());
    filled(&m, 300);
    let (inner, renamed) = (Arc::downgrade(&m), AtomicBool::new(false));
    let _relay = midway(&m, "UID FETCH", 2, move || {
        let (Some(m), false) = (inner.upgrade(), renamed.swap(true, Ordering::SeqCst)) else { return };
        let mut source = m.source();
        source.ask("RENAME Box Elsewhere");
        source.ask("CREATE Box");
        source.append("Box", "", DATE, b"Subject: of the new one\r\n\r\nx\r\n");
    });
    for _ in 0..4 {
        if m.run(&["run", "--once"]).code == 0 {
            break;
        }
    }
    ends_moved(&m);
}

#[test]
fn fault_messages_come_and_go_during_every_pass() {
    let m = Move::new();
    filled(&m, 150);
    let stop = Arc::new(AtomicBool::new(false));
    let (port, stopped) = (m.old.imap, stop.clone());
    let busy = std::thread::spawn(move || {
        let mut client = Client::open(port, USER);
        client.ask("SELECT INBOX");
        let mut n = 5000;
        while !stopped.load(Ordering::SeqCst) {
            n += 1;
            client.append("INBOX", "", DATE, &mail(n));
            client.append("Box", "\\Flagged", DATE, &mail(n));
            client.ask("NOOP");
            client.ask("STORE 2 +FLAGS (\\Deleted)");
            client.ask(&format!("STORE {} FLAGS (busy{})", 3 + n % 40, n % 3));
            client.ask("EXPUNGE");
            std::thread::sleep(Duration::from_millis(3));
        }
        n - 5000
    });
    let (mut codes, mut least) = (Vec::new(), usize::MAX);
    for _ in 0..8 {
        let said = m.run(&["run", "--once"]);
        codes.push(said.code);
        let came = said.text.split(" messages").next().and_then(|t| t.rsplit(' ').next()?.parse().ok()).unwrap_or(0);
        least = least.min(came);
    }
    stop.store(true, Ordering::SeqCst);
    assert!(busy.join().unwrap() > 20 && least > 0, "something came in each pass: {codes:?}");
    assert!(codes.iter().all(|c| *c == 0), "{codes:?}");
    ends_moved(&m);
}

/// The lease stands in the ledger; the second mover is let in as soon as the first has ended.
#[test]
fn fault_two_movers_with_one_ledger() {
    let m = Move::new();
    filled(&m, 200);
    let slow = Relay::start(m.old.imap, |from, line| match from == From::Client && line.contains("UID FETCH") {
        true => Reply::Wait(Duration::from_millis(700)),
        false => Reply::Pass,
    });
    m.configure(slow.port, m.new.imap, "");
    let mut first = m.command(&["run", "--once"]).spawn().unwrap();
    std::thread::sleep(Duration::from_millis(600));
    let said = m.run(&["run", "--once"]);
    assert!(said.code == 1 && said.text.contains("another mover"), "{}", said.text);
    assert!(first.wait().unwrap().success());
    ends_moved(&m);
}

/// Two hosts that know nothing of each other: the second is kept away by the sign that the first left on the target.
#[test]
fn fault_two_movers_with_ledgers_of_their_own() {
    let m = Move::new();
    let mut source = filled(&m, 120);
    m.once();
    let here = || (m.old.imap, m.new.imap);
    m.configure_as("other", here().0, here().1, "");
    let said = m.run(&["run", "--once"]);
    assert!(
        said.code == 1 && said.text.contains("claimed: new side") && said.text.contains("--take-over"),
        "{}",
        said.text
    );
    assert!(m.run(&["final", USER]).code == 1 && m.run(&["rollback", USER]).code == 1);
    m.same();
    // The first is none the worse for it.
    m.configure(here().0, here().1, "");
    source.append("INBOX", "", DATE, &mail(900));
    assert!(m.once().contains(" 1 messages"));
    // It dies, and the second takes over: nothing is sent again but what is new.
    source.append("INBOX", "", DATE, &mail(901));
    m.configure_as("other", here().0, here().1, "");
    m.run(&["retry", "--take-over", USER]).ok();
    let said = m.once();
    assert!(said.contains(" 1 messages") && said.contains("121 found again"), "{said}");
    m.same();
    // The first comes back to life: it may write nothing.
    m.configure(here().0, here().1, "");
    let said = m.run(&["run", "--once"]);
    assert!(said.code == 1 && said.text.contains("claimed"), "{}", said.text);
    m.configure_as("other", here().0, here().1, "");
    m.run(&["final", USER]).ok();
    m.same();
    assert!(!m.target().ask("LIST \"\" *").contains("Cutover-Move"), "with the move the sign goes");
}

/// The first still runs when it is taken over: it notices, and what both have stored is there once.
#[test]
fn fault_a_mover_that_is_taken_over_while_it_runs_stops() {
    let m = Move::new();
    filled(&m, 1500);
    // Some seconds between two batches.
    let slow = Relay::start(m.old.imap, |from, line| match from == From::Client && line.contains("UID FETCH") {
        true => Reply::Wait(Duration::from_millis(4000)),
        false => Reply::Pass,
    });
    m.configure(slow.port, m.new.imap, "");
    let first = m.command(&["run", "--once"]).stderr(std::process::Stdio::piped()).spawn().unwrap();
    std::thread::sleep(Duration::from_secs(5));
    m.configure_as("other", m.old.imap, m.new.imap, "");
    // Known there, refused, then taken over.
    assert!(m.run(&["run", "--once"]).text.contains("claimed"));
    m.run(&["retry", "--take-over", USER]).ok();
    m.once();
    let ended = first.wait_with_output().unwrap();
    let text = String::from_utf8_lossy(&ended.stderr);
    assert!(!ended.status.success() && text.contains("claimed"), "{text}");
    moved(&m);
    m.same();
}

/// Killed between the rename of a folder and its record, after a switch that was taken back: the folder that is there under its new name is
/// the one that the ledger knows, not another's. (Found by `tests/soak/cms/kill --seed 5026`.)
#[test]
fn fault_a_kill_between_a_rename_and_its_record() {
    let m = Move::new();
    let mut source = filled(&m, 40);
    moved(&m);
    source.ask("RENAME Box Elsewhere");
    m.target().ask("RENAME Box Elsewhere");
    moved(&m);
    let mut target = m.target();
    assert_eq!(Move::count(&mut target, "Elsewhere"), 14);
    m.same();
}
