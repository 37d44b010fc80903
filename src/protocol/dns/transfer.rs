//! A whole zone (AXFR, RFC 5936): opened and closed by the same SOA, or an error.

use std::net::SocketAddr;
use std::time::Duration;

use hickory_proto::op::{Message, Query, ResponseCode};
use hickory_proto::rr::{DNSClass, RData, Record, RecordType};

use super::stream::{Exchange, refused};
use super::{DnsError, TsigKey, data};

/// Whether serial `a` comes after `b`, in a circle of 32 bits (RFC 1982, section 3.2).
pub fn newer(a: u32, b: u32) -> bool {
    a != b && a.wrapping_sub(b) < 1 << 31
}

/// A zone as one server has it.
#[derive(Debug, Clone, PartialEq)]
pub struct Transferred {
    /// Serial of the SOA.
    pub serial: u32,
    /// TTL of a negative answer in seconds: the lesser of the SOA's own TTL and its MINIMUM (RFC 2308, section 5).
    pub negative_ttl: u32,
    /// How often a secondary that hears no NOTIFY looks, in seconds.
    pub refresh: u32,
    /// All sets but the SOA.
    pub sets: data::Sets,
    /// Records read, the SOA once.
    pub records: usize,
}

/// Asks one server for a zone. `patience` bounds the connection and each wait for a message, not the whole.
pub async fn transfer(
    server: SocketAddr,
    zone: &str,
    key: Option<&TsigKey>,
    patience: Duration,
) -> Result<Transferred, DnsError> {
    let origin = data::name(zone)?;
    let mut query = Query::query(origin.clone(), RecordType::AXFR);
    query.set_query_class(DNSClass::IN);
    let mut message = Message::query();
    message.metadata.recursion_desired = false;
    message.add_query(query);

    let mut exchange = Exchange::begin(server, message, key, patience).await?;
    let malformed = |why: &str| DnsError::Malformed { server, why: why.to_owned() };
    let mut sets = data::Sets::new();
    let mut opening: Option<Record> = None;
    let mut records = 0;
    loop {
        let message = exchange.next(records).await?;
        if message.response_code != ResponseCode::NoError {
            return Err(refused(server, message.response_code));
        }
        if message.answers.is_empty() {
            // A server that does not transfer may say so without a code; an empty message is never part of a zone.
            return Err(malformed("a message of the transfer without records"));
        }
        let mut answers = message.answers.into_iter();
        while let Some(record) = answers.next() {
            let is_soa = matches!(record.data, RData::SOA(_));
            let Some(first) = &opening else {
                if !is_soa || record.name != origin {
                    return Err(malformed("a transfer that does not begin with the SOA of its zone"));
                }
                records += 1;
                opening = Some(record);
                continue;
            };
            if is_soa && record.name == origin {
                if record.data != first.data {
                    return Err(malformed(
                        "the zone changed within the transfer: it ends with another SOA than it began with",
                    ));
                }
                if answers.next().is_some() {
                    return Err(malformed("records behind the end of the transfer"));
                }
                return whole(first, sets, records).ok_or_else(|| malformed("a SOA that is none"));
            }
            if !origin.zone_of(&record.name) {
                return Err(malformed(&format!("{} does not belong to {zone}", record.name)));
            }
            records += 1;
            data::add_record(&mut sets, &record);
        }
    }
}

fn whole(soa: &Record, sets: data::Sets, records: usize) -> Option<Transferred> {
    let RData::SOA(data) = &soa.data else { return None };
    Some(Transferred {
        serial: data.serial,
        negative_ttl: data.minimum.min(soa.ttl),
        refresh: u32::try_from(data.refresh).unwrap_or(0),
        sets,
        records,
    })
}

#[cfg(test)]
mod tests {
    use super::newer;

    #[test]
    fn serials_go_round() {
        assert!(newer(2, 1) && !newer(1, 2) && !newer(1, 1));
        assert!(newer(3, u32::MAX - 3) && !newer(u32::MAX - 3, 3));
    }
}
