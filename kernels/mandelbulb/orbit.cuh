// The orbits of Mandelbulb variations: distance and colour traps. Twin: fracgen/rendering/cpu/mandelbulb/orbit.py.
//
// A step takes z to r^p (X, Y, Z) + c. The sines and cosines of p theta and p phi that X, Y and Z are
// come from powers of two complex numbers of modulus r: a = z + i rho and b = (x + i y) r / rho. So a
// step is products, two square roots and a quotient. Power and rule are the same for a whole block.
#pragma once
#include "arithmetic.cuh"
#include "parameters.cuh"

struct Shape {
    int power, levels, rule;  // levels: bits of the power below its highest
    float p;
};

struct Point { float x, y, z, rho2, r2; };
struct Powers { float ar, ai, br, bi, r; };

__device__ __forceinline__ Shape shape_of(int power, int rule) {
    Shape s = {power, 0, rule, (float)power};
    while (power >> (s.levels + 1)) ++s.levels;
    return s;
}

__device__ __forceinline__ Point point_at(float x, float y, float z) {
    const float rho2 = FMA(x, x, MUL(y, y));
    return {x, y, z, rho2, FMA(z, z, rho2)};
}

__device__ __forceinline__ void multiply(float& re, float& im, float other_re, float other_im) {
    const float real = FMA(re, other_re, -MUL(im, other_im));
    im = FMA(re, other_im, MUL(im, other_re));
    re = real;
}

__device__ __forceinline__ void square(float& re, float& im) {
    const float real = FMA(re, re, -MUL(im, im));
    im = MUL(ADD(re, re), im);
    re = real;
}

// Powers by squaring, from the second highest bit of p down.
__device__ __forceinline__ Powers raise(const Shape& s, const Powers& base) {
    Powers q = base;
    for (int bit = s.levels - 1; bit >= 0; --bit) {
        square(q.ar, q.ai);
        square(q.br, q.bi);
        q.r = MUL(q.r, q.r);
        if (s.power >> bit & 1) {
            multiply(q.ar, q.ai, base.ar, base.ai);
            multiply(q.br, q.bi, base.br, base.bi);
            q.r = MUL(q.r, base.r);
        }
    }
    return q;
}

// What the rule chooses for an axis: plus or minus a real or imaginary part of a^p or b^p.
__device__ __forceinline__ float pick(const Shape& s, int axis, float br, float bi, float ar, float ai) {
    const int bits = s.rule >> (6 - 3 * axis);
    const float value = bits & 2 ? (bits & 4 ? ai : ar) : (bits & 4 ? bi : br);
    return bits & 1 ? -value : value;
}

__device__ __forceinline__ Powers powers_at(const Shape& s, const Point& z, float rho, float r) {
    const float scale = DIV(r, rho);
    const bool off = rho > 0.0f;
    const Powers base = {z.z, rho, off ? MUL(z.x, scale) : r, off ? MUL(z.y, scale) : 0.0f, r};
    return raise(s, base);
}

__device__ __forceinline__ Point next_point(const Shape& s, const Powers& q, float x, float y, float z) {
    return point_at(ADD(pick(s, 0, q.br, q.bi, q.ar, q.ai), x), ADD(pick(s, 1, q.br, q.bi, q.ar, q.ai), y),
                    ADD(pick(s, 2, q.br, q.bi, q.ar, q.ai), z));
}

// Natural logarithm of a positive float, by the series of the inverse hyperbolic tangent on [sqrt(1/2), sqrt(2)).
__device__ __forceinline__ float logarithm(float v) {
    const int bits = __float_as_int(v);
    const int exponent = (bits - 0x3F3504F3) >> 23;
    const float f = SUB(__int_as_float((int)((u32)bits - ((u32)exponent << 23))), 1.0f);
    const float s = DIV(f, ADD(f, 2.0f)), t = MUL(s, s);
    const float series = FMA(FMA(FMA(FMA(t, (float)(1.0 / 9), (float)(1.0 / 7)), t, (float)(1.0 / 5)), t,
                                 (float)(1.0 / 3)), t, 1.0f);
    return FMA((float)exponent, 0.6931471805599453f, MUL(ADD(s, s), series));
}

// Estimated distance from a point to the set: r log(r) / (2 dr), negative inside.
__device__ __forceinline__ float distance(const Shape& s, float x, float y, float z) {
    Point point = point_at(x, y, z);
    float dr = 1.0f;
    for (int n = 0; n < ITERATIONS && point.r2 <= BAIL_OUT && dr < STEEP; ++n) {
        const Powers q = powers_at(s, point, SQRT(point.rho2), SQRT(point.r2));
        point = next_point(s, q, x, y, z);
        dr = FMA(MUL(s.p, q.r), dr, 1.0f);
    }
    return DIV(MUL(MUL(0.25f, logarithm(point.r2)), SQRT(point.r2)), dr);
}

struct Ray { float x, y, z, dx, dy, dz, at, end; };

// March a ray to where the distance is at most `threshold`: the place, or -1 where it left the bounding
// sphere. A ray that took `limit` steps has hit where `spent_hits`, else it is let through.
__device__ __forceinline__ float march(const Shape& s, const Ray& ray, float threshold, int limit, bool spent_hits) {
    float at = ray.at, before = 0.0f, step = 0.0f;
    for (int n = 0; n < limit; ++n) {
        const float found = distance(s, FMA(ray.dx, at, ray.x), FMA(ray.dy, at, ray.y), FMA(ray.dz, at, ray.z));
        if (ADD(before, found) < step && step > 0.0f) {  // two spheres that do not meet: back into the first
            at = ADD(SUB(at, step), before);
            before = step = 0.0f;
            continue;
        }
        if (!(found > threshold)) return at;
        before = found;
        step = MUL(OVERSTEP, found);
        at = ADD(at, step);
        if (at > ray.end) return -1.0f;
    }
    return spent_hits ? at : -1.0f;
}

struct Traps { float z, taxi, r2; };

// Smallest |z|, taxicab norm and squared norm of a point's orbit, its start left out.
__device__ __forceinline__ Traps trap(const Shape& s, float x, float y, float z) {
    Point point = point_at(x, y, z);
    float dr = 1.0f;
    Traps out = {1e20f, 1e20f, 1e20f};
    for (int n = 0; n < ITERATIONS && point.r2 <= BAIL_OUT && dr < STEEP_SHADED; ++n) {
        const Powers q = powers_at(s, point, SQRT(point.rho2), SQRT(point.r2));
        point = next_point(s, q, x, y, z);
        dr = FMA(MUL(s.p, q.r), dr, 1.0f);
        const float taxi = ADD(ADD(fabsf(point.x), fabsf(point.y)), fabsf(point.z));
        out.z = fabsf(point.z) < out.z ? fabsf(point.z) : out.z;
        out.taxi = taxi < out.taxi ? taxi : out.taxi;
        out.r2 = point.r2 < out.r2 ? point.r2 : out.r2;
    }
    return out;
}
