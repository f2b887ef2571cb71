//! Parse the arguments, run the command, choose the exit code.

fn main() {}
