//! The batched look: one script in, one observation out.

use std::collections::{BTreeMap, HashMap};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::model::HostName;
use crate::model::attr::Attrs;
use crate::model::observed::{Facts, Lease, Observation, Owned};
use crate::model::resource::{NotifyHow, Resource};

use super::inputs::Inputs;
use super::record::{Seen, record};
use super::{answer, ledger};

/// Rows that ask for the desired resources.
pub fn rows(resources: &[Resource]) -> Result<String, String> {
    let mut out = String::with_capacity(resources.len() * 96);
    for r in resources {
        let inputs = Inputs::of(r.address.kind, &r.address.key, &r.attrs);
        inputs.check()?;
        out.push_str(&inputs.row(true));
        out.push('\n');
    }
    Ok(out)
}

/// What the host said, line by line.
#[derive(Default)]
pub struct Answer {
    pub facts: Facts,
    pub uid: Option<u32>,
    pub ended: bool,
    owned: Vec<Owned>,
    pending: BTreeMap<String, NotifyHow>,
    lease: Option<Lease>,
    armed: Option<String>,
    seen: Seen,
    bad: Option<String>,
}

impl Answer {
    /// Takes one line of ours. What cannot be read is kept as the answer's fault.
    pub fn take(&mut self, word: &str, rest: &str) {
        if let Err(e) = self.read(word, rest) {
            self.bad.get_or_insert(e);
        }
    }

    fn read(&mut self, word: &str, rest: &str) -> Result<(), String> {
        let seen = &mut self.seen;
        match word {
            "uid" => self.uid = rest.parse().ok(),
            "os" => self.facts.os = rest.to_owned(),
            "hostname" => self.facts.hostname = rest.to_owned(),
            "arch" => self.facts.arch = rest.to_owned(),
            "own" => self.owned.push(ledger::read(rest)?),
            "st" => seen.stat_line(rest)?,
            "no" => seen.missing_line(rest),
            "ln" => {
                let (target, path) = rest.split_once('\t').ok_or("a link without a path")?;
                seen.links.insert(path.to_owned(), target.to_owned());
            }
            "su" => seen.sum_line(rest)?,
            "tx" | "tz" => {
                let (content, path) = rest.split_once(' ').ok_or("a text without a path")?;
                let bytes = STANDARD.decode(content).map_err(|e| format!("a text that is not base64: {e}"))?;
                if let Ok(text) = String::from_utf8(bytes)
                    && !text.contains('\0')
                {
                    let texts = if word == "tx" { &mut seen.texts } else { &mut seen.zone_texts };
                    texts.insert(path.to_owned(), text);
                }
            }
            "zo" => {
                let (digest, path) = rest.split_once(' ').ok_or("a zone without a path")?;
                seen.zones.insert(path.to_owned(), digest.to_owned());
            }
            "pk-ok" => seen.packages_asked = Ok(()),
            "pk-error" => seen.packages_asked = Err(rest.to_owned()),
            "pk" => seen.package_line(rest)?,
            "gr" => seen.group_line(rest),
            "pw" => seen.user_line(rest),
            "pw-ok" => seen.users_asked = true,
            "se" => {
                let (name, value) = rest.split_once('\t').ok_or("a setting without a value")?;
                seen.settings.insert(name.to_owned(), value.to_owned());
            }
            "se-ok" => seen.settings_asked = true,
            "li" => seen.found_line(rest)?,
            "un" => seen.unit_names.push(rest.to_owned()),
            "sv" => seen.unit_states.push(rest.to_owned()),
            "sv-error" => seen.units_error = Some(rest.to_owned()),
            "co" => {
                let (yes, key) = rest.split_once(' ').ok_or("a command without a key")?;
                seen.commands.insert(key.to_owned(), yes == "y");
            }
            "fw" => {
                let (state, key) = rest.split_once(' ').ok_or("a firewall without a key")?;
                seen.firewalls.insert(key.to_owned(), state == "loaded");
            }
            "ma" => {
                let (file, line) = rest.split_once('\t').ok_or("an account without a file")?;
                let key = line.split(':').next().unwrap_or_default();
                seen.accounts.insert((file.to_owned(), key.to_owned()), zeroize::Zeroizing::new(line.to_owned()));
            }
            "ma-ok" => {
                seen.account_files.insert(rest.to_owned());
            }
            "pe" => {
                let (how, service) = rest.split_once(' ').ok_or("a reload without a service")?;
                let how = if how == "restart" { NotifyHow::Restart } else { NotifyHow::Reload };
                self.pending.insert(service.to_owned(), how);
            }
            "le" => self.lease = Some(answer::lease(rest)?),
            "ar" => self.armed = Some(rest.to_owned()),
            "end" => self.ended = true,
            _ => {}
        }
        Ok(())
    }

    /// Makes records of everything. One resource that could not be looked at fails the whole: it is not "absent".
    pub fn observation(mut self, host: &HostName, resources: &[Resource], key: &str) -> Result<Observation, String> {
        if let Some(bad) = self.bad {
            return Err(bad);
        }
        self.seen.join_units()?;
        let mut records = BTreeMap::new();
        let mut troubles = Vec::new();
        let former: HashMap<(_, &str), &Attrs> =
            self.owned.iter().map(|o| ((o.kind, o.key.as_str()), &o.attrs)).collect();
        let mut look = |kind, name: &str, attrs: &Attrs, wanted: bool| {
            let inputs = Inputs::of(kind, name, attrs);
            match record(&inputs, wanted.then_some(attrs), &self.seen, key) {
                Ok(r) => {
                    records.insert(format!("{kind}:{name}"), r);
                }
                Err(e) => troubles.push(format!("{kind}:{name}: {e}")),
            }
        };
        for r in resources {
            look(r.address.kind, &r.address.key, &r.attrs, true);
        }
        let wanted: std::collections::HashSet<_> =
            resources.iter().map(|r| (r.address.kind, r.address.key.as_str())).collect();
        for (&(kind, name), attrs) in former.iter().filter(|(k, _)| !wanted.contains(*k)) {
            look(kind, name, attrs, false);
        }
        if let Some(first) = troubles.first() {
            return Err(format!("{} resources cannot be looked at, first {first}", troubles.len()));
        }
        self.owned.sort_by(|a, b| (a.kind, &a.key).cmp(&(b.kind, &b.key)));
        Ok(Observation {
            host: host.clone(),
            facts: self.facts,
            records,
            owned: self.owned,
            pending: self.pending,
            lease: self.lease,
            armed: self.armed,
            zone: None,
        })
    }
}
