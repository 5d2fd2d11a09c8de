//! Fonts: the embedded one, and the machine's fonts for letters that it lacks.

use std::collections::HashMap;
use std::sync::{LazyLock, Mutex, PoisonError};

use ab_glyph::{Font, FontRef};
use fontdb::{Database, FaceInfo, Style, Weight};
use plotters::style::{FontStyle, register_font};

/// Family of the embedded font; browsers use their own sans-serif font under this name.
pub(crate) const CARRIED: &str = "sans-serif";

/// Splits a text into runs of letters that one family can draw. Letters that no font can draw are in runs of the
/// embedded font.
pub(super) fn runs(text: &str) -> Vec<(&'static str, String)> {
    let mut runs: Vec<(&'static str, String)> = vec![];
    for letter in text.chars() {
        let family = find(letter).unwrap_or(CARRIED);
        match runs.last_mut() {
            Some((last, run)) if *last == family => run.push(letter),
            _ => runs.push((family, letter.into())),
        }
    }
    runs
}

/// Whether every letter of a text can be drawn.
pub(crate) fn is_drawable(text: &str) -> bool {
    text.chars().all(|letter| find(letter).is_some())
}

/// The family that draws a letter.
pub(super) fn find(letter: char) -> Option<&'static str> {
    static FONTS: LazyLock<Mutex<Fonts>> = LazyLock::new(|| Mutex::new(Fonts::new(None)));
    FONTS.lock().unwrap_or_else(PoisonError::into_inner).find(letter)
}

struct Fonts {
    /// Loaded fonts, by the names under which plotters knows them.
    loaded: Vec<(&'static str, FontRef<'static>)>,
    /// The family for each letter that was looked up so far.
    found: HashMap<char, Option<&'static str>>,
    /// The machine's fonts, loaded when first needed.
    machine: Option<Database>,
}

impl Fonts {
    fn new(machine: Option<Database>) -> Self {
        let bytes = include_bytes!("dejavu-sans-latin.ttf");
        let carried = registered(CARRIED, bytes).unwrap_or_else(|| unreachable!("a fixed font"));
        Self { loaded: vec![carried], found: HashMap::new(), machine }
    }

    fn find(&mut self, letter: char) -> Option<&'static str> {
        if let Some(found) = self.found.get(&letter) {
            return *found;
        }
        let loaded = self.loaded.iter().find(|(_, font)| draws(font, letter)).map(|(family, _)| *family);
        let family = if needs_shaping(letter) { None } else { loaded.or_else(|| self.load_for(letter)) };
        self.found.insert(letter, family);
        family
    }

    /// Looks for a font of the machine, upright sans-serif ones first, and keeps it for the rest of the program's run.
    fn load_for(&mut self, letter: char) -> Option<&'static str> {
        let machine = self.machine.get_or_insert_with(|| {
            let mut fonts = Database::new();
            fonts.load_system_fonts();
            fonts
        });
        // Plotters only opens the first font of a collection.
        let mut faces: Vec<&FaceInfo> = machine.faces().filter(|face| face.index == 0).collect();
        faces.sort_by_cached_key(|face| {
            let sans = face.families.iter().any(|(name, _)| name.contains("Sans"));
            let weight = face.weight.0.abs_diff(Weight::NORMAL.0);
            (face.style != Style::Normal, weight, !sans, face.monospaced, face.post_script_name.clone())
        });
        let (name, bytes) = faces.iter().find_map(|face| {
            let bytes_if_fit = |bytes: &[u8], _| {
                let font = FontRef::try_from_slice(bytes).ok()?;
                draws(&font, letter).then(|| bytes.to_vec())
            };
            let bytes = machine.with_face_data(face.id, bytes_if_fit)??;
            // A list, so that browsers without the font fall back to their own sans-serif font.
            Some((format!("{}, {CARRIED}", face.post_script_name), bytes))
        })?;
        self.loaded.push(registered(name.leak(), bytes.leak())?);
        self.loaded.last().map(|(name, _)| *name)
    }
}

/// Registers a font with plotters.
fn registered(name: &'static str, bytes: &'static [u8]) -> Option<(&'static str, FontRef<'static>)> {
    register_font(name, FontStyle::Normal, bytes).ok()?;
    Some((name, FontRef::try_from_slice(bytes).ok()?))
}

/// Whether a font can draw a letter. Coloured emoji have no outlines.
fn draws(font: &FontRef<'_>, letter: char) -> bool {
    let glyph = font.glyph_id(letter);
    glyph.0 != 0 && (letter == ' ' || letter == '\u{a0}' || font.outline(glyph).is_some())
}

/// Whether a letter changes with its neighbours, or runs from right to left. Such text would not be readable,
/// since letters are drawn one by one from left to right. Blocks of Unicode 16.
fn needs_shaping(letter: char) -> bool {
    matches!(u32::from(letter),
        0x0590..=0x0dff // Hebrew, Arabic, Syriac, Thaana, N'Ko; Devanagari to Sinhala
        | 0x0f00..=0x109f // Tibetan, Myanmar
        | 0x1100..=0x11ff // Hangul as single jamo, as macOS spells file names
        | 0x1780..=0x18af // Khmer, Mongolian
        | 0x200b..=0x200f | 0x202a..=0x202e // joiners and changes of direction
        | 0xfb1d..=0xfdff | 0xfe70..=0xfeff // forms of Hebrew and Arabic
        | 0x10800..=0x11fff | 0x1e800..=0x1efff // further scripts from right to left, and of India
    )
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn letters_without_a_font_are_not_found() {
        let mut fonts = Fonts::new(Some(Database::new()));
        for letter in "n01440764 (tench), 75 %Łódź".chars() {
            assert_eq!(fonts.find(letter), Some(CARRIED), "{letter}");
        }
        for letter in "кζ猫\n\u{202e}😀".chars() {
            assert_eq!(fonts.find(letter), None, "{letter:?}");
        }
    }

    /// The machine may have no such font.
    #[test]
    fn fonts_of_the_machine_are_found_by_their_letters() {
        let mut fonts = Fonts::new(None);
        for letter in "кζ猫고ไ".chars() {
            if let Some(found) = fonts.find(letter) {
                let font = &fonts.loaded.iter().find(|(family, _)| *family == found).unwrap().1;
                assert!(draws(font, letter), "{letter}: {found}");
            }
        }
        for letter in "قחब\u{1100}".chars() {
            assert_eq!(fonts.find(letter), None, "{letter} would need shaping");
        }
    }

    #[test]
    fn a_text_of_several_scripts_is_in_runs() {
        let (cat, greek) = (find('猫').unwrap_or(CARRIED), find('ζ').unwrap_or(CARRIED));
        let runs = runs("猫 75 %ζ");
        let joined: String = runs.iter().map(|(_, run)| run.as_str()).collect();
        assert_eq!(joined, "猫 75 %ζ");
        assert_eq!((runs[0].0, runs[runs.len() - 1].0), (cat, greek));
        assert!(runs.iter().any(|(family, run)| *family == CARRIED && run.contains(" 75 %")));
    }
}
