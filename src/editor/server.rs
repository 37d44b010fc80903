//! The loop: messages in, answers and diagnostics out.
//!
//! ```text
//! reader thread ──messages──▶ loop ──jobs──▶ worker thread
//!                              ▲ │             │
//!                              │ └──▶ writer   │
//!                              └──analyses─────┘
//! ```
//!
//! The loop alone knows the documents. The worker reads and checks a root over a copy of the open texts, so that a large root does not
//! hold up completion. Requests that need the texts as they are now wait for the analysis of them; a change in between makes them
//! obsolete, which they are told.

use std::collections::{BTreeMap, VecDeque};
use std::io::{self, BufRead, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

use gen_lsp_types as lsp;
use gen_lsp_types::json_rpc::Id;
use jiff::civil::Date;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::analysis::{Analysis, Job};
use super::client::Client;
use super::documents::Documents;
use super::publish::{self, Found};
use super::requests::{self, Needs};
use super::roots::{self, Root, Roots};
use super::settings::Settings;
use super::view::View;
use super::wire::{self, Code, Incoming, Refusal, Writer};

/// How a session ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// `shutdown`, then `exit`.
    Orderly,
    /// `exit` without `shutdown`, or the editor is gone.
    Abrupt,
}

/// How often the editor's process is looked for.
const PULSE: Duration = Duration::from_secs(3);

enum Event {
    Message(Incoming),
    Gone,
    Analysed(Box<Analysis>),
    /// An analysis came to no end; a mistake of ours.
    Lost(PathBuf, u64),
}

/// A request that is not answered yet.
struct Waiting {
    id: Id,
    method: String,
    params: Value,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Fresh,
    Running,
    ShutDown,
}

/// Speaks with one editor until it ends the session or is gone. `today` is asked for rules with dates.
///
/// # Errors
/// When nothing can be written any more.
pub fn serve(
    input: impl BufRead + Send + 'static,
    output: impl Write,
    settings: Settings,
    today: impl Fn() -> Date,
) -> io::Result<Ended> {
    let (events, inbox) = channel();
    let (jobs, work) = channel::<Job>();
    read_on(input, events.clone());
    analyse_on(work, events);
    let mut server = Server {
        out: Writer::new(output),
        jobs,
        busy: false,
        today: &today,
        settings,
        phase: Phase::Fresh,
        client: Client::default(),
        documents: Documents::default(),
        roots: Roots::default(),
        alone: BTreeMap::new(),
        published: BTreeMap::new(),
        waiting: VecDeque::new(),
    };
    server.run(&inbox)
}

fn read_on(mut input: impl BufRead + Send + 'static, events: Sender<Event>) {
    std::thread::spawn(move || {
        while let Ok(Some(message)) = wire::read(&mut input) {
            if events.send(Event::Message(message)).is_err() {
                return;
            }
        }
        let _ = events.send(Event::Gone);
    });
}

fn analyse_on(work: Receiver<Job>, events: Sender<Event>) {
    std::thread::spawn(move || {
        for job in work {
            let (root, generation) = (job.root.clone(), job.generation);
            let done = std::panic::catch_unwind(|| Box::new(Analysis::of(job)));
            let event = done.map_or(Event::Lost(root, generation), Event::Analysed);
            if events.send(event).is_err() {
                return;
            }
        }
    });
}

struct Server<'t, W: Write> {
    out: Writer<W>,
    jobs: Sender<Job>,
    /// The worker has a job.
    busy: bool,
    today: &'t dyn Fn() -> Date,
    settings: Settings,
    phase: Phase,
    client: Client,
    documents: Documents,
    roots: Roots,
    /// Mistakes of open texts that no root reads.
    alone: BTreeMap<PathBuf, Found>,
    /// What the editor shows, with the version of the text.
    published: BTreeMap<PathBuf, (Option<i32>, Found)>,
    waiting: VecDeque<Waiting>,
}

impl<W: Write> Server<'_, W> {
    fn run(&mut self, inbox: &Receiver<Event>) -> io::Result<Ended> {
        loop {
            let mut next = match inbox.recv_timeout(self.patience()) {
                Ok(event) => Some(event),
                Err(RecvTimeoutError::Timeout) => None,
                Err(RecvTimeoutError::Disconnected) => return Ok(self.gone()),
            };
            if next.is_none() && !self.client.alive() {
                return Ok(self.gone());
            }
            // All that is there, so that what was called back is not worked on.
            while let Some(event) = next {
                if let Some(end) = self.take(event)? {
                    return Ok(end);
                }
                next = inbox.try_recv().ok();
            }
            self.answer_ready(None)?;
            self.start();
        }
    }

    fn gone(&self) -> Ended {
        if self.phase == Phase::ShutDown { Ended::Orderly } else { Ended::Abrupt }
    }

    /// How long there is nothing to do.
    fn patience(&self) -> Duration {
        let due = self.roots.by_main.values().filter_map(Root::due).min();
        match due.filter(|_| !self.busy) {
            Some(at) => at.saturating_duration_since(Instant::now()).min(PULSE),
            None => PULSE,
        }
    }

    /// Gives the worker the root that is due first.
    fn start(&mut self) {
        if self.busy {
            return;
        }
        let now = Instant::now();
        let due = self.roots.by_main.iter_mut().filter(|(_, r)| r.due().is_some_and(|at| at <= now));
        let Some((main, root)) = due.min_by_key(|(_, r)| r.due()) else { return };
        root.started();
        let job = Job {
            root: main.clone(),
            generation: root.generation,
            open: self.documents.snapshot(),
            versions: self.documents.versions(),
            options: self.settings.options(),
            today: (self.today)(),
        };
        self.busy = self.jobs.send(job).is_ok();
    }

    fn take(&mut self, event: Event) -> io::Result<Option<Ended>> {
        match event {
            Event::Gone => return Ok(Some(self.gone())),
            Event::Message(Incoming::Broken(why)) => self.out.answer(&Id::Null, Err(why))?,
            Event::Message(Incoming::Answer) => {}
            Event::Message(Incoming::Notification { method, params }) => return self.notified(&method, params),
            Event::Message(Incoming::Request { id, method, params }) => self.requested(id, method, params)?,
            Event::Analysed(analysis) => self.analysed(*analysis)?,
            Event::Lost(main, generation) => {
                self.busy = false;
                tracing::error!("the analysis of {} failed", main.display());
                // Who waits for it waits no longer; what was known stays.
                let held = self.waiting.drain(..).collect::<Vec<_>>();
                for w in held {
                    let why = format!("cutover failed to read {} (change {generation})", main.display());
                    self.out.answer(&w.id, Err(Refusal::new(Code::InternalError, why)))?;
                }
            }
        }
        Ok(None)
    }

    fn requested(&mut self, id: Id, method: String, params: Value) -> io::Result<()> {
        let refused = |code, why: &str| Err(Refusal::new(code, why));
        let answer = match (self.phase, method.as_str()) {
            (Phase::Fresh, "initialize") => {
                self.client = Client::of(&params);
                self.settings.told(&params["initializationOptions"]);
                self.phase = Phase::Running;
                Ok(self.client.welcome())
            }
            (Phase::Fresh, _) => refused(Code::NotInitialized, "the first request is `initialize`"),
            (Phase::ShutDown, _) => refused(Code::InvalidRequest, "the session is shut down; only `exit` follows"),
            (_, "initialize") => refused(Code::InvalidRequest, "`initialize` comes once"),
            (_, "shutdown") => {
                self.phase = Phase::ShutDown;
                for w in std::mem::take(&mut self.waiting) {
                    self.out.answer(&w.id, refused(Code::Cancelled, "the session is shut down"))?;
                }
                Ok(Value::Null)
            }
            (_, m) if !requests::KNOWN.contains(&m) => {
                refused(Code::MethodNotFound, &format!("there is no method `{m}` here"))
            }
            _ => {
                self.waiting.push_back(Waiting { id, method, params });
                return Ok(());
            }
        };
        self.out.answer(&id, answer)
    }

    fn notified(&mut self, method: &str, params: Value) -> io::Result<Option<Ended>> {
        match (self.phase, method) {
            (_, "exit") => return Ok(Some(self.gone())),
            (Phase::Running, "$/cancelRequest") => {
                if let Ok(id) = serde_json::from_value::<Id>(params["id"].clone())
                    && let Some(at) = self.waiting.iter().position(|w| w.id == id)
                {
                    self.waiting.remove(at);
                    self.out.answer(&id, Err(Refusal::new(Code::Cancelled, "called back")))?;
                }
            }
            (Phase::Running, _) => self.told(method, params)?,
            _ => {}
        }
        Ok(None)
    }

    fn told(&mut self, method: &str, params: Value) -> io::Result<()> {
        match method {
            "initialized" => {
                if self.client.watches {
                    let watchers = json!([{"globPattern": "**/*.kdl"}]);
                    let one = json!({"id": "kdl", "method": "workspace/didChangeWatchedFiles", "registerOptions": {"watchers": watchers}});
                    self.out.request("client/registerCapability", json!({"registrations": [one]}))?;
                }
                let given: Vec<PathBuf> = self.settings.main().into_iter().collect();
                self.search([given, self.client.folders.iter().flat_map(|f| roots::below(f)).collect()].concat());
            }
            "textDocument/didOpen" => {
                if let Some(p) = read::<lsp::DidOpenTextDocumentParams>(method, params) {
                    let d = p.text_document;
                    let path = self.documents.open(d.uri, d.version, d.text);
                    self.settle(&path);
                    self.changed(&path, true)?;
                }
            }
            "textDocument/didChange" => {
                if let Some(p) = read::<lsp::DidChangeTextDocumentParams>(method, params) {
                    let id = &p.text_document;
                    let uri = &id.text_document_identifier.uri;
                    // What was asked before the change is answered for the text before it.
                    self.answer_ready(Some(&super::uri::to_path(uri)))?;
                    match self.documents.change(uri, id.version, p.content_changes) {
                        Some(path) => {
                            self.settle(&path);
                            self.changed(&path, false)?;
                        }
                        None => tracing::warn!("a change of {}, which is not open", uri.0),
                    }
                }
            }
            "textDocument/didClose" => {
                if let Some(p) = read::<lsp::DidCloseTextDocumentParams>(method, params)
                    && let Some(path) = self.documents.close(&p.text_document.uri)
                {
                    self.alone.remove(&path);
                    self.changed(&path, true)?;
                }
            }
            "textDocument/didSave" | "workspace/didChangeWatchedFiles" => {
                let changes = params["changes"].as_array().map(Vec::as_slice).unwrap_or_default();
                for change in changes {
                    let uri = lsp::Uri(change["uri"].as_str().unwrap_or_default().to_owned());
                    let path = super::uri::to_path(&uri);
                    if path.file_name().is_some_and(|n| n == "topology.kdl") && path.is_file() {
                        self.roots.by_main.entry(path).or_default();
                    }
                }
                self.all_changed()?;
            }
            "workspace/didChangeWorkspaceFolders" => {
                let added = Client::folders_of(&params["event"]["added"]);
                self.search(added.iter().flat_map(|f| roots::below(f)).collect());
                let removed = Client::folders_of(&params["event"]["removed"]);
                let open: Vec<PathBuf> = self.documents.paths().map(Path::to_owned).collect();
                let needed = |main: &PathBuf| {
                    !removed.iter().any(|f| main.starts_with(f))
                        || open.iter().any(|p| main.parent().is_some_and(|f| p.starts_with(f)))
                };
                self.roots.by_main.retain(|main, _| needed(main));
                self.publish()?;
            }
            _ => {}
        }
        Ok(())
    }

    fn search(&mut self, mains: Vec<PathBuf>) {
        for main in mains {
            self.roots.by_main.entry(main).or_default().touch_now(Instant::now());
        }
    }

    /// Sees to it that an open text has a root, if there is one for it.
    fn settle(&mut self, path: &Path) {
        if self.roots.by_main.contains_key(path) || self.roots.by_main.values().any(|r| reads(r, path)) {
            return;
        }
        let Some(document) = self.documents.get(path) else { return };
        let main = if roots::is_root(document.text.as_str()) {
            Some(path.to_owned())
        } else {
            roots::above(path, |p| self.documents.get(p).is_some() || p.is_file())
        };
        if let Some(main) = main {
            self.roots.by_main.entry(main).or_insert_with(|| {
                let mut root = Root::default();
                root.touch_now(Instant::now());
                root
            });
        }
    }

    fn changed(&mut self, path: &Path, at_once: bool) -> io::Result<()> {
        let now = Instant::now();
        let mains: Vec<PathBuf> = self.roots.of(path).cloned().collect();
        for main in mains {
            if let Some(root) = self.roots.by_main.get_mut(&main) {
                if at_once { root.touch_now(now) } else { root.touch(now) }
            }
        }
        self.read_alone(path);
        self.publish()
    }

    fn all_changed(&mut self) -> io::Result<()> {
        let documents = &self.documents;
        self.roots.by_main.retain(|main, _| documents.get(main).is_some() || main.is_file());
        self.roots.by_main.values_mut().for_each(|r| r.touch_now(Instant::now()));
        self.publish()
    }

    /// An open text that no root reads is at least looked over for mistakes of syntax.
    fn read_alone(&mut self, path: &Path) {
        let belongs = self.roots.of(path).next().is_some();
        match self.documents.get(path).filter(|_| !belongs) {
            Some(d) => {
                self.alone.insert(path.to_owned(), publish::alone(path, &d.text));
            }
            None => {
                self.alone.remove(path);
            }
        }
    }

    fn analysed(&mut self, analysis: Analysis) -> io::Result<()> {
        self.busy = false;
        let analysis = Arc::new(analysis);
        let gone = self.documents.get(&analysis.root).is_none() && !analysis.root.is_file();
        if gone {
            self.roots.by_main.remove(&analysis.root);
        } else if let Some(root) = self.roots.by_main.get_mut(&analysis.root) {
            if analysis.trees.is_some() {
                root.good = Some(Arc::clone(&analysis));
            }
            root.latest = Some(analysis);
        }
        let open: Vec<PathBuf> = self.documents.paths().map(Path::to_owned).collect();
        open.iter().for_each(|p| self.read_alone(p));
        self.publish()
    }

    /// Sends what the editor does not show yet.
    fn publish(&mut self) -> io::Result<()> {
        let mut wanted: BTreeMap<PathBuf, (Option<i32>, Found)> = BTreeMap::new();
        for analysis in self.roots.by_main.values().filter_map(|r| r.latest.as_ref()) {
            for (path, found) in publish::of(analysis, &self.documents, self.client.related) {
                let version = analysis.versions.get(&path).copied();
                wanted.entry(path).or_insert_with(|| (version, Vec::new())).1.extend(found);
            }
        }
        for (path, found) in &self.alone {
            let version = self.documents.get(path).map(|d| d.version);
            wanted.entry(path.clone()).or_insert_with(|| (version, Vec::new())).1.extend(found.iter().cloned());
        }
        let shown = self.published.keys().filter(|p| !wanted.contains_key(*p)).cloned();
        let empty: Vec<PathBuf> = shown.collect();
        wanted.extend(empty.into_iter().map(|p| (p, (None, Vec::new()))));
        for (path, (version, found)) in wanted {
            if found.is_empty() && self.published.get(&path).is_none_or(|(_, f)| f.is_empty()) {
                continue;
            }
            if self.published.get(&path).is_some_and(|(v, f)| *v == version && *f == found) {
                continue;
            }
            let diagnostics: Vec<&lsp::Diagnostic> = found.iter().map(|(d, _)| d).collect();
            let mut params = json!({"uri": self.documents.uri(&path), "diagnostics": diagnostics});
            if let Some(v) = version {
                params["version"] = v.into();
            }
            self.out.notify("textDocument/publishDiagnostics", params)?;
            self.published.insert(path, (version, found));
        }
        self.published.retain(|_, (_, found)| !found.is_empty());
        Ok(())
    }

    /// Answers what can be answered. `changing`: this text is about to change, so what would wait for its analysis is obsolete.
    fn answer_ready(&mut self, changing: Option<&Path>) -> io::Result<()> {
        let mut held = VecDeque::new();
        while let Some(w) = self.waiting.pop_front() {
            let path = requests::path(&w.params);
            let main = path.as_deref().and_then(|p| self.roots.home(p));
            let root = main.and_then(|m| self.roots.by_main.get(m));
            let needs = requests::needs(&w.method);
            let ready = root.is_none_or(|r| match needs {
                Needs::Text => true,
                Needs::Names => r.latest.is_some(),
                Needs::Fresh => r.current(),
            });
            let obsolete = path.is_some() && path.as_deref() == changing;
            if !ready && !obsolete {
                held.push_back(w);
                continue;
            }
            let answer = if ready || needs != Needs::Fresh {
                let view = View {
                    path: path.unwrap_or_default(),
                    root,
                    roots: &self.roots,
                    documents: &self.documents,
                    client: &self.client,
                    published: &self.published,
                };
                std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| requests::answer(&w.method, w.params, &view)))
                    .unwrap_or_else(|_| Err(Refusal::new(Code::InternalError, "cutover failed at this request")))
            } else {
                Err(Refusal::new(Code::ContentModified, "the text changed before the answer was found"))
            };
            self.out.answer(&w.id, answer)?;
        }
        self.waiting = held;
        Ok(())
    }
}

fn reads(root: &Root, path: &Path) -> bool {
    root.latest.as_ref().is_some_and(|a| a.source(path).is_some())
}

/// The parameters of a notification; there is nobody to tell that they are wrong but the log.
fn read<P: DeserializeOwned>(method: &str, params: Value) -> Option<P> {
    serde_json::from_value(params).map_err(|e| tracing::warn!("{method}: {e}")).ok()
}
