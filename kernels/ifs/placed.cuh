// Placed objects: resized (bilinear, black around them) and pasted where they are not black.
// Twin: `place` in fracgen/formulas/ifs/compose.py.
#pragma once
#include "scene/image.cuh"

#define BACKGROUND (PARAM_NOISE ? PALETTE : 0)  // entries of the background, before those of the attractors

struct Image {
    const int* scene;    // record, in shared memory
    const int* objects;  // records, in shared memory
    const u32* palette;  // of the background, then of every attractor, in shared memory
    const u8* density;
    const u16* lattice;
    Level last;
};

// Where the pixels of a strip go: to the image, or first to planes in shared memory, to be blurred.
struct Strip : Target {
    u32 (*planes)[COMPOSE_ROWS + 2][PITCH];
};

// Bilinear taps of a pixel: two cells and the second's weight in 256ths.
__device__ __forceinline__ void taps(int place, int step, int& first, int& second, int& weight) {
    const int position = max(0, place * step + (step >> 1) - 32768);
    first = min(position >> 16, PARAM_CANVAS - 1);
    second = min(first + 1, PARAM_CANVAS - 1);
    weight = position >> 8 & 255;
}

// A placed attractor's colour at a pixel of its image; 0 where it is black or not there.
__device__ inline u32 placed(const Image& p, int slot, int r, int c) {
    const int* obj = p.objects + slot * OBJECT_FIELDS;
    const u8* density = p.density + slot * PARAM_CANVAS * PARAM_CANVAS;
    const u32* palette = p.palette + BACKGROUND + DENSITIES * slot;
    const int side = obj[OBJECT_SIDE];
    c -= obj[OBJECT_LEFT];
    if (c < 0 || c >= side) return 0;
    const int step = (PARAM_CANVAS << 16) / side;
    int r0, r1, down, c0, c1, right;
    taps(r - obj[OBJECT_TOP], step, r0, r1, down);
    taps(c, step, c0, c1, right);
    const int d[4] = {density[r0 * PARAM_CANVAS + c0], density[r0 * PARAM_CANVAS + c1], density[r1 * PARAM_CANVAS + c0],
                      density[r1 * PARAM_CANVAS + c1]};
    if ((d[0] | d[1] | d[2] | d[3]) == 0) return 0;
    u32 texel[4];
#pragma unroll
    for (int k = 0; k < 4; ++k) texel[k] = palette[d[k]];
    u32 result = 0;
#pragma unroll
    for (int k = 0; k < 3; ++k) {
        const int shift = 8 * k;
        const int top = (texel[0] >> shift & 255) * (256 - right) + (texel[1] >> shift & 255) * right;
        const int bottom = (texel[2] >> shift & 255) * (256 - right) + (texel[3] >> shift & 255) * right;
        result |= (u32)((top * (256 - down) + bottom * down + 32768) >> 16) << shift;
    }
    return result;
}

// Objects that may show in 16 pixels of row r from column c on: bit `slot` is set.
__device__ inline u32 placed_here(const Image& p, int r, int c) {
    u32 here = 0;
    for (int slot = 0; slot < p.scene[SCENE_OBJECTS]; ++slot) {
        const int* obj = p.objects + slot * OBJECT_FIELDS;
        const int side = obj[OBJECT_SIDE], down = r - obj[OBJECT_TOP], left = obj[OBJECT_LEFT];
        if (down >= 0 && down < side && c + 16 > left && c < left + side) here |= 1u << slot;
    }
    return here;
}

// Paste what shows in 16 pixels of row r of the image from column 16 g on, which lie in the planes' row `row`; and
// their mask, where one is asked for.
__device__ inline void place_segment(const Image& p, const Strip& t, int r, int g, int row, u8* mask) {
    const u32 here = placed_here(p, r, 16 * g);
    if (here == 0 && !mask) return;
    for (int c = 16 * g; c < min(16 * g + 16, PARAM_SIZE); ++c) {
        u32 value = 0;
        for (u32 slots = here; slots && !value;) {  // the last one placed is on top
            const int slot = 31 - __clz(slots);
            slots ^= 1u << slot;
            value = placed(p, slot, r, c);
        }
        if (mask) mask[r * PARAM_SIZE + c] = value != 0;
        if (!value) continue;
#pragma unroll
        for (int k = 0; k < 3; ++k) reinterpret_cast<u8*>(t.planes[k][row])[c] = (u8)(value >> (8 * k));
    }
}
