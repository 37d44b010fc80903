//! What users have beside mail: rules, out-of-office, signatures, between private Dovecots and files.

#![allow(clippy::unwrap_used)] // a test that cannot go on fails

use super::support::dovecot::{Dovecot, free_port};
use super::support::mover::{Move, USER, mail};

/// The configuration of `m`, with items and what `extra` says of each side.
fn with_items(m: &Move, items: &str, source: &str, target: &str, more: &str) {
    m.configure(m.old.imap, m.new.imap, &format!("{source}{target}{more}"));
    let text = std::fs::read_to_string(m.path("cms.toml")).unwrap();
    std::fs::write(m.path("cms.toml"), text.replacen("[cms]\n", &format!("[cms]\nitems = [{items}]\n"), 1)).unwrap();
}

#[test]
fn an_item_without_an_end_is_an_exception_and_not_silence() {
    let m = Move::new();
    m.source().append("INBOX", "", "", &mail(1));
    let items = "\"messages\", \"rules\", \"contacts\", \"signature\", \"out-of-office\"";
    with_items(&m, items, "", "", "");
    let said = m.once();
    assert!(said.contains("1 messages") && said.contains("4 exceptions"), "{said}");
    let report = m.run(&["report", USER]).text;
    assert!(
        report.contains("cms.items asks for out-of-office") && report.contains("[source.rules] and [target.rules]")
    );
    m.run(&["final", USER]).ok();
    with_items(&m, items, "", "", "[limits]\npersonal = \"refuse\"\n");
    assert_eq!(m.run(&["final", USER]).code, 1, "where the configuration says so, it is not moved");
    with_items(&m, "\"messages\"", "", "", "");
    m.once();
}

#[test]
fn signatures_follow_the_source_until_the_switch_and_the_user_after_it() {
    let m = Move::new();
    let at = |side: &str| m.path(side).join(USER);
    let part = |side: &str| {
        let path = m.path(side);
        format!("[{side}.signature]\nkind = \"signature\"\npath = \"{}/{{user}}\"\n", path.display())
    };
    with_items(&m, "\"messages\", \"signature\"", &part("source"), &part("target"), "");
    std::fs::create_dir_all(at("source")).unwrap();
    let write = |side: &str, name: &str, text: &str| std::fs::write(at(side).join(name), text).unwrap();
    let read = |side: &str, name: &str| std::fs::read_to_string(at(side).join(name)).unwrap_or_default();
    write("source", "work.txt", "-- \r\nAnn\r\n");
    write("source", "work.html", "<p>Ann</p>");
    write("source", "home.txt", "A.");
    write("source", "latin.txt", "x");
    std::fs::write(at("source").join("latin.txt"), b"caf\xe9").unwrap();
    let said = m.once();
    assert!(said.contains("2 things beside mail") && said.contains("1 exceptions"), "{said}");
    assert_eq!(read("target", "work.txt"), "-- \nAnn\n");
    assert!(!m.once().contains("things beside mail"), "nothing changed");
    write("source", "work.txt", "Ann B.");
    write("target", "home.txt", "touched before the switch");
    std::fs::remove_file(at("source").join("latin.txt")).unwrap();
    assert!(m.once().contains("2 things beside mail"));
    assert_eq!((read("target", "work.txt"), read("target", "home.txt")), ("Ann B.\n".into(), "A.\n".into()));
    std::fs::remove_file(at("source").join("home.txt")).unwrap();
    m.run(&["final", USER]).ok();
    assert!(!at("target").join("home.txt").exists(), "gone at the source");
    let report = m.run(&["report", USER]).ok();
    assert!(report.contains("Beside mail\n  signature: 1"), "{report}");
    write("target", "work.txt", "of the new side");
    write("source", "work.txt", "of the old side");
    m.once();
    assert_eq!(read("target", "work.txt"), "of the new side", "after the switch the user's stays");
    assert_eq!(m.run(&["verify", USER]).code, 0);
    m.run(&["rollback", USER]).ok();
    assert_eq!(read("source", "work.txt"), "of the new side\n");
    assert!(m.audit().contains("\"thing\""), "{}", m.audit());
}

/// A Dovecot that keeps scripts, and its port of ManageSieve.
pub fn with_sieve(more: &str) -> (Dovecot, u16) {
    let port = free_port();
    let extra = format!(
        "protocols = imap sieve\nservice managesieve-login {{\n inet_listener sieve {{\n port = {port}\n }}\n service_count = 0\n chroot =\n}}\n\
         plugin {{\n sieve = file:~/sieve;active=~/.dovecot.sieve\n {more}\n}}\n"
    );
    (Dovecot::with(&extra), port)
}

struct Sides {
    m: Move,
    ports: [u16; 2],
}

const ITEMS: &str = "\"messages\", \"rules\", \"out-of-office\"";

impl Sides {
    fn new(more: [&str; 2]) -> Self {
        let (old, first) = with_sieve(more[0]);
        let (new, second) = with_sieve(more[1]);
        let sides = Self { m: Move::between(old, new), ports: [first, second] };
        std::fs::write(sides.m.path("master"), "master-secret\n").unwrap();
        sides.configure("");
        sides
    }

    /// The old side by a master user, as authorization identity, over STARTTLS; the new one as the user.
    fn configure(&self, more: &str) {
        let [old, new] = self.ports;
        let source = format!(
            "[source.rules]\nkind = \"managesieve\"\nserver = \"127.0.0.1:{old}\"\ntls = \"starttls\"\ntls-name = \"mail.test\"\nca = \"{}\"\n\
             master = \"master\"\nauthzid = true\npassword = \"file:{}\"\n",
            self.m.old.certificate().display(),
            self.m.path("master").display()
        );
        let target = format!("[target.rules]\nkind = \"managesieve\"\nserver = \"127.0.0.1:{new}\"\n");
        with_items(&self.m, ITEMS, &source, &target, more);
    }

    fn put(dovecot: &Dovecot, name: &str, text: &str) {
        let path = dovecot.path().join(format!("{name}.put"));
        std::fs::write(&path, text).unwrap();
        let script = std::fs::File::open(path).unwrap();
        let mut command = std::process::Command::new("doveadm");
        command.arg("-c").arg(dovecot.path().join("conf")).args(["sieve", "put", "-u", USER, name]).stdin(script);
        let output = command.output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    fn activate(dovecot: &Dovecot, name: &str) {
        dovecot.doveadm(&["sieve", "activate", "-u", USER, name]);
    }

    fn get(dovecot: &Dovecot, name: &str) -> String {
        let said = dovecot.doveadm(&["sieve", "get", "-u", USER, name]);
        said.strip_prefix("sieve script:\n").unwrap_or(&said).to_owned()
    }

    /// As Dovecot lists them: one a line, the one that works with ACTIVE behind it.
    fn list(dovecot: &Dovecot) -> Vec<String> {
        let mut all: Vec<String> =
            dovecot.doveadm(&["sieve", "list", "-u", USER]).lines().map(|l| l.trim_end().to_owned()).collect();
        all.sort();
        all
    }
}

const MAIN: &str = "require [\"fileinto\", \"vacation\", \"include\"];\r\n# rule:[Work]\r\nif header :contains \"subject\" \"work\"\r\n{\r\n\tfileinto \"Work/In\";\r\n\tstop;\r\n}\r\n\
                    redirect \"ann@home.example\";\r\nkeep;\r\nvacation :days 3 \"Grüße, bin weg\";\r\ninclude :personal \"my tools\";\r\n";

#[test]
fn rules_go_with_the_mail_by_managesieve_change_switch_and_come_back() {
    let s = Sides::new(["sieve_extensions = +spamtest", ""]);
    let (m, old, new) = (&s.m, &s.m.old, &s.m.new);
    s.configure("[folders.rename]\n\"Work/In\" = \"Projects/Arrived\"\n");
    m.source().ask("CREATE \"Work/In\"");
    Sides::put(old, "my tools", "keep;\r\n");
    Sides::put(old, "main", MAIN);
    Sides::put(old, "spam", "require \"spamtest\";\r\nif spamtest :is \"9\" { discard; }\r\n");
    Sides::activate(old, "main");
    Sides::put(new, "default", "# of the provider\r\nkeep;\r\n");
    Sides::activate(new, "default");
    let said = m.once();
    let report = m.run(&["report", USER]).text;
    assert!(said.contains("2 things beside mail") && said.contains("1 exceptions"), "{said}{report}");
    assert_eq!(Sides::list(new), ["default", "main ACTIVE", "my tools"]);
    let carried = Sides::get(new, "main");
    assert_eq!(
        carried.trim_end(),
        MAIN.replace("Work/In", "Projects/Arrived").trim_end(),
        "to the octet, but for the folder"
    );
    let report = m.run(&["report", USER]).text;
    for part in [
        "the script requires spamtest, which the other server does not know",
        "rules `main`: redirects mail to ann@home.example",
        "folder Work/In is Projects/Arrived here",
        "rules: 2",
    ] {
        assert!(report.contains(part), "{part}: {report}");
    }
    assert!(!m.once().contains("things beside mail"), "nothing changed");
    // Changed at the source, touched on the target, one that is gone.
    Sides::put(old, "holiday", "require \"vacation\";\r\nvacation \"gone\";\r\n");
    Sides::activate(old, "holiday");
    Sides::put(new, "main", "discard;\r\n");
    old.doveadm(&["sieve", "delete", "-u", USER, "spam"]);
    let said = m.once();
    assert!(!said.contains("exceptions"), "{said}");
    assert_eq!(Sides::list(new), ["default", "holiday ACTIVE", "main", "my tools"]);
    assert_eq!(Sides::get(new, "main"), carried, "before the switch the source counts");
    m.run(&["final", USER]).ok();
    assert!(!m.run(&["report", USER]).ok().contains("Exceptions"));
    // The user's now.
    Sides::put(new, "holiday", "require \"vacation\";\r\nvacation \"still gone\";\r\n");
    Sides::put(old, "holiday", "require \"vacation\";\r\nvacation \"old\";\r\n");
    Sides::put(old, "late", "keep;\r\n");
    Sides::activate(old, "late");
    m.once();
    assert!(Sides::get(new, "holiday").contains("still gone"));
    assert_eq!(Sides::list(new), ["default", "holiday ACTIVE", "late", "main", "my tools"]);
    m.run(&["rollback", USER]).ok();
    assert!(Sides::get(old, "holiday").contains("still gone"));
    assert_eq!(Sides::get(old, "main").trim_end(), MAIN.trim_end(), "the folder has its old name again");
    assert_eq!(Sides::list(old), ["default", "holiday ACTIVE", "late", "main", "my tools"]);
}

/// The process dies at each write of its ledger in turn; at no time is the target without a script that works.
#[test]
fn failure_18_a_kill_leaves_a_script_that_works_and_doubles_none() {
    let s = Sides::new(["", ""]);
    let (m, old, new) = (&s.m, &s.m.old, &s.m.new);
    Sides::put(old, "a", "keep;\r\n");
    Sides::activate(old, "a");
    m.once();
    let mut died = 0;
    for n in 1..40i64 {
        let text = format!("# {n}\r\nkeep;\r\n");
        let name = if n % 2 == 0 { "a" } else { "b" };
        Sides::put(old, name, &text);
        Sides::activate(old, name);
        let crash = if n % 3 == 0 { -(n / 3) } else { n / 3 };
        let crashed = m.command(&["run", "--once"]).env("CUTOVER_CMS_CRASH", crash.to_string()).output().unwrap();
        let between = Sides::list(new);
        assert_eq!(between.iter().filter(|l| l.ends_with("ACTIVE")).count(), 1, "{between:?}");
        m.once();
        assert_eq!((Sides::list(new), Sides::get(new, name)), (Sides::list(old), Sides::get(old, name)), "point {n}");
        died += u32::from(!crashed.status.success());
        if crashed.status.success() && crash.abs() > 3 {
            break;
        }
    }
    assert!(died >= 6, "{died} points were met");
}

#[test]
fn what_the_target_refuses_is_named_and_the_active_script_stays() {
    let s = Sides::new(["", "sieve_quota_max_scripts = 1\n sieve_max_script_size = 2k"]);
    let (m, old, new) = (&s.m, &s.m.old, &s.m.new);
    Sides::put(old, "a", "# one\r\nkeep;\r\n");
    Sides::activate(old, "a");
    m.once();
    Sides::put(old, "b", "keep;\r\n");
    Sides::put(old, "a", &format!("# {}\r\nkeep;\r\n", "x".repeat(3000)));
    let said = m.once();
    assert!(said.contains("2 exceptions"), "{said}");
    assert!(Sides::list(new) == ["a ACTIVE"] && Sides::get(new, "a").contains("# one"));
    let report = m.run(&["report", USER]).text;
    assert!(report.contains("rules:b: quota") && report.contains("new side"), "{report}");
    // A server that is not there: the mail moves, and what is not known stays said.
    drop(std::fs::remove_file(m.path("password")));
    std::fs::write(m.path("password"), "secret\n").unwrap();
    m.source().append("INBOX", "", "", &mail(3));
    let text = std::fs::read_to_string(m.path("cms.toml")).unwrap();
    std::fs::write(m.path("cms.toml"), text.replace(&format!(":{}\"", s.ports[1]), ":1\"")).unwrap();
    let said = m.once();
    assert!(said.contains("1 messages") && said.contains("4 exceptions"), "{said}");
    std::fs::write(m.path("cms.toml"), text).unwrap();
    Sides::put(old, "a", "# two\r\nkeep;\r\n");
    old.doveadm(&["sieve", "delete", "-u", USER, "b"]);
    assert!(!m.once().contains("exceptions"));
    assert!(Sides::get(new, "a").contains("# two"));
}

/// Dovecot's own files at the source.
#[test]
fn rules_come_from_sieve_files_too() {
    let (new, port) = with_sieve("");
    let m = Move::between(Dovecot::start(), new);
    let home = m.path("export").join(USER);
    std::fs::create_dir_all(home.join("sieve")).unwrap();
    std::fs::write(home.join("sieve/work.sieve"), "require \"fileinto\";\nif true { fileinto \"Work\"; }\n").unwrap();
    std::fs::write(home.join("sieve/bad.sieve"), "if true {\n").unwrap();
    std::os::unix::fs::symlink("sieve/work.sieve", home.join(".dovecot.sieve")).unwrap();
    let source = format!("[source.rules]\nkind = \"sieve\"\npath = \"{}/{{user}}\"\n", m.path("export").display());
    let target = format!("[target.rules]\nkind = \"managesieve\"\nserver = \"127.0.0.1:{port}\"\n");
    with_items(&m, "\"rules\"", &source, &target, "");
    m.once();
    assert_eq!(Sides::list(&m.new), ["work ACTIVE"]);
    let report = m.run(&["report", USER]).text;
    assert!(report.contains("rules:bad") && report.contains("line 2: a block has no end"), "{report}");
    assert_eq!(m.run(&["final", USER]).code, 0);
    let said = m.run(&["rollback", USER]);
    assert!(said.text.contains("exceptions"), "files are only read: {}", said.text);
}
