//! `/metrics` and `/health`.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::net::TcpListener;

use super::Service;
use crate::services::accept::{Page, pages};
use crate::services::cms::queue::Queue;

pub async fn serve<Q: Queue>(service: Arc<Service<Q>>, listener: TcpListener) {
    let page = move |page| {
        let service = service.clone();
        async move {
            match page {
                Page::Metrics => ("200 OK", text(&service).await),
                Page::Health => ("200 OK", "moving\n".to_owned()),
            }
        }
    };
    pages(listener, page).await;
}

async fn text<Q: Queue>(service: &Service<Q>) -> String {
    let ledger = &service.mover.ledger;
    let mut phases: BTreeMap<String, u64> = BTreeMap::new();
    for (_, phase, _) in ledger.phases(None).await.unwrap_or_default() {
        *phases.entry(phase.as_str().to_owned()).or_default() += 1;
    }
    let exceptions = ledger.exception_count().await.unwrap_or_default();
    let waiting = service.queue.waiting();
    service.mover.meter.text(&phases)
        + &format!(
            "# HELP cutover_cms_exceptions What could not be carried over.\n# TYPE cutover_cms_exceptions gauge\n\
             cutover_cms_exceptions {exceptions}\n# HELP cutover_cms_waiting Passes that wait.\n\
             # TYPE cutover_cms_waiting gauge\ncutover_cms_waiting {waiting}\n"
        )
}
