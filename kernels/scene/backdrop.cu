// Paint backgrounds of noise: the last doubling of its lattice, and its colours. Twin:
// fracgen/rendering/cpu/backdrop.py.
//
// One block a strip of BACKDROP_ROWS rows of an image; a thread makes 16 pixels of a row at a time, as in `compose`.
#include "scene/image.cuh"

extern "C" __global__ void __launch_bounds__(BACKDROP_THREADS) backdrop(
    u32 key0, u32 key1, u32 epoch, u32 stream, const u32* indices, const int* scenes, const u16* lattices,
    const u32* backgrounds, u8* out
) {
    __shared__ uint4 palette[PALETTE / 4];
    const u32 image = blockIdx.y, view = image % PARAM_VIEWS;
    for (u32 i = threadIdx.x; i < PALETTE / 4; i += BACKDROP_THREADS)
        palette[i] = reinterpret_cast<const uint4*>(backgrounds + (u64)image * PALETTE)[i];
    __syncthreads();
    const char* colours = reinterpret_cast<const char*>(palette);
    const Sample sample = {key0, key1, indices[image / PARAM_VIEWS], epoch, stream};
    const Level last = level_of(PARAM_LEVELS - 1, scenes + image * SCENE_FIELDS, view, sample);
    const Target target = {out + (u64)image * 3 * PIXELS, nullptr};
    const int first = (int)blockIdx.x * BACKDROP_ROWS, end = min(first + BACKDROP_ROWS, PARAM_SIZE);
    for (int i = (int)threadIdx.x; i < (end - first) * SEGMENTS; i += BACKDROP_THREADS) {
        const int r = row_of(i / SEGMENTS, first, end), g = i % SEGMENTS;
        u32 noise[8], planes[3][4];
        noise_segment(last, lattices + (u64)image * NOISE_CELLS, r, g, noise);
#pragma unroll
        for (int k = 0; k < 4; ++k) {
            u32 pixel[4];
#pragma unroll
            for (int j = 0; j < 4; ++j) pixel[j] = *reinterpret_cast<const u32*>(colours + noise_offset(noise, k, j));
            transpose(pixel, planes[0][k], planes[1][k], planes[2][k]);
        }
#pragma unroll
        for (int k = 0; k < 3; ++k) store_segment(target, k, r, 16 * g, planes[k]);
    }
}
