//! What servers are asked and told, and what is made of their answers: whoever does not answer is never taken for an empty place.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;

use cutover::exchange::Release;
use cutover::exchange::diff::Wish;
use cutover::exchange::far::{End, Gathered, ended, questions, told};
use serde_json::{Map, Value as Json, json};
use zeroize::Zeroizing;

use crate::exchange_contract::Contract;
use crate::exchange_dialect::dialect;

const R: Release = Release::E2019;

fn wish(kind: &str, key: &[&str], properties: Json) -> Wish {
    let properties = properties.as_object().unwrap().clone().into_iter().collect();
    Wish { kind: kind.to_owned(), key: key.iter().map(|k| (*k).to_owned()).collect(), properties, absent: false }
}

fn marked(json: &Json) -> String {
    format!("hello\r\n-----BEGIN CUTOVER ANSWER-----\r\n{json}\r\n-----END CUTOVER ANSWER-----\r\n")
}

fn error(reason: &str, absent: bool) -> Json {
    json!({"id": "[Server=X],Y", "reason": reason, "text": "it says so", "absent": absent})
}

fn answer(kind: &str, objects: Json, errors: Json) -> Json {
    json!({"kind": kind, "objects": objects, "warnings": ["slow"], "errors": errors})
}

fn midsize() -> Vec<Wish> {
    vec![
        wish("accepted-domain", &["acme"], json!({"DomainName": "acme.example", "DomainType": "Authoritative"})),
        wish("mailbox-database", &["DB1"], json!({"Server": "MBX-1", "DeletedItemRetention": "14d"})),
        wish("mailbox-database-copy", &["DB1", "MBX-2"], json!({"ActivationPreference": 2})),
        wish("dag", &["DAG1"], json!({})),
        wish("dag-member", &["DAG1", "MBX-1"], json!({})),
        wish(
            "owa-virtual-directory",
            &["MBX-1", "Default Web Site"],
            json!({"ExternalUrl": "https://mail.acme.example/owa"}),
        ),
        wish("pop-settings", &["mbx-1.acme.example"], json!({"X509CertificateName": "mail.acme.example"})),
        wish("pop-settings", &["mbx-2"], json!({"X509CertificateName": "mail.acme.example"})),
        wish("mailbox-permission", &["Info", "ACME\\ann", "FullAccess"], json!({})),
        wish("no-such-kind", &["x"], json!({})),
    ]
}

#[test]
fn one_request_for_all_and_one_a_host() {
    let all = questions(dialect(), R, &midsize());
    assert_eq!(all.hosts.keys().collect::<Vec<_>>(), ["mbx-1", "mbx-2"]);
    assert_eq!(all.round_trips(), 3);
    let asks: Vec<String> =
        all.organization.asks.iter().map(|a| format!("{} {}", a.cmdlet, Json::Object(a.parameters.clone()))).collect();
    assert_eq!(
        asks.iter().map(String::as_str).collect::<BTreeSet<_>>(),
        [
            "Get-AcceptedDomain {}",
            "Get-DatabaseAvailabilityGroup {}",
            "Get-MailboxDatabase {}",
            "Get-MailboxPermission {\"Identity\":\"Info\"}",
        ]
        .into()
    );
    let databases = all.organization.asks.iter().find(|a| a.cmdlet == "Get-MailboxDatabase").unwrap();
    assert_eq!(databases.kinds.len(), 2);
    for needed in ["Name", "Guid", "ActivationPreference", "DeletedItemRetention", "Server"] {
        assert!(databases.properties.contains(needed), "{needed}");
    }
    assert!(!databases.properties.contains("ProhibitSendQuota"), "nobody wished for it");
    assert_eq!(all.hosts["mbx-1"].asks.len(), 2);
    let request = all.hosts["mbx-2"].told();
    assert_eq!(request["asks"][0]["parameters"], json!({"Server": "mbx-2"}));
    // What is removed is looked at whole.
    let gone = Wish { absent: true, ..wish("mailbox-database", &["DB1"], json!({})) };
    assert!(questions(dialect(), R, &[gone]).organization.asks[0].properties.contains("ProhibitSendQuota"));
    // A release that has no such objects is not asked for them.
    let plan = [wish("um-dial-plan", &["plan"], json!({}))];
    assert_eq!(questions(dialect(), R, &plan).round_trips(), 0);
    assert_eq!(questions(dialect(), Release::E2016, &plan).round_trips(), 1);
}

/// Where Microsoft's page contradicts its own examples: `Get-ManagementRole` is shown there without a parameter, and
/// `-Identity` is what the 2010 cmdlet is about.
const ODD_PAGES: [&str; 2] =
    ["Get-ManagementRole: no set takes {} in ", "Get-MailboxRegionalConfiguration -Identity: not in 2010"];

/// Every question of every kind in every release is one that the cmdlet takes.
#[test]
fn every_question_is_taken() {
    let Some(contract) = Contract::open("every_question_is_taken") else { return };
    let mut wrong = BTreeSet::new();
    for release in Release::ALL {
        for (kind, object) in &dialect().objects {
            let key: Vec<&str> = object.key.iter().map(|_| "mbx-1").collect();
            let all = questions(dialect(), release, &[wish(kind, &key, json!({}))]);
            assert_eq!(all.round_trips(), usize::from(object.get.on.has(release)), "{kind}");
            for ask in all.organization.asks.iter().chain(all.hosts.values().flat_map(|r| &r.asks)) {
                wrong.extend(contract.wrong(
                    release,
                    &ask.cmdlet,
                    &ask.parameters.keys().map(String::as_str).collect(),
                ));
            }
        }
    }
    wrong.retain(|w: &String| !ODD_PAGES.iter().any(|odd| w.starts_with(odd)));
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn silence_is_never_absence() {
    let wishes = midsize();
    let all = questions(dialect(), R, &wishes[..9]);
    let at = |cmdlet: &str| all.organization.asks.iter().position(|a| a.cmdlet == cmdlet).unwrap().to_string();
    let mut gathered = Gathered::default();
    gathered.take(
        &all.organization,
        &marked(&json!({"simulation": true, "answers": [
            answer(&at("Get-AcceptedDomain"), json!([]), json!([])),
            // Some came, and then the line to the directory broke.
            answer(&at("Get-MailboxDatabase"), json!([{"Name": "DB9"}]), json!([error("ADTransientException", false)])),
            // A list that says "not found" does not speak of what was asked.
            answer(&at("Get-DatabaseAvailabilityGroup"), json!([]), json!([error("ManagementObjectNotFoundException", true)])),
            answer(&at("Get-MailboxPermission"), json!([]), json!([error("ManagementObjectNotFoundException", true)])),
        ]})),
    );
    gathered.take(&all.hosts["mbx-1"], "Connection reset");
    let [owa, pop] = &all.hosts["mbx-1"].asks[..] else { panic!() };
    assert_ne!(owa.cmdlet, pop.cmdlet);
    gathered.take(
        &all.hosts["mbx-2"],
        &marked(&json!({"answers": [answer("0", json!([{"X509CertificateName": "old"}]), json!([]))]})),
    );
    assert!(gathered.simulated);
    assert!(gathered.warnings.contains(&("Get-AcceptedDomain".to_owned(), "slow".to_owned())));
    let outcome = gathered.diff(dialect(), R, &wishes);
    let faults: BTreeSet<String> = outcome.faults.iter().map(ToString::to_string).collect();
    let calls: Vec<String> = outcome.calls.iter().map(|c| format!("{} {}", c.cmdlet, c.key.join("\\"))).collect();
    assert_eq!(
        calls.into_iter().collect::<BTreeSet<_>>(),
        ["Add-MailboxPermission Info\\ACME\\ann\\FullAccess", "New-AcceptedDomain acme", "Set-PopSettings mbx-2"]
            .map(str::to_owned)
            .into()
    );
    let silent = |what: &str, why: &str| format!("{what}: what is there could not be asked for: {why}");
    let broken = "Get-MailboxDatabase: it says so (ADTransientException)";
    let cut = "the script ended without an answer";
    let expected: BTreeSet<String> = [
        silent("mailbox-database DB1", broken),
        silent("mailbox-database-copy DB1\\MBX-2", broken),
        silent("dag DAG1", "Get-DatabaseAvailabilityGroup: it says so (ManagementObjectNotFoundException)"),
        silent(
            "dag-member DAG1\\MBX-1",
            "Get-DatabaseAvailabilityGroup: it says so (ManagementObjectNotFoundException)",
        ),
        silent("owa-virtual-directory MBX-1\\Default Web Site", cut),
        silent("pop-settings mbx-1.acme.example", cut),
        "no-such-kind x: no such kind".to_owned(),
    ]
    .into();
    assert_eq!(faults, expected);
}

/// However an answer is cut or twisted, what is not told in it is not known, and no object is made that may be there.
#[test]
fn no_twisted_answer_makes_anything() {
    let wishes = [
        wish("remote-domain", &["A"], json!({"DomainName": "a.example"})),
        wish("send-connector", &["out"], json!({"AddressSpaces": "*"})),
    ];
    let all = questions(dialect(), R, &wishes);
    let (domain, connector) =
        (json!([{"Name": "a", "DomainName": "a.example"}]), json!([{"Name": "out", "AddressSpaces": ["SMTP:*;1"]}]));
    let n = |cmdlet: &str| all.organization.asks.iter().position(|a| a.cmdlet == cmdlet).unwrap().to_string();
    let (d, c) = (n("Get-RemoteDomain"), n("Get-SendConnector"));
    let whole = json!({"answers": [answer(&d, domain.clone(), json!([])), answer(&c, connector.clone(), json!([]))]});
    let calls = |out: &str| {
        let mut gathered = Gathered::default();
        gathered.take(&all.organization, out);
        let outcome = gathered.diff(dialect(), R, &wishes);
        (outcome.calls.len(), outcome.faults.len())
    };
    assert_eq!(calls(&marked(&whole)), (0, 0));
    let text = marked(&whole);
    for cut in (0..text.len() - 3).filter(|c| text.is_char_boundary(*c)) {
        let (made, faults) = calls(&text[..cut]);
        assert_eq!(made, 0, "cut at {cut}");
        assert!(faults == 2 || cut > text.len() - 5, "cut at {cut}: {faults}");
    }
    for twisted in [
        json!({"answers": [answer(&d, domain.clone(), json!([]))]}),
        json!({"answers": [answer(&d, domain.clone(), json!([])), answer(&c, json!({}), json!([]))]}),
        json!({"answers": [answer(&d, domain.clone(), json!([])), answer(&c, connector.clone(), json!([{"id": 1}]))]}),
        json!({"answers": [answer(&d, domain.clone(), json!([])), answer(&c, json!(["out"]), json!([]))]}),
        json!({"answers": [answer(&d, domain, json!([])), answer(&c, connector.clone(), json!([])), answer(&c, connector, json!([]))]}),
    ] {
        assert_eq!(calls(&marked(&twisted)), (0, 1), "{twisted}");
    }
    for broken in [json!({"failed": error("X", false)}), json!({"failed": 1}), json!({}), json!([])] {
        assert_eq!(calls(&marked(&broken)), (0, 2), "{broken}");
    }
}

#[test]
fn a_login_without_credentials_is_told_with_what_to_do() {
    let wishes = [wish("remote-domain", &["A"], json!({"DomainName": "a.example"}))];
    let all = questions(dialect(), R, &wishes);
    let mut gathered = Gathered::default();
    let failed = json!({"id": "x", "reason": "ADInvalidCredentialException", "text": "The supplied credential is invalid.", "absent": false});
    gathered.take(&all.organization, &marked(&json!({"failed": failed})));
    let said = gathered.diff(dialect(), R, &wishes).faults[0].to_string();
    assert!(said.contains("a login by key has no credentials for the directory"), "{said}");
}

#[test]
fn secrets_stand_only_in_what_is_told() {
    let wishes = [
        wish("mailbox", &["Ann"], json!({"Password": "env:ANN", "UserPrincipalName": "ann@acme.example"})),
        wish(
            "send-connector",
            &["out"],
            json!({"AddressSpaces": "*", "AuthenticationCredential": {"user": "ACME\\relay", "password": "env:RELAY"}}),
        ),
        wish("certificate", &["MBX-1", "AB12"], json!({"FileData": "file:cert.pfx"})),
    ];
    let mut gathered = Gathered::default();
    for kind in ["mailbox", "send-connector", "certificate"] {
        gathered.returned.insert(kind.to_owned(), Vec::new());
    }
    let outcome = gathered.diff(dialect(), R, &wishes);
    assert!(outcome.faults.is_empty(), "{:?}", outcome.faults);
    assert!(!serde_json::to_string(&outcome.calls).unwrap().contains("hunter"));
    let read = |reference: &str| Ok(Zeroizing::new(format!("hunter2 of {reference}\n").into_bytes()));
    let document: Json = serde_json::from_str(&told(&outcome.calls, read).unwrap()).unwrap();
    let parameters = |cmdlet: &str| -> Map<String, Json> {
        let calls = document["calls"].as_array().unwrap();
        calls.iter().find(|c| c["cmdlet"] == cmdlet).unwrap()["parameters"].as_object().unwrap().clone()
    };
    assert_eq!(parameters("New-Mailbox")["Password"], json!({"$secure": "hunter2 of env:ANN"}));
    assert_eq!(
        parameters("New-SendConnector")["AuthenticationCredential"],
        json!({"$user": "ACME\\relay", "$secure": "hunter2 of env:RELAY"})
    );
    assert_eq!(
        parameters("Import-ExchangeCertificate")["FileData"],
        json!({"$bytes": "aHVudGVyMiBvZiBmaWxlOmNlcnQucGZ4Cg=="})
    );
    // All that cannot be had is told, by name.
    let wrong = told(&outcome.calls, |r| Err(format!("{r} is not set"))).unwrap_err();
    assert_eq!(wrong.len(), 3, "{wrong:?}");
    assert!(wrong.iter().any(|w| w.to_string() == "New-Mailbox -Password: env:ANN is not set"), "{wrong:?}");
}

#[test]
fn ends_are_known_or_unknown() {
    let wishes: Vec<Wish> =
        ["A", "B", "C"].iter().map(|n| wish("remote-domain", &[n], json!({"DomainName": "x.example"}))).collect();
    let mut gathered = Gathered::default();
    gathered.returned.insert("remote-domain".to_owned(), Vec::new());
    let calls = gathered.diff(dialect(), R, &wishes).calls;
    assert_eq!(calls.len(), 3);
    let done = json!({"cmdlet": "New-RemoteDomain", "done": true, "warnings": [], "errors": []});
    let failed = json!({"cmdlet": "New-RemoteDomain", "done": false, "warnings": [], "errors": [error("X", false)]});
    let word = |json: Json| -> Vec<&'static str> {
        let ends = ended(&calls, &marked(&json));
        ends.iter()
            .map(|e| match e {
                End::Done { .. } => "done",
                End::Failed { .. } => "failed",
                End::NotBegun => "not begun",
                End::Unknown { .. } => "unknown",
            })
            .collect()
    };
    assert_eq!(word(json!({"results": [done, done, done]})), ["done", "done", "done"]);
    assert_eq!(word(json!({"results": [done, failed]})), ["done", "failed", "not begun"]);
    // The script broke before the second call, and within it.
    assert_eq!(
        word(json!({"results": [done], "begun": 1, "failed": error("X", false)})),
        ["done", "failed", "not begun"]
    );
    assert_eq!(
        word(json!({"results": [done], "begun": 2, "failed": error("X", false)})),
        ["done", "unknown", "not begun"]
    );
    assert_eq!(
        word(json!({"results": [], "begun": 0, "failed": error("X", false)})),
        ["failed", "not begun", "not begun"]
    );
    assert_eq!(word(json!({"results": [done]})), ["done", "unknown", "unknown"]);
    assert_eq!(
        word(json!({"results": [{"cmdlet": "Other", "done": true, "warnings": [], "errors": []}, done, done]})),
        ["unknown", "done", "done"]
    );
    assert_eq!(word(json!({"results": [done, done, done, done]})), ["unknown", "unknown", "unknown"]);
    assert!(ended(&calls, "").iter().all(|e| matches!(e, End::Unknown { .. })));
}
