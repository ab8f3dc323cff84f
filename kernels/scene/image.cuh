// Pixels of an image, 16 of a row at a time: their noise, and where they go.
#pragma once
#include "scene/lattice.cuh"

#define PIXELS (PARAM_SIZE * PARAM_SIZE)
#define SEGMENTS ((PARAM_SIZE + 15) / 16)  // of a row, 16 pixels each
#define PITCH (4 * SEGMENTS)              // words from row to row of a plane

#if OUT_BYTES == 1
typedef u8 Out;
#elif OUT_BYTES == 2
typedef u16 Out;
#else
typedef u32 Out;
#endif

struct Target {
    Out* out;           // the image
    const Out* values;  // the output value of each byte of each channel
};

// Byte k of four words, as a word.
__device__ __forceinline__ void transpose(const u32* pixel, u32& red, u32& green, u32& blue) {
    const u32 a = merge_bytes(pixel[0], pixel[1], 0x5140), b = merge_bytes(pixel[2], pixel[3], 0x5140);
    red = merge_bytes(a, b, 0x5410), green = merge_bytes(a, b, 0x7632);
    blue = merge_bytes(merge_bytes(pixel[0], pixel[1], 0x0062), merge_bytes(pixel[2], pixel[3], 0x0062), 0x5410);
}

// The `line`-th of rows first .. last - 1 in the order in which threads take them: those of one parity are neighbours,
// because they need different noise. `first` is -1 or more.
__device__ __forceinline__ int row_of(int line, int first, int last) {
    const int evens = (last + 1) / 2 - (first + 1) / 2;
    return line < evens ? (first + 1) / 2 * 2 + 2 * line : (first + 2) / 2 * 2 - 1 + 2 * (line - evens);
}

// Noise of 16 pixels of row r from column 16 g on: the last doubling of what `noise` left.
__device__ __forceinline__ void noise_segment(const Level& last, const u16* lattice, int r, int g, u32* noise) {
    const u16* centres = lattice + DIAMONDS;
    if (r & 1) odd_row(last, r >> 1, g, lattice, LATTICE_PITCH, centres, LATTICE_PITCH, noise);
    else even_row(last, r >> 1, g, lattice, LATTICE_PITCH, centres, LATTICE_PITCH, noise);
}

// Bytes from the beginning of a background's palette to the colour of pixel 4 k + j of 16, given their noise.
__device__ __forceinline__ u32 noise_offset(const u32* noise, int k, int j) {
    return pick_bytes(noise[2 * k + j / 2] & 0xFFFCFFFC, j & 1 ? 0x4432 : 0x4410);
}

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
