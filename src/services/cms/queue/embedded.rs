//! The queue of a host alone, in memory.

use std::collections::HashSet;
use std::sync::{Mutex, MutexGuard};
use std::time::Instant;

use tokio::sync::Notify;

use super::{Queue, Task};
use crate::services::cms::mover::Pass;

#[derive(Default)]
pub struct Embedded {
    inner: Mutex<Inner>,
    changed: Notify,
}

#[derive(Default)]
struct Inner {
    waiting: Vec<(u64, Task)>,
    out: HashSet<String>,
    count: u64,
}

impl Inner {
    /// The next task that is due, or when to look again.
    fn take(&mut self, now: Instant) -> Result<Task, Option<Instant>> {
        let free = self.waiting.iter().enumerate().filter(|(_, (_, t))| !self.out.contains(&t.user));
        let due = free.clone().filter(|(_, (_, t))| t.due <= now);
        match due.min_by_key(|(_, (n, t))| (t.urgency, t.due, *n)).map(|(at, _)| at) {
            Some(at) => {
                let (_, task) = self.waiting.swap_remove(at);
                self.out.insert(task.user.clone());
                Ok(task)
            }
            None => Err(free.map(|(_, (_, t))| t.due).min()),
        }
    }
}

impl Embedded {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(|e| e.into_inner())
    }
}

impl Queue for Embedded {
    fn put(&self, task: Task) {
        let mut inner = self.inner();
        match inner.waiting.iter_mut().find(|(_, t)| t.user == task.user && t.pass == task.pass) {
            Some((_, t)) => {
                t.due = t.due.min(task.due);
                t.urgency = t.urgency.min(task.urgency);
            }
            None => {
                inner.count += 1;
                let n = inner.count;
                inner.waiting.push((n, task));
            }
        }
        drop(inner);
        self.changed.notify_waiters();
        self.changed.notify_one();
    }

    async fn next(&self) -> Task {
        loop {
            let changed = self.changed.notified();
            let taken = self.inner().take(Instant::now());
            match taken {
                Ok(task) => return task,
                Err(Some(due)) => drop(tokio::time::timeout_at(due.into(), changed).await),
                Err(None) => changed.await,
            }
        }
    }

    fn done(&self, user: &str) {
        self.inner().out.remove(user);
        self.changed.notify_waiters();
        self.changed.notify_one();
    }

    fn forget(&self, user: &str, pass: Pass) {
        self.inner().waiting.retain(|(_, t)| t.user != user || t.pass != pass);
    }

    fn waiting(&self) -> usize {
        self.inner().waiting.len()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::Urgency;
    use super::*;

    #[tokio::test]
    async fn who_is_asked_for_comes_first_then_who_works_then_who_waits_longest_and_each_once() {
        let queue = Embedded::default();
        let now = Instant::now();
        let task = |user: &str, pass, urgency, late| Task {
            user: user.into(),
            pass,
            urgency,
            due: now + Duration::from_millis(late),
        };
        queue.put(task("ann", Pass::Delta, Urgency::Usual, 0));
        queue.put(task("bob", Pass::Delta, Urgency::Usual, 0));
        queue.put(task("cyd", Pass::Delta, Urgency::Usual, 30));
        queue.put(task("bob", Pass::Delta, Urgency::LoggedIn, 0));
        queue.put(task("ann", Pass::Final, Urgency::Asked, 0));
        let mut order = Vec::new();
        for _ in 0..3 {
            let task = queue.next().await;
            order.push((task.user.clone(), task.pass));
        }
        assert_eq!(order[..2], [("ann".into(), Pass::Final), ("bob".into(), Pass::Delta)]);
        assert_eq!(order[2].0, "cyd", "ann is out, so that her other pass waits");
        queue.done("ann");
        assert_eq!(queue.next().await.user, "ann");
        assert_eq!(queue.waiting(), 0);
        queue.put(task("eve", Pass::Final, Urgency::Asked, 0));
        queue.put(task("eve", Pass::Delta, Urgency::Usual, 0));
        queue.forget("eve", Pass::Final);
        assert_eq!(
            (queue.waiting(), queue.next().await.pass),
            (1, Pass::Delta),
            "only what was asked for is taken out"
        );
    }
}
