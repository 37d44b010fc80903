//! TLSA records of the hosts that take mail (RFC 7672): usage 3, the digest of the certificate's public key (3 1 1). A certificate that
//! is renewed keeps its key, and so its record; where the key changes, that of the next certificate is published beside it.

use std::collections::BTreeMap;

use crate::model::topology::NodeId;

use super::super::certificate::Issued;
use super::super::survey::{Survey, refs};
use super::zones::Zones;
use super::{Composed, covers, exchangers};

impl<'t> Composed<'t> {
    /// For each host of the domain's MX records that the topology knows. Certificates that are stand-ins have no digest.
    pub(super) fn dane(
        &mut self,
        survey: &Survey<'t>,
        zones: &Zones<'t>,
        domain: &str,
        issued: &BTreeMap<String, Issued>,
    ) {
        for host in exchangers::of(survey, zones, domain) {
            let Some(server) = survey.servers.values().find(|s| s.fqdn.eq_ignore_ascii_case(&host)) else { continue };
            let id = NodeId::new("server", server.name);
            let shown = survey.topology.all("certificate").filter(|c| {
                let services = c.texts("services");
                refs(c, "on").any(|s| *s == id)
                    && (services.is_empty() || services.contains(&"smtp"))
                    && c.texts("names").into_iter().chain(c.text("subject")).any(|n| covers(n, &host))
            });
            let mut digests: Vec<&str> = shown
                .filter_map(|c| issued.get(c.id.name.as_str()))
                .flat_map(|i| i.keys.iter().map(String::as_str))
                .collect();
            digests.sort_unstable();
            digests.dedup();
            for digest in digests {
                self.record(zones, &format!("_25._tcp.{host}"), "TLSA", format!("3 1 1 {digest}"));
            }
        }
    }
}
