// An image under composition: what it is made from, and where its pixels go.
#pragma once
#include "scene/lattice.cuh"

#define PIXELS (PARAM_SIZE * PARAM_SIZE)
#define SEGMENTS ((PARAM_SIZE + 15) / 16)  // of a row, 16 pixels each
#define PITCH (4 * SEGMENTS)              // words from row to row of a plane
#define BACKGROUND (PARAM_NOISE ? PALETTE : 0)  // entries of the background, before those of the attractors

#if OUT_BYTES == 1
typedef u8 Out;
#elif OUT_BYTES == 2
typedef u16 Out;
#else
typedef u32 Out;
#endif

struct Image {
    const int* scene;    // record, in shared memory
    const int* objects;   // records, in shared memory
    const u32* palette;  // of the background, then of every attractor, in shared memory
    const u8* density;
    const u16* lattice;
    Level last;
};

// Where the pixels of a strip go: to the image, or first to planes in shared memory, to be blurred.
struct Target {
    Out* out;
    const Out* values;
    u32 (*planes)[COMPOSE_ROWS + 2][PITCH];
};

// Four pixels of a channel to the image.
__device__ __forceinline__ void store(const Target& t, int channel, int row, int c, u32 bytes) {
    const int pixel = row * PARAM_SIZE + c;
#if OUT_BYTES == 1 && !OUT_CHANNELS_LAST && PARAM_SIZE % 4 == 0
    if (PARAM_SIZE % 16 == 0 || c < PARAM_SIZE) *reinterpret_cast<u32*>(t.out + channel * PIXELS + pixel) = bytes;
#else
#pragma unroll
    for (int i = 0; i < 4; ++i) {
        const u32 byte = bytes >> (8 * i) & 255;
        if (PARAM_SIZE % 16 != 0 && c + i >= PARAM_SIZE) continue;
        const Out value = OUT_BYTES == 1 ? (Out)byte : t.values[channel * 256 + byte];
        t.out[OUT_CHANNELS_LAST ? (pixel + i) * 3 + channel : channel * PIXELS + pixel + i] = value;
    }
#endif
}

// 16 pixels of a channel to the image.
__device__ __forceinline__ void store_segment(const Target& t, int channel, int row, int c, const u32* bytes) {
#if OUT_BYTES == 1 && !OUT_CHANNELS_LAST && PARAM_SIZE % 16 == 0
    *reinterpret_cast<uint4*>(t.out + channel * PIXELS + row * PARAM_SIZE + c) =
        make_uint4(bytes[0], bytes[1], bytes[2], bytes[3]);
#else
#pragma unroll
    for (int k = 0; k < 4; ++k) store(t, channel, row, c + 4 * k, bytes[k]);
#endif
}
