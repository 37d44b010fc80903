//! Runbooks: read, carried out on a host, cut off, gone on with. The host is this machine, by a shell and without SSH.

use std::io::Write as _;
use std::os::unix::process::CommandExt as _;
use std::process::Stdio;
use std::time::{Duration, Instant};

use super::cli::{Run, Sandbox, finish};

const TOPOLOGY: &str = "organization acme domain=acme.example
site s
platform open postfix=\"3.7\" dovecot=\"2.3\"
team desk { smf service-desk; }
connection here transport=local
server mail-1 platform=open site=s { roles bastion; connection transport=local; }
server mail-2 platform=open site=s { roles bastion; connection transport=local; }
accepted-domain acme.example
runbook drain file=\"drain.md\" tested-by=desk { steps \"Tell the desk\"; }
runbook gone file=\"gone.md\"
";

fn folder(book: &str) -> Sandbox {
    let s = Sandbox::new();
    s.write("topology.kdl", &TOPOLOGY.replace("connection here transport=local\n", ""));
    s.write("drain.md", book);
    s
}

fn runbook(s: &Sandbox, args: &[&str]) -> Run {
    s.run(&[&["runbook"], args].concat())
}

fn lines(s: &Sandbox, file: &str) -> Vec<String> {
    s.read(file).lines().map(str::to_owned).collect()
}

/// A book whose commands leave a line each in a file of the folder.
fn counting(s: &Sandbox, second: &str) {
    let at = s.path().display();
    s.write(
        "drain.md",
        &format!(
            "# Drain\n\n## Look\n\nHow many wait?\n\n```sh\necho one >> {at}/ran; echo \"12 wait\"\n```\n\n## Mend\n\n```sh limit=20s\n{second}\n```\n\n\
             ## Call\n\nCall the owner.\n\n## Last\n\n```sh\necho three >> {at}/ran\n```\n"
        ),
    );
}

#[test]
fn steps_run_in_order_on_each_host_and_are_kept() {
    let s = folder("");
    counting(&s, &format!("echo two >> {}/ran", s.path().display()));
    runbook(&s, &["list"])
        .ends(0)
        .says("drain: 5 steps, 3 of them commands; tested by desk; nothing leads to it")
        .says("gone: UNUSABLE");
    runbook(&s, &["show", "drain"])
        .ends(0)
        .says("Step 2 of 5 (command, 20s at most): Mend")
        .says("Step 5 of 5 (for a person)");
    // Nobody to ask, no host, no such host, no such book, a step too far: told, and nothing has run.
    runbook(&s, &["run", "drain", "--on", "mail-1"]).ends(1).says("nobody is there to answer");
    runbook(&s, &["run", "drain", "--yes"]).ends(1).says("it is not said where");
    runbook(&s, &["run", "drain", "--yes", "--on", "mail-3,mail-9"])
        .ends(1)
        .says("no host `mail-3`; did you mean")
        .says("no host `mail-9`");
    runbook(&s, &["run", "drian", "--yes", "--on", "mail-1"]).ends(1).says("did you mean drain?");
    runbook(&s, &["run", "gone", "--yes", "--on", "mail-1"]).ends(1).says("gone.md cannot be read");
    runbook(&s, &["run", "drain", "--yes", "--on", "mail-1", "--from", "6"]).ends(1).says("has 5 steps, not 6");
    runbook(&s, &["history"]).ends(0);
    assert!(!s.path().join("ran").exists());

    let run = runbook(&s, &["run", "drain", "--yes", "--on", "mail-1,mail-2", "--reason", "INC-7"]);
    run.ends(0).says("mail-1 | 12 wait").says("mail-2 | 12 wait").says("Call the owner.");
    assert_eq!(lines(&s, "ran"), ["one", "one", "two", "two", "three", "three"]);
    runbook(&s, &["history", "drain"]).ends(0).says("INC-7: all 5 steps");
    let kept = runbook(&s, &["history", "--format", "json"]).ends(0).out;
    let kept: serde_json::Value = serde_json::from_str(&kept).expect("JSON");
    let events: Vec<&str> = kept.as_array().expect("entries").iter().filter_map(|e| e["event"].as_str()).collect();
    assert_eq!(events.iter().filter(|e| **e == "begun").count(), 6);
    assert_eq!(events.iter().filter(|e| **e == "told").count(), 2, "nobody has said that these were done");
    assert!(!kept.to_string().contains("12 wait"), "what was printed is kept nowhere");
}

#[test]
fn a_command_that_fails_stops_it_and_it_goes_on_where_one_says() {
    let s = folder("");
    let at = s.path().display().to_string();
    counting(&s, &format!("echo two >> {at}/ran\ntest -e {at}/mended\necho after >> {at}/ran"));
    let failed = runbook(&s, &["run", "drain", "--yes", "--on", "mail-1,mail-2"]);
    failed
        .ends(1)
        .says("step 2 on mail-1 ended with 1")
        .says("--from 2")
        .says("--from 2 --on mail-2 first, then --from 3");
    assert_eq!(lines(&s, "ran"), ["one", "one", "two"], "nothing after the line that failed, and no other host");
    runbook(&s, &["history"]).ends(0).says("failed in step 2 on mail-1 (exit code 1)");
    s.write("mended", "");
    runbook(&s, &["run", "drain", "--yes", "--on", "mail-1", "--from", "2"]).ends(0);
    assert_eq!(lines(&s, "ran"), ["one", "one", "two", "two", "after", "three"]);
    // The limit of a block ends what hangs; nobody can say what became of it.
    counting(&s, "sleep 60");
    let began = Instant::now();
    s.write("drain.md", &s.read("drain.md").replace("limit=20s", "limit=1s"));
    runbook(&s, &["run", "drain", "--yes", "--on", "mail-1"]).ends(1).says("it may have run, and may still");
    assert!(began.elapsed() < Duration::from_secs(50));
    runbook(&s, &["run", "drain", "--yes", "--on", "mail-1"])
        .ends(1)
        .says("heard no end of step 2 on mail-1")
        .says("--from 2");
}

#[test]
fn a_run_that_was_killed_is_known_as_such() {
    let s = folder("");
    let at = s.path().display().to_string();
    counting(&s, &format!("echo two >> {at}/ran; sleep 30"));
    let mut command = s.command(&["runbook", "run", "drain", "--yes", "--on", "mail-1"]);
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).process_group(0).spawn().expect("runs");
    let until = Instant::now() + Duration::from_secs(60);
    while !s.path().join("ran").exists() || lines(&s, "ran").len() < 2 {
        assert!(Instant::now() < until, "it does not come to its second step");
        std::thread::sleep(Duration::from_millis(20));
    }
    child.kill().and_then(|()| child.wait()).expect("ends");
    runbook(&s, &["history"]).ends(0).says("began step 2 on mail-1: it still runs, or was killed");
    let again = runbook(&s, &["run", "drain", "--yes", "--on", "mail-1"]);
    again.ends(1).says("began step 2 on mail-1").says("--from 2").says("--from 1");
    assert_eq!(lines(&s, "ran"), ["one", "two"]);
    counting(&s, &format!("echo two >> {at}/ran"));
    let on = runbook(&s, &["run", "drain", "--yes", "--on", "mail-1", "--from", "3"]);
    on.ends(0).says("its steps may have other numbers");
    assert_eq!(lines(&s, "ran"), ["one", "two", "three"]);
    runbook(&s, &["run", "drain", "--yes", "--on", "mail-1"]).ends(0);
}

/// At a terminal: yes, skip, and quit; a closed terminal is no yes.
#[test]
fn each_step_is_asked_about() {
    let s = folder("");
    counting(&s, &format!("echo two >> {}/ran", s.path().display()));
    let program = env!("CARGO_BIN_EXE_cutover");
    let line = format!("{program} runbook run drain --on mail-1 --state-dir {}/state", s.path().display());
    let at_terminal = |answers: &str| {
        // `script` gives the program a terminal of its own.
        let mut command = std::process::Command::new("script");
        command.args(["-qec", &line, "/dev/null"]).current_dir(s.path()).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("script(1) of bsdutils");
        child.stdin.take().expect("stdin").write_all(answers.as_bytes()).expect("answers");
        let done = child.wait_with_output().expect("ends");
        (done.status.code(), String::from_utf8_lossy(&done.stdout).into_owned())
    };
    let (code, said) = at_terminal("y\ns\nwhat\nq\n");
    assert_eq!(code, Some(130), "{said}");
    assert!(said.contains("run it on mail-1?") && said.contains("left before step 3; go on with --from 3"), "{said}");
    assert_eq!(lines(&s, "ran"), ["one"]);
    let mut history = s.command(&["runbook", "history"]);
    history.arg("--state-dir").arg(s.path().join("state"));
    finish(history).ends(0).says("left before step 3");
}
