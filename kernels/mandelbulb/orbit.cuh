// The orbits of Mandelbulb variations: distance and colour traps. Twin: fracgen/rendering/cpu/mandelbulb/orbit.py.
//
// A step takes z to r^p (X, Y, Z) + c. The sines and cosines of p theta and p phi that X, Y and Z are come from powers
// of two complex numbers of modulus r: a = z + i rho and b = (x + i y) r / rho. One is kept as twice its real part and
// its imaginary part, v and s, so that its square is (v^2 - 2 r^2, v s) and its cube (v (v^2 - 3 r^2), s (v^2 - r^2)).
// Power and rule are the same for a whole block: every power has its own straight code.
#pragma once
#include "arithmetic.cuh"
#include "parameters.cuh"

#define WARP 0xFFFFFFFFu

// 1 / sqrt(v): a guess from halved bits, then two steps that each take the error to a power of it. Finite at 0.
__device__ __forceinline__ float inverse_root(float v) {
    float y = __int_as_float(0x5F3759DF - (__float_as_int(v) >> 1));
    float e = FMA(-MUL(v, y), y, 1.0f);
    y = FMA(MUL(y, e), FMA(e, 0.375f, 0.5f), y);
    e = FMA(-MUL(v, y), y, 1.0f);
    return FMA(MUL(y, e), 0.5f, y);
}

// Natural logarithm of a positive float, by a polynomial on [sqrt(1/2), sqrt(2)).
__device__ __forceinline__ float logarithm(float v) {
    const int bits = __float_as_int(v);
    const int exponent = (bits - 0x3F3504F3) >> 23;
    const float f = SUB(__int_as_float((int)((u32)bits - ((u32)exponent << 23))), 1.0f);
    float series = FMA(f, LOGARITHM_6, LOGARITHM_5);
    series = FMA(series, f, LOGARITHM_4);
    series = FMA(series, f, LOGARITHM_3);
    series = FMA(series, f, LOGARITHM_2);
    series = FMA(series, f, LOGARITHM_1);
    series = FMA(series, f, LOGARITHM_0);
    return FMA((float)exponent, 0.6931471805599453f, MUL(f, series));
}

struct Shape {
    int power, rule;
    float p, sign[3];  // of X, Y and Z; halved where they are a real part, which is kept twice
};

__device__ __forceinline__ Shape shape_of(int power, int rule) {
    Shape s = {power, rule, (float)power, {}};
#pragma unroll
    for (int axis = 0; axis < 3; ++axis) {
        const int bits = rule >> (6 - 3 * axis);
        const float whole = bits & 4 ? 1.0f : 0.5f;
        s.sign[axis] = bits & 1 ? -whole : whole;
    }
    return s;
}

struct Complex { float v, s; };
struct Powers { Complex a, b; float r; };

__device__ __forceinline__ Complex multiply(const Complex& n, const Complex& m) {
    return {FMA(n.v, MUL(0.5f, m.v), -MUL(n.s, ADD(m.s, m.s))), FMA(n.s, MUL(0.5f, m.v), MUL(n.v, MUL(0.5f, m.s)))};
}

// The power P by squares, cubes and products with the base, as `chain` of fracgen/rendering/variations.py has it.
template <int P> __device__ __forceinline__ Powers raise(const Powers& base) {
    if constexpr (P == 1) {
        return base;
    } else if constexpr (P % 2 == 0) {
        const Powers n = raise<P / 2>(base);
        const float m = MUL(n.r, n.r), twice = ADD(m, m);
        return {{FMA(n.a.v, n.a.v, -twice), MUL(n.a.v, n.a.s)}, {FMA(n.b.v, n.b.v, -twice), MUL(n.b.v, n.b.s)}, m};
    } else if constexpr (P % 3 == 0) {
        const Powers n = raise<P / 3>(base);
        const float m = MUL(n.r, n.r), thrice = MUL(3.0f, m);
        return {{MUL(n.a.v, FMA(n.a.v, n.a.v, -thrice)), MUL(n.a.s, FMA(n.a.v, n.a.v, -m))},
                {MUL(n.b.v, FMA(n.b.v, n.b.v, -thrice)), MUL(n.b.s, FMA(n.b.v, n.b.v, -m))},
                MUL(n.r, m)};
    } else {
        const Powers n = raise<P - 1>(base);
        return {multiply(n.a, base.a), multiply(n.b, base.b), MUL(n.r, base.r)};
    }
}

// The point it began at, the point it has come to, that point's r^2, how far orbits around it have spread, its steps.
struct Orbit { float cx, cy, cz, x, y, z, r2, dr; int steps; };

__device__ __forceinline__ float squared(float x, float y, float z) { return FMA(z, z, FMA(x, x, MUL(y, y))); }

__device__ __forceinline__ Orbit begin(float x, float y, float z) {
    return {x, y, z, x, y, z, squared(x, y, z), 1.0f, 0};
}

// That of a lane without work: it has escaped.
__device__ __forceinline__ Orbit no_orbit() { return {0, 0, 0, 0, 0, 0, 2.0f * BAIL_OUT, 1.0f, 0}; }

__device__ __forceinline__ bool going(const Orbit& o) {
    return o.r2 <= BAIL_OUT && o.dr < STEEP && o.steps < ITERATIONS;
}

struct Traps { float z, taxi, r2; };  // smallest |z|, taxicab norm and squared norm, the start left out

// What the rule chooses for an axis.
__device__ __forceinline__ float pick(const Shape& s, int axis, const Powers& q) {
    const int bits = s.rule >> (6 - 3 * axis);
    return bits & 2 ? (bits & 4 ? q.a.s : q.a.v) : (bits & 4 ? q.b.s : q.b.v);
}

template <int P, bool TRAPS> __device__ __forceinline__ void step(const Shape& s, Orbit& o, Traps& traps) {
    const float rho2 = FMA(o.x, o.x, MUL(o.y, o.y)), over_rho = inverse_root(rho2);
    const float rho = MUL(rho2, over_rho), r = MUL(o.r2, inverse_root(o.r2)), scale = MUL(r, over_rho);
    const float bx = MUL(o.x, scale);
    const Powers q = raise<P>({{ADD(o.z, o.z), rho}, {ADD(bx, bx), MUL(o.y, scale)}, r});
    o.x = FMA(pick(s, 0, q), s.sign[0], o.cx);
    o.y = FMA(pick(s, 1, q), s.sign[1], o.cy);
    o.z = FMA(pick(s, 2, q), s.sign[2], o.cz);
    o.r2 = squared(o.x, o.y, o.z);
    o.dr = FMA(MUL(s.p, q.r), o.dr, 1.0f);
    ++o.steps;
    if (TRAPS) {
        const float taxi = ADD(ADD(fabsf(o.x), fabsf(o.y)), fabsf(o.z));
        traps.z = fabsf(o.z) < traps.z ? fabsf(o.z) : traps.z;
        traps.taxi = taxi < traps.taxi ? taxi : traps.taxi;
        traps.r2 = o.r2 < traps.r2 ? o.r2 : traps.r2;
    }
}

template <int P, bool TRAPS> __device__ __forceinline__ void advance(const Shape& s, Orbit& o, Traps& traps, int most) {
    for (;;) {
        const bool on = going(o);
        if (__popc(__ballot_sync(WARP, on)) <= most) return;
        if (on) step<P, TRAPS>(s, o, traps);
    }
}

// Advance the orbits of a warp until at most so many still go. They end after different numbers of steps, so that a
// warp which waited for the last would be idle for the most part.
template <bool TRAPS> __device__ __forceinline__ void iterate(const Shape& s, Orbit& o, Traps& traps, int most) {
    switch (s.power) {
#define POWER(P) case P: advance<P, TRAPS>(s, o, traps, most); break;
        POWER(2) POWER(3) POWER(4) POWER(5) POWER(6) POWER(7) POWER(8) POWER(9) POWER(10) POWER(11) POWER(12) POWER(13)
        POWER(14) POWER(15) POWER(16) POWER(17) POWER(18) POWER(19) POWER(20) POWER(21) POWER(22) POWER(23) POWER(24)
#undef POWER
    }
}

// Estimated distance from where an orbit began to the set: r log(r) / (2 dr), negative inside.
__device__ __forceinline__ float distance(const Orbit& o) {
    const float root = inverse_root(o.dr);
    return MUL(MUL(MUL(0.25f, logarithm(o.r2)), MUL(o.r2, inverse_root(o.r2))), MUL(root, root));
}
