//! Lists of users: the rows go to a CSV that a cohort selects, never into KDL.

use std::collections::BTreeMap;

use sha2::{Digest as _, Sha256};

use super::foreign::Foreign;
use super::quoting::{comment, quoted, word};
use super::{Imported, ldif, table};
use crate::model::{Diagnostic, SourceId, Span};
use crate::people::{ADDRESS_HEADERS, is_address, plain_header};

const CODE: &str = "E1305";

/// Where the users go.
#[derive(Debug, Clone, Default)]
pub struct UserOptions {
    pub cohort: String,
    pub migration: String,
    /// `pilot`, `wave` or `rest`.
    pub kind: String,
    /// Header or attribute of the address, where it is not a usual one.
    pub mail: Option<String>,
}

struct User {
    mail: String,
    display: String,
    place: Span,
}

const DISPLAY: [&str; 5] = ["displayname", "display", "fullname", "name", "cn"];

pub fn import(f: &mut Foreign, id: SourceId, ldif: bool, options: &UserOptions) -> Option<Imported> {
    let (users, left_out) = if ldif { of_ldif(f, id, options) } else { of_csv(f, id, options)? };
    let mut seen: BTreeMap<String, Span> = BTreeMap::new();
    for u in &users {
        if !is_address(&u.mail) {
            f.wrong(CODE, u.place, format!("`{}` is no mail address", comment(&u.mail)), "as in ann@acme.example");
        }
        if let Some(first) = seen.get(&u.mail.to_lowercase()) {
            let d = Diagnostic::error(CODE, format!("{} stands twice", comment(&u.mail)))
                .label(u.place, "again here")
                .label(*first, "first here")
                .help("take one of the two out");
            f.report(d);
        }
        seen.entry(u.mail.to_lowercase()).or_insert(u.place);
    }
    if users.is_empty() {
        f.wrong(
            CODE,
            f.line(id, 1),
            "nobody in this file has a mail address",
            "name its column or attribute with --mail",
        );
        return None;
    }
    let mut writer = csv::WriterBuilder::new().from_writer(Vec::new());
    let rows = std::iter::once(["mail", "display"]).chain(users.iter().map(|u| [u.mail.as_str(), u.display.as_str()]));
    for row in rows {
        if let Err(e) = writer.write_record(row) {
            f.wrong(CODE, f.line(id, 1), format!("the list cannot be written: {e}"), "");
        }
    }
    let csv = String::from_utf8(writer.into_inner().ok()?).ok()?;
    let digest = Sha256::digest(csv.as_bytes());
    let digest: String = digest.iter().map(|b| format!("{b:02x}")).collect();
    let path = format!("users/{}.csv", options.cohort);
    let mut kdl = format!("// {} users, sha256 {digest}.\n", users.len());
    for note in &left_out {
        kdl += &format!("// Left out: {}.\n", comment(note));
    }
    kdl += &format!(
        "cohort {} migration={} type={} {{ select {{ csv {}; }}; }}\n",
        word(&options.cohort),
        word(&options.migration),
        word(&options.kind),
        quoted(&path)
    );
    let summary = format!("{} users in {path}", users.len());
    Some(Imported { kdl, files: BTreeMap::from([(path, csv)]), summary })
}

fn of_csv(f: &mut Foreign, id: SourceId, options: &UserOptions) -> Option<(Vec<User>, Vec<String>)> {
    let table = table::read(f, id, CODE)?;
    let find = |names: &[&str]| names.iter().find_map(|n| table.headers.iter().position(|h| plain_header(h) == *n));
    let mail = match &options.mail {
        Some(header) => table.headers.iter().position(|h| h.eq_ignore_ascii_case(header)),
        None => find(&ADDRESS_HEADERS),
    };
    let Some(mail) = mail else {
        let help = format!("say which it is: --mail HEADER; headers are {}", table.headers.join(", "));
        f.wrong(CODE, table.header, "no column holds the mail address", help);
        return None;
    };
    let display = find(&DISPLAY).filter(|d| *d != mail);
    let text = |row: &csv::StringRecord, at: Option<usize>| at.and_then(|i| row.get(i)).unwrap_or_default().to_owned();
    let users = table.rows.iter().map(|(place, row)| User {
        mail: text(row, Some(mail)),
        display: text(row, display),
        place: *place,
    });
    let kept = [Some(mail), display];
    let rest: Vec<&str> =
        table.headers.iter().enumerate().filter(|(i, _)| !kept.contains(&Some(*i))).map(|(_, h)| h.as_str()).collect();
    let left_out = if rest.is_empty() { Vec::new() } else { vec![format!("columns {}", rest.join(", "))] };
    Some((users.collect(), left_out))
}

fn of_ldif(f: &mut Foreign, id: SourceId, options: &UserOptions) -> (Vec<User>, Vec<String>) {
    let entries = ldif::entries(f, id);
    let attribute = options.mail.as_deref().unwrap_or("mail");
    let (mut users, mut bare, mut further) = (Vec::new(), 0, 0);
    for e in &entries {
        let mut mails = e.all(attribute);
        let Some(mail) = mails.next() else {
            bare += 1;
            continue;
        };
        further += mails.count();
        let display = e.all("displayName").chain(e.all("cn")).next().unwrap_or_default().to_owned();
        users.push(User { mail: mail.trim().to_owned(), display, place: e.place });
    }
    let mut left_out = Vec::new();
    if bare > 0 {
        left_out.push(format!("{bare} entries without {attribute}"));
    }
    if further > 0 {
        left_out.push(format!("{further} further values of {attribute}; the first of an entry is its own"));
    }
    (users, left_out)
}
