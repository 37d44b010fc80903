//! A script that goes over as it stands, but for the names of folders.

use crate::protocol::sieve::{Argument, Command, parse, quoted, requires};

/// Puts other names where `fileinto` has some; whatever else stands there stays, to the octet. Gives the new text and the old names.
pub fn refolder(text: &str, name: impl Fn(&str) -> String) -> Result<(String, Vec<String>), String> {
    let parsed = parse(text).map_err(|e| e.to_string())?;
    let mut out = String::with_capacity(text.len());
    let (mut at, mut changed) = (0, Vec::new());
    for (span, folder) in parsed.folders {
        let new = name(&folder);
        if new != folder && !folder.contains("${") {
            out.push_str(&text[at..span.start]);
            out.push_str(&quoted(&new));
            at = span.end;
            changed.push(format!("folder {folder} is {new} here"));
        }
    }
    out.push_str(&text[at..]);
    Ok((out, changed))
}

/// What a script requires and the other server does not know.
pub fn missing(text: &str, known: &[String]) -> Result<Vec<String>, String> {
    let parsed = parse(text).map_err(|e| e.to_string())?;
    let of_core = |r: &str| r.starts_with("comparator-i;octet") || r.starts_with("comparator-i;ascii-casemap");
    let needs = requires(&parsed.commands).into_iter().map(str::to_ascii_lowercase);
    Ok(needs.filter(|r| !of_core(r) && !known.contains(r)).collect())
}

/// Where a script sends mail on to, wherever in it.
pub fn redirects(text: &str) -> Vec<String> {
    fn walk(commands: &[Command], found: &mut Vec<String>) {
        for command in commands {
            if command.name == "redirect" {
                found.extend(command.arguments.iter().filter_map(Argument::texts).flatten().cloned());
            }
            walk(command.block.as_deref().unwrap_or_default(), found);
        }
    }
    let mut found = Vec::new();
    walk(&parse(text).map(|p| p.commands).unwrap_or_default(), &mut found);
    found
}
