//! How Ctrl-C and the like stop a run.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::Error;

/// The first Ctrl-C asks the run to stop and save; the second ends the program.
pub(super) fn stop_on_interrupt(quiet: bool) -> Result<Arc<AtomicBool>, Error> {
    let stop = Arc::new(AtomicBool::new(false));
    let flag = stop.clone();
    ctrlc::set_handler(move || {
        if flag.swap(true, Ordering::Relaxed) {
            std::process::exit(130);
        }
        if !quiet {
            eprintln!("\nstopping after this step; Ctrl-C again ends without saving");
        }
    })?;
    Ok(stop)
}
