// Diamond-square noise, all but the last doubling's edges, and the colours of the background.
// Twins: fracgen/rendering/cpu/noise.py and backdrop.py.
//
// One block an image. A level is two steps with a barrier after each: the diamonds, then whole rows of the
// finer lattice from the coarser one and the diamonds. Small lattices lie in shared memory; what `compose`
// and `backdrop` need, the lattice before the last doubling and the diamonds of that, in global memory. Bound by
// issue where several blocks share a multiprocessor, by the barriers of coarse levels where not.
#include "scene/colour.cuh"
#include "scene/lattice.cuh"

#define SHARED_CELLS 64  // a side of the largest lattice in shared memory
#define SHARED_PITCH 80

__device__ inline void make_diamonds(const Level& l, const u16* coarse, int pitch, u16* centres, int centre_pitch) {
    const int shift = l.m < 16 ? 0 : 28 - __clz(l.m);  // m / 8 items a row, at least one
    for (int item = (int)threadIdx.x; item < l.m << shift; item += NOISE_THREADS) {
        const int i = item >> shift, g = item & (1 << shift) - 1;
        const u16* row = coarse + i * pitch + 8 * g;
        const Points p = diamonds(l, i, g, row, row + pitch);
        u16* target = centres + i * centre_pitch;
        store_points(target + 8 * g, p);
        if (g == 0) target[l.m] = (u16)p.w[0];  // the lattice wraps
    }
    __syncthreads();
}

__device__ inline void make_rows(
    const Level& l, const u16* coarse, int pitch, const u16* centres, int centre_pitch, u16* fine, int fine_pitch
) {
    const int shift = l.m < 16 ? 0 : 28 - __clz(l.m), whole = l.m < 8 ? 0 : 1;
    u32 points[8];
    // Items of 16 points, and from 16 on one more a row for its last point.
    for (int item = (int)threadIdx.x; item < (l.m + 1) * ((1 << shift) + whole); item += NOISE_THREADS) {
        const int main = (l.m + 1) << shift;
        const int i = item < main ? item >> shift : item - main, g = item < main ? item & (1 << shift) - 1 : 1 << shift;
        even_row(l, i, g, coarse, pitch, centres, centre_pitch, points);
        u16* target = fine + 2 * i * fine_pitch + 16 * g;
        store_points(target, {{points[0], points[1], points[2], points[3]}});
        store_points(target + 8, {{points[4], points[5], points[6], points[7]}});
    }
    for (int item = (int)threadIdx.x; item < l.m * ((1 << shift) + whole); item += NOISE_THREADS) {
        const int main = l.m << shift;
        const int i = item < main ? item >> shift : item - main, g = item < main ? item & (1 << shift) - 1 : 1 << shift;
        odd_row(l, i, g, coarse, pitch, centres, centre_pitch, points);
        u16* target = fine + (2 * i + 1) * fine_pitch + 16 * g;
        store_points(target, {{points[0], points[1], points[2], points[3]}});
        store_points(target + 8, {{points[4], points[5], points[6], points[7]}});
    }
    __syncthreads();
}

extern "C" __global__ void __launch_bounds__(NOISE_THREADS) noise(
    u32 key0, u32 key1, u32 epoch, u32 stream, const u32* indices, const int* scenes, u16* out, u32* backgrounds
) {
    // Lattices of 1, 4, 16, 64 cells a side, those of 2, 8, 32, and their diamonds.
    __shared__ uint4 even_lattice[(SHARED_CELLS + 1) * SHARED_PITCH / 8];
    __shared__ uint4 odd_lattice[(SHARED_CELLS / 2 + 1) * SHARED_PITCH / 8];
    __shared__ uint4 shared_centres[SHARED_CELLS * SHARED_PITCH / 8];
    u16* const even = reinterpret_cast<u16*>(even_lattice);
    u16* const odd = reinterpret_cast<u16*>(odd_lattice);
    u16* const centres = reinterpret_cast<u16*>(shared_centres);

    const u32 image = blockIdx.x, tid = threadIdx.x, view = image % PARAM_VIEWS;
    const Sample sample = {key0, key1, indices[image / PARAM_VIEWS], epoch, stream};
    const int* scene = scenes + image * SCENE_FIELDS;
    if (tid < 4) even[(tid >> 1) * SHARED_PITCH + (tid & 1)] = (u16)scene[SCENE_CORNERS + tid];
    for (int i = (int)tid; i < PALETTE; i += NOISE_THREADS)
        backgrounds[(u64)image * PALETTE + i] = background_colour(scene, i);
    __syncthreads();

    int level = 0;
    for (; level < PARAM_LEVELS - 2 && 2 << level <= SHARED_CELLS; ++level) {
        const Level l = level_of(level, scene, view, sample);
        u16 *coarse = level & 1 ? odd : even, *fine = level & 1 ? even : odd;
        make_diamonds(l, coarse, SHARED_PITCH, centres, SHARED_PITCH);
        make_rows(l, coarse, SHARED_PITCH, centres, SHARED_PITCH, fine, SHARED_PITCH);
    }
    u16* lattice = out + (u64)image * NOISE_CELLS;
#if LATTICE_HALF > 2 * SHARED_CELLS
    // Lattices that are too large for shared memory and not the last one lie behind the last diamonds.
    u16* work = lattice + DIAMONDS + LATTICE_HALF * LATTICE_PITCH;
#endif
    {
        const Level l = level_of(level, scene, view, sample);
        const u16* coarse = level & 1 ? odd : even;
        make_diamonds(l, coarse, SHARED_PITCH, centres, SHARED_PITCH);
#if LATTICE_HALF > 2 * SHARED_CELLS
        make_rows(l, coarse, SHARED_PITCH, centres, SHARED_PITCH, work, 4 * SHARED_CELLS);
        ++level;
        for (; level < PARAM_LEVELS - 1; ++level) {
            const Level large = level_of(level, scene, view, sample);
            const int pitch = 2 * large.m, fine_pitch = level == PARAM_LEVELS - 2 ? LATTICE_PITCH : 4 * large.m;
            u16* large_centres = work + (large.m + 1) * pitch;
            u16* fine = level == PARAM_LEVELS - 2 ? lattice : large_centres + large.m * pitch;
            make_diamonds(large, work, pitch, large_centres, pitch);
            make_rows(large, work, pitch, large_centres, pitch, fine, fine_pitch);
            work = fine;
        }
#else
        make_rows(l, coarse, SHARED_PITCH, centres, SHARED_PITCH, lattice, LATTICE_PITCH);
#endif
    }
    make_diamonds(level_of(PARAM_LEVELS - 1, scene, view, sample), lattice, LATTICE_PITCH, lattice + DIAMONDS, LATTICE_PITCH);
}
