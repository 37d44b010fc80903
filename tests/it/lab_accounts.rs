//! Sixty people of a list on a real server: they log in with the passwords that they have, their aliases, groups and forwarders work, and
//! nobody loses a mailbox because a list has become shorter.

use std::fmt::Write as _;

use crate::cli::{Sandbox, finish};
use crate::lab_auth::{server, until};
use crate::support::lab::Lab;

const PEOPLE: usize = 60;

/// Rows of all but the first `without`; half of the people keep their passwords.
fn list(without: usize) -> String {
    let mut csv = "mail,aliases,forward,keep-copy,members,password\n".to_owned();
    for n in without..PEOPLE {
        let how = if n % 2 == 0 { "import" } else { "reset" };
        let forward = if n == 3 { ",u5@acme.test,yes" } else { ",," };
        let _ = writeln!(csv, "u{n}@acme.test,person.{n}@acme.test{forward},,{how}");
    }
    csv + "team@acme.test,,,,u10@acme.test u11@acme.test,\n"
}

#[test]
fn lab_accounts_of_a_list() {
    let Some(lab) = Lab::new("people").host("mail").up() else { return };
    let box_ = Sandbox::new();
    let topology = |gone: &str| {
        format!(
            "language 1\norganization acme domain=acme.test\nsite s\nplatform open postfix=\"3.7\" dovecot=\"2.3\"\n{}\
             accepted-domain acme.test default=#true\n\
             certificate tls subject=mail.acme.test issuer=internal {{ on mail; services imap smtp; }}\n\
             accounts staff on=mail csv=\"users/staff.csv\" quota=\"50MiB\" hashes=(secret)\"file:keys/old.passwd\" {{ {gone} }}\n",
            server(&lab, "mail", "open", "imap smtp"),
        )
    };
    let mut passwd = String::new();
    for n in (0..PEOPLE).step_by(2) {
        let hash =
            cutover::secret::crypt::sha512_crypt(format!("old-{n}").as_bytes(), &format!("salt {n}")).expect("hash");
        // As shadow(5) has it: without scheme and domain.
        let _ = writeln!(passwd, "u{n}:{}:19000:0:99999:7:::", hash.trim_start_matches("{SHA512-CRYPT}"));
    }
    box_.write("keys/old.passwd", &passwd);
    box_.write("users/staff.csv", &list(0));
    box_.write("topology.kdl", &topology(""));
    let run = |args: &[&str]| finish(box_.command(args));
    let plan = run(&["plan"]).ends(0).says("accounts staff: 60 mailboxes; passwords: 30 imported, 30 made here");
    assert!(!plan.out.contains("$6$") && !plan.err.contains("$6$"), "{plan:?}");
    run(&["apply", "--yes"]).ends(0).says("done in");
    run(&["plan", "--detailed-exitcode"]).ends(0).says("Nothing to do");

    let login = |user: &str, password: &str| {
        lab.try_sh("mail", &format!("doveadm auth test {user} '{password}'")).status.success()
    };
    assert!(login("u0@acme.test", "old-0") && login("u58@acme.test", "old-58"), "their old passwords");
    assert!(!login("u0@acme.test", "old-2") && !login("u1@acme.test", "old-1"));
    let made = box_.read(".cutover/acme/default/secrets/account-u1@acme.test");
    assert!(login("u1@acme.test", made.trim()), "the password that was made");

    let send =
        |to: &str| lab.sh("mail", &format!("printf 'Subject: to {to}\\n\\nhello\\n' | sendmail -f x@acme.test {to}"));
    let has = |user: &str, to: &str| format!("grep -rqs '^Subject: to {to}' /var/vmail/acme.test/{user}");
    for (to, users) in
        [("person.7@acme.test", &["u7"][..]), ("team@acme.test", &["u10", "u11"]), ("u3@acme.test", &["u3", "u5"])]
    {
        send(to);
        users.iter().for_each(|user| until(&lab, "mail", &has(user, to)));
    }

    // A list that was cut short costs nobody the mailbox; who is said to be gone goes.
    box_.write("users/staff.csv", &list(4));
    run(&["plan"]).ends(0).says("u2@acme.test").says("stays: no list names it any more");
    run(&["apply", "--yes"]).ends(0);
    assert!(login("u0@acme.test", "old-0"));
    box_.write("topology.kdl", &topology("gone u0@acme.test"));
    run(&["apply", "--yes"]).ends(0);
    assert!(!login("u0@acme.test", "old-0") && login("u2@acme.test", "old-2"));

    // A new hash of the old side is taken over; one that is missing is named, and nothing is changed.
    let changed = cutover::secret::crypt::sha512_crypt(b"changed", "x").expect("hash");
    box_.write("keys/old.passwd", &format!("{passwd}u4@acme.test:{changed}\n"));
    run(&["apply", "--yes"]).ends(0);
    assert!(login("u4@acme.test", "changed") && !login("u4@acme.test", "old-4"));
    box_.write("keys/old.passwd", "u4:x\n");
    let refused = run(&["apply", "--yes"]).ends(1);
    assert!(refused.err.contains("u6@acme.test") && refused.err.contains("has no line of"), "{}", refused.err);
    assert!(login("u6@acme.test", "old-6"));
}
