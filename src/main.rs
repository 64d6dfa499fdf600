//! The `imesli` program.
fn main() {}
