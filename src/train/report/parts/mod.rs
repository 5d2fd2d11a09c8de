//! Parts of the tasks' sections: names of classes, tables, a confusion matrix, pictures beside answers.

mod confusion;
mod names;
mod scenes;

use serde::Serialize;

pub(in crate::train) use confusion::{Confusion, Counted, confused};
pub(in crate::train) use names::Names;
pub(in crate::train) use scenes::{Scene, Shown, worst};

use super::render;
use crate::train::Error;
use crate::train::task::Table;

/// A table as HTML. `marks` are the colours that stand before the first rows, as in CSS; empty for none. A last column
/// without a header holds words.
pub(in crate::train) fn table(table: &Table, marks: &[String]) -> Result<String, Error> {
    #[derive(Serialize)]
    struct Shown<'a> {
        header: &'a [&'static str],
        rows: Vec<(&'a str, &'a [String])>,
    }
    let marks = marks.iter().map(String::as_str).chain(std::iter::repeat(""));
    let rows = marks.zip(table.rows.iter().map(Vec::as_slice)).collect();
    let shown = Shown { header: &table.header, rows };
    render("table.html", include_str!("table.html"), &shown).map_err(Error::draw)
}

/// A colour in CSS.
pub(in crate::train) fn css([red, green, blue]: [u8; 3]) -> String {
    format!("#{red:02x}{green:02x}{blue:02x}")
}
