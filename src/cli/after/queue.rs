//! What waits in Postfix' queue, as `postqueue -j` tells it: an object a line.

use std::collections::HashSet;

use jiff::Timestamp;
use serde::Deserialize;

use crate::process::after::Waiting;

#[derive(Deserialize)]
struct Message {
    queue_id: String,
    arrival_time: i64,
    recipients: Vec<Recipient>,
}

#[derive(Deserialize)]
struct Recipient {
    address: String,
    delay_reason: Option<String>,
}

/// Messages to these people, and how many there are to others alone.
pub fn read(text: &str, people: &[String]) -> Result<(Vec<Waiting>, u64), String> {
    let people: HashSet<String> = people.iter().map(|p| p.to_lowercase()).collect();
    let (mut theirs, mut others) = (Vec::new(), 0);
    for line in text.lines().filter(|l| !l.trim().is_empty()) {
        let message: Message = serde_json::from_str(line)
            .map_err(|e| format!("postqueue there answers in a form that is not known here: {e}"))?;
        let to: Vec<&Recipient> = message.recipients.iter().filter(|r| is_of(&r.address, &people)).collect();
        if to.is_empty() {
            others += 1;
            continue;
        }
        theirs.push(Waiting {
            id: message.queue_id,
            since: Timestamp::from_second(message.arrival_time).unwrap_or(Timestamp::UNIX_EPOCH),
            why: to.iter().find_map(|r| r.delay_reason.clone()),
            to: to.iter().map(|r| r.address.clone()).collect(),
        });
    }
    Ok((theirs, others))
}

/// Also what is sent to `user+word`.
fn is_of(address: &str, people: &HashSet<String>) -> bool {
    let address = address.to_lowercase();
    let Some((local, domain)) = address.rsplit_once('@') else { return false };
    let plain = format!("{}@{domain}", local.split_once('+').map_or(local, |(user, _)| user));
    people.contains(&address) || people.contains(&plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_of_the_cohort_are_named_and_others_counted() {
        let text = r#"{"queue_name": "deferred", "queue_id": "4bq1", "arrival_time": 1700000000, "message_size": 300, "forced_expire": false, "sender": "x@elsewhere.example", "recipients": [{"address": "Ann+lists@acme.example", "delay_reason": "connect to x: refused"}, {"address": "zoe@acme.example"}]}
{"queue_name": "active", "queue_id": "4bq2", "arrival_time": 1700000001, "message_size": 300, "sender": "", "recipients": [{"address": "zoe@acme.example"}]}
"#;
        let people = ["ann@acme.example".to_owned(), "bob@acme.example".to_owned()];
        let (theirs, others) = read(text, &people).unwrap();
        assert_eq!((theirs.len(), others), (1, 1));
        assert_eq!((theirs[0].id.as_str(), theirs[0].to.join(" ")), ("4bq1", "Ann+lists@acme.example".to_owned()));
        assert_eq!(theirs[0].why.as_deref(), Some("connect to x: refused"));
        assert_eq!(read("", &people).unwrap(), (Vec::new(), 0));
        assert!(read("Mail queue is empty\n", &people).is_err());
    }
}
