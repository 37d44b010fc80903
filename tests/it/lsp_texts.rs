//! Texts and files under the language server: odd edits, fast ones, files that come and go, several roots; and a session on the midsize
//! example as a golden file.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::support::editor::{Editor, applied, example, folder, position};

fn errors(list: &[Value]) -> Vec<&str> {
    list.iter().filter(|d| d["severity"] == 1).filter_map(|d| d["code"].as_str()).collect()
}

#[test]
fn edits_may_cut_through_a_surrogate_pair() {
    let mut e = Editor::with(&[]);
    e.open("topology.kdl", "language 1\nsite a location=\"\u{1f4e7}\u{1f4e7}\"\nsitee b\n");
    e.until_code("topology.kdl", "E0101");
    // Between the halves of the first letter to between those of the second: whole letters go.
    let range = json!({"start": {"line": 1, "character": 18}, "end": {"line": 1, "character": 20}});
    e.change("topology.kdl", json!([{"range": range, "text": "ü"}]));
    // The line after it is where it was, and is mended at its own place.
    let range = json!({"start": {"line": 2, "character": 4}, "end": {"line": 2, "character": 5}});
    e.change("topology.kdl", json!([{"range": range, "text": ""}]));
    e.until("topology.kdl", |list| errors(list).is_empty());
    e.texts.insert("topology.kdl".into(), "language 1\nsite a location=\"ü\u{1f4e7}\"\nsite b\n".into());
    let hover = e.hovers("topology.kdl", "site |b");
    assert!(hover.contains("site `b`"), "{hover}");
    // Behind every end.
    let range = json!({"start": {"line": 99, "character": 7}, "end": {"line": 400, "character": 0}});
    e.change("topology.kdl", json!([{"range": range, "text": "sitee c"}]));
    let d = e.until_code("topology.kdl", "E0101");
    assert_eq!(d["range"]["start"], json!({"line": 3, "character": 0}));
    assert_eq!(e.quit(), 0);
}

#[test]
fn columns_are_right_behind_persian_and_emoji() {
    let mut e = Editor::with(&[]);
    let text = "language 1\nsite تهران location=\"\u{1f4e7} پست\" datacenter=maybe\n";
    e.open("topology.kdl", text);
    let found = e.until("topology.kdl", |list| !errors(list).is_empty());
    let at = text.find("datacenter").expect("there");
    assert_eq!(found[0]["range"], json!({"start": position(text, at), "end": position(text, text.len() - 1)}));
    let hover = e.hovers("topology.kdl", "datacenter=ma|ybe");
    assert!(hover.contains("#true or #false"), "{hover}");
}

#[test]
fn who_types_fast_sees_the_last_text() {
    let mut e = Editor::with(&[]);
    e.open("topology.kdl", "language 1\n\n");
    for (column, c) in "sitee berlin-mitte-with-a-long-name datacenter=#true".chars().enumerate() {
        let here = json!({"line": 1, "character": column});
        e.change("topology.kdl", json!([{"range": {"start": here, "end": here}, "text": c.to_string()}]));
    }
    // Two changes in one message, each on what the one before left.
    let cut = json!({"start": {"line": 1, "character": 0}, "end": {"line": 1, "character": 5}});
    let start = json!({"start": {"line": 1, "character": 0}, "end": {"line": 1, "character": 0}});
    e.change("topology.kdl", json!([{"range": cut, "text": ""}, {"range": start, "text": "site"}]));
    e.settle("topology.kdl");
    let shown = e.shown.get("topology.kdl").cloned().unwrap_or_default();
    assert_eq!(errors(&shown), Vec::<&str>::new(), "{shown:?}");
    assert_eq!(e.quit(), 0);
}

#[test]
fn an_open_text_stands_before_its_file_until_it_is_closed() {
    let mut e = Editor::with(&[
        ("topology.kdl", "language 1\ninclude a.kdl\nsite ber\n"),
        ("a.kdl", "subnet lan cidr=\"10.0.0.0/16\" site=muc\n"),
    ]);
    // Nothing is open: the roots of the workspace are read all the same.
    let d = e.until_code("a.kdl", "E0301");
    assert_eq!(d["range"]["start"]["line"], 0);
    e.open("topology.kdl", "language 1\ninclude a.kdl\nsite muc\n");
    e.until("a.kdl", <[_]>::is_empty);
    e.close("topology.kdl");
    e.until_code("a.kdl", "E0301");
}

#[test]
fn files_that_are_included_removed_and_written_again() {
    let mut e = Editor::with(&[("topology.kdl", "language 1\nsite ber\n"), ("more.kdl", "site ber\n")]);
    e.open_file("topology.kdl");
    e.replace("topology.kdl", "site ber", "include more.kdl\nsite ber");
    let twice = e.until_code("topology.kdl", "E0304");
    let elsewhere = twice["relatedInformation"][0]["location"]["uri"].as_str().is_some_and(|u| u.ends_with("more.kdl"));
    let here = twice["relatedInformation"][0]["location"]["uri"].as_str().is_some_and(|u| u.ends_with("topology.kdl"));
    assert!(elsewhere || here, "{twice}");
    let path = e.folder.path().join("more.kdl");
    std::fs::remove_file(&path).expect("removed");
    let uri = e.uri("more.kdl");
    e.tell("workspace/didChangeWatchedFiles", json!({"changes": [{"uri": uri, "type": 3}]}));
    e.until_code("topology.kdl", "E0013");
    std::fs::write(&path, "site muc\n").expect("written");
    e.tell("workspace/didChangeWatchedFiles", json!({"changes": [{"uri": uri, "type": 1}]}));
    e.until("topology.kdl", |list| errors(list).is_empty());
    // A file that is only open.
    e.replace("topology.kdl", "include more.kdl", "include new.kdl");
    e.until_code("topology.kdl", "E0013");
    e.open("new.kdl", "site fra\n");
    e.until("topology.kdl", |list| errors(list).is_empty());
    assert_eq!(e.quit(), 0);
}

#[test]
fn a_text_without_a_file_and_a_text_without_a_root() {
    let mut e = Editor::with(&[]);
    e.open("untitled:Untitled-1", "language 1\nsite ber\nsubnet lan cidr=\"10.0.0.0/16\" site=bre\n");
    e.until_code("untitled:Untitled-1", "E0301");
    assert!(e.completes("untitled:Untitled-1", "site=br|e").contains(&"ber".to_owned()));
    e.close("untitled:Untitled-1");
    e.until("untitled:Untitled-1", <[_]>::is_empty);
    // No root reads it: mistakes of syntax only, and the schema still helps.
    e.open("fragment.kdl", "subnet lan cidr=10.0.0.0/16 site=x\n");
    e.until_code("fragment.kdl", "E0004");
    e.replace("fragment.kdl", "10.0.0.0/16", "\"10.0.0.0/16\"");
    e.until("fragment.kdl", <[_]>::is_empty);
    assert!(e.completes("fragment.kdl", "subnet lan |cidr").contains(&"vlan".to_owned()));
    assert_eq!(e.quit(), 0);
}

#[test]
fn a_workspace_has_several_roots() {
    let one = "language 1\nsite ber\nsubnet lan cidr=\"10.0.0.0/16\" site=ber\n";
    let two = "language 1\nsite muc\nsubnet lan cidr=\"10.0.0.0/16\" site=ber\n";
    let mut e = Editor::with(&[("a/topology.kdl", one), ("b/topology.kdl", two)]);
    e.until_code("b/topology.kdl", "E0301");
    e.open_file("a/topology.kdl");
    e.open_file("b/topology.kdl");
    assert!(e.completes("a/topology.kdl", "site=|ber").contains(&"ber".to_owned()));
    assert!(!e.completes("b/topology.kdl", "site=|ber").contains(&"ber".to_owned()));
    let other = folder(&[("topology.kdl", "language 1\nsitee x\n")]);
    let uri = format!("file://{}", other.path().to_string_lossy().replace(' ', "%20"));
    let added = json!({"event": {"added": [{"uri": uri, "name": "c"}], "removed": []}});
    e.tell("workspace/didChangeWorkspaceFolders", added);
    let shown = format!("{uri}/topology.kdl");
    e.until_code(&shown, "E0101");
    let removed = json!({"event": {"added": [], "removed": [{"uri": uri, "name": "c"}]}});
    e.tell("workspace/didChangeWorkspaceFolders", removed);
    e.until(&shown, <[_]>::is_empty);
    assert!(!errors(&e.shown["b/topology.kdl"]).is_empty());
}

/// Loose: this is an unoptimized program on a busy machine. `cargo bench --bench editor` holds the goal of 100 ms.
#[test]
fn diagnostics_follow_a_keystroke() {
    let mut e = Editor::in_folder(example("midsize"));
    e.open_file("servers.kdl");
    e.settle("servers.kdl");
    let mut times = Vec::new();
    for i in 0..10 {
        let wrong = i % 2 == 0;
        let (old, new) =
            if wrong { ("platform=gateway", "platform=gatewqy") } else { ("platform=gatewqy", "platform=gateway") };
        let start = Instant::now();
        e.replace("servers.kdl", old, new);
        e.until("servers.kdl", |list| errors(list).contains(&"E0301") == wrong);
        times.push(start.elapsed());
    }
    times.sort();
    assert!(times[5] < Duration::from_secs(2), "{times:?}");
}

#[test]
fn a_session_on_the_midsize_example() {
    let mut e = Editor::in_folder(example("midsize"));
    let home = e.uri("");
    let mut story = String::new();
    let mut note =
        |what: &str, said: &str| story.push_str(&format!("## {what}\n{}\n\n", said.trim_end().replace(&home, "")));
    for file in ["topology.kdl", "servers.kdl", "migration.kdl"] {
        e.open_file(file);
        e.settle(file);
    }
    let text = e.texts["servers.kdl"].clone();
    let all = json!({"start": {"line": 0, "character": 0}, "end": {"line": 999, "character": 0}});
    let hints = e
        .ask("textDocument/inlayHint", json!({"textDocument": {"uri": e.uri("servers.kdl")}, "range": all}))
        .expect("hints");
    let lines: Vec<String> = hints
        .as_array()
        .into_iter()
        .flatten()
        .map(|h| {
            let edit = json!([{"range": {"start": h["position"], "end": h["position"]}, "newText": format!(" {}", h["label"].as_str().unwrap_or_default())}]);
            let line = h["position"]["line"].as_u64().unwrap_or_default() as usize;
            applied(&text, &edit).lines().nth(line).unwrap_or_default().to_owned()
        })
        .collect();
    note("hints", &lines.join("\n"));
    for (file, around) in [
        ("servers.kdl", "audi|t-every=$audit on-drift"),
        ("servers.kdl", "audit-every=$au|dit on-drift"),
        ("servers.kdl", "members \"[ber,muc]-m|bx-[1:2]\""),
        ("topology.kdl", "(patch)load-balancer c|as"),
        ("migration.kdl", "passwords=cap|ture"),
    ] {
        note(&format!("hover {around}"), &e.hovers(file, around));
    }
    for (file, around) in [
        ("servers.kdl", "dag dag1 |"),
        ("servers.kdl", "roles hub c|as edge"),
        ("topology.kdl", "(remove)um-dial-plan |phones"),
    ] {
        note(&format!("completion {around}"), &e.completes(file, around).join(" "));
    }
    for (method, file, around) in
        [("definition", "servers.kdl", "on |muc-mbx-2"), ("references", "servers.kdl", "witness |fsw host")]
    {
        let mut params = e.place(file, around);
        params["context"] = json!({"includeDeclaration": true});
        let found = e.ask(&format!("textDocument/{method}"), params).expect("found");
        let places: Vec<String> = found
            .as_array()
            .into_iter()
            .flatten()
            .map(|l| format!("{} {}", l["uri"].as_str().unwrap_or_default(), l["range"]))
            .collect();
        note(&format!("{method} {around}"), &places.join("\n"));
    }
    let mut params = e.place("servers.kdl", "server \"g|w-[1:2]\"");
    params["newName"] = json!("gate-[1:2]");
    note(
        "rename gw-[1:2] to gate-[1:2]",
        &e.ask("textDocument/rename", params.clone()).expect_err("a pattern")["message"].to_string(),
    );
    e.replace("servers.kdl", "host=ber-cas-1", "host=ber-cas-2");
    let d = e.until_code("servers.kdl", "E0301");
    note("diagnostic", &serde_json::to_string_pretty(&d).expect("JSON"));
    insta::assert_snapshot!(story);
    assert_eq!(e.quit(), 0);
}
