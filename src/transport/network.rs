//! All hosts of a run: their kept sessions, limits and retries.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use openssh::Session;
use tokio::sync::{Mutex as AsyncMutex, Semaphore};
use zeroize::Zeroizing;

use crate::model::HostName;
use crate::model::host::{Become, HostAccess, HostError, HostErrorKind, Reach};

use super::refusal::error;
use super::ssh::{self, Trouble};
use super::{Exit, Link, Script, SecretReader, Transport, local};

#[derive(Debug, Clone)]
pub struct Settings {
    /// Searched before the user's own known_hosts; a lab writes one.
    pub known_hosts: Vec<PathBuf>,
    /// Logins under way at one time, over all hosts.
    pub connecting: usize,
    /// Scripts in flight in one session. sshd's default MaxSessions is 10, but it frees slots late: seven in flight fail now
    /// and then, up to six never did in trials.
    pub in_flight: usize,
    /// Further attempts to connect when a host does not answer. Scripts are never repeated.
    pub retries: u32,
    /// The shell on the far side.
    pub shell: String,
    /// Keep a host's session for its next script. Whoever asks each host once lets it go: the idle ssh masters of five hundred
    /// hosts would take more memory than everything else together.
    pub keep: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self { known_hosts: Vec::new(), connecting: 32, in_flight: 4, retries: 2, shell: "sh".into(), keep: true }
    }
}

struct Slot {
    session: AsyncMutex<Option<Arc<Session>>>,
    in_flight: Semaphore,
}

/// Reaches hosts by SSH, and this machine directly.
pub struct Network {
    settings: Settings,
    secrets: Arc<dyn SecretReader>,
    /// To find jump hosts by name.
    hosts: BTreeMap<HostName, HostAccess>,
    slots: Mutex<HashMap<HostName, Arc<Slot>>>,
    connecting: Semaphore,
}

impl Network {
    pub fn new(settings: Settings, hosts: BTreeMap<HostName, HostAccess>, secrets: Arc<dyn SecretReader>) -> Self {
        super::folder::sweep();
        let connecting = Semaphore::new(settings.connecting.max(1));
        Self { settings, secrets, hosts, slots: Mutex::new(HashMap::new()), connecting }
    }

    /// Closes a host's kept session, if there is one.
    pub async fn close(&self, host: &HostName) {
        let slot = self.slots.lock().unwrap_or_else(|e| e.into_inner()).remove(host);
        if let Some(slot) = slot {
            slot.session.lock().await.take();
        }
    }

    fn slot(&self, host: &HostAccess) -> Arc<Slot> {
        let mut slots = self.slots.lock().unwrap_or_else(|e| e.into_inner());
        let new = || {
            Arc::new(Slot { session: AsyncMutex::new(None), in_flight: Semaphore::new(self.settings.in_flight.max(1)) })
        };
        slots.entry(host.name.clone()).or_insert_with(new).clone()
    }

    /// The host, its jump host, that one's jump host, and so on.
    fn route<'a>(&'a self, host: &'a HostAccess) -> Result<Vec<&'a HostAccess>, HostError> {
        let mut route = vec![host];
        let mut next = host.jump.as_ref();
        while let Some(name) = next {
            let Some(hop) = self.hosts.get(name) else {
                let message = format!("its jump host {name} is not a server of the topology");
                return Err(error(host, HostErrorKind::Protocol, message, None));
            };
            if route.iter().any(|h| h.name == hop.name) {
                let message = format!("its jump hosts go round in a circle at {name}");
                return Err(error(host, HostErrorKind::Protocol, message, None));
            }
            route.push(hop);
            next = hop.jump.as_ref();
        }
        Ok(route)
    }

    async fn profile(&self, host: &HostAccess) -> Result<(ssh::Profile, usize), HostError> {
        let route = self.route(host)?;
        Ok((ssh::profile(&route, &self.settings.known_hosts, self.secrets.as_ref()).await?, route.len() - 1))
    }

    /// The kept session, made when there is none. `broken` is one that has just failed and must not be handed out again.
    async fn session(
        &self,
        host: &HostAccess,
        slot: &Slot,
        broken: Option<&Arc<Session>>,
    ) -> Result<Arc<Session>, HostError> {
        let mut kept = slot.session.lock().await;
        if let Some(session) = kept.as_ref()
            && !broken.is_some_and(|b| Arc::ptr_eq(b, session))
        {
            return Ok(session.clone());
        }
        *kept = None;
        let mut attempt = 0;
        loop {
            let result = {
                // Closed never: the semaphore lives as long as we do.
                let _permit = self.connecting.acquire().await;
                let (profile, hops) = self.profile(host).await?;
                ssh::connect(host, profile, hops).await
            };
            match result {
                Ok(session) => {
                    let session = Arc::new(session);
                    *kept = Some(session.clone());
                    return Ok(session);
                }
                Err(e) if e.kind == HostErrorKind::Unreachable && attempt < self.settings.retries => {
                    tracing::debug!(host = %host.name, attempt, "connect failed, trying again: {e}");
                    attempt += 1;
                    tokio::time::sleep(Duration::from_millis(300 << attempt.min(4))).await;
                }
                Err(e) => return Err(e),
            }
        }
    }

    async fn password(&self, host: &HostAccess) -> Result<Option<Zeroizing<String>>, HostError> {
        let Some(secret) = host.become_password.as_ref().filter(|_| host.become_ != Become::None) else {
            return Ok(None);
        };
        if host.become_ == Become::Doas {
            return Err(error(
                host,
                HostErrorKind::Become,
                "doas reads a password only from a terminal",
                Some("use `permit nopass` in doas.conf, or become=\"sudo\"".to_owned()),
            ));
        }
        let refuse = |m: String| error(host, HostErrorKind::Secret, m, None);
        let value = self.secrets.read(secret).await.map_err(refuse)?;
        let text = std::str::from_utf8(&value).map_err(|_| refuse(format!("secret {secret} is not text")))?;
        let text = text.trim_end_matches(['\n', '\r']);
        if text.contains(['\n', '\0']) {
            return Err(refuse(format!("secret {secret} has several lines; a password has one")));
        }
        Ok(Some(Zeroizing::new(text.to_owned())))
    }

    async fn by_kept_session(
        &self,
        host: &HostAccess,
        script: Script,
        password: Option<&str>,
        mut on_line: impl FnMut(&str) + Send,
    ) -> Result<Exit, HostError> {
        let slot = self.slot(host);
        let _permit = slot.in_flight.acquire().await;
        let mut session = self.session(host, &slot, None).await?;
        // The kept session may have gone since it was used last; the script has not started then, so once more is safe.
        let mut renewed = false;
        for attempt in 0..8u32 {
            match ssh::exec(host, &session, &script, &self.settings.shell, password, &mut on_line).await {
                Ok(exit) => {
                    if !self.settings.keep {
                        slot.session.lock().await.take();
                    }
                    return Ok(exit);
                }
                Err(Trouble::Failed(e)) => return Err(e),
                Err(Trouble::Gone) if renewed => break,
                Err(Trouble::Gone) => {
                    renewed = true;
                    session = self.session(host, &slot, Some(&session)).await?;
                }
                Err(Trouble::Busy) => tokio::time::sleep(Duration::from_millis(100 << attempt.min(4))).await,
            }
        }
        Err(error(host, HostErrorKind::Unreachable, "the SSH server opens no channel for a script", None))
    }
}

impl Transport for Network {
    async fn exec(
        &self,
        host: &HostAccess,
        script: Script,
        on_line: impl FnMut(&str) + Send,
    ) -> Result<Exit, HostError> {
        let password = self.password(host).await?;
        let password = password.as_ref().map(|p| p.as_str());
        match (&host.reach, script.link) {
            (Reach::Local, _) => local::exec(host, script, &self.settings.shell, password, on_line).await,
            (Reach::Ssh, Link::Kept) => self.by_kept_session(host, script, password, on_line).await,
            (Reach::Ssh, Link::Fresh) => {
                let (profile, _) = self.profile(host).await?;
                ssh::exec_fresh(host, profile, script, &self.settings.shell, password, on_line).await
            }
            (Reach::Zone(_) | Reach::Cohort(_), _) => {
                Err(error(host, HostErrorKind::Protocol, "that is no machine: no script runs there", None))
            }
        }
    }
}
