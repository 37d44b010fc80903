//! Surveys: who is asked what, what they answered, and whether it is enough. Letters and files are the caller's.

use std::collections::BTreeMap;

use crate::model::attr::Digest;
use crate::model::topology::{Node, Topology};
use crate::model::unit::Percent;
use crate::people::Chosen;

/// The best answer; the worst is 1.
pub const BEST: f64 = 5.0;

#[derive(Debug, Clone, PartialEq)]
pub struct Survey {
    pub name: String,
    pub questions: Vec<String>,
    /// Everybody who is asked, with the cohort for which they are.
    pub asked: BTreeMap<String, String>,
    /// The share that has to answer.
    pub responses: Option<Percent>,
    /// The least mean of all answers.
    pub score: Option<f64>,
}

/// One person's answers: by question, where they gave one.
pub type Answers = Vec<Option<f64>>;

/// What was answered so far.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct Tally {
    pub asked: usize,
    pub answered: usize,
    #[serde(serialize_with = "text")]
    pub percent: Percent,
    /// The mean of all answers to all questions.
    pub score: Option<f64>,
    /// The mean of each question.
    pub each: Vec<Option<f64>>,
}

fn text<S: serde::Serializer>(share: &Percent, to: S) -> Result<S::Ok, S::Error> {
    to.collect_str(share)
}

impl Survey {
    /// `people`: those of each cohort.
    pub fn of(topology: &Topology, node: &Node, people: &BTreeMap<String, Chosen>) -> Self {
        let mut asked = BTreeMap::new();
        for cohort in topology.targets(node, "of") {
            let name = cohort.id.name.as_str();
            for address in people.get(name).into_iter().flat_map(Chosen::addresses) {
                asked.entry(address.to_owned()).or_insert_with(|| name.to_owned());
            }
        }
        Self {
            name: node.id.name.to_string(),
            questions: node.texts("questions").into_iter().map(str::to_owned).collect(),
            asked,
            responses: node.percent("responses"),
            score: bar(node),
        }
    }

    /// The same for the same letter, whoever sends it and when: other questions are another letter.
    pub fn id(&self, to: &str) -> String {
        let text = format!("survey\n{}\n{}\n{to}", self.name, self.questions.join("\n"));
        Digest::of(text.as_bytes()).0.chars().filter(char::is_ascii_alphanumeric).take(32).collect()
    }

    /// The letter to one person: a subject and a form to fill in.
    pub fn letter(&self, organization: &str, language: &str) -> (String, String) {
        let [subject, ask, scale, thanks] = words(language);
        let mut text = format!("{ask}\n\n{scale}\n");
        for (n, question) in (1..).zip(&self.questions) {
            text += &format!("\n{question}\n{n}: \n");
        }
        text += &format!("\n{thanks}\n");
        (format!("{subject} – {organization} [{}]", self.name), text)
    }

    /// The answers in the text of a reply: lines `2: 4`, also below the marks of a quotation; the first of each question counts. `None`: there
    /// is none.
    pub fn read(&self, text: &str) -> Option<Answers> {
        let mut out: Answers = vec![None; self.questions.len()];
        for line in text.lines() {
            let line = line.trim_start_matches(['>', ' ', '\t', '\u{a0}']);
            let Some((number, value)) = line.split_once([':', '.']) else { continue };
            let place = western(number.trim()).parse::<usize>().ok().and_then(|n| n.checked_sub(1));
            let Some(slot) = place.and_then(|at| out.get_mut(at)) else { continue };
            if slot.is_none() {
                *slot = value.split_whitespace().next().and_then(mark);
            }
        }
        out.iter().any(Option::is_some).then_some(out)
    }

    /// `given`: the last answers of each person; whoever was not asked does not count.
    pub fn tally(&self, given: &BTreeMap<String, Answers>) -> Tally {
        let counted: Vec<&Answers> =
            given.iter().filter(|(who, _)| self.asked.contains_key(*who)).map(|(_, a)| a).collect();
        let mean = |marks: Vec<f64>| (!marks.is_empty()).then(|| marks.iter().sum::<f64>() / marks.len() as f64);
        let of = |at: usize| counted.iter().filter_map(|a| a.get(at).copied().flatten()).collect::<Vec<f64>>();
        let (asked, answered) = (self.asked.len(), counted.len());
        Tally {
            asked,
            answered,
            percent: Percent(100_000_000 * answered as u64 / (asked as u64).max(1)),
            score: mean((0..self.questions.len()).flat_map(of).collect()),
            each: (0..self.questions.len()).map(|at| mean(of(at))).collect(),
        }
    }

    /// What is still missing for it to pass.
    pub fn lacks(&self, tally: &Tally) -> Vec<String> {
        let few = self.responses.filter(|r| tally.percent < *r);
        let few = few.map(|r| format!("{} have answered, {r} are wanted", tally.percent));
        let low = self.score.filter(|s| tally.score.is_none_or(|t| t < *s));
        let low = low.map(|s| format!("the score is {}, {s} is wanted", shown(tally.score)));
        few.into_iter().chain(low).collect()
    }
}

/// The least score that a survey wants.
fn bar(node: &Node) -> Option<f64> {
    let whole = node.int("score").map(|s| s as f64);
    whole.or_else(|| node.text("score")?.parse().ok())
}

/// The least mean of answers that the surveys want which an evidence is of.
pub fn wanted(topology: &Topology, evidence: &Node) -> Option<f64> {
    let survey = evidence.text("type") == Some("survey");
    let all = survey.then(|| topology.targets(evidence, "of")).into_iter().flatten();
    all.filter_map(bar).max_by(f64::total_cmp)
}

/// With two digits after the point, or a dash where nobody has answered.
pub fn shown(score: Option<f64>) -> String {
    score.map_or_else(|| "-".to_owned(), |s| format!("{s:.2}"))
}

/// A mark from 1 to 5, also in Arabic-Indic and Persian digits. Nothing else is one.
pub fn mark(word: &str) -> Option<f64> {
    western(word).parse::<f64>().ok().filter(|m| (1.0..=BEST).contains(m))
}

fn western(word: &str) -> String {
    let digit = |c: char| match c {
        '\u{660}'..='\u{669}' => char::from_digit(c as u32 - 0x660, 10).unwrap_or(c),
        '\u{6f0}'..='\u{6f9}' => char::from_digit(c as u32 - 0x6f0, 10).unwrap_or(c),
        ',' | '\u{66b}' => '.',
        other => other,
    };
    word.chars().map(digit).collect()
}

fn words(language: &str) -> [&'static str; 4] {
    match language.split(['-', '_']).next().unwrap_or_default() {
        "de" => [
            "Umfrage zu Ihrem Postfach",
            "bitte antworten Sie auf diese Nachricht.",
            "Schreiben Sie hinter jede Nummer eine Zahl von 1 (nein, gar nicht) bis 5 (ja, ganz).",
            "Vielen Dank.",
        ],
        "fa" => [
            "نظرسنجی درباره صندوق پستی شما",
            "لطفاً به این پیام پاسخ دهید.",
            "پس از هر شماره عددی از ۱ (خیر، هرگز) تا ۵ (بله، کاملاً) بنویسید.",
            "سپاسگزاریم.",
        ],
        _ => [
            "A few questions about your mailbox",
            "Please answer by a reply to this message.",
            "Write a number from 1 (no, not at all) to 5 (yes, fully) behind each colon.",
            "Thank you.",
        ],
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn survey() -> Survey {
        Survey {
            name: "voices".into(),
            questions: vec!["Was it quick?".into(), "Is all of it there?".into()],
            asked: ["ann@acme.example", "bo@acme.example", "cy@acme.example", "di@acme.example"]
                .map(|a| (a.to_owned(), "first".to_owned()))
                .into(),
            responses: Percent::parse("50%"),
            score: Some(3.5),
        }
    }

    #[test]
    fn a_reply_is_read_however_it_quotes() {
        let s = survey();
        assert_eq!(s.read("1: 5\n2: 4\n"), Some(vec![Some(5.0), Some(4.0)]));
        assert_eq!(s.read("Hi,\n> Was it quick?\n> 1: 2\n>> 2: 3 mostly\n"), Some(vec![Some(2.0), Some(3.0)]));
        assert_eq!(s.read("۱: ۴\n2. 4,5\n"), Some(vec![Some(4.0), Some(4.5)]), "in Persian digits too");
        assert_eq!(s.read("1: 6\n2: \n3: 4\nI am away until 1.5.\n"), None);
        let (_, empty) = s.letter("Acme", "de");
        assert_eq!(s.read(&empty), None, "a form that nobody filled in is no answer");
    }

    #[test]
    fn the_share_and_the_mean_decide() {
        let s = survey();
        let mut given = BTreeMap::from([("ann@acme.example".to_owned(), vec![Some(5.0), Some(4.0)])]);
        let tally = s.tally(&given);
        assert_eq!((tally.answered, tally.percent.to_string().as_str(), tally.score), (1, "25%", Some(4.5)));
        assert_eq!(s.lacks(&tally), ["25% have answered, 50% are wanted"]);
        given.insert("bo@acme.example".into(), vec![Some(1.0), None]);
        given.insert("eve@other.example".into(), vec![Some(5.0), Some(5.0)]);
        let tally = s.tally(&given);
        assert_eq!(tally.each, [Some(3.0), Some(4.0)], "whoever was not asked does not count");
        assert_eq!(s.lacks(&tally), ["the score is 3.33, 3.5 is wanted"]);
    }

    proptest! {
        /// What people fill into the form is what is read, in every language.
        #[test]
        fn a_filled_form_is_read_back(marks in proptest::collection::vec(proptest::option::of(1u8..=5), 2), language in "de|fa|en") {
            let s = survey();
            let (_, form) = s.letter("Acme", &language);
            let mut filled = form;
            for (n, mark) in (1..).zip(&marks) {
                if let Some(mark) = mark {
                    filled = filled.replace(&format!("\n{n}: \n"), &format!("\n{n}: {mark}\n"));
                }
            }
            let wanted: Answers = marks.iter().map(|m| m.map(f64::from)).collect();
            prop_assert_eq!(s.read(&filled), wanted.iter().any(Option::is_some).then_some(wanted));
        }
    }
}
