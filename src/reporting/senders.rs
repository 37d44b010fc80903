//! What a receiver finds of the senders of a domain, for people and programs.

use std::fmt::Write as _;

use serde::Serialize;

/// What `dns senders` found.
#[derive(Debug, Clone, Default, PartialEq, Serialize, schemars::JsonSchema)]
pub struct SendersReport {
    pub domains: Vec<SpfSeen>,
    pub hosts: Vec<HostSeen>,
}

/// The SPF policy of one domain as resolvers give it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, schemars::JsonSchema)]
pub struct SpfSeen {
    pub domain: String,
    /// `null`: there is none.
    pub record: Option<String>,
    /// Terms that ask DNS, nested ones too; ten are allowed (RFC 7208, section 4.6.4).
    pub lookups: usize,
    /// Of these, those that found nothing; two are allowed.
    pub void: usize,
    pub trouble: Vec<String>,
}

/// One address that mail leaves from.
#[derive(Debug, Clone, Default, PartialEq, Serialize, schemars::JsonSchema)]
pub struct HostSeen {
    /// What the host calls itself.
    pub helo: String,
    pub address: String,
    /// What its PTR records say.
    pub names: Vec<String>,
    pub trouble: Vec<String>,
}

impl SendersReport {
    pub fn fine(&self) -> bool {
        self.domains.iter().all(|d| d.trouble.is_empty()) && self.hosts.iter().all(|h| h.trouble.is_empty())
    }
}

/// One line for each domain and each address, and below it what is wrong.
pub fn senders_text(report: &SendersReport) -> String {
    let mut out = String::new();
    let word = |trouble: &[String]| if trouble.is_empty() { "ok" } else { "WRONG" };
    for d in &report.domains {
        let _ = writeln!(out, "{} SPF: {} lookups, {} void: {}", d.domain, d.lookups, d.void, word(&d.trouble));
        for t in &d.trouble {
            let _ = writeln!(out, "    {t}");
        }
    }
    for h in &report.hosts {
        let names = if h.names.is_empty() { "no name".to_owned() } else { h.names.join(", ") };
        let _ = writeln!(out, "{} {}: {names}: {}", h.helo, h.address, word(&h.trouble));
        for t in &h.trouble {
            let _ = writeln!(out, "    {t}");
        }
    }
    out
}
