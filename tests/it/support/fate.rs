//! A plant whose parts fail and are repaired, event by event: a second opinion on forecasts of availability. It shares no code with
//! them; it knows servers with clocks, not probabilities.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use crate::dice::Dice;

/// Something that stands or is down, for times drawn from an exponential distribution.
#[derive(Clone, Copy)]
pub struct Part {
    /// Mean hours.
    pub up: f64,
    pub down: f64,
}

impl Part {
    /// Down for this share of time, for so many hours each time.
    pub fn down_for(share: f64, hours: f64) -> Self {
        Self { up: if share > 0.0 { hours * (1.0 - share) / share } else { f64::INFINITY }, down: hours }
    }
}

/// A server: it works while all these parts stand (its own, its site, causes that it shares with others).
pub struct Server {
    pub parts: Vec<usize>,
}

/// Servers of which enough have to work.
pub struct Tier {
    pub serving: Vec<usize>,
    pub needs: usize,
    /// Who votes, and how many votes there have to be.
    pub voters: Vec<usize>,
    pub votes: usize,
    /// Hours that users wait when the server that serves them fails, while another one works.
    pub failover: f64,
}

pub struct Plant {
    pub parts: Vec<Part>,
    pub servers: Vec<Server>,
    pub tiers: Vec<Tier>,
}

/// Mean share of time in which all tiers served, and its standard error.
pub struct Seen {
    pub mean: f64,
    pub error: f64,
}

/// Lets so many hours pass, in batches that tell how sure the mean is.
pub fn watch(plant: &Plant, hours: f64, dice: &mut Dice) -> Seen {
    const BATCHES: usize = 40;
    let mut draw = |mean: f64| -mean * (((dice.next() >> 11) as f64 + 1.0) / (1u64 << 53) as f64).ln();
    let mut stands = vec![true; plant.parts.len()];
    // Microseconds, so that events have an order.
    let tick = |hours: f64| (hours * 3.6e9) as u64;
    let mut events = BinaryHeap::new();
    for (i, part) in plant.parts.iter().enumerate().filter(|(_, p)| p.up.is_finite()) {
        events.push(Reverse((tick(draw(part.up)), i)));
    }
    let works = |stands: &[bool], server: usize| plant.servers[server].parts.iter().all(|p| stands[*p]);
    // Who serves our user, by tier, and until when they wait.
    let mut with: Vec<usize> = plant.tiers.iter().map(|t| t.serving[0]).collect();
    let mut waits = vec![0u64; plant.tiers.len()];
    let (end, batch) = (tick(hours), tick(hours) / BATCHES as u64);
    let mut served = vec![0u64; BATCHES + 1];
    let mut now = 0u64;
    while let Some(Reverse((at, part))) = events.pop() {
        let until = at.min(end);
        // From now on nothing changes but waits that end.
        let good = plant.tiers.iter().all(|t| {
            t.serving.iter().filter(|s| works(&stands, **s)).count() >= t.needs
                && t.voters.iter().filter(|s| works(&stands, **s)).count() >= t.votes
        });
        if good {
            let mut from = now.max(waits.iter().copied().max().unwrap_or(0)).min(until);
            while from < until {
                let slot = (from / batch) as usize;
                let to = until.min((slot as u64 + 1) * batch);
                served[slot.min(BATCHES)] += to - from;
                from = to;
            }
        }
        if at >= end {
            break;
        }
        now = at;
        stands[part] = !stands[part];
        let mean = if stands[part] { plant.parts[part].up } else { plant.parts[part].down };
        events.push(Reverse((at + tick(draw(mean)).max(1), part)));
        for (i, tier) in plant.tiers.iter().enumerate() {
            if works(&stands, with[i]) {
                continue;
            }
            let others: Vec<usize> = tier.serving.iter().copied().filter(|s| works(&stands, *s)).collect();
            if let Some(next) = others.get((at % others.len().max(1) as u64) as usize) {
                with[i] = *next;
                waits[i] = at + tick(tier.failover);
            }
        }
    }
    let shares: Vec<f64> = served[..BATCHES].iter().map(|s| *s as f64 / batch as f64).collect();
    let mean = shares.iter().sum::<f64>() / BATCHES as f64;
    let spread = shares.iter().map(|s| (s - mean).powi(2)).sum::<f64>() / (BATCHES - 1) as f64;
    Seen { mean, error: (spread / BATCHES as f64).sqrt() }
}
