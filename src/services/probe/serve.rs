//! The service: each probe at each target every so often, for ever.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::time::MissedTickBehavior;
use zeroize::Zeroizing;

use super::config::{Config, Kept};
use super::meter::Meter;
use super::roundtrip::{Ended, Trip};
use super::{Came, ask, certificate};
use crate::model::trigger::{Probe, Target, Transaction};
use crate::services::accept::{Page, pages};

/// Most letters of one probe to one target that are under way: each of them is a look into the mailbox every few seconds.
const MOST: u64 = 40;

/// Serves until the process is ended.
pub fn run(config: Config) -> Result<(), Vec<String>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|e| vec![format!("no runtime: {e}")])?;
    runtime.block_on(serve(config))
}

/// The name of a target in figures: the host's where it is one of the topology; with the port where one host has several.
fn name_of(probe: &Probe, target: &Target) -> String {
    let name = target.host.as_ref().map_or(target.name.as_str(), |h| h.0.as_str());
    match probe.what {
        Transaction::Tls => format!("{name}:{}", target.port),
        Transaction::Dns => format!("{name}@{}", target.address),
        _ => name.to_owned(),
    }
}

async fn serve(config: Config) -> Result<(), Vec<String>> {
    let listener = TcpListener::bind(config.listen).await;
    let listener = listener.map_err(|e| vec![format!("listen: {}: {e}", config.listen)])?;
    let config = Arc::new(config);
    let all =
        config.probes.iter().flat_map(|k| k.probe.targets.iter().map(|t| (k.probe.name.clone(), name_of(&k.probe, t))));
    let meter = Arc::new(Meter::new(&config.bounds, all));
    for (at, kept) in config.probes.iter().enumerate() {
        for target in 0..kept.probe.targets.len() {
            tokio::spawn(again(config.clone(), meter.clone(), at, target));
        }
    }
    pages(listener, move |page| {
        let text = match page {
            Page::Metrics => meter.text(),
            Page::Health => "well\n".to_owned(),
        };
        async move { ("200 OK", text) }
    })
    .await;
    Ok(())
}

/// Begins attempts. Letters are under way side by side: one that waits for the one before would say nothing while mail stands. Of all else
/// the next waits for the one before, so that a server that is slow is not pressed harder.
async fn again(config: Arc<Config>, meter: Arc<Meter>, at: usize, target: usize) {
    let probe = &config.probes[at].probe;
    let every = probe.every.max(1);
    let most = match probe.what {
        Transaction::Roundtrip => (patience(probe).as_secs() / every + 2).min(MOST),
        _ => 1,
    };
    let places = Arc::new(Semaphore::new(usize::try_from(most).unwrap_or(1)));
    let mut turns = tokio::time::interval(Duration::from_secs(every));
    turns.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let Ok(place) = places.clone().acquire_owned().await else { return };
        turns.tick().await;
        let (config, meter) = (config.clone(), meter.clone());
        tokio::spawn(async move {
            one(&config, &meter, at, target).await;
            drop(place);
        });
    }
}

/// How long a letter is looked for: longer than wanted, so that what is late is told apart from what never came.
fn patience(probe: &Probe) -> Duration {
    2 * Duration::from_millis(probe.within.unwrap_or(90_000))
}

async fn one(config: &Config, meter: &Meter, at: usize, target: usize) {
    let kept = &config.probes[at];
    let (probe, target) = (&kept.probe, &kept.probe.targets[target]);
    let name = name_of(probe, target);
    let began = Instant::now();
    meter.begins(&probe.name, &name);
    let (result, why) = attempt(config, kept, target).await;
    match result {
        Some(result) => meter.ended(&probe.name, &name, result, began.elapsed()),
        None => meter.unasked(&probe.name, &name),
    }
    if let Some(why) = why {
        tracing::warn!("probe {} at {name}: {}: {why}", probe.name, result.unwrap_or("not asked"));
    }
    // Whoever signed it: that one has ended is told, too.
    if probe.what == Transaction::Tls
        && let Ok(Ok(ends)) =
            tokio::time::timeout(Duration::from_millis(probe.timeout.max(1)), certificate(target)).await
    {
        meter.certificate(&probe.name, &name, ends);
    }
}

/// What an attempt came to, by its name in figures; none where it could not be made. And why.
async fn attempt(config: &Config, kept: &Kept, target: &Target) -> (Option<&'static str>, Option<String>) {
    let probe = &kept.probe;
    // Read each time: a password that was changed is taken without a word.
    let password = match kept.password.as_deref().map(read_password).transpose() {
        Ok(password) => password,
        Err(why) => return (None, Some(why)),
    };
    let password = password.as_ref().map(|p| p.as_slice());
    let timeout = Duration::from_millis(probe.timeout.max(1));
    if let (Transaction::Roundtrip, Some(account), Some(read)) = (probe.what, &probe.account, &kept.read) {
        let mark = format!("{}/{}/{}", config.from, probe.name, name_of(probe, target));
        let trip = Trip {
            account,
            password: password.unwrap_or_default(),
            send: target,
            read,
            ca: config.ca.as_deref(),
            timeout,
            patience: patience(probe),
            mark: &mark,
        };
        return match trip.make().await {
            Ended::Arrived => (Some("ok"), None),
            Ended::CannotSend(why) => (Some("cannot-send"), Some(why)),
            Ended::NotArrived => {
                (Some("not-arrived"), Some(format!("not there after {} s", patience(probe).as_secs())))
            }
            Ended::CannotRead(why) => (Some("cannot-read"), Some(why)),
            Ended::NotAsked(why) => (None, Some(why)),
        };
    }
    match tokio::time::timeout(timeout, ask(probe, target, password, config.ca.as_deref())).await {
        Ok(Came::Well) => (Some("ok"), None),
        Ok(Came::Bad(why)) => (Some("failed"), Some(why)),
        Ok(Came::NotAsked(why)) => (None, Some(why)),
        Err(_) => (Some("failed"), Some(format!("no answer in {} ms", probe.timeout))),
    }
}

fn read_password(path: &Path) -> Result<Zeroizing<Vec<u8>>, String> {
    let mut octets = std::fs::read(path).map(Zeroizing::new).map_err(|e| format!("{}: {e}", path.display()))?;
    while octets.last().is_some_and(|b| [b'\n', b'\r'].contains(b)) {
        octets.pop();
    }
    Ok(octets)
}
