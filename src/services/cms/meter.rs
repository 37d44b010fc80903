//! What is counted, as Prometheus' text (exposition format 0.0.4). No name of a user stands in it.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Mutex;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use super::mailbox::Class;

#[derive(Default)]
pub struct Meter {
    pub messages: AtomicU64,
    pub octets: AtomicU64,
    pub flags: AtomicU64,
    pub removed: AtomicU64,
    pub doubts: AtomicU64,
    pub surplus: AtomicU64,
    /// Rules, contacts and other things beside mail.
    pub things: AtomicU64,
    pub passes: AtomicU64,
    pub moving: AtomicI64,
    faults: Mutex<BTreeMap<Class, u64>>,
}

impl Meter {
    pub fn fault(&self, class: Class) {
        *self.faults.lock().unwrap_or_else(|e| e.into_inner()).entry(class).or_default() += 1;
    }

    /// `phases` are numbers of mailboxes by phase.
    pub fn text(&self, phases: &BTreeMap<String, u64>) -> String {
        let mut text = String::new();
        let mut one = |name: &str, kind: &str, help: &str, values: Vec<(String, i64)>| {
            let _ = writeln!(text, "# HELP cutover_cms_{name} {help}\n# TYPE cutover_cms_{name} {kind}");
            for (labels, value) in values {
                let _ = writeln!(text, "cutover_cms_{name}{labels} {value}");
            }
        };
        let plain = |n: &AtomicU64| vec![(String::new(), n.load(Ordering::Relaxed) as i64)];
        one("messages_total", "counter", "Messages stored on the written side.", plain(&self.messages));
        one("octets_total", "counter", "Octets of these messages.", plain(&self.octets));
        one("flags_total", "counter", "Messages whose flags were carried over later.", plain(&self.flags));
        one(
            "removed_total",
            "counter",
            "Messages removed because the read side no longer has them.",
            plain(&self.removed),
        );
        one("doubts_total", "counter", "Appends whose answer was lost.", plain(&self.doubts));
        one("surplus_total", "counter", "Late copies of lost appends that were removed.", plain(&self.surplus));
        one("things_total", "counter", "Things beside mail that were put or removed.", plain(&self.things));
        one("passes_total", "counter", "Passes that ended.", plain(&self.passes));
        one("moving", "gauge", "Mailboxes in a pass now.", vec![(String::new(), self.moving.load(Ordering::Relaxed))]);
        let faults = self.faults.lock().unwrap_or_else(|e| e.into_inner());
        let faults = faults.iter().map(|(c, n)| (format!("{{class=\"{c}\"}}"), *n as i64)).collect();
        one("faults_total", "counter", "Faults by class.", faults);
        let phases = phases.iter().map(|(p, n)| (format!("{{phase=\"{p}\"}}"), *n as i64)).collect();
        one("mailboxes", "gauge", "Mailboxes by phase.", phases);
        text
    }
}
