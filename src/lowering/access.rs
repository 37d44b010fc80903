//! How each server is reached: its `connection`, with defaults.

use std::collections::BTreeMap;

use crate::model::host::{Become, HostAccess, Reach};
use crate::model::topology::{Node, Topology};
use crate::model::{Diagnostic, Diagnostics, HostName};

use super::survey::{Server, Survey};

/// Access of every server. Without a connection: SSH as root to port 22.
pub fn hosts(survey: &Survey<'_>, diagnostics: &mut Diagnostics) -> BTreeMap<HostName, HostAccess> {
    let servers = survey.servers.values();
    servers.map(|s| (HostName::from(s.name), access(survey.topology, s, diagnostics))).collect()
}

fn access(topology: &Topology, server: &Server<'_>, diagnostics: &mut Diagnostics) -> HostAccess {
    let own = server.node.children("connection").next();
    let named = server.node.text("connection").and_then(|name| topology.get("connection", name));
    let connection = own.or(named);
    let text = |field: &str| connection.and_then(|c| c.text(field));
    let secret = |field: &str| connection.and_then(|c| c.secret(field)).cloned();
    if let Some(c) = connection {
        refuse(c, diagnostics);
    }
    HostAccess {
        name: HostName::from(server.name),
        reach: if text("transport") == Some("local") { Reach::Local } else { Reach::Ssh },
        address: server.address().to_owned(),
        port: connection.and_then(|c| c.int("port")).and_then(|p| u16::try_from(p).ok()).unwrap_or(22),
        user: text("user").unwrap_or("root").to_owned(),
        key: secret("key"),
        jump: text("jump").filter(|j| *j != server.name).map(HostName::from),
        become_: match text("become") {
            Some("sudo") => Become::Sudo,
            Some("doas") => Become::Doas,
            _ => Become::None,
        },
        become_password: secret("become-password"),
        host_key: text("host-key").map(str::to_owned),
        timeout_seconds: connection.and_then(|c| c.duration("timeout")).map_or(30, |d| d.as_secs().max(1)),
    }
}

/// What a connection can say and no transport does.
fn refuse(connection: &Node, diagnostics: &mut Diagnostics) {
    if let Some(password) = connection.value("password") {
        diagnostics.push(
            Diagnostic::error("E1009", "logging in by password is not supported")
                .label(password.span, "OpenSSH is run in batch mode, which takes keys only")
                .help("write key=(secret)\"file:keys/admin\" and put its public half on the host"),
        );
    }
    if let Some(how) = connection.value("become").filter(|_| connection.text("become") == Some("runas")) {
        diagnostics.push(
            Diagnostic::error("E1009", "become=runas is for Windows hosts, which are not managed yet")
                .label(how.span, "not supported")
                .help("use sudo or doas"),
        );
    }
}
