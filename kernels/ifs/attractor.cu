// The chaos game into a histogram, the histogram into densities. Twin: fracgen/formulas/ifs/attractor.py.
//
// One block an attractor. Counters are 16 bits, two to a word, in shared memory where the device
// has enough for a canvas of this size (HISTOGRAM_GLOBAL 0), else in global memory, where they
// live in L2. A thread draws pairs of orbits, which share the maps that are chosen and take them in
// different orders, so that each look-up serves two points. Bound by shared memory (seven cycles of
// look-ups for two points of a warp, and one conflicted atomic a point) and issue alike.
#include "ifs/chaos.cuh"
#include "parameters.cuh"

#define SIDE_CELLS (PARAM_CANVAS + 2)          // with a halo of one cell
#define ROW_CELLS ((SIDE_CELLS + 1) / 2 * 2)  // whole words
#define CELL_WORDS ((SIDE_CELLS * ROW_CELLS + 7) / 8 * 4)  // whole 16-byte units
#define PAIRS (ORBITS / 2)
#define PAIRS_PER_THREAD (PAIRS / ATTRACTOR_THREADS)
#define PACKED_CELL 7281  // nine cells of so many points fit 16 bits
#define SPILL_STEPS (SPILL / ORBITS)  // of a round that no counter overflows in once none holds SPILL points
#define MAX_SPILLS (PARAM_POINTS / SPILL + 1)
static_assert(2 * SPILL - 1 <= 65535 && SPILL_STEPS <= ROUND_STEPS && SPILL_STEPS % 8 == 0, "a round after spilling");

struct Window { float scale_x, offset_x, scale_y, offset_y; u32 step_x, step_y; };  // steps in bytes

// Where points are counted: the cells, and in shared memory a word of this lane's own for points outside of the grid,
// because adding to it costs less than a branch.
#if HISTOGRAM_GLOBAL
struct Counters { u32* cells; };
__device__ __forceinline__ void add_if(bool on, const Counters& counters, u32 byte, u32 value) {
    if (on) atomicAdd(counters.cells + (byte >> 2), value);
}
#else
struct Counters { u32 cells, outside; };  // offsets in shared memory
__device__ __forceinline__ void add_if(bool on, const Counters& counters, u32 byte, u32 value) {
    shared_add(on ? counters.cells + (byte & ~3u) : counters.outside, value);
}
#endif

// Count a point where `on`, unless it falls outside of the grid.
__device__ __forceinline__ void count(bool on, const Counters& counters, const Window& w, float x, float y) {
    const u32 gx = (u32)__float_as_int(ADD(FMA(x, w.scale_x, w.offset_x), ROUND_TO_INT)) - ROUND_BITS;
    const u32 gy = (u32)__float_as_int(ADD(FMA(y, w.scale_y, w.offset_y), ROUND_TO_INT)) - ROUND_BITS;
    const u32 byte = gx * w.step_x + gy * w.step_y;
    add_if(on && gx < SIDE_CELLS && gy < SIDE_CELLS, counters, byte, byte & 2 ? 0x10000u : 1u);
}

// Whether some cell holds more than `most` points.
__device__ inline bool overfull(const u32* histogram, u32 most) {
    u32 largest = 0;
    for (u32 i = threadIdx.x; i < CELL_WORDS / 4; i += ATTRACTOR_THREADS) {
        const uint4 v = reinterpret_cast<const uint4*>(histogram)[i];
        largest = max_halves(largest, max_halves(max_halves(v.x, v.y), max_halves(v.z, v.w)));
    }
    return __syncthreads_or((largest & 0xFFFFu) > most || largest >> 16 > most);
}

// What 16 bits do not hold: cells of which SPILL points were taken, as often as that happened.
struct Spills { u32 count, cells[MAX_SPILLS]; };

// Take SPILL points out of every counter that holds as many; a barrier before and after.
__device__ inline void spill(u32* histogram, Spills& spills) {
#pragma unroll 1
    for (u32 i = threadIdx.x; i < CELL_WORDS; i += ATTRACTOR_THREADS) {
        const u32 full = histogram[i] & 0x10001u * SPILL;
        if (!full) continue;
        histogram[i] -= full;
        if (full & 0xFFFFu) spills.cells[atomicAdd(&spills.count, 1)] = 2 * i;
        if (full >> 16) spills.cells[atomicAdd(&spills.count, 1)] = 2 * i + 1;
    }
    __syncthreads();
}

struct Orbit { float x, y; };

// Steps first .. first + 3 of both orbits of a pair; `rest` are the steps that each may still be counted for.
__device__ __forceinline__ void four_steps(
    const Table& table, const Words& words, int first, Orbit* orbits, const int* rest, const Counters& counters,
    const Window& window
) {
    Map maps[4];
#pragma unroll
    for (int k = 0; k < 4; ++k) maps[k] = choose(table, choice_bits(words, first + k));
#pragma unroll
    for (int k = 0; k < 4; ++k) {
        advance(maps[k], orbits[0].x, orbits[0].y);
        count(first + k < rest[0], counters, window, orbits[0].x, orbits[0].y);
        // 1, 3, 0, 2: no two neighbours of the other order are neighbours in this one.
        advance(maps[(2 * k + 1) % 5], orbits[1].x, orbits[1].y);
        count(first + k < rest[1], counters, window, orbits[1].x, orbits[1].y);
    }
}

__device__ inline void chaos_game(
    const Table& table, const float* starts, const Window& window, u32 slot, u32 view, const Sample& sample,
    u32* histogram, const Counters& counters, Spills& spills
) {
    const u32 tid = threadIdx.x;
    Orbit orbits[PAIRS_PER_THREAD][2];
#pragma unroll
    for (int p = 0; p < PAIRS_PER_THREAD; ++p) {
#pragma unroll
        for (int k = 0; k < 2; ++k) {
            const float* start = starts + k * PAIRS + p * ATTRACTOR_THREADS + tid;
            orbits[p][k] = {start[0], start[ORBITS]};
        }
    }
    for (int first = 0, steps = ROUND_STEPS; first * ORBITS < PARAM_POINTS; first += steps) {
        const int left = PARAM_POINTS - first * ORBITS;
        if (first > 0) {
            __syncthreads();
            steps = ROUND_STEPS;
            if (overfull(histogram, 65535 - min(left, ROUND_STEPS * ORBITS))) {
                spill(histogram, spills);
                steps = SPILL_STEPS;
            }
        }
        const int whole = min(left / ORBITS, steps);  // steps that every orbit takes
#pragma unroll
        for (int p = 0; p < PAIRS_PER_THREAD; ++p) {
            const u32 pair = p * ATTRACTOR_THREADS + tid;
            const int endless[2] = {8, 8};
            int step = 0;
            for (; step + 8 <= whole; step += 8) {
                const Words words = draw((first + step) / 8 * PAIRS + pair, PURPOSE_ORBIT, slot, view, sample);
                four_steps(table, words, 0, orbits[p], endless, counters, window);
                four_steps(table, words, 4, orbits[p], endless, counters, window);
            }
            if (left > step * ORBITS && step < steps) {  // what is left of a block of eight
                const Words words = draw((first + step) / 8 * PAIRS + pair, PURPOSE_ORBIT, slot, view, sample);
                const int last = left - step * ORBITS;
                const int rest[2] = {(last + (int)(ORBITS - 1 - pair)) / ORBITS,
                                     (last + (int)(PAIRS - 1 - pair)) / ORBITS};
                four_steps(table, words, 0, orbits[p], rest, counters, window);
                if (last > 4 * ORBITS) four_steps(table, words, 4, orbits[p], rest, counters, window);
            }
        }
    }
}

// Visit the stamped counts of four neighbouring pixels at a time, two to a word: `visit(r, c, first, second)`, for
// the columns and rows that this thread looks after. A thread walks down four columns of a strip of rows, so that it
// loads each row's cells once. The middle cells of the stamp mask, the others multiply, which spreads the work over
// both integer pipes. Returns the largest counts of cells it saw, in the halves of a word.
template <class Visit>
__device__ inline u32 stamped(const u32* histogram, u32 stamp, Visit visit) {
    u32 bit[9], mask[9], largest = 0;
#pragma unroll
    for (int k = 0; k < 9; ++k) bit[k] = stamp >> k & 1, mask[k] = 0u - bit[k];
    const int groups = (PARAM_CANVAS + 3) / 4;
    const int columns = groups < ATTRACTOR_THREADS ? groups : ATTRACTOR_THREADS;
    const int strips = ATTRACTOR_THREADS / columns;
    const int rows = (PARAM_CANVAS + strips - 1) / strips;
    const int strip = (int)threadIdx.x / columns;
    if (strip >= strips) return 0;
    const int first = strip * rows, last = first + rows < PARAM_CANVAS ? first + rows : PARAM_CANVAS;
    for (int group = (int)threadIdx.x % columns; group < groups; group += columns) {
        // Sums that the two rows before have begun, for the rows below them.
        u32 above0 = 0, above1 = 0, here0 = 0, here1 = 0;
        const u32* cells = histogram + first * (ROW_CELLS / 2) + 2 * group;
#pragma unroll 2
        for (int r = first - 2; r < last; ++r, cells += ROW_CELLS / 2) {  // grid row r + 2, image row r + 1
            const u32 a = cells[0], b = cells[1], c = cells[2];
            const u32 m = a >> 16 | b << 16, n = b >> 16 | c << 16;
            const u32 sums0 = above0 + a * bit[6] + (m & mask[7]) + b * bit[8];
            const u32 sums1 = above1 + b * bit[6] + (n & mask[7]) + c * bit[8];
            above0 = here0 + a * bit[3] + (m & mask[4]) + b * bit[5];
            above1 = here1 + b * bit[3] + (n & mask[4]) + c * bit[5];
            here0 = a * bit[0] + (m & mask[1]) + b * bit[2];
            here1 = b * bit[0] + (n & mask[1]) + c * bit[2];
            largest = max_halves(largest, max_halves(a, b));
            if (group == groups - 1) largest = max_halves(largest, c);
            if (r >= first) visit(r, 4 * group, sums0, sums1);
        }
    }
    return largest;
}

// The stamped count of one pixel, however large.
__device__ inline u32 stamped_pixel(const u32* histogram, const Spills& spills, u32 stamp, int r, int c) {
    const u32 corner = r * ROW_CELLS + c;
    u32 sum = 0;
    for (u32 k = 0; k < 9; ++k) {
        const u32 cell = corner + k / 3 * ROW_CELLS + k % 3;
        if (stamp >> k & 1) sum += histogram[cell >> 1] >> (cell & 1) * 16 & 0xFFFFu;
    }
#pragma unroll 1
    for (u32 i = 0; i < spills.count; ++i) {
        const u32 row = (spills.cells[i] - corner) / ROW_CELLS, column = (spills.cells[i] - corner) % ROW_CELLS;
        if (row < 3 && column < 3 && stamp >> (3 * row + column) & 1) sum += SPILL;
    }
    return sum;
}

// ceil(255 n / largest) in the upper byte, as one product: counts are 2^24 at most, as the number of points is.
__device__ __forceinline__ u32 density_of(u32 n, u32 per_count) { return n * per_count + 0xFFFFFFu; }

// The largest value of any thread of the block, and a barrier. `largest` is 0 before.
__device__ inline u32 block_max(u32 own, u32* largest) {
    for (int step = 16; step > 0; step >>= 1) own = max(own, __shfl_xor_sync(0xFFFFFFFFu, own, step));
    if (threadIdx.x % 32 == 0) atomicMax(largest, own);
    __syncthreads();
    return *largest;
}

// Densities of an attractor that fills no cell with more than PACKED_CELL points.
__device__ inline void write_densities(const u32* histogram, u32 stamp, u32 per_count, u8* out) {
    stamped(histogram, stamp, [&](int r, int c, u32 n0, u32 n1) {
        u8* pixel = out + r * PARAM_CANVAS + c;
        const u32 first = merge_bytes(density_of(n0 & 0xFFFFu, per_count), density_of(n0 >> 16, per_count), 0x0073);
        const u32 second = merge_bytes(density_of(n1 & 0xFFFFu, per_count), density_of(n1 >> 16, per_count), 0x0073);
        const u32 four = merge_bytes(first, second, 0x5410);
#if PARAM_CANVAS % 4 == 0
        *reinterpret_cast<u32*>(pixel) = four;
#else
        for (int k = 0; k < 4 && c + k < PARAM_CANVAS; ++k) pixel[k] = (u8)(four >> (8 * k));
#endif
    });
}

extern "C" __global__ void __launch_bounds__(ATTRACTOR_THREADS) attractor(
    u32 key0, u32 key1, u32 epoch, u32 stream, const u32* indices, const int* objects, const Table* tables,
    const float* starts, const float* windows, u32* scratch, u8* density
) {
#if HISTOGRAM_GLOBAL
    u32* histogram = scratch + (u64)blockIdx.x * HISTOGRAM_WORDS;
    const Counters counters = {histogram};
#else
    extern __shared__ uint4 shared_memory[];
    u32* histogram = reinterpret_cast<u32*>(shared_memory);
    const Counters counters = {shared_offset(histogram), shared_offset(histogram + CELL_WORDS + threadIdx.x % 32)};
#endif
    __shared__ Table table;
    __shared__ u32 largest[3];  // stamped counts by halves, cells, stamped counts one by one
    __shared__ Spills spills;

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
    if (tid < 3) largest[tid] = 0;
    if (tid == 0) spills.count = 0;
    for (u32 i = tid; i < HISTOGRAM_WORDS / 4; i += ATTRACTOR_THREADS)
        reinterpret_cast<uint4*>(histogram)[i] = make_uint4(0, 0, 0, 0);
    __syncthreads();

    chaos_game(table, starts + (u64)number * 2 * ORBITS, window, slot, view, sample, histogram, counters, spills);
    __syncthreads();

    const u32 stamp = obj[OBJECT_STAMP];
    u32 own = 0;
    u32 cells = stamped(histogram, stamp, [&](int, int c, u32 n0, u32 n1) {
        if (PARAM_CANVAS % 4 != 0 && c + 1 >= PARAM_CANVAS) n0 &= 0xFFFFu;
        if (PARAM_CANVAS % 4 != 0 && c + 3 >= PARAM_CANVAS) n1 &= c + 2 < PARAM_CANVAS ? 0xFFFFu : 0;
        own = max_halves(own, max_halves(n0, n1));
    });
    own = block_max(max(own & 0xFFFFu, own >> 16), &largest[0]);
    cells = block_max(max(cells & 0xFFFFu, cells >> 16), &largest[1]);

    u8* out = density + (u64)number * PARAM_CANVAS * PARAM_CANVAS;
    if (cells <= PACKED_CELL && spills.count == 0) {
        write_densities(histogram, stamp, own ? 0xFF000000u / own : 0, out);
        return;
    }
    own = 0;  // a sum of halves may have carried over
    for (int i = (int)tid; i < PARAM_CANVAS * PARAM_CANVAS; i += ATTRACTOR_THREADS)
        own = max(own, stamped_pixel(histogram, spills, stamp, i / PARAM_CANVAS, i % PARAM_CANVAS));
    own = block_max(own, &largest[2]);
    const u32 per_count = own ? 0xFF000000u / own : 0;
    for (int i = (int)tid; i < PARAM_CANVAS * PARAM_CANVAS; i += ATTRACTOR_THREADS)
        out[i] = (u8)(density_of(stamped_pixel(histogram, spills, stamp, i / PARAM_CANVAS, i % PARAM_CANVAS), per_count) >> 24);
}
