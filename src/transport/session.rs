//! One script's talk with the far side: input is written while output is read, so neither side ever waits for the other.

use std::future::Future;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};
use zeroize::Zeroizing;

use crate::model::host::{HostAccess, HostError, HostErrorKind};

use super::Exit;
use super::refusal::error;

/// More output than any answer of ours: something else is talking.
const MOST_OUTPUT: usize = 256 << 20;
const MOST_STDERR: usize = 8 << 10;

pub struct Pipes<I, O, E> {
    pub stdin: I,
    pub stdout: O,
    pub stderr: E,
}

pub async fn converse<I, O, E>(
    host: &HostAccess,
    pipes: Pipes<I, O, E>,
    input: Zeroizing<Vec<u8>>,
    limit: Duration,
    mut on_line: impl FnMut(&str) + Send,
    wait: impl Future<Output = Result<Option<i32>, String>> + Send,
) -> Result<Exit, HostError>
where
    I: AsyncWrite + Unpin + Send,
    O: AsyncRead + Unpin + Send,
    E: AsyncRead + Unpin + Send,
{
    let Pipes { mut stdin, stdout, stderr } = pipes;
    let write = async move {
        // A script that ends early closes its input; its exit status says why.
        let _ = stdin.write_all(&input).await;
        let _ = stdin.shutdown().await;
        drop(stdin);
    };
    let read = async {
        let mut lines = BufReader::with_capacity(64 << 10, stdout);
        let mut line = Vec::new();
        let mut seen = 0usize;
        loop {
            line.clear();
            match lines.read_until(b'\n', &mut line).await {
                Ok(0) => return Ok(()),
                Ok(n) => seen += n,
                Err(e) => return Err(format!("its output cannot be read: {e}")),
            }
            if seen > MOST_OUTPUT {
                return Err("it sends output without end".to_owned());
            }
            on_line(String::from_utf8_lossy(&line).trim_end_matches(['\n', '\r']));
        }
    };
    let complain = async {
        let mut stderr = stderr;
        let mut kept = Vec::new();
        let mut chunk = [0u8; 4096];
        while let Ok(n @ 1..) = stderr.read(&mut chunk).await {
            kept.extend_from_slice(&chunk[..n]);
            if kept.len() > 2 * MOST_STDERR {
                kept.drain(..kept.len() - MOST_STDERR);
            }
        }
        String::from_utf8_lossy(&kept).into_owned()
    };
    // The exit status may overtake the last output, and whoever takes it from the multiplexer lets go of the channel, with
    // what is still in it: so it is asked for only when the output has ended.
    let all = async {
        let ((), read, stderr) = tokio::join!(write, read, complain);
        (read, stderr, wait.await)
    };
    let Ok((read, stderr, status)) = tokio::time::timeout(limit, all).await else {
        return Err(error(
            host,
            HostErrorKind::Timeout,
            format!("no answer within {} s; what the script did is unknown", limit.as_secs()),
            None,
        ));
    };
    if let Err(why) = read {
        return Err(error(host, HostErrorKind::Protocol, format!("the host's answer: {why}"), None));
    }
    match status {
        Ok(code) => Ok(Exit { code, stderr }),
        Err(why) => Err(error(
            host,
            HostErrorKind::Lost,
            format!("the connection broke while a script ran: {why}"),
            Some("what it did is unknown until the host is observed again".to_owned()),
        )),
    }
}
