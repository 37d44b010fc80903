//! Lists of accounts: what they come to, what is wrong with them, and hashes of the old side as Dovecot takes them.

#![allow(clippy::unwrap_used)] // a test that cannot go on fails

use std::process::Command;

use cutover::model::attr::SecretRef;
use cutover::secret::{Resolve as _, Resolver, Settings};

use crate::cli::Sandbox;
use crate::packs::Story;

const HEAD: &str = "language 1\norganization acme domain=acme.test\nsite s\nplatform open postfix=\"3.7\" dovecot=\"2.3\"\n\
server mail-1 platform=open site=s ip=\"192.0.2.11\" { roles imap smtp; }\naccepted-domain acme.test default=#true\n\
certificate tls subject=mail-1.acme.test issuer=internal { on mail-1; services imap smtp; }\n";

fn world(node: &str, lists: &[(&str, &str)]) -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.write("topology.kdl", &format!("{HEAD}{node}\n"));
    lists.iter().for_each(|(name, text)| sandbox.write(name, text));
    sandbox
}

#[test]
fn rows_become_mailboxes_aliases_and_groups() {
    let csv = "mail,quota,aliases,forward,keep-copy,members,password\n\
               Ann@acme.test,2GiB,ann.berg@acme.test;aberg@acme.test,,,,import\n\
               bob@acme.test,,,bob@elsewhere.example,yes,,\n\
               cem@acme.test,,,cem@elsewhere.example,,,\n\
               all@acme.test,,everybody@acme.test,,,\"ann@acme.test, bob@acme.test cem@acme.test\",\n";
    let node = "accounts staff on=mail-1 csv=\"users/staff.csv\" quota=\"1GiB\" hashes=(secret)\"file:old.passwd\"\n\
                legacy old product=dovecot host=old.acme.test { services imap; }\n\
                migration away strategy=big-bang from=old to=open\n\
                cohort everyone migration=away type=pilot { select { group \"all@acme.test\"; }; }\n\
                cohort others migration=away type=rest";
    let listed = world(node, &[("users/staff.csv", csv)]).run(&["cohort", "list"]).ends(0);
    assert!(listed.out.contains("everyone         pilot        3 people"), "{}", listed.out);
    assert!(listed.out.contains("others           rest         0 people"), "{}", listed.out);
    let low = story(node).file("users/staff.csv", csv).lower().clean();
    let shown = low.content("server.mail-1/file:/etc/postfix/virtual");
    for line in [
        "ann.berg@acme.test ann@acme.test",
        "aberg@acme.test ann@acme.test",
        "bob@acme.test bob@acme.test, bob@elsewhere.example",
        "cem@acme.test cem@elsewhere.example",
        "all@acme.test ann@acme.test, bob@acme.test, cem@acme.test",
        "everybody@acme.test all@acme.test",
    ] {
        assert!(shown.lines().any(|l| l == line), "{line}\n{shown}");
    }
    let account = |who: &str| low.resource(&format!("server.mail-1/mail-account:{who}"));
    let quota = |who: &str| account(who).attrs.get("quota").map(ToString::to_string);
    assert_eq!(quota("ann@acme.test").as_deref(), Some("2147483648"));
    assert_eq!(quota("bob@acme.test").as_deref(), Some("1073741824"));
    assert_eq!(account("bob@acme.test").owner, "accounts:staff");
    let password = |who: &str| {
        let shown = low.site.bodies.values().filter_map(|b| b.shown()).collect::<Vec<_>>();
        shown.into_iter().find(|s| s.contains(who)).unwrap_or_default()
    };
    assert_eq!(password("ann@acme.test="), "(secret imported-hash:ann@acme.test=file:old.passwd)");
}

#[test]
fn a_directorys_export_is_read() {
    let ldif = "version: 1\n\ndn: CN=Ann Berg,OU=Staff,DC=acme,DC=test\nobjectClass: user\nmail: ann@acme.test\nproxyAddresses: SMTP:ann@acme.test\n\
                proxyAddresses: smtp:ann.berg@acme.test\nproxyAddresses: X400:c=DE;a= ;p=acme\nmailQuota: 1073741824\n\n\
                dn: CN=Printers,DC=acme,DC=test\nobjectClass: device\ncn: Printers\n\n\
                dn: CN=Team, OU=Staff, DC=acme,DC=test\nobjectClass: group\nmail: team@acme.test\nmember: cn=ann berg,ou=staff,dc=acme,dc=test\n";
    let low = story("accounts staff on=mail-1 ldif=\"staff.ldif\"").file("staff.ldif", ldif).lower().clean();
    let shown = low.content("server.mail-1/file:/etc/postfix/virtual");
    for line in ["ann.berg@acme.test ann@acme.test", "team@acme.test ann@acme.test"] {
        assert!(shown.lines().any(|l| l == line), "{line}\n{shown}");
    }
    assert!(!shown.to_lowercase().contains("x400"), "{shown}");
    assert!(
        low.has("server.mail-1/mail-account:ann@acme.test") && !low.has("server.mail-1/mail-account:team@acme.test")
    );
}

/// The same without the program.
fn story(node: &str) -> Story {
    Story::new("").file("topology.kdl", &format!("{HEAD}{node}\n"))
}

/// Signs that RFC 5322 allows in a local part and that mean something elsewhere.
#[test]
fn odd_local_parts_are_people_like_others_or_refused() {
    let node = "accounts staff on=mail-1 csv=\"staff.csv\" hashes=(secret)\"file:old.passwd\"";
    let low = story(node).file("staff.csv", "mail,password\nc=d@acme.test,import\n").lower().clean();
    let said = low.site.bodies.values().filter_map(|b| b.shown()).collect::<String>();
    assert!(said.contains("imported-hash:c=d@acme.test=file:old.passwd"), "{said}");
    let low = story(node).file("staff.csv", "mail\n../../etc@acme.test\n..@acme.test\n").lower();
    let said = low.said();
    assert_eq!(said.matches("its name would be a path").count(), 2, "{said}");
}

#[test]
fn every_wrong_row_is_named() {
    let csv = "mail,quota,password,keep-copy\nann@acme.test,,,\nANN@acme.test,,,\nnobody,,,\nbob@acme.test,much,,\ncem@acme.test,,guess,\n\
               dan@acme.test,,import,\neve@acme.test,,,\nkim@acme.test,,,\n";
    let node = "accounts staff on=mail-1 csv=\"staff.csv\" { gone eve@acme.test; }\naccounts more on=mail-1 csv=\"gone.csv\"\naccounts none on=mail-1\n\
                mail-account kim@acme.test on=mail-1 password=(secret)\"env:KIM\"";
    let said = world(node, &[("staff.csv", csv)]).run(&["check"]);
    assert_eq!(said.code, 1, "{said:?}");
    // Long lines are broken for people.
    let words = format!("{} {}", said.out, said.err);
    let words = words.split_whitespace().filter(|w| *w != "│").collect::<Vec<_>>().join(" ");
    for text in [
        "staff.csv, line 3: ann@acme.test is in staff.csv, line 2 already",
        "staff.csv, line 4: `nobody` is no mail address",
        "staff.csv, line 5: `much` is no quota",
        "staff.csv, line 6: password is `import` or `reset`, not `guess`",
        "staff.csv, line 7: the password of dan@acme.test comes from nowhere",
        "staff.csv, line 8: eve@acme.test is in the list and among `gone`",
        "staff.csv, line 9: kim@acme.test is in mail-account kim@acme.test already",
        "gone.csv: cannot be read",
        "accounts none names no list",
    ] {
        assert!(words.contains(text), "{text}\n{}{}", said.out, said.err);
    }
}

/// What `doveadm pw` makes, in the lines of a passwd-file, logs the same password in; and what crypt(3) makes, without its scheme.
#[tokio::test]
async fn dovecot_takes_the_hashes_of_the_old_side() {
    let doveadm = |args: &[&str]| {
        let out = Command::new("doveadm").args(args).output().expect("doveadm (apt-get install dovecot-core)");
        (out.status.success(), String::from_utf8_lossy(&out.stdout).trim().to_owned())
    };
    let dir = tempfile::tempdir().unwrap();
    let schemes = [
        "SHA512-CRYPT",
        "SHA256-CRYPT",
        "BLF-CRYPT",
        "SSHA",
        "SSHA256",
        "SSHA512",
        "MD5-CRYPT",
        "PBKDF2",
        "ARGON2ID",
        "PLAIN",
    ];
    let mut lines = String::from("# from the old side\n");
    for scheme in schemes {
        let (made, hash) = doveadm(&["pw", "-s", scheme, "-p", "correct horse", "-u", "x"]);
        assert!(made, "{scheme}");
        lines += &format!("{}@acme.test:{hash}:1000:1000::/home/x::\n", scheme.to_lowercase());
        // As shadow(5) has it.
        if scheme.ends_with("CRYPT") {
            lines +=
                &format!("bare-{}:{}:19000:0:99999:7:::\n", scheme.to_lowercase(), hash.split_once('}').unwrap().1);
        }
    }
    std::fs::write(dir.path().join("old.passwd"), lines).unwrap();
    let resolver = Resolver::new(Settings::new(dir.path()));
    let of = |user: String| SecretRef(format!("imported-hash:{user}=file:old.passwd"));
    let bare = ["SHA512-CRYPT", "SHA256-CRYPT", "BLF-CRYPT", "MD5-CRYPT"].map(|s| format!("bare-{}", s.to_lowercase()));
    for name in schemes.map(str::to_lowercase).into_iter().chain(bare) {
        let hash = resolver.secret(&of(format!("{name}@acme.test"))).await.unwrap();
        let hash = cutover::secret::ExposeSecret::expose_secret(&hash).to_owned();
        assert!(doveadm(&["pw", "-t", &hash, "-p", "correct horse"]).0, "{name}");
        assert!(!doveadm(&["pw", "-t", &hash, "-p", "wrong"]).0, "{name}");
        assert!(!resolver.scrub(&format!("it said {hash}")).contains(&hash), "{name} is hidden");
    }
    let missing = resolver.secret(&of("dan@acme.test".into())).await.unwrap_err();
    assert!(missing.to_string().contains("no line of dan@acme.test"), "{missing}");
}

/// What moves people by lists: a content service, and cohorts that name nobody by address.
fn lists(cohorts: &str) -> String {
    format!(
        "server gate platform=open site=s ip=\"192.0.2.12\" {{ roles migration; }}\naccounts staff on=mail-1 csv=\"staff.csv\"\n\
         legacy old product=dovecot host=old.acme.test master-user=mover admin=(secret)\"env:OLD\" {{ services imap; }}\n\
         cms mover from=old to=mail-1 extractor=imap importer=imap password=(secret)\"env:CMS\" {{ on gate; items messages; }}\n\
         migration away strategy=phased from=old to=platform:open cms=mover\n{cohorts}"
    )
}

const STAFF: &str = "mail,members\nann@acme.test,\nbob@acme.test,\ncem@acme.test,\ndan@acme.test,\neve@acme.test,\n\
                     team@acme.test,bob@acme.test ann@acme.test\n";
const EXPORT: &str = "dn: cn=Fay\nmail: Fay@acme.test\ndepartment: Sales\n\ndn: cn=Gil\nmail: gil@acme.test\ndepartment: Works\n\n\
                      dn: cn=Ida\nmail: ida@acme.test\ndepartment: Sales\nuserAccountControl: 514\n";

#[test]
fn the_content_service_has_everybody_of_its_cohorts_however_they_are_named() {
    let node = lists(
        "cohort pilot migration=away type=pilot { select { group team@acme.test; }; }\n\
         cohort listed migration=away type=wave { select { csv \"wave.csv\"; }; exclude { csv \"left.csv\"; }; }\n\
         cohort sales migration=away type=wave {\n    select { ldif \"ad.ldif\"; ldap \"(department=sales)\"; }\n    \
         exclude { ldif \"ad.ldif\"; ldap \"(userAccountControl:1.2.840.113556.1.4.803:=2)\"; reason \"left\"; }\n}\n\
         cohort others migration=away type=rest { exclude { users eve@acme.test; }; }\n",
    );
    let low = story(&node)
        .file("staff.csv", STAFF)
        .file("ad.ldif", EXPORT)
        .file("wave.csv", "mail\ncem@acme.test\nhal@acme.test\nkim@acme.test\n")
        .file("left.csv", "kim@acme.test\n")
        .lower()
        .clean();
    let moved = low.content("server.gate/file:/etc/cutover-cms/mailboxes.csv");
    let expected = ["ann", "bob", "cem", "dan", "fay", "hal"].map(|n| format!("{n}@acme.test\n")).concat();
    assert_eq!(moved, format!("user\n{expected}"));
}

#[test]
fn a_customer_organisation_is_everybody_with_an_account_in_its_domains() {
    let node = "accepted-domain guest.test\ntenant guest { domains guest.test; }\n\
                accounts staff on=mail-1 csv=\"staff.csv\"\nlegacy old product=dovecot host=old.acme.test { services imap; }\n\
                migration away strategy=phased from=old to=platform:open\n\
                cohort theirs migration=away type=pilot { select { tenant guest; }; }";
    let staff = "mail\nann@acme.test\nbo@guest.test\ncy@GUEST.test\ndi@sub.guest.test\n";
    let listed = world(node, &[("staff.csv", staff)]).run(&["cohort", "list"]).ends(0);
    assert!(listed.out.contains("theirs           pilot        2 people"), "{}", listed.out);
}

#[test]
fn a_filter_that_cannot_be_asked_is_an_error_with_its_place() {
    let cohort = |select: &str| format!("cohort one migration=away type=pilot {{ select {{ {select}; }}; }}\n");
    for (select, says) in [
        ("ldif \"ad.ldif\"; ldap \"(mail=\"", "the filter `(mail=` cannot be asked: it is no filter"),
        ("ldif \"ad.ldif\"; ldap \"(ou:dn:=Sales)\"", "parts of names (:dn:) are not looked at here"),
        ("ldif \"none.ldif\"", "none.ldif: cannot be read"),
        ("ldif \"bad.ldif\"", "bad.ldif, line 1"),
    ] {
        let files = [("staff.csv", STAFF), ("ad.ldif", EXPORT), ("bad.ldif", "no entry\n")];
        world(&lists(&cohort(select)), &files).run(&["check"]).ends(1).says("E1042").says(says);
    }
}

#[test]
fn what_a_limit_leaves_is_for_the_rest_and_an_exclusion_is_not() {
    let cohorts = "cohort first migration=away type=pilot {\n    select { csv \"staff.csv\"; limit 2; }\n    exclude { users ann@acme.test; }\n}\n\
                   cohort others migration=away type=rest\n";
    let listed = world(&lists(cohorts), &[("staff.csv", STAFF), ("ad.ldif", EXPORT)]).run(&["cohort", "list"]).ends(0);
    assert!(listed.out.contains("first            pilot        1 people"), "{}", listed.out);
    // Five accounts: ann is taken out for a reason, bob moves first.
    assert!(listed.out.contains("others           rest         3 people"), "{}", listed.out);
}

#[test]
fn a_phase_moves_nobody_while_it_is_not_known_who_they_are() {
    let phase =
        "environment production purpose=production\nphase one step=pilot environment=production { migrates sales; }\n";
    for (select, says) in
        [("ldap \"(mail=*)\"", "there is no export of a directory"), ("group nobody@acme.test", "that no list knows")]
    {
        let cohort = format!("cohort sales migration=away type=pilot {{ select {{ {select}; }}; }}\n{phase}");
        let node = lists(&cohort).replace("strategy=phased", "strategy=phased coexistence=native");
        let s = world(&node, &[("staff.csv", STAFF), ("ad.ldif", EXPORT)]);
        s.run(&["check"]).ends(0);
        s.run(&["cohort", "status", "sales"]).ends(1).says(says);
        let mut plan = s.command(&["plan", "--env", "production", "--phase", "one"]);
        plan.envs([("CMS", "mover"), ("OLD", "master")]);
        crate::cli::finish(plan).ends(1).says(says);
    }
}

/// Whom nothing can name yet may be of another cohort: nobody is left for the rest before that is known.
#[test]
fn the_rest_is_not_known_while_another_cohort_is_not() {
    let phase = "environment production purpose=production\nphase last step=pilot environment=production { migrates others; }\n";
    for (select, lacks) in [
        ("ldap \"(mail=*)\"", "there is no export of a directory"),
        ("group board@acme.test", "by a `group` that no list knows: board@acme.test"),
    ] {
        let cohorts = format!(
            "cohort board migration=away type=pilot {{ select {{ {select}; }}; }}\ncohort others migration=away type=rest\n{phase}"
        );
        let node = lists(&cohorts).replace("strategy=phased", "strategy=phased coexistence=native");
        let s = world(&node, &[("staff.csv", STAFF)]);
        let listed = s.run(&["cohort", "list"]).ends(0);
        let rest = listed.out.split("others ").nth(1).unwrap();
        assert!(rest.contains("of cohort board names"), "{}", listed.out);
        let says = format!("who is left for cohort others is not known: cohort board names people {lacks}");
        let says =
            if select.starts_with("ldap") { "who is left for cohort others is not known".to_owned() } else { says };
        s.run(&["cohort", "rollback", "others"]).ends(1).says(&says);
        planned(&s, "last").ends(1).says(&says);
    }
}

fn planned(s: &Sandbox, phase: &str) -> crate::cli::Run {
    let mut plan = s.command(&["plan", "--env", "production", "--phase", phase]);
    plan.envs([("CMS", "mover"), ("OLD", "master")]);
    crate::cli::finish(plan)
}

/// A cohort of the rest with lines of its own takes of them whom no other takes.
#[test]
fn the_rest_of_a_list_is_without_those_of_other_cohorts() {
    let cohorts = "cohort first migration=away type=pilot { select { users ann@acme.test; }; }\n\
                   cohort others migration=away type=rest { select { csv \"wave.csv\"; }; }\n";
    let files = [("staff.csv", STAFF), ("wave.csv", "mail\nann@acme.test\nbob@acme.test\n")];
    let listed = world(&lists(cohorts), &files).run(&["cohort", "list"]).ends(0);
    assert!(listed.out.contains("others           rest         1 people"), "{}", listed.out);
}

#[test]
fn who_is_in_two_cohorts_by_lists_is_moved_by_neither() {
    let cohorts = "cohort team migration=away type=pilot { select { group team@acme.test; }; }\n\
                   cohort listed migration=away type=wave { select { csv \"wave.csv\"; }; }\n\
                   cohort sales migration=away type=wave { select { ldif \"ad.ldif\"; ldap \"(department=sales)\"; }; }\n\
                   environment production purpose=production\n\
                   phase one step=pilot environment=production { migrates team; }\n\
                   phase two step=deploy environment=production { after one; migrates listed; }\n";
    let node = lists(cohorts).replace("strategy=phased", "strategy=phased coexistence=native");
    let s = world(
        &node,
        &[("staff.csv", STAFF), ("ad.ldif", EXPORT), ("wave.csv", "mail\nann@acme.test\nbob@acme.test\n")],
    );
    let says = "ann@acme.test, bob@acme.test are in cohort listed and in team";
    s.run(&["cohort", "list"]).ends(1).says(says);
    for phase in ["one", "two"] {
        planned(&s, phase).ends(1).says(says);
    }
}

#[test]
fn aliases_of_a_group_are_people_and_who_has_no_account_is_told() {
    let staff = "mail,aliases,members\nann@acme.test,ann.berg@acme.test aberg@acme.test,\nbob@acme.test,,\n\
                 team@acme.test,crew@acme.test,Ann.Berg@acme.test guest@elsewhere.example bob@acme.test eve@acme.test aberg@acme.test\n";
    let cohorts = "cohort team migration=away type=pilot { select { group crew@acme.test; }; }\n\
                   cohort listed migration=away type=wave { select { group team@acme.test; csv \"eve.csv\"; }; exclude { users ann@acme.test bob@acme.test; }; }\n";
    let s = world(&lists(cohorts), &[("staff.csv", staff), ("eve.csv", "eve@acme.test\n")]);
    let listed = s.run(&["cohort", "list"]).ends(0);
    assert!(listed.out.contains("team             pilot        2 people"), "{}", listed.out);
    assert!(
        listed.out.contains(
            "without 2 of group crew@acme.test, not among the accounts of staff: eve@acme.test, guest@elsewhere.example"
        ),
        "{}",
        listed.out
    );
    assert!(
        listed.out.contains("listed           wave         1 people"),
        "a list means whom it names: {}",
        listed.out
    );
}

#[test]
fn entries_without_a_usable_address_are_counted_and_named() {
    let ldif = "dn: cn=Fay\nobjectClass: person\nmail: fay@acme.test\ndepartment: Sales\n\n\
                dn: cn=Gil\nobjectClass: person\ndepartment: Sales\n\n\
                dn: cn=Hal\nobjectClass: user\nmail: hal at acme\ndepartment: Sales\n\n\
                dn: cn=Ida\nobjectClass: inetOrgPerson\ndepartment: Works\n\n\
                dn: cn=PC-1\nobjectClass: user\nobjectClass: computer\ndepartment: Sales\n\n\
                dn: ou=Sales\nobjectClass: organizationalUnit\ndepartment: Sales\n";
    let cohorts =
        "cohort sales migration=away type=pilot { select { ldif \"ad.ldif\"; ldap \"(department=sales)\"; }; }\n";
    let s = world(&lists(cohorts), &[("staff.csv", STAFF), ("ad.ldif", ldif)]);
    let listed = s.run(&["cohort", "list"]).ends(0);
    assert!(listed.out.contains("sales            pilot        1 people"), "{}", listed.out);
    assert!(
        listed.out.contains("without 2 entries of ad.ldif that have no usable address: cn=Gil; cn=Hal"),
        "{}",
        listed.out
    );
    let json: serde_json::Value =
        serde_json::from_str(&s.run(&["cohort", "list", "--format", "json"]).ends(0).out).unwrap();
    assert_eq!(json[0]["unaddressed"], serde_json::json!([{"list": "ad.ldif", "entries": ["cn=Gil", "cn=Hal"]}]));
}
