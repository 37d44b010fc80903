//! The records beside a topology: all of them read and checked in one pass, new ones written whole.

use std::path::{Path, PathBuf};

use super::super::failure::Failure;
use super::super::whole;
use super::signature;
use crate::process::record::{Broken, Record, Signed};

#[derive(Default)]
pub struct Store {
    pub records: Vec<Signed>,
    pub broken: Vec<Broken>,
}

/// Everything below `records/`, sorted; what cannot be read is told, never passed over.
fn files(root: &Path, broken: &mut Vec<Broken>) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut open = vec![PathBuf::from("records")];
    while let Some(folder) = open.pop() {
        let entries = match std::fs::read_dir(root.join(&folder)) {
            Ok(entries) => entries,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound && folder == Path::new("records") => continue,
            Err(e) => {
                broken.push(Broken { file: folder.display().to_string(), why: format!("it cannot be read: {e}") });
                continue;
            }
        };
        for entry in entries {
            match entry.map(|e| (folder.join(e.file_name()), e.file_type())) {
                Ok((path, Ok(kind))) if kind.is_dir() => open.push(path),
                Ok((path, _)) => found.push(path),
                Err(e) => broken.push(Broken { file: folder.display().to_string(), why: e.to_string() }),
            }
        }
    }
    found.sort();
    found
}

impl Store {
    pub fn read(root: &Path, organization: &str) -> Self {
        let mut store = Self::default();
        let files = files(root, &mut store.broken);
        let is = |path: &&PathBuf, end: &str| path.extension().is_some_and(|e| e == end);
        for path in files.iter().filter(|p| is(p, "sig")) {
            let of = path.with_extension("");
            if !files.contains(&of) {
                let why = format!("{} is gone", of.display());
                store.broken.push(Broken { file: path.display().to_string(), why });
            }
        }
        let documents: Vec<&PathBuf> = files.iter().filter(|p| is(p, "json")).collect();
        let workers = std::thread::available_parallelism().map_or(2, usize::from).min(16);
        let share = documents.len().div_ceil(workers).max(1);
        let parts: Vec<Vec<Result<Signed, Broken>>> = std::thread::scope(|scope| {
            let work = |part: Vec<&PathBuf>| part.into_iter().map(|p| one(root, p, organization)).collect::<Vec<_>>();
            let running: Vec<_> =
                documents.chunks(share).map(|part| scope.spawn(move || work(part.to_vec()))).collect();
            running.into_iter().filter_map(|r| r.join().ok()).collect()
        });
        for done in parts.into_iter().flatten() {
            match done {
                Ok(signed) => store.records.push(signed),
                Err(broken) => store.broken.push(broken),
            }
        }
        store
    }
}

fn one(root: &Path, path: &Path, organization: &str) -> Result<Signed, Broken> {
    let file = path.display().to_string();
    let broken = |why: String| Broken { file: file.clone(), why };
    let full = root.join(path);
    let bytes = std::fs::read(&full).map_err(|e| broken(format!("it cannot be read: {e}")))?;
    let record = Record::parse(&bytes).map_err(broken)?;
    if record.organization != organization {
        return Err(broken(format!("it is of organisation {}", record.organization)));
    }
    if record.path() != file {
        return Err(broken(format!("it belongs to {}", record.path())));
    }
    let signature = PathBuf::from(format!("{}.sig", full.display()));
    let key = signature::check(&bytes, &signature, &Record::namespace(organization)).map_err(broken)?;
    Ok(Signed { file, record, key })
}

/// Writes a signed record; both files or none. Returns its path below the folder of the topology.
pub fn write(root: &Path, record: &Record, signature: &str) -> Result<String, Failure> {
    let path = record.path();
    let full = root.join(&path);
    let failed = |e: std::io::Error| Failure::new(format!("{path} cannot be written: {e}"));
    if full.exists() {
        return Err(
            Failure::new(format!("{path} is there already")).help("records are only added: try again in a second")
        );
    }
    if let Some(folder) = full.parent() {
        std::fs::create_dir_all(folder).map_err(failed)?;
    }
    // The signature first: one without a document is told of, a document without one would shut the gate.
    let beside = PathBuf::from(format!("{}.sig", full.display()));
    let put = |path: &Path, bytes: &[u8]| {
        whole::write(path, |f| std::io::Write::write_all(f, bytes))?;
        // Others read it in git.
        std::fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o644))
    };
    put(&beside, signature.as_bytes()).map_err(failed)?;
    put(&full, &record.bytes()).map_err(|e| {
        let _ = std::fs::remove_file(&beside);
        failed(e)
    })?;
    Ok(path)
}
