//! Learning that the GPU is done, without standing still meanwhile.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

/// Set once, when a copy has arrived or never will, and wakes whoever awaits it.
#[derive(Default)]
pub(super) struct Signal(Mutex<State>);

#[derive(Default)]
struct State {
    set: bool,
    waker: Option<Waker>,
}

impl Signal {
    pub(super) fn set(&self) {
        let waker = {
            let mut state = self.lock();
            state.set = true;
            state.waker.take()
        };
        waker.into_iter().for_each(Waker::wake);
    }

    pub(super) fn is_set(&self) -> bool {
        self.lock().set
    }

    /// Whether it is set; if not, whom to wake.
    pub(super) fn poll(&self, context: &Context<'_>) -> Poll<()> {
        let mut state = self.lock();
        if state.set {
            return Poll::Ready(());
        }
        state.waker = Some(context.waker().clone());
        Poll::Pending
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

type Watched = (wgpu::SubmissionIndex, Arc<Signal>);

/// A thread that waits for submissions in place of whoever awaits them: wgpu tells only those who ask. The first future starts it,
/// and it ends with its device.
#[derive(Default)]
pub(super) struct Watcher(Mutex<Option<Sender<Watched>>>);

impl Watcher {
    /// Sets `signal` once the submission has run, if nobody has before.
    pub(super) fn watch(&self, device: &wgpu::Device, submission: wgpu::SubmissionIndex, signal: Arc<Signal>) {
        let mut thread = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let sender = thread.get_or_insert_with(|| {
            let (sender, submissions) = channel::<Watched>();
            let device = device.clone();
            std::thread::spawn(move || {
                for (submission, signal) in submissions {
                    let wait = wgpu::PollType::Wait { submission_index: Some(submission), timeout: None };
                    // A device that is lost may make wgpu panic. Whoever awaits finds out why by itself.
                    let _ = catch_unwind(AssertUnwindSafe(|| device.poll(wait)));
                    signal.set();
                }
            });
            sender
        });
        // The thread ends only with its sender.
        let _ = sender.send((submission, signal));
    }
}
