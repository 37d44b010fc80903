//! An editor of our own: starts `cutover lsp`, keeps the texts, sends framed messages and waits for answers.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;

/// Nothing takes this long.
const PATIENCE: Duration = Duration::from_secs(30);

pub struct Editor {
    child: Child,
    input: Option<ChildStdin>,
    inbox: Receiver<Value>,
    requests: i64,
    versions: BTreeMap<String, i64>,
    pub texts: BTreeMap<String, String>,
    /// What is shown, by file name.
    pub shown: BTreeMap<String, Vec<Value>>,
    pub folder: TempDir,
}

impl Editor {
    /// Starts the server in a folder with these files, and initializes it with all that it can use.
    pub fn with(files: &[(&str, &str)]) -> Self {
        Self::in_folder(folder(files))
    }

    pub fn in_folder(folder: TempDir) -> Self {
        Self::told(folder, &[], Value::Null)
    }

    /// As [`Editor::in_folder`], with further arguments and `initializationOptions`.
    pub fn told(folder: TempDir, arguments: &[&str], options: Value) -> Self {
        let mut e = Self::started(folder, arguments);
        let can = json!({
            "textDocument": {
                "completion": {"completionItem": {"snippetSupport": true}},
                "publishDiagnostics": {"relatedInformation": true},
                "documentSymbol": {"hierarchicalDocumentSymbolSupport": true},
            },
        });
        let uri = e.uri("");
        let folders = json!([{"uri": uri.trim_end_matches('/'), "name": "test"}]);
        let params = json!({"processId": std::process::id(), "rootUri": null, "workspaceFolders": folders, "capabilities": can, "initializationOptions": options});
        let answer = e.ask("initialize", params).expect("initialized");
        assert_eq!(answer["serverInfo"]["name"], "cutover");
        e.tell("initialized", json!({}));
        e
    }

    pub fn uninitialized(folder: TempDir) -> Self {
        Self::started(folder, &[])
    }

    fn started(folder: TempDir, arguments: &[&str]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_cutover"))
            .args(["lsp", "--stdio"])
            .args(arguments)
            .env_remove("CUTOVER_ROOT")
            .env_remove("CUTOVER_ENV")
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("started");
        let mut output = BufReader::new(child.stdout.take().expect("piped"));
        let (out, inbox) = channel();
        std::thread::spawn(move || {
            while let Some(message) = read(&mut output) {
                if out.send(message).is_err() {
                    return;
                }
            }
        });
        let input = child.stdin.take();
        Self {
            child,
            input,
            inbox,
            requests: 0,
            versions: BTreeMap::new(),
            texts: BTreeMap::new(),
            shown: BTreeMap::new(),
            folder,
        }
    }

    pub fn uri(&self, name: &str) -> String {
        if name.contains(':') {
            return name.to_owned();
        }
        let path = self.folder.path().join(name).to_string_lossy().into_owned();
        format!("file://{}", path.replace(' ', "%20"))
    }

    pub fn raw(&mut self, bytes: &[u8]) {
        let input = self.input.as_mut().expect("open");
        input.write_all(bytes).and_then(|()| input.flush()).expect("the server reads");
    }

    pub fn send(&mut self, message: &Value) {
        let body = message.to_string();
        self.raw(format!("Content-Length: {}\r\n\r\n{body}", body.len()).as_bytes());
    }

    pub fn tell(&mut self, method: &str, params: Value) {
        self.send(&json!({"jsonrpc": "2.0", "method": method, "params": params}));
    }

    /// Sends a request and gives back its id.
    pub fn begin(&mut self, method: &str, params: Value) -> i64 {
        self.requests += 1;
        self.send(&json!({"jsonrpc": "2.0", "id": self.requests, "method": method, "params": params}));
        self.requests
    }

    pub fn ask(&mut self, method: &str, params: Value) -> Result<Value, Value> {
        let id = self.begin(method, params);
        self.answer(&json!(id))
    }

    /// The answer to a request; what comes before it is taken in.
    pub fn answer(&mut self, id: &Value) -> Result<Value, Value> {
        loop {
            let m = self.next().expect("an answer");
            if m["id"] == *id && m["method"].is_null() {
                return if m["error"].is_null() { Ok(m["result"].clone()) } else { Err(m["error"].clone()) };
            }
        }
    }

    /// The next message; `None` when the server is gone. Diagnostics are remembered.
    pub fn next(&mut self) -> Option<Value> {
        let m = match self.inbox.recv_timeout(PATIENCE) {
            Ok(m) => m,
            Err(std::sync::mpsc::RecvTimeoutError::Timeout) => panic!("no message; shown: {:?}", self.shown),
            Err(_) => return None,
        };
        if m["method"] == "textDocument/publishDiagnostics" {
            let uri = m["params"]["uri"].as_str().expect("uri");
            let name = uri.strip_prefix(&self.uri("")).unwrap_or(uri).to_owned();
            self.shown.insert(name, m["params"]["diagnostics"].as_array().expect("list").clone());
        }
        Some(m)
    }

    pub fn open(&mut self, name: &str, text: &str) {
        self.texts.insert(name.to_owned(), text.to_owned());
        self.versions.insert(name.to_owned(), 1);
        let uri = self.uri(name);
        self.tell(
            "textDocument/didOpen",
            json!({"textDocument": {"uri": uri, "languageId": "kdl", "version": 1, "text": text}}),
        );
    }

    /// Opens a file as it lies there.
    pub fn open_file(&mut self, name: &str) {
        let text = std::fs::read_to_string(self.folder.path().join(name)).expect("a file");
        self.open(name, &text);
    }

    pub fn close(&mut self, name: &str) {
        let uri = self.uri(name);
        self.tell("textDocument/didClose", json!({"textDocument": {"uri": uri}}));
    }

    /// Replaces the one place where `old` stands, as a partial change.
    pub fn replace(&mut self, name: &str, old: &str, new: &str) {
        let text = self.texts[name].clone();
        let at = text.find(old).unwrap_or_else(|| panic!("no {old:?}"));
        let range = json!({"start": position(&text, at), "end": position(&text, at + old.len())});
        self.texts.insert(name.to_owned(), text.replacen(old, new, 1));
        self.change(name, json!([{"range": range, "text": new}]));
    }

    pub fn change(&mut self, name: &str, changes: Value) {
        let version = self.versions.get_mut(name).expect("open");
        *version += 1;
        let version = *version;
        let uri = self.uri(name);
        self.tell(
            "textDocument/didChange",
            json!({"textDocument": {"uri": uri, "version": version}, "contentChanges": changes}),
        );
    }

    /// Asks about a place: the `|` in `around`, which stands in the text without it.
    pub fn at(&mut self, method: &str, name: &str, around: &str) -> Result<Value, Value> {
        let params = self.place(name, around);
        self.ask(method, params)
    }

    pub fn place(&self, name: &str, around: &str) -> Value {
        let text = &self.texts[name];
        let cursor = around.find('|').expect("a cursor");
        let plain = around.replacen('|', "", 1);
        let at = text.find(&plain).unwrap_or_else(|| panic!("no {plain:?} in {text}")) + cursor;
        json!({"textDocument": {"uri": self.uri(name)}, "position": position(text, at)})
    }

    /// Waits until the messages of a file are so.
    pub fn until(&mut self, name: &str, good: impl Fn(&[Value]) -> bool) -> Vec<Value> {
        let end = Instant::now() + PATIENCE;
        loop {
            let now = self.shown.get(name).cloned().unwrap_or_default();
            if good(&now) {
                return now;
            }
            assert!(Instant::now() < end, "{name}: {now:?}");
            self.next().expect("the server runs");
        }
    }

    /// Waits until the text as it is now was analysed.
    pub fn settle(&mut self, name: &str) {
        let nowhere = json!({"line": 0, "character": 0});
        let params = json!({"textDocument": {"uri": self.uri(name)}, "range": {"start": nowhere, "end": nowhere}});
        self.ask("textDocument/inlayHint", params).expect("hints");
    }

    /// Waits until a code is shown.
    pub fn until_code(&mut self, name: &str, code: &str) -> Value {
        let found = self.until(name, |list| list.iter().any(|d| d["code"] == code));
        found.into_iter().find(|d| d["code"] == code).expect("there")
    }

    /// Labels of a completion.
    pub fn completes(&mut self, name: &str, around: &str) -> Vec<String> {
        let list = self.at("textDocument/completion", name, around).expect("a list");
        let items = list["items"].as_array().expect("items");
        items.iter().map(|i| i["label"].as_str().expect("label").to_owned()).collect()
    }

    /// Text of a hover.
    pub fn hovers(&mut self, name: &str, around: &str) -> String {
        let hover = self.at("textDocument/hover", name, around).expect("a hover");
        hover["contents"]["value"].as_str().unwrap_or_default().to_owned()
    }

    /// The texts with a workspace edit done.
    pub fn edited(&self, edit: &Value) -> BTreeMap<String, String> {
        let mut out = BTreeMap::new();
        for (uri, edits) in edit["changes"].as_object().expect("changes") {
            let name = uri.strip_prefix(&self.uri("")).unwrap_or(uri).to_owned();
            let on_disk = || std::fs::read_to_string(self.folder.path().join(&name)).expect("a file");
            let text = self.texts.get(&name).cloned().unwrap_or_else(on_disk);
            out.insert(name, applied(&text, edits));
        }
        out
    }

    /// `shutdown`, `exit`, and the code that the server ends with.
    pub fn quit(mut self) -> i32 {
        assert_eq!(self.ask("shutdown", Value::Null), Ok(Value::Null));
        self.tell("exit", Value::Null);
        self.ended()
    }

    /// The code that the server ends with, once it does.
    pub fn ended(&mut self) -> i32 {
        let end = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().expect("a child") {
                return status.code().expect("a code");
            }
            assert!(Instant::now() < end, "the server goes on");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// MiB that the server holds at most.
    pub fn memory(&self) -> Option<f64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).ok()?;
        let line = status.lines().find(|l| l.starts_with("VmHWM:"))?;
        Some(line.split_whitespace().nth(1)?.parse::<f64>().ok()? / 1024.0)
    }

    /// Goes away without a word.
    pub fn vanish(&mut self) {
        self.input = None;
    }
}

impl Drop for Editor {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub fn folder(files: &[(&str, &str)]) -> TempDir {
    let folder = TempDir::with_prefix("cutover lsp ").expect("folder");
    for (name, text) in files {
        let path = folder.path().join(name);
        std::fs::create_dir_all(path.parent().expect("parent")).expect("folder");
        std::fs::write(path, text).expect("file");
    }
    folder
}

/// A copy of an example.
pub fn example(name: &str) -> TempDir {
    let to = TempDir::with_prefix("cutover lsp ").expect("folder");
    fn copy(from: &Path, to: &Path) {
        for entry in std::fs::read_dir(from).expect("folder").map(|e| e.expect("entry")) {
            let target = to.join(entry.file_name());
            if entry.path().is_dir() {
                std::fs::create_dir_all(&target).expect("folder");
                copy(&entry.path(), &target);
            } else {
                std::fs::copy(entry.path(), target).expect("file");
            }
        }
    }
    copy(&Path::new(env!("CARGO_MANIFEST_DIR")).join("examples").join(name), to.path());
    to
}

/// Line and UTF-16 column of a byte, counted here anew: the server is not asked.
pub fn position(text: &str, at: usize) -> Value {
    let before = &text[..at];
    let line = before.matches('\n').count();
    let start = before.rfind('\n').map_or(0, |i| i + 1);
    json!({"line": line, "character": before[start..].encode_utf16().count()})
}

fn offset(text: &str, at: &Value) -> usize {
    let line = at["line"].as_u64().expect("line") as usize;
    let start = if line == 0 { 0 } else { text.match_indices('\n').nth(line - 1).map_or(text.len(), |(i, _)| i + 1) };
    let mut left = at["character"].as_u64().expect("character") as usize;
    for (i, c) in text[start..].char_indices() {
        if left == 0 {
            return start + i;
        }
        left -= c.len_utf16();
    }
    text.len()
}

/// A text with edits done, the last first.
pub fn applied(text: &str, edits: &Value) -> String {
    let mut list: Vec<(usize, usize, String)> = edits
        .as_array()
        .expect("edits")
        .iter()
        .map(|e| {
            let range = &e["range"];
            (
                offset(text, &range["start"]),
                offset(text, &range["end"]),
                e["newText"].as_str().expect("text").to_owned(),
            )
        })
        .collect();
    list.sort();
    let mut out = text.to_owned();
    for (start, end, new) in list.into_iter().rev() {
        out.replace_range(start..end, &new);
    }
    out
}

fn read(from: &mut impl BufRead) -> Option<Value> {
    let mut length = 0;
    loop {
        let mut line = String::new();
        if from.read_line(&mut line).ok()? == 0 {
            return None;
        }
        match line.trim_end().strip_prefix("Content-Length: ") {
            Some(n) => length = n.parse().expect("a length"),
            None if line.trim_end().is_empty() => break,
            None => {}
        }
    }
    let mut body = vec![0; length];
    from.read_exact(&mut body).ok()?;
    Some(serde_json::from_slice(&body).expect("JSON"))
}
