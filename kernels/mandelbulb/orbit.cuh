// The orbits of Mandelbulb variations: distance and colour traps. Twin: fracgen/formulas/mandelbulb/orbit.py.
//
// A step takes z to r^p (X, Y, Z) + c. The sines and cosines of p theta and p phi that X, Y and Z are come from powers
// of two complex numbers of modulus r: a = z + i rho and b = (x + i y) r / rho. One is kept as twice its real part and
// its imaginary part, v and s, so that its square is (v^2 - 2 r^2, v s) and its cube (v (v^2 - 3 r^2), s (v^2 - r^2)).
// The squares of a and b need no r, so an even power begins with them.
// Power and rule are the same for a whole block: every power has its own straight code.
#pragma once
#include "arithmetic.cuh"
#include "parameters.cuh"

#define WARP 0xFFFFFFFFu

// 1 / sqrt(v): a guess from halved bits, times a polynomial in what is left. Finite at 0.
__device__ __forceinline__ float inverse_root(float v) {
    const float y = __int_as_float(0x5F3759DF - (__float_as_int(v) >> 1)), t = MUL(MUL(v, y), y);
    return MUL(y, FMA(FMA(FMA(t, INVERSE_ROOT_3, INVERSE_ROOT_2), t, INVERSE_ROOT_1), t, INVERSE_ROOT_0));
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

// 1 / v of a positive float to a fiftieth, from its bits.
__device__ __forceinline__ float over(float v) {
    const float y = __int_as_float((int)(0x7EF311C7u - (u32)__float_as_int(v)));
    return MUL(y, FMA(-v, y, 2.0f));
}

struct Shape {
    int power, rule;
    float p, sign[3];  // of X, Y and Z; halved where they are a real part, which is kept twice
    float reach;  // longest step of a march, in distances
};

__device__ __forceinline__ Shape shape_of(int power, int rule) {
    const float half = MUL(0.5f, (float)power);
    Shape s = {power, rule, (float)power, {}, half < REACH ? half : REACH};
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

// The power P by squares, cubes and products with the base, as `chain` of fracgen/formulas/mandelbulb/constants.py has it.
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

// What orbits are for: to march, to march and to colour what was hit, to tell the light.
enum Use { MARCH, SAMPLE, LIGHT };

// The point it began at, the point it has come to with x^2 + y^2 and r^2, how far orbits around it have spread, as the
// published formula has it (dr) and by the derivative of r^p (spread), and its steps.
struct Orbit { float cx, cy, cz, x, y, z, rho2, r2, dr, spread; int steps; };

__device__ __forceinline__ void measure(Orbit& o) {
    o.rho2 = FMA(o.x, o.x, MUL(o.y, o.y));
    o.r2 = FMA(o.z, o.z, o.rho2);
}

__device__ __forceinline__ Orbit begin(float x, float y, float z) {
    Orbit o = {x, y, z, x, y, z, 0.0f, 0.0f, 1.0f, 1.0f, 0};
    measure(o);
    return o;
}

// That of a lane without work: it has escaped.
__device__ __forceinline__ Orbit no_orbit() {
    return {0, 0, 0, 0, 0, 0, 0, 2.0f * BAIL_OUT, 1.0f, 1.0f, 0};
}

// Where orbits end: beyond this r^2, or spread so far.
struct Ends { float r2, spread; };

template <Use USE> __device__ __forceinline__ bool going(const Orbit& o, const Ends& ends) {
    return o.r2 <= ends.r2 && (USE == LIGHT ? o.dr : o.spread) < ends.spread && o.steps < ITERATIONS;
}

struct Traps { float z, taxi, r2; };  // smallest |z|, taxicab norm and squared norm, the start left out

__device__ __forceinline__ Traps no_traps() { return {1e20f, 1e20f, 1e20f}; }

// What the rule chooses for an axis.
__device__ __forceinline__ float pick(const Shape& s, int axis, const Powers& q) {
    const int bits = s.rule >> (6 - 3 * axis);
    return bits & 2 ? (bits & 4 ? q.a.s : q.a.v) : (bits & 4 ? q.b.s : q.b.v);
}

// The powers P of a and b of a point; and about 1 / r of it.
template <int P> __device__ __forceinline__ Powers powers(const Orbit& o, float& over_r) {
    const float over_rho = inverse_root(o.rho2), rho = MUL(o.rho2, over_rho), twice = ADD(o.z, o.z);
    if constexpr (P % 2 == 0) {
        const float half = FMA(o.z, o.z, -o.rho2), cosine = MUL(o.x, over_rho), sine = MUL(o.y, over_rho);
        const float v = ADD(cosine, cosine);
        over_r = __int_as_float(0x5F3759DF - (__float_as_int(o.r2) >> 1));
        return raise<P / 2>({{ADD(half, half), MUL(twice, rho)},
                             {MUL(FMA(v, v, -2.0f), o.r2), MUL(MUL(v, sine), o.r2)}, o.r2});
    } else {
        over_r = inverse_root(o.r2);
        const float r = MUL(o.r2, over_r), scale = MUL(r, over_rho), bx = MUL(o.x, scale);
        return raise<P>({{twice, rho}, {ADD(bx, bx), MUL(o.y, scale)}, r});
    }
}

template <int P, Use USE> __device__ __forceinline__ void step(const Shape& s, Orbit& o, Traps& traps) {
    float over_r;
    const Powers q = powers<P>(o, over_r);
    const float growth = MUL(s.p, q.r);
    o.x = FMA(pick(s, 0, q), s.sign[0], o.cx);
    o.y = FMA(pick(s, 1, q), s.sign[1], o.cy);
    o.z = FMA(pick(s, 2, q), s.sign[2], o.cz);
    measure(o);
    if (USE != MARCH) o.dr = FMA(growth, o.dr, 1.0f);
    if (USE != LIGHT) o.spread = FMA(MUL(growth, over_r), o.spread, 1.0f);
    ++o.steps;
    if (USE == SAMPLE) {
        const float taxi = ADD(ADD(fabsf(o.x), fabsf(o.y)), fabsf(o.z));
        traps.z = fabsf(o.z) < traps.z ? fabsf(o.z) : traps.z;
        traps.taxi = taxi < traps.taxi ? taxi : traps.taxi;
        traps.r2 = o.r2 < traps.r2 ? o.r2 : traps.r2;
    }
}

template <int P, Use USE> __device__ __forceinline__ void advance(
    const Shape& s, const Ends& ends, Orbit& o, Traps& traps, int most
) {
    for (;;) {
        const bool on = going<USE>(o, ends);
        if (__popc(__ballot_sync(WARP, on)) <= most) return;
        if (on) step<P, USE>(s, o, traps);
    }
}

// Advance the orbits of a warp until at most so many still go. They end after different numbers of steps, so that a
// warp which waited for the last would be idle for the most part.
template <Use USE> __device__ __forceinline__ void iterate(
    const Shape& s, const Ends& ends, Orbit& o, Traps& traps, int most
) {
    switch (s.power) {
#define POWER(P) case P: advance<P, USE>(s, ends, o, traps, most); break;
        POWER(2) POWER(3) POWER(4) POWER(5) POWER(6) POWER(7) POWER(8) POWER(9) POWER(10) POWER(11) POWER(12) POWER(13)
        POWER(14) POWER(15) POWER(16) POWER(17) POWER(18) POWER(19) POWER(20) POWER(21) POWER(22) POWER(23) POWER(24)
#undef POWER
    }
}

// Estimated distance from where an orbit began to the set: r log(r) / (2 dr), negative inside.
__device__ __forceinline__ float distance(float r2, float dr) {
    const float root = inverse_root(dr);
    return MUL(MUL(MUL(0.25f, logarithm(r2)), MUL(r2, inverse_root(r2))), MUL(root, root));
}

// The same to a sixth, for the march: a float's bits are nearly its logarithm, and those of a root or a quotient a
// half or a difference of them.
__device__ __forceinline__ float about(float r2, float dr) {
    const int bits = __float_as_int(r2);
    return MUL(MUL((float)(bits - 0x3F800000), ABOUT), __int_as_float((bits >> 1) + (0x5F400000 - __float_as_int(dr))));
}
