//! The `convert` program.
fn main() {}
