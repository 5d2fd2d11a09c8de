//! Waiting for the GPU, blocking or asynchronously.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::thread::JoinHandle;
use std::time::Duration;

/// Set once, when a copy has arrived or never will; setting it wakes the waiting task.
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

    /// Whether it is set; if not, registers the waker to wake.
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

/// A point in the queue's order that can be waited for.
#[derive(Clone)]
pub(crate) struct Submission {
    index: wgpu::SubmissionIndex,
    /// Set when it has run; used on an application's device.
    done: Arc<Signal>,
}

/// How a device is waited for.
#[derive(Clone)]
pub(super) struct Waiter {
    pub(super) device: wgpu::Device,
    /// Whether the device belongs to an application, which draws meanwhile.
    pub(super) shared: bool,
}

/// Pauses between two polls: the first and the longest.
const FIRST_PAUSE: Duration = Duration::from_micros(50);
const LONGEST_PAUSE: Duration = Duration::from_millis(1);

impl Waiter {
    pub(super) fn submitted(&self, queue: &wgpu::Queue, index: wgpu::SubmissionIndex) -> Submission {
        let done = Arc::<Signal>::default();
        if self.shared {
            let setting = done.clone();
            queue.on_submitted_work_done(move || setting.set());
        }
        Submission { index, done }
    }

    /// Waits until a submission has run; the error says how the loss of the device shows.
    pub(super) fn wait(&self, submission: &Submission) -> Result<(), &'static str> {
        self.wait_until(submission, &submission.done)
    }

    /// Waits until a submission has run and a buffer is mapped whose mapping was requested after it; the mapping sets
    /// `mapped`.
    ///
    /// The submission's own signal is not enough: if another thread polls, it may be set before the mapping is
    /// requested, and wgpu maps a buffer that no submission uses in the next poll of any thread.
    pub(super) fn wait_until(&self, submission: &Submission, mapped: &Signal) -> Result<(), &'static str> {
        if !self.shared {
            let wait = wgpu::PollType::Wait { submission_index: Some(submission.index.clone()), timeout: None };
            return self.ask(wait).map(drop);
        }
        // While wgpu waits it holds a lock that an application needs to present a frame or to destroy a texture, so
        // this polls at intervals instead. (Waiting with a timeout does not help: wgpu 30 may then panic if other
        // threads submit.)
        let mut pause = FIRST_PAUSE;
        while !mapped.is_set() && self.poll()? != wgpu::PollStatus::QueueEmpty {
            std::thread::sleep(pause);
            pause = (2 * pause).min(LONGEST_PAUSE);
        }
        Ok(())
    }

    /// Makes wgpu run the callbacks of finished work.
    pub(super) fn poll(&self) -> Result<wgpu::PollStatus, &'static str> {
        self.ask(wgpu::PollType::Poll)
    }

    /// If the driver loses the device meanwhile, wgpu calls the device-lost callback, which may be an application's,
    /// and then panics.
    fn ask(&self, how: wgpu::PollType) -> Result<wgpu::PollStatus, &'static str> {
        match catch_unwind(AssertUnwindSafe(|| self.device.poll(how))) {
            Ok(status) => status.map_err(|_| "it does not know its own submissions"),
            Err(_) => Err("wgpu gave up waiting for it"),
        }
    }
}

type Watched = (Submission, Arc<Signal>);

/// A thread that waits for submissions on behalf of futures, since wgpu runs callbacks only when it is polled. The
/// first future starts the thread, and the last owner of the device waits for its end. (The thread shares the device.
/// If it were the last to close it, a program that ends at that moment would unload the driver meanwhile, and NVIDIA's
/// driver crashes: wgpu's issue 8365.)
#[derive(Default)]
pub(super) struct Watcher(Mutex<Option<(Sender<Watched>, JoinHandle<()>)>>);

impl Watcher {
    /// Sets `signal` once the submission has run and the buffer after it is mapped, unless it is set already.
    pub(super) fn watch(&self, waiter: &Waiter, submission: Submission, signal: Arc<Signal>) {
        let mut thread = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (sender, _) = thread.get_or_insert_with(|| {
            let (sender, submissions) = channel::<Watched>();
            let waiter = waiter.clone();
            let watch = move || {
                for (submission, signal) in submissions {
                    // The future itself finds out if the device is lost.
                    let _ = waiter.wait_until(&submission, &signal);
                    signal.set();
                }
            };
            (sender, std::thread::spawn(watch))
        });
        // The thread ends only with its sender.
        let _ = sender.send((submission, signal));
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        let thread = self.0.get_mut().unwrap_or_else(PoisonError::into_inner).take();
        let Some((sender, thread)) = thread else { return };
        drop(sender);
        // A woken future may drop the device on this very thread.
        if thread.thread().id() != std::thread::current().id() {
            let _ = thread.join();
        }
    }
}
