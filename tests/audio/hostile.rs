use std::time::Instant;

use imesli::audio::{Limits, Recording};
use imesli::error::Error;

use super::{Sound, bytes, correlation_at, data, decode, open};

const FILES: [&str; 20] = [
    "theo-7309.wav",
    "theo-7309-alaw.wav",
    "theo-7309-44k-stereo.mp3",
    "theo-7309-8k.mp3",
    "theo-7309-44k.flac",
    "theo-7309-44k.ogg",
    "theo-7309-44k.m4a",
    "theo-7309-alac.m4a",
    "theo-7309-adts.aac",
    "theo-7309.aiff",
    "theo-7309.caf",
    "theo-7309-44k.webm",
    "theo-7309-voip.ogg",
    "theo-7309-stereo.opus",
    "theo-7309-live.webm",
    "theo-7309-opus.mp4",
    "theo-7309-front.mp4",
    "theo-7309-fragments.mp4",
    "theo-7309-bare.mp3",
    "theo-7309-alac.caf",
];

/// Small ones, to be tried in many ways.
const SMALL: [&str; 11] = [
    "clicks.opus",
    "clicks-16k.webm",
    "clicks-opus.mp4",
    "clicks.m4a",
    "clicks-fragments.mp4",
    "clicks-alac.caf",
    "clicks-16k.mp3",
    "clicks.ogg",
    "clicks-vorbis.webm",
    "theo-7309-16k-60ms.opus",
    "clicks.webm",
];

#[test]
fn what_is_no_audio_is_refused_as_such() {
    let mut noise = Vec::new();
    let mut state = 1_u32;
    while noise.len() < 200_000 {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        noise.push((state >> 24) as u8);
    }
    let text = b"{\"type\": \"audio\", \"audio_data\": \"aGVsbG8=\"}\n".repeat(1_000);
    for (name, junk) in [
        ("nothing", &b""[..]),
        ("one byte", b"R"),
        ("zeros", &[0; 100_000]),
        ("0xff", &[0xff; 100_000]),
        ("noise", &noise),
        ("text", &text),
        ("a lone head", b"RIFF\xff\xff\xff\xffWAVE"),
        ("a PNG", b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR"),
    ] {
        let error = decode(junk).expect_err(name);
        assert!(matches!(error, Error::InvalidInput(_) | Error::Unsupported(_)), "{name}: {error:?}");
    }
}

#[test]
fn zero_samples_are_an_error() {
    let mut wav = bytes("theo-7309.wav");
    wav.truncate(44);
    wav[40..44].fill(0);
    let error = decode(&wav).unwrap_err();
    assert_eq!(error.to_string(), "the file holds no audio");
}

#[test]
fn silence_is_audio() {
    let mut wav = bytes("theo-7309.wav");
    wav[44..].fill(0);
    let silence = decode(&wav).unwrap();
    assert!(silence.samples.iter().all(|&sample| sample == 0.0));
}

#[test]
fn files_cut_in_the_middle_give_what_is_there() {
    for name in FILES {
        let whole = open(name);
        let file = bytes(name);
        // The pages of an Ogg file are whole or nothing; this short one has three. Heads take their share too.
        let paged = name.ends_with(".ogg") || name.ends_with(".opus");
        let (parts, slack) = if paged { ([0.85, 0.9], 0.4) } else { ([0.5, 0.9], 0.25) };
        for part in parts {
            let cut = &file[..(file.len() as f64 * part) as usize];
            match decode(cut) {
                Ok(recording) => {
                    let share = recording.samples.len() as f64 / whole.samples.len() as f64;
                    assert!(
                        (share - part).abs() < slack,
                        "{name}: {share} of the audio in {part} of the file"
                    );
                    let alike = correlation_at(&recording.samples, &whole.samples, 0);
                    assert!(alike > 0.95, "{name}: {alike}");
                }
                // MP4 has its index at the end: without it there is nothing to go by. symphonia's CAF reader
                // wants the chunks that follow the audio.
                Err(error) => {
                    let index_last = [".m4a", ".caf", "opus.mp4"].iter().any(|end| name.ends_with(end));
                    assert!(index_last, "{name}: {error}");
                    assert!(error.to_string().contains("cut off"), "{name}: {error}");
                }
            }
        }
    }
}

#[test]
fn damaged_files_neither_panic_nor_hang() {
    let limits = Limits { max_seconds: 60, ..Limits::default() };
    let mut state = 9_u64;
    let mut random = |bound: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % bound
    };
    for name in FILES {
        let file = bytes(name);
        let before = Instant::now();
        for round in 0..60 {
            let mut damaged = file.clone();
            // Heads are where the lengths are; the rest is mostly samples.
            let reach = if round % 2 == 0 { 600.min(file.len()) } else { file.len() };
            for _ in 0..=random(12) {
                let at = random(reach);
                damaged[at] = [0, 0xff, 0x7f, random(256) as u8][random(4)];
            }
            if random(4) == 0 {
                damaged.truncate(random(file.len()));
            }
            if let Ok(recording) = Recording::from_bytes(&damaged, &limits) {
                assert!(
                    Sound::from(recording).samples.iter().all(|sample| sample.abs() <= 0.901),
                    "{name}, round {round}"
                );
            }
        }
        let spent = before.elapsed();
        assert!(spent.as_secs() < 60, "{name}: {spent:?} for 60 small files");
    }
}

#[test]
fn files_may_be_cut_at_any_byte() {
    let limits = Limits { max_seconds: 60, ..Limits::default() };
    for name in SMALL {
        let (file, whole) = (bytes(name), open(name).samples.len());
        for len in (0..file.len()).step_by(7) {
            if let Ok(recording) = Recording::from_bytes(&file[..len], &limits) {
                // Without its end a file may keep a last packet's padding, and no more.
                assert!(recording.samples.len() <= whole + 2 * 16_000, "{name} cut at {len}");
            }
        }
    }
}

#[test]
fn bits_may_flip_anywhere() {
    let limits = Limits { max_seconds: 60, ..Limits::default() };
    for name in SMALL {
        let file = bytes(name);
        let before = Instant::now();
        for bit in (0..file.len() * 8).step_by(53) {
            let mut damaged = file.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            if let Ok(recording) = Recording::from_bytes(&damaged, &limits) {
                let samples = recording.samples.into_vec().unwrap();
                assert!(samples.iter().all(|sample| sample.abs() <= 0.901), "{name}, bit {bit}");
            }
        }
        assert!(before.elapsed().as_secs() < 120, "{name}: {:?}", before.elapsed());
    }
}

#[test]
fn known_kinds_that_are_not_decoded_are_named() {
    for (head, name) in [
        (&b"#!AMR\n\x3c"[..], "AMR"),
        (b"#!AMR-WB\n\x44", "AMR"),
        (b"\x30\x26\xb2\x75\x8e\x66\xcf\x11\xa6\xd9", "Windows Media"),
        (
            b"RIFF\x40\0\0\0WAVEfmt \x10\0\0\0\x02\0\x01\0\x40\x1f\0\0\0\x10\0\0\0\x01\x04\0data\0\x01\0\0",
            "0x0002",
        ),
        (b"RIFF\x40\0\0\0WAVEdata\x04\0\0\0\0\0\0\0fmt ", "no usable format before the audio"),
    ] {
        let mut file = head.to_vec();
        file.resize(2_000, 7);
        let error = decode(&file).unwrap_err();
        assert!(error.to_string().contains(name), "{name}: {error}");
    }
}

#[test]
fn packets_that_claim_to_be_huge_are_refused() {
    let mut caf = bytes("theo-7309.caf");
    let description = caf.windows(4).position(|four| four == b"desc").unwrap() + 12;
    // Bytes and frames per packet: the largest that still agree for 16-bit mono.
    caf[description + 16..description + 20].copy_from_slice(&0xffff_fffe_u32.to_be_bytes());
    caf[description + 20..description + 24].copy_from_slice(&0x7fff_ffff_u32.to_be_bytes());
    let error = decode(&caf).unwrap_err();
    assert!(error.to_string().contains("damaged"), "{error}");
}

#[test]
fn longer_audio_than_allowed_is_refused() {
    for name in FILES {
        let error = Recording::open(data(name), &Limits { max_seconds: 1, ..Limits::default() }).unwrap_err();
        assert!(matches!(error, Error::TooLarge(_)), "{name}: {error:?}");
    }
}

#[test]
fn what_is_no_file_is_refused() {
    for path in ["/", "/dev/zero", "no such file"] {
        let error = Recording::open(path, &Limits::default()).unwrap_err();
        assert!(matches!(error, Error::InvalidInput(_)), "{path}: {error:?}");
    }
}
