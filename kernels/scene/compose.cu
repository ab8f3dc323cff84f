// Compose images: background, attractors, blur, store. Twin: fracgen/rendering/cpu/compose.py.
//
// One block a strip of COMPOSE_ROWS rows of an image. A thread makes 16 pixels of a row at a time: it doubles
// the noise's lattice for the last time and looks colours up in palettes that lie in shared memory. What
// is not blurred is stored at once; else the strip, a plane a channel, four pixels to a word, lies in shared
// memory with a row above and below it. A thread then blurs eight columns, two to a word with all of their
// fraction, and along the row by dot products. The image is stored once, through the table of output values
// that makes any type and normalisation. Bound by issue.
#include "scene/blur.cuh"
#include "scene/image.cuh"
#include "scene/placed.cuh"

// Byte k of four words, as a word.
__device__ __forceinline__ void transpose(const u32* pixel, u32& red, u32& green, u32& blue) {
    const u32 a = merge_bytes(pixel[0], pixel[1], 0x5140), b = merge_bytes(pixel[2], pixel[3], 0x5140);
    red = merge_bytes(a, b, 0x5410), green = merge_bytes(a, b, 0x7632);
    blue = merge_bytes(merge_bytes(pixel[0], pixel[1], 0x0062), merge_bytes(pixel[2], pixel[3], 0x0062), 0x5410);
}

// Densities of four pixels of row r from column c on, where the only attractor is as large as the image or larger.
__device__ __forceinline__ u32 four_densities(const Image& p, int r, int c) {
    const u8* density = p.density + (r + p.scene[SCENE_CROP_TOP]) * PARAM_CANVAS + p.scene[SCENE_CROP_LEFT] + c;
#if PARAM_SIZE % 4 == 0 && PARAM_CANVAS == PARAM_SIZE
    return c < PARAM_SIZE ? *reinterpret_cast<const u32*>(density) : 0;
#else
    u32 bytes = 0;
#pragma unroll
    for (int k = 0; k < 4; ++k) bytes |= c + k < PARAM_SIZE ? (u32)density[k] << (8 * k) : 0;
    return bytes;
#endif
}

// Colour 16 pixels of row r of the image from column 16 g on, given their noise: the background, and over it the
// attractor where there is only one. `row` is the strip's row.
template <bool TO_PLANES>
__device__ inline void colour_segment(const Image& p, const Target& t, int r, int g, const u32* noise, int row) {
    const char* palette = reinterpret_cast<const char*>(p.palette);
    u32 planes[3][4];
#pragma unroll
    for (int k = 0; k < 4; ++k) {
        const u32 bytes = PARAM_PLACED ? 0 : four_densities(p, r, 16 * g + 4 * k);
        u32 pixel[4];
#pragma unroll
        for (int j = 0; j < 4; ++j) {
            // Bytes from the palette's beginning to a colour: of the noise, and in its place of a density.
            u32 offset = PARAM_NOISE ? pick_bytes(noise[2 * k + j / 2] & 0xFFFCFFFC, j & 1 ? 0x4432 : 0x4410) : 0;
            const u32 density = pick_bytes(bytes, 0x4440 | j);
            if (!PARAM_PLACED && (density || !PARAM_NOISE)) offset = 4 * BACKGROUND + 4 * density;
            pixel[j] = PARAM_PLACED && !PARAM_NOISE ? 0 : *reinterpret_cast<const u32*>(palette + offset);
        }
        transpose(pixel, planes[0][k], planes[1][k], planes[2][k]);
    }
#pragma unroll
    for (int k = 0; k < 3; ++k) {
        if (TO_PLANES)
            *reinterpret_cast<uint4*>(&t.planes[k][row][4 * g]) =
                make_uint4(planes[k][0], planes[k][1], planes[k][2], planes[k][3]);
        else store_segment(t, k, r, 16 * g, planes[k]);
    }
}

// Colour rows first .. last - 1 of the image, counted beyond its edges, where it is reflected; rows of one parity
// are neighbours in the order of threads, because they need different noise.
template <bool TO_PLANES>
__device__ inline void colour_rows(const Image& p, const Target& t, int first, int last, int strip, u8* masks) {
    const int evens = (last + 1) / 2 - (first + 1) / 2;  // first is -1 or more
    for (int i = (int)threadIdx.x; i < (last - first) * SEGMENTS; i += COMPOSE_THREADS) {
        const int line = i / SEGMENTS, g = i % SEGMENTS;
        const int row = line < evens ? (first + 1) / 2 * 2 + 2 * line : (first + 2) / 2 * 2 - 1 + 2 * (line - evens);
        int r = row < 0 ? -row : row;
        r = r >= PARAM_SIZE ? 2 * PARAM_SIZE - 2 - r : r;
        u32 noise[8];
        if (PARAM_NOISE) {
            const u16* centres = p.lattice + DIAMONDS;
            if (r & 1) odd_row(p.last, r >> 1, g, p.lattice, LATTICE_PITCH, centres, LATTICE_PITCH, noise);
            else even_row(p.last, r >> 1, g, p.lattice, LATTICE_PITCH, centres, LATTICE_PITCH, noise);
        }
        const bool inside = row == r && row >= strip && row < strip + COMPOSE_ROWS;
        colour_segment<TO_PLANES>(p, t, r, g, noise, row - strip + 1);
        if (PARAM_PLACED) place_segment(p, t, r, g, row - strip + 1, inside ? masks : nullptr);
    }
}

// The mask of rows first .. last - 1, where there is one attractor and it is not placed.
__device__ inline void mask_rows(const Image& p, int first, int last, u8* mask) {
    for (int i = first * PARAM_SIZE + (int)threadIdx.x; i < last * PARAM_SIZE; i += COMPOSE_THREADS)
        mask[i] = (four_densities(p, i / PARAM_SIZE, i % PARAM_SIZE & ~3) >> 8 * (i % PARAM_SIZE & 3) & 255) > 0;
}

extern "C" __global__ void __launch_bounds__(COMPOSE_THREADS) compose(
    u32 key0, u32 key1, u32 epoch, u32 stream, const u32* indices, const int* scenes, const int* objects,
    const u8* density, const u16* lattices, const u32* backgrounds, const u32* palettes, const Out* values, Out* out,
    u8* masks, int* codes
) {
    __shared__ uint4 planes[3 * (COMPOSE_ROWS + 2) * PITCH / 4];
    __shared__ uint4 palette[(BACKGROUND + DENSITIES * PARAM_MAX_OBJECTS) / 4];
    __shared__ int scene[SCENE_FIELDS];
    __shared__ int obj[PARAM_MAX_OBJECTS * OBJECT_FIELDS];

    const u32 image = blockIdx.y, tid = threadIdx.x, view = image % PARAM_VIEWS;
    for (u32 i = tid; i < SCENE_FIELDS; i += COMPOSE_THREADS) scene[i] = scenes[image * SCENE_FIELDS + i];
    for (u32 i = tid; i < PARAM_MAX_OBJECTS * OBJECT_FIELDS; i += COMPOSE_THREADS)
        obj[i] = objects[image * PARAM_MAX_OBJECTS * OBJECT_FIELDS + i];
    for (u32 i = tid; i < BACKGROUND / 4; i += COMPOSE_THREADS)
        palette[i] = reinterpret_cast<const uint4*>(backgrounds + (u64)image * PALETTE)[i];
    for (u32 i = tid; palettes && i < DENSITIES / 4 * PARAM_MAX_OBJECTS; i += COMPOSE_THREADS)
        palette[BACKGROUND / 4 + i] =
            reinterpret_cast<const uint4*>(palettes + (u64)image * DENSITIES * PARAM_MAX_OBJECTS)[i];
    __syncthreads();
    if (codes && blockIdx.x == 0 && view == 0 && tid < PARAM_MAX_OBJECTS)
        codes[image / PARAM_VIEWS * PARAM_MAX_OBJECTS + tid] = obj[tid * OBJECT_FIELDS + OBJECT_CODE];

    const Sample sample = {key0, key1, indices[image / PARAM_VIEWS], epoch, stream};
    const Image own = {scene, obj, reinterpret_cast<const u32*>(palette),
                         density + (u64)image * PARAM_MAX_OBJECTS * PARAM_CANVAS * PARAM_CANVAS,
                         lattices + (u64)image * NOISE_CELLS, level_of(PARAM_LEVELS - 1, scene, view, sample)};
    const Target target = {out + (u64)image * 3 * PIXELS, values,
                           reinterpret_cast<u32(*)[COMPOSE_ROWS + 2][PITCH]>(planes)};
    u8* mask = masks ? masks + (u64)image * PIXELS : nullptr;
    const int first = (int)blockIdx.x * COMPOSE_ROWS, rows = min(COMPOSE_ROWS, PARAM_SIZE - first);
    if (!PARAM_PLACED && mask) mask_rows(own, first, first + rows, mask);
    const u32 outer = scene[SCENE_BLUR];
    if (outer == 0 && !PARAM_PLACED) {
        colour_rows<false>(own, target, first, first + rows, first, mask);
        return;
    }
    const int margin = outer > 0;
    colour_rows<true>(own, target, first - margin, first + rows + margin, first, mask);
    __syncthreads();
    if (outer == 0) {
        for (int i = (int)tid; i < 3 * rows * SEGMENTS; i += COMPOSE_THREADS) {
            const int k = i % 3, row = i / 3 / SEGMENTS, g = i / 3 % SEGMENTS;
            store_segment(target, k, first + row, 16 * g, &target.planes[k][row + 1][4 * g]);
        }
        return;
    }
#if PARAM_SIZE % 8 != 0
    // The pixel past the right edge, which the last one looks at: a reflection.
    for (int i = (int)tid; i < 3 * (rows + 2); i += COMPOSE_THREADS) {
        u8* row = reinterpret_cast<u8*>(target.planes[i % 3][i / 3]);
        row[PARAM_SIZE] = row[PARAM_SIZE - 2];
    }
    __syncthreads();
#endif
    blur(target, first, rows, outer);
}
