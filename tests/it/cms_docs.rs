//! What docs/cms.md shows is taken by the program.

#![allow(clippy::unwrap_used)] // a test that cannot go on fails

use cutover::services::cms::config::Config;

#[test]
fn each_configuration_of_the_document_is_fine() {
    let text = std::fs::read_to_string("docs/cms.md").unwrap();
    let blocks: Vec<&str> = text.split("```toml\n").skip(1).filter_map(|b| b.split("```").next()).collect();
    assert!(!blocks.is_empty());
    for block in blocks {
        Config::parse(block).unwrap_or_else(|e| panic!("{e:?} in\n{block}"));
    }
}

/// Each key of the configuration has its row.
#[test]
fn each_key_is_in_the_document() {
    let text = std::fs::read_to_string("docs/cms.md").unwrap();
    let rows: String = text.lines().filter(|l| l.starts_with("| ")).collect();
    for file in ["mod", "end"] {
        let code = std::fs::read_to_string(format!("src/services/cms/config/{file}.rs")).unwrap();
        for line in code.lines().filter_map(|l| l.strip_prefix("    pub ")) {
            let Some((field, _)) = line.split_once(": ") else { continue };
            let key = field.replace('_', "-");
            let outer = ["cms", "source", "target", "mailboxes", "folders", "limits", "preflight", "user"];
            assert!(outer.contains(&key.as_str()) || rows.contains(&key), "{key} has no row");
        }
    }
}
