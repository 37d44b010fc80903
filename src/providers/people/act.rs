//! A step of a window beside the move of its people: asked again until it is so, for no longer than it may take.

use std::time::Duration;

use super::lane::{Ended, Lane, Walk, failed};
use super::watch::now;
use crate::catalog::barrier;
use crate::model::Attr;
use crate::model::act::{Doing, OnTimeout};
use crate::model::host::HostError;
use crate::model::step::Outcome;
use crate::providers::zone::ledger::{Entries, Former, Taken};
use crate::transport::Transport;

/// How much longer what is being asked may take when the time of its step is over: as long as a mail server has for a message. What is
/// cut off in the middle is in doubt, and a message in doubt is not sent again.
const ENDING: Duration = Duration::from_secs(60);

impl<T: Transport> Lane<'_, T> {
    pub(super) async fn act(&self, walk: &Walk<'_>) -> Result<Ended, HostError> {
        let attrs = &walk.step.attrs;
        let (Some(what), Some(asked)) = (Doing::of(&walk.step.address), barrier::of_attrs(attrs)) else {
            return Ok(failed("the step does not say what it waits for"));
        };
        let on_timeout = OnTimeout::parse(attrs.get("on-timeout").and_then(Attr::as_text).unwrap_or_default());
        let mut begun = Entries::default();
        begun.begun(walk.step.id, &Former::default());
        if let Taken::Fenced(token) = self.ledger.begin(&walk.batch.apply, walk.batch.token, begun).await? {
            return Ok(Ended::With(Outcome::Fenced { token }));
        }
        let (name, most) = (what.as_str(), Duration::from_secs(asked.timeout));
        let tell = |text: String| walk.tell(text);
        let mut pace = walk.pace(self.people);
        let mut last = "no answer".to_owned();
        loop {
            let left = most.saturating_sub(walk.began.elapsed());
            let lacks =
                match tokio::time::timeout(left + ENDING, self.people.act(self.cohort, what, left + ENDING / 2, &tell))
                    .await
                {
                    Ok(Ok(lacks)) if lacks.is_empty() => break,
                    Ok(Ok(lacks)) => lacks.join("; "),
                    // Could not ask is never yes.
                    Ok(Err(why)) => why,
                    Err(_) => last,
                };
            last = lacks.clone();
            if walk.began.elapsed() >= most {
                let over = format!("{name} is not done after {} s: {lacks}", asked.timeout);
                if on_timeout == OnTimeout::Continue {
                    walk.tell(format!("{over}. What comes next goes on (on-timeout=continue)"));
                    break;
                }
                return Ok(failed(format!("{over}. Mend it, then go on with `cutover resume`")));
            }
            let most = most.saturating_sub(walk.began.elapsed());
            if !pace.within(most, &format!("{name}: {lacks}"), tell).await {
                return Ok(Ended::Later(format!("{name}: {lacks}")));
            }
        }
        Ok(Ended::With(Outcome::Done { fingerprint: Some(barrier::served(now())) }))
    }
}
