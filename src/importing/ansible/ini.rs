//! The INI form.

use super::inventory::{Inventory, Text, Var};
use super::{CODE, pattern};
use crate::importing::foreign::Foreign;
use crate::model::{SourceId, Span};

enum Section {
    Hosts(String),
    Vars(String),
    Children(String),
    /// Reported; its lines are skipped.
    Unknown,
}

pub fn inventory(f: &mut Foreign, id: SourceId) -> Inventory {
    let text = f.text(id);
    let mut out = Inventory::default();
    let mut section = Section::Hosts("ungrouped".into());
    // A group may be named before its section stands.
    let mut asked: Vec<(String, &str, Span)> = Vec::new();
    let mut offset = 0;
    for raw in text.split_inclusive('\n') {
        let lead = raw.len() - raw.trim_start().len();
        let line = raw.trim();
        let place = Span { source: id, offset: offset + lead, len: line.len() };
        offset += raw.len();
        if line.is_empty() || line.starts_with(['#', ';']) {
            continue;
        }
        if line.starts_with('[')
            && let Some(inside) = header(line)
        {
            let (name, kind) = inside.split_once(':').unwrap_or((inside, ""));
            section = match kind {
                "" | "hosts" => {
                    out.group(name);
                    Section::Hosts(name.to_owned())
                }
                "vars" => {
                    asked.push((name.to_owned(), "variables are given to", place));
                    Section::Vars(name.to_owned())
                }
                "children" => {
                    out.group(name);
                    Section::Children(name.to_owned())
                }
                other => {
                    let help = "there are [GROUP], [GROUP:vars] and [GROUP:children]";
                    f.wrong(CODE, place, format!("no kind of section is called `{other}`"), help);
                    Section::Unknown
                }
            };
            continue;
        }
        match &section {
            Section::Hosts(group) => host(f, &mut out, group, line, place),
            Section::Vars(group) => match line.split_once('=') {
                Some((key, value)) => {
                    let var = Var { text: literal(value.trim()), place };
                    out.group(group).vars.insert(key.trim().to_owned(), var);
                }
                None => f.wrong(CODE, place, "this is no variable", "write NAME=VALUE"),
            },
            Section::Children(group) => {
                let child = line.split(['#', ';']).next().unwrap_or_default().trim();
                asked.push((child.to_owned(), "a child is called", place));
                out.group(group).children.insert(child.to_owned());
            }
            Section::Unknown => {}
        }
    }
    // What `[x:vars]` made by being read does not count as declared.
    let declared = declared(&text);
    for (name, why, place) in asked {
        if !declared.contains(&name) {
            f.wrong(
                CODE,
                place,
                format!("{why} `{name}`, which is no group here"),
                format!("write [{name}] with its hosts"),
            );
        }
    }
    out
}

fn header(line: &str) -> Option<&str> {
    let (inside, after) = line.strip_prefix('[')?.split_once(']')?;
    let after = after.trim();
    (after.is_empty() || after.starts_with(['#', ';'])).then_some(inside.trim())
}

fn declared(text: &str) -> Vec<String> {
    let names = text.lines().map(str::trim).filter(|l| l.starts_with('[')).filter_map(header);
    let names = names.filter(|n| !n.ends_with(":vars")).map(|n| n.split(':').next().unwrap_or_default().to_owned());
    names.chain(["all".into(), "ungrouped".into()]).collect()
}

fn host(f: &mut Foreign, out: &mut Inventory, group: &str, line: &str, place: Span) {
    let line = uncommented(line);
    let Some(words) = shlex::split(line) else {
        return f.wrong(CODE, place, "a quote is opened and not closed", "close it on this line");
    };
    let Some((first, vars)) = words.split_first() else { return };
    let (names, port) = pattern::port(first);
    let names = match pattern::expand(names) {
        Ok(names) => names,
        Err(why) => return f.wrong(CODE, place, why, "ranges are [01:62], [a:f] and [1:9:2]"),
    };
    let mut found: Vec<(String, Var)> = Vec::new();
    if let Some(port) = port {
        found.push(("ansible_port".into(), Var { text: Text::plain(port), place }));
    }
    for v in vars {
        match v.split_once('=') {
            Some((key, value)) => found.push((key.to_owned(), Var { text: literal(value), place })),
            None => f.wrong(CODE, place, format!("`{v}` is no variable"), "write NAME=VALUE, one host a line"),
        }
    }
    for name in names {
        out.group(group).hosts.insert(name.clone());
        out.host(&name, place).vars.extend(found.iter().cloned());
    }
}

/// Without the comment behind it: Ansible ends a line of hosts at any `#` outside of quotes, inside of a word too.
fn uncommented(line: &str) -> &str {
    let mut quote = None;
    for (i, c) in line.char_indices() {
        match (quote, c) {
            (Some(q), c) if c == q => quote = None,
            (None, '"' | '\'') => quote = Some(c),
            (None, '#') => return &line[..i],
            _ => {}
        }
    }
    line
}

/// A value as Python would read it: quoted texts and numbers, else the text itself.
fn literal(value: &str) -> Text {
    for quote in ['"', '\''] {
        if let Some(inside) = value.strip_prefix(quote).and_then(|v| v.strip_suffix(quote))
            && !inside.contains(quote)
        {
            return Text::plain(inside);
        }
    }
    if let Some((number, comment)) = value.split_once('#')
        && number.trim().parse::<i64>().is_ok()
        && !comment.is_empty()
    {
        return Text::plain(number.trim());
    }
    if value.starts_with(['[', '{']) && !value.starts_with("{{") && value.ends_with([']', '}']) {
        return Text::Structure;
    }
    Text::plain(value)
}
