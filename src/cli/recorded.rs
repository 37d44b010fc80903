//! Observations in a file: what `state observe --out` wrote, for planning in CI and for benchmarks, where no host can be asked.

use std::io::BufReader;
use std::path::Path;

use super::failure::Failure;
use super::whole;
use crate::model::observed::Observed;

pub fn load(path: &Path) -> Result<Observed, Failure> {
    let shown = path.display();
    let file = std::fs::File::open(path).map_err(|e| {
        Failure::new(format!("the recorded observation {shown} cannot be read: {e}"))
            .help("record one with: cutover state observe --out FILE")
    })?;
    serde_json::from_reader(BufReader::with_capacity(1 << 16, file)).map_err(|e| {
        Failure::new(format!("{shown} is not a recorded observation: {e}"))
            .help("record one with: cutover state observe --out FILE")
    })
}

pub fn save(path: &Path, observed: &Observed) -> Result<(), Failure> {
    let fail = |e: std::io::Error| Failure::new(format!("the observation was not saved to {}: {e}", path.display()));
    whole::write(path, |f| {
        let mut buffered = std::io::BufWriter::new(f);
        serde_json::to_writer(&mut buffered, observed)?;
        std::io::Write::flush(&mut buffered)
    })
    .map_err(fail)
}
