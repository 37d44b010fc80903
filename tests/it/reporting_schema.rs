//! The published JSON Schemas say what the program writes.

use std::path::Path;

/// `CUTOVER_BLESS=1` writes them anew.
#[test]
fn schemas_are_up_to_date() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("schemas");
    for (name, made) in cutover::reporting::schemas().expect("schemas") {
        if std::env::var_os("CUTOVER_BLESS").is_some() {
            std::fs::write(folder.join(name), &made).expect("written");
        }
        let kept = std::fs::read_to_string(folder.join(name)).unwrap_or_default();
        assert!(kept == made, "schemas/{name} is old: run this test with CUTOVER_BLESS=1 and commit it");
    }
}
