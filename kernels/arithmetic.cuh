// The arithmetic that GPU and CPU share; fracgen/rendering/cpu/arithmetic.py is the other half.
//
// Every product that is added to something is an explicit fused multiply-add and every other float
// operation an explicit correctly rounded one, so no compiler option and no contraction can change
// a bit. No libm.
#pragma once
#include "device.cuh"

#define FMA(a, b, c) __fmaf_rn((a), (b), (c))
#define MUL(a, b) __fmul_rn((a), (b))
#define ADD(a, b) __fadd_rn((a), (b))
#define SUB(a, b) __fsub_rn((a), (b))
#define DIV(a, b) __fdiv_rn((a), (b))
#define SQRT(a) __fsqrt_rn(a)

typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;
typedef short i16;

// 1.5 * 2^23: adding it rounds a float below 2^22 in size to the nearest integer, which then
// stands in the low bits. NaN and infinity end up outside any window.
#define ROUND_TO_INT 12582912.0f
#define ROUND_BITS 0x4B400000

struct Words { u32 w[4]; };

// What the random numbers of one image depend on; see fracgen/draws.py.
struct Sample { u32 key0, key1, index, epoch, stream; };

__device__ __forceinline__ u32 mulhi(u32 a, u32 b) { return (u32)(((u64)a * b) >> 32); }

// Philox4x32-7.
__device__ __forceinline__ Words philox(u32 c0, u32 c1, u32 c2, u32 c3, u32 k0, u32 k1) {
#pragma unroll
    for (int round = 0; round < 7; ++round) {
        u64 p0 = (u64)0xD2511F53u * c0, p1 = (u64)0xCD9E8D57u * c2;
        c0 = (u32)(p1 >> 32) ^ c1 ^ k0;
        c1 = (u32)p1;
        c2 = (u32)(p0 >> 32) ^ c3 ^ k1;
        c3 = (u32)p0;
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
    Words r = {{c0, c1, c2, c3}};
    return r;
}

__device__ __forceinline__ Words draw(u32 number, u32 purpose, u32 slot, u32 view, const Sample& sample) {
    u32 kind = purpose | slot << 8 | view << 16 | sample.stream << 24;
    return philox(number, kind, sample.index, sample.epoch, sample.key0, sample.key1);
}

// Uniform on [0, 1) from the upper 24 bits: exact.
__device__ __forceinline__ float unit(u32 word) { return MUL((float)(word >> 8), 5.9604644775390625e-08f); }

__device__ __forceinline__ float uniform(u32 word, float low, float high) {
    return FMA(unit(word), SUB(high, low), low);
}

// Uniform integer in [0, n).
__device__ __forceinline__ int below(u32 word, u32 n) { return (int)mulhi(word, n); }

__device__ __forceinline__ int nearest(float v) { return __float_as_int(ADD(v, ROUND_TO_INT)) - ROUND_BITS; }

// e^v for v in [-80, 0].
__device__ __forceinline__ float exp_negative(float v) {
    int k = nearest(MUL(v, 1.44269504f));
    float r = FMA((float)k, -0.693359375f, v);
    r = FMA((float)k, 2.12194440e-4f, r);
    float p = (float)(1.0 / 5040);
    p = FMA(p, r, (float)(1.0 / 720));
    p = FMA(p, r, (float)(1.0 / 120));
    p = FMA(p, r, (float)(1.0 / 24));
    p = FMA(p, r, (float)(1.0 / 6));
    p = FMA(p, r, 0.5f);
    p = FMA(p, r, 1.0f);
    p = FMA(p, r, 1.0f);
    for (; k < 0; ++k) p = MUL(p, 0.5f);
    return p;
}

// Sine and cosine of q in [-0.5, 0.5].
__device__ __forceinline__ void sin_cos(float q, float& sine, float& cosine) {
    float s = MUL(q, q);
    sine = FMA(FMA(FMA(s, (float)(-1.0 / 5040), (float)(1.0 / 120)), s, (float)(-1.0 / 6)), MUL(s, q), q);
    cosine = FMA(FMA(FMA(s, (float)(-1.0 / 720), (float)(1.0 / 24)), s, -0.5f), s, 1.0f);
}
