//! Dependencies point one way. Reads the paths in the sources and fails on one that points back up, on a
//! crate that is named outside the module that owns it, on a feature that the code asks for, and on files
//! that have grown too long. Works on tokens, not on types: a macro could fool it, a comment can't.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::{fs, io};

/// The top-level modules, from top to bottom: each may use those below it, and none above.
const ORDER: &[&str] = &[
    "main",
    "report",
    "transcribe",
    "load",
    "config",
    "client",
    "logging",
    "memory",
    "cluster",
    "serve",
    "asr",
    "audio",
    "subtitle",
    "text",
    "error",
];

/// Stands beside [`ORDER`]: uses none of our modules, and is used only by those above `serve`.
const CHECKPOINT: &str = "checkpoint";

/// Which crates are named only under which paths (without `.rs`, so that a file may become a folder).
const OWNERS: &[(&[&str], &[&str])] = &[
    (&["whisper_rs", "whisper_rs_sys"], &["src/asr/model", "src/checkpoint/quantize"]),
    (&["symphonia", "symphonia_core", "hound"], &["src/audio/decode"]),
    (&["async_nats", "rmp_serde"], &["src/cluster"]),
];

/// Named in one file, whichever it is.
const IN_ONE_FILE: &str = "rubato";

const MAX_LINES: usize = 400;

#[test]
fn sources_keep_the_architecture() -> io::Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = vec![root.join("build.rs")];
    for folder in ["src", "tools", "tests", "examples", "benches"] {
        collect(&root.join(folder), &mut files)?;
    }
    let mut sources = Vec::new();
    for file in files {
        let name = file.strip_prefix(root).unwrap_or(&file).to_string_lossy().replace('\\', "/");
        sources.push((name, fs::read_to_string(&file)?));
    }
    let found = violations(&sources);
    assert!(found.is_empty(), "\n{}\n", found.join("\n"));
    Ok(())
}

/// All `.rs` files under a folder, which may be absent.
fn collect(folder: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
    if !folder.is_dir() {
        return Ok(());
    }
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            collect(&path, files)?;
        } else if path.extension().is_some_and(|e| e == "rs") {
            files.push(path);
        }
    }
    Ok(())
}

/// One line for each broken rule in the sources, which are pairs of path and text.
fn violations(sources: &[(String, String)]) -> Vec<String> {
    let mut found = Vec::new();
    let mut in_one_file = BTreeSet::new();
    for (path, text) in sources {
        let lines = text.lines().count();
        if lines > MAX_LINES {
            found.push(format!("{path}: {lines} lines, the limit is {MAX_LINES}"));
        }
        let Some(module) = path.strip_prefix("src/").map(module_path) else { continue };
        let tokens = tokens(text);
        let owner = module.first().copied().unwrap_or("lib");
        check_module(path, owner, &tokens, &mut found);
        for token in &tokens {
            check_crate(path, token, &mut found);
            if token.text == IN_ONE_FILE {
                in_one_file.insert(path);
            }
        }
        for (used, line) in own_modules(&module, &tokens) {
            if owner != "lib" && !may_use(owner, &used) {
                found.push(format!("{path}:{line}: `{owner}` must not use `{used}`"));
            }
        }
    }
    if in_one_file.len() > 1 {
        found.push(format!("`{IN_ONE_FILE}` is named in more than one file: {in_one_file:?}"));
    }
    found
}

/// `asr/model/state.rs` → `asr`, `model`, `state`; the crate's root is the empty path, but `main` is itself.
fn module_path(file: &str) -> Vec<&str> {
    let mut path: Vec<&str> = file.trim_end_matches(".rs").split('/').collect();
    if matches!(path.last(), Some(&("mod" | "lib"))) {
        path.pop();
    }
    path
}

fn may_use(from: &str, to: &str) -> bool {
    let rank = |module| ORDER.iter().position(|m| *m == module);
    match (from, to) {
        _ if from == to => true,
        (CHECKPOINT, _) => false,
        (_, CHECKPOINT) => rank(from) < rank("serve"),
        _ => rank(from) < rank(to),
    }
}

fn is_ours(module: &str) -> bool {
    module == CHECKPOINT || ORDER.contains(&module)
}

fn check_module(path: &str, owner: &str, tokens: &[Token], found: &mut Vec<String>) {
    if owner != "lib" && !is_ours(owner) {
        found.push(format!("{path}: `{owner}` has no place in the order of tests/architecture.rs"));
    }
    for (i, token) in tokens.iter().enumerate() {
        if matches!(token.text.as_str(), "cfg" | "cfg_attr")
            && names_feature(tokens.get(i + 1..).unwrap_or(&[]))
        {
            found.push(format!("{path}:{}: the code must not ask for features", token.line));
        }
    }
}

/// Whether the parentheses that come next hold the word `feature`.
fn names_feature(tokens: &[Token]) -> bool {
    let mut depth = 0;
    for token in tokens {
        match token.text.as_str() {
            "!" if depth == 0 => {}
            "(" => depth += 1,
            ")" => depth -= 1,
            "feature" if depth > 0 => return true,
            _ if depth == 0 => return false,
            _ => {}
        }
        if depth == 0 && token.text == ")" {
            return false;
        }
    }
    false
}

fn check_crate(path: &str, token: &Token, found: &mut Vec<String>) {
    for (crates, homes) in OWNERS {
        let at_home = homes
            .iter()
            .any(|home| path.strip_prefix(home).is_some_and(|rest| rest == ".rs" || rest.starts_with('/')));
        if crates.contains(&token.text.as_str()) && !at_home {
            found.push(format!(
                "{path}:{}: `{}` is named outside {}",
                token.line,
                token.text,
                homes.join(" and ")
            ));
        }
    }
}

/// Our top-level modules that the tokens name through `crate::`, `imesli::` or `super::`, with the line.
fn own_modules(module: &[&str], tokens: &[Token]) -> Vec<(String, usize)> {
    let text = |i: usize| tokens.get(i).map_or("", |t| t.text.as_str());
    let mut used = Vec::new();
    for (i, token) in tokens.iter().enumerate() {
        let mut next = i;
        match token.text.as_str() {
            "crate" | "imesli" => next += 2,
            // The first of a row of them, which must reach the root to name a module there.
            "super" if i < 2 || text(i - 2) != "super" => {
                while text(next) == "super" {
                    next += 2;
                }
                if (next - i) / 2 < module.len() {
                    continue;
                }
            }
            _ => continue,
        }
        if text(next - 1) != "::" {
            continue;
        }
        for head in heads(tokens.get(next..).unwrap_or(&[])) {
            if is_ours(&head.text) {
                used.push((head.text.clone(), head.line));
            }
        }
    }
    used
}

/// The first names of a use tree: `a::b` → `a`; `{a::b, c::{d, e}}` → `a`, `c`.
fn heads(tokens: &[Token]) -> Vec<&Token> {
    if tokens.first().is_some_and(|t| t.text != "{") {
        return tokens.iter().take(1).collect();
    }
    let mut heads = Vec::new();
    let mut depth = 0;
    let mut at_start = false;
    for token in tokens {
        match token.text.as_str() {
            "{" => {
                depth += 1;
                at_start = depth == 1;
            }
            "}" => depth -= 1,
            "," => at_start = depth == 1,
            _ if at_start => {
                heads.push(token);
                at_start = false;
            }
            _ => {}
        }
        if depth == 0 {
            break;
        }
    }
    heads
}

/// A word, `::`, or a single other character.
struct Token {
    text: String,
    line: usize,
}

/// Splits Rust source into tokens, without comments, string and character literals.
fn tokens(source: &str) -> Vec<Token> {
    let mut tokens = Vec::new();
    let mut rest = source;
    let mut line = 1;
    while let Some(first) = rest.chars().next() {
        let ignored = literal(rest);
        let word = rest.find(|c: char| c != '_' && !c.is_alphanumeric()).unwrap_or(rest.len());
        let length = match first {
            _ if ignored > 0 => ignored,
            _ if word > 0 => word,
            _ if rest.starts_with("::") => 2,
            _ => first.len_utf8(),
        };
        let (text, after) = rest.split_at(length);
        if ignored == 0 && !first.is_whitespace() {
            tokens.push(Token { text: text.to_owned(), line });
        }
        line += text.matches('\n').count();
        rest = after;
    }
    tokens
}

/// The length of the comment, string or character literal that the text starts with; 0 without one.
fn literal(text: &str) -> usize {
    let to = |found: Option<usize>, end: &str| found.map_or(text.len(), |at| at + end.len());
    if text.starts_with("//") {
        return to(text.find('\n'), "");
    }
    if text.starts_with("/*") {
        return to(text.find("*/"), "*/");
    }
    let unprefixed = text.trim_start_matches(['b', 'c', 'r']);
    let prefix = &text[..text.len() - unprefixed.len()];
    if !matches!(prefix, "" | "b" | "c" | "r" | "br" | "cr") {
        return 0;
    }
    if prefix.ends_with('r') {
        let hashes = unprefixed.len() - unprefixed.trim_start_matches('#').len();
        let Some(body) = unprefixed[hashes..].strip_prefix('"') else { return 0 };
        let end = format!("\"{}", "#".repeat(hashes));
        return text.len() - body.len() + body.find(&end).map_or(body.len(), |at| at + end.len());
    }
    let Some(quote @ ('"' | '\'')) = unprefixed.chars().next() else { return 0 };
    // A lifetime has no closing quote after its first character.
    let inner: Vec<(usize, char)> = unprefixed.char_indices().skip(1).take(2).collect();
    if quote == '\'' && !matches!(inner[..], [(_, '\\'), _] | [_, (_, '\'')]) {
        return 0;
    }
    let mut escaped = false;
    for (at, c) in unprefixed.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            _ if c == quote => return prefix.len() + at + 1,
            _ => {}
        }
    }
    text.len()
}

/// The violations of one made-up source.
fn planted(path: &str, text: &str) -> Vec<String> {
    violations(&[(path.to_owned(), text.to_owned())])
}

#[test]
fn an_upward_dependency_is_found() {
    for (path, text) in [
        ("src/audio/window.rs", "use crate::asr::model::Token;"),
        ("src/asr/pool.rs", "fn f() { imesli::serve::run() }"),
        ("src/asr/search.rs", "use super::super::transcribe;"),
        ("src/error.rs", "use super::audio;"),
        ("src/serve/mod.rs", "use crate::{error::Error, asr::{pool, model}, load};"),
        ("src/serve/engine.rs", "use crate::cluster::Door;"),
        ("src/checkpoint/names.rs", "use crate::error::Error;"),
        ("src/audio/mod.rs", "/* \" */ pub(crate) use crate::checkpoint; // \""),
        (
            "src/audio/mod.rs",
            "fn f<'a>() -> &'a str { let _ = ('\\'', r#\"\"\"#, b\"\\\"\"); crate::asr::NAME }",
        ),
    ] {
        let found = planted(path, text);
        assert_eq!(found.len(), 1, "{path}: {text}: {found:?}");
        assert!(found.iter().all(|f| f.contains("must not use")), "{found:?}");
    }
}

#[test]
fn a_downward_dependency_is_not() {
    for (path, text) in [
        ("src/main.rs", "use imesli::{checkpoint, serve, transcribe::{self, load}};"),
        ("src/load.rs", "use crate::checkpoint::profile; use crate::asr::pool; use super::config;"),
        ("src/asr/model/state.rs", "use super::super::search; use crate::audio; use super::load;"),
        ("src/audio/decode.rs", "pub(crate) fn f() {} mod tests { use super::*; }"),
        ("src/audio/level.rs", "//! See [`crate::asr`].\nconst A: &str = \"crate::asr\"; /* crate::serve */"),
    ] {
        assert_eq!(planted(path, text), Vec::<String>::new(), "{path}: {text}");
    }
}

#[test]
fn the_other_rules_are_kept() {
    for (path, text, expected) in [
        ("src/asr/search.rs", "use whisper_rs::WhisperContext;", "named outside"),
        ("src/asr/modeling.rs", "\nuse whisper_rs_sys as sys;", ":2: `whisper_rs_sys` is named outside"),
        ("src/audio/mod.rs", "use hound::WavReader;", "named outside"),
        ("src/serve/engine.rs", "async_nats::connect(url);", "named outside"),
        ("src/audio/mod.rs", "#[cfg(any(test, feature = \"cuda\"))] fn f() {}", "ask for features"),
        ("src/audio/mod.rs", "const B: bool = cfg!(feature = \"cuda\");", "ask for features"),
        ("src/helpers.rs", "", "no place in the order"),
        ("src/audio/mod.rs", &"\n".repeat(MAX_LINES + 1), "401 lines"),
    ] {
        let found = planted(path, text);
        assert_eq!(found.len(), 1, "{path}: {found:?}");
        assert!(found.iter().all(|f| f.contains(expected)), "{found:?}");
    }
    for (path, text) in [
        ("src/asr/model/state.rs", "use whisper_rs::whisper_rs_sys as sys;"),
        ("src/checkpoint/quantize.rs", "whisper_rs_sys::ggml_quantize_chunk();"),
        ("src/audio/decode/wav.rs", "#[cfg(target_feature = \"avx2\")] use hound::WavReader;"),
        ("tests/main.rs", "use hound::WavReader;"),
    ] {
        assert_eq!(planted(path, text), Vec::<String>::new(), "{path}: {text}");
    }
    let twice =
        ["src/audio/a.rs", "src/audio/b.rs"].map(|path| (path.to_owned(), "use rubato::Fft;".to_owned()));
    assert_eq!(violations(&twice).len(), 1);
}
