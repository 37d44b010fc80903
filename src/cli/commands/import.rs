mod captured;
mod directory;

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Subcommand;
use zeroize::Zeroizing;

use super::super::context::Context;
use super::super::exit::Exit;
use super::super::failure::Failure;
use super::super::{runtime, whole};
use super::Answer;
use crate::importing::{self, Outcome, ServerOptions, UserOptions, ZoneOptions};
use crate::language::schema::schema;
use crate::language::types::Type;
use crate::language::{self};
use crate::model::source::Sources;
use crate::protocol::dns::{TsigKey, transfer};
use crate::reporting::diagnostics;

/// To wait for a connection and for each message of a transfer.
const PATIENCE: Duration = Duration::from_secs(20);

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
  cutover import zone --from 192.0.2.53 --name acme.example --key-file transfer.key --out dns.kdl
  cutover import users staff.ldif --cohort wave-1 --migration move --out wave-1.kdl
  cutover import directory corp --out users/corp.ldif --force
  cutover import captured gate-1/passwords gate-2/passwords --identity key.txt --out keys/captured.passwd")]
pub struct Args {
    #[command(subcommand)]
    what: What,
    /// File for the KDL (of a directory the LDIF, of captured passwords the hashes) instead of standard output
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
    /// A zone file of BIND, NSD or Knot, or the zone as a name server transfers it
    Zone {
        /// The zone file
        #[arg(required_unless_present = "from", conflicts_with = "from")]
        path: Option<PathBuf>,
        /// Ask this name server for the whole zone (AXFR) in place of a file
        #[arg(long, value_name = "ADDRESS[:PORT]", requires = "name")]
        from: Option<String>,
        /// The key to ask with, in a file as `keymgr -t` and `tsig-keygen` write it
        #[arg(long, value_name = "FILE", requires = "from")]
        key_file: Option<PathBuf>,
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
    /// The people of a directory (LDAP, Active Directory), as LDIF for accounts and cohorts
    ///
    /// Asks for all entries page by page, never for passwords, and writes them in an order that is always the same. A search that ended
    /// early writes nothing: the former file stays. Referrals are told and not followed.
    Directory(directory::Args),
    /// Passwords that a proxy has captured, as hashes for accounts: a passwd-file
    ///
    /// Copy the folder of sealed passwords of each gate to where the private key is. Each is opened in memory, and its hash (SHA512-CRYPT)
    /// is written; with --force lines of others that are in the file stay. A file that cannot be opened leaves everything as it was.
    Captured(captured::Args),
}

/// Whether files that are there may be overwritten (`--force`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Existing {
    Stays,
    Overwritten,
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
    let existing = if args.force { Existing::Overwritten } else { Existing::Stays };
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
        What::Zone { path, from, key_file, name, provider, view } => {
            let options = ZoneOptions { name: name.clone(), provider: provider.clone(), view: view.clone() };
            match (path, from) {
                (_, Some(server)) => served(server, key_file.as_deref(), &options)?,
                (Some(path), None) => importing::zone(path, &options),
                (None, None) => return Err(Failure::new("name a zone file, or a name server with --from")),
            }
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
        What::Captured(sealed) => return captured::run(sealed, args.out.as_deref(), existing, context),
        What::Directory(wanted) => return directory::run(wanted, args.out.as_deref(), existing, context),
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
    write_all(&files, existing)?;
    if args.out.is_none() {
        context.out.result(&kdl);
    }
    for path in files.keys() {
        context.out.note(format!("wrote {}", path.display()));
    }
    context.out.note(imported.summary);
    Ok(Exit::Ok)
}

/// The zone as a name server has it.
fn served(server: &str, key_file: Option<&Path>, options: &ZoneOptions) -> Result<Outcome, Failure> {
    let zone = options.name.as_deref().unwrap_or_default();
    let key = key_file.map(key_of).transpose()?;
    let transferred = runtime::block_on(async {
        let port = if server.parse::<std::net::IpAddr>().is_ok() || !server.contains(':') { ":53" } else { "" };
        let address = match server.parse::<std::net::Ipv6Addr>() {
            Ok(ip) => format!("[{ip}]{port}"),
            Err(_) => format!("{server}{port}"),
        };
        let found = tokio::net::lookup_host(&address).await.map(|mut all| all.next());
        let found = found.map_err(|e| Failure::new(format!("the name server {server} is not to be found: {e}")))?;
        let found = found.ok_or_else(|| Failure::new(format!("the name server {server} has no address")))?;
        transfer(found, zone, key.as_ref(), PATIENCE).await.map_err(|e| {
            Failure::new(format!("zone {zone}: {e}"))
                .help("the server must allow a transfer (AXFR) to this machine, or to a key given with --key-file")
        })
    })??;
    let mut text = String::new();
    for set in transferred.sets.values() {
        for data in &set.data {
            text += &format!("{} {} IN {} {data}\n", set.key.name, set.ttl, set.key.kind);
        }
    }
    Ok(importing::transferred(server, &text, options))
}

/// A key from a file as `tsig-keygen` (BIND) or `keymgr -t` (Knot) writes it. Nothing of the file is quoted in an error.
fn key_of(path: &Path) -> Result<TsigKey, Failure> {
    let shown = path.display();
    let text = std::fs::read(path).map_err(|e| Failure::new(format!("the key file {shown} cannot be read: {e}")))?;
    let text = Zeroizing::new(text);
    let text = std::str::from_utf8(&text).map_err(|_| Failure::new(format!("the key file {shown} is not text")))?;
    let (name, algorithm, secret) = key_words(text).ok_or_else(|| {
        Failure::new(format!("the key file {shown} has no key"))
            .help("it is to look like: key \"name\" { algorithm hmac-sha256; secret \"..\"; };")
    })?;
    TsigKey::new(name, algorithm, secret).map_err(|e| Failure::new(format!("the key file {shown}: {e}")))
}

/// Name, algorithm and secret: `key "name" { algorithm a; secret "s"; };` or Knot's `key: - id: name, algorithm: a, secret: s`.
fn key_words(text: &str) -> Option<(&str, &str, &str)> {
    let words: Vec<&str> = text
        .lines()
        .filter(|l| !l.trim_start().starts_with(['#', '/']))
        .flat_map(|l| l.split(|c: char| c.is_whitespace() || matches!(c, '{' | '}' | ';' | ':')))
        .map(|w| w.trim_matches('"'))
        .filter(|w| !w.is_empty() && *w != "-")
        .collect();
    let after = |word: &str| words.iter().position(|w| *w == word).and_then(|at| words.get(at + 1)).copied();
    Some((after("id").or_else(|| after("key"))?, after("algorithm")?, after("secret")?))
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

fn there_already(there: &[String]) -> Failure {
    Failure::new(format!("{} is there already; nothing was written", there.join(" and ")))
        .help("take another name, or overwrite with --force")
}

/// The text of a passwd-file, `USER:REST` a line. Its length is reserved at once: a text that grows would leave unwiped copies behind.
fn passwd_file(lines: &BTreeMap<String, Zeroizing<String>>) -> Zeroizing<String> {
    let length = lines.iter().map(|(user, rest)| user.len() + rest.len() + 2).sum();
    let mut text = Zeroizing::new(String::with_capacity(length));
    for (user, rest) in lines {
        for part in [user.as_str(), ":", rest.as_str(), "\n"] {
            text.push_str(part);
        }
    }
    text
}

/// All files or none: written aside first, renamed when each could be written.
fn write_all(files: &BTreeMap<PathBuf, &str>, existing: Existing) -> Result<(), Failure> {
    let there: Vec<String> = files.keys().filter(|p| p.exists()).map(|p| p.display().to_string()).collect();
    if !there.is_empty() && existing == Existing::Stays {
        return Err(there_already(&there));
    }
    let mut aside = Vec::new();
    for (path, text) in files {
        let fail = |e: std::io::Error| Failure::new(format!("{} was not written: {e}", path.display()));
        // Only with --force, for it is there: a pipe or device stays what it is.
        if whole::is_special(path) {
            whole::write(path, |f| f.write_all(text.as_bytes())).map_err(fail)?;
            continue;
        }
        let folder = path.parent().filter(|p| *p != Path::new("")).unwrap_or(Path::new("."));
        std::fs::create_dir_all(folder).map_err(fail)?;
        let mut file = tempfile::NamedTempFile::new_in(folder).map_err(fail)?;
        file.write_all(text.as_bytes()).map_err(fail)?;
        aside.push((path, file));
    }
    for (path, file) in aside {
        let fail = |e: tempfile::PersistError| Failure::new(format!("{} was not written: {}", path.display(), e.error));
        // Another program may have made it in the meantime.
        if existing == Existing::Overwritten {
            file.persist(path).map_err(fail)?
        } else {
            file.persist_noclobber(path).map_err(fail)?
        };
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::key_words;

    #[test]
    fn keys_of_bind_and_of_knot() {
        let bind = "// made by hand\nkey \"move.\" {\n\talgorithm hmac-sha256;\n\tsecret \"a//b+c==\";\n};\n";
        assert_eq!(key_words(bind), Some(("move.", "hmac-sha256", "a//b+c==")));
        let knot = "# hmac-sha512:move:/a/b==\nkey:\n- id: move\n  algorithm: hmac-sha512\n  secret: /a/b==\n";
        assert_eq!(key_words(knot), Some(("move", "hmac-sha512", "/a/b==")));
        assert_eq!(key_words("key \"x\" { algorithm hmac-sha256; };"), None);
    }
}
