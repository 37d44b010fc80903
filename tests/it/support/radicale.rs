//! A private Radicale on loopback: its users log in with the password `secret`; `admin` may read and write everything.

#![allow(clippy::unwrap_used)] // a test that cannot go on fails

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::dovecot::free_port;

pub struct Radicale {
    folder: tempfile::TempDir,
    child: Child,
    pub port: u16,
}

impl Radicale {
    pub fn start(users: &[&str]) -> Self {
        let folder = tempfile::Builder::new().prefix("cms-radicale-").tempdir().unwrap();
        let at = folder.path().display();
        let port = free_port();
        let users: String = users.iter().chain(&["admin"]).map(|u| format!("{u}:secret\n")).collect();
        std::fs::write(folder.path().join("users"), users).unwrap();
        let rights = "[admin]\nuser: admin\ncollection: .*\npermissions: RrWw\n\
             [root]\nuser: .+\ncollection:\npermissions: R\n\
             [principal]\nuser: .+\ncollection: {user}\npermissions: RW\n\
             [books]\nuser: .+\ncollection: {user}/[^/]+\npermissions: rw\n";
        std::fs::write(folder.path().join("rights"), rights).unwrap();
        let config = format!(
            "[server]\nhosts = 127.0.0.1:{port}\n[auth]\ntype = htpasswd\nhtpasswd_filename = {at}/users\nhtpasswd_encryption = plain\ndelay = 0\n\
             [rights]\ntype = from_file\nfile = {at}/rights\n[storage]\nfilesystem_folder = {at}/store\n[logging]\nlevel = warning\n"
        );
        std::fs::write(folder.path().join("config"), config).unwrap();
        let log = std::fs::File::create(folder.path().join("log")).unwrap();
        let child = Command::new("/usr/bin/radicale")
            .arg("--config")
            .arg(folder.path().join("config"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("radicale must be installed: apt-get install radicale");
        let radicale = Self { folder, child, port };
        let began = Instant::now();
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(began.elapsed() < Duration::from_secs(30), "Radicale does not start: {}", radicale.log());
            std::thread::sleep(Duration::from_millis(50));
        }
        radicale
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Folder of a user's collections.
    pub fn store(&self, user: &str) -> PathBuf {
        self.folder.path().join("store/collection-root").join(user)
    }

    /// Files of contacts in an address book, in order.
    pub fn cards(&self, user: &str, book: &str) -> Vec<(String, String)> {
        cards(&self.store(user).join(book))
    }

    /// A request of a few lines, none of the code under test: status and body.
    pub fn ask(&self, user: &str, method: &str, path: &str, headers: &str, body: &str) -> (u16, String) {
        use base64::Engine as _;
        let word = base64::engine::general_purpose::STANDARD.encode(format!("{user}:secret"));
        let mut socket = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nAuthorization: Basic {word}\r\n{headers}Content-Length: {}\r\n\r\n",
            body.len()
        );
        socket.write_all((head + body).as_bytes()).unwrap();
        let mut said = Vec::new();
        let _ = socket.read_to_end(&mut said);
        let said = String::from_utf8_lossy(&said).into_owned();
        let status = said.split(' ').nth(1).and_then(|s| s.parse().ok()).unwrap_or(0);
        (status, said.split_once("\r\n\r\n").map(|(_, b)| b.to_owned()).unwrap_or_default())
    }

    pub fn make_book(&self, user: &str, path: &str, name: &str) {
        let body = format!(
            "<mkcol xmlns=\"DAV:\" xmlns:C=\"urn:ietf:params:xml:ns:carddav\"><set><prop><resourcetype><collection/><C:addressbook/></resourcetype>\
             <displayname>{name}</displayname></prop></set></mkcol>"
        );
        // The first login makes the user's home.
        self.ask(user, "PROPFIND", &format!("/{user}/"), "Depth: 0\r\n", "");
        let (status, said) =
            self.ask(user, "MKCOL", &format!("/{user}/{path}/"), "Content-Type: application/xml\r\n", &body);
        assert_eq!(status, 201, "{said}");
    }

    pub fn put(&self, user: &str, path: &str, card: &str) {
        let (status, said) = self.ask(user, "PUT", &format!("/{user}/{path}"), "Content-Type: text/vcard\r\n", card);
        assert_eq!(status, 201, "{path}: {said}\n{}", self.log());
    }
}

fn cards(folder: &Path) -> Vec<(String, String)> {
    let mut found: Vec<(String, String)> = std::fs::read_dir(folder)
        .into_iter()
        .flatten()
        .flatten()
        .filter(|e| e.path().extension().is_some_and(|x| x == "vcf"))
        .map(|e| (e.file_name().to_string_lossy().into_owned(), std::fs::read_to_string(e.path()).unwrap()))
        .collect();
    found.sort();
    found
}

impl Drop for Radicale {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

type Meddle = dyn Fn(usize, &str, &str) -> Option<String> + Send + Sync;

/// A relay before a real Radicale that answers some requests by itself: it is given the number of the request, its method and its path.
pub struct Meddler {
    pub port: u16,
}

impl Meddler {
    /// `meddle` gives a status line and headers without an empty line; with `after ` in front the server has got the request all the same.
    pub fn start(server: u16, meddle: impl Fn(usize, &str, &str) -> Option<String> + Send + Sync + 'static) -> Self {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let meddle: std::sync::Arc<Meddle> = std::sync::Arc::new(meddle);
        let count = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
        std::thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let (meddle, count) = (meddle.clone(), count.clone());
                std::thread::spawn(move || one_request(client, server, &*meddle, &count));
            }
        });
        Self { port }
    }
}

fn one_request(
    mut client: TcpStream,
    server: u16,
    meddle: &Meddle,
    count: &std::sync::atomic::AtomicUsize,
) -> Option<()> {
    let mut held = Vec::new();
    let mut piece = [0; 65536];
    let whole = loop {
        let n = client.read(&mut piece).ok().filter(|n| *n > 0)?;
        held.extend_from_slice(&piece[..n]);
        let Some(end) = held.windows(4).position(|w| w == b"\r\n\r\n") else { continue };
        let head = String::from_utf8_lossy(&held[..end]).into_owned();
        let length = head.lines().find_map(|l| l.to_lowercase().strip_prefix("content-length:")?.trim().parse().ok());
        if held.len() >= end + 4 + length.unwrap_or(0) {
            break head;
        }
    };
    let mut words = whole.split(' ');
    let (method, path) = (words.next()?, words.next()?);
    let n = count.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    let said = meddle(n, method, path);
    let behind = said.as_ref().is_none_or(|s| s.starts_with("after "));
    let mut answer = Vec::new();
    if behind {
        let mut to = TcpStream::connect(("127.0.0.1", server)).ok()?;
        let end = held.windows(2).position(|w| w == b"\r\n")?;
        to.write_all(&[&held[..end], b"\r\nConnection: close", &held[end..]].concat()).ok()?;
        to.read_to_end(&mut answer).ok()?;
    }
    match said {
        Some(said) => {
            let head = said.trim_start_matches("after ");
            if !head.is_empty() {
                client
                    .write_all(format!("{head}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n").as_bytes())
                    .ok()?;
            }
        }
        None => {
            let end = answer.windows(2).position(|w| w == b"\r\n")?;
            client.write_all(&[&answer[..end], b"\r\nConnection: close", &answer[end..]].concat()).ok()?;
        }
    }
    client.shutdown(std::net::Shutdown::Write).ok()
}
