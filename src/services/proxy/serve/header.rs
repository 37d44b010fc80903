//! The PROXY protocol (haproxy.org, proxy-protocol.txt): who the client is, told by a load balancer to us, and by us to a server.

use std::net::SocketAddr;

use proxy_header::{Error, ParseConfig, ProxiedAddress, ProxyHeader};

use crate::services::proxy::config::HeaderOut;

/// Octets that a header may have. Version 1 has 107 at the most; of version 2 what balancers append fits in this.
pub(super) const MOST: usize = 2048;
const V1: usize = 107;

/// What was found at the begin of a connection.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Header {
    /// Not whole yet.
    More,
    /// Source and destination, unless the balancer speaks for itself; and how many octets the header took.
    Found(Option<(SocketAddr, SocketAddr)>, usize),
    Wrong,
}

pub(super) fn read(octets: &[u8]) -> Header {
    let config = ParseConfig { include_tlvs: false, allow_v1: true, allow_v2: true };
    match ProxyHeader::parse(octets, config) {
        Ok((header, used)) => Header::Found(header.proxied_address().map(|a| (a.source, a.destination)), used),
        Err(Error::BufferTooShort) => {
            let text = octets.first() == Some(&b'P');
            // A line that has its end does not get better.
            let ended = text && octets.contains(&b'\n');
            if octets.len() < if text { V1 } else { MOST } && !ended { Header::More } else { Header::Wrong }
        }
        Err(_) => Header::Wrong,
    }
}

/// Whether octets begin as a header does, of whatever version: from a peer who may not send one that is the end.
pub(super) fn begins(octets: &[u8]) -> bool {
    octets.starts_with(b"PROXY ") || octets.starts_with(b"\r\n\r\n\0\r\nQUIT\n")
}

/// The header that names `client`, who has connected to `local`; nothing where none is wanted.
pub(super) fn write(form: HeaderOut, client: SocketAddr, local: SocketAddr) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(V1);
    let plain = |a: SocketAddr| SocketAddr::new(a.ip().to_canonical(), a.port());
    let (mut client, mut local) = (plain(client), plain(local));
    // Both of one family, as the header wants it.
    if client.is_ipv4() != local.is_ipv4() {
        let mapped = |a: SocketAddr| match a {
            SocketAddr::V4(a) => SocketAddr::new(a.ip().to_ipv6_mapped().into(), a.port()),
            SocketAddr::V6(_) => a,
        };
        (client, local) = (mapped(client), mapped(local));
    }
    let header = ProxyHeader::with_address(ProxiedAddress::stream(client, local));
    let written = match form {
        HeaderOut::None => return None,
        HeaderOut::V1 => header.encode_v1(&mut out),
        HeaderOut::V2 => header.encode_v2(&mut out),
    };
    written.ok().map(|()| out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_comes_back_however_it_arrives() {
        let pairs = [
            ("192.0.2.7:4711", "192.0.2.1:143"),
            ("[2001:db8::7]:4711", "[2001:db8::1]:143"),
            ("[::ffff:192.0.2.7]:4711", "[2001:db8::1]:143"),
        ];
        for (client, local) in pairs.map(|(c, l)| (c.parse().unwrap(), l.parse().unwrap())) {
            for form in [HeaderOut::V1, HeaderOut::V2] {
                let written = write(form, client, local).unwrap();
                for cut in 0..written.len() {
                    assert_eq!(read(&written[..cut]), Header::More, "{form:?} {cut}");
                }
                let more = [&written[..], b"a LOGIN x y\r\n"].concat();
                assert_eq!(read(&more), Header::Found(Some((client, local)), written.len()), "{form:?}");
                assert!(begins(&written));
            }
        }
    }

    #[test]
    fn what_is_none_is_none_and_ends() {
        for bad in [&b"a LOGIN x y\r\n"[..], b"PROXY TCP9 x\r\n", b"PROXY TCP4 192.0.2.1 192.0.2.2 1 x\r\n"] {
            assert_eq!(read(bad), Header::Wrong, "{bad:?}");
        }
        assert_eq!(read(&[b'P'; V1]), Header::Wrong);
        assert_eq!(read(b"PROXY UNKNOWN\r\n"), Header::Found(None, 15));
        let mut endless = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\xff\xff".to_vec();
        assert_eq!(read(&endless), Header::More);
        endless.resize(MOST, 0);
        assert_eq!(read(&endless), Header::Wrong);
        assert!(!begins(b"PROX") && !begins(b"a1 PROXY x"));
    }
}
