// One step of the chaos game, the inner loop of both the scouts and the orbits that are drawn.
#pragma once
#include "arithmetic.cuh"

// Eight maps x' = a x + b y + e, y' = c x + d y + f and the table that chooses among them. Rows of
// 16 bytes: the eight rows of either array lie in distinct banks, so whatever maps the lanes of a
// warp choose, a load of one row each is free of conflicts.
struct Table {
    float4 linear[8];  // a, b, c, d
    float4 rest[8];    // e, f, choice (int bits), unused
};

// Column u >> 13 of 16 random bits u keeps its own map while u << 8 <= choice, else it yields map
// choice & 7. `bits` is u << 8.
__device__ __forceinline__ void advance(const Table& table, u32 bits, float& x, float& y) {
    int column = (int)(bits >> 21);
    int choice = __float_as_int(table.rest[column].z);
    int map = (int)bits <= choice ? column : choice & 7;
    float4 m = table.linear[map];
    float2 t = *reinterpret_cast<const float2*>(&table.rest[map]);
    float px = x;
    x = FMA(m.x, px, FMA(m.y, y, t.x));
    y = FMA(m.z, px, FMA(m.w, y, t.y));
}

// The 16 bits of step k, 0..7, of a block of four words, moved to bits 8..23.
__device__ __forceinline__ u32 choice_bits(const Words& words, int k) {
    u32 word = words.w[k >> 1];
    return k & 1 ? word >> 8 & 0xFFFF00u : word << 8 & 0xFFFF00u;
}
