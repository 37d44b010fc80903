//! Programs of ours on hosts, asked over the same SSH that apply uses.

use std::sync::Arc;
use std::time::Duration;

use zeroize::Zeroizing;

use super::context::Context;
use super::project::Project;
use super::secrets::{self, ForConnections};
use super::session;
use crate::model::host::HostAccess;
use crate::transport::{Link, Network, Script, Transport as _};

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
        let resolver = Arc::new(secrets::resolver(&project.root, &project.topology));
        let readers = Arc::new(ForConnections { resolver, root: project.root.clone() });
        let settings = session::settings(context, project, true);
        Self { network: Network::new(settings, project.site.hosts.clone(), readers as _) }
    }

    /// An error says that there was no answer: what became of the command is unknown.
    pub async fn run(&self, host: &HostAccess, script: String, limit: Duration) -> Result<Heard, String> {
        let mut out = String::new();
        let script = Script { body: Zeroizing::new(script), payload: None, link: Link::Kept, limit };
        let exit = self.network.exec(host, script, |line| {
            out.push_str(line);
            out.push('\n');
        });
        let exit = exit.await.map_err(|e| e.message)?;
        Ok(Heard { code: exit.code, out, err: exit.stderr })
    }
}

/// A command line with users on its standard input: in one go, however many they are, and in no list of processes.
pub fn with_users(command: &str, users: &[String]) -> String {
    // No user has a line end in their name, so none is this line.
    format!("{command} - <<'{END}' || exit $?\n{}\n{END}\n", users.join("\n"))
}
