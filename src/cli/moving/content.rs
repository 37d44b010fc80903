//! The content service where the pack puts it, over SSH.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::super::failure::Failure;
use super::super::near::{Heard, Near, with_users};
use super::super::project::Project;
use crate::model::HostName;
use crate::model::host::HostAccess;
use crate::model::topology::Node;
use crate::moving::content::{Carry, Content};
use crate::services::cms::ledger::Summary;
use crate::services::cms::report::Brief;
use crate::services::cms::service::wire::PassDone;

/// As the service's own user, so that nothing in its folder ever belongs to root.
const PROGRAM: &str = "runuser -u cutover-cms -- /usr/local/bin/cutover-cms";
const LOOK: Duration = Duration::from_secs(60);
/// A last pass with its verification: an hour for a mailbox that is far larger than usual.
const PASS: Duration = Duration::from_secs(3600);
/// Reports that are made and filed in one go.
const TOGETHER: usize = 500;

/// One mailbox of a preflight.
#[derive(Debug, serde::Deserialize)]
pub struct Looked {
    pub user: String,
    #[serde(default)]
    pub findings: Vec<serde::de::IgnoredAny>,
    /// Why it could not be asked.
    #[serde(default, rename = "not-asked")]
    pub not_asked: Option<String>,
}

pub struct Service {
    near: Arc<Near>,
    host: HostAccess,
}

impl Service {
    /// The content service of that name, or the only one.
    pub fn of(project: &Project, near: Arc<Near>, name: Option<&str>) -> Result<Self, Failure> {
        let all: Vec<&Node> = project.topology.all("cms").collect();
        let node = match (name, all.as_slice()) {
            (Some(name), _) => all.iter().find(|c| c.id.name == *name).copied(),
            (None, [only]) => Some(*only),
            (None, []) => {
                return Err(Failure::new("this topology has no content service")
                    .help("write cms NAME from=.. to=.. { on SERVER; }"));
            }
            (None, _) => {
                return Err(Failure::new("this topology has several content services")
                    .help("put the users into a cohort, whose migration names its cms"));
            }
        };
        let on = node.and_then(|c| c.refs("on").next()).map(|(id, _)| id.name.to_string());
        let host = on.as_deref().and_then(|name| project.site.hosts.get(&HostName::from(name)));
        let Some(host) = host.cloned() else {
            let name = node.map_or("", |c| c.id.name.as_str());
            return Err(Failure::new(format!("the host of content service {name} cannot be reached"))
                .help("the server in its `on` needs a connection"));
        };
        Ok(Self { near, host })
    }

    /// The report of each in short, filed there as a whole. Who has none is not in the answer.
    pub async fn reports(&self, users: &[String]) -> Result<Vec<Brief>, String> {
        let mut all = Vec::new();
        for some in users.chunks(TOGETHER) {
            all.extend(self.ask::<Vec<Brief>>("report --write --brief", some, PASS).await?);
        }
        Ok(all)
    }

    /// What a look at the source finds, and whether nothing of it keeps anybody from moving: of these people, or of all that the service knows.
    pub async fn preflight(&self, users: &[String]) -> Result<(bool, Vec<Looked>), String> {
        let heard = self.near.run(&self.host, with_users(&format!("{PROGRAM} preflight --json"), users), PASS).await?;
        if heard.out.trim().is_empty() {
            return Err(heard.why("cutover-cms"));
        }
        let looked = serde_json::from_str(&heard.out)
            .map_err(|e| format!("cutover-cms there answers in a form that is not known here: {e}"))?;
        Ok((heard.code == Some(0), looked))
    }

    async fn ask<T: serde::de::DeserializeOwned>(
        &self,
        command: &str,
        users: &[String],
        limit: Duration,
    ) -> Result<T, String> {
        answer(&self.heard(command, users, limit).await?)
    }

    async fn heard(&self, command: &str, users: &[String], limit: Duration) -> Result<Heard, String> {
        self.near.run(&self.host, with_users(&format!("{PROGRAM} {command} --json"), users), limit).await
    }
}

fn answer<T: serde::de::DeserializeOwned>(heard: &Heard) -> Result<T, String> {
    // What a pass left over is an exit code of its own, with an answer all the same.
    if heard.out.trim().is_empty() && heard.code != Some(0) {
        return Err(heard.why("cutover-cms"));
    }
    serde_json::from_str(&heard.out)
        .map_err(|e| format!("cutover-cms there answers in a form that is not known here: {e}"))
}

/// Whether a service of an earlier release refused a word: the program an option or command, or the service that runs still the field or request.
fn knows_not(heard: &Heard, word: &str) -> bool {
    let refused = ["unexpected argument", "unrecognized subcommand", "unknown field", "unknown variant"];
    let said = |line: &str| line.contains(word) && refused.iter().any(|r| line.contains(r));
    heard.code != Some(0) && heard.out.trim().is_empty() && heard.err.lines().any(said)
}

impl Content for Service {
    async fn look(&self, users: &[String]) -> Result<BTreeMap<String, Summary>, String> {
        let found: Vec<Summary> = self.ask("status", users, LOOK).await?;
        let find = |m: &Summary| users.iter().find(|u| u.eq_ignore_ascii_case(&m.user)).cloned();
        Ok(found.into_iter().filter_map(|m| Some((find(&m)?, m))).collect())
    }

    async fn astray(&self, users: &[String], on: bool) -> Result<(), String> {
        let heard = self.heard(if on { "astray" } else { "astray --off" }, users, LOOK).await?;
        // In the middle of an upgrade nothing is written down, as before it.
        if knows_not(&heard, "astray") { Ok(()) } else { answer::<usize>(&heard).map(drop) }
    }

    async fn carry(&self, users: &[String], what: Carry, within: Option<Duration>) -> Result<Vec<PassDone>, String> {
        let command = match within {
            Some(within) => format!("{} --within {}ms", what.as_str(), within.as_millis()),
            None => what.as_str().to_owned(),
        };
        let heard = self.heard(&command, users, PASS).await?;
        // In the middle of an upgrade its answer is waited for without a time of its own.
        let mut done: Vec<PassDone> = match within.is_some() && knows_not(&heard, "within") {
            true => self.ask(what.as_str(), users, PASS).await?,
            false => answer(&heard)?,
        };
        for d in &mut done {
            if let Some(asked) = users.iter().find(|u| u.eq_ignore_ascii_case(&d.user)) {
                d.user.clone_from(asked);
            }
        }
        Ok(done)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_of_an_earlier_release_is_known_by_what_it_refuses() {
        let heard = |code, out: &str, err: &str| Heard { code: Some(code), out: out.into(), err: err.into() };
        let program = "error: unexpected argument '--within' found\n\nUsage: cutover-cms final\n\nFor more information, try '--help'.\n";
        assert!(knows_not(&heard(2, "", program), "within"));
        assert!(knows_not(&heard(1, "", "error: unknown field `within`, expected `users`\n"), "within"));
        let unknown = "error: that is no request: unknown variant `astray`, expected one of `status`, `pause`\n";
        assert!(knows_not(&heard(1, "", unknown), "astray"));
        assert!(knows_not(&heard(2, "", "error: unrecognized subcommand 'astray'\n"), "astray"));
        assert!(!knows_not(&heard(1, "", "error: no mailbox of the mover: within@acme.example\n"), "within"));
        assert!(!knows_not(&heard(3, "[]", "1 was not over within its time\n"), "within"));
    }
}
