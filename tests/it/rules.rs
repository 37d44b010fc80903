//! Each lint rule against its two fixtures in `tests/cases/rules/NAME/`: of `pass.kdl` it says nothing, of `fail.kdl` exactly what
//! `expected.txt` holds. A rule that is switched off, or says something else, fails here by its name.
//! `CUTOVER_UPDATE=1 cargo nextest run rules` writes `expected.txt` anew; read the difference before you commit it.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use cutover::language::{self, Options};
use cutover::model::topology::Topology;
use cutover::model::{Diagnostic, Sources, Span};
use cutover::reporting::diagnostics::{self, Style};
use cutover::rules::{self, Rule};
use jiff::civil::{Date, date};

use crate::cli::Sandbox;
use crate::language::draw;

/// Rules see no clock of their own; fixtures are written for this day.
const TODAY: Date = date(2026, 11, 1);

fn folder(rule: &Rule) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases/rules").join(rule.name)
}

fn written(rule: &Rule, file: &str) -> String {
    let path = folder(rule).join(file);
    std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// The topology of a fixture, in its environment `production` or `lab` when it has one of them. It must be free of errors.
fn compiled(rule: &Rule, file: &str, text: &str) -> (Sources, Topology) {
    let environment = ["production", "lab"].into_iter().find(|e| text.contains(&format!("environment {e} ")));
    let options = Options { environment: environment.map(str::to_owned), ..Options::default() };
    let c = language::compile_files(&crate::language::files(file, text), file, &options);
    assert!(!c.diagnostics.has_errors(), "{} {file}\n{}", rule.name, draw(&c));
    (c.sources, c.topology)
}

fn fixture(rule: &Rule, file: &str) -> (Sources, Topology) {
    compiled(rule, file, &written(rule, file))
}

fn findings(rule: &Rule, file: &str) -> (usize, String) {
    let (sources, topology) = fixture(rule, file);
    let found = rules::run(&topology, TODAY, std::iter::once(rule));
    assert!(found.iter().all(|d| d.code == rule.code && d.severity == rule.severity), "{}", rule.name);
    (found.len(), diagnostics::text(&sources, &found, Style::default()))
}

#[test]
fn each_rule_speaks_of_its_failing_fixture_and_not_of_its_passing_one() {
    let mut wrong = Vec::new();
    for rule in rules::all() {
        let (said, text) = findings(rule, "pass.kdl");
        if said > 0 {
            wrong.push(format!("{}: speaks of pass.kdl\n{text}", rule.name));
        }
        let (said, text) = findings(rule, "fail.kdl");
        if said == 0 {
            wrong.push(format!("{}: says nothing of fail.kdl", rule.name));
        }
        let expected = folder(rule).join("expected.txt");
        if std::env::var_os("CUTOVER_UPDATE").is_some() {
            std::fs::write(&expected, &text).expect("written");
        } else if std::fs::read_to_string(&expected).ok().as_deref() != Some(&text) {
            wrong.push(format!("{}: expected.txt says otherwise than\n{text}", rule.name));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Where a finding stands: what an `allow` would name, and the first place that is shown.
fn place(d: &Diagnostic) -> (Vec<String>, Option<Span>) {
    (d.lint.as_ref().map(|l| l.on.clone()).unwrap_or_default(), d.labels.first().map(|l| l.span))
}

/// The mutation: with one rule switched off, nothing is left of its finding in its failing fixture. No other rule tells of the
/// same node at the same place, so no rule is another one under a second name.
#[test]
fn a_failing_fixture_is_caught_by_its_rule_alone() {
    let mut wrong = Vec::new();
    for rule in rules::all() {
        let (_, topology) = fixture(rule, "fail.kdl");
        let own: BTreeSet<_> = rules::run(&topology, TODAY, std::iter::once(rule)).iter().map(place).collect();
        // A small fixture leaves out what the first area wants of every host.
        let host = |r: &Rule| r.code.starts_with("L01");
        let others = rules::all().filter(|r| r.name != rule.name && (host(rule) || !host(r)));
        let left = rules::run(&topology, TODAY, others);
        if own.is_empty() || left.iter().any(|d| d.code == rule.code) {
            wrong.push(format!("{}: its fixture does not show what it does", rule.name));
        }
        for d in left.iter().filter(|d| own.contains(&place(d))) {
            wrong.push(format!("{}: {} says {} at the same place", rule.name, d.code, d.message));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn names_and_codes_are_unique_and_in_order() {
    let mut names = BTreeSet::new();
    let mut codes = Vec::new();
    for area in rules::AREAS {
        let prefix = area.rules.first().map(|r| &r.code[..3]);
        for r in area.rules {
            assert!(names.insert(r.name), "{} twice", r.name);
            assert!(r.name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-'), "{}", r.name);
            assert!(r.code.len() == 5 && Some(&r.code[..3]) == prefix, "{} in {}", r.code, area.title);
            assert!(r.about.ends_with('.') && !r.source.is_empty(), "{}", r.name);
            codes.push(r.code);
        }
    }
    assert!(codes.is_sorted_by(|a, b| a < b), "{codes:?}");
}

/// `platform-without-product` knows each product that has a field.
#[test]
fn the_products_are_those_of_the_schema() {
    let platform = language::schema::schema().kind("platform").expect("kind");
    let texts = platform.fields.iter().filter(|f| f.ty == language::types::Type::String && !f.many);
    let fields: Vec<&str> = texts.map(|f| f.name.as_str()).filter(|n| *n != "update").collect();
    assert_eq!(fields, cutover::model::version::PRODUCTS);
}

#[test]
fn a_folder_of_fixtures_has_its_rule() {
    let known: BTreeSet<&str> = rules::all().map(|r| r.name).collect();
    let cases = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases/rules");
    for entry in std::fs::read_dir(cases).expect("fixtures") {
        let name = entry.expect("entry").file_name().to_string_lossy().into_owned();
        assert!(known.contains(name.as_str()), "no rule is called {name}");
    }
}

fn codes(text: &str) -> Vec<&'static str> {
    let c = language::compile_files(&crate::language::files("t.kdl", text), "t.kdl", &Options::default());
    assert!(!c.diagnostics.has_errors(), "{}", draw(&c));
    rules::check(&c.topology, TODAY).iter().map(|d| d.code).collect()
}

/// A topology of which no rule speaks, two hosts without an address apart.
const BARE: &str = "organization o domain=o.example anchor=a\nplatform open postfix=\"3.7\"\nsite s\n\
    connection c user=root { host-key \"ssh-ed25519 AAAA\"; }\n\
    server \"[a,b]\" platform=open site=s connection=c { roles monitor; }\n";

#[test]
fn allow_silences_where_it_says_and_until_it_says() {
    let of = |allow: &str| {
        codes(&format!("{BARE}{allow}\n"))
            .into_iter()
            .filter(|c| ["L0103", "L0002", "L0001"].contains(c))
            .collect::<Vec<_>>()
    };
    assert_eq!(of(""), ["L0103"], "one line, one message");
    assert_eq!(of("allow no-address reason=\"lab\""), Vec::<&str>::new());
    assert_eq!(of("allow no-address reason=\"lab\" { on a; }"), ["L0103"], "only what `on` names");
    assert_eq!(of("allow no-address reason=\"lab\" until=\"2026-11-01\""), Vec::<&str>::new(), "the last day counts");
    assert_eq!(of("allow no-address reason=\"lab\" until=\"2026-10-31\""), ["L0103", "L0002"]);
    assert_eq!(of("allow no-adress reason=\"lab\""), ["L0103", "L0001"]);
}

/// What a person is told to paste is taken, and silences what it was told for.
#[test]
fn the_allow_that_is_shown_silences_the_finding() {
    let mut wrong = Vec::new();
    for rule in rules::all() {
        let text = written(rule, "fail.kdl");
        let (_, topology) = fixture(rule, "fail.kdl");
        let found = rules::run(&topology, TODAY, std::iter::once(rule));
        for line in diagnostics::allows(found.iter()) {
            let pasted = match line.strip_prefix("(add)") {
                Some(_) => text.replacen('{', &format!("{{\n{line}\n"), text.matches('{').count()),
                None => format!("{text}\n{line}\n"),
            };
            let (_, topology) = compiled(rule, "fail.kdl", &pasted);
            if !rules::run(&topology, TODAY, std::iter::once(rule)).is_empty() {
                wrong.push(format!("{}: {line} silences nothing", rule.name));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// A node that an environment made is allowed in that environment; one that a `domain-map` renamed, by its written name.
#[test]
fn the_allow_that_is_shown_knows_overlays() {
    let base = "organization o domain=o.example anchor=a\nplatform open postfix=\"3.7\"\nsite s\n\
        server a platform=open site=s ip=\"192.0.2.1\" { roles imap; }\n";
    let run = |base: &str, more: &str| {
        let text = format!("{base}environment lab purpose=lab {{\n    {more}\n}}\n");
        let options = Options { environment: Some("lab".into()), ..Options::default() };
        let c = language::compile_files(&crate::language::files("t.kdl", text), "t.kdl", &options);
        assert!(!c.diagnostics.has_errors(), "{}", draw(&c));
        let rule = rules::all().find(|r| r.name == "no-address");
        diagnostics::allows(rules::run(&c.topology, TODAY, rule.into_iter()).iter())
    };
    let add = "(add)server b platform=open site=s { roles imap; }";
    let told = run(base, add);
    assert_eq!(told, ["(add)allow no-address reason=\"..\" { on \"server:b\"; } // in environment lab"]);
    assert_eq!(run(base, &format!("{add}\n{}", told[0])), Vec::<String>::new());
}

/// The page is generated; `CUTOVER_UPDATE=1` writes it anew.
#[test]
fn the_page_of_rules_is_what_the_program_prints() {
    let run = Sandbox::new().run(&["lint", "--list", "--format", "markdown"]).ends(0);
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/rules.md");
    if std::env::var_os("CUTOVER_UPDATE").is_some() {
        std::fs::write(&page, &run.out).expect("written");
    }
    let kept = std::fs::read_to_string(&page).unwrap_or_default();
    assert!(kept == run.out, "docs/rules.md differs: CUTOVER_UPDATE=1 cargo nextest run rules");
    for rule in rules::all() {
        assert!(kept.contains(&format!("| {} | `{}` |", rule.code, rule.name)), "{}", rule.name);
    }
}

#[test]
fn lint_runs_the_rules_alone_and_check_runs_them_too() {
    let sandbox = Sandbox::new();
    sandbox.write("topology.kdl", &format!("{BARE}environment x purpose=test\n"));
    sandbox
        .run(&["lint"])
        .ends(0)
        .says("server `a` has no address (1 more like it here)")
        .says("(no-address)")
        .says("0 errors, 1 warning\n");
    sandbox.run(&["lint"]).says("\n    allow no-address reason=\"..\" { on \"server:a\" \"server:b\"; }\n");
    sandbox.run(&["lint", "--deny-warnings"]).ends(1);
    sandbox.run(&["check"]).says("server `a` has no address").says("allow no-address reason");
    let json: serde_json::Value =
        serde_json::from_str(&sandbox.run(&["lint", "--format", "json"]).ends(0).out).expect("JSON");
    let first = &json["diagnostics"][0];
    assert_eq!((first["code"].as_str(), first["rule"].as_str()), (Some("L0103"), Some("no-address")));
    assert_eq!(first["allow"], "allow no-address reason=\"..\" { on \"server:a\" \"server:b\"; }");
    sandbox.write("topology.kdl", "server a\n");
    sandbox.run(&["lint"]).ends(1).says("E0107");
    sandbox.write("topology.kdl", &format!("{BARE}allow no-address reason=\"a test\"\n"));
    sandbox.run(&["lint"]).ends(0).says("base: ").says("rules have nothing to say of");
}

#[test]
fn lint_lists_every_rule() {
    let sandbox = Sandbox::new();
    let count = rules::all().count();
    sandbox.run(&["lint", "--list"]).ends(0).says(&format!("{count} rules"));
    let json = sandbox.run(&["lint", "--list", "--format", "json"]).ends(0).out;
    let json: serde_json::Value = serde_json::from_str(&json).expect("JSON");
    assert_eq!(json["rules"].as_array().map(Vec::len), Some(count));
    for field in ["code", "name", "severity", "area", "about", "source"] {
        assert!(json["rules"][0][field].as_str().is_some_and(|t| !t.is_empty()), "{field}");
    }
    sandbox.run(&["lint", "--list", "--format", "svg"]).ends(1);
}

/// What a newcomer sees first says nothing that it does not mean.
#[test]
fn the_starter_and_the_quickstart_have_no_finding() {
    let sandbox = Sandbox::new();
    sandbox.run(&["init", "--domain", "acme.example"]).ends(0);
    let quickstart = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/quickstart");
    for root in [sandbox.path(), &quickstart] {
        let run = sandbox.run(&["lint", "--format", "json", "--root", &root.to_string_lossy()]).ends(0);
        let json: serde_json::Value = serde_json::from_str(&run.out).expect("JSON");
        assert_eq!(json["diagnostics"], serde_json::json!([]), "{}", root.display());
    }
}

/// Servers in one range with addresses, names, certificates, probes and a firewall matrix.
fn fleet(servers: usize) -> Topology {
    let text = format!(
        "organization o domain=o.example anchor=n-1\nplatform open postfix=\"3.7\" dovecot=\"2.3\"\n\
         site \"[a,b]\" datacenter=#true\nsubnet \"[a,b]\" cidr=\"[10.0.0.0/9,10.128.0.0/9]\" site=\"[a,b]\"\n\
         connection c user=ops become=sudo\nbaseline x {{ roles imap; templates \"t.hbs\"; }}\n\
         server \"n-[1:{servers}]\" platform=open site=a connection=c baselines=x {{ roles imap smtp; }}\n\
         dns-provider p type=manual\nzone o.example provider=p {{ record \"n-[1:{servers}]\" CNAME x.p.example; }}\n\
         certificate t subject=o.example issuer=internal {{ names \"n-[1:{servers}].o.example\"; on \"*\"; }}\n\
         flow f ports=25 {{ from \"*\"; to \"role:imap\"; }}\nprobe h type=heartbeat {{ to \"*\"; }}\n\
         allow no-address reason=\"by name\" {{ on \"n-*\"; }}\n"
    );
    let c = language::compile_files(&crate::language::files("t.kdl", text), "t.kdl", &Options::default());
    assert!(!c.diagnostics.has_errors(), "{}", draw(&c));
    c.topology
}

/// Time that this thread has had of a processor: others who use the machine do not count.
fn spent() -> std::time::Duration {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").expect("Linux");
    std::time::Duration::from_nanos(text.split(' ').next().and_then(|n| n.parse().ok()).expect("nanoseconds"))
}

/// Four times the servers take about four times as long, whatever the rule: 20,000 of them are one line of text.
#[test]
fn rules_grow_with_the_topology_and_no_faster() {
    let (small, large) = (fleet(500), fleet(2_000));
    let once = |t: &Topology, rule: &Rule| {
        let start = spent();
        std::hint::black_box(rules::run(t, TODAY, std::iter::once(rule)));
        spent().saturating_sub(start)
    };
    // A quadratic rule takes 16 times as long; in a few hundredths of a second nothing can be told.
    for rule in rules::all().filter(|r| once(&large, r).as_millis() > 50) {
        let least = |t| (0..5).map(|_| once(t, rule)).min().unwrap_or_default();
        let (few, many) = (least(&small), least(&large));
        assert!(many.as_millis() < 50 || many < few * 10, "{}: {few:?}, then {many:?}", rule.name);
    }
}
