//! The way back of a window as a plan holds it: until when it is open, what it restores, and what makes an apply go back by itself.

use serde::{Deserialize, Serialize};

use super::HostName;
use super::attr::SecretRef;
use super::cutover::clock;
use super::dns::RecordSet;
use super::unit::{Percent, format_duration};

/// A rollback point, as the window that names it has it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize, schemars::JsonSchema)]
pub struct WayBack {
    pub point: String,
    /// Unix seconds: after that it is not gone any more.
    pub until: i64,
    /// In which people are shown the time.
    pub timezone: String,
    /// `dns`, `routes`, `mailbox-delta`, `config`, `database`, `snapshot`.
    pub restores: Vec<String>,
    pub triggers: Vec<Trigger>,
}

/// A condition that stops a run, or takes back what it did.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Trigger {
    pub name: String,
    pub when: Condition,
    /// Seconds for which it has to hold without a pass in between.
    pub holds: u64,
    pub rolls_back: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Condition {
    /// So many of the people of a wave (millionths of a per cent) did not arrive, or are held still.
    Failed { share: u64 },
    /// Of the targets of a probe so many fail; without a share, any of them.
    Probe { probe: Box<Probe>, share: Option<u64> },
    /// The rule of a monitor fires.
    Rule(Box<Alert>),
    /// Nobody evaluates it yet.
    Unasked { what: String },
}

/// The alert of a monitor's rule, and who can say whether it fires.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Alert {
    pub monitor: String,
    pub rule: String,
    /// As Prometheus names it.
    pub alert: String,
    /// How many servers the rule looks at.
    pub servers: u64,
    /// Whose Prometheus evaluates it.
    pub host: HostName,
}

impl Alert {
    /// As a topology names the rule.
    pub fn label(&self) -> String {
        format!("{}.{}", self.monitor, self.rule)
    }
}

/// A synthetic transaction.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Probe {
    pub name: String,
    pub what: Transaction,
    pub targets: Vec<Target>,
    /// Seconds between two looks.
    pub every: u64,
    /// Milliseconds until an answer is none.
    pub timeout: u64,
    /// Milliseconds within which the whole of it has to be done.
    pub within: Option<u64>,
    pub account: Option<String>,
    pub password: Option<SecretRef>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Transaction {
    /// The port by which the host is managed takes a connection.
    Heartbeat,
    /// The greeting, and where there is an account, whether mail for it is taken.
    Smtp,
    /// The greeting over TLS, and where there is an account, a login.
    Imap,
    Pop,
    /// The server answers for the zone with authority.
    Dns,
    /// A letter that is sent through the server and looked for in the mailbox of its account.
    Roundtrip,
    /// TLS with a certificate that is valid and its own.
    Tls,
    /// A login over TLS where users hand in mail.
    Submission,
}

impl Transaction {
    pub fn parse(word: &str) -> Option<Self> {
        Some(match word {
            "heartbeat" => Transaction::Heartbeat,
            "smtp" => Transaction::Smtp,
            "imap" => Transaction::Imap,
            "pop" => Transaction::Pop,
            "dns" => Transaction::Dns,
            "roundtrip" => Transaction::Roundtrip,
            "tls" => Transaction::Tls,
            "submission" => Transaction::Submission,
            _ => return None,
        })
    }

    pub fn as_str(self) -> &'static str {
        match self {
            Transaction::Heartbeat => "heartbeat",
            Transaction::Smtp => "smtp",
            Transaction::Imap => "imap",
            Transaction::Pop => "pop",
            Transaction::Dns => "dns",
            Transaction::Roundtrip => "roundtrip",
            Transaction::Tls => "tls",
            Transaction::Submission => "submission",
        }
    }
}

/// What a probe asks.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Target {
    /// The name that its certificate has to hold; of a zone, the zone.
    pub name: String,
    /// Where it is reached.
    pub address: String,
    pub port: u16,
    /// For people, where it is a host of the topology.
    pub host: Option<HostName>,
    /// What a name server has to say beside that it holds the zone.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sets: Vec<RecordSet>,
}

impl WayBack {
    /// Whether the way is closed at this time (Unix seconds).
    pub fn is_over(&self, now: i64) -> bool {
        now > self.until
    }

    /// For a plan: until when, and what goes back by itself.
    pub fn told(&self) -> String {
        let until = clock(self.until, &self.timezone);
        let mut text = format!("the way back to {} is open until {until}", self.point);
        for t in &self.triggers {
            text += &format!("; {}", t.told());
        }
        text
    }
}

impl Trigger {
    pub fn told(&self) -> String {
        let share = |s: &u64| Percent(*s).to_string();
        let when = match &self.when {
            Condition::Failed { share: s } => format!("{} of a wave do not arrive", share(s)),
            Condition::Probe { probe, share: None } => format!("probe {} fails", probe.name),
            Condition::Probe { probe, share: Some(s) } => {
                format!("probe {} fails at {} of its targets", probe.name, share(s))
            }
            Condition::Rule(alert) => format!("rule {} fires", alert.label()),
            Condition::Unasked { what } => return format!("trigger {} never fires: {what}", self.name),
        };
        let held = match self.holds {
            0 => String::new(),
            s => format!(" for {}", format_duration(std::time::Duration::from_secs(s))),
        };
        let does = if self.rolls_back { "what was done is taken back" } else { "the run stops" };
        format!("when {when}{held}, {does} (trigger {})", self.name)
    }

    /// Milliseconds between two looks.
    pub fn every(&self) -> u64 {
        match &self.when {
            Condition::Probe { probe, .. } => probe.every.max(1) * 1_000,
            // One answer over SSH, and Prometheus itself looks no oftener as a rule.
            Condition::Rule(_) => 5_000,
            Condition::Failed { .. } | Condition::Unasked { .. } => 1_000,
        }
    }
}

/// Whether so many of all are the share, and at least one.
pub fn reaches(part: u64, all: u64, share: u64) -> bool {
    part > 0 && u128::from(part) * 100_000_000 >= u128::from(share) * u128::from(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_reached_by_one_at_least() {
        let share = |text: &str| Percent::parse(text).map_or(0, |p| p.0);
        assert!(reaches(1, 5, share("20%")) && !reaches(1, 6, share("20%")));
        assert!(!reaches(0, 5, share("0%")) && reaches(1, 5_000, share("0%")));
        assert!(reaches(5, 5, share("100%")) && !reaches(4, 5, share("100%")));
    }
}
