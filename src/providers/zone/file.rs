//! A zone as a master file on a host, which others may write too: only the lines of the sets that change are touched.

use std::sync::{Mutex, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

use crate::model::Digest;
use crate::model::dns::SetChange;
use crate::model::host::{HostAccess, HostError, HostErrorKind, ZoneAccess, ZoneFile};
use crate::protocol::dns::{Transferred, newer};
use crate::protocol::master::{Date, MasterFile};
use crate::transport::Transport;
use crate::transport::refusal::error;

use super::super::answer::marker;
use super::super::script::{Assembly, Part};
use super::super::shell::ShellAgent;
use super::channel::Refusal;

/// Seconds that a server may take to check and load its file.
const LIMIT: u64 = 300;

/// The file of one zone.
pub struct FileChannel<'a, T> {
    pub shell: &'a ShellAgent<T>,
    /// The zone as a place.
    pub lane: &'a HostAccess,
    pub zone: &'a ZoneAccess,
    pub file: &'a ZoneFile,
    pub organization: &'a str,
    /// As it was read last. The host compares before it writes, so nothing is lost when somebody was faster.
    pub seen: Mutex<Option<Found>>,
}

/// The file as it was found.
pub struct Found {
    file: MasterFile,
    /// Of its octets.
    digest: Digest,
    today: Date,
    latin: bool,
    /// The serial that the server has in memory, as it prints it.
    loaded: String,
}

/// What a script works with, beside the zone.
#[derive(Default)]
struct Given<'a> {
    /// The server writes its journal into the file first.
    flush: bool,
    /// Of the file as it was read.
    digest: &'a str,
    loaded: &'a str,
    payload: Option<Zeroizing<Vec<u8>>>,
}

impl<T: Transport> FileChannel<'_, T> {
    pub async fn look(&self) -> Result<Transferred, HostError> {
        let found = self.read().await?;
        let (sets, soa) = (found.file.sets(), found.file.soa());
        let seen = Transferred {
            serial: soa.serial,
            negative_ttl: soa.negative_ttl,
            refresh: soa.refresh,
            records: sets.values().map(|s| s.data.len()).sum::<usize>() + 1,
            sets,
        };
        self.remember(found);
        Ok(seen)
    }

    /// All changes by one new file, or none.
    pub async fn send(&self, changes: &[SetChange]) -> Result<(), Refusal> {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner).take();
        let found = match seen {
            Some(found) => found,
            None => self.read().await.map_err(Refusal::Lost)?,
        };
        let sets = found.file.sets();
        if let Some(key) = changes.iter().find(|c| c.key().and_then(|k| sets.get(k)) != c.before.as_ref()) {
            let key = key.key().map(ToString::to_string).unwrap_or_default();
            return Err(Refusal::Changed(format!("{key} has changed in {}", self.file.path)));
        }
        let text = found.file.edit(changes, found.today).map_err(|e| {
            let line = e.line(found.file.text());
            Refusal::Denied(format!("{} line {line}: {}; {}", self.file.path, e.message, e.help))
        })?;
        let octets = Zeroizing::new(match found.latin {
            true => text.chars().map(|c| u8::try_from(u32::from(c)).unwrap_or(b'?')).collect(),
            false => text.into_bytes(),
        });
        let (mut changed, mut written, mut refused) = (false, false, Vec::new());
        let given = Given { flush: false, digest: &found.digest.0, loaded: &found.loaded, payload: Some(octets) };
        self.script("zf_write", given, |word, rest| match word {
            "changed" => changed = true,
            "written" => written = true,
            "refused" => refused.push(rest.to_owned()),
            _ => {}
        })
        .await
        .map_err(Refusal::Lost)?;
        match (changed, refused.is_empty(), written) {
            (true, ..) => Err(Refusal::Changed(format!("{} has changed", self.file.path))),
            (_, false, _) => Err(Refusal::Denied(format!("the name server does not take it: {}", refused.join("; ")))),
            (_, _, true) => Ok(()),
            _ => Err(Refusal::Lost(self.bad("the script did not say what became of the file"))),
        }
    }

    fn remember(&self, found: Found) {
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner) = Some(found);
    }

    /// With what stands in the server's journal only, if something does.
    async fn read(&self) -> Result<Found, HostError> {
        let found = self.read_file(false).await?;
        let ahead = found.loaded.parse().is_ok_and(|loaded| newer(loaded, found.file.soa().serial));
        let found = if ahead { self.read_file(true).await? } else { found };
        if let Ok(loaded) = found.loaded.parse()
            && newer(found.file.soa().serial, loaded)
        {
            let message = format!(
                "{} has serial {}, and the server still serves {loaded}: somebody changed the file and it was not loaded",
                self.file.path,
                found.file.soa().serial
            );
            let help =
                "look at what was changed, let the server load it (rndc reload, knotc zone-reload), then plan again";
            return Err(error(self.lane, HostErrorKind::Protocol, message, Some(help.to_owned())));
        }
        Ok(found)
    }

    async fn read_file(&self, flush: bool) -> Result<Found, HostError> {
        let (mut coded, mut today, mut loaded) = (String::new(), None, String::new());
        self.script("zf_look", Given { flush, ..Given::default() }, |word, rest| match word {
            "text" => coded.push_str(rest),
            "today" => today = date(rest),
            "server" => loaded = rest.split_once(' ').map_or("", |(_, serial)| serial).trim().to_owned(),
            _ => {}
        })
        .await?;
        let octets = STANDARD.decode(&coded).map_err(|_| self.bad("its text did not arrive whole"))?;
        let digest = Digest::of(&octets);
        // Comments of another time may be in another character set; each octet goes back as it came.
        let (text, latin) = match String::from_utf8(octets) {
            Ok(text) => (text, false),
            Err(e) => (e.as_bytes().iter().copied().map(char::from).collect(), true),
        };
        let file = MasterFile::read(&self.zone.zone, text.as_str()).map_err(|e| {
            let message = format!("{} line {}: {}", self.file.path, e.line(&text), e.message);
            error(self.lane, HostErrorKind::Protocol, message, Some(e.help))
        })?;
        let today = today.ok_or_else(|| self.bad("the host does not say what day it is"))?;
        Ok(Found { file, digest, today, latin, loaded })
    }

    async fn script(&self, call: &str, given: Given<'_>, on: impl FnMut(&str, &str) + Send) -> Result<(), HostError> {
        let host = &self.file.host;
        let (marker, root) = (marker(), self.shell.root(host, self.organization)?);
        let view = if self.zone.view == "both" { "" } else { self.file.view.as_deref().unwrap_or_default() };
        let mut script = Assembly::new(0);
        script.set("M", &marker).set("R", &root).set("F", &self.file.path).set("N", &self.zone.zone).set("V", view);
        script.set("K", self.lane.name.0.strip_prefix("zone.").unwrap_or(&self.lane.name.0)).set("D", given.digest);
        script.set("W", if given.flush { "1" } else { "" }).set("L", given.loaded);
        script.set("S", &given.payload.as_deref().map(|p| Digest::of(p).0).unwrap_or_default());
        script.part(Part::Base).part(Part::ZoneFile).line(call).line("say end");
        let mut script = ShellAgent::<T>::script(script.done(), LIMIT);
        script.payload = given.payload;
        // The error names the zone: that is what could not be asked or changed.
        self.shell.ask(host, &marker, script, on).await.map_err(|e| HostError {
            host: self.lane.name.clone(),
            message: format!("its file on {}: {}", host.name, e.message),
            ..e
        })
    }

    fn bad(&self, message: &str) -> HostError {
        error(self.lane, HostErrorKind::Protocol, format!("its file on {}: {message}", self.file.host.name), None)
    }
}

/// `2026 11 22`.
fn date(text: &str) -> Option<Date> {
    let mut parts = text.split(' ');
    let (year, month, day) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
    Some(Date { year, month, day })
}
