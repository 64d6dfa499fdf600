// Both kernels of src/asr/ext/q8.h beside the sum that they stand for, in one program: a build for this machine has only
// one of them. Built and run by tools/check-kernels.sh; prints what each multiplies in a second.
#include <immintrin.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <vector>

// What q8.h finds in ggml.
#define MIN(a, b) ((a) < (b) ? (a) : (b))
#define GGML_ASSERT(x) do { if (!(x)) { abort(); } } while (0)
#define GGML_CPU_FP16_TO_FP32(x) _cvtsh_ss(x)
struct block_q8_0 {
    uint16_t d;
    int8_t   qs[32];
};
static double formula(const block_q8_0 * a, const block_q8_0 * b, int blocks) {
    double sum = 0;
    for (int i = 0; i < blocks; i++) {
        int dot = 0;
        for (int j = 0; j < 32; j++) { dot += a[i].qs[j]*b[i].qs[j]; }
        sum += (double) dot*_cvtsh_ss(a[i].d)*_cvtsh_ss(b[i].d);
    }
    return sum;
}
static void ggml_vec_dot_q8_0_q8_0(int n, float * s, size_t, const void * x, size_t, const void * y, size_t, int) {
    *s = (float) formula((const block_q8_0 *) x, (const block_q8_0 *) y, n/32);
}
#include "../../src/asr/ext/q8.h"

template <typename Product> static int check(const char * name, int flip, Product product) {
    uint32_t state = 7;
    const auto random = [&] { return (int) ((state = state*1664525u + 1013904223u) >> 24) - 128; };
    int failed = 0;
    for (const int width : { 32, 96, 768 }) {
        for (const int rows : { 16, 37, 1024 }) {
            for (const int n : { 1, 2, 3, 5, 7, 48, 50, 300 }) {
                const int blocks = width/32;
                std::vector<block_q8_0> a((size_t) rows*blocks), b((size_t) n*blocks);
                for (auto * matrix : { &a, &b }) {
                    for (auto & block : *matrix) {
                        block.d = _cvtss_sh(0.01f + 0.001f*(float) (random() & 15), 0);
                        for (auto & q : block.qs) { q = (int8_t) std::max(random(), -127); }
                    }
                }
                std::vector<block_q8_0> packed = a;
                for (int tile = 0; tile < rows/16; tile++) {
                    imesli_pack_tile((const uint8_t *) &a[(size_t) tile*16*blocks], blocks, (uint8_t *) &packed[(size_t) tile*16*blocks], (uint8_t) flip);
                }
                std::vector<float> c((size_t) rows*n, NAN);
                const auto begin = std::chrono::steady_clock::now();
                for (int thread = 0; thread < 3; thread++) { product(rows, n, blocks, packed.data(), b.data(), blocks*34, c.data(), rows, thread, 3); }
                const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
                double far = 0;
                for (int j = 0; j < n; j++) {
                    for (int i = 0; i < rows; i++) {
                        const double wanted = formula(&a[(size_t) i*blocks], &b[(size_t) j*blocks], blocks);
                        const double difference = std::fabs(wanted - c[(size_t) j*rows + i])/(1 + std::fabs(wanted));
                        if (!(difference <= far)) { far = difference; } // NaN, too
                    }
                }
                if (!(far < 1e-4)) {
                    printf("%s: %d x %d, %d columns: off by %g\n", name, rows, width, n, far);
                    failed = 1;
                }
                if (width == 768 && rows == 1024 && n == 300) {
                    printf("%s: %.0f thousand million products a second on one core\n", name, 1e-9*rows*n*width/seconds);
                }
            }
        }
    }
    return failed;
}

int main() {
    int failed = check("AVX2", imesli_compiled::IMESLI_FLIP, imesli_compiled::imesli_product);
    if (imesli_has_vnni()) {
        failed |= check("AVX-512 with VNNI", imesli_chosen::IMESLI_FLIP, imesli_chosen::imesli_product);
    } else {
        printf("AVX-512 with VNNI: this processor has none, not run\n");
    }
    return failed;
}
