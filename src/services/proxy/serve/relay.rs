//! Octets both ways, once the login is through: unread, in order, with each side's end handed on.
//!
//! What is idle holds two sockets, the keys of TLS and this future, and no buffer. A direction reads only when all that it has read
//! before is with the other side's kernel, so a slow reader slows its writer and takes no memory here.

use std::future::Future;
use std::io::{self, ErrorKind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::Interest;
use tokio::time::{Instant, Sleep};

use super::end::{End, Got};
use super::pipe::Pipe;
use super::scratch::READ;
use crate::services::proxy::handle::Handle;
use crate::services::proxy::session::Guard;

/// A read as large as this one means that much flows.
const BULK: usize = 16 * 1024;
/// A splice as small as this one means that little flows.
const LITTLE: usize = 4 * 1024;
/// Reads of one direction before others have their turn.
const ROUNDS: usize = 16;
/// A session that is to end does so when its server has ended a line and nothing came for this long,
const QUIET: Duration = Duration::from_millis(20);
/// or after this at the latest.
const LATEST: Duration = Duration::from_millis(80);

/// How a session came to its end.
#[derive(Debug)]
pub(super) enum Ended {
    /// Both sides have ended.
    Done,
    Idle,
    /// Its route was taken away, or an operator ended it.
    Closed,
    /// The client broke a rule of submission.
    Guarded(String),
    Broken(io::Error),
}

/// A submission behind its login, and octets of its client that have to wait for the server.
pub(super) struct Guarded {
    pub(super) guard: Guard,
    pub(super) held: Vec<u8>,
}

pub(super) struct Relay {
    client: End,
    server: End,
    handle: Arc<Handle>,
    up: Flow,
    down: Flow,
    guarded: Option<Box<Guarded>>,
    idle: Duration,
    last: Instant,
    closing: Option<Instant>,
    /// The last octet went to the client and ended a line.
    answered: bool,
    timer: Pin<Box<Sleep>>,
}

#[derive(Default)]
struct Flow {
    course: Course,
    /// Octets that the target did not take yet.
    pipe: Option<Pipe>,
    /// Much flows: octets go by splice.
    bulk: bool,
    octets: u64,
    /// The last octet, when it was seen.
    tail: Option<u8>,
}

#[derive(Default, Clone, Copy, PartialEq, Eq)]
enum Course {
    #[default]
    Open,
    /// The source has ended; its end is to be told.
    Ended,
    /// It is told where TLS tells it.
    Told,
    Over,
}

/// What stands between source and target.
enum Filter<'a> {
    None,
    Up(&'a mut Guarded),
    Down(&'a mut Guarded),
}

impl Relay {
    /// `idle`: how long nothing may go either way.
    pub(super) fn new(
        client: End,
        server: End,
        handle: Arc<Handle>,
        guarded: Option<Box<Guarded>>,
        idle: Duration,
    ) -> Self {
        let now = Instant::now();
        Self {
            client,
            server,
            handle,
            up: Flow::default(),
            down: Flow::default(),
            guarded,
            idle,
            last: now,
            closing: None,
            answered: true,
            timer: Box::pin(tokio::time::sleep_until(now + idle)),
        }
    }

    /// When this session ends if nothing more happens.
    fn due(&self) -> Instant {
        match self.closing {
            None => self.last + self.idle,
            Some(since) if self.answered => (self.last + QUIET).min(since + LATEST),
            Some(since) => since + LATEST,
        }
    }

    fn pump(&mut self, cx: &mut Context<'_>) -> Result<bool, Ended> {
        let mut filter = self.guarded.as_deref_mut().map_or(Filter::None, Filter::Down);
        let down =
            pump(cx, &mut self.server, &mut self.client, &mut self.down, &mut filter, self.up.course == Course::Over);
        let mut filter = self.guarded.as_deref_mut().map_or(Filter::None, Filter::Up);
        let up =
            pump(cx, &mut self.client, &mut self.server, &mut self.up, &mut filter, self.down.course == Course::Over);
        let (went_up, went_down) = (std::mem::take(&mut self.up.octets), std::mem::take(&mut self.down.octets));
        if went_up > 0 || went_down > 0 {
            self.last = Instant::now();
            self.handle.count(went_up, went_down);
            // When both were busy nobody knows which came last.
            self.answered = went_up == 0 && self.down.tail == Some(b'\n');
        }
        let (down, up) = (down?, up?);
        Ok(down.is_ready() && up.is_ready())
    }
}

impl Future for Relay {
    type Output = Ended;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Ended> {
        let this = self.get_mut();
        this.handle.wake_by(cx.waker());
        if this.closing.is_none() && this.handle.is_closing() {
            this.closing = Some(Instant::now());
        }
        match this.pump(cx) {
            Ok(false) => {}
            Ok(true) => return Poll::Ready(Ended::Done),
            Err(ended) => return Poll::Ready(ended),
        }
        // The timer is set anew only when it rings, or when the end is wanted.
        loop {
            let due = this.due();
            if this.timer.deadline() > due {
                this.timer.as_mut().reset(due);
            }
            ready!(this.timer.as_mut().poll(cx));
            let now = Instant::now();
            let due = this.due();
            if now >= due {
                let _ = this.client.farewell();
                return Poll::Ready(if this.closing.is_some() { Ended::Closed } else { Ended::Idle });
            }
            this.timer.as_mut().reset(due);
        }
    }
}

/// One direction, as far as it goes; ready when it is over.
fn pump(
    cx: &mut Context<'_>,
    from: &mut End,
    to: &mut End,
    flow: &mut Flow,
    filter: &mut Filter<'_>,
    last: bool,
) -> Result<Poll<()>, Ended> {
    for _ in 0..ROUNDS {
        match step(cx, from, to, flow, filter, last) {
            Poll::Ready(Ok(true)) => {}
            Poll::Ready(Ok(false)) => return Ok(Poll::Ready(())),
            Poll::Ready(Err(ended)) => return Err(ended),
            Poll::Pending => return Ok(Poll::Pending),
        }
    }
    cx.waker().wake_by_ref();
    Ok(Poll::Pending)
}

/// `false` when the direction is over.
fn step(
    cx: &mut Context<'_>,
    from: &mut End,
    to: &mut End,
    flow: &mut Flow,
    filter: &mut Filter<'_>,
    last: bool,
) -> Poll<Result<bool, Ended>> {
    if flow.course == Course::Over {
        return Poll::Ready(Ok(false));
    }
    // Who takes nothing more may still have something to say: that direction goes on, this one is over.
    let written = match ready!(to.poll_flush(cx)) {
        Ok(()) if flow.course == Course::Ended => to.farewell().map(|()| Course::Told),
        // The socket is closed at once when this was the last that was to be said.
        Ok(()) if flow.course == Course::Told && last => Ok(Course::Over),
        Ok(()) if flow.course == Course::Told => to.shut().map(|()| Course::Over),
        Ok(()) => Ok(Course::Open),
        Err(e) => Err(e),
    };
    flow.course = written.unwrap_or(Course::Over);
    if flow.course != Course::Open {
        return Poll::Ready(Ok(flow.course != Course::Over));
    }
    if flow.bulk || flow.pipe.is_some() {
        return spliced(cx, from, to, flow).map_err(Ended::Broken);
    }
    if let Filter::Up(guarded) = filter
        && !guarded.held.is_empty()
    {
        let held = std::mem::take(&mut guarded.held);
        let n = guarded.guard.client(&held).map_err(|fault| guard_fault(from, fault))?;
        guarded.held = held[n..].to_vec();
        if n == 0 {
            // The server's answer wakes this task.
            return Poll::Pending;
        }
        if to.tell(&held[..n]).is_err() {
            flow.course = Course::Over;
        }
        return Poll::Ready(Ok(true));
    }
    let plain = from.is_plain() && to.is_plain();
    let mut fault = None;
    let got = from.poll_octets(cx, READ, |octets, out| {
        flow.octets += octets.len() as u64;
        flow.tail = octets.last().copied();
        match filter {
            Filter::None => to.say(octets, out),
            Filter::Down(guarded) => {
                guarded.guard.server(octets);
                to.say(octets, out)
            }
            Filter::Up(guarded) => match guarded.guard.client(octets) {
                Ok(n) => {
                    guarded.held = octets[n..].to_vec();
                    if n > 0 { to.say(&octets[..n], out) } else { Ok(()) }
                }
                Err(found) => {
                    fault = Some(found);
                    Ok(())
                }
            },
        }
    });
    match ready!(got).map_err(Ended::Broken)? {
        Got::Over => flow.course = Course::Ended,
        Got::Octets(said, n) => {
            if let Some(fault) = fault {
                return Poll::Ready(Err(guard_fault(from, fault)));
            }
            if said.is_err() {
                flow.course = Course::Over;
            } else if n >= BULK && plain && matches!(filter, Filter::None) {
                flow.bulk = true;
            }
        }
    }
    Poll::Ready(Ok(true))
}

fn guard_fault(client: &mut End, fault: crate::services::proxy::session::GuardFault) -> Ended {
    let _ = client.tell(fault.said().as_bytes());
    let _ = client.farewell();
    Ended::Guarded(fault.to_string())
}

/// The same through a pipe, which is given back whenever it is empty. Ends when little comes at once.
fn spliced(cx: &mut Context<'_>, from: &End, to: &End, flow: &mut Flow) -> Poll<io::Result<bool>> {
    let mut pipe = match flow.pipe.take() {
        Some(pipe) => pipe,
        None => {
            ready!(from.stream.poll_read_ready(cx))?;
            let Some(mut pipe) = Pipe::take() else {
                flow.bulk = false;
                return Poll::Ready(Ok(true));
            };
            match from.stream.try_io(Interest::READABLE, || pipe.fill(&from.stream)) {
                Ok(0) => {
                    pipe.give();
                    (flow.course, flow.bulk) = (Course::Ended, false);
                    return Poll::Ready(Ok(true));
                }
                Ok(n) => {
                    flow.octets += n as u64;
                    flow.tail = None;
                    flow.bulk = n >= LITTLE;
                    pipe
                }
                Err(e) if e.kind() == ErrorKind::WouldBlock => {
                    pipe.give();
                    return Poll::Ready(Ok(true));
                }
                Err(e) => return Poll::Ready(Err(e)),
            }
        }
    };
    loop {
        match to.stream.try_io(Interest::WRITABLE, || pipe.drain(&to.stream)) {
            Ok(_) if pipe.is_empty() => {
                pipe.give();
                return Poll::Ready(Ok(true));
            }
            Ok(_) => {}
            Err(e) if e.kind() == ErrorKind::WouldBlock => {
                if to.stream.poll_write_ready(cx)?.is_pending() {
                    flow.pipe = Some(pipe);
                    return Poll::Pending;
                }
            }
            Err(_) => {
                flow.course = Course::Over;
                return Poll::Ready(Ok(true));
            }
        }
    }
}
