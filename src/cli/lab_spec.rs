//! A lab from a topology: its servers as hosts, its subnets as networks, its connection keys as logins.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::net::IpAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::failure::Failure;
use crate::lab::{ImageChoice, LabDisk, LabHost, LabNetwork, LabSpec, LabUser, Sudo};
use crate::model::attr::SecretRef;
use crate::model::host::{Become, HostAccess};
use crate::model::site::Site;
use crate::model::topology::{Node, Topology, Value};
use crate::secret::{Resolve as _, Resolver};

/// Name of an environment's lab: `organisation-environment`, in the letters that engines allow.
pub fn name(organization: &str, environment: &str) -> String {
    let text = format!("{organization}-{environment}").to_ascii_lowercase();
    let text: String = text.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
    text.trim_matches('-').chars().take(40).collect()
}

/// Folder of an environment's lab below the state folder.
pub fn dir(state_dir: &Path, environment: &str) -> PathBuf {
    state_dir.join("lab").join(environment)
}

/// The environment in force when it runs in containers; an error that says what to do when it does not.
pub fn environment(topology: &Topology) -> Result<&str, Failure> {
    let labs = || {
        let names: Vec<&str> = topology
            .all("environment")
            .filter(|e| e.text("runtime") == Some("containers"))
            .map(|e| e.id.name.as_str())
            .collect();
        match names.as_slice() {
            [] => "add to the topology: environment lab purpose=lab runtime=containers { .. }".to_owned(),
            names => format!("choose one with --env: {}", names.join(", ")),
        }
    };
    match topology.environment() {
        Some(e) if e.text("runtime") == Some("containers") => Ok(&e.id.name),
        Some(e) => {
            let message = format!("environment {} has real hosts (runtime=hosts); the lab makes containers", e.id.name);
            Err(Failure::new(message).help(labs()))
        }
        None => {
            Err(Failure::new("no environment is chosen, and the lab makes only environments with runtime=containers")
                .help(labs()))
        }
    }
}

/// The lab that the topology describes.
pub fn spec(topology: &Topology, site: &Site, dir: PathBuf, keys: Vec<String>) -> Result<LabSpec, Failure> {
    let environment = environment(topology)?;
    let domain = topology.organization().and_then(|o| o.text("domain")).unwrap_or("lab.test");
    let networks: Vec<LabNetwork> = networks(topology)?;
    let mut hosts = Vec::new();
    for (name, access) in &site.hosts {
        let Some(node) = topology.get("server", &name.0) else { continue };
        hosts.push(host(node, access, domain)?);
    }
    if hosts.is_empty() {
        return Err(Failure::new("the topology has no server, so there is nothing to make"));
    }
    Ok(LabSpec {
        name: self::name(&site.organization, environment),
        dir,
        networks,
        hosts,
        authorized_keys: keys,
        image: ImageChoice::from_setting(std::env::var("CUTOVER_LAB_IMAGE").ok()),
        labels: Vec::new(),
    })
}

/// One network a `subnet`; an IPv6 network of the servers that no subnet names joins the first.
fn networks(topology: &Topology) -> Result<Vec<LabNetwork>, Failure> {
    let mut networks = Vec::new();
    for node in topology.all("subnet") {
        let Some(cidr) = node.text("cidr") else { continue };
        let net = cidr.parse().map_err(|_| Failure::new(format!("subnet {}: `{cidr}` is no network", node.id.name)))?;
        networks.push(LabNetwork { name: node.id.name.to_string(), subnets: vec![net] });
    }
    let covered = |ip: &IpAddr, n: &[LabNetwork]| n.iter().any(|n| n.subnets.iter().any(|s| s.contains(ip)));
    for ip in topology.all("server").filter_map(|s| s.text("ip6")?.parse::<IpAddr>().ok()) {
        if !covered(&ip, &networks)
            && let Ok(net) = ipnet::IpNet::new(ip, 64)
            && let Some(first) = networks.first_mut()
        {
            first.subnets.push(net.trunc());
        }
    }
    Ok(networks)
}

fn host(node: &Node, access: &HostAccess, domain: &str) -> Result<LabHost, Failure> {
    let mut addresses: Vec<IpAddr> = Vec::new();
    for field in ["ip", "ip6"] {
        if let Some(text) = node.text(field) {
            let ip =
                text.parse().map_err(|_| Failure::new(format!("server {}: `{text}` is no address", node.id.name)))?;
            addresses.push(ip);
        }
    }
    if addresses.is_empty() {
        return Err(Failure::new(format!("server {} has no address, so its container could have none", node.id.name))
            .help("give it ip= (and an address-map in the environment, so that it lies in a network of the lab)"));
    }
    let mut host = LabHost::new(node.id.name.clone(), addresses);
    let full = node.text("fqdn").map_or_else(|| format!("{}.{domain}", node.id.name), str::to_owned);
    host.aliases = vec![full];
    if access.user != "root" {
        let sudo = match (access.become_, &access.become_password) {
            (Become::None, _) => Sudo::None,
            (_, None) => Sudo::WithoutPassword,
            (_, Some(_)) => Sudo::WithPassword,
        };
        host.user = Some(LabUser { name: access.user.clone(), sudo });
    }
    // `memory` and `disk size` are those of the production host; a lab host takes what it needs, and only a disk with a mount
    // is of use there. 64 MiB is enough to be filled by `lab fault`.
    host.disks = node
        .children("disk")
        .filter_map(|d| {
            let path = d.text("mount")?.to_owned();
            let size = match d.value("size")?.value {
                Value::Size(bytes) => bytes.min(64 << 20),
                _ => return None,
            };
            Some(LabDisk { path, size })
        })
        .collect();
    Ok(host)
}

/// Makes the key files (`file:` references) that the lab's connections name and that are not there yet: a lab is reached with
/// keys of its own. Gives back what was made.
pub fn make_missing_keys(root: &Path, site: &Site) -> Result<Vec<PathBuf>, Failure> {
    let mut made = Vec::new();
    for key in keys_of(site) {
        let ("file", path) = key.parts() else { continue };
        let path = root.join(path);
        if path.exists() {
            continue;
        }
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder)
                .and_then(|()| std::fs::set_permissions(folder, std::fs::Permissions::from_mode(0o700)))
                .map_err(|e| Failure::new(format!("cannot make the folder {}: {e}", folder.display())))?;
        }
        crate::lab::generate_key(&path, "cutover lab login")?;
        made.push(path);
    }
    Ok(made)
}

/// The public halves of all keys that the connections use.
pub async fn public_keys(root: &Path, site: &Site, resolver: &Resolver) -> Result<Vec<String>, Failure> {
    let mut public = Vec::new();
    for key in keys_of(site) {
        public.push(match key.parts() {
            ("file", path) => public_half(&root.join(path), key)?,
            _ => {
                let value = resolver.bytes(key).await?;
                let fail =
                    |e: std::io::Error| Failure::new(format!("the key {key} cannot be handed to ssh-keygen: {e}"));
                let mut file = tempfile::NamedTempFile::new().map_err(fail)?;
                file.write_all(&value).and_then(|()| file.write_all(b"\n")).map_err(fail)?;
                public_half(file.path(), key)?
            }
        });
    }
    if public.is_empty() {
        return Err(Failure::new("no connection of the topology has a key, so nobody could log in to the lab")
            .help("add: connection admin user=root key=(secret)\"file:keys/admin\""));
    }
    Ok(public)
}

fn keys_of(site: &Site) -> BTreeSet<&SecretRef> {
    site.hosts.values().filter_map(|h| h.key.as_ref()).collect()
}

fn public_half(path: &Path, key: &SecretRef) -> Result<String, Failure> {
    // -P "" makes ssh-keygen fail on a key with a passphrase instead of asking for it.
    let done = Command::new("ssh-keygen").args(["-y", "-P", "", "-f"]).arg(path).output().map_err(|e| {
        Failure::new(format!("ssh-keygen cannot be started: {e}")).help("apt-get install openssh-client")
    })?;
    if !done.status.success() {
        let said = String::from_utf8_lossy(&done.stderr);
        let why = said.lines().last().unwrap_or("no reason given").trim().to_owned();
        return Err(Failure::new(format!("the key {key} has no public half that ssh-keygen can read: {why}"))
            .help("make one with: ssh-keygen -t ed25519 -N '' -f keys/admin"));
    }
    Ok(String::from_utf8_lossy(&done.stdout).trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_fit_the_engines() {
        assert_eq!(name("acme", "lab"), "acme-lab");
        assert_eq!(name("Räder & Co", "Lab_2"), "r-der---co-lab-2");
    }
}
