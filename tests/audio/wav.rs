use std::io::Cursor;

use hound::{SampleFormat, WavSpec, WavWriter};

use super::{bytes, correlation_at, data, decode};

/// A second of a tone as WAV of any kind, in all channels.
fn tone(rate: u32, channels: u16, bits_per_sample: u16, sample_format: SampleFormat) -> Vec<u8> {
    let mut file = Cursor::new(Vec::new());
    let spec = WavSpec { channels, sample_rate: rate, bits_per_sample, sample_format };
    let mut writer = WavWriter::new(&mut file, spec).unwrap();
    for n in 0..rate {
        let sample = 0.5 * (std::f64::consts::TAU * 440.0 * f64::from(n) / f64::from(rate)).sin();
        for _ in 0..channels {
            match sample_format {
                SampleFormat::Float => writer.write_sample(sample as f32).unwrap(),
                SampleFormat::Int => {
                    let full = f64::from(2_u32.pow(u32::from(bits_per_sample) - 1));
                    writer.write_sample((sample * full).round() as i32).unwrap();
                }
            }
        }
    }
    writer.finalize().unwrap();
    file.into_inner()
}

#[test]
fn all_sample_formats_are_read_to_scale() {
    let float = decode(&tone(16_000, 1, 32, SampleFormat::Float)).unwrap();
    assert!((float.source.peak - 0.5).abs() < 1e-6);
    for (bits, error) in [(8, 1e-2), (16, 1e-4), (24, 1e-6), (32, 1e-6)] {
        for channels in [1, 2, 6] {
            let int = decode(&tone(16_000, channels, bits, SampleFormat::Int)).unwrap();
            assert_eq!(int.source.channels, usize::from(channels));
            assert!((int.source.peak - 0.5).abs() < error, "{bits} bits: peak {}", int.source.peak);
            assert_eq!(int.samples.len(), 16_000);
            let alike = correlation_at(&float.samples, &int.samples, 0);
            assert!(alike > 0.9999, "{bits} bits, {channels} channels: {alike}");
        }
    }
}

#[test]
fn what_hound_refuses_goes_to_symphonia() {
    // 64 bit floats.
    let mut wav =
        b"RIFF\0\0\0\0WAVEfmt \x10\0\0\0\x03\0\x01\0\x80\x3e\0\0\0\xf4\x01\0\x08\0\x40\0data".to_vec();
    wav.extend_from_slice(&(16_000_u32 * 8).to_le_bytes());
    for n in 0..16_000 {
        let sample = 0.5 * (std::f64::consts::TAU * 440.0 * f64::from(n) / 16_000.0).sin();
        wav.extend_from_slice(&sample.to_le_bytes());
    }
    let double = decode(&wav).unwrap();
    assert_eq!(double.source.format, "wave/pcm_f64le");
    let float = decode(&tone(16_000, 1, 32, SampleFormat::Float)).unwrap();
    assert!(correlation_at(&float.samples, &double.samples, 0) > 0.9999);
}

#[test]
fn channels_are_averaged() {
    let mut file = Cursor::new(Vec::new());
    let spec =
        WavSpec { channels: 2, sample_rate: 16_000, bits_per_sample: 16, sample_format: SampleFormat::Int };
    let mut writer = WavWriter::new(&mut file, spec).unwrap();
    for (left, right) in [(16_384_i16, 0), (-8_192, -8_192), (1_000, -1_000)] {
        writer.write_sample(left).unwrap();
        writer.write_sample(right).unwrap();
    }
    writer.finalize().unwrap();
    let mixed = decode(&file.into_inner()).unwrap();
    assert_eq!(mixed.source.peak, 0.25);
    assert_eq!(mixed.samples, [0.9, -0.9, 0.0]);
}

#[test]
fn recorders_that_stream_leave_wrong_lengths() {
    let right = bytes("theo-7309.wav");
    let whole = decode(&right).unwrap();
    for wrong in [0, u32::MAX, 0x7fff_f000] {
        let mut file = right.clone();
        file[40..44].copy_from_slice(&u32::to_le_bytes(wrong));
        assert_eq!(decode(&file).unwrap(), whole, "declared as {wrong}");
    }
    for name in ["theo-7309-alaw.wav", "theo-7309-mulaw.wav"] {
        let right = bytes(name);
        let at = right.windows(4).position(|four| four == b"data").unwrap() + 4;
        let mut file = right.clone();
        file[at..at + 4].fill(0xff);
        assert_eq!(decode(&file).unwrap().samples, decode(&right).unwrap().samples, "{name}");
    }
}

#[test]
fn a_float_file_with_broken_samples_is_read() {
    let mut wav = tone(16_000, 1, 32, SampleFormat::Float);
    let start = data_start(&wav);
    for (at, broken) in [(0, f32::NAN), (400, f32::INFINITY), (800, f32::NEG_INFINITY)] {
        wav[start + at..start + at + 4].copy_from_slice(&broken.to_le_bytes());
    }
    assert!(decode(&wav).unwrap().samples.iter().all(|sample| sample.is_finite()));
    // Through the resampler too.
    let mut wav = tone(48_000, 2, 32, SampleFormat::Float);
    let start = data_start(&wav);
    wav[start + 4_000..start + 4_004].copy_from_slice(&f32::MAX.to_le_bytes());
    wav[start + 8_000..start + 8_004].copy_from_slice(&f32::NAN.to_le_bytes());
    assert!(decode(&wav).unwrap().samples.iter().all(|sample| sample.is_finite()));
}

fn data_start(wav: &[u8]) -> usize {
    wav.windows(4).position(|four| four == b"data").unwrap() + 8
}

#[test]
fn ten_minutes_of_48_khz_stereo_are_read_quickly() {
    let second = tone(48_000, 2, 16, SampleFormat::Int);
    let start = data_start(&second);
    let mut wav = second[..start].to_vec();
    for _ in 0..600 {
        wav.extend_from_slice(&second[start..]);
    }
    wav[start - 4..start].fill(0xff);
    let before = std::time::Instant::now();
    let recording = decode(&wav).unwrap();
    eprintln!("10 minutes of 48 kHz stereo WAV in {:.2?}", before.elapsed());
    assert_eq!(recording.samples.len(), 600 * 16_000);
    assert!(data("theo-7309.wav").exists());
}
