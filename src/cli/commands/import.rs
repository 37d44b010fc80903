use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;
use std::path::{Path, PathBuf};

use clap::Subcommand;

use super::super::context::Context;
use super::super::exit::Exit;
use super::super::failure::Failure;
use super::Answer;
use crate::importing::{self, Outcome, ServerOptions, UserOptions, ZoneOptions};
use crate::language::schema::schema;
use crate::language::types::Type;
use crate::language::{self};
use crate::model::source::Sources;
use crate::reporting::diagnostics;

/// Turn what others wrote down into KDL
///
/// Reads the whole input, tells every mistake with its line, and prints formatted KDL to check and to include. What has no place
/// in a topology is named in comments. Secrets are never copied. No file is overwritten without --force.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  cutover import ansible hosts.ini --role mailservers=imap,smtp --out hosts.kdl
  cutover import servers servers.csv --platform ex --column name=Computer
  cutover import zone db.acme.example --provider bind --out dns.kdl
  cutover import users staff.ldif --cohort wave-1 --migration move --out wave-1.kdl")]
pub struct Args {
    #[command(subcommand)]
    what: What,
    /// File for the KDL instead of standard output
    #[arg(long, value_name = "FILE", global = true)]
    out: Option<PathBuf>,
    /// Overwrite files
    #[arg(long, global = true)]
    force: bool,
}

#[derive(Debug, Subcommand)]
enum What {
    /// An Ansible inventory, INI or YAML, with group_vars and host_vars beside it
    Ansible {
        /// The inventory
        path: PathBuf,
        /// Roles of the hosts of a group; groups that are called like a role need none
        #[arg(long = "role", value_name = "GROUP=ROLE,..", value_parser = assignment)]
        group_roles: Vec<(String, String)>,
        #[command(flatten)]
        servers: Assumed,
    },
    /// A CSV with a header and one server a line
    Servers {
        /// The CSV
        path: PathBuf,
        /// Header of a field, where it is called otherwise
        #[arg(long = "column", value_name = "FIELD=HEADER", value_parser = assignment)]
        columns: Vec<(String, String)>,
        #[command(flatten)]
        servers: Assumed,
    },
    /// A zone file of BIND, NSD or Knot
    Zone {
        /// The zone file
        path: PathBuf,
        /// Name of the zone, where the file does not say it
        #[arg(long, value_name = "DOMAIN")]
        name: Option<String>,
        /// The dns-provider of the topology that writes it
        #[arg(long, value_name = "NAME")]
        provider: Option<String>,
        /// Whom the zone answers: public, internal or both
        #[arg(long, value_parser = ["public", "internal", "both"])]
        view: Option<String>,
    },
    /// A CSV or an LDIF of users: the rows go to users/COHORT.csv, the cohort to the KDL
    Users {
        /// The list; LDIF when its name ends in .ldif
        path: PathBuf,
        /// The cohort that they move with
        #[arg(long, value_name = "NAME")]
        cohort: String,
        /// The migration of the topology that the cohort belongs to
        #[arg(long, value_name = "NAME")]
        migration: String,
        /// Kind of the cohort
        #[arg(long = "type", default_value = "wave", value_parser = ["pilot", "wave", "rest"])]
        kind: String,
        /// Header or attribute that holds the address
        #[arg(long, value_name = "HEADER")]
        mail: Option<String>,
    },
}

/// What an inventory does not say.
#[derive(Debug, clap::Args)]
struct Assumed {
    /// Site of the servers that name none
    #[arg(long, value_name = "NAME")]
    site: Option<String>,
    /// Platform of the servers that name none
    #[arg(long, value_name = "NAME")]
    platform: Option<String>,
    /// Roles of the servers that have none
    #[arg(long, value_name = "ROLE,..", value_delimiter = ',')]
    roles: Vec<String>,
    /// Write the servers alone: sites, platforms and connections are in the topology
    #[arg(long)]
    servers_only: bool,
}

impl Assumed {
    fn options(&self) -> ServerOptions {
        ServerOptions {
            site: self.site.clone(),
            platform: self.platform.clone(),
            roles: self.roles.clone(),
            known_roles: known_roles(),
            servers_only: self.servers_only,
            ..ServerOptions::default()
        }
    }
}

fn known_roles() -> BTreeSet<String> {
    match schema().kind("server").and_then(|k| k.field("roles")).map(|f| &f.ty) {
        Some(Type::Open(roles)) => roles.iter().cloned().collect(),
        _ => BTreeSet::new(),
    }
}

fn assignment(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((a, b)) if !a.is_empty() && !b.is_empty() => Ok((a.to_owned(), b.to_owned())),
        _ => Err("write NAME=VALUE".to_owned()),
    }
}

pub fn run(args: &Args, context: &Context) -> Answer {
    let Outcome { sources, diagnostics: found, imported } = match &args.what {
        What::Ansible { path, group_roles, servers } => {
            let list = |roles: &str| roles.split(',').map(|r| r.trim().to_owned()).collect();
            let group_roles = group_roles.iter().map(|(g, r)| (g.clone(), list(r))).collect();
            importing::ansible(path, &ServerOptions { group_roles, ..servers.options() })
        }
        What::Servers { path, columns, servers } => {
            let columns = columns.iter().cloned().collect();
            importing::servers(path, &ServerOptions { columns, ..servers.options() })
        }
        What::Zone { path, name, provider, view } => {
            let (name, provider, view) = (name.clone(), provider.clone(), view.clone());
            importing::zone(path, &ZoneOptions { name, provider, view })
        }
        What::Users { path, cohort, migration, kind, mail } => {
            let options = UserOptions {
                cohort: named("cohort", cohort)?,
                migration: named("migration", migration)?,
                kind: kind.clone(),
                mail: mail.clone(),
            };
            importing::users(path, &options)
        }
    };
    let Some(imported) = imported else {
        let style = diagnostics::Style { color: context.out.err_color(), ..diagnostics::Style::default() };
        context.out.note(diagnostics::text(&sources, &found, style));
        return Err(Failure::shown());
    };
    let mut laid_out = Sources::default();
    let id = laid_out.add("imported", imported.kdl.as_str());
    let kdl = language::format(&laid_out, id)
        .map_err(|_| Failure::new("the result is no KDL: this is a fault of cutover, please report the input"))?;
    let mut files: BTreeMap<PathBuf, &str> =
        imported.files.iter().map(|(name, text)| (context.root().join(name), text.as_str())).collect();
    if let Some(out) = &args.out {
        files.insert(out.clone(), &kdl);
    }
    write_all(&files, args.force)?;
    if args.out.is_none() {
        context.out.result(&kdl);
    }
    for path in files.keys() {
        context.out.note(format!("wrote {}", path.display()));
    }
    context.out.note(imported.summary);
    Ok(Exit::Ok)
}

/// A name that makes a node and a file.
fn named(what: &str, text: &str) -> Result<String, Failure> {
    let good = !text.is_empty() && text.chars().all(|c| c.is_alphanumeric() || matches!(c, '-' | '_'));
    if good {
        Ok(text.to_owned())
    } else {
        Err(Failure::new(format!("`{text}` cannot name a {what}")).help("use letters, digits, - and _"))
    }
}

/// All files or none: written aside first, renamed when each could be written.
fn write_all(files: &BTreeMap<PathBuf, &str>, force: bool) -> Result<(), Failure> {
    let there: Vec<String> = files.keys().filter(|p| p.exists()).map(|p| p.display().to_string()).collect();
    if !there.is_empty() && !force {
        return Err(Failure::new(format!("{} is there already; nothing was written", there.join(" and ")))
            .help("take another name, or overwrite with --force"));
    }
    let mut aside = Vec::new();
    for (path, text) in files {
        let fail = |e: std::io::Error| Failure::new(format!("{} was not written: {e}", path.display()));
        let folder = path.parent().filter(|p| *p != Path::new("")).unwrap_or(Path::new("."));
        std::fs::create_dir_all(folder).map_err(fail)?;
        let mut file = tempfile::NamedTempFile::new_in(folder).map_err(fail)?;
        file.write_all(text.as_bytes()).map_err(fail)?;
        aside.push((path, file));
    }
    for (path, file) in aside {
        let fail = |e: tempfile::PersistError| Failure::new(format!("{} was not written: {}", path.display(), e.error));
        // Another program may have made it in the meantime.
        if force {
            file.persist(path).map_err(fail)?
        } else {
            file.persist_noclobber(path).map_err(fail)?
        };
    }
    Ok(())
}
