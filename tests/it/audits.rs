//! Hosts held against their baselines: this machine as a host, real shells, and many recorded hosts.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use cutover::auditing::{self, Course};
use cutover::model::HostName;
use cutover::model::audit::Verdict;
use cutover::model::host::{HostAccess, HostError, HostErrorKind};
use cutover::transport::{Exit, Script, Transport};
use serde_json::Value;

use super::cli::Sandbox;

const PACK: &str = "platform flow { product flow since=\"1\" until=\"1\"; }\nrole flow platform=flow doc=\"nothing much\" { group flow; }\n";

/// Two servers that are both this machine, with a file as their configuration; one more that nobody reaches.
fn topology(sandbox: &Sandbox, more: &str) -> String {
    let conf = sandbox.path().join("daemon.conf");
    let conf = conf.display();
    format!(
        "language 1\norganization acme domain=acme.example\nsite s\nplatform p {{ product flow \"1\"; }}\nperson kim\n\
         server a platform=p site=s {{ roles flow; baselines daemon; connection transport=local; }}\n\
         server b platform=p site=s {{ roles flow; baselines daemon; connection transport=local; }}\n\
         baseline daemon {{\n    roles relay\n\
         \x20   check mode source=file key=\"{conf}#mode\" expect=\"0640\" severity=red\n\
         \x20   check log source=script key=\"sed -n 's/^log //p' {conf}\" expect=on\n\
         \x20   check kernel source=sysctl key=\"kernel.ostype\" expect=Linux\n\
         \x20   check gone source=file key=\"{conf}.old\" expect=absent\n\
         }}\n{more}"
    )
}

fn world(more: &str) -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.write("daemon.conf", "log on\n");
    by_hand(&sandbox, 0o640, "log on\n");
    sandbox.write("modules/flow/module.kdl", PACK);
    let text = topology(&sandbox, more);
    sandbox.write("topology.kdl", &text);
    sandbox
}

fn by_hand(sandbox: &Sandbox, mode: u32, text: &str) {
    sandbox.write("daemon.conf", text);
    let path = sandbox.path().join("daemon.conf");
    std::fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(mode)).expect("mode");
}

/// `HOST CHECK VERDICT` of the report.
fn verdicts(json: &str) -> Vec<String> {
    let report: Value = serde_json::from_str(json).expect("JSON");
    let items = report["items"].as_array().expect("items");
    let text = |i: &Value, f: &str| i[f].as_str().expect("text").to_owned();
    items.iter().map(|i| format!("{} {} {}", text(i, "host"), text(i, "check"), text(i, "verdict"))).collect()
}

#[test]
fn a_change_by_hand_is_found_and_mended_again_it_is_silent() {
    let world = world("");
    world.run(&["audit"]).ends(0).says("No deviation: 8 checks on 2 hosts.");
    by_hand(&world, 0o644, "log off\n");
    let found = world.run(&["audit", "a"]).ends(2).says("! a daemon.mode (red)").says("wanted 0640, found 644");
    assert!(
        found.out.contains("wanted on, found off") && found.out.contains("2 deviations: 4 checks on 1 host."),
        "{found:#?}"
    );
    assert!(!world.path().join(".cutover").exists(), "an audit leaves nothing");
    let json = world.run(&["audit", "--format", "json"]).ends(2).out;
    let expected = ["gone as-wanted", "kernel as-wanted", "log deviates", "mode deviates"];
    let both: Vec<String> = ["a", "b"].iter().flat_map(|h| expected.map(|e| format!("{h} {e}"))).collect();
    assert_eq!(verdicts(&json), both);
    by_hand(&world, 0o640, "log on\n");
    world.run(&["audit", "--baseline", "daemon", "*"]).ends(0).says("No deviation");
}

#[test]
fn a_waiver_covers_until_its_last_day_and_an_ended_one_is_told() {
    let waiver = |name: &str, check: &str, until: &str| {
        format!(
            "waiver {name} until=\"{until}\" reason=\"waits for the vendor\" {{ of daemon.{check}; on a b; approval kim; }}\n"
        )
    };
    let today = jiff::Zoned::now().date();
    let yesterday = today.yesterday().expect("a day").to_string();
    let world = world(&(waiver("loose", "mode", &today.to_string()) + &waiver("quiet", "log", &yesterday)));
    by_hand(&world, 0o600, "log off\n");
    let run = world.run(&["audit", "b"]).ends(2).says("waived until").says("(loose, by kim): waits for the vendor");
    assert!(run.out.contains(&format!("waiver quiet ended on {yesterday}, by kim: decide anew")), "{run:#?}");
    assert!(run.out.contains("1 deviation: 4 checks on 1 host, 1 waived."), "{run:#?}");
    // What is accepted alone is no deviation.
    by_hand(&world, 0o600, "log on\n");
    world.run(&["audit"]).ends(0).says("2 waived");
}

#[test]
fn what_could_not_be_asked_is_never_as_wanted() {
    let far = "server far platform=p site=s ip=\"127.0.0.1\" { roles flow; baselines daemon; connection port=1 user=nobody timeout=\"2s\"; }\n\
               server exchange platform=ex site=s { roles hub; baselines daemon; }\nplatform ex exchange=\"2010\"\n\
               server bare platform=p site=s { roles flow; baselines more; connection transport=local; }\n\
               baseline more { roles relay; check r source=registry key=\"HKLM\" expect=absent; check s source=script key=\"exit 9\" expect=absent; }\n";
    let world = world(far);
    let run = world.run(&["audit"]).ends(1).says("failed: could not ask far (4 checks)");
    assert!(run.err.contains("10 of 18 checks could not be asked"), "{run:#?}");
    assert!(run.out.contains("? bare more.s: could not be asked: it ended with 9"), "{run:#?}");
    assert!(run.out.contains("? bare more.r: could not be asked: source=registry is of Windows"), "{run:#?}");
    let json = world.run(&["audit", "--format", "json", "exchange", "far"]).ends(1).out;
    assert!(verdicts(&json).iter().all(|v| v.ends_with("not-asked")) && verdicts(&json).len() == 8, "{json}");
}

#[test]
fn a_wrong_check_or_name_asks_no_host_and_all_of_them_are_told() {
    let ran = |w: &Sandbox| w.path().join("ran").exists();
    let world = world(
        "server c platform=p site=s { roles flow; baselines wrong; connection transport=local; }\n\
         baseline wrong { roles relay\n check one source=postconf key=\"-e\" expect=x\n check two source=file key=\"etc\" expect=present\n\
         check three source=service key=ssh expect=runing\n check ran source=script key=\"touch ran\" expect=x\n }\n",
    );
    let run = world.run(&["audit"]).ends(1);
    for said in ["check wrong.one: `-e` is no name of a setting", "check wrong.two", "check wrong.three: `runing`"] {
        assert!(run.err.contains(said), "{said}: {run:#?}");
    }
    assert!(!ran(&world));
}

/// Lines of the record, without their times.
fn events(world: &Sandbox) -> Vec<String> {
    let text = world.read(".cutover/acme/default/audits.jsonl");
    let line = |l: &str| {
        let e: Value = serde_json::from_str(l).expect("JSON");
        let text = |f: &str| e[f].as_str().unwrap_or_default().to_owned();
        let what = [text("event"), text("host"), text("check"), text("by"), text("found"), text("ticket")];
        what.into_iter().filter(|w| !w.is_empty()).collect::<Vec<_>>().join(" ")
    };
    text.lines().map(line).collect()
}

#[test]
fn deviations_are_recorded_from_their_begin_to_their_end_and_baselines_come_due() {
    let world = world("");
    world.run(&["audit", "--due"]).ends(0).says("8 checks");
    world.run(&["audit", "--due"]).ends(0).says("0 checks");
    by_hand(&world, 0o644, "log on\n");
    // One host alone is no audit of the baseline.
    world.run(&["audit", "--record", "a"]).ends(2);
    world.run(&["audit", "--record", "a"]).ends(2);
    by_hand(&world, 0o600, "log on\n");
    world.run(&["audit", "--record"]).ends(2);
    by_hand(&world, 0o640, "log on\n");
    world.run(&["audit", "--record", "b"]).ends(0);
    // What nothing asks for any more has ended, whatever it is now.
    let text = world.read("topology.kdl").replace("check mode ", "check rights ");
    world.write("topology.kdl", &text);
    world.run(&["audit", "--record"]).ends(0);
    assert_eq!(
        events(&world),
        [
            "audited",
            "opened a mode 644 none",
            "opened a mode 600 none",
            "opened b mode 600 none",
            "audited",
            "ended b mode mended",
            "ended a mode dropped",
            "audited",
        ]
    );
    // A shorter time between audits makes it due at once, and there is nobody to tell.
    world.write(
        "topology.kdl",
        &text.replace("baseline daemon {", "baseline daemon audit-every=\"1s\" on-drift=ticket {"),
    );
    std::thread::sleep(Duration::from_millis(1100));
    by_hand(&world, 0o644, "log on\n");
    world.run(&["audit", "--due"]).ends(2).says("2 deviations");
    assert_eq!(events(&world)[8..], ["opened a rights 644 incident", "opened b rights 644 incident", "audited"]);
    world.run(&["audit", "--alert"]).ends(1).says("no server has the role monitor");
}

/// A real Alertmanager takes what an audit tells it, shows it once, and lets it end.
#[test]
fn alertmanager_hears_of_a_deviation_and_of_its_end() {
    use cutover::auditing::{Event, Known, Place, alerts};
    use cutover::model::audit::Weight;
    let dir = tempfile::tempdir().expect("dir");
    let port = std::net::TcpListener::bind("127.0.0.1:0").expect("port").local_addr().expect("port").port();
    std::fs::write(dir.path().join("am.yml"), "route: {receiver: nobody}\nreceivers: [{name: nobody}]\n")
        .expect("file");
    let mut server = std::process::Command::new("prometheus-alertmanager")
        .arg(format!("--config.file={}", dir.path().join("am.yml").display()))
        .arg(format!("--storage.path={}", dir.path().join("data").display()))
        .arg(format!("--web.listen-address=127.0.0.1:{port}"))
        .arg("--cluster.listen-address=")
        .stderr(std::process::Stdio::null())
        .spawn()
        .expect("prometheus-alertmanager (apt-get install prometheus-alertmanager)");
    let sh = |script: String| {
        let out = std::process::Command::new("sh").arg("-c").arg(script).output().expect("sh");
        (out.status.success(), String::from_utf8_lossy(&out.stdout).into_owned())
    };
    let files = [(
        "t.kdl".to_owned(),
        b"organization acme domain=acme.example\nsite s\nplatform p postfix=\"3.7\"\nserver a platform=p site=s { roles relay; baselines b; }\n\
          baseline b on-drift=ticket { roles relay; check c source=file key=\"/x\" expect=present; }\n"
            .to_vec(),
    )]
    .into();
    let topology = cutover::language::compile_files(&files, "t.kdl", &Default::default()).topology;
    let place = Place { host: "a".into(), baseline: "b".into(), check: "c".into() };
    let now = jiff::Timestamp::now();
    let (wanted, found) = ("it's \"quoted\"\nEND OF ALERTS\n".to_owned(), "$(touch /nowhere) `x`".to_owned());
    let at = now - jiff::SignedDuration::from_secs(60);
    let opened =
        Event::Opened { at, place: place.clone(), severity: Weight::Red, ticket: "incident".into(), wanted, found };
    let mut known = Known::of([opened]);
    let told = alerts(&topology, &known, &BTreeMap::new(), now);
    let began = Instant::now();
    while !sh(cutover::cli::audited::post(&told, port)).0 {
        assert!(began.elapsed() < Duration::from_secs(30), "it never takes alerts");
        std::thread::sleep(Duration::from_millis(200));
    }
    let heard = || -> Vec<Value> {
        let (ok, text) = sh(format!("curl -fsS --noproxy '*' http://127.0.0.1:{port}/api/v2/alerts"));
        assert!(ok, "{text}");
        serde_json::from_str(&text).expect("JSON")
    };
    assert!(sh(cutover::cli::audited::post(&told, port)).0, "told again it is the same");
    let there = heard();
    assert_eq!(there.len(), 1, "{there:?}");
    assert_eq!((&there[0]["labels"]["server"], &there[0]["labels"]["ticket"]), (&"a".into(), &"incident".into()));
    assert!(
        there[0]["annotations"]["summary"].as_str().expect("text").contains("c is $(touch /nowhere) `x`, wanted it's")
    );
    let ends: jiff::Timestamp = there[0]["endsAt"].as_str().expect("time").parse().expect("time");
    assert_eq!(ends.as_second() - now.as_second(), 16 * 3600, "it ends by itself when nobody audits any more");
    let ended = std::mem::take(&mut known.open);
    assert!(sh(cutover::cli::audited::post(&alerts(&topology, &known, &ended, jiff::Timestamp::now()), port)).0);
    assert!(heard().is_empty(), "{:?}", heard());
    server.kill().expect("killed");
    server.wait().expect("ended");
}

/// Answers as a real shell did, after the time of a round trip.
struct Recorded {
    lines: Vec<String>,
    at_once: Mutex<(usize, usize)>,
}

impl Transport for Recorded {
    async fn exec(
        &self,
        host: &HostAccess,
        _: Script,
        mut on_line: impl FnMut(&str) + Send,
    ) -> Result<Exit, HostError> {
        let now = |by: isize| {
            let mut at = self.at_once.lock().expect("lock");
            at.0 = at.0.saturating_add_signed(by);
            at.1 = at.1.max(at.0);
        };
        now(1);
        tokio::time::sleep(Duration::from_millis(200)).await;
        now(-1);
        if host.name.0.ends_with("7") {
            self.lines.iter().take(30).for_each(|l| on_line(l));
            let (kind, message) = (HostErrorKind::Lost, "the connection broke".to_owned());
            return Err(HostError { host: host.name.clone(), kind, message, help: None });
        }
        self.lines.iter().for_each(|l| on_line(l));
        Ok(Exit { code: Some(0), stderr: String::new() })
    }
}

#[test]
fn a_hundred_and_ninety_hosts_with_sixty_checks_take_under_ten_seconds() {
    let mut text = String::from("organization acme domain=acme.example\nsite s\nplatform p postfix=\"3.7\"\n");
    text.push_str(
        "server \"m-[001:190]\" platform=p site=s { roles relay; baselines many; }\nbaseline many {\n roles relay\n",
    );
    for n in 0..60 {
        let (source, key) = match n % 3 {
            0 => ("file", "/#mode".to_owned()),
            1 => ("sysctl", "kernel.ostype".to_owned()),
            _ => ("script", format!("echo {n}")),
        };
        text.push_str(&format!(
            "check c-{n:02} source={source} key=\"{key}\" expect=\"{}\"\n",
            if n % 3 == 1 { "Linux" } else { "0755" }
        ));
    }
    let files = [("t.kdl".to_owned(), (text + "}\n").into_bytes())].into();
    let compiled = cutover::language::compile_files(&files, "t.kdl", &Default::default());
    let started = Instant::now();
    let wish = auditing::wish(&compiled.topology, "2026-11-22".parse().expect("date"));
    assert_eq!((wish.hosts.len(), wish.wrong.len()), (190, 0));
    // One real host of them, by a real shell.
    let runtime = tokio::runtime::Runtime::new().expect("threads");
    let first: BTreeMap<_, _> = wish.hosts.iter().take(1).map(|(n, q)| (n.clone(), q.clone())).collect();
    let script = auditing::script(first.values().next().expect("one"));
    let out = std::process::Command::new("sh").arg("-c").arg(&script).output().expect("sh");
    let lines: Vec<String> = String::from_utf8_lossy(&out.stdout).lines().map(str::to_owned).collect();
    assert_eq!(lines.len(), 61);
    let access = |n: &HostName| (n.clone(), HostAccess::at(n.clone(), "192.0.2.1"));
    let access: BTreeMap<HostName, HostAccess> = wish.hosts.keys().map(access).collect();
    let recorded = Recorded { lines, at_once: Mutex::new((0, 0)) };
    let course = Course { parallel: 32, limit: Duration::from_secs(60) };
    let (items, failed) = runtime.block_on(auditing::ask(&recorded, &access, &wish.hosts, course, |_, _| ()));
    let took = started.elapsed();
    assert_eq!((items.len(), failed.len()), (190 * 60, 19));
    let count = |v: Verdict| items.iter().filter(|i| i.verdict == v).count();
    assert_eq!(count(Verdict::NotAsked), 19 * 30, "what came before the line broke counts");
    assert_eq!(count(Verdict::AsWanted) + count(Verdict::Deviates), 190 * 60 - 19 * 30);
    assert_eq!(recorded.at_once.lock().expect("lock").1, 32, "the bound");
    assert!(took < Duration::from_secs(10), "{took:?}");
}

/// The same with 190 shells of this machine, whose work hosts would share among them. For who measures.
#[test]
#[allow(clippy::print_stdout)]
#[ignore = "forks 190 shells with 60 checks each; a figure, no judgement"]
fn many_real_shells() {
    let sandbox = Sandbox::new();
    let mut text =
        String::from("language 1\norganization acme domain=acme.example\nsite s\nplatform p { product flow \"1\"; }\n");
    text.push_str("server \"m-[001:190]\" platform=p site=s { roles flow; baselines many; connection transport=local; }\nbaseline many { roles relay\n");
    for n in 0..60 {
        text.push_str(&format!("check c-{n:02} source=file key=\"/#mode\" expect=\"0755\"\n"));
    }
    sandbox.write("modules/flow/module.kdl", PACK);
    sandbox.write("topology.kdl", &(text + "}\n"));
    let started = Instant::now();
    sandbox.run(&["audit"]).ends(0);
    println!("{:?}", started.elapsed());
}
