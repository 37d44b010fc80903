//! A session of each side, with the places that they take at the servers.

use tokio::sync::OwnedSemaphorePermit;

use super::Mover;
use crate::services::cms::ledger::Way;
use crate::services::cms::mailbox::{Class, Fault};
use crate::services::cms::source::Source;
use crate::services::cms::target::Target;

pub(super) struct Lane {
    pub source: Source,
    pub target: Target,
    _places: [OwnedSemaphorePermit; 2],
}

impl Mover {
    /// Opens a mailbox at both ends. `waits` for places at the servers, or gives nothing when none is free.
    ///
    /// Places are taken in the order of the configuration, whichever way the pass goes, so that no two movers wait for each other.
    pub(super) async fn lane(&self, user: &str, way: Way, waits: bool) -> Result<Option<Lane>, Fault> {
        let stops = || Fault::new(Class::Local, "the service stops");
        let mut places = Vec::with_capacity(2);
        for place in &self.sessions {
            places.push(match waits {
                true => place.clone().acquire_owned().await.map_err(|_| stops())?,
                false => match place.clone().try_acquire_owned() {
                    Ok(permit) => permit,
                    Err(_) => return Ok(None),
                },
            });
        }
        let Ok(places) = <[OwnedSemaphorePermit; 2]>::try_from(places) else { return Err(stops()) };
        let (from, to) = match way {
            Way::Forward => (&self.config.source, &self.config.target),
            Way::Back => (&self.config.target, &self.config.source),
        };
        let read = self.people.access(&self.config, &self.passwords, user, way, true)?;
        let written = self.people.access(&self.config, &self.passwords, user, way, false)?;
        let (source, target) =
            tokio::try_join!(async { Source::connect(from, &read).await.map_err(|f| side(f, way.from())) }, async {
                Target::connect(to, &written).await.map_err(|f| side(f, way.to()))
            },)?;
        Ok(Some(Lane { source, target, _places: places }))
    }
}

impl Lane {
    pub async fn close(self) {
        tokio::join!(self.source.close(), self.target.close());
    }
}

/// Says of which side a fault is.
pub(super) fn side(mut fault: Fault, side: &str) -> Fault {
    fault.what = format!("{side} side: {}", fault.what);
    fault
}
