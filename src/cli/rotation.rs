//! Keeps the keys of DKIM that cutover changes itself, and carries their change on with each run.
//!
//! Beside the key that the topology names lies a folder `NAME.rotation/ENVIRONMENT/DOMAIN`: its later keys, and `state.json` with what
//! is known of each. Whoever plans from another machine needs the folder as well as the key.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::authority::{keep, replace};
use super::runtime;
use super::served::{Lags, Servers};
use super::signing::{half, make};
use crate::lowering::mail_auth::succession::{Generation, Lasting, Stage, Succession};
use crate::lowering::mail_auth::{KeyRequest, Selector};
use crate::model::SecretRef;
use crate::model::cutover::clock;
use crate::model::unit::format_duration;

/// How long an apply waits for the servers to serve a key that it has just published, before a later run asks again.
const FOLLOW: Duration = Duration::from_secs(10);

/// A key under change, as this run has it.
#[derive(Debug, Clone)]
pub struct Course {
    request: KeyRequest,
    folder: PathBuf,
    succession: Succession,
    stage: Stage,
    /// Who does not serve the new key yet.
    lags: Option<String>,
}

/// Unix seconds.
pub fn now() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| i64::try_from(d.as_secs()).unwrap_or(i64::MAX))
}

fn seconds(d: Duration) -> i64 {
    i64::try_from(d.as_secs()).unwrap_or(i64::MAX)
}

/// Where the later keys of a node lie.
fn folder(root: &Path, environment: Option<&str>, request: &KeyRequest) -> Result<PathBuf, String> {
    let ("file", path) = request.key.parts() else {
        return Err("rotate with generate=#true keeps its keys in files; write key=(secret)\"file:..\"".into());
    };
    let path = root.join(path);
    let name = path.file_stem().and_then(|n| n.to_str()).ok_or("its key has no file name")?;
    let beside = path.with_file_name(format!("{name}.rotation"));
    Ok(beside.join(environment.unwrap_or("base")).join(&request.domain))
}

fn load(folder: &Path) -> Result<Succession, String> {
    let path = folder.join("state.json");
    match std::fs::read_to_string(&path) {
        Ok(text) => serde_json::from_str(&text).map_err(|e| format!("{} cannot be read: {e}", path.display())),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(Succession::default()),
        Err(e) => Err(format!("{} cannot be read: {e}", path.display())),
    }
}

fn save(folder: &Path, succession: &Succession) -> Result<(), String> {
    let text = serde_json::to_string_pretty(succession).map_err(|e| e.to_string())?;
    replace(&folder.join("state.json"), text.as_bytes())
}

/// One run at a time looks and writes; the lock goes with the file.
fn lock(folder: &Path) -> Result<File, String> {
    let fail = |e: std::io::Error| format!("{} cannot be written: {e}", folder.display());
    std::fs::create_dir_all(folder).map_err(fail)?;
    let file = File::create(folder.join("lock")).map_err(fail)?;
    file.lock().map_err(fail)?;
    Ok(file)
}

/// The keys that are published, as the last run left them. Nothing is asked, made or written, but for the first key.
pub fn published(root: &Path, environment: Option<&str>, request: &KeyRequest) -> Result<Vec<Selector>, String> {
    let folder = folder(root, environment, request)?;
    let mut succession = load(&folder)?;
    if succession.generations.is_empty() {
        succession.go_on(0, 0, Lasting { every: i64::MAX, unknown: 0, in_flight: 0 });
    }
    selectors(root, &folder, request, &succession, None)
}

/// Looks where the change of a key stands, and begins the stage that is due: the plan of this run carries it out.
pub fn go_on(
    root: &Path,
    environment: Option<&str>,
    servers: &Servers,
    request: &KeyRequest,
) -> Result<(Vec<Selector>, Course), String> {
    let folder = folder(root, environment, request)?;
    let _lock = lock(&folder)?;
    let mut succession = load(&folder)?;
    let mut unknown = seconds(request.ttl);
    let mut lags = None;
    if let Some(pending) = succession.pending().cloned() {
        let seen = selector(root, &folder, request, &pending, false)?;
        match runtime::block_on(ask(servers, request, &seen)).map_err(|_| "the system gives no threads")? {
            Ok(found) => unknown = unknown.max(found),
            Err(found) => lags = Some(found.why),
        }
        succession.seen(lags.is_none(), now());
    }
    // The first key's age is that of its file.
    let (_, path) = request.key.parts();
    let first = std::fs::metadata(root.join(path)).and_then(|m| m.modified()).ok();
    let first = first.and_then(|t| t.duration_since(UNIX_EPOCH).ok()).map_or_else(now, seconds);
    let every = seconds(request.rotate.unwrap_or(Duration::MAX));
    let stage = succession.go_on(now(), first, Lasting { every, unknown, in_flight: seconds(request.in_flight) });
    let made = selectors(root, &folder, request, &succession, Some(&stage))?;
    save(&folder, &succession)?;
    forget(&folder, request, &succession);
    Ok((made, Course { request: request.clone(), folder, succession, stage, lags }))
}

/// Seconds until every cache knows it, or who lags.
async fn ask(servers: &Servers, request: &KeyRequest, selector: &Selector) -> Result<i64, Lags> {
    let (name, _) = selector.record(&request.domain);
    let served = servers.serve(&name, "TXT", &selector.data()).await?;
    Ok(i64::try_from(served.unknown).unwrap_or(i64::MAX))
}

fn selectors(
    root: &Path,
    folder: &Path,
    request: &KeyRequest,
    succession: &Succession,
    stage: Option<&Stage>,
) -> Result<Vec<Selector>, String> {
    let signs = stage.and_then(|s| succession.signs(s)).map(|g| g.number);
    let one = |g: &Generation| selector(root, folder, request, g, signs == Some(g.number));
    succession.generations.iter().map(one).collect()
}

/// The key of a generation, made at its first use.
fn selector(
    root: &Path,
    folder: &Path,
    request: &KeyRequest,
    of: &Generation,
    signs: bool,
) -> Result<Selector, String> {
    let name = of.selector(&request.selector);
    let (_, first) = request.key.parts();
    let (path, key) = match of.number {
        1 => (root.join(first), request.key.clone()),
        _ => {
            let path = folder.join(format!("{name}.pem"));
            let shown = path.strip_prefix(root).unwrap_or(&path).display().to_string();
            (path, SecretRef(format!("file:{shown}")))
        }
    };
    let public = half(&keep(&path, || make(request))?)?;
    Ok(Selector { name, public, key, signs })
}

/// Keys whose records are gone verify nothing any more. The one that the topology names stays.
fn forget(folder: &Path, request: &KeyRequest, succession: &Succession) {
    let kept: Vec<String> =
        succession.generations.iter().map(|g| format!("{}.pem", g.selector(&request.selector))).collect();
    let files = std::fs::read_dir(folder).into_iter().flatten().flatten();
    for file in files.filter(|f| Path::new(&f.file_name()).extension().is_some_and(|e| e == "pem")) {
        if !kept.iter().any(|k| **k == *file.file_name())
            && let Err(e) = std::fs::remove_file(file.path())
        {
            tracing::warn!("{} was not removed: {e}", file.path().display());
        }
    }
}

impl Course {
    /// Where the change stands, for a reader of a plan.
    pub fn told(&self, timezone: &str) -> String {
        let name = |g: Option<&Generation>| g.map(|g| g.selector(&self.request.selector)).unwrap_or_default();
        let all = &self.succession.generations;
        let (old, new) = (name(all.first()), name(all.last()));
        let at = |time: i64| clock(time, timezone);
        let stage = match &self.stage {
            Stage::Steady { due } => format!("{new} signs; the next key is made at {}", at(*due)),
            Stage::Announced { from: None } => match &self.lags {
                None => format!("{new} is published with this apply and {old} signs on"),
                Some(why) => format!("{old} signs until every name server serves {new}: {why}"),
            },
            Stage::Announced { from: Some(from) } => {
                format!(
                    "every name server serves {new}; {old} signs until caches know it, and the signers move at {}",
                    at(*from)
                )
            }
            Stage::Moving => format!(
                "the signers move from {old} to {new}; the record of {old} stays for {} after this apply",
                format_duration(self.request.in_flight)
            ),
            Stage::Retiring { until } => {
                format!("{new} signs; the record of {old} stays for mail in flight and goes at {}", at(*until))
            }
        };
        format!("DKIM {} of {}: {stage}", self.request.selector, self.request.domain)
    }

    /// The signers go on to this key by the stage of this run.
    pub fn moves_to(&self, selector: &str, domain: &str) -> bool {
        let last = self.succession.generations.last().map(|g| g.selector(&self.request.selector));
        self.stage == Stage::Moving && self.request.domain == domain && last.as_deref() == Some(selector)
    }

    /// A whole apply came to its end, or a whole plan found nothing to do.
    pub async fn done(&self, root: &Path, servers: &Servers) -> Result<(), String> {
        match self.stage {
            Stage::Moving => self.write(|s| s.done(&self.stage, now())),
            Stage::Announced { from: None } => {
                let Some(pending) = self.succession.pending() else { return Ok(()) };
                let selector = selector(root, &self.folder, &self.request, pending, false)?;
                let end = std::time::Instant::now() + FOLLOW;
                loop {
                    match ask(servers, &self.request, &selector).await {
                        Ok(_) => return self.write(|s| s.seen(true, now())),
                        Err(_) if std::time::Instant::now() < end => {
                            tokio::time::sleep(Duration::from_millis(250)).await;
                        }
                        Err(_) => return Ok(()),
                    }
                }
            }
            _ => Ok(()),
        }
    }

    /// An apply was taken back.
    pub fn taken_back(&self) -> Result<(), String> {
        self.write(Succession::taken_back)
    }

    /// Another run may have gone on meanwhile: what this one saw holds only for the keys that it saw.
    fn write(&self, change: impl FnOnce(&mut Succession)) -> Result<(), String> {
        let _lock = lock(&self.folder)?;
        let mut succession = load(&self.folder)?;
        let numbers = |s: &Succession| s.generations.iter().map(|g| g.number).collect::<Vec<_>>();
        if numbers(&succession) == numbers(&self.succession) {
            change(&mut succession);
            save(&self.folder, &succession)?;
        }
        Ok(())
    }
}
