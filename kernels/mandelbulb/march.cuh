// March rays, each lane of a warp one of its own. Twin: `march` of fracgen/formulas/mandelbulb/orbit.py.
#pragma once
#include "mandelbulb/orbit.cuh"

#define GONE -1.0f
#define REFILL 4  // lanes without a ray that are worth a stop

struct Ray { float x, y, z, dx, dy, dz, at, end; };

// A ray has hit where the distance, less the radius `spread * at` of a cone around it, is at most `threshold`, or
// where it took `limit` steps if `spent_hits`; its steps are at least `stride + growth * at`, and at most `reach` times the
// distance. Orbits end at `ends`.
struct Way { float threshold, spread, stride, growth, reach; int limit; bool spent_hits; Ends ends; };

// A ray on its way: the distance found at the place before, the step from there (0: not to be learnt from), whether
// that was longer than the distance, and steps so far.
struct Walk { Ray ray; float before, step; bool stretched; int steps; };

__device__ __forceinline__ void begin(Walk& walk) {
    walk.before = walk.step = 0.0f, walk.stretched = false, walk.steps = 0;
}

__device__ __forceinline__ Orbit orbit_of(const Ray& ray) {
    return begin(FMA(ray.dx, ray.at, ray.x), FMA(ray.dy, ray.at, ray.y), FMA(ray.dz, ray.at, ray.z));
}

// The next step after one that brought a ray to a distance: on to where it should be half the threshold, if the last
// step went `along` for each unit that the distance fell; at least the distance itself and at most `reach` times that.
__device__ __forceinline__ void stride(const Way& way, Walk& walk, float found, bool falls, float along) {
    const float least = FMA(way.growth, walk.ray.at, way.stride), most = MUL(way.reach, found);
    const float landing = MUL(MUL(LANDING, FMA(-0.5f, way.threshold, found)), along);
    const float wanted = falls && landing < most ? landing : most, length = found > least ? found : least;
    walk.stretched = walk.step > 0.0f && wanted > length;
    walk.before = found, walk.step = walk.stretched ? wanted : length;
    walk.ray.at = ADD(walk.ray.at, walk.step);
}

// A step of a ray by what its orbit tells: true where that was the last, and `place` is where it hit, or GONE. A ray to
// the surface goes on from there to where the distance should be SURFACE.
template <Use USE> __device__ __forceinline__ bool settle(
    const Shape& s, const Way& way, Walk& walk, const Orbit& orbit, float& place
) {
    Ray& ray = walk.ray;
    const float found = FMA(-way.spread, ray.at, about(orbit.r2, orbit.spread)), drop = SUB(walk.before, found);
    const float along = MUL(walk.step, over(drop));
    const bool spent = ++walk.steps >= way.limit, frail = USE == SAMPLE && s.power <= FRAIL, falls = drop > 0.0f;
    if (walk.stretched && found < MUL(DEEP, way.threshold)) {  // too far: back to where a plain step led
        ray.at = ADD(SUB(ray.at, walk.step), walk.before);
        walk.step = 0.0f, walk.stretched = false;
    } else {
        const bool known = walk.step > 0.0f && falls;  // how fast the distance falls
        const float threshold = USE == SAMPLE && !known ? UNKNOWN_THRESHOLD : way.threshold;
        if (!(frail ? about(orbit.r2, orbit.dr) > FRAIL_THRESHOLD : found > threshold)) {
            place = ray.at;
            if (USE == SAMPLE && !frail) {
                const float way_on = !known ? 1.0f : along < SURFACE_SLOPE ? along : SURFACE_SLOPE;
                const float further = MUL(SUB(found, SURFACE), way_on);
                place = ADD(place, further > SURFACE_BACK ? further : SURFACE_BACK);
            }
            return true;
        }
        stride(way, walk, found, falls, along);
        if (ray.at > ray.end) {
            place = GONE;
            return true;
        }
    }
    place = way.spent_hits ? ray.at : GONE;
    return spent;
}

// March rays 0 .. count - 1 of a block, whose number stands in `next`, from 0 on: a lane whose ray has ended takes the
// next. `source(i, ray)` says whether there is such a ray; `target(i, place, orbit, traps, ray)` takes its place or
// GONE, and the orbit there if it is a SAMPLE; it says whether the lane has another ray to march, which it has put into
// `ray`.
template <Use USE, class Source, class Target> __device__ __forceinline__ void march_all(
    const Shape& s, const Way& way, u32 count, u32* next, const Source& source, const Target& target
) {
    Walk walk;
    Orbit orbit = no_orbit();
    Traps traps;
    Ends ends = way.ends;
    u32 number = 0;
    bool has = false, more = true, coloured = false;  // the last: the orbit is that of a place that was hit
    for (;;) {
        if (__popc(__ballot_sync(WARP, !has && more)) >= REFILL || !__ballot_sync(WARP, has)) {
            if (!has && more) {
                number = atomicAdd(next, 1);
                more = number < count;
                has = more && source(number, walk.ray);
                if (has) {
                    begin(walk);
                    orbit = orbit_of(walk.ray);
                    if (USE == SAMPLE) traps = no_traps();
                }
            }
            if (!__ballot_sync(WARP, has || more)) return;
        }
        iterate<USE>(s, ends, orbit, traps, __popc(__ballot_sync(WARP, has)) * 3 / 8);
        if (has && !going<USE>(orbit, ends)) {
            float place = walk.ray.at;
            if (coloured || settle<USE>(s, way, walk, orbit, place)) {
                if (USE == SAMPLE && !coloured && place >= 0.0f && s.power > FRAIL) {
                    walk.ray.at = place, coloured = true;
                } else {
                    has = target(number, place, orbit, traps, walk.ray);
                    begin(walk);
                    coloured = false;
                }
                if (USE == SAMPLE) ends.r2 = coloured ? BAIL_OUT : way.ends.r2;
            }
            orbit = has ? orbit_of(walk.ray) : no_orbit();
            if (USE == SAMPLE) traps = no_traps();
        }
    }
}
