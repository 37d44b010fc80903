//! The one command line that every script starts with, the same for all; all else goes by standard input.

use zeroize::Zeroizing;

use crate::model::host::{Become, HostAccess};

use super::quote::sh;
use super::{Far, Script};

/// Exit status of a script that arrived cut off; nothing of it has run.
pub const CUT_OFF: i32 = 97;

const BEGIN: &str = "#cutover-begin";
const END: &str = "#cutover-end";

/// Reads all of standard input, then runs it when its last line is there. What stands before the first line (a password
/// that sudo did not ask for) is dropped. Children find their standard input empty.
const WHOLE: &str = r##"s=$(cat);case $s in *"#cutover-end")s=${s#*"#cutover-begin"};eval "$s";;*)exit 97;;esac"##;

/// Reads line by line up to the last line of the script and leaves the rest of standard input to it.
const STREAM: &str = r##"s=;while IFS= read -r l;do case $l in "#cutover-begin")s=;;"#cutover-end")eval "$s";exit;;*)s="$s$l
";;esac;done;exit 97"##;

/// The command line for the far side.
pub fn command_line(host: &HostAccess, script: &Script, shell: &str, with_password: bool) -> String {
    if let Far::Program(line) = &script.far {
        return line.clone();
    }
    let boot = if script.payload.is_some() { STREAM } else { WHOLE };
    let sudo = match (host.become_, with_password) {
        (Become::None, _) => "",
        (Become::Sudo, false) => "sudo -n -- ",
        (Become::Sudo, true) => "sudo -S -p '' -- ",
        (Become::Doas, _) => "doas -n -- ",
    };
    format!("{sudo}{shell} -c {}", sh(boot))
}

/// What goes to standard input.
pub fn input(script: &Script, password: Option<&str>) -> Zeroizing<Vec<u8>> {
    if script.far != Far::Shell {
        return Zeroizing::new(script.body.as_bytes().to_vec());
    }
    let payload = script.payload.as_ref().map_or(0, |p| p.len());
    // Sized at once: growing would leave unwiped copies of secrets behind.
    let mut out = Zeroizing::new(Vec::with_capacity(script.body.len() + payload + password.map_or(0, str::len) + 64));
    if let Some(password) = password {
        out.extend_from_slice(password.as_bytes());
        out.push(b'\n');
    }
    out.extend_from_slice(BEGIN.as_bytes());
    out.push(b'\n');
    out.extend_from_slice(script.body.as_bytes());
    out.push(b'\n');
    out.extend_from_slice(END.as_bytes());
    out.push(b'\n');
    if let Some(payload) = &script.payload {
        out.extend_from_slice(payload);
    }
    out
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::process::{Command, Stdio};
    use std::time::Duration;

    use super::*;
    use crate::transport::Link;

    fn run(shell: &[&str], boot: &str, input: &[u8]) -> (String, Option<i32>) {
        let mut child = Command::new(shell[0])
            .args(&shell[1..])
            .args(["-c", boot])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(input).unwrap();
        let out = child.wait_with_output().unwrap();
        (String::from_utf8_lossy(&out.stdout).into_owned(), out.status.code())
    }

    fn script(body: &str, payload: Option<&[u8]>) -> Script {
        Script {
            body: Zeroizing::new(body.to_owned()),
            payload: payload.map(|p| Zeroizing::new(p.to_vec())),
            link: Link::Kept,
            limit: Duration::from_secs(5),
            far: Far::Shell,
        }
    }

    #[test]
    fn a_script_that_is_cut_anywhere_runs_nothing() {
        let whole = input(&script("echo one\necho two", None), Some("hunter2"));
        assert_eq!(run(&["sh"], WHOLE, &whole), ("one\ntwo\n".to_owned(), Some(0)));
        for cut in 0..whole.len() - 1 {
            assert_eq!(run(&["sh"], WHOLE, &whole[..cut]), (String::new(), Some(CUT_OFF)), "cut at {cut}");
        }
    }

    #[test]
    fn a_payload_is_left_to_the_script() {
        let bytes = input(&script("echo head; wc -c", Some(b"\0#cutover-end\nrest")), None);
        assert_eq!(run(&["sh"], STREAM, &bytes), ("head\n18\n".to_owned(), Some(0)));
    }
}
