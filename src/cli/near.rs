//! Programs of ours on hosts, asked over the same SSH that apply uses.

use std::sync::Arc;
use std::time::Duration;

use zeroize::Zeroizing;

use super::context::Context;
use super::project::Project;
use super::secrets::{self, ForConnections};
use super::session;
use crate::model::host::HostAccess;
use crate::transport::{Far, Link, Network, Script, Transport as _};

/// Ends a list that goes by standard input.
const END: &str = "END OF USERS";

pub struct Near {
    network: Network,
}

/// What a command said there.
pub struct Heard {
    pub code: Option<i32>,
    pub out: String,
    pub err: String,
}

impl Heard {
    /// The last line that it said of what went wrong.
    pub fn why(&self, program: &str) -> String {
        match self.err.trim().lines().next_back() {
            Some(said) if !said.is_empty() => said.trim_start_matches("error: ").to_owned(),
            _ => format!("{program} failed there and did not say why"),
        }
    }
}

impl Near {
    pub fn of(context: &Context, project: &Project) -> Self {
        Self::with(context, project, true)
    }

    /// As [`Self::of`], for what asks each host once: no connection is kept after its answer.
    pub fn once(context: &Context, project: &Project) -> Self {
        Self::with(context, project, false)
    }

    fn with(context: &Context, project: &Project, keep: bool) -> Self {
        let resolver = Arc::new(secrets::resolver(&project.root, &project.topology));
        let readers = Arc::new(ForConnections { resolver, root: project.root.clone() });
        let settings = session::settings(context, project, keep);
        Self { network: Network::new(settings, project.site.hosts.clone(), readers as _) }
    }

    pub fn network(&self) -> &Network {
        &self.network
    }

    /// As [`Self::run`], with each line of its output as it comes instead of all of it at the end.
    pub async fn run_each(
        &self,
        host: &HostAccess,
        script: String,
        limit: Duration,
        each: impl FnMut(&str) + Send,
    ) -> Result<Heard, String> {
        let script = Script { body: Zeroizing::new(script), payload: None, link: Link::Kept, limit, far: Far::Shell };
        let exit = self.network.exec(host, script, each).await.map_err(|e| e.message)?;
        Ok(Heard { code: exit.code, out: String::new(), err: exit.stderr })
    }

    /// An error says that there was no answer: what became of the command is unknown.
    pub async fn run(&self, host: &HostAccess, script: String, limit: Duration) -> Result<Heard, String> {
        let mut out = String::new();
        let heard = self.run_each(host, script, limit, |line| {
            out.push_str(line);
            out.push('\n');
        });
        let heard = heard.await?;
        Ok(Heard { out, ..heard })
    }
}

/// A command line that asks a service of the host itself, by no proxy, and fails where that refuses. `limit`: seconds.
pub fn curl(limit: u8) -> String {
    format!("curl -fsS --noproxy '*' --max-time {limit}")
}

/// A command line with users on its standard input: in one go, however many they are, and in no list of processes.
pub fn with_users(command: &str, users: &[String]) -> String {
    // No user has a line end in their name, so none is this line.
    format!("{command} - <<'{END}' || exit $?\n{}\n{END}\n", users.join("\n"))
}
