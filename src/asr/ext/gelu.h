// GELU by the error function, x/2 · (1 + erf(x/√2)), within 2e-7 of it. Written without branches and calls, so that
// the compiler turns ggml's loop around it into vector instructions; erff() is a call for every element.
// Included by ggml-cpu/vec.h (see apply.cmake).
#pragma once

#include <stdint.h>
#include <string.h>

// erf by Abramowitz and Stegun, 7.1.26: erfc(z) = (a1·t + … + a5·t^5) · exp(−z²), t = 1/(1 + p·z), |error| ≤ 1.5e-7.
// exp(−z²) as 2^n · 2^f, f in [−½, ½], by its Taylor series.
static inline float imesli_gelu(float x) {
    const float z = (x < 0.0f ? -x : x) * 0.70710678f;
    const float t = 1.0f / (1.0f + 0.3275911f * z);
    const float series = t * (0.254829592f + t * (-0.284496736f + t * (1.421413741f + t * (-1.453152027f + t * 1.061405429f))));

    float y = -z * z;
    y = y < -87.0f ? -87.0f : y;
    const float round   = 12582912.0f; // 1.5 · 2^23: adding it rounds to an integer in the low bits
    const float shifted = y * 1.44269504f + round;
    const float n       = shifted - round;
    const float r       = y - n * 0.693359375f + n * 2.12194440e-4f; // ln 2 in two parts
    const float e       = 1.0f + r * (1.0f + r * (0.5f + r * (0.166666667f + r * (0.0416666667f + r * (0.00833333333f + r * 0.00138888889f)))));
    int32_t bits;
    memcpy(&bits, &shifted, sizeof(bits));
    bits = (int32_t) (((uint32_t) bits - 0x4B400000u + 127u) << 23); // 0x4B400000 are the bits of `round`
    float power;
    memcpy(&power, &bits, sizeof(power));

    const float half_erfc = 0.5f * x * series * e * power;
    return x < 0.0f ? half_erfc : x - half_erfc;
}
