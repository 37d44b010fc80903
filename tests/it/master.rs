//! Master files changed in place, judged by BIND: what `named-compilezone` reads of the new text is what it read of the old one with
//! the changes and nothing else.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::process::{Command, Stdio};

use cutover::model::dns::{RecordSet, SetChange, SetKey};
use cutover::protocol::dns::data::canonical;
use cutover::protocol::master::{Date, MasterFile};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

const TODAY: Date = Date { year: 2026, month: 11, day: 22 };

/// Everything that makes a file hard to change: owners and times taken from above, parentheses, comments, `$ORIGIN`, texts.
const FILE: &str = r#"; by hand
$ORIGIN example.
$TTL 1h30m
acme	IN	SOA	ns1.acme hostmaster.acme (
		2026010101 ; serial
		1h 15m 4W 10m )
	IN	NS	ns1.acme ; first
		NS	ns2.provider.example.
	300	MX	10 mail.acme
	300	MX	20 mail.backup.example.
	TXT	"v=spf1 mx " "-all"
$ORIGIN acme.example.
@	A	192.0.2.90
ns1	A	192.0.2.53
mail	IN 600 A	192.0.2.10
	AAAA	2001:db8::10 ; beside it
	TXT "a \"text\" ; no comment" ( "and"
	 "more" ) ; a comment ( with one
www	CNAME	mail
_imaps._tcp	SRV	0 1 993 mail
@	CAA	0 issue "letsencrypt.org; validationmethods=dns-01"
_25._tcp.mail TLSA 3 1 1 (
	0123456789ABCDEF0123456789ABCDEF
	0123456789ABCDEF0123456789ABCDEF )
host	SSHFP	4 2 0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef
	A	192.0.2.40
*.wild	A	192.0.2.77
$TTL 60
last	A	192.0.2.200
old	TYPE65280 \# 4 C0000201
	A	192.0.2.201"#;

/// By name and type: time to live and data, as BIND reads the file; the SOA's serial alone.
fn bind(text: &str) -> BTreeMap<(String, String), (u32, Vec<String>)> {
    let mut child = Command::new("named-compilezone")
        .args(["-q", "-i", "none", "-k", "ignore", "-o", "-", "acme.example", "/dev/stdin"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("named-compilezone (apt-get install bind9-utils; tests/run does it)");
    child.stdin.take().expect("stdin").write_all(text.as_bytes()).expect("written");
    let out = child.wait_with_output().expect("ends");
    assert!(out.status.success(), "{}\n{text}", String::from_utf8_lossy(&out.stderr));
    let mut sets = BTreeMap::<_, (u32, Vec<String>)>::new();
    for line in String::from_utf8_lossy(&out.stdout).lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        let [name, ttl, "IN", kind, ..] = words.as_slice() else { panic!("{line}") };
        let mut data = line;
        for _ in 0..4 {
            data = data.trim_start().split_once([' ', '\t']).expect("data").1;
        }
        let data = data.trim();
        // Only the serial is to change; canonical() knows no TYPE65280 and BIND prints it in one way.
        let data = match *kind {
            "SOA" => words[6].to_owned(),
            _ => canonical(kind, data).unwrap_or_else(|_| data.to_owned()),
        };
        let set = sets.entry(((*name).to_owned(), (*kind).to_owned())).or_insert((0, Vec::new()));
        set.0 = ttl.parse().expect("ttl");
        set.1.push(data);
        set.1.sort();
    }
    sets
}

#[derive(Debug, Clone)]
enum What {
    Goes,
    LivesFor(u32),
    Becomes(u8),
}

/// For each set of the file, and for some that are not there, what becomes of it.
fn changes(file: &MasterFile) -> impl Strategy<Value = Vec<SetChange>> + use<> {
    // The two of other types are foreign; without name servers and their addresses it is no zone for BIND.
    let ours = |k: &SetKey| !matches!(k.kind.as_str(), "TYPE65280" | "SSHFP" | "NS") && !k.name.starts_with("ns1.");
    let there: Vec<RecordSet> = file.sets().into_values().filter(|s| ours(&s.key)).collect();
    let new = ["new.acme.example.", "mail.acme.example.", "a.b.acme.example."];
    let what = prop_oneof![
        3 => Just(None),
        1 => Just(Some(What::Goes)),
        1 => (1u32..9_999).prop_map(|t| Some(What::LivesFor(t))),
        1 => any::<u8>().prop_map(|n| Some(What::Becomes(n))),
    ];
    let count = there.len() + new.len();
    prop::collection::vec(what, count).prop_map(move |all| {
        let olds = there.iter().zip(&all).filter_map(|(set, what)| {
            let after = match what.as_ref()? {
                What::Goes => None,
                What::LivesFor(ttl) => Some(RecordSet { ttl: *ttl, ..set.clone() }),
                What::Becomes(n) if set.key.kind == "A" => {
                    let data = [format!("192.0.2.{n}"), "198.51.100.1".to_owned()].into();
                    Some(RecordSet { data, ..set.clone() })
                }
                What::Becomes(n) => {
                    let data = set.data.iter().skip(usize::from(n % 2)).cloned().collect();
                    Some(RecordSet { data, ttl: set.ttl + 1, ..set.clone() }).filter(|s| !s.data.is_empty())
                }
            };
            Some(SetChange { before: Some(set.clone()), after })
        });
        let news = new.iter().zip(&all[there.len()..]).filter_map(|(name, what)| {
            what.as_ref()?;
            let key = SetKey { name: (*name).into(), kind: "MX".into() };
            let data = ["10 mail.acme.example.".to_owned(), "20 backup.example.".to_owned()].into();
            Some(SetChange { before: None, after: Some(RecordSet { key, ttl: 77, data }) })
        });
        olds.chain(news).collect()
    })
}

#[test]
fn bind_reads_the_changes_and_nothing_else() {
    let file = MasterFile::read("acme.example", FILE).expect("reads");
    let before = bind(FILE);
    let mut runner = TestRunner::new(Config { cases: 150, failure_persistence: None, ..Config::default() });
    let edited = std::cell::Cell::new(0);
    runner
        .run(&changes(&file), |changes| {
            let text = match file.edit(&changes, TODAY) {
                Ok(text) => text,
                Err(e) => return Err(TestCaseError::fail(format!("{e}: {changes:?}"))),
            };
            let mut wanted = before.clone();
            for c in &changes {
                let key = c.key().expect("a change");
                let name = (key.name.clone(), key.kind.clone());
                match &c.after {
                    Some(set) => wanted.insert(name, (set.ttl, set.data.iter().cloned().collect())),
                    None => wanted.remove(&name),
                };
            }
            if !changes.is_empty() {
                edited.set(edited.get() + 1);
                wanted.get_mut(&("acme.example.".into(), "SOA".into())).expect("SOA").1 = vec!["2026112200".into()];
            }
            prop_assert_eq!(bind(&text), wanted, "{}", text);
            // Foreign lines stay byte for byte, but for an owner that they took from a line that went.
            for line in ["; by hand", "host\tSSHFP\t4 2 0123", "\\# 4 C0000201", "$TTL 60\n", "hostmaster.acme (\n"] {
                prop_assert!(text.contains(line), "{} is gone from {}", line, text);
            }
            Ok(())
        })
        .expect("holds");
    assert!(edited.get() > 100);
}
