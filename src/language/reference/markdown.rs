use super::super::schema::KindDef;
use super::*;
use crate::model::counter::COUNTERS;

pub fn all() -> String {
    let mut out = String::from(
        "# The language\n\nMade from the schema by `cutover docs --format markdown`; a test holds the two together. `cutover docs KIND` shows one \
         kind in a terminal, `cutover docs --format html --out reference.html` makes a page.\n\n\
         A node is `kind NAME field=value { field value; child .. }`. A field with one value may be a property or a line of its own, a field \
         that takes a list is a line. Kinds of the top level may also stand in a `module` and, with a verb, in `environment` and `use`.\n\n\
         Files are read at about 1 MB a second: large inventories come as ranges (`server \"mbx-[0001:2400]\"`), lists of users as CSV.\n\n",
    );
    out += "## Contents\n\n";
    for (area, kinds) in areas() {
        let links: Vec<String> = kinds.iter().map(|k| format!("[{0}](#{0})", k.name)).collect();
        out += &format!("- {}: {}\n", title(area), links.join(", "));
    }
    out += "- [Types](#types), [Counters](#counters)\n\n";
    for (area, kinds) in areas() {
        out += &format!("## {}\n\n", title(area));
        for k in kinds {
            out += &kind(k);
            out.push('\n');
        }
    }
    out += "## Types\n\n| type | what it is | written |\n|---|---|---|\n";
    for (name, what, written) in WRITTEN {
        out += &format!("| {name} | {what} | {} |\n", cell(written));
    }
    out += "\nA selector is a name, a range, a glob `\"*-mbx-*\"`, `\"role:hub\"`, `\"label:x\"`, `kind:name` or `\"*\"`.\n";
    out += "\n## Counters\n\nWhat a `rule` of a `monitor` watches. A performance counter may name its instance, \
            `\\Processor(_Total)\\% Processor Time`, a metric its labels; what stands in no row is `custom:NAME`.\n\n\
            | counter | what it counts | in | performance counters of Windows | metrics of Prometheus |\n|---|---|---|---|---|\n";
    let list = |words: &[&str]| words.iter().map(|w| format!("`{w}`")).collect::<Vec<_>>().join(", ");
    for c in COUNTERS {
        out += &format!("| `{}` | {} | {} | {} | {} |\n", c.name, c.about, c.unit, list(c.windows), list(c.metrics));
    }
    out
}

pub fn kind(k: &KindDef) -> String {
    let mut out = format!("### {}\n\n{}.\n\n", k.name, k.doc.trim_end_matches('.'));
    out += &format!("`{}`, {}.", head(k), stands(k));
    for n in notes(k) {
        out += &format!(" {n}");
    }
    out += "\n\n";
    if !k.fields.is_empty() {
        out += "| field | takes | default | meaning |\n|---|---|---|---|\n";
        for f in &k.fields {
            let default = default(f);
            let default = if default.is_empty() || f.required { default } else { format!("`{default}`") };
            out += &format!(
                "| <a id=\"{}.{}\"></a>`{}` | {} | {} | {} |\n",
                k.name,
                f.name,
                f.name,
                cell(&takes(f)),
                cell(&default),
                cell(&meaning(k, f))
            );
        }
        out.push('\n');
    }
    if !k.children.is_empty() {
        let links: Vec<String> = k.children.iter().map(|c| format!("[{c}](#{c})")).collect();
        out += &format!("Children: {}.\n\n", links.join(", "));
    }
    if k.open {
        out += "Holds nodes of the top level.\n\n";
    }
    if let Some(example) = example::of(k) {
        out += &format!("```kdl\n{example}```\n");
    }
    out
}

fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}
