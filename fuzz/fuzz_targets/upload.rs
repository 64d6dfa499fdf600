#![no_main]
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| imesli_fuzz::serve::uploads(bytes));
