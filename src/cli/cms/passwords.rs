//! References to passwords: `file:PATH`, `env:NAME`, and `captured` for what the proxy kept of a user's logins.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Deserialize;
use zeroize::Zeroizing;

use crate::model::SecretRef;
use crate::secret::decrypt;
use crate::services::cms::config::Config;
use crate::services::cms::people::Passwords;
use crate::services::proxy::proof::file_name;

/// Octets of a file that holds a password.
const LONGEST: u64 = 64 * 1024;

/// Reads references when they are needed, so that a changed password is seen at the next login.
pub fn passwords(config: &Config) -> Passwords {
    let store = config.cms.captured.clone();
    // Given at run time only: on the host of the sealed passwords nothing may open them.
    let identity = std::env::var_os("CUTOVER_AGE_IDENTITY").filter(|v| !v.is_empty()).map(PathBuf::from);
    Arc::new(move |user, reference| match reference.split_once(':') {
        Some(("file", path)) => file(path),
        Some(("env", name)) => {
            std::env::var(name).map(Zeroizing::new).map_err(|_| format!("env:{name}: the environment has no such name"))
        }
        None if reference == "captured" => {
            let store =
                store.as_ref().ok_or("captured: write cms.captured, the folder of the proxy's sealed passwords")?;
            let identity =
                identity.as_ref().ok_or("captured: set CUTOVER_AGE_IDENTITY to the file of the age identity")?;
            captured(store, identity, user)
        }
        _ => Err(format!("`{reference}` is no reference to a password; write file:PATH, env:NAME or captured")),
    })
}

fn captured(store: &Path, identity: &Path, user: &str) -> Result<Zeroizing<String>, String> {
    #[derive(Deserialize)]
    struct Sealed {
        password: Option<String>,
    }
    let sealed = store.join(file_name(&user.to_lowercase()));
    if !sealed.exists() {
        return Err(format!("captured: the proxy has kept no password of {user}"));
    }
    let reference = SecretRef("captured".into());
    let plain = decrypt(&reference, identity, &sealed).map_err(|e| e.message)?;
    // The parser's words may quote what it reads.
    let sealed: Sealed =
        serde_json::from_slice(&plain).map_err(|_| "captured: its content is not as the proxy writes it")?;
    sealed.password.map(Zeroizing::new).ok_or_else(|| format!("captured: the password of {user} is no UTF-8"))
}

fn file(path: &str) -> Result<Zeroizing<String>, String> {
    use std::io::Read as _;
    let failed = |e: std::io::Error| format!("file:{path}: {e}");
    let mut text = Zeroizing::new(String::with_capacity(1024));
    std::fs::File::open(path).map_err(failed)?.take(LONGEST).read_to_string(&mut text).map_err(failed)?;
    let end = text.strip_suffix('\n').map_or(text.len(), str::len);
    text.truncate(end);
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_that_the_proxy_sealed_opens_with_the_identity_alone() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let key = age::x25519::Identity::generate();
        let other = age::x25519::Identity::generate();
        for (name, key) in [("key", &key), ("other", &other)] {
            use secrecy::ExposeSecret as _;
            std::fs::write(at(name), key.to_string().expose_secret()).unwrap();
        }
        let sealed =
            age::encrypt(&key.to_public(), br#"{"version":1,"user":"ann@acme.example","at":1,"password":"s3cret"}"#)
                .unwrap();
        std::fs::write(at(&file_name("ann@acme.example")), sealed).unwrap();
        let opened = captured(folder.path(), &at("key"), "Ann@acme.example").unwrap();
        assert_eq!(*opened, "s3cret");
        for (identity, user, said) in
            [("other", "ann@acme.example", "cannot be decrypted"), ("key", "bob@acme.example", "kept no password")]
        {
            let fault = captured(folder.path(), &at(identity), user).unwrap_err();
            assert!(fault.contains(said) && !fault.contains("s3cret"), "{fault}");
        }
    }
}
