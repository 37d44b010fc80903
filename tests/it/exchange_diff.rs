//! A wish against what is there: the fewest calls, in order, each of them one that the cmdlet takes in that release.

#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};

use cutover::exchange::Release;
use cutover::exchange::dialect::{Dialect, Object, Property, Shape};
use cutover::exchange::diff::{Call, Outcome, Returned, Trouble, Wish, diff};
use proptest::prelude::*;
use serde_json::{Map, Value as Json, json};

use crate::exchange_contract::Contract;
use crate::exchange_dialect::dialect;

fn wish(kind: &str, key: &[&str], properties: Json) -> Wish {
    let properties = properties.as_object().unwrap().clone().into_iter().collect();
    Wish { kind: kind.to_owned(), key: key.iter().map(|k| (*k).to_owned()).collect(), properties, absent: false }
}

fn gone(kind: &str, key: &[&str]) -> Wish {
    Wish { absent: true, ..wish(kind, key, json!({})) }
}

fn returned(all: Json) -> Returned {
    serde_json::from_value(all).unwrap()
}

fn against_the_contract(release: Release, outcome: &Outcome) -> Vec<String> {
    let Some(contract) = Contract::open("calls against the contract") else { return Vec::new() };
    let wrong = |c: &Call| contract.wrong(release, &c.cmdlet, &c.parameters.keys().map(String::as_str).collect());
    outcome.calls.iter().filter_map(wrong).collect()
}

/// What `get` returns for one object with these properties.
fn as_found(object: &Object, properties: Map<String, Json>) -> Returned {
    let mut map: Map<String, Json> = object.key.iter().map(|k| (k.clone(), json!("MBX-1"))).collect();
    map.insert("Name".to_owned(), json!("mbx-1"));
    if let Some(each) = &object.each {
        map.insert(each.clone(), json!(["[MBX-1, 1]"]));
    }
    for (name, json) in properties {
        let p = object.property(&name).unwrap();
        let json = if p.pair { json!([{"Key": "MBX-1", "Value": json}]) } else { json };
        map.insert(p.read.clone(), json);
    }
    returned(json!({object.name.value.clone(): [map]}))
}

/// `Cmdlet {parameters}` of each call; every call is held against the contract where that is at hand.
fn calls(release: Release, outcome: &Outcome) -> Vec<String> {
    assert_eq!(against_the_contract(release, outcome), Vec::<String>::new(), "{:?}", outcome.calls);
    outcome.calls.iter().map(|c| format!("{} {}", c.cmdlet, Json::Object(c.parameters.clone()))).collect()
}

#[track_caller]
fn planned(release: Release, wishes: &[Wish], there: Json) -> Vec<String> {
    let outcome = diff(dialect(), release, wishes, &returned(there));
    let faults: Vec<String> = outcome.faults.iter().map(ToString::to_string).collect();
    assert_eq!(faults, Vec::<String>::new());
    calls(release, &outcome)
}

#[track_caller]
fn refused(release: Release, wishes: &[Wish], there: Json) -> Vec<String> {
    let outcome = diff(dialect(), release, wishes, &returned(there));
    assert_eq!(outcome.calls, Vec::new());
    outcome.faults.iter().map(ToString::to_string).collect()
}

const R: Release = Release::E2019;

#[test]
fn what_is_so_needs_no_call_and_one_difference_one_parameter() {
    let wishes = [wish(
        "mailbox-database",
        &["DB1"],
        json!({"ProhibitSendQuota": "2GB", "DeletedItemRetention": "14d", "CircularLoggingEnabled": false, "JournalRecipient": null}),
    )];
    let there = |quota: &str| {
        json!({"mailbox-database": [{"Name": "db1", "Guid": "1fd2670a-902a-840f-79f5-714520e92951", "ProhibitSendQuota": quota,
            "DeletedItemRetention": "14.00:00:00", "CircularLoggingEnabled": false, "JournalRecipient": ""}]})
    };
    assert_eq!(planned(R, &wishes, there("2 GB (2,147,483,648 bytes)")), Vec::<String>::new());
    assert_eq!(
        planned(R, &wishes, there("Unlimited")),
        [
            "Set-MailboxDatabase {\"Identity\":\"1fd2670a-902a-840f-79f5-714520e92951\",\"ProhibitSendQuota\":\"2147483648\"}"
        ]
    );
}

#[test]
fn an_object_is_made_and_then_set_and_removed_again() {
    let wishes = [wish(
        "mailbox-database",
        &["DB1"],
        json!({"Server": "MBX-1", "EdbFilePath": "D:\\DB1\\DB1.edb", "MountAtStartup": true}),
    )];
    let none = json!({"mailbox-database": []});
    assert_eq!(
        planned(R, &wishes, none.clone()),
        [
            "New-MailboxDatabase {\"EdbFilePath\":\"D:\\\\DB1\\\\DB1.edb\",\"Name\":\"DB1\",\"Server\":\"MBX-1\"}",
            "Set-MailboxDatabase {\"Identity\":\"DB1\",\"MountAtStartup\":true}",
        ]
    );
    let gone = [gone("mailbox-database", &["DB1"])];
    assert_eq!(planned(R, &gone, none), Vec::<String>::new());
    assert_eq!(
        planned(R, &gone, json!({"mailbox-database": [{"Name": "DB1"}]})),
        ["Remove-MailboxDatabase {\"Identity\":\"DB1\"}"]
    );
}

#[test]
fn kinds_are_made_in_order_and_removed_the_other_way_round() {
    let kinds = |absent: bool| {
        let mut all = vec![
            wish("mailbox-database-copy", &["DB1", "MBX-2"], json!({"ActivationPreference": 2, "ReplayLagTime": "7d"})),
            wish("mailbox-database", &["DB1"], json!({"Server": "MBX-1"})),
            wish("dag-member", &["DAG1", "MBX-1"], json!({})),
            wish("dag", &["DAG1"], json!({"WitnessServer": "fs-1"})),
        ];
        for wish in &mut all {
            wish.absent = absent;
        }
        all
    };
    let none = json!({"dag": [], "dag-member": [], "mailbox-database": [], "mailbox-database-copy": []});
    let names = |calls: Vec<String>| calls.iter().map(|c| c.split(' ').next().unwrap().to_owned()).collect::<Vec<_>>();
    assert_eq!(
        names(planned(R, &kinds(false), none)),
        [
            "New-DatabaseAvailabilityGroup",
            "Add-DatabaseAvailabilityGroupServer",
            "New-MailboxDatabase",
            "Add-MailboxDatabaseCopy"
        ]
    );
    let database = json!({"Name": "DB1", "Server": "MBX-1", "ActivationPreference": ["[MBX-1, 1]", "[MBX-2, 2]"],
        "ReplayLagTimes": ["[MBX-1, 00:00:00]", "[MBX-2, 7.00:00:00]"]});
    let dag = json!({"Name": "DAG1", "WitnessServer": "FS-1", "Servers": ["MBX-1", "MBX-2"]});
    let all =
        json!({"dag": [dag], "dag-member": [dag], "mailbox-database": [database], "mailbox-database-copy": [database]});
    assert_eq!(planned(R, &kinds(false), all.clone()), Vec::<String>::new());
    assert_eq!(
        planned(R, &kinds(true), all),
        [
            "Remove-MailboxDatabaseCopy {\"Identity\":\"DB1\\\\MBX-2\"}",
            "Remove-MailboxDatabase {\"Identity\":\"DB1\"}",
            "Remove-DatabaseAvailabilityGroupServer {\"Identity\":\"DAG1\",\"MailboxServer\":\"MBX-1\"}",
            "Remove-DatabaseAvailabilityGroup {\"Identity\":\"DAG1\"}",
        ]
    );
}

/// A slash belongs to a text; only what refers to another object is known by the last name of a path.
#[test]
fn keys_are_what_they_are() {
    let permission = |user: &str| wish("mailbox-permission", &["Info", user, "FullAccess"], json!({}));
    let there = |user: &str| {
        json!({"mailbox-permission": [{"$asked": "acme.example/Users/Info", "Identity": "acme.example/Users/Info", "User": user,
            "AccessRights": ["FullAccess"]}]})
    };
    assert_eq!(planned(R, &[permission("ACME\\ann")], there("acme\\Ann")), Vec::<String>::new());
    assert_eq!(planned(R, &[permission("ann")], there("ACME\\ann")).len(), 1);
    assert_eq!(planned(R, &[permission("WORKS\\ann")], there("ACME\\ann")).len(), 1);
    // A name with a slash is no path.
    let remote = |name: &str| wish("remote-domain", &[name], json!({"DomainName": "x.example"}));
    let has = json!({"remote-domain": [{"Name": "Sales/Works", "DomainName": "x.example"}]});
    assert_eq!(planned(R, &[remote("sales/works")], has.clone()), Vec::<String>::new());
    assert_eq!(planned(R, &[remote("Works")], has).len(), 1);
    // Hosts: by distinguished name, by path, with the domain on one side or on both.
    let hosts = |wished: &str, seen: Json| {
        planned(R, &[wish("receive-connector", &[wished, "In"], json!({"Bindings": "0.0.0.0:25", "RemoteIPRanges": "192.0.2.0/24"}))],
            json!({"receive-connector": [{"Server": seen, "Name": "In", "Bindings": ["0.0.0.0:25"], "RemoteIPRanges": ["192.0.2.0/24"]}]}))
        .len()
    };
    let of_directory = json!({"$text": "acme.example/Configuration/MBX-1", "Name": "MBX-1", "DistinguishedName": "CN=MBX-1,CN=Servers,DC=acme"});
    for seen in [json!("MBX-1"), json!("mbx-1.acme.example"), json!("CN=MBX-1,CN=Servers,DC=acme"), of_directory] {
        assert_eq!(
            (hosts("mbx-1", seen.clone()), hosts("MBX-1.acme.example", seen.clone()), hosts("mbx-2", seen)),
            (0, 0, 1)
        );
    }
    assert_eq!(hosts("mbx-1.works.example", json!("mbx-1.acme.example")), 1);
    // Members bear their name, and those of a group are told apart from those of another by what was asked.
    let member = |of: &str, who: &str| wish("distribution-group-member", &[of, who], json!({}));
    let members = json!({"distribution-group-member": [
        {"$asked": "Sales", "Name": "Ann", "DistinguishedName": "CN=Ann,OU=Sales,DC=acme", "Identity": "acme.example/Sales/Ann"},
        {"$asked": "Works", "Name": "Bob", "Identity": "acme.example/Works/Bob"}]});
    let wishes = [member("sales", "Ann"), member("Sales", "Bob"), member("Works", "CN=Ann,OU=Sales,DC=acme")];
    assert_eq!(planned(R, &wishes, members).len(), 2);
    // By whatever a member is named, they are found and go.
    let (guid, dn) = ("4f2d6f1e-7d2a-4b7c-9c3e-0a1b2c3d4e5f", "CN=Bob,OU=Works,DC=acme");
    let bob = json!({"distribution-group-member": [
        {"$asked": "Works", "Name": "Bob", "Guid": guid, "DistinguishedName": dn, "Identity": "acme.example/Works/Bob"}]});
    for named in ["Bob", guid, dn] {
        assert_eq!(
            planned(R, &[gone("distribution-group-member", &["Works", named])], bob.clone()).len(),
            1,
            "{named}"
        );
        assert_eq!(planned(R, &[member("Works", named)], bob.clone()).len(), 0, "{named}");
    }
    let site = |identity: &str| json!({"owa-virtual-directory": [{"Name": identity, "Server": "MBX-1"}]});
    let plans =
        |identity: &str| planned(R, &[gone("owa-virtual-directory", &["MBX-1", "Site (2)"])], site(identity)).len();
    assert_eq!((plans("owa (Site (2))"), plans("owa (Site 2)")), (1, 0));
}

/// Many objects are matched by their keys, not one against the other.
#[test]
fn many_objects_are_matched_at_once() {
    let many = 20_000;
    let there: Vec<Json> =
        (0..many).map(|i| json!({"Name": format!("R{i}"), "DomainName": format!("d{i}.example")})).collect();
    let wishes: Vec<Wish> = (0..many)
        .map(|i| wish("remote-domain", &[&format!("r{i}")], json!({"DomainName": format!("D{i}.example")})))
        .collect();
    let returned = Returned::from([("remote-domain".to_owned(), there)]);
    let began = std::time::Instant::now();
    let outcome = diff(dialect(), R, &wishes, &returned);
    assert!(outcome.faults.is_empty() && outcome.calls.is_empty());
    // One against the other, these are 400,000,000 comparisons: minutes.
    assert!(began.elapsed().as_secs() < 20, "{:?}", began.elapsed());
}

/// Trap 10: services of a certificate are never taken away.
#[test]
fn additive_properties_only_grow() {
    let wishes = [wish("certificate", &["MBX-1", "AB12"], json!({"Services": "SMTP"}))];
    let there =
        |services: Json| json!({"certificate": [{"Server": "MBX-1", "Thumbprint": "AB12", "Services": services}]});
    assert_eq!(planned(R, &wishes, there(json!("IIS, SMTP"))), Vec::<String>::new());
    assert_eq!(
        planned(R, &wishes, there(json!("IIS"))),
        ["Enable-ExchangeCertificate {\"Server\":\"MBX-1\",\"Services\":\"IIS, SMTP\",\"Thumbprint\":\"AB12\"}"]
    );
    // Read back as nothing: not known, and said so.
    let outcome = diff(dialect(), R, &wishes, &returned(there(Json::Null)));
    assert!(outcome.calls.is_empty() && outcome.unseen.len() == 1, "{outcome:?}");
}

#[test]
fn what_cannot_be_is_refused_all_at_once() {
    let wishes = [
        wish("mail-box", &["x"], json!({})),
        wish("accepted-domain", &["acme"], json!({"DomianType": "Authoritative", "MatchSubDomains": "perhaps"})),
        wish("um-dial-plan", &["plan"], json!({})),
        wish("send-connector", &["out"], json!({"SmartHosts": ["relay"]})),
        wish("mailbox-database", &["DB1"], json!({"Server": "MBX-1", "EdbFilePath": "E:\\x.edb"})),
        wish("mailbox-database", &["DB2"], json!({"ProhibitSendQuota": "1GB"})),
        wish("server", &["mbx-9"], json!({})),
        gone("accepted-domain", &["first"]),
        gone("transport-service", &["mbx-1"]),
        wish("remote-domain", &["a"], json!({"DomainName": "a.example"})),
        wish("remote-domain", &["A"], json!({"DomainName": "a.example"})),
        wish("transport-rule", &["r"], json!({})),
    ];
    let there = json!({"accepted-domain": [{"Name": "first", "Default": true}], "send-connector": [],
        "mailbox-database": [{"Name": "DB1", "Server": "MBX-1", "EdbFilePath": "D:\\x.edb"}, {"Name": "DB2", "ProhibitSendQuota": "ten pigs"}],
        "server": [], "transport-service": [{"Identity": "MBX-1"}], "remote-domain": [{"Name": "a", "DomainName": "a.example"}]});
    let mut faults = refused(R, &wishes, there);
    faults.sort();
    assert_eq!(
        faults,
        [
            "accepted-domain acme: no property DomianType; did you mean DomainType?",
            "accepted-domain acme: the wish for MatchSubDomains: `perhaps` is no bool",
            "accepted-domain first: cannot be removed: an organisation has one default domain; make another one the default first",
            "mail-box x: no such kind; did you mean mailbox?",
            "mailbox-database DB1: EdbFilePath is D:\\x.edb and can be E:\\x.edb in a new object only: remove this one first, or take the wish back",
            "mailbox-database DB2: what the server says of ProhibitSendQuota: `ten pigs` is no bytes-or-unlimited",
            "remote-domain A: wished for twice",
            "send-connector out: cannot be made without AddressSpaces",
            "server mbx-9: is not there, and the product does not let it be made",
            "transport-rule r: what is there was not asked for",
            "transport-service mbx-1: the product does not let it be removed",
            "um-dial-plan plan: exists in Exchange 2010 to 2016",
        ]
    );
}

#[test]
fn secrets_stay_references() {
    let wishes = [wish("mailbox", &["Ann"], json!({"Password": "env:ANN", "UserPrincipalName": "ann@acme.example"}))];
    let outcome = diff(dialect(), R, &wishes, &returned(json!({"mailbox": []})));
    let shown = calls(R, &outcome);
    assert_eq!(
        shown,
        [
            "New-Mailbox {\"Name\":\"Ann\",\"Password\":{\"$secret\":\"env:ANN\"},\"UserPrincipalName\":\"ann@acme.example\"}"
        ]
    );
    let literal = [wish("mailbox", &["Ann"], json!({"Password": "hunter2"}))];
    let said = refused(R, &literal, json!({"mailbox": []})).join(" ");
    assert!(!said.contains("hunter2") && said.contains("Password"), "{said}");
}

/// A value that a shape can have; two that differ for 0 and 1.
pub fn sample(shape: Shape, list: bool, which: usize) -> Json {
    let one = match shape {
        Shape::Bool => json!(which == 0),
        Shape::Switch => json!(true),
        Shape::Int | Shape::IntOrUnlimited => json!(10 + which),
        Shape::Bytes | Shape::BytesOrUnlimited => json!(format!("{}MB", 10 + which)),
        Shape::Timespan | Shape::TimespanOrUnlimited => json!(format!("{}d", 1 + which)),
        Shape::Time => json!(format!("2026-01-0{}T00:00:00Z", 1 + which)),
        Shape::Guid => json!(format!("1fd2670a-902a-840f-79f5-71452{which}e92951")),
        Shape::Url => json!(format!("https://h{which}.acme.example/x")),
        Shape::Address => json!(format!("192.0.2.{which}")),
        Shape::Secret | Shape::Binary => json!("env:X"),
        Shape::Credential => json!({"user": "acme\\ann", "password": "env:X"}),
        Shape::AddressSpace => json!(format!("SMTP:h{which}.example;1")),
        _ => json!(format!("word-{which}")),
    };
    if list && shape != Shape::Credential { json!([one]) } else { one }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// Whatever is wished of whatever kind in whatever release: the calls are ones that the cmdlets take, what is set is what
    /// differed, and once all is so no call is left.
    #[test]
    fn every_call_is_taken_and_the_second_plan_is_empty(at in any::<prop::sample::Index>(), release in 0_usize..5, picks in proptest::collection::vec((any::<prop::sample::Index>(), 0_usize..2), 0..6)) {
        let release = Release::ALL[release];
        let objects: Vec<_> = dialect().objects.values().filter(|o| o.get.on.has(release)).collect();
        let object = at.get(&objects);
        let settable: Vec<_> = object.properties.iter().filter(|p| p.set.is_some_and(|on| on.has(release))).collect();
        let mut picked: BTreeMap<&str, usize> = BTreeMap::new();
        if !settable.is_empty() {
            picked.extend(picks.iter().map(|(i, w)| (i.get(&settable).name.value.as_str(), *w)));
        }
        let key: Vec<&str> = object.key.iter().map(|_| "mbx-1").collect();
        let of = |which: &dyn Fn(&str) -> usize| -> Map<String, Json> {
            picked.keys().map(|n| { let p = object.property(n).unwrap(); ((*n).to_owned(), sample(p.shape, p.list, which(n))) }).collect()
        };
        let wanted = wish(&object.name.value, &key, Json::Object(of(&|n| picked[n])));
        let there = as_found(object, of(&|_| 0));
        let outcome = diff(dialect(), release, std::slice::from_ref(&wanted), &there);
        prop_assert!(outcome.faults.is_empty(), "{:?}", outcome.faults);
        // Parameters that exclude each other in one call are the writer's to choose; each alone must be taken.
        if picked.len() <= 1 { calls(release, &outcome); }
        let changed: BTreeSet<&str> = outcome.calls.iter().flat_map(|c| c.changes.iter().map(|c| c.parameter.as_str())).collect();
        for (name, which) in &picked {
            let p = object.property(name).unwrap();
            let differs = *which != 0 && sample(p.shape, p.list, 0) != sample(p.shape, p.list, 1) && !p.unread;
            prop_assert_eq!(changed.contains(name), differs, "{}", name);
        }
        let again = diff(dialect(), release, &[wanted], &as_found(object, of(&|n| picked[n])));
        prop_assert!(again.calls.is_empty(), "{:?}", again.calls);
    }
}

/// Whatever can be made is made by calls that are taken, in every release and in every way of calling that the dialect knows.
#[test]
fn every_making_is_taken() {
    let mut wrong = BTreeSet::new();
    let mut made = 0;
    for release in Release::ALL {
        for object in dialect().objects.values().filter(|o| o.new.as_ref().is_some_and(|n| n.on.has(release))) {
            let ways: BTreeSet<&str> =
                object.properties.iter().flat_map(|p| p.sets.iter().map(String::as_str)).chain([""]).collect();
            let mut some = false;
            for way in ways {
                let takes = |p: &&Property| p.required && p.on(release) && (p.sets.is_empty() || p.sets.contains(way));
                let needed = object.properties.iter().filter(takes);
                let properties: Map<String, Json> =
                    needed.map(|p| (p.name.value.clone(), sample(p.shape, p.list, 1))).collect();
                let key: Vec<&str> = object.key.iter().map(|_| "mbx-1").collect();
                let wanted = wish(&object.name.value, &key, Json::Object(properties));
                let outcome = diff(dialect(), release, &[wanted], &returned(json!({object.name.value.clone(): []})));
                wrong.extend(against_the_contract(release, &outcome));
                let others =
                    outcome.faults.iter().filter(|f| !matches!(f.trouble, Trouble::Lacks(_) | Trouble::NoWay(_)));
                wrong.extend(others.map(ToString::to_string));
                some |= !outcome.calls.is_empty();
                made += outcome.calls.len();
            }
            if !some {
                wrong.insert(format!("{} cannot be made in {release}", object.name.value));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(made > 500, "{made}");
}

/// Every property of every kind, alone, in every release that has it: one call, and the cmdlet takes it.
#[test]
fn every_setting_is_taken() {
    let mut wrong = BTreeSet::new();
    let mut made = 0;
    for (name, object) in &dialect().objects {
        for release in Release::ALL.into_iter().filter(|r| object.get.on.has(*r)) {
            let kind = Dialect { objects: [(name.clone(), object.clone())].into() };
            for p in
                object.properties.iter().filter(|p| p.set.is_some_and(|on| on.has(release)) && !p.unread && !p.additive)
            {
                let wanted = wish(
                    name,
                    &object.key.iter().map(|_| "mbx-1").collect::<Vec<_>>(),
                    json!({p.name.value.clone(): sample(p.shape, p.list, 1)}),
                );
                let there =
                    as_found(object, [(p.name.value.clone(), sample(p.shape, p.list, 0))].into_iter().collect());
                let outcome = diff(&kind, release, &[wanted], &there);
                wrong.extend(outcome.faults.iter().map(ToString::to_string));
                wrong.extend(against_the_contract(release, &outcome));
                let differs = sample(p.shape, p.list, 0) != sample(p.shape, p.list, 1);
                if outcome.calls.len() != usize::from(differs) {
                    wrong.insert(format!("{name} {}: {} calls", p.name.value, outcome.calls.len()));
                }
                made += outcome.calls.len();
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(made > 8_000, "{made}");
}
