//! `cutover-proxy` as a process on loopback, and servers behind it that keep what they are sent.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use cutover::services::proxy::session::Protocol;

/// A port of loopback that nobody has now. Below those that the kernel gives out by itself, and others for each process, so that no test
/// that runs beside this one takes it before the proxy does.
pub fn free() -> SocketAddr {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let first = 10_000 + (std::process::id() % 700) as u16 * 30;
    let mut ports = (0..30).map(|_| first + NEXT.fetch_add(1, Ordering::Relaxed) % 30);
    ports
        .find_map(|port| TcpListener::bind(("127.0.0.1", port)).and_then(|l| l.local_addr()).ok())
        .expect("a free port")
}

/// A proxy that runs; ended when dropped.
pub struct Proxy {
    child: Child,
    dir: tempfile::TempDir,
    listeners: Vec<(Protocol, SocketAddr)>,
}

/// What stands in a configuration: listeners without TLS that take passwords, sides, and more text.
pub struct Setting {
    pub old: Vec<(Protocol, SocketAddr)>,
    pub new: Vec<(Protocol, SocketAddr)>,
    /// Keys of a listener, beside protocol and address.
    pub listen: String,
    /// Keys of a backend, beside its servers.
    pub back: String,
    /// Other tables.
    pub more: String,
}

impl Default for Setting {
    fn default() -> Self {
        let (listen, back) = ("tls = \"none\"\nplain-login = true\n".into(), "tls = \"none\"\n".into());
        Self { old: Vec::new(), new: Vec::new(), listen, back, more: String::new() }
    }
}

impl Proxy {
    /// Starts it and waits until it takes connections. `@` in the texts of `setting` stands for its folder.
    pub fn start(setting: &Setting) -> Self {
        Self::start_with(setting, |text| text)
    }

    /// The same with a configuration that `edit` has changed.
    pub fn start_with(setting: &Setting, edit: impl FnOnce(String) -> String) -> Self {
        let dir = tempfile::Builder::new().prefix("cutover-proxy-").tempdir().expect("a folder");
        let protocols: Vec<Protocol> = setting.old.iter().map(|(p, _)| *p).collect();
        let listeners: Vec<(Protocol, SocketAddr)> = protocols.iter().map(|p| (*p, free())).collect();
        let at = dir.path().display();
        let mut text = format!(
            "[proxy]\nname = \"mail.acme.test\"\nstate = \"{at}/state\"\ncontrol = \"{at}/control.sock\"\nworkers = 2\ndrain = \"1s\"\n"
        );
        for (protocol, address) in &listeners {
            text += &format!(
                "[[listen]]\nprotocol = \"{}\"\naddress = \"{address}\"\n{}",
                protocol.as_str(),
                setting.listen
            );
        }
        for (side, servers) in [("old", &setting.old), ("new", &setting.new)] {
            for (protocol, address) in servers {
                text += &format!("[side.{side}.{}]\nservers = [\"{address}\"]\n{}", protocol.as_str(), setting.back);
            }
        }
        text += &format!("[log]\naccess = \"{at}/access.log\"\naudit = \"{at}/audit.log\"\n");
        text += &setting.more;
        let config = dir.path().join("config.toml");
        std::fs::create_dir_all(dir.path().join("state")).expect("a folder");
        std::fs::write(&config, edit(text.replace('@', &at.to_string()))).expect("config.toml");
        let child = run(&config, dir.path());
        let mut proxy = Self { child, dir, listeners };
        proxy.ready();
        proxy
    }

    fn ready(&mut self) {
        let until = Instant::now() + Duration::from_secs(20);
        for (_, address) in self.listeners.clone() {
            while TcpStream::connect(address).is_err() {
                let ended = self.child.try_wait().expect("a child");
                assert!(ended.is_none() && Instant::now() < until, "{ended:?}: {}", self.file("stderr"));
                std::thread::sleep(Duration::from_millis(20));
            }
        }
    }

    pub fn at(&self, protocol: Protocol) -> SocketAddr {
        self.listeners.iter().find(|(p, _)| *p == protocol).expect("a listener").1
    }

    /// A connection whose greeting was read. Reads end after ten seconds.
    pub fn dial(&self, protocol: Protocol) -> Talk {
        let mut talk = Talk::new(self.at(protocol));
        let greeting = talk.line();
        assert!(!greeting.is_empty(), "no greeting: {}", self.file("stderr"));
        talk
    }

    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// A file of its folder, as text; empty when it is not there.
    pub fn file(&self, name: &str) -> String {
        let octets = std::fs::read(self.dir.path().join(name)).unwrap_or_default();
        String::from_utf8_lossy(&octets).into_owned()
    }

    /// Octets of memory that it holds.
    pub fn resident(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).expect("a process");
        let line = status.lines().find(|l| l.starts_with("VmRSS:")).expect("VmRSS");
        line.split_whitespace().nth(1).and_then(|n| n.parse::<u64>().ok()).expect("a number") * 1024
    }

    /// SIGKILL, then a start with the same configuration.
    pub fn kill_and_start(&mut self) {
        self.child.kill().expect("killed");
        self.child.wait().expect("ended");
        self.child = run(&self.dir.path().join("config.toml"), self.dir.path());
        self.ready();
    }
}

fn run(config: &PathBuf, dir: &Path) -> Child {
    let errors = std::fs::OpenOptions::new().create(true).append(true).open(dir.join("stderr")).expect("a file");
    Command::new(env!("CARGO_BIN_EXE_cutover-proxy"))
        .args(["serve", "--config"])
        .arg(config)
        .stdin(Stdio::null())
        .stdout(errors.try_clone().expect("a file"))
        .stderr(errors)
        .spawn()
        .expect("cutover-proxy starts")
}

impl Drop for Proxy {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// One side of a conversation in lines.
pub struct Talk(BufReader<TcpStream>);

impl Talk {
    pub fn new(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).expect("connected");
        stream.set_nodelay(true).expect("an option");
        stream.set_read_timeout(Some(Duration::from_secs(10))).expect("an option");
        stream.set_write_timeout(Some(Duration::from_secs(10))).expect("an option");
        Self(BufReader::new(stream))
    }

    /// May fail: the other side may have closed.
    pub fn try_say(&mut self, octets: &[u8]) -> std::io::Result<()> {
        self.0.get_mut().write_all(octets)
    }

    pub fn say(&mut self, octets: &[u8]) {
        self.try_say(octets).expect("sent");
    }

    /// The next line with its end; empty at the end of the connection.
    pub fn line(&mut self) -> String {
        let mut line = Vec::new();
        match self.0.read_until(b'\n', &mut line) {
            Ok(_) => String::from_utf8_lossy(&line).into_owned(),
            Err(e) if e.kind() == std::io::ErrorKind::ConnectionReset => String::new(),
            Err(e) => panic!("nothing came behind {:?}: {e}", String::from_utf8_lossy(&line)),
        }
    }

    /// Reads until a line begins with this, or to the end; that line.
    pub fn until(&mut self, begin: &str) -> String {
        loop {
            let line = self.line();
            if line.is_empty() || line.starts_with(begin) {
                return line;
            }
        }
    }

    pub fn stream(&mut self) -> &mut TcpStream {
        self.0.get_mut()
    }

    /// The rest up to the end of the connection.
    pub fn rest(&mut self) -> String {
        let mut rest = Vec::new();
        let _ = self.0.read_to_end(&mut rest);
        String::from_utf8_lossy(&rest).into_owned()
    }
}

/// A server that takes every login and keeps all that each connection sends.
#[derive(Clone)]
pub struct Recorder {
    pub address: SocketAddr,
    /// A connection each, in the order of their begin.
    heard: Arc<Mutex<Vec<Vec<u8>>>>,
}

impl Recorder {
    /// `sasl`: it offers AUTH PLAIN; without, IMAP and POP3 are logged in to by LOGIN and USER.
    pub fn start(protocol: Protocol, sasl: bool) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("its address");
        let heard: Arc<Mutex<Vec<Vec<u8>>>> = Arc::default();
        let kept = heard.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let kept = kept.clone();
                let number = {
                    let mut kept = kept.lock().expect("not poisoned");
                    kept.push(Vec::new());
                    kept.len() - 1
                };
                std::thread::spawn(move || {
                    let note = |octets: &[u8]| kept.lock().expect("not poisoned")[number].extend_from_slice(octets);
                    let _ = serve(protocol, sasl, stream, note);
                });
            }
        });
        Self { address, heard }
    }

    /// What came so far, and forgets it. Only between connections.
    pub fn take(&self) -> Vec<Vec<u8>> {
        self.heard.lock().expect("not poisoned").clone()
    }
}

fn serve(protocol: Protocol, sasl: bool, stream: TcpStream, note: impl Fn(&[u8])) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let mut out = stream.try_clone()?;
    let mut lines = BufReader::new(stream);
    let greeting: &[u8] = match protocol {
        Protocol::Imap if sasl => b"* OK [CAPABILITY IMAP4rev1 SASL-IR LITERAL+ ID AUTH=PLAIN] ready\r\n",
        Protocol::Imap => b"* OK [CAPABILITY IMAP4rev1 LITERAL+ ID] ready\r\n",
        Protocol::Pop3 => b"+OK ready\r\n",
        Protocol::Submission => b"220 ready\r\n",
    };
    out.write_all(greeting)?;
    let mut message = false;
    loop {
        let mut line = Vec::new();
        if lines.read_until(b'\n', &mut line)? == 0 {
            return Ok(());
        }
        note(&line);
        if protocol == Protocol::Imap {
            while let Some((size, waits)) = literal(&line) {
                if waits {
                    out.write_all(b"+ go\r\n")?;
                }
                let mut more = vec![0; size];
                lines.read_exact(&mut more)?;
                lines.read_until(b'\n', &mut more)?;
                note(&more);
                line = more;
            }
        }
        let text = String::from_utf8_lossy(&line).into_owned();
        let word = |n: usize| text.split_ascii_whitespace().nth(n).unwrap_or_default().to_ascii_uppercase();
        let answer = match protocol {
            Protocol::Imap => format!("{} OK done\r\n", text.split(' ').next().unwrap_or("*").trim()),
            Protocol::Pop3 if word(0) == "CAPA" && sasl => "+OK\r\nSASL PLAIN\r\nUSER\r\n.\r\n".into(),
            Protocol::Pop3 if word(0) == "CAPA" => "+OK\r\nUSER\r\n.\r\n".into(),
            Protocol::Pop3 => "+OK done\r\n".into(),
            Protocol::Submission if message && line != b".\r\n" => continue,
            Protocol::Submission => match word(0).as_str() {
                "EHLO" => "250-here\r\n250-PIPELINING\r\n250 AUTH PLAIN\r\n".into(),
                "AUTH" => "235 in\r\n".into(),
                "DATA" => {
                    message = true;
                    "354 go\r\n".into()
                }
                _ => {
                    message = false;
                    "250 done\r\n".into()
                }
            },
        };
        out.write_all(answer.as_bytes())?;
    }
}

/// The literal that a line announces, and whether the client waits for an answer.
fn literal(line: &[u8]) -> Option<(usize, bool)> {
    let line = line.strip_suffix(b"}\r\n")?;
    let number = &line[line.iter().rposition(|b| *b == b'{')? + 1..];
    let (number, waits) = number.strip_suffix(b"+").map_or((number, true), |n| (n, false));
    Some((std::str::from_utf8(number).ok()?.parse().ok()?, waits))
}
