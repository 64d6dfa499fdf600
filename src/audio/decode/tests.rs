#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that fails may panic")]

use std::io::Cursor;

use super::codec::low_complexity;
use super::trim::{Bounds, Span, Trim};
use super::{matroska, mp4, opus};

fn span(units: u64, per_second: u64) -> Option<Span> {
    Some(Span { units, per_second })
}

/// What is left of the frames 0, 1, 2, … of two channels, in blocks with that much padding each.
fn trimmed(bounds: Bounds, blocks: &[(usize, u64)]) -> Vec<f32> {
    let mut trim = Trim::new(bounds);
    let (mut out, mut next) = (Vec::new(), 0);
    for &(frames, padding) in blocks {
        let mut block: Vec<f32> = (next..next + frames).flat_map(|n| [n as f32, n as f32]).collect();
        next += frames;
        trim.pass(48_000, 2, &mut block, padding);
        out.extend_from_slice(&block);
    }
    assert!(out.chunks(2).all(|frame| frame[0] == frame[1]));
    out.into_iter().step_by(2).collect()
}

fn frames(range: std::ops::Range<usize>) -> Vec<f32> {
    range.map(|n| n as f32).collect()
}

#[test]
fn delay_length_and_padding_are_cut() {
    assert_eq!(trimmed(Bounds::default(), &[(5, 0), (5, 0)]), frames(0..10));
    // 6.5 ms, spread over blocks, and a length of 10 ms.
    let bounds = Bounds { delay: span(312, 48_000), length: span(10, 1_000), padding: None };
    assert_eq!(trimmed(bounds, &[(300, 0); 5]), frames(312..792));
    let bounds = Bounds { padding: span(1, 1_000), ..Bounds::default() };
    assert_eq!(trimmed(bounds, &[(100, 0); 3]), frames(0..252));
}

#[test]
fn padding_that_audio_follows_was_none() {
    let none = Bounds::default();
    assert_eq!(trimmed(none, &[(100, 0), (100, 30)]), frames(0..170));
    assert_eq!(trimmed(none, &[(100, 30), (100, 100)]), frames(0..70));
    assert_eq!(trimmed(none, &[(100, 30), (100, 0)]), frames(0..200));
    // All of it: the figures are wrong, and no more than a second goes.
    assert_eq!(trimmed(none, &[(48_000, 48_000); 3]), frames(0..96_000));
    // A figure without sense cuts nothing.
    let bounds = Bounds { padding: span(3_600, 1), ..none };
    assert_eq!(trimmed(bounds, &[(100, 0)]), frames(0..100));
}

fn atom(name: &[u8; 4], body: &[u8]) -> Vec<u8> {
    [&(body.len() as u32 + 8).to_be_bytes(), &name[..], body].concat()
}

fn words(words: &[u32]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_be_bytes()).collect()
}

/// A movie of 1000 units a second with track 7 of 48,000, and what else is in the track and in the movie.
fn movie(in_track: &[u8], in_movie: &[u8]) -> Vec<u8> {
    let track = [
        atom(b"tkhd", &words(&[0, 0, 0, 7])),
        in_track.to_vec(),
        atom(b"mdia", &atom(b"mdhd", &words(&[0, 0, 0, 48_000]))),
    ];
    let movie = [atom(b"mvhd", &words(&[0, 0, 0, 1_000])), atom(b"trak", &track.concat()), in_movie.to_vec()];
    [atom(b"ftyp", b"M4A "), atom(b"mdat", &[0; 99]), atom(b"moov", &movie.concat())].concat()
}

#[test]
fn an_edit_list_says_where_a_track_begins_and_ends() {
    let bounds = |list: &[u32]| {
        let edits = atom(b"edts", &atom(b"elst", &words(list)));
        let file = movie(&edits, &[]);
        assert_eq!(mp4::bounds(Cursor::new(&file), 8), Bounds::default());
        // However it is cut off or changed, it ends.
        for len in 0..file.len() {
            mp4::bounds(Cursor::new(&file[..len]), 7);
            let mut damaged = file.clone();
            damaged[len] ^= 0xff;
            mp4::bounds(Cursor::new(damaged), 7);
        }
        mp4::bounds(Cursor::new(file), 7)
    };
    let speed = 0x1_0000;
    let plain = Bounds { delay: span(1_024, 48_000), length: span(2_000, 1_000), padding: None };
    assert_eq!(bounds(&[0, 1, 2_000, 1_024, speed]), plain);
    // A pause before it.
    assert_eq!(bounds(&[0, 2, 500, u32::MAX, speed, 2_000, 1_024, speed]), plain);
    // To the end.
    let open = Bounds { length: None, ..plain };
    assert_eq!(bounds(&[0, 1, 0, 1_024, speed]), open);
    // In 64 bits.
    assert_eq!(bounds(&[1 << 24, 1, 0, 2_000, 0, 1_024, speed]), plain);
    // In pieces: from the first one on.
    assert_eq!(bounds(&[0, 2, 500, 1_024, speed, 500, 90_000, speed]), open);
}

#[test]
fn fragments_that_announce_too_much_are_seen() {
    let fragment = |samples| {
        let run = atom(b"trun", &words(&[0, samples]));
        atom(b"moof", &atom(b"traf", &[atom(b"tfhd", &words(&[0, 7])), run].concat()))
    };
    let file = |counts: &[u32]| {
        let fragments: Vec<u8> = counts.iter().flat_map(|&count| fragment(count)).collect();
        Cursor::new([movie(&[], &[]), fragments, atom(b"mdat", &[1; 50])].concat())
    };
    assert!(mp4::is_sane(file(&[])));
    assert!(mp4::is_sane(file(&[25; 1_000])));
    assert!(!mp4::is_sane(file(&[25, u32::MAX, 25])));
    assert!(!mp4::is_sane(file(&[1_000_000; 31])));
}

#[test]
fn without_an_edit_list_the_tag_of_itunes_counts() {
    let tag = " 00000000 00000840 000001CA 00000000003F31F6 00000000 00000000";
    let entry = [
        atom(b"mean", b"\0\0\0\0com.apple.iTunes"),
        atom(b"name", b"\0\0\0\0iTunSMPB"),
        atom(b"data", &[&[0; 8], tag.as_bytes()].concat()),
    ];
    let list = atom(b"ilst", &atom(b"----", &entry.concat()));
    let user = atom(b"udta", &atom(b"meta", &[vec![0; 4], list].concat()));
    let bounds = mp4::bounds(Cursor::new(movie(&[], &user)), 7);
    assert_eq!(bounds, Bounds { delay: span(0x840, 48_000), length: span(0x3f_31f6, 48_000), padding: None });
}

#[test]
fn matroska_says_it_in_nanoseconds() {
    let block = b"\xa1\x85\x81\0\0\0x";
    let head = b"\x1a\x45\xdf\xa3\x80\x18\x53\x80\x67\x01\xff\xff\xff\xff\xff\xff\xff\
        \x16\x54\xae\x6b\x8a\xae\x88\xd7\x81\x01\x56\xaa\x83\x63\x2e\xa0";
    let cluster = b"\x1f\x43\xb6\x75\xff\xe7\x81\0";
    let last = [&b"\xa0\x8e"[..], block, b"\x75\xa2\x84\x00\xcd\xfe\x60"].concat();
    let file = [&head[..], cluster, b"\xa3\x85\x81\0\0\0x", &last].concat();
    let bounds = matroska::bounds(Cursor::new(&file), 1);
    assert_eq!(bounds.delay, span(6_500_000, 1_000_000_000));
    assert_eq!(bounds.padding, span(13_500_000, 1_000_000_000));
    // More blocks follow: it was not the last.
    let more = [&file[..], b"\xa3\x85\x81\0\0\0x"].concat();
    assert_eq!(matroska::bounds(Cursor::new(&more), 1).padding, None);
    assert_eq!(matroska::bounds(Cursor::new(&file), 2), Bounds::default());
    for len in 0..file.len() {
        assert_eq!(matroska::bounds(Cursor::new(&file[..len]), 1).padding, None, "cut at {len}");
    }
}

#[test]
fn the_core_of_he_aac_is_described() {
    // HE-AAC of 44.1 kHz with a core of 22.05 kHz in mono; the same with parametric stereo.
    assert_eq!(low_complexity(&[0x2b, 0x8a, 0x08, 0x00]), Some([0x13, 0x88]));
    assert_eq!(low_complexity(&[0xeb, 0x8a, 0x08, 0x00]), Some([0x13, 0x88]));
    for other in [&[0x13, 0x88][..], &[0x12, 0x10], &[], &[0x2b], &[0xff; 8]] {
        assert_eq!(low_complexity(other), None, "{other:?}");
    }
}

#[test]
fn opus_packets_of_no_valid_length_are_errors() {
    let mut decoder = opus::Decoder::new(None, 1).unwrap();
    let mut block = Vec::new();
    // Empty; no frame count; none; 49 of them; 63 of 60 ms.
    for packet in [&[][..], &[0x03], &[0x03, 0], &[0xe3, 49], &[0x1b, 63]] {
        assert!(decoder.decode(packet, &mut block).is_err(), "{packet:?}");
        assert!(block.is_empty());
    }
    // Silence of 20 ms, which a sender leaves out, is concealed.
    decoder.decode(&[0x08], &mut block).unwrap();
    assert_eq!(block.len(), 960);
}
