//! What ssh and sudo say when they refuse, made into errors for people.

use crate::model::host::{Become, HostAccess, HostError, HostErrorKind};

use super::Exit;
use super::boot::CUT_OFF;

/// An error about `host`.
pub fn error(host: &HostAccess, kind: HostErrorKind, message: impl Into<String>, help: Option<String>) -> HostError {
    HostError { host: host.name.clone(), kind, message: message.into(), help }
}

fn place(host: &HostAccess) -> String {
    let jump = host.jump.as_ref().map(|j| format!(" through {j}")).unwrap_or_default();
    format!("{}@{}:{}{jump}", host.user, host.address, host.port)
}

/// The last line that says something, without ssh's decoration.
fn telling(log: &str) -> String {
    let noise = |l: &&str| {
        let l = l.trim();
        !l.is_empty()
            && !l.starts_with('@')
            && !l.starts_with("Warning: Permanently added")
            && !l.contains("post-quantum")
            && !l.starts_with("** ")
    };
    let lines: Vec<&str> = log.lines().filter(noise).collect();
    let last = lines.last().copied().unwrap_or("ssh ended without a word");
    // A jump host's own failure comes first and tells more than "Connection closed by UNKNOWN".
    let chosen = if last.contains("UNKNOWN port") && lines.len() > 1 { lines[lines.len() - 2] } else { last };
    chosen.trim().trim_end_matches('\r').to_owned()
}

/// Why ssh could not connect.
pub fn of_connect(host: &HostAccess, log: &str) -> HostError {
    let at = place(host);
    let said = telling(log);
    let has = |needle: &str| log.contains(needle);
    if has("REMOTE HOST IDENTIFICATION HAS CHANGED") || has("has changed and you have requested strict checking") {
        return error(
            host,
            HostErrorKind::HostKey,
            format!("the host key of {at} is not the one that is known for it"),
            Some(format!(
                "somebody may stand in between. Ask whoever runs the machine; if it was set up anew, take the old key out with \
                 `ssh-keygen -R {}` and put the new one in host-key= or known_hosts",
                host.address
            )),
        );
    }
    if has("host key is known for") || has("Host key verification failed") {
        return error(
            host,
            HostErrorKind::HostKey,
            format!("the host key of {at} is not known"),
            Some(format!(
                "compare the key with the one that the machine's administrator names, then write it as host-key= at the server \
                 or add it to known_hosts (`ssh-keyscan -p {} {}` shows it)",
                host.port, host.address
            )),
        );
    }
    if has("Permission denied") || has("Too many authentication failures") || has("no mutual signature") {
        let key = match &host.key {
            Some(key) => format!("the key {key}"),
            None => "the default keys and those of the agent".to_owned(),
        };
        return error(
            host,
            HostErrorKind::Denied,
            format!("{at} refuses {key}: {said}"),
            Some(format!(
                "is the public key in ~{}/.ssh/authorized_keys there, and may this user log in? Try `ssh -p {} {}@{}`",
                host.user, host.port, host.user, host.address
            )),
        );
    }
    if has("Bad configuration option") || has("terminating, ") || has("bad ownership or modes") {
        return error(host, HostErrorKind::Protocol, format!("ssh cannot be used for {at}: {said}"), None);
    }
    let help = if has("Could not resolve hostname") {
        "the name is not in DNS here: write an address= that this machine can resolve, or an IP address"
    } else if has("Connection refused") {
        "the machine answers but no sshd listens on this port: is it running, is the port right?"
    } else {
        "is the machine up, and is it reachable from here (firewall, VPN, jump host)?"
    };
    error(host, HostErrorKind::Unreachable, format!("{at} cannot be reached: {said}"), Some(help.to_owned()))
}

/// Why a script did not even start, from its exit status and standard error.
pub fn of_start(host: &HostAccess, exit: &Exit) -> HostError {
    let said = telling(&exit.stderr);
    let has = |needle: &str| exit.stderr.contains(needle);
    let become_error = |message: String, help: &str| error(host, HostErrorKind::Become, message, Some(help.to_owned()));
    let at = place(host);
    if host.become_ != Become::None {
        let tool = if host.become_ == Become::Sudo { "sudo" } else { "doas" };
        if has("password is required") || has("a terminal is required") || has("no password was provided") {
            return become_error(
                format!("{tool} at {at} wants a password"),
                "write become-password= as a secret reference, or give the user NOPASSWD in sudoers",
            );
        }
        if has("incorrect password")
            || has("Sorry, try again")
            || has("Authentication failed")
            || has("Authorization required")
        {
            return become_error(
                format!("{tool} at {at} refuses the password: {said}"),
                "does become-password= name the secret of this user on this machine?",
            );
        }
        if has("not in the sudoers file")
            || has("may not run sudo")
            || has("not allowed to execute")
            || has("Operation not permitted")
        {
            return become_error(
                format!("{} may not become root at {at}: {said}", host.user),
                "add the user to sudoers (or doas.conf) on the machine, or log in as root",
            );
        }
        if exit.code == Some(127) || has("not found") {
            return become_error(
                format!("there is no {tool} at {at}"),
                "install it on the machine, choose another become=, or log in as root",
            );
        }
    }
    match exit.code {
        None => {
            error(host, HostErrorKind::Lost, format!("the connection to {at} broke before the script started"), None)
        }
        Some(CUT_OFF) => {
            error(host, HostErrorKind::Lost, format!("the script reached {at} cut off; nothing of it ran"), None)
        }
        Some(code) => error(
            host,
            HostErrorKind::Protocol,
            format!("no script can be run at {at}: exit status {code}: {said}"),
            Some("the login shell must run `sh -c` and leave standard input alone".to_owned()),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(become_: Become) -> HostAccess {
        HostAccess { user: "ops".into(), become_, ..HostAccess::at("mail-1", "192.0.2.7") }
    }

    fn kind(log: &str) -> HostErrorKind {
        of_connect(&host(Become::None), log).kind
    }

    #[test]
    fn what_ssh_says_becomes_a_kind() {
        use HostErrorKind::*;
        assert_eq!(kind("ssh: connect to host 192.0.2.7 port 22: Connection refused\r\n"), Unreachable);
        assert_eq!(kind("ssh: connect to host 192.0.2.7 port 22: Connection timed out\r\n"), Unreachable);
        assert_eq!(kind("ssh: Could not resolve hostname nowhere: Name or service not known\r\n"), Unreachable);
        assert_eq!(kind("ops@192.0.2.7: Permission denied (publickey,password).\r\n"), Denied);
        assert_eq!(
            kind(
                "No ED25519 host key is known for 192.0.2.7 and you have requested strict checking.\r\nHost key verification failed.\r\n"
            ),
            HostKey
        );
        assert_eq!(
            kind("@@@\n@ WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED!     @\n@@@\nHost key verification failed."),
            HostKey
        );
    }

    #[test]
    fn a_changed_key_is_told_from_an_unknown_one() {
        let changed = of_connect(
            &host(Become::None),
            "@ WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED! @\nHost key verification failed.",
        );
        assert!(changed.message.contains("not the one that is known"), "{changed}");
        let unknown =
            of_connect(&host(Become::None), "No ED25519 host key is known for x\nHost key verification failed.");
        assert!(unknown.message.contains("is not known"), "{unknown}");
    }

    #[test]
    fn what_sudo_says_becomes_help() {
        let exit = |code, stderr: &str| Exit { code: Some(code), stderr: stderr.into() };
        for (code, stderr) in [
            (1, "sudo: a password is required"),
            (1, "Sorry, try again.\nsudo: 3 incorrect password attempts"),
            (1, "ops is not in the sudoers file."),
            (127, "sh: 1: sudo: not found"),
        ] {
            let e = of_start(&host(Become::Sudo), &exit(code, stderr));
            assert_eq!(e.kind, HostErrorKind::Become, "{stderr}");
            assert!(e.help.is_some());
        }
        assert_eq!(of_start(&host(Become::None), &exit(1, "boom")).kind, HostErrorKind::Protocol);
        assert_eq!(
            of_start(&host(Become::None), &Exit { code: None, stderr: String::new() }).kind,
            HostErrorKind::Lost
        );
    }
}
