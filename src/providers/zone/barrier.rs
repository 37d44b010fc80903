//! Asks every address of every name server of a zone until all of them serve what is wanted. A server that does not answer does
//! not serve it: silence is never taken for yes.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use futures_util::StreamExt as _;
use futures_util::stream;
use tokio::sync::mpsc::UnboundedSender;

use crate::catalog::barrier::{self, Barrier};
use crate::model::dns::{NameServer, RecordSet};
use crate::model::host::{HostAccess, HostError, ZoneAccess};
use crate::model::step::{Outcome, Step};
use crate::transport::Transport;

use super::super::agent::{Batch, StepReport};
use super::ledger::{Entries, Former, Ledger, Taken};
use super::places::{Place, places, serves};

/// Between two rounds of questions; longer the longer it takes.
const PAUSE: [Duration; 2] = [Duration::from_millis(250), Duration::from_secs(10)];

/// Rounds in a row in which all have to serve it, and the pause between them. One address may stand for several machines that
/// answer in turn, and a server may go back to what it has on its disk: one good answer is not yet a server that follows.
const SURE: (u32, Duration) = (12, Duration::from_millis(60));

/// Carries out a barrier: its begin and its moment stand in the ledger, so that neither a lost answer nor a crash makes it wait anew.
pub async fn run<T: Transport>(
    ledger: &Ledger<'_, T>,
    lane: &HostAccess,
    zone: &ZoneAccess,
    batch: &Batch,
    step: &Step,
    reports: &UnboundedSender<StepReport>,
) -> Result<(), HostError> {
    let ended = |outcome| drop(reports.send(StepReport::Ended(step.id, outcome)));
    let Some(wanted) = barrier::of_attrs(&step.attrs) else {
        ended(Outcome::Failed { code: 1, output: "the step says nothing that a server could serve".into() });
        return Ok(());
    };
    let mut begun = Entries::default();
    begun.begun(step.id, &Former::default());
    if let Taken::Fenced(token) = ledger.begin(&batch.apply, batch.token, begun).await? {
        ended(Outcome::Fenced { token });
        return Ok(());
    }
    drop(reports.send(StepReport::Started(step.id)));
    let tell = |text: String| drop(reports.send(StepReport::Told(step.id, text)));
    match watch(lane, zone, &wanted, tell).await {
        Err(lagging) => ended(Outcome::Failed { code: 1, output: lagging }),
        Ok(moment) => {
            let outcome = Outcome::Done { fingerprint: Some(barrier::served(moment)) };
            let mut end = Entries::default();
            end.ended(step.id, &outcome);
            ledger.end(&batch.apply, end).await?;
            ended(outcome);
        }
    }
    Ok(())
}

/// When all were seen to serve it (Unix seconds, rounded up), or who does not.
async fn watch(lane: &HostAccess, zone: &ZoneAccess, wanted: &Barrier, tell: impl Fn(String)) -> Result<i64, String> {
    let began = Instant::now();
    let mut pause = PAUSE[0];
    let mut told = String::new();
    let mut good = 0;
    loop {
        let lagging = round(lane, zone, wanted).await;
        if lagging.is_empty() {
            good += 1;
            if good < SURE.0 {
                tokio::time::sleep(SURE.1).await;
                continue;
            }
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            return Ok(i64::try_from(now.as_secs()).unwrap_or(i64::MAX - 1) + 1);
        }
        good = 0;
        let text = lagging.join("; ");
        if began.elapsed() >= Duration::from_secs(wanted.timeout) {
            return Err(format!(
                "not every name server serves it after {} s: {text}. Mend the server, then go on with `cutover resume`",
                wanted.timeout
            ));
        }
        if text != told {
            tell(format!("waits for {text}"));
            told = text;
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(PAUSE[1]);
    }
}

/// Asks everybody once; who does not serve it, and what instead.
async fn round(lane: &HostAccess, zone: &ZoneAccess, wanted: &Barrier) -> Vec<String> {
    let named = wanted.servers.iter().map(|line| {
        let mut words = line.split(' ');
        let name = words.next().unwrap_or_default().to_owned();
        NameServer { name, addresses: words.filter_map(|w| w.parse().ok()).collect() }
    });
    let (places, mut lagging) = places(zone.servers.iter().cloned().chain(named), lane.port).await;
    let mut asked: Vec<(Place, RecordSet)> = Vec::new();
    for place in &places {
        asked.extend(wanted.sets.iter().map(|set| (place.clone(), set.clone())));
    }
    let answer = |(place, set): (Place, RecordSet)| async move {
        let said = serves(&place, &set.key, Some(&set)).await;
        (place, set, said)
    };
    let mut answers = stream::iter(asked).map(answer).buffered(16);
    let mut of = Vec::new();
    while let Some((place, set, said)) = answers.next().await {
        if let Err(instead) = said {
            of.push(format!("{place} {}: {instead}", set.key));
        }
    }
    lagging.extend(of);
    lagging
}
