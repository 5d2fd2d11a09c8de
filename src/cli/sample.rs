//! `sample`: pictures of a data set as files, to look at or to ask a network about.

use std::path::{Path, PathBuf};

use clap::Args;
use image::RgbImage;

use super::{Error, Global, output};
use crate::boxes;
use crate::data::{Dataset, Object, Truth, TruthKind};
use crate::drawing::{overlay, png};
use crate::files;
use crate::models::Purpose;

/// Write validation pictures of a data set as PNG files, named by number and class
///
/// Boxes and masks are drawn over a second copy of each picture, NUMBER-truth.png; depths are in that file as colours,
/// from yellow at the nearest to dark blue at the farthest.
#[derive(Args)]
pub(super) struct Sample {
    /// Pictures: shapes, idx:DIR, cifar10:DIR, cifar100:DIR, folder:DIR, shards:DIR, voc:DIR, coco:DIR, masks:DIR,
    /// ade20k:DIR, depth:DIR or nyu:DIR
    #[arg(long, value_name = "DATA")]
    data: String,
    /// Which truth to draw [default: what the data is made for: boxes of voc and coco, masks of masks and ade20k,
    /// depths of depth, else classes]
    #[arg(long, value_enum)]
    task: Option<Purpose>,
    /// Folder to write to
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// How many
    #[arg(long, value_name = "N", default_value_t = 8)]
    count: usize,
    /// Number of the first one
    #[arg(long, value_name = "I", default_value_t = 0)]
    first: usize,
}

pub(super) fn run(args: Sample, global: &Global) -> Result<(), Error> {
    let truth = args.task.map_or_else(|| Dataset::usual_truth(&args.data), TruthKind::from);
    let dataset = Dataset::open_validation(&args.data, truth)?;
    let total = dataset.val.len();
    if args.first >= total {
        return Err(Error::usage(format!(
            "--first {}: --data {} has {total} validation pictures",
            args.first, args.data
        )));
    }
    files::create_folder(&args.out)?;
    for index in args.first..args.first.saturating_add(args.count).min(total) {
        let sample = dataset.val.sample(index)?;
        let class = sample.truth.class().map(|class| (class, &dataset.classes[class as usize]));
        let word =
            class.map_or(String::new(), |(_, name)| format!("-{}", name.replace(|c: char| !c.is_alphanumeric(), "-")));
        let image = args.out.join(format!("{index:04}{word}.png"));
        let truth = args.out.join(format!("{index:04}-truth.png"));
        let drawn = drawn(&sample.image, &sample.truth, &dataset.classes)?;
        write(&image, &sample.image)?;
        drawn.iter().try_for_each(|drawn| write(&truth, drawn))?;
        let truth = drawn.is_some().then_some(&truth);
        if global.json {
            let mut line = serde_json::json!({ "image": image });
            if let Some((class, name)) = class {
                (line["class"], line["label"]) = (class.into(), name.as_str().into());
            }
            if let Some(truth) = truth {
                line["truth"] = serde_json::json!(truth);
            }
            output::json(&line)?;
        } else if !global.quiet {
            std::iter::once(&image).chain(truth).for_each(|path| eprintln!("{}", path.display()));
        }
    }
    Ok(())
}

fn write(path: &Path, picture: &RgbImage) -> Result<(), Error> {
    let png = png(picture).map_err(|e| Error::failed(format!("{}: {e}", path.display())))?;
    Ok(files::write_atomic(path, |file| std::io::Write::write_all(file, &png))?)
}

/// A picture with its boxes or its mask over it, or its depths as colours, from the nearest to the farthest; `None` if
/// it has none of these.
fn drawn(picture: &RgbImage, truth: &Truth, classes: &[String]) -> Result<Option<RgbImage>, Error> {
    Ok(Some(match truth {
        Truth::Objects(objects) => {
            let outline = |object: &Object| {
                let class = object.class as usize;
                let text = classes.get(class).cloned().unwrap_or_else(|| class.to_string());
                let bounds = boxes::clip(object.bounds, [picture.height() as usize, picture.width() as usize]);
                overlay::Outline { bounds, text, colour: overlay::box_colour(class) }
            };
            let (mut picture, outlines) = (picture.clone(), objects.iter().map(outline).collect::<Vec<_>>());
            let drawn = overlay::boxes(&mut picture, &outlines);
            drawn.map_err(|e| Error::failed(format!("the boxes cannot be drawn: {e}")))?;
            picture
        }
        Truth::Mask(mask) => overlay::mask(picture, mask),
        Truth::Depth(depth) => {
            let known = depth.iter().copied().filter(|&metres| metres > 0.0);
            overlay::depth(depth, known.fold([f32::INFINITY, 0.0], |[near, far], m| [near.min(m), far.max(m)]))
        }
        _ => return Ok(None),
    }))
}
