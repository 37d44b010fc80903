//! Lines of an answer: those with the request's marker. Whatever else a login shell prints is not ours.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::model::observed::Lease;
use crate::model::step::{Outcome, StepId};

use super::agent::StepReport;

/// A marker that no foreign output holds by chance.
pub fn marker() -> String {
    let mut bytes = [0u8; 12];
    // Without randomness the marker is weaker, not wrong.
    let _ = getrandom::fill(&mut bytes);
    bytes.iter().fold("cut".to_owned(), |s, b| s + &format!("{b:02x}"))
}

/// `WORD REST` of a line of ours. A banner without a newline may stand before the marker.
pub fn ours<'a>(marker: &str, line: &'a str) -> Option<(&'a str, &'a str)> {
    let at = line.find(marker)?;
    let rest = line[at + marker.len()..].strip_prefix(' ')?;
    Some(rest.split_once(' ').unwrap_or((rest, "")))
}

/// Reads `ended ID …`, `started ID`, `armed`.
pub fn report(word: &str, rest: &str) -> Result<Option<StepReport>, String> {
    let number = |s: &str| s.parse::<StepId>().map_err(|_| format!("`{s}` is no step"));
    Ok(match word {
        "armed" => Some(StepReport::Armed),
        "started" => Some(StepReport::Started(number(rest)?)),
        "ended" => {
            let (id, outcome_text) = rest.split_once(' ').unwrap_or((rest, ""));
            Some(StepReport::Ended(number(id)?, outcome(outcome_text)?))
        }
        _ => None,
    })
}

/// Reads an outcome as the host writes it into its marks.
pub fn outcome(text: &str) -> Result<Outcome, String> {
    let (word, rest) = text.split_once(' ').unwrap_or((text, ""));
    let bad = || format!("`{text}` is no outcome");
    Ok(match word {
        "done" => Outcome::Done { fingerprint: (!rest.is_empty()).then(|| rest.to_owned()) },
        "stale" => Outcome::Stale { found: rest.to_owned() },
        "failed" => {
            let (code, output) = rest.split_once(' ').unwrap_or((rest, ""));
            let output = STANDARD.decode(output.trim()).map_err(|_| bad())?;
            let output = String::from_utf8_lossy(&output).trim_end().to_owned();
            Outcome::Failed { code: code.parse().map_err(|_| bad())?, output }
        }
        "skipped" => Outcome::Skipped { because: rest.parse().map_err(|_| bad())? },
        "fenced" => Outcome::Fenced { token: rest.parse().map_err(|_| bad())? },
        "reverted" => Outcome::Reverted,
        "unknown" => Outcome::Unknown { why: "begun on the host, and no end was marked".into() },
        _ => return Err(bad()),
    })
}

/// The text that [`outcome`] reads.
pub fn written(outcome: &Outcome) -> String {
    let line = |text: &str| text.replace(['\n', '\r', '\t'], " ");
    match outcome {
        Outcome::Done { fingerprint: None } => "done".to_owned(),
        Outcome::Done { fingerprint: Some(f) } => format!("done {}", line(f)),
        Outcome::Stale { found } => format!("stale {}", line(found)),
        Outcome::Failed { code, output } => format!("failed {code} {}", STANDARD.encode(output)),
        Outcome::Skipped { because } => format!("skipped {because}"),
        Outcome::Fenced { token } => format!("fenced {token}"),
        Outcome::Reverted => "reverted".to_owned(),
        Outcome::Unknown { .. } => "unknown".to_owned(),
    }
}

/// Reads `outcome ID …` into `out`.
pub fn collect(rest: &str, out: &mut BTreeMap<StepId, Outcome>) -> Result<(), String> {
    let (id, text) = rest.split_once(' ').unwrap_or((rest, ""));
    let id = id.parse().map_err(|_| format!("`{id}` is no step"))?;
    out.insert(id, outcome(text)?);
    Ok(())
}

/// Reads `TOKEN <tab> HOLDER <tab> APPLY <tab> SINCE <tab> AGE`.
pub fn lease(text: &str) -> Result<Lease, String> {
    let f: Vec<&str> = text.split('\t').collect();
    let &[token, holder, apply, since, age] = f.as_slice() else {
        return Err(format!("`{text}` is no lease"));
    };
    let bad = |_| format!("`{text}` is no lease");
    Ok(Lease {
        token: token.parse().map_err(bad)?,
        holder: holder.to_owned(),
        apply: apply.to_owned(),
        since: since.parse().map_err(bad)?,
        age: age.parse().map_err(bad)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_lines_with_the_marker_are_ours() {
        assert_eq!(ours("m1", "Welcome to mail-1"), None);
        assert_eq!(ours("m1", "m1 started 3"), Some(("started", "3")));
        assert_eq!(ours("m1", "Last login: neverm1 begin"), Some(("begin", "")));
        assert_ne!(marker(), marker());
    }

    #[test]
    fn outcomes_are_read_back() {
        assert_eq!(outcome("done"), Ok(Outcome::Done { fingerprint: None }));
        assert_eq!(
            outcome("done file 0644 root root ab"),
            Ok(Outcome::Done { fingerprint: Some("file 0644 root root ab".into()) })
        );
        assert_eq!(outcome("failed 3 bm8gc3BhY2UK"), Ok(Outcome::Failed { code: 3, output: "no space".into() }));
        assert_eq!(outcome("fenced 9"), Ok(Outcome::Fenced { token: 9 }));
        assert!(outcome("perhaps").is_err());
        for o in [
            Outcome::Done { fingerprint: Some("record-set 300 10 a. | 20 b.".into()) },
            Outcome::Failed { code: 1, output: "two\nlines".into() },
            Outcome::Stale { found: "absent".into() },
            Outcome::Skipped { because: 7 },
        ] {
            assert_eq!(outcome(&written(&o)), Ok(o));
        }
        assert_eq!(report("ended", "4 skipped 2"), Ok(Some(StepReport::Ended(4, Outcome::Skipped { because: 2 }))));
    }

    #[test]
    fn leases_are_read_back() {
        let lease = lease("4\tann@desk pid 7 boot x\ta1\t100\t5").unwrap();
        assert_eq!((lease.token, lease.age, lease.holder.as_str()), (4, 5, "ann@desk pid 7 boot x"));
        assert!(super::lease("4\tann").is_err());
    }
}
