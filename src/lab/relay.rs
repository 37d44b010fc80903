//! The relay of a slow link: a process of its own, in the network of a host or of this machine.
//!
//! ```text
//! client ──connect──▶ nftables redirect ──▶ relay ──(held back)──▶ server
//! ```
//!
//! The client's connection is taken at once; the one to the server is made at once too, but the first bytes wait for the round
//! trip that a handshake would have cost, and every chunk waits for the delay of its direction. A server that refuses is seen by
//! the client as a connection that is reset after that time. UDP and connections that were open before pass as ever.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use socket2::{Domain, SockRef, Socket, Type};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::time::Instant;

/// First argument of a relay process; also how it is found again.
pub const WORD: &str = "lab-relay";
/// First line of its output.
pub(crate) const READY: &str = "ready";
/// Mark of the relay's own connections, so that they are not led back to it.
const MARK: u32 = 0xC07;
/// Largest piece that is held back as one, and how many of them at most: 4 MiB in flight a direction.
const CHUNK: usize = 16 * 1024;
const IN_FLIGHT: usize = 256;

/// What a relay is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RelayArgs {
    pub lab: String,
    /// nftables table that leads connections to it; it owns the table.
    pub table: String,
    /// Each way.
    pub delay: Duration,
    /// Connections to these addresses are held back; empty: to all but its own host.
    pub to: Vec<IpAddr>,
    /// The relay ends when this file goes.
    pub while_exists: PathBuf,
}

impl RelayArgs {
    pub(crate) fn to_argv(&self) -> Vec<String> {
        let to: Vec<String> = self.to.iter().map(|a| a.to_string()).collect();
        let words = [
            WORD,
            "--lab",
            &self.lab,
            "--table",
            &self.table,
            "--delay-ms",
            &self.delay.as_millis().to_string(),
            "--to",
            &to.join(","),
            "--while",
        ];
        words.into_iter().map(str::to_owned).chain([self.while_exists.display().to_string()]).collect()
    }

    /// Reads what [`RelayArgs::to_argv`] wrote, after the first word.
    pub fn from_argv(argv: &[String]) -> Result<RelayArgs, String> {
        let value = |name: &str| {
            let at = argv.iter().position(|a| a == name).ok_or_else(|| format!("{name} is missing"))?;
            argv.get(at + 1).cloned().ok_or_else(|| format!("{name} has no value"))
        };
        let delay = value("--delay-ms")?.parse().map_err(|e| format!("--delay-ms: {e}"))?;
        let to = value("--to")?;
        let to = to.split(',').filter(|a| !a.is_empty()).map(str::parse).collect::<Result<_, _>>();
        Ok(RelayArgs {
            lab: value("--lab")?,
            table: value("--table")?,
            delay: Duration::from_millis(delay),
            to: to.map_err(|e| format!("--to: {e}"))?,
            while_exists: value("--while")?.into(),
        })
    }
}

/// Runs until a signal, or until the lab's record goes. Blocks.
pub fn run(args: &RelayArgs) -> io::Result<()> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(serve(args))
}

async fn serve(args: &RelayArgs) -> io::Result<()> {
    let v4 = TcpListener::bind("127.0.0.1:0").await?;
    let v6 = TcpListener::bind("[::1]:0").await.ok();
    let ruleset =
        ruleset(args, v4.local_addr()?.port(), v6.as_ref().and_then(|l| l.local_addr().ok()).map(|a| a.port()));
    nft(&ruleset).await?;
    {
        use std::io::Write as _;
        let mut out = io::stdout().lock();
        writeln!(out, "{READY}")?;
        out.flush()?;
    }
    let (v4_delay, v6_delay) = (args.delay, args.delay);
    let mut term = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
    let ended = tokio::select! {
        end = accept(v4, v4_delay) => end,
        end = async { match v6 { Some(v6) => accept(v6, v6_delay).await, None => std::future::pending().await } } => end,
        end = keep_rules(args, &ruleset) => end,
        _ = term.recv() => Ok(()),
        _ = tokio::signal::ctrl_c() => Ok(()),
    };
    nft(&format!("delete table inet {}\n", args.table)).await?;
    ended
}

/// A firewall of the host that is loaded anew may flush every table, ours with it: it is put back. Ends when the lab's record goes.
async fn keep_rules(args: &RelayArgs, ruleset: &str) -> io::Result<()> {
    loop {
        tokio::time::sleep(Duration::from_millis(500)).await;
        if !args.while_exists.exists() {
            return Ok(());
        }
        if nft(&format!("list table inet {}\n", args.table)).await.is_err() {
            nft(ruleset).await?;
        }
    }
}

/// Redirects to the loopback address, as a redirect of locally made connections does.
fn ruleset(args: &RelayArgs, v4: u16, v6: Option<u16>) -> String {
    let set = |v4: bool| {
        let list: Vec<String> = args.to.iter().filter(|a| a.is_ipv4() == v4).map(|a| a.to_string()).collect();
        list.join(", ")
    };
    let mut rules = format!("    meta mark {MARK} return\n    oif lo return\n");
    let ports = [("ip", "ipv4", true, Some(v4)), ("ip6", "ipv6", false, v6)];
    for (family, protocol, is_v4, port) in ports {
        let Some(port) = port else { continue };
        match (args.to.is_empty(), set(is_v4)) {
            (true, _) => rules.push_str(&format!("    meta nfproto {protocol} meta l4proto tcp redirect to :{port}\n")),
            (false, list) if list.is_empty() => {}
            (false, list) => {
                rules.push_str(&format!("    {family} daddr {{ {list} }} meta l4proto tcp redirect to :{port}\n"));
            }
        }
    }
    format!("table inet {} {{\n  chain out {{\n    type nat hook output priority -110;\n{rules}  }}\n}}\n", args.table)
}

async fn nft(script: &str) -> io::Result<()> {
    let mut command = tokio::process::Command::new("nft");
    let mut child =
        command.args(["-f", "-"]).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn()?;
    if let Some(mut stdin) = child.stdin.take() {
        stdin.write_all(script.as_bytes()).await?;
    }
    let out = child.wait_with_output().await?;
    let said = String::from_utf8_lossy(&out.stderr);
    if out.status.success() {
        Ok(())
    } else {
        Err(io::Error::other(format!("nft: {}", said.lines().next().unwrap_or(""))))
    }
}

async fn accept(listener: TcpListener, delay: Duration) -> io::Result<()> {
    loop {
        match listener.accept().await {
            Ok((client, _)) => drop(tokio::spawn(async move {
                // A connection that fails ends for both sides; there is nobody else to tell.
                let _ = relay(client, delay).await;
            })),
            // Out of descriptors for a moment: the others go on.
            Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    }
}

async fn relay(client: TcpStream, delay: Duration) -> io::Result<()> {
    let began = Instant::now();
    let target = original_destination(&client)?;
    let server = match connect(target).await {
        Ok(server) => server,
        Err(e) => {
            tokio::time::sleep_until(began + delay * 2).await;
            // Closing with a reset, as a refusal would.
            SockRef::from(&client).set_linger(Some(Duration::ZERO))?;
            return Err(e);
        }
    };
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let (client_in, client_out) = client.into_split();
    let (server_in, server_out) = server.into_split();
    let handshake_over = began + delay * 2;
    tokio::try_join!(
        hold_back(client_in, server_out, delay, handshake_over),
        hold_back(server_in, client_out, delay, handshake_over),
    )?;
    Ok(())
}

/// Where the client wanted to go before the redirect (`SO_ORIGINAL_DST`).
fn original_destination(client: &TcpStream) -> io::Result<SocketAddr> {
    let socket = SockRef::from(client);
    let address = if client.local_addr()?.is_ipv4() { socket.original_dst_v4()? } else { socket.original_dst_v6()? };
    address.as_socket().ok_or_else(|| io::Error::other("no original destination"))
}

async fn connect(target: SocketAddr) -> io::Result<TcpStream> {
    let socket = Socket::new(Domain::for_address(target), Type::STREAM, None)?;
    socket.set_mark(MARK)?;
    socket.set_nonblocking(true)?;
    tokio::net::TcpSocket::from_std_stream(socket.into()).connect(target).await
}

/// Copies one direction, each chunk `delay` after it came, none before `not_before + delay`. Closes the far side when the near one ends.
pub(crate) async fn hold_back<R, W>(mut from: R, mut to: W, delay: Duration, not_before: Instant) -> io::Result<()>
where
    R: tokio::io::AsyncRead + Unpin,
    W: tokio::io::AsyncWrite + Unpin,
{
    let (held, mut due) = mpsc::channel::<(Instant, Vec<u8>)>(IN_FLIGHT);
    let reading = async move {
        let mut buffer = vec![0; CHUNK];
        loop {
            let n = from.read(&mut buffer).await?;
            let at = Instant::now().max(not_before) + delay;
            // An empty chunk stands for the end, which travels no faster than data.
            if held.send((at, buffer[..n].to_vec())).await.is_err() || n == 0 {
                return Ok(());
            }
        }
    };
    let writing = async move {
        while let Some((at, chunk)) = due.recv().await {
            tokio::time::sleep_until(at).await;
            if chunk.is_empty() {
                break;
            }
            to.write_all(&chunk).await?;
        }
        to.shutdown().await
    };
    tokio::try_join!(reading, writing).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(to: &[&str]) -> RelayArgs {
        RelayArgs {
            lab: "acme-lab".into(),
            table: "cutover_lab_acme_2dlab_f1".into(),
            delay: Duration::from_millis(50),
            to: to.iter().map(|a| a.parse().unwrap()).collect(),
            while_exists: "/tmp/lab.json".into(),
        }
    }

    #[test]
    fn arguments_come_back_as_they_went() {
        for to in [&["10.0.0.1", "fd00::1"][..], &[]] {
            let argv = args(to).to_argv();
            assert_eq!(RelayArgs::from_argv(&argv[1..]).unwrap(), args(to));
        }
        assert!(RelayArgs::from_argv(&["--lab".into()]).is_err());
    }

    #[test]
    fn only_the_families_asked_for_are_led_away() {
        let only_v4 = ruleset(&args(&["10.0.0.1"]), 1000, Some(1001));
        assert!(only_v4.contains("ip daddr { 10.0.0.1 }") && !only_v4.contains("ip6 daddr"), "{only_v4}");
        let all = ruleset(&args(&[]), 1000, None);
        assert!(all.contains("nfproto ipv4") && !all.contains("nfproto ipv6"), "{all}");
    }

    #[tokio::test]
    async fn bytes_come_late_whole_and_in_order() {
        let (mut near, from) = tokio::io::duplex(1 << 16);
        let (to, mut far) = tokio::io::duplex(64);
        let began = Instant::now();
        let task = tokio::spawn(hold_back(from, to, Duration::from_millis(50), began + Duration::from_millis(100)));
        let sent: Vec<u8> = (0..40_000u32).map(|n| n as u8).collect();
        near.write_all(&sent).await.unwrap();
        drop(near);
        let mut first = [0];
        far.read_exact(&mut first).await.unwrap();
        assert!(began.elapsed().as_millis() >= 150, "the handshake's round trip and one delay: {:?}", began.elapsed());
        let mut rest = Vec::new();
        far.read_to_end(&mut rest).await.unwrap();
        assert_eq!([&first[..], &rest].concat(), sent);
        task.await.unwrap().unwrap();
    }
}
