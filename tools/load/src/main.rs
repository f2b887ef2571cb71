//! Load generator and meter for media servers.

fn main() {}
