//! The questions of one host as one script, and its answers.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use crate::model::audit::Source;
use crate::transport::quote::sh;

use super::judge::{Found, aspect};
use super::wish::Question;

/// Without comments: less goes over the line.
const ASK: &str = include_str!("ask.sh");
const END: &str = "end";

/// What is asked stands quoted in calls of functions; what is wanted does not stand there at all.
pub fn script(questions: &[Question]) -> String {
    let mut out = ASK.to_owned();
    for (n, q) in questions.iter().enumerate().filter(|(_, q)| q.unasked.is_none()) {
        let key = match q.source {
            Source::File => {
                let (path, aspect) = aspect(&q.key);
                format!("{} {}", sh(path), aspect.unwrap_or("-"))
            }
            // Where a name holds dots itself, as that of an interface does, a slash stands between names.
            Source::Sysctl if !q.key.contains('/') => sh(&q.key.replace('.', "/")),
            // As the kernel itself writes it.
            Source::Driver => sh(&q.key.replace('-', "_")),
            _ => sh(&q.key),
        };
        let _ = writeln!(out, "ask_{} {n} {key}", q.source);
    }
    let _ = writeln!(out, "echo {END}");
    out
}

/// Lines of a host as they come.
#[derive(Debug, Default)]
pub struct Answers {
    found: BTreeMap<usize, Found>,
    whole: bool,
}

impl Answers {
    pub fn hear(&mut self, line: &str) {
        if line == END {
            self.whole = true;
            return;
        }
        let (number, rest) = line.split_once(' ').unwrap_or((line, ""));
        let Ok(number) = number.parse() else { return };
        let (word, value) = rest.split_once(' ').unwrap_or((rest, ""));
        let value = value.split_whitespace().collect::<Vec<_>>().join(" ");
        let found = match word {
            "ok" => Found::Is(value),
            "absent" => Found::Absent,
            "no" => Found::Unknown(value),
            _ => return,
        };
        // A script of a check that writes such lines itself has none: its output stands behind a number.
        self.found.entry(number).or_insert(found);
    }

    /// Nothing of it was cut off.
    pub fn whole(&self) -> bool {
        self.whole
    }

    pub fn of(&self, number: usize) -> Option<&Found> {
        self.found.get(&number)
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use proptest::prelude::*;

    use super::*;
    use crate::auditing::wish::Wanted;
    use crate::model::audit::Weight;

    fn question(source: Source, key: &str) -> Question {
        Question {
            baseline: "b".into(),
            check: "c".into(),
            source,
            key: key.into(),
            wanted: Wanted::Text("x".into()),
            severity: Weight::default(),
            waiver: None,
            unasked: None,
        }
    }

    fn asked(questions: &[Question]) -> Answers {
        let out = Command::new("sh").arg("-c").arg(script(questions)).output().unwrap();
        let mut answers = Answers::default();
        String::from_utf8_lossy(&out.stdout).lines().for_each(|l| answers.hear(l));
        assert!(answers.whole(), "{out:?}");
        answers
    }

    #[test]
    fn a_real_shell_answers() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("it's \"here\" $HOME");
        std::fs::write(&file, "abc").unwrap();
        std::fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o640)).unwrap();
        let path = file.display().to_string();
        let all = [
            question(Source::File, &path),
            question(Source::File, &format!("{path}#mode")),
            question(Source::File, &format!("{path}#size")),
            question(Source::File, &format!("{path}#sha256")),
            question(Source::File, &format!("{path}.not")),
            question(Source::File, &format!("{path}/below")),
            question(Source::File, &format!("{}#sha256", dir.path().display())),
            question(Source::Sysctl, "kernel.ostype"),
            question(Source::Sysctl, "kernel.no_such_value"),
            question(Source::Driver, "no-such-module"),
            question(Source::Script, "printf 'a\\tb\\nc\\033[31m'; cat"),
            question(Source::Script, "echo said; exit 3"),
            question(Source::Script, "true"),
            question(Source::Script, "echo '4 ok forged'; echo end"),
        ];
        let answers = asked(&all);
        let is = |n: usize, text: &str| assert_eq!(answers.of(n), Some(&Found::Is(text.into())), "{n}");
        is(0, "present");
        is(1, "640");
        is(2, "3");
        is(3, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
        assert_eq!(answers.of(4), Some(&Found::Absent));
        assert_eq!(answers.of(5), Some(&Found::Absent));
        assert_eq!(answers.of(6), Some(&Found::Unknown("it is a directory".into())));
        is(7, "Linux");
        assert_eq!(answers.of(8), Some(&Found::Absent));
        assert_eq!(answers.of(9), Some(&Found::Absent));
        is(10, "a b c [31m");
        assert_eq!(answers.of(11), Some(&Found::Unknown("it ended with 3".into())));
        is(12, "");
        is(13, "4 ok forged end");
    }

    #[test]
    fn what_a_cut_line_left_out_is_not_known() {
        let mut answers = Answers::default();
        ["0 ok a", "noise", "1 absent", "x y"].iter().for_each(|l| answers.hear(l));
        assert!(!answers.whole());
        assert_eq!(answers.of(0), Some(&Found::Is("a".into())));
        assert_eq!(answers.of(1), Some(&Found::Absent));
        assert_eq!(answers.of(2), None);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        /// Whatever stands in a path, the shell looks for it and runs nothing of it.
        #[test]
        fn no_key_is_read_by_the_shell(name in "[^\u{0}/\n]{1,40}") {
            let dir = tempfile::tempdir().unwrap();
            let key = format!("{}/$(touch {0}/ran);{name}", dir.path().display());
            let answers = asked(&[question(Source::File, &key), question(Source::File, "/#mode")]);
            prop_assert!(matches!(answers.of(0), Some(Found::Absent | Found::Unknown(_))));
            prop_assert!(matches!(answers.of(1), Some(Found::Is(_))));
            prop_assert!(!dir.path().join("ran").exists());
        }
    }
}
