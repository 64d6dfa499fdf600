//! Where live audio comes from: a thread that reads, since reading from a pipe can't be waited for in another way.

use std::fs::File;
use std::io::{self, ErrorKind, Read};
use std::path::Path;
use std::thread::JoinHandle;

use tokio::sync::{mpsc, oneshot};

use crate::audio::pipe::{self, Begin};
use crate::client::Sound;

/// The most bytes that are read at once: a second of the most usual audio. What there is comes at once, however little.
const CHUNK: usize = 32 << 10;
/// Chunks that wait to be taken. When there are so many, the thread waits, and so does who writes into the pipe.
const WAITING: usize = 4;

/// Audio that is being read.
pub(super) struct Input {
    /// What it is made of, or why there is none.
    pub(super) sound: oneshot::Receiver<io::Result<Sound>>,
    /// Its bytes.
    pub(super) audio: mpsc::Receiver<Vec<u8>>,
    thread: JoinHandle<io::Result<()>>,
}

impl Input {
    /// Begins to read a file, or standard input for `-`. `raw` is said of audio that says nothing of itself.
    pub(super) fn start(path: &Path, raw: Sound) -> io::Result<Self> {
        let (tell, sound) = oneshot::channel();
        let (sender, audio) = mpsc::channel(WAITING);
        let path = path.to_path_buf();
        let reader = move || read(&path, raw, tell, &sender);
        let thread = std::thread::Builder::new().name("input".to_owned()).spawn(reader)?;
        Ok(Self { sound, audio, thread })
    }
}

/// Why the audio came to its end, where that was not its end: known when nothing more comes.
pub(super) struct Reader(JoinHandle<io::Result<()>>);

impl Input {
    /// Its parts.
    pub(super) fn split(self) -> (mpsc::Receiver<Vec<u8>>, Reader) {
        (self.audio, Reader(self.thread))
    }
}

impl Reader {
    /// What went wrong. A thread that still waits for audio has nothing to say.
    pub(super) fn failure(self) -> Option<io::Error> {
        if !self.0.is_finished() {
            return None;
        }
        self.0.join().unwrap_or_else(|_| Err(io::Error::other("the reader panicked"))).err()
    }
}

fn read(
    path: &Path,
    raw: Sound,
    tell: oneshot::Sender<io::Result<Sound>>,
    audio: &mpsc::Sender<Vec<u8>>,
) -> io::Result<()> {
    let begun = open(path).and_then(|mut source| Ok((begin(&mut source, raw)?, source)));
    let ((sound, first, len), source) = match begun {
        Ok(begun) => begun,
        Err(error) => {
            // Whoever asked for it has gone, or hears of it.
            let _ = tell.send(Err(error));
            return Ok(());
        }
    };
    if tell.send(Ok(sound)).is_err() || (!first.is_empty() && audio.blocking_send(first).is_err()) {
        return Ok(());
    }
    let mut source = source.take(len.unwrap_or(u64::MAX));
    let mut chunk = vec![0; CHUNK];
    loop {
        match source.read(&mut chunk) {
            Ok(0) => return Ok(()),
            Ok(count) => {
                let bytes = chunk.get(..count).unwrap_or_default().to_vec();
                if audio.blocking_send(bytes).is_err() {
                    return Ok(());
                }
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

fn open(path: &Path) -> io::Result<Box<dyn Read>> {
    if path == Path::new("-") { Ok(Box::new(io::stdin().lock())) } else { Ok(Box::new(File::open(path)?)) }
}

/// What the audio is made of, its first bytes, and how many more there are, where that is known.
fn begin(source: &mut impl Read, raw: Sound) -> io::Result<(Sound, Vec<u8>, Option<u64>)> {
    let head = match pipe::begin(source)? {
        Begin::Raw(first) => return Ok((raw, first, None)),
        Begin::Wav(head) => head,
    };
    let wrong = |fact: String| io::Error::new(ErrorKind::InvalidData, fact);
    let encoding = head.encoding.map_err(|(tag, bits)| {
        let fact = format!("a WAV file of format {tag} with {bits} bits can't be sent live");
        wrong(fact + "; 16-bit integers, 32-bit floats and µ-law can")
    })?;
    let channels = u8::try_from(head.channels).ok().filter(|channels| *channels <= 8);
    let channels =
        channels.ok_or_else(|| wrong(format!("{} channels; at most 8 can be sent", head.channels)))?;
    if !(1_000..=384_000).contains(&head.rate) {
        return Err(wrong(format!("{} samples in a second; 1000 to 384000 can be sent", head.rate)));
    }
    Ok((Sound { encoding, rate: head.rate, channels }, Vec::new(), head.len))
}
