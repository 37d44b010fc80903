//! `moved`: renames that keep identity, and what is wrong with one.

use cutover::language::{self, Options};
use cutover::model::topology::NodeId;

use super::language::files;
use super::language_rules::{BASE, expect, good, lab};

fn server(to: &str) -> NodeId {
    NodeId::new("server", to)
}

#[test]
fn ranges_zip_and_chains_lead_to_what_is_there() {
    let t = good(
        "moved from=\"server:box-[1:3]\" to=\"server:mbx-[1:3]\"\nmoved from=\"server:crate-1\" to=\"server:box-1\"\nmoved from=\"server:gate\" to=\"server:hub\"",
        None,
    );
    let pairs = [("box-1", "mbx-1"), ("box-2", "mbx-2"), ("box-3", "mbx-3"), ("crate-1", "mbx-1"), ("gate", "hub")];
    assert_eq!(t.moved.len(), pairs.len());
    for (from, to) in pairs {
        assert_eq!(t.moved.get(&server(from)), Some(&server(to)), "{from}");
    }
}

#[test]
fn children_and_keyed_nodes_have_names_too() {
    let zone = "dns-provider d type=manual\nzone a.example provider=d view=public { record mail A \"192.0.2.1\"; }\n";
    let t = good(
        &format!(
            "{zone}moved from=\"record:a.example@public.post@A\" to=\"record:a.example@public.mail@A\"\nmoved from=\"zone:a.example@both\" to=\"zone:a.example@public\""
        ),
        None,
    );
    assert_eq!(t.moved.len(), 2);
    // Names under a domain map follow it.
    let text = format!(
        "{zone}moved from=\"zone:old.example@public\" to=\"zone:a.example@public\"\n{}",
        lab("domain-map a.example to=a.test")
    );
    let t = good(&text, Some("lab"));
    assert_eq!(t.moved.get(&NodeId::new("zone", "old.example@public")), Some(&NodeId::new("zone", "a.test@public")));
}

#[test]
fn a_rename_that_says_nothing_true_is_a_mistake() {
    expect("moved from=\"server:mbx-1\" to=\"server:hub\"", &["E0416"]);
    expect("moved from=\"server:box\" to=\"server:hubb\"", &["E0301"]);
    expect("moved from=\"server:a\" to=\"server:hub\"\nmoved from=\"server:a\" to=\"server:mbx-1\"", &["E0417"]);
    expect("moved from=\"server:a\" to=\"server:hub\"\nmoved from=\"server:b\" to=\"server:hub\"", &["E0417"]);
    expect("moved from=\"server:a\" to=\"server:b\"\nmoved from=\"server:b\" to=\"server:a\"", &["E0417", "E0417"]);
    expect("moved from=\"server:[a,b]\" to=\"server:hub\"", &["E0415"]);
    expect("moved from=\"site:a\" to=\"server:hub\"", &["E0415"]);
    expect("moved from=a to=\"server:hub\"", &["E0415"]);
    expect("moved from=\"sever:a\" to=\"server:hub\"", &["E0415"]);
    // What a lab leaves out was still renamed.
    good(&format!("moved from=\"server:box\" to=\"server:hub\"\n{}", lab("(remove)server hub")), Some("lab"));
}

/// Every layer of a value, with what it was made of.
#[test]
fn explain_shows_what_a_value_was_made_of() {
    let text = format!(
        "{BASE}variable size type=size default=\"4GiB\"\nlet domain a.example\n\
         server \"x-[1:2]\" platform=open site=dublin memory=$size ip=\"10.0.0.[7:8]\" fqdn=\"$1.$domain\" {{ roles hub; }}\n\
         module m {{ param where type=\"ref(site)\"; param n type=int default=2; server \"$self-1\" platform=open site=$where cpu=$n {{ roles hub; }}; }}\n\
         use m red where=dublin {{ (patch)server red-1 os=bsd; }}\n\
         environment mid purpose=lab {{ set size \"2GiB\"; }}\n\
         environment leaf purpose=lab extends=mid {{ (patch)server x-1 {{ (add)roles cas; }}; address-map \"10.0.0.0/24\" to=\"10.9.0.0/24\"; }}\n"
    );
    let explain = |sets: &[(&str, &str)], address: &str| {
        let options = Options {
            environment: Some("leaf".into()),
            sets: sets.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect(),
            ..Options::default()
        };
        let c = language::compile_files(&files("t.kdl", text.as_str()), "t.kdl", &options);
        language::explain(&c.topology, &c.sources, address).expect(address)
    };
    insta::assert_snapshot!(
        [
            explain(&[("size", "1GiB")], "server.x-1.memory"),
            explain(&[], "server.x-2.ip"),
            explain(&[], "server.x-1.roles"),
            explain(&[], "server.x-2.fqdn"),
            explain(&[], "server.red-1.site"),
            explain(&[], "server.red-1.cpu"),
            explain(&[], "server.red-1.os"),
        ]
        .concat()
    );
}
