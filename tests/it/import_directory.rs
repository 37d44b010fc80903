//! `cutover import directory`: everybody or nothing, never a password where it has no place. What needs a directory is called by the tests
//! of the proxy's lookups, which have one (`lab_proxy_slapd`, `lab_proxy_active_directory`).

#![allow(clippy::unwrap_used)] // a test that cannot go on fails

use std::fmt::Write as _;
use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::cli::{Run, Sandbox, finish};
use crate::support::directories::Directory;
use crate::support::lab::Lab;

const PEOPLE: usize = 5200;

fn topology(url: &str, of: &Directory) -> String {
    format!(
        "language 1\norganization acme domain=acme.test\nsite s\nplatform open postfix=\"3.7\" dovecot=\"2.3\"\n\
         server mail platform=open site=s ip=\"192.0.2.11\" {{ roles imap smtp; }}\naccepted-domain acme.test default=#true\n\
         certificate tls subject=mail.acme.test issuer=internal {{ on mail; services imap smtp; }}\n\
         legacy old product=dovecot host=old.acme.test {{ services imap; }}\nmigration away strategy=phased from=old to=platform:open\n\
         directory corp type=ldap url=\"{url}\" base=\"{}\" bind-dn=\"{}\" bind=(secret)\"env:BIND\" ca=\"ca.pem\"\n\
         // extra\n",
        of.base, of.reader
    )
}

fn world(url: &str, of: &Directory) -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.write("topology.kdl", &topology(url, of));
    sandbox.write("ca.pem", &of.ca);
    sandbox
}

fn import(sandbox: &Sandbox, of: &Directory, args: &[&str]) -> Run {
    let mut command = sandbox.command(&[&["import", "directory", "corp"], args].concat());
    command.env("BIND", of.password);
    let run = finish(command);
    assert!(!run.out.contains(of.password) && !run.err.contains(of.password), "{run:?}");
    run
}

/// Passes so many octets of the server's answers, then cuts the line.
fn cut_after(server: String, mut octets: usize) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        let (mut client, _) = listener.accept().unwrap();
        let mut server = TcpStream::connect(server).unwrap();
        let (mut from, mut to) = (client.try_clone().unwrap(), server.try_clone().unwrap());
        std::thread::spawn(move || std::io::copy(&mut from, &mut to));
        let mut buffer = [0; 4096];
        while octets > 0 {
            let some = server.read(&mut buffer).unwrap().min(octets);
            client.write_all(&buffer[..some]).unwrap();
            octets -= some;
        }
        let _ = (client.shutdown(Shutdown::Both), server.shutdown(Shutdown::Both));
    });
    port
}

/// OpenLDAP with many people: pages, its size limit, a cut line, names of two scripts, hashes, and the lists that come of it.
pub fn of_slapd(lab: &Lab, host: &str, of: &Directory) {
    let mut people = String::new();
    for n in 0..PEOPLE {
        let name = STANDARD.encode(if n % 2 == 0 {
            "J\u{fc}rgen Gro\u{df}"
        } else {
            "\u{645}\u{631}\u{6cc}\u{645} \u{628}\u{647}\u{631}\u{627}\u{645}\u{6cc}"
        });
        let _ = write!(
            people,
            "dn: uid=p{n},ou=people,dc=acme,dc=test\nobjectClass: inetOrgPerson\nuid: p{n}\ncn:: {name}\nsn: x\nmail: p{n}@acme.test\n\
             userPassword: {{SSHA}}canary{n}=\njpegPhoto:: /9j/4AD/\nroomNumber: {}\n\n",
            n % 9
        );
        // A line of a shell is bounded.
        if people.len() > 90_000 || n + 1 == PEOPLE {
            lab.sh(host, &format!("cat >>/root/people.ldif <<'X'\n{people}X"));
            people.clear();
        }
    }
    let modify = "ldapmodify -Q -Y EXTERNAL -H ldapi:/// >/dev/null";
    lab.sh(host, "systemctl stop slapd; slapadd -q -l /root/people.ldif >/dev/null 2>&1; chown -R openldap: /var/lib/ldap; systemctl start slapd");
    let ip = lab.ip(host);
    let sandbox = world(&format!("ldaps://{ip}"), of);
    sandbox.write("users/corp.ldif", "dn: cn=before\nmail: before@acme.test\n");
    let out = ["--filter", "(mail=p*)", "--out", "users/corp.ldif", "--force"];
    let stays = || assert!(sandbox.read("users/corp.ldif").contains("before@acme.test"), "the old file stays");
    // Out of the box slapd ends after 500 entries: what came until then is not the directory.
    import(&sandbox, of, &out).ends(1).says("size limit ended the search").says("nothing was written");
    stays();
    lab.sh(host, &format!("{modify} <<'X'\ndn: olcDatabase={{1}}mdb,cn=config\nchangetype: modify\nadd: olcLimits\nolcLimits: dn.exact=\"{}\" size.prtotal=unlimited\n-\nadd: olcAccess\nolcAccess: {{0}}to attrs=userPassword by dn.exact=\"{}\" read by anonymous auth\nX", of.reader, of.reader));
    // Others: an authority that signed nothing here, a wrong password, a line that is cut, an address without TLS.
    sandbox.write("other.pem", &crate::lab_proxy_directory::rcgen_ca());
    import(&sandbox, of, &[&out[..], &["--ca", "other.pem"]].concat()).ends(1).says("could not be asked").says("--ca");
    let wrong = Directory { ca: of.ca.clone(), base: of.base, reader: of.reader, password: "not-it-at-all" };
    import(&sandbox, &wrong, &out).ends(1).says("result 49");
    for octets in [3000, 200_000] {
        let port = cut_after(format!("{ip}:389"), octets);
        sandbox.write("topology.kdl", &topology(&format!("ldap://127.0.0.1:{port}"), of));
        import(&sandbox, of, &[&out[..], &["--plain"]].concat()).ends(1).says("could not be asked");
    }
    stays();
    // All of them, by StartTLS and by LDAPS: the same file.
    sandbox.write("topology.kdl", &topology(&format!("ldap://{ip}"), of));
    import(&sandbox, of, &out).ends(0).says("5200 entries, 5200 with an address").says("5200 new, 1 gone, 0 changed");
    let first = sandbox.read("users/corp.ldif");
    sandbox.write(
        "topology.kdl",
        &(topology(&format!("ldaps://{ip}"), of)
            + "accounts staff on=mail ldif=\"users/corp.ldif\" passwords=import hashes=(secret)\"file:keys/corp.passwd\"\n\
               cohort four migration=away type=pilot { select { ldap \"(roomNumber=4)\"; }; }\n\
               cohort others migration=away type=rest\n"),
    );
    // A filter of the topology looks at roomNumber, so that it is asked for, too.
    import(&sandbox, of, &[&out[..], &["--hashes", "keys/corp.passwd"]].concat())
        .ends(0)
        .says("0 new, 0 gone, 5200 changed")
        .says("5200 written, 0 people show none");
    let second = sandbox.read("users/corp.ldif");
    assert_eq!(
        second.lines().filter(|l| !l.starts_with("roomNumber: ")).collect::<Vec<_>>(),
        first.lines().collect::<Vec<_>>()
    );
    assert!(!second.contains("canary") && !second.contains(&STANDARD.encode("{SSHA}canary1=")), "no password");
    let hashes = sandbox.read("keys/corp.passwd");
    assert!(hashes.contains("p7@acme.test:{SSHA}canary7=\n") && hashes.lines().count() == PEOPLE);
    use std::os::unix::fs::PermissionsExt as _;
    let mode = std::fs::metadata(sandbox.path().join("keys/corp.passwd")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let listed = sandbox.run(&["cohort", "list"]).ends(0);
    let fours = (0..PEOPLE).filter(|n| n % 9 == 4).count();
    assert!(
        listed.out.contains(&format!("{fours} people")) && listed.out.contains(&format!("{} people", PEOPLE - fours)),
        "{}",
        listed.out
    );
    // What is another since: names in both scripts as people read them.
    import(&sandbox, of, &["--filter", "(mail=p*)", "--check", "users/corp.ldif"])
        .ends(0)
        .says("0 new, 0 gone, 0 changed");
    lab.sh(host, &format!("ldapmodify -x -H ldapi:/// -D cn=admin,dc=acme,dc=test -w Sehr-Geheim-77 >/dev/null <<'X'\ndn: uid=p1,ou=people,dc=acme,dc=test\nchangetype: delete\n\ndn: uid=p2,ou=people,dc=acme,dc=test\nchangetype: modify\nreplace: mail\nmail: p2.neu@acme.test\n\ndn:: {}\nchangetype: add\nobjectClass: inetOrgPerson\nuid: zahra\ncn: Zahra\nsn: Z\nmail: pz@acme.test\nX", STANDARD.encode("cn=\u{632}\u{647}\u{631}\u{627},ou=people,dc=acme,dc=test")));
    import(&sandbox, of, &["--filter", "(mail=p*)", "--check", "users/corp.ldif"])
        .ends(2)
        .says("+ pz@acme.test (cn=")
        .says("- p1@acme.test (uid=p1,ou=people,dc=acme,dc=test)")
        .says("~ p2.neu@acme.test (uid=p2,ou=people,dc=acme,dc=test): mail")
        .says("1 new, 1 gone, 1 changed");
    assert_eq!(sandbox.read("users/corp.ldif"), second, "a check writes nothing");
    import(&sandbox, of, &["--filter", "(mail=nobody*)", "--out", "none.ldif"]).ends(1).says("shows nobody");
    import(&sandbox, of, &["--base", "dc=nowhere,dc=test", "--out", "none.ldif"]).ends(1).says("could not be asked");
    import(&sandbox, of, &["--filter", "(mail=", "--out", "none.ldif"]).ends(1).says("no filter of RFC 4515");
}

/// Active Directory: more people than one answer holds, a group whose members come in parts, referrals told.
pub fn of_active_directory(lab: &Lab, host: &str, of: &Directory) {
    let sandbox = world(&format!("ldaps://{}", lab.ip(host)), of);
    let out = ["--out", "users/ad.ldif", "--force"];
    import(&sandbox, of, &out).ends(0).says("not followed: the directory refers to ldap");
    let found = sandbox.read("users/ad.ldif");
    assert!(found.contains("mail: bob@acme.test") && found.contains("sAMAccountName: bob"), "{found}");
    // A part is asked for; the others follow.
    let group = ["--filter", "(cn=moved)", "--attribute", "member;range=0-0"];
    lab.sh(host, "samba-tool group addmembers moved ann,cem >/dev/null");
    import(&sandbox, of, &[&group[..], &out[..]].concat()).ends(0);
    lab.sh(host, "samba-tool group removemembers moved ann,cem >/dev/null");
    let found = sandbox.read("users/ad.ldif");
    assert_eq!(found.lines().filter(|l| l.starts_with("member: ")).count(), 3, "{found}");
    import(&sandbox, of, &["--hashes", "keys/ad.passwd"]).ends(0).says("0 written");
}

#[test]
fn what_cannot_be_asked_is_an_error_and_the_file_stays() {
    let of = Directory {
        ca: crate::lab_proxy_directory::rcgen_ca(),
        base: "dc=acme,dc=test",
        reader: "cn=reader",
        password: "canary-pw-1",
    };
    // A port where nobody is, and one that takes the connection and says nothing.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    for (url, says) in [
        ("ldaps://127.0.0.1:9".to_owned(), "could not be asked"),
        (format!("ldap://{}", silent.local_addr().unwrap()), "no answer within"),
    ] {
        let sandbox = world(&url, &of);
        sandbox.write("old.ldif", "dn: cn=a\nmail: a@acme.test\n");
        import(&sandbox, &of, &["--out", "old.ldif", "--force", "--timeout", "1s"]).ends(1).says(says);
        assert_eq!(sandbox.read("old.ldif"), "dn: cn=a\nmail: a@acme.test\n");
        import(&sandbox, &of, &["--check", "old.ldif", "--timeout", "1s"]).ends(1).says(says);
    }
    // Before anybody is asked.
    let sandbox = world("ldaps://127.0.0.1:9", &of);
    sandbox.write("old.ldif", "dn: cn=a\nmail: a@acme.test\n");
    import(&sandbox, &of, &["--out", "old.ldif"]).ends(1).says("is there already");
    import(&sandbox, &of, &["--check", "none.ldif"]).ends(1).says("none.ldif cannot be read");
    import(&sandbox, &of, &["--attribute", "unicodePwd"]).ends(1).says("holds passwords").says("--hashes FILE");
    sandbox.run(&["import", "directory", "corps"]).ends(1).says("has no directory corps").says("it has corp");
    sandbox.run(&["import", "directory", "corp", "--timeout", "1s"]).ends(1).says("env:BIND");
    sandbox.write(
        "topology.kdl",
        "language 1\norganization acme domain=acme.test\ndirectory corp type=files bind-dn=\"cn=x\"\n",
    );
    let bare = sandbox.run(&["import", "directory", "corp"]).ends(1);
    for text in ["no url", "no base", "go together"] {
        assert!(bare.err.contains(text), "{text}: {}", bare.err);
    }
}
