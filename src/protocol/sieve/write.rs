//! The writer. What it writes is read back as the same tree.

use super::{Argument, Command, Test};

/// Width of a level.
const STEP: &str = "    ";

/// With CR LF at the ends of lines.
pub fn write(commands: &[Command]) -> String {
    let mut text = String::new();
    block(&mut text, commands, 0);
    text.replace('\n', "\r\n")
}

fn block(text: &mut String, commands: &[Command], depth: usize) {
    let begin = STEP.repeat(depth);
    for command in commands {
        for comment in &command.comments {
            text.extend([&begin, "#", comment, "\n"]);
        }
        text.extend([&begin, command.name.as_str()]);
        arguments(text, &command.arguments);
        match command.tests.as_slice() {
            [] => {}
            [one] => {
                text.push(' ');
                test(text, one);
            }
            many => {
                text.push(' ');
                tests(text, many);
            }
        }
        match &command.block {
            None => text.push_str(";\n"),
            Some(inner) => {
                if command.aside.is_empty() {
                    text.push_str(" {\n");
                } else {
                    for comment in &command.aside {
                        text.extend([" #", comment, "\n"]);
                    }
                    text.extend([&begin, "{\n"]);
                }
                block(text, inner, depth + 1);
                text.extend([&begin, "}\n"]);
            }
        }
    }
}

fn arguments(text: &mut String, all: &[Argument]) {
    for argument in all {
        text.push(' ');
        match argument {
            Argument::Tag(tag) => text.extend([":", tag]),
            Argument::Number(number) => text.push_str(&number.to_string()),
            Argument::Text(value) => text.push_str(&string(value)),
            Argument::List(list) => {
                let list: Vec<String> = list.iter().map(|t| quoted(t)).collect();
                text.extend(["[", &list.join(", "), "]"]);
            }
        }
    }
}

/// One test, on one line where its texts are.
pub fn write_test(one: &Test) -> String {
    let mut text = String::new();
    test(&mut text, one);
    text
}

fn test(text: &mut String, one: &Test) {
    text.push_str(&one.name);
    arguments(text, &one.arguments);
    match (one.name.as_str(), one.tests.as_slice()) {
        (_, []) => {}
        ("allof" | "anyof", many) => {
            text.push(' ');
            tests(text, many);
        }
        (_, [one]) => {
            text.push(' ');
            test(text, one);
        }
        (_, many) => {
            text.push(' ');
            tests(text, many);
        }
    }
}

fn tests(text: &mut String, many: &[Test]) {
    for (n, one) in many.iter().enumerate() {
        text.push_str(if n == 0 { "(" } else { ", " });
        test(text, one);
    }
    text.push(')');
}

/// Several lines as lines, where they end as such must.
fn string(value: &str) -> String {
    if value.matches('\n').count() > 1 && value.ends_with('\n') && !value.contains('\r') {
        let mut text = "text:\n".to_owned();
        for line in value.split_inclusive('\n') {
            text.extend([if line.starts_with('.') { "." } else { "" }, line]);
        }
        return text + ".\n";
    }
    quoted(value)
}

/// As it stands in a script.
pub fn quoted(value: &str) -> String {
    format!("\"{}\"", value.replace('\\', "\\\\").replace('"', "\\\""))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::parse;
    use super::*;

    fn text() -> impl Strategy<Value = String> {
        prop_oneof!["[ -~]{0,12}", "[a-zäß\\.\\n\"\\\\ ]{0,20}", "(\\.?[a-z ]{0,6}\\n){2,5}", Just("\r".to_owned())]
    }

    fn argument() -> impl Strategy<Value = Argument> {
        prop_oneof![
            "[a-z]{1,9}".prop_map(Argument::Tag),
            any::<u64>().prop_map(Argument::Number),
            text().prop_map(Argument::Text),
            proptest::collection::vec(text(), 0..4).prop_map(Argument::List),
        ]
    }

    fn name() -> impl Strategy<Value = String> {
        "[a-z_][a-z0-9_]{0,8}".prop_filter("`text:` is a text", |n| n != "text")
    }

    fn test_tree() -> impl Strategy<Value = Test> {
        let leaf = (name(), proptest::collection::vec(argument(), 0..4)).prop_map(|(name, arguments)| Test {
            name,
            arguments,
            ..Test::default()
        });
        leaf.prop_recursive(3, 12, 3, |inner| {
            prop_oneof![
                (prop_oneof![Just("allof"), Just("anyof")], proptest::collection::vec(inner.clone(), 1..4))
                    .prop_map(|(name, tests)| Test { name: name.into(), tests, ..Test::default() }),
                inner.prop_map(|test| Test { name: "not".into(), tests: vec![test], ..Test::default() }),
            ]
        })
    }

    fn command() -> impl Strategy<Value = Command> {
        let head = (
            proptest::collection::vec("[ -~]{0,10}", 0..3),
            name(),
            proptest::collection::vec(argument(), 0..3),
            proptest::collection::vec(test_tree(), 0..3),
        );
        let leaf = head.prop_map(|(comments, name, arguments, tests)| Command {
            comments,
            name,
            arguments,
            tests,
            ..Command::default()
        });
        leaf.prop_recursive(3, 16, 4, |inner| {
            (inner.clone(), proptest::collection::vec(inner, 0..4), proptest::collection::vec("[ -~]{0,8}", 0..2))
                .prop_map(|(head, block, aside)| Command { block: Some(block), aside, ..head })
        })
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_as_the_same(commands in proptest::collection::vec(command(), 0..5)) {
            let text = write(&commands);
            let read = parse(&text).map_err(|e| TestCaseError::fail(format!("{e}\n{text}")))?;
            prop_assert_eq!(&read.commands, &commands, "{}", text);
            prop_assert_eq!(write(&read.commands), text);
        }

        /// Whatever comes, it is an answer.
        #[test]
        fn anything_is_read_or_refused(text in "\\PC{0,60}", pieces in proptest::collection::vec(
            prop_oneof![Just("if "), Just("("), Just(")"), Just("{"), Just("}"), Just("\""), Just("text:\n"), Just(".\n"), Just("["), Just(";"),
                Just(":is "), Just("header "), Just("/*"), Just("*/"), Just("#"), Just("99999999999999999999G"), Just("\\"), Just("ä"), Just("not ")], 0..40)) {
            let _ = parse(&text);
            let _ = parse(&pieces.concat());
        }
    }

    #[test]
    fn mistakes_are_said_with_their_line() {
        for (text, line, what) in [
            ("require \"fileinto\";\nif true {\n  keep;\n", 4, "a block has no end"),
            ("keep\n", 2, "`keep` has no end"),
            ("fileinto \"a\nb", 1, "a text has no end"),
            ("vacation text:\nhello\n", 1, "text: has no end"),
            ("redirect [\"a\", 1];", 1, "a list holds something else"),
            ("if size :over 5X { stop; }", 1, "`5x` is no number"),
            ("keep; $", 1, "`$` has no place here"),
            ("/* a", 1, "a comment has no end"),
        ] {
            let error = parse(text).expect_err(text);
            assert!(error.line == line && error.what.starts_with(what) && !error.help.is_empty(), "{text}: {error}");
        }
    }

    #[test]
    fn depth_and_size_are_bounded() {
        let deep = |n: usize| format!("{}keep;{}", "if true {".repeat(n), "}".repeat(n));
        assert!(parse(&deep(30)).is_ok() && parse(&deep(100_000)).is_err());
        assert!(parse(&format!("if {} true {{}}", "not ".repeat(100_000))).is_err());
        assert!(parse(&format!("# {}", "x".repeat(super::super::LARGEST))).is_err());
    }

    #[test]
    fn folders_are_found_where_they_stand() {
        let text = "if true {\n fileinto :copy \"INBOX.a \\\"b\\\"\"; }\nfileinto\n\"c\";";
        let parsed = parse(text).expect("script");
        let found: Vec<(&str, &str)> = parsed.folders.iter().map(|(s, f)| (&text[s.clone()], f.as_str())).collect();
        assert_eq!(found, [("\"INBOX.a \\\"b\\\"\"", "INBOX.a \"b\""), ("\"c\"", "c")]);
        assert_eq!(&text[parsed.commands[1].at.span.clone()], "fileinto\n\"c\";");
    }
}
