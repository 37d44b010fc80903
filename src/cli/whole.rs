//! A file that somebody asked for by name: written whole or not at all.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileTypeExt as _;
use std::path::Path;

/// Writes `path`, readable by its owner only. A plain file is written aside, synced and renamed: one cut short by a full disk never stands under
/// the name that was asked for. A device, pipe or socket (`/dev/null`, `/dev/stdout`) is written to and stays what it is: a rename, as root,
/// would put a plain file in its place.
pub(super) fn write(path: &Path, fill: impl FnOnce(&mut File) -> io::Result<()>) -> io::Result<()> {
    if is_special(path) {
        return fill(&mut File::options().write(true).open(path)?);
    }
    let folder = path.parent().filter(|p| *p != Path::new("")).unwrap_or(Path::new("."));
    let mut aside = tempfile::NamedTempFile::new_in(folder)?;
    fill(aside.as_file_mut())?;
    aside.as_file().sync_all()?;
    aside.persist(path).map_err(|e| e.error)?;
    Ok(())
}

/// Whether what stands there, behind links too, is no plain file and no folder.
pub(super) fn is_special(path: &Path) -> bool {
    std::fs::metadata(path).is_ok_and(|m| {
        let kind = m.file_type();
        kind.is_char_device() || kind.is_block_device() || kind.is_fifo() || kind.is_socket()
    })
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};

    use super::*;

    #[test]
    fn a_pipe_is_written_to_and_stays() {
        let dir = tempfile::tempdir().expect("dir");
        let pipe = dir.path().join("out");
        assert!(std::process::Command::new("mkfifo").arg(&pipe).status().expect("mkfifo").success());
        let link = dir.path().join("link");
        std::os::unix::fs::symlink(&pipe, &link).expect("link");
        for name in [&pipe, &link] {
            let reader = std::thread::spawn({
                let pipe = pipe.clone();
                move || {
                    let mut text = String::new();
                    File::open(pipe).expect("opened").read_to_string(&mut text).expect("read");
                    text
                }
            });
            write(name, |f| f.write_all(b"whole")).expect("written");
            assert_eq!(reader.join().expect("read"), "whole");
            assert!(is_special(name), "it is no pipe any more");
        }
    }

    #[test]
    fn a_failure_leaves_the_former_file() {
        let dir = tempfile::tempdir().expect("dir");
        let path = dir.path().join("out");
        std::fs::write(&path, "former").expect("written");
        let cut = write(&path, |f| f.write_all(b"half").and_then(|()| Err(io::Error::other("disk full"))));
        assert_eq!(cut.expect_err("cut").to_string(), "disk full");
        assert_eq!(std::fs::read_to_string(&path).expect("read"), "former");
        assert_eq!(std::fs::read_dir(dir.path()).expect("dir").count(), 1, "nothing is left beside it");
        write(&path, |f| f.write_all(b"new")).expect("written");
        assert_eq!(std::fs::read_to_string(&path).expect("read"), "new");
    }
}
