//! Waiting for the GPU, and learning that it is done without standing still meanwhile.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::thread::JoinHandle;
use std::time::Duration;

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

/// A point in the queue's order that can be waited for.
#[derive(Clone)]
pub(crate) struct Submission {
    index: wgpu::SubmissionIndex,
    /// Set when it has run, on a device that is an application's.
    done: Arc<Signal>,
}

/// How a device is waited for.
#[derive(Clone)]
pub(super) struct Waiter {
    pub(super) device: wgpu::Device,
    /// Whether the device is an application's, which draws meanwhile.
    pub(super) shared: bool,
}

/// Pauses between two questions, the first and the longest.
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

    /// Waits until a submission has run; if the device is lost, says how that shows.
    pub(super) fn wait(&self, submission: &Submission) -> Result<(), &'static str> {
        self.wait_until(submission, &submission.done)
    }

    /// Waits until a submission has run and a buffer whose mapping was asked for after it is mapped, which sets `mapped`.
    ///
    /// The submission's own signal does not do for that. Where another thread polls, it may be set before the mapping is asked
    /// for, and wgpu maps a buffer that no submission uses in the next poll, whoever makes it.
    pub(super) fn wait_until(&self, submission: &Submission, mapped: &Signal) -> Result<(), &'static str> {
        if !self.shared {
            let wait = wgpu::PollType::Wait { submission_index: Some(submission.index.clone()), timeout: None };
            return self.ask(wait).map(drop);
        }
        // While wgpu waits it holds a lock that an application needs to present a frame or to destroy a texture. So it is asked now and then
        // instead. (To have it wait with a timeout is no way out: wgpu 30 may panic then, where other threads submit.)
        let mut pause = FIRST_PAUSE;
        while !mapped.is_set() && self.poll()? != wgpu::PollStatus::QueueEmpty {
            std::thread::sleep(pause);
            pause = (2 * pause).min(LONGEST_PAUSE);
        }
        Ok(())
    }

    /// Has wgpu call what waits for the GPU, as far as that is done.
    pub(super) fn poll(&self) -> Result<wgpu::PollStatus, &'static str> {
        self.ask(wgpu::PollType::Poll)
    }

    /// Where the driver loses the device meanwhile, wgpu tells the callback, which may be an application's, and then panics.
    fn ask(&self, how: wgpu::PollType) -> Result<wgpu::PollStatus, &'static str> {
        match catch_unwind(AssertUnwindSafe(|| self.device.poll(how))) {
            Ok(status) => status.map_err(|_| "it does not know its own submissions"),
            Err(_) => Err("wgpu gave up waiting for it"),
        }
    }
}

type Watched = (Submission, Arc<Signal>);

/// A thread that waits for submissions in place of whoever awaits them: wgpu tells only those who ask. The first future starts it,
/// and whoever drops its device last waits for its end. (The thread has the device as well. If it closed it alone, a program that ends just then would
/// unload the driver meanwhile, which NVIDIA's does not survive: wgpu's issue 8365.)
#[derive(Default)]
pub(super) struct Watcher(Mutex<Option<(Sender<Watched>, JoinHandle<()>)>>);

impl Watcher {
    /// Sets `signal` once the submission has run and what was to be mapped after it is mapped, if nobody has before.
    pub(super) fn watch(&self, waiter: &Waiter, submission: Submission, signal: Arc<Signal>) {
        let mut thread = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (sender, _) = thread.get_or_insert_with(|| {
            let (sender, submissions) = channel::<Watched>();
            let waiter = waiter.clone();
            let watch = move || {
                for (submission, signal) in submissions {
                    // Whoever awaits finds out by itself if the device is lost.
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
        // A future that is woken may drop the device itself, in this very thread.
        if thread.thread().id() != std::thread::current().id() {
            let _ = thread.join();
        }
    }
}
