//! The language server as an editor drives it: diagnostics, completion, hover, navigation, formatting and the rest.

use serde_json::{Value, json};

use super::support::editor::{Editor, applied, folder, position};

const SMALL: &str = "language 1
organization acme domain=acme.example anchor=gw-1
variable size type=size default=\"2GiB\" doc=\"memory of a gateway\"
site \"[ber,muc]\" location=\"Persian: تهران \u{1f4e7}\"
platform gateway postfix=\"3.7\" dovecot=\"2.3\"
connection admin user=root { host-key \"ssh-ed25519 AAAA\"; }
server \"gw-[1:2]\" platform=gateway site=ber connection=admin ip=\"192.0.2.[1:2]\" memory=$size { roles relay; }
environment lab purpose=lab {
    set size \"1GiB\"
    (patch)server gw-1 memory=\"512MiB\"
}
";

fn small() -> Editor {
    let mut e = Editor::with(&[("topology.kdl", SMALL)]);
    e.open("topology.kdl", SMALL);
    e
}

fn codes(list: &[Value]) -> Vec<&str> {
    list.iter().filter_map(|d| d["code"].as_str()).collect()
}

fn has(list: &[String], wanted: &[&str]) -> bool {
    wanted.iter().all(|w| list.iter().any(|l| l == w))
}

#[test]
fn mistakes_come_and_go_with_the_text() {
    let mut e = small();
    e.replace("topology.kdl", "site=ber", "site=brr");
    let d = e.until_code("topology.kdl", "E0301");
    assert_eq!(d["severity"], 1);
    assert_eq!(d["source"], "cutover");
    assert!(
        d["message"].as_str().is_some_and(|m| m.contains("no site named `brr`") && m.contains("did you mean `ber`?")),
        "{d}"
    );
    let text = &e.texts["topology.kdl"];
    let at = text.find("site=brr").expect("there");
    assert_eq!(d["range"], json!({"start": position(text, at), "end": position(text, at + 8)}));
    let related = &d["relatedInformation"][0];
    assert_eq!(related["message"], "`ber` is defined here");
    assert_eq!(related["location"]["range"]["start"]["line"], 3);
    e.replace("topology.kdl", "site=brr", "site=ber");
    e.until("topology.kdl", |list| !codes(list).contains(&"E0301"));
    assert_eq!(e.quit(), 0);
}

#[test]
fn one_environment_and_values_of_variables_may_be_given() {
    let hovered = |arguments: &[&str], options: Value| {
        let mut e = Editor::told(folder(&[("topology.kdl", SMALL)]), arguments, options);
        e.open("topology.kdl", SMALL);
        e.settle("topology.kdl");
        let text = e.hovers("topology.kdl", "memory|=$size");
        assert_eq!(e.quit(), 0);
        text
    };
    let plain = hovered(&[], Value::Null);
    assert!(plain.contains("2GiB") && plain.contains("lab"), "{plain}");
    let set = hovered(&["--set", "size=3GiB"], Value::Null);
    assert!(set.contains("3GiB") && !set.contains("2GiB"), "{set}");
    let over = hovered(&["--set", "size=3GiB"], json!({"set": {"size": "5GiB"}}));
    assert!(over.contains("5GiB") && !over.contains("3GiB"), "{over}");

    // A mistake of an environment that was not asked for is not shown; one of that which was, is.
    let two = format!("{SMALL}environment other purpose=test {{ (patch)server gw-9 memory=\"1GiB\"; }}\n");
    for (env, wrong) in [("lab", false), ("other", true), ("none-of-this-root", true)] {
        let mut e = Editor::told(folder(&[("topology.kdl", &two)]), &["--env", env], Value::Null);
        e.open("topology.kdl", &two);
        e.settle("topology.kdl");
        e.replace("topology.kdl", "set size \"1GiB\"", "set size 1");
        match wrong {
            true => drop(e.until_code("topology.kdl", "E0403")),
            false => {
                let found = e.until("topology.kdl", |list| codes(list).contains(&"E0201"));
                assert!(!codes(&found).contains(&"E0403"), "{found:?}");
            }
        }
    }
}

#[test]
fn a_root_that_is_named_is_checked_without_being_open() {
    let elsewhere = folder(&[("topology.kdl", "language 1\nsite ber lcation=x\n")]);
    let root = elsewhere.path().to_string_lossy().into_owned();
    let by_argument = Editor::told(folder(&[]), &["--root", &root], Value::Null);
    let by_option = Editor::told(folder(&[]), &[], json!({"root": root}));
    for mut e in [by_argument, by_option] {
        let name = format!("file://{}/topology.kdl", root.replace(' ', "%20"));
        assert_eq!(e.until_code(&name, "E0102")["severity"], 1);
        assert_eq!(e.quit(), 0);
    }
}

#[test]
fn every_environment_is_checked_and_lint_rules_speak() {
    let mut e = small();
    e.replace("topology.kdl", "(patch)server gw-1", "(patch)server gw-9");
    e.until_code("topology.kdl", "E0403");
    e.replace("topology.kdl", "(patch)server gw-9", "(patch)server gw-1");
    e.until("topology.kdl", |list| codes(list).is_empty());
    e.replace("topology.kdl", " anchor=gw-1", "");
    let d = e.until_code("topology.kdl", "L0102");
    assert_eq!(d["severity"], 2);
    // The rule can be allowed in place.
    let range = d["range"].clone();
    let params =
        json!({"textDocument": {"uri": e.uri("topology.kdl")}, "range": range, "context": {"diagnostics": []}});
    let actions = e.ask("textDocument/codeAction", params).expect("actions");
    let allow = actions
        .as_array()
        .into_iter()
        .flatten()
        .find(|a| a["title"].as_str().is_some_and(|t| t.starts_with("Allow")))
        .expect("one");
    let text = &e.edited(&allow["edit"])["topology.kdl"];
    assert!(text.lines().last().is_some_and(|l| l.starts_with("allow no-anchor reason=")), "{text}");
}

#[test]
fn no_secret_is_in_any_message() {
    let mut e = small();
    for secret in ["hunter2", "hun[ter2", "9hunter2", "\"hunter2\"", "hun\"ter2\""] {
        let text = format!("{SMALL}legacy old product=dovecot host=old.acme.example admin={secret}\n");
        e.change("topology.kdl", json!([{"text": text}]));
        e.texts.insert("topology.kdl".into(), text);
        let found = e
            .until("topology.kdl", |list| list.iter().any(|d| d["severity"] == 1 && d["range"]["start"]["line"] == 11));
        let said = Value::from(found.clone()).to_string();
        assert!(!said.contains("hun") && !said.contains("ter2"), "{said}");
        let range = json!({"start": {"line": 0, "character": 0}, "end": {"line": 99, "character": 0}});
        let params =
            json!({"textDocument": {"uri": e.uri("topology.kdl")}, "range": range, "context": {"diagnostics": []}});
        let actions = e.ask("textDocument/codeAction", params).expect("actions").to_string();
        assert!(!actions.contains("hun") && !actions.contains("ter2"), "{actions}");
        let hover = e.at("textDocument/hover", "topology.kdl", "adm|in=").expect("a hover").to_string();
        assert!(!hover.contains("hun"), "{hover}");
        e.change("topology.kdl", json!([{"text": SMALL}]));
        e.until("topology.kdl", |list| codes(list).is_empty());
    }
}

#[test]
fn kinds_fields_values_and_names_are_completed() {
    let mut e = small();
    let file = "topology.kdl";
    e.replace(file, "environment lab", "\nserv\nenvironment lab");
    let top = e.completes(file, "\nserv|\n");
    assert!(has(&top, &["server", "site", "zone", "environment"]) && !top.contains(&"record".to_owned()), "{top:?}");
    e.replace(file, "\nserv\n", "\nserver x platform= site=ber { roles  }\n");
    assert_eq!(e.completes(file, "platform=| site"), ["gateway"]);
    assert!(has(&e.completes(file, "site=b|er { roles  }"), &["ber", "muc"]));
    let roles = e.completes(file, "{ roles | }");
    assert!(has(&roles, &["relay", "imap", "mailbox"]), "{roles:?}");
    let keys = e.completes(file, "server x pla|tform=");
    assert!(has(&keys, &["platform", "memory", "ip"]) && !keys.contains(&"site".to_owned()), "{keys:?}");
    let inside = e.completes(file, "{| roles  }");
    assert!(has(&inside, &["disk", "setting", "memory"]) && !has(&inside, &["platform"]), "{inside:?}");
    e.replace(file, " { roles  }", " memory=$ cpu=4 protect= connection=adm");
    assert!(has(&e.completes(file, "memory=$| cpu"), &["size"]));
    assert_eq!(e.completes(file, "protect=|"), ["#true", "#false"]);
    assert_eq!(e.completes(file, "connection=adm|"), ["admin"]);
}

#[test]
fn units_secrets_verbs_and_modules_are_completed() {
    let mut e = small();
    let file = "topology.kdl";
    e.replace(file, "environment lab", "sla up type=availability target=99 within=90 probe=\nenvironment lab");
    assert_eq!(e.completes(file, "target=99|"), ["99%"]);
    let units = e.completes(file, "within=90|");
    assert!(has(&units, &["90s", "90m", "90h", "90d"]), "{units:?}");
    let item = e.at("textDocument/completion", file, "within=90|").expect("a list")["items"][0].clone();
    assert_eq!(item["textEdit"]["newText"], "\"90s\"", "a unit needs quotes");
    e.replace(
        file,
        "sla up type=availability target=99 within=90 probe=",
        "vault v url=\"https://v.acme.example\" token=",
    );
    assert!(has(&e.completes(file, "token=|"), &["(secret)\"env:NAME\"", "(secret)\"age:PATH\""]));
    e.replace(file, "(patch)server gw-1", "()");
    assert_eq!(e.completes(file, "    (|) mem"), ["patch", "add", "remove", "replace", "take"]);
    e.replace(file, "() memory", "(patch)server  memory");
    let names = e.completes(file, "(patch)server | memory");
    assert!(has(&names, &["gw-1", "gw-2", "gw-[1:2]"]), "{names:?}");
    let own = e.completes(file, "\n    set |size");
    assert_eq!(own, ["size"]);
    let lines = e.completes(file, "\n    |set size");
    assert!(has(&lines, &["set", "domain-map", "stand-in"]), "{lines:?}");
    e.replace(file, "environment lab", "module pod { param where type=\"ref(site)\"; param n type=int; server \"$self-a\" site=$; }\nuse pod one \nenvironment lab");
    let params = e.completes(file, "use pod one |");
    assert!(has(&params, &["where", "n"]), "{params:?}");
    assert_eq!(e.completes(file, "use p|od"), ["pod"]);
    let bound = e.completes(file, "site=$|;");
    assert!(has(&bound, &["where", "n", "self"]) && !bound.contains(&"size".to_owned()), "{bound:?}");
    e.replace(file, "use pod one ", "use pod one where=");
    assert!(has(&e.completes(file, "where=|"), &["ber", "muc"]));
    e.replace(file, "use pod one where=", "allow no");
    assert!(has(&e.completes(file, "allow no|"), &["no-anchor"]));
}

#[test]
fn a_text_that_does_not_parse_is_still_helped() {
    let mut e = small();
    let file = "topology.kdl";
    e.settle(file);
    e.replace(file, "environment lab", "server new site= platform=\"gat\n\nenvironment lab");
    e.until_code(file, "E0002");
    assert!(has(&e.completes(file, "site=| platform"), &["ber", "muc"]), "names of the last good text");
    assert!(has(&e.completes(file, "platform=\"gat|"), &["gateway"]));
    // What follows an open quote on its line is not replaced.
    let item = e.at("textDocument/completion", file, "platform=\"gat|").expect("a list")["items"][0].clone();
    assert_eq!(item["textEdit"]["newText"], "\"gateway\"");
    e.replace(file, "\"gat\n", "\"gat cpu=4\n");
    let item = e.at("textDocument/completion", file, "platform=\"gat| cpu").expect("a list")["items"][0].clone();
    let replaced = applied(&e.texts[file], &json!([item["textEdit"]]));
    assert!(replaced.contains("platform=\"gateway\" cpu=4\n"), "{replaced}");
    e.replace(file, "\"gat cpu=4\n", "\"gat\n");
    let hover = e.hovers(file, "server \"gw|-[1:2]\"");
    assert!(hover.contains("2 names: gw-1 gw-2"), "{hover}");
    // Below the mistake, places have moved.
    let found = e.at("textDocument/definition", file, "(patch)server gw|-1").expect("found");
    let at = e.texts[file].find("\"gw-[1:2]\"").expect("there");
    assert_eq!(found[0]["range"]["start"], position(&e.texts[file], at));
    e.replace(file, "\"gat\n", "gateway\n");
    e.until(file, |list| !codes(list).contains(&"E0002"));
}

#[test]
fn hover_tells_the_value_in_each_environment() {
    let mut e = small();
    let file = "topology.kdl";
    let hover = e.hovers(file, "mem|ory=$size");
    assert!(hover.contains("**memory** of `server`: a size"), "{hover}");
    assert!(hover.contains("- base: `2GiB` from base (topology.kdl:7)"), "{hover}");
    assert!(hover.contains("`512MiB` from environment lab (topology.kdl:10), over base (topology.kdl:7)"), "{hover}");
    let hover = e.hovers(file, "memory=$si|ze");
    assert!(hover.contains("variable `size`: a size") && hover.contains("memory of a gateway"), "{hover}");
    assert!(hover.contains("- base: `2GiB`") && hover.contains("- lab: `1GiB`"), "{hover}");
    let hover = e.hovers(file, "ser|ver \"gw");
    assert!(hover.starts_with("**server** NAME") && hover.contains("needs `platform`"), "{hover}");
    let hover = e.hovers(file, "platform=gate|way");
    assert!(hover.contains("platform `gateway`") && hover.contains("defined in topology.kdl:5"), "{hover}");
    let hover = e.hovers(file, "(pat|ch)server");
    assert!(hover.contains("change fields"), "{hover}");
    assert_eq!(
        e.at("textDocument/hover", file, "\n|site"),
        Ok(e.at("textDocument/hover", file, "\ns|ite").expect("hover"))
    );
}

#[test]
fn names_lead_to_their_definition_and_back() {
    let mut e = Editor::with(&[
        (
            "topology.kdl",
            "language 1\ninclude \"a/sites.kdl\"\nplatform p postfix=\"3.7\"\nserver x platform=p site=ber { roles relay; }\nuse pod one where=ber\n",
        ),
        ("a/sites.kdl", "site ber\n"),
        (
            "modules/pod/module.kdl",
            "module pod {\n    param where type=\"ref(site)\"\n    server $self platform=p site=$where { roles relay; }\n}\n",
        ),
    ]);
    e.open_file("topology.kdl");
    let uri = |e: &Editor, found: &Value| found[0]["uri"].as_str().map(|u| u.replace(&e.uri(""), ""));
    let found = e.at("textDocument/definition", "topology.kdl", "site=b|er {").expect("found");
    assert_eq!(uri(&e, &found).as_deref(), Some("a/sites.kdl"));
    let found = e.at("textDocument/definition", "topology.kdl", "\"a/si|tes.kdl\"").expect("found");
    assert_eq!(uri(&e, &found).as_deref(), Some("a/sites.kdl"));
    let found = e.at("textDocument/definition", "topology.kdl", "use po|d").expect("found");
    assert_eq!(uri(&e, &found).as_deref(), Some("modules/pod/module.kdl"));
    let found = e.at("textDocument/definition", "topology.kdl", "wh|ere=ber").expect("found");
    assert_eq!(found[0]["range"]["start"], json!({"line": 1, "character": 10}));
    let mut params = e.place("topology.kdl", "platform| p");
    params["position"]["character"] = json!(9);
    params["context"] = json!({"includeDeclaration": false});
    let found = e.ask("textDocument/references", params).expect("found");
    assert_eq!(found.as_array().map(Vec::len), Some(2), "{found}");
    let marks = e.at("textDocument/documentHighlight", "topology.kdl", "platform=|p").expect("marks");
    assert_eq!(marks.as_array().map(Vec::len), Some(2), "{marks}");
    let names = e.ask("workspace/symbol", json!({"query": "one"})).expect("names");
    assert_eq!(names[0]["name"], "one");
}

#[test]
fn formatting_outline_folding_and_hints() {
    let mut e = small();
    let file = "topology.kdl";
    let uri = e.uri(file);
    let ask = json!({"textDocument": {"uri": uri}, "options": {"tabSize": 4, "insertSpaces": true}});
    e.replace(file, "site=ber connection", "site=ber   connection");
    let edits = e.ask("textDocument/formatting", ask.clone()).expect("edits");
    assert_eq!(edits.as_array().map(Vec::len), Some(1));
    assert_eq!(edits[0]["range"]["start"]["line"], 6, "only what differs");
    let formatted = applied(&e.texts[file], &edits);
    assert!(formatted.contains("site=ber connection"));
    let symbols = e.ask("textDocument/documentSymbol", ask.clone()).expect("symbols");
    let lab = symbols.as_array().into_iter().flatten().find(|s| s["name"] == "lab").expect("the environment");
    assert_eq!(lab["detail"], "environment");
    assert_eq!(lab["children"][1]["name"], "(patch) gw-1");
    let folds = e.ask("textDocument/foldingRange", ask).expect("folds");
    assert!(folds.as_array().into_iter().flatten().any(|f| f["startLine"] == 7 && f["endLine"] == 9), "{folds}");
    let all = json!({"start": {"line": 0, "character": 0}, "end": {"line": 99, "character": 0}});
    let hints = e.ask("textDocument/inlayHint", json!({"textDocument": {"uri": uri}, "range": all})).expect("hints");
    let labels: Vec<&str> = hints.as_array().into_iter().flatten().filter_map(|h| h["label"].as_str()).collect();
    assert_eq!(labels, ["-> 2 sites", "-> 2 servers", "-> 2"], "{hints}");
}

#[test]
fn crlf_and_marks_of_byte_order_stay() {
    let text = "\u{feff}language 1\r\nsite   ber\r\n";
    let mut e = Editor::in_folder(folder(&[("topology.kdl", text)]));
    // On the disk, with the mark: the editor does not show it.
    let seen = "language 1\r\nsite   ber\r\nsitee x\r\n";
    e.open("topology.kdl", seen);
    let d = e.until_code("topology.kdl", "E0101");
    assert_eq!(d["range"]["start"], json!({"line": 2, "character": 0}));
    let ask = json!({"textDocument": {"uri": e.uri("topology.kdl")}, "options": {"tabSize": 4, "insertSpaces": true}});
    let edits = e.ask("textDocument/formatting", ask).expect("edits");
    assert_eq!(applied(seen, &edits), "language 1\r\nsite ber\r\nsitee x\r\n");
    e.close("topology.kdl");
    e.until("topology.kdl", <[_]>::is_empty);
}

#[test]
fn suggestions_are_applied() {
    let mut e = small();
    let file = "topology.kdl";
    for (good, bad, code) in [
        ("site=ber", "site=brr", "E0301"),
        (" memory=$size", " memroy=$size", "E0102"),
        ("memory=$size", "memory=$sise", "E0511"),
        ("roles relay", "roles rellay", "E0202"),
        ("\"2GiB\"", "2GiB", "E0001"),
        ("\"gw-[1:2]\" platform", "gw-[1:2] platform", "E0004"),
        ("(patch)server gw-1", "(pach)server gw-1", "E0402"),
        ("(patch)server gw-1", "server gw-1", "E0401"),
    ] {
        e.replace(file, good, bad);
        let shown = e.until(file, |list| list.iter().any(|d| d["severity"] == 1));
        let d = shown.iter().find(|d| d["code"] == code).unwrap_or_else(|| panic!("{code}: {shown:?}"));
        let params =
            json!({"textDocument": {"uri": e.uri(file)}, "range": d["range"], "context": {"diagnostics": [d]}});
        let actions = e.ask("textDocument/codeAction", params).expect("actions");
        let first = actions.as_array().and_then(|a| a.first()).unwrap_or_else(|| panic!("{code} {bad}: {d}"));
        assert_eq!(first["kind"], "quickfix");
        assert_eq!(e.edited(&first["edit"])[file], SMALL, "{code} {bad} {first}");
        e.replace(file, bad, good);
        e.until(file, |list| !codes(list).contains(&code));
    }
}

/// The extension is packaged by hand; that it names what is there is held here.
#[test]
fn the_extension_for_vs_code_holds_together() {
    let home = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/editors/vscode");
    let read = |name: &str| std::fs::read_to_string(home.join(name)).unwrap_or_else(|e| panic!("{name}: {e}"));
    let json = |name: &str| serde_json::from_str::<Value>(&read(name)).unwrap_or_else(|e| panic!("{name}: {e}"));
    let package = json("package.json");
    let contributes = &package["contributes"];
    json(contributes["languages"][0]["configuration"].as_str().expect("a path"));
    let grammar = json(contributes["grammars"][0]["path"].as_str().expect("a path"));
    assert_eq!(grammar["scopeName"], contributes["grammars"][0]["scopeName"]);
    let verbs = grammar["repository"]["nodes"]["patterns"][2]["match"].as_str().expect("a pattern");
    for verb in ["patch", "add", "remove", "replace", "take", "final"] {
        assert!(verbs.contains(verb), "{verb}");
    }
    let client = read("src/client.js");
    assert!(client.contains("args: [\"lsp\"]") && client.contains("getConfiguration(\"cutover\").get(\"path\""));
    assert!(contributes["configuration"]["properties"]["cutover.path"].is_object());
    assert!(read("package.json").contains("--outfile=dist/client.js") && package["main"] == "./dist/client.js");
    // The page says what is made.
    let made = format!(
        "{}-{}.vsix",
        package["name"].as_str().expect("a name"),
        package["version"].as_str().expect("a version")
    );
    assert!(read("README.md").contains(&made) && read("../README.md").contains(&made));
}
