//! What shows that a file has changed: its time and size. A renewal may be a link to another file.

use std::path::Path;
use std::time::SystemTime;

/// `None` for a file that can't be looked at.
pub(super) type Stamp = Option<(SystemTime, u64)>;

/// The stamp of a file as it is now.
pub(super) fn stamp(path: &Path) -> Stamp {
    let metadata = std::fs::metadata(path).ok()?;
    Some((metadata.modified().ok()?, metadata.len()))
}
