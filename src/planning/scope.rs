//! Which resources a plan is about: all, those of `--target` with what they wait for, those of a phase.

use std::collections::BTreeSet;

use crate::model::address::{Address, HostName, Kind};
use crate::model::resource::Resource;
use crate::model::site::Site;

use super::constraints::Constraints;
use super::error::PlanError;
use super::graph::Node;
use super::index::Index;
use super::input::PlanOptions;
use super::retire::Spared;

/// One `--target` word, understood.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Target {
    Address(Address),
    /// A role of a host, `server.mail-1/imap`.
    Group(String),
    Host(String),
    /// `kind:name` of a topology node, or `kind:key` of a resource on any host.
    Local(String),
    Pattern(String),
}

impl Target {
    fn of(word: &str) -> Self {
        if word.contains('*') {
            return Target::Pattern(word.to_owned());
        }
        if let Ok(address) = word.parse() {
            return Target::Address(address);
        }
        if (word.starts_with("zone.") || word.starts_with("cohort.")) && !word.contains('/') {
            return Target::Host(word.to_owned());
        }
        if let Some((role, host)) = word.split_once('@').filter(|_| !word.contains([':', '/'])) {
            return Target::Group(format!("server.{host}/{role}"));
        }
        match word.strip_prefix("server.") {
            Some(rest) if rest.contains('/') => Target::Group(word.to_owned()),
            Some(host) => Target::Host(host.to_owned()),
            None if word.contains(':') => Target::Local(word.to_owned()),
            None => Target::Host(word.to_owned()),
        }
    }

    fn fits(&self, address: &Address, group: Option<&str>, owner: &str) -> bool {
        match self {
            Target::Address(a) => a == address,
            Target::Group(g) => group == Some(g),
            Target::Host(h) => address.host.0 == *h,
            Target::Local(l) => {
                owner == l || l.split_once(':').is_some_and(|(k, key)| address.kind.as_str() == k && address.key == key)
            }
            Target::Pattern(p) => {
                wildcard(p, &address.to_string())
                    || wildcard(p, owner)
                    || wildcard(p, &address.host.0)
                    || group.is_some_and(|g| wildcard(p, g))
            }
        }
    }
}

/// The resources of a plan.
pub struct Scope<'s> {
    targets: Vec<Target>,
    phase: Option<BTreeSet<String>>,
    /// By node; `None`: all.
    nodes: Option<Vec<bool>>,
    /// Waves of cohorts that the phase does not move, and old sides that it does not touch.
    stay: BTreeSet<Node>,
    spared: Spared<'s>,
}

impl<'s> Scope<'s> {
    pub fn new(index: &Index<'s>, constraints: &Constraints, options: &PlanOptions) -> Result<Self, PlanError> {
        let targets: Vec<Target> = options.targets.iter().map(|w| Target::of(w)).collect();
        let phase = options.phase.as_ref().map(|p| p.owners.clone());
        let spared = Spared::of(index.site, options);
        let mut stay = waves_that_stay(index, options);
        let all = index.resources.iter().enumerate();
        stay.extend(all.filter(|(_, r)| spared.holds(&r.address)).map(|(i, _)| i as Node));
        let mut scope = Self { targets, phase, nodes: None, stay, spared };
        if scope.targets.is_empty() && scope.phase.is_none() {
            return Ok(scope);
        }
        let mut chosen = vec![scope.targets.is_empty(); index.resources.len()];
        for (target, word) in scope.targets.iter().zip(&options.targets) {
            let mut hit = false;
            for (i, r) in index.resources.iter().enumerate() {
                if target.fits(&r.address, Some(&r.group), &r.owner) {
                    chosen[i] = true;
                    hit = true;
                }
            }
            // What left the topology may still be named: the ledgers of the hosts decide later.
            let known = match target {
                Target::Address(a) => index.host_id(&a.host).is_some(),
                Target::Host(name) => index.host_id(&HostName(name.clone())).is_some(),
                Target::Group(_) | Target::Local(_) | Target::Pattern(_) => false,
            };
            if !hit && !known {
                return Err(PlanError::UnknownTarget { word: word.clone(), near: nearest(index, word) });
            }
        }
        if !scope.targets.is_empty() {
            spread(&mut chosen, constraints, options.destroy);
        }
        if let Some(owners) = &scope.phase {
            for (i, r) in index.resources.iter().enumerate() {
                // Which waves go has been said.
                chosen[i] &=
                    owners.contains(&r.owner) || r.address.kind == Kind::Wave || scope.spared.wants(&r.address);
            }
        }
        scope.nodes = Some(chosen);
        Ok(scope)
    }

    pub fn whole(&self) -> bool {
        self.nodes.is_none()
    }

    pub fn holds(&self, node: Node) -> bool {
        !self.stay.contains(&node) && self.nodes.as_ref().is_none_or(|n| n.get(node as usize).copied().unwrap_or(false))
    }

    /// Whether something that the site no longer names is meant.
    pub fn holds_left(&self, address: &Address, owner: &str) -> bool {
        !self.spared.holds(address)
            && (self.targets.is_empty() || self.targets.iter().any(|t| t.fits(address, None, owner)))
            && self.phase.as_ref().is_none_or(|p| p.contains(owner))
    }

    /// Hosts that the plan is about.
    pub fn hosts(&self, index: &Index, site: &Site) -> Vec<bool> {
        let Some(nodes) = &self.nodes else {
            let goes = |h: &&HostName| {
                let id = index.host_id(h);
                let may_stay = h.is_cohort() || site.retirements.contains_key(*h);
                !may_stay || id.is_some_and(|id| index.of_host(id).any(|n| self.holds(n as Node)))
            };
            return index.hosts.iter().map(goes).collect();
        };
        let mut hosts: Vec<bool> = index
            .hosts
            .iter()
            .map(|h| {
                self.targets.iter().any(|t| match t {
                    Target::Address(a) => a.host == **h,
                    Target::Host(name) => h.0 == *name,
                    Target::Group(_) | Target::Local(_) | Target::Pattern(_) => false,
                }) && site.hosts.contains_key(*h)
                    && !h.is_cohort()
            })
            .collect();
        for (node, chosen) in nodes.iter().enumerate() {
            if *chosen && !self.stay.contains(&(node as Node)) {
                hosts[index.host_of[node] as usize] = true;
            }
        }
        hosts
    }
}

/// Nobody moves unless the phase says so, and nobody moves because something is taken away.
fn waves_that_stay(index: &Index, options: &PlanOptions) -> BTreeSet<Node> {
    let moves = |r: &Resource| {
        let name = r.owner.strip_prefix("cohort:").unwrap_or_default();
        !options.destroy && options.phase.as_ref().is_some_and(|p| p.migrates.contains(name))
    };
    let all = index.resources.iter().enumerate();
    all.filter(|(_, r)| r.address.kind == Kind::Wave && !moves(r)).map(|(i, _)| i as Node).collect()
}

/// Adds what the chosen ones wait for (for a destroy: what waits for them).
fn spread(chosen: &mut [bool], constraints: &Constraints, destroy: bool) {
    let mut seen = vec![false; constraints.graph.len()];
    let mut stack: Vec<Node> = (0..chosen.len() as Node).filter(|n| chosen[*n as usize]).collect();
    while let Some(node) = stack.pop() {
        if std::mem::replace(&mut seen[node as usize], true) {
            continue;
        }
        if let Some(c) = chosen.get_mut(node as usize) {
            *c = true;
        }
        if destroy {
            stack.extend(constraints.graph.behind(node));
        } else {
            stack.extend(constraints.graph.before(node));
        }
    }
}

/// The hosts that have to be asked before this plan can be made, by name: all, or those of the targets and the phase.
pub fn hosts_to_ask(site: &Site, options: &PlanOptions) -> Result<BTreeSet<HostName>, PlanError> {
    let of_window;
    let options = match &options.window {
        None => options,
        Some(name) => {
            let holds = super::cutover::find(site, name)?.holds.iter();
            of_window = PlanOptions { targets: holds.map(ToString::to_string).collect(), ..options.clone() };
            &of_window
        }
    };
    let index = Index::new(site)?;
    let constraints = Constraints::new(&index)?;
    let hosts = Scope::new(&index, &constraints, options)?.hosts(&index, site);
    Ok(index.hosts.iter().zip(hosts).filter(|(_, asked)| *asked).map(|(h, _)| (*h).clone()).collect())
}

fn nearest(index: &Index, word: &str) -> Option<String> {
    let bare = word.strip_prefix("server.").unwrap_or(word);
    let hosts = index.hosts.iter().map(|h| h.0.clone());
    let groups = index.resources.iter().map(|r| r.group.clone());
    let owners = index.resources.iter().map(|r| r.owner.clone());
    // Addresses of a large site cost too much to weigh for a message; those of the kind that was meant are enough.
    let kind = word.rsplit_once('/').map_or(word, |(_, l)| l).split_once(':').and_then(|(k, _)| k.parse::<Kind>().ok());
    let addresses = index.resources.iter().filter(|r| Some(r.address.kind) == kind).take(5_000).map(address);
    let candidates: BTreeSet<String> = hosts.chain(groups).chain(owners).chain(addresses).collect();
    candidates
        .into_iter()
        .map(|c| (strsim::damerau_levenshtein(&c, word).min(strsim::damerau_levenshtein(&c, bare)), c))
        .min()
        .filter(|(distance, c)| *distance <= 2 + c.len() / 8)
        .map(|(_, c)| c)
}

fn address(r: &&Resource) -> String {
    r.address.to_string()
}

/// `*` stands for any run of characters.
fn wildcard(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.split('*');
    let Some(first) = parts.next() else { return false };
    let Some(mut rest) = text.strip_prefix(first) else { return false };
    let parts: Vec<&str> = parts.collect();
    let Some((last, middle)) = parts.split_last() else { return rest.is_empty() };
    for part in middle {
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    rest.len() >= last.len() && rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wildcards() {
        for (pattern, text, fits) in [
            ("mail-*", "mail-1", true),
            ("*/file:/etc/*", "server.a/file:/etc/x", true),
            ("*a*b", "xaxbxb", true),
            ("a*a", "a", false),
            ("mail-*", "gate-1", false),
        ] {
            assert_eq!(wildcard(pattern, text), fits, "{pattern} {text}");
        }
    }

    #[test]
    fn words_are_understood() {
        assert_eq!(Target::of("mail-1"), Target::Host("mail-1".into()));
        assert_eq!(Target::of("server.mail-1"), Target::Host("mail-1".into()));
        assert_eq!(Target::of("server.mail-1/imap"), Target::Group("server.mail-1/imap".into()));
        assert_eq!(Target::of("imap@mail-1"), Target::Group("server.mail-1/imap".into()));
        assert_eq!(Target::of("mail-account:ann@example.org"), Target::Local("mail-account:ann@example.org".into()));
        assert_eq!(Target::of("server:mail-1"), Target::Local("server:mail-1".into()));
        assert!(matches!(Target::of("server.a/file:/etc/x"), Target::Address(_)));
        assert_eq!(Target::of("zone.acme.example@internal"), Target::Host("zone.acme.example@internal".into()));
        assert!(matches!(Target::of("zone.acme.example/record-set:acme.example./MX"), Target::Address(_)));
    }
}
