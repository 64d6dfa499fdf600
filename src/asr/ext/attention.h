// softmax(Q·Kᵀ·scale + mask)·V on the CPU, all sums in 32-bit floats, in place of the loop of ggml's flash attention,
// which takes one query and one key at a time, with V's sums in 16 bits and one call of expf() for each pair: that is two
// thirds of the encoder's time. Here keys go by in tiles, with the running maximum and sum of
// "Online normalizer calculation for softmax" (arXiv 1805.02867), and many queries share a tile that was widened once.
// Included by ggml-cpu/ops.cpp (see apply.cmake), whose macros and helpers it uses.
#pragma once

#include <math.h>
#include <string.h>

// Keys that are widened to 32 bits at a time; K, V and the scores of a tile stay in the caches next to a core.
static const int IMESLI_TILE = 60;
// The largest head; Whisper's have 64 numbers. ggml's own loop takes larger ones.
static const int IMESLI_HEAD = 128;
// Rows of K or V for which the memory is asked this many rows early.
static const int IMESLI_AHEAD = 16;
// Queries of one head that share a tile where the scores are computed by dot products.
static const int IMESLI_FEW = 8;

// One head of one sequence: its keys and values, and `n` queries that follow each other.
struct imesli_head {
    const char * q; size_t q_row;              // f32 [n][d]
    const char * k; size_t k_row; ggml_type k_type; // f32 or f16 [keys][d]
    const char * v; size_t v_row; ggml_type v_type;
    const char * mask; size_t mask_row;        // f16 [n][keys] that is added to the scores, or none
    char * out; size_t out_row;                // f32 [n][d]
    int n, d, keys;
    float scale;
};

// `n` rows to 32 bits, one after the other. The rows of one head lie `step` bytes apart, too far for the processor to
// guess: those that come later are asked for early.
static void imesli_widen(ggml_type type, const char * rows, size_t step, float * out, int d, int n) {
    for (int j = 0; j < n; j++) {
        const char * row = rows + j*step;
        __builtin_prefetch(row + IMESLI_AHEAD*step);
        __builtin_prefetch(row + IMESLI_AHEAD*step + 64);
        if (type == GGML_TYPE_F32) {
            memcpy(out + j*d, row, d*sizeof(float));
        } else {
            ggml_cpu_fp16_to_fp32((const ggml_fp16_t *) row, out + j*d, d);
        }
    }
}

// A few queries, as in the decoder: a score is a dot product, and a row of V is added for each.
static void imesli_attend_few(const imesli_head & h) {
    alignas(64) float kv[IMESLI_TILE*IMESLI_HEAD], q[IMESLI_FEW][IMESLI_HEAD];
    alignas(64) float out[IMESLI_FEW][IMESLI_HEAD], score[IMESLI_FEW][IMESLI_TILE];
    float max[IMESLI_FEW], sum[IMESLI_FEW];

    for (int r = 0; r < h.n; r++) {
        const float * row = (const float *) (h.q + r*h.q_row);
        for (int i = 0; i < h.d; i++) { q[r][i] = row[i]*h.scale; }
        memset(out[r], 0, h.d*sizeof(float));
        max[r] = -INFINITY;
        sum[r] = 0.0f;
    }
    for (int begin = 0; begin < h.keys; begin += IMESLI_TILE) {
        const int tile = MIN(IMESLI_TILE, h.keys - begin);
        imesli_widen(h.k_type, h.k + begin*h.k_row, h.k_row, kv, h.d, tile);
        for (int r = 0; r < h.n; r++) {
            const ggml_fp16_t * mask = h.mask ? (const ggml_fp16_t *) (h.mask + r*h.mask_row) + begin : nullptr;
            for (int j = 0; j < tile; j++) {
                score[r][j] = mask ? GGML_CPU_FP16_TO_FP32(mask[j]) : 0.0f;
                if (score[r][j] == -INFINITY) { continue; }
                float dot;
                ggml_vec_dot_f32(h.d, &dot, 0, kv + j*h.d, 0, q[r], 0, 1);
                score[r][j] += dot;
            }
            float top = max[r];
            for (int j = 0; j < tile; j++) { top = MAX(top, score[r][j]); }
            if (top == -INFINITY) { // every key so far is masked: no weight
                memset(score[r], 0, tile*sizeof(float));
                continue;
            }
            const float fade = expf(max[r] - top);
            max[r] = top;
            sum[r] = sum[r]*fade + (float) ggml_vec_soft_max_f32(tile, score[r], score[r], top);
            if (fade != 1.0f) { ggml_vec_scale_f32(h.d, out[r], fade); }
        }
        imesli_widen(h.v_type, h.v + begin*h.v_row, h.v_row, kv, h.d, tile);
        for (int r = 0; r < h.n; r++) {
            for (int j = 0; j < tile; j++) {
                if (score[r][j] != 0.0f) { ggml_vec_mad_f32(h.d, out[r], kv + j*h.d, score[r][j]); }
            }
        }
    }
    for (int r = 0; r < h.n; r++) {
        ggml_vec_scale_f32(h.d, out[r], sum[r] == 0.0f ? 0.0f : 1.0f/sum[r]);
        memcpy(h.out + r*h.out_row, out[r], h.d*sizeof(float));
    }
}

// Where ggml has vectors of a fixed size and their exponential.
#if (defined(__AVX512F__) && defined(__AVX512DQ__)) || (defined(__AVX2__) && defined(__FMA__) && defined(__F16C__)) \
    || (defined(__ARM_NEON) && defined(__aarch64__) && !defined(__ARM_FEATURE_SVE))
#define IMESLI_LANES GGML_F32_EPR

typedef GGML_F32_VEC imesli_vec;

static inline imesli_vec imesli_max(imesli_vec a, imesli_vec b) {
#if defined(__AVX512F__)
    return _mm512_max_ps(a, b);
#elif defined(__AVX2__)
    return _mm256_max_ps(a, b);
#else
    return vmaxq_f32(a, b);
#endif
}

// Vectors of queries that are computed together: 4 · 4 sums stay in the 32 registers of AVX-512 and NEON, 4 · 2 in the
// 16 of AVX2.
#if defined(__AVX2__) && !defined(__AVX512F__)
#define IMESLI_WIDE 2
#else
#define IMESLI_WIDE 4
#endif
static const int IMESLI_MANY = IMESLI_WIDE*IMESLI_LANES;

// out[4][MANY] = (keep? out : 0) + Σ over i < n of scalar(i, 0..4) · rows[i][MANY], where scalar(i, a) is
// at scalars[i*step + a*stride].
static inline void imesli_product(float * out, bool keep, const float * rows, const float * scalars, int step, int stride, int n) {
    imesli_vec acc[4][IMESLI_WIDE];
    for (int a = 0; a < 4; a++) {
        for (int w = 0; w < IMESLI_WIDE; w++) {
            acc[a][w] = keep ? GGML_F32_VEC_LOAD(out + a*IMESLI_MANY + w*IMESLI_LANES) : GGML_F32_VEC_ZERO;
        }
    }
    for (int i = 0; i < n; i++) {
        imesli_vec row[IMESLI_WIDE];
        for (int w = 0; w < IMESLI_WIDE; w++) { row[w] = GGML_F32_VEC_LOAD(rows + i*IMESLI_MANY + w*IMESLI_LANES); }
        for (int a = 0; a < 4; a++) {
            const imesli_vec s = GGML_F32_VEC_SET1(scalars[i*step + a*stride]);
            for (int w = 0; w < IMESLI_WIDE; w++) { acc[a][w] = GGML_F32_VEC_FMA(acc[a][w], row[w], s); }
        }
    }
    for (int a = 0; a < 4; a++) {
        for (int w = 0; w < IMESLI_WIDE; w++) { GGML_F32_VEC_STORE(out + a*IMESLI_MANY + w*IMESLI_LANES, acc[a][w]); }
    }
}

// Many queries without a mask, as in the encoder: one query in each lane of a vector, so that neither the scores nor
// the softmax need a sum across lanes. Fewer than MANY are filled up with the last one.
static void imesli_attend_many(const imesli_head & h) {
    alignas(64) float q[IMESLI_HEAD*IMESLI_MANY], out[IMESLI_HEAD*IMESLI_MANY], score[IMESLI_TILE*IMESLI_MANY];
    alignas(64) float kv[IMESLI_TILE*IMESLI_HEAD];
    imesli_vec max[IMESLI_WIDE], sum[IMESLI_WIDE];

    for (int r = 0; r < IMESLI_MANY; r++) {
        const float * row = (const float *) (h.q + MIN(r, h.n - 1)*h.q_row);
        for (int i = 0; i < h.d; i++) { q[i*IMESLI_MANY + r] = row[i]*h.scale; }
    }
    memset(out, 0, h.d*IMESLI_MANY*sizeof(float));
    for (int w = 0; w < IMESLI_WIDE; w++) { max[w] = GGML_F32_VEC_SET1(-INFINITY); sum[w] = GGML_F32_VEC_ZERO; }

    for (int begin = 0; begin < h.keys; begin += IMESLI_TILE) {
        const int tile = MIN(IMESLI_TILE, h.keys - begin);
        imesli_widen(h.k_type, h.k + begin*h.k_row, h.k_row, kv, h.d, tile);
        memset(kv + tile*h.d, 0, (GGML_PAD(tile, 4) - tile)*h.d*sizeof(float));
        for (int j = 0; j < tile; j += 4) {
            imesli_product(score + j*IMESLI_MANY, false, q, kv + j*h.d, 1, h.d, h.d);
        }
        for (int w = 0; w < IMESLI_WIDE; w++) {
            float * column = score + w*IMESLI_LANES;
            imesli_vec top = max[w];
            for (int j = 0; j < tile; j++) { top = imesli_max(top, GGML_F32_VEC_LOAD(column + j*IMESLI_MANY)); }
            const imesli_vec minus = GGML_F32_VEC_MUL(top, GGML_F32_VEC_SET1(-1.0f));
            const imesli_vec fade = ggml_v_expf(GGML_F32_VEC_ADD(max[w], minus));
            max[w] = top;
            sum[w] = GGML_F32_VEC_MUL(sum[w], fade);
            for (int j = 0; j < tile; j++) {
                const imesli_vec p = ggml_v_expf(GGML_F32_VEC_ADD(GGML_F32_VEC_LOAD(column + j*IMESLI_MANY), minus));
                GGML_F32_VEC_STORE(column + j*IMESLI_MANY, p);
                sum[w] = GGML_F32_VEC_ADD(sum[w], p);
            }
            for (int i = 0; i < h.d; i++) {
                float * o = out + i*IMESLI_MANY + w*IMESLI_LANES;
                GGML_F32_VEC_STORE(o, GGML_F32_VEC_MUL(GGML_F32_VEC_LOAD(o), fade));
            }
        }
        imesli_widen(h.v_type, h.v + begin*h.v_row, h.v_row, kv, h.d, tile);
        for (int i = 0; i < h.d; i += 4) {
            imesli_product(out + i*IMESLI_MANY, true, score, kv + i, h.d, 1, tile);
        }
    }
    alignas(64) float total[IMESLI_MANY];
    for (int w = 0; w < IMESLI_WIDE; w++) { GGML_F32_VEC_STORE(total + w*IMESLI_LANES, sum[w]); }
    for (int r = 0; r < h.n; r++) {
        float * row = (float *) (h.out + r*h.out_row);
        for (int i = 0; i < h.d; i++) { row[i] = out[i*IMESLI_MANY + r]/total[r]; }
    }
}
#endif

#if defined(__AVX512F__) && defined(__AVX512DQ__) && defined(__F16C__)
// A few queries with all that they need in registers: heads of 64 numbers in 16 bits, four registers for a row.
#define IMESLI_REGISTERS_FEW
static const int IMESLI_PART = 256; // keys whose scores are kept at a time
static const int IMESLI_ROW = 4;    // registers of a row

// Lane j of the result is the sum of all lanes of t[j].
static inline __m512 imesli_sums(const __m512 * t) {
    __m512 u[8], v[4], w[2];
    for (int i = 0; i < 8; i++) { u[i] = _mm512_add_ps(_mm512_shuffle_f32x4(t[i], t[i + 8], 0x44), _mm512_shuffle_f32x4(t[i], t[i + 8], 0xEE)); }
    for (int i = 0; i < 4; i++) { v[i] = _mm512_add_ps(_mm512_shuffle_f32x4(u[i], u[i + 4], 0x88), _mm512_shuffle_f32x4(u[i], u[i + 4], 0xDD)); }
    for (int i = 0; i < 2; i++) { w[i] = _mm512_add_ps(_mm512_unpacklo_ps(v[i], v[i + 2]), _mm512_unpackhi_ps(v[i], v[i + 2])); }
    const __m512 sums = _mm512_add_ps(_mm512_unpacklo_ps(w[0], w[1]), _mm512_unpackhi_ps(w[0], w[1]));
    return _mm512_shuffle_f32x4(sums, sums, 0xD8);
}

static inline void imesli_row(const char * row, size_t ahead, __m512 * x) {
    __builtin_prefetch(row + ahead);
    __builtin_prefetch(row + ahead + 64);
    for (int i = 0; i < IMESLI_ROW; i++) { x[i] = _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *) row + i)); }
}

template <int N>
static void imesli_attend_in_registers(const imesli_head & h) {
    alignas(64) float score[N][IMESLI_PART];
    __m512 q[N][IMESLI_ROW], out[N][IMESLI_ROW], part[N][16];
    float max[N], sum[N];
    for (int n = 0; n < N; n++) {
        for (int i = 0; i < IMESLI_ROW; i++) {
            q[n][i] = _mm512_mul_ps(_mm512_loadu_ps((const float *) (h.q + n*h.q_row) + 16*i), _mm512_set1_ps(h.scale));
            out[n][i] = _mm512_setzero_ps();
        }
        max[n] = -INFINITY;
        sum[n] = 0.0f;
    }
    for (int begin = 0; begin < h.keys; begin += IMESLI_PART) {
        const int keys = MIN(IMESLI_PART, h.keys - begin);
        for (int first = 0; first < keys; first += 16) {
            const int some = MIN(16, keys - first);
            const __mmask16 there = (__mmask16) ((1u << some) - 1);
            for (int j = 0; j < some; j++) {
                __m512 k[IMESLI_ROW];
                imesli_row(h.k + (begin + first + j)*h.k_row, IMESLI_AHEAD*h.k_row, k);
                for (int n = 0; n < N; n++) {
                    __m512 sums = _mm512_mul_ps(k[0], q[n][0]);
                    for (int i = 1; i < IMESLI_ROW; i++) { sums = _mm512_fmadd_ps(k[i], q[n][i], sums); }
                    part[n][j] = sums;
                }
            }
            for (int n = 0; n < N; n++) {
                for (int j = some; j < 16; j++) { part[n][j] = _mm512_setzero_ps(); }
                __m512 scores = imesli_sums(part[n]);
                if (h.mask) {
                    const __m256i mask = _mm256_maskz_loadu_epi16(there, (const ggml_fp16_t *) (h.mask + n*h.mask_row) + begin + first);
                    scores = _mm512_add_ps(scores, _mm512_cvtph_ps(mask));
                }
                _mm512_store_ps(score[n] + first, _mm512_mask_mov_ps(_mm512_set1_ps(-INFINITY), there, scores));
            }
        }
        for (int n = 0; n < N; n++) {
            __m512 top = _mm512_set1_ps(max[n]);
            for (int j = 0; j < keys; j += 16) { top = _mm512_max_ps(top, _mm512_load_ps(score[n] + j)); }
            const float now = _mm512_reduce_max_ps(top);
            // Every key so far is masked: all weights are exp(−∞).
            const float least = now == -INFINITY ? 0.0f : now;
            __m512 total = _mm512_setzero_ps();
            for (int j = 0; j < keys; j += 16) {
                const __m512 p = ggml_v_expf(_mm512_sub_ps(_mm512_load_ps(score[n] + j), _mm512_set1_ps(least)));
                _mm512_store_ps(score[n] + j, p);
                total = _mm512_add_ps(total, p);
            }
            const float fade = expf(max[n] - least);
            sum[n] = sum[n]*fade + _mm512_reduce_add_ps(total);
            max[n] = now;
            for (int i = 0; i < IMESLI_ROW; i++) { out[n][i] = _mm512_mul_ps(out[n][i], _mm512_set1_ps(fade)); }
        }
        for (int j = 0; j < keys; j++) {
            __m512 v[IMESLI_ROW];
            imesli_row(h.v + (begin + j)*h.v_row, IMESLI_AHEAD*h.v_row, v);
            for (int n = 0; n < N; n++) {
                const __m512 p = _mm512_set1_ps(score[n][j]);
                for (int i = 0; i < IMESLI_ROW; i++) { out[n][i] = _mm512_fmadd_ps(v[i], p, out[n][i]); }
            }
        }
    }
    for (int n = 0; n < N; n++) {
        const __m512 scale = _mm512_set1_ps(sum[n] == 0.0f ? 0.0f : 1.0f/sum[n]);
        for (int i = 0; i < IMESLI_ROW; i++) { _mm512_storeu_ps((float *) (h.out + n*h.out_row) + 16*i, _mm512_mul_ps(out[n][i], scale)); }
    }
}

// As many queries at a time as registers hold.
static const int IMESLI_HELD = 5;

static void imesli_attend_held(const imesli_head & h) {
    switch (h.n) {
        case 1: imesli_attend_in_registers<1>(h); break;
        case 2: imesli_attend_in_registers<2>(h); break;
        case 3: imesli_attend_in_registers<3>(h); break;
        case 4: imesli_attend_in_registers<4>(h); break;
        default: imesli_attend_in_registers<IMESLI_HELD>(h); break;
    }
}
#endif

// Rows [begin, end) of `dst` = softmax(q·kᵀ·scale + mask)·v, as ggml_flash_attn_ext() lays them out; q f32, k and v f32 or f16.
// False where this is not the attention of a Whisper model (a bias or a soft cap, sinks, heads of other sizes).
static bool imesli_attention(ggml_tensor * dst, int begin, int end) {
    const ggml_tensor * q = dst->src[0], * k = dst->src[1], * v = dst->src[2], * mask = dst->src[3];
    float options[3]; // scale, bias, soft cap
    memcpy(options, dst->op_params, sizeof(options));
    const auto plain = [](ggml_type type) { return type == GGML_TYPE_F32 || type == GGML_TYPE_F16; };
    const int d = (int) q->ne[0];
    if (options[1] != 0.0f || options[2] != 0.0f || dst->src[4] || !plain(k->type) || !plain(v->type) || q->type != GGML_TYPE_F32
        || v->ne[0] != d || d%4 != 0 || d > IMESLI_HEAD || q->ne[2] != k->ne[2] || q->ne[3] != k->ne[3]
        || q->ne[2] != v->ne[2] || q->ne[3] != v->ne[3]) {
        return false;
    }
    const int rows = (int) q->ne[1], heads = (int) q->ne[2];
    for (int row = begin; row < end;) {
        const int i1 = row%rows, i2 = row/rows%heads, i3 = row/(rows*heads);
        imesli_head h;
        h.q = (const char *) q->data + i1*q->nb[1] + i2*q->nb[2] + i3*q->nb[3];
        h.k = (const char *) k->data + i2*k->nb[2] + i3*k->nb[3];
        h.v = (const char *) v->data + i2*v->nb[2] + i3*v->nb[3];
        h.q_row = q->nb[1], h.k_row = k->nb[1], h.v_row = v->nb[1];
        h.k_type = k->type, h.v_type = v->type;
        h.mask = !mask ? nullptr
            : (const char *) mask->data + i1*mask->nb[1] + i2%mask->ne[2]*mask->nb[2] + i3%mask->ne[3]*mask->nb[3];
        h.mask_row = mask ? mask->nb[1] : 0;
        h.out = (char *) dst->data + ((i3*dst->ne[2] + i1)*dst->ne[1] + i2)*dst->nb[1];
        h.out_row = dst->ne[1]*dst->nb[1];
        h.d = d, h.keys = (int) k->ne[1], h.scale = options[0];
        h.n = MIN(rows - i1, end - row);
#ifdef IMESLI_LANES
        if (!mask && h.n > IMESLI_FEW) {
            h.n = MIN(h.n, IMESLI_MANY);
            imesli_attend_many(h);
            row += h.n;
            continue;
        }
#endif
#ifdef IMESLI_REGISTERS_FEW
        if (d == 16*IMESLI_ROW && k->type == GGML_TYPE_F16 && v->type == GGML_TYPE_F16) {
            h.n = MIN(h.n, IMESLI_HELD);
            imesli_attend_held(h);
            row += h.n;
            continue;
        }
#endif
        h.n = MIN(h.n, IMESLI_FEW);
        imesli_attend_few(h);
        row += h.n;
    }
    return true;
}
