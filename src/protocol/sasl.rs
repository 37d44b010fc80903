//! The SASL mechanisms of mail clients: PLAIN (RFC 4616), LOGIN (draft-murchison-sasl-login), XOAUTH2 (Google, Microsoft),
//! OAUTHBEARER (RFC 7628). Messages only; whoever speaks a protocol wraps them.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

/// What a mechanism is called in CAPABILITY, CAPA and EHLO.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Mechanism {
    Plain,
    Login,
    XOAuth2,
    OAuthBearer,
}

impl Mechanism {
    pub const ALL: [Mechanism; 4] = [Mechanism::Plain, Mechanism::Login, Mechanism::XOAuth2, Mechanism::OAuthBearer];

    pub fn as_str(self) -> &'static str {
        match self {
            Mechanism::Plain => "PLAIN",
            Mechanism::Login => "LOGIN",
            Mechanism::XOAuth2 => "XOAUTH2",
            Mechanism::OAuthBearer => "OAUTHBEARER",
        }
    }

    /// By name, whatever its case.
    pub fn named(name: &[u8]) -> Option<Mechanism> {
        Self::ALL.into_iter().find(|m| name.eq_ignore_ascii_case(m.as_str().as_bytes()))
    }

    /// Whether the credentials are an access token and not a password.
    pub fn is_token(self) -> bool {
        matches!(self, Mechanism::XOAuth2 | Mechanism::OAuthBearer)
    }
}

/// What somebody says to be, and how they prove it. `Debug` shows no secret.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    /// Who proves to be there (authentication identity): UTF-8 without control characters, never empty.
    pub user: String,
    /// As whom they want to act (authorization identity), when that is somebody else.
    pub acts_as: Option<String>,
    pub proof: Proof,
}

#[derive(Clone, PartialEq, Eq)]
pub enum Proof {
    /// Octets without NUL, CR and LF.
    Password(Zeroizing<Vec<u8>>),
    /// An OAuth 2.0 access token (RFC 6750): letters, digits and `-._~+/=`.
    Token(Zeroizing<String>),
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Credentials").field("user", &self.user).field("acts_as", &self.acts_as).finish_non_exhaustive()
    }
}

/// Why credentials are refused before anybody is asked. Names no value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CredentialFault {
    #[error("the response is not Base64")]
    NotBase64,
    #[error("the response is not a message of this mechanism")]
    NotAMessage,
    #[error("the user name is empty")]
    NoUser,
    #[error("a name is not UTF-8")]
    NotUtf8,
    /// Such a name would be a command of its own at the other side (CVE-2022-27924), or a line of its own in a log.
    #[error("a name or password holds a control character")]
    Control,
    #[error("a name is longer than 512 octets or a password longer than 4096")]
    TooLong,
}

const NAME: usize = 512;
const SECRET: usize = 4096;

impl Credentials {
    pub fn password(user: &[u8], acts_as: &[u8], password: &[u8]) -> Result<Self, CredentialFault> {
        if password.iter().any(|b| matches!(b, 0 | b'\r' | b'\n')) {
            return Err(CredentialFault::Control);
        }
        if password.len() > SECRET {
            return Err(CredentialFault::TooLong);
        }
        Ok(Self {
            user: name(user)?,
            acts_as: other(acts_as, user)?,
            proof: Proof::Password(Zeroizing::new(password.to_vec())),
        })
    }

    fn token(user: &[u8], token: &[u8]) -> Result<Self, CredentialFault> {
        if token.len() > SECRET {
            return Err(CredentialFault::TooLong);
        }
        let allowed = |b: &u8| b.is_ascii_alphanumeric() || b"-._~+/=".contains(b);
        if token.is_empty() || !token.iter().all(allowed) {
            return Err(CredentialFault::NotAMessage);
        }
        let token = std::str::from_utf8(token).map_err(|_| CredentialFault::NotUtf8)?;
        Ok(Self { user: name(user)?, acts_as: None, proof: Proof::Token(Zeroizing::new(token.to_owned())) })
    }

    /// From the one message of PLAIN, XOAUTH2 or OAUTHBEARER. LOGIN has two; see [`Credentials::password`].
    pub fn of_message(mechanism: Mechanism, message: &[u8]) -> Result<Self, CredentialFault> {
        match mechanism {
            Mechanism::Plain => {
                let parts: Vec<&[u8]> = message.split(|b| *b == 0).collect();
                match parts.as_slice() {
                    [acts_as, user, password] => Self::password(user, acts_as, password),
                    _ => Err(CredentialFault::NotAMessage),
                }
            }
            Mechanism::Login => Err(CredentialFault::NotAMessage),
            Mechanism::XOAuth2 => {
                let mut user = None;
                let mut token = None;
                for field in message.split(|b| *b == 1).filter(|f| !f.is_empty()) {
                    match field.split_at_checked(5) {
                        Some((b"user=", rest)) => user = Some(rest),
                        Some((b"auth=", rest)) => token = bearer(rest),
                        _ => return Err(CredentialFault::NotAMessage),
                    }
                }
                let (Some(user), Some(token)) = (user, token) else { return Err(CredentialFault::NotAMessage) };
                Self::token(user, token)
            }
            Mechanism::OAuthBearer => {
                // gs2-header kvsep *kvpair kvsep, RFC 7628 section 3.1.
                let mut fields = message.split(|b| *b == 1);
                let header = fields.next().unwrap_or_default();
                let user = gs2(header).ok_or(CredentialFault::NotAMessage)?;
                let token = fields.find_map(|f| f.strip_prefix(b"auth=").and_then(bearer));
                Self::token(&user, token.ok_or(CredentialFault::NotAMessage)?)
            }
        }
    }

    /// The one message of a mechanism; nothing when it cannot carry these credentials.
    pub fn message(&self, mechanism: Mechanism) -> Option<Zeroizing<Vec<u8>>> {
        let mut out = Zeroizing::new(Vec::with_capacity(64 + self.user.len() + SECRET));
        match (mechanism, &self.proof) {
            (Mechanism::Plain, Proof::Password(password)) => {
                out.extend_from_slice(self.acts_as.as_deref().unwrap_or("").as_bytes());
                out.push(0);
                out.extend_from_slice(self.user.as_bytes());
                out.push(0);
                out.extend_from_slice(password);
            }
            (Mechanism::XOAuth2, Proof::Token(token)) => {
                for part in ["user=", &self.user, "\x01auth=Bearer ", token, "\x01\x01"] {
                    out.extend_from_slice(part.as_bytes());
                }
            }
            (Mechanism::OAuthBearer, Proof::Token(token)) => {
                let user = self.user.replace('=', "=3D").replace(',', "=2C");
                for part in ["n,a=", &user, ",\x01auth=Bearer ", token, "\x01\x01"] {
                    out.extend_from_slice(part.as_bytes());
                }
            }
            _ => return None,
        }
        Some(out)
    }
}

/// Base64 with padding, nothing else around it: what a peer sends as one response.
pub fn decode(text: &[u8]) -> Result<Zeroizing<Vec<u8>>, CredentialFault> {
    STANDARD.decode(text).map(Zeroizing::new).map_err(|_| CredentialFault::NotBase64)
}

pub fn encode(message: &[u8]) -> Zeroizing<String> {
    Zeroizing::new(STANDARD.encode(message))
}

fn name(octets: &[u8]) -> Result<String, CredentialFault> {
    if octets.is_empty() {
        return Err(CredentialFault::NoUser);
    }
    if octets.len() > NAME {
        return Err(CredentialFault::TooLong);
    }
    let text = std::str::from_utf8(octets).map_err(|_| CredentialFault::NotUtf8)?;
    if text.chars().any(|c| c.is_control() || matches!(c, '\u{2028}' | '\u{2029}')) {
        return Err(CredentialFault::Control);
    }
    Ok(text.to_owned())
}

fn other(acts_as: &[u8], user: &[u8]) -> Result<Option<String>, CredentialFault> {
    if acts_as.is_empty() || acts_as == user { Ok(None) } else { name(acts_as).map(Some) }
}

fn bearer(value: &[u8]) -> Option<&[u8]> {
    let (scheme, token) = value.split_at_checked(7)?;
    scheme.eq_ignore_ascii_case(b"Bearer ").then_some(token)
}

/// The authzid of a gs2-header `n,a=USER,` (RFC 5801, section 4); empty is no user.
fn gs2(header: &[u8]) -> Option<Vec<u8>> {
    let rest = header.strip_prefix(b"n,a=").or_else(|| header.strip_prefix(b"y,a="))?;
    let name = rest.strip_suffix(b",")?;
    let mut out = Vec::with_capacity(name.len());
    let mut left = name;
    while let [first, rest @ ..] = left {
        match (first, rest) {
            (b'=', [b'2', b'C', rest @ ..]) => (out.push(b','), left = rest).1,
            (b'=', [b'3', b'D', rest @ ..]) => (out.push(b'='), left = rest).1,
            (b'=' | b',', _) => return None,
            _ => (out.push(*first), left = rest).1,
        }
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn messages_of_the_documents() {
        // RFC 4616, section 4.
        let c = Credentials::of_message(Mechanism::Plain, b"Ursel\0Kurt\0xipj3plmq").unwrap();
        assert_eq!((c.user.as_str(), c.acts_as.as_deref()), ("Kurt", Some("Ursel")));
        let same = Credentials::of_message(Mechanism::Plain, b"tim\0tim\0tanstaaftanstaaf").unwrap();
        assert_eq!(same.acts_as, None);
        // RFC 7628, section 4.1.
        let text = b"n,a=user@example.com,\x01host=server.example.com\x01port=143\x01auth=Bearer vF9dft4qmTc2Nvb3RlckBhbHRhdmlzdGEuY29tCg==\x01\x01";
        let c = Credentials::of_message(Mechanism::OAuthBearer, text).unwrap();
        assert_eq!(c.user, "user@example.com");
        assert!(matches!(&c.proof, Proof::Token(t) if t.starts_with("vF9d")));
        let c = Credentials::of_message(Mechanism::XOAuth2, b"user=a@b\x01auth=Bearer t0ken\x01\x01").unwrap();
        assert_eq!(c.user, "a@b");
    }

    #[test]
    fn what_is_no_message_is_refused() {
        use CredentialFault::*;
        let plain = |m: &[u8]| Credentials::of_message(Mechanism::Plain, m).unwrap_err();
        assert_eq!(plain(b""), NotAMessage);
        assert_eq!(plain(b"\0a\0b\0c"), NotAMessage);
        assert_eq!(plain(b"\0\0secret"), NoUser);
        assert_eq!(plain(b"\0bob\r\nPASS x\0y"), Control);
        assert_eq!(plain(b"\0bob\0pass\r\nDELE 1"), Control);
        assert_eq!(plain(b"\0b\xffb\0y"), NotUtf8);
        assert_eq!(plain(&[&b"\0bob\0"[..], &[b'x'; 5000]].concat()), TooLong);
        assert_eq!(decode(b"AG=").unwrap_err(), NotBase64);
        assert_eq!(decode(b"AG E=").unwrap_err(), NotBase64);
        let x = |m: &[u8]| Credentials::of_message(Mechanism::XOAuth2, m).unwrap_err();
        assert_eq!(x(b"user=a\x01auth=Bearer a b\x01\x01"), NotAMessage);
        assert_eq!(x(b"user=a\x01auth=Basic abc\x01\x01"), NotAMessage);
    }

    #[test]
    fn a_secret_is_not_shown() {
        let c = Credentials::password(b"bob", b"", b"canary").unwrap();
        assert!(!format!("{c:?}").contains("canary"));
    }

    proptest! {
        /// Who logs in is who arrives at the other side, whatever the mechanism: no octet of a name or password changes its place.
        #[test]
        fn what_goes_out_is_what_came_in(user in "[^\\p{Cc}\u{2028}\u{2029}]{1,40}", acts in "[^\\p{Cc}\u{2028}\u{2029}]{0,40}",
            password in prop::collection::vec(any::<u8>().prop_filter("none of the three", |b| !matches!(b, 0 | 10 | 13)), 0..80),
            token in "[A-Za-z0-9._~+/=-]{1,80}")
        {
            let c = Credentials::password(user.as_bytes(), acts.as_bytes(), &password).unwrap();
            let m = c.message(Mechanism::Plain).unwrap();
            prop_assert_eq!(&Credentials::of_message(Mechanism::Plain, &m).unwrap(), &c);
            let t = Credentials::token(user.as_bytes(), token.as_bytes()).unwrap();
            for mechanism in [Mechanism::XOAuth2, Mechanism::OAuthBearer] {
                let m = t.message(mechanism).unwrap();
                prop_assert_eq!(&Credentials::of_message(mechanism, &m).unwrap(), &t);
            }
        }

        #[test]
        fn nothing_from_outside_panics(message in prop::collection::vec(any::<u8>(), 0..200)) {
            for mechanism in Mechanism::ALL {
                if let Ok(c) = Credentials::of_message(mechanism, &message) {
                    prop_assert!(!c.user.chars().any(char::is_control));
                }
            }
        }
    }
}
