#![allow(clippy::unwrap_used, clippy::indexing_slicing)] // A test may fail by panicking.
use super::super::refusal::Shape;
use super::*;
use crate::asr::switch::Switch;
use crate::text::Orthography;

fn fields(fields: &[(&str, &str)]) -> Vec<(String, String)> {
    fields.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn asked(api: Api, given: &[(&str, &str)]) -> Params {
    params(&fields(given), api, Timestamps::None).unwrap()
}

fn wrong(api: Api, given: &[(&str, &str)]) -> String {
    let refusal = params(&fields(given), api, Timestamps::None).unwrap_err();
    let body = refusal.body(Shape::OpenAi);
    assert_eq!(body["error"]["type"], "invalid_request_error", "{body}");
    body["error"]["param"].as_str().unwrap().to_owned()
}

#[test]
fn nothing_said_is_json_by_the_settings_of_the_server() {
    let options = Options { task: Some(TaskName::Transcribe), ..Options::default() };
    let expected = Params { format: Format::Json, stream: false, segments: true, words: false, options };
    assert_eq!(asked(Api::Transcriptions, &[]), expected);
    // A form of a web page sends all its fields.
    let empty = [("language", ""), ("prompt", " "), ("temperature", ""), ("response_format", "")];
    assert_eq!(asked(Api::Transcriptions, &empty), expected);
    assert_eq!(asked(Api::Inference, &[]).options.task, Some(TaskName::Transcribe));
}

#[test]
fn all_fields_are_heard() {
    let asked = asked(
        Api::Transcriptions,
        &[
            ("model", "whisper-1"),
            ("language", " kab "),
            ("prompt", "Azul"),
            ("response_format", "srt"),
            ("temperature", "0.25"),
            ("orthography", "kabyle"),
            ("vad", "off"),
            ("beam_size", "3"),
            ("max_line_chars", "30"),
            ("max_lines", "1"),
        ],
    );
    let options = Options {
        model: Some("whisper-1".into()),
        language: Some("kab".into()),
        task: Some(TaskName::Transcribe),
        prompt: Some("Azul".into()),
        timestamps: None,
        orthography: Some(Orthography::Kabyle),
        beam_size: Some(3),
        temperature: Some(0.25),
        vad: Some(Switch::Off),
        response_format: Some(ResponseFormat::Srt),
        max_line_chars: Some(30),
        max_lines: Some(1),
    };
    assert_eq!(asked.options, options);
}

#[test]
fn the_last_of_several_counts() {
    assert_eq!(
        asked(Api::Transcriptions, &[("language", "en"), ("language", "kab")]).options.language,
        Some("kab".into())
    );
}

#[test]
fn granularities_say_what_a_detailed_answer_has() {
    let name = "timestamp_granularities[]";
    let verbose = ("response_format", "verbose_json");
    let has = |given: &[(&str, &str)]| {
        let asked = asked(Api::Transcriptions, given);
        assert_eq!(asked.options.timestamps, Some(Timestamps::Word));
        (asked.segments, asked.words)
    };
    assert_eq!(has(&[verbose]), (true, false));
    assert_eq!(has(&[verbose, (name, "segment")]), (true, false));
    assert_eq!(has(&[(name, "word"), verbose]), (false, true));
    assert_eq!(has(&[verbose, (name, "word"), (name, "segment")]), (true, true));
    assert_eq!(known("timestamp_granularities"), Some(name));
    assert_eq!(wrong(Api::Transcriptions, &[verbose, (name, "letter")]), name);
    assert_eq!(wrong(Api::Transcriptions, &[(name, "word")]), name);
}

#[test]
fn the_times_of_the_server_s_own_setting_stay() {
    let verbose = ("response_format", "verbose_json".to_owned());
    let given = [(verbose.0.to_owned(), verbose.1)];
    let asked = params(&given, Api::Transcriptions, Timestamps::Segment).unwrap();
    assert_eq!(asked.options.timestamps, None);
    let asked = params(&given, Api::Inference, Timestamps::Segment).unwrap();
    assert_eq!(asked.options.timestamps, Some(Timestamps::Word));
}

#[test]
fn translations_are_translations() {
    let given = [("language", "kab"), ("timestamp_granularities[]", "word"), ("translate", "false")];
    let asked = asked(Api::Translations, &given);
    assert_eq!(asked.options.task, Some(TaskName::Translate));
    assert_eq!(asked.options.language, None);
    let task = |api| params(&fields(&[("translate", "true")]), api, Timestamps::None).unwrap().options.task;
    assert_eq!(task(Api::Inference), Some(TaskName::Translate));
    assert_eq!(task(Api::Transcriptions), Some(TaskName::Transcribe));
}

#[test]
fn a_wrong_field_is_named() {
    for (name, value) in [
        ("response_format", "diarized_json"),
        ("response_format", "JSON"),
        ("temperature", "warm"),
        ("beam_size", "-1"),
        ("beam_size", "2.5"),
        ("max_lines", "x"),
        ("vad", "perhaps"),
        ("orthography", "english"),
        ("stream", "2"),
    ] {
        assert_eq!(wrong(Api::Transcriptions, &[(name, value)]), name, "{value}");
    }
    assert_eq!(wrong(Api::Inference, &[("translate", "maybe")]), "translate");
}

#[test]
fn only_text_grows() {
    for format in ["srt", "vtt", "verbose_json"] {
        assert_eq!(wrong(Api::Transcriptions, &[("stream", "true"), ("response_format", format)]), "stream");
    }
    assert!(asked(Api::Transcriptions, &[("stream", "True")]).stream);
    assert!(asked(Api::Transcriptions, &[("stream", "1"), ("response_format", "text")]).stream);
    assert!(!asked(Api::Inference, &[("stream", "true")]).stream);
}
