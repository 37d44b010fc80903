//! `mail-auth`: from the topology to records, keys on signers, and the policy file of MTA-STS.
#![allow(clippy::unwrap_used)] // a test may end so

use std::collections::BTreeMap;

use cutover::language;
use cutover::lowering::mail_auth::PublicKey;
use cutover::lowering::{self, Options, zone::zones};
use cutover::model::{Attr, Diagnostics, Severity};

const BASE: &str = r#"
language 1
organization acme domain=acme.example
site office
platform open postfix="3.7" dovecot="2.3" nginx="1.22"
platform dns knot="3.2"
accepted-domain acme.example default=#true
server ns platform=dns site=office ip="192.0.2.53" { roles dns; }
server gate platform=open site=office ip="192.0.2.10" ip6="2001:db8::10" { roles relay mta-sts; }
certificate smtp subject=gate.acme.example issuer=internal { on gate; services smtp; }
certificate sts subject=mta-sts.acme.example issuer=internal { on gate; services https; }
dns-provider knot type=zone-file host=ns
"#;

fn compiled(text: &str) -> language::Compiled {
    let files = BTreeMap::from([("topology.kdl".to_owned(), format!("{BASE}{text}").into_bytes())]);
    let c = language::compile_files(&files, "topology.kdl", &language::Options::default());
    let errors: Vec<_> = c.diagnostics.iter().filter(|d| d.severity == Severity::Error).collect();
    assert!(errors.is_empty(), "{errors:#?}");
    c
}

/// Every record of a zone that is not written out, as lines of a zone file, and what was said.
fn composed(text: &str) -> (Vec<String>, Vec<String>) {
    let c = compiled(text);
    let mut made = Options::unissued(&lowering::needs(&c.topology));
    for selector in made.signing.values_mut().flatten() {
        selector.public =
            PublicKey { kind: "ed25519", base64: "11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=".into(), bits: 256 };
    }
    let (zones, said) = zones(&c.topology, &made);
    let lines = zones.iter().flat_map(|z| z.records.iter().map(move |r| (z, r)));
    let lines = lines.filter(|(_, r)| {
        !matches!(r.kind.as_str(), "NS" | "MX") && !r.name.starts_with("gate.") && !r.name.starts_with("ns.")
    });
    let said = said.iter().map(|d| format!("{} {}", d.code, d.message)).collect();
    (lines.map(|(z, r)| format!("{} {} {} {}", z.view, r.name, r.kind, r.data)).collect(), said)
}

const ZONE: &str =
    "zone acme.example provider=knot { record \"@\" MX to=server:gate; record gate A to=server:gate; }\n";

#[test]
fn a_domain_has_all_its_records() {
    let (lines, said) = composed(&format!(
        "{ZONE}mail-auth acme.example {{
    spf all=fail {{ allow gate; include crm.example; }}
    dkim s1 key=(secret)\"file:s1.pem\" algorithm=ed25519-sha256
    dmarc policy=quarantine {{ reports d@acme.example e@acme.example; }}
    mta-sts mode=testing host=gate
    tls-rpt {{ reports t@acme.example; }}
}}"
    ));
    assert!(said.is_empty(), "{said:?}");
    assert_eq!(
        lines,
        [
            "both acme.example. TXT \"v=spf1 ip4:192.0.2.10 ip6:2001:db8::10 include:crm.example -all\"",
            "both s1._domainkey.acme.example. TXT \"v=DKIM1; k=ed25519; p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=\"",
            "both _dmarc.acme.example. TXT \"v=DMARC1; p=quarantine; rua=mailto:d@acme.example,mailto:e@acme.example\"",
            "both _mta-sts.acme.example. TXT \"v=STSv1; id=5f6008588ab349f3e641;\"",
            "both mta-sts.acme.example. A 192.0.2.10",
            "both mta-sts.acme.example. AAAA 2001:db8::10",
            "both _smtp._tls.acme.example. TXT \"v=TLSRPTv1; rua=mailto:t@acme.example\"",
        ]
    );
}

#[test]
fn a_system_that_is_still_there_may_send_until_it_is_taken_away() {
    let auth = "mail-auth acme.example { spf { allow gate; }; mta-sts host=gate; }\n";
    let old = "server old platform=open site=office ip=\"192.0.2.77\" { roles smtp; }\ncertificate o subject=old.acme.example issuer=internal { on old; }\n";
    let spf = |text: &str| composed(text).0.remove(0);
    let id = |text: &str| composed(text).0.into_iter().find(|l| l.contains("STSv1")).unwrap();
    let during = format!("{ZONE}{old}{auth}legacy was product=dovecot server=old\n");
    let after = format!("{ZONE}{old}{auth}");
    assert!(
        spf(&during).ends_with("\"v=spf1 ip4:192.0.2.10 ip4:192.0.2.77 ip6:2001:db8::10 ~all\""),
        "{}",
        spf(&during)
    );
    assert!(spf(&after).ends_with("\"v=spf1 ip4:192.0.2.10 ip6:2001:db8::10 ~all\""), "{}", spf(&after));
    assert_ne!(id(&during), id(&after), "the policy no longer names the old host");
    let by_name = format!("{ZONE}{auth}legacy was product=domino host=mx.old.example\n");
    assert!(spf(&by_name).ends_with("ip6:2001:db8::10 a:mx.old.example ~all\""), "{}", spf(&by_name));
    let pop_only = format!("{ZONE}{auth}legacy was product=domino host=mx.old.example {{ services pop3; }}\n");
    assert_eq!(spf(&pop_only), spf(&after), "it sends no mail");
    let unwanted = by_name.replace("spf {", "spf legacy=#false {");
    assert_eq!(spf(&unwanted), spf(&after));
}

#[test]
fn senders_are_listed_as_the_world_sees_them() {
    let zones = "zone acme.example view=public provider=knot { record \"@\" MX gate.acme.example; record gate A \"203.0.113.5\"; }
zone acme.example view=internal provider=knot { record gate A to=server:gate; }
";
    let (lines, said) = composed(&format!("{zones}mail-auth acme.example {{ spf {{ allow gate; }}; }}"));
    assert!(said.is_empty(), "{said:?}");
    let text = "acme.example. TXT \"v=spf1 ip4:203.0.113.5 ip6:2001:db8::10 ~all\"";
    assert_eq!(lines, [format!("internal {text}"), format!("public {text}")], "both views say the same");
}

#[test]
fn senders_have_names_and_children_are_found() {
    let zones = "zone acme.example provider=knot { record \"@\" MX to=server:gate; record gate A to=server:gate; }
zone \"2.0.192.in-addr.arpa\" provider=knot
zone \"0-63.100.51.198.in-addr.arpa\" provider=knot
zone \"8.b.d.0.1.0.0.2.ip6.arpa\" provider=knot
server far platform=open site=office ip=\"198.51.100.9\" { roles relay; }
certificate far subject=far.acme.example issuer=internal { on far; services smtp; }
zone lab.acme.example provider=knot { record \"@\" NS ns1.lab.acme.example ns.acme.example; record ns1 A \"192.0.2.54\"; record ns1 AAAA \"2001:db8::54\"; }
zone own.acme.example provider=knot
";
    let (lines, said) = composed(&format!("{zones}mail-auth acme.example {{ spf {{ allow gate far; }}; }}"));
    assert!(said.is_empty(), "{said:?}");
    for line in [
        "both 10.2.0.192.in-addr.arpa. PTR gate.acme.example.",
        "both 9.0-63.100.51.198.in-addr.arpa. PTR far.acme.example.",
        "both 0.1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa. PTR gate.acme.example.",
        "both ns1.lab.acme.example. A 192.0.2.54",
    ] {
        assert!(lines.iter().any(|l| l == line), "{line}: {lines:#?}");
    }
    let parent = format!("{zones}zone x.example provider=knot\nmail-auth acme.example {{ spf {{ allow gate; }}; }}");
    let c = compiled(&parent);
    let made = Options::unissued(&lowering::needs(&c.topology));
    let all = lowering::zone::zones(&c.topology, &made).0;
    let acme = all.iter().find(|z| z.name == "acme.example").unwrap();
    let of = |name: &str| -> Vec<String> {
        acme.records.iter().filter(|r| r.name == name).map(|r| format!("{} {}", r.kind, r.data)).collect()
    };
    assert_eq!(of("lab.acme.example."), ["NS ns1.lab.acme.example.", "NS ns.acme.example."]);
    assert_eq!(of("ns1.lab.acme.example."), ["A 192.0.2.54", "AAAA 2001:db8::54"]);
    assert_eq!(of("own.acme.example."), ["NS ns.acme.example."]);
    let written =
        parent.replace("record gate A to=server:gate;", "record gate A to=server:gate; record lab NS ns.else.example;");
    let all = lowering::zone::zones(&compiled(&written).topology, &made).0;
    let acme = all.iter().find(|z| z.name == "acme.example").unwrap();
    let ns = acme.records.iter().filter(|r| r.name == "lab.acme.example.").map(|r| r.data.as_str());
    assert_eq!(ns.collect::<Vec<_>>(), ["ns.else.example."], "what is written out holds");
}

#[test]
fn what_is_written_out_holds_or_is_a_mistake() {
    let zone = "zone acme.example provider=knot { record \"@\" MX to=server:gate; record \"@\" TXT \"site-check=1\"; record mta-sts CNAME gate.acme.example; record \"s1._domainkey\" CNAME s1.keys.example; }\n";
    let auth = "mail-auth acme.example { spf { allow gate; }; mta-sts host=gate; dkim s1 key=(secret)\"file:k\" { signers gate; }; }";
    let (lines, said) = composed(&format!("{zone}{auth}"));
    assert!(said.is_empty(), "{said:?}");
    assert!(lines.iter().any(|l| l.contains("site-check")) && lines.iter().any(|l| l.contains("v=spf1")), "{lines:?}");
    let at = |name: &str| lines.iter().filter(|l| l.contains(name)).cloned().collect::<Vec<_>>();
    assert_eq!(at(" mta-sts."), ["both mta-sts.acme.example. CNAME gate.acme.example."]);
    assert_eq!(at("s1._domainkey"), ["both s1._domainkey.acme.example. CNAME s1.keys.example."]);
    let twice = zone.replace("site-check=1", "V=SPF1 -all");
    assert_eq!(composed(&format!("{twice}{auth}")).1, ["E1024 acme.example has two records of v=spf1"]);
}

#[test]
fn clients_and_senders_are_told_of_servers_and_certificates() {
    let text = format!(
        "{ZONE}namespace mail.acme.example target=server:gate {{ services imap submission autodiscover; }}
mail-auth acme.example {{ dane; discovery {{ namespaces mail.acme.example; }}; }}"
    );
    let c = compiled(&text);
    let mut made = Options::unissued(&lowering::needs(&c.topology));
    // The certificate now, and the one that comes next.
    made.certificates.get_mut("smtp").unwrap().keys = vec!["ab".repeat(32), "cd".repeat(32)];
    made.certificates.get_mut("sts").unwrap().keys = vec!["ef".repeat(32)];
    let (zones, said) = zones(&c.topology, &made);
    assert!(!said.has_errors(), "{said:?}");
    let lines: Vec<String> = zones[0].records.iter().map(|r| format!("{} {} {}", r.name, r.kind, r.data)).collect();
    let of =
        |kind: &str| lines.iter().filter(|l| l.contains(&format!(" {kind} "))).map(String::as_str).collect::<Vec<_>>();
    assert_eq!(
        of("TLSA"),
        [
            format!("_25._tcp.gate.acme.example. TLSA 3 1 1 {}", "ab".repeat(32)),
            format!("_25._tcp.gate.acme.example. TLSA 3 1 1 {}", "cd".repeat(32)),
        ]
    );
    assert_eq!(
        of("SRV"),
        [
            "_imaps._tcp.acme.example. SRV 0 1 993 mail.acme.example.",
            "_imap._tcp.acme.example. SRV 10 1 143 mail.acme.example.",
            "_submissions._tcp.acme.example. SRV 0 1 465 mail.acme.example.",
            "_submission._tcp.acme.example. SRV 10 1 587 mail.acme.example.",
            "_autodiscover._tcp.acme.example. SRV 0 1 443 mail.acme.example.",
        ]
    );
    assert_eq!(of("CNAME"), ["autodiscover.acme.example. CNAME mail.acme.example."]);
}

#[test]
fn keys_lie_on_signers_only() {
    let text = format!(
        "{ZONE}server other platform=open site=office ip=\"192.0.2.11\" {{ roles relay; }}
certificate o subject=other.acme.example issuer=internal {{ on other; }}
mail-auth acme.example {{ dkim s1 key=(secret)\"file:keys/s1.pem\" {{ signers gate; }}; }}"
    );
    let c = compiled(&text);
    let (mut sources, mut diagnostics) = (c.sources.clone(), Diagnostics::default());
    let packs = cutover::cli::packs::load(std::path::Path::new("/nonexistent"), &mut sources, &mut diagnostics);
    let made = Options::unissued(&lowering::needs(&c.topology));
    let (site, said) = lowering::lower(&c.topology, &packs, &sources, &made);
    assert!(!said.has_errors(), "{said:?}");
    let holds: Vec<String> = site
        .resources
        .iter()
        .filter(|r| r.attrs.values().any(|a| matches!(a, Attr::Content(c) if site.bodies[&c.id].shown().is_some_and(|t| t.contains("keys/s1.pem")))))
        .map(|r| r.address.to_string())
        .collect();
    assert_eq!(holds, ["server.gate/file:/etc/dkimkeys/s1.acme.example.pem"]);
    let text = |address: &str| {
        let r = site.resources.iter().find(|r| r.address.to_string() == address).unwrap();
        let Some(Attr::Content(c)) = r.attrs.get("content") else { panic!("content") };
        site.bodies[&c.id].shown().unwrap()
    };
    assert!(text("server.gate/file:/etc/postfix/main.cf").contains("\nsmtpd_milters = inet:127.0.0.1:8891\n"));
    assert!(!text("server.other/file:/etc/postfix/main.cf").contains("milter"));
    assert!(
        site.resources
            .iter()
            .all(|r| !r.address.to_string().starts_with("server.other/") || !r.address.key.contains("opendkim"))
    );
}

#[test]
fn a_zone_that_bind_is_told_of_over_the_network_is_begun_by_its_pack() {
    let text = r#"
platform named bind="9.18"
server first platform=named site=office ip="192.0.2.54" { roles dns; }
dns-provider dynamic type=rfc2136 host=first tsig-name=key.other.example key=(secret)"env:TSIG"
zone other.example provider=dynamic { record "@" MX mail.other.example; }
"#;
    let c = compiled(text);
    let (mut sources, mut diagnostics) = (c.sources.clone(), Diagnostics::default());
    let packs = cutover::cli::packs::load(std::path::Path::new("/nonexistent"), &mut sources, &mut diagnostics);
    let made = Options::unissued(&lowering::needs(&c.topology));
    let (site, said) = lowering::lower(&c.topology, &packs, &sources, &made);
    assert!(!said.has_errors(), "{said:?}");
    let named: Vec<String> =
        site.resources.iter().map(|r| r.address.to_string()).filter(|a| a.contains("other.example")).collect();
    assert!(named.contains(&"server.first/command:seed-zone-other.example".to_owned()), "{named:?}");
    let conf =
        site.resources.iter().find(|r| r.address.to_string() == "server.first/file:/etc/bind/named.conf").unwrap();
    let Some(Attr::Content(conf)) = conf.attrs.get("content") else { panic!("content") };
    let conf = site.bodies[&conf.id].shown().unwrap();
    assert!(conf.contains("allow-update { key \"key.other.example\"; };"), "{conf}");
}
