//! Results on stdout.

use std::io::{self, Write};

use serde::Serialize;
use unicode_width::UnicodeWidthStr;

/// Prints one line of JSON.
pub(super) fn json(value: &impl Serialize) -> io::Result<()> {
    let line = serde_json::to_string(value)?;
    writeln!(io::stdout(), "{line}")
}

/// Prints a table with columns as wide as their cells: the first and the last aligned left, those between right. An empty
/// header is left out.
pub(super) fn table<const N: usize>(header: [&str; N], rows: &[[String; N]]) -> io::Result<()> {
    let header = header.map(str::to_owned);
    let titled = header.iter().any(|title| !title.is_empty());
    let lines = || titled.then_some(&header).into_iter().chain(rows);
    let width = |column: usize| lines().map(|line| line[column].width()).max().unwrap_or(0);
    let widths: [usize; N] = std::array::from_fn(width);
    let mut out = io::stdout().lock();
    for line in lines() {
        let mut text = String::new();
        for (column, (cell, width)) in line.iter().zip(widths).enumerate() {
            // What a cell takes in a terminal: names in Chinese, say, are two columns a letter.
            let room = " ".repeat(width - cell.width());
            text += &match column {
                0 => format!("{cell}{room}"),
                c if c == N - 1 => format!("  {cell}"),
                _ => format!("  {room}{cell}"),
            };
        }
        writeln!(out, "{}", text.trim_end())?;
    }
    Ok(())
}
