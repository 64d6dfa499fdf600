# Run by CMake after each project() call of whisper.cpp's build (CMAKE_PROJECT_INCLUDE, set in
# .cargo/config.toml). whisper-rs-sys builds a copy of whisper.cpp in its own output folder; this changes that
# copy, and stops the build where a line that it wants to change is not there.

if(NOT PROJECT_NAME STREQUAL "whisper.cpp")
    return()
endif()

# Replaces `from` by `to` wherever it stands in a file of the copy; a second run changes nothing.
function(imesli_replace file from to)
    file(READ "${PROJECT_SOURCE_DIR}/${file}" source)
    string(FIND "${source}" "${to}" done)
    if(NOT done EQUAL -1)
        return()
    endif()
    string(REPLACE "${from}" "${to}" changed "${source}")
    if(changed STREQUAL source)
        message(FATAL_ERROR "${file} has no '${from}': src/asr/ext does not fit this whisper.cpp")
    endif()
    file(WRITE "${PROJECT_SOURCE_DIR}/${file}" "${changed}")
endfunction()

# 1. Faithful arithmetic. Whisper was trained with the exact GELU and with softmax over the audio alone.
#
# GELU by the error function, not by its tanh approximation from a table of 16-bit floats.
imesli_replace(src/whisper.cpp "ggml_gelu(ctx0" "ggml_gelu_erf(ctx0")
imesli_replace(ggml/src/ggml-cpu/vec.h "y[i] = 0.5f*xi*(1.0f + erff(xi*SQRT_2_INV));" "y[i] = imesli_gelu(xi);")
imesli_replace(ggml/src/ggml-cpu/vec.h "inline static void ggml_vec_gelu_erf_f32("
    "#include \"${CMAKE_CURRENT_LIST_DIR}/gelu.h\"\ninline static void  ggml_vec_gelu_erf_f32(")
# With flash attention the encoder and the cross-attention look at 1536 keys, not 1500: the kernels of GPUs want
# multiples of 256, and no mask hides the rest. The rest is zero at first (36 keys with score 0 in every softmax),
# and what an earlier window left there once audio_ctx changes. On a CPU there is nothing to pad for.
imesli_replace(src/whisper.cpp "const int n_ctx_pad = GGML_PAD(n_ctx, 256);"
    "const int n_ctx_pad = wctx.params.use_gpu ? GGML_PAD(n_ctx, 256) : n_ctx;")
imesli_replace(src/whisper.cpp "const int n_audio_ctx_pad = GGML_PAD(n_audio_ctx, 256);"
    "const int n_audio_ctx_pad = wctx.params.use_gpu ? GGML_PAD(n_audio_ctx, 256) : n_audio_ctx;")
# Attention with all sums in 32-bit floats, also where keys and values are stored in 16 bits.
imesli_replace(ggml/src/ggml-cpu/ops.cpp "static void ggml_compute_forward_flash_attn_ext_f16_one_chunk("
    "#include \"${CMAKE_CURRENT_LIST_DIR}/attention.h\"\nstatic void  ggml_compute_forward_flash_attn_ext_f16_one_chunk(")
imesli_replace(ggml/src/ggml-cpu/ops.cpp "        ggml_compute_forward_flash_attn_ext_f16_one_chunk(params, dst, ir0, ir1);"
    "        if (!imesli_attention(dst, (int) ir0, (int) ir1)) { ggml_compute_forward_flash_attn_ext_f16_one_chunk(params, dst, ir0, ir1); }")

# A few queries share each key that is read: those of one head stay together where threads share the heads.
imesli_replace(ggml/src/ggml-cpu/ops.cpp "    int64_t chunk_size = (nr + nth_scaled - 1) / nth_scaled;
    int64_t nchunk     = (nr + chunk_size - 1) / chunk_size;

    if (nth == 1 || nchunk < nth || disable_chunking) {"
    "    int64_t chunk_size = (nr + nth_scaled - 1) / nth_scaled;
    if (neq1 <= IMESLI_FEW) { chunk_size = (chunk_size + neq1 - 1)/neq1*neq1; }
    int64_t nchunk     = (nr + chunk_size - 1) / chunk_size;

    if (nth == 1 || nchunk < nth || disable_chunking) {")
# The keys and values of the audio head by head, each in one piece, and not a row of all heads after the other: the decoder
# reads all of them at each step, and the processor sees what comes next.
foreach(part "K|k" "V|v")
    string(REGEX MATCH "^(.*)[|](.*)$" _ "${part}")
    set(imesli_rows "${CMAKE_MATCH_1}cross")
    set(imesli_view "${CMAKE_MATCH_2}")
    set(imesli_all "wstate.kv_cross.${imesli_view}")
    imesli_replace(src/whisper.cpp "ggml_build_forward_expand(gf, ggml_cpy(ctx0, ${imesli_rows}, ${imesli_view}));"
        "ggml_build_forward_expand(gf, wctx.params.flash_attn && !wctx.params.use_gpu
                ? ggml_cpy(ctx0, ggml_permute(ctx0, ggml_reshape_3d(ctx0, ${imesli_rows}, n_state_head, n_head, n_ctx), 0, 2, 1, 3),
                    ggml_view_3d(ctx0, ${imesli_all}, n_state_head, n_ctx, n_head, ggml_element_size(${imesli_all})*n_state_head,
                        ggml_element_size(${imesli_all})*n_state_head*n_ctx, ggml_element_size(${imesli_all})*n_state*n_ctx_pad*il))
                : ggml_cpy(ctx0, ${imesli_rows}, ${imesli_view}) );")
    imesli_replace(src/whisper.cpp "                            ggml_element_size(${imesli_all})*n_state,
                            ggml_element_size(${imesli_all})*n_state_head,
                            ggml_element_size(${imesli_all})*n_state*n_audio_ctx_pad*il);"
        "                            ggml_element_size(${imesli_all})*(wctx.params.use_gpu ? n_state : n_state_head),
                            ggml_element_size(${imesli_all})*n_state_head*(wctx.params.use_gpu ? 1 : n_audio_ctx_pad),
                            ggml_element_size(${imesli_all})*n_state*n_audio_ctx_pad*il);")
endforeach()

# A model of 32-bit floats convolves in 32-bit floats; without this it stops the process at an assertion.
imesli_replace(ggml/src/ggml.c "ggml_im2col(ctx, a, b, s0, 0, p0, 0, d0, 0, false, GGML_TYPE_F16);"
    "ggml_im2col(ctx, a, b, s0, 0, p0, 0, d0, 0, false, a->type == GGML_TYPE_F32 ? GGML_TYPE_F32 : GGML_TYPE_F16);")

# 2. Faster arithmetic, with the same result but for the order of sums.
#
# Products of weights in q8_0, which are packed after they were loaded (packed.h, q8.h), where the processor has the
# instructions. A packed tensor is known by its `extra`; the token embedding is one, and looked up by rows, too.
imesli_replace(ggml/src/ggml-cpu/llamafile/sgemm.cpp "bool llamafile_sgemm("
    "#include \"quants.h\"\n#include \"${CMAKE_CURRENT_LIST_DIR}/q8.h\"\n#include \"${CMAKE_CURRENT_LIST_DIR}/f16.h\"\nbool  llamafile_sgemm(")
# Products of weights in f16 with a few columns.
imesli_replace(ggml/src/ggml-cpu/llamafile/sgemm.cpp "    case GGML_TYPE_F16: {
#if defined(__AVX512F__)"
    "    case GGML_TYPE_F16: {
#if defined(IMESLI_F16)
        if (Btype == GGML_TYPE_F16 && imesli_f16_product(m, n, k, (const ggml_fp16_t *) A, lda, (const ggml_fp16_t *) B, ldb,
                                                         (float *) C, ldc, params->ith, params->nth)) {
            return true;
        }
#endif
#if  defined(__AVX512F__)")
imesli_replace(ggml/src/ggml-cpu/ggml-cpu.c "void ggml_compute_forward_mul_mat("
    "#include \"${CMAKE_CURRENT_LIST_DIR}/packed.h\"\nvoid  ggml_compute_forward_mul_mat(")
imesli_replace(ggml/src/ggml-cpu/ggml-cpu.c "    ggml_barrier(params->threadpool);

#if GGML_USE_LLAMAFILE"
    "    ggml_barrier(params->threadpool);

    if (src0->extra == &imesli_packed) {
        const size_t row_size = ggml_row_size(vec_dot_type, ne10);
        for (int64_t i = 0; i < ne12*ne13; i++) {
            imesli_packed_product(ne01, ne11, ne00/IMESLI_BLOCK, src0->data, (const char *) params->wdata + i*ne11*row_size, row_size,
                                  (float *) ((char *) dst->data + i*nb2), nb1/sizeof(float), ith, nth);
        }
        return;
    }
#if GGML_USE_LLAMAFILE")
imesli_replace(ggml/src/ggml-cpu/ops.cpp "static void ggml_compute_forward_get_rows_q("
    "#include \"${CMAKE_CURRENT_LIST_DIR}/packed.h\"\nstatic void  ggml_compute_forward_get_rows_q(")
imesli_replace(ggml/src/ggml-cpu/ops.cpp "        GGML_ASSERT(i01 >= 0 && i01 < ne01);

        dequantize_row_q("
    "        GGML_ASSERT(i01 >= 0 && i01 < ne01);

        if (src0->extra == &imesli_packed && i01 < ne01/IMESLI_TILE_ROWS*IMESLI_TILE_ROWS) {
            std::vector<uint8_t> row(nb01);
            imesli_unpack_row((const uint8_t *) src0->data + i01/IMESLI_TILE_ROWS*IMESLI_TILE_ROWS*nb01, i01%IMESLI_TILE_ROWS,
                              nc/IMESLI_BLOCK, row.data(), (uint8_t) imesli_packed_flip());
            dequantize_row_q(row.data(), (float *) ((char *) dst->data + i10*nb1 + i11*nb2 + i12*nb3), nc);
            continue;
        }
        dequantize_row_q(")
# A thread that waits for another gives its core away after some 10 µs: where there are more threads than free cores, the
# other may be waiting for just this one, and both would lose a slice of the scheduler at each of a thousand barriers.
imesli_replace(ggml/src/ggml-cpu/ggml-cpu.c "    while (atomic_load_explicit(&tp->n_barrier_passed, memory_order_relaxed) == n_passed) {
        ggml_thread_cpu_relax();"
    "    int imesli_spins = 0;
    while (atomic_load_explicit(&tp->n_barrier_passed, memory_order_relaxed) == n_passed) {
        if (++imesli_spins > 1000) { sched_yield(); }
        ggml_thread_cpu_relax();")

# 3. Less memory, and logits only for the tokens that want them (cache.h). Every further row costs as much as the embedding
# of the whole vocabulary, and 448 of them have 93 MB.
imesli_replace(src/whisper.cpp "static struct ggml_cgraph * whisper_build_graph_decoder("
    "#include \"${CMAKE_CURRENT_LIST_DIR}/cache.h\"
#include \"${CMAKE_CURRENT_LIST_DIR}/alignment.h\"
static struct ggml_cgraph *  whisper_build_graph_decoder(")
imesli_replace(src/whisper.cpp "        if (!whisper_kv_cache_find_slot(kv_self, batch)) {"
    "        if (!(wctx.params.flash_attn ? imesli_take_cells(kv_self, batch) : whisper_kv_cache_find_slot(kv_self, batch))) {")
imesli_replace(src/whisper.cpp "    struct ggml_tensor * KQ_mask = ggml_new_tensor_3d("
    "    struct ggml_tensor * imesli_where = wctx.params.flash_attn ? imesli_cells_input(ctx0, n_tokens) : nullptr;
    struct ggml_tensor * KQ_mask =  ggml_new_tensor_3d(")
imesli_replace(src/whisper.cpp "            struct ggml_tensor * KQ_mask = ggml_graph_get_tensor(gf, \"KQ_mask\");"
    "            imesli_set_cells(gf);
            struct ggml_tensor * KQ_mask =  ggml_graph_get_tensor(gf, \"KQ_mask\");")
foreach(part "Kcur|k" "Vcur|v")
    string(REGEX MATCH "^(.*)[|](.*)$" _ "${part}")
    set(imesli_rows "${CMAKE_MATCH_1}")
    set(imesli_all "${CMAKE_MATCH_2}")
    imesli_replace(src/whisper.cpp "ggml_build_forward_expand(gf, ggml_cpy(ctx0, ${imesli_rows}, ${imesli_all}));"
        "ggml_build_forward_expand(gf, imesli_where ? imesli_store(ctx0, ${imesli_rows}, kv_self.${imesli_all}, n_state, n_ctx, il, imesli_where)
                    : ggml_cpy(ctx0, ${imesli_rows}, ${imesli_all}) );")
    # The view that the copy would go to: its place is in a row only where the attention wants that.
    imesli_replace(src/whisper.cpp "                    ${imesli_all} = ggml_view_1d(ctx0, kv_self.${imesli_all}, n_tokens*n_state,
                            (ggml_element_size(kv_self.${imesli_all})*n_state)*(il*n_ctx + kv_head));
"
        "                    ${imesli_all} = nullptr;
")
endforeach()
imesli_replace(src/whisper.cpp "    struct ggml_tensor * logits = ggml_mul_mat(ctx0, model.d_te, cur);"
    "    const int imesli_first = imesli_first_row(batch, worst_case);
    cur = ggml_view_2d(ctx0, cur, cur->ne[0], n_tokens - imesli_first, cur->nb[1], imesli_first*cur->nb[1]);
    struct ggml_tensor * logits =  ggml_mul_mat(ctx0, model.d_te, cur);")
imesli_replace(src/whisper.cpp "    logits_out.resize(n_tokens*n_vocab);"
    "    const int imesli_first = imesli_first_row(batch, false);
    const int imesli_skip  = imesli_compact ? imesli_first : 0;
    logits_out.resize((size_t) (n_tokens - imesli_skip)*n_vocab);")
imesli_replace(src/whisper.cpp
    "        ggml_backend_tensor_get(logits, logits_out.data() + (n_vocab*i), sizeof(float)*(n_vocab*i), sizeof(float)*n_vocab);"
    "        ggml_backend_tensor_get(logits, logits_out.data() + ((size_t) n_vocab*(i - imesli_skip)), sizeof(float)*n_vocab*(i - imesli_first), sizeof(float)*n_vocab);")
imesli_replace(src/whisper.cpp "    state->logits.reserve(ctx->vocab.n_vocab * ctx->model.hparams.n_text_ctx);" "    /* logits: as many as are wanted */")
# Compute buffers are written to at once (touch.h).
imesli_replace(src/whisper.cpp "static bool whisper_sched_graph_init(struct whisper_sched & allocr,"
    "#include \"${CMAKE_CURRENT_LIST_DIR}/touch.h\"
static bool  whisper_sched_graph_init(struct whisper_sched & allocr,")
imesli_replace(src/whisper.cpp "    if (!ggml_backend_sched_alloc_graph(sched, get_graph())) {"
    "    ggml_cgraph * imesli_graph = get_graph();
    if (!ggml_backend_sched_alloc_graph(sched, imesli_graph)) {")
imesli_replace(src/whisper.cpp "    ggml_backend_sched_reset(sched);

    return true;
}

// medium"
    "    imesli_touch(imesli_graph);
    ggml_backend_sched_reset(sched);

    return true;
}

// medium")

# A spectrogram of the frames that the encoder looks at, in place of 30 s of silence behind each audio (touch.h).
imesli_replace(src/whisper.cpp "    int64_t stage_1_pad = WHISPER_SAMPLE_RATE * 30;"
    "    int64_t stage_1_pad = imesli_silence >= 0 ? imesli_silence : WHISPER_SAMPLE_RATE * 30;")

# Cross-attention weights beside flash attention, for the heads that word times want (alignment.h).
imesli_replace(src/whisper.cpp "                cur = ggml_flash_attn_ext(ctx0, Q, Kcross, Vcross, nullptr, KQscale, 0.0f, 0.0f);"
    "                imesli_align_layer(ctx0, gf, il, Q, Kcross, KQscale);
                cur =  ggml_flash_attn_ext(ctx0, Q, Kcross, Vcross, nullptr, KQscale, 0.0f, 0.0f);")

# 4. Our functions, compiled as the last part of whisper.cpp's own unit, so that they see its static ones. A
# checkout may have moved since the copy was made: the line of an earlier place goes.
set(imesli_unit "${PROJECT_SOURCE_DIR}/src/whisper.cpp")
file(READ "${imesli_unit}" imesli_source)
string(REGEX REPLACE "\n#include \"[^\"]*/whisper_ext\\.cpp\"\n" "" imesli_clean "${imesli_source}")
set(imesli_wanted "${imesli_clean}\n#include \"${CMAKE_CURRENT_LIST_DIR}/whisper_ext.cpp\"\n")
if(NOT imesli_source STREQUAL imesli_wanted)
    file(WRITE "${imesli_unit}" "${imesli_wanted}")
endif()
