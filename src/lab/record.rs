//! What the lab remembers of itself: `lab.json` in its folder, rewritten whole and atomically.

use std::fs::File;
use std::io::Write;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::LabError;
use super::engine::Engine;
use super::fault::ActiveFault;
use super::spec::LabDisk;

/// A lab that is up, or was.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LabRecord {
    pub version: u32,
    pub name: String,
    pub engine: Engine,
    /// How engine and runtime were chosen.
    pub engine_why: String,
    pub image: String,
    pub networks: Vec<NetworkRecord>,
    pub hosts: Vec<HostRecord>,
    pub faults: Vec<ActiveFault>,
    /// Number of the next fault.
    pub next_fault: u64,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NetworkRecord {
    /// The engine's name of it.
    pub network: String,
    pub subnets: Vec<IpNet>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct HostRecord {
    pub name: String,
    pub container: String,
    pub addresses: Vec<IpAddr>,
    pub disks: Vec<LabDisk>,
    /// Digest of what the container was created from: another one means a new container.
    pub made_from: String,
    /// Digest of the files put into it: another one means that they are put there again.
    pub seeded_with: String,
    /// Its public host key, `ssh-ed25519 AAAA…`.
    pub host_key: String,
}

pub(crate) const VERSION: u32 = 1;

impl LabRecord {
    pub fn load(dir: &Path) -> Result<Option<LabRecord>, LabError> {
        let path = path(dir);
        let text = match std::fs::read(&path) {
            Ok(text) => text,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(LabError::io(path, e)),
        };
        let wrong = |message: String| LabError::Record { path: path.clone(), message };
        let record: LabRecord = serde_json::from_slice(&text).map_err(|e| wrong(e.to_string()))?;
        if record.version != VERSION {
            return Err(wrong(format!("version {} is not {VERSION}", record.version)));
        }
        Ok(Some(record))
    }

    pub(crate) fn save(&self, dir: &Path) -> Result<(), LabError> {
        let text = serde_json::to_vec_pretty(self)
            .map_err(|e| LabError::Record { path: path(dir), message: e.to_string() })?;
        write_atomic(&path(dir), &text)
    }

    /// The host of that name, or an error that names the nearest one.
    pub fn host(&self, name: &str) -> Result<&HostRecord, LabError> {
        self.hosts.iter().find(|h| h.name == name).ok_or_else(|| {
            let near = self.hosts.iter().map(|h| (strsim::jaro_winkler(&h.name, name), &h.name));
            let near = near.filter(|(score, _)| *score > 0.7).max_by(|a, b| a.0.total_cmp(&b.0));
            LabError::NoHost { lab: self.name.clone(), host: name.to_owned(), near: near.map(|(_, n)| n.clone()) }
        })
    }
}

fn path(dir: &Path) -> PathBuf {
    dir.join("lab.json")
}

pub(crate) fn write_atomic(path: &Path, bytes: &[u8]) -> Result<(), LabError> {
    let dir = path.parent().unwrap_or(Path::new("."));
    let write = || {
        let mut file = tempfile::NamedTempFile::new_in(dir)?;
        file.write_all(bytes)?;
        file.persist(path).map_err(|e| e.error)?;
        Ok(())
    };
    write().map_err(|e| LabError::io(path, e))
}

/// Held while the lab is changed, so that two commands do not make it at once. Released on drop.
pub(crate) struct LabLock {
    _file: File,
}

impl LabLock {
    pub(crate) fn take(dir: &Path) -> Result<Self, LabError> {
        std::fs::create_dir_all(dir).map_err(|e| LabError::io(dir, e))?;
        let path = dir.join("lock");
        let file = File::create(&path).map_err(|e| LabError::io(&path, e))?;
        file.lock().map_err(|e| LabError::io(&path, e))?;
        Ok(Self { _file: file })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lab::engine::EngineKind;

    fn record() -> LabRecord {
        LabRecord {
            version: VERSION,
            name: "acme-lab".into(),
            engine: Engine { kind: EngineKind::Podman, runtime: Some("runc".into()) },
            engine_why: "podman with runc".into(),
            image: "localhost/cutover-lab:1".into(),
            networks: Vec::new(),
            hosts: vec![HostRecord {
                name: "mail-1".into(),
                container: "cutover-acme-lab-mail-1".into(),
                addresses: Vec::new(),
                disks: Vec::new(),
                made_from: String::new(),
                seeded_with: String::new(),
                host_key: String::new(),
            }],
            faults: Vec::new(),
            next_fault: 1,
        }
    }

    #[test]
    fn a_record_comes_back_as_it_was() {
        let dir = tempfile::tempdir().unwrap();
        assert!(LabRecord::load(dir.path()).unwrap().is_none());
        record().save(dir.path()).unwrap();
        assert_eq!(LabRecord::load(dir.path()).unwrap().unwrap(), record());
    }

    #[test]
    fn a_torn_or_foreign_record_is_an_error_with_a_way_out() {
        let dir = tempfile::tempdir().unwrap();
        for text in ["", "{\"version\":1", "{\"version\":99}"] {
            std::fs::write(dir.path().join("lab.json"), text).unwrap();
            let error = LabRecord::load(dir.path()).unwrap_err();
            assert!(error.help().unwrap().contains("lab down"), "{error}");
        }
    }

    #[test]
    fn a_mistyped_host_is_answered_with_the_nearest_name() {
        assert!(record().host("mial-1").unwrap_err().to_string().contains("did you mean `mail-1`"));
        assert!(!record().host("zzz").unwrap_err().to_string().contains("did you mean"));
    }
}
