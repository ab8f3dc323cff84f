// Compose images: colour, background, placed attractors, blur, store. Twin: fracgen/rendering/cpu/compose.py.
//
// One block a strip of COMPOSE_ROWS rows of a image. A thread colours four pixels of a row at a
// time; the strip lies in shared memory, a plane a channel, four pixels to a word, with a row above
// and below it where the image is blurred. The blur works on two pixels in the 16-bit halves of a
// word. The image is stored once, through the table of output values that makes any type and
// normalisation. Bound by issue (about 50 integer operations a pixel, 20 more with blur).
#include "arithmetic.cuh"
#include "parameters.cuh"

#define PIXELS (PARAM_SIZE * PARAM_SIZE)
#define GROUPS ((PARAM_SIZE + 3) / 4)  // of four pixels a row
#define HALVES 0x00FF00FFu
#define SEGMENT_ROWS 8  // rows that a thread blurs in one go

#if OUT_BYTES == 1
typedef u8 Out;
#elif OUT_BYTES == 2
typedef u16 Out;
#else
typedef u32 Out;
#endif

struct Image {
    const int* scene;   // record, in shared memory
    const int* objects;  // records, in shared memory
    const u32* orders;  // see `rgb`
    const u8* density;
    const i16* noise;
};

// Value darkened by saturation * t / 30.
__device__ __forceinline__ int shade(int saturation, int value, int t) {
    const int dark = (saturation * t * 2185 + 32768) >> 16;
    return ((value * (255 - dark) + 128) * 257) >> 16;
}

// HSV to RGB in the three low bytes: hue in [0, 180) steps of 2 degrees. In every sixth of the circle
// one channel is the value, one fully darkened and one on the way; `orders` says which is which.
__device__ __forceinline__ u32 rgb(const u32* orders, int hue, int saturation, int value) {
    const int sixth = (hue * 2185) >> 16, along = hue - 30 * sixth;
    const int middle = shade(saturation, value, sixth & 1 ? along : 30 - along), low = shade(saturation, value, 30);
    return pick_bytes(value | middle << 8 | low << 16, orders[sixth]);
}

__device__ __forceinline__ u32 order_of_sixth(int i) {
    return i == 0 ? 0x4210u : i == 1 ? 0x4201u : i == 2 ? 0x4102u : i == 3 ? 0x4012u : i == 4 ? 0x4021u : 0x4120u;
}

__device__ __forceinline__ int clamp(int v) { return max(0, min(v, 255)); }

__device__ __forceinline__ int wrap(int hue) {
    const int h = hue & 255;
    return h >= 180 ? h - 180 : h;
}

// The colour of an attractor's density (where above 0), else of the background's noise.
__device__ __forceinline__ u32 colour(const Image& p, const int* obj, int density, int noise) {
    int hue = 0, saturation = 0, value = 0;
    if (PARAM_NOISE) {
        hue = (noise * p.scene[SCENE_HUE_SCALE] + p.scene[SCENE_HUE_SHIFT]) >> 20;
        saturation = clamp((noise * p.scene[SCENE_SATURATION_SCALE] + p.scene[SCENE_SATURATION_SHIFT]) >> 20);
        value = clamp((noise * p.scene[SCENE_VALUE_SCALE] + p.scene[SCENE_VALUE_SHIFT]) >> 20);
    }
    if (density > 0) {
        hue = density + obj[OBJECT_HUE];
        saturation = PARAM_GREY ? 0 : obj[OBJECT_SATURATION];
        value = PARAM_GREY ? 127 : obj[OBJECT_VALUE];
    }
    return rgb(p.orders, wrap(hue), saturation, value);
}

// Bilinear taps of a pixel: two cells and the second's weight in 256ths.
__device__ __forceinline__ void taps(int place, int step, int& first, int& second, int& weight) {
    const int position = max(0, place * step + (step >> 1) - 32768);
    first = min(position >> 16, PARAM_CANVAS - 1);
    second = min(first + 1, PARAM_CANVAS - 1);
    weight = position >> 8 & 255;
}

// A placed attractor's colour at a pixel; 0 where it is black or not there.
__device__ inline u32 placed(const Image& p, const int* obj, const u8* density, int r, int c) {
    const int side = obj[OBJECT_SIDE];
    r -= obj[OBJECT_TOP], c -= obj[OBJECT_LEFT];
    if (obj[OBJECT_CODE] < 0 || r < 0 || c < 0 || r >= side || c >= side) return 0;
    const int step = (PARAM_CANVAS << 16) / side;
    int r0, r1, down, c0, c1, right;
    taps(r, step, r0, r1, down);
    taps(c, step, c0, c1, right);
    const int d[4] = {density[r0 * PARAM_CANVAS + c0], density[r0 * PARAM_CANVAS + c1], density[r1 * PARAM_CANVAS + c0],
                      density[r1 * PARAM_CANVAS + c1]};
    if ((d[0] | d[1] | d[2] | d[3]) == 0) return 0;
    u32 texel[4];
#pragma unroll
    for (int k = 0; k < 4; ++k) texel[k] = d[k] > 0 ? colour(p, obj, d[k], 0) : 0;
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

// Four pixels from column c on, before the blur: their colours, and as a return value the bytes that
// say where an attractor is what one sees. Columns past the right edge are reflected.
__device__ inline u32 four_pixels(const Image& p, int r, int c, u32* out) {
    const i16* noise = p.noise + r * NOISE_STRIDE;
    const u8* density = p.density + (r + p.scene[SCENE_CROP_TOP]) * PARAM_CANVAS + p.scene[SCENE_CROP_LEFT];
    int x[4] = {0, 0, 0, 0}, d[4] = {0, 0, 0, 0};
#if PARAM_NOISE && PARAM_SIZE % 4 == 0 && NOISE_STRIDE % 4 == 0
    const uint2 four = *reinterpret_cast<const uint2*>(noise + c);
    x[0] = (int)(four.x << 16) >> 16, x[1] = (int)four.x >> 16;
    x[2] = (int)(four.y << 16) >> 16, x[3] = (int)four.y >> 16;
#elif PARAM_NOISE
    for (int k = 0; k < 4; ++k) x[k] = noise[c + k < PARAM_SIZE ? c + k : 2 * PARAM_SIZE - 2 - c - k];
#endif
#if !PARAM_PLACED && PARAM_SIZE % 4 == 0 && PARAM_CANVAS == PARAM_SIZE
    const u32 bytes = *reinterpret_cast<const u32*>(density + c);
#pragma unroll
    for (int k = 0; k < 4; ++k) d[k] = bytes >> (8 * k) & 255;
#elif !PARAM_PLACED
    for (int k = 0; k < 4; ++k) d[k] = density[c + k < PARAM_SIZE ? c + k : 2 * PARAM_SIZE - 2 - c - k];
#endif
    u32 shown = 0;
#pragma unroll
    for (int k = 0; k < 4; ++k) {
        u32 value = 0;
        if (PARAM_PLACED) {
            const int column = c + k < PARAM_SIZE ? c + k : 2 * PARAM_SIZE - 2 - c - k;
            for (int slot = p.scene[SCENE_OBJECTS] - 1; slot >= 0 && value == 0; --slot)
                value = placed(p, p.objects + slot * OBJECT_FIELDS, p.density + slot * PARAM_CANVAS * PARAM_CANVAS, r,
                               column);
            d[k] = value != 0;
        }
        if (!PARAM_PLACED || value == 0) value = colour(p, p.objects, PARAM_PLACED ? 0 : d[k], x[k]);
        out[k] = value;
        shown |= (u32)(d[k] > 0) << (8 * k);
    }
    return shown;
}

// Two pixels in the halves of a word: outer * (a + c) + inner * b, rounded to bytes. The weights sum
// to 256, so a half holds the sum.
__device__ __forceinline__ u32 weigh(u32 a, u32 b, u32 c, u32 outer, u32 inner) {
    return ((a + c) * outer + b * inner + 0x00800080u) >> 8 & HALVES;
}

// Four pixels of a row blurred along it: pixels 0 and 2 in `even`, 1 and 3 in `odd`.
__device__ __forceinline__ void blur_along(const u32* row, int g, u32 outer, u32 inner, u32& even, u32& odd) {
    const u32 word = row[g];
    const u32 left = g > 0 ? row[g - 1] >> 24 : word >> 8 & 255;
    const u32 right = g < GROUPS - 1 ? row[g + 1] & 255 : word >> 16 & 255;
    const u32 e = word & HALVES, o = word >> 8 & HALVES;
    even = weigh(o << 16 | left, e, o, outer, inner);
    odd = weigh(e, o, e >> 16 | right << 16, outer, inner);
}

__device__ __forceinline__ void store(Out* out, const Out* values, const u32* planes, int row, int c) {
    const int pixel = row * PARAM_SIZE + c;
#pragma unroll
    for (int k = 0; k < 3; ++k) {
#if OUT_BYTES == 1 && !OUT_CHANNELS_LAST && PARAM_SIZE % 4 == 0
        *reinterpret_cast<u32*>(out + k * PIXELS + pixel) = planes[k];
#else
#pragma unroll
        for (int i = 0; i < 4; ++i) {
            const u32 byte = planes[k] >> (8 * i) & 255;
            const Out value = OUT_BYTES == 1 ? (Out)byte : values[k * 256 + byte];
            if (PARAM_SIZE % 4 == 0 || c + i < PARAM_SIZE)
                out[OUT_CHANNELS_LAST ? (pixel + i) * 3 + k : k * PIXELS + pixel + i] = value;
        }
#endif
    }
}

extern "C" __global__ void __launch_bounds__(COMPOSE_THREADS) compose(
    const int* scenes, const int* objects, const u8* density, const i16* noise, const Out* values, Out* out, u8* masks,
    int* codes
) {
    __shared__ u32 plain[3][COMPOSE_ROWS + 2][GROUPS];
    __shared__ u32 blurred[3][COMPOSE_ROWS][GROUPS];
    __shared__ int scene[SCENE_FIELDS];
    __shared__ int obj[PARAM_MAX_OBJECTS * OBJECT_FIELDS];
    __shared__ u32 orders[6];

    const u32 image = blockIdx.y, tid = threadIdx.x;
    for (u32 i = tid; i < SCENE_FIELDS; i += COMPOSE_THREADS) scene[i] = scenes[image * SCENE_FIELDS + i];
    for (u32 i = tid; i < PARAM_MAX_OBJECTS * OBJECT_FIELDS; i += COMPOSE_THREADS)
        obj[i] = objects[image * PARAM_MAX_OBJECTS * OBJECT_FIELDS + i];
    if (tid < 6) orders[tid] = order_of_sixth((int)tid);
    __syncthreads();
    if (codes && blockIdx.x == 0 && image % PARAM_VIEWS == 0 && tid < PARAM_MAX_OBJECTS)
        codes[image / PARAM_VIEWS * PARAM_MAX_OBJECTS + tid] = obj[tid * OBJECT_FIELDS + OBJECT_CODE];

    const Image own = {scene, obj, orders, density + (u64)image * PARAM_MAX_OBJECTS * PARAM_CANVAS * PARAM_CANVAS,
                         noise + (u64)image * NOISE_CELLS};
    const int first = (int)blockIdx.x * COMPOSE_ROWS, rows = min(COMPOSE_ROWS, PARAM_SIZE - first);
    const u32 outer = scene[SCENE_BLUR], inner = 256 - 2 * outer;

    // Rows first - 1 .. first + rows of the image, reflected at its edges, to rows 0 .. rows + 1.
    const int margin = outer > 0;
    for (int i = (int)tid; i < (rows + 2 * margin) * GROUPS; i += COMPOSE_THREADS) {
        const int row = i / GROUPS + 1 - margin, g = i % GROUPS;
        int r = first + row - 1;
        r = r < 0 ? -r : r >= PARAM_SIZE ? 2 * PARAM_SIZE - 2 - r : r;
        u32 pixel[4];
        const u32 shown = four_pixels(own, r, 4 * g, pixel);
#pragma unroll
        for (int k = 0; k < 3; ++k) {
            u32 word = 0;
#pragma unroll
            for (int j = 0; j < 4; ++j) word |= (pixel[j] >> (8 * k) & 255) << (8 * j);
            plain[k][row][g] = word;
        }
        if (masks && row >= 1 && row <= rows)
            for (int j = 0; j < 4 && 4 * g + j < PARAM_SIZE; ++j)
                masks[(u64)image * PIXELS + r * PARAM_SIZE + 4 * g + j] = shown >> (8 * j) & 1;
    }
    __syncthreads();

    if (margin) {
        const int segments = (rows + SEGMENT_ROWS - 1) / SEGMENT_ROWS;
        for (int i = (int)tid; i < 3 * segments * GROUPS; i += COMPOSE_THREADS) {
            const int g = i % GROUPS, k = i / GROUPS % 3, start = i / GROUPS / 3 * SEGMENT_ROWS;
            u32 even[3], odd[3];
            blur_along(plain[k][start], g, outer, inner, even[0], odd[0]);
            blur_along(plain[k][start + 1], g, outer, inner, even[1], odd[1]);
            for (int row = start; row < min(start + SEGMENT_ROWS, rows); ++row) {
                blur_along(plain[k][row + 2], g, outer, inner, even[2], odd[2]);
                blurred[k][row][g] = weigh(even[0], even[1], even[2], outer, inner) |
                                     weigh(odd[0], odd[1], odd[2], outer, inner) << 8;
                even[0] = even[1], even[1] = even[2], odd[0] = odd[1], odd[1] = odd[2];
            }
        }
        __syncthreads();
    }

    for (int i = (int)tid; i < rows * GROUPS; i += COMPOSE_THREADS) {
        const int row = i / GROUPS, g = i % GROUPS;
        u32 planes[3];
#pragma unroll
        for (int k = 0; k < 3; ++k) planes[k] = margin ? blurred[k][row][g] : plain[k][row + 1][g];
        store(out + (u64)image * 3 * PIXELS, values, planes, first + row, 4 * g);
    }
}
