//! The ways in which a command fails, and their exit statuses.

use std::error::Error as Cause;
use std::io::{self, ErrorKind};
use std::process::ExitCode;

use crate::error::with_causes;

/// Any error of the floors below, or wrong usage that clap cannot see. A bare [`io::Error`] comes from writing to
/// stdout: the floors' errors name the file.
#[derive(Debug)]
pub(super) struct Error {
    /// `None` if the command has printed everything already.
    cause: Option<Box<dyn Cause + Send + Sync>>,
    status: u8,
}

/// [`Error`] does not implement `std::error::Error`, since this conversion would then collide with that of a type into
/// itself.
impl<E: Cause + Send + Sync + 'static> From<E> for Error {
    fn from(cause: E) -> Self {
        Self { cause: Some(Box::new(cause)), status: 1 }
    }
}

impl Error {
    /// Wrong usage: exit status 2.
    pub(super) fn usage(message: String) -> Self {
        Self { cause: Some(message.into()), status: 2 }
    }

    /// The command ran and its answer is no: exit status 1.
    pub(super) fn failed(message: String) -> Self {
        Self { cause: Some(message.into()), status: 1 }
    }

    /// A signal stopped the command, which has printed a message.
    pub(super) fn stopped(status: u8) -> Self {
        Self { cause: None, status }
    }

    /// Prints the message and its causes, and returns the exit status. A reader that closes stdout is not an error.
    pub(super) fn report(&self) -> ExitCode {
        if let Some(cause) = &self.cause {
            match cause.downcast_ref::<io::Error>() {
                Some(e) if e.kind() == ErrorKind::BrokenPipe => return ExitCode::SUCCESS,
                Some(e) => eprintln!("error: cannot write to stdout: {e}"),
                None => eprintln!("error: {}", with_causes(&**cause)),
            }
        }
        ExitCode::from(self.status)
    }
}
