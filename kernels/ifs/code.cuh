// One code made ready: jitter it, tabulate the choice of its maps.
// Twin: fracgen/formulas/ifs/code.py. One thread does this; it is a few hundred instructions an image.
#pragma once
#include "arithmetic.cuh"
#include "parameters.cuh"

// Order of a map's numbers in a bank: the rows (a, b, e) and (c, d, f) of a 2x3 matrix.
enum { A, B, E, C, D, F };

// Sum of the squared singular values of a map, and the absolute determinant.
__device__ inline void squares(const float* m, float& norm, float& det) {
    norm = FMA(m[A], m[A], FMA(m[B], m[B], FMA(m[C], m[C], MUL(m[D], m[D]))));
    det = fabsf(FMA(m[A], m[D], -MUL(m[B], m[C])));
}

// Whether no singular value exceeds 1.
__device__ inline bool contracts(const float (*maps)[6], int n) {
    for (int i = 0; i < n; ++i) {
        float norm, det;
        squares(maps[i], norm, det);
        if (!(det <= 1.0f && norm <= FMA(det, det, 1.0f))) return false;
    }
    return true;
}

__device__ inline float sigma(const float* m) {
    float norm, det;
    squares(m, norm, det);
    float total = SQRT(FMA(det, 2.0f, norm));
    float rest = FMA(det, -2.0f, norm);
    float difference = SQRT(rest > 0.0f ? rest : 0.0f);
    return FMA(total, 1.5f, MUL(difference, -0.5f));
}

// One try of the recipe's jitter.
__device__ inline void vary(const float (*code)[6], float (*maps)[6], int n, const Words& random) {
    const u32* w = random.w;
    if (PARAM_JITTER == JITTER_SCALE) {
        float* m = maps[below(w[0], n)];
        float factor = uniform(w[1], 0.8f, 1.1f);
        for (int k = 0; k < 6; ++k) m[k] = MUL(m[k], factor);
    } else if (PARAM_JITTER == JITTER_SVD) {
        int which = below(w[0], 3 * n);
        float* m = maps[which / 3];
        if (which % 3 == 2) {
            m[E] = ADD(m[E], uniform(w[1], -0.5f, 0.5f));
            m[F] = ADD(m[F], uniform(w[2], -0.5f, 0.5f));
            return;
        }
        float s, c;
        sin_cos(uniform(w[1], -0.5f, 0.5f), s, c);
        float a = m[A], b = m[B], cc = m[C], d = m[D];
        if (which % 3 == 0) {
            m[A] = FMA(c, a, -MUL(s, cc)), m[B] = FMA(c, b, -MUL(s, d));
            m[C] = FMA(s, a, MUL(c, cc)), m[D] = FMA(s, b, MUL(c, d));
        } else {
            m[A] = FMA(a, c, MUL(b, s)), m[B] = FMA(b, c, -MUL(a, s));
            m[C] = FMA(cc, c, MUL(d, s)), m[D] = FMA(d, c, -MUL(cc, s));
        }
    } else if (PARAM_JITTER == JITTER_SVAL) {
        int k = below(w[0], n);
        float total = 0.0f;
        for (int i = 0; i < n; ++i) total = ADD(total, sigma(code[i]));
        float own = sigma(code[k]);
        if (!(own > 0.0f)) return;
        float rest = SUB(own, total);
        float low = DIV(ADD(FMA((float)n, 0.5f, 2.5f), rest), own);
        float high = DIV(ADD(FMA((float)n, 0.5f, 3.0f), rest), own);
        float factor = uniform(w[1], low, high);
        maps[k][A] = MUL(maps[k][A], factor), maps[k][B] = MUL(maps[k][B], factor);
        maps[k][C] = MUL(maps[k][C], factor), maps[k][D] = MUL(maps[k][D], factor);
    } else if (PARAM_JITTER == JITTER_FRACTALDB) {
        float step = SUB((float)below(w[3], 5), 2.0f);
        float factor = FMA(step, PARAM_JITTER_STRENGTH, 1.0f);
        for (int i = 0; i < n; ++i) {
            u32 bits = i < 4 ? w[1] >> (8 * i) : w[0] >> (8 * (i - 4));
            u32 coefficient = (bits & 255u) * 6u >> 8;
            maps[i][coefficient] = MUL(maps[i][coefficient], factor);
        }
    }
}

__device__ inline void jitter(const float (*code)[6], float (*maps)[6], int n, u32 slot, const Sample& sample) {
    for (int attempt = 0; attempt <= JITTER_TRIES; ++attempt) {
        for (int i = 0; i < n; ++i)
            for (int k = 0; k < 6; ++k) maps[i][k] = code[i][k];
        if (PARAM_JITTER == JITTER_NONE || attempt == JITTER_TRIES) return;
        vary(code, maps, n, draw(attempt, PURPOSE_JITTER, slot, 0, sample));
        if (contracts(maps, n)) return;
    }
}

// Walker's alias table over eight columns of 8192, of a code's own probabilities or, where there are none, |det A|; see
// fracgen/formulas/ifs/code.py.
__device__ inline void choice_table(
    const float (*maps)[6], int n, const float* probabilities, float* weights, int* share, int* choices
) {
    float total = 0.0f;
    for (int i = 0; i < n; ++i) {
        float norm, det;
        squares(maps[i], norm, det);
        weights[i] = probabilities ? probabilities[i] : det;
        total = ADD(total, weights[i]);
    }
    if (!(total > 0.0f)) {
        for (int i = 0; i < n; ++i) weights[i] = 1.0f;
        total = (float)n;
    }
    int left = 65536, largest = 0;
    for (int i = 0; i < 8; ++i) {
        share[i] = 0;
        if (i >= n) continue;
        share[i] = (int)MUL(DIV(weights[i], total), 65536.0f);
        if (share[i] == 0 && weights[i] > 0.0f) share[i] = 1;
        left -= share[i];
        if (share[i] > share[largest]) largest = i;
    }
    share[largest] += left;

    u32 done = 0;
    for (int turn = 0; turn < 8; ++turn) {
        int low = -1, high = -1;
        for (int i = 0; i < 8; ++i) {
            if (done >> i & 1) continue;
            if (low < 0 || share[i] < share[low]) low = i;
            if (high < 0 || share[i] > share[high]) high = i;
        }
        done |= 1u << low;
        int own = share[low] < 8192 ? share[low] : 8192;
        choices[low] = (low * 8192 + own - 1) * 256 + high;
        share[high] -= 8192 - own;
    }
}
