//! Steps as shell text. Values go in quotes into variables; contents as base64 in a variable or, when large, by a reference
//! to a blob that was uploaded before.

use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::model::attr::{Attr, Attrs};
use crate::model::resource::NotifyHow;
use crate::model::step::{Action, Step};
use crate::model::{Digest, Kind};
use crate::transport::quote::sh;

use super::agent::{Batch, RemoteStep};
use super::inputs::Inputs;
use super::ledger;
use super::script::{Assembly, Part};

/// Above this a content is uploaded by itself: shells copy their variables around.
pub const INLINE: usize = 64 << 10;

const ATTRIBUTES: [&str; 22] = [
    "owner",
    "group",
    "mode",
    "validate",
    "version",
    "hold",
    "recommends",
    "gid",
    "uid",
    "system",
    "home",
    "shell",
    "comment",
    "groups",
    "line",
    "value",
    "enabled",
    "running",
    "run",
    "timeout",
    "undo",
    "reload",
];

fn plain(attr: &Attr) -> Option<String> {
    match attr {
        Attr::Text(s) => Some(s.clone()),
        Attr::Int(i) => Some(i.to_string()),
        Attr::Bool(b) => Some(b.to_string()),
        Attr::List(l) => Some(l.join(",")),
        Attr::Content(_) | Attr::Digest(_) => None,
    }
}

fn variable(out: &mut String, name: &str, value: &str) {
    let _ = writeln!(out, "  {name}={}", sh(value));
}

fn attributes(out: &mut String, attrs: &Attrs) {
    for name in ATTRIBUTES.iter().chain(&["quota"]) {
        if let Some(value) = attrs.get(name).and_then(plain) {
            variable(out, &format!("a_{name}"), &value);
        }
    }
}

/// What a step that puts this one back must know.
fn meta(step: &Step, inputs: &Inputs, own: &str) -> String {
    let mut out = String::new();
    let _ = writeln!(out, "s_kind={} s_key={} s_own={own}", step.address.kind, sh(&step.address.key));
    for (name, value) in inputs.variables() {
        let _ = writeln!(out, "{name}={}", sh(&value));
    }
    for name in ["undo", "reload", "timeout"] {
        if let Some(value) = step.attrs.get(name).and_then(plain) {
            let _ = writeln!(out, "a_{name}={}", sh(&value));
        }
    }
    out
}

/// The function that sets a step's variables. `content` is `None` for steps that are only watched.
fn function(out: &mut String, step: &Step, after: &[u32], content: Option<&[u8]>) -> Result<(), String> {
    let kind = step.address.kind;
    let inputs = Inputs::of(kind, &step.address.key, &step.attrs);
    // The host knows the inputs of what it puts back.
    if step.action != Action::Restore {
        inputs.check()?;
    }
    if [step.expect.as_deref().unwrap_or_default(), &step.address.key].iter().any(|t| t.contains(['\0', '\n'])) {
        return Err(format!("{}: a line break where none can be", step.address));
    }
    let own = ledger::id(kind.as_str(), &step.address.key);
    let _ = writeln!(out, "vars_{}() {{", step.id);
    let _ = writeln!(out, "  s_id={} s_action={} s_kind={kind} s_own={own}", step.id, step.action.as_str());
    variable(out, "s_key", &step.address.key);
    if let Some(expect) = &step.expect {
        variable(out, "s_cas", "1");
        variable(out, "s_expect", expect);
    }
    if !after.is_empty() {
        variable(out, "s_after", &after.iter().map(u32::to_string).collect::<Vec<_>>().join(" "));
    }
    if let Some(former) = step.former_key() {
        variable(out, "s_was", &ledger::id(kind.as_str(), former));
        if step.changes.len() == 1 {
            variable(out, "s_renames", "1");
        }
    }
    if step.risky {
        variable(out, "s_risky", "1");
    }
    if !step.notifies.is_empty() {
        let mut lines = Vec::new();
        for n in &step.notifies {
            if n.service.is_empty()
                || n.service.contains(|c: char| c.is_whitespace() || c == '/')
                || n.service.starts_with('.')
            {
                return Err(format!("{}: `{}` is no service", step.address, n.service));
            }
            let how = if n.how == NotifyHow::Restart { "restart" } else { "reload" };
            lines.push(format!("{how} {}", n.service));
        }
        variable(out, "s_notify", &lines.join("\n"));
    }
    if let Some((apply, of)) = &step.restores {
        check_name("apply", apply)?;
        variable(out, "s_from", &format!("{apply}/{of}"));
    }
    let starts = step.changes.iter().any(|c| c.field == "running" && c.after.as_deref() == Some("true"));
    if kind == Kind::Service && (starts || step.action == Action::Create) {
        variable(out, "s_starts", "1");
    }
    variable(out, "s_meta", &meta(step, &inputs, &own));
    if matches!(step.action, Action::Create | Action::Update | Action::Replace | Action::Run) {
        variable(out, "s_ledger", &ledger::entry(step));
    }
    for (name, value) in inputs.variables() {
        variable(out, name, &value);
    }
    attributes(out, &step.attrs);
    if let Some(content) = content {
        let sum = Digest::of(content);
        variable(out, "c_set", "1");
        variable(out, "c_sum", &sum.0);
        if content.len() > INLINE {
            variable(out, "c_blob", &sum.0);
        } else {
            out.push_str("  c_b64='");
            STANDARD.encode_string(content, out);
            out.push_str("'\n");
        }
    }
    out.push_str("}\n");
    Ok(())
}

/// Names that become parts of paths on the host.
pub fn check_name(what: &str, name: &str) -> Result<(), String> {
    let good = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    if name.is_empty() || name.len() > 100 || name.starts_with(['.', '-']) || !name.chars().all(good) {
        return Err(format!(
            "`{}` cannot be the name of an {what}: letters, digits, dots and dashes",
            name.escape_debug()
        ));
    }
    Ok(())
}

/// Steps that go in one execution of apt-get: adjacent, to be installed, not waiting for one another.
fn installs_along(first: &Step, step: &RemoteStep, group: &[u32]) -> bool {
    let s = &step.step;
    s.address.kind == Kind::Package
        && matches!(s.action, Action::Create | Action::Update)
        && s.attrs.get("recommends") == first.attrs.get("recommends")
        && !step.after_in_batch.iter().any(|a| group.contains(a))
        && !s.risky
}

/// The part of a batch's script that differs from batch to batch.
pub fn batch(script: &mut Assembly, batch: &Batch) -> Result<(), String> {
    let mut all = Vec::new();
    for remote in &batch.steps {
        let mut text = String::with_capacity(4096 + remote.content.as_ref().map_or(0, |c| c.len() * 2));
        function(&mut text, &remote.step, &remote.after_in_batch, remote.content.as_ref().map(|c| c.as_slice()))?;
        script.line(&text);
        zeroize::Zeroize::zeroize(&mut text);
        all.push(remote.step.id.to_string());
    }
    for step in &batch.later {
        let mut text = String::new();
        function(&mut text, step, &[], None)?;
        script.line(&text);
        all.push(step.id.to_string());
    }
    script.set("ALL_STEPS", &all.join(" "));
    Ok(())
}

/// The calls of a batch, in order.
pub fn calls(batch: &Batch) -> String {
    let mut out = String::new();
    // What a removal may take along: packages whose own removal stands in this batch.
    let gone: Vec<&str> = batch
        .steps
        .iter()
        .filter(|r| r.step.address.kind == Kind::Package && matches!(r.step.action, Action::Delete | Action::Restore))
        .map(|r| r.step.address.key.as_str())
        .collect();
    let _ = writeln!(out, "PKG_GONE={}", sh(&gone.join(" ")));
    let mut steps = batch.steps.iter().peekable();
    while let Some(first) = steps.next() {
        let mut group = vec![first.step.id];
        if installs_along(&first.step, first, &[]) {
            while let Some(next) = steps.peek().filter(|n| installs_along(&first.step, n, &group)) {
                group.push(next.step.id);
                steps.next();
            }
        }
        match group.as_slice() {
            [one] => {
                let _ = writeln!(out, "step {one}");
            }
            many => {
                let ids: Vec<String> = many.iter().map(u32::to_string).collect();
                let _ = writeln!(out, "packages {}", ids.join(" "));
            }
        }
    }
    out
}

/// The script that the dead man's switch runs on the host alone.
pub fn revert(root: &str, apply: &str, unit: &str) -> String {
    let mut script = Assembly::new(0);
    script.set("M", "cutover:").set("R", root).set("A", apply).set("UNIT", unit);
    script.set("T", "0").set("K", "").set("ARM", "").set("REVERT", "").set("PKG_WAIT", "60");
    script.part(Part::Base).part(Part::Look).part(Part::Change).part(Part::Armed).line("revert");
    script.done().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_leave_their_folder_are_refused() {
        for bad in ["", "..", ".x", "a/b", "a b", "-r", "a\nb"] {
            assert!(check_name("apply", bad).is_err(), "{bad:?}");
        }
        assert!(check_name("apply", "2026-11-22.a1_b").is_ok());
    }
}
