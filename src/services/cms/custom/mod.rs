//! An end that is somebody's program: for products whose stores nobody has published. It is started once a session and spoken with over its standard
//! input and output; `examples/custom-end/store.py` is a whole one.
//!
//! Each request and each answer is a line of JSON in UTF-8. Octets of a message follow their line as they are, `length` of them, with CR LF at the ends of
//! lines, and then a LF. The program may write what it likes to standard error, which goes to the service's.
//!
//! | request | answer |
//! |---|---|
//! | `{"op":"begin","version":1,"role":"source"\|"target","user":..,"login":..,"master":..,"password":..}` | `{"ok":true}`; of a target also `"batch"`, `"largest"`, `"keywords"`, `"dates"`, `"folders"`, `"uidl"`, `"exact"`, `"removes"` where they differ from 1, none, true, true, true, false, true, true |
//! | `{"op":"folders"}` | `{"folder":{"path":["A","B"],"raw":"A/B","special":"sent","subscribed":true,"selectable":true}}` a line, then `{"ok":true}` |
//! | `{"op":"open","raw":..}` | `{"ok":true,"validity":1,"next":7,"modseq":null,"count":6}` |
//! | `{"op":"list","from":N}` | `{"message":{"id":"6","flags":["\\Seen"],"at":1700000000,"zone":60,"size":1234}}` a line, then `{"ok":true}`; all that there is, or with `from` what has an id of at least N |
//! | `{"op":"fetch","ids":["6"]}` | for each id `{"message":{.., "length":1250,"uidl":".."}}` and its octets, or `{"failed":{"id":"6","class":"vanished","what":".."}}`; then `{"ok":true}` |
//! | `{"op":"create","path":[..],"special":..}` | `{"ok":true,"folder":{..}}`; one that is there already is no error |
//! | `{"op":"rename","raw":..,"path":[..]}` | as `create` |
//! | `{"op":"delete","raw":..}`, `{"op":"subscribe","raw":..,"on":true}` | `{"ok":true}` |
//! | `{"op":"append","flags":[..],"at":..,"zone":..,"length":N,"digest":..,"uidl":..}` and the octets | `{"ok":true,"id":"7"}`, stored durably, in the folder that is open |
//! | `{"op":"flags","id":"7","flags":[..]}`, `{"op":"remove","ids":["7"]}` | `{"ok":true}` |
//! | end of input | the program ends |
//!
//! Anything can be answered by `{"ok":false,"class":"busy","what":"..","after":30}`; classes are those of [`Class`]. `at` is in seconds since 1970, `zone` in
//! minutes east of Greenwich, both optional. A source must not write. `failed` may say `vanished` only when the message is known to be gone.

mod words;

use std::process::Stdio;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::sync::mpsc;
use zeroize::Zeroizing;

use self::words::{date_of, fault_of, folder_of, seen_of};
use super::config::End;
use super::mailbox::{
    Access, Changes, Class, Fault, Fetched, Flags, Folder, FolderPath, IN_MEMORY, Id, Mark, Message, Seen, SpecialUse,
    Spool,
};
use super::source::Means;
use super::target::{Abilities, Appended};

/// Octets of an answer's line.
const LINE: u64 = 1 << 20;
const PIECE: usize = 64 << 10;

/// One session: one process.
#[derive(Debug)]
pub struct Custom {
    child: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
    name: String,
    timeout: Duration,
    abilities: Abilities,
}

impl Custom {
    pub async fn connect(end: &End, access: &Access, writes: bool) -> Result<Self, Fault> {
        let (program, arguments) =
            end.program.split_first().ok_or_else(|| Fault::new(Class::Local, "program: nothing is named"))?;
        let spawned = Command::new(program)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .kill_on_drop(true)
            .spawn();
        let mut child = spawned.map_err(|e| Fault::new(Class::Local, format!("{program}: {e}")))?;
        let (Some(input), Some(output)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(Fault::new(Class::Local, format!("{program}: no pipe")));
        };
        let abilities = Abilities::default();
        let output = BufReader::with_capacity(PIECE, output);
        let mut session =
            Self { child, input: Some(input), output, name: program.clone(), timeout: end.timeout, abilities };
        let role = if writes { "target" } else { "source" };
        let begin = json!({ "op": "begin", "version": 1, "role": role, "user": access.user, "login": access.login,
            "master": access.master, "password": access.password.as_str() });
        let line = Zeroizing::new(begin.to_string());
        session.send(line.as_bytes()).await?;
        let answer = session.done().await?;
        session.heed(&answer);
        Ok(session)
    }

    fn heed(&mut self, answer: &Value) {
        let abilities = &mut self.abilities;
        let is = |key: &str, usual: bool| answer[key].as_bool().unwrap_or(usual);
        abilities.batch = answer["batch"].as_u64().and_then(|n| usize::try_from(n).ok()).unwrap_or(1).clamp(1, 500);
        abilities.largest = answer["largest"].as_u64();
        abilities.keywords = is("keywords", true);
        abilities.dates = is("dates", true);
        abilities.folders = is("folders", true);
        abilities.uidl = is("uidl", false);
        abilities.exact = is("exact", true);
        abilities.removes = is("removes", true);
    }

    pub fn abilities(&self) -> &Abilities {
        &self.abilities
    }

    pub async fn folders(&mut self) -> Result<Vec<Folder>, Fault> {
        self.request(&json!({ "op": "folders" })).await?;
        let mut folders = Vec::new();
        loop {
            let answer = self.answer().await?;
            match &answer["folder"] {
                Value::Null => return self.judged(answer).map(|_| folders),
                folder => folders.push(folder_of(folder).ok_or_else(|| self.protocol("a folder without path or raw"))?),
            }
        }
    }

    pub async fn open(&mut self, folder: &Folder) -> Result<Mark, Fault> {
        let answer = self.ask(&json!({ "op": "open", "raw": raw_of(folder) })).await?;
        let number = |key: &str| answer[key].as_u64();
        let count = number("count").ok_or_else(|| self.protocol("`open` without count"))?;
        Ok(Mark {
            validity: number("validity").unwrap_or(1),
            next: number("next"),
            modseq: number("modseq"),
            count,
            state: None,
        })
    }

    pub async fn changes(&mut self, _since: Option<&Mark>) -> Result<Changes, Fault> {
        self.list(json!({ "op": "list" })).await
    }

    pub async fn arrived(&mut self, from: Option<u64>) -> Result<Changes, Fault> {
        self.list(json!({ "op": "list", "from": from })).await
    }

    async fn list(&mut self, request: Value) -> Result<Changes, Fault> {
        self.request(&request).await?;
        let mut seen: Vec<Seen> = Vec::new();
        loop {
            let answer = self.answer().await?;
            match &answer["message"] {
                Value::Null => return self.judged(answer).map(|_| Changes::Whole(seen)),
                message => seen.push(seen_of(message).ok_or_else(|| self.protocol("a message without id"))?),
            }
        }
    }

    pub async fn fetch(&mut self, ids: &[Id], means: &Means, to: &mpsc::Sender<Fetched>) -> Result<(), Fault> {
        let names: Vec<&str> = ids.iter().map(|id| id.0.as_str()).collect();
        self.request(&json!({ "op": "fetch", "ids": names })).await?;
        let mut expected = ids.iter();
        loop {
            let answer = self.answer().await?;
            let fetched = if let Value::Object(_) = answer["message"] {
                self.message(&answer["message"], means).await?
            } else if let Value::Object(_) = answer["failed"] {
                let failed = &answer["failed"];
                let id = failed["id"].as_str().ok_or_else(|| self.protocol("`failed` without id"))?;
                Fetched::Failed(Id(id.into()), fault_of(failed))
            } else {
                self.judged(answer)?;
                // Silence about a message is not its absence.
                for id in expected {
                    let fault = Fault::new(Class::Protocol, format!("{}: nothing was said of {id}", self.name));
                    hand_on(to, Fetched::Failed(id.clone(), fault)).await?;
                }
                return Ok(());
            };
            let id = match &fetched {
                Fetched::Message(message) => &message.id,
                Fetched::Failed(id, _) => id,
            };
            if expected.next() != Some(id) {
                return Err(self.protocol(&format!("{id} is not what was asked for next")));
            }
            hand_on(to, fetched).await?;
        }
    }

    async fn message(&mut self, told: &Value, means: &Means) -> Result<Fetched, Fault> {
        let seen = seen_of(told).ok_or_else(|| self.protocol("a message without id"))?;
        let length = told["length"].as_u64().ok_or_else(|| self.protocol("a message without length"))?;
        let is_wanted = length <= means.largest;
        let in_file = length > IN_MEMORY || !is_wanted;
        let share = if in_file { None } else { Some(means.budget.wait(length.max(1)).await?) };
        let mut spool = Spool::begin(if is_wanted { length } else { 0 }, share, &means.spool)?;
        let (mut left, mut held) = (length, vec![0; PIECE]);
        while left > 0 {
            let most = usize::try_from(left).unwrap_or(PIECE).min(PIECE);
            let n = self.read(&mut held[..most]).await?;
            left -= n as u64;
            if is_wanted {
                spool.push(&held[..n])?;
            }
        }
        let mut end = [0];
        if self.read(&mut end).await? != 1 || end[0] != b'\n' {
            return Err(self.protocol("no LF behind a message"));
        }
        if !is_wanted {
            let fault = Fault::new(Class::TooLarge, format!("{length} octets, {} is the most", means.largest));
            return Ok(Fetched::Failed(seen.id, fault));
        }
        let (content, digest) = spool.end();
        let uidl = told["uidl"].as_str().map(str::to_owned);
        let message = Message { id: seen.id, flags: seen.flags, date: date_of(told), content, digest, uidl };
        Ok(Fetched::Message(Box::new(message)))
    }

    pub async fn create(&mut self, path: &FolderPath, special: Option<SpecialUse>) -> Result<Folder, Fault> {
        let answer = self.ask(&json!({ "op": "create", "path": path.names(), "special": special })).await?;
        folder_of(&answer["folder"]).ok_or_else(|| self.protocol("`create` without folder"))
    }

    pub async fn rename(&mut self, folder: &Folder, to: &FolderPath) -> Result<Folder, Fault> {
        let answer = self.ask(&json!({ "op": "rename", "raw": raw_of(folder), "path": to.names() })).await?;
        folder_of(&answer["folder"]).ok_or_else(|| self.protocol("`rename` without folder"))
    }

    pub async fn delete(&mut self, folder: &Folder) -> Result<(), Fault> {
        self.ask(&json!({ "op": "delete", "raw": raw_of(folder) })).await.map(|_| ())
    }

    pub async fn subscribe(&mut self, folder: &Folder, on: bool) -> Result<(), Fault> {
        self.ask(&json!({ "op": "subscribe", "raw": raw_of(folder), "on": on })).await.map(|_| ())
    }

    pub async fn append(&mut self, messages: &[Message]) -> Appended {
        let mut each = Vec::with_capacity(messages.len());
        for message in messages {
            match self.store(message).await {
                Ok(done) => each.push(done),
                // The program is gone or says what nobody understands: this one and those behind it are in doubt.
                Err(fault) => return Appended::Unknown(fault),
            }
        }
        Appended::Each(each)
    }

    /// The outer fault means that nothing is known.
    async fn store(&mut self, message: &Message) -> Result<Result<Option<Id>, Fault>, Fault> {
        let flags: Vec<&str> = message.flags.words().collect();
        let head = json!({ "op": "append", "flags": flags, "at": message.date.map(|d| d.at.as_second()),
            "zone": message.date.map(|d| d.zone.seconds() / 60), "length": message.content.length(),
            "digest": message.digest.to_string(), "uidl": message.uidl });
        self.send(head.to_string().as_bytes()).await?;
        let failed = |e: std::io::Error| Fault::new(Class::Local, format!("the spool cannot be read: {e}"));
        let mut held = vec![0; PIECE];
        let mut sent = 0;
        // A reader is made anew for each piece's turn, because it may not wait while others run.
        {
            let mut reader = message.content.reader().map_err(failed)?;
            loop {
                let n = reader.read(&mut held).map_err(failed)?;
                if n == 0 {
                    break;
                }
                sent += n as u64;
                self.write(&held[..n]).await?;
            }
        }
        if sent != message.content.length() {
            return Err(Fault::new(Class::Local, "a message in the spool is not whole"));
        }
        self.write(b"\n").await?;
        self.flush().await?;
        let answer = self.answer().await?;
        Ok(match answer["ok"].as_bool() {
            Some(true) => Ok(answer["id"].as_str().map(|id| Id(id.into()))),
            Some(false) => Err(fault_of(&answer)),
            None => return Err(self.protocol("an answer without ok")),
        })
    }

    pub async fn set_flags(&mut self, flags: &[(Id, Flags)]) -> Result<(), Fault> {
        for (id, flags) in flags {
            let words: Vec<&str> = flags.words().collect();
            self.ask(&json!({ "op": "flags", "id": id.0.as_str(), "flags": words })).await?;
        }
        Ok(())
    }

    pub async fn remove(&mut self, ids: &[Id]) -> Result<(), Fault> {
        let names: Vec<&str> = ids.iter().map(|id| id.0.as_str()).collect();
        self.ask(&json!({ "op": "remove", "ids": names })).await.map(|_| ())
    }

    pub async fn close(mut self) {
        drop(self.input.take());
        let _ = tokio::time::timeout(Duration::from_secs(5), self.child.wait()).await;
    }

    async fn ask(&mut self, request: &Value) -> Result<Value, Fault> {
        self.request(request).await?;
        self.done().await
    }

    async fn request(&mut self, request: &Value) -> Result<(), Fault> {
        self.send(request.to_string().as_bytes()).await
    }

    async fn send(&mut self, line: &[u8]) -> Result<(), Fault> {
        self.write(line).await?;
        self.write(b"\n").await?;
        self.flush().await
    }

    async fn write(&mut self, octets: &[u8]) -> Result<(), Fault> {
        let (timeout, name) = (self.timeout, self.name.clone());
        let input = self.input.as_mut().ok_or_else(|| Fault::new(Class::Unreachable, format!("{name} is over")))?;
        bounded(&name, timeout, input.write_all(octets)).await
    }

    async fn flush(&mut self) -> Result<(), Fault> {
        let (timeout, name) = (self.timeout, self.name.clone());
        let input = self.input.as_mut().ok_or_else(|| Fault::new(Class::Unreachable, format!("{name} is over")))?;
        bounded(&name, timeout, input.flush()).await
    }

    async fn read(&mut self, into: &mut [u8]) -> Result<usize, Fault> {
        let n = bounded(&self.name, self.timeout, self.output.read(into)).await?;
        if n == 0 { Err(Fault::new(Class::Unreachable, format!("{} ended", self.name))) } else { Ok(n) }
    }

    async fn answer(&mut self) -> Result<Value, Fault> {
        let mut line = Vec::new();
        let mut bound = (&mut self.output).take(LINE);
        let n = bounded(&self.name, self.timeout, bound.read_until(b'\n', &mut line)).await?;
        if n == 0 {
            return Err(Fault::new(Class::Unreachable, format!("{} ended", self.name)));
        }
        if line.last() != Some(&b'\n') {
            return Err(self.protocol("a line without end"));
        }
        serde_json::from_slice(&line).map_err(|e| self.protocol(&format!("a line that is no JSON: {e}")))
    }

    async fn done(&mut self) -> Result<Value, Fault> {
        let answer = self.answer().await?;
        self.judged(answer)
    }

    fn judged(&self, answer: Value) -> Result<Value, Fault> {
        match answer["ok"].as_bool() {
            Some(true) => Ok(answer),
            Some(false) => Err(fault_of(&answer)),
            None => Err(self.protocol("an answer without ok")),
        }
    }

    fn protocol(&self, what: &str) -> Fault {
        Fault::new(Class::Protocol, format!("{}: {what}", self.name))
    }
}

fn raw_of(folder: &Folder) -> String {
    String::from_utf8_lossy(&folder.raw).into_owned()
}

async fn hand_on(to: &mpsc::Sender<Fetched>, fetched: Fetched) -> Result<(), Fault> {
    to.send(fetched).await.map_err(|_| Fault::new(Class::Local, "nobody takes the messages"))
}

async fn bounded<T>(name: &str, timeout: Duration, work: impl Future<Output = std::io::Result<T>>) -> Result<T, Fault> {
    match tokio::time::timeout(timeout, work).await {
        Ok(Ok(done)) => Ok(done),
        Ok(Err(e)) => Err(Fault::new(Class::Unreachable, format!("{name}: {e}"))),
        Err(_) => Err(Fault::new(Class::Unreachable, format!("{name}: no answer in time"))),
    }
}
