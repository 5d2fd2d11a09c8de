//! Results on stdout.

use std::io::{self, Write};

use serde::Serialize;
use unicode_width::UnicodeWidthStr;

/// Prints one line of JSON.
pub(super) fn json(value: &impl Serialize) -> io::Result<()> {
    let line = serde_json::to_string(value)?;
    writeln!(io::stdout(), "{line}")
}

/// Prints a table with columns as wide as their cells: the first and the last are aligned left, those between right. An
/// empty header is left out.
pub(super) fn table<const N: usize>(header: [&str; N], rows: &[[String; N]]) -> io::Result<()> {
    self::rows(&header, rows)
}

/// As [`table`], for rows of any length, equal to that of the header.
pub(super) fn rows(header: &[&str], rows: &[impl AsRef<[String]>]) -> io::Result<()> {
    let count = header.len();
    let header: Vec<String> = header.iter().map(|&title| title.to_owned()).collect();
    let titled = header.iter().any(|title| !title.is_empty());
    let lines = || titled.then_some(&header[..]).into_iter().chain(rows.iter().map(AsRef::as_ref));
    let width = |column: usize| lines().map(|line| line[column].width()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..count).map(width).collect();
    let mut out = io::stdout().lock();
    for line in lines() {
        let mut text = String::new();
        for (column, (cell, width)) in line.iter().zip(&widths).enumerate() {
            // Padding by width in a terminal: a Chinese letter, for example, takes two columns.
            let room = " ".repeat(width - cell.width());
            text += &match column {
                0 => format!("{cell}{room}"),
                c if c == count - 1 => format!("  {cell}"),
                _ => format!("  {room}{cell}"),
            };
        }
        writeln!(out, "{}", text.trim_end())?;
    }
    Ok(())
}
