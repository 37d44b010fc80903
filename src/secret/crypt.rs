//! Password hashes in the scheme that Dovecot calls SHA512-CRYPT.
//!
//! Source: Ulrich Drepper, "Unix crypt using SHA-256 and SHA-512", https://www.akkadia.org/drepper/SHA-crypt.txt;
//! Dovecot's `{SCHEME}` prefix: https://doc.dovecot.org/2.3/configuration_manual/authentication/password_schemes/

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use sha_crypt::{ROUNDS_DEFAULT, Sha512Params, sha512_crypt_b64};
use sha2::{Digest as _, Sha256};

/// `{SHA512-CRYPT}$6$salt$hash` with 5,000 rounds. The same password and `salt_seed` give the same line, so that a second plan
/// has nothing to change; the seed should differ for each account.
pub fn sha512_crypt(password: &[u8], salt_seed: &str) -> Result<String, String> {
    let salt = salt_of(salt_seed);
    let params = Sha512Params::new(ROUNDS_DEFAULT).map_err(|e| format!("{e:?}"))?;
    let hash = sha512_crypt_b64(password, salt.as_bytes(), &params).map_err(|e| format!("{e:?}"))?;
    Ok(format!("{{SHA512-CRYPT}}$6${salt}${hash}"))
}

/// Sixteen characters of the crypt alphabet (`./0-9A-Za-z`) from any text.
fn salt_of(seed: &str) -> String {
    let digest = Sha256::digest(format!("cutover password salt {seed}"));
    STANDARD_NO_PAD.encode(digest).replace('+', ".").chars().take(16).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn verifies_as_crypt_and_is_stable() {
        let line = sha512_crypt(b"correct horse", "ann@acme.example").expect("hash");
        assert_eq!(line, sha512_crypt(b"correct horse", "ann@acme.example").expect("hash"));
        let hash = line.strip_prefix("{SHA512-CRYPT}").expect("prefix");
        assert!(sha_crypt::sha512_check("correct horse", hash).is_ok());
        assert!(sha_crypt::sha512_check("wrong", hash).is_err());
        assert_ne!(line, sha512_crypt(b"correct horse", "bob@acme.example").expect("hash"));
    }

    #[test]
    fn salt_has_the_crypt_alphabet() {
        for n in 0..200 {
            let salt = salt_of(&n.to_string());
            assert_eq!(salt.len(), 16);
            assert!(salt.chars().all(|c| c.is_ascii_alphanumeric() || c == '.' || c == '/'), "{salt}");
        }
    }
}
