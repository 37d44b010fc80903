//! What a WebDAV server answers: `multistatus` (RFC 4918 section 14.16) with the properties that are asked for here.

use roxmltree::{Document, Node, ParsingOptions};

pub const DAV: &str = "DAV:";
pub const CARD: &str = "urn:ietf:params:xml:ns:carddav";

/// Elements and attributes of one answer.
const NODES: u32 = 2_000_000;

/// One resource of an answer.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Resource {
    /// As the server writes it.
    pub href: String,
    /// Of the resource as a whole, where it has one.
    pub status: Option<u16>,
    pub etag: Option<String>,
    pub name: Option<String>,
    pub is_book: bool,
    pub is_collection: bool,
    /// The server takes vCard 4.0 here.
    pub takes_four: bool,
    pub data: Option<String>,
    pub principal: Option<String>,
    pub home: Option<String>,
}

/// All resources of a `multistatus`; properties without success count as not said.
pub fn multistatus(text: &str) -> Result<Vec<Resource>, String> {
    let options = ParsingOptions { allow_dtd: false, nodes_limit: NODES, ..ParsingOptions::default() };
    let document = Document::parse_with_options(text, options).map_err(|e| e.to_string())?;
    let root = document.root_element();
    if !root.has_tag_name((DAV, "multistatus")) {
        return Err(format!("`{}` instead of multistatus", root.tag_name().name()));
    }
    Ok(root.children().filter(|n| n.has_tag_name((DAV, "response"))).map(resource).collect())
}

fn resource(response: Node<'_, '_>) -> Resource {
    let mut found = Resource {
        href: inner(response, "href").unwrap_or_default(),
        status: inner(response, "status").and_then(|s| status(&s)),
        ..Resource::default()
    };
    for part in response.children().filter(|n| n.has_tag_name((DAV, "propstat"))) {
        if inner(part, "status").and_then(|s| status(&s)).is_none_or(|s| s == 200) {
            let props = part.children().filter(|n| n.has_tag_name((DAV, "prop")));
            props.flat_map(|p| p.children()).filter(Node::is_element).for_each(|p| found.take(p));
        }
    }
    found
}

impl Resource {
    fn take(&mut self, prop: Node<'_, '_>) {
        let text = || prop.text().map(str::trim).filter(|t| !t.is_empty()).map(str::to_owned);
        match (prop.tag_name().namespace(), prop.tag_name().name()) {
            (Some(DAV), "getetag") => self.etag = text(),
            (Some(DAV), "displayname") => self.name = text(),
            (Some(DAV), "current-user-principal") => self.principal = inner(prop, "href"),
            (Some(CARD), "addressbook-home-set") => self.home = inner(prop, "href"),
            // All of it: a text may come in pieces.
            (Some(CARD), "address-data") => self.data = Some(prop.children().filter_map(|n| n.text()).collect()),
            (Some(CARD), "supported-address-data") => {
                self.takes_four = prop.children().any(|n| n.attribute("version") == Some("4.0"));
            }
            (Some(DAV), "resourcetype") => {
                self.is_collection = prop.children().any(|n| n.has_tag_name((DAV, "collection")));
                self.is_book = prop.children().any(|n| n.has_tag_name((CARD, "addressbook")));
            }
            _ => {}
        }
    }
}

fn inner(node: Node<'_, '_>, name: &str) -> Option<String> {
    let found = node.children().find(|n| n.has_tag_name((DAV, name)))?;
    found.text().map(|t| t.trim().to_owned()).filter(|t| !t.is_empty())
}

/// `HTTP/1.1 200 OK`.
fn status(line: &str) -> Option<u16> {
    line.split_ascii_whitespace().nth(1)?.parse().ok()
}

/// The words of an error body (RFC 4918 section 16): the name of the broken condition.
pub fn condition(text: &str) -> Option<String> {
    let document = Document::parse(text).ok()?;
    let root = document.root_element();
    if !root.has_tag_name((DAV, "error")) {
        return None;
    }
    root.children().find(Node::is_element).map(|n| n.tag_name().name().to_owned())
}

/// For a place in XML.
pub fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            c if c.is_control() && !matches!(c, '\t' | '\n') => {}
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn properties_count_where_they_succeeded() {
        let found = multistatus(
            "<D:multistatus xmlns:D='DAV:' xmlns:C='urn:ietf:params:xml:ns:carddav'><D:response><D:href>/a/</D:href>\
             <D:propstat><D:prop><D:resourcetype><D:collection/><C:addressbook/></D:resourcetype><D:displayname> A&amp;B </D:displayname>\
             <C:supported-address-data><C:address-data-type content-type='text/vcard' version='4.0'/></C:supported-address-data>\
             </D:prop><D:status>HTTP/1.1 200 OK</D:status></D:propstat><D:propstat><D:prop><D:getetag>no</D:getetag></D:prop>\
             <D:status>HTTP/1.1 404 Not Found</D:status></D:propstat></D:response>\
             <D:response><D:href>/a/x.vcf</D:href><D:status>HTTP/1.1 404 Not Found</D:status></D:response></D:multistatus>",
        )
        .expect("multistatus");
        assert_eq!((found[0].name.as_deref(), found[0].is_book, found[0].takes_four), (Some("A&B"), true, true));
        assert_eq!((found[0].etag.as_deref(), found[1].status), (None, Some(404)));
    }

    #[test]
    fn what_is_no_answer_or_would_grow_is_refused() {
        assert!(multistatus("<html/>").is_err());
        assert!(multistatus("<!DOCTYPE a [<!ENTITY x 'y'>]><a>&x;</a>").is_err());
        assert_eq!(
            condition("<error xmlns='DAV:'><no-uid-conflict xmlns='x'/></error>").as_deref(),
            Some("no-uid-conflict")
        );
    }
}
