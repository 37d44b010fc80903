//! TLS for tests of the proxy, and servers behind it that do as they are told.

use std::io::{BufRead as _, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use cutover::services::trust::{Verify, client};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, ServerConfig, ServerConnection, StreamOwned};

/// A certificate of its own and its key, as files of `dir`.
pub fn certificate(dir: &Path, name: &str) -> CertificateDer<'static> {
    let made = rcgen::generate_simple_self_signed(vec![name.to_owned()]).expect("a certificate");
    std::fs::write(dir.join("chain.pem"), made.cert.pem()).expect("a file");
    std::fs::write(dir.join("key.pem"), made.signing_key.serialize_pem()).expect("a file");
    made.cert.der().clone()
}

/// What the configuration says of it.
pub fn named(dir: &Path) -> String {
    let at = dir.display();
    format!("[[certificate]]\nchain = \"{at}/chain.pem\"\nkey = \"{at}/key.pem\"\n")
}

pub fn server_config(dir: &Path) -> Arc<ServerConfig> {
    let chain =
        CertificateDer::pem_file_iter(dir.join("chain.pem")).expect("a file").map(|c| c.expect("PEM")).collect();
    let key = PrivateKeyDer::from_pem_file(dir.join("key.pem")).expect("a key");
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder =
        ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().expect("versions");
    Arc::new(builder.with_no_client_auth().with_single_cert(chain, key).expect("a pair"))
}

/// Of a client that looks at no certificate: as the proxy is to a server with `verify = "none"`.
pub fn client_config(alpn: &[&str]) -> Arc<ClientConfig> {
    let mut config = (*client(Verify::None, None, &[]).expect("a configuration")).clone();
    config.alpn_protocols = alpn.iter().map(|p| p.as_bytes().to_vec()).collect();
    Arc::new(config)
}

/// A line that is plain or encrypted.
pub trait Octets: Read + Write + Send {}
impl<T: Read + Write + Send> Octets for T {}

pub type Encrypted = StreamOwned<ClientConnection, TcpStream>;

pub fn encrypt(stream: TcpStream, config: Arc<ClientConfig>) -> std::io::Result<Encrypted> {
    let name = ServerName::try_from("mail.acme.test").expect("a name");
    let mut tls = StreamOwned::new(ClientConnection::new(config, name).map_err(std::io::Error::other)?, stream);
    while tls.conn.is_handshaking() {
        tls.conn.complete_io(&mut tls.sock)?;
    }
    Ok(tls)
}

pub fn accepted(stream: TcpStream, config: Arc<ServerConfig>) -> StreamOwned<ServerConnection, TcpStream> {
    StreamOwned::new(ServerConnection::new(config).expect("a connection"), stream)
}

pub fn dial(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).expect("connected");
    stream.set_nodelay(true).expect("an option");
    stream.set_read_timeout(Some(Duration::from_secs(20))).expect("an option");
    stream
}

/// A server that does with each connection as told, in a thread of its own.
pub fn backend(serve: impl Fn(TcpStream) + Send + Sync + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("its address");
    let serve = Arc::new(serve);
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let serve = serve.clone();
            let _ = stream.set_nodelay(true);
            std::thread::Builder::new().stack_size(256 << 10).spawn(move || serve(stream)).expect("a thread");
        }
    });
    address
}

/// The part of an IMAP server up to a login; what stands behind it is left to be read.
pub fn take_login(line: &mut dyn Octets) -> std::io::Result<()> {
    line.write_all(b"* OK [CAPABILITY IMAP4rev1 SASL-IR AUTH=PLAIN] ready\r\n")?;
    let login = read_line(line)?;
    let tag = login.split(' ').next().unwrap_or_default().to_owned();
    line.write_all(format!("{tag} OK in\r\n").as_bytes())?;
    line.flush()
}

/// One line, read octet by octet: nothing behind it is taken.
pub fn read_line(line: &mut dyn Octets) -> std::io::Result<String> {
    let mut out = Vec::new();
    let mut octet = [0];
    while !out.ends_with(b"\n") {
        if line.read(&mut octet)? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        out.push(octet[0]);
    }
    Ok(String::from_utf8_lossy(&out).into_owned())
}

/// Answers every IMAP command with OK, and LOGOUT with the end.
pub fn imap(stream: TcpStream) {
    let run = || -> std::io::Result<()> {
        let mut out = stream.try_clone()?;
        take_login(&mut out)?;
        for line in BufReader::new(stream).lines() {
            let line = line?;
            let tag = line.split(' ').next().unwrap_or_default();
            out.write_all(format!("{tag} OK done\r\n").as_bytes())?;
            if line.ends_with("LOGOUT") {
                return Ok(());
            }
        }
        Ok(())
    };
    let _ = run();
}

/// Logs a client in over a line that may be encrypted.
pub fn log_in(line: &mut dyn Octets, user: &str) -> std::io::Result<String> {
    let greeting = read_line(line)?;
    assert!(greeting.starts_with("* OK"), "{greeting}");
    line.write_all(format!("a LOGIN {user} pw\r\n").as_bytes())?;
    line.flush()?;
    read_line(line)
}
