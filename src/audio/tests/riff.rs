use std::io::Cursor;

use crate::audio::riff::{PCM, Wav};

fn file(data_len: u32, data: &[u8], behind: &[u8]) -> Vec<u8> {
    let mut file =
        b"RIFF\0\0\0\0WAVEfmt \x10\0\0\0\x01\0\x01\0\x40\x1f\0\0\x80\x3e\0\0\x02\0\x10\0data".to_vec();
    file.extend_from_slice(&data_len.to_le_bytes());
    file.extend_from_slice(data);
    file.extend_from_slice(behind);
    file
}

fn read(file: &[u8]) -> Option<Wav> {
    Wav::read(&mut Cursor::new(file), file.len() as u64).unwrap()
}

#[test]
fn a_plain_head_is_believed() {
    let wav = read(&file(6, &[0; 6], b"LIST\x04\0\0\0abcd")).unwrap();
    assert_eq!((wav.tag, wav.channels, wav.rate, wav.frame, wav.bits), (PCM, 1, 8_000, 2, 16));
    assert_eq!((wav.start, wav.len, wav.repaired), (44, 6, false));
    assert_eq!(wav.head(6).len(), 44);
}

#[test]
fn lengths_that_were_never_filled_in_mean_the_rest_of_the_file() {
    for wrong in [0, u32::MAX, 0x7fff_f000, 5_000, 2] {
        let wav = read(&file(wrong, &[0x80; 100], b"")).unwrap();
        assert_eq!((wav.len, wav.repaired), (100, true), "declared as {wrong}");
    }
    // Half a frame at the end goes.
    assert_eq!(read(&file(u32::MAX, &[0; 101], b"")).unwrap().len, 100);
}

#[test]
fn truly_empty_audio_stays_empty() {
    assert_eq!(read(&file(0, b"", b"LIST\x04\0\0\0abcd")).unwrap().len, 0);
    assert_eq!(read(&file(0, b"", b"")).unwrap().len, 0);
}

#[test]
fn rf64_takes_its_length_from_ds64() {
    let mut rf64 = b"RF64\xff\xff\xff\xffWAVEds64\x1c\0\0\0".to_vec();
    rf64.extend_from_slice(&[0; 8]);
    rf64.extend_from_slice(&6_u64.to_le_bytes());
    rf64.extend_from_slice(&[0; 12]);
    rf64.extend_from_slice(&file(u32::MAX, &[0; 6], b"LIST\x04\0\0\0abcd")[12..]);
    let wav = read(&rf64).unwrap();
    assert_eq!((wav.len, wav.repaired), (6, false));
}

#[test]
fn fields_that_contradict_are_put_right_or_refused() {
    let mut unpadded = file(6, &[0; 6], b"");
    // 12 bits in use of 16.
    unpadded[34] = 12;
    assert_eq!(read(&unpadded).unwrap().bits, 16);
    // A frame of 0 bytes.
    let mut no_frame = file(6, &[0; 6], b"");
    no_frame[32] = 0;
    assert_eq!(read(&no_frame).unwrap().frame, 2);
    let mut no_channels = file(6, &[0; 6], b"");
    no_channels[22] = 0;
    assert!(read(&no_channels).is_none());
    for len in 0..44 {
        assert!(read(&file(6, &[0; 6], b"")[..len]).is_none());
    }
}
