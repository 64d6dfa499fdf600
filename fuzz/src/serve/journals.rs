//! The journals of uploads that a server left.

#[path = "../../../src/serve/upload/journal.rs"]
mod journal;

use super::spool::Piece;

/// As in `upload`.
const MAX_CHUNKS: u64 = 1 << 17;

/// Two bytes for how long the file of the bytes is, and a journal: whatever it says, the pieces lie in that file, one behind
/// the other.
pub fn journal(bytes: &[u8]) {
    let Some(([low, high], text)) = bytes.split_first_chunk() else { return };
    let len = u64::from(u16::from_le_bytes([*low, *high]));
    let Ok(told) = journal::read(text, len) else { return };
    let mut by_place: Vec<Piece> = told.pieces.values().copied().collect();
    by_place.sort_by_key(|piece| (piece.start + piece.len, piece.len));
    let mut end = 0;
    for piece in by_place {
        assert!(piece.start >= end || piece.len == 0);
        end = end.max(piece.start + piece.len);
    }
    assert!(end <= len && told.end <= len && told.len <= text.len() as u64);
    assert!(told.pieces.keys().all(|index| *index < told.head.total_chunks));
    let received: u64 = told.pieces.values().map(|piece| piece.len).sum();
    assert!(received == told.received && received <= told.head.file_size);
    // Written again, it is read the same.
    let mut again = journal::head(&told.head).expect("it was read, so it is short enough");
    let mut in_order: Vec<_> = told.pieces.iter().collect();
    in_order.sort_by_key(|(_, piece)| (piece.start, piece.len));
    for (index, piece) in in_order {
        again.extend(journal::line(*index, *piece));
    }
    assert_eq!(journal::read(&again, len).map(|again| again.pieces), Ok(told.pieces));
}
