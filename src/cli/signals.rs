//! How Ctrl-C, SIGTERM and SIGHUP stop a run.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::time::{Duration, Instant};

use super::Error;

/// The signal of Ctrl-C, which has the same number on every system.
const INTERRUPT: u8 = 2;

/// Time within which signals count as one. Some senders signal twice: `timeout` signals the process and then its group.
const ONE_REQUEST: Duration = Duration::from_millis(100);

/// A signal's request to stop.
#[derive(Default)]
pub(super) struct Stop {
    requested: AtomicBool,
    /// The signal's number.
    signal: AtomicU8,
}

impl Stop {
    /// Listens for signals until the program ends. The first signal asks the run to stop and save; a later Ctrl-C ends
    /// the program at once. Signals that are ignored when the program starts stay ignored: nohup ignores SIGHUP, and a
    /// script without job control ignores SIGINT for its background processes.
    pub(super) fn on_signal(quiet: bool) -> Result<Arc<Self>, Error> {
        let stop = Arc::new(Self::default());
        let (shared, mut first) = (stop.clone(), None::<Instant>);
        listen(move |signal| match first {
            None => {
                first = Some(Instant::now());
                shared.request(signal);
                if !quiet {
                    eprintln!("\nstopping after this step; Ctrl-C ends without saving");
                }
            }
            Some(first) if signal == INTERRUPT && first.elapsed() > ONE_REQUEST => {
                std::process::exit(status(signal).into());
            }
            Some(_) => {}
        })?;
        Ok(stop)
    }

    fn request(&self, signal: u8) {
        self.signal.store(signal, Ordering::Relaxed);
        self.requested.store(true, Ordering::Release);
    }

    /// Whether the run is to stop.
    pub(super) fn requested(&self) -> &AtomicBool {
        &self.requested
    }

    /// The error with which the program ends after a signal stopped the run.
    pub(super) fn error(&self) -> Error {
        // Pairs with the release in `request`, so that `signal` is set.
        self.requested.load(Ordering::Acquire);
        Error::stopped(status(self.signal.load(Ordering::Relaxed)))
    }
}

/// Exit status of a program that a signal ended, by the convention of shells.
fn status(signal: u8) -> u8 {
    128 + signal
}

/// Calls a function with the number of each signal that arrives.
#[cfg(unix)]
fn listen(mut on_signal: impl FnMut(u8) + Send + 'static) -> io::Result<()> {
    use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
    use signal_hook::iterator::Signals;

    let heeded = [SIGHUP, SIGINT, SIGTERM].into_iter().filter(|&signal| !is_ignored(signal));
    let mut signals = Signals::new(heeded)?;
    std::thread::Builder::new().name("signals".into()).spawn(move || {
        for signal in signals.forever() {
            on_signal(u8::try_from(signal).unwrap_or(INTERRUPT));
        }
    })?;
    Ok(())
}

/// Whether the signal is ignored. No crate can query this without changing the signal's action.
#[cfg(unix)]
#[allow(unsafe_code)]
fn is_ignored(signal: std::ffi::c_int) -> bool {
    let mut action = std::mem::MaybeUninit::<libc::sigaction>::uninit();
    // SAFETY: without a new action sigaction(2) changes nothing. It fills in the old one where it returns 0.
    unsafe {
        libc::sigaction(signal, std::ptr::null(), action.as_mut_ptr()) == 0
            && action.assume_init().sa_sigaction == libc::SIG_IGN
    }
}

/// Calls a function with the number of Ctrl-C's signal whenever the console asks the program to end.
#[cfg(not(unix))]
fn listen(mut on_signal: impl FnMut(u8) + Send + 'static) -> io::Result<()> {
    ctrlc::set_handler(move || on_signal(INTERRUPT)).map_err(io::Error::other)
}
