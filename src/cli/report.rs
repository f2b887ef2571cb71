//! How failures look: a line `error: …` and, if something can be done about it, a line `hint: …`, on standard error.
//! Coloured only on a terminal.

use std::io::Write;

use anstyle::{AnsiColor, Style};

use super::Failure;
use crate::config::Problems;

pub(super) const RED: Style = AnsiColor::Red.on_default().bold();
pub(super) const CYAN: Style = AnsiColor::Cyan.on_default().bold();
pub(super) const GREEN: Style = AnsiColor::Green.on_default().bold();

/// Shows why the command failed.
pub(super) fn failure(failure: &Failure) {
    match failure {
        Failure::Error(error) | Failure::Usage(error) => self::error(&error.chain(), error.hint()),
        Failure::Problems(problems) => self::problems(problems),
        Failure::Said => {}
    }
}

/// One error and its hint.
pub(super) fn error(message: &str, hint: Option<&str>) {
    let mut out = anstream::stderr().lock();
    // Nobody is left to be told when standard error is closed.
    let _ = writeln!(out, "{RED}error:{RED:#} {message}");
    if let Some(hint) = hint {
        let _ = writeln!(out, "{CYAN}hint:{CYAN:#} {hint}");
    }
}

/// What was done, on standard error: standard output is for what was asked for.
pub(super) fn note(message: &str) -> Result<(), Failure> {
    let _ = writeln!(anstream::stderr().lock(), "{message}");
    Ok(())
}

/// Every complaint about a configuration.
pub(super) fn problems(problems: &Problems) {
    for problem in problems.iter() {
        error(&problems.line(problem), problem.hint());
    }
    if let Some(more) = problems.len().checked_sub(problems.iter().count()).filter(|more| *more > 0) {
        error(&format!("{more} more problems"), None);
    }
}

/// Writes to standard output. A reader that has gone away (`| head`) is no failure.
pub(super) fn print(text: &str) -> Result<(), Failure> {
    let mut out = anstream::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(Failure::Error(
            crate::base::Error::new(crate::base::Kind::Unavailable, "standard output").caused_by(error),
        )),
        _ => Ok(()),
    }
}
