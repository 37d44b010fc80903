//! `cutover forecast`: whether people fit into their windows, at the size of the largest example, and after moves that were measured.

use std::fmt::Write as _;
use std::path::Path;

use super::cli::Sandbox;

fn copied(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("folder");
    for entry in std::fs::read_dir(from).expect("example") {
        let entry = entry.expect("entry");
        let target = to.join(entry.file_name());
        if entry.file_type().expect("type").is_dir() {
            copied(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).expect("copy");
        }
    }
}

/// The example with lists of the size that its README speaks of.
fn microsoft_it() -> Sandbox {
    let s = Sandbox::new();
    copied(&Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/microsoft-it"), s.path());
    for (name, people) in [("dogfood", 500), ("red", 72_000), ("dub", 24_000), ("sin", 18_000), ("sao", 12_000)] {
        let mut text = "mail,display\n".to_owned();
        for n in 0..people {
            let _ = writeln!(text, "{name}-{n}@corp.example,{name} user {n}");
        }
        s.write(&format!("users/{name}.csv"), &text);
    }
    s
}

#[test]
fn a_hundred_and_thirty_thousand_people_are_counted_and_their_windows_judged() {
    let s = microsoft_it();
    let run = s.run(&["forecast", "--env", "production", "--at", "2007-01-15T09:00", "--format", "json"]);
    // The largest site does not fit at five seconds for eight people.
    assert_eq!(run.code, 2, "{}", run.err);
    let found: serde_json::Value = serde_json::from_str(&run.out).expect("json");
    let lines = found["cohorts"].as_array().expect("cohorts");
    let line = |name: &str| lines.iter().find(|l| l["cohort"] == name).unwrap_or_else(|| panic!("{name}: {lines:?}"));
    let people: u64 = lines.iter().map(|l| l["people"].as_u64().expect("people")).sum();
    assert_eq!(people, 130_000, "what is on no list is in the cohort of the rest");
    assert_eq!(line("remaining")["people"], 3_500);
    assert_eq!(line("remaining")["about"], true);
    // 100 canaries and 71,900 others in waves of 2,500: 13 + 28 * 313 + 238 groups.
    assert_eq!(line("wave-red")["waves"], 30);
    assert_eq!(line("wave-red")["groups"], 13 + 28 * 313 + 238);
    assert_eq!(line("wave-red")["verdict"], "short", "9,015 groups of 5 s are more than the ten hours of the night");
    assert_eq!(line("wave-sao")["verdict"], "tight");
    assert_eq!(line("dogfood")["verdict"], "fits");
    assert_eq!(found["conflicts"].as_array().map(Vec::len), Some(0), "{found}");
    let order: Vec<&str> = lines.iter().filter_map(|l| l["cohort"].as_str()).collect();
    assert_eq!(order, ["dogfood", "wave-red", "wave-dub", "wave-sin", "wave-sao", "remaining"], "as their windows");
    s.run(&["cohort", "list", "--env", "production"]).ends(0).says("wave-red         wave     72000 people");
    let text = s.run(&["forecast", "wave-red", "--env", "production", "--at", "2007-01-15T09:00"]).ends(2);
    let text = text.says("72000 people, 30 waves").says("night-red: Sat 2007-03-03 20:00");
    text.says("too short").says("nobody was moved from here yet").says("[################################]>");
    s.run(&["forecast", "dogfood", "--env", "production"]).ends(2).says(" over\n");
}

const TOPOLOGY: &str = r#"language 1
organization acme domain=acme.example timezone="Europe/Berlin"
site office
platform open postfix="3.7" dovecot="2.3"
connection admin user=root key=(secret)"file:keys/admin"
server gate platform=open site=office connection=admin ip="192.0.2.10" { roles proxy migration; }
server mail-1 platform=open site=office connection=admin ip="192.0.2.11" { roles imap smtp; }
server mail-2 platform=open site=office connection=admin ip="192.0.2.12" { roles imap smtp; }
pair store method=dsync { members "mail-[1:2]"; }
accepted-domain acme.example default=#true
certificate tls subject=mail.acme.example issuer=internal { on gate "mail-[1:2]"; }
legacy old product=dovecot host=old.acme.example master-user=mover admin=(secret)"env:OLD" mailboxes=100 data="90GB" { services imap; }
cms mover from=old to=store extractor=imap importer=imap throttle="100Mbit/s" password=(secret)"env:CMS" { on gate; items messages; }
proxy front old=old new=store cms=mover { on gate; listen imaps; }
migration away strategy=phased from=old to=store proxy=front cms=mover downtime-max="2m"
rollback-point before valid-for="7d" { restores routes mailbox-delta; }
cutover-window first start="2030-06-01T22:00" for="10m" rollback=before { steps final-delta verify open; }
cutover-window second start="2030-06-08T22:00" for="5m" rollback=before { steps final-delta verify open; }
cohort one migration=away type=pilot window=first canaries=4 canary-soak="1m" { select { csv "one.csv"; }; }
cohort two migration=away type=wave window=first { after one; select { csv "two.csv"; }; }
cohort three migration=away type=wave window=second { after two; select { csv "three.csv"; }; }
"#;

fn acme() -> Sandbox {
    let s = Sandbox::new();
    s.write("topology.kdl", TOPOLOGY);
    for (name, people) in [("one", 20), ("two", 40), ("three", 40)] {
        let list: String = (0..people).map(|n| format!("{name}-{n}@acme.example\n")).collect();
        s.write(&format!("{name}.csv"), &list);
    }
    s
}

fn seen(s: &Sandbox, more: &[&str]) -> (i32, serde_json::Value) {
    let run = s.run(&[&["forecast", "--at", "2030-05-01T12:00", "--format", "json"], more].concat());
    let found = serde_json::from_str(&run.out).unwrap_or_else(|e| panic!("{e}: {run:#?}"));
    (run.code, found)
}

#[test]
fn cohorts_of_one_window_take_turns_and_copying_is_reckoned_back_from_the_windows() {
    let s = acme();
    let (code, found) = seen(&s, &[]);
    assert_eq!(code, 0, "{found}");
    let lines = found["cohorts"].as_array().expect("lines");
    // One group of four canaries, two of the others, five seconds each, and a minute of watching.
    assert_eq!(lines[0]["usual"], 75);
    assert_eq!(lines[0]["slow"], 3 * 120 + 60, "as long as people may be held");
    assert_eq!(lines[0]["begins"], "2030-06-01T20:00:00Z");
    assert_eq!(lines[1]["begins"], "2030-06-01T20:01:15Z", "after the first cohort of the window");
    // 40 people of five groups have 525 s left: at two minutes each they would need 600.
    assert_eq!(lines[1]["verdict"], "tight");
    // 90 GB at 100 Mbit/s are two hours; 54 of them go in the first window.
    let copying = &found["copying"][0];
    assert_eq!(copying["takes"], 7_200);
    assert_eq!(copying["rate"], serde_json::json!([100_000_000, "throttle"]));
    assert_eq!(copying["begin_by"], serde_json::json!(["2030-06-01T18:49:15Z", "two"]));
    let (_, quick) = seen(&s, &["--rate", "1Gbit/s"]);
    assert_eq!(quick["copying"][0]["takes"], 720);
    s.run(&["forecast", "--rate", "quick"]).ends(1).says("--rate `quick` is no rate");
    s.run(&["forecast", "four"]).ends(1).says("no cohort `four`").says("known: one, three, two");
}

#[test]
fn what_moves_took_is_what_is_reckoned_with() {
    let s = acme();
    let mut diary = String::new();
    for n in 0..40 {
        // Two people a group, ten seconds apart; held for 8 to 9 seconds. A line of one who stayed is no measure.
        let at = format!("2030-05-01T10:{:02}:{:02}Z", n / 6, n % 6 * 10);
        for (user, held) in [(format!("two-{n}"), 8_000), (format!("three-{n}"), 9_000)] {
            let entry = serde_json::json!({
                "at": at, "user": format!("{user}@acme.example"), "to": "new", "arrived": true, "held_ms": held,
                "messages": 1, "octets": 100, "why": null, "by": "ann@desk",
            });
            let _ = writeln!(diary, "{entry}");
        }
    }
    diary += "{\"at\":\"2030-05-01T11:00:00Z\",\"user\":\"one-1@acme.example\",\"to\":\"new\",\"arrived\":false,\"held_ms\":900000,\"messages\":null,\"octets\":null,\"why\":\"no\",\"by\":\"ann@desk\"}\n{\"cut";
    s.write(".cutover/acme/default/moves.jsonl", &diary);
    let (code, found) = seen(&s, &[]);
    let line = &found["cohorts"][2];
    assert_eq!(line["pace"], serde_json::json!({ "measured": 40, "usual_ms": 9_975, "slow_ms": 10_000 }));
    assert_eq!(line["verdict"], "fits", "five groups of ten seconds in five minutes");
    assert_eq!(code, 0, "{found}");
    // As it would be if the machine were ten times as slow: the second window has no room for its people.
    s.write(".cutover/acme/default/moves.jsonl", &diary.replace("000,\"messages\":1", "0000,\"messages\":1"));
    let (code, found) = seen(&s, &[]);
    assert_eq!((code, &found["cohorts"][2]["verdict"]), (2, &serde_json::json!("short")), "{found}");
    s.run(&["forecast", "--at", "2030-05-01T12:00"]).ends(2).says("too short").says("measured in 40 groups");
}

#[test]
fn a_cohort_whose_window_closes_before_its_turn_is_told() {
    let s = acme();
    s.write("topology.kdl", &TOPOLOGY.replace("2030-06-08T22:00", "2030-05-08T22:00"));
    let (code, found) = seen(&s, &[]);
    assert_eq!(code, 2);
    let told = found["conflicts"].to_string();
    assert!(told.contains("cohort three goes after two, who are over at 2030-06-01 22:01"), "{told}");
}
