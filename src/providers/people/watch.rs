//! How long a step that moves people waits for what is not there yet: as long as its run is patient, and no longer than it may go on.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::{Asked, People};

/// Between two looks; longer the longer it takes.
const PAUSE: [Duration; 2] = [Duration::from_millis(250), Duration::from_secs(10)];

/// Gates and service that were started a moment ago answer soon.
const SILENCE: Duration = Duration::from_secs(60);

/// How long a watcher hears nothing while nothing changes.
const TELL: Duration = Duration::from_secs(60);

pub struct Pace<'p> {
    people: &'p dyn People,
    began: Instant,
    patience: Duration,
    pause: Duration,
    told: (String, Instant),
}

/// Unix seconds.
pub fn now() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(now.as_secs()).unwrap_or(i64::MAX)
}

impl<'p> Pace<'p> {
    pub fn new(people: &'p dyn People, began: Instant, patience: Duration) -> Self {
        Self { people, began, patience, pause: PAUSE[0], told: (String::new(), began) }
    }

    /// Asks again while there is no answer, for a short while.
    pub async fn patiently<'a, V>(
        &mut self,
        ask: impl Fn() -> Asked<'a, V>,
        tell: impl Fn(String),
    ) -> Result<V, String> {
        let began = Instant::now();
        loop {
            let why = match ask().await {
                Ok(answer) => {
                    return Ok(answer);
                }
                Err(why) => why,
            };
            if began.elapsed() >= SILENCE.min(self.patience)
                || !self.wait(&format!("no answer, asked again: {why}"), &tell).await
            {
                return Err(why);
            }
        }
    }

    /// Sleeps a while; false when it has waited long enough, or the run is to end.
    pub async fn wait(&mut self, why: &str, tell: impl Fn(String)) -> bool {
        let open = self.pause;
        self.pause = (self.pause * 2).min(PAUSE[1]);
        self.sleep(open, why, tell).await
    }

    /// As [`Self::wait`], and no longer than this.
    pub async fn within(&mut self, most: Duration, why: &str, tell: impl Fn(String)) -> bool {
        let open = self.pause.min(most);
        self.pause = (self.pause * 2).min(PAUSE[1]);
        self.sleep(open, why, tell).await
    }

    /// Sleeps until then (Unix seconds) or until the next look is due; false when it has waited long enough, or the run is to end.
    pub async fn until(&mut self, open: i64, why: &str, tell: impl Fn(String)) -> bool {
        let left = Duration::from_secs(u64::try_from(open - now()).unwrap_or(0));
        if self.began.elapsed() + left > self.patience {
            return false;
        }
        self.sleep(left.min(PAUSE[1]), why, tell).await
    }

    async fn sleep(&mut self, pause: Duration, why: &str, tell: impl Fn(String)) -> bool {
        if self.told.0 != why || self.told.1.elapsed() >= TELL {
            tell(why.to_owned());
            self.told = (why.to_owned(), Instant::now());
        }
        let end = Instant::now() + pause;
        while Instant::now() < end {
            if self.people.stopping() || self.began.elapsed() >= self.patience {
                return false;
            }
            tokio::time::sleep(end.saturating_duration_since(Instant::now()).min(Duration::from_secs(1))).await;
        }
        true
    }
}
