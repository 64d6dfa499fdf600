// Products of packed weights in q8_0 (packed.h) with columns in q8_0: exact in the integers of a block, sums of blocks in
// 32-bit floats, as ggml does it. One lane of a register for each row: no sum goes across lanes.
// Included by q8.h, once for each instruction set that it may choose, in a namespace of its own: IMESLI_USE_VNNI says which.
//
// AVX-512 with VNNI multiplies unsigned by signed bytes and adds four of them to a lane in one instruction; AVX2 wants three.

#if IMESLI_USE_VNNI
static const int IMESLI_LANES_Q8 = 16;
static const int IMESLI_AT_ONCE = 6; // columns, with two tiles: 24 sums stay in registers
static const int IMESLI_TILES = 2;
typedef __m512i imesli_ints;
typedef __m512  imesli_floats;
static inline imesli_ints imesli_all(int32_t x) { return _mm512_set1_epi32(x); }
static inline imesli_ints imesli_bytes(const void * p) { return _mm512_loadu_si512(p); }
static inline imesli_floats imesli_scales(const void * p) { return _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *) p)); }
static inline imesli_floats imesli_nothing() { return _mm512_setzero_ps(); }
// Weights are stored raised by 128, unsigned: a block's sum begins with −128 · Σ of the column's bytes.
static const int IMESLI_FLIP = 0x80;
static const int IMESLI_RAISED = 128;
static inline imesli_ints imesli_dot(imesli_ints sum, imesli_ints weights, imesli_ints column) { return _mm512_dpbusd_epi32(sum, weights, column); }
static inline imesli_floats imesli_add(imesli_floats sum, imesli_ints dot, imesli_floats scale, float column_scale) {
    return _mm512_fmadd_ps(_mm512_cvtepi32_ps(dot), _mm512_mul_ps(scale, _mm512_set1_ps(column_scale)), sum);
}
static inline void imesli_put(float * p, imesli_floats x) { _mm512_storeu_ps(p, x); }

#else
static const int IMESLI_LANES_Q8 = 8;
static const int IMESLI_AT_ONCE = 2; // columns, with one tile: 8 sums in 16 registers
static const int IMESLI_TILES = 1;
typedef __m256i imesli_ints;
typedef __m256  imesli_floats;
static inline imesli_ints imesli_all(int32_t x) { return _mm256_set1_epi32(x); }
static inline imesli_ints imesli_bytes(const void * p) { return _mm256_loadu_si256((const __m256i *) p); }
static inline imesli_floats imesli_scales(const void * p) { return _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *) p)); }
static inline imesli_floats imesli_nothing() { return _mm256_setzero_ps(); }
// Weights are signed: |w| · sign(x, w), of which no pair leaves 16 bits.
static const int IMESLI_FLIP = 0;
static const int IMESLI_RAISED = 0;
static inline imesli_ints imesli_dot(imesli_ints sum, imesli_ints weights, imesli_ints column) {
    const __m256i pairs = _mm256_maddubs_epi16(_mm256_sign_epi8(weights, weights), _mm256_sign_epi8(column, weights));
    return _mm256_add_epi32(sum, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
}
static inline imesli_floats imesli_add(imesli_floats sum, imesli_ints dot, imesli_floats scale, float column_scale) {
    return _mm256_fmadd_ps(_mm256_cvtepi32_ps(dot), _mm256_mul_ps(scale, _mm256_set1_ps(column_scale)), sum);
}
static inline void imesli_put(float * p, imesli_floats x) { _mm256_storeu_ps(p, x); }
#endif

static const int IMESLI_GROUP = 48;        // columns that the weights are read for once; they stay in the cache
static const int IMESLI_REGISTERS = IMESLI_TILE_ROWS/IMESLI_LANES_Q8; // of one tile

// Columns as the kernel wants them: bytes, and for each block a scale and what its sum begins with.
struct imesli_columns {
    int8_t  q[IMESLI_GROUP][IMESLI_MOST_BLOCKS*IMESLI_BLOCK];
    float   scale[IMESLI_GROUP][IMESLI_MOST_BLOCKS];
    int32_t start[IMESLI_GROUP][IMESLI_MOST_BLOCKS];
};

static void imesli_unpack(const block_q8_0 * column, int blocks, int n, imesli_columns & out) {
    for (int b = 0; b < blocks; b++) {
        memcpy(out.q[n] + b*IMESLI_BLOCK, column[b].qs, IMESLI_BLOCK);
        int sum = 0;
        for (int i = 0; i < IMESLI_BLOCK; i++) { sum += column[b].qs[i]; }
        out.scale[n][b] = GGML_CPU_FP16_TO_FP32(column[b].d);
        out.start[n][b] = -IMESLI_RAISED*sum;
    }
}

// T tiles of rows with N columns, the first of which is `first`.
template <int T, int N>
static inline void imesli_tiles(const uint8_t * a, int blocks, const imesli_columns & b, int first, float * c, int64_t c_row) {
    constexpr int R = T*IMESLI_REGISTERS;
    imesli_floats acc[R][N];
    for (int r = 0; r < R; r++) {
        for (int n = 0; n < N; n++) { acc[r][n] = imesli_nothing(); }
    }
    for (int p = 0; p < blocks; p++) {
        imesli_ints sum[R][N];
        for (int n = 0; n < N; n++) {
            for (int r = 0; r < R; r++) { sum[r][n] = imesli_all(b.start[first + n][p]); }
        }
        const uint8_t * tile[T];
        for (int t = 0; t < T; t++) { tile[t] = a + ((int64_t) t*blocks + p)*IMESLI_TILE_BYTES; }
        for (int j = 0; j < IMESLI_BLOCK/4; j++) {
            imesli_ints weights[R];
            for (int r = 0; r < R; r++) {
                weights[r] = imesli_bytes(tile[r/IMESLI_REGISTERS] + 2*IMESLI_TILE_ROWS + 64*j + (r%IMESLI_REGISTERS)*4*IMESLI_LANES_Q8);
            }
            for (int n = 0; n < N; n++) {
                int32_t four;
                memcpy(&four, b.q[first + n] + p*IMESLI_BLOCK + 4*j, 4);
                const imesli_ints column = imesli_all(four);
                for (int r = 0; r < R; r++) { sum[r][n] = imesli_dot(sum[r][n], weights[r], column); }
            }
        }
        for (int r = 0; r < R; r++) {
            const imesli_floats scale = imesli_scales(tile[r/IMESLI_REGISTERS] + (r%IMESLI_REGISTERS)*2*IMESLI_LANES_Q8);
            for (int n = 0; n < N; n++) { acc[r][n] = imesli_add(acc[r][n], sum[r][n], scale, b.scale[first + n][p]); }
        }
    }
    for (int n = 0; n < N; n++) {
        for (int r = 0; r < R; r++) { imesli_put(c + n*c_row + r*IMESLI_LANES_Q8, acc[r][n]); }
    }
}

// All columns of the group from `first` on, N at a time; what is left over with fewer.
template <int T, int N>
static inline void imesli_all_columns(const uint8_t * a, int blocks, const imesli_columns & b, int first, int columns, float * c, int64_t c_row) {
    for (; first + N <= columns; first += N) { imesli_tiles<T, N>(a, blocks, b, first, c + first*c_row, c_row); }
    if constexpr (N > 1) {
        if (first < columns) { imesli_all_columns<T, N - 1>(a, blocks, b, first, columns, c, c_row); }
    }
}

static void imesli_product(int64_t m, int64_t n, int64_t blocks, const void * weights, const void * b, int64_t b_row, float * c,
                           int64_t c_row, int ith, int nth) {
    GGML_ASSERT(blocks <= IMESLI_MOST_BLOCKS); // others are not packed
    const uint8_t * a = (const uint8_t *) weights;
    const int64_t tiles = m/IMESLI_TILE_ROWS, pairs = (tiles + IMESLI_TILES - 1)/IMESLI_TILES;
    const auto column = [&](int64_t j) { return (const block_q8_0 *) ((const char *) b + j*b_row); };
    // Threads share the columns where there are many, else the rows.
    const bool wide = n >= (int64_t) IMESLI_GROUP*nth;
    const int64_t groups = (n + IMESLI_GROUP - 1)/IMESLI_GROUP;
    const int64_t first_group = wide ? groups*ith/nth : 0, end_group = wide ? groups*(ith + 1)/nth : groups;
    const int64_t first_tile = wide ? 0 : MIN(tiles, pairs*ith/nth*IMESLI_TILES);
    const int64_t end_tile = wide ? tiles : MIN(tiles, pairs*(ith + 1)/nth*IMESLI_TILES);
    imesli_columns unpacked; // 0.3 MB, of which a model touches what its rows need
    for (int64_t group = first_group; group < end_group; group++) {
        const int64_t first = group*IMESLI_GROUP;
        const int columns = (int) MIN(IMESLI_GROUP, n - first);
        for (int j = 0; j < columns; j++) { imesli_unpack(column(first + j), (int) blocks, j, unpacked); }
        float * out = c + first*c_row;
        int64_t t = first_tile;
        for (; t + IMESLI_TILES <= end_tile; t += IMESLI_TILES) {
            imesli_all_columns<IMESLI_TILES, IMESLI_AT_ONCE>(a + t*blocks*IMESLI_TILE_BYTES, (int) blocks, unpacked, 0, columns,
                out + t*IMESLI_TILE_ROWS, c_row);
        }
        for (; t < end_tile; t++) {
            imesli_all_columns<1, IMESLI_AT_ONCE>(a + t*blocks*IMESLI_TILE_BYTES, (int) blocks, unpacked, 0, columns,
                out + t*IMESLI_TILE_ROWS, c_row);
        }
    }
    // The rows that are left over, as ggml has them.
    for (int64_t row = tiles*IMESLI_TILE_ROWS + ith; row < m; row += nth) {
        for (int64_t j = 0; j < n; j++) {
            ggml_vec_dot_q8_0_q8_0((int) (blocks*IMESLI_BLOCK), c + j*c_row + row, 0, a + row*blocks*IMESLI_BLOCK_BYTES, 0, column(j), 0, 1);
        }
    }
}
