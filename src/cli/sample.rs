//! `sample`: pictures of a data set as files, to look at or to classify.

use std::path::PathBuf;

use clap::Args;
use image::ImageFormat;

use super::{Error, Global, output};
use crate::data::Dataset;
use crate::files;

/// Write validation pictures of a data set as PNG files, named by number and class
#[derive(Args)]
pub(super) struct Sample {
    /// Pictures: shapes, idx:DIR, cifar10:DIR, cifar100:DIR, folder:DIR, shards:DIR, voc:DIR, coco:DIR, masks:DIR,
    /// ade20k:DIR or depth:DIR
    #[arg(long, value_name = "DATA")]
    data: String,
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
    let dataset = Dataset::open_validation(&args.data, Dataset::usual_truth(&args.data))?;
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
        let path = args.out.join(format!("{index:04}{word}.png"));
        let mut png = std::io::Cursor::new(Vec::new());
        sample.image.write_to(&mut png, ImageFormat::Png)?;
        files::write_atomic(&path, |file| std::io::Write::write_all(file, png.get_ref()))?;
        if global.json {
            let (image, class) = (path.to_string_lossy(), class.unzip());
            output::json(&serde_json::json!({ "image": image, "class": class.0, "label": class.1 }))?;
        } else if !global.quiet {
            eprintln!("{}", path.display());
        }
    }
    Ok(())
}
