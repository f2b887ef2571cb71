//! The program: it hands its arguments to the command line and ends with its exit code.

use std::process::ExitCode;

fn main() -> ExitCode {
    campanile::cli::run(std::env::args_os())
}
