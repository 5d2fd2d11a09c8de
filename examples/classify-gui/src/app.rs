//! The window.

use std::time::Instant;

use eframe::egui::epaint::Hsva;
use eframe::egui::{self, Align2, Color32, ProgressBar, Rect, RichText, Stroke, StrokeKind, Ui, vec2};
use eframe::egui_wgpu::RenderState;
use resnet_rs::{Found, Frame, Gpu, Guess};

use crate::Args;
use crate::frame_times::FrameTimes;
use crate::gallery::{Gallery, State};
use crate::loader::{Loaded, Loader};
use crate::model::{Answer, Model};
use crate::texture::PictureTexture;

pub(crate) struct App {
    args: Args,
    render_state: RenderState,
    gpu: Gpu,
    model: Model,
    loader: Loader,
    gallery: Gallery,
    frame_times: FrameTimes,
}

impl App {
    pub(crate) fn new(context: &eframe::CreationContext<'_>, args: Args) -> Result<Self, String> {
        let render_state = context.wgpu_render_state.clone().ok_or("eframe draws without wgpu")?;
        let RenderState { adapter, device, queue, .. } = &render_state;
        let gpu = Gpu::from_wgpu(adapter, device.clone(), queue.clone()).map_err(|e| e.to_string())?;
        let model = Model::load(&gpu, args.weights.clone(), args.f16, context.egui_ctx.clone());
        let loader = Loader::new(context.egui_ctx.clone(), device.limits().max_texture_dimension_2d);
        let (gallery, frame_times) = Default::default();
        args.pictures.iter().for_each(|place| loader.find(place.clone()));
        Ok(Self { args, render_state, gpu, model, loader, gallery, frame_times })
    }

    /// Requests a picture from the loader, unless it is requested already.
    fn want(&mut self, index: usize) {
        let entry = &mut self.gallery.entries[index];
        if !std::mem::replace(&mut entry.wanted, true) {
            self.loader.want(index, entry.path.clone());
        }
    }

    /// Requests all pictures again for a new network.
    fn start_over(&mut self) {
        for index in 0..self.gallery.entries.len() {
            self.gallery.entries[index].state = State::Waiting;
            self.want(index);
        }
    }

    /// Takes a picture from the loader: uploads it as a texture, and submits the texture to the network.
    fn take(&mut self, Loaded { index, picture }: Loaded) {
        let entry = &mut self.gallery.entries[index];
        entry.wanted = false;
        let picture = match picture {
            Ok(picture) => picture,
            Err(message) => {
                entry.state = State::Failed(message);
                return;
            }
        };
        let texture = PictureTexture::new(&self.render_state, &picture);
        if let (State::Waiting, Model::Ready(network)) = (&entry.state, &self.model) {
            let since = Instant::now();
            let submitted = Frame::new(texture.texture()).map_err(resnet_rs::Error::from);
            entry.state = match submitted.and_then(|frame| network.submit(frame)) {
                Ok(answer) => State::UnderWay { since, answer },
                Err(error) => State::Failed(error.with_causes()),
            };
        }
        self.gallery.keep(index, texture);
    }

    fn update(&mut self, context: &egui::Context) {
        self.frame_times.frame();
        let was_ready = matches!(self.model, Model::Ready(_));
        self.model.update();
        if !was_ready && matches!(self.model, Model::Ready(_)) {
            self.start_over();
            self.frame_times.forget();
        }
        context.input(|input| input.raw.dropped_files.iter().for_each(|file| self.loader.find(file.path().to_owned())));
        for path in self.loader.found() {
            let index = self.gallery.add(path);
            // Without a network, a picture is read only when the user looks at it.
            if matches!(self.model, Model::Ready(_)) {
                self.want(index);
            }
        }
        if self.gallery.is_working() {
            self.frame_times.classifying();
        }
        self.gallery.update();
        // One picture at a time, so that the window draws between two of them. Pictures wait while a network is
        // loading.
        if !matches!(self.model, Model::Loading(_))
            && !self.gallery.is_working()
            && let Some(loaded) = self.loader.next()
        {
            self.take(loaded);
            self.frame_times.classifying(); // some drivers run submitted work immediately
            context.request_repaint(); // there may be another picture
        }
        if self.gallery.is_working() || self.args.frame_times {
            context.request_repaint();
        }
        if self.args.frame_times && self.frame_times.is_enough() {
            context.send_viewport_cmd(egui::ViewportCommand::Close);
        }
    }

    fn status(&mut self, ui: &mut Ui) {
        ui.horizontal(|ui| {
            ui.label(RichText::new(self.gpu.name()).strong());
            ui.separator();
            let f16 = self.args.f16;
            ui.checkbox(&mut self.args.f16, "f16").on_hover_text("maps and weights in half the memory");
            if self.args.f16 != f16 {
                self.model = Model::load(&self.gpu, self.args.weights.clone(), self.args.f16, ui.ctx().clone());
            }
            ui.separator();
            match &self.model {
                Model::Loading(_) => {
                    ui.spinner();
                    ui.label("loading the network");
                }
                Model::Failed(message) => {
                    ui.colored_label(ui.visuals().error_fg_color, message);
                }
                Model::Ready(network) => {
                    let card = network.card();
                    ui.label(format!("{} px, {} classes", card.res, card.config.classes));
                }
            }
        });
    }

    fn list(&mut self, ui: &mut Ui) {
        let row = ui.text_style_height(&egui::TextStyle::Body);
        let count = self.gallery.entries.len();
        egui::ScrollArea::vertical().auto_shrink(false).show_rows(ui, row, count, |ui, rows| {
            for index in rows {
                let entry = &self.gallery.entries[index];
                let name = entry.name();
                let text = match &entry.state {
                    State::Waiting | State::UnderWay { .. } => RichText::new(name).weak(),
                    State::Failed(_) => RichText::new(name).color(ui.visuals().error_fg_color),
                    State::Done { answer, .. } => RichText::new(format!("{name}  {}", answer.summary())),
                };
                if ui.selectable_label(self.gallery.selected == index, text).clicked() {
                    self.gallery.selected = index;
                    if self.gallery.entries[index].texture.is_none() {
                        self.want(index);
                    }
                }
            }
        });
    }

    fn picture(&mut self, ui: &mut Ui) {
        let Some(entry) = self.gallery.entries.get(self.gallery.selected) else {
            ui.centered_and_justified(|ui| ui.label("Drop a picture or a folder here"));
            return;
        };
        ui.heading(entry.name());
        match &entry.state {
            State::Waiting => drop(ui.label("waiting")),
            State::UnderWay { .. } => drop(ui.spinner()),
            State::Failed(message) => drop(ui.colored_label(ui.visuals().error_fg_color, message)),
            State::Done { answer, ms } => {
                if let Answer::Classes(best) = answer {
                    best.iter().for_each(|guess| bar(ui, guess));
                }
                ui.label(format!("{ms:.1} ms"));
            }
        }
        if let Some(texture) = &entry.texture {
            let texture = texture.sized();
            let drawn = ui.add(egui::Image::from_texture(texture).shrink_to_fit()).rect;
            if let State::Done { answer: Answer::Objects(found), .. } = &entry.state {
                let scale = drawn.size() / texture.size;
                // The lowest score first, so that the surest boxes are on top.
                found.iter().rev().for_each(|found| draw_box(ui, drawn.min, scale, found));
            }
        }
    }
}

/// An object's box over the picture that is drawn from `corner` on, `scale` points a pixel.
fn draw_box(ui: &Ui, corner: egui::Pos2, scale: egui::Vec2, found: &Found) {
    let [left, top, right, bottom] = found.bounds;
    let bounds = Rect::from_min_max(corner + vec2(left, top) * scale, corner + vec2(right, bottom) * scale);
    // Multiples of the golden ratio: classes with close numbers get hues far apart.
    let colour = Color32::from(Hsva::new((0.618 * found.class as f32).fract(), 0.9, 0.95, 1.0));
    ui.painter().rect_stroke(bounds, 0.0, Stroke::new(2.0, colour), StrokeKind::Inside);
    let text = format!("{} {:.0} %", found.label, 100.0 * found.score);
    let font = egui::TextStyle::Small.resolve(ui.style());
    let words = ui.painter().layout_no_wrap(text, font, Color32::BLACK);
    let label = Align2::LEFT_TOP.anchor_size(bounds.min, words.size());
    ui.painter().rect_filled(label, 0.0, colour);
    ui.painter().galley(label.min, words, Color32::BLACK);
}

/// A class and its probability.
fn bar(ui: &mut Ui, guess: &Guess) {
    let text = format!("{:.1} %  {}", 100.0 * guess.probability, guess.label);
    ui.add(ProgressBar::new(guess.probability).text(RichText::new(text).color(Color32::WHITE)));
}

impl eframe::App for App {
    fn ui(&mut self, ui: &mut Ui, _: &mut eframe::Frame) {
        self.update(&ui.ctx().clone());
        egui::Panel::bottom("status").show(ui, |ui| self.status(ui));
        egui::Panel::left("pictures").default_size(260.0).show(ui, |ui| self.list(ui));
        egui::CentralPanel::default().show(ui, |ui| self.picture(ui));
    }

    fn on_exit(&mut self) {
        if self.args.frame_times {
            println!("{}", self.frame_times.report());
        }
    }
}
