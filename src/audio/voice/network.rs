//! Silero's network: how likely a frame of 32 ms holds a voice. A short-time Fourier transform, four convolutions,
//! an LSTM that remembers the frames before, and one number at the end.
//!
//! Computed here, and not by whisper.cpp, whose version of it leaves out the 64 samples in front of each frame that
//! the network was trained with, forgets everything from one call to the next, and is given its file unchecked.

/// Samples of a frame, at 16 kHz.
pub(super) const FRAME: usize = 512;
/// Samples in front of a frame that it is looked at with.
pub(super) const CONTEXT: usize = 64;
/// Samples of one transform, and the distance to the next.
pub(super) const STFT_SPAN: usize = 256;
const STFT_STEP: usize = STFT_SPAN / 2;
/// The spectrum's bins: each has a real and an imaginary filter.
pub(super) const STFT_BINS: usize = STFT_SPAN / 2 + 1;
/// Transforms of one frame.
const POSITIONS: usize = (CONTEXT + FRAME + CONTEXT - STFT_SPAN) / STFT_STEP + 1;
/// What goes into the convolutions, between them, and out of them.
pub(super) const CHANNELS: [usize; 5] = [STFT_BINS, 128, 64, 64, HIDDEN];
/// Positions that each looks at, and by how many it moves.
pub(super) const KERNEL: usize = 3;
const STRIDES: [usize; 4] = [1, 2, 2, 1];
/// The LSTM's cells.
pub(super) const HIDDEN: usize = 128;

/// The network's weights: rows of what they are multiplied with, one after the other.
#[derive(Debug, Default)]
pub(super) struct Weights {
    stft: Vec<f32>,
    kernels: [Vec<f32>; 4],
    kernel_biases: [Vec<f32>; 4],
    input: Vec<f32>,
    input_bias: Vec<f32>,
    hidden: Vec<f32>,
    hidden_bias: Vec<f32>,
    last: Vec<f32>,
    last_bias: Vec<f32>,
}

/// The tensors' names in a file.
const NAMES: [&str; 15] = [
    "_model.stft.forward_basis_buffer",
    "_model.encoder.0.reparam_conv.weight",
    "_model.encoder.0.reparam_conv.bias",
    "_model.encoder.1.reparam_conv.weight",
    "_model.encoder.1.reparam_conv.bias",
    "_model.encoder.2.reparam_conv.weight",
    "_model.encoder.2.reparam_conv.bias",
    "_model.encoder.3.reparam_conv.weight",
    "_model.encoder.3.reparam_conv.bias",
    "_model.decoder.rnn.weight_ih",
    "_model.decoder.rnn.bias_ih",
    "_model.decoder.rnn.weight_hh",
    "_model.decoder.rnn.bias_hh",
    "_model.decoder.decoder.2.weight",
    "_model.decoder.decoder.2.bias",
];

impl Weights {
    /// The shape that a tensor must have, the fastest index first, and where its values go. `None` for a name that
    /// is none of the network's.
    pub(super) fn place(&mut self, name: &str) -> Option<(Vec<usize>, &mut Vec<f32>)> {
        let number = NAMES.iter().position(|known| *known == name)?;
        let layer = number.saturating_sub(1) / 2;
        let (from, to) = (CHANNELS.get(layer), CHANNELS.get(layer + 1));
        Some(match number {
            0 => (vec![STFT_SPAN, 1, 2 * STFT_BINS], &mut self.stft),
            1 | 3 | 5 | 7 => (vec![KERNEL, *from?, *to?], self.kernels.get_mut(layer)?),
            2 | 4 | 6 | 8 => (vec![*to?], self.kernel_biases.get_mut(layer)?),
            9 => (vec![HIDDEN, 4 * HIDDEN], &mut self.input),
            10 => (vec![4 * HIDDEN], &mut self.input_bias),
            11 => (vec![HIDDEN, 4 * HIDDEN], &mut self.hidden),
            12 => (vec![4 * HIDDEN], &mut self.hidden_bias),
            13 => (vec![HIDDEN], &mut self.last),
            _ => (vec![], &mut self.last_bias),
        })
    }

    /// A tensor that has not come.
    pub(super) fn missing(&mut self) -> Option<&'static str> {
        NAMES.into_iter().find(|name| self.place(name).is_none_or(|(_, values)| values.is_empty()))
    }
}

/// What the network remembers of the frames before.
#[derive(Debug)]
pub(super) struct Memory {
    /// The context of the next frame.
    context: [f32; CONTEXT],
    hidden: [f32; HIDDEN],
    cell: [f32; HIDDEN],
    scratch: Scratch,
}

/// Room for what lies between the layers.
#[derive(Debug, Default)]
struct Scratch {
    audio: Vec<f32>,
    spectrum: Vec<f32>,
    column: Vec<f32>,
    from: Vec<f32>,
    to: Vec<f32>,
    gates: Vec<f32>,
    recurrent: Vec<f32>,
}

impl Default for Memory {
    fn default() -> Self {
        Self {
            context: [0.0; CONTEXT],
            hidden: [0.0; HIDDEN],
            cell: [0.0; HIDDEN],
            scratch: Scratch::default(),
        }
    }
}

impl Memory {
    /// How likely the next frame holds a voice. A shorter one is filled up with silence.
    pub(super) fn hear(&mut self, weights: &Weights, frame: &[f32]) -> f32 {
        let scratch = &mut self.scratch;
        let audio = &mut scratch.audio;
        audio.clear();
        audio.extend_from_slice(&self.context);
        audio.extend(frame.iter().chain(std::iter::repeat(&0.0)).take(FRAME));
        if let Some(tail) = audio.last_chunk() {
            self.context = *tail;
        }
        // Reflected at its end.
        for back in 0..CONTEXT {
            let mirrored = audio.get(CONTEXT + FRAME - 2 - back).copied();
            audio.extend(mirrored);
        }

        // Channels run fastest in `from` and `to`: position after position.
        scratch.from.clear();
        for span in audio.windows(STFT_SPAN).step_by(STFT_STEP).take(POSITIONS) {
            scratch.spectrum.clear();
            scratch.spectrum.extend(rows(&weights.stft, span));
            let (real, imaginary) = scratch.spectrum.split_at(STFT_BINS);
            scratch.from.extend(real.iter().zip(imaginary).map(|(re, im)| (re * re + im * im).sqrt()));
        }
        let layers = weights.kernels.iter().zip(&weights.kernel_biases).zip(CHANNELS).zip(STRIDES);
        for (((kernel, bias), channels), stride) in layers {
            scratch.to.clear();
            let positions = scratch.from.len() / channels;
            for middle in (0..positions).step_by(stride) {
                // Positions run fastest in the kernel's rows; those before the first and after the last are silent.
                scratch.column.clear();
                scratch.column.resize(channels * KERNEL, 0.0);
                for (tap, values) in neighbours(&scratch.from, channels, middle) {
                    for (place, value) in scratch.column.iter_mut().skip(tap).step_by(KERNEL).zip(values) {
                        *place = *value;
                    }
                }
                let sums = rows(kernel, &scratch.column).zip(bias);
                scratch.to.extend(sums.map(|(sum, bias)| (sum + bias).max(0.0)));
            }
            std::mem::swap(&mut scratch.from, &mut scratch.to);
        }

        scratch.gates.clear();
        scratch
            .gates
            .extend(rows(&weights.input, &scratch.from).zip(&weights.input_bias).map(|(a, b)| a + b));
        scratch.recurrent.clear();
        scratch
            .recurrent
            .extend(rows(&weights.hidden, &self.hidden).zip(&weights.hidden_bias).map(|(a, b)| a + b));
        for (gate, recurrent) in scratch.gates.iter_mut().zip(&scratch.recurrent) {
            *gate += recurrent;
        }
        let (first, second) = scratch.gates.split_at(2 * HIDDEN);
        let (input, forget) = first.split_at(HIDDEN);
        let (candidate, output) = second.split_at(HIDDEN);
        let gates = input.iter().zip(forget).zip(candidate.iter().zip(output));
        for ((hidden, cell), ((i, f), (g, o))) in self.hidden.iter_mut().zip(&mut self.cell).zip(gates) {
            *cell = sigmoid(*f) * *cell + sigmoid(*i) * g.tanh();
            *hidden = sigmoid(*o) * cell.tanh();
        }
        let bias = weights.last_bias.first().copied().unwrap_or_default();
        let voiced: f32 = weights.last.iter().zip(&self.hidden).map(|(weight, h)| weight * h.max(0.0)).sum();
        sigmoid(voiced + bias)
    }
}

/// The position at `middle` and those beside it that exist, each with its place in the kernel.
fn neighbours(values: &[f32], channels: usize, middle: usize) -> impl Iterator<Item = (usize, &[f32])> {
    (0..KERNEL).filter_map(move |tap| {
        let position = (middle + tap).checked_sub(KERNEL / 2)?;
        Some((tap, values.get(position * channels..(position + 1) * channels)?))
    })
}

/// The product of each row of a matrix with a vector.
fn rows<'a>(matrix: &'a [f32], vector: &'a [f32]) -> impl Iterator<Item = f32> + 'a {
    matrix.chunks_exact(vector.len().max(1)).map(move |row| dot(row, vector))
}

fn dot(a: &[f32], b: &[f32]) -> f32 {
    // Sums side by side, so that the compiler can use vector registers.
    const LANES: usize = 32;
    let (a, a_rest) = a.as_chunks::<LANES>();
    let (b, b_rest) = b.as_chunks::<LANES>();
    let mut sums = [0.0; LANES];
    for (a, b) in a.iter().zip(b) {
        for ((sum, a), b) in sums.iter_mut().zip(a).zip(b) {
            *sum += a * b;
        }
    }
    sums.iter().sum::<f32>() + a_rest.iter().zip(b_rest).map(|(a, b)| a * b).sum::<f32>()
}

fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + (-x).exp())
}
