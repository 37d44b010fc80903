//! Asks all hosts side by side.

use std::collections::BTreeSet;

use futures_util::StreamExt as _;
use futures_util::stream;

use crate::model::HostName;
use crate::model::host::{HostAccess, HostError};
use crate::model::observed::{Observation, Observed};
use crate::model::site::Site;
use crate::providers::agent::{Agent, ObserveRequest};

/// Observes every host of the site, or `only` some, `parallel` at a time, one round trip each. `progress` hears of each answer and each failure.
/// A host that could not be asked stands in `failed`; nothing of it is taken for absent.
pub async fn observe_all<A: Agent>(
    agent: &A,
    site: &Site,
    only: Option<&BTreeSet<HostName>>,
    state_key: &str,
    parallel: usize,
    mut progress: impl FnMut(&HostName, Result<&Observation, &HostError>),
) -> Observed {
    let ask = |(name, access)| async move {
        let request = ObserveRequest { organization: &site.organization, state_key, resources: site.of_host(name) };
        (name, agent.observe(access, request).await)
    };
    let meant = |(name, _): &(&HostName, &HostAccess)| only.is_none_or(|o| o.contains(*name));
    let mut answers = stream::iter(site.hosts.iter().filter(meant).map(ask)).buffer_unordered(parallel.max(1));
    let mut observed = Observed::default();
    while let Some((name, answer)) = answers.next().await {
        progress(name, answer.as_ref());
        match answer {
            Ok(observation) => {
                observed.hosts.insert(name.clone(), observation);
            }
            Err(error) => observed.failed.push(error),
        }
    }
    observed.failed.sort_by(|a, b| a.host.cmp(&b.host));
    observed
}
