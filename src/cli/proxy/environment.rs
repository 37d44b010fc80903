//! What the service manager gives by the environment: sockets (sd_listen_fds(3)), and where to tell how things stand
//! (sd_notify(3)).

use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};

use listenfd::ListenFd;

use crate::services::proxy::serve::Named;

/// Sockets that were handed over, each with its name (`FileDescriptorName`).
pub fn sockets() -> Result<Vec<Named>, String> {
    let names = std::env::var("LISTEN_FDNAMES").unwrap_or_default();
    let mut names = names.split(':');
    let mut handed = ListenFd::from_env();
    let mut found = Vec::new();
    for n in 0..handed.len() {
        let name = names.next().unwrap_or_default().to_owned();
        match handed.take_tcp_listener(n) {
            Ok(Some(listener)) => found.push((name, listener)),
            Ok(None) => {}
            Err(e) => return Err(format!("the socket `{name}` that was handed over is no TCP listener: {e}")),
        }
    }
    Ok(found)
}

/// Tells the service manager; does nothing where there is none.
pub fn notify() -> Box<dyn Fn(&str)> {
    let Some(path) = std::env::var_os("NOTIFY_SOCKET") else { return Box::new(|_| {}) };
    Box::new(move |state| {
        let address = match path.as_bytes() {
            [b'@', name @ ..] => SocketAddr::from_abstract_name(name),
            _ => SocketAddr::from_pathname(&path),
        };
        let told = address.and_then(|address| UnixDatagram::unbound()?.send_to_addr(state.as_bytes(), &address));
        if let Err(e) = told {
            tracing::warn!("the service manager does not hear: {e}");
        }
    })
}
