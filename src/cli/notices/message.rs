//! A notice as a message: a text and a page beside it, both in the reader's language and direction.

use jiff::Timestamp;
use mail_builder::MessageBuilder;
use mail_builder::headers::content_type::ContentType;
use mail_builder::headers::text::Text;
use mail_builder::mime::MimePart;

use crate::reporting::graph::escaped;

/// What stands in a message.
#[derive(Debug, Clone)]
pub struct Message {
    pub from: (String, String),
    pub to: String,
    pub subject: String,
    pub body: String,
    /// Language tag, as `fa`.
    pub language: String,
    /// Without brackets; the boundary between the parts is made of it, so that the same notice is the same message.
    pub id: String,
    pub date: Timestamp,
}

/// Languages that are written from right to left.
pub fn right_to_left(language: &str) -> bool {
    ["ar", "fa", "he", "ps", "ur", "ckb"].contains(&language.split(['-', '_']).next().unwrap_or_default())
}

/// A value inside a sentence of the other direction keeps its own (Unicode 9, FIRST STRONG ISOLATE), so that an address or a time
/// is not turned around.
pub fn isolated(value: &str, language: &str) -> String {
    if right_to_left(language) { format!("\u{2068}{value}\u{2069}") } else { value.to_owned() }
}

/// The rendered template: `Subject: ...` on the first line, then an empty one, then the text.
pub fn parts(rendered: &str) -> Option<(String, String)> {
    let (head, body) = rendered.split_once('\n')?;
    let subject = head.trim().strip_prefix("Subject:")?.trim();
    (!subject.is_empty()).then(|| (subject.to_owned(), body.trim_start_matches(['\r', '\n']).to_owned()))
}

fn page(m: &Message) -> String {
    let direction = if right_to_left(&m.language) { "rtl" } else { "ltr" };
    let paragraphs: String = m
        .body
        .split("\n\n")
        .map(str::trim)
        .filter(|p| !p.is_empty())
        // A line end is no control character that XML refuses: lines are taken apart before.
        .map(|p| format!("<p>{}</p>\n", p.lines().map(escaped).collect::<Vec<_>>().join("<br>\n")))
        .collect();
    format!(
        "<!doctype html>\n<html lang=\"{0}\" dir=\"{direction}\"><head><meta charset=\"utf-8\"><title>{1}</title></head>\n<body dir=\"{direction}\">\n{paragraphs}</body></html>\n",
        escaped(&m.language),
        escaped(&m.subject)
    )
}

/// The octets, with line ends of the wire.
pub fn octets(m: &Message) -> std::io::Result<Vec<u8>> {
    let short: String = m.id.chars().take_while(|c| *c != '@').collect();
    let alternative = MimePart::new(
        ContentType::new("multipart/alternative").attribute("boundary", format!("notice-{short}")),
        vec![MimePart::new("text/plain", m.body.as_str()), MimePart::new("text/html", page(m))],
    );
    MessageBuilder::new()
        .from((m.from.0.as_str(), m.from.1.as_str()))
        .to(m.to.as_str())
        .subject(m.subject.as_str())
        .date(m.date.as_second())
        .message_id(m.id.as_str())
        .header("Auto-Submitted", Text::new("auto-generated"))
        .header("Content-Language", Text::new(m.language.clone()))
        .body(alternative)
        .write_to_vec()
}
