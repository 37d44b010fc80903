//! Surveys: a letter to everybody once, answers out of replies and tables, and evidence of them that a gate takes.

use std::os::unix::fs::PermissionsExt as _;

use super::cli::{Run, Sandbox};

const TOPOLOGY: &str = "organization acme domain=acme.example display=\"Acme Größe\" locale=de
environment production purpose=production
site one
platform open postfix=\"3.7\" dovecot=\"2.3\"
server mail-1 platform=open site=one { roles imap; }
server mail-2 platform=open site=one { roles imap; }
certificate tls subject=\"mail.acme.example\" issuer=internal { on \"mail-[1:2]\"; services imap; }
team desk email=help@acme.example { smf service-desk; }
legacy old product=imap host=old.acme.example
pair store { members mail-1 mail-2; }
migration m strategy=phased from=old to=store
cohort first migration=m type=pilot to=store { select { users ann@acme.example bo@acme.example cy@acme.example; }; }
survey voices responses=\"60%\" score=4 { of first; questions \"Ging es schnell?\" \"Ist alles da?\"; }
phase pilot step=pilot environment=production { migrates first; gate heard { evidence ask type=survey { of voices; }; }; }
";

fn folder() -> Sandbox {
    let s = Sandbox::new();
    s.write("topology.kdl", TOPOLOGY);
    s.write("server", "#!/bin/sh\nset -e\ncat > \"$(mktemp taken.XXXXXX)\"\n");
    let path = s.path().join("server");
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).expect("mode");
    s
}

fn survey(s: &Sandbox, args: &[&str]) -> Run {
    s.run(&[&["survey"], args, &["--env", "production"]].concat())
}

fn taken(s: &Sandbox) -> Vec<String> {
    let all = std::fs::read_dir(s.path()).expect("folder").map(|e| e.expect("entry").path());
    let of = |p: &std::path::PathBuf| p.file_name().is_some_and(|n| n.to_string_lossy().starts_with("taken."));
    all.filter(of).map(|p| std::fs::read_to_string(p).expect("a message")).collect()
}

#[test]
fn each_is_asked_once_and_the_last_answer_counts() {
    let s = folder();
    survey(&s, &["send", "nobody"]).ends(1).says("it has: voices");
    let send = ["send", "voices", "--per-minute", "60000", "--through", "./server"];
    survey(&s, &send).ends(0).says("3 sent, 0 refused, 0 in doubt");
    survey(&s, &send).ends(0).says("everybody of survey voices has their letter");
    let letters = taken(&s);
    assert_eq!(letters.len(), 3);
    assert!(letters.iter().all(|l| l.contains("help@acme.example")), "{letters:?}");
    survey(&s, &["status"]).ends(0).says("0 of 3 have answered, score -: 0% have answered, 60% are wanted");

    let reply = |from: &str, more: &str, body: &str| {
        format!("From: Somebody <{from}>\r\nTo: help@acme.example\r\nSubject: Re: Umfrage\r\n{more}\r\n{body}\r\n")
    };
    let plain = "MIME-Version: 1.0\r\nContent-Type: text/plain; charset=iso-8859-1\r\nContent-Transfer-Encoding: quoted-printable\r\n";
    s.write(
        "ann.eml",
        &reply("Ann@Acme.example", plain, "Gr=FC=DFe\r\n> Ging es schnell?\r\n> 1: 5\r\n>\r\n> 2:=204\r\n"),
    );
    s.write("robot.eml", &reply("bo@acme.example", "Auto-Submitted: auto-replied\r\n", "1: 1\r\n2: 1"));
    s.write("eve.eml", &reply("eve@other.example", "", "1: 1\r\n2: 1"));
    let run = survey(&s, &["import", "voices", "ann.eml", "robot.eml", "eve.eml"]).ends(0);
    let run = run.says("1 answers, 1 of them new; 1 of 3 have answered, score 4.50");
    run.says("bo@acme.example was answered for by a machine").says("eve@other.example was not asked");
    survey(&s, &["import", "voices", "ann.eml"]).ends(0).says("1 answers, 0 of them new");

    let one = reply("bo@acme.example", "", "1: 2\r\n2: 2").replace("\r\n", "\n");
    let two = reply("bo@acme.example", "", "1: 5\r\n2: 4").replace("\r\n", "\n");
    s.write("all.mbox", &format!("From bo@acme.example Mon Nov 23 08:00:00 2026\n{one}\nFrom bo@acme.example Mon Nov 23 09:00:00 2026\n{two}\n"));
    survey(&s, &["import", "voices", "all.mbox"]).ends(0).says("2 of 3 have answered, score 4.50");
    s.write("desk.csv", "Mail;1;2\ncy@acme.example;3;4\ndi@acme.example;5;5\n");
    let run = survey(&s, &["import", "voices", "desk.csv"]).ends(0).says("3 of 3 have answered, score 4.17");
    run.says("di@acme.example was not asked");
    survey(&s, &["status", "voices"]).ends(0).says("enough").says("1.  4.33  Ging es schnell?");
    s.write("wrong.csv", "name;1\nx;2\n");
    survey(&s, &["import", "voices", "wrong.csv"])
        .ends(1)
        .says("no column is called mail")
        .says("nothing was taken in");
    // Other questions are another letter, and older answers are none.
    s.write("topology.kdl", &TOPOLOGY.replace("Ist alles da?", "Fehlt etwas?"));
    survey(&s, &["status"]).ends(0).says("0 of 3 have answered");
    survey(&s, &send).ends(0).says("3 sent");
}
