//! `powershell.exe` behind a real sshd, where the program of that name is a SIMULATION: what is shown is the way there and back over SSH, as
//! the product takes it, and nothing about Exchange.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::sync::Arc;

use cutover::exchange::Release;
use cutover::exchange::far::End;
use cutover::transport::{FileSecrets, Network, Settings};

use crate::exchange_dialect::dialect;
use crate::exchange_flow::{Walk, organisation, servers};
use crate::support::exchange_simulation::{PROGRAM, Simulation};
use crate::support::lab::Lab;

const HOME: &str = "/var/lib/exchange-simulation";

#[tokio::test]
async fn lab_exchange_is_asked_and_changed_over_ssh() {
    let Some(lab) = Lab::new("exchange").host("mbx-1").up() else { return };
    lab.sh("mbx-1", "apt-get install -qq -y --no-install-recommends python3 >/tmp/install.log 2>&1 || { apt-get update -qq && apt-get install -qq -y \
        --no-install-recommends python3 >>/tmp/install.log 2>&1; } || { tail /tmp/install.log; exit 1; }");
    let local = Simulation::new(dialect(), Release::E2019);
    local.seed(&servers());
    let put = |from: &std::path::Path, to: &str| {
        use base64::Engine as _;
        let text = base64::engine::general_purpose::STANDARD.encode(std::fs::read(from).unwrap());
        for (n, part) in text.as_bytes().chunks(60_000).enumerate() {
            let into = if n == 0 { ">" } else { ">>" };
            lab.sh(
                "mbx-1",
                &format!("mkdir -p {HOME}; printf %s {} {into} /tmp/part", std::str::from_utf8(part).unwrap()),
            );
        }
        lab.sh("mbx-1", &format!("base64 -d </tmp/part >{to} && rm /tmp/part"));
    };
    put(std::path::Path::new(PROGRAM), &format!("{HOME}/powershell.exe"));
    for file in ["world.json", "objects.json"] {
        put(&local.dir.path().join(file), &format!("{HOME}/{file}"));
    }
    lab.sh(
        "mbx-1",
        &format!("chmod +x {HOME}/powershell.exe && ln -s {HOME}/powershell.exe /usr/local/bin/powershell.exe"),
    );
    let secrets = Arc::new(FileSecrets { root: lab.root().to_owned() });
    let network = Network::new(Settings::default(), BTreeMap::new(), secrets);
    let access = lab.access("mbx-1");
    let hosts = BTreeMap::from([("mbx-1".to_owned(), access.clone())]);
    let walk = Walk { transport: &network, speaker: access, hosts, release: Release::E2019 };
    let wishes: Vec<_> = organisation().into_iter().filter(|w| w.kind != "transport-service").collect();
    let was = lab.sh("mbx-1", &format!("cat {HOME}/objects.json"));
    let (before, outcome) = walk.look(&wishes).await;
    let ends = walk.act(&outcome).await;
    assert!(!ends.is_empty() && ends.iter().all(|e| matches!(e, End::Done { .. })), "{ends:?}");
    let (_, again) = walk.look(&wishes).await;
    assert!(again.faults.is_empty() && again.calls.is_empty(), "{:?} {:?}", again.faults, again.calls);
    assert_ne!(lab.sh("mbx-1", &format!("cat {HOME}/objects.json")), was);
    let (undo, lost) = before.back(dialect(), Release::E2019, &wishes);
    assert!(lost.is_empty(), "{lost:?}");
    walk.converge(&undo).await;
    // Killed after it made a call and before it said so, behind a real line.
    lab.sh(
        "mbx-1",
        &format!("echo '[{{\"cmdlet\": \"New-MailboxDatabase\", \"do\": \"die-after\"}}]' >{HOME}/faults.json"),
    );
    let (_, outcome) = walk.look(&wishes).await;
    let ends = walk.act(&outcome).await;
    assert!(ends.iter().any(|e| matches!(e, End::Unknown { .. })), "{ends:?}");
    walk.converge(&wishes).await;
    // What was wished stands in no process list and in no log of the host.
    let said = lab.sh("mbx-1", &format!("cat {HOME}/calls.log; journalctl -q --no-pager | tail -n 400"));
    assert!(!said.contains("value of env:RELAY"), "a secret is in a log");
}
