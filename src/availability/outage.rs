//! Which sites are gone at once, and how likely that is.

/// Sites that are gone together, while all others stand.
#[derive(Debug, Clone, PartialEq)]
pub struct Outage {
    pub gone: Vec<usize>,
    pub probability: f64,
}

/// All combinations of sites that are gone, up to so many at once as keep the list below `most`; never fewer than one at once. `down`
/// is the share of time that each is gone. What is not listed is what is missing to 1.
pub fn outages(down: &[f64], most: usize) -> Vec<Outage> {
    let mut out = vec![Outage { gone: Vec::new(), probability: down.iter().map(|d| 1.0 - d).product() }];
    let mut from = 0;
    for depth in 1..=down.len() {
        let last = out.len();
        let mut next = Vec::new();
        for outage in &out[from..last] {
            let first = outage.gone.last().map_or(0, |s| s + 1);
            for (site, d) in down.iter().enumerate().skip(first) {
                // A site that is always gone leaves nothing to divide by.
                let probability = if *d < 1.0 { outage.probability * d / (1.0 - d) } else { 0.0 };
                let gone = outage.gone.iter().copied().chain([site]).collect();
                next.push(Outage { gone, probability });
            }
            if depth > 1 && last + next.len() > most {
                return out;
            }
        }
        from = last;
        out.extend(next);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_that_can_be_gone_adds_up_to_one() {
        let down = [0.1, 0.02, 0.3, 0.004];
        let all = outages(&down, 1000);
        assert_eq!(all.len(), 16);
        assert!((all.iter().map(|o| o.probability).sum::<f64>() - 1.0).abs() < 1e-12);
        let both = all.iter().find(|o| o.gone == [0, 2]).expect("listed");
        assert!((both.probability - 0.1 * 0.3 * 0.98 * 0.996).abs() < 1e-12);
    }

    #[test]
    fn many_sites_are_cut_where_the_rest_is_unlikely() {
        let many = outages(&[0.001; 100], 6000);
        assert_eq!(many.len(), 1 + 100 + 4950);
        assert!(1.0 - many.iter().map(|o| o.probability).sum::<f64>() < 2e-4);
        assert_eq!(outages(&[0.001; 100], 10).len(), 101, "one at a time is always looked at");
    }
}
