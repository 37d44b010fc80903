//! The control socket: whoever may open it may steer the moves.

use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{UnixListener, UnixStream};

use super::Service;
use super::wire::{Answer, PassDone, Request, Status};
use crate::services::accept::accept;
use crate::services::cms::mailbox::{Class, Fault};
use crate::services::cms::mover::Pass;
use crate::services::cms::queue::{Queue, Urgency};

/// Octets of a request.
const LONGEST: u64 = 16 << 20;

/// Connections at the same time; one may wait long for a pass.
const MOST: usize = 1024;

pub(super) fn bind(path: &Path) -> Result<UnixListener, Fault> {
    let failed = |e: &dyn std::fmt::Display| Fault::new(Class::Local, format!("cms.control: {}: {e}", path.display()));
    if let Ok(there) = std::fs::symlink_metadata(path) {
        if !there.file_type().is_socket() {
            return Err(failed(&"it is there and is no socket"));
        }
        if std::os::unix::net::UnixStream::connect(path).is_ok() {
            return Err(failed(&"another service answers there"));
        }
        std::fs::remove_file(path).map_err(|e| failed(&e))?;
    }
    let listener = UnixListener::bind(path).map_err(|e| failed(&e))?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o660)).map_err(|e| failed(&e))?;
    Ok(listener)
}

pub(super) async fn serve<Q: Queue>(service: Arc<Service<Q>>, listener: UnixListener) {
    let one = |stream| {
        let service = service.clone();
        async move {
            // Whoever is gone does not read the answer.
            let _ = connection(&service, stream).await;
        }
    };
    accept(|cx| listener.poll_accept(cx).map_ok(|(stream, _)| stream), MOST, one).await;
}

async fn connection<Q: Queue>(service: &Service<Q>, stream: UnixStream) -> std::io::Result<()> {
    let uid = stream.peer_cred().ok().map(|c| c.uid());
    let (read, mut write) = stream.into_split();
    let mut read = BufReader::new(read);
    loop {
        let mut line = Vec::new();
        if (&mut read).take(LONGEST).read_until(b'\n', &mut line).await? == 0 {
            return Ok(());
        }
        let answer = match serde_json::from_slice::<Request>(&line) {
            Ok(request) => answer(service, uid, request).await,
            Err(e) => Answer::Error(format!("that is no request: {e}")),
        };
        let mut text =
            serde_json::to_vec(&answer).unwrap_or_else(|_| b"{\"error\":\"no answer can be written\"}".to_vec());
        text.push(b'\n');
        write.write_all(&text).await?;
    }
}

async fn answer<Q: Queue>(service: &Service<Q>, uid: Option<u32>, request: Request) -> Answer {
    let done = match request {
        Request::Status {} => return status(service).await,
        Request::Pause { users } => {
            each(service, uid, "pause", &users, |user| async move { service.mover.ledger.pause(&user, true).await })
                .await
        }
        Request::Resume { users } => {
            each(service, uid, "resume", &users, |user| async move {
                let known = service.mover.ledger.pause(&user, false).await?;
                service.put(&user, Pass::Delta, Urgency::Usual, Duration::ZERO);
                Ok(known)
            })
            .await
        }
        Request::Retry { users, removals, takes } => {
            each(service, uid, "retry", &users, |user| async move {
                let known = service.mover.ledger.retry(&user, removals).await?;
                if takes {
                    service.mover.ledger.take_over(&user).await?;
                }
                service.put(&user, Pass::Delta, Urgency::Asked, Duration::ZERO);
                Ok(known)
            })
            .await
        }
        Request::Astray { users, off } => {
            each(service, uid, if off { "not astray" } else { "astray" }, &users, |user| async move {
                service.mover.ledger.astray(&user, !off).await
            })
            .await
        }
        Request::Final { users, within } => {
            return passes(service, (uid, "final"), &users, Pass::Final, within).await;
        }
        Request::Late { users } => return passes(service, (uid, "late"), &users, Pass::Delta, None).await,
        Request::Rollback { users, within } => {
            return passes(service, (uid, "rollback"), &users, Pass::Rollback, within).await;
        }
        Request::Verify { users, how } => {
            let how = how.unwrap_or(service.mover.config.cms.verify);
            return passes(service, (uid, "verify"), &users, Pass::Verify(how), None).await;
        }
    };
    done.map_or_else(Answer::Error, Answer::Done)
}

fn named<Q: Queue>(service: &Service<Q>, users: &[String]) -> Result<Vec<String>, String> {
    let people = &service.mover.people;
    if users.is_empty() {
        return Ok(people.users().map(str::to_owned).collect());
    }
    users
        .iter()
        .map(|u| people.find(u).map(str::to_owned).ok_or_else(|| format!("{u} is not in the configuration")))
        .collect()
}

async fn each<Q: Queue, F: Future<Output = Result<bool, Fault>>>(
    service: &Service<Q>,
    uid: Option<u32>,
    command: &str,
    users: &[String],
    one: impl Fn(String) -> F,
) -> Result<usize, String> {
    let mut count = 0;
    for user in named(service, users)? {
        service.told(&user, command, uid);
        count += usize::from(one(user).await.map_err(|e| e.to_string())?);
    }
    Ok(count)
}

/// `within` milliseconds: whose pass is not over by then is told so, and no pass begins any more that nobody waits for.
async fn passes<Q: Queue>(
    service: &Service<Q>,
    (uid, command): (Option<u32>, &str),
    users: &[String],
    pass: Pass,
    within: Option<u64>,
) -> Answer {
    let end = within.map(|ms| Instant::now() + Duration::from_millis(ms));
    let users = match named(service, users) {
        Ok(users) => users,
        Err(e) => return Answer::Error(e),
    };
    let asked: Vec<_> = users
        .into_iter()
        .map(|user| {
            service.told(&user, command, uid);
            let said = service.ask(&user, pass);
            (user, said)
        })
        .collect();
    let mut done = Vec::new();
    for (user, mut said) in asked {
        let heard = match end {
            Some(end) => tokio::time::timeout_at(end.into(), &mut said).await,
            None => Ok((&mut said).await),
        };
        done.push(heard.map_or_else(
            |_| {
                drop(said);
                service.withdraw(&user, pass);
                PassDone::failed(&user, "the last pass was not over in the time that logins may wait")
            },
            |heard| heard.unwrap_or_else(|_| PassDone::failed(&user, "the service ends")),
        ));
    }
    Answer::Passes(done)
}

async fn status<Q: Queue>(service: &Service<Q>) -> Answer {
    use std::sync::atomic::Ordering;
    let mailboxes = match service.mover.ledger.summaries(None).await {
        Ok(mailboxes) => mailboxes,
        Err(e) => return Answer::Error(e.to_string()),
    };
    let left: u64 = mailboxes.iter().map(|m| m.total.saturating_sub(m.messages)).sum();
    let left_octets: u64 = mailboxes.iter().map(|m| m.total_octets.saturating_sub(m.octets)).sum();
    let octets = service.mover.meter.octets.load(Ordering::Relaxed);
    let moved = service.mover.meter.messages.load(Ordering::Relaxed);
    let seconds = service.began.elapsed().as_secs();
    Answer::Status(Box::new(Status {
        version: env!("CARGO_PKG_VERSION").into(),
        waiting: service.queue.waiting(),
        moving: service.mover.meter.moving.load(Ordering::Relaxed),
        // By messages and by octets: whichever takes longer.
        left_seconds: [(left, moved), (left_octets, octets)]
            .into_iter()
            .filter(|(left, done)| *left > 0 && *done > 0)
            .map(|(left, done)| left.saturating_mul(seconds.max(1)) / done)
            .max(),
        mailboxes,
    }))
}
