//! Changes as compare and swap (RFC 2136): each message says what the zone must hold now, and changes nothing where it does not.

use std::net::SocketAddr;
use std::time::Duration;

use hickory_proto::op::{Message, OpCode, Query, ResponseCode};
use hickory_proto::rr::{DNSClass, Name, RData, Record, RecordType};

use super::stream::{Exchange, code, refused};
use super::{DnsError, TsigKey, data};
use crate::model::dns::{RecordSet, SetChange};

/// Octets that a message may have before the next one begins: under the 65,535 of DNS, with room for the signature.
pub const ROOM: usize = 60_000;

/// Changes that go in one message: the server carries out all of them or none.
#[derive(Debug, Clone, PartialEq)]
pub struct Batch {
    pub changes: Vec<SetChange>,
}

/// Octets that these changes add to a message, at most. From the text, without compression: names behind the first 16 KiB of a message
/// cannot be pointed at (RFC 1035, section 4.1.4), so a change takes more there than in a message of its own.
pub fn size(zone: &str, changes: &[SetChange]) -> Result<usize, DnsError> {
    /// Type, class, time to live and length of a record, and what a short text may take more on the wire (an IPv6 address).
    const REST: usize = 10 + 20;
    let of = |c: &SetChange| {
        let name = c.key().map_or(0, |k| k.name.len() + 2);
        let data = |set: &Option<RecordSet>| -> usize {
            set.iter().flat_map(|s| &s.data).map(|d| name + REST + d.len()).sum()
        };
        // What was there stands twice where it is taken away record by record.
        2 * (name + REST) + 2 * data(&c.before) + data(&c.after)
    };
    let size = zone.len() + 64 + changes.iter().map(of).sum::<usize>();
    if size > ROOM {
        let what = changes.iter().find_map(SetChange::key).map(ToString::to_string).unwrap_or_default();
        return Err(DnsError::Input(format!("{what} alone makes a message of {size} octets, and DNS takes 65,535")));
    }
    Ok(size)
}

/// Changes in as few messages as hold them. A set is never spread over two: no reader ever sees it in parts or empty.
pub fn batches(zone: &str, changes: &[SetChange]) -> Result<Vec<Batch>, DnsError> {
    let mut out: Vec<Batch> = Vec::new();
    let mut room = 0;
    for change in changes {
        let size = size(zone, std::slice::from_ref(change))?;
        match out.last_mut().filter(|_| size <= room) {
            Some(batch) => batch.changes.push(change.clone()),
            None => {
                out.push(Batch { changes: vec![change.clone()] });
                room = ROOM;
            }
        }
        room -= size;
    }
    Ok(out)
}

/// Sends one batch to the primary. [`DnsError::Changed`]: the zone is not as the changes say, and nothing of it was done.
pub async fn update(
    server: SocketAddr,
    zone: &str,
    batch: &Batch,
    key: Option<&TsigKey>,
    patience: Duration,
) -> Result<(), DnsError> {
    let mut exchange = Exchange::begin(server, message(zone, &batch.changes)?, key, patience).await?;
    let answer = exchange.next(0).await?;
    match answer.response_code {
        ResponseCode::NoError => Ok(()),
        rcode @ (ResponseCode::NXRRSet | ResponseCode::YXRRSet | ResponseCode::NXDomain | ResponseCode::YXDomain) => {
            Err(DnsError::Changed { server, code: code(rcode) })
        }
        rcode => Err(refused(server, rcode)),
    }
}

fn message(zone: &str, changes: &[SetChange]) -> Result<Message, DnsError> {
    let origin = data::name(zone)?;
    let mut message = Message::query();
    message.metadata.op_code = OpCode::Update;
    message.metadata.recursion_desired = false;
    let mut query = Query::query(origin.clone(), RecordType::SOA);
    query.set_query_class(DNSClass::IN);
    message.add_query(query);
    for change in changes {
        let Some(key) = change.key() else { continue };
        let (name, kind) = (data::name(&key.name)?, data::kind(&key.kind)?);
        // Prerequisites stand where a question has its answers (RFC 2136, section 2.4), updates where it has its authorities.
        match &change.before {
            None => message.answers.push(bare(&name, DNSClass::NONE, kind)),
            Some(before) => {
                for d in parsed(before)? {
                    message.answers.push(of(&name, DNSClass::IN, 0, d));
                }
            }
        }
        let before = change.before.as_ref().map(parsed).transpose()?.unwrap_or_default();
        let after = change.after.as_ref().map(parsed).transpose()?.unwrap_or_default();
        let ttl = change.after.as_ref().map_or(0, |s| s.ttl);
        // The last name server of a zone cannot be deleted, nor all at once (RFC 2136, section 3.4.2.3): there the new ones come
        // first. Elsewhere the whole set goes and comes back, which also gives every record the new time to live.
        let apex = name == origin && kind == RecordType::NS;
        if !apex && change.before.is_some() {
            message.authorities.push(bare(&name, DNSClass::ANY, kind));
        }
        for d in &after {
            message.authorities.push(of(&name, DNSClass::IN, ttl, d.clone()));
        }
        if apex {
            for d in before.into_iter().filter(|d| !after.contains(d)) {
                message.authorities.push(of(&name, DNSClass::NONE, 0, d));
            }
        }
    }
    Ok(message)
}

fn parsed(set: &RecordSet) -> Result<Vec<RData>, DnsError> {
    set.data.iter().map(|d| data::parse(&set.key.kind, d)).collect()
}

fn bare(name: &Name, class: DNSClass, kind: RecordType) -> Record {
    let mut record = Record::update0(name.clone(), 0, kind);
    record.dns_class = class;
    record
}

fn of(name: &Name, class: DNSClass, ttl: u32, data: RData) -> Record {
    let mut record = Record::from_rdata(name.clone(), ttl, data);
    record.dns_class = class;
    record
}

#[cfg(test)]
mod tests {
    use super::super::stream::encode;
    use super::*;
    use crate::model::dns::SetKey;

    fn set(name: &str, kind: &str, ttl: u32, data: &[&str]) -> RecordSet {
        let data = data.iter().map(|d| data::canonical(kind, d).expect("data")).collect();
        RecordSet { key: SetKey { name: data::canonical_name(name).expect("name"), kind: kind.into() }, ttl, data }
    }

    fn shown(records: &[Record]) -> Vec<String> {
        let line = |r: &Record| format!("{} {} {} {}", r.name, r.dns_class, r.record_type(), data::print(&r.data));
        records.iter().map(|r| line(r).trim_end().to_owned()).collect()
    }

    #[test]
    fn a_swap_names_what_must_be_there_and_never_leaves_the_set_empty_between_messages() {
        let change = SetChange {
            before: Some(set("acme.example", "MX", 300, &["10 old.acme.example."])),
            after: Some(set("acme.example", "MX", 300, &["10 new.acme.example."])),
        };
        let m = message("acme.example", &[change]).expect("message");
        assert_eq!(shown(&m.answers), ["acme.example. IN MX 10 old.acme.example."]);
        assert_eq!(m.authorities.len(), 2);
        assert_eq!(m.authorities[0].dns_class, DNSClass::ANY);
        assert_eq!(shown(&m.authorities[1..]), ["acme.example. IN MX 10 new.acme.example."]);
    }

    #[test]
    fn name_servers_of_the_zone_itself_come_before_the_old_ones_go() {
        let change = SetChange {
            before: Some(set("acme.example", "NS", 300, &["ns1.acme.example.", "ns2.acme.example."])),
            after: Some(set("acme.example", "NS", 300, &["ns2.acme.example.", "ns3.acme.example."])),
        };
        let m = message("acme.example", &[change]).expect("message");
        assert_eq!(
            shown(&m.authorities),
            [
                "acme.example. IN NS ns2.acme.example.",
                "acme.example. IN NS ns3.acme.example.",
                "acme.example. NONE NS ns1.acme.example."
            ]
        );
    }

    #[test]
    fn what_must_not_exist_is_said_too() {
        let change = SetChange { before: None, after: Some(set("a.acme.example", "A", 60, &["192.0.2.1"])) };
        let m = message("acme.example", &[change]).expect("message");
        assert_eq!(m.answers[0].dns_class, DNSClass::NONE);
        assert_eq!(m.answers[0].record_type(), RecordType::A);
    }

    #[test]
    fn many_changes_go_in_several_messages_none_too_long() {
        let changes: Vec<SetChange> = (0..5_000)
            .map(|n| SetChange {
                before: None,
                after: Some(set(&format!("h{n}.acme.example"), "A", 60, &["192.0.2.1"])),
            })
            .collect();
        let batches = batches("acme.example", &changes).expect("batches");
        assert!(batches.len() > 1 && batches.iter().map(|b| b.changes.len()).sum::<usize>() == 5_000);
        for b in &batches {
            assert!(encode(&message("acme.example", &b.changes).expect("message")).expect("bytes").len() < 65_000);
        }
        // Changes of what is there name each set three times, and behind 16 KiB nothing is compressed.
        let updates: Vec<SetChange> =
            changes.into_iter().map(|c| SetChange { before: c.after.clone(), after: c.after }).collect();
        for b in super::batches("acme.example", &updates).expect("batches") {
            assert!(encode(&message("acme.example", &b.changes).expect("message")).expect("bytes").len() < 65_000);
        }
        let huge: Vec<String> = (0..400).map(|n| format!("\"{}{n}\"", "x".repeat(240))).collect();
        let huge = set("acme.example", "TXT", 60, &huge.iter().map(String::as_str).collect::<Vec<_>>());
        assert!(super::batches("acme.example", &[SetChange { before: None, after: Some(huge) }]).is_err());
    }
}
