//! A list of people: CSV with a header, or an address a line.

/// Headers of the column with the address, in lower case and without blanks and signs; the first that is there holds.
pub const ADDRESS_HEADERS: [&str; 8] = [
    "mail",
    "email",
    "emailaddress",
    "address",
    "primarysmtpaddress",
    "windowsemailaddress",
    "userprincipalname",
    "smtp",
];

/// An address with its line, which counts from 1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    pub address: String,
    pub line: u64,
}

/// A table with a header, apart by commas, semicolons or tabs.
pub(super) fn table(text: &str) -> csv::Reader<&[u8]> {
    let first = text.lines().next().unwrap_or_default();
    let delimiter = [b';', b'\t'].into_iter().find(|d| first.as_bytes().contains(d) && !first.contains(','));
    csv::ReaderBuilder::new()
        .delimiter(delimiter.unwrap_or(b','))
        .trim(csv::Trim::All)
        .flexible(true)
        .from_reader(text.as_bytes())
}

/// All rows, or all mistakes with their lines.
pub fn rows(text: &str) -> Result<Vec<Row>, Vec<(u64, String)>> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let first = text.lines().next().unwrap_or_default();
    if first.contains('@') && !first.contains([',', ';', '\t']) {
        return plain(text);
    }
    let mut reader = table(text);
    let header = reader.headers().cloned().map_err(|e| vec![(1, e.to_string())])?;
    let place = |name: &str| header.iter().position(|h| plain_header(h) == name);
    // Lists for the content service call it `user`.
    let column = ADDRESS_HEADERS.into_iter().chain(["user"]).find_map(place);
    let Some(column) = column else {
        return Err(vec![(1, "the first line names the columns, and one of them has to be `mail`".to_owned())]);
    };
    let mut found = (Vec::new(), Vec::new());
    for record in reader.records() {
        let record = match record {
            Ok(record) => record,
            Err(e) => {
                found.1.push((e.position().map_or(0, csv::Position::line), e.to_string()));
                continue;
            }
        };
        let line = record.position().map_or(0, csv::Position::line);
        take(record.get(column).unwrap_or_default(), line, &mut found);
    }
    ended(found)
}

fn plain(text: &str) -> Result<Vec<Row>, Vec<(u64, String)>> {
    let mut found = (Vec::new(), Vec::new());
    for (line, text) in (1u64..).zip(text.lines().map(str::trim)) {
        if !text.is_empty() && !text.starts_with('#') {
            take(text, line, &mut found);
        }
    }
    ended(found)
}

fn take(text: &str, line: u64, found: &mut (Vec<Row>, Vec<(u64, String)>)) {
    match address(text) {
        Some(address) => found.0.push(Row { address, line }),
        None => found.1.push((line, format!("`{text}` is no mail address"))),
    }
}

fn ended(found: (Vec<Row>, Vec<(u64, String)>)) -> Result<Vec<Row>, Vec<(u64, String)>> {
    if found.1.is_empty() { Ok(found.0) } else { Err(found.1) }
}

/// In lower case, as routes and the content service know people; `None` when it is no address.
fn address(text: &str) -> Option<String> {
    is_address(text).then(|| text.to_lowercase())
}

/// A header without case, spaces and signs.
pub fn plain_header(header: &str) -> String {
    header.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect()
}

/// A local part and a domain, as far as a list can tell (RFC 5321, section 4.1.2, without quoted local parts).
pub fn is_address(text: &str) -> bool {
    let Some((local, domain)) = text.rsplit_once('@') else { return false };
    let label = |l: &str| !l.is_empty() && l.len() <= 63 && !l.starts_with('-') && !l.ends_with('-');
    !local.is_empty()
        && local.len() <= 64
        && !local.contains(|c: char| c.is_whitespace() || c.is_control() || "\"(),:;<>@[\\]".contains(c))
        && domain.contains('.')
        && domain.split('.').all(label)
        && domain.chars().all(|c| c.is_alphanumeric() || c == '-' || c == '.')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses(text: &str) -> Vec<String> {
        rows(text).unwrap().into_iter().map(|r| r.address).collect()
    }

    #[test]
    fn lists_of_several_makes_are_read() {
        let both = ["ann@acme.example", "bob@acme.example"];
        assert_eq!(addresses("mail,display\nAnn@acme.example,Ann\nbob@acme.example,\"B, Bob\"\n"), both);
        assert_eq!(addresses("\u{feff}Name;E-Mail\r\nAnn;ann@acme.example\r\nBob;bob@acme.example\r\n"), both);
        assert_eq!(addresses("display\tPrimary SMTP Address\nA\tann@acme.example\nB\tbob@acme.example"), both);
        assert_eq!(addresses("ann@acme.example\n\n# later\nbob@acme.example\n"), both);
        assert_eq!(addresses("mail\n"), [""; 0]);
    }

    #[test]
    fn every_mistake_of_a_list_is_told_with_its_line() {
        let wrong = rows("mail\nann@acme.example\nbob\n@acme.example\nc d@acme.example\n").unwrap_err();
        assert_eq!(wrong.iter().map(|(line, _)| *line).collect::<Vec<_>>(), [3, 4, 5]);
        assert_eq!(rows("name,phone\nAnn,1\n").unwrap_err().len(), 1);
        assert_eq!(rows("").unwrap_err().len(), 1);
    }
}
