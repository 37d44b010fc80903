//! Layers of the language: environments, verbs, maps, stand-ins, time.

use std::path::Path;

use cutover::language::{self, Options};
use cutover::lowering;
use cutover::model::Diagnostics;
use cutover::model::site::Site;
use cutover::model::topology::{Topology, Value};
use cutover::model::unit::format_duration;

use super::language::{draw, files};
use super::language_rules::{codes, expect, good, lab};

fn shown(t: &Topology, kind: &str, name: &str, field: &str) -> Vec<String> {
    let node = t.get(kind, name).unwrap_or_else(|| panic!("{kind} {name}"));
    node.values(field)
        .map(|v| match &v.value {
            Value::Text(t) => t.to_string(),
            Value::Ref(id) => id.to_string(),
            Value::Duration(d) => format_duration(*d),
            other => format!("{other:?}"),
        })
        .collect()
}

/// Lowered through the built-in packs and those of a folder; certificates and keys are stand-ins.
pub fn lowered(c: &language::Compiled, root: &Path) -> (Site, Diagnostics) {
    let (mut sources, mut found) = (c.sources.clone(), Diagnostics::default());
    let packs = cutover::cli::packs::load(root, &mut sources, &mut found);
    // A list of each name, with one person.
    let list = |path: &str| {
        let user: String = path.chars().filter(char::is_ascii_alphanumeric).collect();
        Ok(if path.ends_with("ldif") {
            format!(
                "dn: cn={user}\nmail: {user}@acme.example\n\n\
                 dn: cn=g{user}\nobjectClass: group\nmail: g{user}@acme.example\nmember: cn={user}\n"
            )
        } else {
            format!("mail\n{user}@acme.example\n")
        })
    };
    let (accounts, wrong) = cutover::people::accounts(&c.topology, &list);
    wrong.into_iter().for_each(|d| found.push(d));
    let mut needs = lowering::needs(&c.topology);
    needs.of_people(&accounts);
    let (people, wrong) = cutover::people::everybody(&c.topology, &accounts, &list);
    wrong.into_iter().for_each(|d| found.push(d));
    let made = lowering::Options { accounts, people, ..lowering::Options::unissued(&needs) };
    let (site, more) = lowering::lower(&c.topology, &packs, &sources, &made);
    found.extend(more);
    (site, found)
}

fn layers(t: &Topology, kind: &str, name: &str, field: &str) -> Vec<String> {
    let node = t.get(kind, name).unwrap_or_else(|| panic!("{kind} {name}"));
    node.fields.get(field).map(|f| f.layers.iter().map(|l| l.by.to_string()).collect()).unwrap_or_default()
}

/// The order of verbs never matters: where it would, it is a mistake.
#[test]
fn two_verbs_on_one_thing_are_a_mistake() {
    for clash in [
        "(patch)server hub os=x\n(remove)server hub",
        "(replace)server hub platform=ex site=dublin { roles hub; }\n(patch)server hub os=x",
        "(replace)server hub platform=ex site=dublin { roles hub; }\n(patch)server \"*\" os=x",
        "(replace)server hub platform=ex site=dublin { roles hub; }\n(remove)server hub",
        "(add)server new platform=ex site=dublin { roles hub; }\n(patch)server new os=x",
        "(add)server new platform=ex site=dublin { roles hub; }\n(remove)server new",
        "(add)server new platform=ex site=dublin { roles hub; }\n(add)server new platform=ex site=dublin { roles cas; }",
        "(remove)server mbx-1\n(remove)server \"mbx-[1:2]\"",
        "(remove)server mbx-1\n(take)server \"mbx-[1:3]\" 1",
        "(remove)server mbx-1\n(take)server \"mbx-*\" 1",
        "(take)server \"mbx-[1:3]\" 2\n(take)server \"mbx-[1:2]\" 1",
        "(patch)server hub { (add)roles cas; (remove)roles hub; }",
        "(patch)server hub { roles cas; (add)roles um; }",
    ] {
        expect(&lab(clash), &["E0405"]);
        // Written the other way round it is the same mistake.
        if clash.contains('\n') {
            let turned: Vec<&str> = clash.split('\n').rev().collect();
            expect(&lab(&turned.join("\n")), &["E0405"]);
        }
    }
    // A pattern may cover what is added, taken away or counted off.
    good(
        &lab(
            "(add)server new platform=ex site=dublin { roles hub; }\n(patch)server \"*\" os=x\n(remove)server hub\n(take)server \"mbx-[1:3]\" 2",
        ),
        Some("lab"),
    );
}

#[test]
fn two_verbs_on_one_child_are_a_mistake() {
    let zone = "dns-provider d type=manual\nzone a.example provider=d { record www A \"192.0.2.1\"; record mx A \"192.0.2.2\"; }\n";
    for clash in [
        "(remove)record www A; record www A \"192.0.2.9\"",
        "record www A \"192.0.2.9\"; (remove)record www A",
        "(replace)record www A \"192.0.2.9\"; record www A ttl=\"5m\"",
    ] {
        expect(&format!("{zone}{}", lab(&format!("(patch)zone a.example {{ {clash}; }}"))), &["E0405"]);
    }
    good(
        &format!("{zone}{}", lab("(patch)zone a.example { (remove)record www A; record mx A \"192.0.2.9\"; }")),
        Some("lab"),
    );
}

#[test]
fn final_children_are_closed_too() {
    let text = "escalation e { (final)tier ops resolves=\"60%\"; tier top; }\nteam ops\nteam top\n";
    expect(&format!("{text}{}", lab("(patch)escalation e { tier ops resolves=\"10%\"; }")), &["E0406"]);
    expect(&format!("{text}{}", lab("(patch)escalation e { (remove)tier ops; }")), &["E0406"]);
    good(&format!("{text}{}", lab("(patch)escalation e { tier top resolves=\"10%\"; }")), Some("lab"));
}

#[test]
fn an_environment_takes_what_it_does_not_say_from_the_one_it_extends() {
    let text = "environment base-lab purpose=lab runtime=containers time-scale=60\nenvironment mid purpose=test extends=base-lab\nenvironment leaf purpose=test extends=mid protected=#true runtime=hosts";
    let t = good(text, Some("leaf"));
    let leaf = t.get("environment", "leaf").expect("leaf");
    assert_eq!(
        (leaf.text("purpose"), leaf.text("runtime"), leaf.int("time-scale")),
        (Some("test"), Some("hosts"), Some(60))
    );
    assert_eq!(t.get("environment", "mid").and_then(|e| e.text("runtime")), Some("containers"));
    assert_eq!(layers(&t, "environment", "leaf", "time-scale"), ["environment base-lab"]);
}

const WINDOW: &str = "rollback-point back valid-for=\"7d\" { restores dns; }\n\
    cutover-window night start=\"2026-03-07T22:00\" for=\"6h\" rollback=back { step flip-mx timeout=\"15m\"; }\n\
    legacy old product=imap host=old.example\n\
    migration m strategy=phased from=old to=ex\n\
    cohort c migration=m type=pilot window=night { select { users a@a.example; }; notices n; }\n\
    communication n template=\"n.hbs\" { audience users; at \"-1d\" \"+1h\"; }\n\
    dns-provider d type=manual\n\
    zone a.example provider=d ttl=\"1h\" cutover-ttl=\"5m\"\n\
    probe p type=smtp timeout=\"10s\" { to hub; }\n";

#[test]
fn time_scale_shrinks_timers_of_the_process_and_nothing_else() {
    let t = good(
        &format!("{WINDOW}environment fast purpose=lab time-scale=60\nenvironment leaf purpose=lab extends=fast"),
        Some("leaf"),
    );
    assert_eq!(shown(&t, "cutover-window", "night", "for"), ["6m"]);
    assert_eq!(shown(&t, "rollback-point", "back", "valid-for"), ["168m"]);
    // A default is scaled too: what nobody wrote must not soak for half an hour in a lab.
    assert_eq!(shown(&t, "cohort", "c", "canary-soak"), ["30s"]);
    assert_eq!(shown(&t, "communication", "n", "at"), ["-24m", "+1m"]);
    assert_eq!(layers(&t, "cutover-window", "night", "for"), ["base", "time-scale"]);
    assert_eq!(layers(&t, "cohort", "c", "canary-soak"), ["default", "time-scale"]);
    let step =
        t.get("cutover-window", "night").and_then(|w| w.children("step").next()).and_then(|s| s.duration("timeout"));
    assert_eq!(step.map(format_duration).as_deref(), Some("15s"));
    for (kind, name, field, stays) in [
        ("zone", "a.example@both", "ttl", "1h"),
        ("zone", "a.example@both", "cutover-ttl", "5m"),
        ("probe", "p", "timeout", "10s"),
        ("probe", "p", "every", "1m"),
    ] {
        assert_eq!(shown(&t, kind, name, field), [stays], "{kind}.{field}");
    }
    let base = good(WINDOW, None);
    assert_eq!(shown(&base, "cutover-window", "night", "for"), ["6h"]);
}

#[test]
fn maps_work_on_all_of_a_text_and_never_make_two_of_one() {
    let text = "dns-provider d type=manual\nzone a.example provider=d { record \"@\" TXT \"v=spf1 ip4:10.1.2.0/24 ip6:2001:db8::1 include:b.example -all\"; record w A \"10.1.2.3\"; }\nzone b.example provider=d\n";
    let maps = "domain-map a.example to=a.test\ndomain-map b.example to=a.example\naddress-map \"10.1.0.0/16\" to=\"10.9.0.0/16\"\naddress-map \"2001:db8::/64\" to=\"fd00:1::/64\"";
    let t = good(&format!("{text}{}", lab(maps)), Some("lab"));
    let zone = t.get("zone", "a.test@both").expect("mapped");
    let values: Vec<_> = zone.children("record").map(|r| r.texts("values").join(" ")).collect();
    assert_eq!(values, ["v=spf1 ip4:10.9.2.0/24 ip6:fd00:1::1 include:a.example -all", "10.9.2.3"]);
    let by: Vec<_> = zone
        .children("record")
        .next()
        .and_then(|r| r.fields.get("values"))
        .expect("values")
        .layers
        .iter()
        .map(|l| l.by.to_string())
        .collect();
    assert_eq!(by, ["base", "domain-map", "address-map"]);
    assert_eq!(layers(&t, "zone", "a.test@both", "name"), ["name", "domain-map"]);
    expect(&format!("{text}{}", lab("domain-map a.example to=c.test\ndomain-map b.example to=c.test")), &["E0412"]);
    expect(&format!("{text}{}", lab("domain-map a.example to=b.example")), &["E0412"]);
}

const ORGANIZATION: &str = "\
platform exchange exchange=\"2010\"\nplatform linux postfix=\"3.7\" dovecot=\"2.3\"\nsite here\n\
server \"mb-[1:2]\" platform=exchange site=here { roles mailbox; }\n\
server front platform=exchange site=here { roles cas hub; }\n\
server phone platform=exchange site=here { roles um; }\n\
server gate platform=linux site=here { roles relay; }\n\
witness w host=front\n\
dag store witness=w { members \"mb-[1:2]\"; }\n\
database \"db-[1:2]\" on=store\n\
edge-subscription edges site=here { edges front; }\n\
load-balancer lb type=haproxy { members front; ports 443; }\n\
namespace mail.a.example target=lb { services owa imap ews; virtual-directory owa; virtual-directory ews; }\n\
namespace gate.a.example target=gate { services imap; }\n\
probe web type=owa { to mail.a.example; }\n\
probe inner type=owa { to gate; }\n\
legacy old product=imap host=old.example\n\
cms mover from=old to=store extractor=imap importer=ews { items messages; }\n\
proxy door old=old new=exchange { on gate; listen imap; }\n\
test-plan t environment=lab { scenario s as=failure { covers dag:store \"role:mailbox\"; }; }\n\
sla all type=availability { of \"*\"; }\n\
artifact installer url=\"https://a.example/x\" sha256=ab { of exchange; }\n";

const STAND_IN: &str = "stand-in exchange with=linux {\n map role:mailbox imap\n map role:cas imap\n map role:hub smtp\n map role:um none\n map kind:dag pair\n map kind:edge-subscription none\n map service:owa imap\n map service:ews none\n map probe:owa imap\n map importer:ews imap\n}";

/// A stand-in replaces the platform of its servers and all that was said of them, and nothing of other platforms.
#[test]
fn a_stand_in_replaces_a_platform_with_all_that_hangs_on_it() {
    let t = good(&format!("{ORGANIZATION}{}", lab(STAND_IN)), Some("lab"));
    for mb in ["mb-1", "mb-2"] {
        assert_eq!(shown(&t, "server", mb, "platform"), ["platform:linux"]);
        assert_eq!(shown(&t, "server", mb, "roles"), ["imap"]);
    }
    assert_eq!(layers(&t, "server", "mb-1", "roles"), ["base", "stand-in exchange"]);
    assert_eq!(shown(&t, "server", "front", "roles"), ["imap", "smtp"]);
    assert!(t.get("server", "phone").is_none(), "a server without a role is left out");
    assert!(t.get("edge-subscription", "edges").is_none());
    assert!(t.get("dag", "store").is_none());
    assert_eq!(shown(&t, "pair", "store", "members"), ["server:mb-1", "server:mb-2"]);
    assert_eq!(shown(&t, "database", "db-1", "on"), ["pair:store"]);
    assert_eq!(shown(&t, "namespace", "mail.a.example", "services"), ["imap"]);
    assert_eq!(t.get("namespace", "mail.a.example").map(|n| n.children.len()), Some(0));
    assert_eq!(shown(&t, "probe", "web", "type"), ["imap"]);
    assert_eq!(shown(&t, "probe", "inner", "type"), ["owa"], "the gate is of another platform");
    assert_eq!(shown(&t, "cms", "mover", "importer"), ["imap"]);
    assert_eq!(shown(&t, "cms", "mover", "to"), ["pair:store"]);
    assert_eq!(shown(&t, "proxy", "door", "new"), ["platform:linux"]);
    assert_eq!(shown(&t, "artifact", "installer", "of"), ["platform:exchange"]);
    let covers: Vec<_> =
        t.get("test-plan", "t").and_then(|p| p.children("scenario").next()).expect("s").texts("covers");
    // A selector by role still means the servers that had it.
    assert_eq!(covers, ["store", "mb-1", "mb-2", "mbx-1", "mbx-2", "mbx-3"]);
    // In the base all is as written.
    let base = good(&format!("{ORGANIZATION}{}", lab(STAND_IN)), None);
    assert_eq!(shown(&base, "server", "front", "roles"), ["cas", "hub"]);
    assert!(base.get("dag", "store").is_some());
}

#[test]
fn mistakes_in_a_stand_in_are_told() {
    let with = |map: &str| format!("{ORGANIZATION}{}", lab(&format!("stand-in exchange with=linux {{ {map}; }}")));
    for wrong in [
        "map mailbox imap",
        "map rule:mailbox imap",
        "map role:mailbx imap",
        "map role:mailbox imapp",
        "map role:mailbox none imap",
        "map kind:dagg pair",
        "map kind:dag pair ccr",
        "map service:owa smtp2",
        "map probe:owa imapp",
    ] {
        let text = format!("{}{}", super::language_rules::BASE, with(wrong));
        let found = codes(&language::compile_files(
            &files("t.kdl", text),
            "t.kdl",
            &Options { environment: Some("lab".into()), ..Options::default() },
        ));
        assert!(found.contains(&"E0413"), "{wrong}: {found:?}");
    }
    // A name that the stand-in left out is still named alone.
    expect(&format!("{ORGANIZATION}witness w2 host=phone\n{}", lab(STAND_IN)), &["E0309"]);
}

/// The midsize example in its lab: no server of Exchange is left, and every host gets its resources.
#[test]
fn the_midsize_example_in_its_lab_runs_on_open_servers() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/midsize");
    let c = language::compile(&root, &Options { environment: Some("lab".into()), ..Options::default() });
    assert!(c.diagnostics.is_empty(), "{}", draw(&c));
    let exchange: Vec<_> =
        c.topology.all("server").filter(|s| s.text("platform") == Some("ex")).map(|s| &s.id.name).collect();
    assert!(exchange.is_empty(), "{exchange:?}");
    let (site, found) = lowered(&c, &root);
    assert!(!found.has_errors(), "{}", found.iter().map(|d| format!("{} {}\n", d.code, d.message)).collect::<String>());
    for server in ["ber-mbx-1", "muc-mbx-1", "ber-cas-1", "ber-edge-1"] {
        assert!(site.resources.iter().any(|r| r.address.host.0 == server), "{server} gets nothing");
    }
}
