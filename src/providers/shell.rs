//! The agent that speaks POSIX sh over a transport.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::sync::mpsc::UnboundedSender;
use zeroize::Zeroizing;

use crate::model::Digest;
use crate::model::Kind;
use crate::model::attr::Attr;
use crate::model::host::{HostAccess, HostError, HostErrorKind};
use crate::model::observed::Observation;
use crate::model::step::{Outcome, StepId};
use crate::transport::refusal::{error, of_start};
use crate::transport::{Exit, Far, Link, Script, Transport};

use super::agent::{Agent, Batch, LeaseAnswer, LeaseRequest, ObserveRequest, StepReport};
use super::answer::{self, marker, ours};
use super::observe::{self, Answer};
use super::render::{self, INLINE, check_name};
use super::script::{Assembly, Part};

#[derive(Debug, Clone)]
pub struct Settings {
    /// Folder on the hosts under which each organisation has its own.
    pub state_root: String,
    /// Seconds to wait for another script of ours on the same host (one whose controller died).
    pub lock_seconds: u64,
    /// Seconds to wait for dpkg's lock.
    pub package_lock_seconds: u64,
    /// Seconds that an observation may take.
    pub observe_seconds: u64,
    /// Accept a login that is not root. What such a user may not look at is an error, never "absent".
    pub unprivileged: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            state_root: "/var/lib/cutover".into(),
            lock_seconds: 300,
            package_lock_seconds: 120,
            observe_seconds: 120,
            unprivileged: false,
        }
    }
}

/// Observes and changes hosts by scripts.
pub struct ShellAgent<T> {
    transport: T,
    settings: Settings,
}

/// How a talk went: the script began; did it say that it ended?
struct Talk {
    ended: bool,
    exit: Exit,
}

impl<T: Transport> ShellAgent<T> {
    pub fn new(transport: T, settings: Settings) -> Self {
        Self { transport, settings }
    }

    pub fn transport(&self) -> &T {
        &self.transport
    }

    pub(super) fn root(&self, host: &HostAccess, organization: &str) -> Result<String, HostError> {
        check_name("organisation", organization).map_err(|m| error(host, HostErrorKind::Protocol, m, None))?;
        Ok(format!("{}/{organization}", self.settings.state_root))
    }

    pub(super) fn script(body: Zeroizing<String>, seconds: u64) -> Script {
        Script { body, payload: None, link: Link::Kept, limit: Duration::from_secs(seconds), far: Far::Shell }
    }

    /// Runs a script and hands over its lines. `Ok` when it began.
    async fn talk(
        &self,
        host: &HostAccess,
        marker: &str,
        script: Script,
        mut on: impl FnMut(&str, &str) + Send,
    ) -> Result<Talk, HostError> {
        let (mut begun, mut ended, mut busy) = (false, false, false);
        let exit = self
            .transport
            .exec(host, script, |line| {
                if let Some((word, rest)) = ours(marker, line) {
                    match word {
                        "begin" => begun = true,
                        "busy" => busy = true,
                        "end" => ended = true,
                        _ => {}
                    }
                    on(word, rest);
                }
            })
            .await?;
        if busy {
            let message = "another script of cutover has been running there all the time that we waited";
            let help = "its controller may have died; it ends by itself, try again then".to_owned();
            return Err(error(host, HostErrorKind::Timeout, message, Some(help)));
        }
        if !begun {
            return Err(of_start(host, &exit));
        }
        Ok(Talk { ended, exit })
    }

    /// The script began but did not say that it ended.
    fn broken(host: &HostAccess, exit: &Exit) -> HostError {
        let said = exit.stderr.lines().rev().find(|l| !l.trim().is_empty()).unwrap_or("no message").trim().to_owned();
        match exit.code {
            None | Some(255) => error(host, HostErrorKind::Lost, "the connection broke while a script ran", None),
            Some(code) if said.contains("Permission denied") || said.contains("Operation not permitted") => error(
                host,
                HostErrorKind::Become,
                format!("{} may not do that on the host (exit status {code}): {said}", host.user),
                Some("log in as root, or write become=\"sudo\" at the server".into()),
            ),
            Some(code) => {
                let help = said.contains("No space left").then(|| "make room on the host's disk".to_owned());
                error(
                    host,
                    HostErrorKind::Protocol,
                    format!("a script broke off with exit status {code}: {said}"),
                    help,
                )
            }
        }
    }

    pub(super) fn protocol(host: &HostAccess, message: impl Into<String>) -> HostError {
        error(host, HostErrorKind::Protocol, message, None)
    }

    /// Runs a script that must end well.
    pub(super) async fn ask(
        &self,
        host: &HostAccess,
        marker: &str,
        script: Script,
        on: impl FnMut(&str, &str) + Send,
    ) -> Result<(), HostError> {
        let talk = self.talk(host, marker, script, on).await?;
        if talk.ended { Ok(()) } else { Err(Self::broken(host, &talk.exit)) }
    }

    /// Uploads a large content under its digest.
    async fn upload(&self, host: &HostAccess, root: &str, content: &Zeroizing<Vec<u8>>) -> Result<(), HostError> {
        let marker = marker();
        let mut script = Assembly::new(0);
        script.set("M", &marker).set("R", root).set("S", &Digest::of(content).0).part(Part::Base).line(
            r#"mkdir -p "$R/blobs" || exit 1
if [ ! -f "$R/blobs/$S" ]; then
  cat >"$R/blobs/$S.part" && [ "$(sha256sum <"$R/blobs/$S.part")" = "$S  -" ] && mv "$R/blobs/$S.part" "$R/blobs/$S" || {
    rm -f "$R/blobs/$S.part"
    echo "the upload did not arrive whole: is the disk full?" >&2
    exit 1
  }
fi
say end"#,
        );
        let mut script = Self::script(script.done(), 60 + (content.len() as u64 >> 15));
        script.payload = Some(content.clone());
        self.ask(host, &marker, script, |_, _| {}).await
    }

    async fn lease(
        &self,
        host: &HostAccess,
        organization: &str,
        variables: &[(&str, &str)],
        call: &str,
        on: impl FnMut(&str, &str) + Send,
    ) -> Result<(), HostError> {
        let (marker, root) = (marker(), self.root(host, organization)?);
        let mut script = Assembly::new(0);
        script.set("M", &marker).set("R", &root);
        for (name, value) in variables {
            if value.contains(['\n', '\t', '\0']) {
                return Err(Self::protocol(host, "a lease holder's name holds a line break or a tab"));
            }
            script.set(name, value);
        }
        script.part(Part::Base).part(Part::Lease).line(&format!("{call} && say end"));
        self.ask(host, &marker, Self::script(script.done(), 60), on).await
    }
}

/// The unit of the dead man's switch.
fn unit(organization: &str) -> String {
    format!("cutover-revert-{organization}")
}

/// Seconds that a batch may take: its steps' own limits, and the wait for the lock.
fn limit(batch: &Batch, settings: &Settings) -> u64 {
    let of = |kind: Kind, timeout: Option<&Attr>| match kind {
        Kind::Package => 1800 + settings.package_lock_seconds,
        Kind::Command => 60 + timeout.and_then(|t| t.to_string().parse().ok()).unwrap_or(300u64),
        _ => 300,
    };
    let steps: u64 = batch.steps.iter().map(|r| of(r.step.address.kind, r.step.attrs.get("timeout"))).sum();
    settings.lock_seconds + 60 + steps
}

impl<T: Transport> Agent for ShellAgent<T> {
    async fn observe(&self, host: &HostAccess, request: ObserveRequest<'_>) -> Result<Observation, HostError> {
        let (marker, root) = (marker(), self.root(host, request.organization)?);
        let rows = observe::rows(request.resources).map_err(|m| Self::protocol(host, m))?;
        let mut script = Assembly::new(rows.len() * 2);
        script.set("M", &marker).set("R", &root).set("W", &rows);
        script.part(Part::Base).part(Part::Look).part(Part::Observe);
        let mut answer = Answer::default();
        let script = Self::script(script.done(), self.settings.observe_seconds);
        self.ask(host, &marker, script, |word, rest| answer.take(word, rest)).await?;
        if answer.uid != Some(0) && !self.settings.unprivileged {
            let message = format!("the login as {} has no rights to change the host", host.user);
            let help = "log in as root, or write become=\"sudo\" at the server".to_owned();
            return Err(error(host, HostErrorKind::Become, message, Some(help)));
        }
        answer.observation(&host.name, request.resources, request.state_key).map_err(|m| Self::protocol(host, m))
    }

    async fn acquire(&self, host: &HostAccess, request: &LeaseRequest) -> Result<LeaseAnswer, HostError> {
        let token = request.token.map(|t| t.to_string()).unwrap_or_default();
        let dead = request.dead_after.to_string();
        let variables = [
            ("HOLDER", request.holder.as_str()),
            ("APPLY", request.apply.as_str()),
            ("T", token.as_str()),
            ("DEAD", dead.as_str()),
            ("KNOWN", request.known_dead.as_deref().unwrap_or("-")),
        ];
        let mut result = Err("the host did not answer about the lease".to_owned());
        self.lease(host, &request.organization, &variables, "acquire", |word, rest| match word {
            "held" => result = answer::lease(rest).map(LeaseAnswer::Held),
            "granted" => result = granted(rest),
            _ => {}
        })
        .await?;
        result.map_err(|m| Self::protocol(host, m))
    }

    async fn heartbeat(&self, host: &HostAccess, organization: &str, token: u64) -> Result<(), HostError> {
        let mut fenced = None;
        let text = token.to_string();
        self.lease(host, organization, &[("T", text.as_str())], "heartbeat", |word, rest| {
            if word == "fenced" {
                fenced = Some(rest.to_owned());
            }
        })
        .await?;
        match fenced {
            None => Ok(()),
            Some(by) => {
                let message = format!("our lease {token} is no longer the one held there: {by}");
                Err(error(
                    host,
                    HostErrorKind::Fenced,
                    message,
                    Some("another apply took over; this one changes nothing more".into()),
                ))
            }
        }
    }

    async fn release(&self, host: &HostAccess, organization: &str, token: u64) -> Result<(), HostError> {
        let text = token.to_string();
        self.lease(host, organization, &[("T", text.as_str())], "release", |_, _| {}).await
    }

    async fn run(
        &self,
        host: &HostAccess,
        batch: Batch,
        reports: UnboundedSender<StepReport>,
    ) -> Result<(), HostError> {
        let bad = |m: String| Self::protocol(host, m);
        let (marker, root) = (marker(), self.root(host, &batch.organization)?);
        check_name("apply", &batch.apply).map_err(bad)?;
        let contents: Vec<&Zeroizing<Vec<u8>>> = batch.steps.iter().filter_map(|s| s.content.as_ref()).collect();
        let large: Vec<_> = contents.iter().filter(|c| c.len() > INLINE).collect();
        for content in &large {
            self.upload(host, &root, content).await?;
        }
        let unit = unit(&batch.organization);
        let room: usize = contents.iter().map(|c| c.len().min(INLINE) * 2).sum::<usize>() + batch.steps.len() * 4096;
        let mut script = Assembly::new(room + batch.later.len() * 4096);
        script.set("M", &marker).set("R", &root).set("A", &batch.apply).set("T", &batch.token.to_string());
        script.set("K", &batch.state_key).set("PKG_WAIT", &self.settings.package_lock_seconds.to_string());
        script.set("UNIT", &unit);
        match batch.arm_seconds {
            Some(seconds) => {
                script.set("ARM", &seconds.to_string());
                script.set("REVERT", &render::revert(&root, &batch.apply, &unit));
            }
            None => {
                script.set("ARM", "").set("REVERT", "");
            }
        }
        script.part(Part::Base).part(Part::Look).part(Part::Change).part(Part::Armed);
        render::batch(&mut script, &batch).map_err(bad)?;
        script.line(&format!("prepare {}", self.settings.lock_seconds)).line(&render::calls(&batch));
        for content in &large {
            script.line(&format!("rm -f \"$R/blobs/{}\"", Digest::of(content).0));
        }
        script.line("say end");
        let mut trouble = None;
        let script = Self::script(script.done(), limit(&batch, &self.settings));
        let talk = self
            .talk(host, &marker, script, |word, rest| match answer::report(word, rest) {
                Ok(Some(report)) => {
                    let _ = reports.send(report);
                }
                Ok(None) => {}
                Err(e) => trouble = Some(e),
            })
            .await?;
        match trouble {
            Some(e) => Err(bad(e)),
            None if !talk.ended => Err(Self::broken(host, &talk.exit)),
            None => Ok(()),
        }
    }

    async fn outcomes(
        &self,
        host: &HostAccess,
        organization: &str,
        apply: &str,
    ) -> Result<BTreeMap<StepId, Outcome>, HostError> {
        let (marker, root) = (marker(), self.root(host, organization)?);
        check_name("apply", apply).map_err(|m| Self::protocol(host, m))?;
        let mut script = Assembly::new(0);
        script.set("M", &marker).set("R", &root).set("A", apply).set("T", "0").set("K", "").set("ARM", "");
        script.set("PKG_WAIT", "60").part(Part::Base).part(Part::Look).part(Part::Change);
        script.line(&format!("if [ -d \"$MD\" ]; then outcomes {}; fi; say end", self.settings.lock_seconds));
        let (mut out, mut trouble) = (BTreeMap::new(), None);
        let script = Self::script(script.done(), self.settings.lock_seconds + 60);
        self.ask(host, &marker, script, |word, rest| {
            if word == "outcome"
                && let Err(e) = answer::collect(rest, &mut out)
            {
                trouble = Some(e);
            }
        })
        .await?;
        match trouble {
            Some(e) => Err(Self::protocol(host, e)),
            None => Ok(out),
        }
    }

    async fn disarm(&self, host: &HostAccess, organization: &str, apply: &str) -> Result<bool, HostError> {
        let (marker, root) = (marker(), self.root(host, organization)?);
        check_name("apply", apply).map_err(|m| Self::protocol(host, m))?;
        let mut script = Assembly::new(0);
        script.set("M", &marker).set("R", &root).set("A", apply).set("UNIT", &unit(organization));
        script.set("T", "0").set("K", "").set("ARM", "").set("REVERT", "").set("PKG_WAIT", "60");
        script
            .part(Part::Base)
            .part(Part::Armed)
            .line(r#"if [ -d "$R" ]; then disarm; else say disarmed; fi; say end"#);
        let mut script = Self::script(script.done(), 120);
        script.link = Link::Fresh;
        let mut result = None;
        self.ask(host, &marker, script, |word, _| match word {
            "disarmed" => result = Some(true),
            "reverted" => result = Some(false),
            _ => {}
        })
        .await?;
        result.ok_or_else(|| Self::protocol(host, "the host did not say whether the dead man's switch is off"))
    }
}

fn granted(rest: &str) -> Result<LeaseAnswer, String> {
    let (token, from) = rest.split_once(' ').unwrap_or((rest, ""));
    let from = if from.is_empty() { None } else { Some(answer::lease(from)?) };
    Ok(LeaseAnswer::Granted { token: token.parse().map_err(|_| format!("`{rest}` is no grant"))?, from })
}
