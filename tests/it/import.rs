//! `cutover import`: what it makes checks clean, says what was left out, and is never half written.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::cli::{Run, Sandbox};

fn cases() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases/import")
}

fn case(name: &str) -> String {
    cases().join(name).display().to_string()
}

/// Imports into hosts.kdl and checks a topology that includes it, or `more` with it.
fn checked(box_: &Sandbox, args: &[&str], more: &str) -> String {
    box_.run(&[&["import"], args, &["--out", "made.kdl"]].concat()).ends(0).says("wrote made.kdl");
    box_.write("topology.kdl", &format!("language 1\norganization acme domain=acme.example\ninclude made.kdl\n{more}"));
    let run = box_.run(&["check", "--format", "json"]);
    assert!(!run.out.contains("\"error\""), "{run:#?}");
    let made = box_.read("made.kdl");
    box_.run(&["fmt", "--check", "made.kdl"]).ends(0);
    made
}

fn refused(box_: &Sandbox, args: &[&str]) -> Run {
    let run = box_.run(&[&["import"], args, &["--out", "made.kdl"]].concat()).ends(1);
    assert!(!box_.path().join("made.kdl").exists(), "half written");
    run
}

#[test]
fn an_ansible_inventory() {
    let box_ = Sandbox::new();
    let made =
        checked(&box_, &["ansible", &case("ansible/hosts.ini"), "--role", "hubs=smtp,relay", "--roles", "imap"], "");
    for line in [
        "server \"mbx-[01:12]\" platform=imported site=imported connection=euro fqdn=\"mbx-$1.acme.example\" {",
        "    roles relay smtp",
        "key=(secret)\"file:~/.ssh/hubs\"",
        "ip6=\"2001:db8::10\"",
        "become-password=(secret)\"env:HUBBER_BECOME_PASSWORD\"",
        "//   variable ntp (20 hosts)",
    ] {
        assert!(made.contains(line), "{line}\n{made}");
    }
    assert!(!made.contains("canary"), "{made}");
    let made = Sandbox::new().run(&["import", "ansible", &case("yaml/hosts.yml"), "--roles", "imap"]).ends(0).out;
    assert!(made.contains("server \"mail-[1:3]\"") && made.contains("role: a template"), "{made}");
}

#[test]
fn every_mistake_of_an_inventory_at_once() {
    let box_ = Sandbox::new();
    box_.write(
        "hosts.ini",
        "a.x ansible_port=99999\nmbx-[3:1]\nb \"open\n[x:vars]\nk=v\n[y:kids]\n[imap]\nc_d.x ansible_password=canary word\n",
    );
    let run = refused(&box_, &["ansible", "hosts.ini"]);
    for text in [
        "`99999` is no port",
        "[3:1]",
        "opened and not closed",
        "`x`, which is no group",
        "`kids`",
        "`word` is no variable",
        "hosts.ini:6:1",
    ] {
        assert!(run.err.contains(text), "{text}\n{}", run.err);
    }
    assert!(!run.err.contains("canary"), "{}", run.err);
    box_.write("one.ini", "a.x\nb.x\na.y\n");
    refused(&box_, &["ansible", "one.ini"]).says("two servers would be called `a`").says("no role for a, a, b");
    box_.write("bad.yml", "all:\n  hosts:\n    a: {b: [}\n");
    refused(&box_, &["ansible", "bad.yml"]).says("this is no YAML").says("bad.yml:3");
    box_.write("list.yml", "all:\n  hosts:\n    - a\n  hots: {}\n");
    refused(&box_, &["ansible", "list.yml"]).says("hosts are a mapping").says("cannot have `hots`");
    box_.write("circle.ini", "[a:children]\nb\n[b:children]\na\n[c]\nh\n");
    refused(&box_, &["ansible", "circle.ini", "--roles", "imap"]).says("is a child of itself");
    refused(&box_, &["ansible", "nowhere"]).says("there is no such file");
}

#[test]
fn a_table_of_servers() {
    let box_ = Sandbox::new();
    let mut text = "Computer;IP Address;Location;Role;RAM;Asset\n".to_owned();
    for i in 1..=62 {
        text += &format!("mbx-{i:02}.acme.example;10.1.0.{};Dublin 1;mailbox;64 GB;A{i}\n", i + 10);
    }
    text += "hub-1.acme.example;10.1.1.1;Dublin 1;hub,cas;\"32 GiB\";B1\n";
    box_.write("servers.csv", &text);
    let made = checked(&box_, &["servers", "servers.csv", "--column", "name=computer", "--platform", "ex"], "");
    assert!(made.contains("server \"mbx-[01:62]\" platform=ex site=Dublin-1 ip=\"10.1.0.[11:72]\""), "{made}");
    assert!(made.contains("fqdn=\"mbx-$1.acme.example\" memory=\"64GB\""), "{made}");
    assert!(made.contains("//   column Asset"), "{made}");
    assert_eq!(made.matches("server ").count(), 2, "{made}");

    box_.write(
        "bad.csv",
        "name,ip,memory,role\na,1.2.3,64,imap\n,1.1.1.1,,imap\nb,1.1.1.1,1GiB,cook\nc,1.1.1.1\nB_!,1.1.1.1,,imap\n",
    );
    std::fs::remove_file(box_.path().join("made.kdl")).expect("was made");
    let run = refused(&box_, &["servers", "bad.csv"]);
    for text in [
        "`1.2.3` is no IP address",
        "memory `64` has no unit",
        "this line has no name",
        "no role is called `cook`",
        "2 values under 4 headers",
        "bad.csv:5:1",
        "cannot name a server",
    ] {
        assert!(run.err.contains(text), "{text}\n{}", run.err);
    }
    box_.write("none.csv", "a,b\n1,2\n");
    refused(&box_, &["servers", "none.csv"]).says("--column name=HEADER");
}

#[test]
fn runs_break_where_anything_differs() {
    let box_ = Sandbox::new();
    box_.write("s.csv", "name,ip,roles\na1,10.0.0.1,imap\na2,10.0.0.2,imap\na4,10.0.0.4,imap\na5,10.0.0.9,imap\na6,10.0.0.10,smtp\nb08,,imap\nb09,,imap\nb10,,imap\nb9,,imap\nc254,10.0.0.254,imap\nc255,10.0.0.255,imap\nc256,10.0.1.0,imap\n");
    let made = checked(&box_, &["servers", "s.csv"], "");
    let names: Vec<&str> = made.lines().filter_map(|l| l.strip_prefix("server ")?.split(' ').next()).collect();
    assert_eq!(names, ["\"a[1:2]\"", "a4", "a5", "a6", "b9", "\"b[08:10]\"", "\"c[254:255]\"", "c256"]);
}

#[test]
fn a_zone_file() {
    let box_ = Sandbox::new();
    let made = checked(&box_, &["zone", &case("zone/db.acme.example"), "--name", "acme.example"], "");
    for line in [
        "zone acme.example provider=imported ttl=\"90m\" {",
        "record \"@\" NS ns1.acme.example ns2.provider.example",
        "record \"@\" MX mail.acme.example priority=10 ttl=\"5m\"",
        "record \"@\" TXT \"v=spf1 mx -all\"",
        "record mail A \"192.0.2.10\" \"192.0.2.11\" ttl=\"10m\"",
        "record _imaps._tcp SRV \"0 1 993 mail.acme.example\"",
        "record \"@\" CAA #\"0 issue \"letsencrypt.org; validationmethods=dns-01\"\"#",
        "#\"v=DKIM1; k=rsa; p=MIIB$[1:2]\"q\"#",
        "record sub A \"192.0.2.90\"",
        "record a.sub A",
        "record b.other A",
        "record last A \"192.0.2.200\" ttl=\"7d\"",
        "//   records of type SSHFP (1)",
        "//   records of type TYPE65280 (1)",
    ] {
        assert!(made.contains(line), "{line}\n{made}");
    }
}

/// The records that BIND sees in the same file.
#[test]
fn the_zone_is_what_bind_reads() {
    let run = Command::new("named-compilezone")
        .args(["-q", "-i", "none", "-k", "ignore", "-o", "-", "acme.example", "db.acme.example"])
        .current_dir(cases().join("zone"))
        .output();
    let theirs = run.expect("named-compilezone (apt-get install bind9-utils; tests/run does it)");
    let theirs = String::from_utf8_lossy(&theirs.stdout).into_owned();
    let box_ = Sandbox::new();
    checked(&box_, &["zone", &case("zone/db.acme.example"), "--name", "acme.example"], "");
    let document: serde_json::Value = serde_json::from_str(&box_.run(&["export"]).ends(0).out).expect("JSON");
    let nodes = document["nodes"].as_array().expect("nodes");
    let zone = nodes.iter().find(|n| n["kind"] == "zone").expect("zone");
    let mut ours = BTreeSet::new();
    for r in zone["children"].as_array().expect("records") {
        let f = &r["fields"];
        let (name, kind) = (f["name"].as_str().expect("name"), f["type"].as_str().expect("type"));
        let ttl = f.get("ttl").unwrap_or(&zone["fields"]["ttl"])["milliseconds"].as_u64().expect("ttl") / 1000;
        for v in f["values"].as_array().expect("values") {
            let priority = f.get("priority").map(|p| format!("{p} ")).unwrap_or_default();
            let value = format!("{priority}{}", v.as_str().expect("text"));
            let value = if kind == "TXT" { value } else { plain(kind, &value) };
            ours.insert((name.to_owned(), ttl, kind.to_owned(), value));
        }
    }
    let mut bind = BTreeSet::new();
    for line in theirs.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        let [name, ttl, "IN", kind, data @ ..] = words.as_slice() else { continue };
        if matches!(*kind, "SOA" | "SSHFP" | "TYPE65280") {
            continue;
        }
        let name = name.trim_end_matches("acme.example.").trim_end_matches('.');
        let name = if name.is_empty() { "@" } else { name };
        let data = line.split_once(kind).map_or(data.join(" "), |(_, d)| d.trim().to_owned());
        bind.insert((name.to_owned(), ttl.parse().expect("ttl"), (*kind).to_owned(), plain(kind, &data)));
    }
    assert!(bind.len() > 15, "{theirs}");
    assert_eq!(ours, bind);
}

/// Data without dots at the end, quotes, escapes and blanks between the parts of a text.
fn plain(kind: &str, data: &str) -> String {
    let text = if kind == "TXT" { data.replace("\" \"", "") } else { data.to_owned() };
    let text = text.replace("\\\"", "\u{1}").replace(['"', '\\'], "").replace('\u{1}', "\"");
    let text = if kind == "TLSA" { text.split_whitespace().collect::<String>().to_lowercase() } else { text };
    text.trim_end_matches('.').trim().to_owned()
}

#[test]
fn every_mistake_of_a_zone_at_once() {
    let box_ = Sandbox::new();
    box_.write("z", "$ORIGIN acme.example.\nwww A 1.2.3\nx AAAA nope\n$GENERATE 1-9 h$ A 10.0.0.$\nmx MX mail\nt TXT \"open\nother.example. A 192.0.2.1\ny CH A 192.0.2.1\n$NOPE\n) A 192.0.2.3\n");
    let run = refused(&box_, &["zone", "z"]);
    for text in [
        "this A record",
        "this AAAA record",
        "$GENERATE",
        "this MX record",
        "opened and not closed",
        "does not lie in the zone",
        "class CH",
        "$NOPE",
        "z:2:1",
        "z:10:1",
    ] {
        assert!(run.err.contains(text), "{text}\n{}", run.err);
    }
    box_.write("r", "www A 192.0.2.1\n");
    refused(&box_, &["zone", "r"]).says("no origin is known");
    box_.write("open", "$ORIGIN a.example.\nx SOA a b ( 1 2 3\n");
    refused(&box_, &["zone", "open"]).says("is never closed");
    box_.write("inc", "$ORIGIN a.example.\n$INCLUDE inc\n$INCLUDE nowhere\n");
    refused(&box_, &["zone", "inc"]).says("deeper than 8").says("there is no file nowhere");
}

const MIGRATION: &str = "legacy old product=imap host=old.acme.example\nplatform open postfix=\"3.7\" dovecot=\"2.3\"\nmigration move strategy=phased from=old to=open coexistence=native\n";

#[test]
fn lists_of_users() {
    let box_ = Sandbox::new();
    box_.write(
        "staff.csv",
        "Display Name,Primary SMTP Address,Cost Centre\n\"Ann, A.\",ann@acme.example,1\nبهار,bahar@acme.example,2\n",
    );
    let args = ["users", "staff.csv", "--cohort", "wave-1", "--migration", "move"];
    let made = checked(&box_, &args, MIGRATION);
    assert!(
        made.contains("cohort wave-1 migration=move type=wave") && made.contains("csv \"users/wave-1.csv\""),
        "{made}"
    );
    assert!(made.contains("2 users, sha256 ") && made.contains("columns Cost Centre"), "{made}");
    assert!(!made.contains("ann@"), "rows stay out of KDL");
    let csv = box_.read("users/wave-1.csv");
    assert_eq!(csv, "mail,display\nann@acme.example,\"Ann, A.\"\nbahar@acme.example,بهار\n");
    let digest = made.split("sha256 ").nth(1).and_then(|t| t.get(..64)).expect("digest");
    use sha2::Digest as _;
    let hash: String = sha2::Sha256::digest(csv.as_bytes()).iter().map(|b| format!("{b:02x}")).collect();
    assert_eq!(digest, hash);

    box_.write("staff.ldif", "version: 1\n\n# a comment\n that goes on\ndn: uid=ann,dc=acme\nmail: ann@acme.\n example\nmail: second@acme.example\ncn:: QsOkcmJlbA==\nuserPassword: canary\n\ndn: ou=people,dc=acme\nou: people\n");
    box_.run(&["import", "users", "staff.ldif", "--cohort", "wave-1", "--migration", "move"])
        .ends(1)
        .says("is there already");
    let run =
        box_.run(&["import", "users", "staff.ldif", "--cohort", "wave-1", "--migration", "move", "--force"]).ends(0);
    assert_eq!(box_.read("users/wave-1.csv"), "mail,display\nann@acme.example,Bärbel\n");
    assert!(run.out.contains("1 entries without mail") && !run.out.contains("canary"), "{run:#?}");
}

#[test]
fn every_mistake_of_a_list_at_once() {
    let box_ = Sandbox::new();
    box_.write("u.csv", "mail\nann@acme.example\nAnn@acme.example\nnobody\nx y@acme.example\n");
    let args = ["users", "u.csv", "--cohort", "c", "--migration", "m"];
    refused(&box_, &args).says("stands twice").says("`nobody` is no mail address").says("u.csv:5:1");
    assert!(!box_.path().join("users").exists());
    box_.write("u.ldif", "dn: a\nchangetype: modify\nmail: x\n\nmail: y@z.example\nbroken\ndn: b\nmail:: !!\nuserPassword: canary-one\n bad\n");
    let run = refused(&box_, &["users", "u.ldif", "--cohort", "c", "--migration", "m"]);
    for text in [
        "`changetype` has no place",
        "u.ldif:2:1",
        "`x` is no mail address",
        "before the `dn`",
        "no `attribute: value`",
        "base64 of `mail`",
    ] {
        assert!(run.err.contains(text), "{text}\n{}", run.err);
    }
    assert!(!run.err.contains("canary"), "{}", run.err);
    refused(&box_, &["users", "u.csv", "--cohort", "../c", "--migration", "m"]).says("cannot name a cohort");
    box_.write("latin.csv", "mail\n");
    std::fs::write(box_.path().join("latin.csv"), b"mail\nj\xf6rg@acme.example\n").expect("write");
    refused(&box_, &["users", "latin.csv", "--cohort", "c", "--migration", "m"]).says("is not UTF-8: line 2");
}
