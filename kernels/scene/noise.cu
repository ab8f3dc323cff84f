// Diamond-square noise in integers. Twin: fracgen/rendering/cpu/noise.py.
//
// One block a image. The lattice of (2^levels + 1)^2 int16 is refined in place, a level at a time:
// in shared memory where the device has enough (LATTICE_GLOBAL 0) and copied out once, else in
// global memory. A call of the generator serves eight points of a row, `calls` apart, so that
// neighbouring threads write neighbouring points. Bound by issue: the generator and the four loads
// of a point; the coarse levels by their barriers.
#include "arithmetic.cuh"
#include "parameters.cuh"

#define LATTICE_CELLS (1 << PARAM_LEVELS)
#define LATTICE_SIDE (LATTICE_CELLS + 1)

enum { DIAMOND, HORIZONTAL, VERTICAL, LAST_COLUMN };

struct Level {
    i16* lattice;
    int m;          // cells a side of the coarser lattice
    int spacing;    // lattice steps between points of the finer one
    int amplitude;  // of displacements, 16 fractional bits
};

__device__ __forceinline__ i16& point(const Level& l, int row, int column) {
    return l.lattice[row * l.spacing * LATTICE_SIDE + column * l.spacing];
}

// Mean of four neighbours plus the displacement of 16 random bits.
__device__ __forceinline__ i16 displaced(const Level& l, int a, int b, int c, int d, u32 word, int part) {
    int random = part & 1 ? (int)word >> 16 : (int)(word << 16) >> 16;
    return (i16)((i16)((a + b + c + d + 2) >> 2) + (i16)((random * l.amplitude) >> 19));
}

// Point (i, j) of one kind, in the finer lattice's coordinates; neighbours wrap at the edges.
__device__ __forceinline__ void refine(const Level& l, int kind, int i, int j, u32 word, int part) {
    const int m = l.m;
    if (kind == DIAMOND) {
        point(l, 2 * i + 1, 2 * j + 1) = displaced(
            l, point(l, 2 * i, 2 * j), point(l, 2 * i, 2 * j + 2), point(l, 2 * i + 2, 2 * j),
            point(l, 2 * i + 2, 2 * j + 2), word, part);
    } else if (kind == HORIZONTAL) {
        int up = i > 0 ? 2 * i - 1 : 2 * m - 1, down = i < m ? 2 * i + 1 : 1;
        point(l, 2 * i, 2 * j + 1) = displaced(
            l, point(l, up, 2 * j + 1), point(l, down, 2 * j + 1), point(l, 2 * i, 2 * j), point(l, 2 * i, 2 * j + 2),
            word, part);
    } else {
        int left = j > 0 ? 2 * j - 1 : 2 * m - 1, right = j < m ? 2 * j + 1 : 1;
        point(l, 2 * i + 1, 2 * j) = displaced(
            l, point(l, 2 * i + 1, left), point(l, 2 * i + 1, right), point(l, 2 * i, 2 * j),
            point(l, 2 * i + 2, 2 * j), word, part);
    }
}

__device__ inline void points_of(const Level& l, int level, int kind, u32 view, const Sample& sample) {
    const int calls = l.m < 8 ? 1 : l.m / 8, parts = l.m < 8 ? l.m : 8;
    const int rows = kind == HORIZONTAL ? l.m + 1 : kind == LAST_COLUMN ? 1 : l.m;
    for (int call = (int)threadIdx.x; call < rows * calls; call += NOISE_THREADS) {
        Words words = draw(call, PURPOSE_NOISE, 4 * level + kind, view, sample);
        const int row = call / calls, first = call % calls;
#pragma unroll
        for (int part = 0; part < 8; ++part) {
            if (part >= parts) break;
            int along = part * calls + first;
            // The last column's random numbers run along the column.
            if (kind == LAST_COLUMN) refine(l, VERTICAL, along, l.m, words.w[part >> 1], part);
            else refine(l, kind, row, along, words.w[part >> 1], part);
        }
    }
}

extern "C" __global__ void __launch_bounds__(NOISE_THREADS) noise(
    u32 key0, u32 key1, u32 epoch, u32 stream, const u32* indices, const int* scenes, i16* out
) {
#if LATTICE_GLOBAL
    i16* lattice = out + (u64)blockIdx.x * LATTICE_SIDE * LATTICE_SIDE;
#else
    extern __shared__ uint4 shared_memory[];
    i16* lattice = reinterpret_cast<i16*>(shared_memory);
#endif
    const u32 image = blockIdx.x, tid = threadIdx.x, view = image % PARAM_VIEWS;
    const Sample sample = {key0, key1, indices[image / PARAM_VIEWS], epoch, stream};
    const int* scene = scenes + image * SCENE_FIELDS;
    if (tid < 4)
        lattice[(tid >> 1) * LATTICE_CELLS * LATTICE_SIDE + (tid & 1) * LATTICE_CELLS] =
            (i16)scene[SCENE_CORNERS + tid];
    __syncthreads();
    for (int level = 0; level < PARAM_LEVELS; ++level) {
        const Level l = {lattice, 1 << level, LATTICE_CELLS >> (level + 1), scene[SCENE_AMPLITUDES + level]};
        points_of(l, level, DIAMOND, view, sample);
        __syncthreads();
        points_of(l, level, HORIZONTAL, view, sample);
        points_of(l, level, VERTICAL, view, sample);
        points_of(l, level, LAST_COLUMN, view, sample);
        __syncthreads();
    }
#if !LATTICE_GLOBAL
    i16* target = out + (u64)image * PARAM_SIZE * PARAM_SIZE;
    for (int i = (int)tid; i < PARAM_SIZE * PARAM_SIZE; i += NOISE_THREADS)
        target[i] = lattice[i / PARAM_SIZE * LATTICE_SIDE + i % PARAM_SIZE];
#endif
}
