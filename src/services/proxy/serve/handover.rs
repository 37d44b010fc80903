//! From one process to the next without a closed door: the listening sockets go over a socket pair (SCM_RIGHTS, unix(7)), the next
//! process says when it serves, and only then the former one stops accepting. Both accept from the same sockets meanwhile, so no
//! connection is refused or lost.

use std::io::{self, IoSlice, IoSliceMut, Read as _};
use std::mem::MaybeUninit;
use std::net::TcpListener;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags,
    recvmsg, sendmsg,
};

use super::listen::Named;

/// Sockets that go at once (SCM_MAX_FD of Linux is 253).
const MOST: usize = 250;
/// Octets of all names.
const NAMES: usize = 64 * 1024;
/// How long the next process may take to begin.
const BEGIN: Duration = Duration::from_secs(30);
const READY: &[u8] = b"ready\n";

/// Starts the next process with one end of a socket pair as its standard input; its number.
pub type Heir = dyn Fn(OwnedFd) -> io::Result<u32>;

/// Hands sockets to the next process and waits until it serves. Blocks.
pub(super) fn give(sockets: &[(String, OwnedFd)], heir: &Heir) -> Result<u32, String> {
    let failed = |e: io::Error| format!("the next process cannot be started: {e}");
    let (mut ours, theirs) = UnixStream::pair().map_err(failed)?;
    ours.set_read_timeout(Some(BEGIN)).map_err(failed)?;
    let pid = heir(theirs.into()).map_err(failed)?;
    send(&ours, sockets).map_err(|e| format!("the sockets cannot be handed over: {e}"))?;
    let mut answer = [0; READY.len()];
    match ours.read_exact(&mut answer) {
        Ok(()) if answer == READY => Ok(pid),
        _ => Err("the next process did not begin: it says why".to_owned()),
    }
}

fn send(channel: &UnixStream, sockets: &[(String, OwnedFd)]) -> io::Result<()> {
    if sockets.len() > MOST {
        return Err(io::Error::other(format!("more than {MOST} listeners")));
    }
    let names: Vec<&str> = sockets.iter().map(|(name, _)| name.as_str()).collect();
    let mut line = names.join("\n").into_bytes();
    line.push(0);
    let files: Vec<BorrowedFd<'_>> = sockets.iter().map(|(_, socket)| socket.as_fd()).collect();
    let mut space = vec![MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !files.is_empty() && !control.push(SendAncillaryMessage::ScmRights(&files)) {
        return Err(io::Error::other("too many sockets"));
    }
    let sent = sendmsg(channel, &[IoSlice::new(&line)], &mut control, SendFlags::NOSIGNAL)?;
    if sent == line.len() { Ok(()) } else { Err(io::ErrorKind::WriteZero.into()) }
}

/// Takes the sockets of the former process.
pub fn take(channel: impl AsFd) -> io::Result<Vec<Named>> {
    let mut line = vec![0; NAMES];
    let mut space = vec![MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let got = recvmsg(channel, &mut [IoSliceMut::new(&mut line)], &mut control, RecvFlags::CMSG_CLOEXEC)?;
    let mut sockets: Vec<TcpListener> = Vec::new();
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(files) = message {
            sockets.extend(files.map(TcpListener::from));
        }
    }
    let text = line.get(..got.bytes).and_then(|l| l.strip_suffix(b"\0")).and_then(|l| std::str::from_utf8(l).ok());
    let names: Vec<&str> = match text {
        Some("") => Vec::new(),
        Some(text) => text.split('\n').collect(),
        None => return Err(io::Error::other("standard input hands over no sockets")),
    };
    if names.len() != sockets.len() {
        return Err(io::Error::other("sockets and names do not fit together"));
    }
    Ok(names.into_iter().map(str::to_owned).zip(sockets).collect())
}

/// Tells the former process that this one serves.
pub fn ready(channel: impl AsFd) -> io::Result<()> {
    let sent = rustix::net::send(channel, READY, SendFlags::NOSIGNAL)?;
    if sent == READY.len() { Ok(()) } else { Err(io::ErrorKind::WriteZero.into()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sockets_arrive_with_their_names() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let sockets: Vec<TcpListener> = (0..3).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
        let named = |(n, s): (usize, &TcpListener)| (format!("name {n}"), OwnedFd::from(s.try_clone().unwrap()));
        send(&ours, &sockets.iter().enumerate().map(named).collect::<Vec<_>>()).unwrap();
        let taken = take(&theirs).unwrap();
        assert_eq!(taken.len(), 3);
        for ((name, socket), (n, sent)) in taken.iter().zip(sockets.iter().enumerate()) {
            assert_eq!(*name, format!("name {n}"));
            assert_eq!(socket.local_addr().unwrap(), sent.local_addr().unwrap());
        }
        send(&ours, &[]).unwrap();
        assert!(take(&theirs).unwrap().is_empty());
        drop(ours);
        assert!(take(&theirs).is_err(), "nobody is there");
    }
}
