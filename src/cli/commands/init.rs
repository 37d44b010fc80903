use std::io::Write as _;

use super::super::context::Context;
use super::super::exit::Exit;
use super::super::failure::Failure;
use super::Answer;

/// Write a commented starter topology
///
/// Writes topology.kdl (a mail server, its DNS server and a lab environment) and a .gitignore that keeps state and keys out of
/// git. Never overwrites a file.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  cutover init                               in this folder
  cutover init --root mail --domain acme.example
  cutover check                              then: the topology has no mistakes")]
pub struct Args {
    /// The primary mail domain
    #[arg(long, value_name = "DOMAIN", default_value = "acme.example")]
    domain: String,
    /// Name of the organisation [default: the first label of the domain]
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
}

const TOPOLOGY: &str = include_str!("init.kdl");

const GITIGNORE: &str = "\
# State, journal and the key that masks secrets: of this machine, not of the project.
.cutover/
# Private keys and passwords.
keys/
# Saved plans.
*.cut
";

pub fn run(args: &Args, context: &Context) -> Answer {
    let domain = args.domain.to_ascii_lowercase();
    let well_formed = |d: &str| {
        let label = |l: &str| {
            let edge = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric());
            l.len() <= 63
                && edge(l.chars().next())
                && edge(l.chars().last())
                && l.chars().all(|c| c.is_ascii_alphanumeric() || c == '-')
        };
        d.len() <= 253 && d.contains('.') && d.split('.').all(label)
    };
    if !well_formed(&domain) {
        return Err(Failure::new(format!("`{}` is not a domain name", args.domain))
            .help("write a name such as acme.example; an international name in its xn-- form"));
    }
    let first = domain.split('.').next().unwrap_or("acme").to_owned();
    let name = args.name.clone().unwrap_or(first);
    if name.is_empty() || !name.chars().all(|c| c.is_alphanumeric() || c == '-' || c == '_') {
        return Err(Failure::new(format!("`{name}` cannot name an organisation")).help("use letters, digits, - and _"));
    }
    let file = context.file();
    let root = context.root();
    std::fs::create_dir_all(&root)
        .map_err(|e| Failure::new(format!("cannot make the folder {}: {e}", root.display())))?;
    let text = TOPOLOGY.replace("acme.example", &domain).replace("organization acme", &format!("organization {name}"));
    write_new(&file, &text).map_err(|e| {
        let failure = Failure::new(format!("{} was not written: {e}", file.display()));
        match e.kind() {
            std::io::ErrorKind::AlreadyExists => failure.help("init never overwrites; give another folder with --root"),
            _ => failure,
        }
    })?;
    let ignore = root.join(".gitignore");
    let ignored = match write_new(&ignore, GITIGNORE) {
        Ok(()) => format!("\nwrote {}", ignore.display()),
        Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => {
            format!("\nkept {} (let it name .cutover/ and keys/)", ignore.display())
        }
        Err(e) => return Err(Failure::new(format!("{} was not written: {e}", ignore.display()))),
    };
    context.out.result(format!(
        "wrote {}{ignored}\n\nNext:\n  cutover check\n  ssh-keygen -t ed25519 -N '' -f {}   # the key that reaches the hosts\n  cutover lab up --env lab && cutover plan --env lab",
        file.display(),
        root.join("keys/admin").display(),
    ));
    Ok(Exit::Ok)
}

/// Fails with `AlreadyExists` where a file stands, also one that another program just made.
fn write_new(path: &std::path::Path, text: &str) -> std::io::Result<()> {
    let mut file = std::fs::OpenOptions::new().write(true).create_new(true).open(path)?;
    file.write_all(text.as_bytes())
}
