//! The one place that starts threads for asynchronous work; commands that ask no host never pay for it.

use std::future::Future;

use tokio::runtime::{Builder, Runtime};

use super::failure::Failure;

pub fn start() -> Result<Runtime, Failure> {
    Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|e| Failure::new(format!("the system gives no threads: {e}")))
}

/// Runs one piece of work to its end on a runtime of its own.
pub fn block_on<F: Future>(work: F) -> Result<F::Output, Failure> {
    Ok(start()?.block_on(work))
}
