// A product of two matrices in q8_0 (blocks of 32 bytes with one scale) by the dot-product instructions of AVX-512
// (VNNI), in place of llamafile's kernel, which takes 32 bytes at a time with a sign to be moved over for each, and
// reads all weights again for every four columns and once more for a fifth: the step of a beam search.
// Exact in the integers; sums of blocks in 32-bit floats, as there.
// Included by ggml-cpu/llamafile/sgemm.cpp (see apply.cmake).
#pragma once

#if defined(__AVX512F__) && defined(__AVX512BW__) && defined(__AVX512DQ__) && defined(__AVX512VNNI__) && defined(__F16C__)
#define IMESLI_Q8

// Two blocks of a column, as the instructions want them. They multiply unsigned by signed bytes: the weights are
// raised by 128, and `start` takes the 128 · Σ of the column's bytes off again.
struct alignas(64) imesli_pair {
    int8_t  q[64];
    int32_t start[16];
    float   scale[16];
};

static const int IMESLI_ROWS = 4;    // of weights, at a time in registers
static const int IMESLI_COLUMNS = 4; // with so many columns
static const int IMESLI_GROUP = 16;  // columns that the weights are read for once; their pairs stay in the cache
static const int IMESLI_BLOCKS = 160; // the longest rows, 5120 values: those of whisper-large

static void imesli_unpack(const block_q8_0 * column, int blocks, imesli_pair * out) {
    for (int p = 0; p < (blocks + 1)/2; p++) {
        for (int half = 0; half < 2; half++) {
            const bool there = 2*p + half < blocks;
            const block_q8_0 * block = column + 2*p + (there ? half : 0);
            const float scale = there ? GGML_CPU_FP16_TO_FP32(block->d) : 0.0f;
            for (int i = 0; i < 8; i++) {
                int sum = 0;
                for (int j = 0; j < 4; j++) {
                    const int8_t q = there ? block->qs[4*i + j] : 0;
                    out[p].q[32*half + 4*i + j] = q;
                    sum += q;
                }
                out[p].start[8*half + i] = -128*sum;
                out[p].scale[8*half + i] = scale;
            }
        }
    }
}

// c[j*ldc + i] = row i of the weights · column j, for R rows and N columns; a column's pairs are `stride` apart.
template <int R, int N>
static inline void imesli_q8_tile(const block_q8_0 * a, int64_t lda, int blocks, const imesli_pair * b, int stride, float * c, int64_t ldc) {
    __m512 acc[R][N];
    for (int r = 0; r < R; r++) {
        for (int n = 0; n < N; n++) { acc[r][n] = _mm512_setzero_ps(); }
    }
    const __m512i raise = _mm512_set1_epi8((char) 0x80);
    for (int p = 0; p < (blocks + 1)/2; p++) {
        __m512i q[R];
        __m512  scale[R];
        for (int r = 0; r < R; r++) {
            const block_q8_0 * one = a + r*lda + 2*p;
            const block_q8_0 * two = 2*p + 1 < blocks ? one + 1 : one; // the column's half is zero then
            const __m512i pair = _mm512_inserti64x4(_mm512_castsi256_si512(_mm256_loadu_si256((const __m256i *) one->qs)),
                _mm256_loadu_si256((const __m256i *) two->qs), 1);
            q[r] = _mm512_xor_si512(pair, raise);
            scale[r] = _mm512_insertf32x8(_mm512_set1_ps(GGML_CPU_FP16_TO_FP32(one->d)),
                _mm256_set1_ps(GGML_CPU_FP16_TO_FP32(two->d)), 1);
        }
        for (int n = 0; n < N; n++) {
            const imesli_pair & column = b[n*stride + p];
            const __m512i bytes = _mm512_load_si512(column.q);
            const __m512i start = _mm512_load_si512(column.start);
            const __m512 column_scale = _mm512_load_ps(column.scale);
            for (int r = 0; r < R; r++) {
                const __m512 dot = _mm512_cvtepi32_ps(_mm512_dpbusd_epi32(start, q[r], bytes));
                acc[r][n] = _mm512_fmadd_ps(dot, _mm512_mul_ps(scale[r], column_scale), acc[r][n]);
            }
        }
    }
    for (int r = 0; r < R; r++) {
        for (int n = 0; n < N; n++) { c[n*ldc + r] = _mm512_reduce_add_ps(acc[r][n]); }
    }
}

template <int N>
static void imesli_q8_rows(const block_q8_0 * a, int64_t lda, int blocks, int64_t rows, const imesli_pair * b, int stride, float * c, int64_t ldc) {
    int64_t i = 0;
    for (; i + IMESLI_ROWS <= rows; i += IMESLI_ROWS) { imesli_q8_tile<IMESLI_ROWS, N>(a + i*lda, lda, blocks, b, stride, c + i, ldc); }
    for (; i < rows; i++) { imesli_q8_tile<1, N>(a + i*lda, lda, blocks, b, stride, c + i, ldc); }
}

// C [n][m] = B [n][k] · A [m][k]ᵀ in blocks of 32 values, this thread's part of it. False for longer rows than
// IMESLI_BLOCKS, and then in every thread.
static bool imesli_q8_product(int64_t m, int64_t n, int64_t k, const block_q8_0 * a, int64_t lda, const block_q8_0 * b, int64_t ldb,
                              float * c, int64_t ldc, int ith, int nth) {
    if (k > IMESLI_BLOCKS) { return false; }
    imesli_pair pairs[IMESLI_GROUP*IMESLI_BLOCKS/2]; // 240 KB, of which a model touches what its rows need
    const int blocks = (int) k, stride = (blocks + 1)/2;
    // Threads share the columns where there are many, else the rows.
    const bool wide = n >= (int64_t) IMESLI_GROUP*nth;
    const int64_t groups = (n + IMESLI_GROUP - 1)/IMESLI_GROUP, quads = (m + IMESLI_ROWS - 1)/IMESLI_ROWS;
    const int64_t first_group = wide ? groups*ith/nth : 0, end_group = wide ? groups*(ith + 1)/nth : groups;
    const int64_t first_row = wide ? 0 : quads*ith/nth*IMESLI_ROWS, end_row = wide ? m : MIN(m, quads*(ith + 1)/nth*IMESLI_ROWS);
    const int64_t at_once = 64; // rows that stay in the cache while a group's columns go by
    for (int64_t group = first_group; group < end_group; group++) {
        const int64_t first = group*IMESLI_GROUP, columns = MIN(IMESLI_GROUP, n - first);
        for (int64_t j = 0; j < columns; j++) { imesli_unpack(b + (first + j)*ldb, blocks, pairs + j*stride); }
        for (int64_t row = first_row; row < end_row; row += at_once) {
            const int64_t rows = MIN(at_once, end_row - row);
            for (int64_t j = 0; j < columns; j += IMESLI_COLUMNS) {
                const block_q8_0 * weights = a + row*lda;
                const imesli_pair * part = pairs + j*stride;
                float * out = c + (first + j)*ldc + row;
                switch (MIN(IMESLI_COLUMNS, columns - j)) {
                    case 1: imesli_q8_rows<1>(weights, lda, blocks, rows, part, stride, out, ldc); break;
                    case 2: imesli_q8_rows<2>(weights, lda, blocks, rows, part, stride, out, ldc); break;
                    case 3: imesli_q8_rows<3>(weights, lda, blocks, rows, part, stride, out, ldc); break;
                    default: imesli_q8_rows<4>(weights, lda, blocks, rows, part, stride, out, ldc); break;
                }
            }
        }
    }
    return true;
}
#endif
