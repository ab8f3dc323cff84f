// Everything that must be known before points are drawn. Twin: fracgen/formulas/ifs/scout.py.
//
// One block of 64 threads an attractor (image, view, slot): thread 0 draws the image's and the
// object's random fields, jitters the code and builds its table; then every thread runs one orbit.
// Bound by the latency of 512 dependent steps, hidden by the many blocks that fit a multiprocessor.
#include "ifs/chaos.cuh"
#include "ifs/code.cuh"
#include "scene/colour.cuh"
#include "scene/draw.cuh"

// A stamp turned as its attractor is: rows, columns, then transposed. Its cells (i, j) lie along x and y.
__device__ inline int flipped(int stamp, int flips) {
    int result = 0;
    for (int cell = 0; cell < 9; ++cell) {
        const int row = flips & 2 ? 2 - cell / 3 : cell / 3, column = flips & 4 ? 2 - cell % 3 : cell % 3;
        result |= (stamp >> cell & 1) << (flips & 1 ? 3 * column + row : 3 * row + column);
    }
    return result;
}

__device__ inline void draw_look(u32 slot, u32 view, const Sample& sample, int* out) {
    Words r = draw(1, PURPOSE_OBJECT, slot, view, sample);
    out[OBJECT_FLIPS] = PARAM_FLIPS ? r.w[0] & 7 : 0;
    if (PARAM_VIEWS == 1) {
        out[OBJECT_STAMP] = PARAM_STAMP ? 1 + below(r.w[1], 511) : 16;
    } else {  // the views of a sample share its stamp
        const int stamp = PARAM_STAMP ? 1 + below(draw(1, PURPOSE_OBJECT, slot, 0, sample).w[1], 511) : 16;
        out[OBJECT_STAMP] = flipped(stamp, out[OBJECT_FLIPS]);
    }
    out[OBJECT_SATURATION] = (int)MUL(uniform(r.w[2], 0.3f, 1.0f), 255.0f);
    out[OBJECT_VALUE] = (int)MUL(uniform(r.w[3], 0.5f, 1.0f), 255.0f);
    out[OBJECT_HUE] = below(draw(2, PURPOSE_OBJECT, slot, view, sample).w[0], 255);
}

// Entry `density` of an attractor's palette; 0, where no point fell, is black.
__device__ inline u32 object_colour(const int* obj, int density) {
    if (density == 0) return 0;
    return PARAM_GRAY ? 0x7F7F7Fu : rgb(density + obj[OBJECT_HUE], obj[OBJECT_SATURATION], obj[OBJECT_VALUE]);
}

// The point that a map leaves where it is, or the origin.
__device__ inline void fixed_point(const float* m, float& x, float& y) {
    float p = SUB(1.0f, m[A]), q = SUB(1.0f, m[D]);
    float det = FMA(p, q, -MUL(m[B], m[C]));
    x = 0.0f, y = 0.0f;
    if (!(fabsf(det) > 1e-6f)) return;
    x = DIV(FMA(q, m[E], MUL(m[B], m[F])), det);
    y = DIV(FMA(p, m[F], MUL(m[C], m[E])), det);
}

__device__ inline void axis_window(float low, float high, float shift, float scale, bool flip, float* out) {
    float extent = SUB(high, low), span = MUL(extent, scale);
    if (!(span > 0.0f)) span = 1.0f;
    float centre = FMA(extent, shift, MUL(ADD(low, high), 0.5f));
    float per_unit = DIV((float)(PARAM_CANVAS - 1), span);
    float start = FMA(span, -0.5f, centre);
    float offset = FMA(-start, per_unit, -0.5f);
    out[0] = flip ? -per_unit : per_unit;
    out[1] = flip ? SUB((float)PARAM_CANVAS, offset) : ADD(offset, 1.0f);
}

extern "C" __global__ void __launch_bounds__(SCOUTS) scout(
    const float* code_maps, const u8* code_sizes, const float* code_probabilities, u32 classes, u32 per_class, u32 key0, u32 key1, u32 epoch, u32 stream, const u32* indices, int* scenes, int* objects,
    Table* tables, float* starts, float* windows, u32* palettes
) {
    __shared__ Table table;
    __shared__ float maps[8][6];
    __shared__ float weights[8];
    __shared__ int share[8];
    __shared__ int choices[8];
    __shared__ int scene[SCENE_FIELDS];
    __shared__ int obj[OBJECT_FIELDS];
    __shared__ float extents[4][SCOUTS / 32];
    __shared__ int size;

    const u32 number = blockIdx.x, tid = threadIdx.x;
    const u32 slot = number % PARAM_MAX_OBJECTS, image = number / PARAM_MAX_OBJECTS, view = image % PARAM_VIEWS;
    const Sample sample = {key0, key1, indices[image / PARAM_VIEWS], epoch, stream};

    if (tid == 0) {
        draw_scene(view, sample, scene);
        for (int k = 0; k < OBJECT_FIELDS; ++k) obj[k] = 0;
        size = 0;
        if (draw_object(classes, per_class, scene, slot, view, sample, obj)) {
            draw_look(slot, view, sample, obj);
            const u32 code = obj[OBJECT_CODE];
            size = code_sizes[code];
            const float(*own)[6] = reinterpret_cast<const float(*)[6]>(code_maps + (u64)code * 48);
            jitter(own, maps, size, slot, sample);
            const float* probabilities = code_probabilities ? code_probabilities + (u64)code * 8 : nullptr;
            choice_table(maps, size, probabilities, weights, share, choices);
        }
    }
    __syncthreads();
    if (slot == 0 && tid < SCENE_FIELDS) scenes[image * SCENE_FIELDS + tid] = scene[tid];
    if (tid < OBJECT_FIELDS) objects[number * OBJECT_FIELDS + tid] = obj[tid];
    if (size == 0) return;
    for (u32 i = tid; i < DENSITIES; i += SCOUTS) palettes[number * DENSITIES + i] = object_colour(obj, (int)i);

    if (tid < 8) {
        const float* m = maps[(int)tid < size ? tid : 0];
        table.linear[tid] = make_float4(m[A], m[B], m[C], m[D]);
        table.rest[tid] = make_float4(m[E], m[F], table_choice(choices[tid]), 0.0f);
        tables[number].linear[tid] = table.linear[tid];
        tables[number].rest[tid] = table.rest[tid];
    }
    float x, y;
    fixed_point(maps[(int)tid % size], x, y);
    __syncthreads();

    const float infinity = __int_as_float(0x7F800000);
    float low_x = infinity, low_y = infinity, high_x = -infinity, high_y = -infinity;
    float* start_x = starts + (u64)number * 2 * ORBITS;
    float* start_y = start_x + ORBITS;
    int until_save = SCOUT_BURN_IN + SCOUT_STRIDE, save = 0;
    for (int block = 0; block < SCOUT_STEPS / 8; ++block) {
        Words words = draw(block * SCOUTS + tid, PURPOSE_SCOUT, slot, view, sample);
#pragma unroll
        for (int k = 0; k < 8; ++k) {
            advance(choose(table, choice_bits(words, k)), x, y);
            if (block >= SCOUT_BURN_IN / 8) {
                low_x = x < low_x ? x : low_x;
                high_x = x > high_x ? x : high_x;
                low_y = y < low_y ? y : low_y;
                high_y = y > high_y ? y : high_y;
            }
        }
        until_save -= 8;  // the stride is a multiple of a block's steps
        if (until_save == 0) {
            start_x[save * SCOUTS + tid] = x;
            start_y[save * SCOUTS + tid] = y;
            until_save = SCOUT_STRIDE;
            ++save;
        }
    }

    for (int step = 16; step > 0; step >>= 1) {
        float v = __shfl_xor_sync(0xFFFFFFFFu, low_x, step);
        low_x = v < low_x ? v : low_x;
        v = __shfl_xor_sync(0xFFFFFFFFu, low_y, step);
        low_y = v < low_y ? v : low_y;
        v = __shfl_xor_sync(0xFFFFFFFFu, high_x, step);
        high_x = v > high_x ? v : high_x;
        v = __shfl_xor_sync(0xFFFFFFFFu, high_y, step);
        high_y = v > high_y ? v : high_y;
    }
    if (tid % 32 == 0) {
        extents[0][tid / 32] = low_x, extents[1][tid / 32] = low_y;
        extents[2][tid / 32] = high_x, extents[3][tid / 32] = high_y;
    }
    __syncthreads();
    if (tid == 0) {
        for (int warp = 1; warp < SCOUTS / 32; ++warp) {
            for (int k = 0; k < 2; ++k) {
                extents[k][0] = extents[k][warp] < extents[k][0] ? extents[k][warp] : extents[k][0];
                extents[k + 2][0] = extents[k + 2][warp] > extents[k + 2][0] ? extents[k + 2][warp] : extents[k + 2][0];
            }
        }
        Words r = draw(0, PURPOSE_OBJECT, slot, view, sample);
        for (int k = 0; k < 2; ++k) {
            float shift = uniform(r.w[k], -PARAM_WINDOW_SHIFT, PARAM_WINDOW_SHIFT);
            float scale = uniform(r.w[k + 2], PARAM_SCALE_LOW, PARAM_SCALE_HIGH);
            axis_window(extents[k][0], extents[k + 2][0], shift, scale, obj[OBJECT_FLIPS] & (2 << k),
                        windows + number * 4 + 2 * k);
        }
    }
}
