//! Finds and reads pictures, in one thread each, so that the window never waits for a disk.

use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, Sender, channel, sync_channel};

use eframe::egui;
use image::{DynamicImage, RgbaImage};
use resnet_rs::data;

/// The most paths that are queued for the window, and that it takes in one frame.
const FOUND: usize = 256;
/// The most pictures that are queued for the window. Each takes megabytes.
const LOADED: usize = 2;

/// A picture, or why it cannot be read.
pub(crate) struct Loaded {
    /// Its index, as given.
    pub(crate) index: usize,
    pub(crate) picture: Result<RgbaImage, String>,
}

/// The threads and their channels.
pub(crate) struct Loader {
    places: Sender<PathBuf>,
    found: Receiver<PathBuf>,
    wanted: Sender<(usize, PathBuf)>,
    loaded: Receiver<Loaded>,
}

impl Loader {
    /// Pictures of more than `max_side` pixels a side, the limit of textures, are made smaller.
    pub(crate) fn new(context: egui::Context, max_side: u32) -> Self {
        let (places, found) = spawn(context.clone(), FOUND, pictures);
        let (wanted, loaded) = spawn(context, LOADED, move |(index, path): (usize, PathBuf)| {
            Some(Loaded { index, picture: read(&path, max_side).map_err(|e| e.to_string()) })
        });
        Self { places, found, wanted, loaded }
    }

    /// Searches for a picture, or for those in a folder and below.
    pub(crate) fn find(&self, place: PathBuf) {
        // The threads end only with the loader.
        let _ = self.places.send(place);
    }

    /// The paths found since the last call.
    pub(crate) fn found(&self) -> Vec<PathBuf> {
        self.found.try_iter().take(FOUND).collect()
    }

    pub(crate) fn want(&self, index: usize, path: PathBuf) {
        let _ = self.wanted.send((index, path));
    }

    pub(crate) fn next(&self) -> Option<Loaded> {
        self.loaded.try_recv().ok()
    }
}

/// Starts a thread that works on the jobs sent to it. It pauses if `ahead` results wait for the window, and ends with
/// the channel.
fn spawn<J, R, I>(
    context: egui::Context,
    ahead: usize,
    work: impl FnMut(J) -> I + Send + 'static,
) -> (Sender<J>, Receiver<R>)
where
    J: Send + 'static,
    R: Send + 'static,
    I: IntoIterator<Item = R>,
{
    let (sender, jobs) = channel();
    let (results, receiver) = sync_channel(ahead);
    std::thread::spawn(move || {
        for result in jobs.into_iter().flat_map(work) {
            if results.send(result).is_err() {
                return;
            }
            context.request_repaint();
        }
    });
    (sender, receiver)
}

/// The pictures in a folder and below, or else the dropped path itself, with any name: reading it reports an error if
/// it is not a picture or a folder that cannot be read.
fn pictures(place: PathBuf) -> Vec<PathBuf> {
    let found = if place.is_dir() { data::pictures_in(&place).ok() } else { None };
    found.map_or_else(|| vec![place], |found| found.pictures)
}

/// Decodes a picture as `resnet-rs predict` does, including its orientation, so that both give the same answer.
fn read(path: &Path, max_side: u32) -> Result<RgbaImage, data::Error> {
    let picture = DynamicImage::from(data::decode(path)?);
    let fits = picture.width().max(picture.height()) <= max_side;
    Ok(if fits { picture } else { picture.thumbnail(max_side, max_side) }.into_rgba8())
}
