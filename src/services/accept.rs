//! What the services answer beside mail: connections in bounded number, `/metrics` and `/health`.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

/// Octets of an HTTP request's head.
const HEAD: usize = 8 * 1024;

const PATIENCE: Duration = Duration::from_secs(5);

/// Connections to the metrics at the same time.
const MOST: usize = 32;

/// Serves for ever what `next` accepts, at most so many at the same time; those beyond wait.
pub async fn accept<S, F: Future<Output = ()> + Send + 'static>(
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

/// A page that can be asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Page {
    /// Prometheus' text (exposition format 0.0.4).
    Metrics,
    Health,
}

/// Answers `/metrics` and `/health` by plain HTTP. `page` gives the status line's end and the body.
pub async fn pages<F: Future<Output = (&'static str, String)> + Send>(
    listener: TcpListener,
    page: impl Fn(Page) -> F + Clone + Send + Sync + 'static,
) {
    let one = |stream| {
        let page = page.clone();
        async move {
            let _ = tokio::time::timeout(PATIENCE, request(stream, page)).await;
        }
    };
    accept(|cx| listener.poll_accept(cx).map_ok(|(stream, _)| stream), MOST, one).await;
}

/// One request, one answer (RFC 9112).
async fn request<F: Future<Output = (&'static str, String)>>(
    mut stream: TcpStream,
    page: impl Fn(Page) -> F,
) -> std::io::Result<()> {
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
        [b"GET" | b"HEAD", b"/metrics", _] => page(Page::Metrics).await,
        [b"GET" | b"HEAD", b"/health", _] => page(Page::Health).await,
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
