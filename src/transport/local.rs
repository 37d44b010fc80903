//! This machine, without SSH.

use std::process::Stdio;

use tokio::process::Command;

use crate::model::host::{HostAccess, HostError, HostErrorKind};

use super::refusal::error;
use super::session::{Pipes, converse};
use super::{Exit, Script, boot};

/// Runs a script by a shell of this machine.
pub async fn exec(
    host: &HostAccess,
    script: Script,
    shell: &str,
    password: Option<&str>,
    on_line: impl FnMut(&str) + Send,
) -> Result<Exit, HostError> {
    let line = boot::command_line(host, &script, shell, password.is_some());
    let mut command = Command::new("sh");
    command.arg("-c").arg(line);
    spawn(host, command, script, password, on_line).await
}

/// Runs a script by a local program (a shell, or an `ssh` of its own) that reads it from standard input.
pub async fn spawn(
    host: &HostAccess,
    mut command: Command,
    script: Script,
    password: Option<&str>,
    on_line: impl FnMut(&str) + Send,
) -> Result<Exit, HostError> {
    let input = boot::input(&script, password);
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(|e| error(host, HostErrorKind::Unreachable, format!("no process can be started here: {e}"), None))?;
    let (Some(stdin), Some(stdout), Some(stderr)) = (child.stdin.take(), child.stdout.take(), child.stderr.take())
    else {
        return Err(error(host, HostErrorKind::Protocol, "a started process has no pipes", None));
    };
    converse(host, Pipes { stdin, stdout, stderr }, input, script.limit, on_line, async move {
        child.wait().await.map(|s| s.code()).map_err(|e| e.to_string())
    })
    .await
}
