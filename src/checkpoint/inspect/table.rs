//! A report as text.

use std::collections::BTreeMap;
use std::io::{self, Write};

use super::super::profile::Profile;
use super::{Kind, Report, TensorReport};

pub(super) fn print(report: &Report, out: &mut impl Write) -> io::Result<()> {
    let what = match report.kind {
        Kind::Ggml => "GGML file",
        Kind::Checkpoint => "checkpoint folder",
        Kind::Weights => "weight file",
    };
    let ty = report.type_name.as_deref().map(|ty| format!(", {}", clean(ty))).unwrap_or_default();
    writeln!(out, "{}: {what}{ty}, {}", clean(&report.path.to_string_lossy()), size(report.bytes))?;
    if let Some(d) = &report.dims {
        line(out, "width", &d.n_state.to_string())?;
        let part =
            |layers, heads, positions| format!("{layers} layers, {heads} heads, {positions} positions");
        line(out, "encoder", &part(d.n_audio_layer, d.n_audio_head, d.n_audio_ctx))?;
        line(out, "decoder", &part(d.n_text_layer, d.n_text_head, d.n_text_ctx))?;
        line(out, "mel bins", &d.n_mels.to_string())?;
        line(out, "embedding", &format!("{} tokens", d.n_vocab))?;
    }
    if let Some(vocabulary) = &report.vocabulary {
        line(out, "vocabulary", &format!("{} tokens, from {}", vocabulary.tokens, vocabulary.source))?;
    }
    if let Some(profile) = &report.profile {
        print_profile(profile, out)?;
    }
    for file in &report.files {
        let ty = file.type_name.as_deref().unwrap_or("of no known type");
        let state = file.findings.first().map_or("fine", String::as_str);
        line(out, "GGML file", &format!("{}: {ty}, {}, {state}", file.name, size(file.bytes)))?;
    }
    print_tensors(&report.tensors, out)?;
    for note in &report.notes {
        line(out, "note", note)?;
    }
    for finding in &report.findings {
        line(out, "WRONG", finding)?;
    }
    line(out, "result", if report.is_usable() { "usable" } else { "not usable" })
}

fn print_profile(profile: &Profile, out: &mut impl Write) -> io::Result<()> {
    let tokens = &profile.tokens;
    let named = [
        ("endoftext", Some(tokens.eot)),
        ("startoftranscript", Some(tokens.sot)),
        ("translate", tokens.translate),
        ("transcribe", tokens.transcribe),
        ("startofprev", tokens.start_of_prev),
        ("nospeech", tokens.no_speech),
        ("notimestamps", tokens.no_timestamps),
        ("0.00", tokens.timestamp_begin),
    ];
    let named = named.iter().filter_map(|(name, id)| Some(format!("{name} {}", (*id)?)));
    line(out, "special tokens", &named.collect::<Vec<_>>().join(", "))?;
    let languages: Vec<_> = tokens.languages.keys().map(String::as_str).collect();
    line(out, "languages", &format!("{}: {}", languages.len(), languages.join(" ")))?;
    let generation = &profile.generation;
    let text = |value: &Option<String>| value.clone().unwrap_or_else(|| "none given".into());
    line(out, "language", &text(&generation.language))?;
    line(out, "task", &text(&generation.task))?;
    let (all, begin) = (generation.suppress_tokens.len(), generation.begin_suppress_tokens.len());
    line(out, "suppressed", &format!("{all} tokens, {begin} at the beginning"))?;
    if let Some(source) = &profile.source {
        line(out, "made from", &format!("{} ({})", source.weights, source.dtype))?;
    }
    Ok(())
}

fn print_tensors(tensors: &[TensorReport], out: &mut impl Write) -> io::Result<()> {
    let mut types: BTreeMap<&str, (usize, u64)> = BTreeMap::new();
    for tensor in tensors {
        let (count, bytes) = types.entry(&tensor.type_name).or_default();
        *count += 1;
        *bytes = bytes.saturating_add(tensor.bytes.unwrap_or(0));
    }
    for (ty, (count, bytes)) in types {
        line(out, "tensors", &format!("{count} of {ty}, {}", size(bytes)))?;
    }
    let widest = tensors.iter().map(|t| clean(&t.name).chars().count()).max().unwrap_or(0);
    for tensor in tensors {
        let shape = tensor.shape.iter().map(usize::to_string).collect::<Vec<_>>().join(" × ");
        let bytes = tensor.bytes.map_or("?".into(), |n| n.to_string());
        let (name, ty) = (clean(&tensor.name), clean(&tensor.type_name));
        writeln!(out, "    {name:widest$}  {shape:>18}  {ty:>7}  {bytes:>12}")?;
    }
    Ok(())
}

fn line(out: &mut impl Write, label: &str, text: &str) -> io::Result<()> {
    writeln!(out, "  {label:14}  {}", clean(text))
}

fn size(bytes: u64) -> String {
    format!("{:.1} MB", bytes as f64 / 1e6)
}

/// Names come from files, and a terminal obeys control characters.
fn clean(text: &str) -> String {
    text.chars().flat_map(|c| if c.is_control() { c.escape_default().collect() } else { vec![c] }).collect()
}
