//! Hands messages over, each at most once: its begin stands on the disk before, its end after.
//!
//! ```text
//! begun ──▶ mail server ──taken──▶ sent
//!   │            └──────refused──▶ refused: may be tried again
//!   └ no answer, or killed: in doubt; the server's log is asked, and a person says --again
//! ```

use std::io::Write as _;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::message::{Message, octets};
use super::{Course, Entry};
use crate::cli::failure::Failure;
use crate::cli::near::Near;
use crate::cli::project::Project;
use crate::model::host::HostAccess;
use crate::monitoring::relays;
use crate::process::notice::{Notice, Past};
use crate::transport::quote::sh;

/// How long a mail server has to take one message.
const LIMIT: Duration = Duration::from_secs(60);

/// Who takes the messages.
pub enum Way {
    /// A program on this machine that reads a message, as `sendmail -t -i` or `msmtp -t`.
    Program(Vec<String>),
    /// The mail server on a host of ours.
    Host { near: Arc<Near>, host: Box<HostAccess> },
}

/// What became of a message.
enum End {
    Taken,
    Refused(String),
    Unknown(String),
}

impl Way {
    /// A command line, as `--through` has it.
    pub fn program(line: &str) -> Result<Self, Failure> {
        let words = shlex::split(line).filter(|w| !w.is_empty());
        words.map(Way::Program).ok_or_else(|| Failure::new(format!("--through `{line}` is no command line")))
    }

    /// The first server of the topology that relays mail.
    pub fn relay(project: &Project, near: Arc<Near>) -> Result<Self, Failure> {
        let found = relays(&project.topology).find_map(|s| {
            let name = crate::model::HostName(s.id.name.to_string());
            project.site.hosts.get(&name)
        });
        let host = found.cloned().ok_or_else(|| {
            Failure::new("no server of this topology relays mail")
                .help("give one the role relay or smtp, or say --through \"sendmail -t -i\" for a program here")
        })?;
        Ok(Way::Host { near, host: Box::new(host) })
    }

    async fn hand_over(&self, message: &Message, octets: &[u8]) -> End {
        match self {
            Way::Program(words) => {
                let (words, octets) = (words.clone(), octets.to_vec());
                let done = tokio::task::spawn_blocking(move || program(&words, &octets)).await;
                done.unwrap_or_else(|e| End::Unknown(format!("the program was left: {e}")))
            }
            Way::Host { near, host } => {
                let script = format!(
                    "base64 -d <<'END OF MESSAGE' | /usr/sbin/sendmail -i -f {} -- {} >&2\n{}\nEND OF MESSAGE\n",
                    sh(&message.from.1),
                    sh(&message.to),
                    STANDARD.encode(octets)
                );
                match near.run(host, script, LIMIT).await {
                    Ok(heard) if heard.code == Some(0) => End::Taken,
                    // It has said no before it took anything: sendmail ends well only once the message is in its queue.
                    Ok(heard) if heard.code.is_some() => End::Refused(heard.why("sendmail")),
                    Ok(_) => End::Unknown("sendmail was cut off".to_owned()),
                    Err(why) => End::Unknown(why),
                }
            }
        }
    }

    /// Whether the mail server's log knows a message. `None`: it cannot be asked.
    async fn knows(&self, id: &str) -> Option<bool> {
        let Way::Host { near, host } = self else { return None };
        let script = format!(
            "{{ cat /var/log/mail.log /var/log/maillog 2>/dev/null; journalctl --no-pager -q -t postfix/cleanup 2>/dev/null; }} | grep -qF {} && echo known\n",
            sh(&format!("message-id=<{id}>"))
        );
        match near.run(host, script, LIMIT).await {
            Ok(heard) => Some(heard.out.contains("known")),
            _ => None,
        }
    }
}

fn program(words: &[String], octets: &[u8]) -> End {
    let Some((name, rest)) = words.split_first() else { return End::Refused("no program".to_owned()) };
    let started =
        Command::new(name).args(rest).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn();
    let mut child = match started {
        Ok(child) => child,
        Err(e) => return End::Refused(format!("{name}: {e}")),
    };
    // A program that ends without reading says why by its code.
    let written = child.stdin.take().map(|mut to| to.write_all(octets));
    match child.wait_with_output() {
        Ok(done) if done.status.success() && matches!(written, Some(Ok(()))) => End::Taken,
        Ok(done) => match done.status.code() {
            Some(code) if code != 0 => {
                let said = String::from_utf8_lossy(&done.stderr);
                let last = said.trim().lines().next_back().unwrap_or_default();
                End::Refused(format!("{name} ended with {code}: {last}"))
            }
            _ => End::Unknown(format!("{name} was cut off")),
        },
        Err(e) => End::Unknown(format!("{name}: {e}")),
    }
}

/// What a run has done.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct Done {
    pub sent: usize,
    pub refused: usize,
    /// Nobody knows whether these went out.
    pub doubt: usize,
    /// Not begun, since the run was to end.
    pub left: usize,
}

/// Who hears of a sending.
pub struct Ears<'a> {
    pub note: &'a (dyn Fn(String) + Send + Sync),
    /// A line that the next one takes the place of.
    pub passing: &'a (dyn Fn(&str) + Send + Sync),
    /// Whether the run is to end: asked between two messages, so that none is left in doubt by it.
    pub stopping: &'a (dyn Fn() -> bool + Send + Sync),
}

/// Sends notices one after the other, at most so many a minute. `doubtful`: those that an earlier run began.
pub async fn send(
    course: &Course,
    way: &Way,
    due: &[(&Notice, Message)],
    doubtful: &[&Notice],
    per_minute: u32,
    ears: &Ears<'_>,
) -> Result<Done, Failure> {
    let mut done = Done::default();
    for n in doubtful {
        if way.knows(&format!("{}@{}", n.id, course.domain)).await == Some(true) {
            write(course, n, Past::Sent, Some("found in the log of the mail server".to_owned()))?;
            (ears.note)(format!("{} to {} had gone out: the mail server's log knows it", n.communication, n.recipient));
        } else {
            done.doubt += 1;
            (ears.note)(format!(
                "{} to {} was handed over, and its end is not known; it is not sent again (`cutover notices send --again` sends it)",
                n.communication, n.recipient
            ));
        }
    }
    let pause = Duration::from_secs(60).checked_div(per_minute).unwrap_or_default();
    for (i, (n, message)) in due.iter().enumerate() {
        if i > 0 {
            tokio::time::sleep(pause).await;
        }
        if (ears.stopping)() {
            done.left = due.len() - i;
            break;
        }
        (ears.passing)(&format!("sending notices: {} of {}", i + 1, due.len()));
        let octets = octets(message).map_err(|e| Failure::new(format!("a message cannot be built: {e}")))?;
        write(course, n, Past::Begun, None)?;
        match way.hand_over(message, &octets).await {
            End::Taken => {
                write(course, n, Past::Sent, None)?;
                done.sent += 1;
            }
            End::Refused(why) => {
                (ears.note)(format!("{} to {}: not taken: {why}", n.communication, n.recipient));
                write(course, n, Past::Refused, Some(why))?;
                done.refused += 1;
            }
            End::Unknown(why) => {
                (ears.note)(format!("{} to {}: no answer, so it is in doubt: {why}", n.communication, n.recipient));
                done.doubt += 1;
            }
        }
    }
    (ears.passing)("");
    Ok(done)
}

fn write(course: &Course, n: &Notice, past: Past, why: Option<String>) -> Result<(), Failure> {
    course.journal.append(&Entry {
        id: n.id.clone(),
        communication: n.communication.clone(),
        cohort: n.cohort.clone(),
        recipient: n.recipient.clone(),
        at: format!("{:.0}", jiff::Timestamp::now()),
        past,
        why,
    })
}
