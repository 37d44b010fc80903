//! Facts that the batched look brings, and the record that each resource gets from them. The fingerprints here are those
//! that `sh/look.sh` makes for one resource; a test on real hosts holds the two together.

use std::collections::{HashMap, HashSet};

use zeroize::Zeroizing;

use crate::model::attr::{Attr, Attrs};
use crate::model::observed::Record;
use crate::model::{Digest, Kind};

use super::inputs::Inputs;

/// What `stat` said of a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stat {
    /// First hex digit of the raw mode: 8 regular, 4 directory, a symlink.
    form: char,
    mode: String,
    owner: String,
    group: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unit {
    found: bool,
    enabled: &'static str,
    running: bool,
}

struct Passwd {
    uid: String,
    gid: String,
    comment: String,
    home: String,
    shell: String,
}

pub struct Seen {
    stats: HashMap<String, Stat>,
    missing: HashSet<String>,
    errors: Vec<String>,
    sums: HashMap<String, String>,
    pub links: HashMap<String, String>,
    pub texts: HashMap<String, String>,
    pub zones: HashMap<String, String>,
    pub zone_texts: HashMap<String, String>,
    pub packages_asked: Result<(), String>,
    packages: HashMap<String, (String, String, String)>,
    pub users_asked: bool,
    users: HashMap<String, Passwd>,
    groups: HashMap<String, String>,
    group_names: HashMap<String, String>,
    members: HashMap<String, Vec<String>>,
    pub settings_asked: bool,
    pub settings: HashMap<String, String>,
    lines: HashMap<String, Option<String>>,
    pub unit_names: Vec<String>,
    pub unit_states: Vec<String>,
    pub units_error: Option<String>,
    units: HashMap<String, Unit>,
    pub commands: HashMap<String, bool>,
    pub firewalls: HashMap<String, bool>,
    /// Whole lines of passwd-files, by file and account; wiped on drop.
    pub accounts: HashMap<(String, String), Zeroizing<String>>,
    pub account_files: HashSet<String>,
}

impl Default for Seen {
    fn default() -> Self {
        Self {
            stats: HashMap::new(),
            missing: HashSet::new(),
            errors: Vec::new(),
            sums: HashMap::new(),
            links: HashMap::new(),
            texts: HashMap::new(),
            zones: HashMap::new(),
            zone_texts: HashMap::new(),
            packages_asked: Err("nobody asked".to_owned()),
            packages: HashMap::new(),
            users_asked: false,
            users: HashMap::new(),
            groups: HashMap::new(),
            group_names: HashMap::new(),
            members: HashMap::new(),
            settings_asked: false,
            settings: HashMap::new(),
            lines: HashMap::new(),
            unit_names: Vec::new(),
            unit_states: Vec::new(),
            units_error: None,
            units: HashMap::new(),
            commands: HashMap::new(),
            firewalls: HashMap::new(),
            accounts: HashMap::new(),
            account_files: HashSet::new(),
        }
    }
}

impl Seen {
    /// `RAWMODE MODE OWNER GROUP SIZE PATH`.
    pub fn stat_line(&mut self, line: &str) -> Result<(), String> {
        if line.is_empty() {
            return Ok(());
        }
        let f: Vec<&str> = line.splitn(6, ' ').collect();
        let &[raw, mode, owner, group, _size, path] = f.as_slice() else {
            return Err(format!("`{line}` is no answer of stat"));
        };
        let form = if raw.len() == 4 { raw.chars().next().unwrap_or('?') } else { '?' };
        let stat = Stat { form, mode: format!("{mode:0>4}"), owner: owner.to_owned(), group: group.to_owned() };
        self.stats.insert(path.to_owned(), stat);
        Ok(())
    }

    /// What stat complained of.
    pub fn missing_line(&mut self, line: &str) {
        match (line.find('\''), line.rfind('\'')) {
            (Some(a), Some(b)) if gone(line) && a < b => {
                self.missing.insert(line[a + 1..b].to_owned());
            }
            _ => self.errors.push(line.to_owned()),
        }
    }

    /// `DIGEST  PATH`; with a backslash before it when the path holds one.
    pub fn sum_line(&mut self, line: &str) -> Result<(), String> {
        if line.is_empty() {
            return Ok(());
        }
        let (digest, path) = line.split_once("  ").ok_or_else(|| format!("`{line}` is no digest"))?;
        self.sums.insert(path.to_owned(), digest.to_owned());
        Ok(())
    }

    /// `PACKAGE ARCH VERSION STATUS WANT NAME`.
    pub fn package_line(&mut self, line: &str) -> Result<(), String> {
        let f: Vec<&str> = line.split('\t').collect();
        let &[_, _, version, status, want, name] = f.as_slice() else {
            return Err(format!("`{line}` is no package"));
        };
        let found = (version.to_owned(), status.to_owned(), want.to_owned());
        let kept = self.packages.entry(name.to_owned()).or_insert_with(|| found.clone());
        // Of several architectures, the installed one.
        if kept.1 != "installed" && status == "installed" {
            *kept = found;
        }
        Ok(())
    }

    pub fn group_line(&mut self, line: &str) {
        let f: Vec<&str> = line.split(':').collect();
        if let &[name, _, gid, members] = f.as_slice() {
            self.groups.entry(name.to_owned()).or_insert_with(|| gid.to_owned());
            self.group_names.entry(gid.to_owned()).or_insert_with(|| name.to_owned());
            for m in members.split(',').filter(|m| !m.is_empty()) {
                self.members.entry(m.to_owned()).or_default().push(name.to_owned());
            }
        }
    }

    pub fn user_line(&mut self, line: &str) {
        let f: Vec<&str> = line.split(':').collect();
        if let &[name, _, uid, gid, comment, home, shell] = f.as_slice() {
            let [uid, gid, comment, home, shell] = [uid, gid, comment, home, shell].map(str::to_owned);
            self.users.entry(name.to_owned()).or_insert(Passwd { uid, gid, comment, home, shell });
        }
    }

    /// `y KEY LINE`, `n KEY` or `e KEY`.
    pub fn found_line(&mut self, text: &str) -> Result<(), String> {
        let f: Vec<&str> = text.splitn(3, '\t').collect();
        match f.as_slice() {
            ["y", key, line] => self.lines.insert((*key).to_owned(), Some((*line).to_owned())),
            ["n", key] => self.lines.insert((*key).to_owned(), None),
            ["e", ..] => None,
            _ => return Err(format!("`{text}` is no line")),
        };
        Ok(())
    }

    /// Units and their states come in the same order, once each.
    pub fn join_units(&mut self) -> Result<(), String> {
        if self.units_error.is_some() {
            return Ok(());
        }
        if self.unit_names.len() != self.unit_states.len() {
            return Err(format!("systemd answered for {} of {} units", self.unit_states.len(), self.unit_names.len()));
        }
        for (name, state) in self.unit_names.iter().zip(&self.unit_states) {
            let mut unit = Unit { found: true, enabled: "disabled", running: false };
            for word in state.split(' ') {
                match word.split_once('=').unwrap_or((word, "")) {
                    ("LoadState", v) => unit.found = v != "not-found",
                    ("ActiveState", v) => unit.running = v == "active" || v == "reloading",
                    ("UnitFileState", "enabled" | "static" | "alias" | "generated") => unit.enabled = "enabled",
                    ("UnitFileState", v) if v.starts_with("masked") => unit.enabled = "masked",
                    _ => {}
                }
            }
            self.units.insert(name.clone(), unit);
        }
        Ok(())
    }

    /// `None`: certainly not there.
    fn stat(&self, path: &str) -> Result<Option<&Stat>, String> {
        if let Some(stat) = self.stats.get(path) {
            return Ok(Some(stat));
        }
        if self.missing.contains(path) {
            return Ok(None);
        }
        // Paths with quotes are quoted otherwise in the complaint.
        match self.errors.iter().find(|e| e.contains(path) || e.replace("'\\''", "'").contains(path)) {
            Some(e) if gone(e) => Ok(None),
            Some(e) => Err(e.clone()),
            None => Err(format!("{path} cannot be looked at, or it changed while it was")),
        }
    }

    fn unit(&self, name: &str) -> Result<&Unit, String> {
        if let Some(e) = &self.units_error {
            return Err(format!("systemd does not answer: {e}"));
        }
        self.units.get(name).ok_or_else(|| format!("systemd says nothing of {name}"))
    }
}

/// Only these two complaints mean that nothing is there.
fn gone(complaint: &str) -> bool {
    complaint.ends_with(": No such file or directory") || complaint.ends_with(": Not a directory")
}

/// A value in the type in which it is wished, so that the two compare.
fn typed(wanted: Option<&Attrs>, name: &str, found: &str) -> Attr {
    match (wanted.and_then(|a| a.get(name)), found.parse()) {
        (Some(Attr::Int(_)), Ok(i)) => Attr::Int(i),
        (None, Ok(i)) if name == "uid" || name == "gid" => Attr::Int(i),
        (Some(Attr::List(_)), _) => {
            Attr::List(found.split([' ', ',']).filter(|s| !s.is_empty()).map(str::to_owned).collect())
        }
        _ => Attr::text(found),
    }
}

fn absent(fingerprint: impl Into<String>) -> Record {
    Record { present: false, attrs: Attrs::new(), fingerprint: fingerprint.into(), text: None }
}

fn present<const N: usize>(fingerprint: String, attrs: [(&str, Attr); N]) -> Record {
    let attrs = attrs.into_iter().map(|(n, a)| (n.to_owned(), a)).collect();
    Record { present: true, attrs, fingerprint, text: None }
}

/// The record of one resource.
pub fn record(inputs: &Inputs, wanted: Option<&Attrs>, seen: &Seen, state_key: &str) -> Result<Record, String> {
    let key = inputs.key.as_str();
    let mask = |raw: &str| match inputs.secret {
        true => Digest::of(format!("{state_key}:{raw}").as_bytes()),
        false => Digest(raw.to_owned()),
    };
    match inputs.kind {
        Kind::File | Kind::Binary | Kind::Unit => content(inputs, seen, &mask, &seen.sums),
        Kind::DnsZone => {
            let mut record = content(inputs, seen, &mask, &seen.zones)?;
            record.text = seen.zone_texts.get(&inputs.path).cloned();
            Ok(record)
        }
        Kind::Directory => directory(key, seen),
        Kind::Timer => {
            let file = content(inputs, seen, &mask, &seen.sums)?;
            if file.fingerprint == "absent" {
                return Ok(file);
            }
            let unit = seen.unit(key)?;
            let running = if unit.running { "running" } else { "stopped" };
            let mut record =
                Record { fingerprint: format!("timer {} {running} {}", unit.enabled, file.fingerprint), ..file };
            record.attrs.insert("enabled".into(), Attr::Bool(unit.enabled == "enabled"));
            record.attrs.insert("running".into(), Attr::Bool(unit.running));
            Ok(record)
        }
        Kind::Firewall => {
            let file = content(inputs, seen, &mask, &seen.sums)?;
            let loaded = *seen.firewalls.get(key).ok_or("the host says nothing of its rules")?;
            let word = if loaded { "loaded" } else { "unloaded" };
            if file.fingerprint == "absent" {
                return Ok(absent(if loaded { "firewall loaded absent" } else { "absent" }));
            }
            let mut record = Record { fingerprint: format!("firewall {word} {}", file.fingerprint), ..file };
            record.attrs.insert("loaded".into(), Attr::Bool(loaded));
            Ok(record)
        }
        Kind::Package => {
            seen.packages_asked.clone()?;
            let Some((version, status, want)) = seen.packages.get(key) else { return Ok(absent("absent")) };
            match status.as_str() {
                "installed" | "triggers-pending" | "triggers-awaited" => {
                    let hold = want == "hold";
                    let word = if hold { "hold" } else { "free" };
                    let attrs = [("version", Attr::text(version)), ("hold", Attr::Bool(hold))];
                    Ok(present(format!("package {version} {word}"), attrs))
                }
                "not-installed" | "config-files" => Ok(absent("absent")),
                other => Ok(absent(format!("broken {other} {version}"))),
            }
        }
        Kind::Group => {
            if !seen.users_asked {
                return Err("/etc/group cannot be read".into());
            }
            Ok(match seen.groups.get(key) {
                Some(gid) => present(format!("group {gid}"), [("gid", typed(wanted, "gid", gid))]),
                None => absent("absent"),
            })
        }
        Kind::User => user(key, wanted, seen),
        Kind::Line => {
            let path = inputs.place().unwrap_or_default();
            if seen.stat(&path)?.is_none() {
                return Ok(absent("absent"));
            }
            match seen.lines.get(key).ok_or_else(|| format!("{path} cannot be read"))? {
                Some(line) => Ok(present(format!("line {line}"), [("line", Attr::text(line))])),
                None => Ok(absent("absent")),
            }
        }
        Kind::Setting => {
            let name = key.strip_prefix("postfix:").filter(|n| !n.is_empty());
            let name = name.ok_or("no product of this name is known: only postfix:NAME")?;
            if seen.stat(&inputs.place().unwrap_or_default())?.is_none() {
                return Ok(absent("absent"));
            }
            if !seen.settings_asked {
                return Err("/etc/postfix/main.cf cannot be read".into());
            }
            Ok(match seen.settings.get(name) {
                Some(value) => present(format!("setting {value}"), [("value", typed(wanted, "value", value))]),
                None => absent("absent"),
            })
        }
        Kind::Command => {
            let satisfied = *seen.commands.get(key).ok_or("the host says nothing of its condition")?;
            let word = if satisfied { "satisfied" } else { "unsatisfied" };
            Ok(present(format!("command {word}"), [("satisfied", Attr::Bool(satisfied))]))
        }
        Kind::Service => {
            let name = unit_name(key);
            let unit = seen.unit(&name)?;
            if !unit.found {
                return Ok(absent("absent"));
            }
            let running = if unit.running { "running" } else { "stopped" };
            let attrs = [("enabled", Attr::Bool(unit.enabled == "enabled")), ("running", Attr::Bool(unit.running))];
            Ok(present(format!("service {} {running}", unit.enabled), attrs))
        }
        Kind::MailAccount => account(inputs, wanted, seen, &mask),
        Kind::RecordSet | Kind::Barrier | Kind::Wave => Err("neither records nor people live on a host".into()),
    }
}

fn unit_name(key: &str) -> String {
    let suffixes = [".service", ".socket", ".timer", ".target", ".path", ".mount"];
    if suffixes.iter().any(|s| key.ends_with(s)) { key.to_owned() } else { format!("{key}.service") }
}

fn content(
    inputs: &Inputs,
    seen: &Seen,
    mask: &dyn Fn(&str) -> Digest,
    digests: &HashMap<String, String>,
) -> Result<Record, String> {
    let path = inputs.place().unwrap_or_default();
    let Some(stat) = seen.stat(&path)? else { return Ok(absent("absent")) };
    let Stat { form, mode, owner, group } = stat;
    let attrs = [("owner", Attr::text(owner)), ("group", Attr::text(group)), ("mode", Attr::text(mode))];
    Ok(match form {
        '8' => {
            let raw = digests.get(&path).ok_or_else(|| format!("{path} cannot be read"))?;
            let digest = mask(raw);
            let mut record = present(format!("file {mode} {owner} {group} {digest}"), attrs);
            record.attrs.insert("content".into(), Attr::Digest(digest));
            record.text = seen.texts.get(&path).filter(|_| !inputs.secret).cloned();
            record
        }
        // Something else stands in the way: never equal to what is wished, since it has no content.
        'a' => {
            let target = seen.links.get(&path).map(String::as_str).unwrap_or_default();
            present(format!("symlink {owner} {group} {target}"), attrs)
        }
        '4' => present(format!("directory {mode} {owner} {group}"), attrs),
        _ => present(format!("other {owner} {group}"), attrs),
    })
}

fn directory(path: &str, seen: &Seen) -> Result<Record, String> {
    let Some(Stat { form, mode, owner, group }) = seen.stat(path)? else { return Ok(absent("absent")) };
    let attrs = [("owner", Attr::text(owner)), ("group", Attr::text(group)), ("mode", Attr::text(mode))];
    Ok(match form {
        '4' => present(format!("directory {mode} {owner} {group}"), attrs),
        // Not a folder: absent as such, and the step will refuse to touch what is there.
        '8' => absent(format!("file {mode} {owner} {group}")),
        'a' => {
            let target = seen.links.get(path).map(String::as_str).unwrap_or_default();
            absent(format!("symlink {owner} {group} {target}"))
        }
        _ => absent(format!("other {owner} {group}")),
    })
}

fn user(key: &str, wanted: Option<&Attrs>, seen: &Seen) -> Result<Record, String> {
    if !seen.users_asked {
        return Err("/etc/passwd cannot be read".into());
    }
    let Some(Passwd { uid, gid, comment, home, shell }) = seen.users.get(key) else { return Ok(absent("absent")) };
    let group = seen.group_names.get(gid).unwrap_or(gid);
    let mut groups = seen.members.get(key).cloned().unwrap_or_default();
    groups.sort();
    let list = if groups.is_empty() { "-".to_owned() } else { groups.join(",") };
    Ok(present(
        format!("user {uid} {group} {list} {shell} {home} {comment}"),
        [
            ("uid", typed(wanted, "uid", uid)),
            ("group", Attr::text(group)),
            ("groups", Attr::List(groups)),
            ("home", Attr::text(home)),
            ("shell", Attr::text(shell)),
            ("comment", Attr::text(comment)),
        ],
    ))
}

fn account(
    inputs: &Inputs,
    wanted: Option<&Attrs>,
    seen: &Seen,
    mask: &dyn Fn(&str) -> Digest,
) -> Result<Record, String> {
    if seen.stat(&inputs.file)?.is_none() {
        return Ok(absent("absent"));
    }
    let Some(line) = seen.accounts.get(&(inputs.file.clone(), inputs.key.clone())) else {
        return match seen.account_files.contains(&inputs.file) {
            true => Ok(absent("absent")),
            false => Err(format!("{} cannot be read", inputs.file)),
        };
    };
    // user:password:uid:gid:gecos:home:shell:extra (Dovecot, passwd-file).
    let f: Vec<&str> = line.splitn(8, ':').collect();
    let field = |i: usize| f.get(i).copied().unwrap_or_default();
    let quota = line.split_once("userdb_quota_rule=*:bytes=").map_or("", |(_, q)| {
        let end = q.find(|c: char| !c.is_ascii_digit()).unwrap_or(q.len());
        &q[..end]
    });
    let digest = mask(&Digest::of(field(1).as_bytes()).0);
    let dash = |s: &'_ str| if s.is_empty() { "-".to_owned() } else { s.to_owned() };
    let text = |name: &str, found: &str| match wanted.and_then(|a| a.get(name)) {
        Some(Attr::Int(_)) => typed(wanted, name, found),
        _ => Attr::text(found),
    };
    Ok(present(
        format!("mail-account {digest} {} {} {} {}", dash(field(2)), dash(field(3)), dash(quota), field(5)),
        [
            ("uid", text("uid", field(2))),
            ("gid", text("gid", field(3))),
            ("home", text("home", field(5))),
            ("quota", text("quota", quota)),
            ("password", Attr::Digest(digest)),
        ],
    ))
}
