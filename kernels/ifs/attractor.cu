// The chaos game into a histogram, the histogram into densities. Twin: fracgen/rendering/cpu/ifs/attractor.py.
//
// One block an attractor. Counters are 16 bits, two to a word, in shared memory where the device
// has enough for a canvas of this size (HISTOGRAM_GLOBAL 0), else in global memory, where they
// live in L2. Bound by shared memory: a step takes about seven cycles of table look-ups a warp and
// one conflicted atomic; arithmetic comes second.
#include "ifs/chaos.cuh"
#include "parameters.cuh"

#define SIDE_CELLS (PARAM_CANVAS + 2)          // with a halo of one cell
#define ROW_CELLS ((SIDE_CELLS + 1) / 2 * 2)  // whole words
#define CELL_WORDS ((SIDE_CELLS * ROW_CELLS + 7) / 8 * 4)  // whole 16-byte units
#define ORBITS_PER_THREAD (ORBITS / ATTRACTOR_THREADS)

struct Window { float scale_x, offset_x, scale_y, offset_y; u32 step_x, step_y; };  // steps in bytes

#if HISTOGRAM_GLOBAL
typedef u32* Counters;
__device__ __forceinline__ void add_if(bool on, Counters counters, u32 byte, u32 value) {
    if (on) atomicAdd(counters + (byte >> 2), value);
}
#else
typedef u32 Counters;  // an offset in shared memory
__device__ __forceinline__ void add_if(bool on, Counters counters, u32 byte, u32 value) {
    shared_add_if(on, counters + (byte & ~3u), value);
}
#endif

// Count a point, unless it falls outside of the grid.
__device__ __forceinline__ void count(Counters counters, const Window& w, float x, float y) {
    const u32 gx = (u32)__float_as_int(ADD(FMA(x, w.scale_x, w.offset_x), ROUND_TO_INT)) - ROUND_BITS;
    const u32 gy = (u32)__float_as_int(ADD(FMA(y, w.scale_y, w.offset_y), ROUND_TO_INT)) - ROUND_BITS;
    const u32 byte = gx * w.step_x + gy * w.step_y;
    add_if(gx < SIDE_CELLS && gy < SIDE_CELLS, counters, byte, byte & 2 ? 0x10000u : 1u);
}

// Whether some cell has reached 2^15 points, so that another round could overflow it.
__device__ inline bool overfull(const u32* histogram) {
    u32 seen = 0;
    for (u32 i = threadIdx.x; i < CELL_WORDS / 4; i += ATTRACTOR_THREADS) {
        uint4 v = reinterpret_cast<const uint4*>(histogram)[i];
        seen |= v.x | v.y | v.z | v.w;
    }
    return __syncthreads_or((seen & 0x80008000u) != 0);
}

__device__ inline void chaos_game(
    const Table& table, const float* starts, const Window& window, u32 slot, u32 view, const Sample& sample,
    u32* histogram, Counters counters
) {
    const u32 tid = threadIdx.x;
    float x[ORBITS_PER_THREAD], y[ORBITS_PER_THREAD];
#pragma unroll
    for (int o = 0; o < ORBITS_PER_THREAD; ++o) {
        x[o] = starts[o * ATTRACTOR_THREADS + tid];
        y[o] = starts[ORBITS + o * ATTRACTOR_THREADS + tid];
    }
    const int whole = PARAM_POINTS / ORBITS;  // steps that every orbit takes
    for (int round = 0; round * ROUND_STEPS * ORBITS < PARAM_POINTS; ++round) {
        if (round > 0) {
            __syncthreads();
            if (overfull(histogram)) return;
        }
        const int first = round * ROUND_STEPS;
        const int last = first + ROUND_STEPS < whole ? first + ROUND_STEPS : whole;
#pragma unroll
        for (int o = 0; o < ORBITS_PER_THREAD; ++o) {
            const u32 orbit = o * ATTRACTOR_THREADS + tid;
            int step = first;
            for (; step + 8 <= last; step += 8) {
                Words words = draw((step >> 3) * ORBITS + orbit, PURPOSE_ORBIT, slot, view, sample);
#pragma unroll
                for (int k = 0; k < 8; ++k) {
                    advance(table, choice_bits(words, k), x[o], y[o]);
                    count(counters, window, x[o], y[o]);
                }
            }
            if (first + ROUND_STEPS > whole) {  // the last round: what is left of a block of eight
                Words words = draw((step >> 3) * ORBITS + orbit, PURPOSE_ORBIT, slot, view, sample);
                const int rest = last - step + (orbit < PARAM_POINTS % ORBITS);
#pragma unroll
                for (int k = 0; k < 8; ++k) {
                    if (k < rest) {
                        advance(table, choice_bits(words, k), x[o], y[o]);
                        count(counters, window, x[o], y[o]);
                    }
                }
            }
        }
    }
}

// Visit the stamped counts of two neighbouring pixels at a time: `visit(r, c, first, second)`, for the
// columns and rows that this thread looks after. A thread walks down a pair of columns of a strip of
// rows, so that it loads each row's four cells once. One pixel multiplies by the stamp's bits and
// the other masks with them, which spreads the work over both integer pipes.
template <class Visit>
__device__ inline void stamped(const u32* histogram, u32 stamp, Visit visit) {
    u32 bit[9], mask[9];
#pragma unroll
    for (int k = 0; k < 9; ++k) bit[k] = stamp >> k & 1, mask[k] = 0u - bit[k];
    const int pairs = (PARAM_CANVAS + 1) / 2;
    const int columns = pairs < ATTRACTOR_THREADS ? pairs : ATTRACTOR_THREADS;
    const int strips = ATTRACTOR_THREADS / columns;
    const int rows = (PARAM_CANVAS + strips - 1) / strips;
    const int strip = (int)threadIdx.x / columns;
    if (strip >= strips) return;
    const int first = strip * rows, last = first + rows < PARAM_CANVAS ? first + rows : PARAM_CANVAS;
    for (int pair = (int)threadIdx.x % columns; pair < pairs; pair += columns) {
        // Sums that the two rows before have begun, for the rows below them.
        u32 above0 = 0, above1 = 0, here0 = 0, here1 = 0;
        const u32* cells = histogram + first * (ROW_CELLS / 2) + pair;
#pragma unroll 4
        for (int r = first - 2; r < last; ++r, cells += ROW_CELLS / 2) {  // grid row r + 2, image row r + 1
            const u32 left = cells[0], right = cells[1];
            const u32 a = left & 0xFFFFu, b = left >> 16, c = right & 0xFFFFu, d = right >> 16;
            const u32 sum0 = a * bit[6] + (b * bit[7] + (c * bit[8] + above0));
            const u32 sum1 = above1 + (b & mask[6]) + (c & mask[7]) + (d & mask[8]);
            above0 = a * bit[3] + (b * bit[4] + (c * bit[5] + here0));
            above1 = here1 + (b & mask[3]) + (c & mask[4]) + (d & mask[5]);
            here0 = a * bit[0] + (b * bit[1] + c * bit[2]);
            here1 = (b & mask[0]) + (c & mask[1]) + (d & mask[2]);
            if (r >= first) visit(r, 2 * pair, sum0, sum1);
        }
    }
}

// ceil(255 n / largest) as one product: counts are below 2^24, as the number of points is.
__device__ __forceinline__ u32 density_of(u32 n, u32 per_count) { return (n * per_count + 0xFFFFFFu) >> 24; }

extern "C" __global__ void __launch_bounds__(ATTRACTOR_THREADS) attractor(
    u32 key0, u32 key1, u32 epoch, u32 stream, const u32* indices, const int* objects, const Table* tables,
    const float* starts, const float* windows, u32* scratch, u8* density
) {
#if HISTOGRAM_GLOBAL
    u32* histogram = scratch + (u64)blockIdx.x * CELL_WORDS;
    const Counters counters = histogram;
#else
    extern __shared__ uint4 shared_memory[];
    u32* histogram = reinterpret_cast<u32*>(shared_memory);
    const Counters counters = shared_offset(histogram);
#endif
    __shared__ Table table;
    __shared__ u32 largest;

    const u32 number = blockIdx.x, tid = threadIdx.x;
    const int* obj = objects + number * OBJECT_FIELDS;
    if (obj[OBJECT_CODE] < 0) return;
    const u32 slot = number % PARAM_MAX_OBJECTS, image = number / PARAM_MAX_OBJECTS, view = image % PARAM_VIEWS;
    const Sample sample = {key0, key1, indices[image / PARAM_VIEWS], epoch, stream};
    const bool transpose = obj[OBJECT_FLIPS] & 1;
    const float* w = windows + number * 4;
    const Window window = {w[0], w[1], w[2], w[3], transpose ? 2u : 2 * ROW_CELLS, transpose ? 2 * ROW_CELLS : 2u};

    if (tid < 8) table.linear[tid] = tables[number].linear[tid];
    else if (tid < 16) table.rest[tid - 8] = tables[number].rest[tid - 8];
    if (tid == 16) largest = 0;
    for (u32 i = tid; i < CELL_WORDS / 4; i += ATTRACTOR_THREADS)
        reinterpret_cast<uint4*>(histogram)[i] = make_uint4(0, 0, 0, 0);
    __syncthreads();

    chaos_game(table, starts + (u64)number * 2 * ORBITS, window, slot, view, sample, histogram, counters);
    __syncthreads();

    const u32 stamp = obj[OBJECT_STAMP];
    u32 own = 0;
    stamped(histogram, stamp, [&](int, int c, u32 n0, u32 n1) {
        own = max(own, n0);
        if (PARAM_CANVAS % 2 == 0 || c + 1 < PARAM_CANVAS) own = max(own, n1);
    });
    for (int step = 16; step > 0; step >>= 1) own = max(own, __shfl_xor_sync(0xFFFFFFFFu, own, step));
    if (tid % 32 == 0) atomicMax(&largest, own);
    __syncthreads();

    const u32 per_count = largest ? 0xFF000000u / largest : 0;
    u8* out = density + (u64)number * PARAM_CANVAS * PARAM_CANVAS;
    stamped(histogram, stamp, [&](int r, int c, u32 n0, u32 n1) {
        u8* pixel = out + r * PARAM_CANVAS + c;
        const u32 first = density_of(n0, per_count), second = density_of(n1, per_count);
        if (PARAM_CANVAS % 2 == 0) {
            *reinterpret_cast<u16*>(pixel) = (u16)(first | second << 8);
        } else {
            pixel[0] = (u8)first;
            if (c + 1 < PARAM_CANVAS) pixel[1] = (u8)second;
        }
    });
}
