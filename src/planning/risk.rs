//! Which steps could cut us off from their host. The dead man's switch is armed before the first of them.

use crate::model::address::{Address, Kind};
use crate::model::attr::Attrs;
use crate::model::host::HostAccess;
use crate::model::step::Action;

use super::index::path_of;

/// A change of or under one of these can end logins or the network.
const PATHS: [&str; 9] = [
    "/etc/ssh",
    "/etc/network",
    "/etc/netplan",
    "/etc/systemd/network",
    "/etc/systemd/resolved.conf",
    "/etc/resolv.conf",
    "/etc/pam.d",
    "/etc/doas.conf",
    "/etc/nsswitch.conf",
];

/// The same with whatever follows: nftables.conf and nftables.d, sudoers and sudoers.d.
const PREFIXES: [&str; 2] = ["/etc/nftables", "/etc/sudoers"];

const SERVICES: [&str; 8] = [
    "ssh",
    "sshd",
    "networking",
    "systemd-networkd",
    "systemd-resolved",
    "nftables",
    "NetworkManager",
    "systemd-logind",
];

/// Without these we are not let in, or may do nothing.
const PACKAGES: [&str; 5] = ["openssh-server", "sudo", "doas", "opendoas", "systemd-resolved"];

pub fn risky(address: &Address, action: Action, attrs: &Attrs, host: Option<&HostAccess>) -> bool {
    let user = host.map(|h| h.user.as_str()).unwrap_or("root");
    let path = path_of(address.kind, &address.key, attrs.get("path").and_then(|a| a.as_text()));
    if let Some(path) = &path
        && (PATHS.iter().any(|p| path.strip_prefix(p).is_some_and(|rest| rest.is_empty() || rest.starts_with('/')))
            || PREFIXES.iter().any(|p| path.starts_with(p))
            || opens_login(path, user))
    {
        return true;
    }
    match address.kind {
        Kind::Firewall => true,
        Kind::Service | Kind::Unit => SERVICES.contains(&address.key.trim_end_matches(".service")),
        Kind::Package => PACKAGES.contains(&address.key.as_str()) && action != Action::Create,
        Kind::User => address.key == user,
        _ => false,
    }
}

/// Keys of the user that we log in as.
fn opens_login(path: &str, user: &str) -> bool {
    let home = if user == "root" { "/root".to_owned() } else { format!("/home/{user}") };
    path == home || path.strip_prefix(&home).is_some_and(|rest| rest.starts_with("/.ssh"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::HostName;

    fn is(kind: Kind, key: &str, action: Action) -> bool {
        risky(&Address::new(&HostName::from("a"), kind, key), action, &Attrs::new(), None)
    }

    #[test]
    fn what_lets_us_in_is_risky() {
        for (kind, key) in [
            (Kind::Firewall, "mail"),
            (Kind::File, "/etc/ssh/sshd_config.d/10.conf"),
            (Kind::File, "/etc/nftables.conf"),
            (Kind::Line, "/etc/sudoers#wheel"),
            (Kind::File, "/root/.ssh/authorized_keys"),
            (Kind::Service, "ssh"),
            (Kind::User, "root"),
            (Kind::Unit, "ssh.service"),
        ] {
            assert!(is(kind, key, Action::Update), "{kind}:{key}");
        }
        assert!(is(Kind::Package, "sudo", Action::Delete));
    }

    #[test]
    fn mail_is_not() {
        for (kind, key) in [
            (Kind::File, "/etc/postfix/main.cf"),
            (Kind::Service, "postfix"),
            (Kind::User, "vmail"),
            (Kind::Package, "postfix"),
            (Kind::File, "/etc/sshguard"),
        ] {
            assert!(!is(kind, key, Action::Update), "{kind}:{key}");
        }
        assert!(!is(Kind::Package, "sudo", Action::Create));
    }
}
