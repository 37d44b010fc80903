//! What a server of a range costs in memory: what `cutover check` does, stage by stage, with an allocator that counts bytes. Exact on
//! every machine, so a field that every node suddenly keeps for itself fails here and not on the desk of somebody with 200,000 of them.

#![allow(clippy::print_stdout)]

#[path = "../fuzz/memory.rs"]
mod memory;

use std::collections::BTreeMap;

use cutover::language::{self, Compiled, Options};
use cutover::{lowering, rules};

#[global_allocator]
static MEMORY: memory::Counting = memory::Counting;

/// Most bytes of a server, a fifth above what was counted when they were last made smaller.
const COMPILED: usize = 1_080;
const COMPILING: usize = 2_200;
const CHECKING: usize = 2_050;

/// Bytes at one size of a fleet.
#[derive(Debug, Clone, Copy)]
struct Bytes {
    /// The topology alone, as it stays.
    compiled: usize,
    /// The most while it was made.
    compiling: usize,
    /// The most while it was lowered and the rules went over it, the topology included.
    checking: usize,
}

/// The fleet of `benches/language/run.sh`.
fn check(servers: usize) -> Bytes {
    let text = format!(
        r#"
organization big domain=big.example anchor="s-1"
site here
platform open postfix="3.7" dovecot="2.3"
connection ops user=root host-key="ssh-ed25519 AAAA" key=(secret)"file:keys/admin"
server "s-[1:{servers}]" platform=open site=here connection=ops fqdn="s-$1.big.example" {{ roles monitor; labels a b; }}
probe alive type=heartbeat {{ to "*"; }}
"#
    );
    let files: BTreeMap<String, Vec<u8>> = [("topology.kdl".to_owned(), text.into_bytes())].into();
    let base = memory::start();
    let Compiled { sources, topology, diagnostics, .. } =
        language::check_files(&files, "topology.kdl", &Options::default());
    let compiling = memory::peak() - base;
    assert!(diagnostics.is_empty() && topology.all("server").count() == servers);
    let compiled = memory::start() - base;
    let made = lowering::Options::unissued(&lowering::needs(&topology));
    let (site, found) = lowering::lower(&topology, &[], &sources, &made);
    assert!(!found.has_errors() && site.hosts.len() == servers);
    drop(site);
    let found = rules::check(&topology, jiff::civil::date(2026, 3, 7));
    let checking = memory::peak() - base;
    assert!(!found.has_errors());
    Bytes { compiled, compiling, checking }
}

#[test]
fn a_server_of_a_range_stays_small() {
    // The first check makes what stays for the whole run, as the schema.
    check(10);
    // Twice the number doubles the tables too, so the difference holds no step of their growth.
    let (one, two) = (check(4_000), check(8_000));
    let each = |of: fn(Bytes) -> usize| (of(two) - of(one)) / 4_000;
    let (compiled, compiling, checking) = (each(|b| b.compiled), each(|b| b.compiling), each(|b| b.checking));
    println!("bytes of a server: {compiled} compiled, {compiling} while compiling, {checking} while checking");
    assert!(compiled <= COMPILED, "{compiled} bytes of a server in a topology, more than {COMPILED}");
    assert!(compiling <= COMPILING, "{compiling} bytes of a server while compiling, more than {COMPILING}");
    assert!(checking <= CHECKING, "{checking} bytes of a server while checking, more than {CHECKING}");
}
