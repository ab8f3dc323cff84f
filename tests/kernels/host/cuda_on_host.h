// The part of CUDA that the kernels use, for a host compiler: every thread of a block is a fiber,
// barriers and warp collectives switch fibers, shared memory is thread-local storage. The kernel
// sources are compiled unchanged with this header in front of them.
#pragma once
#include <math.h>
#include <stdint.h>
#include <string.h>

#define __global__
#define __device__
#define __forceinline__ inline
#define __launch_bounds__(...)
#define __shared__ thread_local
#define __restrict__
#define HOST_BUILD

struct float2 { float x, y; };
struct alignas(16) float4 { float x, y, z, w; };
struct alignas(8) uint2 { unsigned x, y; };
struct alignas(16) uint4 { unsigned x, y, z, w; };
struct dim3 { unsigned x, y, z; };
inline float4 make_float4(float x, float y, float z, float w) { return {x, y, z, w}; }
inline uint4 make_uint4(unsigned x, unsigned y, unsigned z, unsigned w) { return {x, y, z, w}; }

// The host compiler is told not to contract, so each of these is one IEEE operation.
inline float __fmaf_rn(float a, float b, float c) { return __builtin_fmaf(a, b, c); }
inline float __fmul_rn(float a, float b) { return a * b; }
inline float __fadd_rn(float a, float b) { return a + b; }
inline float __fsub_rn(float a, float b) { return a - b; }
inline float __fdiv_rn(float a, float b) { return a / b; }
inline float __fsqrt_rn(float a) { return __builtin_sqrtf(a); }
inline int __float_as_int(float v) { int i; memcpy(&i, &v, 4); return i; }
inline float __int_as_float(int v) { float f; memcpy(&f, &v, 4); return f; }
inline int min(int a, int b) { return a < b ? a : b; }
inline int max(int a, int b) { return a > b ? a : b; }
inline unsigned max(unsigned a, unsigned b) { return a > b ? a : b; }

extern dim3 threadIdx, blockIdx, blockDim, gridDim;

// Fibers never run at once, so an atomic is a plain update.
inline unsigned atomicAdd(unsigned* at, unsigned v) { unsigned old = *at; *at += v; return old; }
inline unsigned atomicMax(unsigned* at, unsigned v) { unsigned old = *at; if (v > old) *at = v; return old; }

// The host's version of device.cuh.
extern thread_local uint4 shared_memory[];
inline unsigned shared_offset(const void* p) { return (unsigned)((const char*)p - (const char*)shared_memory); }
inline void shared_add(unsigned offset, unsigned value) { *(unsigned*)((char*)shared_memory + offset) += value; }
inline unsigned max_halves(unsigned a, unsigned b) {
    return max(a & 0xFFFFu, b & 0xFFFFu) | max(a >> 16, b >> 16) << 16;
}
inline unsigned pick_bytes(unsigned word, unsigned order) {
    unsigned result = 0;
    for (int i = 0; i < 4; ++i) {
        unsigned digit = order >> (4 * i) & 15;
        result |= (digit < 4 ? word >> (8 * digit) & 255u : 0u) << (8 * i);
    }
    return result;
}

inline unsigned merge_bytes(unsigned a, unsigned b, unsigned order) {
    unsigned result = 0;
    for (int i = 0; i < 4; ++i) {
        unsigned digit = order >> (4 * i) & 7;
        result |= ((digit < 4 ? a : b) >> (8 * (digit & 3)) & 255u) << (8 * i);
    }
    return result;
}
inline unsigned dot_halves(unsigned word, unsigned weights, unsigned c) {
    return (word & 0xFFFFu) * (weights & 255u) + (word >> 16) * (weights >> 8 & 255u) + c;
}
inline int __clz(unsigned v) { return v ? __builtin_clz(v) : 32; }

int host_barrier(int line, int predicate);
uint32_t host_shuffle_xor(int line, uint32_t mask, uint32_t value, int lane);
#define __syncthreads() host_barrier(__LINE__, 0)
#define __syncthreads_or(p) host_barrier(__LINE__, (p))
inline unsigned host_bits(unsigned v) { return v; }
inline unsigned host_bits(float v) { return (unsigned)__float_as_int(v); }
inline unsigned host_value(unsigned bits, unsigned) { return bits; }
inline float host_value(unsigned bits, float) { return __int_as_float((int)bits); }
#define __shfl_xor_sync(mask, v, lane) host_value(host_shuffle_xor(__LINE__, (mask), host_bits(v), (lane)), (v))
uint32_t host_ballot(int line, uint32_t mask, bool yes);
#define __ballot_sync(mask, yes) host_ballot(__LINE__, (mask), (yes))
inline int __popc(unsigned v) { return __builtin_popcount(v); }
