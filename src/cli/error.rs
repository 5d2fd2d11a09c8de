//! How a command ends that does not succeed.

use std::error::Error as Cause;
use std::io::{self, ErrorKind};
use std::process::ExitCode;

use crate::error::with_causes;

/// Any error of the floors below, or wrong usage that clap cannot see. A bare [`io::Error`] is one of writing to stdout:
/// the floors' errors name the file.
#[derive(Debug)]
pub(super) struct Error {
    cause: Box<dyn Cause + Send + Sync>,
    status: u8,
}

/// Not itself an error, or this conversion would collide with that of a type into itself.
impl<E: Cause + Send + Sync + 'static> From<E> for Error {
    fn from(cause: E) -> Self {
        Self { cause: Box::new(cause), status: 1 }
    }
}

impl Error {
    /// Wrong usage: exit status 2.
    pub(super) fn usage(message: String) -> Self {
        Self { cause: message.into(), status: 2 }
    }

    /// The command ran and its answer is no: exit status 1.
    pub(super) fn failed(message: String) -> Self {
        Self { cause: message.into(), status: 1 }
    }

    /// Prints the message and returns the exit status. That whoever reads stdout has had enough is not an error.
    pub(super) fn report(&self) -> ExitCode {
        match self.cause.downcast_ref::<io::Error>() {
            Some(e) if e.kind() == ErrorKind::BrokenPipe => return ExitCode::SUCCESS,
            Some(e) => eprintln!("error: cannot write to stdout: {e}"),
            None => eprintln!("error: {}", self.message()),
        }
        ExitCode::from(self.status)
    }

    /// The message and its causes in a line.
    fn message(&self) -> String {
        with_causes(&*self.cause)
    }
}
