//! HTML as what is read of it, and a text as HTML: enough for the bodies of messages and for what senders are told.

/// A space that stays one.
const FIXED: char = '\u{a0}';
/// Begin and end a line.
const BLOCKS: [&str; 15] =
    ["p", "div", "li", "ul", "ol", "tr", "table", "h1", "h2", "h3", "h4", "h5", "h6", "pre", "blockquote"];

/// Where in HTML we are.
#[derive(Debug, Default)]
pub(super) struct Html {
    tag: Option<String>,
    entity: Option<String>,
    /// Within an element whose text nobody reads.
    hidden: Option<&'static str>,
    /// Ends of lines count, as people see them.
    lines: bool,
}

impl Html {
    pub fn take(&mut self, c: char, shown: &mut String) {
        if let Some(tag) = &mut self.tag {
            // Enough to know it by; a comment ends with `-->`.
            if c == '>' && (!tag.starts_with("!--") || tag.ends_with("--")) {
                let tag = std::mem::take(tag).to_ascii_lowercase();
                self.tag = None;
                let name: String = tag.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '/').collect();
                if self.lines && self.hidden.is_none() {
                    line(name.trim_matches('/'), shown);
                }
                match self.hidden {
                    Some(hidden) if name.strip_prefix('/') == Some(hidden) => self.hidden = None,
                    Some(_) => {}
                    None if tag.ends_with('/') => {}
                    None => self.hidden = ["style", "script", "head", "title"].into_iter().find(|h| *h == name),
                }
            } else {
                if tag.len() > 64 {
                    // The beginning tells what it is, the end whether a comment is over.
                    let keep = tag.char_indices().nth(8).map_or(0, |(n, _)| n);
                    let last = tag.char_indices().rev().nth(3).map_or(0, |(n, _)| n);
                    tag.replace_range(keep..last, "");
                }
                tag.push(c);
            }
            return;
        }
        if let Some(entity) = &mut self.entity {
            if c == ';' || entity.len() > 10 || !(c.is_ascii_alphanumeric() || c == '#') {
                let entity = std::mem::take(entity);
                self.entity = None;
                match self.hidden {
                    None if self.lines && entity == "nbsp" => shown.push(FIXED),
                    None => named(&entity, shown),
                    Some(_) => {}
                }
                if c == ';' {
                    return;
                }
            } else {
                entity.push(c);
                return;
            }
        }
        match c {
            '<' => self.tag = Some(String::new()),
            '&' => self.entity = Some(String::new()),
            c if self.hidden.is_none() => {
                let is_space = self.lines && c != FIXED && c.is_whitespace();
                match is_space {
                    true if shown.is_empty() || shown.ends_with([' ', '\n']) => {}
                    true => shown.push(' '),
                    false => shown.push(c),
                }
            }
            _ => {}
        }
    }

    pub fn end(&mut self, shown: &mut String) {
        if let (Some(entity), None) = (self.entity.take(), self.hidden) {
            named(&entity, shown);
        }
    }
}

fn named(entity: &str, shown: &mut String) {
    let number = |text: &str| match text.strip_prefix(['x', 'X']) {
        Some(digits) => u32::from_str_radix(digits, 16).ok(),
        None => text.parse().ok(),
    };
    match entity {
        "lt" => shown.push('<'),
        "gt" => shown.push('>'),
        "amp" => shown.push('&'),
        "quot" => shown.push('"'),
        "apos" => shown.push('\''),
        "nbsp" => {}
        other => match other.strip_prefix('#').and_then(number).and_then(char::from_u32) {
            Some(c) => shown.push(c),
            None => shown.push_str(other),
        },
    }
}

fn line(name: &str, shown: &mut String) {
    let within = !shown.is_empty() && !shown.ends_with('\n');
    if name == "br" || BLOCKS.contains(&name) && within {
        shown.push('\n');
    }
}

/// What a person reads, line by line. A text without a tag is one already.
pub(super) fn text(html: &str) -> String {
    let mut shown = String::new();
    let tag = |(n, _): (usize, &str)| html[n + 1..].starts_with(|c: char| c.is_ascii_alphabetic() || "/!".contains(c));
    if html.match_indices('<').any(tag) {
        let mut reader = Html { lines: true, ..Html::default() };
        html.chars().for_each(|c| reader.take(c, &mut shown));
        reader.end(&mut shown);
    } else {
        shown = html.replace("\r\n", "\n");
    }
    let lines: Vec<String> = shown.split('\n').map(|l| l.replace(FIXED, " ").trim_end().to_owned()).collect();
    lines.join("\n").trim_matches('\n').to_owned()
}

/// A text as HTML that reads the same.
pub(super) fn of(text: &str) -> String {
    let mut out = String::from("<html><body><div>");
    for (n, line) in text.trim_matches('\n').split('\n').enumerate() {
        if n > 0 {
            out.push_str("<br>\n");
        }
        let mut before = ' ';
        for c in line.trim_end().chars() {
            match c {
                '<' => out.push_str("&lt;"),
                '>' => out.push_str("&gt;"),
                '&' => out.push_str("&amp;"),
                '\t' => out.push_str("&#160;&#160;&#160;&#160;"),
                c if c.is_whitespace() && before.is_whitespace() => out.push_str("&#160;"),
                c => out.push(c),
            }
            before = c;
        }
    }
    out.push_str("</div></body></html>");
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_outlook_writes_is_read_as_people_see_it() {
        let html = "<html><head><style>p {margin: 0}</style></head><body lang=DE>\r\n<div>\r\n<p class=MsoNormal>Gr&#252;&szlig;e,<o:p></o:p></p>\r\n<p class=MsoNormal>&nbsp;</p>\
                    <p>bin  weg &amp; zur&#xFC;ck<br>am Montag</p><div><br></div><p>Ann</p></div></body></html>"
            .replace("&szlig;", "\u{df}");
        assert_eq!(text(&html), "Gr\u{fc}\u{df}e,\n\nbin weg & zur\u{fc}ck\nam Montag\n\nAnn");
        assert_eq!(text("plain & a < b\r\nmore\r\n"), "plain & a < b\nmore");
    }

    proptest! {
        #[test]
        fn a_text_comes_back(lines in proptest::collection::vec("[ a-z<>&;#/!\u{e4}-]{0,12}", 1..6)) {
            let lines: Vec<&str> = lines.iter().map(|l| l.trim_end()).collect();
            let all = lines.join("\n");
            let whole = all.trim_matches('\n');
            prop_assert_eq!(text(&of(whole)), whole);
        }
    }
}
