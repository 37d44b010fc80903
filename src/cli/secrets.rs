//! Where this run reads secrets, from the topology's `vault` nodes and the environment.

use std::path::Path;

use super::failure::Failure;
use crate::model::topology::Topology;
use crate::secret::{Resolver, Settings, StateKey, Vault};

/// The resolver of a topology.
pub fn resolver(root: &Path, topology: &Topology) -> Resolver {
    let mut settings = Settings::new(root);
    settings.age_identity = std::env::var_os("CUTOVER_AGE_IDENTITY").filter(|v| !v.is_empty()).map(Into::into);
    settings.vaults = topology
        .all("vault")
        .filter_map(|node| {
            Some(Vault {
                name: node.id.name.clone(),
                url: node.text("url")?.to_owned(),
                mount: node.text("mount").unwrap_or("secret").to_owned(),
                token: node.secret("token")?.clone(),
                ca: node.text("ca").map(str::to_owned),
            })
        })
        .collect();
    Resolver::new(settings)
}

/// The state key, from `CUTOVER_STATE_KEY` or the state folder.
pub fn state_key(state_dir: &Path) -> Result<StateKey, Failure> {
    let given = std::env::var("CUTOVER_STATE_KEY").ok().filter(|v| !v.is_empty());
    Ok(StateKey::load(state_dir, given)?)
}
