// Products of weights in f16 with a few columns, the step of a beam search: each weight is read and widened once for all
// columns, where llamafile's kernel reads them again for every few. Sums in 32-bit floats.
// Included by ggml-cpu/llamafile/sgemm.cpp (see apply.cmake).
#pragma once

#if defined(__AVX512F__) && defined(__F16C__)
#define IMESLI_F16
typedef __m512 imesli_half;
static const int IMESLI_HALF_LANES = 16;
static const int IMESLI_HALF_SUMS = 20; // that stay in registers
static inline imesli_half imesli_half_load(const ggml_fp16_t * p) { return _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *) p)); }
static inline imesli_half imesli_half_load(const float * p) { return _mm512_loadu_ps(p); }
static inline imesli_half imesli_half_zero() { return _mm512_setzero_ps(); }
static inline void imesli_half_store(float * p, imesli_half x) { _mm512_storeu_ps(p, x); }
#elif defined(__AVX2__) && defined(__FMA__) && defined(__F16C__)
#define IMESLI_F16
typedef __m256 imesli_half;
static const int IMESLI_HALF_LANES = 8;
static const int IMESLI_HALF_SUMS = 12;
static inline imesli_half imesli_half_load(const ggml_fp16_t * p) { return _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *) p)); }
static inline imesli_half imesli_half_load(const float * p) { return _mm256_loadu_ps(p); }
static inline imesli_half imesli_half_zero() { return _mm256_setzero_ps(); }
static inline void imesli_half_store(float * p, imesli_half x) { _mm256_storeu_ps(p, x); }
#endif

#if defined(IMESLI_F16)
static const int IMESLI_FEW_COLUMNS = 8;
static const int IMESLI_MOST_VALUES = 5120; // in a row: those of whisper-large

// c[n*ldc + r] = row r of the weights · column n, for R rows and N columns of k values.
template <int R, int N>
static inline void imesli_f16_rows(const ggml_fp16_t * a, int64_t lda, const float * b, int64_t k, float * c, int64_t ldc) {
    imesli_half acc[R][N];
    for (int r = 0; r < R; r++) {
        for (int n = 0; n < N; n++) { acc[r][n] = imesli_half_zero(); }
    }
    for (int64_t i = 0; i < k; i += IMESLI_HALF_LANES) {
        imesli_half w[R];
        for (int r = 0; r < R; r++) { w[r] = imesli_half_load(a + r*lda + i); }
        for (int n = 0; n < N; n++) {
            const imesli_half x = imesli_half_load(b + n*k + i);
            for (int r = 0; r < R; r++) { acc[r][n] = madd(w[r], x, acc[r][n]); }
        }
    }
    for (int r = 0; r < R; r++) {
        for (int n = 0; n < N; n++) { c[n*ldc + r] = hsum(acc[r][n]); }
    }
}

template <int N>
static void imesli_f16_columns(int64_t m, const ggml_fp16_t * a, int64_t lda, const float * b, int64_t k, float * c, int64_t ldc, int ith, int nth) {
    constexpr int R = IMESLI_HALF_SUMS/N < 4 ? IMESLI_HALF_SUMS/N : 4;
    const int64_t groups = (m + R - 1)/R, end = std::min(m, groups*(ith + 1)/nth*R);
    int64_t row = groups*ith/nth*R;
    for (; row + R <= end; row += R) { imesli_f16_rows<R, N>(a + row*lda, lda, b, k, c + row, ldc); }
    for (; row < end; row++) { imesli_f16_rows<1, N>(a + row*lda, lda, b, k, c + row, ldc); }
}

// C [n][m] = B [n][k] · A [m][k]ᵀ, this thread's part of it. False, in every thread, where another kernel is to do it.
static bool imesli_f16_product(int64_t m, int64_t n, int64_t k, const ggml_fp16_t * a, int64_t lda, const ggml_fp16_t * b, int64_t ldb,
                               float * c, int64_t ldc, int ith, int nth) {
    if (n < 2 || n > IMESLI_FEW_COLUMNS || k > IMESLI_MOST_VALUES || k%IMESLI_HALF_LANES != 0) { return false; }
    alignas(64) float columns[IMESLI_FEW_COLUMNS*IMESLI_MOST_VALUES]; // 160 KB, of which a model touches what its rows need
    for (int64_t j = 0; j < n; j++) {
        for (int64_t i = 0; i < k; i += IMESLI_HALF_LANES) { imesli_half_store(columns + j*k + i, imesli_half_load(b + j*ldb + i)); }
    }
    switch (n) {
        case 2: imesli_f16_columns<2>(m, a, lda, columns, k, c, ldc, ith, nth); break;
        case 3: imesli_f16_columns<3>(m, a, lda, columns, k, c, ldc, ith, nth); break;
        case 4: imesli_f16_columns<4>(m, a, lda, columns, k, c, ldc, ith, nth); break;
        case 5: imesli_f16_columns<5>(m, a, lda, columns, k, c, ldc, ith, nth); break;
        case 6: imesli_f16_columns<6>(m, a, lda, columns, k, c, ldc, ith, nth); break;
        case 7: imesli_f16_columns<7>(m, a, lda, columns, k, c, ldc, ith, nth); break;
        default: imesli_f16_columns<8>(m, a, lda, columns, k, c, ldc, ith, nth); break;
    }
    return true;
}
#endif
