//! What a lab is to be: plain data, checked before anything is made.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::path::PathBuf;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::LabError;

/// A lab: hosts on networks of their own.
#[derive(Debug, Clone, PartialEq)]
pub struct LabSpec {
    /// `organisation-environment`; letters, digits and dashes. Containers are named `cutover-<name>-<host>`.
    pub name: String,
    /// Folder of the lab's records (`.cutover/lab/<environment>`): known_hosts, host keys, faults, disks.
    pub dir: PathBuf,
    /// One per subnet of the topology.
    pub networks: Vec<LabNetwork>,
    pub hosts: Vec<LabHost>,
    /// Public keys (`ssh-ed25519 AAAA… comment`) that may log in as root and as each host's `user`.
    pub authorized_keys: Vec<String>,
    pub image: ImageChoice,
    /// Marks on every container, for whoever must find them again.
    pub labels: Vec<(String, String)>,
}

/// A network: an IPv4 subnet, an IPv6 subnet or both. The first address of each is the machine itself.
#[derive(Debug, Clone, PartialEq)]
pub struct LabNetwork {
    pub name: String,
    pub subnets: Vec<IpNet>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct LabHost {
    /// Topology name; also the host name inside.
    pub name: String,
    /// Each lies in a subnet of one of the networks.
    pub addresses: Vec<IpAddr>,
    /// Further names the other hosts know it by (`mail-1.acme.test`). The first one with a dot is its own full name.
    pub aliases: Vec<String>,
    /// Login user beside root; made with sudo rights as `sudo` says.
    pub user: Option<LabUser>,
    /// Bytes; no limit when `None`.
    pub memory: Option<u64>,
    pub disks: Vec<LabDisk>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LabUser {
    pub name: String,
    pub sudo: Sudo,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Sudo {
    None,
    WithoutPassword,
    WithPassword,
}

/// A file system of its own with a size, so that it can be full. Survives a reboot of the host.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LabDisk {
    /// Where it is mounted in the host.
    pub path: String,
    /// Bytes, at least 4 MiB.
    pub size: u64,
}

#[derive(Debug, Clone, PartialEq)]
pub enum ImageChoice {
    /// Build from Debian packages, once per recipe.
    Built,
    /// An image that the engine already knows.
    Given(String),
}

impl ImageChoice {
    /// The value of `CUTOVER_LAB_IMAGE`, which the caller has read.
    pub fn from_setting(value: Option<String>) -> Self {
        value.filter(|v| !v.is_empty()).map_or(ImageChoice::Built, ImageChoice::Given)
    }
}

impl LabHost {
    pub fn new(name: impl Into<String>, addresses: Vec<IpAddr>) -> Self {
        Self { name: name.into(), addresses, aliases: Vec::new(), user: None, memory: None, disks: Vec::new() }
    }
}

impl LabSpec {
    pub(crate) fn network_of(&self, address: IpAddr) -> Option<&LabNetwork> {
        self.networks.iter().find(|n| n.subnets.iter().any(|s| s.contains(&address)))
    }

    /// Refuses what an engine would refuse later with a worse message.
    pub(crate) fn check(&self) -> Result<(), LabError> {
        let wrong = |m: String| Err(LabError::Spec(m));
        if !is_label(&self.name) {
            return wrong(format!(
                "`{}` is no name for a lab: lower-case letters, digits and dashes, up to 40",
                self.name
            ));
        }
        let mut seen = BTreeSet::new();
        for host in &self.hosts {
            if !is_label(&host.name) {
                return wrong(format!(
                    "host `{}`: a name has lower-case letters, digits and dashes, up to 40",
                    host.name
                ));
            }
            if host.addresses.is_empty() {
                return wrong(format!("host `{}` has no address", host.name));
            }
            if !seen.insert(host.name.clone()) {
                return wrong(format!("two hosts are named `{}`", host.name));
            }
            for address in &host.addresses {
                if !seen.insert(address.to_string()) {
                    return wrong(format!("host `{}`: {address} is taken by another host", host.name));
                }
                let Some(network) = self.network_of(*address) else {
                    return wrong(format!("host `{}`: {address} lies in no subnet of the lab", host.name));
                };
                if network.subnets.iter().any(|s| gateway(s) == *address || s.addr() == *address) {
                    return wrong(format!(
                        "host `{}`: {address} belongs to the machine that carries the lab",
                        host.name
                    ));
                }
            }
            for disk in &host.disks {
                if !disk.path.starts_with('/') || disk.path.len() < 2 || disk.path.contains([':', ',', '\n']) {
                    return wrong(format!("host `{}`: `{}` is no path for a disk", host.name, disk.path));
                }
                if disk.size < 4 << 20 {
                    return wrong(format!("host `{}`: disk {} is smaller than 4 MiB", host.name, disk.path));
                }
            }
        }
        if let Some(key) = self.authorized_keys.iter().find(|k| k.contains("PRIVATE KEY") || k.split(' ').count() < 2) {
            let start: String = key.chars().take(12).collect();
            return wrong(format!("`{start}…` is not a public SSH key"));
        }
        Ok(())
    }
}

/// The machine's own address in a subnet: the first after the network address.
pub(crate) fn gateway(subnet: &IpNet) -> IpAddr {
    match subnet {
        IpNet::V4(n) => IpAddr::V4(u32::from(n.network()).wrapping_add(1).into()),
        IpNet::V6(n) => IpAddr::V6(u128::from(n.network()).wrapping_add(1).into()),
    }
}

fn is_label(s: &str) -> bool {
    !s.is_empty()
        && s.len() <= 40
        && s.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        && !s.starts_with('-')
        && !s.ends_with('-')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(host: LabHost) -> LabSpec {
        LabSpec {
            name: "acme-lab".into(),
            dir: PathBuf::from("lab"),
            networks: vec![LabNetwork {
                name: "lan".into(),
                subnets: vec!["10.89.7.0/24".parse().unwrap(), "fd00:89:7::/64".parse().unwrap()],
            }],
            hosts: vec![host],
            authorized_keys: vec!["ssh-ed25519 AAAA".into()],
            image: ImageChoice::Built,
            labels: Vec::new(),
        }
    }

    fn host(address: &str) -> LabHost {
        LabHost::new("mail-1", vec![address.parse().unwrap()])
    }

    #[test]
    fn addresses_are_held_against_the_networks() {
        assert!(spec(host("10.89.7.11")).check().is_ok());
        assert!(spec(host("fd00:89:7::11")).check().is_ok());
        for (address, word) in [("10.89.8.11", "no subnet"), ("10.89.7.1", "carries"), ("fd00:89:7::1", "carries")] {
            let said = spec(host(address)).check().unwrap_err().to_string();
            assert!(said.contains(word), "{address}: {said}");
        }
    }

    #[test]
    fn names_and_disks_are_checked() {
        let mut bad = host("10.89.7.11");
        bad.name = "Mail_1".into();
        assert!(spec(bad).check().is_err());
        let mut bad = host("10.89.7.11");
        bad.disks.push(LabDisk { path: "/srv/mail".into(), size: 100 });
        assert!(spec(bad).check().unwrap_err().to_string().contains("4 MiB"));
        let mut twice = spec(host("10.89.7.11"));
        twice.hosts.push(LabHost::new("other", vec!["10.89.7.11".parse().unwrap()]));
        assert!(twice.check().unwrap_err().to_string().contains("taken"));
    }

    #[test]
    fn a_private_key_is_never_installed_and_never_shown_whole() {
        let mut bad = spec(host("10.89.7.11"));
        bad.authorized_keys = vec!["-----BEGIN OPENSSH PRIVATE KEY----- c2VjcmV0".into()];
        let said = bad.check().unwrap_err().to_string();
        assert!(!said.contains("c2VjcmV0"), "{said}");
    }
}
