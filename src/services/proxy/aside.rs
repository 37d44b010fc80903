//! What a process answers beside mail: the control socket, Postfix, metrics and health. One thread for all of it.

use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, UnixListener};

use super::hub::{Hub, Phase};
use super::{control, socketmap};
use crate::services::accept::{self, Page};

/// Sockets that answer until this is dropped.
pub struct Aside {
    stop: Option<tokio::sync::oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
    files: Vec<Bound>,
    /// Where metrics are answered, with the port that the system chose.
    pub metrics: Option<std::net::SocketAddr>,
    /// The socket of it, for the next process.
    pub listener: Option<std::os::fd::OwnedFd>,
}

struct Bound {
    path: PathBuf,
    inode: u64,
}

impl Aside {
    /// Opens what the configuration names and begins to answer; `given` is a listener for the metrics that a former process had.
    /// These sockets stay as they are over a reload.
    pub fn begin(hub: &Arc<Hub>, given: Option<std::net::TcpListener>) -> Result<Self, Vec<String>> {
        let general = hub.config.load().proxy.clone();
        let one = |what: &str, e: std::io::Error| vec![format!("{what}: {e}")];
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|e| one("the system does not let it run", e))?;
        let mut aside = Self { stop: None, thread: None, files: Vec::new(), metrics: None, listener: None };
        let entered = runtime.enter();
        // 0660: who may open it may change routes. Postfix runs under another user and group, and reads only.
        let control = aside.bind("proxy.control", &general.control, 0o660)?;
        let map = general.socketmap.as_ref().map(|m| aside.bind("proxy.socketmap.path", &m.path, 0o666)).transpose()?;
        let metrics = match general.metrics {
            Some(address) => {
                let listener = given.map_or_else(|| std::net::TcpListener::bind(address), Ok);
                let listener = listener.and_then(|l| {
                    l.set_nonblocking(true)?;
                    aside.listener = Some(l.try_clone()?.into());
                    TcpListener::from_std(l)
                });
                let listener = listener.map_err(|e| one(&format!("proxy.metrics: {address}"), e))?;
                aside.metrics = listener.local_addr().ok();
                Some(listener)
            }
            None => None,
        };
        drop(entered);
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        let hub = hub.clone();
        let run = async move {
            tokio::spawn(control::serve(hub.clone(), control));
            tokio::spawn(control::retention(hub.clone()));
            if let Some(map) = map {
                tokio::spawn(socketmap::serve(hub.clone(), map));
            }
            if let Some(metrics) = metrics {
                tokio::spawn(pages_of(hub, metrics));
            }
            // Both an order and a sender that is gone end it.
            let _ = stopped.await;
        };
        let thread = std::thread::Builder::new().name("aside".into()).spawn(move || {
            runtime.block_on(run);
            runtime.shutdown_timeout(Duration::from_millis(100));
        });
        aside.thread = Some(thread.map_err(|e| one("the system gives no thread", e))?);
        aside.stop = Some(stop);
        Ok(aside)
    }

    /// A socket under its name, in one step: whoever connects reaches the former process or this one.
    fn bind(&mut self, key: &str, path: &Path, mode: u32) -> Result<UnixListener, Vec<String>> {
        let failed = |e: std::io::Error| vec![format!("{key}: {}: {e}", path.display())];
        if std::fs::symlink_metadata(path).is_ok_and(|m| !m.file_type().is_socket()) {
            return Err(vec![format!("{key}: {} is there and is no socket", path.display())]);
        }
        let mut next = path.as_os_str().to_owned();
        next.push(format!(".{}", std::process::id()));
        let next = PathBuf::from(next);
        let _ = std::fs::remove_file(&next);
        let listener = UnixListener::bind(&next).map_err(failed)?;
        let placed = std::fs::set_permissions(&next, std::fs::Permissions::from_mode(mode))
            .and_then(|()| Ok(std::fs::symlink_metadata(&next)?.ino()))
            .and_then(|inode| std::fs::rename(&next, path).map(|()| inode));
        match placed {
            Ok(inode) => self.files.push(Bound { path: path.to_owned(), inode }),
            Err(e) => {
                let _ = std::fs::remove_file(&next);
                return Err(failed(e));
            }
        }
        Ok(listener)
    }
}

impl Drop for Aside {
    fn drop(&mut self) {
        for bound in &self.files {
            // Another process may have taken the name over.
            if std::fs::symlink_metadata(&bound.path).is_ok_and(|m| m.ino() == bound.inode) {
                let _ = std::fs::remove_file(&bound.path);
            }
        }
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

async fn pages_of(hub: Arc<Hub>, listener: TcpListener) {
    let page = move |page| {
        let hub = hub.clone();
        async move {
            match (page, *hub.phase.borrow()) {
                (Page::Metrics, _) => ("200 OK", hub.meter.text()),
                (Page::Health, Phase::Serving) => ("200 OK", "serving\n".to_owned()),
                (Page::Health, Phase::Leaving | Phase::Draining | Phase::Closing | Phase::Over) => {
                    ("503 Service Unavailable", "draining\n".to_owned())
                }
            }
        }
    };
    accept::pages(listener, page).await;
}
