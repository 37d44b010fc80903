//! Time, handed in: the system's, or one that a simulation moves by hand.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Now, and waiting.
pub trait Clock: Send + Sync + 'static {
    /// Unix milliseconds.
    fn now(&self) -> i64;

    fn sleep(&self, time: Duration) -> impl Future<Output = ()> + Send;
}

/// The machine's clock; waits on tokio's timers.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> i64 {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
    }

    fn sleep(&self, time: Duration) -> impl Future<Output = ()> + Send {
        tokio::time::sleep(time)
    }
}

/// A clock that stands until [`ManualClock::run`] finds that nothing else can go on; then it jumps to the next timer.
#[derive(Debug, Clone, Default)]
pub struct ManualClock(Arc<Mutex<Timers>>);

#[derive(Debug, Default)]
struct Timers {
    now: i64,
    next: u64,
    waiting: BTreeMap<(i64, u64), Waker>,
}

impl ManualClock {
    /// Starts at `now` (Unix milliseconds).
    pub fn at(now: i64) -> Self {
        Self(Arc::new(Mutex::new(Timers { now, ..Timers::default() })))
    }

    fn timers(&self) -> MutexGuard<'_, Timers> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Moves time on and wakes whoever is due.
    pub fn advance(&self, time: Duration) {
        let now = self.timers().now + i64::try_from(time.as_millis()).unwrap_or(i64::MAX);
        self.jump(now);
    }

    fn jump(&self, to: i64) {
        let mut timers = self.timers();
        timers.now = timers.now.max(to);
        let from = (timers.now + 1, 0);
        let later = timers.waiting.split_off(&from);
        let due = std::mem::replace(&mut timers.waiting, later);
        drop(timers);
        due.into_values().for_each(Waker::wake);
    }

    /// Drives a future on this thread, jumping to the next timer whenever it can do nothing else. `None` when `stop` says so (a
    /// simulated `kill -9`: the future is dropped where it stands) or when it waits for something that never comes.
    pub fn run<T>(&self, future: impl Future<Output = T>, stop: impl Fn() -> bool) -> Option<T> {
        struct Flag(AtomicBool);
        impl Wake for Flag {
            fn wake(self: Arc<Self>) {
                self.0.store(true, Ordering::Release);
            }
        }
        let flag = Arc::new(Flag(AtomicBool::new(true)));
        let waker = Waker::from(Arc::clone(&flag));
        let mut future = pin!(future);
        loop {
            if flag.0.swap(false, Ordering::AcqRel) {
                if let Poll::Ready(value) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
                    return Some(value);
                }
                if stop() {
                    return None;
                }
                continue;
            }
            let next = self.timers().waiting.first_key_value().map(|((at, _), _)| *at);
            self.jump(next?);
        }
    }
}

/// Waits for a time of a [`ManualClock`].
struct Alarm {
    clock: ManualClock,
    at: i64,
    key: Option<(i64, u64)>,
}

impl Future for Alarm {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let clock = self.clock.clone();
        let mut timers = clock.timers();
        if timers.now >= self.at {
            return Poll::Ready(());
        }
        let key = *self.key.get_or_insert_with(|| {
            timers.next += 1;
            (0, timers.next)
        });
        timers.waiting.insert((self.at, key.1), context.waker().clone());
        Poll::Pending
    }
}

impl Drop for Alarm {
    fn drop(&mut self) {
        if let Some((_, n)) = self.key {
            self.clock.timers().waiting.remove(&(self.at, n));
        }
    }
}

impl Clock for ManualClock {
    fn now(&self) -> i64 {
        self.timers().now
    }

    fn sleep(&self, time: Duration) -> impl Future<Output = ()> + Send {
        let at = self.now() + i64::try_from(time.as_millis()).unwrap_or(i64::MAX);
        Alarm { clock: self.clone(), at, key: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_jumps_to_the_next_timer_and_no_further() {
        let clock = ManualClock::at(1_000);
        let seen = clock.run(
            async {
                clock.sleep(Duration::from_secs(5)).await;
                let first = clock.now();
                clock.sleep(Duration::from_millis(1)).await;
                (first, clock.now())
            },
            || false,
        );
        assert_eq!(seen, Some((6_000, 6_001)));
    }

    #[test]
    fn a_future_that_nobody_wakes_ends() {
        assert_eq!(ManualClock::default().run(std::future::pending::<()>(), || false), None);
    }
}
