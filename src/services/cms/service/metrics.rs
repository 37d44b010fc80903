//! `/metrics` and `/health`, by plain HTTP: one request, one answer (RFC 9112).

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::Service;
use crate::services::cms::queue::Queue;

/// Octets of a request's head.
const HEAD: usize = 8 * 1024;

const PATIENCE: Duration = Duration::from_secs(5);

pub async fn serve<Q: Queue>(service: Arc<Service<Q>>, listener: TcpListener) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                let service = service.clone();
                tokio::spawn(async move { tokio::time::timeout(PATIENCE, request(&service, stream)).await });
            }
            // No file descriptor is left, most likely.
            Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
        }
    }
}

async fn request<Q: Queue>(service: &Service<Q>, mut stream: TcpStream) -> std::io::Result<()> {
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
        [b"GET" | b"HEAD", b"/metrics", _] => ("200 OK", text(service).await),
        [b"GET" | b"HEAD", b"/health", _] => ("200 OK", "moving\n".to_owned()),
        [b"GET" | b"HEAD", ..] => ("404 Not Found", "/metrics or /health\n".to_owned()),
        _ => ("405 Method Not Allowed", "GET\n".to_owned()),
    };
    let kind = "text/plain; version=0.0.4; charset=utf-8";
    let length = body.len();
    let answer =
        format!("HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n");
    stream.write_all(answer.as_bytes()).await?;
    if !matches!(words.first(), Some(&b"HEAD")) {
        stream.write_all(body.as_bytes()).await?;
    }
    stream.shutdown().await
}

async fn text<Q: Queue>(service: &Service<Q>) -> String {
    let mut phases: BTreeMap<String, u64> = BTreeMap::new();
    let mut exceptions = 0;
    for s in service.mover.ledger.summaries().await.unwrap_or_default() {
        *phases.entry(s.phase.as_str().to_owned()).or_default() += 1;
        exceptions += s.exceptions;
    }
    let waiting = service.queue.waiting();
    service.mover.meter.text(&phases)
        + &format!(
            "# HELP cutover_cms_exceptions What could not be carried over.\n# TYPE cutover_cms_exceptions gauge\n\
             cutover_cms_exceptions {exceptions}\n# HELP cutover_cms_waiting Passes that wait.\n\
             # TYPE cutover_cms_waiting gauge\ncutover_cms_waiting {waiting}\n"
        )
}
