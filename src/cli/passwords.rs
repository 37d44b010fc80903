//! With which passwords people of lists come to the new side: counts, and where those that were made here stand.

use std::collections::BTreeMap;

use super::session::Session;
use crate::model::Kind;
use crate::model::plan::{Plan, PlanNote};
use crate::model::step::Action;
use crate::people::Password;

/// Says of each `accounts` node of which the plan makes mailboxes how many passwords come from where.
pub fn tell(session: &Session, plan: &mut Plan) {
    let mut made: BTreeMap<&str, std::collections::BTreeSet<&str>> = BTreeMap::new();
    for step in plan.steps.iter().filter(|s| s.action == Action::Create && s.address.kind == Kind::MailAccount) {
        if let Some(name) = step.owner.strip_prefix("accounts:") {
            made.entry(name).or_default().insert(&step.address.key);
        }
    }
    let mut notes = Vec::new();
    for (name, people) in made {
        let Some(list) = session.project.made.accounts.get(name) else { continue };
        let count = |from| list.mailboxes.iter().filter(|m| m.password == from && people.contains(&*m.address)).count();
        let (imported, reset) = (count(Password::Import), count(Password::Reset));
        let mut text = format!("accounts {name}: {} mailboxes; passwords: {imported} imported", people.len());
        if reset > 0 {
            let folder = session.state.path().join("secrets");
            text += &format!(", {reset} made here (first passwords: {}/account-ADDRESS)", folder.display());
        }
        notes.push(PlanNote { address: None, text, blocks: false });
    }
    plan.notes.extend(notes);
}
