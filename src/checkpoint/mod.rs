//! A checkpoint in, a GGML file out.
