use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use zeroize::Zeroizing;

use super::super::super::context::Context;
use super::super::super::exit::Exit;
use super::super::super::failure::Failure;
use super::super::super::project::Project;
use super::super::super::{runtime, secrets, work};
use super::super::Answer;
use super::{Existing, passwd_file, write_all};
use crate::model::topology::{Node, Topology};
use crate::people::directory::{self, Differences, PASSWORD};
use crate::protocol::ldif::{self, Entry};
use crate::secret::{ExposeSecret as _, Resolve as _, crypt};
use crate::services::ldap::{Asked, Door, Found, printable};
use crate::services::trust::{self, Verify};

/// Names of one kind of difference that are shown; the others are counted.
const SHOWN: usize = 20;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// The directory of the topology: its url, base, bind-dn, bind and ca
    name: String,
    /// Whom to ask for (RFC 4515)
    #[arg(long, default_value = "(mail=*)")]
    filter: String,
    /// Where to begin, where it is not the base of the directory
    #[arg(long, value_name = "DN")]
    base: Option<String>,
    /// A further attribute; what lists and filters of the topology read is asked for anyway
    #[arg(long = "attribute", value_name = "NAME")]
    attributes: Vec<String>,
    /// Authorities of the server's certificate, where it is not the ca of the directory
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// Let an ldap:// address go without StartTLS: passwords and people cross the network in the clear
    #[arg(long)]
    plain: bool,
    /// Also read hashes of passwords (userPassword), into a passwd-file of their own
    #[arg(long, value_name = "FILE")]
    hashes: Option<PathBuf>,
    /// Write nothing: say what is new, gone or changed since this file, and end with 2 when anything is
    #[arg(long, value_name = "FILE", conflicts_with_all = ["out", "hashes"])]
    check: Option<PathBuf>,
    /// How long an answer may take, for each page of 1,000 entries
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = work::time)]
    timeout: Duration,
}

pub fn run(args: &Args, out: Option<&Path>, existing: Existing, context: &Context) -> Answer {
    let (_, topology) = Project::topology(context)?;
    let root = context.root();
    if let Some(secret) = args.attributes.iter().find(|a| directory::is_secret(a)) {
        return Err(Failure::new(format!("{secret} holds passwords, which have no place in a list of people"))
            .help(format!("--hashes FILE writes hashes ({PASSWORD}) to a passwd-file, for `hashes` of accounts")));
    }
    // Before the directory is asked: a mistake here should not cost that time.
    if out.is_some() && out == args.hashes.as_deref() {
        return Err(Failure::new("people and hashes go to two files: --out and --hashes name one"));
    }
    let before = args.check.as_deref().map(read).transpose()?;
    let files = out.into_iter().chain(args.hashes.as_deref());
    let there: Vec<String> = files.filter(|p| p.exists()).map(|p| p.display().to_string()).collect();
    if existing == Existing::Stays && !there.is_empty() {
        return Err(super::there_already(&there));
    }
    let found = asked(args, &topology, &root)?;
    if found.entries.is_empty() {
        return Err(Failure::new(format!(
            "directory {} shows nobody of {}; nothing was written",
            args.name, args.filter
        ))
        .help("look at the base and the filter, and whether bind-dn may read these entries"));
    }
    for referral in &found.referrals {
        context.out.note(format!("not followed: the directory refers to {}", printable(referral)));
    }
    let hashes = args.hashes.as_ref().map(|_| hashes(&found.entries));
    let text = ldif::write(&directory::laid_out(found.entries));
    // As it will be read: names of attributes small, options left aside.
    let now = parsed(&text).map_err(|_| Failure::new("the result is no LDIF: this is a fault of cutover"))?;
    if let (Some(path), Some(before)) = (&args.check, before) {
        let differences = Differences::of(&before, &now);
        tell(&differences, context);
        context.out.result(counted(&differences, path, before.len(), now.len()));
        return Ok(if differences.none() { Exit::Ok } else { Exit::Changes });
    }
    let former = out.filter(|p| p.exists()).map(|p| (p, read(p)));
    let mut files: BTreeMap<PathBuf, &str> = BTreeMap::new();
    files.extend(out.map(|path| (path.to_owned(), text.as_str())));
    if let (Some(path), Some(hashes)) = (&args.hashes, &hashes) {
        files.insert(path.clone(), hashes.text.as_str());
    }
    write_all(&files, existing)?;
    if out.is_none() {
        context.out.result(text.trim_end());
    }
    for path in files.keys() {
        context.out.note(format!("wrote {}", path.display()));
    }
    if let Some(hashes) = &hashes {
        let Hashes { taken, none, unfit, .. } = hashes;
        context.out.note(format!("hashes of passwords: {taken} written, {none} people show none"));
        for why in unfit.iter().take(SHOWN) {
            context.out.note(format!("no hash of {why}"));
        }
    }
    let with_mail = now.iter().filter(|e| e.all("mail").next().is_some()).count();
    context.out.note(format!("{} entries, {with_mail} with an address", now.len()));
    if let Some((path, Ok(before))) = former {
        context.out.note(counted(&Differences::of(&before, &now), path, before.len(), now.len()));
    }
    Ok(Exit::Ok)
}

/// All that the directory shows, or why it could not be asked.
fn asked(args: &Args, topology: &Topology, root: &Path) -> Result<Found, Failure> {
    let node = topology.get("directory", &args.name).ok_or_else(|| {
        let known: Vec<&str> = topology.all("directory").map(|d| d.id.name.as_str()).collect();
        let help = match known.as_slice() {
            [] => "write directory NAME type=ldap url=\"ldaps://..\" base=\"dc=..\"".to_owned(),
            known => format!("it has {}", known.join(", ")),
        };
        Failure::new(format!("the topology has no directory {}", args.name)).help(help)
    })?;
    let (url, base) = place(args, node)?;
    let starttls = url.starts_with("ldap://") && !args.plain;
    let ca = args.ca.clone().or_else(|| node.text("ca").map(|ca| root.join(ca)));
    let failed = |why: String| {
        let text = format!("directory {} ({url}) could not be asked: {why}; nothing was written", args.name);
        Failure::new(text).help(help_of(&why, starttls))
    };
    let tls = trust::client(Verify::Name, ca.as_deref(), &[]).map_err(&failed);
    let tls = (starttls || url.starts_with("ldaps://")).then_some(tls).transpose()?;
    let mut attributes = directory::wanted(topology, &args.attributes);
    attributes.extend(args.hashes.is_some().then(|| PASSWORD.to_owned()));
    let resolver = secrets::resolver(root, topology);
    runtime::block_on(async {
        let password = match node.secret("bind") {
            Some(reference) => Some(resolver.secret(reference).await?),
            None => None,
        };
        let bind = match (node.text("bind-dn"), &password) {
            (Some(dn), Some(password)) => Some((dn, password.expose_secret())),
            _ => None,
        };
        let door = Door { url: &url, starttls, tls: tls.as_ref(), bind, limit: args.timeout };
        let mut ldap = door.open().await.map_err(&failed)?;
        let asked = Asked { base: &base, filter: &args.filter, attributes: &attributes, limit: args.timeout };
        let found = asked.all(&mut ldap).await.map_err(&failed)?;
        let _ = ldap.unbind().await;
        Ok(found)
    })?
}

/// Address and base, or all that is missing.
fn place(args: &Args, node: &Node) -> Result<(String, String), Failure> {
    let base = args.base.clone().or_else(|| node.text("base").map(str::to_owned));
    let url = node.text("url").filter(|u| u.starts_with("ldap://") || u.starts_with("ldaps://"));
    let mut wrong = Vec::new();
    if url.is_none() {
        wrong.push("it has no url that begins with ldaps:// or ldap://");
    }
    if base.is_none() {
        wrong.push("it has no base, as in base=\"dc=acme,dc=example\"");
    }
    if node.text("bind-dn").is_some() != node.secret("bind").is_some() {
        wrong.push("bind-dn and bind (its password) go together");
    }
    match (url, base) {
        (Some(url), Some(base)) if wrong.is_empty() => Ok((url.trim_end_matches('/').to_owned(), base)),
        _ => Err(Failure::new(format!("directory {} cannot be asked: {}", args.name, wrong.join("; ")))),
    }
}

fn help_of(why: &str, starttls: bool) -> &'static str {
    match why {
        w if w.contains("size limit") => {
            "let bind-dn read all entries (OpenLDAP: olcLimits with size.prtotal=unlimited; Active Directory needs nothing), or ask with a \
             narrower --filter"
        }
        w if w.contains("refused: result 49") => "result 49 is a wrong name or password: look at bind-dn and bind",
        w if w.contains("certificate") => {
            "name the authority that signed the server's certificate: ca of the directory, or --ca"
        }
        _ if starttls => "an ldap:// address is asked by StartTLS; where the server has none: ldaps://, or --plain",
        _ => "what was written before stays; ask again",
    }
}

struct Hashes {
    text: Zeroizing<String>,
    taken: usize,
    none: usize,
    /// Who has one that is none of Dovecot's, with the reason.
    unfit: Vec<String>,
}

/// The first `mail` of an entry.
fn address(entry: &Entry) -> Option<String> {
    let (_, mail) = entry.values.iter().find(|(name, _)| name.eq_ignore_ascii_case("mail"))?;
    Some(String::from_utf8_lossy(mail).trim().to_lowercase())
}

/// A passwd-file, `ADDRESS:{SCHEME}HASH` a line. What is no hash becomes one.
fn hashes(entries: &[Entry]) -> Hashes {
    let mut lines: BTreeMap<String, Zeroizing<String>> = BTreeMap::new();
    let (mut none, mut unfit) = (0, Vec::new());
    let mut seen = BTreeSet::new();
    let doubled: BTreeSet<String> =
        entries.iter().filter_map(address).filter(|mail| !seen.insert(mail.clone())).collect();
    for entry in entries {
        let all = |name: &'static str| {
            entry.values.iter().filter(move |(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, v)| v.as_slice())
        };
        let Some(mail) = address(entry) else { continue };
        let Some(value) = all(PASSWORD).next() else {
            none += 1;
            continue;
        };
        // Some servers say of a password in the clear that it is one.
        let small = value.to_ascii_lowercase();
        let marked = ["{cleartext}", "{plain}", "{clear}"].into_iter().find(|m| small.starts_with(m.as_bytes()));
        let value = &value[marked.map_or(0, str::len)..];
        let line = match std::str::from_utf8(value) {
            Ok(text) if marked.is_none() && text.starts_with('{') && text.contains('}') => {
                match text.contains([':', '\n', '\r']) {
                    false => Ok(Zeroizing::new(text.to_owned())),
                    true => Err("it has signs that end a field of a passwd-file".to_owned()),
                }
            }
            _ => crypt::sha512_crypt(value, &mail).map(Zeroizing::new),
        };
        match line {
            // Whose it is, nobody can say: neither gets the other's password.
            Ok(_) if doubled.contains(&mail) => {
                unfit.push(format!("{}: two entries have this address", printable(&mail)))
            }
            Ok(hash) => drop(lines.insert(mail, hash)),
            Err(why) => unfit.push(format!("{}: {why}", printable(&mail))),
        }
    }
    Hashes { text: passwd_file(&lines), taken: lines.len(), none, unfit }
}

fn read(path: &Path) -> Result<Vec<Entry>, Failure> {
    let octets = std::fs::read(path).map_err(|e| Failure::new(format!("{} cannot be read: {e}", path.display())))?;
    let (entries, bad) = ldif::parse(&octets);
    match bad.first() {
        None => Ok(entries),
        Some(b) => Err(Failure::new(format!("{}, line {}: {}", path.display(), b.line, b.what))
            .help("it should be what `cutover import directory` wrote")),
    }
}

fn parsed(text: &str) -> Result<Vec<Entry>, ()> {
    let (entries, bad) = ldif::parse(text.as_bytes());
    if bad.is_empty() { Ok(entries) } else { Err(()) }
}

fn tell(differences: &Differences, context: &Context) {
    let changed: Vec<String> =
        differences.changed.iter().map(|(name, attributes)| format!("{name}: {}", attributes.join(", "))).collect();
    for (sign, names) in [("+", &differences.new), ("-", &differences.gone), ("~", &changed)] {
        for name in names.iter().take(SHOWN) {
            context.out.result(format!("{sign} {name}"));
        }
        if names.len() > SHOWN {
            context.out.result(format!("{sign} and {} more", names.len() - SHOWN));
        }
    }
}

fn counted(differences: &Differences, path: &Path, before: usize, now: usize) -> String {
    let Differences { new, gone, changed } = differences;
    let counts = format!("{} new, {} gone, {} changed", new.len(), gone.len(), changed.len());
    format!("{counts} since {} ({before} entries there, {now} in the directory)", path.display())
}
