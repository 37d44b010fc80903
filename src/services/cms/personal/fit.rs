//! Brings what one end lists into the form that the other end takes.

use super::away::Away;
use super::rule::{Action, Rules};
use super::{Body, Left, Seen, Thing, sieve};
use crate::services::cms::config::Item;
use crate::services::cms::mailbox::{FolderPath, Space};

/// Name of the script that is made of rules which were none.
pub const SCRIPT: &str = "cutover";
/// Names of the things that are made of the active script.
pub const RULES: &str = "rules";
pub const AWAY: &str = "away";

/// What is true of both ends of a pass.
pub struct Ends<'a> {
    /// The extensions that the written end knows, when it holds Sieve scripts.
    pub sieve: Option<&'a [String]>,
    /// How folders are named in scripts, the read side first.
    pub spaces: &'a [Space; 2],
    /// Where a folder of the read side is on the written one.
    pub path: &'a (dyn Fn(&FolderPath) -> FolderPath + Send + Sync),
    /// The user's address.
    pub user: &'a str,
}

impl Ends<'_> {
    /// As a script of the other side names it.
    fn folder(&self, name: &str) -> String {
        self.spaces[1].write(&(self.path)(&self.spaces[0].read(name)))
    }

    /// Redirects out of the user's own domain: people want to see them.
    fn outside(&self, addresses: impl IntoIterator<Item = String>) -> Vec<String> {
        let domain = |a: &str| a.rsplit_once('@').map(|(_, d)| d.trim_end_matches('>').to_ascii_lowercase());
        let own = domain(self.user);
        let mut out: Vec<String> = addresses.into_iter().filter(|a| own.is_none() || domain(a) != own).collect();
        out.dedup();
        out.into_iter().map(|a| format!("redirects mail to {a}, outside of the user's domain")).collect()
    }

    fn redirects(&self, rules: &Rules) -> Vec<String> {
        let actions = rules.0.iter().flat_map(|r| &r.actions);
        self.outside(actions.filter_map(|a| match a {
            Action::Redirect { to, .. } => Some(to.clone()),
            _ => None,
        }))
    }
}

/// Things that the written end can be given, and what stays behind. Marks stay those of the end that was read, whatever becomes of the content:
/// the ledger knows each side by its own.
pub fn fit(things: Vec<Seen>, ends: &Ends<'_>) -> (Vec<Seen>, Vec<Left>) {
    let (mut out, mut left) = (Vec::new(), Vec::new());
    let (mut rules, mut away): (Option<Rules>, Option<Away>) = (None, None);
    // Of what a script is made of.
    let mut marks: Vec<String> = Vec::new();
    let names: Vec<String> = things.iter().map(|s| s.id.clone()).collect();
    for seen in things {
        let Some(thing) = seen.thing else {
            out.push(seen);
            continue;
        };
        match (thing.body, ends.sieve) {
            (Body::Script { text, active }, Some(known)) => {
                let made = verbatim(&thing.id, text, active, known, ends, &mut left);
                out.extend(made.map(|made| Seen { mark: seen.mark, ..made }));
            }
            (Body::Script { text, active: true }, None) => {
                let made = neutral(&thing.id, &text, ends, &mut left).into_iter();
                out.extend(made.map(|made| Seen { mark: seen.mark.clone(), ..made }));
            }
            (Body::Script { .. }, None) => {
                let what = "the script is not the active one, and the other side holds only what works";
                left.push(Left::new(Item::Rules, thing.id, what));
            }
            (Body::Rules(found), Some(_)) => {
                marks.push(seen.mark);
                rules = Some(found);
            }
            (Body::Away(found), Some(_)) => {
                marks.push(seen.mark);
                away = Some(found);
            }
            (Body::Rules(found), None) => {
                let found = map(found, |name| key(ends, FolderPath::of_key(name)));
                let notes = ends.redirects(&found);
                let thing = Thing { notes, ..Thing::new(Item::Rules, thing.id, Body::Rules(found)) };
                out.push(Seen { mark: seen.mark, ..Seen::whole(thing) });
            }
            (body, _) => out.push(Seen { mark: seen.mark, ..Seen::whole(Thing { body, ..thing }) }),
        }
    }
    if rules.is_some() || away.is_some() {
        let free = (1..).map(|n| if n == 1 { SCRIPT.to_owned() } else { format!("{SCRIPT}-{n}") });
        let name = free.into_iter().find(|n| !names.contains(n)).unwrap_or_default();
        let rules = map(rules.unwrap_or_default(), |name| {
            let path = FolderPath::of_key(name).unwrap_or_else(FolderPath::inbox);
            ends.spaces[1].write(&(ends.path)(&path))
        });
        let made = build(&name, &rules, away.as_ref(), ends, &mut left);
        out.extend(made.map(|made| Seen { mark: marks.join(" "), ..made }));
    }
    (out, left)
}

fn key(ends: &Ends<'_>, path: Option<FolderPath>) -> String {
    (ends.path)(&path.unwrap_or_else(FolderPath::inbox)).key()
}

fn map(mut rules: Rules, name: impl Fn(&str) -> String) -> Rules {
    for action in rules.0.iter_mut().flat_map(|r| &mut r.actions) {
        if let Action::File { folder, .. } = action {
            *folder = name(folder);
        }
    }
    rules
}

/// A script as it stands where the other server knows all that it requires; else what can be said otherwise.
fn verbatim(
    id: &str,
    text: String,
    active: bool,
    known: &[String],
    ends: &Ends<'_>,
    left: &mut Vec<Left>,
) -> Option<Seen> {
    let unread = |why: String, left: &mut Vec<Left>| {
        left.push(Left::new(Item::Rules, id, format!("the script cannot be read: {why}")));
        None
    };
    let missing = match sieve::missing(&text, known) {
        Ok(missing) => missing,
        Err(why) => return unread(why, left),
    };
    if missing.is_empty() {
        let mut notes = ends.outside(sieve::redirects(&text));
        let (text, changed) = match sieve::refolder(&text, |name| ends.folder(name)) {
            Ok(done) => done,
            Err(why) => return unread(why, left),
        };
        notes.extend(changed);
        let thing = Thing::new(Item::Rules, id, Body::Script { text, active });
        return Some(Seen::whole(Thing { notes, ..thing }));
    }
    let missing = missing.join(", ");
    if !active {
        let what =
            format!("the script requires {missing}, which the other server does not know; it is not the active one");
        left.push(Left::new(Item::Rules, id, what));
        return None;
    }
    let said = match sieve::read(&text) {
        Ok(said) => said,
        Err(why) => return unread(why, left),
    };
    left.extend(said.left.into_iter().map(|(at, what)| Left::new(Item::Rules, format!("{id}:{at}"), what)));
    if said.rules.is_empty() && said.away.is_none() {
        return None;
    }
    let rules = map(Rules(said.rules), |name| ends.folder(name));
    let mut seen = build(id, &rules, said.away.as_ref(), ends, left)?;
    if let Some(thing) = &mut seen.thing {
        thing.notes.push(format!("written anew: the script required {missing}, which the other server does not know"));
        thing.notes.extend(said.notes);
    }
    Some(seen)
}

/// A script of neutral rules.
fn build(id: &str, rules: &Rules, away: Option<&Away>, ends: &Ends<'_>, left: &mut Vec<Left>) -> Option<Seen> {
    let written = sieve::script(&rules.0, away);
    let known = ends.sieve.unwrap_or_default();
    let missing: Vec<&str> = written.requires.iter().copied().filter(|r| !known.iter().any(|k| k == r)).collect();
    left.extend(written.left.into_iter().map(|what| Left::new(Item::OutOfOffice, id, what)));
    if !missing.is_empty() {
        let what =
            format!("the other server does not know {}, without which these rules cannot be said", missing.join(", "));
        left.push(Left::new(Item::Rules, id, what));
        return None;
    }
    let thing = Thing::new(Item::Rules, id, Body::Script { text: written.text, active: true });
    Some(Seen::whole(Thing { notes: ends.redirects(rules), ..thing }))
}

/// Rules and out-of-office of the active script.
fn neutral(id: &str, text: &str, ends: &Ends<'_>, left: &mut Vec<Left>) -> Vec<Seen> {
    let said = match sieve::read(text) {
        Ok(said) => said,
        Err(why) => {
            left.push(Left::new(Item::Rules, id, format!("the script cannot be read: {why}")));
            return Vec::new();
        }
    };
    left.extend(said.left.into_iter().map(|(at, what)| Left::new(Item::Rules, format!("{id}:{at}"), what)));
    let mut out = Vec::new();
    if let Some(away) = said.away {
        let thing = Thing::new(Item::OutOfOffice, AWAY, Body::Away(away));
        out.push(Seen::whole(Thing { notes: said.notes, ..thing }));
    }
    if !said.rules.is_empty() {
        let rules = map(Rules(said.rules), |name| key(ends, Some(ends.spaces[0].read(name))));
        let notes = ends.redirects(&rules);
        let thing = Thing::new(Item::Rules, RULES, Body::Rules(rules));
        out.push(Seen::whole(Thing { notes, ..thing }));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fitted(text: &str, active: bool, known: Option<&str>) -> (Vec<Seen>, Vec<Left>) {
        let known: Option<Vec<String>> = known.map(|k| k.split(' ').map(str::to_owned).collect());
        let spaces = [Space { prefix: "INBOX.".into(), delimiter: '.' }, Space::default()];
        let path = |path: &FolderPath| match path.key().as_str() {
            "Old" => FolderPath::of_key("New/er").expect("path"),
            _ => path.clone(),
        };
        let ends = Ends { sieve: known.as_deref(), spaces: &spaces, path: &path, user: "ann@acme.example" };
        let thing = Thing::new(Item::Rules, "main", Body::Script { text: text.into(), active });
        fit(vec![Seen::whole(thing)], &ends)
    }

    const TEXT: &str = "require [\"fileinto\", \"spamtest\"];\nif header :is \"a\" \"b\" { fileinto \"INBOX.Old\"; }\n\
                        if spamtest :is \"5\" { discard; }\nredirect \"x@else.example\";\nredirect \"bob@acme.example\";\n";

    #[test]
    fn a_script_goes_as_it_stands_with_the_folders_of_the_other_side() {
        let (things, left) = fitted(TEXT, false, Some("fileinto spamtest"));
        let thing = things[0].thing.as_ref().expect("thing");
        let Body::Script { text, active: false } = &thing.body else { panic!("{thing:?}") };
        assert_eq!(*text, TEXT.replace("INBOX.Old", "New/er"));
        assert!(left.is_empty() && thing.notes.len() == 2, "{left:?} {:?}", thing.notes);
        assert!(thing.notes[0].contains("x@else.example") && thing.notes[1].contains("New/er"), "{:?}", thing.notes);
    }

    #[test]
    fn what_the_other_server_does_not_know_is_left_and_the_rest_said_anew() {
        let (things, left) = fitted(TEXT, true, Some("fileinto"));
        let Some(Body::Script { text, active: true }) = things[0].thing.as_ref().map(|t| &t.body) else { panic!() };
        assert!(text.contains("fileinto \"New/er\"") && !text.contains("spamtest") && text.contains("x@else.example"));
        assert!(left.len() == 1 && left[0].what.contains("if spamtest :is"), "{left:?}");
        assert!(fitted(TEXT, false, Some("fileinto")).0.is_empty(), "one that does not work is not made anew");
    }

    #[test]
    fn an_end_without_sieve_gets_rules_and_out_of_office_of_the_active_script() {
        let (things, left) = fitted(&format!("{TEXT}vacation \"gone\";"), true, None);
        assert_eq!((things.len(), left.len()), (2, 1));
        let Some(Body::Rules(rules)) = things[1].thing.as_ref().map(|t| &t.body) else { panic!() };
        assert_eq!(rules.0[0].actions, [Action::File { folder: "New/er".into(), copy: false }]);
        let (things, left) = fitted(TEXT, false, None);
        assert!(things.is_empty() && left.len() == 1);
    }

    #[test]
    fn neutral_rules_become_a_script_and_are_read_as_the_same() {
        let (things, _) = fitted(&format!("{TEXT}vacation \"gone\";"), true, None);
        let known: Vec<String> = ["fileinto", "vacation"].map(str::to_owned).into();
        let spaces = [Space::default(), Space::default()];
        let ends = Ends { sieve: Some(&known), spaces: &spaces, path: &FolderPath::clone, user: "ann@acme.example" };
        let (made, left) = fit(things.clone(), &ends);
        assert!(left.is_empty() && made.len() == 1 && made[0].id == SCRIPT, "{left:?}");
        let ends = Ends { sieve: None, ..ends };
        let (again, left) = fit(made, &ends);
        let digests = |s: &[Seen]| s.iter().map(|s| s.thing.as_ref().map(Thing::digest)).collect::<Vec<_>>();
        assert!(left.is_empty());
        assert_eq!(digests(&again), digests(&things));
    }
}
