//! Role packs and lowering: from a topology to resources and contents.
#![allow(clippy::unwrap_used)] // a test may end so

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use cutover::cli::packs;
use cutover::language;
use cutover::lowering::{self, Options};
use cutover::model::resource::Dependency;
use cutover::model::site::Site;
use cutover::model::{Attr, Diagnostics, Severity, Sources};
use cutover::people;

/// A topology that is lowered through the built-in packs and those of a folder.
pub(crate) struct Story {
    files: BTreeMap<String, Vec<u8>>,
    environment: Option<String>,
    root: tempfile::TempDir,
}

pub(crate) struct Lowered {
    pub(crate) site: Site,
    diagnostics: Diagnostics,
    sources: Sources,
}

const BASE: &str = r#"
language 1
organization acme domain=acme.example
site office
platform open postfix="3.7" dovecot="2.3"
platform dns knot="3.2"
accepted-domain acme.example default=#true
"#;

impl Story {
    pub(crate) fn new(topology: &str) -> Self {
        let files = BTreeMap::from([("topology.kdl".to_owned(), format!("{BASE}{topology}").into_bytes())]);
        Self { files, environment: None, root: tempfile::tempdir().unwrap() }
    }

    pub(crate) fn example(path: &str, environment: Option<&str>) -> Self {
        let text = std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap();
        let files = BTreeMap::from([("topology.kdl".to_owned(), text)]);
        Self { files, environment: environment.map(str::to_owned), root: tempfile::tempdir().unwrap() }
    }

    /// A file beside the topology.
    pub(crate) fn file(mut self, path: &str, text: &str) -> Self {
        self.files.insert(path.to_owned(), text.as_bytes().to_vec());
        self
    }

    /// A file of a user's pack.
    fn pack(self, path: &str, text: &str) -> Self {
        let path = self.root.path().join("modules").join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
        self
    }

    pub(crate) fn lower(self) -> Lowered {
        let options = language::Options { environment: self.environment, ..language::Options::default() };
        let compiled = language::compile_files(&self.files, "topology.kdl", &options);
        let errors: Vec<_> = compiled.diagnostics.iter().filter(|d| d.severity == Severity::Error).collect();
        assert!(errors.is_empty(), "{errors:#?}");
        let (mut sources, mut diagnostics) = (compiled.sources, Diagnostics::default());
        let packs = packs::load(self.root.path(), &mut sources, &mut diagnostics);
        let read = |path: &str| {
            let text = self.files.get(path).map(|f| String::from_utf8_lossy(f).into_owned());
            text.ok_or_else(|| "is not there".to_owned())
        };
        let (accounts, wrong) = people::accounts(&compiled.topology, &read);
        wrong.into_iter().for_each(|d| diagnostics.push(d));
        let mut needs = lowering::needs(&compiled.topology);
        needs.of_people(&accounts);
        let (people, wrong) = people::everybody(&compiled.topology, &accounts, &read);
        wrong.into_iter().for_each(|d| diagnostics.push(d));
        let made = Options { accounts, people, ..Options::unissued(&needs) };
        let (site, more) = lowering::lower(&compiled.topology, &packs, &sources, &made);
        diagnostics.extend(more);
        Lowered { site, diagnostics, sources }
    }
}

impl Lowered {
    pub(crate) fn clean(self) -> Self {
        let errors: Vec<_> = self.diagnostics.iter().filter(|d| d.severity == Severity::Error).collect();
        assert!(errors.is_empty(), "{errors:#?}");
        self
    }

    /// Each diagnostic as people need it: code, message, places with the text there, help.
    pub(crate) fn said(&self) -> String {
        let mut out = String::new();
        for d in self.diagnostics.clone().sorted() {
            let _ = writeln!(out, "{} {}", d.code, d.message);
            for l in &d.labels {
                let file = self.sources.get(l.span.source);
                let text = &file.text[l.span.offset..l.span.offset + l.span.len];
                let text = text.lines().next().unwrap_or_default();
                let _ = writeln!(out, "  {}: `{text}` {}", self.sources.origin(l.span), l.text);
            }
            if let Some(help) = &d.help {
                let _ = writeln!(out, "  help: {help}");
            }
        }
        out
    }

    pub(crate) fn resource(&self, address: &str) -> &cutover::model::resource::Resource {
        let found = self.site.resources.iter().find(|r| r.address.to_string() == address);
        found.unwrap_or_else(|| panic!("no {address}"))
    }

    pub(crate) fn has(&self, address: &str) -> bool {
        self.site.resources.iter().any(|r| r.address.to_string() == address)
    }

    /// The content of a resource, secrets by name.
    pub(crate) fn content(&self, address: &str) -> String {
        let Some(Attr::Content(c)) = self.resource(address).attrs.get("content") else {
            panic!("{address} has no content")
        };
        self.site.bodies[&c.id].shown().unwrap()
    }

    /// All resources of a host, one a line, with what they wait for and whom they tell.
    fn list(&self, host: &str) -> String {
        let mut out = String::new();
        for r in self.site.of_host(&host.into()) {
            let _ = writeln!(out, "{} of {} for {}", r.address.local(), r.group, r.owner);
            for (name, value) in &r.attrs {
                match value {
                    Attr::Content(c) if c.sensitive => _ = writeln!(out, "    {name} = (sensitive)"),
                    Attr::Content(_) => {}
                    value => _ = writeln!(out, "    {name} = {value}"),
                }
            }
            for after in &r.after {
                let name = match after {
                    Dependency::Resource(a) => a.to_string(),
                    Dependency::Group(g) => g.clone(),
                };
                let _ = writeln!(out, "    after {name}");
            }
            for n in &r.notifies {
                let _ = writeln!(out, "    {:?} {}", n.how, n.service);
            }
        }
        out
    }
}

/// One server with the roles and a certificate.
fn server(roles: &str, more: &str) -> String {
    format!(
        "server one platform=open site=office ip=\"192.0.2.1\" {{\n    roles {roles}\n    {more}\n}}\n\
         certificate tls subject=one.acme.example issuer=internal {{ on one; }}\n"
    )
}

#[test]
fn the_quickstart_becomes_these_resources() {
    let low = Story::example("examples/quickstart/topology.kdl", Some("lab")).lower().clean();
    for host in ["gate", "mail-1", "ns"] {
        insta::assert_snapshot!(format!("quickstart_{host}"), low.list(host));
    }
    for (name, address) in [
        ("gate_main_cf", "server.gate/file:/etc/postfix/main.cf"),
        ("gate_transport", "server.gate/file:/etc/postfix/transport"),
        ("mail_1_main_cf", "server.mail-1/file:/etc/postfix/main.cf"),
        ("mail_1_master_cf", "server.mail-1/file:/etc/postfix/master.cf"),
        ("mail_1_dovecot_conf", "server.mail-1/file:/etc/dovecot/dovecot.conf"),
        ("ns_knot_conf", "server.ns/file:/etc/knot/knot.conf"),
        ("ns_zones_conf", "server.ns/file:/etc/knot/cutover-zones.conf"),
    ] {
        insta::assert_snapshot!(format!("quickstart_{name}"), low.content(address));
    }
    let low = Story::example("modules/knot/example.kdl", None).lower().clean();
    insta::assert_snapshot!("knot_zone_file", low.content("server.ns/dns-zone:acme.example"));
}

#[test]
fn the_source_system_is_not_part_of_the_new_side() {
    let low = Story::example("examples/quickstart/topology.kdl", Some("lab")).lower().clean();
    let transport = low.content("server.gate/file:/etc/postfix/transport");
    assert!(!transport.contains("10.89.7.20"), "{transport}");
    assert!(low.has("server.old-host/mail-account:ann@acme.test"));
    assert!(!low.has("server.old-host/mail-account:kim@acme.test"));
    assert_eq!(
        low.content("server.old-host/file:/etc/postfix/transport").lines().count(),
        1,
        "no routes from it either"
    );
}

#[test]
fn examples_of_packs_lower_without_a_word() {
    for entry in std::fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("modules")).unwrap() {
        let path: PathBuf = entry.unwrap().path();
        // The dialect of Exchange is no pack.
        if path.join("module.kdl").is_file() {
            assert!(path.join("README.md").is_file(), "{} has no README", path.display());
            let example = path.join("example.kdl");
            let low = Story::example(example.to_str().unwrap(), None).lower();
            assert_eq!(low.said(), "", "{}", example.display());
            assert!(low.site.resources.len() > 3);
        }
    }
}

#[test]
fn a_split_site_hands_mail_on_from_edge_to_hub_to_store() {
    let low = Story::example("modules/postfix-dovecot/example.kdl", None).lower().clean();
    assert!(low.content("server.edge/file:/etc/postfix/transport").contains("acme.example smtp:[192.0.2.22]:25"));
    insta::assert_snapshot!(low.content("server.hub/file:/etc/postfix/transport"), @r"
    # Made by cutover: where mail goes next (transport(5)). Several hosts are tried in order.
    ann@acme.example lmtp:inet:[192.0.2.23]:24
    bob@acme.example lmtp:inet:[192.0.2.24]:24
    acme.example error:5.1.1 Recipient address unknown
    ");
    let hub = low.content("server.hub/file:/etc/postfix/main.cf");
    assert!(hub.contains("\nrelayhost = [192.0.2.21]:25\n"), "{hub}");
    assert!(hub.contains("\nmynetworks = 127.0.0.0/8 [::1]/128 192.0.2.25/32 192.0.2.23/32 192.0.2.24/32\n"), "{hub}");
    insta::assert_snapshot!(low.content("server.edge/firewall:cutover"));
    insta::assert_snapshot!(low.content("server.cas/file:/etc/dovecot/cutover.proxy"));
}

#[test]
fn nobody_relays_for_strangers() {
    for (path, env) in
        [("examples/quickstart/topology.kdl", Some("lab")), ("modules/postfix-dovecot/example.kdl", None)]
    {
        let low = Story::example(path, env).lower().clean();
        let mut seen = 0;
        for r in low.site.resources.iter().filter(|r| r.address.key == "/etc/postfix/main.cf") {
            let main = low.content(&r.address.to_string());
            let relay = main.lines().find(|l| l.starts_with("smtpd_relay_restrictions")).unwrap();
            assert!(relay.ends_with("reject_unauth_destination"), "{}: {relay}", r.address);
            let networks = main.lines().find(|l| l.starts_with("mynetworks")).unwrap();
            for word in networks.split_whitespace().skip(2) {
                let own =
                    ["127.0.0.0/8", "[::1]/128"].contains(&word) || word.ends_with("/32") || word.ends_with("/128");
                assert!(own, "{}: {networks}", r.address);
            }
            seen += 1;
        }
        assert!(seen >= 2);
    }
}

#[test]
fn settings_win_over_the_pack() {
    let more = r##"
    setting "postfix:message_size_limit" 1048576
    setting "postfix:smtpd_banner" #"$myhostname hello"#
    setting "dovecot:mail_debug" #true
    setting "dovecot:plugin/quota_grace" "5%%"
    "##;
    let low = Story::new(&server("imap smtp", more)).lower().clean();
    let main = low.content("server.one/file:/etc/postfix/main.cf");
    assert_eq!(main.matches("message_size_limit").count(), 1, "{main}");
    assert!(main.ends_with("message_size_limit = 1048576\nsmtpd_banner = $myhostname hello\n"), "{main}");
    let dovecot = low.content("server.one/file:/etc/dovecot/dovecot.conf");
    assert!(dovecot.ends_with("mail_debug = yes\nplugin {\n  quota_grace = 5%%\n}\n"), "{dovecot}");
}

#[test]
fn settings_that_would_do_nothing_are_errors() {
    let more = r#"
    setting "postfx:a" "b"
    setting "rspamd:actions/reject" 12
    setting "smtpd_timeout" "3s"
    setting "firewall:on" #true
    "#;
    insta::assert_snapshot!(Story::new(&server("imap smtp", more)).lower().said());
}

#[test]
fn what_is_missing_for_a_role_is_said() {
    let text = r#"
platform new postfix="3.7" dovecot="2.4"
server one platform=open site=office ip="192.0.2.1" { roles imap monitor cas; }
server two platform=new site=office ip="192.0.2.2" { roles imap; }
server three platform=dns site=office { roles dns smtp; }
certificate tls subject=two.acme.example issuer=internal { on two; services imap; }
dns-provider knot type=zone-file host=three
zone acme.example provider=knot { record www A to=server:three; }
"#;
    insta::assert_snapshot!(Story::new(text).lower().said());
}

#[test]
fn replication_needs_dovecot_before_2_4() {
    let text = r#"
platform new postfix="3.7" dovecot="2.4"
server "m-[1:2]" platform=new site=office ip="192.0.2.[1:2]" { roles imap; }
pair store { members "m-[1:2]"; }
certificate tls subject=m.acme.example issuer=internal { on "m-[1:2]"; }
"#;
    // The language refuses it first, by the schema's own limits; packs of users may widen those, and lowering still would.
    let files = BTreeMap::from([("topology.kdl".to_owned(), format!("{BASE}{text}").into_bytes())]);
    let compiled = language::compile_files(&files, "topology.kdl", &language::Options::default());
    let mut sources = compiled.sources;
    let mut diagnostics = Diagnostics::default();
    let packs = packs::load(Path::new("/nonexistent"), &mut sources, &mut diagnostics);
    let made = Options::unissued(&lowering::needs(&compiled.topology));
    let (_, found) = lowering::lower(&compiled.topology, &packs, &sources, &made);
    assert!(found.iter().any(|d| d.code == "E1020"), "{found:?}");
}

#[test]
fn a_zone_without_a_name_server_gets_this_one_and_its_key() {
    let text = r#"
server ns platform=dns site=office ip="192.0.2.53" ip6="2001:db8::53" { roles dns; }
server web platform=dns site=office ip="192.0.2.80" { roles bastion; }
dns-provider knot type=zone-file host=ns { secondaries "192.0.2.54"; }
zone acme.example provider=knot ttl="5m" {
    record "[www,shop]" A to=server:web ttl="1m"
    record "_imaps._tcp" SRV "0 1 993 mail.acme.example"
    record "@" CAA "0 issue \"ca.example\""
}
"#;
    let low = Story::new(text).lower().clean();
    insta::assert_snapshot!(low.content("server.ns/dns-zone:acme.example"));
    insta::assert_snapshot!(low.content("server.ns/file:/etc/knot/cutover-zones.conf"));
}

#[test]
fn a_zone_that_is_changed_over_the_network_is_begun_here_and_followed_there() {
    let text = r#"
server ns platform=dns site=office ip="192.0.2.53" ip6="2001:db8::53" { roles dns; }
server ns2 platform=dns site=office ip="192.0.2.54" { roles dns; }
dns-provider knot type=rfc2136 host=ns tsig-name=key.acme.example key=(secret)"file:keys/tsig" { secondaries "192.0.2.99"; }
zone acme.example provider=knot ttl="5m" {
    record "@" NS ns.acme.example ns2.acme.example
    record ns A to=server:ns
    record ns2 A to=server:ns2
    record mail A "192.0.2.80"
}
"#;
    let low = Story::new(text).lower().clean();
    insta::assert_snapshot!(low.content("server.ns/file:/etc/knot/seeds/acme.example.zone"));
    insta::assert_snapshot!(low.content("server.ns/file:/etc/knot/cutover-zones.conf"));
    insta::assert_snapshot!(low.content("server.ns2/file:/etc/knot/cutover-zones.conf"));
    let zone: Vec<String> =
        low.site.of_host(&"zone.acme.example".into()).iter().map(|r| r.address.to_string()).collect();
    assert_eq!(zone.len(), 4, "{zone:?}");
    let access = low.site.hosts[&"zone.acme.example".into()].zone().expect("a zone");
    assert_eq!(access.servers.len(), 3);
    assert_eq!(low.site.anchor, Some("ns".into()), "the ledger is on a machine");
}

#[test]
fn two_stores_route_to_each_other() {
    let text = r#"
server "m-[1:2]" platform=open site=office ip="192.0.2.[1:2]" { roles imap smtp; }
certificate tls subject=m.acme.example issuer=internal { on "m-[1:2]"; }
mail-account ann@acme.example on=m-1 password=(secret)"env:A"
mail-account bob@acme.example on=m-2 password=(secret)"env:B"
"#;
    let low = Story::new(text).lower().clean();
    let lines = |host: &str| {
        low.content(&format!("server.{host}/file:/etc/postfix/transport"))
            .lines()
            .skip(1)
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    assert_eq!(lines("m-1"), ["bob@acme.example smtp:[192.0.2.2]:25"]);
    assert_eq!(lines("m-2"), ["ann@acme.example smtp:[192.0.2.1]:25"]);
}

#[test]
fn a_users_pack_replaces_the_built_in_role() {
    let module = r#"
role imap platform=postfix-dovecot {
    needs dovecot
    package dovecot-imapd version="1:2.3.19.1+dfsg1-2.1"
    file "/etc/dovecot/mine.conf" template=mine.hbs
}
"#;
    let story = Story::new(&server("imap", "")).pack("mine/module.kdl", module);
    let low = story.pack("mine/templates/mine.hbs", "# {{server.fqdn}}\n").lower().clean();
    assert_eq!(low.content("server.one/file:/etc/dovecot/mine.conf"), "# one.acme.example\n");
    assert!(!low.has("server.one/file:/etc/dovecot/dovecot.conf"));
}

#[test]
fn two_packs_of_the_user_for_one_role_are_an_error() {
    let module = "role imap platform=postfix-dovecot {\n    package dovecot-imapd\n}\n";
    let story = Story::new(&server("imap", ""));
    insta::assert_snapshot!(story.pack("a/module.kdl", module).pack("b/module.kdl", module).lower().said());
}

#[test]
fn mistakes_of_a_pack_are_all_shown_with_their_places() {
    let module = r#"
platfrom postfix-dovecot
role imap platform=postfix-dovecott {
    pakcage dovecot-imapd
}
role smtp platform=postfix-dovecot {
    needs postfx
    package postfix vresion="3.7"
    package
    file "/etc/a" tempalte=a.hbs
    file "/etc/b" template=b.hb
    file "/etc/c" template=b.hbs template=b.hbs
    service postfix runing=#true
    listen smtp 99999
    include nothing
}
role hub platform=postfix-dovecot {
    package postfix
    file "/etc/d" template=b.hbs when=roles.hubb
    file "/etc/{{server.nam}}" content="x"
    file "/etc/e" template=c.hbs reload=nginx
    command say run="echo {{pair.secret}}" each=mail.acounts {
        after "server.one/file:/etc/dd"
    }
}
"#;
    let story = Story::new(&server("hub", ""))
        .pack("own/module.kdl", module)
        .pack("own/templates/b.hbs", "a {{server.name}}\nb {{server.fqdnn}}\n")
        .pack("own/templates/c.hbs", "{{#if roles.hub}}never closed\n")
        .pack("own/templates/d.hbs", "unused but whole\n");
    insta::assert_snapshot!(story.lower().said());
}

#[test]
fn an_unknown_variable_points_into_the_template() {
    let module = "role hub platform=postfix-dovecot {\n    needs postfix\n    file \"/etc/d\" template=b.hbs\n}\n";
    let story = Story::new(&server("hub", "")).pack("own/module.kdl", module);
    let low = story.pack("own/templates/b.hbs", "one\n  two = {{#if server.fqdnn}}x{{/if}}\n").lower();
    insta::assert_snapshot!(low.said(), @r"
    E1005 no variable `server.fqdnn` in this template
      modules/own/templates/b.hbs:2:15: `server.fqdnn` unknown
      help: did you mean `server.fqdn`?
    ");
}

#[test]
fn the_same_wish_merges_and_another_one_is_an_error() {
    let module = r#"
role alpha platform=postfix-dovecot {
    needs postfix
    package tree
    directory "/etc/shared"
    file "/etc/shared/a" content="same" mode="0600"
    file "/etc/shared/b" content="from alpha"
}
role beta platform=postfix-dovecot {
    needs postfix
    package tree
    directory "/etc/shared"
    file "/etc/shared/a" content="same" mode="0640"
    file "/etc/shared/b" content="from beta"
    file "/etc/shared/c" content="only beta"
}
"#;
    let low = Story::new(&server("alpha beta", "")).pack("own/module.kdl", module).lower();
    insta::assert_snapshot!(low.said());
    let shared = low.resource("server.one/package:tree");
    assert_eq!(shared.group, "server.one/alpha");
    let c = low.resource("server.one/file:/etc/shared/c");
    let after: Vec<String> = c.after.iter().map(|d| format!("{d:?}")).collect();
    assert!(
        after.iter().any(|d| d.contains("tree")),
        "a file of beta waits for the package that alpha brings: {after:?}"
    );
}

#[test]
fn secrets_stay_references_and_only_in_contents() {
    let low = Story::example("examples/quickstart/topology.kdl", Some("lab")).lower().clean();
    let pair = low.content("server.mail-1/file:/etc/dovecot/cutover-pair.conf");
    assert!(pair.contains("doveadm_password = (secret env:NOT_ISSUED)"), "{pair}");
    let account = low.resource("server.mail-1/mail-account:ann@acme.test");
    let Some(Attr::Content(password)) = account.attrs.get("password") else { panic!("{account:?}") };
    assert_eq!(low.site.bodies[&password.id].shown().as_deref(), Some("(hash of secret env:ANN)"));
    let module = r#"
role hub platform=postfix-dovecot {
    needs postfix
    command tell run="echo {{item.password}}" each=mail.accounts
}
"#;
    let topology =
        format!("{}mail-account ann@acme.example on=one password=(secret)\"env:ANN\"\n", server("hub imap", ""));
    let said = Story::new(&topology).pack("own/module.kdl", module).lower().said();
    assert!(said.contains("E1006 a secret can only stand in content"), "{said}");
}

#[test]
fn connections_become_host_access() {
    let text = r#"
connection admin user=admin port=2222 key=(secret)"file:keys/admin" become=sudo become-password=(secret)"env:SUDO" timeout="5s"
server jump platform=dns site=office fqdn=jump.acme.example { roles bastion; }
server in-1 platform=dns site=office ip="192.0.2.9" {
    roles bastion
    connection jump=jump host-key="ssh-ed25519 AAAA"
}
server in-2 platform=dns site=office connection=admin { roles bastion; }
"#;
    let low = Story::new(text).lower();
    let host = |name: &str| &low.site.hosts[&name.into()];
    assert_eq!((host("jump").address.as_str(), host("jump").user.as_str()), ("jump.acme.example", "root"));
    assert_eq!(host("in-1").jump.as_ref().map(|j| j.0.as_str()), Some("jump"));
    assert_eq!(host("in-1").host_key.as_deref(), Some("ssh-ed25519 AAAA"));
    insta::assert_debug_snapshot!(host("in-2"));
}

#[test]
fn one_order_whatever_the_order_of_the_file() {
    let a = "server a platform=dns site=office { roles dns; }\n";
    let b = "server b platform=dns site=office { roles dns; }\n";
    let first = Story::new(&format!("{a}{b}")).lower().clean();
    let second = Story::new(&format!("{b}{a}")).lower().clean();
    let addresses = |l: &Lowered| l.site.resources.iter().map(|r| r.address.to_string()).collect::<Vec<_>>();
    assert_eq!(addresses(&first), addresses(&second));
    assert!(first.site.resources.is_sorted_by_key(|r| &r.address));
}
