//! Stands in for whisper.cpp, so that fuzzing need not build it: the readers name ggml's types, but never
//! quantize.
#![allow(non_camel_case_types, clippy::missing_safety_doc)]

pub type ggml_type = u32;

pub unsafe fn ggml_quantize_chunk(
    _: ggml_type,
    _: *const f32,
    _: *mut std::ffi::c_void,
    _: i64,
    _: i64,
    _: i64,
    _: *const f32,
) -> usize {
    unreachable!("a reader quantizes nothing")
}

#[derive(Clone, Copy)]
pub struct ggml_type_traits {
    pub to_float: Option<unsafe extern "C" fn(*const std::ffi::c_void, *mut f32, i64)>,
}

/// No blocks are read back: a verified file's values are the engine's business.
pub unsafe fn ggml_get_type_traits(_: ggml_type) -> *const ggml_type_traits {
    std::ptr::null()
}
