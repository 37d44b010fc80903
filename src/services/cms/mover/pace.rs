//! How fast messages may go, of all mailboxes together. Who comes first goes first, one append at a time, so no mailbox starves another.

use std::sync::Mutex;
use std::time::Duration;

use tokio::time::Instant;

use crate::model::unit::parse_rate;
use crate::services::cms::config::Limits;

pub struct Pace {
    /// Seconds a message, seconds an octet.
    message: f64,
    octet: f64,
    next: Mutex<Instant>,
}

impl Pace {
    pub fn of(limits: &Limits) -> Self {
        let rate = limits.rate.as_deref().and_then(parse_rate).filter(|r| *r > 0);
        Self {
            message: limits.messages.filter(|m| *m > 0).map_or(0.0, |m| 1.0 / f64::from(m)),
            octet: rate.map_or(0.0, |bits| 8.0 / bits as f64),
            next: Mutex::new(Instant::now()),
        }
    }

    /// Waits until so much may go.
    pub async fn wait(&self, messages: usize, octets: u64) {
        if let Some(at) = self.claim(messages, octets, Instant::now()) {
            tokio::time::sleep_until(at).await;
        }
    }

    fn claim(&self, messages: usize, octets: u64, now: Instant) -> Option<Instant> {
        let cost = (self.message * messages as f64).max(self.octet * octets as f64);
        if cost <= 0.0 {
            return None;
        }
        let mut next = self.next.lock().unwrap_or_else(|e| e.into_inner());
        let at = (*next).max(now);
        *next = at + Duration::from_secs_f64(cost.min(3600.0));
        Some(at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_slower_limit_counts() {
        let limits = Limits { messages: Some(10), rate: Some("8kbit/s".into()), ..Limits::default() };
        let (pace, now) = (Pace::of(&limits), Instant::now() + Duration::from_secs(1));
        let at: Vec<u64> = (0..3).filter_map(|_| Some((pace.claim(10, 2000, now)? - now).as_secs())).collect();
        assert_eq!(at, [0, 2, 4], "2000 octets at 1000 a second");
        assert_eq!(Pace::of(&Limits::default()).claim(10, 2000, now), None);
    }
}
