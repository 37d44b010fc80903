//! Ansible inventories: hosts, groups, their variables, as `ansible-inventory --list` resolves them. Form and precedence:
//! <https://docs.ansible.com/ansible/latest/inventory_guide/intro_inventory.html>.

mod ini;
mod inventory;
mod pattern;
mod yaml;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::path::Path;

use super::Imported;
use super::foreign::Foreign;
use super::quoting::name;
use super::server::{self, Connection, Server, ServerOptions, identity};
use crate::model::SourceId;
use inventory::{Inventory, Text};

pub(super) const CODE: &str = "E1302";

pub fn import(f: &mut Foreign, id: SourceId, path: &Path, options: &ServerOptions) -> Option<Imported> {
    let inventory = read(f, id, path);
    for group in options.group_roles.keys().filter(|g| !inventory.groups.contains_key(*g)) {
        let help = format!("there are {}", inventory.groups.keys().cloned().collect::<Vec<_>>().join(", "));
        f.wrong(
            CODE,
            f.line(id, 1),
            format!("--role names the group `{group}`, which the inventory does not have"),
            help,
        );
    }
    let mut left_out = Notes::default();
    let mut servers: Vec<Server> =
        inventory.hosts.keys().filter_map(|h| one(f, &inventory, h, options, &mut left_out)).collect();
    if inventory.hosts.is_empty() {
        f.wrong(CODE, f.line(id, 1), "the inventory has no hosts", "name the file that lists them");
    }
    let notes: Vec<String> = left_out
        .0
        .into_iter()
        .map(|(what, hosts)| match hosts.len() {
            1 => format!("{what} ({})", hosts.into_iter().next().unwrap_or_default()),
            n => format!("{what} ({n} hosts)"),
        })
        .collect();
    server::write(f, CODE, &mut servers, &notes, options)
}

/// The inventory with the variable files beside it.
pub(super) fn read(f: &mut Foreign, id: SourceId, path: &Path) -> Inventory {
    let text = f.text(id);
    let first = text.lines().map(str::trim).find(|l| !l.is_empty() && !l.starts_with(['#', ';'])).unwrap_or_default();
    let yaml = path.extension().is_some_and(|e| e == "yml" || e == "yaml" || e == "json")
        || first == "---"
        || (first.ends_with(':') && !first.contains('['));
    let mut inventory = if yaml { yaml::inventory(f, id) } else { ini::inventory(f, id) };
    inventory.finish(f);
    let folder = path.parent().unwrap_or(Path::new(""));
    inventory.variable_files(f, folder);
    inventory
}

/// What has no place in a topology, with the hosts that say it.
#[derive(Default)]
struct Notes(BTreeMap<String, BTreeSet<String>>);

impl Notes {
    fn add(&mut self, what: impl Into<String>, host: &str) {
        self.0.entry(what.into()).or_default().insert(host.to_owned());
    }
}

fn one(f: &mut Foreign, all: &Inventory, host: &str, options: &ServerOptions, notes: &mut Notes) -> Option<Server> {
    let place = all.hosts.get(host)?.place;
    let vars = all.vars_of(host);
    let (name_of, mut fqdn, ip) = identity(host);
    let mut s = Server {
        name: name_of,
        fqdn: None,
        ip: None,
        ip6: None,
        site: None,
        platform: None,
        roles: Vec::new(),
        labels: Vec::new(),
        named_connection: None,
        connection: None,
        more: Vec::new(),
        place,
    };
    let mut address = ip;
    let mut c = Connection::default();
    let mut becomes = false;
    let mut method = None;
    for (key, var) in &vars {
        let value = match &var.text {
            Text::Plain(v) => v.as_str(),
            // Its name says enough; what it holds is not ours to show.
            _ if !is_secret(key) => {
                notes.add(format!("{key}: {}", var.text.why()), host);
                continue;
            }
            _ => "",
        };
        match key.as_str() {
            "ansible_host" | "ansible_ssh_host" => match value.parse::<IpAddr>() {
                Ok(ip) => address = Some(ip),
                Err(_) if value.contains('.') => fqdn = Some(value.trim_end_matches('.').to_ascii_lowercase()),
                Err(_) if value == host || value == s.name => {}
                Err(_) => notes.add(format!("{key}={value}: neither an address nor a full name"), host),
            },
            "ansible_port" | "ansible_ssh_port" => match value.parse::<u16>() {
                Ok(22) => c.port = None,
                Ok(port) if port > 0 => c.port = Some(port),
                _ => f.wrong(CODE, var.place, format!("`{value}` is no port"), "a port is 1 to 65535"),
            },
            "ansible_user" | "ansible_ssh_user" => c.user = Some(value.to_owned()),
            "ansible_connection" => match value {
                "ssh" | "smart" | "paramiko" | "paramiko_ssh" => {}
                "local" => c.transport = Some("local".into()),
                other => notes.add(format!("ansible_connection={other}: hosts are reached by ssh"), host),
            },
            "ansible_ssh_private_key_file" | "ansible_private_key_file" => c.key = Some(value.to_owned()),
            "ansible_become" => {
                becomes = matches!(value.to_ascii_lowercase().as_str(), "true" | "yes" | "1" | "on" | "y" | "t")
            }
            "ansible_become_method" => method = Some(value.to_owned()),
            "ansible_password" | "ansible_ssh_pass" | "ansible_ssh_password" => {
                notes.add(
                    format!("{key}: hosts are reached with keys; write key=(secret)\"file:PATH\" at the connection"),
                    host,
                );
            }
            "ansible_become_password" | "ansible_become_pass" => c.become_password = true,
            other => notes.add(format!("variable {other}"), host),
        }
    }
    if becomes {
        match method.as_deref().unwrap_or("sudo") {
            m @ ("sudo" | "doas" | "runas") => c.become_method = Some(m.to_owned()),
            other => notes.add(format!("ansible_become_method={other}: there are sudo, doas and runas"), host),
        }
    }
    c.become_password &= c.become_method.is_some();
    match address {
        Some(IpAddr::V4(ip)) => s.ip = Some(ip.to_string()),
        Some(IpAddr::V6(ip)) => s.ip6 = Some(ip.to_string()),
        None => {}
    }
    // A name that is only the host's own label says nothing.
    s.fqdn = fqdn;
    if c != Connection::default() {
        s.connection = Some(c);
    }
    for group in all.groups_of(host) {
        let lower = group.to_ascii_lowercase();
        match options.group_roles.get(&group) {
            Some(roles) => s.roles.extend(roles.iter().cloned()),
            None if options.known_roles.contains(&lower) => s.roles.push(lower),
            None => {}
        }
        let label = name(&group);
        if !label.is_empty() {
            s.labels.push(label);
        }
    }
    s.roles.sort();
    s.roles.dedup();
    s.labels.sort();
    s.labels.dedup();
    Some(s)
}

fn is_secret(key: &str) -> bool {
    key.contains("pass")
}

#[cfg(test)]
mod tests;
