//! A tuning: the fastest methods on one adapter with one driver, in a file that `resnet-rs tune` writes.
//!
//! A choice here is a pair of names; `kernels::choices` interprets them.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::{AdapterReport, Error, Kept};

/// Version of the file. Raise it whenever names of shapes or methods change their meaning.
const VERSION: u32 = 2;

/// The methods for one adapter that differ from the program's defaults.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tuning {
    version: u32,
    adapter: String,
    driver: String,
    /// Name of a shape to name of a method.
    pub choices: BTreeMap<String, String>,
}

/// The field that every version of the file has.
#[derive(Deserialize)]
struct Version {
    version: u32,
}

impl Tuning {
    /// A tuning for an adapter, without choices.
    pub fn new(report: &AdapterReport) -> Self {
        let AdapterReport { name, driver, .. } = report;
        Self { version: VERSION, adapter: name.clone(), driver: driver.clone(), choices: BTreeMap::new() }
    }

    /// The file that is used by default; `None` if the user has no cache folder.
    pub fn user_path(report: &AdapterReport) -> Option<PathBuf> {
        path(&Kept::InUserFolder, report)
    }

    /// Reads a tuning.
    ///
    /// # Errors
    /// If the file cannot be read, is damaged, or was made for another adapter, driver or version of this program.
    pub fn read(path: &Path, report: &AdapterReport) -> Result<Self, Error> {
        let unusable = |problem: String| Error::Tuning { path: path.to_owned(), problem };
        let text = fs::read_to_string(path).map_err(|e| unusable(e.to_string()))?;
        let parse_error = |e: toml::de::Error| unusable(e.message().to_owned());
        // The version is read first: a later version may have unknown fields.
        let Version { version } = toml::from_str(&text).map_err(parse_error)?;
        if version != VERSION {
            return Err(unusable(format!("it is of version {version}, this program reads version {VERSION}")));
        }
        let tuning: Self = toml::from_str(&text).map_err(parse_error)?;
        let Self { adapter, driver, .. } = &tuning;
        if (adapter, driver) != (&report.name, &report.driver) {
            let here = format!("{} with {}", report.name, report.driver);
            return Err(unusable(format!("it was made for {adapter} with {driver}, this is {here}")));
        }
        Ok(tuning)
    }

    /// Loads the tuning that `kept` names. An unusable file in the user's folder is ignored with a warning; an unusable
    /// file that was named is an error.
    ///
    /// # Errors
    /// The errors of [`Self::read`], if `kept` names the file.
    pub fn load(kept: &Kept, report: &AdapterReport) -> Result<Option<Self>, Error> {
        let Some(path) = path(kept, report) else { return Ok(None) };
        let asked_for = matches!(kept, Kept::At(_));
        if !asked_for && !path.exists() {
            return Ok(None);
        }
        match Self::read(&path, report) {
            Ok(tuning) => {
                log::debug!(
                    "tuning {}: {} choices ({})",
                    path.display(),
                    tuning.choices.len(),
                    tuning.fingerprint().unwrap_or_default()
                );
                Ok(Some(tuning))
            }
            Err(e) if asked_for => Err(e),
            Err(e) => {
                log::warn!("{e}");
                Ok(None)
            }
        }
    }

    /// The file's text.
    pub fn to_toml(&self) -> String {
        let body = toml::to_string(self).unwrap_or_else(|e| unreachable!("strings and a number: {e}"));
        format!("# Written by resnet-rs tune. Delete this file to go back to the program's own choices.\n{body}")
    }

    /// Eight digits that identify the choices: other methods add up in another order, so results may differ in their
    /// last bits. `None` without choices, which is the same as no tuning.
    pub fn fingerprint(&self) -> Option<String> {
        if self.choices.is_empty() {
            return None;
        }
        let mut crc = flate2::Crc::new();
        self.choices.iter().for_each(|(shape, method)| crc.update(format!("{shape}\n{method}\n").as_bytes()));
        Some(format!("{:08x}", crc.sum()))
    }
}

/// One file per adapter, so that tunings of several adapters coexist.
fn path(kept: &Kept, report: &AdapterReport) -> Option<PathBuf> {
    let plain: String = report.name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
    kept.path(&format!("tuning-{plain}-{}.toml", report.backend))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn report(name: &str, driver: &str) -> AdapterReport {
        AdapterReport { name: name.into(), driver: driver.into(), backend: "Vulkan".into(), ..AdapterReport::default() }
    }

    #[test]
    fn reads_back_on_the_same_adapter_and_nowhere_else() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tuning.toml");
        let here = report("Radeon \"RX\" 6800 \u{e9}", "radv 25.0");
        let mut tuning = Tuning::new(&here);
        tuning.choices = [("forward 3x3".to_owned(), "tiles".to_owned())].into();
        let text = tuning.to_toml();
        fs::write(&path, &text).unwrap();
        let read = Tuning::read(&path, &here).unwrap();
        assert_eq!(read, tuning);
        assert_eq!(read.fingerprint(), tuning.fingerprint());
        assert_ne!(read.fingerprint(), Tuning::new(&here).fingerprint());

        let refused = |report: &AdapterReport| Tuning::read(&path, report).unwrap_err().to_string();
        for other in [report(&here.name, "radv 25.1"), report("GeForce", &here.driver)] {
            let error = refused(&other);
            assert!(error.contains("made for Radeon") && error.contains("tuning.toml"), "{error}");
        }
        for (damaged, expected) in [
            (String::new(), "missing field"),
            (text[..text.len() / 2].to_owned(), ""),
            (text.replace("version = 2", "version = 3\ncolour = 1"), "of version 3, this program reads version 2"),
            (text.replace("driver", "river"), "unknown field"),
        ] {
            fs::write(&path, damaged).unwrap();
            assert!(refused(&here).contains(expected), "{}", refused(&here));
        }
    }

    #[test]
    fn an_unusable_file_is_an_error_only_if_asked_for() {
        let folder = tempfile::tempdir().unwrap();
        let here = report("GPU", "driver");
        let missing = Kept::At(folder.path().join("missing.toml"));
        assert!(Tuning::load(&missing, &here).unwrap_err().to_string().contains("missing.toml"));
        assert_eq!(Tuning::load(&Kept::Nowhere, &here).unwrap(), None);
    }
}
