use super::*;
use proptest::prelude::*;

fn read(text: &str) -> Result<Vec<Tree>, Vec<Diagnostic>> {
    let mut sources = Sources::default();
    let id = sources.add("t.kdl", text);
    parse(&sources, id)
}

fn codes(text: &str) -> Vec<&'static str> {
    read(text).expect_err(text).iter().map(|d| d.code).collect()
}

#[test]
fn spans_are_true() {
    let text = "(patch)server \"a b\" x = (secret)\"env:Ü\" /* c */ #true {\n  roles imap; /-off 1\n} // end\n";
    let trees = read(text).expect("valid");
    let t = &trees[0];
    let at = |s: Span| &text[s.offset..s.offset + s.len];
    assert_eq!(t.annotation.as_ref().map(|a| a.value.as_str()), Some("patch"));
    assert_eq!(at(t.entries[0].span), "\"a b\"");
    assert_eq!(at(t.entries[1].span), "x = (secret)\"env:Ü\"");
    assert_eq!(at(t.entries[1].value.span), "\"env:Ü\"");
    assert_eq!(t.entries[2].value.value, Scalar::Bool(true));
    assert_eq!(t.children.len(), 1);
    assert_eq!(at(t.children[0].span), "roles imap");
}

#[test]
fn slashdash_takes_out_nodes_values_and_children() {
    let names = |text: &str| {
        let trees = read(text).expect("valid");
        trees.iter().map(|t| format!("{}:{}:{}", t.name.value, t.entries.len(), t.children.len())).collect::<Vec<_>>()
    };
    assert_eq!(names("/- a 1 { b; }\nc"), ["c:0:0"]);
    assert_eq!(names("a /-1 /-x=2 3 /-{ b; }"), ["a:1:0"]);
    assert_eq!(names("a { /-b { c; }\n d; }"), ["a:0:1"]);
}

#[test]
fn mistakes_have_codes() {
    assert_eq!(codes("sla x within=90s"), ["E0001"]);
    assert_eq!(codes("a \"b"), ["E0002"]);
    assert_eq!(codes("a b=hub-${1}"), ["E0003"]);
    assert_eq!(codes("server mbx-[1:2]"), ["E0004"]);
    assert_eq!(codes("a templates/x.hbs"), ["E0004"]);
    assert_eq!(codes("a b=true"), ["E0005"]);
    assert_eq!(codes("a {\n b"), ["E0006"]);
    assert_eq!(codes("}"), ["E0006"]);
    assert_eq!(codes("a { b; } c"), ["E0006"]);
    assert_eq!(codes("a b="), ["E0006"]);
    assert_eq!(codes("a \"b\"\"c\""), ["E0006"]);
    assert_eq!(codes("a b\u{202e}c"), ["E0015"]);
    assert_eq!(codes(&"a {".repeat(100_000)), ["E0009"]);
}

#[test]
fn hostile_shapes_end() {
    for text in [
        "}".repeat(100_000),
        "/-".repeat(100_000),
        format!("/*{}", "*".repeat(100_000)),
        "/*".repeat(50_000),
        "(".repeat(50_000),
        "a=".repeat(50_000),
    ] {
        let _ = read(&text);
    }
    assert!(read(&format!("/*{}*/ a", "* / ".repeat(100_000))).is_ok());
    assert_eq!(codes(&"a\n".repeat(MAX_BYTES)), ["E0008"]);
}

/// The crate's own reading of a document, as our trees without spans.
fn by_crate(doc: &kdl::KdlDocument) -> String {
    let mut out = String::new();
    for n in doc.nodes() {
        out += &format!("({:?}){:?}", n.ty().map(|t| t.value()), n.name().value());
        for e in n.entries() {
            let v = match e.value() {
                KdlValue::String(s) => format!("{s:?}"),
                KdlValue::Integer(i) => format!("{i}"),
                KdlValue::Float(f) => format!("f{f}"),
                KdlValue::Bool(b) => format!("{b}"),
                KdlValue::Null => "null".into(),
            };
            out += &format!(" {:?}=({:?}){v}", e.name().map(|n| n.value()), e.ty().map(|t| t.value()));
        }
        out += &format!("{{{}}}", n.children().map(by_crate).unwrap_or_default());
    }
    out
}

fn ours(trees: &[Tree]) -> String {
    let mut out = String::new();
    for n in trees {
        out += &format!("({:?}){:?}", n.annotation.as_ref().map(|t| &t.value), n.name.value);
        for e in &n.entries {
            let v = match &e.value.value {
                Scalar::Text(s) | Scalar::Raw(s) => format!("{s:?}"),
                Scalar::Int(i) => format!("{i}"),
                Scalar::Float(f) => format!("f{f}"),
                Scalar::Bool(b) => format!("{b}"),
                Scalar::Null => "null".into(),
            };
            out +=
                &format!(" {:?}=({:?}){v}", e.name.as_ref().map(|n| &n.value), e.annotation.as_ref().map(|a| &a.value));
        }
        out += &format!("{{{}}}", ours(&n.children));
    }
    out
}

proptest! {
    /// Whatever the kdl crate accepts we accept, and read the same way.
    #[test]
    fn agrees_with_the_crate(parts in prop::collection::vec(
        prop::sample::select(vec!["a", "b-1", " ", " ", " ", "\n", " b;", "{", "}", "=", "(t)", "\"x y\"", "\"\\n\\u{41}\"", "#\"r\"#", "12", "-1.5e3",
            "0x1f", "#true", "#null", "// c\n", "/* c */", " \\\n", "\"\"\"\n  l\n  m\n  \"\"\"", "$x", ".", "+"]), 0..24)) {
        let text: String = parts.concat();
        if let Ok(doc) = kdl::KdlDocument::parse_v2(&text) {
            let trees = read(&text);
            prop_assert!(trees.is_ok(), "{text:?} {trees:?}");
            prop_assert_eq!(ours(&trees.unwrap_or_default()), by_crate(&doc), "{:?}", text);
        }
    }

    #[test]
    fn never_panics(text in "(a|\\{|\\}|\"|#|\\\\|/|\\*|-|=|\\(|\\)|;|\n| |[0-9]|\\[|\\$|é|\u{202e}){0,40}") {
        let _ = read(&text);
    }
}
