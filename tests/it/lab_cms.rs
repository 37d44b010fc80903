//! The content service on a gate, as its role pack deploys it: the mailboxes of an old Dovecot move to a new one while mail keeps
//! arriving and the service is killed; users go over by the proxy one by one, and an independent verifier finds every message.
#![allow(clippy::print_stderr)] // the figures are the result

use std::collections::BTreeMap;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::cli::{Run, Sandbox};
use crate::lab_auth::{server, until};
use crate::lab_cutover::number;
use crate::support::lab::Lab;

const USERS: [&str; 5] = ["ann", "bob", "cem", "dana", "eli"];
/// Messages of the corpus in each mailbox.
const MESSAGES: usize = 80;

struct World {
    lab: Lab,
    box_: Sandbox,
    passwords: BTreeMap<&'static str, String>,
    /// To whom captured passwords are sealed; nobody opens them here.
    recipient: String,
}

impl World {
    fn new() -> Option<Self> {
        let lab = Lab::new("cms").host("old").host("mail-1").host("gate").up()?;
        let names = USERS.into_iter().chain(["old_master", "cms"]);
        // No word of these stands in any program, so a search that finds one has found a password.
        let passwords = names.map(|n| (n, format!("Zq8-{n}-canary-{}", std::process::id()))).collect();
        let recipient = age::x25519::Identity::generate().to_public().to_string();
        let world = Self { lab, box_: Sandbox::new(), passwords, recipient };
        let names = [("old", "old"), ("mail-1", "mail-1"), ("gate", "gate"), ("gate", "mail")];
        let hosts: String = names.map(|(h, n)| format!("{} {n}.acme.test\\n", world.lab.ip(h))).concat();
        for host in ["old", "mail-1", "gate"] {
            world.lab.sh(host, &format!("printf '{hosts}' >> /etc/hosts"));
        }
        world.box_.write("topology.kdl", &world.topology());
        world.run(&["apply", "--yes"]).ends(0);
        Some(world)
    }

    fn topology(&self) -> String {
        let subnet = self.lab.ip("old").to_string();
        let subnet = subnet.rsplit_once('.').map(|(net, _)| format!("{net}.0/24")).expect("an address");
        let account =
            |n: &str| format!("mail-account {n}@acme.test password=(secret)\"env:P_{n}\" {{ on mail-1 old; }}\n");
        let accounts = USERS.map(account).concat();
        let users = USERS.map(|n| format!("{n}@acme.test")).join(" ");
        let servers = [("old", "imap smtp"), ("mail-1", "imap smtp"), ("gate", "relay proxy migration")]
            .map(|(host, roles)| server(&self.lab, host, "open", roles))
            .concat();
        format!(
            "language 1\norganization acme domain=acme.test anchor=gate\nsite s\nsubnet lab cidr=\"{subnet}\" site=s\n\
platform open postfix=\"3.7\" dovecot=\"2.3\"\n{servers}\
accepted-domain acme.test default=#true postmaster=ann@acme.test\n{accounts}\
certificate tls subject=mail.acme.test issuer=internal {{ names \"[gate,mail-1,old].acme.test\"; on gate mail-1 old; }}\n\
legacy former product=dovecot server=old master-user=mover admin=(secret)\"env:P_old_master\" {{ services imap pop3 smtp; }}\n\
cms mover from=former to=mail-1 extractor=imap importer=imap delta-every=\"5s\" verify=full password=(secret)\"env:P_cms\" {{ on gate; items messages flags folders subscriptions; metrics \"127.0.0.1:9480\"; }}\n\
proxy front old=former new=platform:open cms=mover passwords=capture recipient=\"{recipient}\" purge=\"30d\" {{ on gate; listen imap imaps submission submissions; }}\n\
migration away strategy=pilot from=former to=platform:open proxy=front cms=mover\n\
cohort everybody migration=away type=pilot {{ select {{ users {users}; }} }}\n",
            recipient = self.recipient
        )
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = self.box_.command(args);
        for (name, password) in &self.passwords {
            command.env(format!("P_{name}"), password);
        }
        command
    }

    fn run(&self, args: &[&str]) -> Run {
        crate::cli::finish(self.command(args))
    }

    /// A command of the service, as who it runs as.
    fn cms(&self, words: &str) -> std::process::Output {
        self.lab.try_sh("gate", &format!("runuser -u cutover-cms -- /usr/local/bin/cutover-cms {words}"))
    }

    /// An address for the programs of the tests, in a file.
    fn address(&self, host: &str, user: &str) -> String {
        let text = format!("imaps://{user}%40acme.test:{}@{}:993", self.passwords[user], self.lab.ip(host));
        let name = format!("{host}-{user}.address");
        self.box_.write(&name, &text);
        self.box_.path().join(name).display().to_string()
    }

    /// Fills the mailboxes of the old side.
    fn furnish(&self) {
        for (n, user) in USERS.iter().enumerate() {
            let to = format!("imaps://{user}%40acme.test:{}@{}:993", self.passwords[user], self.lab.ip("old"));
            let made = Command::new("python3")
                .args([
                    "tests/corpus/make.py",
                    "--count",
                    &MESSAGES.to_string(),
                    "--seed",
                    &n.to_string(),
                    "--folders",
                    "odd",
                    &to,
                ])
                .output()
                .expect("python3");
            assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        }
    }

    /// A letter from outside by port 25 of the gate, with a word that stands in no other.
    fn letter(&self, to: &str, word: &str) {
        let mail = format!("From: x@elsewhere.example\\nTo: {to}@acme.test\\nSubject: {word}\\n\\n{word}\\n");
        self.lab.sh("gate", &format!("printf '{mail}' | sendmail -f x@elsewhere.example {to}@acme.test"));
    }

    /// Waits for a word in a user's mailbox; what the service says of it where it does not come.
    fn comes(&self, host: &str, user: &str, word: &str) {
        let end = Instant::now() + Duration::from_secs(60);
        while self.copies(host, user, word) == 0 {
            if Instant::now() > end {
                let status = self.cms("status");
                let journal = self.lab.sh("gate", "journalctl -u cutover-cms --no-pager -n 60");
                panic!("{word} never came to {host}:\n{}\n{journal}", String::from_utf8_lossy(&status.stdout));
            }
            std::thread::sleep(Duration::from_millis(500));
        }
    }

    /// How many files of a user's mailbox hold a word.
    fn copies(&self, host: &str, user: &str, word: &str) -> usize {
        let line = format!(
            "grep -rlsw '{word}' /var/vmail/acme.test/{user}/Maildir --include='*' | grep -c /cur/\\\\\\|/new/ || true"
        );
        self.lab.sh(host, &line).trim().parse().expect("a number")
    }

    /// The certificate says what the service found, and of what nobody has measured that it is not known.
    fn certified(&self) {
        let made = self.run(&["cohort", "certificate", "everybody", "--format", "json"]).ends(0);
        let made: serde_json::Value = serde_json::from_str(&made.out).expect("JSON");
        let made = &made["certificate"];
        let totals = &made["totals"];
        assert_eq!((totals["people"].as_u64(), totals["verified"].as_u64()), (Some(5), Some(5)), "{made}");
        assert!(totals["messages"].as_u64() > Some(5 * MESSAGES as u64), "{totals}");
        for person in made["people"].as_array().expect("people") {
            assert_eq!(person["check"]["how"], "full", "{person}");
            assert!(person["moved"]["not_known"].as_str().is_some_and(|w| w.contains("the diary")), "{person}");
            let (path, sum) = (person["report"]["path"].as_str(), person["report"]["sha256"].as_str());
            let there = self.lab.sh("gate", &format!("sha256sum '{}'", path.expect("a path")));
            assert_eq!(there.split_whitespace().next(), sum, "{person}");
        }
        let page = self.box_.read("certificates/any/everybody.html");
        assert!(page.contains("<b>5</b>people on the new side") && page.contains("the same by full"), "{page}");
    }

    /// Everybody logs in by the gate while they are on the old side: their passwords are captured.
    fn logged_in(&self) {
        let program = "import imaplib,os,ssl\nt=ssl._create_unverified_context()\nimaplib.IMAP4_SSL(os.environ['HOST'],ssl_context=t,timeout=60).login(os.environ['NAME'],os.environ['WORD'])";
        for user in USERS {
            let mut python = Command::new("python3");
            python.args(["-c", program]).env("HOST", self.lab.ip("gate").to_string());
            let ended = python.env("NAME", format!("{user}@acme.test")).env("WORD", &self.passwords[user]).output();
            let ended = ended.expect("python3");
            assert!(ended.status.success(), "{user}: {}", String::from_utf8_lossy(&ended.stderr));
        }
        until(
            &self.lab,
            "gate",
            &format!("test $(ls /var/lib/cutover-proxy/passwords/*.age | wc -l) = {}", USERS.len()),
        );
    }

    /// Mail that still waits and comes on the old side is carried over, and no captured password is left.
    fn after(&self) {
        let late = |to: &str, word: &str| {
            let mail = format!("From: x@elsewhere.example\\nTo: {to}@acme.test\\nSubject: {word}\\n\\n{word}\\n");
            self.lab.sh("old", &format!("printf '{mail}' | sendmail -f x@elsewhere.example {to}@acme.test"));
        };
        self.lab.sh("old", "systemctl stop dovecot");
        late("bob", "queuedbob");
        until(&self.lab, "old", "postqueue -j | grep -q deferred");
        // What waits is named, and of whom nothing can be known it is said.
        self.run(&["cohort", "after", "everybody", "--wait", "3s"])
            .ends(1)
            .says("waits on the old side for bob@acme.test")
            .says("ann@acme.test: what came to the old side is not all over");
        self.lab.sh("old", "systemctl start dovecot");
        late("ann", "lateann");
        until(&self.lab, "old", "grep -rqsw lateann /var/vmail/acme.test/ann");
        let after = || {
            let done = self.run(&["cohort", "after", "everybody", "--format", "json"]).ends(0);
            serde_json::from_str::<serde_json::Value>(&done.out).expect("JSON")["after"].clone()
        };
        let first = after();
        assert_eq!(first["queue"]["left"], serde_json::json!([]), "{first}");
        for (user, word) in [("ann", "lateann"), ("bob", "queuedbob")] {
            assert_eq!(first["late"][format!("{user}@acme.test")], serde_json::json!({ "carried": 1 }), "{first}");
            assert_eq!(self.copies("mail-1", user, word), 1, "{word}");
        }
        let kept = self.lab.sh("gate", "ls /var/lib/cutover-proxy/passwords/*.age 2>/dev/null | wc -l");
        assert_eq!(kept.trim(), "0", "{first}");
        // Each was destroyed once, by the attempt that could not ask the old side or by this one.
        let log = self.lab.sh("gate", "cat /var/lib/cutover-proxy/purged.log");
        for user in USERS {
            assert_eq!(log.matches(&format!("{user}@acme.test")).count(), 1, "{log}");
        }
        let second = after();
        assert_eq!(
            (&second["queue"]["found"], &second["late"]),
            (&serde_json::json!(0), &serde_json::json!({})),
            "{second}"
        );
    }

    /// The old side passes on what still comes, then it stops for good; nothing else touches it, nothing is deleted, and all of it goes back.
    fn retired(&self) {
        let course =
            "phase quiet step=operate { forwards former; }\nphase off step=operate { after quiet; retires former; }\n";
        let with =
            |legacy: &str| self.topology().replace("legacy former ", &format!("legacy former {legacy}")) + course;
        self.box_.write("topology.kdl", &with(""));
        self.run(&["plan", "--phase", "off"]).says("legacy former is protected, and nothing keeps phase off shut");
        self.box_.write("topology.kdl", &with("protect=#false "));
        self.run(&["apply", "--phase", "quiet", "--yes"]).ends(0).says("no mailbox and no message there is deleted");
        self.lab.sh("old", "printf 'From: x@elsewhere.example\\nTo: cem@acme.test\\nSubject: passedon\\n\\npassedon\\n' | sendmail -f x@elsewhere.example cem@acme.test");
        self.comes("mail-1", "cem", "passedon");
        assert_eq!(self.copies("old", "cem", "passedon"), 0, "it did not stay there");
        until(&self.lab, "old", "test -z \"$(postqueue -j)\"");
        self.run(&["apply", "--phase", "off", "--yes"]).ends(0);
        let states = "for s in dovecot postfix; do systemctl is-active $s; systemctl is-enabled $s; done 2>&1 | sort -u | tr '\\n' ' '";
        assert_eq!(self.lab.sh("old", states).trim(), "disabled inactive");
        assert_eq!(self.copies("old", "ann", "early0ann"), 1, "mailboxes stay");
        for plan in [self.run(&["plan"]), self.run(&["plan", "--phase", "off"])] {
            assert!(!plan.out.contains("server.old/"), "{plan:#?}");
        }
        self.run(&["plan"]).says("old is let alone: it is the old side former, which goes by phases (off, quiet)");
        self.run(&["undo", "--last", "--yes"]).ends(0);
        assert_eq!(self.lab.sh("old", states).trim(), "active enabled");
        self.box_.write("topology.kdl", &self.topology());
        self.run(&["apply", "--target", "server.old", "--yes"]).ends(0);
    }

    /// The first one moves, the new side takes no mail any more, and everybody is back by itself; mended, the second attempt goes through, and
    /// goes back by hand.
    fn triggered(&self) {
        self.run(&["cohort", "rollback", "everybody"]).ends(0);
        let start = (jiff::Timestamp::now() - jiff::SignedDuration::from_mins(1)).strftime("%Y-%m-%dT%H:%M");
        let window = format!(
            "rollback-point before valid-for=\"1d\" {{\n    restores routes mailbox-delta database\n    trigger new-mail probe=new-mail for=\"2s\" action=rollback\n}}\n\
cutover-window night start=\"{start}\" for=\"2h\" rollback=before {{ steps notify flip-routes drain-source verify open; }}\n\
communication invite template=\"invite.hbs\" {{ audience cohort; at \"-1d\"; }}\n\
probe new-mail type=smtp every=\"1s\" timeout=\"5s\" {{ to mail-1; }}\n\
phase pilot step=pilot {{ migrates everybody; }}\n"
        );
        self.box_.write("invite.hbs", "Subject: movesnow{{name}}\n\nIt moves on {{begins}}.\n");
        let cohort = "type=pilot window=night canaries=1 canary-soak=\"25s\" { notices invite;";
        self.box_.write("topology.kdl", &(self.topology().replace("type=pilot {", cohort) + &window));
        let apply = || self.run(&["apply", "--phase", "pilot", "--yes"]);
        let told = std::thread::scope(|scope| {
            let running = scope.spawn(apply);
            let end = Instant::now() + Duration::from_secs(90);
            while !self.run(&["user", "show", "ann@acme.test"]).out.starts_with("ann@acme.test: moved") {
                assert!(Instant::now() < end, "the first one never moved");
                std::thread::sleep(Duration::from_millis(300));
            }
            // Somebody else, with a state folder of their own, wants to move people at the same time.
            let elsewhere = self.box_.path().join("elsewhere").display().to_string();
            let second = self.run(&["cohort", "move", "everybody", "--state-dir", &elsewhere]);
            self.lab.sh("mail-1", "systemctl stop postfix@-.service postfix");
            second.ends(1).says("another apply holds gate").says("last sign of life");
            running.join().expect("the apply ends")
        });
        told.ends(1)
            .says("trigger new-mail of before: probe new-mail: smtp of mail-1")
            .says("what was done is taken back")
            .says("the next `cutover apply` is a new attempt");
        self.run(&["cohort", "status", "everybody"]).ends(0).says("5 people: 5 back");
        assert!(self.run(&["user", "show", "ann@acme.test"]).out.starts_with("ann@acme.test: back"));
        self.lab.sh("mail-1", "systemctl start postfix@-.service postfix");
        let quick = self.box_.read("topology.kdl").replace("canary-soak=\"25s\"", "canary-soak=\"1s\"");
        self.box_.write("topology.kdl", &quick);
        // Everybody was told by the gate's own mail server before the first one moved, and is not told again.
        let done = apply().ends(0);
        let said = format!("{}{}", done.out, done.err);
        assert!(!said.contains("go out first") && said.contains("night/verify"), "{done:#?}");
        self.run(&["cohort", "status", "everybody"]).ends(0).says("5 people: 5 moved");
        for user in USERS {
            let word = format!("movesnow{user}");
            self.comes("mail-1", user, &word);
            assert_eq!(self.copies("mail-1", user, &word), 1, "{user}");
        }
        self.run(&["rollback", "before", "--yes"])
            .ends(0)
            .says("before restores database: there is nothing of it to restore");
        self.run(&["cohort", "status", "everybody"]).ends(0).says("5 people: 5 back");
    }

    /// The apply that moves them dies at a commit of its journal and is resumed, and goes back; one point, or as many as `CUTOVER_MOVE_KILLS` says,
    /// on both sides of each commit.
    fn killed(&self) {
        let points = number("CUTOVER_MOVE_KILLS", 0);
        let mut all: Vec<String> = (1..=points).flat_map(|n| [n.to_string(), format!("{n}+")]).collect();
        if points == 0 {
            // In the middle of the first wave: its start is written down.
            all.push("4+".to_owned());
        }
        for point in all {
            let began = Instant::now();
            for user in USERS {
                self.letter(user, &format!("kill{}{user}", point.replace('+', "p")));
            }
            let mut command = self.command(&["apply", "--phase", "pilot", "--yes"]);
            command.env("CUTOVER_CRASH_AT", &point);
            let died = crate::cli::finish(command);
            let where_to = self.run(&["user", "show", "ann@acme.test"]).out;
            if died.code == 0 {
                eprintln!("an apply has fewer commits than {point}");
                return;
            }
            assert_eq!(died.code, -1, "{point}: {died:#?}");
            let resumed = self.run(&["resume"]).ends(0);
            // Killed before its header was written there is no apply to resume.
            if resumed.out.contains("nothing to resume") {
                self.run(&["apply", "--phase", "pilot", "--yes"]).ends(0);
            }
            self.run(&["cohort", "status", "everybody"]).ends(0).says("5 people: 5 moved");
            for user in USERS {
                let word = format!("kill{}{user}", point.replace('+', "p"));
                self.comes("mail-1", user, &word);
                assert_eq!(self.copies("mail-1", user, &word), 1, "{word}");
            }
            self.run(&["cohort", "rollback", "everybody"]).ends(0);
            self.run(&["cohort", "status", "everybody"]).ends(0).says("5 people: 5 back");
            eprintln!(
                "killed at {point}, resumed, back: {:?}; then {}",
                began.elapsed(),
                where_to.lines().next().unwrap_or("")
            );
        }
    }

    fn verified(&self, user: &str) -> Result<String, String> {
        let verify = Command::new("python3")
            .arg("tests/soak/cms/verify.py")
            .arg(format!("@{}", self.address("old", user)))
            .arg(format!("@{}", self.address("mail-1", user)))
            .args(["--ignore", "special", "--extra-folders"])
            .output()
            .expect("python3");
        let text = String::from_utf8_lossy(&verify.stdout).into_owned();
        if verify.status.success() { Ok(text) } else { Err(text + &String::from_utf8_lossy(&verify.stderr)) }
    }
}

#[test]
fn mailboxes_move_while_mail_arrives_and_the_service_is_killed() {
    let Some(world) = World::new() else { return };
    let exposure = world.lab.sh("gate", "systemd-analyze security cutover-cms.service --no-pager | tail -1");
    eprintln!("{exposure}");
    let level =
        exposure.split(':').next_back().and_then(|t| t.split_whitespace().next()).and_then(|n| n.parse::<f64>().ok());
    assert!(level.is_some_and(|l| l < 2.0), "{exposure}");
    world.furnish();
    world.logged_in();

    // The master password opens mailboxes from the gate alone.
    let login = |host: &str| {
        let program = format!(
            "import imaplib;c=imaplib.IMAP4_SSL(\\\"mail-1.acme.test\\\",timeout=30);c.login(\\\"ann@acme.test*cutover-cms\\\",\\\"{}\\\")",
            world.passwords["cms"]
        );
        world.lab.try_sh(host, &format!("command -v python3 >/dev/null || apt-get install -qq -y --no-install-recommends python3-minimal libpython3-stdlib >/dev/null 2>&1; python3 -c \"{program}\"")).status.success()
    };
    assert!(
        login("gate") && !login("old"),
        "the master password must open mailboxes from the gate, and only from there"
    );

    // Mail keeps coming, and the service is killed again and again.
    let began = Instant::now();
    for n in 0..6 {
        for user in USERS {
            world.letter(user, &format!("early{n}{user}"));
        }
        world.lab.sh("gate", "systemctl kill -s KILL cutover-cms; sleep 1.5");
    }
    world.lab.sh("gate", "systemctl reset-failed cutover-cms; systemctl start cutover-cms");
    for user in USERS {
        until(&world.lab, "old", &format!("grep -rqsw early5{user} /var/vmail/acme.test/{user}"));
        world.comes("mail-1", user, &format!("early5{user}"));
    }
    eprintln!("the first passes, amid 6 kills and {} letters: {:?}", 6 * USERS.len(), began.elapsed());

    world
        .run(&["cohort", "certificate", "everybody"])
        .ends(1)
        .says("5 of 5 people of everybody are not on the new side")
        .says("ann@acme.test: ready");
    let early = "phase off step=operate { retires former; }\n";
    world.box_.write("topology.kdl", &(world.topology() + early));
    world
        .run(&["plan", "--phase", "off"])
        .says("5 of 5 people of cohort everybody are not on the new side")
        .says("nobody has looked after what cohort everybody left there");
    world.box_.write("topology.kdl", &world.topology());

    // One by one: hold, final delta, flip, release.
    let mut gaps = Vec::new();
    for user in USERS {
        world.letter(user, &format!("before{user}"));
        let address = format!("{user}@acme.test");
        let began = Instant::now();
        world.run(&["routes", "hold", &address]).ends(0);
        world.letter(user, &format!("held{user}"));
        let done = world.cms(&format!("final {address}"));
        assert!(
            done.status.success(),
            "{}{}",
            String::from_utf8_lossy(&done.stdout),
            String::from_utf8_lossy(&done.stderr)
        );
        // Nothing reaches either side now: the sides are the same, in the eyes of a program of others.
        let same = world.verified(user);
        world.run(&["routes", "release", &address, "--to", "new"]).ends(0);
        gaps.push(began.elapsed());
        eprintln!("{user}: {}", same.unwrap_or_else(|e| panic!("{user}: {e}")).trim());
        world.letter(user, &format!("after{user}"));
    }
    for user in USERS {
        for word in ["before", "held", "after"] {
            world.comes("mail-1", user, &format!("{word}{user}"));
        }
        for word in ["early0", "early5", "before", "held", "after"] {
            assert_eq!(world.copies("mail-1", user, &format!("{word}{user}")), 1, "{word}{user}");
        }
        assert_eq!(world.copies("old", user, &format!("after{user}")), 0);
    }
    eprintln!("held, final delta, verified from outside, flipped: {gaps:?}");
    let audit = world.cms("audit");
    assert!(audit.status.success(), "{}", String::from_utf8_lossy(&audit.stdout));
    // No password in what the service wrote, nor in its journal.
    for password in world.passwords.values() {
        let found = world.lab.try_sh("gate", &format!("grep -rqsF '{password}' /var/lib/cutover-cms /run /tmp /var/log || journalctl --no-pager | grep -qF '{password}'"));
        assert!(!found.status.success(), "a password lies on the gate");
    }
    let began = Instant::now();
    world.certified();
    eprintln!("certified: {:?}", began.elapsed());
    let began = Instant::now();
    world.after();
    eprintln!("late mail carried over, captured passwords destroyed: {:?}", began.elapsed());
    let began = Instant::now();
    world.retired();
    eprintln!("the old side passed on mail, was stopped and started again: {:?}", began.elapsed());
    let began = Instant::now();
    world.triggered();
    eprintln!("taken back by a trigger, moved again, taken back by hand: {:?}", began.elapsed());
    world.killed();
    // What the service does is not undone by a second apply.
    world.run(&["plan"]).ends(0);
}
