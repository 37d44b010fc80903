//! References to passwords: `file:PATH` and `env:NAME`.

use std::sync::Arc;

use zeroize::Zeroizing;

use crate::services::cms::people::Passwords;

/// Octets of a file that holds a password.
const LONGEST: u64 = 64 * 1024;

/// Reads references when they are needed, so that a changed password is seen at the next login.
pub fn passwords() -> Passwords {
    Arc::new(|_user, reference| match reference.split_once(':') {
        Some(("file", path)) => file(path),
        Some(("env", name)) => {
            std::env::var(name).map(Zeroizing::new).map_err(|_| format!("env:{name}: the environment has no such name"))
        }
        _ => Err(format!("`{reference}` is no reference to a password; write file:PATH or env:NAME")),
    })
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
