use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::{bytes, correlation, data, decode, open};

/// The same recording in every format: file, format, rate, channels, and by how many milliseconds it begins late
/// where the file has no word on what the encoder put before it.
const FORMATS: [(&str, &str, u32, usize, f64); 29] = [
    ("theo-7309-44k-stereo.mp3", "mp3/mp3", 44_100, 2, 0.0),
    ("theo-7309-8k.mp3", "mp3/mp3", 8_000, 1, 0.0),
    ("theo-7309-vbr.mp3", "mp3/mp3", 44_100, 1, 0.0),
    ("theo-7309-bare.mp3", "mp3/mp3", 44_100, 1, 25.1),
    ("theo-7309-44k.flac", "flac/flac", 44_100, 1, 0.0),
    ("theo-7309-flac.ogg", "ogg/flac", 8_000, 1, 0.0),
    ("theo-7309-44k.ogg", "ogg/vorbis", 44_100, 1, 0.0),
    ("theo-7309-sox.ogg", "ogg/vorbis", 8_000, 1, 0.0),
    ("theo-7309-44k.webm", "matroska/vorbis", 44_100, 1, 0.0),
    ("theo-7309-voip.ogg", "ogg/opus", 48_000, 1, 0.0),
    ("theo-7309-16k-60ms.opus", "ogg/opus", 48_000, 1, 0.0),
    ("theo-7309-stereo.opus", "ogg/opus", 48_000, 2, 0.0),
    ("theo-7309-live.webm", "matroska/opus", 48_000, 1, 0.0),
    ("theo-7309-opus.webm", "matroska/opus", 48_000, 1, 0.0),
    ("theo-7309-opus.mp4", "isomp4/opus", 48_000, 1, 0.0),
    ("theo-7309-44k.m4a", "isomp4/aac", 44_100, 1, 0.0),
    ("theo-7309-8k.m4a", "isomp4/aac", 8_000, 1, 0.0),
    ("theo-7309-front.mp4", "isomp4/aac", 48_000, 2, 0.0),
    ("theo-7309-fragments.mp4", "isomp4/aac", 48_000, 1, 0.0),
    ("theo-7309-adts.aac", "aac/aac", 44_100, 1, 23.2),
    ("theo-7309-alac.m4a", "isomp4/alac", 8_000, 1, 0.0),
    ("theo-7309-alac.caf", "caf/alac", 8_000, 1, 0.0),
    ("theo-7309.caf", "caf/pcm_s16le", 8_000, 1, 0.0),
    ("theo-7309.aiff", "aiff/pcm_s16be", 8_000, 1, 0.0),
    ("theo-7309-mulaw.aifc", "aiff/pcm_mulaw", 8_000, 1, 0.0),
    ("theo-7309-alaw.wav", "wave/pcm_alaw", 8_000, 1, 0.0),
    ("theo-7309-mulaw.wav", "wave/pcm_mulaw", 8_000, 1, 0.0),
    ("theo-7309-he.m4a", "isomp4/aac", 22_050, 1, 92.9),
    ("theo-7309-sox.wav", "wave/pcm", 8_000, 1, 0.0),
];

#[test]
fn every_format_sounds_like_the_wav() {
    let wav = open("theo-7309.wav");
    for (name, format, rate, channels, late) in FORMATS {
        let other = open(name);
        let (best, shift) = correlation(&wav.samples, &other.samples);
        let longer = other.samples.len() as isize - wav.samples.len() as isize;
        eprintln!("{name}: {} {best:.5} shifted {shift} longer {longer}", other.source.format);
        // Opus keeps the sound of speech rather than its waveform.
        assert!(
            best >= if format.ends_with("opus") { 0.9 } else { 0.99 },
            "{name}: correlation {best} at a shift of {shift}"
        );
        assert!((shift as f64 / 16.0 - late).abs() <= 1.0, "{name}: moved by {shift} samples");
        assert_eq!(other.source.format, format, "{name}");
        assert_eq!((other.source.sample_rate, other.source.channels), (rate, channels), "{name}");
        // From memory the same.
        assert_eq!(decode(&bytes(name)).unwrap(), other, "{name}");
    }
}

#[test]
fn every_format_is_what_ffmpeg_decodes_it_to() {
    let references: BTreeMap<String, String> = serde_json::from_slice(&bytes("references.json")).unwrap();
    assert!(FORMATS.iter().all(|(name, ..)| references.contains_key(*name)));
    for (name, reference) in &references {
        let reference: Vec<f64> = STANDARD
            .decode(reference)
            .unwrap()
            .chunks(4)
            .map(|four| f64::from(f32::from_le_bytes(four.try_into().unwrap())))
            .collect();
        let ours = open(name).samples;
        let (best, shift) = (-32_isize..=32)
            .map(|shift| {
                let sketch = sketch(&ours, shift, reference.len());
                let square: f64 = sketch.iter().zip(&reference).map(|(a, b)| (a - b).powi(2)).sum();
                (1.0 - square / 2.0, shift)
            })
            .max_by(|a, b| a.0.total_cmp(&b.0))
            .unwrap();
        eprintln!("{name}: correlation with ffmpeg's {best:.5}, shifted by {:.2} ms", shift as f64 / 16.0);
        assert!(best >= 0.999, "{name}: correlation {best}");
        assert!(shift.abs() <= 16, "{name}: moved by {shift} samples");
    }
}

/// The sketch that `tools/make_test_audio.py` describes, of samples that come `shift` earlier.
fn sketch(samples: &[f32], shift: isize, counters: usize) -> Vec<f64> {
    let norm = samples.iter().map(|&sample| f64::from(sample).powi(2)).sum::<f64>().sqrt();
    let mut sketch = vec![0.0; counters];
    for (n, &sample) in samples.iter().enumerate() {
        let Some(n) = n.checked_add_signed(-shift) else { continue };
        let mut draw = (n as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        draw ^= draw >> 30;
        draw = draw.wrapping_mul(0xBF58_476D_1CE4_E5B9);
        draw ^= draw >> 31;
        let signed = if draw >> 63 == 1 { -sample } else { sample };
        sketch[(draw % counters as u64) as usize] += f64::from(signed) / norm;
    }
    sketch
}

#[test]
fn a_click_stays_where_it_was() {
    for name in [
        "clicks.opus",
        "clicks-16k.opus",
        "clicks.webm",
        "clicks-16k.webm",
        "clicks-opus.mp4",
        "clicks.m4a",
        "clicks-fragments.mp4",
        "clicks-alac.caf",
        "clicks.mp3",
        "clicks-16k.mp3",
        "clicks.ogg",
        "clicks-vorbis.webm",
        "clicks.flac",
    ] {
        let samples = open(name).samples;
        for (second, at) in [(0, 8_000), (16_000, 24_000)] {
            let range = second..(second + 16_000).min(samples.len());
            let loudest = range.max_by(|&a, &b| samples[a].abs().total_cmp(&samples[b].abs())).unwrap();
            eprintln!("{name}: {at} at {loudest}, {} samples", samples.len());
            assert!(loudest.abs_diff(at) <= 16, "{name}: a click at {at} is at {loudest}");
        }
        // What fills the last packet goes too, but for the little that some containers have no word on.
        assert!((31_998..32_400).contains(&samples.len()), "{name}: {} samples", samples.len());
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
    for name in ["theo-7309-44k.ogg", "theo-7309-voip.ogg"] {
        let one = bytes(name);
        let joined = decode(&[one.clone(), one.clone()].concat()).unwrap();
        // The two lengths are rounded once together, and once each.
        assert!(joined.samples.len().abs_diff(2 * decode(&one).unwrap().samples.len()) <= 1, "{name}");
    }
}
