//! Rename: every place, the `moved` line, and what cannot be renamed alone.

use serde_json::{Value, json};

use super::support::editor::Editor;

const MAIN: &str = "language 1
include \"hosts.kdl\"
variable size type=size default=\"2GiB\"
site \"[ber,muc]\"
platform gateway postfix=\"3.7\" dovecot=\"2.3\"
calendar fsc { window sunday every=week from=\"02:00\" for=\"6h\" { on sun; }; }
zone acme.example { record mail A to=gw-1; }
environment lab purpose=lab runtime=containers {
    set size \"1GiB\"
    (patch)server gw-1 memory=\"512MiB\"
    (remove)server gw-2
}
";

const HOSTS: &str = "server gw-1 platform=gateway site=ber memory=$size { roles relay; labels \"${size}-large\"; }
server gw-2 platform=gateway site=muc { roles relay; }
server \"mbx-[1:3]\" platform=gateway site=ber { roles imap; }
flow in ports=993 { from ber muc; to gw-1 \"mbx-[1:3]\" mbx-2; }
flow all ports=25 { from ber; to \"mbx-*\" server:gw-1; }
organization acme domain=acme.example anchor=gw-1
";

fn editor() -> Editor {
    let mut e = Editor::with(&[("topology.kdl", MAIN), ("hosts.kdl", HOSTS)]);
    e.open_file("topology.kdl");
    e.open_file("hosts.kdl");
    e
}

fn rename(e: &mut Editor, name: &str, around: &str, new: &str) -> Result<Value, Value> {
    let mut params = e.place(name, around);
    params["newName"] = json!(new);
    e.ask("textDocument/rename", params)
}

fn refused(e: &mut Editor, name: &str, around: &str, new: &str) -> String {
    let why = rename(e, name, around, new).expect_err("refused");
    assert_eq!(why["code"], -32803);
    why["message"].as_str().expect("text").to_owned()
}

#[test]
fn a_server_is_renamed_in_base_and_overlays_and_keeps_its_identity() {
    let mut e = editor();
    for (file, around) in
        [("hosts.kdl", "server gw|-1 platform"), ("topology.kdl", "(patch)server |gw-1"), ("hosts.kdl", "server:gw-|1")]
    {
        let prepared = e.at("textDocument/prepareRename", file, around).expect("can be renamed");
        assert_eq!(prepared["placeholder"], "gw-1", "{around}");
        let edit = rename(&mut e, file, around, "gate-1").expect("an edit");
        let texts = e.edited(&edit);
        let hosts = HOSTS.replace("gw-1", "gate-1");
        assert_eq!(texts["hosts.kdl"], format!("moved from=\"server:gw-1\" to=\"server:gate-1\"\n{hosts}"), "{around}");
        assert_eq!(texts["topology.kdl"], MAIN.replace("gw-1", "gate-1"));
    }
}

#[test]
fn a_range_is_renamed_whole_and_never_in_part() {
    let mut e = editor();
    let edit = rename(&mut e, "hosts.kdl", "server \"mb|x-[1:3]\"", "box-[1:3]");
    let why = edit.expect_err("the pattern would not fit");
    assert!(why["message"].as_str().is_some_and(|m| m.contains("the pattern \"mbx-*\" at hosts.kdl:5")), "{why}");
    e.replace("hosts.kdl", "to \"mbx-*\" server:gw-1", "to server:gw-1");
    let edit = rename(&mut e, "hosts.kdl", "server \"mb|x-[1:3]\"", "box-[a:c]").expect("an edit");
    let hosts = &e.edited(&edit)["hosts.kdl"];
    assert!(hosts.contains("server \"box-[a:c]\" platform"), "{hosts}");
    assert!(hosts.contains("to gw-1 \"box-[a:c]\" box-b;"), "{hosts}");
    assert!(hosts.contains("moved from=\"server:mbx-[1:3]\" to=\"server:box-[a:c]\""), "{hosts}");
    let why = refused(&mut e, "hosts.kdl", "\"mbx-[1:3]\" mbx|-2", "box-2");
    assert!(
        why.contains("comes from the range \"mbx-[1:3]\" at hosts.kdl:3") && why.contains("cannot be renamed alone"),
        "{why}"
    );
    let why = refused(&mut e, "hosts.kdl", "server \"mb|x-[1:3]\"", "box-[1:4]");
    assert!(why.contains("3 names") && why.contains("4"), "{why}");
}

#[test]
fn variables_sites_and_parents_of_children() {
    let mut e = editor();
    let edit = rename(&mut e, "hosts.kdl", "memory=$si|ze", "ram").expect("an edit");
    let texts = e.edited(&edit);
    assert!(texts["hosts.kdl"].contains("memory=$ram") && texts["hosts.kdl"].contains("\"${ram}-large\""), "{texts:?}");
    assert!(texts["topology.kdl"].contains("variable ram type") && texts["topology.kdl"].contains("set ram \"1GiB\""));
    assert!(!texts["topology.kdl"].contains("moved"));
    let edit = rename(&mut e, "topology.kdl", "environment l|ab", "laboratory").expect("an edit");
    assert!(e.edited(&edit)["topology.kdl"].contains("environment laboratory purpose=lab"));
    let edit = rename(&mut e, "topology.kdl", "platform gate|way", "gateway two").expect_err("no name");
    assert!(edit["message"].as_str().is_some_and(|m| m.contains("cannot be its name")), "{edit}");
    let why = refused(&mut e, "topology.kdl", "platform gate|way", "");
    assert!(why.contains("not empty"), "{why}");
}

#[test]
fn a_rename_that_would_make_a_mistake_is_refused() {
    let mut e = editor();
    let why = refused(&mut e, "hosts.kdl", "server gw|-1 platform", "gw-2");
    assert!(why.contains("`gw-2` cannot be its name") && why.contains("defined twice"), "{why}");
    let why = refused(&mut e, "topology.kdl", "purp|ose=lab", "x");
    assert!(why.contains("no name of the topology"), "{why}");
    e.replace("hosts.kdl", "roles imap;", "roles [;");
    let why = refused(&mut e, "hosts.kdl", "server gw|-1 platform", "gate-1");
    assert!(why.contains("does not parse"), "{why}");
}

#[test]
fn modules_parameters_and_names_that_are_put_together() {
    let main = "language 1
site ber
platform p postfix=\"3.7\"
module pod {
    param where type=\"ref(site)\"
    server \"$self-a\" platform=p site=$where { roles relay; }
}
use pod one where=ber { (patch)server one-a memory=\"1GiB\"; }
";
    let mut e = Editor::with(&[("topology.kdl", main)]);
    e.open_file("topology.kdl");
    let edit = rename(&mut e, "topology.kdl", "use po|d one", "cell").expect("an edit");
    assert_eq!(e.edited(&edit)["topology.kdl"], main.replace(" pod", " cell"));
    let edit = rename(&mut e, "topology.kdl", "one whe|re=ber", "place").expect("an edit");
    assert_eq!(e.edited(&edit)["topology.kdl"], main.replace("where", "place"));
    let edit = rename(&mut e, "topology.kdl", "where=b|er", "fra").expect("an edit");
    assert_eq!(e.edited(&edit)["topology.kdl"], main.replace("ber\n", "fra\n").replace("=ber", "=fra"));
    let why = refused(&mut e, "topology.kdl", "(patch)server one|-a", "x");
    assert!(why.contains("gets its name from \"$self-a\" at topology.kdl:6"), "{why}");
}
