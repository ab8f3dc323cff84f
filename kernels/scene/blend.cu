// Blend drawn solids over a background, each by its coverage, blur the picture and store it.
// Twin: fracgen/rendering/cpu/blend.py.
//
// One block a strip of BLEND_ROWS rows of a picture, which lies in shared memory with a row above and below
// it where the picture is blurred. Next to nothing beside the marching of its rays.
#include "arithmetic.cuh"
#include "parameters.cuh"

#define PIXELS (PARAM_SIZE * PARAM_SIZE)
#define CELLS (PARAM_CANVAS * PARAM_CANVAS)
#define SHOWN 128

#if OUT_BYTES == 1
typedef u8 Out;
#elif OUT_BYTES == 2
typedef u16 Out;
#else
typedef u32 Out;
#endif

// Bilinear taps of a pixel: two cells and the second's weight in 256ths.
__device__ __forceinline__ void taps(int place, int step, int& first, int& second, int& weight) {
    const int position = max(0, place * step + (step >> 1) - 32768);
    first = min(position >> 16, PARAM_CANVAS - 1);
    second = min(first + 1, PARAM_CANVAS - 1);
    weight = position >> 8 & 255;
}

__device__ __forceinline__ u32 placed(const int* obj, const u32* texture, int r, int c) {
    const int side = obj[OBJECT_SIDE];
    r -= obj[OBJECT_TOP], c -= obj[OBJECT_LEFT];
    if (r < 0 || c < 0 || r >= side || c >= side) return 0;
    const int step = (PARAM_CANVAS << 16) / side;
    int r0, r1, down, c0, c1, right;
    taps(r, step, r0, r1, down);
    taps(c, step, c0, c1, right);
    const u32 cell[4] = {texture[r0 * PARAM_CANVAS + c0], texture[r0 * PARAM_CANVAS + c1],
                         texture[r1 * PARAM_CANVAS + c0], texture[r1 * PARAM_CANVAS + c1]};
    u32 result = 0;
#pragma unroll
    for (int shift = 0; shift < 32; shift += 8) {
        const int above = (int)(cell[0] >> shift & 255) * (256 - right) + (int)(cell[1] >> shift & 255) * right;
        const int under = (int)(cell[2] >> shift & 255) * (256 - right) + (int)(cell[3] >> shift & 255) * right;
        result |= (u32)((above * (256 - down) + under * down + 32768) >> 16) << shift;
    }
    return result;
}

// Three bytes of a picture before the blur, and above them whether an object shows.
__device__ __forceinline__ u32 pixel(const int* scene, const int* objects, const u32* textures, const u8* backdrop,
                                     int r, int c) {
    u32 below[3];
#pragma unroll
    for (int k = 0; k < 3; ++k)
        below[k] = PARAM_NOISE ? backdrop[k * PIXELS + r * PARAM_SIZE + c] : PARAM_WHITE ? 255 : 0;
    u32 shown = 0;
    const int count = PARAM_PLACED ? scene[SCENE_OBJECTS] : 1;
    for (int slot = 0; slot < count; ++slot) {
        const u32 texel = PARAM_PLACED
            ? placed(objects + slot * OBJECT_FIELDS, textures + (u64)slot * CELLS, r, c)
            : textures[(r + scene[SCENE_CROP_TOP]) * PARAM_CANVAS + scene[SCENE_CROP_LEFT] + c];
        const u32 coverage = texel >> 24;
#pragma unroll
        for (int k = 0; k < 3; ++k)
            below[k] = (texel >> (8 * k) & 255) + (((255 - coverage) * below[k] + 128) * 257 >> 16);
        shown |= coverage >= SHOWN;
    }
    return below[0] | below[1] << 8 | below[2] << 16 | shown << 24;
}

__device__ __forceinline__ u32 weigh(u32 a, u32 b, u32 c, u32 outer, u32 inner) { return (a + c) * outer + b * inner; }

extern "C" __global__ void __launch_bounds__(BLEND_THREADS) blend(
    const int* scenes, const int* objects, const u32* textures, const u8* backdrops, const Out* values, Out* out,
    u8* masks, int* codes
) {
    __shared__ u8 plain[3][BLEND_ROWS + 2][PARAM_SIZE];
    __shared__ int scene[SCENE_FIELDS];
    __shared__ int object[PARAM_MAX_OBJECTS * OBJECT_FIELDS];

    const u32 picture = blockIdx.y, tid = threadIdx.x;
    for (u32 i = tid; i < SCENE_FIELDS; i += BLEND_THREADS) scene[i] = scenes[picture * SCENE_FIELDS + i];
    for (u32 i = tid; i < PARAM_MAX_OBJECTS * OBJECT_FIELDS; i += BLEND_THREADS)
        object[i] = objects[picture * PARAM_MAX_OBJECTS * OBJECT_FIELDS + i];
    __syncthreads();
    if (codes && blockIdx.x == 0 && picture % PARAM_VIEWS == 0 && tid < PARAM_MAX_OBJECTS)
        codes[picture / PARAM_VIEWS * PARAM_MAX_OBJECTS + tid] = object[tid * OBJECT_FIELDS + OBJECT_CODE];

    const u32* own = textures + (u64)picture * PARAM_MAX_OBJECTS * CELLS;
    const u8* backdrop = PARAM_NOISE ? backdrops + (u64)picture * 3 * PIXELS : nullptr;
    const int first = (int)blockIdx.x * BLEND_ROWS, rows = min(BLEND_ROWS, PARAM_SIZE - first);
    const u32 outer = scene[SCENE_BLUR], inner = 256 - 2 * outer;
    const int margin = outer > 0;

    // Rows first - 1 .. first + rows of the picture, reflected at its edges, to rows 0 .. rows + 1.
    for (int i = (int)tid; i < (rows + 2 * margin) * PARAM_SIZE; i += BLEND_THREADS) {
        const int row = i / PARAM_SIZE + 1 - margin, c = i % PARAM_SIZE;
        int r = first + row - 1;
        r = r < 0 ? -r : r >= PARAM_SIZE ? 2 * PARAM_SIZE - 2 - r : r;
        const u32 found = pixel(scene, object, own, backdrop, r, c);
#pragma unroll
        for (int k = 0; k < 3; ++k) plain[k][row][c] = (u8)(found >> (8 * k));
        if (masks && row >= 1 && row <= rows) masks[(u64)picture * PIXELS + r * PARAM_SIZE + c] = (u8)(found >> 24);
    }
    __syncthreads();

    Out* target = out + (u64)picture * 3 * PIXELS;
    for (int i = (int)tid; i < rows * PARAM_SIZE; i += BLEND_THREADS) {
        const int row = i / PARAM_SIZE + 1, c = i % PARAM_SIZE, at = (first + row - 1) * PARAM_SIZE + c;
        const int left = c > 0 ? c - 1 : 1, right = c < PARAM_SIZE - 1 ? c + 1 : PARAM_SIZE - 2;
#pragma unroll
        for (int k = 0; k < 3; ++k) {
            u32 byte = plain[k][row][c];
            if (margin) {
                const u8 *above = plain[k][row - 1], *here = plain[k][row], *below = plain[k][row + 1];
                const int columns[3] = {left, c, right};
                u32 sums[3];
#pragma unroll
                for (int j = 0; j < 3; ++j)
                    sums[j] = weigh(above[columns[j]], here[columns[j]], below[columns[j]], outer, inner);
                byte = (weigh(sums[0], sums[1], sums[2], outer, inner) + 32768) >> 16;
            }
            target[OUT_CHANNELS_LAST ? at * 3 + k : k * PIXELS + at] = OUT_BYTES == 1 ? (Out)byte : values[k * 256 + byte];
        }
    }
}
