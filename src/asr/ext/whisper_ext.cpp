// The primitives that our token search needs and whisper.h does not give: batches of several
// sequences, copies and removals in the KV cache, a chosen audio context. Included at the end of
// whisper.cpp (see apply.cmake), because they call its static functions. Declared by hand in
// asr/model/ffi.rs; raise IMESLI_EXT_VERSION with every change, there too.
//
// No C++ exception leaves a function, and none calls into GGML_ASSERT (which aborts the process) with
// values that the caller chose: ranges are checked here or in asr/model.

#include "packed.h"

#define IMESLI_EXT_VERSION 8

enum imesli_status : int32_t {
    IMESLI_OK        = 0,
    IMESLI_FAILED    = 1, // the computation failed
    IMESLI_NO_MEMORY = 2,
    IMESLI_CACHE_FULL = 3, // no room in the KV cache for the batch
    IMESLI_ARGUMENT  = 4,
    IMESLI_EXCEPTION = 5,
};

template <typename F>
static int32_t imesli_guard(F && body) {
    try {
        return body();
    } catch (const std::bad_alloc &) {
        return IMESLI_NO_MEMORY;
    } catch (...) {
        return IMESLI_EXCEPTION;
    }
}

// One decoder pass, its arguments checked. Throws what whisper.cpp throws.
static int32_t imesli_run(struct whisper_context * ctx, struct whisper_state * state, const int32_t * tokens,
                          const int32_t * positions, const int32_t * sequences, const int8_t * want_logits,
                          int32_t n_tokens, int32_t n_threads) {
    const auto & hparams = ctx->model.hparams;
    if (n_tokens < 1 || n_tokens > hparams.n_text_ctx || n_threads < 1) {
        return IMESLI_ARGUMENT;
    }
    auto & batch = state->batch; // room for n_text_ctx tokens
    batch.n_tokens = n_tokens;
    for (int32_t i = 0; i < n_tokens; ++i) {
        if (tokens[i] < 0 || tokens[i] >= hparams.n_vocab || positions[i] < 0 ||
            positions[i] >= hparams.n_text_ctx || sequences[i] < 0) {
            return IMESLI_ARGUMENT;
        }
        batch.token[i]     = tokens[i];
        batch.pos[i]       = positions[i];
        batch.n_seq_id[i]  = 1;
        batch.seq_id[i][0] = sequences[i];
        batch.logits[i]    = want_logits[i];
    }
    whisper_kv_cache & cache = state->kv_self;
    int32_t free_cells = 0;
    for (const auto & cell : cache.cells) {
        free_cells += cell.pos < 0;
    }
    if (free_cells < n_tokens) {
        const int32_t used = (int32_t) cache.size - free_cells;
        if (!imesli_grow(cache, state->backends[0], ctx->itype, hparams.n_text_state, hparams.n_text_layer,
                         GGML_PAD(std::max(used + n_tokens, (int32_t) cache.size*3/2), IMESLI_CELLS))) {
            return IMESLI_NO_MEMORY;
        }
    }
    struct scope {
        scope() { imesli_compact = true; }
        ~scope() { imesli_compact = false; }
    } only_wanted_rows;
    return whisper_decode_internal(*ctx, *state, batch, n_threads, false, nullptr, nullptr) ? IMESLI_OK
                                                                                             : IMESLI_FAILED;
}

extern "C" {

int32_t imesli_ext_version(void) {
    return IMESLI_EXT_VERSION;
}

// A new state, null where there is no memory for it. What it had got by then may be lost, which costs less than the process.
struct whisper_state * imesli_new_state(struct whisper_context * ctx) {
    struct whisper_state * state = nullptr;
    imesli_guard([&]() -> int32_t {
        state = whisper_init_state(ctx);
        return IMESLI_OK;
    });
    return state;
}

// Packs the weights in q8_0 (packed.h) that lie in the processor's own memory, where its kernels want them so. To be called
// once, before there are states.
int32_t imesli_pack(struct whisper_context * ctx) {
    return imesli_guard([&]() -> int32_t {
        const int flip = imesli_packed_flip();
        if (flip < 0) {
            return IMESLI_OK;
        }
        std::vector<uint8_t> rows;
        for (const auto & named : ctx->model.tensors) {
            ggml_tensor * tensor = named.second;
            if (tensor->type != GGML_TYPE_Q8_0 || tensor->ne[2] != 1 || tensor->ne[3] != 1 || tensor->extra != nullptr ||
                tensor->ne[0]/IMESLI_BLOCK > IMESLI_MOST_BLOCKS || ggml_backend_buffer_get_type(tensor->buffer) != ggml_backend_cpu_buffer_type()) {
                continue;
            }
            const int64_t blocks = tensor->ne[0]/IMESLI_BLOCK;
            rows.resize(blocks*IMESLI_TILE_BYTES);
            for (int64_t tile = 0; tile < tensor->ne[1]/IMESLI_TILE_ROWS; ++tile) {
                uint8_t * data = (uint8_t *) tensor->data + tile*rows.size();
                memcpy(rows.data(), data, rows.size());
                imesli_pack_tile(rows.data(), blocks, data, (uint8_t) flip);
            }
            tensor->extra = (void *) &imesli_packed;
        }
        return IMESLI_OK;
    });
}

// The bytes of a token in the model's vocabulary; null for an id that has none.
const char * imesli_token_bytes(struct whisper_context * ctx, int32_t id, size_t * length) {
    const auto found = ctx->vocab.id_to_token.find(id);
    if (found == ctx->vocab.id_to_token.end()) {
        return nullptr;
    }
    *length = found->second.size();
    return found->second.data();
}

// Computes the log-mel spectrogram of 16 kHz mono samples (at least 201, whisper.cpp reads further than
// fewer) and chooses how many encoder positions the next encode() computes; 0 means the model's own.
int32_t imesli_set_audio(struct whisper_context * ctx, struct whisper_state * state, const float * pcm,
                         int32_t n_samples, int32_t audio_ctx, int32_t n_threads) {
    return imesli_guard([&]() -> int32_t {
        if (n_samples < 201 || audio_ctx < 0 || audio_ctx > ctx->model.hparams.n_audio_ctx || n_threads < 1) {
            return IMESLI_ARGUMENT;
        }
        state->exp_n_audio_ctx = audio_ctx;
        const int64_t n_positions = audio_ctx > 0 ? audio_ctx : ctx->model.hparams.n_audio_ctx;
        struct scope {
            explicit scope(int64_t samples) { imesli_silence = std::max<int64_t>(0, samples); }
            ~scope() { imesli_silence = -1; }
        } as_long_as_the_encoder_looks(n_positions*2*WHISPER_HOP_LENGTH - n_samples);
        return whisper_pcm_to_mel_with_state(ctx, state, pcm, n_samples, n_threads) == 0 ? IMESLI_OK : IMESLI_FAILED;
    });
}

// Runs the encoder on the spectrogram, from mel frame `offset`, and fills the cross-attention cache.
int32_t imesli_encode(struct whisper_context * ctx, struct whisper_state * state, int32_t offset, int32_t n_threads) {
    return imesli_guard([&]() -> int32_t {
        if (offset < 0 || n_threads < 1) {
            return IMESLI_ARGUMENT;
        }
        return whisper_encode_internal(*ctx, *state, offset, n_threads, nullptr, nullptr) ? IMESLI_OK : IMESLI_FAILED;
    });
}

// Forgets all sequences. Cells are handed out from the start again, so that a decode does not depend on what the state did
// before, and a cache that had to grow is as small as at first.
int32_t imesli_clear(struct whisper_context * ctx, struct whisper_state * state) {
    return imesli_guard([&]() -> int32_t {
        auto & cache = state->kv_self;
        if ((int32_t) cache.size != IMESLI_CELLS) {
            const auto & hparams = ctx->model.hparams;
            whisper_kv_cache fresh = {};
            if (!whisper_kv_cache_init(fresh, state->backends[0], ctx->itype, hparams.n_text_state, hparams.n_text_layer,
                                       IMESLI_CELLS)) {
                return IMESLI_NO_MEMORY;
            }
            whisper_kv_cache_free(cache);
            cache = std::move(fresh);
        }
        for (auto & cell : cache.cells) {
            cell.pos = -1;
            cell.seq_id.clear();
        }
        cache.head = 0;
        return IMESLI_OK;
    });
}

// Decodes n_tokens tokens, each at its position in its sequence. imesli_logits() has a row over the vocabulary for each
// token from the first on whose want_logits is not 0, and at least for the last one.
int32_t imesli_decode(struct whisper_context * ctx, struct whisper_state * state, const int32_t * tokens,
                      const int32_t * positions, const int32_t * sequences, const int8_t * want_logits,
                      int32_t n_tokens, int32_t n_threads) {
    return imesli_guard([&]() -> int32_t {
        return imesli_run(ctx, state, tokens, positions, sequences, want_logits, n_tokens, n_threads);
    });
}

// Decodes n_tokens tokens as one sequence from position 0 on, and keeps for each of the heads the weights of its
// cross-attention, until the next call on the state: n_tokens × n_frames floats, each row a softmax over the first n_frames
// positions of the encoder. imesli_weights() copies them. The compute buffer grows by n_heads times as many floats and keeps
// its size.
int32_t imesli_align(struct whisper_context * ctx, struct whisper_state * state, const int32_t * tokens,
                     int32_t n_tokens, const struct imesli_head * heads, int32_t n_heads, int32_t n_frames,
                     int32_t n_threads) {
    return imesli_guard([&]() -> int32_t {
        const auto & hparams = ctx->model.hparams;
        const int32_t n_audio_ctx = state->exp_n_audio_ctx > 0 ? state->exp_n_audio_ctx : hparams.n_audio_ctx;
        // Each head takes four nodes of the graph, which has room for 4096; the deepest decoder takes half of them.
        if (!ctx->params.flash_attn || n_tokens < 1 || n_frames < 1 || n_frames > n_audio_ctx || n_heads < 1 ||
            n_heads > 256) {
            return IMESLI_ARGUMENT;
        }
        for (int32_t i = 0; i < n_heads; ++i) {
            if (heads[i].layer < 0 || heads[i].layer >= hparams.n_text_layer || heads[i].head < 0 ||
                heads[i].head >= hparams.n_text_head) {
                return IMESLI_ARGUMENT;
            }
        }
        std::vector<int32_t> positions(n_tokens);
        for (int32_t i = 0; i < n_tokens; ++i) {
            positions[i] = i;
        }
        const std::vector<int32_t> sequences(n_tokens, 0);
        const std::vector<int8_t> no_logits(n_tokens, 0);
        imesli_alignment wanted = { heads, n_heads, n_frames };
        imesli_weights_of_heads.assign(n_heads, nullptr);
        struct scope {
            explicit scope(imesli_alignment * wanted) { imesli_wanted = wanted; }
            ~scope() { imesli_wanted = nullptr; }
        } while_decoding(&wanted);
        return imesli_run(ctx, state, tokens, positions.data(), sequences.data(), no_logits.data(), n_tokens, n_threads);
    });
}

// Copies the weights of the i-th head of the last imesli_align(), which this thread must have called.
int32_t imesli_weights(int32_t i, float * weights, size_t length) {
    return imesli_guard([&]() -> int32_t {
        if (i < 0 || i >= (int32_t) imesli_weights_of_heads.size()) {
            return IMESLI_ARGUMENT;
        }
        const ggml_tensor * head = imesli_weights_of_heads[i];
        if (head == nullptr || ggml_nbytes(head) != length*sizeof(float)) {
            return IMESLI_ARGUMENT;
        }
        ggml_backend_tensor_get(head, weights, 0, length*sizeof(float));
        return IMESLI_OK;
    });
}

// n_vocab floats for each token of the last batch that has logits, in its order. Valid until the next call on the state.
const float * imesli_logits(struct whisper_state * state, size_t * length) {
    *length = state->logits.size();
    return state->logits.data();
}

// Lets sequence `to` share the cells of `from`. Costs no computation and no cell.
int32_t imesli_sequence_copy(struct whisper_state * state, int32_t from, int32_t to) {
    return imesli_guard([&]() -> int32_t {
        whisper_kv_cache_seq_cp(state->kv_self, from, to, -1, -1);
        return IMESLI_OK;
    });
}

// Removes the tokens of a sequence from position `begin` on; cells that nobody else uses become free.
int32_t imesli_sequence_remove(struct whisper_state * state, int32_t sequence, int32_t begin) {
    return imesli_guard([&]() -> int32_t {
        whisper_kv_cache_seq_rm(state->kv_self, sequence, begin, -1);
        return IMESLI_OK;
    });
}

} // extern "C"
