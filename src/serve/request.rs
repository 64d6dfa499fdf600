//! What a message asks for, over the server's own settings.

use super::failure::Failure;
use super::protocol::{Code, Options, ResponseFormat, TaskName};
use crate::asr::recognizer::Task;
use crate::asr::segment::Timestamps;
use crate::asr::transcriber::Request;
use crate::subtitle::{Format, Layout};

/// A subtitle file to be made, and how it is laid out.
pub(super) type Subtitles = (Format, Layout);

/// Lines narrower than this hold hardly a word.
const MIN_LINE_CHARS: usize = 8;

/// The highest temperature: beyond it, what is drawn has little to do with what was said.
const MAX_TEMPERATURE: f32 = 1.0;

/// How a message wants its audio to be decoded; `defaults` holds where it is silent, and has the most beams that it may
/// ask for.
pub(super) fn request(options: &Options, defaults: &Request) -> Result<Request, Failure> {
    let wrong = |message: String| Err(Failure::new(Code::MessageProcessingError, message));
    let mut request = defaults.clone();
    if let Some(prompt) = &options.prompt {
        request.prompt.clone_from(prompt);
    }
    if let Some(language) = &options.language {
        request.language = Some(language.to_lowercase());
    }
    match options.task {
        Some(TaskName::Transcribe) => request.task = Some(Task::Transcribe),
        Some(TaskName::Translate) => request.task = Some(Task::Translate),
        None => {}
    }
    match options.timestamps {
        // Subtitles are nothing without times.
        None if subtitles(options)?.is_some() && request.timestamps == Timestamps::None => {
            request.timestamps = Timestamps::Word;
        }
        None => {}
        Some(timestamps) => request.timestamps = timestamps,
    }
    if let Some(orthography) = options.orthography {
        request.orthography = orthography;
    }
    request.vad = options.vad.unwrap_or(request.vad);
    if let Some(beams) = options.beam_size {
        let most = request.search.beams;
        if !(1..=most).contains(&beams) {
            return wrong(format!("beam_size: must be 1 to {most}"));
        }
        request.search.beams = beams;
    }
    if let Some(temperature) = options.temperature {
        if !(0.0..=MAX_TEMPERATURE).contains(&temperature) {
            return wrong(format!("temperature: must be 0 to {MAX_TEMPERATURE}"));
        }
        request.search.temperature = temperature;
    }
    Ok(request)
}

/// The subtitle file that a message asks for.
pub(super) fn subtitles(options: &Options) -> Result<Option<Subtitles>, Failure> {
    let wrong = |message: String| Err(Failure::new(Code::MessageProcessingError, message));
    let default = Layout::default();
    let layout = Layout {
        max_line_chars: options.max_line_chars.unwrap_or(default.max_line_chars),
        max_lines: options.max_lines.unwrap_or(default.max_lines),
    };
    if layout.max_line_chars < MIN_LINE_CHARS {
        return wrong(format!("max_line_chars: must be {MIN_LINE_CHARS} or more"));
    }
    if layout.max_lines == 0 {
        return wrong("max_lines: must be 1 or more".to_owned());
    }
    let format = match options.response_format {
        None | Some(ResponseFormat::Json) => return Ok(None),
        Some(ResponseFormat::Srt) => Format::Srt,
        Some(ResponseFormat::Vtt) => Format::Vtt,
        Some(ResponseFormat::Tsv) => Format::Tsv,
    };
    Ok(Some((format, layout)))
}
