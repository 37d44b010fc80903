//! The dialect of Exchange: that it reads, that it says what is wrong with it, and that it keeps to the contract of the cmdlets.

#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::Path;
use std::sync::OnceLock;

use cutover::exchange::dialect::{Cmdlet, Dialect};
use cutover::exchange::{self, Release, Releases};
use cutover::language;
use cutover::model::{Diagnostics, Sources};

use crate::exchange_contract::{Contract, Parameter};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

pub fn dialect() -> &'static Dialect {
    static DIALECT: OnceLock<Dialect> = OnceLock::new();
    DIALECT.get_or_init(whole)
}

fn whole() -> Dialect {
    let mut diagnostics = Diagnostics::default();
    let dialect = exchange::built_in(&mut Sources::default(), &mut diagnostics);
    let said: Vec<_> = diagnostics.sorted();
    assert!(said.is_empty(), "{said:#?}");
    dialect
}

/// `line:column message (label)` of each mistake in a dialect.
fn said(text: &str) -> Vec<String> {
    let mut sources = Sources::default();
    let id = sources.add("own.kdl", text);
    let nodes = language::parse(&sources, id).unwrap();
    let mut diagnostics = Diagnostics::default();
    exchange::read(&nodes, &mut diagnostics);
    let shown = diagnostics.sorted().into_iter().map(|d| {
        let place = sources.origin(d.labels[0].span);
        format!("{} {}:{} {}", d.code, place.line, place.column, d.message)
    });
    shown.collect()
}

#[test]
fn the_dialect_is_whole() {
    let dialect = dialect();
    assert!(dialect.objects.len() >= 140, "{} kinds", dialect.objects.len());
    let listed: BTreeSet<String> = exchange::FILES.iter().map(|(name, _)| (*name).to_owned()).collect();
    let there: BTreeSet<String> = std::fs::read_dir(root().join("modules/exchange"))
        .unwrap()
        .map(|e| e.unwrap().path())
        .filter(|p| p.extension().is_some_and(|e| e == "kdl"))
        .map(|p| format!("modules/exchange/{}", p.file_name().unwrap().to_str().unwrap()))
        .collect();
    assert_eq!(listed, there);
    // Every kind stands behind all that it waits for.
    let order = dialect.order();
    assert_eq!(order.len(), dialect.objects.len());
    for (at, name) in order.iter().enumerate() {
        for before in &dialect.objects[*name].after {
            assert!(order[..at].contains(&before.value.as_str()), "{name} before {}", before.value);
        }
    }
}

#[test]
fn mistakes_have_a_place_and_come_all_at_once() {
    let text = "object a get=Get-A set=Set-A {\n\
                    key Name\n    by Nmae\n    after b\n\
                    property One type=byts\n    property Two\n    property Three type=bool on=\"2012..\"\n\
                    property Four type=bool required=#true\n    property Five type=bool list=1\n\
                    property Six type=bool\n    property Six type=int\n    leave Seven\n    kept because=\"x\"\n    whatever\n}\n\
                object a get=Get-A\nobject b\nobject c get=Get ask=Server\nrole x\n";
    assert_eq!(
        said(text),
        [
            "E1002 1:8 nothing gives `Nmae` a value",
            "E1001 4:11 no object `b`",
            "E1001 5:19 no type `byts`",
            "E1002 6:14 property `Two` has no type",
            "E1003 7:33 `on` takes releases of Exchange, not `2012..`",
            "E1003 8:1 property `Four`: `required` is said of the making",
            "E1003 9:34 `list` is #true or #false",
            "E1004 11:14 property `Six` is defined twice",
            "E1002 12:5 `leave` has no reason",
            "E1002 13:5 `kept` names one property and its value",
            "E1001 14:5 no word of `object` `whatever`",
            "E1004 16:8 object `a` is defined twice",
            "E1002 17:8 object `b` cannot be seen",
            "E1003 18:14 `get` takes a cmdlet",
            "E1002 18:22 `ask` and `of` stand together",
            "E1001 19:1 no node of the dialect `role`",
        ]
    );
    let circle = "object a get=Get-A { after c; }\nobject b get=Get-B { after a; }\nobject c get=Get-C { after b; }\n";
    let told = said(circle);
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].contains("wait for each other"), "{told:?}");
}

fn spread(on: Releases) -> BTreeSet<Release> {
    Release::ALL.into_iter().filter(|r| on.has(*r)).collect()
}

fn parameters<'a>(
    contract: &'a Contract,
    cmdlet: &'a Option<Cmdlet>,
) -> Option<(&'a Cmdlet, &'a BTreeMap<String, Parameter>)> {
    let cmdlet = cmdlet.as_ref()?;
    Some((cmdlet, &contract.cmdlet(&cmdlet.name)?.parameters))
}

/// Every cmdlet and parameter of the dialect is in the contract, in the same releases; every parameter that must be given is; and
/// every parameter of a `Set-` cmdlet is a wish, part of the key, or left out with a reason.
#[test]
fn the_dialect_keeps_to_the_contract() {
    let Some(contract) = Contract::open("the_dialect_keeps_to_the_contract") else { return };
    let mut wrong = String::new();
    for (kind, object) in &dialect().objects {
        let cmdlets = [Some(&object.get), object.new.as_ref(), object.set.as_ref(), object.remove.as_ref()];
        for Cmdlet { name, on } in cmdlets.into_iter().flatten() {
            match contract.cmdlet(name) {
                None => writeln!(wrong, "{kind}: no cmdlet {name}").unwrap(),
                Some(c) if !spread(*on).is_subset(&c.on) => writeln!(wrong, "{kind}: {name} is not in {on}").unwrap(),
                Some(_) => {}
            }
        }
        for property in &object.properties {
            for (on, cmdlet) in [(property.set, &object.set), (property.new, &object.new)] {
                let (Some(on), Some((cmdlet, parameters))) = (on, parameters(contract, cmdlet)) else { continue };
                let name = &property.name.value;
                let has: Option<BTreeSet<Release>> =
                    parameters.get(name).map(|p| p.on.intersection(&spread(cmdlet.on)).copied().collect());
                if has.as_ref() != Some(&spread(on)) {
                    writeln!(wrong, "{kind}: {} -{name} in {on}: {has:?}", cmdlet.name).unwrap();
                }
            }
        }
        if let Some((cmdlet, parameters)) = parameters(contract, &object.set) {
            for (name, _) in parameters.iter().filter(|(_, p)| !p.common && p.on.iter().any(|r| cmdlet.on.has(*r))) {
                let known = object.property(name).is_some_and(|p| p.set.is_some())
                    || object.by.contains(name)
                    || object.left.contains_key(name);
                if !known {
                    writeln!(wrong, "{kind}: {} -{name} is not spoken of", cmdlet.name).unwrap();
                }
            }
            for name in object.left.keys().filter(|n| !parameters.contains_key(*n)) {
                writeln!(wrong, "{kind}: {} has no -{name} to be left", cmdlet.name).unwrap();
            }
        }
        for (named, cmdlet) in [(&object.by, &object.set), (&object.by, &object.remove)] {
            let Some((cmdlet, parameters)) = parameters(contract, cmdlet) else { continue };
            for name in named.iter().filter(|n| !parameters.contains_key(*n)) {
                writeln!(wrong, "{kind}: {} has no -{name}", cmdlet.name).unwrap();
            }
        }
        if let Some((cmdlet, parameters)) = parameters(contract, &object.new) {
            for (name, p) in parameters.iter().filter(|(_, p)| p.required && p.on.iter().any(|r| cmdlet.on.has(*r))) {
                let given =
                    object.key.contains(name) || object.property(name).is_some_and(|q| q.required && q.sets == p.sets);
                // A way of calling that the dialect does not go: another set is there for it.
                if !given && (p.sets.is_empty() || object.property(name).is_some()) {
                    writeln!(wrong, "{kind}: {} needs -{name} {:?}", cmdlet.name, p.sets).unwrap();
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

/// What ExchangeDsc has resources for that have a `Get-` and a `Set-`. Which 22 of them its figure was counted over is not known.
const PAIRED: [&str; 29] = [
    "AcceptedDomain",
    "ActiveSyncVirtualDirectory",
    "AddressList",
    "AutodiscoverVirtualDirectory",
    "ClientAccessServer",
    "ClientAccessService",
    "DatabaseAvailabilityGroup",
    "DatabaseAvailabilityGroupNetwork",
    "EcpVirtualDirectory",
    "EventLogLevel",
    "ExchangeServer",
    "FrontendTransportService",
    "ImapSettings",
    "MailboxDatabase",
    "MailboxDatabaseCopy",
    "MailboxServer",
    "MailboxTransportService",
    "MapiVirtualDirectory",
    "OabVirtualDirectory",
    "OutlookAnywhere",
    "OwaVirtualDirectory",
    "PopSettings",
    "PowerShellVirtualDirectory",
    "ReceiveConnector",
    "RemoteDomain",
    "SendConnector",
    "TransportService",
    "UMService",
    "WebServicesVirtualDirectory",
];

/// The table of docs/exchange.md. `UPDATE_DOCS=1` writes it.
#[test]
fn the_table_of_coverage_is_true() {
    let Some(contract) = Contract::open("the_table_of_coverage_is_true") else { return };
    let dialect = dialect();
    let mut cmdlets: BTreeSet<&str> = BTreeSet::new();
    let (mut paired, mut covered) = (0, 0);
    let (mut all, mut wished) = (0, 0);
    let mut reasons: BTreeMap<&str, usize> = BTreeMap::new();
    for object in dialect.objects.values() {
        let all_four = [Some(&object.get), object.new.as_ref(), object.set.as_ref(), object.remove.as_ref()];
        cmdlets.extend(all_four.into_iter().flatten().map(|c| c.name.as_str()));
        let Some(set) = &object.set else { continue };
        let Some(noun) = set.name.strip_prefix("Set-") else { continue };
        let there = contract.cmdlet(&set.name).unwrap().parameters.iter().filter(|(_, p)| !p.common);
        let there = there.filter(|(name, _)| !object.by.contains(name));
        let mut counted = (0, 0);
        for (name, _) in there {
            counted.0 += 1;
            counted.1 += usize::from(object.property(name).is_some_and(|p| p.set.is_some()));
            if let Some(why) = object.left.get(name).filter(|_| PAIRED.contains(&noun)) {
                *reasons.entry(why).or_default() += 1;
            }
        }
        (all, wished) = (all + counted.0, wished + counted.1);
        if PAIRED.contains(&noun) {
            (paired, covered) = (paired + counted.0, covered + counted.1);
        }
    }
    let percent = |part: usize, whole: usize| part * 1000 / whole;
    let tenth = |p: usize| format!("{}.{}%", p / 10, p % 10);
    let mut made = format!(
        "| | this dialect | ExchangeDsc |\n|---|---|---|\n\
         | kinds of objects | {} | 40 resources |\n\
         | cmdlets named | {} of 896 | 97 of 896 |\n\
         | parameters of the `Set-` cmdlets that ExchangeDsc pairs | {covered} of {paired} ({}), over 29 cmdlets | 481 of 735 (65%), over 22 |\n\
         | parameters of all `Set-` cmdlets of the dialect | {wished} of {all} ({}) | |\n\n",
        dialect.objects.len(),
        cmdlets.len(),
        tenth(percent(covered, paired)),
        tenth(percent(wished, all)),
    );
    made.push_str("Left out of the paired ones:\n\n");
    for (why, count) in reasons {
        writeln!(made, "* {count}: {why}").unwrap();
    }
    assert!(percent(covered, paired) >= 950, "{made}");
    let path = root().join("docs/exchange.md");
    let page = std::fs::read_to_string(&path).unwrap();
    let (head, rest) = page.split_once("<!-- coverage -->\n").expect("where the table begins");
    let (table, tail) = rest.split_once("<!-- end of coverage -->").expect("where the table ends");
    if std::env::var_os("UPDATE_DOCS").is_some() {
        let new = format!("{head}<!-- coverage -->\n{made}<!-- end of coverage -->{tail}");
        std::fs::write(&path, new).unwrap();
        return;
    }
    assert!(table == made, "docs/exchange.md is old: run this test with UPDATE_DOCS=1\n{made}");
}
