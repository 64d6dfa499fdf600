//! Bytes in, windows of samples out.
