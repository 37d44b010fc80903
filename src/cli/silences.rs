//! Silences at the Alertmanagers of the topology: made and ended on their own hosts, since they answer nowhere else, and each written down.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};

use super::calendar::moment;
use super::failure::Failure;
use super::lines::{LinesFile, author};
use super::near::{Near, curl};
use super::output::Output;
use super::project::Project;
use super::session::Session;
use crate::journal::StateDir;
use crate::lowering::window;
use crate::model::HostName;
use crate::model::host::HostAccess;
use crate::model::plan::Plan;
use crate::monitoring::silence::{Silence, Standing, of_apply};

const API: &str = "http://127.0.0.1:9093/api/v2";
/// Seconds that the host itself waits for an answer of Alertmanager.
const ASKED: u8 = 10;
/// How long an answer of the host is waited for.
const LIMIT: Duration = Duration::from_secs(30);

/// What was done, a line in the state folder; before it is asked for, and after.
#[derive(Debug, Serialize, Deserialize)]
struct Entry {
    /// RFC 3339.
    at: String,
    by: String,
    host: String,
    of: String,
    /// `asks`, `silent`, `ended`, `failed`.
    what: String,
    servers: BTreeSet<String>,
    from: String,
    until: String,
    ids: Vec<String>,
    why: Option<String>,
}

/// What became of it on one host.
pub enum Done {
    Silent,
    /// It stood already as it is wanted.
    Kept,
    /// So many were ended.
    Ended(usize),
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Wish {
    Make,
    End,
}

/// By the host that watches.
pub type Said = BTreeMap<String, Result<Done, Failure>>;

/// The hosts of a topology whose Prometheus and Alertmanager can be asked.
pub fn watchers(project: &Project) -> BTreeMap<HostName, HostAccess> {
    let monitors = project.topology.all("server").filter(|s| s.texts("roles").contains(&"monitor"));
    let hosts = monitors.filter_map(|s| project.site.hosts.get_key_value(&HostName::from(s.id.name.as_str())));
    hosts.map(|(name, host)| (name.clone(), host.clone())).collect()
}

pub struct Silences {
    near: Arc<Near>,
    hosts: Vec<HostAccess>,
    log: LinesFile<Entry>,
    by: String,
}

impl Silences {
    pub fn of(project: &Project, near: &Arc<Near>, state: &StateDir) -> Self {
        Self {
            near: Arc::clone(near),
            hosts: watchers(project).into_values().collect(),
            log: LinesFile::of(state, "silences.jsonl"),
            by: author(),
        }
    }

    /// Nobody watches who could be told.
    pub fn is_empty(&self) -> bool {
        self.hosts.is_empty()
    }

    /// On all hosts side by side.
    pub async fn carry_out(&self, silence: &Silence, wish: Wish) -> Said {
        let one = |host: &HostAccess| {
            let host = host.clone();
            async move { (host.name.0.to_string(), self.on(&host, silence, wish).await) }
        };
        join_all(self.hosts.iter().map(one)).await.into_iter().collect()
    }

    async fn on(&self, host: &HostAccess, silence: &Silence, wish: Wish) -> Result<Done, Failure> {
        let heard = self.ask(host, format!("{} {API}/silences\n", curl(ASKED))).await?;
        let standing: Vec<Standing> = serde_json::from_str(&heard).map_err(unknown_form)?;
        let (kept, mut gone) = silence.among(&standing);
        match wish {
            Wish::Make if kept.is_some() && gone.is_empty() => return Ok(Done::Kept),
            Wish::Make => {}
            Wish::End => gone.extend(kept),
        }
        if wish == Wish::End && gone.is_empty() {
            return Ok(Done::Ended(0));
        }
        self.write(host, silence, "asks", gone.iter().map(|s| s.id.clone()).collect(), None)?;
        let made = (wish == Wish::Make && kept.is_none()).then_some(silence);
        let done = self.change(host, made, &gone).await;
        match &done {
            Ok(ids) if wish == Wish::Make => self.write(host, silence, "silent", ids.clone(), None)?,
            Ok(_) => self.write(host, silence, "ended", gone.iter().map(|s| s.id.clone()).collect(), None)?,
            Err(e) => self.write(host, silence, "failed", Vec::new(), Some(e.told()))?,
        }
        done?;
        Ok(if wish == Wish::End { Done::Ended(gone.len()) } else { Done::Silent })
    }

    /// The new one first, so that nothing is heard in between. What was made, by Alertmanager's own names.
    async fn change(
        &self,
        host: &HostAccess,
        made: Option<&Silence>,
        gone: &[&Standing],
    ) -> Result<Vec<String>, Failure> {
        #[derive(Deserialize)]
        struct Made {
            #[serde(rename = "silenceID")]
            id: String,
        }
        let mut ids = Vec::new();
        if let Some(silence) = made {
            let body = silence.body(&self.by);
            let script = format!(
                "{} -H 'Content-Type: application/json' --data @- {API}/silences <<'END OF SILENCE'\n{body}\nEND OF SILENCE\n",
                curl(ASKED)
            );
            let made: Made = serde_json::from_str(&self.ask(host, script).await?).map_err(unknown_form)?;
            ids.push(made.id);
        }
        // What another program calls itself is no part of a command line before it is known to be harmless.
        for one in gone.iter().filter(|s| s.id.chars().all(|c| c.is_ascii_alphanumeric() || c == '-')) {
            self.ask(host, format!("{} -X DELETE {API}/silence/{}\n", curl(ASKED), one.id)).await?;
        }
        Ok(ids)
    }

    async fn ask(&self, host: &HostAccess, script: String) -> Result<String, Failure> {
        let heard = self.near.run(host, script, LIMIT).await.map_err(Failure::new)?;
        match heard.code {
            Some(0) => Ok(heard.out),
            _ => Err(Failure::new(heard.why("curl"))),
        }
    }

    fn write(
        &self,
        host: &HostAccess,
        silence: &Silence,
        what: &str,
        ids: Vec<String>,
        why: Option<String>,
    ) -> Result<(), Failure> {
        let time = |at: i64| Timestamp::from_second(at).unwrap_or_default().to_string();
        self.log.append(&Entry {
            at: format!("{:.0}", Timestamp::now()),
            by: self.by.clone(),
            host: host.name.0.to_string(),
            of: silence.of.clone(),
            what: what.to_owned(),
            servers: silence.servers.clone(),
            from: time(silence.from),
            until: time(silence.until),
            ids,
            why,
        })
    }
}

fn unknown_form(e: serde_json::Error) -> Failure {
    Failure::new(format!("Alertmanager answers in a form that is not known here: {e}"))
}

/// A line a host, for people.
pub fn told(silence: &Silence, said: &Said, zone: &TimeZone) -> Vec<String> {
    let at = |at: i64| moment(Timestamp::from_second(at).unwrap_or_default(), zone);
    let servers = silence.servers.iter().map(String::as_str).collect::<Vec<_>>().join(", ");
    let (of, until) = (&silence.of, at(silence.until));
    let line = |(host, done): (&String, &Result<Done, Failure>)| match done {
        Ok(Done::Silent) => format!("{host}: alerts of {servers} are silent from {} to {until}", at(silence.from)),
        Ok(Done::Kept) => format!("{host}: alerts of {servers} are silent until {until} already"),
        Ok(Done::Ended(0)) => format!("{host}: nothing of {of} was silent"),
        Ok(Done::Ended(_)) => format!("{host}: alerts of {servers} are heard again"),
        Err(e) => format!("{host}: not known to be done: {}", e.told()),
    };
    said.iter().map(line).collect()
}

/// Runs something that changes hosts inside a window. Their alerts are silent while it runs, however it ends; none of this stops it.
pub async fn during<F: Future>(
    session: &Session,
    out: &Output,
    (plan, apply): (&Plan, &str),
    closes: Option<Timestamp>,
    work: F,
) -> F::Output {
    let topology = &session.project.topology;
    let silences = Silences::of(&session.project, &session.near, &session.state);
    let now = Timestamp::now().as_second();
    let silence = of_apply(topology, plan, apply, closes.map(Timestamp::as_second), now);
    let Some(silence) = silence.filter(|_| !silences.is_empty()) else { return work.await };
    let zone = TimeZone::get(window::timezone(topology)).unwrap_or(TimeZone::UTC);
    let said = silences.carry_out(&silence, Wish::Make).await;
    told(&silence, &said, &zone).into_iter().for_each(|line| out.note(line));
    let done = work.await;
    // Also where making it was not answered: it may stand there.
    let ended = silences.carry_out(&silence, Wish::End).await;
    for (host, done) in &ended {
        match (done, said.get(host)) {
            (Ok(_), _) | (Err(_), Some(Err(_))) => {}
            (Err(e), _) => {
                let until = moment(Timestamp::from_second(silence.until).unwrap_or_default(), &zone);
                out.note(format!(
                    "{host}: the silence is not known to have ended, it ends by itself {until}: {}",
                    e.told()
                ));
            }
        }
    }
    done
}
