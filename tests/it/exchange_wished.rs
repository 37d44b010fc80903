//! What a topology wants of Exchange: the example's, object by object, and that every wish of it is one that the release takes.

#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use cutover::exchange::Release;
use cutover::exchange::diff::{Wish, diff};
use cutover::exchange::far::questions;
use cutover::exchange::wished::{Whole, wanted};
use cutover::language::{self, Options};
use serde_json::{Value as Json, json};

use crate::exchange_contract::Contract;
use crate::exchange_dialect::dialect;
use crate::exchange_flow::walk;
use crate::support::exchange_simulation::{SHAPES, Simulation};

fn example(name: &str) -> Whole {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples").join(name);
    let options = Options { environment: Some("production".to_owned()), allow_unset: true, ..Options::default() };
    let compiled = language::compile(&root, &options);
    assert!(!compiled.topology.nodes.is_empty(), "{:?}", compiled.diagnostics.sorted());
    wanted(&compiled.topology)
}

fn written(text: &str) -> Whole {
    let files = BTreeMap::from([("topology.kdl".to_owned(), text.as_bytes().to_vec())]);
    let compiled = language::compile_files(&files, "topology.kdl", &Options::default());
    wanted(&compiled.topology)
}

fn wishes(whole: &Whole) -> Vec<Wish> {
    whole.wanted.iter().map(|w| w.wish.clone()).collect()
}

/// Everything of midsize is made on an empty organisation by calls that Exchange 2010 takes, in every shape nothing is left to do, and it is
/// asked in as many calls as it has client access servers, and one. (SIMULATED.)
#[tokio::test]
async fn midsize_is_wished_made_and_then_so() {
    let whole = example("midsize");
    let wishes = wishes(&whole);
    let mut count: BTreeMap<&str, usize> = BTreeMap::new();
    wishes.iter().for_each(|w| *count.entry(&w.kind).or_default() += 1);
    assert_eq!(
        count,
        [
            ("accepted-domain", 2),
            ("active-sync-virtual-directory", 3),
            ("client-access-server", 3),
            ("dag", 1),
            ("dag-member", 4),
            ("mailbox-database", 12),
            ("mailbox-database-copy", 48),
            ("owa-virtual-directory", 3),
            ("receive-connector", 4),
            ("web-services-virtual-directory", 3),
        ]
        .into()
    );
    assert!(whole.wanted.iter().all(|w| w.release == Release::E2010));
    let left: BTreeSet<String> = whole.left.iter().map(ToString::to_string).collect();
    assert!(
        left.contains(
            "connector:internet-out: ber-edge-1 is an edge server, which the organisation does not configure"
        ),
        "{left:?}"
    );
    for shape in SHAPES {
        let simulation = Simulation::new(dialect(), Release::E2010);
        simulation.shape(shape);
        let mut there: Vec<(&str, Vec<&str>, Json)> =
            whole.servers.keys().map(|s| ("server", vec![s.as_str()], json!({}))).collect();
        for wish in wishes.iter().filter(|w| w.kind.ends_with("-virtual-directory")) {
            there.push((&wish.kind, wish.key.iter().map(String::as_str).collect(), json!({})));
        }
        simulation.seed(&there);
        let walk = walk(&simulation, Release::E2010, whole.servers.keys());
        assert_eq!(questions(dialect(), Release::E2010, &wishes).round_trips(), 1 + 3);
        let (_, outcome) = walk.look(&wishes).await;
        let wrong: Vec<String> = match Contract::open("calls of midsize") {
            None => Vec::new(),
            Some(contract) => outcome
                .calls
                .iter()
                .filter_map(|c| {
                    contract.wrong(Release::E2010, &c.cmdlet, &c.parameters.keys().map(String::as_str).collect())
                })
                .collect(),
        };
        assert_eq!(wrong, Vec::<String>::new());
        assert!(walk.converge(&wishes).await <= 2, "{shape}");
        let (_, again) = walk.look(&wishes).await;
        assert!(again.calls.is_empty() && again.faults.is_empty(), "{shape}");
    }
}

/// Exchange 2007 has no dialect: nothing is wished of it, and it is said.
#[test]
fn releases_without_a_dialect_are_told() {
    let whole = example("microsoft-it");
    assert!(whole.wanted.is_empty() && whole.servers.is_empty());
    assert!(
        whole.left.iter().any(|l| l.to_string() == "server:dub-cas-1: there is no dialect of Exchange 2007"),
        "{:?}",
        whole.left
    );
}

#[test]
fn what_is_written_becomes_properties() {
    let whole = written(
        "organization acme { domains acme.example; }\nsite ber\nplatform ex exchange=\"2019\"\n\
         server \"mbx-[1:3]\" platform=ex site=ber ip=\"192.0.2.[1:3]\" { roles mailbox; }\n\
         accepted-domain acme.example default=#true\naccepted-domain works.example type=internal-relay\n\
         database db on=mbx-1 active=mbx-2 replay-lag=\"7d\" quota-warn=\"1GiB\" keep-deleted=\"14d\" { copies \"mbx-[1:3]\"; lagged mbx-3; }\n\
         database alone on=mbx-1\n\
         connector out direction=send type=partner tls=verify port=26 cost=5 max-size=\"20MiB\" { servers mbx-1; domains partner.example; smart-hosts r.example; }\n\
         connector in direction=receive type=internet tls=encrypt { servers mbx-1; }\n\
         namespace mail.acme.example target=mbx-1 scope=external { services owa mapi autodiscover imap; }\n",
    );
    let of = |kind: &str, key: &[&str]| -> Json {
        let found = whole.wanted.iter().find(|w| w.wish.kind == kind && w.wish.key == key);
        let properties = &found.unwrap_or_else(|| panic!("no {kind} {key:?} in {:?}", whole.wanted)).wish.properties;
        Json::Object(properties.clone().into_iter().collect())
    };
    assert_eq!(
        of("accepted-domain", &["acme.example"]),
        json!({"DomainName": "acme.example", "DomainType": "Authoritative", "MakeDefault": true})
    );
    assert_eq!(of("accepted-domain", &["works.example"])["DomainType"], "InternalRelay");
    assert_eq!(
        of("mailbox-database", &["db"]),
        json!({"Server": "mbx-2", "IssueWarningQuota": "1073741824", "DeletedItemRetention": "14.00:00:00"})
    );
    assert_eq!(of("mailbox-database", &["alone"]), json!({"Server": "mbx-1"}));
    assert_eq!(of("mailbox-database-copy", &["db", "mbx-2"]), json!({"ActivationPreference": 1}));
    assert_eq!(of("mailbox-database-copy", &["db", "mbx-1"]), json!({"ActivationPreference": 2}));
    assert_eq!(
        of("mailbox-database-copy", &["db", "mbx-3"]),
        json!({"ActivationPreference": 3, "ReplayLagTime": "7.00:00:00"})
    );
    assert_eq!(
        of("send-connector", &["out"]),
        json!({"AddressSpaces": ["SMTP:partner.example;5"], "DNSRoutingEnabled": false, "IgnoreSTARTTLS": false, "MaxMessageSize": "20971520",
            "Port": 26, "RequireTLS": true, "SmartHosts": ["r.example"], "SourceTransportServers": ["mbx-1"]})
    );
    assert_eq!(of("receive-connector", &["mbx-1", "in"])["Bindings"], json!(["0.0.0.0:25", "[::]:25"]));
    assert_eq!(
        of("owa-virtual-directory", &["mbx-1", "Default Web Site"]),
        json!({"ExternalUrl": "https://mail.acme.example/owa"})
    );
    assert_eq!(
        of("client-access-service", &["mbx-1"]),
        json!({"AutoDiscoverServiceInternalUri": "https://mail.acme.example/Autodiscover/Autodiscover.xml"})
    );
    assert!(whole.left.iter().any(|l| l.why.starts_with("imap has no virtual directory")), "{:?}", whole.left);
    // Whatever is wished, the dialect knows it; what is wished of new objects suffices to make them.
    let nothing = dialect().objects.keys().map(|k| (k.clone(), Vec::new())).collect();
    let outcome = diff(dialect(), Release::E2019, &wishes(&whole), &nothing);
    let faults: Vec<String> = outcome.faults.iter().map(ToString::to_string).collect();
    assert!(faults.iter().all(|f| f.contains("does not let it be made")), "{faults:?}");
}
