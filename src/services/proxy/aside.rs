//! What a process answers beside mail: the control socket, Postfix, metrics and health. One thread for all of it.

use std::future::poll_fn;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::Semaphore;

use super::hub::{Hub, Phase};
use super::{control, socketmap};

/// Octets of an HTTP request's head.
const HEAD: usize = 8 * 1024;

const PATIENCE: Duration = Duration::from_secs(5);

/// Connections to the metrics at the same time.
const MOST: usize = 32;

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
                tokio::spawn(http(hub, metrics));
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

/// Serves for ever what `next` accepts, at most so many at the same time; those beyond wait.
pub(super) async fn accept<S, F: Future<Output = ()> + Send + 'static>(
    next: impl Fn(&mut Context<'_>) -> Poll<std::io::Result<S>>,
    most: usize,
    serve: impl Fn(S) -> F,
) {
    let places = Arc::new(Semaphore::new(most));
    loop {
        let Ok(place) = places.clone().acquire_owned().await else { return };
        match poll_fn(&next).await {
            Ok(stream) => {
                let served = serve(stream);
                tokio::spawn(async move {
                    served.await;
                    drop(place);
                });
            }
            // No file descriptor is left, most likely.
            Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
        }
    }
}

async fn http(hub: Arc<Hub>, listener: TcpListener) {
    let one = |stream| {
        let hub = hub.clone();
        async move {
            let _ = tokio::time::timeout(PATIENCE, request(&hub, stream)).await;
        }
    };
    accept(|cx| listener.poll_accept(cx).map_ok(|(stream, _)| stream), MOST, one).await;
}

/// One request, one answer (RFC 9112).
async fn request(hub: &Hub, mut stream: tokio::net::TcpStream) -> std::io::Result<()> {
    let mut head = Vec::new();
    while !head.windows(4).any(|w| w == b"\r\n\r\n") {
        let mut octets = [0; 1024];
        let n = stream.read(&mut octets).await?;
        if n == 0 || head.len() + n > HEAD {
            return Ok(());
        }
        head.extend_from_slice(&octets[..n]);
    }
    let line = head.split(|b| *b == b'\r').next().unwrap_or_default();
    let words: Vec<&[u8]> = line.split(|b| *b == b' ').collect();
    let (status, body) = match words.as_slice() {
        [b"GET" | b"HEAD", b"/metrics", _] => ("200 OK", hub.meter.text()),
        [b"GET" | b"HEAD", b"/health", _] => match *hub.phase.borrow() {
            Phase::Serving => ("200 OK", "serving\n".to_owned()),
            Phase::Draining | Phase::Closing | Phase::Over => ("503 Service Unavailable", "draining\n".to_owned()),
        },
        [b"GET" | b"HEAD", ..] => ("404 Not Found", "/metrics or /health\n".to_owned()),
        _ => ("405 Method Not Allowed", "GET\n".to_owned()),
    };
    let length = body.len();
    let kind = "text/plain; version=0.0.4; charset=utf-8";
    let answer =
        format!("HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n");
    stream.write_all(answer.as_bytes()).await?;
    if !matches!(words.first(), Some(&b"HEAD")) {
        stream.write_all(body.as_bytes()).await?;
    }
    stream.shutdown().await
}
