//! Where this run reads secrets, from the topology's `vault` nodes and the environment.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::failure::Failure;
use crate::model::attr::SecretRef;
use crate::model::topology::Topology;
use crate::secret::{Resolve as _, Resolver, Settings, StateKey, Vault};
use crate::transport::{Reading, SecretReader};

/// The resolver of a topology.
pub fn resolver(root: &Path, topology: &Topology) -> Resolver {
    let mut settings = Settings::new(root);
    settings.age_identity = std::env::var_os("CUTOVER_AGE_IDENTITY").filter(|v| !v.is_empty()).map(Into::into);
    settings.vaults = vaults(topology);
    settings.programs = std::env::current_exe().ok().and_then(|exe| Some(exe.parent()?.to_owned()));
    Resolver::new(settings)
}

/// The vaults that the topology names.
pub fn vaults(topology: &Topology) -> Vec<Vault> {
    topology
        .all("vault")
        .filter_map(|node| {
            Some(Vault {
                name: node.id.name.to_string(),
                url: node.text("url")?.to_owned(),
                mount: node.text("mount").unwrap_or("secret").to_owned(),
                token: node.secret("token")?.clone(),
                ca: node.text("ca").map(str::to_owned),
            })
        })
        .collect()
}

/// The state key, from `CUTOVER_STATE_KEY` or the state folder.
pub fn state_key(state_dir: &Path) -> Result<StateKey, Failure> {
    let given = std::env::var("CUTOVER_STATE_KEY").ok().filter(|v| !v.is_empty());
    Ok(StateKey::load(state_dir, given)?)
}

/// What connections need: keys that lie in a file are named to ssh, others are read.
pub struct ForConnections {
    pub resolver: Arc<Resolver>,
    pub root: PathBuf,
}

impl SecretReader for ForConnections {
    fn read<'a>(&'a self, secret: &'a SecretRef) -> Reading<'a> {
        Box::pin(async move {
            self.resolver.bytes(secret).await.map_err(|e| match e.help {
                Some(help) => format!("secret {secret}: {} ({help})", e.message),
                None => format!("secret {secret}: {}", e.message),
            })
        })
    }

    fn path(&self, secret: &SecretRef) -> Option<PathBuf> {
        match secret.parts() {
            ("file", path) => Some(self.root.join(path)),
            _ => None,
        }
    }
}
