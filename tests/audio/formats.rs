use std::collections::BTreeMap;

use super::{bytes, correlation, data, decode, open};

#[test]
fn every_format_sounds_like_the_wav() {
    let wav = open("theo-7309.wav");
    for (name, format, rate, channels) in [
        ("theo-7309-44k-stereo.mp3", "mp3/mp3", 44_100, 2),
        ("theo-7309-8k.mp3", "mp3/mp3", 8_000, 1),
        ("theo-7309-44k.flac", "flac/flac", 44_100, 1),
        ("theo-7309-44k.ogg", "ogg/vorbis", 44_100, 1),
        ("theo-7309-44k.m4a", "isomp4/aac", 44_100, 1),
        ("theo-7309-8k.m4a", "isomp4/aac", 8_000, 1),
        ("theo-7309-alac.m4a", "isomp4/alac", 8_000, 1),
        ("theo-7309-adts.aac", "aac/aac", 44_100, 1),
        ("theo-7309.aiff", "aiff/pcm_s16be", 8_000, 1),
        ("theo-7309.caf", "caf/pcm_s16le", 8_000, 1),
        ("theo-7309-44k.webm", "matroska/vorbis", 44_100, 1),
        ("theo-7309-alaw.wav", "wave/pcm_alaw", 8_000, 1),
        ("theo-7309-mulaw.wav", "wave/pcm_mulaw", 8_000, 1),
    ] {
        let other = open(name);
        let (best, shift) = correlation(&wav.samples, &other.samples);
        let longer = other.samples.len() as isize - wav.samples.len() as isize;
        eprintln!("{name}: {} {best:.5} shifted {shift} longer {longer}", other.source.format);
        assert!(best >= 0.99, "{name}: correlation {best} at a shift of {shift}");
        assert_eq!(other.source.format, format, "{name}");
        assert_eq!((other.source.sample_rate, other.source.channels), (rate, channels), "{name}");
        // From memory the same.
        assert_eq!(decode(&bytes(name)).unwrap(), other, "{name}");
    }
}

#[test]
fn all_recordings_are_there_and_level() {
    let truth: BTreeMap<String, String> = serde_json::from_slice(&bytes("truth.json")).unwrap();
    assert!(truth.len() >= 4);
    for (name, words) in &truth {
        let recording = open(name);
        let peak = recording.samples.iter().fold(0.0_f32, |peak, sample| peak.max(sample.abs()));
        assert!((peak - 0.9).abs() < 1e-6, "{name}: peak {peak}");
        // A digit with its pause takes half a second to a second.
        let seconds = recording.samples.len() as f64 / 16_000.0 / words.split(' ').count() as f64;
        assert!((0.4..1.2).contains(&seconds), "{name}: {seconds} s for a digit");
    }
}

#[test]
fn the_name_of_a_file_does_not_matter() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("liar.mp3");
    std::fs::copy(data("theo-7309-44k.flac"), &path).unwrap();
    let recording = imesli::audio::Recording::open(&path, &Default::default()).unwrap();
    assert_eq!(recording.source.format, "flac/flac");
}

#[test]
fn chained_ogg_streams_are_joined() {
    let one = bytes("theo-7309-44k.ogg");
    let joined = decode(&[one.clone(), one.clone()].concat()).unwrap();
    // The two lengths are rounded once together, and once each.
    assert!(joined.samples.len().abs_diff(2 * decode(&one).unwrap().samples.len()) <= 1);
}
