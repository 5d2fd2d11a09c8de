//! The library's log messages, on stderr.

use log::{LevelFilter, Log, Metadata, Record};

use super::Global;

/// Prints the library's own messages, not those of wgpu, which concern its internals.
struct Stderr;

impl Log for Stderr {
    fn enabled(&self, about: &Metadata<'_>) -> bool {
        about.target().starts_with("resnet_rs")
    }

    fn log(&self, record: &Record<'_>) {
        if self.enabled(record.metadata()) {
            let warning = if record.level() <= log::Level::Warn { "warning: " } else { "" };
            eprintln!("{warning}{}", record.args());
        }
    }

    fn flush(&self) {}
}

/// Warnings, nothing with `-q`, details with `-v`, every single kernel with `-vv`.
pub(super) fn install(global: &Global) {
    let level = match (global.quiet, global.verbose) {
        (true, _) => LevelFilter::Off,
        (false, 0) => LevelFilter::Warn,
        (false, 1) => LevelFilter::Debug,
        (false, _) => LevelFilter::Trace,
    };
    // This fails only if a logger is installed already, which then gets the messages.
    if log::set_logger(&Stderr).is_ok() {
        log::set_max_level(level);
    }
}
