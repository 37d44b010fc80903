use super::super::schema::KindDef;
use super::*;
use crate::model::counter::COUNTERS;

const WIDTH: usize = 100;

pub fn all() -> String {
    let mut out = String::new();
    let wide = schema().kinds.iter().map(|k| k.name.len()).max().unwrap_or(0);
    for (area, kinds) in areas() {
        out += &format!("{}\n", title(area));
        for k in kinds {
            out += &wrapped(&format!("  {:wide$}  ", k.name), &k.doc);
        }
        out.push('\n');
    }
    out + "cutover docs KIND shows the fields of a kind and an example.\n"
}

pub fn kind(k: &KindDef) -> String {
    let mut out = format!("{}\n\n", k.doc);
    out += &format!("{}, {}\n", head(k), stands(k).replace('`', ""));
    for n in notes(k) {
        out += &wrapped("", &n.replace('`', ""));
    }
    if !k.fields.is_empty() {
        out += "\nFields:\n";
    }
    let wide = k.fields.iter().map(|f| f.name.len()).max().unwrap_or(0);
    for f in &k.fields {
        let mut words = takes(f);
        let default = default(f);
        if f.required {
            words += "; required";
        } else if !default.is_empty() {
            words += &format!("; otherwise {default}");
        }
        let meaning = meaning(k, f);
        if !meaning.is_empty() {
            words += &format!(". {meaning}");
        }
        out += &wrapped(&format!("  {:wide$}  ", f.name), &words.replace('`', ""));
    }
    if k.fields.iter().any(|f| f.ty == Type::Counter) {
        out += "\nCounters:\n";
        let wide = COUNTERS.iter().map(|c| c.name.len()).max().unwrap_or(0);
        for c in COUNTERS {
            out += &wrapped(&format!("  {:wide$}  ", c.name), &format!("{}, in {}", c.about, c.unit));
        }
    }
    if !k.children.is_empty() {
        out += &format!("\nChildren: {}\n", k.children.join(", "));
    }
    if let Some(example) = example::of(k) {
        out += "\nExample:\n";
        for line in example.lines() {
            out += &format!("  {line}\n");
        }
    }
    out
}

/// Text behind a lead, further lines below where it began.
fn wrapped(lead: &str, text: &str) -> String {
    let indent = lead.chars().count();
    let mut out = lead.to_owned();
    let mut at = indent;
    for word in text.split(' ') {
        let len = word.chars().count();
        if at > indent && at + len + 1 > WIDTH {
            out += &format!("\n{}", " ".repeat(indent));
            at = indent;
        } else if at > indent {
            out.push(' ');
            at += 1;
        }
        out += word;
        at += len;
    }
    out.trim_end().to_owned() + "\n"
}
