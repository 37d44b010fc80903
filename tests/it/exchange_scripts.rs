//! The PowerShell scripts: that they are PowerShell, that they call nothing but what is listed here, and that PowerShell 2 has all of
//! it. They have not run on Windows; where `pwsh` is at hand its parser reads them too.

#![allow(clippy::unwrap_used, clippy::print_stderr)]

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use cutover::exchange::script::{self, NoAnswer, Script, answer, encoded_command};
use serde_json::json;
use tree_sitter::{Node, Parser, Tree};

fn parse(text: &str) -> Tree {
    let mut parser = Parser::new();
    parser.set_language(&tree_sitter_powershell::LANGUAGE.into()).unwrap();
    parser.parse(text, None).unwrap()
}

fn each<'t>(node: Node<'t>, visit: &mut impl FnMut(Node<'t>)) {
    visit(node);
    for i in 0..node.child_count() {
        each(node.child(i).unwrap(), visit);
    }
}

/// Names of all commands that a script calls, with how often; `& $command` as it is written.
fn commands(text: &str) -> BTreeMap<String, usize> {
    let tree = parse(text);
    let mut found = BTreeMap::new();
    each(tree.root_node(), &mut |node| {
        if node.kind() == "command" {
            let words = text[node.byte_range()].split_whitespace();
            let name =
                words.take(if text[node.byte_range()].starts_with(['&', '.']) { 2 } else { 1 }).collect::<Vec<_>>();
            *found.entry(name.join(" ")).or_default() += 1;
        }
    });
    found
}

#[test]
fn scripts_are_powershell() {
    for text in [Script::Observe.text(), Script::Act.text(), script::loader().to_owned()] {
        let mut wrong = Vec::new();
        each(parse(&text).root_node(), &mut |node| {
            if node.is_error() || node.is_missing() {
                wrong.push(format!("{}: {}", node.start_position(), &text[node.byte_range()]));
            }
        });
        assert!(wrong.is_empty(), "{wrong:#?}");
        assert!(text.is_ascii());
    }
    // The reader sees what is broken.
    assert!(parse("function A { 'x").root_node().has_error());
    assert!(parse("$a = @{ b = ").root_node().has_error());
}

#[test]
fn scripts_call_what_is_listed_and_nothing_else() {
    let own = |text: &str| -> BTreeSet<String> {
        let names = text.lines().filter_map(|l| l.strip_prefix("function "));
        names.map(|l| l.chars().take_while(|c| c.is_alphanumeric() || *c == '-').collect()).collect()
    };
    let of_the_shell = [
        "Add-Type",
        "New-Object",
        "Get-Command",
        "ForEach-Object",
        "Get-PSSession",
        "Remove-PSSession",
        "Connect-ExchangeServer",
        ". $start",
        ". Open-Shell",
        "& $command",
    ];
    for script in Script::ALL {
        let text = script.text();
        let mut allowed: BTreeSet<String> = own(&text);
        allowed.extend(of_the_shell.map(str::to_owned));
        if script == Script::Act {
            allowed.insert("ConvertTo-SecureString".to_owned());
        }
        let called = commands(&text);
        let strange: Vec<&String> = called.keys().filter(|c| !allowed.contains(*c)).collect();
        assert!(strange.is_empty(), "{script:?}: {strange:?}");
        assert_eq!((called["& $command"], called[". $start"]), (1, 1), "{script:?}");
    }
    assert_eq!(commands(script::loader()).len(), 1);
    // A call hidden in a text or behind another is seen.
    assert!(commands("'a'; Remove-Y 'b'").contains_key("Remove-Y"));
    assert!(commands("if ($x) { @(iex $y) }").contains_key("iex"));
}

/// PowerShell 2 knows neither these cmdlets nor these forms.
#[test]
fn scripts_are_old_enough() {
    let newer = [
        "ConvertTo-Json",
        "ConvertFrom-Json",
        "[pscustomobject]",
        "[ordered]",
        " -in ",
        " -notin ",
        ".ForEach(",
        ".Where(",
        "::new(",
        "-shl",
        "??",
        "Invoke-Expression",
    ];
    for script in Script::ALL {
        let text = script.text().to_lowercase();
        for word in newer {
            assert!(!text.contains(&word.to_lowercase()), "{script:?} has {word}");
        }
    }
}

#[test]
fn what_is_told_is_never_code() {
    let told = json!({"calls": [{"cmdlet": "Set-X", "parameters": {"Name": "'; Remove-Y '\u{2018}\u{2019}\u{201a}\u{201b}\" $(evil) `n"}}]});
    let input = Script::Act.input(&told);
    let lines: Vec<&str> = input.lines().collect();
    assert_eq!(lines.len(), 2);
    for line in &lines {
        assert!(line.bytes().all(|b| b.is_ascii_alphanumeric() || b"+/=".contains(&b)));
    }
    assert_eq!(STANDARD.decode(lines[0]).unwrap(), Script::Act.text().into_bytes());
    let back: serde_json::Value = serde_json::from_slice(&STANDARD.decode(lines[1]).unwrap()).unwrap();
    assert_eq!(back, told);
    let line = script::command().join(" ");
    assert!(line.len() < 8_191 && line.is_ascii() && !line.contains(['"', '\'', '&', '|', '%']), "{line}");
    // As Microsoft's page on the parameter shows it.
    assert_eq!(encoded_command("dir"), "ZABpAHIA");
}

#[test]
fn an_answer_stands_between_the_marks() {
    let (begin, end) = ("-----BEGIN CUTOVER ANSWER-----", "-----END CUTOVER ANSWER-----");
    assert!(Script::Observe.text().contains(begin) && Script::Observe.text().contains(end));
    let whole = format!("VERBOSE: Connecting to ex1\r\n{begin}\r\n{{\"answers\":[]}}\r\n{end}\r\n");
    assert_eq!(answer(&whole), Ok(json!({"answers": []})));
    assert_eq!(answer("nothing"), Err(NoAnswer::Missing));
    assert_eq!(answer(&whole[..whole.len() - 20]), Err(NoAnswer::Torn));
    assert_eq!(answer(&format!("{whole}{whole}")), Err(NoAnswer::Torn));
    assert!(matches!(answer(&whole.replace("[]", "[")), Err(NoAnswer::NotJson(_))));
}

#[test]
fn powershell_itself_reads_them_where_it_is() {
    if Command::new("pwsh").arg("-Version").output().is_err() {
        eprintln!("SKIPPED powershell_itself_reads_them_where_it_is: no pwsh here");
        return;
    }
    for script in Script::ALL {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), script.text()).unwrap();
        let ask = format!(
            "$e = $null; [void][Management.Automation.Language.Parser]::ParseFile('{}', [ref]$null, [ref]$e); $e.Count",
            file.path().display()
        );
        let out = Command::new("pwsh").args(["-NoProfile", "-Command", &ask]).output().unwrap();
        assert_eq!(String::from_utf8_lossy(&out.stdout).trim(), "0", "{script:?}");
    }
}
