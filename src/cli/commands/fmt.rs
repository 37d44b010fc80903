use std::path::{Path, PathBuf};

use super::super::context::Context;
use super::super::exit::Exit;
use super::super::failure::Failure;
use super::Answer;
use crate::language;
use crate::model::diagnostic::Diagnostics;
use crate::model::source::Sources;
use crate::reporting::diagnostics;

/// Bring KDL files into the one layout
///
/// Comments, order and single blank lines stay; formatting twice changes nothing more. Without arguments: every .kdl file beside
/// the root file and below it, hidden folders left out.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  cutover fmt                          all files of this topology
  cutover fmt --check                  change nothing; show what would change and end with 2
  cutover fmt - < topology.kdl         from standard input to standard output, for editors
  cutover fmt topology.kdl hosts.kdl   these files")]
pub struct Args {
    /// Files to format; `-` is standard input, printed formatted
    files: Vec<PathBuf>,
    /// Change nothing; show what would change and end with 2 when a file is not formatted
    #[arg(long)]
    check: bool,
}

pub fn run(args: &Args, context: &Context) -> Answer {
    let files = if args.files.is_empty() { found(context)? } else { args.files.clone() };
    let mut sources = Sources::default();
    let mut mistakes = Diagnostics::default();
    let mut unformatted = 0;
    for path in &files {
        let shown = path.display();
        if path == Path::new("-") {
            standard_input(args, context, &mut sources, &mut mistakes, &mut unformatted)?;
            continue;
        }
        let text = std::fs::read_to_string(path).map_err(|e| Failure::new(format!("{shown} cannot be read: {e}")))?;
        let id = sources.add(shown.to_string(), text.as_str());
        match language::format(&sources, id) {
            Ok(formatted) if formatted == text => {}
            Ok(formatted) => {
                unformatted += 1;
                if !args.check {
                    replace(path, &formatted)?;
                }
                context.out.result(if args.check {
                    difference(&shown.to_string(), &text, &formatted)
                } else {
                    format!("formatted {shown}")
                });
            }
            Err(errors) => errors.into_iter().for_each(|e| mistakes.push(e)),
        }
    }
    if mistakes.has_errors() {
        let mistakes = language::guard(&mut sources, mistakes);
        let style = diagnostics::Style { color: context.out.err_color(), ..diagnostics::Style::default() };
        context.out.note(diagnostics::text(&sources, &mistakes, style));
        return Err(Failure::shown());
    }
    Ok(if args.check && unformatted > 0 { Exit::Changes } else { Exit::Ok })
}

fn standard_input(
    args: &Args,
    context: &Context,
    sources: &mut Sources,
    mistakes: &mut Diagnostics,
    unformatted: &mut usize,
) -> Result<(), Failure> {
    let text = std::io::read_to_string(std::io::stdin().lock())
        .map_err(|e| Failure::new(format!("standard input cannot be read: {e}")))?;
    let id = sources.add("(standard input)", text.as_str());
    match language::format(sources, id) {
        Ok(formatted) if args.check => {
            if formatted != text {
                *unformatted += 1;
                context.out.result(difference("(standard input)", &text, &formatted));
            }
        }
        // As it is: an editor puts it in the place of its text.
        Ok(formatted) => context.out.raw(formatted.as_bytes()),
        Err(errors) => errors.into_iter().for_each(|e| mistakes.push(e)),
    }
    Ok(())
}

/// What formatting would change, as `diff -u` shows it.
fn difference(name: &str, text: &str, formatted: &str) -> String {
    let diff = similar::TextDiff::from_lines(text, formatted);
    let diff = diff.unified_diff().context_radius(2).header(name, "formatted").to_string();
    format!("{name} is not formatted\n{diff}")
}

/// Written aside and renamed, with the former mode: a file is never half written.
fn replace(path: &Path, text: &str) -> Result<(), Failure> {
    let fail = |e: std::io::Error| Failure::new(format!("{} was not written: {e}", path.display()));
    // Through a symbolic link to the file itself.
    let real = path.canonicalize().map_err(fail)?;
    let mode = std::fs::metadata(&real).map_err(fail)?.permissions();
    let dir = real.parent().unwrap_or(Path::new("."));
    let mut aside = tempfile::NamedTempFile::new_in(dir).map_err(fail)?;
    std::io::Write::write_all(&mut aside, text.as_bytes()).map_err(fail)?;
    aside.as_file().set_permissions(mode).map_err(fail)?;
    aside.persist(&real).map_err(|e| fail(e.error))?;
    Ok(())
}

fn found(context: &Context) -> Result<Vec<PathBuf>, Failure> {
    if context.globals.file.is_some() {
        return Ok(vec![context.file()]);
    }
    let mut files = Vec::new();
    walk(&context.root(), &mut files)
        .map_err(|e| Failure::new(format!("{} cannot be read: {e}", context.root().display())))?;
    files.sort();
    if files.is_empty() {
        return Err(Failure::new(format!("there is no .kdl file in {}", context.root().display()))
            .help("name files, or another folder with --root"));
    }
    Ok(files)
}

fn walk(dir: &Path, files: &mut Vec<PathBuf>) -> std::io::Result<()> {
    for entry in std::fs::read_dir(dir)? {
        let entry = entry?;
        let name = entry.file_name();
        let hidden = name.to_string_lossy().starts_with('.');
        let path = if dir == Path::new(".") { PathBuf::from(&name) } else { entry.path() };
        if entry.file_type()?.is_dir() {
            if !hidden && name != "target" {
                walk(&path, files)?;
            }
        } else if !hidden && path.extension().is_some_and(|e| e == "kdl") {
            files.push(path);
        }
    }
    Ok(())
}
