//! The language server as a program: how a session begins and ends, and what it does with messages that are none.

use serde_json::{Value, json};

use super::support::editor::{Editor, folder};

const SMALL: &str = "language 1\nsite ber\n";

#[test]
fn a_session_ends_with_0_after_shutdown_and_with_1_without() {
    let e = Editor::with(&[("topology.kdl", SMALL)]);
    assert_eq!(e.quit(), 0);
    let mut e = Editor::with(&[]);
    e.tell("exit", Value::Null);
    assert_eq!(e.ended(), 1);
    let mut e = Editor::uninitialized(folder(&[]));
    e.tell("exit", Value::Null);
    assert_eq!(e.ended(), 1);
}

#[test]
fn an_editor_that_goes_away_ends_the_server() {
    let mut e = Editor::with(&[("topology.kdl", SMALL)]);
    e.open("topology.kdl", SMALL);
    e.vanish();
    assert_eq!(e.ended(), 1);
    let mut e = Editor::uninitialized(folder(&[]));
    e.vanish();
    assert_eq!(e.ended(), 1);
}

#[test]
fn the_order_of_a_session_is_held() {
    let mut e = Editor::uninitialized(folder(&[]));
    let code = |r: Result<Value, Value>| r.expect_err("refused")["code"].as_i64();
    assert_eq!(code(e.ask("textDocument/hover", json!({}))), Some(-32002));
    e.ask("initialize", json!({"capabilities": {}})).expect("once");
    assert_eq!(code(e.ask("initialize", json!({"capabilities": {}}))), Some(-32600));
    assert_eq!(code(e.ask("textDocument/nonsense", json!({}))), Some(-32601));
    assert_eq!(code(e.ask("textDocument/hover", json!({"position": 3}))), Some(-32602));
    assert_eq!(code(e.ask("textDocument/rename", json!([1]))), Some(-32602));
    e.tell("nobody/knows", json!({"x": 1}));
    e.tell(
        "textDocument/didChange",
        json!({"textDocument": {"uri": "file:///none", "version": 1}, "contentChanges": []}),
    );
    e.tell("textDocument/didOpen", json!("nothing"));
    assert_eq!(e.ask("shutdown", Value::Null), Ok(Value::Null));
    assert_eq!(code(e.ask("textDocument/hover", json!({}))), Some(-32600));
    e.tell("exit", Value::Null);
    assert_eq!(e.ended(), 0);
}

#[test]
fn broken_messages_are_answered_and_the_session_goes_on() {
    let mut e = Editor::with(&[("topology.kdl", SMALL)]);
    for (body, code) in [("{\"jsonrpc\":", -32700), ("[]", -32600), ("\"hello\"", -32600), ("{\"id\":1}", -32600)] {
        e.raw(format!("Content-Length: {}\r\n\r\n{body}", body.len()).as_bytes());
        let refused = e.answer(&Value::Null).expect_err("refused");
        assert_eq!(refused["code"], code, "{body}");
    }
    e.raw(b"Content-Length: 4\r\n\r\n\xff\xfe{}");
    assert_eq!(e.answer(&Value::Null).expect_err("refused")["code"], -32700);
    e.open("topology.kdl", "language 1\nsitee x\n");
    e.until_code("topology.kdl", "E0101");
    assert_eq!(e.quit(), 0);
}

#[test]
fn a_huge_message_is_skipped_and_a_large_text_read() {
    let mut e = Editor::with(&[("topology.kdl", SMALL)]);
    let size = 70 * 1024 * 1024;
    e.raw(format!("Content-Length: {size}\r\n\r\n").as_bytes());
    let block = vec![b' '; 1024 * 1024];
    for _ in 0..70 {
        e.raw(&block);
    }
    assert_eq!(e.answer(&Value::Null).expect_err("refused")["code"], -32600);
    // A text beyond what the language reads is a mistake of that file.
    let text = format!("language 1\n// {}\n", "x".repeat(9 * 1024 * 1024));
    e.open("topology.kdl", &text);
    e.until_code("topology.kdl", "E0008");
    e.change("topology.kdl", json!([{"text": SMALL}]));
    e.until("topology.kdl", <[_]>::is_empty);
    assert_eq!(e.quit(), 0);
}

#[test]
fn what_is_called_back_is_not_answered_twice() {
    let mut e = Editor::with(&[("topology.kdl", SMALL)]);
    e.open("topology.kdl", SMALL);
    e.settle("topology.kdl");
    // The change makes the analysis old, so that the request waits for the next.
    e.replace("topology.kdl", "site ber", "site muc");
    let params = e.place("topology.kdl", "site m|uc");
    let mut waits = params.clone();
    waits["context"] = json!({"includeDeclaration": true});
    let first = e.begin("textDocument/references", waits.clone());
    e.tell("$/cancelRequest", json!({"id": first}));
    let answer = e.answer(&json!(first));
    assert!(answer.is_ok() || answer.as_ref().is_err_and(|x| x["code"] == -32800), "{answer:?}");
    let second = e.ask("textDocument/references", waits).expect("found");
    assert_eq!(second.as_array().map(Vec::len), Some(1));
    e.tell("$/cancelRequest", json!({"id": 4711}));
    assert_eq!(e.quit(), 0);
}

#[test]
fn a_change_makes_what_waits_for_the_old_text_obsolete() {
    let mut e = Editor::with(&[("topology.kdl", SMALL)]);
    e.open("topology.kdl", SMALL);
    let params = e.place("topology.kdl", "site b|er");
    e.replace("topology.kdl", "site ber", "site muc");
    let mut waits = params;
    waits["context"] = json!({"includeDeclaration": true});
    let id = e.begin("textDocument/references", waits);
    e.replace("topology.kdl", "site muc", "site fra");
    // Answered for the text that it was asked about, or told that this text is gone; never for another.
    match e.answer(&json!(id)) {
        Err(refused) => assert_eq!(refused["code"], -32801),
        Ok(found) => assert_eq!(found.as_array().map(Vec::len), Some(1)),
    }
    assert_eq!(e.quit(), 0);
}
