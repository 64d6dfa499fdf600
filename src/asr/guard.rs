//! The search, and once more where its text loops.

use super::model::Token;
use super::rules::Rules;
use super::search::{Decoder, Hypothesis, SearchOptions, search};
use crate::error::Result;

/// What a guarded search found.
#[derive(Debug, Clone, PartialEq)]
pub struct Guarded {
    /// The text.
    pub hypothesis: Hypothesis,
    /// Whether it loops, and there is no better one.
    pub looped: bool,
}

/// As [`search`], but a text that `loops` is searched for once more over the same audio, now with rules that let no
/// phrase come too often in a row. The second text is the result where it comes to an end and does not loop, else the
/// first, as the model wrote it. So the audio is encoded once, and the search takes at most twice as long.
///
/// # Errors
/// As for [`search`].
pub fn guarded_search(
    decoder: &mut impl Decoder,
    prompt: &[Token],
    rules: &Rules,
    options: SearchOptions,
    cancelled: &dyn Fn() -> bool,
    loops: impl Fn(&Hypothesis) -> bool,
) -> Result<Guarded> {
    let first = search(decoder, prompt, rules, options, cancelled)?;
    if !loops(&first) {
        return Ok(Guarded { hypothesis: first, looped: false });
    }
    let strict = Rules { no_loops: true, ..rules.clone() };
    let second = search(decoder, prompt, &strict, options, cancelled)?;
    if second.ended && !loops(&second) {
        return Ok(Guarded { hypothesis: second, looped: false });
    }
    Ok(Guarded { hypothesis: first, looped: true })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that fails may panic")]

    use super::super::repetition::is_loop;
    use super::super::search::Extension;
    use super::*;

    const END: Token = 9;
    const ROOM: usize = 448;

    /// Prefers to say the last token again. What else it likes, best first, is made up; it counts its steps.
    struct Stammerer {
        otherwise: Vec<Token>,
        beams: Vec<Token>,
        steps: usize,
    }

    impl Stammerer {
        fn new(otherwise: &[Token]) -> Self {
            Self { otherwise: otherwise.to_vec(), beams: Vec::new(), steps: 0 }
        }

        fn logits(&mut self, logits: &mut Vec<f32>) {
            self.steps += 1;
            logits.clear();
            for last in &self.beams {
                let mut row = [-20.0_f32; 10];
                for (rank, token) in [*last].iter().chain(&self.otherwise).enumerate() {
                    row[*token as usize] = row[*token as usize].max(-3.0 * rank as f32);
                }
                logits.extend(row);
            }
        }
    }

    impl Decoder for Stammerer {
        fn n_vocab(&self) -> usize {
            10
        }

        fn max_positions(&self) -> usize {
            ROOM
        }

        fn start(&mut self, _: &[Token], logits: &mut Vec<f32>) -> Result<()> {
            self.beams = vec![1];
            self.logits(logits);
            Ok(())
        }

        fn extend(&mut self, beams: &[Extension], logits: &mut Vec<f32>) -> Result<()> {
            self.beams = beams.iter().map(|beam| beam.token).collect();
            self.logits(logits);
            Ok(())
        }
    }

    fn run(decoder: &mut Stammerer, beams: usize) -> Guarded {
        let loops = |found: &Hypothesis| {
            is_loop(&found.tokens, |tokens| " word".repeat(tokens.len()), 10.0, !found.ended)
        };
        let options = SearchOptions { beams, ..SearchOptions::default() };
        guarded_search(decoder, &[0, 0, 0], &Rules::none(END), options, &|| false, loops).unwrap()
    }

    #[test]
    fn a_loop_that_can_be_left_is_left() {
        let mut decoder = Stammerer::new(&[END]);
        let found = run(&mut decoder, 1);
        assert_eq!(found.hypothesis.tokens, [1, 1, 1, 1]);
        assert!(found.hypothesis.ended && !found.looped);
    }

    #[test]
    fn a_loop_without_a_way_out_takes_twice_the_time_and_no_more() {
        for beams in [1, 2] {
            let mut decoder = Stammerer::new(&[2, 3]);
            let alone = search(
                &mut decoder,
                &[0, 0, 0],
                &Rules::none(END),
                SearchOptions { beams, ..SearchOptions::default() },
                &|| false,
            )
            .unwrap();
            let once = decoder.steps;
            decoder.steps = 0;
            let found = run(&mut decoder, beams);
            assert!(found.looped);
            assert_eq!(found.hypothesis, alone, "the model's own text");
            assert!(decoder.steps > once && decoder.steps <= 2 * once, "{} of {once}", decoder.steps);
        }
    }

    #[test]
    fn what_does_not_loop_is_searched_for_once() {
        let mut decoder = Stammerer::new(&[END]);
        let rules = Rules { suppress: vec![1], ..Rules::none(END) };
        let found =
            guarded_search(&mut decoder, &[0], &rules, SearchOptions::default(), &|| false, |_| false)
                .unwrap();
        let steps = decoder.steps;
        let alone = search(&mut decoder, &[0], &rules, SearchOptions::default(), &|| false).unwrap();
        assert_eq!(found, Guarded { hypothesis: alone, looped: false });
        assert_eq!(decoder.steps, 2 * steps);
    }
}
