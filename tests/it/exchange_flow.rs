//! Asked, changed, asked again: an organisation of Exchange, SIMULATED. What these tests show is that questions, answers and calls fit
//! together; nothing of it has been seen by a real server.

#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use cutover::exchange::Release;
use cutover::exchange::dialect::{Object, Property, Shape};
use cutover::exchange::diff::{Outcome, Wish};
use cutover::exchange::far::{End, Gathered, questions};
use cutover::exchange::value;
use cutover::model::host::HostAccess;
use cutover::providers::exchange::Organization;
use cutover::transport::Transport;
use serde_json::{Map, Value as Json, json};
use zeroize::Zeroizing;

use crate::exchange_dialect::dialect;
use crate::exchange_diff::sample;
use crate::support::exchange_simulation::{SHAPES, Simulation};

const R: Release = Release::E2019;

fn wish(kind: &str, key: &[&str], properties: Json) -> Wish {
    let properties = properties.as_object().unwrap().clone().into_iter().collect();
    Wish { kind: kind.to_owned(), key: key.iter().map(|k| (*k).to_owned()).collect(), properties, absent: false }
}

/// An organisation behind a transport.
pub struct Walk<'a, T> {
    pub transport: &'a T,
    pub speaker: HostAccess,
    pub hosts: BTreeMap<String, HostAccess>,
    pub release: Release,
}

impl<T: Transport> Walk<'_, T> {
    fn organization(&self) -> Organization<'_, T> {
        Organization {
            transport: self.transport,
            speaker: &self.speaker,
            hosts: &self.hosts,
            limit: Duration::from_secs(120),
        }
    }

    pub async fn look(&self, wishes: &[Wish]) -> (Gathered, Outcome) {
        let gathered = self.organization().gather(&questions(dialect(), self.release, wishes)).await;
        let outcome = gathered.diff(dialect(), self.release, wishes);
        assert!(gathered.simulated, "{:?}", gathered.silent);
        (gathered, outcome)
    }

    pub async fn act(&self, outcome: &Outcome) -> Vec<End> {
        assert!(outcome.faults.is_empty(), "{:?}", outcome.faults);
        let secret = |reference: &str| Ok(Zeroizing::new(format!("value of {reference}").into_bytes()));
        self.organization().act(&outcome.calls, secret).await.unwrap()
    }

    /// Until nothing differs any more; the number of rounds.
    pub async fn converge(&self, wishes: &[Wish]) -> usize {
        for round in 0..10 {
            let (_, outcome) = self.look(wishes).await;
            assert!(outcome.faults.is_empty(), "{:?}", outcome.faults);
            if outcome.calls.is_empty() {
                return round;
            }
            self.act(&outcome).await;
        }
        panic!("it does not converge");
    }
}

pub fn walk<'a>(
    simulation: &'a Simulation,
    release: Release,
    hosts: impl IntoIterator<Item = &'a String>,
) -> Walk<'a, Simulation> {
    let hosts: BTreeMap<String, HostAccess> =
        hosts.into_iter().map(|n| (n.clone(), HostAccess::at(n.as_str(), "192.0.2.1"))).collect();
    Walk { transport: simulation, speaker: HostAccess::at("speaker", "192.0.2.1"), hosts, release }
}

/// From a test's two servers.
fn here(simulation: &Simulation, release: Release) -> Walk<'_, Simulation> {
    static HOSTS: std::sync::LazyLock<[String; 2]> = std::sync::LazyLock::new(|| ["mbx-1", "mbx-2"].map(str::to_owned));
    walk(simulation, release, HOSTS.iter())
}

pub fn servers() -> Vec<(&'static str, Vec<&'static str>, Json)> {
    vec![
        ("server", vec!["MBX-1"], json!({})),
        ("server", vec!["MBX-2"], json!({})),
        (
            "owa-virtual-directory",
            vec!["MBX-1", "Default Web Site"],
            json!({"ExternalUrl": "https://old.acme.example/owa"}),
        ),
        (
            "mailbox-database",
            vec!["Old"],
            json!({"Server": "MBX-1", "DeletedItemRetention": "7.00:00:00", "EdbFilePath": "D:\\Old.edb"}),
        ),
        (
            "send-connector",
            vec!["Old out"],
            json!({"AddressSpaces": ["SMTP:*;1"], "SmartHosts": ["a.example", "b.example"], "MaxMessageSize": "10485760"}),
        ),
    ]
}

pub fn organisation() -> Vec<Wish> {
    let gone = |kind: &str, key: &[&str]| Wish { absent: true, ..wish(kind, key, json!({})) };
    vec![
        wish(
            "accepted-domain",
            &["acme"],
            json!({"DomainName": "acme.example", "DomainType": "Authoritative", "MatchSubDomains": true}),
        ),
        wish("accepted-domain", &["works/acme"], json!({"DomainName": "works.example", "DomainType": "InternalRelay"})),
        wish(
            "receive-connector",
            &["mbx-1.acme.example", "In"],
            json!({"Bindings": "0.0.0.0:25", "RemoteIPRanges": ["192.0.2.0/24", "2001:db8::/32"],
            "PermissionGroups": "AnonymousUsers, ExchangeUsers", "MaxMessageSize": "36MB", "ConnectionTimeout": "10m"}),
        ),
        wish(
            "send-connector",
            &["out"],
            json!({"AddressSpaces": ["*", "works.example;5"], "SmartHosts": ["r2.acme.example", "r1.acme.example"],
            "MaxMessageSize": "unlimited", "AuthenticationCredential": {"user": "ACME\\relay", "password": "env:RELAY"}}),
        ),
        wish("dag", &["DAG1"], json!({"WitnessServer": "fs-1", "DatacenterActivationMode": "DagOnly"})),
        wish("dag-member", &["DAG1", "MBX-1"], json!({})),
        wish("dag-member", &["DAG1", "MBX-2"], json!({})),
        wish(
            "mailbox-database",
            &["DB1"],
            json!({"Server": "MBX-1", "DeletedItemRetention": "14d", "ProhibitSendQuota": "2GB",
            "IssueWarningQuota": "unlimited", "CircularLoggingEnabled": false}),
        ),
        wish("mailbox-database", &["Old"], json!({"DeletedItemRetention": "30d"})),
        wish("mailbox-database-copy", &["DB1", "MBX-2"], json!({"ActivationPreference": 2, "ReplayLagTime": "7d"})),
        wish(
            "owa-virtual-directory",
            &["MBX-1", "Default Web Site"],
            json!({"ExternalUrl": "https://mail.acme.example/owa"}),
        ),
        wish("transport-service", &["mbx-2"], json!({"MaxPerDomainOutboundConnections": 40})),
        wish("pop-settings", &["MBX-1"], json!({"X509CertificateName": "mail.acme.example"})),
        wish("transport-config", &[], json!({"MaxSendSize": "35MB"})),
        gone("send-connector", &["Old out"]),
    ]
}

#[tokio::test]
async fn what_is_wished_is_so_and_the_way_back_leads_to_what_was() {
    for shape in SHAPES {
        let simulation = Simulation::new(dialect(), R);
        simulation.shape(shape);
        simulation.seed(&servers());
        let (walk, wishes) = (here(&simulation, R), organisation());
        let (before, outcome) = walk.look(&wishes).await;
        let was = simulation.there();
        assert!(outcome.calls.len() >= 15, "{:?}", outcome.calls);
        let (undo, lost) = before.back(dialect(), R, &wishes);
        assert!(lost.is_empty(), "{lost:?}");
        let ends = walk.act(&outcome).await;
        assert!(ends.iter().all(|e| matches!(e, End::Done { .. })), "{shape}: {ends:?}");
        let (_, again) = walk.look(&wishes).await;
        assert!(again.faults.is_empty() && again.calls.is_empty(), "{shape}: {:?} {:?}", again.faults, again.calls);
        assert!(!simulation.calls().join("\n").contains("value of"), "a secret is in the log");
        let (_, outcome) = walk.look(&undo).await;
        let ends = walk.act(&outcome).await;
        assert!(ends.iter().all(|e| matches!(e, End::Done { .. })), "{shape}: {ends:?}");
        assert_eq!(simulation.there(), was, "{shape}");
    }
}

/// Whatever breaks wherever, the next run goes on from what is there, and no call is made twice that was done.
#[tokio::test]
async fn a_walk_that_is_cut_anywhere_is_finished_by_the_next() {
    let simulation = Simulation::new(dialect(), R);
    simulation.seed(&servers());
    let (whole, wishes) = (here(&simulation, R), organisation());
    let (_, outcome) = whole.look(&wishes).await;
    whole.act(&outcome).await;
    let (goal, all) = (simulation.there(), simulation.calls().len());
    let cmdlets: BTreeSet<String> = outcome.calls.iter().map(|c| c.cmdlet.clone()).collect();
    for (at, cmdlet) in cmdlets.iter().enumerate() {
        // That a call was carried out and nobody said so is the worst of them, and tried at every one.
        for cut in ["die-after", ["die-before", "error"][at % 2]] {
            let simulation = Simulation::new(dialect(), R);
            simulation.shape(SHAPES[at % 4]);
            simulation.seed(&servers());
            simulation.faults(json!([{"cmdlet": cmdlet, "do": cut}]));
            let walk = here(&simulation, R);
            let (_, outcome) = walk.look(&wishes).await;
            let ends = walk.act(&outcome).await;
            let known = ends.iter().all(|e| matches!(e, End::Done { .. }));
            assert!(!known, "{cut} at {cmdlet} is noticed");
            assert_eq!(
                ends.iter().any(|e| matches!(e, End::Unknown { .. })),
                cut != "error",
                "{cut} {cmdlet}: {ends:?}"
            );
            walk.converge(&wishes).await;
            assert_eq!(simulation.there(), goal, "{cut} {cmdlet}");
            let refused = simulation.calls().iter().filter(|c| !c.contains("\"error\": null")).count();
            assert_eq!(
                (simulation.calls().len() - refused, refused),
                (all, usize::from(cut == "error")),
                "{cut} {cmdlet}"
            );
        }
    }
}

#[tokio::test]
async fn who_does_not_answer_is_not_absent() {
    let simulation = Simulation::new(dialect(), R);
    simulation.seed(&servers());
    let (walk, wishes) = (here(&simulation, R), organisation());
    let faults = |outcome: &Outcome| outcome.faults.iter().map(|f| f.kind.clone()).collect::<BTreeSet<_>>();
    simulation.faults(
        json!([{"cmdlet": "Get-MailboxDatabase", "do": "error"}, {"cmdlet": "Get-PopSettings", "do": "error"}]),
    );
    let (gathered, outcome) = walk.look(&wishes).await;
    assert_eq!(gathered.silent.len(), 3, "{:?}", gathered.silent);
    assert_eq!(
        faults(&outcome),
        ["mailbox-database", "mailbox-database-copy", "pop-settings"].map(str::to_owned).into()
    );
    assert!(
        outcome.calls.iter().all(|c| !c.cmdlet.contains("Database") || c.kind.starts_with("dag")),
        "{:?}",
        outcome.calls
    );
    // The shell itself, for each of both calls; a login that the directory does not know is told with what to do.
    simulation.faults(json!([{"cmdlet": "Connect-ExchangeServer", "do": "error", "always": true}]));
    let (_, outcome) = {
        let gathered = walk.organization().gather(&questions(dialect(), R, &wishes)).await;
        let outcome = gathered.diff(dialect(), R, &wishes);
        (gathered, outcome)
    };
    assert_eq!((outcome.calls.len(), outcome.faults.len()), (0, wishes.len()));
    assert!(outcome.faults[0].to_string().contains("a login by key"), "{}", outcome.faults[0]);
    // A parameter that the release does not have is refused there as the shell refuses it.
    simulation.faults(json!([]));
    let (_, mut outcome) = walk.look(&[wish("accepted-domain", &["x"], json!({"DomainName": "x.example"}))]).await;
    outcome.calls[0].parameters.insert("NoSuch".to_owned(), json!(1));
    let ends = walk.act(&outcome).await;
    assert!(
        matches!(&ends[0], End::Failed { failure, .. } if failure.reason == "ParameterBindingException"),
        "{ends:?}"
    );
}

/// The value that a property has in the simulation: as a call passes it.
fn held(property: &Property, which: usize) -> Json {
    value::passed(property, &value::read(property, &sample(property.shape, property.list, which)).unwrap())
}

fn readable(object: &Object, release: Release) -> Vec<&Property> {
    object.properties.iter().filter(|p| p.on(release) && !p.unread && !p.shape.unreadable()).collect()
}

/// Every property of every kind in every release, in the four shapes in which sessions return values: unchanged it is no drift, changed it
/// is found.
#[tokio::test]
async fn no_drift_is_made_up_and_none_is_missed() {
    let (mut audits, mut mutations) = (0, 0);
    for release in Release::ALL {
        let simulation = Simulation::new(dialect(), release);
        let walk = here(&simulation, release);
        let kinds: Vec<&'static Object> = dialect().objects.values().filter(|o| o.get.on.has(release)).collect();
        let seed = |which: usize| -> Vec<(&'static str, Vec<&'static str>, Json)> {
            let values = |o: &Object| -> Map<String, Json> {
                readable(o, release).iter().map(|p| (p.name.value.clone(), held(p, which))).collect()
            };
            let one = |o: &&'static Object| {
                (o.name.value.as_str(), o.key.iter().map(|_| "mbx-1").collect(), Json::Object(values(o)))
            };
            kinds.iter().map(one).collect()
        };
        let wishes: Vec<Wish> = kinds
            .iter()
            .map(|o| {
                let key: Vec<&str> = o.key.iter().map(|_| "mbx-1").collect();
                let properties: Map<String, Json> = readable(o, release)
                    .iter()
                    .filter(|p| p.set.is_some_and(|s| s.has(release)))
                    .map(|p| (p.name.value.clone(), sample(p.shape, p.list, 0)))
                    .collect();
                wish(&o.name.value, &key, Json::Object(properties))
            })
            .collect();
        let wished: usize = wishes.iter().map(|w| w.properties.len()).sum();
        for shape in SHAPES {
            simulation.shape(shape);
            simulation.seed(&seed(0));
            let (gathered, outcome) = walk.look(&wishes).await;
            assert!(gathered.silent.is_empty(), "{release} {shape}: {:?}", gathered.silent);
            let changed: Vec<_> = outcome.calls.iter().map(|c| (&c.kind, &c.changes)).collect();
            assert!(outcome.faults.is_empty(), "{release} {shape}: {:?}", outcome.faults);
            assert!(changed.is_empty(), "{release} {shape}: {changed:#?}");
            audits += wished - outcome.unseen.len();
            simulation.seed(&seed(1));
            let (_, outcome) = walk.look(&wishes).await;
            let unseen: BTreeSet<(String, String)> =
                outcome.unseen.iter().map(|(kind, _, name)| (kind.clone(), name.clone())).collect();
            let found: BTreeSet<(String, String)> = outcome
                .calls
                .iter()
                .flat_map(|c| c.changes.iter().map(|change| (c.kind.clone(), change.parameter.clone())))
                .collect();
            for wish in &wishes {
                for name in wish.properties.keys() {
                    let p = dialect().objects[&wish.kind].property(name).unwrap();
                    let at = (wish.kind.clone(), name.clone());
                    let differs = sample(p.shape, p.list, 0) != sample(p.shape, p.list, 1) || p.shape == Shape::Switch;
                    if differs && !unseen.contains(&at) {
                        assert!(found.contains(&at), "{release} {shape}: {at:?} is missed");
                        mutations += 1;
                    }
                }
            }
        }
    }
    // The figures of docs/exchange.md.
    assert!(audits > 40_000 && mutations > 40_000, "{audits} audits, {mutations} mutations");
}
