//! A neutral rule as Exchange has it, and back ([MS-OXWSRULES]). Pure.
//!
//! Exchange knows one list of words for each kind of condition, of which one is enough; all kinds must hold, and no exception may. A rule
//! of which a part cannot be said so stays behind as a whole.

use std::collections::BTreeMap;

use crate::services::cms::personal::rule::{Action, Condition, How, Part, Place, Rule, Test};

/// Kinds of conditions with words, in the order of the schema.
pub(super) const WORDS: [&str; 6] = [
    "ContainsBodyStrings",
    "ContainsRecipientStrings",
    "ContainsSenderStrings",
    "ContainsSubjectOrBodyStrings",
    "ContainsSubjectStrings",
    "FromAddresses",
];
const KILO: u64 = 1024;

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Predicates {
    /// By a name of [`WORDS`].
    pub words: BTreeMap<&'static str, Vec<String>>,
    /// In KiB.
    pub least: Option<u64>,
    pub most: Option<u64>,
}

impl Predicates {
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// What a rule does there.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Deeds {
    pub categories: Vec<String>,
    /// Keys of folders.
    pub copy: Option<String>,
    pub file: Option<String>,
    pub read: bool,
    pub delete: bool,
    pub redirect: Vec<String>,
    pub stop: bool,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct InboxRule {
    pub name: String,
    pub active: bool,
    pub conditions: Predicates,
    pub exceptions: Predicates,
    pub deeds: Deeds,
}

/// A rule in Exchange's words, with what people want to know; or why it cannot be said.
pub(super) fn of(rule: &Rule) -> Result<(InboxRule, Vec<String>), String> {
    let mut notes = Vec::new();
    let mut made = InboxRule { name: rule.name.clone(), active: rule.active, ..InboxRule::default() };
    if made.name.trim().is_empty() {
        made.name = "rule".into();
    }
    let any = rule.any && rule.conditions.len() > 1;
    for condition in &rule.conditions {
        let into = if condition.not { &mut made.exceptions } else { &mut made.conditions };
        // One of several exceptions is enough to hold it off: that is what all of several `not` say.
        let merges = condition.not != any;
        into.add(&condition.test, merges, &mut notes)?;
    }
    let kinds = |p: &Predicates| p.words.len() + usize::from(p.least.is_some()) + usize::from(p.most.is_some());
    if any && (!made.exceptions.is_empty() || kinds(&made.conditions) > 1) {
        return Err("one of several conditions is enough, and Exchange asks for all kinds of them".into());
    }
    made.deeds = deeds(&rule.actions, &mut notes)?;
    Ok((made, notes))
}

impl Predicates {
    fn add(&mut self, test: &Test, merges: bool, notes: &mut Vec<String>) -> Result<(), String> {
        let size = |octets: u64, notes: &mut Vec<String>| {
            if !octets.is_multiple_of(KILO) {
                notes.push(format!("a size of {octets} octets is {} KiB there", octets.div_ceil(KILO)));
            }
            octets.div_ceil(KILO)
        };
        match test {
            Test::Larger(octets) if self.least.is_none() => self.least = Some(size(*octets, notes)),
            Test::Smaller(octets) if self.most.is_none() => self.most = Some(size(*octets, notes)),
            Test::Larger(_) | Test::Smaller(_) => return Err("two sizes of one kind".into()),
            Test::Exists(names) => return Err(format!("whether a field is there is not asked: {}", names.join(", "))),
            Test::Text { places, how, words } => {
                let (kind, words) = kind(places, *how, words, notes)?;
                let held = self.words.entry(kind).or_default();
                if !held.is_empty() && !merges {
                    return Err(format!("two conditions of one kind ({kind}) that must both hold"));
                }
                held.extend(words);
            }
        }
        Ok(())
    }
}

fn kind(
    places: &[Place],
    how: How,
    words: &[String],
    notes: &mut Vec<String>,
) -> Result<(&'static str, Vec<String>), String> {
    let mut names: Vec<&str> = Vec::new();
    let mut whole = true;
    for place in places {
        names.push(match place {
            Place::Header(name) | Place::Address(name, Part::All) => name.as_str(),
            Place::Body => "body",
            Place::Address(name, _) => return Err(format!("a part of the address in `{name}`")),
            Place::Envelope(name, _) => return Err(format!("the envelope's `{name}`")),
        });
        whole &= matches!(place, Place::Address(..));
    }
    names.sort_unstable();
    names.dedup();
    let found = match names.as_slice() {
        ["subject"] => "ContainsSubjectStrings",
        ["body"] => "ContainsBodyStrings",
        ["body", "subject"] => "ContainsSubjectOrBodyStrings",
        ["from"] if how == How::Is && whole => "FromAddresses",
        ["from"] => "ContainsSenderStrings",
        ["cc", "to"] => "ContainsRecipientStrings",
        ["to"] | ["cc"] => {
            notes.push(format!("words that were looked for in `{}` are looked for in To and Cc", names.join("")));
            "ContainsRecipientStrings"
        }
        other => return Err(format!("words in `{}` are not looked for", other.join(", "))),
    };
    let words = words.iter().map(|word| match how {
        How::Contains => Ok(word.clone()),
        How::Is if found == "FromAddresses" => Ok(word.clone()),
        How::Is => Err(format!("a text that is exactly `{word}`")),
        How::Matches => {
            let inner = word.strip_prefix('*').and_then(|w| w.strip_suffix('*'));
            let plain = inner.filter(|w| !w.is_empty() && !w.contains(['*', '?', '\\']));
            plain.map(str::to_owned).ok_or_else(|| format!("the pattern `{word}`"))
        }
    });
    let words: Vec<String> = words.collect::<Result<_, _>>()?;
    match words.iter().all(|w| !w.is_empty()) && !words.is_empty() {
        true => Ok((found, words)),
        false => Err("an empty word".into()),
    }
}

fn deeds(actions: &[Action], notes: &mut Vec<String>) -> Result<Deeds, String> {
    let mut deeds = Deeds::default();
    let mut keeps =
        actions.iter().any(|a| matches!(a, Action::Keep | Action::File { .. } | Action::Redirect { copy: true, .. }));
    let twice = |what: &str| format!("two folders in one rule: {what}");
    for action in actions {
        match action {
            Action::File { folder, copy: true } if deeds.copy.is_none() => deeds.copy = Some(folder.clone()),
            Action::File { folder, copy: false } if deeds.file.is_none() => deeds.file = Some(folder.clone()),
            Action::File { folder, .. } => return Err(twice(folder)),
            Action::Redirect { to, .. } => deeds.redirect.push(to.clone()),
            Action::Keep => keeps = true,
            Action::Discard => deeds.delete = true,
            Action::Reject(_) => return Err("mail is not refused by a rule".into()),
            Action::Flag(flags) => {
                for flag in flags {
                    match flag.to_ascii_lowercase().as_str() {
                        "\\seen" => deeds.read = true,
                        word if word.starts_with(['\\', '$']) => {
                            return Err(format!("the flag {flag} is not set by a rule"));
                        }
                        _ => deeds.categories.push(flag.clone()),
                    }
                }
            }
            Action::Stop => deeds.stop = true,
        }
    }
    // A copy alone leaves the message where it is; so does a redirect there, which Sieve takes for the end of it.
    if deeds.copy.is_some() && deeds.delete {
        return Err("a copy of what is thrown away".into());
    }
    if !deeds.redirect.is_empty() && !keeps {
        deeds.delete = true;
    }
    if deeds.delete && deeds.file.is_some() {
        deeds.delete = false;
    }
    if deeds == Deeds::default() {
        return Err("it does nothing that a rule does there".into());
    }
    if deeds.redirect.len() > 1 && !keeps {
        notes.push("it sends on to several at once".into());
    }
    Ok(deeds)
}

/// What the rule says in neutral words.
pub(super) fn neutral(rule: &InboxRule) -> Rule {
    let mut conditions = rule.conditions.neutral(false);
    conditions.extend(rule.exceptions.neutral(true));
    let deeds = &rule.deeds;
    let mut actions = Vec::new();
    let mut flags = deeds.categories.clone();
    if deeds.read {
        flags.insert(0, "\\Seen".into());
    }
    if !flags.is_empty() {
        actions.push(Action::Flag(flags));
    }
    actions.extend(deeds.copy.iter().map(|folder| Action::File { folder: folder.clone(), copy: true }));
    actions.extend(deeds.file.iter().map(|folder| Action::File { folder: folder.clone(), copy: false }));
    let sent = deeds.redirect.iter().map(|to| Action::Redirect { to: to.clone(), copy: !deeds.delete });
    actions.extend(sent);
    if deeds.delete && deeds.redirect.is_empty() {
        actions.push(Action::Discard);
    }
    if deeds.stop {
        actions.push(Action::Stop);
    }
    Rule { name: rule.name.clone(), active: rule.active, any: false, conditions, actions }
}

impl Predicates {
    fn neutral(&self, not: bool) -> Vec<Condition> {
        let header = |name: &str| Place::Header(name.into());
        let texts = self.words.iter().map(|(kind, words)| {
            let (places, how) = match *kind {
                "ContainsBodyStrings" => (vec![Place::Body], How::Contains),
                "ContainsRecipientStrings" => (vec![header("to"), header("cc")], How::Contains),
                "ContainsSenderStrings" => (vec![header("from")], How::Contains),
                "ContainsSubjectOrBodyStrings" => (vec![header("subject"), Place::Body], How::Contains),
                "FromAddresses" => (vec![Place::Address("from".into(), Part::All)], How::Is),
                _ => (vec![header("subject")], How::Contains),
            };
            Test::Text { places, how, words: words.clone() }
        });
        let sizes = [self.least.map(|n| Test::Larger(n * KILO)), self.most.map(|n| Test::Smaller(n * KILO))];
        texts.chain(sizes.into_iter().flatten()).map(|test| Condition { not, test }).collect()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::services::cms::personal::sieve;

    fn said(script: &str) -> Result<(InboxRule, Vec<String>), String> {
        let script =
            format!("require [\"fileinto\", \"copy\", \"imap4flags\", \"reject\", \"body\", \"envelope\"];\n{script}");
        let mut found = sieve::read(&script).expect("script");
        assert_eq!(found.left, [], "{script}");
        of(&found.rules.remove(0))
    }

    #[test]
    fn what_exchange_can_say_is_said_and_the_rest_is_refused_whole() {
        for script in [
            "if header :contains \"subject\" [\"a\", \"b\"] { fileinto \"Work\"; stop; }",
            "if allof (header :contains \"from\" \"x\", not header :contains \"subject\" \"y\", not body :text :contains \"z\") { addflag \"\\\\Seen\"; }",
            "if anyof (header :contains \"subject\" \"a\", header :matches \"subject\" \"*b*\") { discard; }",
            "if address :is \"from\" \"a@x.example\" { redirect \"b@x.example\"; }",
            "if header :contains [\"to\", \"cc\"] \"list@\" { fileinto :copy \"Lists\"; }",
            "if size :over 1M { addflag \"big\"; }",
        ] {
            let (made, notes) = said(script).expect(script);
            assert_eq!(notes, Vec::<String>::new(), "{script}");
            assert_eq!(of(&neutral(&made)).expect("again").0, made, "{script}");
        }
        for (script, why) in [
            (
                "if anyof (header :contains \"subject\" \"a\", header :contains \"from\" \"b\") { discard; }",
                "all kinds",
            ),
            (
                "if anyof (not header :contains \"subject\" \"a\", header :contains \"subject\" \"b\") { discard; }",
                "all kinds",
            ),
            (
                "if allof (header :contains \"subject\" \"a\", header :contains \"subject\" \"b\") { discard; }",
                "both hold",
            ),
            ("if header :is \"subject\" \"a\" { discard; }", "exactly `a`"),
            ("if header :contains \"list-id\" \"a\" { discard; }", "`list-id`"),
            ("if envelope :is \"from\" \"a@b\" { discard; }", "envelope"),
            ("if exists \"x\" { discard; }", "not asked"),
            ("if header :contains \"subject\" \"a\" { reject \"no\"; }", "refused"),
            ("if header :contains \"subject\" \"a\" { addflag \"\\\\Flagged\"; }", "Flagged"),
            ("if header :contains \"subject\" \"a\" { fileinto \"A\"; fileinto \"B\"; }", "two folders"),
            ("if header :contains \"subject\" \"a\" { keep; }", "does nothing"),
        ] {
            let refused = said(script).expect_err(script);
            assert!(refused.contains(why), "{script}: {refused}");
        }
        let (made, notes) = said("if header :contains \"to\" \"a\" { redirect :copy \"b@x\"; }").expect("rule");
        assert!(!made.deeds.delete && notes.len() == 1 && notes[0].contains("To and Cc"), "{notes:?}");
    }

    fn predicates() -> impl Strategy<Value = Predicates> {
        let words =
            proptest::collection::btree_map(0..WORDS.len(), proptest::collection::vec("[a-z]{1,5}", 1..3), 0..3);
        (words, proptest::option::of(1u64..100), proptest::option::of(1u64..100)).prop_map(|(words, least, most)| {
            Predicates { words: words.into_iter().map(|(n, w)| (WORDS[n], w)).collect(), least, most }
        })
    }

    proptest! {
        /// A rule of Exchange is the same after it was said in neutral words and in Exchange's again.
        #[test]
        fn rules_come_back(
            conditions in predicates(),
            exceptions in predicates(),
            copy in proptest::option::of("[A-Z]{1,4}"),
            file in proptest::option::of("[A-Z]{1,4}"),
            (read, delete, stop, active) in any::<(bool, bool, bool, bool)>(),
            redirect in proptest::collection::vec("[a-z]@x", 0..3),
        ) {
            let delete = delete && file.is_none() && copy.is_none();
            let deeds = Deeds { categories: vec![], copy, file, read, delete, redirect, stop };
            prop_assume!(deeds != Deeds::default());
            let rule = InboxRule { name: "n".into(), active, conditions, exceptions, deeds };
            let (again, _) = of(&neutral(&rule)).map_err(TestCaseError::fail)?;
            prop_assert_eq!(again, rule);
        }
    }
}
