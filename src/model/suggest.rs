//! The nearest known word, for "did you mean".

/// The candidate nearest to `word`, when it is near enough to be a slip.
pub fn did_you_mean<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let nearest = known.into_iter().map(|k| (strsim::damerau_levenshtein(word, k), k)).min()?;
    (nearest.0 <= 1 + word.chars().count() / 4).then_some(nearest.1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suggests_slips_only() {
        assert_eq!(did_you_mean("pakcage", ["package", "file"]), Some("package"));
        assert_eq!(did_you_mean("zebra", ["package", "file"]), None);
    }
}
