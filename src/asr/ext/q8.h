// Which kernel multiplies packed weights in q8_0 (packed.h, q8_kernel.h): that of the instruction set that this file is
// compiled for, and on x86-64 that of AVX-512 with VNNI as well, which is taken where the processor has it. So one binary
// is fast on old machines and new ones.
// Included by ggml-cpu/llamafile/sgemm.cpp (see apply.cmake).
#pragma once

#include "packed.h"

#if defined(__AVX512F__) && defined(__AVX512BW__) && defined(__AVX512DQ__) && defined(__AVX512VNNI__) && defined(__F16C__)
#define IMESLI_Q8
#define IMESLI_USE_VNNI 1
namespace imesli_compiled {
#include "q8_kernel.h"
}
#elif defined(__AVX2__) && defined(__FMA__) && defined(__F16C__)
#define IMESLI_Q8
#define IMESLI_USE_VNNI 0
namespace imesli_compiled {
#include "q8_kernel.h"
}
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
#define IMESLI_Q8_CHOICE
#undef IMESLI_USE_VNNI
#define IMESLI_USE_VNNI 1
#pragma GCC push_options
#pragma GCC target("avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,f16c,fma")
namespace imesli_chosen {
#include "q8_kernel.h"
}
#pragma GCC pop_options
#endif
#endif

#if defined(IMESLI_Q8_CHOICE)
static bool imesli_has_vnni() {
    static const bool has = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq")
        && __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512vnni");
    return has;
}
#endif

extern "C" { extern const char imesli_packed = 0; }

extern "C" int imesli_packed_flip(void) {
#if defined(IMESLI_Q8_CHOICE)
    if (imesli_has_vnni()) { return imesli_chosen::IMESLI_FLIP; }
#endif
#if defined(IMESLI_Q8)
    return imesli_compiled::IMESLI_FLIP;
#else
    return -1;
#endif
}

extern "C" void imesli_packed_product(int64_t m, int64_t n, int64_t blocks, const void * a, const void * b, int64_t b_row, float * c,
                                      int64_t c_row, int ith, int nth) {
#if defined(IMESLI_Q8_CHOICE)
    if (imesli_has_vnni()) { return imesli_chosen::imesli_product(m, n, blocks, a, b, b_row, c, c_row, ith, nth); }
#endif
#if defined(IMESLI_Q8)
    imesli_compiled::imesli_product(m, n, blocks, a, b, b_row, c, c_row, ith, nth);
#else
    GGML_UNUSED(m), GGML_UNUSED(n), GGML_UNUSED(blocks), GGML_UNUSED(a), GGML_UNUSED(b), GGML_UNUSED(b_row), GGML_UNUSED(c);
    GGML_UNUSED(c_row), GGML_UNUSED(ith), GGML_UNUSED(nth);
    GGML_ABORT("nothing is packed on this processor");
#endif
}
