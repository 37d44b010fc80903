//! The published JSON Schemas say what the program writes.

use std::path::Path;

/// `CUTOVER_BLESS=1` writes it anew.
#[test]
fn plan_schema_is_up_to_date() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("schemas/plan.schema.json");
    let made = cutover::reporting::plan_schema().expect("schema");
    if std::env::var_os("CUTOVER_BLESS").is_some() {
        std::fs::write(&path, &made).expect("written");
    }
    let kept = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(kept == made, "schemas/plan.schema.json is old: run this test with CUTOVER_BLESS=1 and commit it");
}
