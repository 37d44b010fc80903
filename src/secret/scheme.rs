//! The schemes that need no network: `env:`, `file:`, `age:`, `cmd:`.

use std::io::Read as _;
use std::path::Path;
use std::process::Stdio;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use tokio::io::AsyncReadExt as _;
use zeroize::Zeroizing;

use super::{SecretError, Settings};
use crate::model::attr::SecretRef;

/// A secret is a password or a key; more than this is a mistake in the reference.
const LARGEST: u64 = 1 << 20;

type Value = Result<Zeroizing<Vec<u8>>, SecretError>;

/// The 32 octets of an Ed25519 key in PEM, in base64. In PKCS #8 they stand last, as an octet string of their own; newer forms have the public
/// key behind them (RFC 8410, section 7; RFC 5958, section 2).
pub fn seed(pem: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    const HEAD: [u8; 16] = [0x30, 0x2e, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4, 0x22, 4, 0x20];
    let text = std::str::from_utf8(pem).ok()?;
    let body = text.split("-----BEGIN PRIVATE KEY-----").nth(1)?.split("-----END").next()?;
    let body: Zeroizing<String> = Zeroizing::new(body.split_whitespace().collect());
    let der = Zeroizing::new(STANDARD.decode(body.as_bytes()).ok()?);
    let place = der.windows(HEAD.len() - 5).position(|w| *w == HEAD[5..])?;
    let seed = der.get(place + HEAD.len() - 5..)?.get(..32)?;
    Some(Zeroizing::new(STANDARD.encode(seed).into_bytes()))
}

/// Cuts one line end: editors and `echo` add it, nobody means it.
fn cut(mut value: Zeroizing<Vec<u8>>, reference: &SecretRef) -> Value {
    if value.ends_with(b"\n") {
        value.pop();
        if value.ends_with(b"\r") {
            value.pop();
        }
    }
    if value.is_empty() {
        return Err(SecretError::new(reference, "its value is empty"));
    }
    Ok(value)
}

pub fn env(reference: &SecretRef, name: &str) -> Value {
    use std::os::unix::ffi::OsStringExt as _;
    match std::env::var_os(name) {
        Some(value) => cut(Zeroizing::new(value.into_vec()), reference),
        None => Err(SecretError::new(reference, format!("the environment variable {name} is not set"))
            .help(format!("export {name} before you run cutover; it is read only when it is used"))),
    }
}

pub async fn file(reference: &SecretRef, path: &Path) -> Value {
    let shown = path.display();
    let unreadable = |e: std::io::Error| {
        SecretError::new(reference, format!("the file {shown} cannot be read: {e}"))
            .help("paths are relative to the topology's root folder")
    };
    let meta = tokio::fs::metadata(path).await.map_err(unreadable)?;
    if meta.len() > LARGEST {
        return Err(SecretError::new(
            reference,
            format!("the file {shown} has {} bytes; a secret has at most 1 MiB", meta.len()),
        ));
    }
    warn_of_readers(reference, path, &meta);
    cut(Zeroizing::new(tokio::fs::read(path).await.map_err(unreadable)?), reference)
}

fn warn_of_readers(reference: &SecretRef, path: &Path, meta: &std::fs::Metadata) {
    use std::os::unix::fs::PermissionsExt as _;
    if meta.permissions().mode() & 0o004 != 0 {
        tracing::warn!("secret {reference}: every user of this machine can read {}; chmod 600 it", path.display());
    }
}

/// `age:PATH`, armoured or binary. Format: https://age-encryption.org/v1
pub async fn age(reference: &SecretRef, settings: &Settings, path: &str) -> Value {
    let Some(identity) = settings.age_identity.clone() else {
        return Err(SecretError::new(reference, "no age identity is known to decrypt it")
            .help("set CUTOVER_AGE_IDENTITY to the path of a file with an AGE-SECRET-KEY-1... line"));
    };
    let sealed = settings.root.join(path);
    let wanted = reference.clone();
    let work = tokio::task::spawn_blocking(move || decrypt(&wanted, &identity, &sealed));
    cut(work.await.map_err(|e| SecretError::new(reference, format!("its decryption stopped: {e}")))??, reference)
}

/// Opens a file that was sealed with age to an identity, which lies in another file.
pub fn decrypt(reference: &SecretRef, identity: &Path, sealed: &Path) -> Value {
    let fail = |message: String| SecretError::new(reference, message);
    // The text of an age error names the format's trouble only; a line of the identity file is never quoted.
    let bytes = Zeroizing::new(
        std::fs::read(identity)
            .map_err(|e| fail(format!("the age identity {} cannot be read: {e}", identity.display())))?,
    );
    let identities = age::IdentityFile::from_buffer(bytes.as_slice())
        .and_then(|f| f.into_identities().map_err(std::io::Error::other))
        .map_err(|_| fail(format!("{} holds no age identity that can be used", identity.display())))?;
    let file =
        std::fs::File::open(sealed).map_err(|e| fail(format!("the file {} cannot be read: {e}", sealed.display())))?;
    let broken = |e: String| fail(format!("{} cannot be decrypted: {e}", sealed.display()));
    let decryptor = age::Decryptor::new(age::armor::ArmoredReader::new(file)).map_err(|e| broken(e.to_string()))?;
    let reader = decryptor
        .decrypt(identities.iter().map(|i| i.as_ref() as &dyn age::Identity))
        .map_err(|e| broken(e.to_string()))?;
    let mut value = Zeroizing::new(Vec::with_capacity(4096));
    reader.take(LARGEST).read_to_end(&mut value).map_err(|e| broken(e.to_string()))?;
    Ok(value)
}

/// `cmd:LINE`, run by `sh -c` in the root folder; its standard output is the value. Its standard error is thrown away, because
/// a password manager may well print the value there.
pub async fn command(reference: &SecretRef, line: &str, settings: &Settings) -> Value {
    let mut child = tokio::process::Command::new("sh")
        .args(["-c", line])
        .current_dir(&settings.root)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .process_group(0)
        .kill_on_drop(true)
        .spawn()
        .map_err(|e| SecretError::new(reference, format!("its command cannot be started: {e}")))?;
    let group = child.id();
    let Some(stdout) = child.stdout.take() else {
        return Err(SecretError::new(reference, "its command has no output"));
    };
    let mut value = Zeroizing::new(Vec::with_capacity(4096));
    let run = async {
        stdout.take(LARGEST).read_to_end(&mut value).await?;
        child.wait().await
    };
    let status = match tokio::time::timeout(settings.limit, run).await {
        Ok(status) => status.map_err(|e| SecretError::new(reference, format!("its command broke: {e}")))?,
        Err(_) => {
            // What sh started belongs to its process group and would live on.
            if let Some(group) = group {
                let _ = tokio::process::Command::new("kill").args(["-KILL", "--", &format!("-{group}")]).status().await;
            }
            let limit = settings.limit.as_secs();
            return Err(SecretError::new(
                reference,
                format!("its command did not end within {limit} s and was killed"),
            ));
        }
    };
    if !status.success() {
        return Err(SecretError::new(reference, format!("its command ended with {status}")).help(
            "run the command by hand to see what it says; its messages are hidden here because they may hold the value",
        ));
    }
    cut(value, reference)
}

#[cfg(test)]
mod tests {
    use super::super::{Resolve, Resolver};
    use super::*;
    use std::io::Write as _;

    fn settings(dir: &Path) -> Settings {
        Settings::new(dir)
    }

    fn reference(text: &str) -> SecretRef {
        SecretRef(text.into())
    }

    async fn text(resolver: &Resolver, r: &str) -> String {
        let value = resolver.bytes(&reference(r)).await.expect(r);
        String::from_utf8(value.to_vec()).expect("utf-8")
    }

    #[tokio::test]
    async fn a_file_loses_one_line_end() {
        let dir = tempfile::tempdir().expect("dir");
        std::fs::write(dir.path().join("a"), "one\n\n").expect("write");
        std::fs::write(dir.path().join("b"), "two\r\n").expect("write");
        std::fs::write(dir.path().join("empty"), "\n").expect("write");
        let resolver = Resolver::new(settings(dir.path()));
        assert_eq!(text(&resolver, "file:a").await, "one\n");
        assert_eq!(text(&resolver, "file:b").await, "two");
        let empty = resolver.bytes(&reference("file:empty")).await.expect_err("empty");
        assert_eq!(empty.to_string(), "secret file:empty: its value is empty");
        let missing = resolver.bytes(&reference("file:nope")).await.expect_err("missing");
        assert!(missing.message.contains("nope cannot be read"), "{missing}");
    }

    #[tokio::test]
    async fn a_command_runs_once_in_the_root_folder_and_its_stderr_stays_hidden() {
        let dir = tempfile::tempdir().expect("dir");
        let resolver = Resolver::new(settings(dir.path()));
        assert_eq!(text(&resolver, "cmd:echo x >> count; echo value").await, "value");
        assert_eq!(text(&resolver, "cmd:echo x >> count; echo value").await, "value");
        assert_eq!(std::fs::read_to_string(dir.path().join("count")).expect("count"), "x\n");
        let failed = resolver.bytes(&reference("cmd:echo canary >&2; exit 3")).await.expect_err("exit 3");
        assert!(failed.message.contains("exit status: 3") && !failed.message.contains("canary"), "{failed}");
    }

    #[tokio::test]
    async fn a_command_that_hangs_is_killed_with_its_children() {
        let dir = tempfile::tempdir().expect("dir");
        let mut s = settings(dir.path());
        s.limit = std::time::Duration::from_millis(300);
        let resolver = Resolver::new(s);
        let failed = resolver.bytes(&reference("cmd:(sleep 2; touch late) & wait")).await.expect_err("limit");
        assert!(failed.message.contains("was killed"), "{failed}");
        tokio::time::sleep(std::time::Duration::from_millis(2300)).await;
        assert!(!dir.path().join("late").exists(), "the child lived on");
    }

    #[tokio::test]
    async fn age_files_armoured_and_binary() {
        let dir = tempfile::tempdir().expect("dir");
        let identity = age::x25519::Identity::generate();
        let secret = identity.to_string();
        let mut f = std::fs::File::create(dir.path().join("id")).expect("create");
        f.write_all(super::super::ExposeSecret::expose_secret(&secret).as_bytes()).expect("write");
        let binary = age::encrypt(&identity.to_public(), b"deep secret\n").expect("encrypt");
        std::fs::write(dir.path().join("b.age"), &binary).expect("write");
        let armoured = age::encrypt_and_armor(&identity.to_public(), b"deep secret\n").expect("encrypt");
        std::fs::write(dir.path().join("a.age"), armoured).expect("write");
        std::fs::write(dir.path().join("cut.age"), &binary[..binary.len() - 3]).expect("write");
        let mut s = settings(dir.path());
        let none = Resolver::new(s.clone()).bytes(&reference("age:a.age")).await.expect_err("no identity");
        assert!(none.help.expect("help").contains("CUTOVER_AGE_IDENTITY"));
        s.age_identity = Some(dir.path().join("id"));
        let resolver = Resolver::new(s);
        assert_eq!(text(&resolver, "age:a.age").await, "deep secret");
        assert_eq!(text(&resolver, "age:b.age").await, "deep secret");
        assert!(resolver.bytes(&reference("age:cut.age")).await.is_err());
    }

    #[tokio::test]
    async fn what_was_read_is_scrubbed_from_foreign_text() {
        let dir = tempfile::tempdir().expect("dir");
        std::fs::write(dir.path().join("pw"), "canary-7731\n").expect("write");
        let resolver = Resolver::new(settings(dir.path()));
        assert_eq!(resolver.scrub("got canary-7731"), "got canary-7731");
        text(&resolver, "file:pw").await;
        assert_eq!(resolver.scrub("got canary-7731"), "got (secret file:pw)");
    }

    /// Key of RFC 8463, appendix A.2, as PKCS #8 of the first and of the second form.
    #[test]
    fn the_seed_of_a_key_is_found() {
        let pem = |der: Vec<u8>| {
            format!("-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n", STANDARD.encode(der))
        };
        let wanted = "nWGxne/9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A=";
        let mut der = vec![0x30, 0x2e, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4, 0x22, 4, 0x20];
        der.extend(STANDARD.decode(wanted).unwrap());
        assert_eq!(seed(pem(der.clone()).as_bytes()).unwrap().as_slice(), wanted.as_bytes());
        der[1] = 0x51;
        der[4] = 1;
        der.extend([0x81, 0x21, 0]);
        der.extend([7; 32]);
        assert_eq!(seed(pem(der).as_bytes()).unwrap().as_slice(), wanted.as_bytes());
        assert!(seed(b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n").is_none());
    }
}
