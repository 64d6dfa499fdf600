//! A file of torch.save in either form; or a bare pickle, which is put into an archive with a right checksum.
#![no_main]

use std::io::{Cursor, Write};

use zip::write::SimpleFileOptions;

/// Long enough for the seeds' storages.
const STORAGE: [u8; 4096] = [0; 4096];

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    if bytes.starts_with(b"PK") || bytes.starts_with(b"\x80\x02\x8a\x0a") {
        return imesli_fuzz::weights("bin", bytes);
    }
    let mut zip = zip::ZipWriter::new(Cursor::new(Vec::new()));
    for (name, content, method) in [
        ("m/data.pkl", bytes, zip::CompressionMethod::Stored),
        ("m/data/0", &STORAGE, zip::CompressionMethod::Stored),
        ("m/data/1", &STORAGE, zip::CompressionMethod::Deflated),
    ] {
        let options = SimpleFileOptions::default().compression_method(method);
        zip.start_file(name, options).and_then(|()| Ok(zip.write_all(content)?)).expect("a zip in memory");
    }
    let archive = zip.finish().expect("a zip in memory").into_inner();
    imesli_fuzz::weights("bin", &archive);
});
