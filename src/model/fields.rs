//! The fields of a node by name. A range writes one line for thousands of nodes, so nodes share what does not differ between them.

use std::collections::HashMap;
use std::sync::Arc;

/// Fields by the names that the schema gives them, sorted by name. A clone shares the fields; changing one makes it the node's own.
#[derive(Debug, Clone, PartialEq)]
pub struct Fields<F> {
    list: Vec<(&'static str, Arc<F>)>,
}

impl<F> Default for Fields<F> {
    fn default() -> Self {
        Self { list: Vec::new() }
    }
}

impl<F> Fields<F> {
    pub fn with_capacity(fields: usize) -> Self {
        Self { list: Vec::with_capacity(fields) }
    }

    fn place(&self, name: &str) -> Result<usize, usize> {
        self.list.binary_search_by(|(n, _)| (*n).cmp(name))
    }

    pub fn get(&self, name: &str) -> Option<&F> {
        self.shared(name).map(Arc::as_ref)
    }

    /// As [`Fields::get`], to give to another node.
    pub fn shared(&self, name: &str) -> Option<&Arc<F>> {
        self.list.get(self.place(name).ok()?).map(|(_, f)| f)
    }

    pub fn contains_key(&self, name: &str) -> bool {
        self.place(name).is_ok()
    }

    /// Sets a field, in place of an earlier one of the name.
    pub fn insert(&mut self, name: &'static str, field: impl Into<Arc<F>>) {
        match self.place(name) {
            Ok(at) => self.list[at].1 = field.into(),
            Err(at) => self.list.insert(at, (name, field.into())),
        }
    }

    pub fn remove(&mut self, name: &str) -> Option<Arc<F>> {
        self.place(name).ok().map(|at| self.list.remove(at).1)
    }

    /// By name.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, &F)> {
        self.list.iter().map(|(n, f)| (*n, f.as_ref()))
    }

    pub fn keys(&self) -> impl Iterator<Item = &'static str> {
        self.list.iter().map(|(n, _)| *n)
    }

    pub fn values(&self) -> impl Iterator<Item = &F> {
        self.list.iter().map(|(_, f)| f.as_ref())
    }

    pub fn shrink_to_fit(&mut self) {
        self.list.shrink_to_fit();
    }
}

impl<F: Clone> Fields<F> {
    /// A field to change: from here on it is this node's own.
    pub fn get_mut(&mut self, name: &str) -> Option<&mut F> {
        let at = self.place(name).ok()?;
        Some(Arc::make_mut(&mut self.list[at].1))
    }
}

/// A change of one field after the other, made once for all nodes that share the field.
pub struct Rewrite<F, C> {
    change: C,
    /// By the place in memory, which `former` keeps from being used again.
    done: HashMap<*const F, Rewritten<F>>,
}

struct Rewritten<F> {
    _former: Arc<F>,
    now: Option<Arc<F>>,
}

impl<F, C: FnMut(&F) -> Option<F>> Rewrite<F, C> {
    /// `change` gives the new field, or `None` where it stays.
    pub fn new(change: C) -> Self {
        Self { change, done: HashMap::new() }
    }

    pub fn apply(&mut self, fields: &mut Fields<F>) {
        for (_, slot) in &mut fields.list {
            if let Some(now) = self.once(slot) {
                *slot = now;
            }
        }
    }

    /// As [`Rewrite::apply`], of one field.
    pub fn apply_to(&mut self, fields: &mut Fields<F>, name: &str) {
        if let Ok(at) = fields.place(name)
            && let Some(now) = self.once(&fields.list[at].1)
        {
            fields.list[at].1 = now;
        }
    }

    fn once(&mut self, field: &Arc<F>) -> Option<Arc<F>> {
        if Arc::strong_count(field) == 1 {
            return (self.change)(field).map(Arc::new);
        }
        if let Some(known) = self.done.get(&Arc::as_ptr(field)) {
            return known.now.clone();
        }
        let now = (self.change)(field).map(Arc::new);
        self.done.insert(Arc::as_ptr(field), Rewritten { _former: field.clone(), now: now.clone() });
        now
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields() -> Fields<u32> {
        let mut f = Fields::default();
        f.insert("site", 2);
        f.insert("fqdn", 1);
        f
    }

    #[test]
    fn sorted_by_name_and_replaced() {
        let mut f = fields();
        f.insert("site", 3);
        assert_eq!(f.iter().collect::<Vec<_>>(), [("fqdn", &1), ("site", &3)]);
        assert_eq!(f.remove("fqdn").as_deref(), Some(&1));
        assert!(!f.contains_key("fqdn") && f.get("fqdn").is_none());
    }

    #[test]
    fn a_change_stays_with_its_node() {
        let one = fields();
        let mut other = one.clone();
        *other.get_mut("site").expect("set") += 1;
        assert_eq!((one.get("site"), other.get("site")), (Some(&2), Some(&3)));
        assert!(Arc::ptr_eq(one.shared("fqdn").expect("set"), other.shared("fqdn").expect("set")));
    }

    #[test]
    fn what_is_shared_is_rewritten_once_and_stays_shared() {
        let mut one = fields();
        let mut other = one.clone();
        let mut calls = 0;
        let mut rewrite = Rewrite::new(|n: &u32| {
            calls += 1;
            (*n == 2).then_some(20)
        });
        rewrite.apply(&mut one);
        rewrite.apply(&mut other);
        drop(rewrite);
        assert_eq!(calls, 2);
        assert_eq!(other.get("site"), Some(&20));
        assert!(Arc::ptr_eq(one.shared("site").expect("set"), other.shared("site").expect("set")));
    }
}
