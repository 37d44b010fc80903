//! The role pack of the proxy: what a topology says of a proxy becomes a configuration that the proxy itself takes.
#![allow(clippy::unwrap_used)] // a test may end so

use std::path::PathBuf;

use cutover::model::resource::Dependency;
use cutover::model::{Attr, Segment};
use cutover::services::proxy::config::{
    Config, HeaderOut, HeldLogin, OnFailure, PasswordMode, RouteSource, Tls, Verify,
};
use cutover::services::proxy::route::Route;

use crate::packs::{Lowered, Story};

const TOML: &str = "/etc/cutover-proxy/proxy.toml";

fn config(lowered: &Lowered, server: &str) -> Config {
    let text = lowered.content(&format!("server.{server}/file:{TOML}"));
    Config::parse(&text).unwrap_or_else(|faults| panic!("{server}: {faults:#?}\n{text}"))
}

#[test]
fn every_key_of_the_topology_reaches_the_configuration() {
    let lowered = Story::example("tests/cases/effects/proxy.kdl", None).lower().clean();
    let c = config(&lowered, "gate-1");
    assert_eq!(c.proxy.name, "gate-1.acme.example");
    assert_eq!(c.proxy.metrics.unwrap().port(), 9153);
    let listen: Vec<_> = c.listeners.iter().map(|l| (l.socket.as_deref().unwrap(), l.tls, l.tokens)).collect();
    assert_eq!(listen, [("imap", Tls::Starttls, true), ("imaps", Tls::Implicit, true), ("pop3", Tls::Starttls, true)]);
    assert_eq!(c.listeners[0].proxy_protocol, ["192.0.2.128/25".parse().unwrap()]);
    let old = c.sides.old.imap.as_ref().unwrap();
    assert_eq!(
        (old.servers.as_slice(), old.tls, old.verify),
        (&["old.acme.example:143".to_owned()][..], Tls::Starttls, Verify::Name)
    );
    assert_eq!(
        (old.login.as_str(), old.proxy_protocol, old.ca.clone()),
        ("{user}*admin", HeaderOut::V2, Some("/etc/old.pem".into()))
    );
    let new = c.sides.new.pop3.as_ref().unwrap();
    assert_eq!(new.servers, ["mail-1.acme.example:110", "mail-2.acme.example:110"]);
    assert_eq!((new.verify, new.pins.len(), new.ca.clone()), (Verify::Pin, 1, None));
    assert_eq!((c.routes.default, c.routes.source, c.routes.held), (Route::Old, RouteSource::Store, HeldLogin::Wait));
    assert_eq!(c.routes.held_for.as_secs(), 25);
    let d = c.directory.as_ref().unwrap();
    assert_eq!(
        (d.filter.as_str(), d.attribute.as_str(), d.on_failure),
        ("(mail={user})", "mailHost", OnFailure::Refuse)
    );
    assert_eq!((d.new.as_slice(), d.login_new.as_deref()), (&["new.*".to_owned()][..], Some("mail")));
    assert_eq!(d.password_file, Some(PathBuf::from("/etc/cutover-proxy/directory.password")));
    assert_eq!(lowered.content("server.gate-1/file:/etc/cutover-proxy/directory.password"), "(secret env:BIND)\n");
    let rewrite = c.rewrite();
    assert_eq!(rewrite.user("Bob%OLD.example", "192.0.2.9".parse().unwrap()).unwrap(), "bob@acme.example");
    assert_eq!(rewrite.user("bob", "192.0.2.1".parse().unwrap()).unwrap(), "bob@acme.example");
    assert_eq!((c.limits.connections, c.limits.per_user, c.limits.idle_timeout.as_secs()), (1000, 5, 2100));
    assert_eq!((c.passwords.mode, c.passwords.max_size), (PasswordMode::Capture, Some(100 << 20)));
    assert_eq!(c.cms.unwrap().queue, PathBuf::from("/var/spool/cutover-cms"));

    // Another proxy, by a file, towards a host that is not in the topology.
    let c = config(&lowered, "gate-3");
    assert_eq!((c.routes.source, c.routes.file), (RouteSource::File, Some("/var/lib/routes".into())));
    let new = c.sides.new.submission.as_ref().unwrap();
    assert_eq!(new.ca, Some(PathBuf::from("/etc/ssl/cutover/ca.pem")), "the organisation's own authority");
    assert_eq!(c.sides.old.submission.unwrap().servers, ["older.acme.example:465"]);
    assert!(!lowered.has(&format!("server.spare/file:{TOML}")), "no proxy is on it");
}

#[test]
fn what_a_person_types_cannot_break_out_of_its_quotes() {
    let text = std::fs::read_to_string("modules/proxy/example.kdl").unwrap();
    let text = text.replace("substitute \"%\" \"@\"", r##"substitute #"a"b\c"# "@[proxy]""##);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("t.kdl");
    std::fs::write(&path, text).unwrap();
    let c = config(&Story::example(path.to_str().unwrap(), None).lower().clean(), "gate-1");
    assert_eq!(c.rewrite.substitute.iter().collect::<Vec<_>>(), [(&"a\"b\\c".to_owned(), &"@[proxy]".to_owned())]);
}

#[test]
fn examples_plan_with_the_pack() {
    for (file, server) in [("modules/proxy/example.kdl", "gate-1"), ("examples/quickstart/topology.kdl", "gate")] {
        let lowered = Story::example(file, None).lower().clean();
        let address = format!("server.{server}/file:{TOML}");
        if !lowered.has(&address) {
            continue;
        }
        config(&lowered, server);
        let resource = lowered.resource(&address);
        assert_eq!(resource.attrs.get("validate"), Some(&Attr::text("/usr/local/bin/cutover-proxy check %s")));
        let program = format!("server.{server}/binary:/usr/local/bin/cutover-proxy");
        assert!(
            resource.after.contains(&Dependency::Resource(program.parse().unwrap())),
            "checked by the program that reads it"
        );
        // The program of this build, by name: where it lies is nothing that a saved plan says.
        let Some(Attr::Content(content)) = lowered.resource(&program).attrs.get("content") else {
            panic!("no content")
        };
        assert_eq!(lowered.site.bodies[&content.id].segments, [Segment::Program("cutover-proxy".into())]);
        let main = lowered.content(&format!("server.{server}/file:/etc/postfix/main.cf"));
        assert!(
            main.contains("\ntransport_maps = socketmap:unix:/run/cutover-proxy/socketmap.sock:transport, texthash:"),
            "{main}"
        );
    }
}

#[test]
fn a_proxy_that_cannot_be_set_up_is_refused_with_its_reason() {
    let base = r#"
server gate platform=open site=office ip="192.0.2.1" { roles proxy; }
server "mail-[1:2]" platform=open site=office ip="192.0.2.[11:12]" { roles imap; }
pair store { members "mail-[1:2]"; }
certificate tls subject=m.acme.example issuer=internal { on gate "mail-[1:2]"; }
directory staff type=ldap
legacy old product=dovecot host=old.acme.example
"#;
    let with = |more: &str| Story::new(&format!("{base}{more}")).lower().said();
    for (more, said) in [
        ("", "server gate has the role proxy, and no proxy is on it"),
        ("proxy p old=old new=open { on mail-1; listen imap; }", "nothing installs proxy p on server mail-1"),
        ("proxy p old=old new=dns { on gate; listen imap; }", "no server is behind the new side of proxy p"),
        ("proxy p old=old new=store directory=staff { on gate; listen imap; }", "`directory` and `lookup` go together"),
        (
            "proxy p old=old new=store directory=staff { on gate; listen imap; lookup \"(mail={user})\" attribute=m { new x; }; }",
            "has no `url` or no `base`",
        ),
        ("proxy p old=old new=store route-by=file { on gate; listen imap; }", "go together"),
        (
            "proxy p old=old new=store { on gate; listen imap; }\nproxy q old=old new=store { on gate; listen imaps; }",
            "proxies p and q are both on server gate",
        ),
    ] {
        let found = with(more);
        assert!(found.contains(said), "{more}\n{found}");
    }
}

/// Every block of TOML in the documents is a configuration, or a part of one beside the first.
#[test]
fn every_block_of_the_documents_is_a_configuration() {
    let text = std::fs::read_to_string("docs/proxy.md").unwrap();
    let blocks: Vec<&str> = text.split("```toml\n").skip(1).filter_map(|b| b.split("```").next()).collect();
    let whole = blocks[0];
    assert!(blocks.len() >= 3 && whole.contains("[proxy]"));
    for block in &blocks {
        let text = if block.contains("[proxy]") { (*block).to_owned() } else { format!("{whole}\n{block}") };
        Config::parse(&text).unwrap_or_else(|faults| panic!("{faults:#?}\n{block}"));
    }
}
