//! The forms of Prometheus' rule files: <https://prometheus.io/docs/prometheus/latest/configuration/recording_rules/>.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;

pub type Labels = BTreeMap<String, String>;

#[derive(Debug, Serialize)]
pub struct Group {
    pub name: String,
    pub interval: String,
    pub rules: Vec<Rule>,
}

/// A recording rule or an alert.
#[derive(Debug, Default, Serialize)]
pub struct Rule {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub record: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub alert: Option<String>,
    pub expr: String,
    #[serde(rename = "for", skip_serializing_if = "Option::is_none")]
    pub held: Option<String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: Labels,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: Labels,
}

impl Rule {
    pub fn record(name: &str, expr: String, labels: Labels) -> Self {
        Self { record: Some(name.into()), expr, labels, ..Self::default() }
    }

    pub fn alert(name: &str, expr: String, held: Duration, labels: Labels, annotations: Labels) -> Self {
        let held = (!held.is_zero()).then(|| duration(held));
        Self { alert: Some(name.into()), expr, held, labels, annotations, record: None }
    }
}

/// Labels from pairs.
pub fn labels<const N: usize>(pairs: [(&str, &str); N]) -> Labels {
    pairs.iter().filter(|(_, v)| !v.is_empty()).map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
}

/// `{a="b",c="d"}`, in the order of names.
pub fn braces(labels: &Labels) -> String {
    let pairs: Vec<String> = labels.iter().map(|(k, v)| format!("{k}={}", quoted(v))).collect();
    format!("{{{}}}", pairs.join(","))
}

/// A string of PromQL.
pub fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n"))
}

/// A duration of Prometheus, to the second; at least one.
pub fn duration(d: Duration) -> String {
    let all = d.as_secs().max(1);
    for (unit, length) in [("w", 604_800), ("d", 86_400), ("h", 3600), ("m", 60)] {
        if all.is_multiple_of(length) {
            return format!("{}{unit}", all / length);
        }
    }
    format!("{all}s")
}

#[derive(Serialize)]
struct File<'a> {
    groups: &'a [Group],
}

pub fn rules(groups: &[Group]) -> String {
    yaml(&File { groups })
}

/// YAML of data that always can be: maps have text as keys. No text of ours has several lines, so that each line stands for itself.
pub fn yaml(value: &impl Serialize) -> String {
    let text = serde_yaml::to_string(value).unwrap_or_default();
    let mut out = String::with_capacity(text.len());
    for line in text.lines() {
        match line.rsplit_once(": ").or_else(|| line.rsplit_once("- ")) {
            Some((_, word)) if misread(word) => {
                out.push_str(&line[..line.len() - word.len()]);
                out.extend(["'", word, "'"]);
            }
            _ => out.push_str(line),
        }
        out.push('\n');
    }
    out
}

/// Words that YAML 1.1 takes for a truth value or a number of base 60, where YAML 1.2 has text, which the library writes without quotes.
fn misread(word: &str) -> bool {
    const TRUTH: [&str; 8] = ["y", "n", "yes", "no", "on", "off", "true", "false"];
    let folded = word.to_ascii_lowercase();
    let sixty = word.contains(':') && word.chars().all(|c| c.is_ascii_digit() || c == ':' || c == '_' || c == '.');
    // What is a truth value in both is one that was meant: the library quotes text of that form.
    (TRUTH.contains(&folded.as_str()) && word != "true" && word != "false") || sixty
}

/// `HubQueue` of `hub` and `queue`, `MailboxCcrService` of `mailbox` and `ccr-service`.
pub fn camel(parts: &[&str]) -> String {
    let words = parts.iter().flat_map(|p| p.split(|c: char| !c.is_alphanumeric())).filter(|w| !w.is_empty());
    words
        .map(|w| {
            let mut letters = w.chars();
            letters.next().map(|c| c.to_uppercase().chain(letters).collect::<String>()).unwrap_or_default()
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_of_the_largest_unit_that_is_whole() {
        for (seconds, text) in [(0, "1s"), (90, "90s"), (300, "5m"), (3600, "1h"), (86_400, "1d"), (2_592_000, "30d")] {
            assert_eq!(duration(Duration::from_secs(seconds)), text);
        }
        assert_eq!(duration(Duration::from_secs(604_800)), "1w");
    }

    #[test]
    fn words_that_older_readers_take_for_something_else_are_quoted() {
        let text =
            yaml(&labels([("a", "on"), ("b", "No"), ("c", "12:30:45"), ("d", "true"), ("e", "x: on"), ("f", "5m")]));
        assert_eq!(text, "a: 'on'\nb: 'No'\nc: '12:30:45'\nd: 'true'\ne: 'x: on'\nf: 5m\n");
        assert_eq!(yaml(&["on", "off"]), "- 'on'\n- 'off'\n");
    }

    #[test]
    fn names_of_alerts_are_camels() {
        assert_eq!(camel(&["hub", "retry-queue"]), "HubRetryQueue");
        assert_eq!(camel(&["mail_2", "p.q"]), "Mail2PQ");
    }
}
