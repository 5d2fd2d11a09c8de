//! How long frames take, with and without a network at work beside them.

use std::time::Instant;

#[derive(Default)]
pub(crate) struct FrameTimes {
    last: Option<(Instant, bool)>,
    idle_ms: Vec<f64>,
    classifying_ms: Vec<f64>,
}

impl FrameTimes {
    /// To be called at the start of each frame. `classifying` says what the frame goes along with.
    pub(crate) fn frame(&mut self, classifying: bool) {
        let now = Instant::now();
        if let Some((last, was_classifying)) = self.last.replace((now, classifying)) {
            let times = if was_classifying { &mut self.classifying_ms } else { &mut self.idle_ms };
            times.push(1e3 * (now - last).as_secs_f64());
        }
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
        (Some(median), Some(slow)) => format!("{} of {median:.1} ms, of twenty one over {slow:.1} ms", sorted.len()),
        _ => "none".into(),
    }
}
