//! Evidence as a person gives it: collected by the program, or said and signed; and the way through in an emergency.

use super::cli::Run;
use super::gates::{Place, TOPOLOGY};

const GATE: &str = "gate start at=entry { approval cab; }";

/// The gate asks for what the text says, and for a signature.
fn place(evidence: &str, more: &str) -> Place {
    let gate = format!("gate start at=entry {{ {evidence}; approval celik; }}");
    let text = TOPOLOGY.replace(GATE, &gate);
    assert!(text.contains(evidence), "the topology has another gate");
    Place::new(&format!("{text}{more}"))
}

impl Place {
    fn evidence(&self, person: &str, args: &[&str]) -> Run {
        let key = self.key(person).display().to_string();
        let run = self.run(&[&["evidence"], args, &["--env", "production", "--key", &key]].concat());
        // Two of one person in the same second would be one file.
        std::thread::sleep(std::time::Duration::from_millis(1_050));
        run
    }

    /// A program of the repository.
    fn program(&self, name: &str, text: &str) {
        use std::os::unix::fs::PermissionsExt as _;
        self.repo.write(name, text);
        let path = self.repo.path().join(name);
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).expect("mode");
    }
}

#[test]
fn evidence_is_collected_where_a_program_can_see_it_and_said_where_not() {
    let p = place(
        "evidence tried type=test { of test-plan:smoke; }; evidence agreed type=document file=\"agreed.md\"; evidence room type=attest by=ops",
        "environment test purpose=test\ntest-plan smoke environment=test { scenario speaks as=user { covers server:a; run \"smoke.sh\"; }; }\n",
    );
    p.program("smoke.sh", "#!/bin/sh\necho \"in $CUTOVER_ENV\"; exit 3\n");
    p.repo.write("agreed.md", "yes\n");
    p.commit("arnold");
    p.refused("evidence build.start.tried (test): nothing recorded yet");
    p.evidence("behn", &["collect", "build.start.nothing"]).ends(1).says("it has: build.start.tried");
    // What failed is recorded as such, and the gate says so.
    let run = p.evidence("behn", &["collect", "build.start"]).ends(1).says("FAIL build.start.tried (test)");
    let run = run.says("speaks 3").says("recorded as failed: build.start.tried");
    let run = run.says("build.start.room (attest) is not for a program to see");
    assert_eq!(run.out.lines().filter(|l| l.starts_with("records/production/")).count(), 2, "{run:#?}");
    p.commit("arnold");
    p.run(&["records", "verify"]).ends(0);
    p.refused("build.start.tried");
    // Mended, committed, and collected alone.
    p.program("smoke.sh", "#!/bin/sh\nexit 0\n");
    p.commit("arnold");
    p.evidence("behn", &["collect", "build.start.tried"]).ends(0).says("pass build.start.tried (test)");
    p.evidence("behn", &["add", "build.start"]).ends(1).says("name one evidence of it");
    p.evidence("dorn", &["add", "build.start.room", "--note", "seen"]).ends(0);
    p.refused("build.start.room");
    p.evidence("behn", &["add", "build.start.room", "--note", "seen", "--document", "none.md"])
        .ends(1)
        .says("nothing is recorded");
    p.evidence("behn", &["add", "build.start.room", "--note", "seen"]).ends(0);
    p.approve("build.start", "celik").ends(0);
    p.passes();
    // Another document under that name is not the one that was agreed.
    p.repo.write("agreed.md", "no\n");
    p.commit("arnold");
    p.refused("build.start.agreed");
}

#[test]
fn evidence_of_hosts_that_do_not_answer_is_no_evidence() {
    let p = place("evidence same type=plan-clean; evidence whole type=audit", "");
    p.evidence("behn", &["collect", "build.start"]).ends(1).says("could not ask a").says("nothing is recorded");
    assert!(!p.repo.path().join("records").exists());
}

#[test]
fn an_emergency_needs_its_change_and_one_who_approves() {
    let p = place("evidence room type=attest by=ops", "");
    let (celik, behn) = (p.key("celik").display().to_string(), p.key("behn").display().to_string());
    let apply = |key: &str| {
        p.run(&["apply", "--env", "production", "--phase", "build", "--yes", "--emergency", "outage", "--key", key])
            .ends(1)
    };
    apply(&behn).says("no change with urgency=emergency affects phase build");
    let text = p.repo.read("topology.kdl");
    let change = "runbook r { steps roll; }\nchange fire urgency=emergency severity=major author=arnold rollout=r rollback=r { affects phase:build; }\n";
    p.repo.write("topology.kdl", &format!("{text}{change}"));
    p.commit("arnold");
    let run = apply(&behn);
    assert!(run.err.contains("no emergency: ") && !run.err.contains("could not ask"), "nobody has approved: {run:#?}");
    p.approve("build.start", "celik").ends(0);
    let run = apply(&celik);
    assert!(!run.err.contains("could not ask"), "who applies is not who approves: {run:#?}");
    // It comes as far as the host, which does not answer.
    apply(&behn).says("could not ask");
    // Without the word it waits for its evidence as before.
    p.refused("build.start.room");
}

/// A probe is made when it is collected; what was answered to a survey is counted; a way back shows itself only when it was gone.
#[test]
fn probes_surveys_and_ways_back_show_themselves() {
    let p = place(
        "evidence alive type=probe { of probe:up; }; evidence said type=survey { of survey:voices; }; evidence back type=restore { of rollback-point:before; }",
        "probe up type=heartbeat every=\"1m\" timeout=\"2s\" { to server:a; }\nrollback-point before valid-for=\"7d\" { restores routes; }\n\
         legacy old product=imap host=old.acme.example\nmigration m strategy=pilot from=old to=platform:open\n\
         cohort first migration=m type=pilot { select { users ann@acme.example bo@acme.example; }; }\n\
         survey voices responses=\"50%\" score=4 { of first; questions \"Well?\"; }\n",
    );
    p.refused("evidence build.start.said (survey): nothing recorded yet, at least 50%, score at least 4");
    p.evidence("behn", &["collect", "build.start.back"]).ends(1).says("nobody has gone back to before yet");
    p.evidence("behn", &["collect", "build.start.said"]).ends(1).says("nobody has answered survey voices yet");
    p.repo.write("desk.csv", "mail,1\nann@acme.example,3\n");
    p.run(&["survey", "import", "voices", "desk.csv", "--env", "production"]).ends(0);
    p.evidence("behn", &["collect", "build.start.said"]).ends(1).says("FAIL build.start.said").says("score 3.00");
    p.repo.write("desk.csv", "mail,1\nann@acme.example,5\n");
    p.run(&["survey", "import", "voices", "desk.csv", "--env", "production"]).ends(0);
    p.evidence("behn", &["collect", "build.start.said"]).ends(0).says("pass build.start.said").says("percent 50%");
    p.evidence("behn", &["collect", "build.start.alive"])
        .ends(1)
        .says("FAIL build.start.alive (probe)")
        .says("up fail");
}
