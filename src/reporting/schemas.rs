//! JSON Schemas of what programs read. The copies in `schemas/` are made from the types; a test holds them to it.

use crate::model::audit::AuditReport;
use crate::model::event::Event;
use crate::model::plan::Plan;

use super::closing::ApplyReport;
use super::diagnostics_json::DiagnosticsDocument;
use super::dns::ZoneReport;
use super::drift::DriftReport;
use super::topology_json::TopologyDocument;

/// File name in `schemas/` and the schema, pretty, with a line end.
pub fn schemas() -> serde_json::Result<Vec<(&'static str, String)>> {
    let all = [
        // `plan --format json`, and what a saved plan holds.
        ("plan.schema.json", schemars::schema_for!(Plan)),
        // Each line of `apply --json`.
        ("event.schema.json", schemars::schema_for!(Event)),
        // What `drift --format json` prints.
        ("drift.schema.json", schemars::schema_for!(DriftReport)),
        // What `audit --format json` prints.
        ("audit.schema.json", schemars::schema_for!(AuditReport)),
        // The closing report of an apply.
        ("apply-report.schema.json", schemars::schema_for!(ApplyReport)),
        // What `dns verify` and `dns diff` print.
        ("dns.schema.json", schemars::schema_for!(Vec<ZoneReport>)),
        // What `check --format json` and every command that finds mistakes print.
        ("diagnostics.schema.json", schemars::schema_for!(DiagnosticsDocument)),
        // What `export` prints.
        ("topology.schema.json", schemars::schema_for!(TopologyDocument)),
    ];
    all.into_iter().map(|(name, schema)| Ok((name, serde_json::to_string_pretty(&schema)? + "\n"))).collect()
}
