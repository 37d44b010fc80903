//! Role packs and lowering: from a topology to resources and contents.
#![allow(clippy::unwrap_used)] // a test may end so

use std::path::Path;

use cutover::cli::packs;
use cutover::lowering::{self, Options};
use cutover::model::site::Site;
use cutover::model::{Attr, Diagnostics, Severity, Sources};

use crate::support::small_topology::topology;

const QUICKSTART: &str = include_str!("../cases/packs/quickstart.kdl");

fn lower(text: &str, root: &Path) -> (Site, Diagnostics, Sources) {
    let mut sources = Sources::default();
    let mut diagnostics = Diagnostics::default();
    let topology = topology(&mut sources, text);
    let packs = packs::load(root, &mut sources, &mut diagnostics);
    let options = Options::unissued(&lowering::needs(&topology));
    let (site, more) = lowering::lower(&topology, &packs, &sources, &options);
    diagnostics.extend(more);
    (site, diagnostics, sources)
}

/// The content of a resource, secrets by name.
fn content(site: &Site, address: &str) -> String {
    let resource = site.resources.iter().find(|r| r.address.to_string() == address);
    let resource = resource.unwrap_or_else(|| panic!("no {address}"));
    let Some(Attr::Content(c)) = resource.attrs.get("content") else { panic!("{address} has no content") };
    site.bodies[&c.id].shown().unwrap()
}

#[test]
fn the_quickstart_lowers_without_errors() {
    let (site, diagnostics, _) = lower(QUICKSTART, Path::new("/nonexistent"));
    let errors: Vec<_> = diagnostics.iter().filter(|d| d.severity == Severity::Error).collect();
    assert!(errors.is_empty(), "{errors:#?}");
    assert_eq!(site.hosts.len(), 4);
    assert!(content(&site, "server.gate/file:/etc/postfix/main.cf").ends_with("smtpd_timeout = 30s\n"));
}
