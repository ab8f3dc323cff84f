// Small loops of one kind of instruction each, whose cycles the block counts itself: they settle on a card
// what the cycle model (bench/model) assumes. One block of 1,024 threads a multiprocessor.
//
// Every kernel repeats a body of UNROLL instructions (MIX_UNROLL for arithmetic) `turns` times and writes its
// cycles, first warp's start to last warp's end, to cycles[block]. bench/gpu/microbenchmarks.py says which
// patterns are run and what each decides.
typedef unsigned u32;
typedef unsigned long long u64;

#define UNROLL 16
#define MIX_UNROLL 64
#define WORDS 33280  // a histogram of 130 KB, as an attractor's at 256 px

__device__ __forceinline__ u32 hash(u32 v) {
    v = (v ^ v >> 16) * 0x7FEB352Du;
    v = (v ^ v >> 15) * 0x846CA68Bu;
    return v ^ v >> 16;
}

__device__ __forceinline__ u32 place(const void* p) { return (u32)__cvta_generic_to_shared(p); }

struct Timer {
    u64 begin;
    __device__ Timer() { __syncthreads(); begin = clock64(); }
    __device__ void stop(u64* cycles) {
        __syncthreads();
        if (threadIdx.x == 0) cycles[blockIdx.x] = clock64() - begin;
    }
};

// Atomic adds in shared memory. Addresses are ready before the clock starts: nothing else is timed.
enum { OWN_WORDS, HASHED, PAIRS_SHARE_A_BANK, PAIRS_SHARE_A_WORD, FOUR_SHARE_A_BANK, ONE_WORD };

__device__ __forceinline__ u32 word_of(int pattern, u32 k) {
    const u32 lane = threadIdx.x % 32, warp = threadIdx.x / 32, row = (warp * 32 + k) * 32;  // rows of all banks
    switch (pattern) {
        case HASHED: return (u32)((u64)hash((blockIdx.x * 1024 + threadIdx.x) * UNROLL + k) * WORDS >> 32);
        case PAIRS_SHARE_A_BANK: return row + lane / 2 + lane % 2 * 512;
        case PAIRS_SHARE_A_WORD: return row + lane / 2;
        case FOUR_SHARE_A_BANK: return row % 16384 + lane / 4 + lane % 4 * 512;
        case ONE_WORD: return row;
        default: return row + lane;
    }
}

extern "C" __global__ void __launch_bounds__(1024) atomics(int pattern, int turns, u64* cycles, u32* out) {
    extern __shared__ u32 words[];
    for (u32 i = threadIdx.x; i < WORDS; i += 1024) words[i] = 0;
    u32 at[UNROLL];
#pragma unroll
    for (u32 k = 0; k < UNROLL; ++k) at[k] = place(words) + word_of(pattern, k) % WORDS * 4;
    const u32 value = threadIdx.x & 1 ? 0x10000u : 1u;  // not a constant, which would become another instruction
    Timer timer;
    for (int turn = 0; turn < turns; ++turn) {
#pragma unroll
        for (u32 k = 0; k < UNROLL; ++k) asm volatile("red.shared.add.u32 [%0], %1;" ::"r"(at[k]), "r"(value) : "memory");
    }
    timer.stop(cycles);
    if (words[threadIdx.x] == 0xFFFFFFFFu) out[0] = 1;
}

// Loads from shared memory of 4, 8 or 16 bytes a lane; rows are 16 bytes apart, as a table's of eight maps.
enum { ONE_ROW, EIGHT_ROWS, ALL_ROWS };

template <int WIDTH> __device__ __forceinline__ void loads(int pattern, int turns, u64* cycles, u32* out) {
    __shared__ uint4 rows[256];
    if (threadIdx.x < 256) rows[threadIdx.x] = make_uint4(threadIdx.x, 1, 2, 3);
    const u32 lane = threadIdx.x % 32;
    u32 at[4], sum = 0;
#pragma unroll
    for (u32 k = 0; k < 4; ++k) {
        const u32 row = pattern == ONE_ROW ? k : pattern == EIGHT_ROWS ? hash(threadIdx.x * 4 + k) % 8 : 0;
        at[k] = place(rows) + row * 16 + (pattern == ALL_ROWS ? lane * WIDTH + k * 512 : 0);
    }
    Timer timer;
    for (int turn = 0; turn < turns; ++turn) {
#pragma unroll
        for (u32 k = 0; k < UNROLL; ++k) {
            u32 a, b = 0, c = 0, d = 0;
            if (WIDTH == 4) asm volatile("ld.volatile.shared.u32 %0, [%1];" : "=r"(a) : "r"(at[k % 4]));
            if (WIDTH == 8) asm volatile("ld.volatile.shared.v2.u32 {%0, %1}, [%2];" : "=r"(a), "=r"(b) : "r"(at[k % 4]));
            if (WIDTH == 16)
                asm volatile("ld.volatile.shared.v4.u32 {%0, %1, %2, %3}, [%4];"
                             : "=r"(a), "=r"(b), "=r"(c), "=r"(d) : "r"(at[k % 4]));
            sum ^= a ^ (b & c & d);
        }
    }
    timer.stop(cycles);
    if (sum == 0x12345678u) out[0] = sum;
}

extern "C" __global__ void __launch_bounds__(1024) loads4(int p, int n, u64* c, u32* o) { loads<4>(p, n, c, o); }
extern "C" __global__ void __launch_bounds__(1024) loads8(int p, int n, u64* c, u32* o) { loads<8>(p, n, c, o); }
extern "C" __global__ void __launch_bounds__(1024) loads16(int p, int n, u64* c, u32* o) { loads<16>(p, n, c, o); }

// Mixes of arithmetic: which kinds share a pipe, and how long each takes it. Eight chains a thread. Integer
// steps go through volatile assembly, since the compiler would change their kind.
enum { LOGIC, ADD, PRODUCT, WIDE_PRODUCT, FLOAT, LOGIC_AND_PRODUCT, LOGIC_AND_FLOAT, ALL_THREE };

__device__ __forceinline__ void logic(u32& v, u32 a) { asm volatile("lop3.b32 %0, %0, %1, %2, 0x96;" : "+r"(v) : "r"(a), "r"(a >> 1)); }
__device__ __forceinline__ void product(u32& v, u32 a) { asm volatile("mad.lo.u32 %0, %0, %1, %1;" : "+r"(v) : "r"(a)); }
__device__ __forceinline__ void wide(u32& v, u32 a) {
    u64 r;
    asm volatile("mul.wide.u32 %0, %1, %2;" : "=l"(r) : "r"(v), "r"(a));
    v = (u32)(r >> 32);
}
__device__ __forceinline__ void fused(u32& v, float a) { v = __float_as_uint(__fmaf_rn(__uint_as_float(v), a, a)); }

template <int MIX> __device__ __forceinline__ void mix(int turns, u64* cycles, u32* out) {
    u32 v[8];
    const u32 a = blockIdx.x * 2 + 0x9E3779B9u;
    const float f = 0.5f + (float)turns * 1e-9f;
    for (int k = 0; k < 8; ++k) v[k] = hash(threadIdx.x * 8 + k);
    Timer timer;
    for (int turn = 0; turn < turns; ++turn) {
#pragma unroll
        for (int k = 0; k < MIX_UNROLL; ++k) {
            u32& own = v[k % 8];
            const int kind = MIX == LOGIC_AND_PRODUCT ? (k & 1 ? PRODUCT : LOGIC) : MIX == LOGIC_AND_FLOAT ? (k & 1 ? FLOAT : LOGIC)
                           : MIX == ALL_THREE ? (k & 1 ? LOGIC : k & 2 ? PRODUCT : FLOAT) : MIX;
            if (kind == LOGIC) logic(own, a);
            else if (kind == ADD) asm volatile("add.u32 %0, %0, %1;" : "+r"(own) : "r"(a));
            else if (kind == PRODUCT) product(own, a);
            else if (kind == WIDE_PRODUCT) wide(own, a);
            else fused(own, f);
        }
    }
    timer.stop(cycles);
    u32 sum = 0;
    for (int k = 0; k < 8; ++k) sum ^= v[k];
    if (sum == 0x12345678u) out[0] = sum;
}

#define MIX(name, which) \
    extern "C" __global__ void __launch_bounds__(1024) name(int, int n, u64* c, u32* o) { mix<which>(n, c, o); }
MIX(logic_only, LOGIC)
MIX(add_only, ADD)
MIX(product_only, PRODUCT)
MIX(wide_only, WIDE_PRODUCT)
MIX(float_only, FLOAT)
MIX(logic_and_product, LOGIC_AND_PRODUCT)
MIX(logic_and_float, LOGIC_AND_FLOAT)
MIX(all_three, ALL_THREE)
