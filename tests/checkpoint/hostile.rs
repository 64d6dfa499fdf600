//! Weight files that lie: an error, never a panic, a crash or a large allocation.

use std::fs;
use std::io::{Cursor, Write};
use std::path::Path;

use imesli::checkpoint::{Error, QuantType};
use zip::write::SimpleFileOptions;

use super::model::{Checkpoint, fixture, with_header};

fn with_file(name: &str, bytes: &[u8]) -> Error {
    let checkpoint = Checkpoint::new();
    checkpoint.write_config();
    fs::write(checkpoint.path(name), bytes).unwrap();
    checkpoint.refusal(QuantType::F16)
}

#[test]
fn safetensors_headers_that_lie() {
    let header = |entry: &str| with_header(&format!("{{{entry}}}"), &[0; 16]);
    let tensor = |name: &str, shape: &str, start: u64, end: u64| {
        format!(r#""{name}":{{"dtype":"F32","shape":{shape},"data_offsets":[{start},{end}]}}"#)
    };
    for (what, bytes) in [
        ("empty", Vec::new()),
        ("short", vec![1; 7]),
        ("a length beyond the file", [&u64::MAX.to_le_bytes()[..], b"{}"].concat()),
        ("no JSON", with_header("{", &[])),
        ("no UTF-8", [&2_u64.to_le_bytes()[..], &[0xff, 0xfe]].concat()),
        ("data that is not there", header(&tensor("a", "[5]", 0, 20))),
        ("data left over", header(&tensor("a", "[2]", 0, 8))),
        ("an overlap", header(&format!("{},{}", tensor("a", "[3]", 0, 12), tensor("b", "[2]", 8, 16)))),
        ("a gap", header(&format!("{},{}", tensor("a", "[1]", 0, 4), tensor("b", "[2]", 8, 16)))),
        ("offsets backwards", header(&tensor("a", "[4]", 16, 0))),
        ("a shape that overflows", header(&tensor("a", "[4294967296,4294967296,4294967296]", 0, 16))),
        ("a negative shape", header(&tensor("a", "[-4]", 0, 16))),
        (
            "types of half a byte that do not fill one",
            header(r#""a":{"dtype":"F4","shape":[3],"data_offsets":[0,1]}"#),
        ),
        ("an unknown type", header(r#""a":{"dtype":"F31","shape":[4],"data_offsets":[0,16]}"#)),
    ] {
        let error = with_file("model.safetensors", &bytes);
        assert!(matches!(error, Error::Safetensors { .. }), "{what}: {error}");
    }
}

#[test]
fn safetensors_cut_short() {
    let checkpoint = Checkpoint::new();
    checkpoint.write("F16", "model.");
    let whole = fs::read(checkpoint.path("model.safetensors")).unwrap();
    for length in (0..whole.len()).step_by(997) {
        fs::write(checkpoint.path("model.safetensors"), &whole[..length]).unwrap();
        assert!(matches!(checkpoint.refusal(QuantType::F16), Error::Safetensors { .. }), "{length}");
    }
}

#[test]
fn archives_cut_short_or_damaged() {
    let whole = fs::read(fixture("bf16.bin")).unwrap();
    for length in (0..whole.len()).step_by(4999) {
        assert!(matches!(with_file("pytorch_model.bin", &whole[..length]), Error::Torch { .. }), "{length}");
    }
    // Whatever a flipped bit does, it ends in an error or in a file that verifies.
    for at in (0..whole.len()).step_by(463).chain(whole.len() - 300..whole.len()) {
        let mut bytes = whole.clone();
        bytes[at] ^= 0x41;
        let checkpoint = Checkpoint::new();
        checkpoint.write_config();
        fs::write(checkpoint.path("pytorch_model.bin"), &bytes).unwrap();
        if let Err(error) = checkpoint.convert(QuantType::Q8_0) {
            assert_eq!(error.exit_code(), 2, "{at}: {error}");
        }
    }
}

#[test]
fn a_pickle_that_calls_is_refused_and_not_run() {
    let checkpoint = Checkpoint::new();
    checkpoint.write_bin("call.bin");
    match checkpoint.refusal(QuantType::F16) {
        Error::PickleGlobal { name, .. } => assert_eq!(name, "posix.system"),
        other => panic!("{other}"),
    }
    assert!(!Path::new("/tmp/imesli-was-here").exists());
}

#[test]
fn a_billion_tensors() {
    // A header that says so is too long, one that is not so long is read; neither takes much memory.
    let long = with_header(&" ".repeat(17 << 20), &[]);
    assert!(matches!(with_file("model.safetensors", &long), Error::Safetensors { .. }));
    let many: Vec<_> = (0..100_000)
        .map(|i| format!(r#""t{i}":{{"dtype":"F32","shape":[0],"data_offsets":[0,0]}}"#))
        .collect();
    let error = with_file("model.safetensors", &with_header(&format!("{{{}}}", many.join(",")), &[]));
    assert!(matches!(error, Error::MissingTensor { .. }), "{error}");
}

#[test]
fn bombs() {
    // A tensor of 64 MB in an archive of 64 kB.
    let mut zip = zip::ZipWriter::new(Cursor::new(Vec::new()));
    let packed = SimpleFileOptions::default().compression_method(zip::CompressionMethod::Deflated);
    zip.start_file("m/data.pkl", packed).unwrap();
    zip.write_all(&one_tensor(b'0', b"K\x00", b"J\x00\x00\x00\x01\x85", b"K\x01\x85")).unwrap();
    zip.start_file("m/data/0", packed).unwrap();
    zip.write_all(&vec![0; 64 << 20]).unwrap();
    let bytes = zip.finish().unwrap().into_inner();
    assert!(bytes.len() < 100_000);
    let error = with_file("pytorch_model.bin", &bytes);
    assert!(matches!(&error, Error::Torch { fact, .. } if fact.contains("claim 67108864 bytes")), "{error}");
    // One element, repeated by a stride of nothing.
    let tensor = one_tensor(b'0', b"K\x00", b"J\x00\x00\x00\x7f\x85", b"K\x00\x85");
    let error = with_file("pytorch_model.bin", &archive(&tensor));
    assert!(matches!(&error, Error::Torch { fact, .. } if fact.contains("claim")), "{error}");
    // A pickle that unpacks to more than any has.
    let mut zip = zip::ZipWriter::new(Cursor::new(Vec::new()));
    zip.start_file("m/data.pkl", packed).unwrap();
    zip.write_all(&vec![b'N'; 17 << 20]).unwrap();
    let error = with_file("pytorch_model.bin", &zip.finish().unwrap().into_inner());
    assert!(matches!(&error, Error::Torch { fact, .. } if fact.contains("data.pkl")), "{error}");
}

#[test]
fn the_form_before_zip_cut_short_or_damaged() {
    for name in ["legacy.bin", "strided-legacy.bin"] {
        let whole = fs::read(fixture(name)).unwrap();
        for length in (0..whole.len()).step_by(2999) {
            let error = with_file("pytorch_model.bin", &whole[..length]);
            assert!(
                matches!(error, Error::Torch { .. } | Error::Pickle { .. } | Error::Read { .. }),
                "{length}: {error}"
            );
        }
        for at in (0..whole.len()).step_by(397).chain(0..200) {
            let mut bytes = whole.clone();
            bytes[at] ^= 0x41;
            let checkpoint = Checkpoint::new();
            checkpoint.write_config();
            fs::write(checkpoint.path("pytorch_model.bin"), &bytes).unwrap();
            if let Err(error) = checkpoint.convert(QuantType::Q8_0) {
                assert_eq!(error.exit_code(), 2, "{at}: {error}");
            }
        }
    }
}

/// The form before zip with this pickle; what is behind it is a list of one storage of 16 bytes.
fn before_zip(order: u8, pickle: &[u8], elements: u64) -> Vec<u8> {
    [
        b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.\x80\x02M\xe9\x03.",
        &b"\x80\x02}X\x0d\x00\x00\x00little_endian"[..],
        &[order],
        b"s.",
        pickle,
        b"\x80\x02]X\x01\x00\x00\x000a.",
        &elements.to_le_bytes(),
        &[0; 16],
    ]
    .concat()
}

#[test]
fn the_form_before_zip_that_lies() {
    let tensor = || one_tensor(b'0', b"K\x00", b"K\x04\x85", b"K\x01\x85");
    let refused = |bytes: &[u8]| with_file("pytorch_model.bin", bytes).to_string();
    const TRUE: u8 = 0x88;
    assert!(refused(&before_zip(TRUE, &tensor(), 4)).contains("is missing"), "read, but no Whisper");
    assert!(refused(&before_zip(0x89, &tensor(), 4)).contains("big-endian"));
    for elements in [0, 3, 5, u64::MAX] {
        let error = refused(&before_zip(TRUE, &tensor(), elements));
        assert!(error.contains("4 there"), "{error}");
    }
    let other = one_tensor(b'1', b"K\x00", b"K\x04\x85", b"K\x01\x85");
    assert!(refused(&before_zip(TRUE, &other, 4)).contains("storage `0`"));
    let far = one_tensor(b'0', b"K\x01", b"K\x04\x85", b"K\x01\x85");
    assert!(refused(&before_zip(TRUE, &far, 4)).contains("beyond its data"));
    assert!(refused(&before_zip(TRUE, b"cos\nsystem\n.", 4)).contains("os.system"));
}

#[test]
fn strides_that_lie() {
    for (shape, stride) in [
        // Beyond the storage; so far that the sum overflows.
        (&b"K\x02\x85"[..], &b"K\x04\x85"[..]),
        (b"K\x03\x85", b"\x8a\x08\xff\xff\xff\xff\xff\xff\xff\x7f\x85"),
        (b"K\x02K\x02\x86", b"K\x03K\x01\x86"),
    ] {
        let error = with_file("pytorch_model.bin", &archive(&one_tensor(b'0', b"K\x00", shape, stride)));
        assert!(matches!(error, Error::OutOfBounds { .. }), "{error}");
    }
    let negative = one_tensor(b'0', b"K\x00", b"K\x02\x85", b"J\xff\xff\xff\xff\x85");
    assert!(matches!(with_file("pytorch_model.bin", &archive(&negative)), Error::Pickle { .. }));
}

#[cfg(unix)]
#[test]
fn links_and_pipes() {
    use std::os::unix::fs::symlink;
    for name in ["model.safetensors", "pytorch_model.bin", "model.safetensors.index.json", "config.json"] {
        // A link to itself, a link to nothing, a folder, and a pipe that nobody writes to.
        for kind in ["loop", "nothing", "folder", "pipe"] {
            let checkpoint = Checkpoint::new();
            if name == "config.json" {
                checkpoint.write("F32", "");
                fs::remove_file(checkpoint.path(name)).unwrap();
            } else {
                checkpoint.write_config();
            }
            let path = checkpoint.path(name);
            match kind {
                "loop" => symlink(&path, &path).unwrap(),
                "nothing" => symlink("/no/such/file", &path).unwrap(),
                "folder" => fs::create_dir(&path).unwrap(),
                _ => assert!(std::process::Command::new("mkfifo").arg(&path).status().unwrap().success()),
            }
            let error = checkpoint.refusal(QuantType::F16);
            assert!(matches!(error, Error::Read { .. }), "{name}, {kind}: {error}");
            assert!(error.to_string().contains(name), "{kind}: {error}");
        }
    }
}

/// An archive with this pickle and one storage of 16 bytes, as the entry says.
fn archive(pickle: &[u8]) -> Vec<u8> {
    let mut zip = zip::ZipWriter::new(Cursor::new(Vec::new()));
    let stored = SimpleFileOptions::default().compression_method(zip::CompressionMethod::Stored);
    for (name, content) in [("m/data.pkl", pickle), ("m/data/0", &[0; 16])] {
        zip.start_file(name, stored).unwrap();
        zip.write_all(content).unwrap();
    }
    zip.finish().unwrap().into_inner()
}

/// The pickle of one tensor: `{'w': _rebuild_tensor_v2(storage, offset, shape, stride, …)}`.
fn one_tensor(key: u8, offset: &[u8], shape: &[u8], stride: &[u8]) -> Vec<u8> {
    [
        b"\x80\x02}X\x01\x00\x00\x00wctorch._utils\n_rebuild_tensor_v2\n((X\x07\x00\x00\x00storagectorch\nFloatStorage\nX\x01\x00\x00\x00",
        &[key][..],
        b"X\x03\x00\x00\x00cpuK\x04tQ",
        offset,
        shape,
        stride,
        b"\x89NtRs.",
    ]
    .concat()
}

#[test]
fn tensors_beyond_their_storage() {
    for (offset, shape) in [
        (&b"K\x00"[..], &b"K\x05\x85"[..]),
        (b"K\x01", b"K\x04\x85"),
        (b"\x8a\x08\xff\xff\xff\xff\xff\xff\xff\x7f", b"K\x04\x85"),
        (b"K\x00", b"\x8a\x08\xff\xff\xff\xff\xff\xff\xff\x7fK\x08\x86"),
    ] {
        let bytes = archive(&one_tensor(b'0', offset, shape, b"K\x01\x85"));
        let error = with_file("pytorch_model.bin", &bytes);
        // The last has two sizes and one stride.
        assert!(matches!(error, Error::OutOfBounds { .. } | Error::Pickle { .. }), "{error}");
    }
    let error =
        with_file("pytorch_model.bin", &archive(&one_tensor(b'1', b"K\x00", b"K\x04\x85", b"K\x01\x85")));
    assert!(matches!(error, Error::Torch { .. }), "no such storage: {error}");
    let error =
        with_file("pytorch_model.bin", &archive(&one_tensor(b'0', b"K\x00", b"K\x04\x85", b"K\x01\x85")));
    assert!(matches!(error, Error::MissingTensor { .. }), "read, but no Whisper: {error}");
}

#[test]
fn pickles_that_are_no_state_dict() {
    let deep = [vec![b')'], vec![0x85; 250_000], vec![b'.']].concat();
    for (what, pickle) in [
        ("nothing", &b""[..]),
        ("no end", b"\x80\x02}"),
        ("not a dictionary", b"\x80\x02K\x01."),
        ("a number for a tensor", b"\x80\x02}X\x01\x00\x00\x00wK\x01s."),
        ("an empty stack", b"\x80\x02s."),
        ("no mark", b"\x80\x02u."),
        ("popping below a mark", b"\x80\x02}((0s."),
        ("a pair below the mark", b"\x80\x02}K\x01(K\x02\x86."),
        ("an opcode that imports", b"\x80\x02i os\nsystem\n."),
        ("a memo that was not set", b"\x80\x02h\x07."),
        ("a text without end", b"\x80\x02X\xff\xff\xff\xffw."),
        ("a negative size", b"\x80\x02}X\x01\x00\x00\x00wJ\xff\xff\xff\xff\x85s."),
        ("a long of 100 bytes", &[b"\x80\x02\x8a\x64", &[1_u8; 100][..], b"."].concat()),
        ("deep nesting", &deep),
        ("values without end", &[vec![b'N'; 400_000], vec![b'.']].concat()),
    ] {
        let error = with_file("pytorch_model.bin", &archive(pickle));
        assert!(matches!(error, Error::Pickle { .. }), "{what}: {error}");
    }
    // A dictionary that holds itself.
    let error = with_file("pytorch_model.bin", &archive(b"\x80\x02}q\x00X\x01\x00\x00\x00wh\x00s."));
    assert!(matches!(error, Error::Pickle { .. }), "{error}");
}

#[test]
fn other_names_are_refused_where_they_are_mentioned() {
    for name in [
        "builtins\neval",
        "os\nsystem",
        "torch\nload",
        "torch._utils\n_rebuild_tensor_v3",
        "collections\nCounter",
    ] {
        let error = with_file("pytorch_model.bin", &archive(format!("\u{63}{name}\n.").as_bytes()));
        assert!(matches!(error, Error::PickleGlobal { .. }), "{name:?}: {error}");
    }
}
