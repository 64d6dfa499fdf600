//! Every tensor of a Whisper model: its Hugging Face name, its ggml name, its shape.

use std::collections::BTreeMap;

use super::config::Dims;

/// How ggml keeps a tensor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A matrix that is multiplied: of the file's type.
    Matrix,
    /// A convolution's kernel: f32 in an f32 file, else f16.
    Kernel,
    /// A convolution's bias: f32, written with shape `[n, 1]`.
    KernelBias,
    /// Position embeddings, other biases, layer norms: f32.
    Plain,
}

/// A tensor that must be there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Expected {
    /// Its name in the checkpoint, without the `model.` prefix.
    pub(crate) hf: String,
    /// Its name in the GGML file.
    pub(crate) ggml: String,
    /// Its shape in the checkpoint.
    pub(crate) shape: Vec<usize>,
    /// How ggml keeps it.
    pub(crate) kind: Kind,
}

impl Expected {
    /// The dimensions as ggml writes them, the fastest first.
    pub(crate) fn ggml_dims(&self) -> Vec<usize> {
        let mut dims: Vec<usize> = self.shape.iter().rev().copied().collect();
        if self.kind == Kind::KernelBias {
            dims.insert(0, 1);
        }
        dims
    }
}

/// The output projection: tied to the token embedding, so whisper.cpp has no tensor for it.
pub(crate) const TIED: &str = "proj_out.weight";
/// The token embedding.
pub(crate) const TOKEN_EMBEDDING: &str = "decoder.embed_tokens.weight";
/// Its shape tells the longest text.
pub(crate) const TEXT_POSITIONS: &str = "decoder.embed_positions.weight";

/// A constant that older versions of OpenAI's model keep among its weights.
pub(crate) const OPENAI_MASK: &str = "decoder.mask";

/// What `torch.compile`, data-parallel training and the like put into the names of tensors.
const WRAPPERS: [&str; 4] = ["module", "_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module"];

/// From the names in a checkpoint to those of Hugging Face, without wrappers and without the prefix that
/// `WhisperForConditionalGeneration` adds.
#[derive(Debug)]
pub(crate) struct BareNames {
    /// OpenAI's names, which are those of GGML.
    openai: BTreeMap<String, String>,
}

impl BareNames {
    pub(crate) fn new(dims: &Dims) -> Self {
        Self { openai: expected(dims).into_iter().map(|e| (e.ggml, e.hf)).collect() }
    }

    /// A tensor's bare name.
    pub(crate) fn of(&self, name: &str) -> String {
        let parts = name.split('.').filter(|part| !WRAPPERS.contains(part));
        let bare = parts.skip_while(|part| *part == "model").collect::<Vec<_>>().join(".");
        self.openai.get(&bare).cloned().unwrap_or(bare)
    }
}

/// All tensors of a model, in the order of transformers' `state_dict`, which is the order of
/// whisper.cpp's own converter.
pub(crate) fn expected(dims: &Dims) -> Vec<Expected> {
    let d = dims.n_state;
    let mut list = List(Vec::new());
    list.add("encoder.conv1.weight", "encoder.conv1.weight", &[d, dims.n_mels, 3], Kind::Kernel);
    list.add("encoder.conv1.bias", "encoder.conv1.bias", &[d], Kind::KernelBias);
    list.add("encoder.conv2.weight", "encoder.conv2.weight", &[d, d, 3], Kind::Kernel);
    list.add("encoder.conv2.bias", "encoder.conv2.bias", &[d], Kind::KernelBias);
    let positions = "encoder.positional_embedding";
    list.add("encoder.embed_positions.weight", positions, &[dims.n_audio_ctx, d], Kind::Plain);
    for layer in 0..dims.n_audio_layer {
        let (hf, ggml) = (format!("encoder.layers.{layer}"), format!("encoder.blocks.{layer}"));
        list.attention(&hf, &ggml, "self_attn", "attn", d);
        list.mlp(&hf, &ggml, d);
    }
    list.both("encoder.layer_norm", "encoder.ln_post", d);

    list.add(TOKEN_EMBEDDING, "decoder.token_embedding.weight", &[dims.n_vocab, d], Kind::Matrix);
    list.add(TEXT_POSITIONS, "decoder.positional_embedding", &[dims.n_text_ctx, d], Kind::Plain);
    for layer in 0..dims.n_text_layer {
        let (hf, ggml) = (format!("decoder.layers.{layer}"), format!("decoder.blocks.{layer}"));
        list.attention(&hf, &ggml, "self_attn", "attn", d);
        list.attention(&hf, &ggml, "encoder_attn", "cross_attn", d);
        list.mlp(&hf, &ggml, d);
    }
    list.both("decoder.layer_norm", "decoder.ln", d);
    list.0
}

struct List(Vec<Expected>);

impl List {
    fn add(&mut self, hf: &str, ggml: &str, shape: &[usize], kind: Kind) {
        self.0.push(Expected { hf: hf.into(), ggml: ggml.into(), shape: shape.to_vec(), kind });
    }

    /// A layer norm: weight and bias.
    fn both(&mut self, hf: &str, ggml: &str, d: usize) {
        self.add(&format!("{hf}.weight"), &format!("{ggml}.weight"), &[d], Kind::Plain);
        self.add(&format!("{hf}.bias"), &format!("{ggml}.bias"), &[d], Kind::Plain);
    }

    fn linear(&mut self, hf: &str, ggml: &str, shape: [usize; 2]) {
        self.add(&format!("{hf}.weight"), &format!("{ggml}.weight"), &shape, Kind::Matrix);
        self.add(&format!("{hf}.bias"), &format!("{ggml}.bias"), &shape[..1], Kind::Plain);
    }

    /// One attention block with the layer norm in front of it.
    fn attention(&mut self, hf: &str, ggml: &str, hf_block: &str, ggml_block: &str, d: usize) {
        let (h, g) = (format!("{hf}.{hf_block}"), format!("{ggml}.{ggml_block}"));
        // The key projection has no bias.
        self.add(&format!("{h}.k_proj.weight"), &format!("{g}.key.weight"), &[d, d], Kind::Matrix);
        self.linear(&format!("{h}.v_proj"), &format!("{g}.value"), [d, d]);
        self.linear(&format!("{h}.q_proj"), &format!("{g}.query"), [d, d]);
        self.linear(&format!("{h}.out_proj"), &format!("{g}.out"), [d, d]);
        self.both(&format!("{h}_layer_norm"), &format!("{g}_ln"), d);
    }

    fn mlp(&mut self, hf: &str, ggml: &str, d: usize) {
        self.linear(&format!("{hf}.fc1"), &format!("{ggml}.mlp.0"), [4 * d, d]);
        self.linear(&format!("{hf}.fc2"), &format!("{ggml}.mlp.2"), [d, 4 * d]);
        self.both(&format!("{hf}.final_layer_norm"), &format!("{ggml}.mlp_ln"), d);
    }
}
