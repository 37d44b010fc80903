//! Groups, hosts and variables, merged as Ansible merges them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::{CODE, yaml};
use crate::importing::foreign::Foreign;
use crate::model::Span;

/// A variable's value as far as an importer needs it.
#[derive(Debug, Clone, PartialEq)]
pub enum Text {
    Plain(String),
    /// `{{ .. }}`: only Ansible can tell what it is.
    Template,
    /// `!vault`.
    Vault,
    /// A list or a map.
    Structure,
}

impl Text {
    pub fn why(&self) -> &'static str {
        match self {
            Text::Plain(_) => "a text",
            Text::Template => "a template, which only Ansible can fill in",
            Text::Vault => "encrypted with ansible-vault",
            Text::Structure => "a list or a map",
        }
    }

    pub fn plain(text: impl Into<String>) -> Self {
        let text = text.into();
        if text.contains("{{") || text.contains("{%") { Text::Template } else { Text::Plain(text) }
    }
}

#[derive(Debug, Clone, PartialEq)]
pub struct Var {
    pub text: Text,
    pub place: Span,
}

pub type Vars = BTreeMap<String, Var>;

#[derive(Debug, Default)]
pub struct Group {
    pub children: BTreeSet<String>,
    pub hosts: BTreeSet<String>,
    pub vars: Vars,
    /// Of `group_vars/`.
    pub file_vars: Vars,
    depth: usize,
}

#[derive(Debug)]
pub struct Host {
    pub vars: Vars,
    pub file_vars: Vars,
    pub place: Span,
}

#[derive(Debug, Default)]
pub struct Inventory {
    pub groups: BTreeMap<String, Group>,
    pub hosts: BTreeMap<String, Host>,
}

impl Inventory {
    pub fn group(&mut self, name: &str) -> &mut Group {
        self.groups.entry(name.to_owned()).or_default()
    }

    pub fn host(&mut self, name: &str, place: Span) -> &mut Host {
        let fresh = || Host { vars: Vars::new(), file_vars: Vars::new(), place };
        self.hosts.entry(name.to_owned()).or_insert_with(fresh)
    }

    /// Depths of the groups; circles are reported.
    pub fn finish(&mut self, f: &mut Foreign) {
        let children: BTreeMap<String, Vec<String>> =
            self.groups.iter().map(|(n, g)| (n.clone(), g.children.iter().cloned().collect())).collect();
        let mut depth: BTreeMap<String, usize> = BTreeMap::new();
        // Longest path by rounds; more rounds than groups means a circle.
        for round in 0..=self.groups.len() {
            let mut changed = None;
            for (parent, list) in children.iter().filter(|(p, _)| *p != "all") {
                let below = depth.get(parent).copied().unwrap_or(1) + 1;
                for c in list.iter().filter(|c| *c != "all") {
                    if depth.get(c).copied().unwrap_or(1) < below {
                        depth.insert(c.clone(), below);
                        changed = Some(c.clone());
                    }
                }
            }
            match changed {
                None => break,
                Some(group) if round == self.groups.len() => {
                    let place = self.hosts.values().next().map(|h| h.place);
                    let d = crate::model::Diagnostic::error(CODE, format!("group `{group}` is a child of itself"))
                        .help("take one of the `children` out of the circle");
                    f.report(match place {
                        Some(p) => d.label(p, "in this inventory"),
                        None => d,
                    });
                    self.groups.values_mut().for_each(|g| g.children.clear());
                    return;
                }
                Some(_) => {}
            }
        }
        for (name, group) in &mut self.groups {
            group.depth = if name == "all" { 0 } else { depth.get(name).copied().unwrap_or(1) };
        }
    }

    /// Groups of a host, those above its own included; neither `all` nor `ungrouped`.
    pub fn groups_of(&self, host: &str) -> Vec<String> {
        let holds = |g: &Group| g.hosts.contains(host);
        let mut found: BTreeSet<&str> = self.groups.iter().filter(|(_, g)| holds(g)).map(|(n, _)| n.as_str()).collect();
        loop {
            let above: Vec<&str> = self
                .groups
                .iter()
                .filter(|(n, g)| !found.contains(n.as_str()) && g.children.iter().any(|c| found.contains(c.as_str())))
                .map(|(n, _)| n.as_str())
                .collect();
            if above.is_empty() {
                break;
            }
            found.extend(above);
        }
        found.into_iter().filter(|n| !matches!(*n, "all" | "ungrouped")).map(str::to_owned).collect()
    }

    /// Variables of a host, weakest first: `all`, groups from the outside in (then by name), the same of `group_vars/`, the
    /// host's own, its `host_vars/`.
    pub fn vars_of(&self, host: &str) -> Vars {
        let mut groups: Vec<String> = self.groups_of(host);
        if groups.is_empty() {
            groups.push("ungrouped".into());
        }
        let priority = |n: &str| match self.groups.get(n).and_then(|g| g.vars.get("ansible_group_priority")) {
            Some(Var { text: Text::Plain(t), .. }) => t.parse::<i64>().unwrap_or(1),
            _ => 1,
        };
        groups.sort_by_key(|n| (self.groups.get(n).map_or(1, |g| g.depth), priority(n), n.clone()));
        let mut out = Vars::new();
        let chain =
            || std::iter::once("all").chain(groups.iter().map(String::as_str)).filter_map(|n| self.groups.get(n));
        chain().for_each(|g| out.extend(g.vars.clone()));
        chain().for_each(|g| out.extend(g.file_vars.clone()));
        if let Some(h) = self.hosts.get(host) {
            out.extend(h.vars.clone());
            out.extend(h.file_vars.clone());
        }
        out.remove("ansible_group_priority");
        out
    }

    /// `group_vars/` and `host_vars/` in the inventory's folder.
    pub fn variable_files(&mut self, f: &mut Foreign, folder: &Path) {
        let groups: Vec<String> = self.groups.keys().cloned().chain(["all".into(), "ungrouped".into()]).collect();
        for name in groups.into_iter().collect::<BTreeSet<_>>() {
            let vars = files_of(f, &folder.join("group_vars"), &name);
            if !vars.is_empty() {
                self.group(&name).file_vars = vars;
            }
        }
        for (name, host) in &mut self.hosts {
            host.file_vars = files_of(f, &folder.join("host_vars"), name);
        }
    }
}

/// `NAME`, `NAME.yml`, `NAME.yaml`, `NAME.json`, and what is in a folder `NAME`, in this order.
fn files_of(f: &mut Foreign, folder: &Path, name: &str) -> Vars {
    let mut out = Vars::new();
    if name.contains(['/', '\\']) || !folder.is_dir() {
        return out;
    }
    for ending in ["", ".yml", ".yaml", ".json"] {
        let path = folder.join(format!("{name}{ending}"));
        for file in if path.is_dir() { inside(&path, 0) } else { vec![path] } {
            if file.is_file()
                && let Some(id) = f.open(&file)
                && !f.text(id).starts_with("$ANSIBLE_VAULT")
            {
                out.extend(yaml::variables(f, id));
            }
        }
    }
    out
}

fn inside(folder: &Path, depth: usize) -> Vec<PathBuf> {
    let mut out = Vec::new();
    let mut entries: Vec<PathBuf> =
        std::fs::read_dir(folder).into_iter().flatten().flatten().map(|e| e.path()).collect();
    entries.sort();
    for path in entries {
        let shown = path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
        let known = path.extension().is_none_or(|e| e == "yml" || e == "yaml" || e == "json");
        if shown.starts_with('.') || shown.ends_with('~') {
            continue;
        }
        if path.is_dir() && depth < 8 {
            out.extend(inside(&path, depth + 1));
        } else if known {
            out.push(path);
        }
    }
    out
}
