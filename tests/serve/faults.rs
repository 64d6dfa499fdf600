//! Faults of the engine: each costs one job, and the next one is as if nothing had been.

use std::collections::BTreeMap;
use std::sync::Arc;

use imesli::asr::model::{Model, ModelOptions};
use imesli::asr::pool::Pool;
use imesli::asr::transcriber::{Defaults, Transcriber};
use imesli::asr::vocabulary::{SpecialTokens, Vocabulary};
use imesli::audio::voice::VoiceDetector;
use imesli::checkpoint::QuantType;
use serde_json::json;

use super::{SAID, Server, Setup, audio, encoded};
use crate::support::{ONE, demo};

/// The demo model under a vocabulary with a language whose token it does not have: whisper.cpp fails with it.
fn with_a_broken_language() -> Transcriber {
    let model = Model::load(&demo(QuantType::Q8_0), ModelOptions { gpu: false }).unwrap();
    let stock = model.stock_tokens();
    let english = ("en".to_owned(), stock.start_of_transcript + 1);
    let special = SpecialTokens {
        end_of_text: stock.end_of_text,
        start_of_transcript: stock.start_of_transcript,
        translate: Some(stock.translate),
        transcribe: Some(stock.transcribe),
        start_of_prev: Some(stock.start_of_prev),
        no_speech: Some(stock.no_speech),
        no_timestamps: Some(stock.no_timestamps),
        timestamp_begin: Some(stock.timestamp_begin),
        languages: BTreeMap::from([english, ("xx".to_owned(), 1_000_000)]),
        added_text: BTreeMap::new(),
    };
    let vocabulary = Arc::new(Vocabulary::new(&model, special));
    let pool = Pool::start(&model, &vocabulary, ONE).unwrap();
    Transcriber::new(pool, vocabulary, Defaults::default(), VoiceDetector::built_in().unwrap())
}

#[tokio::test]
async fn an_error_of_whisper_costs_its_job_and_nothing_else() {
    let transcriber = tokio::task::spawn_blocking(with_a_broken_language).await.unwrap();
    let server = Server::over(transcriber, Setup::default()).await;
    let mut client = server.client().await;
    for round in 0..3 {
        let mut broken = audio("broken", &encoded(0));
        broken["language"] = json!("xx");
        client.send(broken).await;
        let error = client.answer().await;
        assert_eq!((&error["code"], &error["audio_id"]), (&json!("INTERNAL_ERROR"), &json!("broken")));
        assert!(!error["message"].as_str().unwrap().contains("whisper"), "{error}");
        assert_eq!(client.state().await, "ready");
        let mut fine = audio("fine", &encoded(0));
        fine["language"] = json!("en");
        client.send(fine).await;
        assert_eq!(client.answer().await["transcription"], SAID[0].1, "round {round}");
        assert_eq!(client.state().await, "ready");
    }
    // A stream of live audio that fails is told so, too, and the connection is as good as before.
    client.send(json!({ "type": "stream_start", "stream_id": "s", "language": "xx" })).await;
    assert_eq!(client.state().await, "streaming");
    client.send(json!({ "type": "stream_audio", "audio_data": encoded(0) })).await;
    client.send(json!({ "type": "stream_stop" })).await;
    let error = loop {
        let message = client.answer().await;
        if message["type"] == "error" {
            break message;
        }
    };
    assert_eq!((&error["code"], &error["audio_id"]), (&json!("INTERNAL_ERROR"), &json!("s")));
    assert_eq!(client.state().await, "ready");
    client.is_alive().await;
}
