//! How a command ends that does not succeed.

use std::error::Error as Cause;
use std::io::{self, ErrorKind};
use std::process::ExitCode;

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

    /// The causes in a line, without those whose words the one before has quoted already.
    pub(super) fn message(&self) -> String {
        let mut message = self.cause.to_string();
        let mut next = self.cause.source();
        while let Some(cause) = next {
            let words = cause.to_string();
            if !message.contains(&words) {
                message += ": ";
                message += &words;
            }
            next = cause.source();
        }
        message
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    enum Outer {
        #[error("cannot read a.txt: {0}")]
        Quoting(#[source] io::Error),
        #[error("cannot start")]
        Silent(#[source] io::Error),
    }

    #[test]
    fn causes_are_told_once() {
        let lost = || io::Error::other("the disk is gone");
        assert_eq!(Error::from(Outer::Quoting(lost())).message(), "cannot read a.txt: the disk is gone");
        assert_eq!(Error::from(Outer::Silent(lost())).message(), "cannot start: the disk is gone");
        assert_eq!(Error::usage("no such thing".into()).message(), "no such thing");
    }
}
