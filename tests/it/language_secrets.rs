//! Secrets are planted in broken files at the places where people leave them; no output may hold one.

use std::process::Command;

use crate::language::{check, draw};

const SECRET: &str = "c0rrect-h0rse";

/// Where a literal may stand, `@` for it: right fields, wrong spellings, other languages, comments, addresses.
const PLACES: [&str; 24] = [
    "connection c password=\"@\"",
    "connection c { password \"@\"; }",
    "connection c password=@",
    "connection c password=\"@",
    "connection c password=#\"@\"#",
    "connection c password=(secret)\"@\"",
    "connection c pasword=\"@\"",
    "connection c PASSWORD=\"@\"",
    "connection c \"password\"=\"@\"",
    "connection c password = \"@\"",
    "connection c {\n    password: @\n}",
    "connection c {\n    password: \"@\"",
    "connection c become-password=\"@\" key=\"@\"",
    "legacy old product=imap host=a.example admin=\"@\"",
    "// connection c password=\"@\"",
    "/* password: @ */",
    "/-connection c password=\"@\"",
    "variable v type=secret default=\"@\"",
    "directory d type=ldap url=\"ldap://admin:@@dc1.example\"",
    "connection c password=\"$x@\"",
    "connection c password=9@[x",
    "connection c password='@'",
    "connection c password=“@”",
    "connection c password=\"@\\q\"",
];

/// Mistakes beside it: what shows the line as a neighbour, what ends the reading, what comes after twenty others.
const MISTAKES: [&str; 6] = [
    "site a colour=red",
    "site a {",
    "}",
    "site \"a",
    "site a[1]",
    "a [\n[\n[\n[\n[\n[\n[\n[\n[\n[\n[\n[\n[\n[\n[\n[\n[\n[\n[\n[\n[",
];

#[test]
fn no_rendering_holds_a_planted_secret() {
    let mut shown = Vec::new();
    for place in PLACES {
        let planted = place.replace("@@", "\u{1}").replace('@', SECRET).replace('\u{1}', &format!("{SECRET}@"));
        for mistake in MISTAKES {
            for text in
                [format!("{mistake}\n{planted}\n"), format!("{planted}\n{mistake}\n"), format!("{planted} {mistake}\n")]
            {
                let c = check("a.kdl", &text);
                let json = cutover::reporting::diagnostics::json(&c.sources, &c.diagnostics).to_string();
                let lines = cutover::reporting::diagnostics::lines(&c.sources, &c.diagnostics);
                let all = format!("{}{json}{lines}{:?}", draw(&c), c.diagnostics);
                if all.contains(SECRET) {
                    shown.push(format!("{text}\n{}\n{json}", draw(&c)));
                }
            }
        }
    }
    assert!(shown.is_empty(), "{} show it:\n{}", shown.len(), shown.join("\n"));
}

#[test]
fn masks_have_one_width_whatever_they_cover() {
    let widths = ["x1y", "a-much-longer-secret-than-that"].map(|secret| {
        let c = check("a.kdl", &format!("connection c usr=root password=\"{secret}\"\n"));
        draw(&c).lines().find(|l| l.contains("usr=root")).map(|l| l.chars().count())
    });
    assert!(widths[0].is_some() && widths[0] == widths[1], "{widths:?}");
}

#[test]
fn no_command_prints_a_planted_secret() {
    let folder = tempfile::tempdir().expect("folder");
    for (i, text) in [
        format!("connection c usr=root password=\"{SECRET}\"\nsite a {{\n"),
        format!("connection c password=\"{SECRET}\"\nsite a colour=red\n"),
    ]
    .iter()
    .enumerate()
    {
        let root = folder.path().join(i.to_string());
        std::fs::create_dir_all(&root).expect("made");
        std::fs::write(root.join("topology.kdl"), text).expect("written");
        for args in [
            &["check"][..],
            &["check", "--format", "json"],
            &["lint"],
            &["plan"],
            &["explain", "site.a"],
            &["fmt", "--check"],
        ] {
            let out =
                Command::new(env!("CARGO_BIN_EXE_cutover")).args(args).arg("--root").arg(&root).output().expect("runs");
            let all = format!("{}{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
            assert!(!all.contains(SECRET), "{args:?}: {all}");
        }
    }
}
