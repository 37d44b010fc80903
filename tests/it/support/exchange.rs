//! The server of Exchange Web Services of the tests (`ews.py`), which Microsoft's schema and exchangelib, a client that is not ours, judge.

#![allow(clippy::unwrap_used)] // a test that cannot go on fails

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// With the packages of Debian: lxml and exchangelib.
const PYTHON: &str = "/usr/bin/python3";

pub struct Exchange {
    folder: tempfile::TempDir,
    child: Child,
    pub port: u16,
}

fn script(name: &str) -> String {
    format!("{}/tests/it/support/{name}", env!("CARGO_MANIFEST_DIR"))
}

fn schema() -> String {
    let folder = Path::new(env!("CARGO_BIN_EXE_cutover-cms")).parent().unwrap().join("ews-schema");
    let said = Command::new(script("ews-schema")).arg(&folder).output().unwrap();
    assert!(said.status.success(), "Microsoft's schema cannot be had: {}", String::from_utf8_lossy(&said.stderr));
    folder.display().to_string()
}

impl Exchange {
    pub fn start() -> Self {
        Self::version("2013")
    }

    pub fn version(version: &str) -> Self {
        let folder = tempfile::Builder::new().prefix("ews-").tempdir().unwrap();
        let at = |name: &str| folder.path().join(name).display().to_string();
        let child = Command::new(PYTHON)
            .args([
                &script("ews.py"),
                "--schema",
                &schema(),
                "--port-file",
                &at("port"),
                "--violations",
                &at("violations"),
            ])
            .args(["--version", version])
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        let began = Instant::now();
        let port = loop {
            if let Some(port) = std::fs::read_to_string(at("port")).ok().and_then(|p| p.trim().parse().ok()) {
                break port;
            }
            assert!(began.elapsed() < Duration::from_secs(30), "the EWS server of the tests does not start");
            std::thread::sleep(Duration::from_millis(20));
        };
        Self { folder, child, port }
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}/EWS/Exchange.asmx", self.port)
    }

    fn post(&self, path: &str, body: &str) -> String {
        let mut socket = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        let head = format!(
            "POST {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        socket.write_all(head.as_bytes()).unwrap();
        let mut said = String::new();
        socket.read_to_string(&mut said).unwrap();
        assert!(said.starts_with("HTTP/1.1 200"), "{said}");
        said.split_once("\r\n\r\n").unwrap().1.to_owned()
    }

    /// What is to go wrong, as JSON; how often each operation was asked for.
    pub fn control(&self, what: &str) -> serde_json::Value {
        serde_json::from_str(&self.post("/control", what)).unwrap()
    }

    /// An item that is no mail.
    pub fn item(&self, user: &str, what: &str) {
        self.post(&format!("/items?user={user}"), what);
    }

    /// Adds rules, as the schema has them, and gives all: name to XML. A folder's id may be its name.
    pub fn rules(&self, user: &str, added: &str) -> std::collections::BTreeMap<String, String> {
        let types = "http://schemas.microsoft.com/exchange/services/2006/types";
        let body = if added.is_empty() { String::new() } else { format!("<Rules xmlns=\"{types}\">{added}</Rules>") };
        serde_json::from_str(&self.post(&format!("/rules?user={user}"), &body)).unwrap()
    }

    /// Runs the judge, which has exchangelib and none of the code under test.
    pub fn judge(&self, words: &[&str]) -> (bool, String) {
        let said = Command::new(PYTHON).arg(script("ews_judge.py")).args(words).output().unwrap();
        let text = [said.stdout.as_slice(), &said.stderr].concat();
        (said.status.success(), String::from_utf8_lossy(&text).into_owned())
    }

    pub fn same(&self, words: &[&str]) {
        let (same, said) = self.judge(&[&["compare"], words].concat());
        assert!(same, "{said}");
        self.fits();
    }

    /// Every request and every answer so far was as Microsoft's schema has it.
    pub fn fits(&self) {
        let said = std::fs::read_to_string(self.folder.path().join("violations")).unwrap_or_default();
        assert_eq!(said, "");
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
