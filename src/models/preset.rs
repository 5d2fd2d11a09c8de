//! Models with names.

use super::{Config, EfficientNet, Error, Layers, ResNet};

/// A model with a name: its layers and the pictures it was released for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Preset {
    /// Name on the command line.
    pub name: &'static str,
    /// The layers.
    pub layers: Layers,
    /// Side of the input in pixels, timm's default.
    pub res: u32,
    /// Share of the resized picture that the evaluation crop keeps, timm's default.
    pub crop_pct: f64,
}

/// Mean and standard deviation of ImageNet's colours, on a scale from 0 to 1, with which the released models
/// standardise pictures.
pub const IMAGENET_MEAN_STD: ([f32; 3], [f32; 3]) = ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]);

const fn resnet(name: &'static str, layers: ResNet, res: u32, crop_pct: f64) -> Preset {
    Preset { name, layers: Layers::ResNet(layers), res, crop_pct }
}

/// timm gives plain ResNets pictures of 224 px: the centre of 256 px.
const fn plain(name: &'static str, layers: ResNet) -> Preset {
    resnet(name, layers, 224, 0.875)
}

const fn efficientnet(name: &'static str, width: f64, depth: f64, res: u32, crop_pct: f64) -> Preset {
    Preset { name, layers: Layers::EfficientNet(EfficientNet { width, depth }), res, crop_pct }
}

/// Blocks of the four stages.
const D50: [usize; 4] = [3, 4, 6, 3];
const D101: [usize; 4] = [3, 4, 23, 3];
const D152: [usize; 4] = [3, 8, 36, 3];
const D200: [usize; 4] = [3, 24, 36, 3];

/// All presets: a small ResNet-RS for experiments; the released ones, with the side and crop of timm's default_cfgs;
/// the ResNets that they derive from; EfficientNets, with timm's sides and crops (`tf_efficientnet_b*`).
///
/// EfficientNet-RS are the same networks with smaller pictures (paper, section 7.2). The paper gives the sides only in
/// a figure; here they are two thirds of the original side, rounded to a multiple of 32.
pub const PRESETS: [Preset; 36] = [
    resnet("small", ResNet::rs([1, 1, 1, 1], 0.25), 32, 1.0),
    resnet("resnet-rs-50", ResNet::rs(D50, 1.0), 160, 0.91),
    resnet("resnet-rs-101", ResNet::rs(D101, 1.0), 192, 0.94),
    resnet("resnet-rs-152", ResNet::rs(D152, 1.0), 256, 1.0),
    resnet("resnet-rs-200", ResNet::rs(D200, 1.0), 256, 1.0),
    resnet("resnet-rs-270", ResNet::rs([4, 29, 53, 4], 1.0), 256, 1.0),
    resnet("resnet-rs-350", ResNet::rs([4, 36, 72, 4], 1.0), 288, 1.0),
    resnet("resnet-rs-420", ResNet::rs([4, 44, 87, 4], 1.0), 320, 1.0),
    plain("resnet-50", ResNet::plain(D50)),
    plain("resnet-101", ResNet::plain(D101)),
    plain("resnet-152", ResNet::plain(D152)),
    plain("resnet-200", ResNet::plain(D200)),
    plain("resnet-50-d", ResNet::d(D50)),
    plain("resnet-101-d", ResNet::d(D101)),
    plain("resnet-152-d", ResNet::d(D152)),
    plain("resnet-200-d", ResNet::d(D200)),
    plain("se-resnet-50", ResNet::se(D50)),
    plain("se-resnet-101", ResNet::se(D101)),
    plain("se-resnet-152", ResNet::se(D152)),
    plain("se-resnet-200", ResNet::se(D200)),
    efficientnet("efficientnet-b0", 1.0, 1.0, 224, 0.875),
    efficientnet("efficientnet-b1", 1.0, 1.1, 240, 0.882),
    efficientnet("efficientnet-b2", 1.1, 1.2, 260, 0.890),
    efficientnet("efficientnet-b3", 1.2, 1.4, 300, 0.904),
    efficientnet("efficientnet-b4", 1.4, 1.8, 380, 0.922),
    efficientnet("efficientnet-b5", 1.6, 2.2, 456, 0.934),
    efficientnet("efficientnet-b6", 1.8, 2.6, 528, 0.942),
    efficientnet("efficientnet-b7", 2.0, 3.1, 600, 0.949),
    efficientnet("efficientnet-rs-b0", 1.0, 1.0, 160, 0.875),
    efficientnet("efficientnet-rs-b1", 1.0, 1.1, 160, 0.882),
    efficientnet("efficientnet-rs-b2", 1.1, 1.2, 160, 0.890),
    efficientnet("efficientnet-rs-b3", 1.2, 1.4, 192, 0.904),
    efficientnet("efficientnet-rs-b4", 1.4, 1.8, 256, 0.922),
    efficientnet("efficientnet-rs-b5", 1.6, 2.2, 320, 0.934),
    efficientnet("efficientnet-rs-b6", 1.8, 2.6, 352, 0.942),
    efficientnet("efficientnet-rs-b7", 2.0, 3.1, 416, 0.949),
];

impl Preset {
    /// The preset with this name; timm's names (`resnetrs50`, `seresnet50`, `tf_efficientnet_b0`, `gluon_resnet50_v1d`)
    /// are accepted too.
    pub fn find(name: &str) -> Result<&'static Preset, Error> {
        let plain = |s: &str| s.to_lowercase().replace(['-', '_'], "");
        let own = || PRESETS.iter().find(|p| plain(p.name) == plain(name));
        Self::of_timm(name).or_else(own).ok_or_else(|| Error::UnknownModel { name: name.to_owned() })
    }

    /// The preset that computes the same as timm's network of this name, with or without the tag of its weights
    /// (`resnet50.a1_in1k`). Networks that timm does not have go by their names here.
    pub fn of_timm(architecture: &str) -> Option<&'static Preset> {
        let wanted = current_name(architecture);
        PRESETS.iter().find(|p| p.timm_name() == wanted)
    }

    /// The name of these layers in timm, or the preset's name if timm does not have them.
    pub fn timm_name(&self) -> String {
        match (&self.layers, self.name.strip_prefix("efficientnet-b")) {
            (Layers::ResNet(_), _) => self.name.replace('-', ""),
            // timm's efficientnet_b* pad differently.
            (_, Some(size)) => format!("tf_efficientnet_b{size}"),
            _ => self.name.to_owned(),
        }
    }

    /// The first preset of these layers, if there is one.
    pub fn matching(layers: &Layers) -> Option<&'static Preset> {
        PRESETS.iter().find(|p| p.layers == *layers)
    }

    /// The preset for a number of classes.
    pub fn config(&self, classes: usize) -> Config {
        Config::new(self.layers, classes)
    }
}

/// timm's current name of a network, without the tag of its weights. Older names contained the source of the weights.
pub(crate) fn current_name(architecture: &str) -> String {
    let name = architecture.split('.').next().unwrap_or_default();
    if let Some(version) = name.strip_prefix("gluon_") {
        return version.replace("_v1b", "").replace("_v1c", "c").replace("_v1d", "d");
    }
    let name = ["tv_", "ssl_", "swsl_"].iter().find_map(|author| name.strip_prefix(author)).unwrap_or(name);
    let of_efficientnet = |tag| name.strip_suffix(tag).filter(|name| name.starts_with("tf_efficientnet_"));
    ["_ap", "_ns"].into_iter().find_map(of_efficientnet).unwrap_or(name).to_owned()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_in_both_spellings() {
        assert_eq!(Preset::find("resnetrs50").unwrap().name, "resnet-rs-50");
        assert_eq!(Preset::find("ResNet-RS-420").unwrap().res, 320);
        assert_eq!(Preset::find("seresnet101").unwrap().name, "se-resnet-101");
        assert_eq!(Preset::find("tf_efficientnet_b4").unwrap().res, 380);
        assert_eq!(Preset::find("efficientnet-rs-b4").unwrap().res, 256);
        for (timms, name) in [
            ("resnet50.a1_in1k", "resnet-50"),
            ("tv_resnet152", "resnet-152"),
            ("gluon_resnet50_v1b", "resnet-50"),
            ("gluon_resnet101_v1d", "resnet-101-d"),
            ("swsl_resnet50", "resnet-50"),
            ("tf_efficientnet_b7_ns", "efficientnet-b7"),
        ] {
            assert_eq!(Preset::find(timms).unwrap().name, name, "{timms}");
        }
        for (preset, timms) in PRESETS.iter().map(|preset| (preset, preset.timm_name())) {
            assert_eq!(Preset::of_timm(&timms), Some(preset));
        }
        for other in ["efficientnet_b0", "tf_resnet50", "resnetblur50", "gluon_resnet50_v1s", "resnet50_ap", ""] {
            assert_eq!(Preset::of_timm(other), None, "{other}");
        }
        assert!(Preset::find("resnet-rs-51").unwrap_err().to_string().contains("resnet-rs-50"));
    }

    #[test]
    fn efficientnet_rs_sees_two_thirds_of_the_side() {
        for preset in PRESETS {
            let Some(size) = preset.name.strip_prefix("efficientnet-rs-") else { continue };
            let original = Preset::find(&format!("efficientnet-{size}")).unwrap();
            assert_eq!(original.layers, preset.layers);
            assert_eq!(preset.res, (f64::from(original.res) * 2.0 / 3.0 / 32.0).round() as u32 * 32, "{size}");
        }
    }
}
