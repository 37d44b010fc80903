//! The mail server of the old side, where the topology says how to reach it, and what waits in its queue.

use std::time::Duration;

use super::super::near::Near;
use super::super::project::Project;
use crate::model::HostName;
use crate::model::host::HostAccess;

/// How long it has to answer.
const LOOK: Duration = Duration::from_secs(60);
/// The code of a shell that knows no such program.
const NO_POSTFIX: i32 = 127;
/// A queue that cannot be asked is not an empty one: postqueue fails where Postfix does not run, and before 3.1 it does not know `-j`.
const ASK: &str = "command -v postqueue >/dev/null 2>&1 || exit 127\npostqueue -j || exit 1\n";
const FLUSH: &str = "postqueue -f >/dev/null 2>&1 || :\n";

/// That of a cohort; the error says why it cannot be asked.
pub fn host<'p>(project: &'p Project, cohort: &str) -> Result<&'p HostAccess, String> {
    let topology = &project.topology;
    let migration = topology.get("cohort", cohort).and_then(|c| topology.target(c, "migration"));
    let legacy = migration.and_then(|m| topology.target(m, "from")).ok_or("its migration comes from nowhere")?;
    let host = legacy.reference("server").and_then(|id| project.site.hosts.get(&HostName::from(id.name.as_str())));
    host.filter(|h| h.is_machine()).ok_or_else(|| {
        format!(
            "the queue of legacy {} cannot be asked: it is no server of this topology with a connection",
            legacy.id.name
        )
    })
}

/// Lets it try all again.
pub async fn flush(near: &Near, host: &HostAccess) -> Result<(), String> {
    near.run(host, FLUSH.to_owned(), LOOK).await.map(drop)
}

/// What waits, a message a line as `postqueue -j` has it; `None` where there is no Postfix.
pub async fn queue(near: &Near, host: &HostAccess) -> Result<Option<String>, String> {
    let heard = near.run(host, ASK.to_owned(), LOOK).await?;
    match heard.code {
        Some(0) => Ok(Some(heard.out)),
        Some(NO_POSTFIX) => Ok(None),
        _ => Err(heard.why("postqueue")),
    }
}
