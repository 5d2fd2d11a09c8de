//! Names of classes, on pages and in drawings.

use std::collections::BTreeMap;

use serde::Serialize;

use super::super::render;
use crate::drawing::is_drawable;
use crate::train::Error;

/// Names of classes by number. Where they are too few, or empty, the number is the name.
#[derive(Clone, Copy)]
pub(in crate::train) struct Names<'a>(pub(in crate::train) &'a [String]);

impl Names<'_> {
    /// The name of a class.
    pub(in crate::train) fn of(&self, class: usize) -> String {
        self.0.get(class).cloned().unwrap_or_else(|| class.to_string())
    }

    /// The name in drawings: `class 3` if no font has the letters of its name.
    pub(in crate::train) fn drawn(&self, class: usize) -> String {
        let name = self.of(class);
        if is_drawable(&name) { name } else { format!("class {class}") }
    }

    /// Explains, as HTML, which of the classes these drawings show by number; empty if none.
    pub(in crate::train) fn footnote(
        &self,
        drawings: &str,
        classes: impl IntoIterator<Item = usize>,
    ) -> Result<String, Error> {
        #[derive(Serialize)]
        struct Shown<'a> {
            drawings: &'a str,
            numbered: BTreeMap<usize, String>,
        }
        let named = classes.into_iter().map(|class| (class, self.of(class)));
        let shown = Shown { drawings, numbered: named.filter(|(_, name)| !is_drawable(name)).collect() };
        render("footnote.html", include_str!("footnote.html"), &shown).map_err(Error::draw)
    }
}
