//! SSH signatures of records. ssh-keygen signs and checks, so that agents and keys in hardware work as they do for git.
//!
//! A signature holds the key that made it. Whether the signature is right is one question, asked once for each record; whose key that is, as of
//! which commit, is another, and pure.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

const BEGIN: &str = "-----BEGIN SSH SIGNATURE-----\n";
const END: &str = "-----END SSH SIGNATURE-----\n";

fn missing(e: &std::io::Error) -> String {
    format!("ssh-keygen cannot be started: {e}; apt-get install openssh-client")
}

/// Text of a public key without its comment: `TYPE BASE64`.
pub fn public(text: &str) -> Option<String> {
    let mut words = text.split_whitespace();
    let (ty, key) = (words.next()?, words.next()?);
    let blob = STANDARD.decode(key).ok()?;
    (string(&mut blob.as_slice())? == ty.as_bytes()).then(|| format!("{ty} {key}"))
}

/// A string of the SSH wire format (RFC 4251, section 5).
fn string<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let (length, after) = rest.split_first_chunk::<4>()?;
    let length = usize::try_from(u32::from_be_bytes(*length)).ok()?;
    let (value, after) = after.split_at_checked(length)?;
    *rest = after;
    Some(value)
}

/// The public key inside a signature, whose text is the one form that ssh-keygen writes.
fn key_of(armored: &str, namespace: &str) -> Result<String, String> {
    let not = || "no SSH signature as ssh-keygen writes it".to_owned();
    let body = armored.strip_prefix(BEGIN).and_then(|t| t.strip_suffix(END)).ok_or_else(not)?;
    let blob = STANDARD.decode(body.replace('\n', "")).map_err(|_| not())?;
    let again: Vec<String> =
        STANDARD.encode(&blob).as_bytes().chunks(70).map(|c| String::from_utf8_lossy(c).into_owned() + "\n").collect();
    if again.concat() != body {
        return Err(not());
    }
    let mut rest = blob.strip_prefix(b"SSHSIG").and_then(|r| r.strip_prefix(&[0, 0, 0, 1])).ok_or_else(not)?;
    let mut next = || string(&mut rest).ok_or_else(not);
    let (key, space, reserved, _hash, _signature) = (next()?, next()?, next()?, next()?, next()?);
    if !rest.is_empty() || !reserved.is_empty() {
        return Err(not());
    }
    if space != namespace.as_bytes() {
        return Err(format!("signed for `{}`, not for `{namespace}`", String::from_utf8_lossy(space)));
    }
    let mut head = key;
    let ty = string(&mut head).and_then(|t| std::str::from_utf8(t).ok()).ok_or_else(not)?;
    Ok(format!("{ty} {}", STANDARD.encode(key)))
}

/// The key that made this signature over these bytes, as `TYPE BASE64`.
pub fn check(bytes: &[u8], signature: &Path, namespace: &str) -> Result<String, String> {
    let armored = std::fs::read_to_string(signature).map_err(|e| match e.kind() {
        std::io::ErrorKind::NotFound => "it is not signed".to_owned(),
        _ => format!("its signature cannot be read: {e}"),
    })?;
    let key = key_of(&armored, namespace)?;
    let mut child = Command::new("ssh-keygen")
        .args(["-Y", "check-novalidate", "-n", namespace, "-s"])
        .arg(signature)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .map_err(|e| missing(&e))?;
    // A refusal may close the pipe before all is read; what counts is how it ends.
    let written = child.stdin.take().map(|mut input| input.write_all(bytes));
    let ended = child.wait().map_err(|e| format!("ssh-keygen: {e}"))?;
    match (ended.success(), written) {
        (true, Some(Ok(()))) => Ok(key),
        _ => Err("its signature is not right: the record or the signature was changed".to_owned()),
    }
}

/// The public key of what `--key` names: a private key, or a public one whose private half an agent or a token holds.
pub fn public_of(key: &Path) -> Result<String, String> {
    let beside = PathBuf::from(format!("{}.pub", key.display()));
    let file = if key.extension().is_some_and(|e| e == "pub") { key.to_owned() } else { beside };
    if let Ok(text) = std::fs::read_to_string(&file) {
        return public(&text).ok_or_else(|| format!("{} is no public SSH key", file.display()));
    }
    let done = Command::new("ssh-keygen").arg("-y").arg("-f").arg(key).stderr(Stdio::inherit()).output();
    let done = done.map_err(|e| missing(&e))?;
    let text = String::from_utf8_lossy(&done.stdout);
    public(&text).filter(|_| done.status.success()).ok_or_else(|| format!("{} is no SSH key", key.display()))
}

/// Signs; the text of the signature.
pub fn sign(bytes: &[u8], key: &Path, namespace: &str) -> Result<String, String> {
    let folder = tempfile::tempdir().map_err(|e| format!("no folder for the signature: {e}"))?;
    let document = folder.path().join("record.json");
    std::fs::write(&document, bytes).map_err(|e| format!("{}: {e}", document.display()))?;
    let done = Command::new("ssh-keygen")
        .args(["-q", "-Y", "sign", "-n", namespace, "-f"])
        .arg(key)
        .arg(&document)
        .output()
        .map_err(|e| missing(&e))?;
    if !done.status.success() {
        return Err(format!("ssh-keygen did not sign: {}", String::from_utf8_lossy(&done.stderr).trim()));
    }
    std::fs::read_to_string(folder.path().join("record.json.sig"))
        .map_err(|e| format!("the signature is not there: {e}"))
}
