//! A proxy that serves (the real program), two sides behind it that take every login, and clients.

#![allow(clippy::unwrap_used)] // a test that cannot go on fails

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::proxy::free;

pub const IMAP: usize = 0;
pub const POP3: usize = 1;
pub const SMTP: usize = 2;
pub const ALL: [usize; 3] = [IMAP, POP3, SMTP];

/// The servers of one side. A password that begins with `wrong` is refused.
pub struct Side {
    pub ports: [u16; 3],
}

impl Side {
    pub fn start(name: &'static str) -> Self {
        let ports = ALL.map(|protocol| {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let port = listener.local_addr().unwrap().port();
            std::thread::spawn(move || {
                for stream in listener.incoming().map_while(Result::ok) {
                    std::thread::spawn(move || drop(backend(name, protocol, stream)));
                }
            });
            port
        });
        Self { ports }
    }
}

fn line(reader: &mut BufReader<TcpStream>) -> std::io::Result<String> {
    let mut octets = Vec::new();
    if reader.read_until(b'\n', &mut octets)? == 0 {
        return Err(std::io::ErrorKind::UnexpectedEof.into());
    }
    Ok(String::from_utf8_lossy(&octets).trim_end_matches(['\r', '\n']).to_owned())
}

fn backend(name: &str, protocol: usize, mut out: TcpStream) -> std::io::Result<()> {
    out.set_nodelay(true)?;
    let mut reader = BufReader::new(out.try_clone()?);
    let greeting = match protocol {
        IMAP => format!("* OK [CAPABILITY IMAP4rev1 SASL-IR LITERAL+ ID AUTH=PLAIN] {name}\r\n"),
        POP3 => format!("+OK {name}\r\n"),
        _ => format!("220 {name} ESMTP\r\n"),
    };
    out.write_all(greeting.as_bytes())?;
    let plain = |text: &str| STANDARD.decode(text).unwrap_or_default();
    let wrong = |message: &[u8]| message.split(|b| *b == 0).nth(2).is_some_and(|p| p.starts_with(b"wrong"));
    loop {
        let said = line(&mut reader)?;
        let words: Vec<&str> = said.split(' ').collect();
        let verb = words.get(usize::from(protocol == IMAP)).unwrap_or(&"").to_ascii_uppercase();
        let tag = words[0];
        let answer = match (protocol, verb.as_str()) {
            (IMAP, "AUTHENTICATE") if wrong(&plain(words.get(3).unwrap_or(&""))) => format!("{tag} NO wrong\r\n"),
            (IMAP, "ID") => format!("* ID NIL\r\n{tag} OK\r\n"),
            (IMAP, _) => format!("{tag} OK {name} done\r\n"),
            (POP3, "CAPA") => "+OK\r\nUSER\r\nSASL PLAIN\r\n.\r\n".to_owned(),
            (POP3, "PASS") if said[5..].starts_with("wrong") => "-ERR wrong\r\n".to_owned(),
            (POP3, "AUTH") => {
                out.write_all(b"+ \r\n")?;
                let message = plain(&line(&mut reader)?);
                if wrong(&message) { "-ERR wrong\r\n".into() } else { format!("+OK {name}\r\n") }
            }
            (POP3, _) => format!("+OK {name}\r\n"),
            (_, "EHLO") => format!("250-{name}\r\n250-PIPELINING\r\n250-CHUNKING\r\n250 AUTH PLAIN\r\n"),
            (_, "AUTH") if wrong(&plain(words.get(2).unwrap_or(&""))) => "535 5.7.8 wrong\r\n".to_owned(),
            (_, "AUTH") => format!("235 2.7.0 {name}\r\n"),
            (_, "DATA") => {
                out.write_all(b"354 go\r\n")?;
                while line(&mut reader)? != "." {}
                format!("250 {name} queued\r\n")
            }
            (..) => format!("250 {name}\r\n"),
        };
        out.write_all(answer.as_bytes())?;
    }
}

/// The program, with its folder. Killed when dropped.
pub struct Gate {
    pub folder: PathBuf,
    pub ports: [u16; 3],
    pub metrics: u16,
    config: String,
    child: Option<Child>,
}

impl Gate {
    /// `proxy` goes into its first table, `more` behind everything.
    pub fn start(folder: &Path, old: &Side, new: &Side, proxy: &str, more: &str) -> Self {
        let ports = ALL.map(|_| free().port());
        let metrics = free().port();
        let at = folder.display();
        let mut config = format!(
            "[proxy]\nname = \"mail.acme.test\"\nworkers = 2\nstate = \"{at}/state\"\ncontrol = \"{at}/control\"\nmetrics = \"127.0.0.1:{metrics}\"\n{proxy}\n"
        );
        let names = ["imap", "pop3", "submission"];
        for (name, port) in names.iter().zip(ports) {
            config += &format!(
                "[[listen]]\nprotocol = \"{name}\"\naddress = \"127.0.0.1:{port}\"\ntls = \"none\"\nplain-login = true\n"
            );
        }
        for (side, of) in [("old", old), ("new", new)] {
            for (name, port) in names.iter().zip(of.ports) {
                config += &format!("[side.{side}.{name}]\nservers = [\"127.0.0.1:{port}\"]\ntls = \"none\"\n");
            }
        }
        config += &format!("[log]\naccess = \"{at}/access.log\"\naudit = \"{at}/audit.log\"\n{more}\n");
        std::fs::create_dir_all(folder.join("state")).unwrap();
        let mut gate = Self { folder: folder.to_owned(), ports, metrics, config, child: None };
        gate.run();
        gate
    }

    /// Starts it, again after [`Gate::kill`].
    pub fn run(&mut self) {
        let path = self.folder.join("proxy.toml");
        std::fs::write(&path, &self.config).unwrap();
        let log = std::fs::OpenOptions::new().create(true).append(true).open(self.folder.join("stderr.log")).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_cutover-proxy"));
        command.arg("serve").arg("--config").arg(&path).stderr(log).stdout(Stdio::null());
        self.child = Some(command.spawn().unwrap());
        let end = Instant::now() + Duration::from_secs(20);
        while TcpStream::connect(("127.0.0.1", self.ports[SMTP])).is_err()
            || UnixStream::connect(self.folder.join("control")).is_err()
        {
            let stderr = || std::fs::read_to_string(self.folder.join("stderr.log")).unwrap_or_default();
            assert!(Instant::now() < end, "it does not begin: {}", stderr());
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// SIGKILL.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    pub fn pid(&self) -> u32 {
        self.child.as_ref().unwrap().id()
    }

    /// Whether it has ended by itself within a time.
    pub fn ends(&mut self, within: Duration) -> bool {
        let end = Instant::now() + within;
        while Instant::now() < end {
            if self.child.as_mut().unwrap().try_wait().unwrap().is_some() {
                return true;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        false
    }

    pub fn address(&self, protocol: usize) -> SocketAddr {
        ([127, 0, 0, 1], self.ports[protocol]).into()
    }

    /// One request over the control socket; what was done, or why not.
    pub fn ask(&self, request: serde_json::Value) -> Result<serde_json::Value, String> {
        let mut stream = UnixStream::connect(self.folder.join("control")).map_err(|e| e.to_string())?;
        stream.write_all(format!("{request}\n").as_bytes()).map_err(|e| e.to_string())?;
        let mut answer = String::new();
        BufReader::new(stream).read_line(&mut answer).map_err(|e| e.to_string())?;
        let answer: serde_json::Value = serde_json::from_str(&answer).map_err(|e| e.to_string())?;
        match answer.get("done") {
            Some(done) => Ok(done.clone()),
            None => Err(answer["error"].as_str().unwrap_or("no answer").to_owned()),
        }
    }

    /// Gives users a route.
    pub fn set(&self, users: &[&str], to: &str, close: bool) -> serde_json::Value {
        self.ask(serde_json::json!({ "command": "set", "users": users, "to": to, "close": close })).unwrap()
    }

    /// GET over HTTP: the status line and the body.
    pub fn get(&self, path: &str) -> (String, String) {
        let mut stream = TcpStream::connect(("127.0.0.1", self.metrics)).unwrap();
        stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes()).unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        (head.lines().next().unwrap().to_owned(), body.to_owned())
    }

    /// A line of the metrics, by what stands in front of its value.
    pub fn metric(&self, name: &str) -> f64 {
        let (_, text) = self.get("/metrics");
        let line = text.lines().find(|l| l.rsplit_once(' ').is_some_and(|(n, _)| n == format!("cutover_proxy_{name}")));
        line.and_then(|l| l.rsplit_once(' ')).unwrap_or_else(|| panic!("{name}\n{text}")).1.parse().unwrap()
    }

    pub fn log(&self, name: &str) -> Vec<serde_json::Value> {
        std::thread::sleep(Duration::from_millis(250));
        let text = std::fs::read_to_string(self.folder.join(name)).unwrap();
        text.lines().map(|l| serde_json::from_str(l).unwrap_or_else(|e| panic!("{l:?}: {e}"))).collect()
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A client that is logged in.
pub struct Client {
    pub reader: BufReader<TcpStream>,
    protocol: usize,
}

/// The one message of SASL PLAIN.
pub fn plain(acts_as: &[u8], user: &[u8], password: &[u8]) -> String {
    STANDARD.encode([acts_as, b"\0", user, b"\0", password].concat())
}

impl Client {
    pub fn connect(gate: &Gate, protocol: usize) -> Self {
        let stream = TcpStream::connect(gate.address(protocol)).unwrap();
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let mut client = Self { reader: BufReader::new(stream), protocol };
        client.line();
        client
    }

    /// A login; or the line by which it was refused.
    pub fn login(gate: &Gate, protocol: usize, user: &str, password: &str) -> Result<Self, String> {
        let mut client = Self::connect(gate, protocol);
        let message = plain(b"", user.as_bytes(), password.as_bytes());
        let (answer, good) = match protocol {
            IMAP => (client.command(&format!("a AUTHENTICATE PLAIN {message}")), "a OK"),
            POP3 => (client.command(&format!("AUTH PLAIN {message}")), "+OK"),
            _ => {
                client.command("EHLO client.test");
                (client.command(&format!("AUTH PLAIN {message}")), "235")
            }
        };
        if answer.starts_with(good) { Ok(client) } else { Err(answer) }
    }

    pub fn send(&mut self, octets: &[u8]) -> bool {
        self.reader.get_mut().write_all(octets).is_ok()
    }

    /// Empty at the end.
    pub fn line(&mut self) -> String {
        let mut octets = Vec::new();
        let _ = self.reader.read_until(b'\n', &mut octets);
        String::from_utf8_lossy(&octets).into_owned()
    }

    /// The last line of its answer.
    pub fn command(&mut self, text: &str) -> String {
        self.send(format!("{text}\r\n").as_bytes());
        loop {
            let line = self.line();
            let more = match self.protocol {
                IMAP => line.starts_with("* ") && !line.starts_with("* BYE"),
                POP3 => false,
                _ => line.as_bytes().get(3) == Some(&b'-'),
            };
            if !more {
                return line;
            }
        }
    }

    /// Which side answers; nothing when the session has ended.
    pub fn side(&mut self) -> Option<&'static str> {
        let answer = self.command(if self.protocol == IMAP { "n NOOP" } else { "NOOP" });
        ["old", "new"].into_iter().find(|side| answer.contains(side))
    }

    /// Waits for the end of the session.
    pub fn ended(&mut self) -> bool {
        let mut rest = Vec::new();
        self.reader.read_to_end(&mut rest).is_ok()
    }
}
