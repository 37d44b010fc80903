//! A relay before a real IMAP server that meddles with lines: passes them, changes them, answers by itself, cuts the connection, waits.
//! Literals pass as they are, unless it rewrites messages. What the client says can be read back.

#![allow(clippy::unwrap_used)] // a test that cannot go on fails

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum From {
    Client,
    Server,
}

/// What becomes of a line (without its end; octets above 127 as Latin-1).
pub enum Reply {
    Pass,
    /// Another line, or several, without the last CR LF. The literal that the line announced goes with it, unless the new one ends
    /// with `}` too.
    Instead(String),
    /// The line is dropped, and the other side of it is answered: `{tag}` stands for its first word.
    Answer(String),
    /// Both connections end here.
    Cut,
    Wait(Duration),
}

type Meddle = dyn Fn(From, &str) -> Reply + Send + Sync;
type Rewrite = dyn Fn(Vec<u8>) -> Vec<u8> + Send + Sync;

pub struct Relay {
    pub port: u16,
    said: Arc<Mutex<Vec<String>>>,
}

impl Relay {
    pub fn start(server: u16, meddle: impl Fn(From, &str) -> Reply + Send + Sync + 'static) -> Self {
        Self::begin(server, meddle, None)
    }

    /// What the client appends is stored as `rewrite` makes it; the client must not wait for its literals (LITERAL+).
    pub fn rewriting(
        server: u16,
        meddle: impl Fn(From, &str) -> Reply + Send + Sync + 'static,
        rewrite: impl Fn(Vec<u8>) -> Vec<u8> + Send + Sync + 'static,
    ) -> Self {
        Self::begin(server, meddle, Some(Arc::new(rewrite)))
    }

    fn begin(
        server: u16,
        meddle: impl Fn(From, &str) -> Reply + Send + Sync + 'static,
        rewrite: Option<Arc<Rewrite>>,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let said = Arc::new(Mutex::new(Vec::new()));
        let (meddle, heard): (Arc<Meddle>, _) = (Arc::new(meddle), said.clone());
        std::thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let server = TcpStream::connect(("127.0.0.1", server)).unwrap();
                for (from, one, two) in [(From::Client, &client, &server), (From::Server, &server, &client)] {
                    let (one, two) = (one.try_clone().unwrap(), two.try_clone().unwrap());
                    let (meddle, heard, rewrite) = (meddle.clone(), heard.clone(), rewrite.clone());
                    std::thread::spawn(move || {
                        let _ = carry(from, &one, &two, &*meddle, rewrite.as_deref(), &heard);
                        let _ = (one.shutdown(Shutdown::Both), two.shutdown(Shutdown::Both));
                    });
                }
            }
        });
        Self { port, said }
    }

    /// Lines of clients so far.
    pub fn said(&self) -> Vec<String> {
        self.said.lock().unwrap().clone()
    }
}

fn latin(octets: &[u8]) -> String {
    octets.iter().map(|b| char::from(*b)).collect()
}

fn octets(text: &str) -> Vec<u8> {
    text.chars().map(|c| c as u8).collect()
}

/// Octets of the literal that a line announces.
fn literal(line: &str) -> Option<u64> {
    line.strip_suffix('}')?.rsplit_once('{')?.1.trim_end_matches('+').parse().ok()
}

fn carry(
    from: From,
    one: &TcpStream,
    two: &TcpStream,
    meddle: &Meddle,
    rewrite: Option<&Rewrite>,
    heard: &Mutex<Vec<String>>,
) -> std::io::Result<()> {
    one.set_nodelay(true)?;
    let mut reader = BufReader::new(one);
    let (mut back, mut forth) = (one, two);
    loop {
        let mut line = Vec::new();
        if reader.read_until(b'\n', &mut line)? == 0 {
            return Ok(());
        }
        while line.last().is_some_and(|b| b"\r\n".contains(b)) {
            line.pop();
        }
        let text = latin(&line);
        if from == From::Client {
            heard.lock().unwrap().push(text.clone());
        }
        let length = literal(&text);
        // A message: its announcement has a parenthesis for flags, and follows at once.
        let message = from == From::Client && text.ends_with("+}") && text.contains(" (");
        if let (Some(rewrite), Some(length), true) = (rewrite, length, message) {
            let mut content = Vec::new();
            (&mut reader).take(length).read_to_end(&mut content)?;
            let made = rewrite(content);
            let (head, _) = text.rsplit_once('{').unwrap();
            let line = format!("{head}{{{}+}}", made.len());
            match meddle(from, &text) {
                Reply::Cut => return Ok(()),
                Reply::Answer(answer) => {
                    let tag = text.split(' ').next().unwrap_or_default();
                    back.write_all(&octets(&(answer.replace("{tag}", tag) + "\r\n")))?;
                }
                _ => forth.write_all(&[&octets(&line)[..], b"\r\n", &made].concat())?,
            }
            continue;
        }
        let reply = meddle(from, &text);
        let passes = match &reply {
            Reply::Instead(other) => literal(other).is_some(),
            Reply::Answer(_) => false,
            _ => true,
        };
        let tag = text.split(' ').next().unwrap_or_default();
        match reply {
            Reply::Cut => return Ok(()),
            Reply::Pass => forth.write_all(&[&line[..], b"\r\n"].concat())?,
            Reply::Wait(time) => {
                std::thread::sleep(time);
                forth.write_all(&[&line[..], b"\r\n"].concat())?;
            }
            // Nothing at all for an empty text.
            Reply::Instead(other) if other.is_empty() => {}
            Reply::Instead(other) => forth.write_all(&octets(&(other.replace("{tag}", tag) + "\r\n")))?,
            Reply::Answer(answer) => back.write_all(&octets(&(answer.replace("{tag}", tag) + "\r\n")))?,
        }
        if let Some(length) = length {
            let mut content = Vec::new();
            (&mut reader).take(length).read_to_end(&mut content)?;
            if passes {
                forth.write_all(&content)?;
            }
        }
    }
}
