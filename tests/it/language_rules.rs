//! The rules of the language, one small topology each: what a mistake is called, and what a right topology means.

use cutover::language::{self, Compiled, Options, slice};
use cutover::model::topology::{NodeId, Topology};

use crate::language::{draw, files};

pub const BASE: &str = "platform ex exchange=\"2010\"\nplatform open postfix=\"3.7\" dovecot=\"2.3\"\nsite dublin\n\
    server \"mbx-[1:3]\" platform=ex site=dublin memory=\"8GiB\" { roles mailbox; }\nserver hub platform=open site=dublin { roles hub um; }\n";

pub fn codes(c: &Compiled) -> Vec<&'static str> {
    c.diagnostics.iter().map(|d| d.code).collect()
}

/// Checked with all its environments, behind the base.
fn mistakes(text: &str) -> (Vec<&'static str>, String) {
    let text = format!("{BASE}{text}");
    let c = language::check_files(&files("t.kdl", text), "t.kdl", &Options::default());
    (codes(&c), draw(&c))
}

pub fn expect(text: &str, wanted: &[&str]) {
    let (found, shown) = mistakes(text);
    assert_eq!(found, wanted, "{text}\n{shown}");
}

/// A topology without mistakes, in an environment.
pub fn good(text: &str, environment: Option<&str>) -> Topology {
    let text = format!("{BASE}{text}");
    let options = Options { environment: environment.map(str::to_owned), ..Options::default() };
    let c = language::compile_files(&files("t.kdl", text.clone()), "t.kdl", &options);
    assert!(c.diagnostics.is_empty(), "{text}\n{}", draw(&c));
    c.topology
}

pub fn names<'t>(t: &'t Topology, kind: &'t str) -> Vec<&'t str> {
    t.all(kind).map(|n| n.id.name.as_str()).collect()
}

pub fn lab(body: &str) -> String {
    format!("environment lab purpose=lab {{\n{body}\n}}\n")
}

#[test]
fn strict_at_every_depth() {
    expect("sever a", &["E0101"]);
    expect("site", &["E0106"]);
    expect("site a b", &["E0103"]);
    expect("site a hub=#true hub=#true", &["E0104"]);
    expect("site a hub=#true { hub #true; }", &["E0104"]);
    expect("site a { hub #true #false; }", &["E0109"]);
    expect("site a { hub x=1; }", &["E0110"]);
    expect("site a { location { x; }; }", &["E0110"]);
    expect("site a { server b; }", &["E0108"]);
    expect("record a A", &["E0108"]);
    expect("site a hub=yes", &["E0201"]);
    expect("site a location=#null", &["E0201"]);
    expect("subnet a cidr=\"10.0.0.1/8\" site=dublin", &["E0201"]);
    expect("subnet a site=dublin", &["E0107"]);
    expect("subnet a cidr=\"10.0.0.0/8\" site=dublin vlan=5000", &["E0203"]);
    expect("link a bandwidth=\"1Mbit/s\" { between dublin; }", &["E0204"]);
    expect("link a bandwidth=\"1Mbit/s\" type=wann { between dublin dublin; }", &["E0202"]);
    expect("(patch)site a", &["E0402"]);
    expect("site a location=(secret)\"env:X\"", &["E0111"]);
    expect("language 2", &["E0014"]);
    expect("organization a domain=a.example\norganization b domain=b.example", &["E0304"]);
    expect("server x platform=ex site=dublin { roles mailbx; }", &["E0202"]);
}

#[test]
fn all_mistakes_of_a_run_at_once() {
    let (found, shown) = mistakes(
        "site a hubb=#true\nsubnet b cidr=x site=nowhere\nserver c platform=ex { roles mailbox; }\ndag d { members mbx-9; }",
    );
    assert_eq!(found, ["E0102", "E0201", "E0301", "E0107", "E0301"], "{shown}");
}

#[test]
fn follow_ups_are_suppressed() {
    // The name of a node that could not be made is not missing.
    expect("sever gone platform=ex\nwitness w host=gone", &["E0101"]);
    expect("server \"a-[2:1]\" platform=ex site=dublin { roles hub; }", &["E0306"]);
    // A swallowed required field is not missing too.
    expect("server x platform=ex site=dublin { roles mailbox subnet none; }", &["E0105"]);
    expect("monitor m { on mbx-1 every rule; }", &["E0105"]);
}

#[test]
fn references() {
    expect("witness w host=nobody", &["E0301"]);
    expect("witness w host=dublin", &["E0302"]);
    expect("site hub\nprobe p type=smtp to=hub", &["E0305"]);
    expect("probe p type=smtp { to \"zzz-*\"; }", &["E0308"]);
    expect("probe p type=smtp { to role:edge; }", &["E0308"]);
    expect("probe p type=smtp { to person:x; }", &["E0302"]);
    let t = good("probe p type=smtp { to \"mbx-*\" role:hub; }\nsla s type=availability { of service; }", None);
    let to = t.get("probe", "p").map(|p| p.texts("to")).unwrap_or_default();
    assert_eq!(to, ["mbx-1", "mbx-2", "mbx-3", "hub"]);
    assert_eq!(t.get("sla", "s").map(|s| s.texts("of")), Some(vec!["service"]));
    // Children are named parent.child, and found.
    let t = good(
        "baseline b { roles mailbox; check c source=file key=k expect=#true; }\nwaiver w until=\"2030-01-01\" reason=r { of b.c; on mbx-1; }",
        None,
    );
    let id = NodeId::new("check", "b.c");
    assert_eq!(t.find(&id).map(|n| n.name()), Some("c"));
}

#[test]
fn ranges_and_zips() {
    let t = good(
        "server \"x-[a,b]\" platform=ex site=dublin os=\"os-$1\" ip=\"10.0.0.[1:2]\" { roles hub; cpu \"[4,8]\"; disk \"d[1:2]\" size=\"1GiB\" mount=\"/d$1\"; }",
        None,
    );
    let x = t.get("server", "x-b").expect("made");
    assert_eq!((x.text("os"), x.text("ip"), x.int("cpu")), (Some("os-b"), Some("10.0.0.2"), Some(8)));
    let disks: Vec<_> =
        x.children("disk").map(|d| (d.name().to_owned(), d.text("mount").unwrap_or_default().to_owned())).collect();
    assert_eq!(disks, [("d1".into(), "/d1".into()), ("d2".into(), "/d2".into())]);
    expect("server \"x-[1:2]\" platform=ex site=dublin ip=\"10.0.0.[1:3]\" { roles hub; }", &["E0303"]);
    expect("site \"a-$1\"", &["E0511"]);
    expect("site a location=\"$nothing\"", &["E0511"]);
    // Raw strings and prose keep their brackets and dollars.
    let t =
        good("server y platform=open site=dublin { roles hub; setting \"postfix:x\" #\"$mydomain [1:2]\"#; }", None);
    assert_eq!(
        t.get("server", "y").and_then(|y| y.children("setting").next()).and_then(|s| s.text("value")),
        Some("$mydomain [1:2]")
    );
}

#[test]
fn variables() {
    let text = "variable size type=size default=\"4GiB\"\nlet half \"$name-x\"\nlet name abc\nserver v platform=ex site=dublin memory=$size os=$half { roles hub; }";
    let t = good(text, None);
    assert_eq!(t.get("server", "v").and_then(|s| s.text("os")), Some("abc-x"));
    let with = |sets: &[(&str, &str)]| {
        let options =
            Options { sets: sets.iter().map(|(a, b)| ((*a).into(), (*b).into())).collect(), ..Options::default() };
        codes(&language::compile_files(&files("t.kdl", format!("{BASE}{text}")), "t.kdl", &options))
    };
    assert_eq!(with(&[("size", "2GiB")]), Vec::<&str>::new());
    assert_eq!(with(&[("size", "big")]), ["E0201"]);
    assert_eq!(with(&[("sise", "2GiB")]), ["E0513"]);
    expect("variable v type=int default=x", &["E0201"]);
    expect("variable v type=int\nsite a", &["E0512"]);
    expect("let a $b\nlet b $a", &["E0514"]);
    expect(&format!("variable v type=int default=1\n{}", lab("set w 2")), &["E0301"]);
    let t = good(
        &format!(
            "variable os type=string default=one\nserver w platform=ex site=dublin os=$os {{ roles hub; }}\n{}",
            lab("set os two")
        ),
        Some("lab"),
    );
    assert_eq!(t.get("server", "w").and_then(|s| s.text("os")), Some("two"));
}

#[test]
fn modules() {
    let module = "module m version=\"1.2.0\" { param site type=\"ref(site)\"; param n type=int default=2 max=5; server \"$self-[1:$n]\" platform=ex site=$site { roles hub; }; }\n";
    let t = good(&format!("site cork\n{module}use m \"[red,blu]\" site=\"[dublin,cork]\" n=\"[1,3]\""), None);
    assert_eq!(names(&t, "server"), ["blu-1", "blu-2", "blu-3", "hub", "mbx-1", "mbx-2", "mbx-3", "red-1"]);
    assert_eq!(t.get("server", "blu-1").and_then(|s| s.text("site")), Some("cork"));
    expect(&format!("{module}use m x"), &["E0503"]);
    expect(&format!("{module}use m x site=dublin n=9"), &["E0203"]);
    expect(&format!("{module}use m x site=dublin m=9"), &["E0502"]);
    expect(&format!("{module}use m x site=nowhere"), &["E0301"]);
    expect(&format!("{module}use m x site=dublin version=\"2.0.0\""), &["E0506"]);
    expect(&format!("{module}use mm x site=dublin"), &["E0501"]);
    expect(
        "variable os type=string default=x\nmodule n { server \"$self\" platform=ex site=dublin os=$os { roles hub; }; }\nuse n a",
        &["E0511"],
    );
    expect(&format!("{module}use m x site=dublin {{ server x-1 memory=\"1GiB\"; }}"), &["E0401"]);
    expect(&format!("{module}use m x site=dublin {{ (patch)server x-9 memory=\"1GiB\"; }}"), &["E0403"]);
    let t =
        good(&format!("{module}use m x site=dublin {{ (patch)server \"$self-[1:2]\" memory=\"[1,2]GiB\"; }}"), None);
    let field = t.get("server", "x-2").and_then(|s| s.fields.get("memory")).expect("patched");
    assert_eq!(field.layers.last().map(|l| (l.by.as_str(), l.shown.as_str())), Some(("use m x", "2GiB")));
    assert_eq!(
        names(
            &good(&format!("variable on type=bool default=#false\n{module}use m x site=dublin when=$on"), None),
            "server"
        )
        .len(),
        4
    );
}

#[test]
fn overlays() {
    let t = good(
        &lab(
            "(patch)server \"mbx-[1:3]\" memory=\"[1,2,3]GiB\" { (add)roles hub; }\n(remove)server hub\n(add)server new platform=ex site=dublin { roles cas; }",
        ),
        Some("lab"),
    );
    assert_eq!(names(&t, "server"), ["mbx-1", "mbx-2", "mbx-3", "new"]);
    let m = t.get("server", "mbx-2").expect("there");
    assert_eq!(m.texts("roles"), ["mailbox", "hub"]);
    assert_eq!(
        m.fields.get("memory").map(|f| f.layers.iter().map(|l| l.by.as_str()).collect::<Vec<_>>()),
        Some(vec!["base", "environment lab"])
    );
    // Globs and roles choose targets; (take) keeps the first.
    let t = good(
        &lab("(patch)server \"mbx-*\" os=x\n(take)server \"mbx-[1:3]\" 2\n(replace)site dublin location=elsewhere"),
        Some("lab"),
    );
    assert_eq!(names(&t, "server"), ["hub", "mbx-1", "mbx-2"]);
    expect(&lab("(patch)server role:edge os=x"), &["E0403"]);
    expect(&lab("(add)server hub platform=ex site=dublin { roles hub; }"), &["E0404"]);
    expect(&lab("(patch)server hub os=x\n(patch)server hub os=y"), &["E0405"]);
    expect(&lab("(patch)server hub os=x\n(patch)server \"*\" os=y"), &["E0405"]);
    expect(&format!("(final)sla s type=delivery\n{}", lab("(patch)sla s within=\"1s\"")), &["E0406"]);
    expect(&lab("(patsch)server hub os=x"), &["E0402"]);
    expect(&lab("(take)server \"mbx-[1:3]\" 5"), &["E0409"]);
    expect(&lab("(remove)server hub os=x"), &["E0402"]);
    expect(&lab("(patch)server hub oss=x"), &["E0102"]);
    expect(&lab("(patch)server hub { (remove)roles edge; }"), &["E0403"]);
    expect("environment a purpose=lab extends=b\nenvironment b purpose=lab extends=a", &["E0408"]);
    expect("environment a purpose=lab extends=c", &["E0301"]);
}

#[test]
fn environments_extend_each_other() {
    let text = "environment mid purpose=lab { (patch)server hub os=one cpu=1; }\nenvironment leaf purpose=lab extends=mid { (patch)server hub os=two; }";
    let hub = |e: &str| good(text, Some(e)).get("server", "hub").and_then(|h| h.text("os").map(str::to_owned));
    assert_eq!(hub("mid").as_deref(), Some("one"));
    assert_eq!(hub("leaf").as_deref(), Some("two"));
}

#[test]
fn lists_shrink_with_their_nodes_but_single_names_do_not() {
    let pair = "pair p { members \"mbx-[1:2]\"; }\nprobe p type=smtp { to \"mbx-[1:3]\" \"mbx-*\" role:mailbox; }\n";
    let t = good(
        &format!("probe p type=smtp {{ to \"mbx-[1:3]\"; }}\n{}", lab("(take)server \"mbx-[1:3]\" 1")),
        Some("lab"),
    );
    assert_eq!(t.get("probe", "p").map(|p| p.texts("to")), Some(vec!["mbx-1"]));
    expect(&format!("{pair}{}", lab("(remove)server mbx-2")), &["E0204"]);
    expect(&format!("witness w host=hub\n{}", lab("(remove)server hub")), &["E0309"]);
}

#[test]
fn children_are_patched_by_name() {
    let zone = "dns-provider d type=manual\nzone a.example provider=d view=public { record www A \"192.0.2.1\"; record www AAAA \"2001:db8::1\"; record \"@\" MX b.example priority=1; }\n";
    let t = good(
        &format!(
            "{zone}{}",
            lab(
                "(patch)zone a.example { record www A \"192.0.2.9\"; (add)record new A \"192.0.2.2\"; (remove)record \"@\" MX; }"
            )
        ),
        Some("lab"),
    );
    let records: Vec<_> = t
        .get("zone", "a.example@public")
        .expect("zone")
        .children("record")
        .map(|r| (r.id.name.to_string(), r.texts("values").join(" ")))
        .collect();
    let wanted = [("www@A", "192.0.2.9"), ("www@AAAA", "2001:db8::1"), ("new@A", "192.0.2.2")];
    let wanted: Vec<_> = wanted.iter().map(|(n, v)| (format!("a.example@public.{n}"), (*v).to_owned())).collect();
    assert_eq!(records, wanted);
    expect(&format!("{zone}{}", lab("(patch)zone a.example { record wwww A \"192.0.2.9\"; }")), &["E0403"]);
    expect(&format!("{zone}zone a.example provider=d view=public"), &["E0304"]);
    assert_eq!(
        names(&good(&format!("{zone}zone a.example provider=d view=internal"), None), "zone"),
        ["a.example@internal", "a.example@public"]
    );
}

#[test]
fn maps_reach_names_and_references() {
    let text = "organization o domain=a.example\naccepted-domain a.example\nmail-auth a.example { dmarc { reports x@a.example; }; }\nmail-account \"[x,y]@a.example\" on=hub password=(secret)\"env:X\"\n\
        server s platform=open site=dublin ip=\"10.1.2.3\" { roles hub; setting \"postfix:myhostname\" \"s.a.example\"; setting \"postfix:raw\" #\"s.a.example\"#; }\n";
    let t = good(
        &format!("{text}{}", lab("domain-map a.example to=b.test\naddress-map \"10.1.0.0/16\" to=\"10.9.0.0/16\"")),
        Some("lab"),
    );
    assert_eq!(names(&t, "mail-account"), ["x@b.test", "y@b.test"]);
    let auth = t.get("mail-auth", "b.test").expect("renamed");
    assert_eq!(
        auth.value("name").map(|v| &v.value),
        Some(&cutover::model::topology::Value::Ref(NodeId::new("accepted-domain", "b.test")))
    );
    let s = t.get("server", "s").expect("there");
    assert_eq!(s.text("ip"), Some("10.9.2.3"));
    let settings: Vec<_> = s.children("setting").map(|s| s.text("value").unwrap_or_default().to_owned()).collect();
    assert_eq!(settings, ["s.b.test", "s.a.example"]);
    expect(&format!("{text}{}", lab("address-map \"10.0.0.0/8\" to=\"10.9.0.0/16\"")), &["E0411"]);
}

#[test]
fn version_limits() {
    expect("platform new exchange=\"2016\"\nserver u platform=new site=dublin { roles mailbox um; }", &["E0601"]);
    expect("ccr c witness=w { nodes \"mbx-[1:2]\"; }\nwitness w host=hub", &["E0601"]);
    expect(
        "platform d24 dovecot=\"2.4.1\"\nserver \"i-[1:2]\" platform=d24 site=dublin { roles imap; }\npair p { members \"i-[1:2]\"; }",
        &["E0601"],
    );
    expect("database d on=mbx-1 storage-group=sg", &["E0601"]);
    // A field that nobody wrote is not limited.
    expect("database d on=mbx-1", &[]);
}

#[test]
fn slices() {
    let text = "server \"x-[1:2]\" platform=open site=dublin { roles hub; baselines b; }\nbaseline b { roles hub; }\nenvironment e purpose=test\n\
        phase one step=pilot environment=e { deploys x-1; }\nphase two step=deploy environment=e { after one; deploys \"*\"; }\nphase other step=deploy { deploys x-2; }\n";
    let t = good(text, Some("e"));
    let one = slice::deployed(&t, "one").expect("phase");
    let ids: Vec<String> = one.iter().map(ToString::to_string).collect();
    assert_eq!(ids, ["baseline:b", "platform:open", "server:x-1", "site:dublin"]);
    let two = slice::deployed(&t, "two").expect("phase");
    for s in ["hub", "mbx-1", "x-1", "x-2"] {
        assert!(two.contains(&NodeId::new("server", s)), "{s}");
    }
    assert!(!slice::own(&t, t.get("phase", "two").expect("phase")).contains(&NodeId::new("server", "x-1")));
    assert_eq!(slice::deployed(&t, "none"), None);
}

#[test]
fn duties() {
    let people = "team ops\nperson \"[a,b]\" signing-key=\"[a,b].pub\" { teams ops; }\nrunbook r steps=x\nseparation s { of author tester approver; }\n";
    let change = |rest: &str| format!("{people}change c severity=minor rollout=r rollback=r {rest}");
    expect(&change("author=a tester=b { affects hub; approval ops; }"), &[]);
    expect(&change("author=a tester=a { affects hub; approval ops; }"), &["E0801"]);
    expect(&change("author=a { affects hub; approval a; }"), &["E0801"]);
    expect(&change("author=ops { affects hub; approval ops count=2; }"), &[]);
}

#[test]
fn explain_shows_each_layer() {
    let text = format!("{BASE}{}", lab("(patch)server mbx-1 memory=\"2GiB\""));
    let options = Options { environment: Some("lab".into()), ..Options::default() };
    let c = language::compile_files(&files("t.kdl", text), "t.kdl", &options);
    let shown = language::explain(&c.topology, &c.sources, "server.mbx-1.memory").expect("there");
    assert_eq!(
        shown,
        "server.mbx-1.memory = 2GiB\n    base             8GiB  t.kdl:4:44\n    environment lab  2GiB  t.kdl:7:21\n"
    );
    let whole = language::explain(&c.topology, &c.sources, "server.mbx-1").expect("there");
    assert!(whole.contains("protect = #false\n    default  #false  schema\n"), "{whole}");
    let miss = |a: &str| language::explain(&c.topology, &c.sources, a).expect_err(a);
    assert_eq!(miss("server.mbx-9"), "no server named mbx-9; did you mean server.mbx-1?");
    assert_eq!(miss("server.mbx-1.memry"), "server mbx-1 has no memry; did you mean server.mbx-1.memory?");
    assert_eq!(miss("sever.mbx-1"), "the topology has no sever; did you mean server.mbx-1?");
}
