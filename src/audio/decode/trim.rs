//! Which of the decoded frames are the recording: an encoder puts frames of its own before it, and fills up the
//! last packet behind it.

/// The most padding that is cut without a container's word on the length of the whole: a figure above it is wrong,
/// and what it would cut is audio.
const MAX_PADDING_SECONDS: u64 = 1;

/// A length of time as a container gives it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) units: u64,
    pub(super) per_second: u64,
}

impl Span {
    fn frames(self, rate: u32) -> u64 {
        let (units, per_second) = (u128::from(self.units), u128::from(self.per_second.max(1)));
        let frames = (units * u128::from(rate) * 2 + per_second) / (2 * per_second);
        u64::try_from(frames).unwrap_or(u64::MAX)
    }
}

/// What a container says of a track's beginning and end.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Bounds {
    /// Comes before the recording.
    pub(super) delay: Option<Span>,
    /// The length of the recording.
    pub(super) length: Option<Span>,
    /// Comes behind the recording.
    pub(super) padding: Option<Span>,
}

/// Cuts blocks of decoded frames down to the recording, as they come.
pub(super) struct Trim {
    bounds: Bounds,
    counts: Option<Counts>,
    /// Frames that are padding if no others follow.
    held: Vec<f32>,
}

/// [`Bounds`] in frames that are still to come.
struct Counts {
    skip: u64,
    keep: u64,
    padding: u64,
    max_padding: u64,
}

impl Trim {
    pub(super) fn new(bounds: Bounds) -> Self {
        Self { bounds, counts: None, held: Vec::new() }
    }

    /// Cuts `block`; `padding` of its frames are said to be behind the recording, if those of all later ones are.
    pub(super) fn pass(&mut self, rate: u32, channels: usize, block: &mut Vec<f32>, padding: u64) {
        let bounds = &self.bounds;
        let frames = |span: Option<Span>| span.map(|span| span.frames(rate));
        let counts = self.counts.get_or_insert_with(|| {
            let max_padding = u64::from(rate) * MAX_PADDING_SECONDS;
            Counts {
                skip: frames(bounds.delay).unwrap_or(0),
                keep: frames(bounds.length).unwrap_or(u64::MAX),
                padding: frames(bounds.padding).filter(|&padding| padding <= max_padding).unwrap_or(0),
                max_padding,
            }
        });
        let skipped = counts.skip.min((block.len() / channels) as u64);
        counts.skip -= skipped;
        block.drain(..skipped as usize * channels);
        let kept = counts.keep.min((block.len() / channels) as u64);
        counts.keep -= kept;
        block.truncate(kept as usize * channels);
        if bounds.padding.is_none() {
            counts.padding =
                if padding == 0 { 0 } else { (counts.padding + padding).min(counts.max_padding) };
        }
        if counts.padding > 0 || !self.held.is_empty() {
            self.held.append(block);
            let ready = self.held.len().saturating_sub(counts.padding as usize * channels);
            block.extend(self.held.drain(..ready));
        }
    }
}
