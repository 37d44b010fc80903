//! Hashes of passwords that the old side has: a passwd-file (Dovecot's `USER:{SCHEME}HASH:..`), or what looks like one (shadow(5),
//! htpasswd). <https://doc.dovecot.org/2.3/configuration_manual/authentication/password_schemes/>

use std::collections::HashMap;

use zeroize::Zeroizing;

use super::crypt;

/// Schemes that Dovecot 2.3 and 2.4 know and that do not give the password away.
const SCHEMES: [&str; 22] = [
    "ARGON2I",
    "ARGON2ID",
    "BLF-CRYPT",
    "CRYPT",
    "DES-CRYPT",
    "LDAP-MD5",
    "MD5",
    "MD5-CRYPT",
    "PBKDF2",
    "PLAIN-MD5",
    "SCRAM-SHA-1",
    "SCRAM-SHA-256",
    "SHA",
    "SHA1",
    "SHA256",
    "SHA256-CRYPT",
    "SHA512",
    "SHA512-CRYPT",
    "SMD5",
    "SSHA",
    "SSHA256",
    "SSHA512",
];
/// No hashes: made into one here.
const PLAIN: [&str; 3] = ["PLAIN", "CLEARTEXT", "CLEAR"];

/// What crypt(3) writes in front, and the scheme that it is.
const SIGNS: [(&str, &str); 10] = [
    ("$6$", "SHA512-CRYPT"),
    ("$5$", "SHA256-CRYPT"),
    ("$2y$", "BLF-CRYPT"),
    ("$2a$", "BLF-CRYPT"),
    ("$2b$", "BLF-CRYPT"),
    ("$argon2id$", "ARGON2ID"),
    ("$argon2i$", "ARGON2I"),
    ("$1$", "MD5-CRYPT"),
    ("$apr1$", ""),
    ("$y$", "CRYPT"),
];

/// `ADDRESS=REFERENCE`. A local part may hold `=`, as VERP has it; a domain does not.
pub(super) fn user_and_file(text: &str) -> Option<(&str, &str)> {
    let domain = text.find('@')?;
    let end = domain + text.get(domain..)?.find('=')?;
    Some((text.get(..end)?, text.get(end + 1..)?))
}

/// Users in lower case with what stands behind them.
pub(super) struct Passwd(HashMap<String, Zeroizing<String>>);

impl Passwd {
    /// Lines that name nobody are passed over: whoever is asked for and missing is told of by name.
    pub(super) fn parse(octets: &[u8]) -> Self {
        let text = Zeroizing::new(String::from_utf8_lossy(octets).into_owned());
        let lines = text.lines().map(str::trim).filter(|l| !l.is_empty() && !l.starts_with('#'));
        let users = lines.filter_map(|l| {
            let (user, rest) = l.split_once(':')?;
            let field = rest.split(':').next().unwrap_or_default();
            Some((user.to_lowercase(), Zeroizing::new(field.to_owned())))
        });
        Self(users.collect())
    }

    /// `{SCHEME}HASH` of an address, or of its local part where the file has those. Errors never hold a hash.
    pub(super) fn hash(&self, address: &str) -> Result<Zeroizing<Vec<u8>>, String> {
        let address = address.to_lowercase();
        let local = address.split_once('@').map_or(address.as_str(), |(local, _)| local);
        let field = self.0.get(&address).or_else(|| self.0.get(local));
        let field = field.ok_or_else(|| format!("the passwd-file has no line of {address}"))?;
        let bytes = |text: String| Ok(Zeroizing::new(text.into_bytes()));
        if let Some((scheme, rest)) = field.strip_prefix('{').and_then(|f| f.split_once('}')) {
            let small = scheme.to_ascii_uppercase();
            // `{SSHA.HEX}` says how it is written down.
            let name = small.split('.').next().unwrap_or_default();
            if rest.is_empty() {
                return Err(format!("the password of {address} is empty there"));
            }
            if PLAIN.contains(&name) {
                return bytes(crypt::sha512_crypt(rest.as_bytes(), &address)?);
            }
            return match SCHEMES.contains(&name) {
                true => bytes(field.to_string()),
                false => Err(format!("the scheme {{{name}}} of {address} is none that Dovecot checks")),
            };
        }
        let signed = SIGNS.iter().find(|(sign, _)| field.starts_with(sign));
        match signed {
            Some((_, "")) => Err(format!("the hash of {address} is of a kind (apr1) that Dovecot does not check")),
            Some((_, scheme)) => bytes(format!("{{{scheme}}}{}", field.as_str())),
            // shadow(5): no password, or a locked one.
            None if field.is_empty() || field.starts_with(['!', '*', 'x']) && field.len() < 3 => {
                Err(format!("{address} has no password there, or a locked one"))
            }
            None if field.starts_with(['!', '*']) => Err(format!("the password of {address} is locked there")),
            None if field.len() == 13 => bytes(format!("{{DES-CRYPT}}{}", field.as_str())),
            None => Err(format!("what stands behind {address} is no hash: write it with its {{SCHEME}}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(line: &str) -> Result<String, String> {
        let hash = Passwd::parse(line.as_bytes()).hash("Ann@acme.example")?;
        Ok(String::from_utf8(hash.to_vec()).expect("text"))
    }

    #[test]
    fn hashes_keep_their_scheme_or_get_the_one_that_they_show() {
        assert_eq!(of("ann@acme.example:{SSHA}abcd=:1000:1000::/home::\n").unwrap(), "{SSHA}abcd=");
        assert_eq!(of("ann@acme.example:{ssha512.hex}00ff").unwrap(), "{ssha512.hex}00ff");
        assert_eq!(of("# x\n\nann:$6$salt$hash:19000:0:::::\n").unwrap(), "{SHA512-CRYPT}$6$salt$hash");
        assert_eq!(of("ANN@ACME.example:$2y$05$abc\n").unwrap(), "{BLF-CRYPT}$2y$05$abc");
        assert_eq!(of("ann:$argon2id$v=19$m=65536").unwrap(), "{ARGON2ID}$argon2id$v=19$m=65536");
        assert_eq!(of("ann:abJnggxhB/yWI").unwrap(), "{DES-CRYPT}abJnggxhB/yWI");
        assert!(of("ann@acme.example:{PLAIN}secret").unwrap().starts_with("{SHA512-CRYPT}$6$"));
        // The whole address wins over the local part.
        assert_eq!(of("ann:{SHA}x\nann@acme.example:{SHA}y\n").unwrap(), "{SHA}y");
    }

    #[test]
    fn an_address_may_hold_the_sign_that_ends_it() {
        assert_eq!(user_and_file("ann@a.test=file:x=y"), Some(("ann@a.test", "file:x=y")));
        assert_eq!(user_and_file("a=b@a.test=env:P"), Some(("a=b@a.test", "env:P")));
        assert_eq!(user_and_file("nobody=file:x"), None);
    }

    #[test]
    fn who_has_no_hash_is_told_of_and_nothing_is_shown() {
        let wrong = [
            "bob:{SSHA}x",
            "ann:!",
            "ann:!$6$salt$secrethash",
            "ann:x",
            "ann:",
            "ann:{SSHA}",
            "ann:{ROT13}secret",
            "ann:$apr1$secret",
            "ann:secretword",
        ];
        for line in wrong {
            let said = of(line).expect_err(line);
            assert!(said.contains("ann@acme.example") && !said.contains("secret"), "{line}: {said}");
        }
    }
}
