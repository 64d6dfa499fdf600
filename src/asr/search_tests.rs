//! The search against a slow, literal transcription of transformers' on made-up logits.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)] // A test may fail by panicking.

use super::*;

const END: Token = 0;

/// A made-up language model: the logits after a sequence are a function of the sequence alone.
struct Toy {
    n_vocab: usize,
    /// Added to the logit of the end token for each token generated so far.
    end_growth: f32,
    prompt: usize,
    max_positions: usize,
    sequences: Vec<Vec<Token>>,
    steps: usize,
}

impl Toy {
    fn new(n_vocab: usize, end_growth: f32) -> Self {
        Self { n_vocab, end_growth, prompt: 0, max_positions: 40, sequences: Vec::new(), steps: 0 }
    }

    fn logits(&self, sequence: &[Token]) -> Vec<f32> {
        let mut seed = 0xcbf2_9ce4_8422_2325u64;
        for token in sequence {
            seed = (seed ^ u64::from(*token)).wrapping_mul(0x0000_0100_0000_01b3);
        }
        let mut row: Vec<f32> = (0..self.n_vocab)
            .map(|_| {
                seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                (seed >> 40) as f32 / (1u64 << 24) as f32 * 6.0 - 3.0
            })
            .collect();
        row[END as usize] += self.end_growth * (sequence.len() - self.prompt) as f32 - 2.0;
        row
    }
}

impl Decoder for Toy {
    fn n_vocab(&self) -> usize {
        self.n_vocab
    }

    fn max_positions(&self) -> usize {
        self.max_positions
    }

    fn start(&mut self, prompt: &[Token], logits: &mut Vec<f32>) -> Result<()> {
        self.prompt = prompt.len();
        self.sequences = vec![prompt.to_vec()];
        *logits = self.logits(prompt);
        Ok(())
    }

    fn extend(&mut self, beams: &[Extension], logits: &mut Vec<f32>) -> Result<()> {
        self.steps += 1;
        let grown = |beam: &Extension| {
            let mut sequence = self.sequences[beam.parent].clone();
            sequence.push(beam.token);
            sequence
        };
        self.sequences = beams.iter().map(grown).collect();
        assert!(self.sequences.iter().all(|sequence| sequence.len() < self.max_positions), "past the end");
        *logits = self.sequences.iter().flat_map(|sequence| self.logits(sequence)).collect();
        Ok(())
    }
}

/// `log_softmax` in the plainest way.
fn log_softmax(row: &[f32]) -> Vec<f32> {
    let max = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let sum: f64 = row.iter().map(|x| f64::from(x - max).exp()).sum();
    row.iter().map(|x| (x - max) - sum.ln() as f32).collect()
}

/// `_beam_search` as transformers writes it, with every row of every tensor: `beams` running sequences of
/// which all but the first begin with −1e9, `2 × beams` candidates from all of beams × vocabulary, finished
/// ones kept in `beams` slots that begin with −1e9.
fn reference_beam(
    toy: &Toy,
    prompt: &[Token],
    rules: &Rules,
    beams: usize,
    limit: usize,
) -> (Vec<Token>, f32) {
    type Row = (f32, Vec<Token>);
    let mut running: Vec<Row> = (0..beams).map(|i| (if i == 0 { 0.0 } else { -1e9 }, Vec::new())).collect();
    let mut finished: Vec<(f32, Vec<Token>, bool)> = vec![(-1e9, Vec::new(), false); beams];
    for length in 1..=limit {
        let mut all: Vec<Row> = Vec::new();
        for (score, tokens) in &running {
            let sequence: Vec<Token> = prompt.iter().chain(tokens).copied().collect();
            let mut log_probs = log_softmax(&toy.logits(&sequence));
            rules.apply(tokens, &mut log_probs);
            for (token, log_prob) in (0..).zip(log_probs) {
                let mut grown = tokens.clone();
                grown.push(token);
                all.push((score + log_prob, grown));
            }
        }
        all.sort_by(|a, b| b.0.partial_cmp(&a.0).unwrap());
        all.truncate(2 * beams);
        let hits = |tokens: &[Token]| tokens.last() == Some(&END) || tokens.len() == limit;
        // Running: the best `beams` after those that hit a stopping criterion are pushed down.
        let mut next: Vec<Row> =
            all.iter().map(|(s, t)| (s + if hits(t) { -1e9 } else { 0.0 }, t.clone())).collect();
        next.sort_by(|a, b| b.0.partial_cmp(&a.0).unwrap());
        next.truncate(beams);
        running = next;
        // Finished: only the first `beams` candidates may enter.
        for (rank, (score, tokens)) in all.iter().enumerate() {
            if hits(tokens) && rank < beams {
                finished.push((score / length as f32, tokens.clone(), true));
            }
        }
        finished.sort_by(|a, b| b.0.partial_cmp(&a.0).unwrap());
        finished.truncate(beams);
        let best_possible = running[0].0 / length as f32;
        let least = finished.iter().map(|f| f.0).fold(f32::INFINITY, f32::min);
        let improvable = finished.iter().any(|f| best_possible > if f.2 { least } else { -1e9 });
        if !improvable || all.iter().all(|(_, tokens)| hits(tokens)) {
            break;
        }
    }
    let mut tokens = finished[0].1.clone();
    if tokens.last() == Some(&END) {
        tokens.pop();
    }
    (tokens, finished[0].0)
}

fn never() -> bool {
    false
}

fn found(toy: &mut Toy, prompt: &[Token], rules: &Rules, beams: usize, limit: usize) -> Hypothesis {
    let options = SearchOptions { beams, max_new_tokens: limit, length_penalty: 1.0, temperature: 0.0 };
    search(toy, prompt, rules, options, &never).unwrap()
}

#[test]
fn beam_search_finds_what_the_reference_finds() {
    let mut compared = 0;
    for prompt in 1..60 {
        for (end_growth, beams, limit) in [(0.3, 5, 30), (0.8, 2, 20), (0.1, 3, 12), (-9.0, 4, 10)] {
            let mut toy = Toy::new(17, end_growth);
            let mut rules = Rules::none(END);
            rules.suppress = vec![3];
            rules.begin_suppress = vec![END, 5];
            toy.prompt = 2;
            let (tokens, score) = reference_beam(&toy, &[1, prompt], &rules, beams, limit);
            let got = found(&mut toy, &[1, prompt], &rules, beams, limit);
            assert_eq!(got.tokens, tokens, "prompt {prompt}, growth {end_growth}, beams {beams}");
            assert!((got.mean_log_prob() - score).abs() < 1e-5);
            compared += 1;
        }
    }
    assert_eq!(compared, 59 * 4);
}

#[test]
fn one_beam_takes_the_best_token_each_time() {
    let mut toy = Toy::new(17, 0.3);
    let got = found(&mut toy, &[1, 2], &Rules::none(END), 1, 30);
    let mut sequence = vec![1, 2];
    loop {
        let row = toy.logits(&sequence);
        let token = (0..).zip(&row).fold((0, f32::MIN), |b, (t, x)| if *x > b.1 { (t, *x) } else { b }).0;
        if token == END {
            break;
        }
        sequence.push(token);
    }
    assert!(got.ended);
    assert_eq!(got.tokens, &sequence[2..]);
    assert_eq!(got.tokens.len(), got.log_probs.len());
}

#[test]
fn a_text_that_does_not_end_stops_at_the_limit_and_says_so() {
    for beams in [1, 5] {
        let got = found(&mut Toy::new(17, -9.0), &[1, 2], &Rules::none(END), beams, 10);
        assert!(!got.ended);
        assert_eq!(got.tokens.len(), 10);
    }
}

#[test]
fn the_limit_is_bounded_by_the_models_positions() {
    for beams in [1, 5] {
        let got = found(&mut Toy::new(17, -9.0), &[1, 2], &Rules::none(END), beams, usize::MAX);
        assert_eq!(got.tokens.len(), 38);
    }
    let full = vec![1; 40];
    let error = search(&mut Toy::new(17, 0.0), &full, &Rules::none(END), SearchOptions::default(), &never);
    assert!(matches!(error, Err(Error::InvalidInput(_))), "{error:?}");
}

#[test]
fn cancelling_stops_after_any_token() {
    for beams in [1, 5] {
        let mut toy = Toy::new(17, -9.0);
        let asked = std::cell::Cell::new(0);
        let cancelled = || {
            asked.set(asked.get() + 1);
            asked.get() > 3
        };
        let options = SearchOptions { beams, ..SearchOptions::default() };
        let result = search(&mut toy, &[1, 2], &Rules::none(END), options, &cancelled);
        assert!(matches!(result, Err(Error::Cancelled)));
        assert_eq!(toy.steps, 3);
    }
}

#[test]
fn forbidding_everything_is_an_error_not_a_loop() {
    let mut rules = Rules::none(END);
    rules.suppress = (0..17).collect();
    for beams in [1, 5] {
        let options = SearchOptions { beams, ..SearchOptions::default() };
        let result = search(&mut Toy::new(17, 0.0), &[1, 2], &rules, options, &never);
        assert!(matches!(result, Err(Error::Internal { .. })));
    }
}

#[test]
fn not_a_number_never_wins() {
    let row = [f32::NAN, 1.0, f32::NEG_INFINITY, 3.0, f32::NAN, 2.0];
    assert_eq!(best(&row, 4), [(3.0, 3), (2.0, 5), (1.0, 1)]);
}

#[test]
fn equal_values_keep_the_order_of_their_ids() {
    assert_eq!(best(&[1.0, 2.0, 2.0, 2.0, 1.0], 3), [(2.0, 1), (2.0, 2), (2.0, 3)]);
}

#[test]
fn the_exponential_is_right_to_the_last_bits() {
    for i in 0..870_000 {
        let x = -(i as f32) * 1e-4;
        let exact = f64::from(x).exp();
        let error = (f64::from(exp_negative(x)) - exact).abs() / exact;
        assert!(error < 4e-7, "exp({x}) is off by {error:e}");
    }
    assert!(exp_negative(f32::NEG_INFINITY) < 1e-37);
}

#[test]
fn log_probabilities_are_those_of_a_softmax() {
    let row = Toy::new(1003, 0.0).logits(&[1, 2, 3]);
    let norm = LogNorm::of(&row);
    for (x, expected) in row.iter().zip(log_softmax(&row)) {
        assert!((norm.log_prob(*x) - expected).abs() < 2e-6);
    }
}

#[test]
fn tokens_are_drawn_with_their_probability_at_a_temperature() {
    let row = [1.0, 2.0, f32::NEG_INFINITY, 0.0];
    for temperature in [0.5_f32, 1.0] {
        let mut random = fastrand::Rng::with_seed(3);
        let mut seen = [0.0; 4];
        for _ in 0..20_000 {
            let (logit, token) = draw(&row, temperature, &mut random).unwrap();
            assert_eq!(logit, row[token as usize]);
            seen[token as usize] += 1.0 / 20_000.0;
        }
        let weights = row.map(|logit| f64::from(logit / temperature).exp());
        let total: f64 = weights.iter().sum();
        for (seen, weight) in seen.iter().zip(weights) {
            assert!((seen - weight / total).abs() < 0.01, "{temperature}: {seen} for {}", weight / total);
        }
    }
    assert_eq!(draw(&[f32::NEG_INFINITY; 3], 1.0, &mut fastrand::Rng::with_seed(3)), None);
}

#[test]
fn a_temperature_gives_another_text_and_always_the_same_one() {
    let found = [0.0, 1.0, 1.0].map(|temperature| {
        let options = SearchOptions { beams: 1, temperature, ..SearchOptions::default() };
        search(&mut Toy::new(50, 0.1), &[7], &Rules::none(END), options, &|| false).unwrap()
    });
    assert_ne!(found[0].tokens, found[1].tokens);
    assert_eq!(found[1], found[2]);
}
