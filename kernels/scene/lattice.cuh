// Diamond-square noise on a lattice of uint16, two points to a word. Twin: fracgen/rendering/cpu/noise.py.
//
// A value counts 2048ths from -2.25 on and is 11,245 at most, so a half of a word holds the sum of four.
// One call of the generator and one thread make eight neighbouring points of a row. Rows begin at
// multiples of 16 bytes and have room past their last point, for the points that a thread makes too many.
#pragma once
#include "arithmetic.cuh"
#include "parameters.cuh"

#define LATTICE_HALF (1 << (PARAM_LEVELS - 1))            // cells a side before the last doubling
#define LATTICE_PITCH ((LATTICE_HALF + 23) / 8 * 8)      // points from row to row of what `noise` leaves
#define DIAMONDS ((LATTICE_HALF + 1) * LATTICE_PITCH)    // where its last diamonds begin, behind the lattice

enum { DIAMOND, HORIZONTAL, VERTICAL };

// Eight neighbouring points of a row.
struct Points { u32 w[4]; };

// One doubling of a lattice of m cells a side.
struct Level {
    int m;
    u32 slot;       // of its random numbers, of the diamonds
    u32 amplitude;  // twice the largest displacement, in 16ths of a step
    u32 shift;      // see `level_of`
    u32 view;
    Sample sample;
};

// The shift makes u * amplitude + shift, over 2^20, a displacement plus 1024 of 16 random bits u. Its last
// terms round to nearest, and take back the eighth of a step by which a mean that rounds halves up is too large.
__device__ __forceinline__ Level level_of(int level, const int* scene, u32 view, const Sample& sample) {
    const u32 amplitude = scene[SCENE_AMPLITUDES + level];
    const u32 shift = (1024u << 20) + (1u << 19) - (1u << 17) - (amplitude << 15);
    return {1 << level, 4u * level, amplitude, shift, view, sample};
}

__device__ __forceinline__ Points load_points(const u16* at) {
    const uint4 v = *reinterpret_cast<const uint4*>(at);
    return {{v.x, v.y, v.z, v.w}};
}

__device__ __forceinline__ void store_points(u16* at, const Points& p) {
    *reinterpret_cast<uint4*>(at) = make_uint4(p.w[0], p.w[1], p.w[2], p.w[3]);
}

// The second point of a word and the first of the next.
__device__ __forceinline__ u32 between(u32 word, u32 next) { return word >> 16 | next << 16; }

__device__ __forceinline__ Words random_points(const Level& l, u32 kind, int i, int g) {
    return draw(i * (l.m / 8 + 1) + g, PURPOSE_NOISE, l.slot + kind, l.view, l.sample);
}

// Means of four neighbours, given their sums, displaced by the random bits of a word.
__device__ __forceinline__ u32 displaced(const Level& l, u32 sums, u32 random) {
    const u32 means = (sums + 0x00020002u) >> 2 & 0x3FFF3FFFu;
    const u32 low = (random & 0xFFFFu) * l.amplitude + l.shift, high = (random >> 16) * l.amplitude + l.shift;
    return means + (low >> 20 | (high >> 4 & 0xFFFF0000u)) - 0x04000400u;
}

// Diamonds 8 g .. 8 g + 7 of row i; `coarse` is row i of the lattice from point 8 g on, `next` the row below.
__device__ __forceinline__ Points diamonds(const Level& l, int i, int g, const u16* coarse, const u16* next) {
    const Words random = random_points(l, DIAMOND, i, g);
    const Points a = load_points(coarse), b = load_points(next);
    u32 sums[5];
#pragma unroll
    for (int k = 0; k < 4; ++k) sums[k] = a.w[k] + b.w[k];
    sums[4] = *reinterpret_cast<const u32*>(coarse + 8) + *reinterpret_cast<const u32*>(next + 8);
    Points p;
#pragma unroll
    for (int k = 0; k < 4; ++k) p.w[k] = displaced(l, sums[k] + between(sums[k], sums[k + 1]), random.w[k]);
    return p;
}

// Points 16 g .. 16 g + 15 of row 2 i of the finer lattice: old points and those on the edges to their right.
__device__ __forceinline__ void even_row(
    const Level& l, int i, int g, const u16* coarse, int coarse_pitch, const u16* centres, int centre_pitch, u32* out
) {
    const Words random = random_points(l, HORIZONTAL, i, g);
    const u16* row = coarse + i * coarse_pitch + 8 * g;
    const Points own = load_points(row), up = load_points(centres + (i > 0 ? i - 1 : l.m - 1) * centre_pitch + 8 * g),
                 down = load_points(centres + (i < l.m ? i : 0) * centre_pitch + 8 * g);
    const u32 last = *reinterpret_cast<const u32*>(row + 8);
#pragma unroll
    for (int k = 0; k < 4; ++k) {
        const u32 right = between(own.w[k], k < 3 ? own.w[k + 1] : last);
        const u32 edge = displaced(l, up.w[k] + down.w[k] + own.w[k] + right, random.w[k]);
        out[2 * k] = merge_bytes(own.w[k], edge, 0x5410), out[2 * k + 1] = merge_bytes(own.w[k], edge, 0x7632);
    }
}

// The same of row 2 i + 1: points on the edges below old ones and the diamonds to their right.
__device__ __forceinline__ void odd_row(
    const Level& l, int i, int g, const u16* coarse, int coarse_pitch, const u16* centres, int centre_pitch, u32* out
) {
    const Words random = random_points(l, VERTICAL, i, g);
    const u16* row = coarse + i * coarse_pitch + 8 * g;
    const u16* centre = centres + i * centre_pitch;
    const Points above = load_points(row), below = load_points(row + coarse_pitch), own = load_points(centre + 8 * g);
    const u32 first = (u32)centre[(g > 0 ? 8 * g : l.m) - 1] << 16;
#pragma unroll
    for (int k = 0; k < 4; ++k) {
        const u32 left = between(k > 0 ? own.w[k - 1] : first, own.w[k]);
        const u32 edge = displaced(l, above.w[k] + below.w[k] + left + own.w[k], random.w[k]);
        out[2 * k] = merge_bytes(edge, own.w[k], 0x5410), out[2 * k + 1] = merge_bytes(edge, own.w[k], 0x7632);
    }
}
