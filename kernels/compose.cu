// Compose pictures: colour, background, placed attractors, blur, store. Twin: fracgen/renderer/compose.py.
//
// One block a strip of COMPOSE_ROWS rows of a picture. The strip is coloured in shared memory, with
// a row above and below it where the picture is blurred, and stored once, through the table of
// output values that makes any type and normalisation. Bound by issue (about 60 integer operations
// a pixel), then by the stores.
#include "arithmetic.cuh"
#include "plan.cuh"

#define STRIP (COMPOSE_ROWS + 2)
#define PIXELS (PLAN_SIZE * PLAN_SIZE)

#if OUT_BYTES == 1
typedef u8 Out;
#elif OUT_BYTES == 2
typedef u16 Out;
#else
typedef u32 Out;
#endif

struct Colour { int red, green, blue; };

// One channel of HSV to RGB: hue in [0, 180) steps of 2 degrees; phase 150 is red, 90 green, 30 blue.
__device__ __forceinline__ int channel(int hue, int saturation, int value, int phase) {
    int k = hue + phase;
    k = k >= 180 ? k - 180 : k;
    int t = min(k, 120 - k);
    t = max(0, min(t, 30));
    int dark = (saturation * t * 2185 + 32768) >> 16;
    return ((value * (255 - dark) + 128) * 257) >> 16;
}

__device__ __forceinline__ Colour hsv(int hue, int saturation, int value) {
    Colour c = {channel(hue, saturation, value, 150), channel(hue, saturation, value, 90),
                channel(hue, saturation, value, 30)};
    return c;
}

__device__ __forceinline__ int clamp(int v) { return max(0, min(v, 255)); }

__device__ __forceinline__ int wrap(int hue) {
    int h = hue & 255;
    return h >= 180 ? h - 180 : h;
}

__device__ __forceinline__ Colour own_colour(const int* layer, int density) {
    int saturation = PLAN_GREY ? 0 : layer[LAYER_SATURATION], value = PLAN_GREY ? 127 : layer[LAYER_VALUE];
    return hsv(wrap(density + layer[LAYER_HUE]), saturation, value);
}

__device__ __forceinline__ Colour background(const int* image, const i16* noise, int r, int c) {
    Colour black = {0, 0, 0};
    if (!PLAN_NOISE) return black;
    int x = noise[r * NOISE_STRIDE + c];
    int hue = (x * image[IMAGE_HUE_SCALE] + image[IMAGE_HUE_SHIFT]) >> 20;
    int saturation = (x * image[IMAGE_SATURATION_SCALE] + image[IMAGE_SATURATION_SHIFT]) >> 20;
    int value = (x * image[IMAGE_VALUE_SCALE] + image[IMAGE_VALUE_SHIFT]) >> 20;
    return hsv(wrap(hue), clamp(saturation), clamp(value));
}

// Bilinear taps of a pixel: two cells and the second's weight in 256ths.
__device__ __forceinline__ void taps(int place, int step, int& first, int& second, int& weight) {
    int position = max(0, place * step + (step >> 1) - 32768);
    first = min(position >> 16, PLAN_CANVAS - 1);
    second = min(first + 1, PLAN_CANVAS - 1);
    weight = position >> 8 & 255;
}

__device__ __forceinline__ int bilinear(int a, int b, int c, int d, int right, int down) {
    int top = a * (256 - right) + b * right, bottom = c * (256 - right) + d * right;
    return (top * (256 - down) + bottom * down + 32768) >> 16;
}

// A placed attractor's colour at a pixel; false where it is black there.
__device__ inline bool placed(const int* layer, const u8* density, int r, int c, Colour& colour) {
    const int side = layer[LAYER_SIDE];
    r -= layer[LAYER_TOP], c -= layer[LAYER_LEFT];
    if (layer[LAYER_CODE] < 0 || r < 0 || c < 0 || r >= side || c >= side) return false;
    const int step = (PLAN_CANVAS << 16) / side;
    int r0, r1, down, c0, c1, right;
    taps(r, step, r0, r1, down);
    taps(c, step, c0, c1, right);
    const int d00 = density[r0 * PLAN_CANVAS + c0], d01 = density[r0 * PLAN_CANVAS + c1];
    const int d10 = density[r1 * PLAN_CANVAS + c0], d11 = density[r1 * PLAN_CANVAS + c1];
    if ((d00 | d01 | d10 | d11) == 0) return false;
    const Colour none = {0, 0, 0};
    const Colour a = d00 ? own_colour(layer, d00) : none, b = d01 ? own_colour(layer, d01) : none;
    const Colour e = d10 ? own_colour(layer, d10) : none, f = d11 ? own_colour(layer, d11) : none;
    colour.red = bilinear(a.red, b.red, e.red, f.red, right, down);
    colour.green = bilinear(a.green, b.green, e.green, f.green, right, down);
    colour.blue = bilinear(a.blue, b.blue, e.blue, f.blue, right, down);
    return (colour.red | colour.green | colour.blue) != 0;
}

// The picture before the blur; `shown` says whether an attractor is what one sees.
__device__ inline Colour colour_at(
    const int* image, const int* layers, const u8* density, const i16* noise, int r, int c, bool& shown
) {
    shown = false;
    if (PLAN_PLACED) {
        for (int slot = image[IMAGE_OBJECTS] - 1; slot >= 0; --slot) {
            Colour colour;
            shown = placed(layers + slot * LAYER_FIELDS, density + slot * PLAN_CANVAS * PLAN_CANVAS, r, c, colour);
            if (shown) return colour;
        }
    } else {
        int d = density[(r + image[IMAGE_CROP_TOP]) * PLAN_CANVAS + c + image[IMAGE_CROP_LEFT]];
        shown = d > 0;
        if (shown) return own_colour(layers, d);
    }
    return background(image, noise, r, c);
}

__device__ __forceinline__ int weigh(int a, int b, int c, int outer, int inner) {
    return ((a + c) * outer + b * inner + 128) >> 8;
}

__device__ __forceinline__ void store(Out* out, const Out* values, int channel, int pixel, u8 v) {
#if OUT_BYTES == 1
    Out value = v;
#else
    Out value = values[channel * 256 + v];
#endif
    out[OUT_CHANNELS_LAST ? pixel * 3 + channel : channel * PIXELS + pixel] = value;
}

extern "C" __global__ void __launch_bounds__(COMPOSE_THREADS) compose(
    const int* images, const int* layers, const u8* density, const i16* noise, const Out* values, Out* out, u8* masks,
    int* codes
) {
    __shared__ u8 strip[3][STRIP][PLAN_SIZE];
    __shared__ int image[IMAGE_FIELDS];
    __shared__ int layer[PLAN_MAX_OBJECTS * LAYER_FIELDS];

    const u32 picture = blockIdx.y, tid = threadIdx.x;
    for (u32 i = tid; i < IMAGE_FIELDS; i += COMPOSE_THREADS) image[i] = images[picture * IMAGE_FIELDS + i];
    for (u32 i = tid; i < PLAN_MAX_OBJECTS * LAYER_FIELDS; i += COMPOSE_THREADS)
        layer[i] = layers[picture * PLAN_MAX_OBJECTS * LAYER_FIELDS + i];
    __syncthreads();
    if (codes && blockIdx.x == 0 && picture % PLAN_VIEWS == 0 && tid < PLAN_MAX_OBJECTS)
        codes[picture / PLAN_VIEWS * PLAN_MAX_OBJECTS + tid] = layer[tid * LAYER_FIELDS + LAYER_CODE];

    const int first = (int)blockIdx.x * COMPOSE_ROWS;
    const int rows = min(COMPOSE_ROWS, PLAN_SIZE - first);
    const int outer = image[IMAGE_BLUR], inner = 256 - 2 * outer;
    const u8* own_density = density + (u64)picture * PLAN_MAX_OBJECTS * PLAN_CANVAS * PLAN_CANVAS;
    const i16* own_noise = noise + (u64)picture * NOISE_CELLS;
    Out* target = out + (u64)picture * 3 * PIXELS;

    // Rows first - 1 .. first + rows of the picture, reflected at its edges, in strip rows 0 .. rows + 1.
    const int margin = outer > 0;
    for (int i = (int)tid; i < (rows + 2 * margin) * PLAN_SIZE; i += COMPOSE_THREADS) {
        const int row = i / PLAN_SIZE + 1 - margin, c = i % PLAN_SIZE;
        int r = first + row - 1;
        const bool inside = row >= 1 && row <= rows;
        r = r < 0 ? -r : r >= PLAN_SIZE ? 2 * PLAN_SIZE - 2 - r : r;
        bool shown;
        Colour colour = colour_at(image, layer, own_density, own_noise, r, c, shown);
        strip[0][row][c] = (u8)colour.red, strip[1][row][c] = (u8)colour.green, strip[2][row][c] = (u8)colour.blue;
        if (masks && inside) masks[(u64)picture * PIXELS + r * PLAN_SIZE + c] = shown;
    }
    __syncthreads();

    for (int i = (int)tid; i < rows * PLAN_SIZE; i += COMPOSE_THREADS) {
        const int row = i / PLAN_SIZE + 1, c = i % PLAN_SIZE, pixel = first * PLAN_SIZE + i;
        const int left = c > 0 ? c - 1 : 1, right = c < PLAN_SIZE - 1 ? c + 1 : PLAN_SIZE - 2;
#pragma unroll
        for (int k = 0; k < 3; ++k) {
            int v = strip[k][row][c];
            if (outer > 0) {
                int above = weigh(strip[k][row - 1][left], strip[k][row - 1][c], strip[k][row - 1][right], outer, inner);
                int here = weigh(strip[k][row][left], v, strip[k][row][right], outer, inner);
                int under = weigh(strip[k][row + 1][left], strip[k][row + 1][c], strip[k][row + 1][right], outer, inner);
                v = weigh(above, here, under, outer, inner);
            }
            store(target, values, k, pixel, (u8)v);
        }
    }
}
