//! Gates with real keys, real git and the real program: who signs what, and what an apply says to it.

#![allow(clippy::unwrap_used)] // a test that cannot go on fails

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::cli::{Run, Sandbox, finish};

const PEOPLE: [&str; 5] = ["arnold", "behn", "celik", "dorn", "eve"];

pub const TOPOLOGY: &str = r#"organization acme domain=acme.example
team ops
person "[arnold,behn,celik]" signing-key="people/[arnold,behn,celik].pub" { teams ops; }
person dorn signing-key="people/dorn.pub"
board cab quorum=2 { members ops; }
environment production purpose=production
environment lab purpose=lab runtime=containers
site s
platform open postfix="3.7"
connection admin user=root port=1 timeout="2s"
server a platform=open site=s connection=admin ip="127.0.0.1" { roles relay; }
certificate tls subject=a.acme.example issuer=internal { on a; services smtp; }
phase build step=build environment=production due="2026-01-02" {
    deploys server:a
    gate start at=entry { approval cab; }
    gate ready { approval dorn; }
}
phase pilot step=pilot environment=production { after build; deploys server:a; }
"#;

/// A repository, and the keys of its people outside of it.
pub struct Place {
    pub repo: Sandbox,
    keys: tempfile::TempDir,
}

impl Place {
    pub fn new(topology: &str) -> Self {
        let place = Self { repo: Sandbox::new(), keys: tempfile::tempdir().unwrap() };
        for person in PEOPLE {
            let done = Command::new("ssh-keygen")
                .args(["-q", "-t", "ed25519", "-N", "", "-C", person, "-f"])
                .arg(place.key(person))
                .status()
                .unwrap();
            assert!(done.success());
            let public = std::fs::read_to_string(place.keys.path().join(format!("{person}.pub"))).unwrap();
            if person != "eve" {
                place.repo.write(&format!("people/{person}.pub"), &public);
            }
        }
        place.repo.write("topology.kdl", topology);
        place.repo.write(".gitignore", ".cutover\n");
        place.git(&["init", "-q", "-b", "main"]);
        place.commit("dorn");
        place
    }

    pub fn key(&self, person: &str) -> PathBuf {
        self.keys.path().join(person)
    }

    pub fn git(&self, args: &[&str]) -> String {
        let mut command = Command::new("git");
        command
            .arg("-C")
            .arg(self.repo.path())
            .args(["-c", "user.name=x", "-c", "user.email=x@acme.example"])
            .args(args);
        command.env("GIT_CONFIG_GLOBAL", "/dev/null").env("GIT_CONFIG_SYSTEM", "/dev/null").stdin(Stdio::null());
        let done = command.output().unwrap();
        assert!(done.status.success(), "git {args:?}: {}", String::from_utf8_lossy(&done.stderr));
        String::from_utf8(done.stdout).unwrap()
    }

    /// Commits everything, signed by a person.
    pub fn commit(&self, person: &str) {
        self.git(&["add", "-A", "."]);
        let key = format!("user.signingKey={}", self.key(person).display());
        self.git(&["-c", "gpg.format=ssh", "-c", &key, "commit", "-q", "-S", "-m", "change", "--allow-empty"]);
    }

    fn commit_unsigned(&self) {
        self.git(&["add", "-A", "."]);
        self.git(&["commit", "-q", "--no-gpg-sign", "-m", "change"]);
    }

    pub fn edit(&self, from: &str, to: &str) {
        let text = self.repo.read("topology.kdl");
        assert!(text.contains(from), "{from}");
        self.repo.write("topology.kdl", &text.replace(from, to));
    }

    pub fn run(&self, args: &[&str]) -> Run {
        let mut command = self.repo.command(args);
        command.env("GIT_CONFIG_GLOBAL", "/dev/null").env("GIT_CONFIG_SYSTEM", "/dev/null");
        finish(command)
    }

    pub fn approve(&self, gate: &str, person: &str) -> Run {
        let key = self.key(person).display().to_string();
        let run = self.run(&["approve", gate, "--env", "production", "--key", &key, "--yes"]);
        // Two of one person in the same second would be one file.
        std::thread::sleep(std::time::Duration::from_millis(1_050));
        run
    }

    /// Applies; a gate that is open lets it come as far as the host, which does not answer.
    fn apply(&self) -> Run {
        self.run(&["apply", "--env", "production", "--phase", "build", "--yes"]).ends(1)
    }

    #[track_caller]
    pub fn refused(&self, why: &str) {
        let run = self.apply().says("must not be applied yet; nothing was changed").says(why);
        assert!(!run.err.contains("could not ask"), "{run:#?}");
    }

    #[track_caller]
    pub fn passes(&self) {
        let run = self.apply();
        assert!(run.err.contains("could not ask"), "{run:#?}");
    }

    fn records(&self) -> Vec<PathBuf> {
        let folder = self.repo.path().join("records/production/build.start");
        let mut all: Vec<PathBuf> = std::fs::read_dir(folder).unwrap().map(|e| e.unwrap().path()).collect();
        all.sort();
        all
    }
}

#[test]
fn an_apply_waits_for_its_gate_and_passes_when_enough_have_signed() {
    let p = Place::new(TOPOLOGY);
    p.refused("approval of board cab: 0 of 2 persons (arnold, behn, celik may)");
    let one = p.approve("build.start", "arnold").ends(0);
    assert!(one.out.starts_with("records/production/build.start/") && one.err.contains("taken on trust"), "{one:#?}");
    p.refused("1 of 2 persons (arnold has signed; behn, celik may)");
    p.approve("build.start", "behn").ends(0);
    p.passes();
    p.commit("dorn");
    p.passes();
    p.run(&["records", "verify"]).ends(0).says("good").says("build.start");
    // What the phase makes changes: new signatures. Names and dates of people do not.
    p.edit("2026-01-02", "2026-01-03");
    p.commit("dorn");
    p.passes();
    p.edit("ip=\"127.0.0.1\"", "ip=\"127.0.0.2\"");
    p.commit("dorn");
    p.refused("arnold signed for an earlier plan: the topology has changed since");
}

#[test]
fn the_board_shows_what_each_phase_waits_for() {
    let p = Place::new(TOPOLOGY);
    let board = p.run(&["phase", "status", "--env", "production"]).ends(0);
    for text in ["waits  build", "due 2026-01-02", "days late", "approval of person dorn", "waits for gate build.ready"]
    {
        assert!(board.out.contains(text), "{text}: {}", board.out);
    }
    let json = p.run(&["phase", "status", "--env", "production", "--json", "--html", "board.html"]).ends(0);
    let json: serde_json::Value = serde_json::from_str(&json.out).unwrap();
    assert_eq!(json["phases"][0]["state"], "waits");
    assert!(p.repo.read("board.html").contains("build.start"));
    p.approve("build.start", "arnold").ends(0);
    p.approve("build.start", "behn").ends(0);
    p.run(&["phase", "status", "build", "--env", "production"]).ends(0).says("open   build").says("arnold, behn");
    // dorn has written it, and says so himself in git.
    p.approve("build.ready", "dorn").ends(0);
    p.run(&["phase", "status", "build", "--env", "production"]).ends(0).says("dorn is an author");
}

#[test]
fn what_is_signed_is_what_others_can_check_out() {
    let p = Place::new(TOPOLOGY);
    p.edit("ip=\"127.0.0.1\"", "ip=\"127.0.0.2\"");
    p.approve("build.start", "arnold").ends(1).says("topology.kdl differ from the last commit; nothing is signed");
    assert!(!p.repo.path().join("records").exists());
    p.approve("build.nothing", "arnold").ends(1).says("build.start, build.ready");
    p.commit("dorn");
    p.approve("build.start", "eve").ends(1).says("is the key of nobody in the topology");
    let key = p.key("arnold").display().to_string();
    p.run(&["approve", "build.start", "--env", "production", "--as", "behn", "--key", &key, "--yes"])
        .ends(1)
        .says("is not a key of behn: it is arnold's");
    p.run(&["approve", "build.start", "--env", "production", "--key", &key]).ends(1).says("nothing was changed");
    assert!(!p.repo.path().join("records").exists());
}

#[test]
fn an_approval_can_be_taken_back_by_who_gave_it() {
    let p = Place::new(TOPOLOGY);
    p.approve("build.start", "arnold").ends(0);
    p.approve("build.start", "behn").ends(0);
    p.passes();
    let key = p.key("behn").display().to_string();
    let revoke = ["approve", "build.start", "--env", "production", "--revoke", "--yes", "--key", &key];
    p.run(&revoke).ends(0).says("takes back records/");
    p.refused("behn has taken it back");
    p.run(&revoke).ends(1).says("has signed nothing for gate build.start that stands");
    // Taking the revocation out of the folder is found, once git has seen it.
    p.commit("dorn");
    for file in p.records().iter().filter(|f| f.display().to_string().contains("revocation")) {
        std::fs::remove_file(file).unwrap();
    }
    p.run(&["apply", "--env", "production", "--phase", "build", "--yes"]).ends(1).says("records were taken away");
    p.commit("dorn");
    p.run(&["apply", "--env", "production", "--phase", "build", "--yes"]).ends(1).says("records were taken away");
    p.run(&["records", "verify"]).ends(1).says("was taken away");
}

#[test]
fn a_person_who_is_added_cannot_sign_for_it() {
    let p = Place::new(TOPOLOGY);
    p.approve("build.start", "arnold").ends(0);
    p.commit("dorn");
    p.refused("1 of 2");
    // Eve adds herself to the board, and makes it easier as well.
    p.repo.write("people/eve.pub", &std::fs::read_to_string(p.keys.path().join("eve.pub")).unwrap());
    p.edit("person dorn", "person eve signing-key=\"people/eve.pub\" { teams ops; }\nperson dorn");
    p.edit("quorum=2", "quorum=1");
    p.commit("eve");
    p.approve("build.start", "eve").ends(0);
    p.refused("the key of eve came after the last approved commit");
    p.refused("2 of cab must sign the change");
    // In an overlay, or on the command line, it says nothing at all.
    p.git(&["reset", "-q", "--hard", "HEAD~1"]);
    p.edit("purpose=production\n", "purpose=production { (patch)board cab quorum=1; }\n");
    p.refused("1 of 2");
    // Those who decide take her in.
    p.git(&["checkout", "-q", "."]);
    p.repo.write("people/eve.pub", &std::fs::read_to_string(p.keys.path().join("eve.pub")).unwrap());
    p.edit("person dorn", "person eve signing-key=\"people/eve.pub\" { teams ops; }\nperson dorn");
    p.commit("eve");
    p.approve("build.start", "behn")
        .ends(0)
        .says("new keys of: eve")
        .says("signs too that gate build.start opens otherwise");
    p.refused("2 of cab must sign the change");
    p.approve("build.start", "celik").ends(0);
    p.passes();
}

/// A key that somebody exchanges for their own.
#[test]
fn a_key_that_is_exchanged_is_not_its_persons() {
    let p = Place::new(TOPOLOGY);
    p.approve("build.start", "arnold").ends(0);
    p.commit("dorn");
    p.repo.write("people/behn.pub", &std::fs::read_to_string(p.keys.path().join("eve.pub")).unwrap());
    p.commit_unsigned();
    p.approve("build.start", "eve").ends(0);
    p.refused("the key of behn came after the last approved commit");
}

#[test]
fn commits_of_nobody_want_one_more_signature_and_authors_do_not_approve() {
    let p = Place::new(TOPOLOGY);
    p.edit("ip=\"127.0.0.1\"", "ip=\"127.0.0.3\"");
    p.commit_unsigned();
    p.approve("build.start", "arnold").ends(0);
    p.approve("build.start", "behn").ends(0);
    p.refused("authorship is unproven (1 commit is not signed by a key of a person)");
    p.approve("build.start", "celik").ends(0);
    p.passes();
    let q = Place::new(TOPOLOGY);
    q.edit("ip=\"127.0.0.1\"", "ip=\"127.0.0.3\"");
    q.commit("arnold");
    q.approve("build.start", "arnold").ends(0);
    q.approve("build.start", "behn").ends(0);
    q.refused("arnold is an author, so the signature does not count");
    q.approve("build.start", "celik").ends(0);
    q.passes();
}

/// Every byte of a record and of its signature: changed, it does not count, and the file is named.
#[test]
fn every_byte_of_a_record_is_guarded() {
    let p = Place::new(TOPOLOGY);
    p.approve("build.start", "arnold").ends(0);
    let files = p.records();
    assert_eq!(files.len(), 2, "{files:?}");
    let check = |file: &Path, bytes: &[u8]| {
        std::fs::write(file, bytes).unwrap();
        cutover::cli::records::Store::read(p.repo.path(), "acme")
    };
    let mut looked = 0;
    for file in &files {
        let whole = std::fs::read(file).unwrap();
        for at in 0..whole.len() {
            // Each byte once; the bit goes round, so that letters turn into others, digits into others, line ends into none.
            let mut changed = whole.clone();
            changed[at] ^= 1 << (at % 7);
            let store = check(file, &changed);
            assert!(store.records.is_empty(), "byte {at} of {}", file.display());
            assert!(store.broken.iter().any(|b| b.file.starts_with("records/production/build.start/")), "byte {at}");
            looked += 1;
        }
        for cut in [0, whole.len() / 2, whole.len() - 1] {
            assert!(check(file, &whole[..cut]).records.is_empty());
        }
        assert_eq!(check(file, &whole).records.len(), 1);
    }
    assert!(looked > 700, "{looked}");
    // In the command's words.
    let mut changed = std::fs::read_to_string(&files[0]).unwrap();
    changed = changed.replace("arnold", "celik_");
    std::fs::write(&files[0], changed).unwrap();
    p.run(&["records", "verify"]).ends(1).says("does not count").says("arnold-approval.json");
    p.refused("does not count");
}

#[test]
fn a_record_of_another_organisation_or_place_is_none() {
    let p = Place::new(TOPOLOGY);
    p.approve("build.start", "arnold").ends(0);
    for file in p.records() {
        let to = p.repo.path().join("records/production/build.ready").join(file.file_name().unwrap());
        std::fs::create_dir_all(to.parent().unwrap()).unwrap();
        std::fs::copy(&file, to).unwrap();
    }
    p.run(&["records", "verify"]).ends(1).says("it belongs to records/production/build.start");
    p.edit("organization acme", "organization other");
    p.run(&["records", "verify"]).ends(1).says("it is of organisation acme");
}

#[test]
fn without_gates_nothing_changes_and_a_whole_apply_of_a_protected_place_asks_all() {
    let p = Place::new(TOPOLOGY);
    let free = p.run(&["apply", "--env", "production", "--yes"]).ends(1);
    assert!(free.err.contains("could not ask"), "no phase, not protected: {free:#?}");
    p.edit("gate start at=entry { approval cab; }", "");
    p.passes();
}

#[test]
fn who_approved_does_not_apply_where_duties_are_kept_apart() {
    let p = Place::new(
        &TOPOLOGY.replace("quorum=2 {", "quorum=1 {").replace("approval cab;", "approval cab { not author applier; };"),
    );
    p.approve("build.start", "arnold").ends(0);
    p.apply().says("gate build.start wants to know who applies; nothing was changed");
    let as_ = |person: &str| {
        let key = p.key(person).display().to_string();
        p.run(&["apply", "--env", "production", "--phase", "build", "--yes", "--key", &key]).ends(1)
    };
    as_("arnold")
        .says("arnold must not apply what they wrote, tested or approved (gate build.start); nothing was changed");
    as_("eve").says("is the key of nobody in the topology");
    // A public key alone proves nothing.
    let public = p.repo.path().join("people/behn.pub").display().to_string();
    p.run(&["apply", "--env", "production", "--phase", "build", "--yes", "--key", &public])
        .ends(1)
        .says("ssh-keygen did not sign");
    as_("behn").says("could not ask");
}

#[test]
fn an_emergency_passes_by_one_signature_and_is_looked_at_afterwards() {
    let change = "runbook r { steps go; }\nchange now severity=minor urgency=emergency author=dorn rollout=r rollback=r { affects phase:build; approval cab; }\n";
    let p = Place::new(TOPOLOGY);
    let key = p.key("dorn").display().to_string();
    let emergency = [
        "apply",
        "--env",
        "production",
        "--phase",
        "build",
        "--yes",
        "--emergency",
        "mail stands still",
        "--key",
        &key,
    ];
    p.run(&emergency).ends(1).says("no change with urgency=emergency affects phase build");
    p.repo.write("topology.kdl", &format!("{TOPOLOGY}{change}"));
    p.commit("dorn");
    p.run(&emergency).ends(1).says("nobody who may has signed for gate build.start");
    p.approve("build.start", "arnold").ends(0);
    let run = p.run(&emergency).ends(1);
    assert!(run.err.contains("could not ask"), "{run:#?}");
}
