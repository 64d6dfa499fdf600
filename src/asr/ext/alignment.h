// Cross-attention weights of chosen heads, for word times. Included in whisper.cpp before the function that builds
// the decoder's graph (see apply.cmake), which calls imesli_align_layer() in each layer.
//
// Flash attention gives no weights. For the heads that are asked for, and only while they are, they are computed once
// more beside it: softmax(K·Q) over the first frames of the audio.

struct imesli_head {
    int32_t layer;
    int32_t head;
};

// What one decode is asked for.
struct imesli_alignment {
    const imesli_head * heads;
    int32_t n_heads;
    int32_t n_frames;
};

// Set for the time of one decode. The graph is built on the thread that asks for it.
static thread_local imesli_alignment * imesli_wanted = nullptr;
// What the last such decode gave: for each head a tensor of n_frames × tokens, in the state's compute buffer.
static thread_local std::vector<ggml_tensor *> imesli_weights_of_heads;

// Q: head size × tokens × heads; K: head size × frames × heads; both as flash attention gets them.
static void imesli_align_layer(ggml_context * ctx, ggml_cgraph * gf, int32_t layer, ggml_tensor * Q, ggml_tensor * K,
                               float scale) {
    if (imesli_wanted == nullptr) {
        return;
    }
    for (int32_t i = 0; i < imesli_wanted->n_heads; ++i) {
        const imesli_head wanted = imesli_wanted->heads[i];
        if (wanted.layer != layer) {
            continue;
        }
        ggml_tensor * q = ggml_view_2d(ctx, Q, Q->ne[0], Q->ne[1], Q->nb[1], wanted.head*Q->nb[2]);
        ggml_tensor * k = ggml_view_2d(ctx, K, K->ne[0], imesli_wanted->n_frames, K->nb[1], wanted.head*K->nb[2]);
        ggml_tensor * scores = ggml_mul_mat(ctx, k, q);
        ggml_mul_mat_set_prec(scores, GGML_PREC_F32);
        ggml_tensor * weights = ggml_soft_max_ext(ctx, scores, nullptr, scale, 0.0f);
        ggml_set_output(weights); // nothing may take its memory
        ggml_build_forward_expand(gf, weights);
        imesli_weights_of_heads[i] = weights;
    }
}
