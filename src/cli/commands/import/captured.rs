use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use zeroize::Zeroizing;

use super::super::super::context::Context;
use super::super::super::exit::Exit;
use super::super::super::failure::Failure;
use super::super::Answer;
use super::{Existing, passwd_file, there_already, write_all};
use crate::model::attr::SecretRef;
use crate::secret::{crypt, decrypt};
use crate::services::proxy::proof::file_name;

/// Mistakes that are told by name; the others are counted.
const SHOWN: usize = 20;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Folder with sealed passwords (DIGEST.age) as a gate has it; one of each gate
    #[arg(required = true)]
    folders: Vec<PathBuf>,
    /// File with the age identity that they are sealed to
    #[arg(long, value_name = "FILE", env = "CUTOVER_AGE_IDENTITY", hide_env_values = true)]
    identity: PathBuf,
}

/// What the proxy seals, a file for each user.
#[derive(Deserialize)]
struct Sealed {
    version: u32,
    user: String,
    at: i64,
    password: Option<String>,
    octets: Option<Vec<u8>>,
}

/// The latest password of somebody.
struct Latest {
    at: i64,
    password: Zeroizing<Vec<u8>>,
}

pub fn run(args: &Args, out: Option<&Path>, existing: Existing, context: &Context) -> Answer {
    let Some(out) = out else {
        return Err(Failure::new("hashes of passwords are not shown on a screen")
            .help("name a passwd-file: --out keys/captured.passwd"));
    };
    if out.exists() && existing == Existing::Stays {
        return Err(there_already(&[out.display().to_string()]));
    }
    let (mut people, mut wrong) = (BTreeMap::new(), Vec::new());
    for folder in &args.folders {
        match sealed_in(folder) {
            Ok(files) => files.iter().for_each(|file| match open(file, &args.identity) {
                Ok((user, latest)) => keep(&mut people, user, latest),
                Err(why) => wrong.push(why),
            }),
            Err(why) => wrong.push(why),
        }
    }
    if people.is_empty() && wrong.is_empty() {
        wrong.push("there is no sealed password (DIGEST.age) in these folders".to_owned());
    }
    if !wrong.is_empty() {
        let more = wrong.len().saturating_sub(SHOWN);
        wrong.truncate(SHOWN);
        let more = if more > 0 { format!("\nand {more} more") } else { String::new() };
        return Err(Failure::new(format!("nothing was written:\n{}{more}", wrong.join("\n")))
            .help("copy the folders anew, and name the identity whose public half is `recipient` of the proxy"));
    }
    let mut lines = former(out)?;
    let before = lines.len();
    let (mut new, mut changed) = (0, 0);
    for (user, latest) in &people {
        // The same password gives the same line, so that a later plan has nothing to change.
        let hash = crypt::sha512_crypt(&latest.password, user).map_err(|e| Failure::new(format!("{user}: {e}")))?;
        let hash = Zeroizing::new(hash);
        match lines.insert(user.clone(), hash.clone()) {
            None => new += 1,
            Some(old) if old != hash => changed += 1,
            Some(_) => {}
        }
    }
    let text = passwd_file(&lines);
    write_all(&BTreeMap::from([(out.to_owned(), text.as_str())]), existing)?;
    context.out.note(format!("wrote {}", out.display()));
    let same = people.len() - new - changed;
    context.out.note(format!(
        "{} captured passwords as hashes: {new} new, {changed} changed, {same} as before; {} lines of others stay",
        people.len(),
        before + new - people.len()
    ));
    Ok(Exit::Ok)
}

fn sealed_in(folder: &Path) -> Result<Vec<PathBuf>, String> {
    let failed = |e: std::io::Error| format!("{} cannot be read: {e}", folder.display());
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        let hidden = path.file_name().is_some_and(|n| n.as_encoded_bytes().starts_with(b"."));
        if !hidden && path.extension().is_some_and(|e| e == "age") {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

/// Who it is of, and the password. Errors name the file and never what is in it.
fn open(file: &Path, identity: &Path) -> Result<(String, Latest), String> {
    let reference = SecretRef(format!("age:{}", file.display()).as_str().into());
    let octets = decrypt(&reference, identity, file).map_err(|e| e.message)?;
    let failed = |why: &str| format!("{}: {why}", file.display());
    let sealed: Sealed =
        serde_json::from_slice(&octets).map_err(|_| failed("what is sealed there is no captured password"))?;
    let password = match (sealed.password, sealed.octets) {
        (Some(text), None) => Zeroizing::new(text.into_bytes()),
        (None, Some(octets)) => Zeroizing::new(octets),
        _ => return Err(failed("what is sealed there is no captured password")),
    };
    if sealed.version != 1 {
        return Err(failed("it is of another release of the proxy"));
    }
    // The name of the file is the digest of the user: one that was put in another's place is not taken.
    if file.file_name().is_none_or(|name| name != file_name(&sealed.user).as_str()) {
        return Err(failed("it is of another user than its name says"));
    }
    if sealed.user.contains([':', '\n', '\r']) {
        return Err(failed("its user cannot stand in a passwd-file"));
    }
    Ok((sealed.user.to_lowercase(), Latest { at: sealed.at, password }))
}

/// Of several gates the latest.
fn keep(people: &mut BTreeMap<String, Latest>, user: String, latest: Latest) {
    let known = people.get(&user).map(|l| l.at);
    if known.is_none_or(|at| at < latest.at) {
        people.insert(user, latest);
    }
}

/// Lines of the passwd-file that is there, by user.
fn former(path: &Path) -> Result<BTreeMap<String, Zeroizing<String>>, Failure> {
    let text = match std::fs::read_to_string(path) {
        Ok(text) => Zeroizing::new(text),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(BTreeMap::new()),
        Err(e) => return Err(Failure::new(format!("{} cannot be read: {e}", path.display()))),
    };
    let lines = text.lines().map(str::trim).filter(|l| !l.is_empty() && !l.starts_with('#'));
    let lines = lines.filter_map(|l| l.split_once(':'));
    Ok(lines.map(|(user, rest)| (user.to_lowercase(), Zeroizing::new(rest.to_owned()))).collect())
}
