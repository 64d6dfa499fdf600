//! Windows in, text out.
