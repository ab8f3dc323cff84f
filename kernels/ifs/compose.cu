// Compose images: background, attractors, blur, store. Twin: fracgen/formulas/ifs/compose.py.
//
// One block a strip of COMPOSE_ROWS rows of an image. A thread makes 16 pixels of a row at a time: it doubles
// the noise's lattice for the last time and looks colours up in palettes that lie in shared memory. What
// is not blurred is stored at once; else the strip, a plane a channel, four pixels to a word, lies in shared
// memory with a row above and below it. A thread then blurs eight columns, two to a word with all of their
// fraction, and along the row by dot products. The image is stored once, through the table of output values
// that makes any type and normalisation. Bound by issue.
#include "ifs/blur.cuh"

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
__device__ inline void colour_segment(const Image& p, const Strip& t, int r, int g, const u32* noise, int row) {
    const char* palette = reinterpret_cast<const char*>(p.palette);
    u32 planes[3][4];
#pragma unroll
    for (int k = 0; k < 4; ++k) {
        const u32 bytes = PARAM_PLACED ? 0 : four_densities(p, r, 16 * g + 4 * k);
        u32 pixel[4];
#pragma unroll
        for (int j = 0; j < 4; ++j) {
            // Bytes from the palette's beginning to a colour: of the noise, and in its place of a density.
            u32 offset = PARAM_NOISE ? noise_offset(noise, k, j) : 0;
            const u32 density = pick_bytes(bytes, 0x4440 | j);
            if (!PARAM_PLACED && (density || !PARAM_NOISE)) offset = 4 * BACKGROUND + 4 * density;
            const bool bare = !PARAM_NOISE && (PARAM_PLACED || PARAM_WHITE) && !density;  // entry 0 is black
            pixel[j] = bare ? (PARAM_WHITE ? 0xFFFFFFu : 0) : *reinterpret_cast<const u32*>(palette + offset);
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

// Colour rows first .. last - 1 of the image, counted beyond its edges, where it is reflected.
template <bool TO_PLANES>
__device__ inline void colour_rows(const Image& p, const Strip& t, int first, int last, int strip, u8* masks) {
    for (int i = (int)threadIdx.x; i < (last - first) * SEGMENTS; i += COMPOSE_THREADS) {
        const int line = i / SEGMENTS, g = i % SEGMENTS;
        const int row = row_of(line, first, last);
        int r = row < 0 ? -row : row;
        r = r >= PARAM_SIZE ? 2 * PARAM_SIZE - 2 - r : r;
        u32 noise[8];
        if (PARAM_NOISE) noise_segment(p.last, p.lattice, r, g, noise);
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
    for (u32 i = tid; i < DENSITIES / 4 * PARAM_MAX_OBJECTS; i += COMPOSE_THREADS)
        palette[BACKGROUND / 4 + i] =
            reinterpret_cast<const uint4*>(palettes + (u64)image * DENSITIES * PARAM_MAX_OBJECTS)[i];
    __syncthreads();
    if (codes && blockIdx.x == 0 && view == 0 && tid < PARAM_MAX_OBJECTS)
        codes[image / PARAM_VIEWS * PARAM_MAX_OBJECTS + tid] = obj[tid * OBJECT_FIELDS + OBJECT_CODE];

    const Sample sample = {key0, key1, indices[image / PARAM_VIEWS], epoch, stream};
    const Image own = {scene, obj, reinterpret_cast<const u32*>(palette),
                         density + (u64)image * PARAM_MAX_OBJECTS * PARAM_CANVAS * PARAM_CANVAS,
                         lattices + (u64)image * NOISE_CELLS, level_of(PARAM_LEVELS - 1, scene, view, sample)};
    const Strip target = {{out + (u64)image * 3 * PIXELS, values},
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
