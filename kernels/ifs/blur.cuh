// The 3x3 Gaussian of `compose`: columns first, two to a word with all of their fraction, then along the row by dot
// products; rounded once. Twin: `blur` in fracgen/formulas/ifs/compose.py.
#pragma once
#include "ifs/placed.cuh"

#define HALVES 0x00FF00FFu
#define BLUR_ROWS 16  // rows that a thread blurs in one go

// Eight columns of a row, and their neighbours, two to a word: pixels 0 2, 1 3, 4 6, 5 7, and those before and after.
struct Columns { u32 w[5]; };

__device__ __forceinline__ Columns load_columns(const u32* row, int g) {
    const u8* bytes = reinterpret_cast<const u8*>(row);
    const u32 a = row[2 * g], b = row[2 * g + 1];
    const u32 left = bytes[g > 0 ? 8 * g - 1 : 1], right = bytes[8 * g + 8 == PARAM_SIZE ? 8 * g + 6 : min(8 * g + 8, 4 * PITCH - 1)];
    return {{a & HALVES, a >> 8 & HALVES, b & HALVES, b >> 8 & HALVES, left | right << 16}};
}

// The eight pixels blurred along the row: the weights sum to 256, twice.
__device__ __forceinline__ void blur_along(const Columns& v, u32 outer, u32 inner, u32& a, u32& b) {
    const u32 both = outer | outer << 8, second = inner << 8;
    const u32 *w = v.w, half = 32768;
    const u32 p0 = dot_halves(merge_bytes(w[4], w[1], 0x5410), both, dot_halves(w[0], inner, half));
    const u32 p1 = dot_halves(w[0], both, dot_halves(w[1], inner, half));
    const u32 p2 = dot_halves(w[1], both, dot_halves(w[0], second, half));
    const u32 p3 = dot_halves(merge_bytes(w[0], w[2], 0x5432), both, dot_halves(w[1], second, half));
    const u32 p4 = dot_halves(merge_bytes(w[1], w[3], 0x5432), both, dot_halves(w[2], inner, half));
    const u32 p5 = dot_halves(w[2], both, dot_halves(w[3], inner, half));
    const u32 p6 = dot_halves(w[3], both, dot_halves(w[2], second, half));
    const u32 p7 = dot_halves(merge_bytes(w[2], w[4], 0x7632), both, dot_halves(w[3], second, half));
    a = merge_bytes(merge_bytes(p0, p1, 0x0062), merge_bytes(p2, p3, 0x0062), 0x5410);
    b = merge_bytes(merge_bytes(p4, p5, 0x0062), merge_bytes(p6, p7, 0x0062), 0x5410);
}

// Blur the strip's rows 1 .. rows and store them from row `first` of the image on.
__device__ inline void blur(const Strip& t, int first, int rows, u32 outer) {
    const u32 inner = 256 - 2 * outer;
    const int groups = (PARAM_SIZE + 7) / 8, parts = (rows + BLUR_ROWS - 1) / BLUR_ROWS;
    for (int i = (int)threadIdx.x; i < 3 * parts * groups; i += COMPOSE_THREADS) {
        const int g = i % groups, k = i / groups % 3, start = i / groups / 3 * BLUR_ROWS;
        Columns above = load_columns(t.planes[k][start], g), here = load_columns(t.planes[k][start + 1], g);
        for (int row = start; row < min(start + BLUR_ROWS, rows); ++row) {
            const Columns below = load_columns(t.planes[k][row + 2], g);
            Columns sums;
#pragma unroll
            for (int j = 0; j < 5; ++j) sums.w[j] = (above.w[j] + below.w[j]) * outer + here.w[j] * inner;
            u32 a, b;
            blur_along(sums, outer, inner, a, b);
            store(t, k, first + row, 8 * g, a);
            store(t, k, first + row, 8 * g + 4, b);
            above = here, here = below;
        }
    }
}
