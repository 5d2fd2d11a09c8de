//! Frame times, with and without a network running.

use std::time::Instant;

/// Idle frames that suffice for a result.
const ENOUGH: usize = 200;

#[derive(Default)]
pub(crate) struct FrameTimes {
    /// When the last frame began.
    last: Option<Instant>,
    /// Whether the network has worked since.
    classifying: bool,
    idle_ms: Vec<f64>,
    classifying_ms: Vec<f64>,
}

impl FrameTimes {
    /// A frame begins.
    pub(crate) fn frame(&mut self) {
        let now = Instant::now();
        if let Some(last) = self.last.replace(now) {
            let times = if self.classifying { &mut self.classifying_ms } else { &mut self.idle_ms };
            times.push(1e3 * (now - last).as_secs_f64());
        }
        self.classifying = false;
    }

    /// The network works, or has worked, during this frame.
    pub(crate) fn classifying(&mut self) {
        self.classifying = true;
    }

    /// Discards the frames so far.
    pub(crate) fn forget(&mut self) {
        *self = Self::default();
    }

    /// Whether there is enough: frames while the network worked, and idle ones after that.
    pub(crate) fn is_enough(&self) -> bool {
        !self.classifying_ms.is_empty() && self.idle_ms.len() >= ENOUGH
    }

    pub(crate) fn report(&self) -> String {
        format!("frames while idle: {}\nframes while classifying: {}", told(&self.idle_ms), told(&self.classifying_ms))
    }
}

fn told(times_ms: &[f64]) -> String {
    let mut sorted = times_ms.to_vec();
    sorted.sort_by(f64::total_cmp);
    let at = |share: f64| sorted.get((share * sorted.len() as f64) as usize).or(sorted.last());
    match (at(0.5), at(0.95)) {
        (Some(median), Some(slow)) => format!("{} of {median:.1} ms, one of twenty over {slow:.1} ms", sorted.len()),
        _ => "none".into(),
    }
}
