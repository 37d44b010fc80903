//! The table of routes and its file form.

use std::collections::HashMap;
use std::fmt::Write as _;

use super::Route;

/// All routes of one epoch. The same for IMAP, POP3 and SMTP.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table {
    /// Grows with every change.
    pub epoch: u64,
    /// Of users that are not named.
    pub default: Route,
    pub users: HashMap<String, Route>,
}

impl Table {
    pub fn of(&self, user: &str) -> Route {
        self.users.get(user).copied().unwrap_or(self.default)
    }

    /// Applies a change; `false`, and nothing changes, when the table is as new.
    pub fn apply(&mut self, change: &Change) -> bool {
        if change.epoch <= self.epoch {
            return false;
        }
        self.epoch = change.epoch;
        for (user, route) in &change.users {
            match route {
                Some(route) => self.users.insert(user.clone(), *route),
                None => self.users.remove(user),
            };
        }
        true
    }

    /// Who has another route in `newer`, with that route.
    pub fn difference(&self, newer: &Table) -> Vec<(String, Option<Route>)> {
        let changed = newer.users.iter().filter(|(user, route)| self.users.get(*user) != Some(route));
        let gone = self.users.keys().filter(|user| !newer.users.contains_key(*user));
        let changed = changed.map(|(user, route)| (user.clone(), Some(*route)));
        changed.chain(gone.map(|user| (user.clone(), None))).collect()
    }

    /// The file form: `cutover-routes 1 EPOCH DEFAULT`, a line `ROUTE USER` each, `end COUNT`. Without its last line it is torn.
    pub fn to_text(&self) -> String {
        let mut users: Vec<(&String, &Route)> = self.users.iter().collect();
        users.sort();
        let mut out = format!("cutover-routes 1 {} {}\n", self.epoch, self.default.as_str());
        for (user, route) in users {
            let _ = writeln!(out, "{} {user}", route.as_str());
        }
        let _ = writeln!(out, "end {}", self.users.len());
        out
    }

    /// Reads the file form; the error names the line.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut lines = text.lines();
        let head: Vec<&str> = lines.next().unwrap_or_default().split(' ').collect();
        let ["cutover-routes", "1", epoch, default] = head.as_slice() else {
            return Err("line 1 is not `cutover-routes 1 EPOCH DEFAULT`".into());
        };
        let epoch = epoch.parse().map_err(|_| format!("line 1: `{epoch}` is no epoch"))?;
        let default = Route::named(default).ok_or_else(|| format!("line 1: there is no route `{default}`"))?;
        let mut users = HashMap::new();
        for (number, line) in (2..).zip(&mut lines) {
            let (word, rest) = line.split_once(' ').ok_or_else(|| format!("line {number} is not `ROUTE USER`"))?;
            if word == "end" {
                return match (rest.parse() == Ok(users.len()), lines.next()) {
                    (true, None) => Ok(Self { epoch, default, users }),
                    (false, _) => Err(format!("line {number} says `end {rest}` behind {} users", users.len())),
                    (true, Some(_)) => Err(format!("something stands behind `end` in line {}", number + 1)),
                };
            }
            let route = Route::named(word).ok_or_else(|| format!("line {number}: there is no route `{word}`"))?;
            if users.insert(rest.to_owned(), route).is_some() {
                return Err(format!("line {number}: {rest} stands here twice"));
            }
        }
        Err("the file is torn: its last line is not `end COUNT`".into())
    }
}

/// One change of routes, of one user or of many: all of it holds from one epoch on.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Change {
    /// Greater than that of the table.
    pub epoch: u64,
    /// Without a route the user is named no more: the directory tells, or the default holds.
    pub users: Vec<(String, Option<Route>)>,
    /// Sessions of these users that run by another route are closed.
    #[serde(default)]
    pub close: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(epoch: u64, users: &[(&str, Route)]) -> Table {
        Table { epoch, default: Route::Old, users: users.iter().map(|(u, r)| ((*u).to_owned(), *r)).collect() }
    }

    #[test]
    fn the_file_comes_back_and_a_torn_one_does_not() {
        let t = table(7, &[("ann@acme.example", Route::New), ("bob with space", Route::Held), ("cem", Route::Blocked)]);
        let text = t.to_text();
        assert_eq!(Table::parse(&text).unwrap(), t);
        for cut in 0..text.len() - 1 {
            assert!(Table::parse(&text[..cut]).is_err(), "cut at {cut}");
        }
        for bad in [
            "x",
            "cutover-routes 2 1 old\nend 0\n",
            "cutover-routes 1 1 old\nnew a\nnew a\nend 2\n",
            "cutover-routes 1 1 old\nend 0\nnew b\n",
            "cutover-routes 1 1 old\nnewer a\nend 1\n",
        ] {
            assert!(Table::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_difference_that_is_applied_makes_the_other_table() {
        let old = table(1, &[("ann", Route::Old), ("bob", Route::New), ("cem", Route::Held)]);
        let new = table(5, &[("ann", Route::New), ("bob", Route::New), ("dan", Route::Blocked)]);
        let mut users = old.difference(&new);
        users.sort();
        assert_eq!(users.len(), 3, "{users:?}");
        let change = Change { epoch: 5, users, close: false };
        let mut made = old.clone();
        assert!(made.apply(&change) && made == new);
        assert!(!made.apply(&change), "the same epoch again");
    }
}
