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

// A choice as a `Table` holds it: the other map's number becomes its row's offset in bytes.
__device__ __forceinline__ float table_choice(int choice) { return __int_as_float((choice & ~7) | (choice & 7) << 4); }

struct Map { float4 linear; float2 rest; };

// Column u >> 13 of 16 random bits u keeps its own map while u << 8 <= choice, else it yields the
// choice's own. `bits` is u << 8.
__device__ __forceinline__ Map choose(const Table& table, u32 bits) {
    const char* linear = reinterpret_cast<const char*>(table.linear);
    const char* rest = reinterpret_cast<const char*>(table.rest);
    const u32 column = bits >> 17 & 0x70;
    const int choice = *reinterpret_cast<const int*>(rest + column + 8);
    const u32 map = (int)bits <= choice ? column : (u32)choice & 0x70;
    return {*reinterpret_cast<const float4*>(linear + map), *reinterpret_cast<const float2*>(rest + map)};
}

__device__ __forceinline__ void advance(const Map& m, float& x, float& y) {
    const float px = x;
    x = FMA(m.linear.x, px, FMA(m.linear.y, y, m.rest.x));
    y = FMA(m.linear.z, px, FMA(m.linear.w, y, m.rest.y));
}

// The 16 bits of step k, 0..7, of a block of four words, moved to bits 8..23.
__device__ __forceinline__ u32 choice_bits(const Words& words, int k) {
    return pick_bytes(words.w[k >> 1], k & 1 ? 0x4324 : 0x4104);
}
