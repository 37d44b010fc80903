//! Answers questions by UDP in the name of a zone's server: what it serves may be older than what its primary has.
#![allow(clippy::unwrap_used)] // helpers of tests are tests

use std::net::{SocketAddr, UdpSocket};

use cutover::model::dns::{RecordSet, SetKey};
use hickory_proto::op::{Message, MessageType};
use hickory_proto::rr::{Name, RData, Record, RecordType};

/// Answers on `address` with what `served` says, in a thread of its own, until the process ends.
pub fn start(address: SocketAddr, served: impl Fn(&SetKey) -> Option<RecordSet> + Send + 'static) {
    let socket = UdpSocket::bind(address).unwrap();
    std::thread::spawn(move || {
        let mut bytes = vec![0; 4096];
        while let Ok((n, from)) = socket.recv_from(&mut bytes) {
            let mut message = Message::from_vec(&bytes[..n]).unwrap();
            let query = message.queries[0].clone();
            let key = SetKey { name: query.name().to_lowercase().to_ascii(), kind: query.query_type().to_string() };
            message.metadata.message_type = MessageType::Response;
            message.metadata.authoritative = true;
            if let Some(set) = served(&key) {
                let (name, kind): (Name, RecordType) = (query.name().clone(), query.query_type());
                for d in &set.data {
                    let data = RData::try_from_str(kind, d).unwrap();
                    message.add_answer(Record::from_rdata(name.clone(), set.ttl, data));
                }
            }
            let _ = socket.send_to(&message.to_vec().unwrap(), from);
        }
    });
}
