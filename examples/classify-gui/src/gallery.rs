//! The pictures and the state of each.

use std::path::PathBuf;
use std::time::Instant;

use resnet_rs::Pending;

use crate::model::Answer;
use crate::texture::PictureTexture;

/// Textures that are kept for another look.
const KEPT_TEXTURES: usize = 12;

pub(crate) enum State {
    /// It is to be read and shown to the network.
    Waiting,
    /// The GPU works on it.
    UnderWay {
        since: Instant,
        answer: Pending<Answer>,
    },
    Done {
        answer: Answer,
        ms: f64,
    },
    Failed(String),
}

pub(crate) struct Entry {
    pub(crate) path: PathBuf,
    pub(crate) state: State,
    pub(crate) texture: Option<PictureTexture>,
    /// Whether the loader was asked to read it.
    pub(crate) wanted: bool,
}

impl Entry {
    pub(crate) fn name(&self) -> String {
        self.path.file_name().unwrap_or_default().to_string_lossy().into_owned()
    }
}

#[derive(Default)]
pub(crate) struct Gallery {
    pub(crate) entries: Vec<Entry>,
    pub(crate) selected: usize,
    /// Those with a texture, oldest first.
    textured: Vec<usize>,
}

impl Gallery {
    /// Adds a picture. Returns its index.
    pub(crate) fn add(&mut self, path: PathBuf) -> usize {
        self.entries.push(Entry { path, state: State::Waiting, texture: None, wanted: false });
        self.entries.len() - 1
    }

    /// Keeps a texture. If there are more than [`KEPT_TEXTURES`], drops the oldest one that is not shown.
    pub(crate) fn keep(&mut self, index: usize, texture: PictureTexture) {
        self.entries[index].texture = Some(texture);
        self.textured.retain(|&other| other != index);
        self.textured.push(index);
        if self.textured.len() > KEPT_TEXTURES
            && let Some(oldest) = self.textured.iter().position(|&other| other != self.selected && other != index)
        {
            let oldest = self.textured.remove(oldest);
            self.entries[oldest].texture = None;
        }
    }

    /// Takes the answers that have arrived.
    pub(crate) fn update(&mut self) {
        for entry in &mut self.entries {
            let State::UnderWay { answer, .. } = &entry.state else { continue };
            if !answer.is_ready() {
                continue;
            }
            let State::UnderWay { since, answer } = std::mem::replace(&mut entry.state, State::Waiting) else {
                continue;
            };
            entry.state = match answer.wait() {
                Ok(answer) => State::Done { answer, ms: 1e3 * since.elapsed().as_secs_f64() },
                Err(error) => State::Failed(error.with_causes()),
            };
        }
    }

    pub(crate) fn is_working(&self) -> bool {
        self.entries.iter().any(|entry| matches!(entry.state, State::UnderWay { .. }))
    }
}
