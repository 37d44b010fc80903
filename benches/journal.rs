//! What the journal costs: `cargo bench --bench journal`.
//!
//! The apply of 10,000 steps, without hosts: header with the whole plan, then each batch written down before it would be sent and
//! each end as it would come. The bar: 2 s in all, 1 KB a step, linear. Beside it: Terraform 1.11.4 rewrites its state a resource
//! (`terraform_data`, local backend): 60.7 s at 1,000 resources.

#![expect(clippy::print_stdout, reason = "a benchmark's result is its output")]

use std::time::Instant;

use cutover::journal::{Header, Journal, Record, StateDir};
use cutover::model::attr::{Attr, Attrs, Body, Content, Digest};
use cutover::model::host::HostAccess;
use cutover::model::plan::{PLAN_VERSION, Plan};
use cutover::model::source::Origin;
use cutover::model::step::{Action, Outcome, Step, Undo};
use cutover::model::{Address, HostName, Kind};

fn plan(steps: u32) -> Plan {
    let host = HostName::from("mail-1");
    let access = HostAccess::at(host.clone(), "192.0.2.1");
    let step = |id| {
        let body = Body::text(format!("value = {id}\n"));
        let content = Content { id: body.intent(), digest: Some(Digest::of(b"x")), sensitive: false };
        Step {
            id,
            address: Address::new(&host, Kind::File, format!("/etc/dovecot/conf.d/{id:05}.conf")),
            action: Action::Create,
            attrs: Attrs::from([("content", Attr::Content(content)), ("mode", Attr::text("0644"))]),
            expect: Some("absent".into()),
            after: if id > 0 && id % 10 == 0 { vec![id - 1] } else { Vec::new() },
            notifies: Vec::new(),
            protect: false,
            undo: Undo::Restores("former content, owner and mode".into()),
            risky: false,
            owner: "server:mail-1".into(),
            origin: Origin { file: "topology/servers.kdl".into(), line: id + 1, column: 5 },
            changes: Vec::new(),
            before_text: None,
            reason: "file missing".into(),
            restores: None,
        }
    };
    let bodies = (0..steps).map(|id| Body::text(format!("value = {id}\n"))).map(|b| (b.intent(), b)).collect();
    Plan {
        version: PLAN_VERSION,
        organization: "acme".into(),
        environment: None,
        phase: None,
        targets: Vec::new(),
        exceed: Vec::new(),
        intent: Digest::of(b"intent"),
        observation: Digest::of(b"observation"),
        key_id: "0123".into(),
        anchor: Some(host.clone()),
        hosts: [(host.clone(), access)].into(),
        steps: (0..steps).map(step).collect(),
        bodies,
        examined: steps as usize,
        failed: Vec::new(),
        notes: Vec::new(),
        schedule: None,
    }
}

struct Figures {
    seconds: f64,
    /// Of records, and of the whole file with header and plan.
    bytes: f64,
    file: u64,
}

/// Bookkeeping of one apply in batches of `batch` steps.
async fn apply(steps: u32, batch: usize) -> Figures {
    let plan = plan(steps);
    let root = tempfile::tempdir().expect("a folder");
    let dir = StateDir::new(root.path(), "acme", None);
    let header = Header {
        apply: "20261122-000000-000000".into(),
        at: 0,
        organization: "acme".into(),
        environment: None,
        phase: None,
        intent: plan.intent.clone(),
        steps,
        holder: "kim@desk pid 1 boot b".into(),
        undo_of: None,
        program: "0.1.0".into(),
    };
    let apply = header.apply.clone();
    let begin = Instant::now();
    let (journal, _) = Journal::open(&dir, None).expect("opens");
    journal.begin(header, &plan).await.expect("begins");
    let mut bytes = 0;
    for chunk in plan.steps.chunks(batch) {
        let starts: Vec<Record> = chunk.iter().map(|s| Record::Started { step: s.id }).collect();
        journal.append(&apply, 1, starts).await.expect("starts are durable");
        for s in chunk {
            let fingerprint = Some(format!("present content={} mode=0644 owner=root", Digest::of(&s.id.to_le_bytes())));
            journal.post(&apply, 2, Record::ended(s.id, &Outcome::Done { fingerprint }, 12)).expect("ends");
        }
    }
    let end = Record::Finished { done: steps, failed: 0, skipped: 0, unknown: 0 };
    journal.append(&apply, 3, vec![end]).await.expect("the end is durable");
    let seconds = begin.elapsed().as_secs_f64();
    let saved = journal.load(&apply).expect("reads").expect("is there");
    for entry in &saved.entries {
        // Sequence number, format and checksum stand beside the body.
        bytes += serde_json::to_vec(entry).map_or(0, |b| b.len()) + 8 + 4 + 8;
    }
    drop(journal);
    let file = std::fs::metadata(dir.state()).map_or(0, |m| m.len());
    Figures { seconds, bytes: bytes as f64 / f64::from(steps), file }
}

fn main() {
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    // Warms caches and the file system.
    runtime.block_on(apply(500, 50));
    let half = runtime.block_on(apply(5_000, 50));
    let whole = runtime.block_on(apply(10_000, 50));
    println!(
        "journal, 10,000 steps in batches of 50: {:.2} s (bar: 2 s), {:.0} bytes of records a step (bar: 1,024)",
        whole.seconds, whole.bytes
    );
    println!(
        "  the file with header and plan: {} KiB; 5,000 steps took {:.2} s, ratio {:.2}",
        whole.file / 1024,
        half.seconds,
        whole.seconds / half.seconds
    );
    let single = runtime.block_on(apply(10_000, 1));
    println!("  the worst case, one step a batch, each start its own commit: {:.2} s", single.seconds);
    println!(
        "  Terraform 1.11.4, apply of 1,000 terraform_data resources: 60.7 s, {:.0} times as long for a tenth of the steps",
        60.7 / whole.seconds
    );
    // A build without optimisation says nothing.
    if cfg!(debug_assertions) {
        return;
    }
    assert!(whole.seconds <= 2.0, "bookkeeping of 10,000 steps took {:.2} s", whole.seconds);
    assert!(whole.bytes <= 1_024.0, "{:.0} bytes a step", whole.bytes);
}
