//! What a configuration must hold beyond its form. All mistakes at once.

use std::collections::BTreeSet;

use super::{Config, PasswordMode, RouteSource, Tls, Verify};
use crate::services::proxy::rewrite::{LoginForm, Rewrite};
use crate::services::proxy::route::Route;

impl Config {
    /// Reads and judges a configuration. Each error names its key and says what to write.
    pub fn parse(text: &str) -> Result<Self, Vec<String>> {
        let config: Self = toml::from_str(text).map_err(|e| vec![e.to_string().trim_end().to_owned()])?;
        let faults = config.faults();
        if faults.is_empty() { Ok(config) } else { Err(faults) }
    }

    /// The rules for logins.
    pub fn rewrite(&self) -> Rewrite {
        let mut substitutes: Vec<(String, String)> =
            self.rewrite.substitute.iter().map(|(from, to)| (from.clone(), to.clone())).collect();
        substitutes.sort_by_key(|(from, _)| std::cmp::Reverse(from.len()));
        Rewrite {
            substitutes,
            lower_case: self.rewrite.lower_case,
            suffixes: self.rewrite.suffix.iter().map(|(ip, s)| (ip.to_canonical(), s.clone())).collect(),
            domains: self.rewrite.domain.iter().map(|(from, to)| (from.to_lowercase(), to.clone())).collect(),
        }
    }

    fn faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        let mut fault = |at: &str, text: String| faults.push(format!("{at}: {text}"));
        if self.proxy.name.is_empty() || self.proxy.name.contains(|c: char| c.is_control() || c == ' ') {
            fault("proxy.name", "write the host name that clients use".into());
        }
        if self.listeners.is_empty() {
            fault("listen", "no listener: write [[listen]] with protocol and address".into());
        }
        let mut taken = BTreeSet::new();
        for (n, l) in self.listeners.iter().enumerate() {
            let at = format!("listen {}", n + 1);
            if l.address.is_none() && l.socket.is_none() {
                fault(&at, "write address = \"[::]:143\", or socket = \"NAME\" of one that systemd holds".into());
            }
            if let Some(address) = l.address
                && address.port() != 0
                && !taken.insert(address)
            {
                fault(&at, format!("{address} is taken by another listener"));
            }
            if l.tls != Tls::None && self.certificates.is_empty() {
                fault(
                    &at,
                    "TLS needs a certificate: write [[certificate]] with chain and key, or tls = \"none\"".into(),
                );
            }
            if l.tls == Tls::None && !l.plain_login {
                fault(&at, "nobody can log in: there is no TLS, and plain-login is false".into());
            }
            for route in [Route::Old, Route::New] {
                if self.sides.back(route, l.protocol).is_none() {
                    let (side, protocol) = (route.as_str(), l.protocol.as_str());
                    fault(&at, format!("the {side} side has no {protocol}: write [side.{side}.{protocol}]"));
                }
            }
            let bad = l.ehlo.iter().flatten().find(|word| word.contains(|c: char| c.is_control()) || word.is_empty());
            if let Some(word) = bad {
                fault(&at, format!("ehlo: {word:?} is no EHLO keyword"));
            }
        }
        for (side, of) in [("old", &self.sides.old), ("new", &self.sides.new)] {
            for (protocol, back) in [("imap", &of.imap), ("pop3", &of.pop3), ("submission", &of.submission)] {
                let Some(back) = back else { continue };
                let at = format!("side.{side}.{protocol}");
                if back.servers.is_empty() {
                    fault(&at, "servers: write [\"HOST:PORT\"]".into());
                }
                for server in &back.servers {
                    let parts = server.rsplit_once(':').map(|(host, port)| (host.is_empty(), port.parse::<u16>()));
                    if !matches!(parts, Some((false, Ok(1..)))) {
                        fault(&at, format!("servers: `{server}` is not HOST:PORT"));
                    }
                }
                if let Err(text) = back.login.parse::<LoginForm>() {
                    fault(&at, format!("login: {text}"));
                }
                let pin = |p: &&String| {
                    let hex = p.strip_prefix("sha256:");
                    !hex.is_some_and(|h| h.len() == 64 && h.bytes().all(|b| b.is_ascii_hexdigit()))
                };
                if let Some(bad) = back.pins.iter().find(pin) {
                    fault(&at, format!("pins: `{bad}` is not `sha256:` with 64 hexadecimal digits"));
                }
                if (back.verify == Verify::Pin) == back.pins.is_empty() {
                    fault(&at, "pins and verify = \"pin\" go together".into());
                }
            }
        }
        if (self.routes.source == RouteSource::File) != self.routes.file.is_some() {
            fault("routes", "file and source = \"file\" go together".into());
        }
        if let Some(d) = &self.directory {
            for server in &d.servers {
                if !server.starts_with("ldap://") && !server.starts_with("ldaps://") {
                    fault("directory.servers", format!("`{server}` begins with neither ldap:// nor ldaps://"));
                }
                if server.starts_with("ldaps://") && d.starttls {
                    fault("directory.starttls", format!("`{server}` is encrypted from its first octet"));
                }
            }
            if d.servers.is_empty() {
                fault("directory.servers", "write [\"ldaps://HOST\"]".into());
            }
            if !d.filter.contains("{user}") && !d.filter.contains("{name}") {
                fault("directory.filter", "it names no user: everybody would be one; write {user} or {name}".into());
            }
            if d.bind_dn.is_some() != d.password_file.is_some() {
                fault("directory", "bind-dn and password-file go together".into());
            }
            if d.old.is_empty() && d.new.is_empty() {
                fault(
                    "directory",
                    format!("which values of `{}` mean old or new? write old = [..] or new = [..]", d.attribute),
                );
            }
        }
        let p = &self.passwords;
        if p.mode == PasswordMode::Capture {
            match &p.recipient {
                None => fault(
                    "passwords.recipient",
                    "capture needs an age public key; its private key stays offline".into(),
                ),
                Some(key) if key.parse::<age::x25519::Recipient>().is_err() => {
                    fault("passwords.recipient", format!("`{key}` is no age public key (age1..)"));
                }
                Some(_) => {}
            }
        } else if p.recipient.is_some() {
            fault("passwords.recipient", "nothing is captured: write mode = \"capture\", or leave it out".into());
        }
        for from in self.rewrite.substitute.keys().filter(|from| from.is_empty()) {
            fault("rewrite.substitute", format!("{from:?} is nothing that could be substituted"));
        }
        for suffix in self.rewrite.suffix.values().filter(|s| !s.starts_with('@') || s.len() < 2) {
            fault("rewrite.suffix", format!("`{suffix}` is not @DOMAIN"));
        }
        faults
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = r#"
[proxy]
name = "mail.acme.example"
[[listen]]
protocol = "imap"
address = "[::]:143"
[[certificate]]
chain = "/c.pem"
key = "/k.pem"
[side.old.imap]
servers = ["192.0.2.20:143"]
tls = "none"
[side.new.imap]
servers = ["mail-1.acme.example:143", "[2001:db8::1]:143"]
"#;

    #[test]
    fn a_small_configuration_is_read() {
        let config = Config::parse(GOOD).unwrap();
        assert_eq!(config.limits.login_timeout.as_secs(), 60);
        assert_eq!(config.routes.default, Route::Old);
        assert_eq!(config.listeners[0].tls, Tls::Starttls);
    }

    #[test]
    fn mistakes_are_named_all_at_once() {
        let text = format!(
            "{GOOD}login = \"admin\"\n[[listen]]\nprotocol = \"pop3\"\naddress = \"[::]:143\"\ntls = \"none\"\n[passwords]\nmode = \"capture\"\n"
        );
        let faults = Config::parse(&text).unwrap_err();
        insta::assert_snapshot!(faults.join("\n"), @r#"
        listen 2: [::]:143 is taken by another listener
        listen 2: nobody can log in: there is no TLS, and plain-login is false
        listen 2: the old side has no pop3: write [side.old.pop3]
        listen 2: the new side has no pop3: write [side.new.pop3]
        side.new.imap: login: `admin` names no user; write {user} or {name}
        passwords.recipient: capture needs an age public key; its private key stays offline
        "#);
    }

    #[test]
    fn an_unknown_key_is_no_comment() {
        let faults = Config::parse(&format!("{GOOD}verfy = \"none\"\n")).unwrap_err();
        assert!(faults[0].contains("verfy") && faults[0].contains("line"), "{faults:?}");
        let faults = Config::parse(&format!("{GOOD}[limits]\nlogin-timeout = \"soon\"\n")).unwrap_err();
        assert!(faults[0].contains("`soon` is no duration"), "{faults:?}");
    }
}
