//! Messages between editor and server: the frames of the language server protocol around JSON-RPC 2.0.
//! Specification: <https://microsoft.github.io/language-server-protocol/specifications/lsp/3.17/specification/#baseProtocol>.
//!
//! A frame that is not JSON, or no message, is answered and the next one read: one broken message must not end a session. Only where no
//! frame can be found any more, reading ends.

use std::io::{self, BufRead, Read as _, Write};

use gen_lsp_types::json_rpc::Id;
use serde_json::{Value, json};

/// A larger message is skipped. The largest file read is 8 MiB, which JSON escapes to six times that at most.
const MAX_BYTES: u64 = 64 * 1024 * 1024;

/// A header line of this many bytes is no header.
const MAX_HEADER: u64 = 4096;

/// Codes of JSON-RPC and of the protocol that the server answers with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Code {
    ParseError = -32700,
    InvalidRequest = -32600,
    MethodNotFound = -32601,
    InvalidParams = -32602,
    InternalError = -32603,
    NotInitialized = -32002,
    Cancelled = -32800,
    ContentModified = -32801,
    /// The request was right and cannot be done; the message says why.
    Failed = -32803,
}

/// Why a request has no result.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Refusal {
    pub code: Code,
    pub message: String,
}

impl Refusal {
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }

    /// What was asked cannot be done with the texts as they are.
    pub fn failed(message: impl Into<String>) -> Self {
        Self::new(Code::Failed, message)
    }
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Incoming {
    Request {
        id: Id,
        method: String,
        params: Value,
    },
    Notification {
        method: String,
        params: Value,
    },
    /// An answer to a request of ours.
    Answer,
    /// A frame that held no message.
    Broken(Refusal),
}

/// The next message; `None` when the other side is gone.
pub(super) fn read(from: &mut impl BufRead) -> io::Result<Option<Incoming>> {
    let Some(length) = header(from)? else { return Ok(None) };
    if length > MAX_BYTES {
        io::copy(&mut from.by_ref().take(length), &mut io::sink())?;
        let why = format!("a message of {length} bytes; at most {MAX_BYTES} are read");
        return Ok(Some(Incoming::Broken(Refusal::new(Code::InvalidRequest, why))));
    }
    // Grows with what arrives: a length alone takes no memory.
    let mut body = Vec::new();
    from.by_ref().take(length).read_to_end(&mut body)?;
    if (body.len() as u64) < length {
        return Ok(None);
    }
    Ok(Some(match serde_json::from_slice(&body) {
        Ok(value) => message(value),
        Err(e) => Incoming::Broken(Refusal::new(Code::ParseError, format!("this is not JSON: {e}"))),
    }))
}

fn header(from: &mut impl BufRead) -> io::Result<Option<u64>> {
    let wrong = |why: &str| io::Error::new(io::ErrorKind::InvalidData, why.to_owned());
    let mut length = None;
    loop {
        let mut line = Vec::new();
        if from.by_ref().take(MAX_HEADER).read_until(b'\n', &mut line)? == 0 {
            return Ok(None);
        }
        if !line.ends_with(b"\n") {
            return Err(wrong("a header without an end"));
        }
        let line = String::from_utf8_lossy(&line);
        let line = line.trim_end();
        if line.is_empty() {
            return length.map(Some).ok_or_else(|| wrong("a message without Content-Length"));
        }
        let Some((name, value)) = line.split_once(':') else { return Err(wrong("a header without a colon")) };
        if name.eq_ignore_ascii_case("Content-Length") {
            length = Some(value.trim().parse().map_err(|_| wrong("a Content-Length that is no number"))?);
        }
    }
}

fn message(mut value: Value) -> Incoming {
    let broken = |why: &str| Incoming::Broken(Refusal::new(Code::InvalidRequest, why));
    let Value::Object(fields) = &mut value else { return broken("a message is a JSON object") };
    let id = fields.remove("id").map(serde_json::from_value::<Id>);
    let params = fields.remove("params").unwrap_or(Value::Null);
    match (fields.remove("method"), id) {
        (Some(Value::String(method)), None) => Incoming::Notification { method, params },
        (Some(Value::String(method)), Some(Ok(id))) if id != Id::Null => Incoming::Request { id, method, params },
        (Some(Value::String(_)), Some(_)) => broken("the id of a request is a number or a text"),
        (Some(_), _) => broken("the method of a message is a text"),
        (None, Some(Ok(_))) if fields.contains_key("result") || fields.contains_key("error") => Incoming::Answer,
        (None, _) => broken("a message without a method"),
    }
}

/// Writes frames, one message each.
pub(super) struct Writer<W: Write> {
    to: W,
    requests: i64,
}

impl<W: Write> Writer<W> {
    pub fn new(to: W) -> Self {
        Self { to, requests: 0 }
    }

    fn frame(&mut self, message: &Value) -> io::Result<()> {
        let body = serde_json::to_vec(message)?;
        write!(self.to, "Content-Length: {}\r\n\r\n", body.len())?;
        self.to.write_all(&body)?;
        self.to.flush()
    }

    pub fn answer(&mut self, id: &Id, result: Result<Value, Refusal>) -> io::Result<()> {
        self.frame(&match result {
            Ok(value) => json!({"jsonrpc": "2.0", "id": id, "result": value}),
            Err(r) => json!({"jsonrpc": "2.0", "id": id, "error": {"code": r.code as i32, "message": r.message}}),
        })
    }

    pub fn notify(&mut self, method: &str, params: Value) -> io::Result<()> {
        self.frame(&json!({"jsonrpc": "2.0", "method": method, "params": params}))
    }

    /// A request of ours; its answer is not waited for.
    pub fn request(&mut self, method: &str, params: Value) -> io::Result<()> {
        self.requests += 1;
        let id = format!("cutover-{}", self.requests);
        self.frame(&json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params}))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(text: &str) -> (Vec<Incoming>, bool) {
        let mut from = io::Cursor::new(text.as_bytes().to_vec());
        let mut out = Vec::new();
        loop {
            match read(&mut from) {
                Ok(Some(m)) => out.push(m),
                Ok(None) => return (out, true),
                Err(_) => return (out, false),
            }
        }
    }

    fn framed(body: &str) -> String {
        format!("Content-Length: {}\r\n\r\n{body}", body.len())
    }

    fn codes(text: &str) -> Vec<Code> {
        let of = |m: &Incoming| match m {
            Incoming::Broken(r) => Some(r.code),
            _ => None,
        };
        all(text).0.iter().filter_map(of).collect()
    }

    #[test]
    fn messages_are_told_apart() {
        let text = [
            framed(r#"{"id":1,"method":"a","params":{"x":1}}"#),
            framed(r#"{"method":"b"}"#),
            framed(r#"{"id":"c","result":null}"#),
        ];
        let (found, whole) = all(&text.concat());
        assert!(whole);
        assert_eq!(found[0], Incoming::Request { id: Id::Number(1), method: "a".into(), params: json!({"x": 1}) });
        assert_eq!(found[1], Incoming::Notification { method: "b".into(), params: Value::Null });
        assert_eq!(found[2], Incoming::Answer);
    }

    #[test]
    fn what_is_no_message_is_refused_and_the_next_one_read() {
        let good = framed(r#"{"method":"b"}"#);
        for (bad, code) in [
            ("{", Code::ParseError),
            ("\u{feff}{}", Code::ParseError),
            ("[]", Code::InvalidRequest),
            ("{}", Code::InvalidRequest),
            (r#"{"id":1.5,"method":"x"}"#, Code::InvalidRequest),
            (r#"{"id":null,"method":"x"}"#, Code::InvalidRequest),
            (r#"{"id":1,"method":[]}"#, Code::InvalidRequest),
        ] {
            let text = format!("{}{good}", framed(bad));
            assert_eq!(codes(&text), [code], "{bad}");
            assert_eq!(all(&text).0.len(), 2, "{bad}");
        }
        let deep = "[".repeat(100_000);
        assert_eq!(codes(&framed(&deep)), [Code::ParseError]);
    }

    #[test]
    fn frames_are_found_or_reading_ends() {
        assert_eq!(all("content-length:2\n\n{}").0.len(), 1);
        assert!(all("Content-Length: 20\r\n\r\n{}").1, "cut off: the other side is gone");
        assert!(all("Content-Length: 99999999999\r\n\r\n{}").1, "takes no memory for what never comes");
        for broken in ["x\r\n\r\n", "Content-Length: x\r\n\r\n", "A: b\r\n\r\n", &"y".repeat(9000)] {
            assert!(!all(broken).1, "{broken}");
        }
    }
}
