//! The probability that enough of several servers are up: k of n, with votes where a cluster needs a majority, with failures of one
//! cause that take all of a site's at once (beta-factor model, IEC 61508-6, annex D), and with sites that are gone.
//!
//! Exact: a table over how many serve and how many vote, filled server by server. With one kind of server and no common cause it is
//! the binomial distribution.

use std::collections::BTreeSet;

/// One server in a block.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Unit {
    /// Number of its site.
    pub site: usize,
    /// Share of time that it is down while its site stands.
    pub down: f64,
    /// Serves users; a witness only votes.
    pub serves: bool,
    pub votes: bool,
}

/// Servers of which enough have to be up.
#[derive(Debug, Clone, PartialEq)]
pub struct Block {
    pub units: Vec<Unit>,
    /// How many have to serve.
    pub needs: usize,
    /// How many votes a cluster has to have; 0 where nobody votes.
    pub votes: usize,
    /// When a site is lost, people bring the cluster up in another one without its majority.
    pub switchover: bool,
    /// Share of failures that take all servers of the block in one site at once (beta).
    pub common: f64,
    /// Share of time that users wait while another server takes over.
    pub failover: f64,
}

impl Block {
    pub fn sites(&self) -> BTreeSet<usize> {
        self.units.iter().map(|u| u.site).collect()
    }

    pub fn serving(&self) -> usize {
        self.units.iter().filter(|u| u.serves).count()
    }

    /// Probability that it serves while these sites are gone; `common` is the beta factor.
    pub fn up(&self, gone: &[usize], common: f64) -> f64 {
        let sites = self.sites();
        let votes = match self.switchover && gone.iter().any(|s| sites.contains(s)) {
            true => 0,
            false => self.votes,
        };
        // Row: how many serve; column: how many vote; both cut at what is enough.
        let (rows, columns) = (self.needs + 1, votes + 1);
        let mut table = vec![0.0; rows * columns];
        table[0] = 1.0;
        for site in sites.into_iter().filter(|s| !gone.contains(s)) {
            let here: Vec<Unit> = self.units.iter().filter(|u| u.site == site).copied().collect();
            let cause = together(&here, common);
            let witnesses: Vec<Unit> = here.iter().filter(|u| !u.serves).copied().collect();
            // What one cause takes are servers of one kind: a witness is another one.
            let mut struck = table.clone();
            witnesses.iter().for_each(|w| add(&mut struck, columns, w, w.down));
            for unit in here.iter().filter(|u| u.serves) {
                add(&mut table, columns, unit, alone(unit.down, cause));
            }
            witnesses.iter().for_each(|w| add(&mut table, columns, w, w.down));
            for (cell, other) in table.iter_mut().zip(struck) {
                *cell = (1.0 - cause) * *cell + cause * other;
            }
        }
        table.last().copied().unwrap_or_default()
    }
}

/// Probability that one cause has all servers of a site down: beta of what one of them is down, on average; of unlike servers never
/// more than the best of them is down at all.
fn together(here: &[Unit], common: f64) -> f64 {
    let serving: Vec<f64> = here.iter().filter(|u| u.serves).map(|u| u.down).collect();
    if serving.is_empty() {
        return 0.0;
    }
    let mean = serving.iter().sum::<f64>() / serving.len() as f64;
    serving.iter().copied().fold(common * mean, f64::min)
}

/// What is left for its own failures, so that a server is down for as long as it is, whatever the cause.
fn alone(down: f64, cause: f64) -> f64 {
    if cause >= 1.0 { 0.0 } else { ((down - cause) / (1.0 - cause)).max(0.0) }
}

/// Adds one server that is down with this probability.
fn add(table: &mut [f64], columns: usize, unit: &Unit, down: f64) {
    let rows = table.len() / columns;
    // From the end, so that no cell is moved on twice.
    for at in (0..table.len()).rev() {
        let (row, column) = (at / columns, at % columns);
        let to_row = (row + usize::from(unit.serves)).min(rows - 1);
        let to_column = (column + usize::from(unit.votes)).min(columns - 1);
        let to = to_row * columns + to_column;
        if to != at {
            table[to] += table[at] * (1.0 - down);
            table[at] *= down;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(n: usize, needs: usize, down: f64) -> Block {
        let unit = Unit { site: 0, down, serves: true, votes: false };
        Block { units: vec![unit; n], needs, votes: 0, switchover: false, common: 0.1, failover: 0.0 }
    }

    /// Copies of a mailbox database, each down 1% of the time: three of them are 99.9999% while failures are independent (Exchange
    /// Team, DAG: Beyond the A, 2011), and 99.950% where one of twenty is common (beta-factor model).
    #[test]
    fn three_copies_are_six_nines_only_while_nothing_is_common() {
        let three = of(3, 1, 0.01);
        assert!((three.up(&[], 0.0) - 0.999_999).abs() < 1e-12);
        assert_eq!(format!("{:.3}", three.up(&[], 0.05) * 100.0), "99.950");
    }

    /// Four tiers in a row, each a pair of servers of 99.9%: 99.9996% and 99.980%.
    #[test]
    fn four_tiers_of_pairs_miss_four_nines_where_one_failure_of_twenty_is_common() {
        let pair = of(2, 1, 0.001);
        assert_eq!(format!("{:.4}", pair.up(&[], 0.0).powi(4) * 100.0), "99.9996");
        assert_eq!(format!("{:.3}", pair.up(&[], 0.05).powi(4) * 100.0), "99.980");
    }

    #[test]
    fn k_of_n_is_the_binomial_distribution() {
        let choose = |n: usize, k: usize| (0..k).fold(1.0, |c, i| c * (n - i) as f64 / (i + 1) as f64);
        for (n, k, down) in [(1, 1, 0.2), (5, 3, 0.1), (12, 10, 0.03), (26, 1, 0.5)] {
            let sum: f64 =
                (k..=n).map(|i| choose(n, i) * (1.0f64 - down).powi(i as i32) * f64::powi(down, (n - i) as i32)).sum();
            assert!((of(n, k, down).up(&[], 0.0) - sum).abs() < 1e-12, "{n} {k} {down}");
        }
    }

    /// A server is down for as long as it is: the factor only says with whom.
    #[test]
    fn one_server_alone_knows_no_common_cause() {
        for common in [0.0, 0.1, 0.5, 1.0] {
            assert!((of(1, 1, 0.02).up(&[], common) - 0.98).abs() < 1e-12, "{common}");
        }
        assert!((of(4, 1, 0.02).up(&[], 1.0) - 0.98).abs() < 1e-12, "all failures are common");
    }

    #[test]
    fn a_site_that_is_gone_takes_its_servers_and_their_votes() {
        let unit = |site, serves| Unit { site, down: 0.01, serves, votes: true };
        let mut four = of(0, 1, 0.0);
        four.units = vec![unit(0, true), unit(0, true), unit(1, true), unit(1, true), unit(0, false)];
        four.votes = 3;
        assert!(four.up(&[], 0.0) > 0.999_9);
        assert_eq!(four.up(&[0], 0.0), 0.0, "two of five votes are no majority");
        four.switchover = true;
        assert!((four.up(&[0], 0.0) - 0.999_9).abs() < 1e-12, "people bring the others up");
        assert!(four.up(&[1], 0.0) > 0.999, "without a switch too: three of five are left");
        assert_eq!(four.up(&[0, 1], 0.0), 0.0);
    }
}
