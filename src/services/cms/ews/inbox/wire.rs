//! Inbox rules in XML.

use super::rule::{Deeds, InboxRule, Predicates, WORDS};
use crate::services::cms::ews::folders::folder_id;
use crate::services::cms::ews::properties::{category, keyword};
use crate::services::cms::ews::xml::{Node, escaped};

/// Id of a folder to its key, and back.
pub(super) struct Places {
    pub all: Vec<(String, String)>,
    /// Key of the folder of what was thrown away.
    pub bin: Option<String>,
}

impl Places {
    fn key(&self, node: &Node) -> Result<String, String> {
        let lost = || "a folder that is not there".to_owned();
        let id = node.child("FolderId").and_then(|f| f.attribute("Id")).ok_or_else(lost)?;
        self.all.iter().find(|(known, _)| known == id).map(|(_, key)| key.clone()).ok_or_else(lost)
    }

    pub fn id(&self, key: &str) -> Option<&str> {
        self.all.iter().find(|(_, known)| known == key).map(|(id, _)| id.as_str())
    }
}

/// Whether an element says something: some write out what does not hold.
fn says(node: &Node) -> bool {
    !(node.text.trim() == "false" || node.children.is_empty() && node.text.trim().is_empty())
}

pub(super) fn read(node: &Node, places: &Places) -> Result<InboxRule, String> {
    let flag = |name: &str| node.value(name).is_some_and(|v| v.trim() == "true");
    if flag("IsNotSupported") {
        return Err("Exchange itself cannot tell what it says".into());
    }
    let part = |name: &str| node.child(name).map_or_else(|| Ok(Predicates::default()), predicates);
    let rule = InboxRule {
        name: node.value("DisplayName").unwrap_or_default().to_owned(),
        active: flag("IsEnabled"),
        conditions: part("Conditions")?,
        exceptions: part("Exceptions")?,
        deeds: node.child("Actions").map_or_else(|| Ok(Deeds::default()), |actions| deeds(actions, places))?,
    };
    if rule.deeds == Deeds::default() { Err("it does nothing".into()) } else { Ok(rule) }
}

fn predicates(node: &Node) -> Result<Predicates, String> {
    let mut found = Predicates::default();
    for child in node.children.iter().filter(|c| says(c)) {
        let name = child.name.as_str();
        if let Some(kind) = WORDS.into_iter().find(|w| *w == name) {
            let words = if name == "FromAddresses" { addresses(child)? } else { texts(child) };
            found.words.insert(kind, words);
        } else if name == "WithinSizeRange" {
            let size = |name: &str| child.value(name).and_then(|v| v.trim().parse::<u64>().ok()).filter(|n| *n > 0);
            (found.least, found.most) = (size("MinimumSize"), size("MaximumSize"));
        } else {
            return Err(format!("the condition {name} has nothing like it in the neutral form"));
        }
    }
    Ok(found)
}

fn deeds(node: &Node, places: &Places) -> Result<Deeds, String> {
    let mut found = Deeds::default();
    for child in node.children.iter().filter(|c| says(c)) {
        match child.name.as_str() {
            "AssignCategories" => found.categories = texts(child).iter().map(|c| keyword(c)).collect(),
            "CopyToFolder" => found.copy = Some(places.key(child)?),
            "MoveToFolder" => found.file = Some(places.key(child)?),
            "Delete" => found.file = Some(places.bin.clone().ok_or("no folder of what was thrown away")?),
            "PermanentDelete" => found.delete = true,
            "MarkAsRead" => found.read = true,
            "RedirectToRecipients" => found.redirect = addresses(child)?,
            "StopProcessingRules" => found.stop = true,
            other => return Err(format!("the action {other} has nothing like it in the neutral form")),
        }
    }
    Ok(found)
}

fn texts(node: &Node) -> Vec<String> {
    node.children.iter().map(|c| c.text.clone()).collect()
}

fn addresses(node: &Node) -> Result<Vec<String>, String> {
    let one = |a: &Node| {
        let text = a.value("EmailAddress").unwrap_or_default().trim().to_owned();
        if text.contains('@') { Ok(text) } else { Err(format!("`{text}` is no address of mail")) }
    };
    node.children.iter().map(one).collect()
}

/// `place` is in the list from 1. A folder that is not known is an error with its key.
pub(super) fn written(rule: &InboxRule, place: usize, places: &Places) -> Result<String, String> {
    let part = |name: &str, p: &Predicates| match p.is_empty() {
        true => String::new(),
        false => format!("<t:{name}>{}</t:{name}>", of_predicates(p)),
    };
    Ok(format!(
        "<t:Rule><t:DisplayName>{}</t:DisplayName><t:Priority>{place}</t:Priority><t:IsEnabled>{}</t:IsEnabled>{}{}<t:Actions>{}</t:Actions></t:Rule>",
        escaped(&rule.name),
        rule.active,
        part("Conditions", &rule.conditions),
        part("Exceptions", &rule.exceptions),
        of_deeds(&rule.deeds, places)?
    ))
}

fn strings<'s>(texts: impl Iterator<Item = &'s str>) -> String {
    texts.map(|t| format!("<t:String>{}</t:String>", escaped(t))).collect()
}

fn recipients(all: &[String]) -> String {
    all.iter().map(|a| format!("<t:Address><t:EmailAddress>{}</t:EmailAddress></t:Address>", escaped(a))).collect()
}

fn of_predicates(p: &Predicates) -> String {
    let mut out = String::new();
    for (kind, words) in &p.words {
        let each = if *kind == "FromAddresses" { recipients(words) } else { strings(words.iter().map(String::as_str)) };
        out.push_str(&format!("<t:{kind}>{each}</t:{kind}>"));
    }
    if p.least.or(p.most).is_some() {
        let size = |name: &str, n: Option<u64>| n.map_or_else(String::new, |n| format!("<t:{name}>{n}</t:{name}>"));
        let (least, most) = (size("MinimumSize", p.least), size("MaximumSize", p.most));
        out.push_str(&format!("<t:WithinSizeRange>{least}{most}</t:WithinSizeRange>"));
    }
    out
}

fn of_deeds(deeds: &Deeds, places: &Places) -> Result<String, String> {
    let mut out = String::new();
    if !deeds.categories.is_empty() {
        let names: Vec<String> = deeds.categories.iter().map(|c| category(c)).collect();
        out.push_str(&format!(
            "<t:AssignCategories>{}</t:AssignCategories>",
            strings(names.iter().map(String::as_str))
        ));
    }
    let folder = |name: &str, key: &Option<String>| match key {
        None => Ok(String::new()),
        Some(key) => places.id(key).map(|id| format!("<t:{name}>{}</t:{name}>", folder_id(id))).ok_or(key.clone()),
    };
    let on = |name: &str, is: bool| if is { format!("<t:{name}>true</t:{name}>") } else { String::new() };
    out.push_str(&folder("CopyToFolder", &deeds.copy)?);
    out.push_str(&on("MarkAsRead", deeds.read));
    out.push_str(&folder("MoveToFolder", &deeds.file)?);
    out.push_str(&on("PermanentDelete", deeds.delete));
    if !deeds.redirect.is_empty() {
        out.push_str(&format!("<t:RedirectToRecipients>{}</t:RedirectToRecipients>", recipients(&deeds.redirect)));
    }
    out.push_str(&on("StopProcessingRules", deeds.stop));
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::services::cms::ews::soap::tree;

    fn places() -> Places {
        Places { all: vec![("id-1".into(), "Work".into()), ("id-2".into(), "Trash".into())], bin: Some("Trash".into()) }
    }

    #[test]
    fn a_rule_is_read_as_it_was_written() {
        let words = |kind: &'static str, word: &str| (kind, vec![word.to_owned()]);
        let rule = InboxRule {
            name: "a & b".into(),
            active: true,
            conditions: Predicates {
                words: [words("ContainsSubjectStrings", "<x>"), words("FromAddresses", "a@x")].into(),
                least: Some(7),
                most: None,
            },
            exceptions: Predicates { words: [words("ContainsBodyStrings", "y")].into(), ..Predicates::default() },
            deeds: Deeds {
                categories: vec!["B&APw-ro".into()],
                file: Some("Work".into()),
                read: true,
                redirect: vec!["b@x".into()],
                stop: true,
                ..Deeds::default()
            },
        };
        let text = written(&rule, 1, &places()).expect("xml");
        assert!(text.contains("B\u{fc}ro") && text.contains("id-1"), "{text}");
        assert_eq!(read(&tree(text.as_bytes()).expect("tree"), &places()), Ok(rule.clone()));
        let gone = InboxRule { deeds: Deeds { copy: Some("Gone".into()), ..Deeds::default() }, ..rule };
        assert_eq!(written(&gone, 1, &places()), Err("Gone".into()));
    }

    #[test]
    fn what_the_neutral_form_does_not_have_is_said() {
        let rule = |inner: &str| {
            let text = format!("<Rule><DisplayName>r</DisplayName><IsEnabled>true</IsEnabled>{inner}</Rule>");
            read(&tree(text.as_bytes()).expect("tree"), &places())
        };
        let bin = rule(
            "<Conditions><HasAttachments>false</HasAttachments></Conditions><Actions><Delete>true</Delete></Actions>",
        );
        assert_eq!(bin.expect("rule").deeds.file.as_deref(), Some("Trash"));
        for (inner, why) in [
            (
                "<Conditions><HasAttachments>true</HasAttachments></Conditions><Actions><Delete>true</Delete></Actions>",
                "HasAttachments",
            ),
            (
                "<Actions><ForwardToRecipients><Address><EmailAddress>a@b</EmailAddress></Address></ForwardToRecipients></Actions>",
                "ForwardTo",
            ),
            (
                "<Actions><RedirectToRecipients><Address><EmailAddress>/o=x</EmailAddress></Address></RedirectToRecipients></Actions>",
                "/o=x",
            ),
            ("<Actions><MoveToFolder><FolderId Id='gone'/></MoveToFolder></Actions>", "not there"),
            ("<IsNotSupported>true</IsNotSupported>", "cannot tell"),
            ("", "nothing"),
        ] {
            let refused = rule(inner).expect_err(inner);
            assert!(refused.contains(why), "{inner}: {refused}");
        }
    }
}
