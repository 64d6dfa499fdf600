//! base64 as Python's `b64decode` reads it: what is foreign to the alphabet is skipped, wrong padding is an
//! error. Clients in the field depend on it.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// The bytes that `text` stands for.
pub(super) fn decode(text: &str) -> Result<Vec<u8>, &'static str> {
    if !text.is_ascii() {
        return Err("base64 should contain only ASCII characters");
    }
    // What is right by the strict rules means the same by the lax ones.
    STANDARD.decode(text).or_else(|_| decode_lax(text.as_bytes()))
}

/// `binascii.a2b_base64` with `strict_mode=False`, step by step.
fn decode_lax(text: &[u8]) -> Result<Vec<u8>, &'static str> {
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3 + 3);
    let (mut place, mut pads, mut left) = (0, 0, 0_u8);
    for &c in text {
        if c == b'=' {
            if place >= 2 {
                pads += 1;
                if place + pads >= 4 {
                    return Ok(bytes);
                }
            }
            continue;
        }
        let Some(six) = value(c) else { continue };
        pads = 0;
        match place {
            0 => {}
            1 => bytes.push((left << 2) | (six >> 4)),
            2 => bytes.push((left << 4) | (six >> 2)),
            _ => bytes.push((left << 6) | six),
        }
        // Bits of `six` that are part of the next byte; those above them fall off in the shift.
        left = six;
        place = (place + 1) % 4;
    }
    match place {
        0 => Ok(bytes),
        1 => Err("the number of base64 characters cannot be 1 more than a multiple of 4"),
        _ => Err("incorrect base64 padding"),
    }
}

fn value(c: u8) -> Option<u8> {
    match c {
        b'A'..=b'Z' => Some(c - b'A'),
        b'a'..=b'z' => Some(c - b'a' + 26),
        b'0'..=b'9' => Some(c - b'0' + 52),
        b'+' => Some(62),
        b'/' => Some(63),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each result was given by CPython 3.11's `base64.b64decode`.
    #[test]
    fn what_python_reads_is_read_the_same() {
        for (text, wanted) in [
            ("aGVsbG8=", Some("hello")),
            ("aGVs\nbG8=\r\n", Some("hello")),
            (" a-G_V!s*bG8=", Some("hello")),
            ("aGVsbG8=aGVsbG8=", Some("hello")),
            ("=aGVsbG8=", Some("hello")),
            ("aGVsbG9=", Some("hello")),
            ("aGVsbA==", Some("hell")),
            ("aGVsbA=\n=", Some("hell")),
            ("a=GVsbG8=", Some("hello")),
            ("", Some("")),
            ("!!!!", Some("")),
            ("====", Some("")),
            ("aGVsbG8", None),
            ("aGVsbA=", None),
            ("aGVsb", None),
            ("a", None),
            ("aGVsbG8=é", None),
        ] {
            assert_eq!(decode(text).ok(), wanted.map(|w| w.as_bytes().to_vec()), "{text:?}");
        }
    }
}
