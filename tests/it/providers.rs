//! The scripts of the agent, run by each shell that a host may have, on files of this machine.
#![allow(clippy::unwrap_used, clippy::print_stderr)] // helpers of tests are tests

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use cutover::model::attr::Attr;
use cutover::model::host::{HostAccess, HostError, HostErrorKind, Reach};
use cutover::model::observed::{Observation, Record};
use cutover::model::resource::Resource;
use cutover::model::step::{Action, FieldChange, Outcome, Step};
use cutover::model::{Digest, Kind};
use cutover::providers::agent::{Agent, Batch, LeaseAnswer, LeaseRequest, ObserveRequest, RemoteStep, StepReport};
use cutover::providers::{Settings, ShellAgent};
use cutover::transport::{FileSecrets, Network};

use crate::support::steps::{KEY, content, done, outcome, resource, restore, step};

/// A folder that stands for a host: the state root and the managed files lie in it.
struct Sandbox {
    dir: tempfile::TempDir,
    agent: ShellAgent<Network>,
    host: HostAccess,
}

impl Sandbox {
    fn new(shell: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let network = Network::new(
            cutover::transport::Settings { shell: shell.into(), ..Default::default() },
            BTreeMap::new(),
            Arc::new(FileSecrets { root: "/".into() }),
        );
        let settings = Settings {
            state_root: dir.path().join("state").display().to_string(),
            unprivileged: true,
            lock_seconds: 20,
            ..Default::default()
        };
        let here = HostAccess::at("here", "127.0.0.1");
        let host = HostAccess { reach: Reach::Local, user: "me".into(), timeout_seconds: 5, ..here };
        Self { dir, agent: ShellAgent::new(network, settings), host }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn key(&self, name: &str) -> String {
        self.path(name).display().to_string()
    }

    async fn observe(&self, resources: &[Resource]) -> Observation {
        self.try_observe(resources).await.unwrap()
    }

    async fn try_observe(&self, resources: &[Resource]) -> Result<Observation, HostError> {
        self.agent.observe(&self.host, ObserveRequest { organization: "acme", state_key: KEY, resources }).await
    }

    async fn look(&self, resource: &Resource) -> Record {
        let seen = self.observe(std::slice::from_ref(resource)).await;
        seen.records[&resource.address.local()].clone()
    }

    async fn run(&self, apply: &str, steps: Vec<RemoteStep>) -> (Vec<StepReport>, Result<(), HostError>) {
        self.run_as(apply, 1, steps, vec![]).await
    }

    async fn run_as(
        &self,
        apply: &str,
        token: u64,
        steps: Vec<RemoteStep>,
        later: Vec<Step>,
    ) -> (Vec<StepReport>, Result<(), HostError>) {
        let (send, mut receive) = tokio::sync::mpsc::unbounded_channel();
        let batch = Batch {
            organization: "acme".into(),
            apply: apply.into(),
            token,
            state_key: KEY.into(),
            steps,
            later,
            arm_seconds: None,
            patience: std::time::Duration::ZERO,
        };
        let result = self.agent.run(&self.host, batch, send).await;
        let mut reports = vec![];
        while let Some(r) = receive.recv().await {
            reports.push(r);
        }
        (reports, result)
    }

    /// Runs one step and gives its outcome.
    async fn one(&self, apply: &str, step: RemoteStep) -> Outcome {
        let (reports, result) = self.run(apply, vec![step]).await;
        result.unwrap();
        outcome(&reports, 0).unwrap_or_else(|| panic!("no end in {reports:?}"))
    }
}

/// Each shell in turn.
async fn shells(story: impl AsyncFn(Sandbox)) {
    for shell in ["dash", "bash", "busybox sh"] {
        let program = shell.split(' ').next().unwrap_or_default();
        if std::process::Command::new(program).arg("--help").output().is_err() {
            eprintln!("{shell} is not installed here: skipped");
            continue;
        }
        eprintln!("--- {shell}");
        story(Sandbox::new(shell)).await;
    }
}

fn file(sandbox: &Sandbox, name: &str, text: &[u8]) -> Resource {
    resource("here", Kind::File, &sandbox.key(name), &[("content", content(text, false)), ("mode", Attr::text("0640"))])
}

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

fn leftovers(sandbox: &Sandbox) -> Vec<String> {
    let names = std::fs::read_dir(sandbox.dir.path()).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap());
    names.filter(|n| n.contains("cutover")).collect()
}

#[tokio::test]
async fn a_file_is_made_seen_changed_by_hand_mended_and_put_back() {
    shells(async |s| {
        let text = b"it's $HOME `x` \\n\n%s\n";
        let wanted = file(&s, "a b'c.conf", text);
        let before = s.look(&wanted).await;
        assert!(!before.present && before.attrs.is_empty() && before.fingerprint == "absent", "{before:?}");

        let after = done(s.one("a1", step(0, &wanted, Action::Create, Some("absent"), Some(text))).await);
        let path = s.path("a b'c.conf");
        assert_eq!(std::fs::read(&path).unwrap(), text);
        assert_eq!(mode(&path), 0o640);
        let seen = s.observe(std::slice::from_ref(&wanted)).await;
        let record = &seen.records[&wanted.address.local()];
        assert_eq!(record.fingerprint, after, "the batched look and the single one must agree");
        assert_eq!(record.attrs["content"], Attr::Digest(Digest::of(text)));
        assert_eq!(record.attrs["mode"], Attr::text("0640"));
        assert_eq!(record.text, None, "nothing differs, so no text is sent");
        assert_eq!(seen.owned.len(), 1);
        assert_eq!(seen.owned[0].owner, "server:here");

        std::fs::write(&path, "by hand\n").unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o666)).unwrap();
        let foreign = s.look(&wanted).await;
        assert_eq!(foreign.text.as_deref(), Some("by hand\n"));
        assert_eq!(foreign.attrs["mode"], Attr::text("0666"));

        // The plan was made before the change by hand: refused, untouched.
        let stale = s.one("a2", step(0, &wanted, Action::Update, Some(&after), Some(text))).await;
        assert_eq!(stale, Outcome::Stale { found: foreign.fingerprint.clone() });
        assert_eq!(std::fs::read(&path).unwrap(), b"by hand\n");

        let mended = done(s.one("a3", step(0, &wanted, Action::Update, Some(&foreign.fingerprint), Some(text))).await);
        assert_eq!(mended, after);
        for _ in 0..2 {
            let back = done(s.one("u3", restore(0, &wanted, "a3", 0, &mended)).await);
            assert_eq!(back, foreign.fingerprint);
            assert_eq!(std::fs::read(&path).unwrap(), b"by hand\n");
            assert_eq!(mode(&path), 0o666);
        }
        // The undo of the first apply pins what it left; somebody has worked there since.
        let refused = s.one("u1", restore(0, &wanted, "a1", 0, &after)).await;
        assert!(matches!(refused, Outcome::Stale { .. }), "{refused:?}");
        let gone = done(s.one("u2", restore(0, &wanted, "a1", 0, &foreign.fingerprint)).await);
        assert_eq!(gone, "absent");
        assert!(!path.exists());
        assert!(s.observe(&[]).await.owned.is_empty(), "what was not ours before is not ours after the undo");
        assert_eq!(leftovers(&s), Vec::<String>::new());
    })
    .await;
}

/// The same file under another key: the ledger has one entry, undo brings back the former one, and undo of that the new one.
#[tokio::test]
async fn a_rename_is_carried_over_in_the_ledger_and_back() {
    shells(async |s| {
        let path = s.path("acme.zone");
        let text = b"@ SOA\n".as_slice();
        let zone = |key: &str| {
            let name = path.display().to_string();
            let attrs = [("content", content(text, false)), ("path", Attr::text(name)), ("mode", Attr::text("0644"))];
            resource("here", Kind::DnsZone, key, &attrs)
        };
        let keys = async |s: &Sandbox| -> Vec<String> {
            let mut keys: Vec<String> = s.observe(&[]).await.owned.into_iter().map(|o| o.key).collect();
            keys.sort();
            keys
        };
        let (old, new) = (zone("acme.example@public"), zone("acme.example"));
        let absent = s.look(&old).await.fingerprint;
        let made = done(s.one("a1", step(0, &old, Action::Create, Some(&absent), Some(text))).await);
        let mut rename = step(0, &new, Action::Update, Some(&made), Some(text));
        rename.step.changes = vec![FieldChange {
            field: "key".into(),
            before: Some("acme.example@public".into()),
            after: Some("acme.example".into()),
            forces_replacement: false,
        }];
        let inode = |p: &Path| std::os::unix::fs::MetadataExt::ino(&std::fs::metadata(p).unwrap());
        let before = inode(&path);
        let same = done(s.one("a2", rename).await);
        assert_eq!(inode(&path), before, "the file itself is left alone");
        assert_eq!((same.as_str(), keys(&s).await), (made.as_str(), vec!["acme.example".to_owned()]));
        for _ in 0..2 {
            done(s.one("u2", restore(0, &new, "a2", 0, &same)).await);
            assert_eq!(keys(&s).await, ["acme.example@public"]);
        }
        done(s.one("u3", restore(0, &new, "u2", 0, &same)).await);
        assert_eq!(keys(&s).await, ["acme.example"]);
        assert_eq!(std::fs::read(&path).unwrap(), text);
        assert_eq!(leftovers(&s), Vec::<String>::new());
    })
    .await;
}

#[tokio::test]
async fn contents_of_any_size_and_kind_arrive_whole_and_secrets_are_masked() {
    shells(async |s| {
        let mut noise = vec![0u8; 300 << 10];
        noise.iter_mut().enumerate().for_each(|(i, b)| *b = (i * 7 + i / 251) as u8);
        for (name, bytes) in
            [("empty", &b""[..]), ("nul", b"\0\n\n\n"), ("small", &noise[..60 << 10]), ("large", &noise)]
        {
            let wanted = file(&s, name, bytes);
            let after = done(s.one(name, step(0, &wanted, Action::Create, Some("absent"), Some(bytes))).await);
            assert_eq!(std::fs::read(s.path(name)).unwrap(), bytes, "{name}");
            assert_eq!(s.look(&wanted).await.fingerprint, after);
        }
        let secret = b"password = hunter2\n";
        let attrs = [("content", content(secret, true)), ("mode", Attr::text("0600"))];
        let wanted = resource("here", Kind::File, &s.key("secret"), &attrs);
        let after = done(s.one("s1", step(0, &wanted, Action::Create, Some("absent"), Some(secret))).await);
        assert!(!after.contains(&Digest::of(secret).0), "the raw digest must not leave the host");
        assert!(after.contains(&Digest::masked(KEY, secret).0));
        std::fs::write(s.path("secret"), "changed").unwrap();
        let record = s.look(&wanted).await;
        assert_eq!(record.attrs["content"], Attr::Digest(Digest::masked(KEY, b"changed")));
        assert_eq!(record.text, None);
        // Once it has left the topology, the ledger still says that it is secret.
        let seen = s.observe(&[]).await;
        assert_eq!(seen.records[&wanted.address.local()].fingerprint, record.fingerprint);
    })
    .await;
}

#[tokio::test]
async fn a_check_that_refuses_leaves_everything_as_it_was() {
    shells(async |s| {
        let mut wanted = file(&s, "main.cf", b"good\n");
        let after = done(s.one("a1", step(0, &wanted, Action::Create, Some("absent"), Some(b"good\n"))).await);
        let owned = s.observe(&[]).await.owned;
        wanted.attrs.insert("validate".into(), Attr::text("grep -q good %s && test %s = %s"));
        wanted.notifies = vec![cutover::model::resource::Notify {
            service: "postfix".into(),
            how: cutover::model::resource::NotifyHow::Reload,
        }];
        let failed = s.one("a2", step(0, &wanted, Action::Update, Some(&after), Some(b"bad\n"))).await;
        let Outcome::Failed { output, .. } = failed else { panic!("{failed:?}") };
        assert!(output.contains("refused by its check"), "{output}");
        assert_eq!(std::fs::read(s.path("main.cf")).unwrap(), b"good\n");
        let seen = s.observe(&[]).await;
        assert_eq!(seen.owned, owned);
        assert!(seen.pending.is_empty(), "nothing changed, so nobody is to be told");
        assert_eq!(leftovers(&s), Vec::<String>::new());
        // The same step once more, with content that passes: a failed step may be tried again.
        done(s.one("a2", step(0, &wanted, Action::Update, Some(&after), Some(b"good too\n"))).await);
        assert_eq!(s.observe(&[]).await.pending.len(), 1);
    })
    .await;
}

#[tokio::test]
async fn folders_and_lines_come_and_go_and_what_others_keep_stays() {
    shells(async |s| {
        let dir = resource("here", Kind::Directory, &s.key("d"), &[("mode", Attr::text("0750"))]);
        let made = done(s.one("d1", step(0, &dir, Action::Create, Some("absent"), None)).await);
        assert_eq!(s.look(&dir).await.fingerprint, made);
        std::fs::set_permissions(s.path("d"), std::fs::Permissions::from_mode(0o700)).unwrap();
        let loose = s.look(&dir).await;
        assert_eq!(loose.attrs["mode"], Attr::text("0700"));
        done(s.one("d2", step(0, &dir, Action::Update, Some(&loose.fingerprint), None)).await);
        assert_eq!(mode(&s.path("d")), 0o750);
        assert_eq!(done(s.one("d3", restore(0, &dir, "d2", 0, &made)).await), loose.fingerprint);
        std::fs::write(s.path("d/theirs"), "x").unwrap();
        let found = s.look(&dir).await.fingerprint;
        done(s.one("d4", step(0, &dir, Action::Delete, Some(&found), None)).await);
        assert!(s.path("d/theirs").exists());
        assert!(s.observe(&[]).await.owned.is_empty());

        // A file that others own, without a newline at its end.
        let path = s.path("sysctl.conf");
        std::fs::write(&path, "a=1\n# b=0\nb=2\nc=3%09").unwrap();
        let key = format!("{}#b", s.key("sysctl.conf"));
        let line = resource("here", Kind::Line, &key, &[("line", Attr::text("b=\t5")), ("prefix", Attr::text("b="))]);
        let before = s.look(&line).await;
        assert_eq!(before.attrs["line"], Attr::text("b=2"));
        let after = done(s.one("l1", step(0, &line, Action::Update, Some(&before.fingerprint), None)).await);
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "a=1\n# b=0\nb=\t5\nc=3%09\n");
        assert_eq!(s.look(&line).await.fingerprint, after);
        done(s.one("l2", restore(0, &line, "l1", 0, &after)).await);
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "a=1\n# b=0\nb=2\nc=3%09", "byte for byte");

        let key = format!("{}#d", s.key("sysctl.conf"));
        let appended = resource("here", Kind::Line, &key, &[("line", Attr::text("d=4"))]);
        let after = done(s.one("l3", step(0, &appended, Action::Create, Some("absent"), None)).await);
        std::fs::write(&path, std::fs::read_to_string(&path).unwrap() + "theirs=1\n").unwrap();
        // The wish changes: the ledger knows the former text, so it is replaced and not left behind.
        let changed = resource("here", Kind::Line, &key, &[("line", Attr::text("d=44"))]);
        let record = s.look(&changed).await;
        assert_eq!(record.attrs["line"], Attr::text("d=4"));
        done(s.one("l4", step(0, &changed, Action::Update, Some(&record.fingerprint), None)).await);
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "a=1\n# b=0\nb=2\nc=3%09\nd=44\ntheirs=1\n");
        let refused = s.one("l5", restore(0, &appended, "l3", 0, &after)).await;
        assert!(matches!(refused, Outcome::Stale { .. }), "{refused:?}");
        done(s.one("l6", step(0, &changed, Action::Delete, Some("line d=44"), None)).await);
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "a=1\n# b=0\nb=2\nc=3%09\ntheirs=1\n");
    })
    .await;
}

#[tokio::test]
async fn what_cannot_be_looked_at_is_an_error_and_never_absent() {
    shells(async |s| {
        std::fs::create_dir(s.path("loop")).unwrap();
        std::os::unix::fs::symlink("self", s.path("self")).unwrap();
        let below = resource("here", Kind::File, &s.key("self/x"), &[]);
        let e = s.try_observe(&[below]).await.unwrap_err();
        assert_eq!(e.kind, HostErrorKind::Protocol);
        assert!(e.message.contains("self/x"), "{e}");
        // A file where a folder should be: certainly no such file.
        std::fs::write(s.path("plain"), "").unwrap();
        let below = resource("here", Kind::File, &s.key("plain/x"), &[]);
        assert!(!s.look(&below).await.present);
    })
    .await;
}

#[tokio::test]
async fn only_what_the_ledger_names_is_deleted() {
    shells(async |s| {
        std::fs::write(s.path("theirs"), "x").unwrap();
        let theirs = file(&s, "theirs", b"x");
        let fingerprint = s.look(&theirs).await.fingerprint;
        let refused = s.one("a1", step(0, &theirs, Action::Delete, Some(&fingerprint), None)).await;
        assert!(matches!(&refused, Outcome::Failed { output, .. } if output.contains("ledger")), "{refused:?}");
        assert!(s.path("theirs").exists());
        let ours = file(&s, "ours", b"y");
        let made = done(s.one("a2", step(0, &ours, Action::Create, Some("absent"), Some(b"y"))).await);
        done(s.one("a3", step(0, &ours, Action::Delete, Some(&made), None)).await);
        assert!(!s.path("ours").exists());
        assert_eq!(done(s.one("u3", restore(0, &ours, "a3", 0, "absent")).await), made);
        assert_eq!(s.observe(&[]).await.owned.len(), 1);
    })
    .await;
}

#[tokio::test]
async fn commands_run_once_and_only_when_their_condition_fails() {
    shells(async |s| {
        let log = s.key("log");
        let command = |name: &str, run: &str, extra: &[(&str, Attr)]| {
            let mut attrs = vec![("run", Attr::text(run)), ("satisfied", Attr::Bool(true))];
            attrs.extend_from_slice(extra);
            resource("here", Kind::Command, name, &attrs)
        };
        let run = format!("echo ran >>{log}");
        let once = command("once", &run, &[("once", Attr::Bool(true))]);
        let before = s.look(&once).await;
        assert_eq!(before.attrs["satisfied"], Attr::Bool(false));
        assert_eq!(done(s.one("c1", step(0, &once, Action::Run, Some(&before.fingerprint), None)).await), "");
        // The same step again (its answer was lost): the mark answers, nothing runs.
        done(s.one("c1", step(0, &once, Action::Run, Some(&before.fingerprint), None)).await);
        assert_eq!(std::fs::read_to_string(s.path("log")).unwrap(), "ran\n");
        assert_eq!(s.look(&once).await.attrs["satisfied"], Attr::Bool(true));

        let made = s.key("made");
        let creates = command("creates", &format!("touch {made}"), &[("creates", Attr::text(&made))]);
        assert_eq!(s.look(&creates).await.attrs["satisfied"], Attr::Bool(false));
        done(s.one("c2", step(0, &creates, Action::Run, None, None)).await);
        assert_eq!(s.look(&creates).await.attrs["satisfied"], Attr::Bool(true));

        let futile = command("futile", "true", &[("unless", Attr::text("test -e /nowhere"))]);
        let failed = s.one("c3", step(0, &futile, Action::Run, None, None)).await;
        assert!(matches!(&failed, Outcome::Failed { output, .. } if output.contains("does not hold")), "{failed:?}");
        let blind = command("blind", &run, &[]);
        let failed = s.one("c4", step(0, &blind, Action::Run, None, None)).await;
        assert!(matches!(failed, Outcome::Failed { .. }));
        assert_eq!(
            std::fs::read_to_string(s.path("log")).unwrap(),
            "ran\n",
            "a command without a condition is not run"
        );
        let slow = command("slow", "sleep 30", &[("once", Attr::Bool(true)), ("timeout", Attr::Int(1))]);
        let failed = s.one("c5", step(0, &slow, Action::Run, None, None)).await;
        assert!(
            matches!(&failed, Outcome::Failed { code: 124, output } if output.contains("longer than 1 s")),
            "{failed:?}"
        );
        // A daemon that the command leaves behind keeps neither the answer nor the lock.
        let daemon = command("daemon", "sleep 20 >/dev/null 2>&1 & true", &[("once", Attr::Bool(true))]);
        let begun = std::time::Instant::now();
        done(s.one("c6", step(0, &daemon, Action::Run, None, None)).await);
        done(s.one("c7", step(0, &file(&s, "f", b"1"), Action::Create, Some("absent"), Some(b"1"))).await);
        assert!(begun.elapsed().as_secs() < 10, "{:?}", begun.elapsed());
    })
    .await;
}

#[tokio::test]
async fn a_step_whose_predecessor_failed_is_skipped_and_the_rest_goes_on() {
    shells(async |s| {
        let bad = file(&s, "no/such/folder", b"x");
        let (good, after) = (file(&s, "good", b"x"), file(&s, "after", b"x"));
        let mut waiting = step(1, &after, Action::Create, Some("absent"), Some(b"x"));
        waiting.after_in_batch = vec![0];
        let steps = vec![
            step(0, &bad, Action::Create, Some("absent"), Some(b"x")),
            waiting,
            step(2, &good, Action::Create, Some("absent"), Some(b"x")),
        ];
        let (reports, result) = s.run("a1", steps).await;
        result.unwrap();
        assert!(
            matches!(outcome(&reports, 0), Some(Outcome::Failed { output, .. }) if output.contains("does not exist"))
        );
        assert_eq!(outcome(&reports, 1), Some(Outcome::Skipped { because: 0 }));
        done(outcome(&reports, 2).unwrap());
        let outcomes = s.agent.outcomes(&s.host, "acme", "a1").await.unwrap();
        assert!(matches!(outcomes[&0], Outcome::Failed { .. }) && outcomes[&2].is_done() && !outcomes.contains_key(&1));
    })
    .await;
}

#[tokio::test]
async fn pins_move_along_with_our_own_steps_and_stay_for_foreign_ones() {
    shells(async |s| {
        // A step (here a command, as a package would) brings two files that later steps pinned as absent.
        let (one, two, three) = (file(&s, "one", b"mine\n"), file(&s, "two", b"mine\n"), file(&s, "three", b"mine\n"));
        let run = format!("echo theirs >{}; echo theirs >{}", s.key("one"), s.key("two"));
        let brings = resource("here", Kind::Command, "brings", &[("run", Attr::text(run)), ("once", Attr::Bool(true))]);
        let later = |id, r: &Resource| step(id, r, Action::Create, Some("absent"), Some(b"mine\n"));
        std::fs::write(s.path("three"), "foreign\n").unwrap();
        let (reports, result) = s
            .run_as(
                "a1",
                1,
                vec![step(0, &brings, Action::Run, Some("command unsatisfied"), None), later(1, &one)],
                vec![later(2, &two).step, later(3, &three).step],
            )
            .await;
        result.unwrap();
        done(outcome(&reports, 1).unwrap());
        // In another batch, as a later wave.
        let (reports, result) = s.run("a1", vec![later(2, &two), later(3, &three)]).await;
        result.unwrap();
        done(outcome(&reports, 2).unwrap());
        assert!(matches!(outcome(&reports, 3), Some(Outcome::Stale { .. })), "{reports:?}");
        assert_eq!(std::fs::read(s.path("three")).unwrap(), b"foreign\n");
    })
    .await;
}

#[tokio::test]
async fn leases_grow_are_held_taken_over_and_fence() {
    shells(async |s| {
        let request = |holder: &str, token, known_dead: Option<&str>, dead_after| LeaseRequest {
            organization: "acme".into(),
            holder: holder.into(),
            apply: "a1".into(),
            token,
            dead_after,
            known_dead: known_dead.map(str::to_owned),
        };
        let ask = async |r: LeaseRequest| s.agent.acquire(&s.host, &r).await.unwrap();
        let ann = ask(request("ann@desk pid 1", None, None, 30)).await;
        assert_eq!(ann, LeaseAnswer::Granted { token: 1, from: None });
        let held = ask(request("bob@desk pid 2", None, None, 30)).await;
        assert!(matches!(&held, LeaseAnswer::Held(l) if l.token == 1 && l.holder == "ann@desk pid 1"), "{held:?}");
        s.agent.heartbeat(&s.host, "acme", 1).await.unwrap();
        let taken = ask(request("bob@desk pid 2", None, Some("ann@desk pid 1"), 30)).await;
        assert!(
            matches!(&taken, LeaseAnswer::Granted { token: 2, from: Some(l) } if l.holder.starts_with("ann")),
            "{taken:?}"
        );
        let fenced = s.agent.heartbeat(&s.host, "acme", 1).await.unwrap_err();
        assert_eq!(fenced.kind, HostErrorKind::Fenced);
        // Ann's batch is still on its way.
        let (reports, _) = s
            .run_as("a1", 1, vec![step(0, &file(&s, "f", b"x"), Action::Create, Some("absent"), Some(b"x"))], vec![])
            .await;
        assert_eq!(outcome(&reports, 0), Some(Outcome::Fenced { token: 2 }));
        assert!(!s.path("f").exists());
        let late = ask(request("cyd@desk pid 3", Some(1), None, 30)).await;
        assert!(matches!(late, LeaseAnswer::Held(l) if l.token == 2));
        // By age alone.
        let aged = ask(request("cyd@desk pid 3", None, None, 0)).await;
        assert!(matches!(aged, LeaseAnswer::Granted { token: 3, .. }));
        s.agent.release(&s.host, "acme", 3).await.unwrap();
        assert_eq!(ask(request("dan@desk pid 4", None, None, 30)).await, LeaseAnswer::Granted { token: 4, from: None });
        let seen = s.observe(&[]).await.lease.unwrap();
        assert_eq!((seen.token, seen.holder.as_str()), (4, "dan@desk pid 4"));
    })
    .await;
}

#[tokio::test]
async fn observing_writes_nothing_and_odd_input_is_refused() {
    let s = Sandbox::new("sh");
    s.observe(&[file(&s, "x", b"x")]).await;
    assert!(!s.path("state").exists());
    for key in ["relative", "/a/../b", "/a\nb", "/a\tb", "/a\\b", "/a/"] {
        let e = s.try_observe(&[resource("here", Kind::File, key, &[])]).await.unwrap_err();
        assert_eq!(e.kind, HostErrorKind::Protocol, "{key:?}");
    }
    let (_, result) = s.run("../a1", vec![]).await;
    assert!(result.is_err());
}
