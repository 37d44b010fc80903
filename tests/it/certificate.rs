//! Certificates of cohorts with real keys and the real program: who signed, and what an octet that was changed does.

use std::process::Command;

use cutover::model::Digest;
use cutover::process::certificate::{CERTIFICATE_VERSION, Certificate, Known, Totals};

use crate::gates::{Place, TOPOLOGY};

fn certificate(by: &str) -> Certificate {
    Certificate {
        version: CERTIFICATE_VERSION,
        organization: "acme".into(),
        environment: None,
        cohort: "pilot-1".into(),
        migration: None,
        from: None,
        to: None,
        made: "2026-11-23T01:50:00Z".parse().expect("time"),
        by: by.into(),
        commit: Known::not("in no git repository"),
        rehearsal: false,
        list: Digest::of(b"list"),
        totals: Totals::default(),
        phases: Vec::new(),
        applies: Known::Is(Vec::new()),
        people: Vec::new(),
        left_out: Vec::new(),
    }
}

#[test]
fn a_certificate_holds_by_the_key_of_who_signed_and_by_every_octet() {
    let p = Place::new(TOPOLOGY);
    let file = p.repo.path().join("pilot-1.json");
    let sign = |bytes: &[u8], person: &str, namespace: &str| {
        std::fs::write(&file, bytes).expect("written");
        let _ = std::fs::remove_file(file.with_extension("json.sig"));
        let done = Command::new("ssh-keygen")
            .args(["-q", "-Y", "sign", "-n", namespace, "-f"])
            .arg(p.key(person))
            .arg(&file)
            .status()
            .expect("ssh-keygen");
        assert!(done.success());
    };
    let verify = |ends: i32| p.run(&["cohort", "certificate", "--verify", "pilot-1.json"]).ends(ends);
    let bytes = certificate("dorn").bytes();
    std::fs::write(&file, &bytes).expect("written");
    verify(1).says("it is not signed");
    sign(&bytes, "dorn", "cutover-certificate@acme");
    let good = verify(0);
    assert!(good.out.starts_with("good pilot-1.json, signed by dorn"), "{good:#?}");
    // A page that says something else is told of.
    p.repo.write("pilot-1.html", "<p>all is well</p>");
    verify(1).says("the page beside it says something else");
    std::fs::remove_file(p.repo.path().join("pilot-1.html")).expect("removed");

    for (person, by, namespace, why) in [
        ("eve", "dorn", "cutover-certificate@acme", "of nobody in the topology"),
        ("arnold", "dorn", "cutover-certificate@acme", "arnold's"),
        ("dorn", "dorn", "cutover@acme", "signed for `cutover@acme`"),
    ] {
        sign(&certificate(by).bytes(), person, namespace);
        verify(1).says(why);
    }
    sign(&bytes, "dorn", "cutover-certificate@acme");
    let text = String::from_utf8(bytes).expect("text");
    for (from, to) in [("\"cohort\": \"pilot-1\"", "\"cohort\": \"pilot-2\""), ("\"people\": 0", "\"people\": 9")] {
        let changed = text.replace(from, to);
        assert_ne!(changed, text);
        std::fs::write(&file, changed).expect("written");
        verify(1).says("does not hold");
    }
}
