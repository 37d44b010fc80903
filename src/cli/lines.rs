//! Files of one JSON document a line that only grow: what was done, when and by whom.

use std::fs::OpenOptions;
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::marker::PhantomData;
use std::path::PathBuf;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::failure::Failure;
use crate::execution::{Clock as _, SystemClock};
use crate::journal::{Holder, StateDir};

/// One such file in the state folder.
pub struct LinesFile<T> {
    path: PathBuf,
    state: StateDir,
    of: PhantomData<T>,
}

impl<T: Serialize + DeserializeOwned> LinesFile<T> {
    pub fn of(state: &StateDir, name: &str) -> Self {
        Self { path: state.path().join(name), state: state.clone(), of: PhantomData }
    }

    /// Durable when it returns.
    pub fn append(&self, entry: &T) -> Result<(), Failure> {
        let failed = |e: io::Error| {
            Failure::new(format!("{} cannot be written: {e}", self.path.display()))
                .help("check the permissions and the room of the state folder, or give another with --state-dir")
        };
        self.state.create().map_err(failed)?;
        let mut line = serde_json::to_vec(entry).map_err(|e| failed(e.into()))?;
        line.push(b'\n');
        let new = !self.path.exists();
        let mut file = OpenOptions::new().create(true).read(true).append(true).open(&self.path).map_err(failed)?;
        if !ended(&mut file).map_err(failed)? {
            line.insert(0, b'\n');
        }
        file.write_all(&line).and_then(|()| file.sync_all()).map_err(failed)?;
        if new {
            // The name of a new file is durable with its folder.
            std::fs::File::open(self.state.path()).and_then(|d| d.sync_all()).map_err(failed)?;
        }
        Ok(())
    }

    /// All entries, the oldest first. A line that was cut off by a kill is passed over: what it began to say had not begun.
    pub fn read(&self) -> Result<Vec<T>, Failure> {
        match std::fs::read_to_string(&self.path) {
            Ok(text) => Ok(text.lines().filter_map(|l| serde_json::from_str(l).ok()).collect()),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            Err(e) => Err(Failure::new(format!("{}: {e}", self.path.display()))),
        }
    }
}

/// USER@MACHINE, as entries name who wrote them.
pub fn author() -> String {
    let me = Holder::this_process("", SystemClock.now());
    format!("{}@{}", me.user, me.machine)
}

/// Whether the last line is whole: the next must not be glued to half a one.
fn ended(file: &mut std::fs::File) -> io::Result<bool> {
    if file.seek(SeekFrom::End(0))? == 0 {
        return Ok(true);
    }
    let mut last = [0];
    file.seek(SeekFrom::End(-1))?;
    file.read_exact(&mut last)?;
    Ok(last == *b"\n")
}
