//! What the service is told by a file: which probes, and where it answers Prometheus.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::model::trigger::{Probe, Target, Transaction};

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Where `/metrics` and `/health` are answered, by plain HTTP.
    pub listen: SocketAddr,
    /// The host that this is, for the marks of letters.
    pub from: String,
    /// PEM, beside the authorities of the system.
    pub ca: Option<PathBuf>,
    /// Seconds: the upper bounds of the histogram, rising.
    pub bounds: Vec<f64>,
    pub probes: Vec<Kept>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Kept {
    pub probe: Probe,
    /// File of the password of the probe's account.
    pub password: Option<PathBuf>,
    /// Where the mailbox of a round trip is read.
    pub read: Option<Target>,
}

impl Config {
    /// All that is wrong with it.
    pub fn read(path: &Path) -> Result<Self, Vec<String>> {
        let text =
            std::fs::read_to_string(path).map_err(|e| vec![format!("{} cannot be read: {e}", path.display())])?;
        let config: Self = serde_json::from_str(&text).map_err(|e| vec![format!("{}: {e}", path.display())])?;
        let faults = config.faults();
        if faults.is_empty() { Ok(config) } else { Err(faults) }
    }

    fn faults(&self) -> Vec<String> {
        let mut out = Vec::new();
        if !self.bounds.is_sorted() || self.bounds.iter().any(|b| !b.is_finite() || *b <= 0.0) {
            out.push("bounds: they do not rise".to_owned());
        }
        for kept in &self.probes {
            let name = &kept.probe.name;
            let trip = kept.probe.what == Transaction::Roundtrip;
            if trip && (kept.read.is_none() || kept.password.is_none() || kept.probe.account.is_none()) {
                out.push(format!("probe {name}: a round trip wants `account`, `password` and `read`"));
            }
            if kept.probe.targets.is_empty() {
                out.push(format!("probe {name}: it has no targets"));
            }
        }
        out
    }
}
