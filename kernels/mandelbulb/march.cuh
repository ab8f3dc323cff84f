// March rays, each lane of a warp one of its own. Twin: `march` of fracgen/rendering/cpu/mandelbulb/orbit.py.
#pragma once
#include "mandelbulb/orbit.cuh"

#define GONE -1.0f
#define REFILL 4  // lanes without a ray that are worth a stop

struct Ray { float x, y, z, dx, dy, dz, at, end; };

// A ray has hit where the distance, less the radius `spread * at` of a cone around it, is at most `threshold`, or
// where it took `limit` steps if `spent_hits`; its steps are at least `stride`.
struct Way { float threshold, spread, stride; int limit; bool spent_hits; };

struct Walk { Ray ray; float before, step; int steps; };

__device__ __forceinline__ Orbit orbit_of(const Ray& ray) {
    return begin(FMA(ray.dx, ray.at, ray.x), FMA(ray.dy, ray.at, ray.y), FMA(ray.dz, ray.at, ray.z));
}

// A step of a ray by the distance that its orbit tells: true where that was the last, and `place` is where it hit.
__device__ __forceinline__ bool settle(const Way& way, Walk& walk, float distance, float& place) {
    Ray& ray = walk.ray;
    const float found = FMA(-way.spread, ray.at, distance);
    const bool spent = ++walk.steps >= way.limit;
    if (ADD(walk.before, found) < walk.step && walk.step > way.stride) {  // two spheres that do not meet: back
        ray.at = ADD(SUB(ray.at, walk.step), walk.before);
        walk.before = walk.step = 0.0f;
    } else {
        if (!(found > way.threshold)) {
            place = ray.at;
            return true;
        }
        const float over = MUL(OVERSTEP, found);
        walk.before = found;
        walk.step = over > way.stride ? over : way.stride;
        ray.at = ADD(ray.at, walk.step);
        if (ray.at > ray.end) {
            place = GONE;
            return true;
        }
    }
    place = way.spent_hits ? ray.at : GONE;
    return spent;
}

// March rays 0 .. count - 1 of a block, whose number stands in `next`, from 0 on: a lane whose ray has ended takes the
// next. `source(i, ray)` says whether there is such a ray, `target(i, place)` takes its place or GONE.
template <class Source, class Target> __device__ __forceinline__ void march_all(
    const Shape& s, const Way& way, u32 count, u32* next, const Source& source, const Target& target
) {
    Walk walk;
    Orbit orbit = no_orbit();
    Traps none;
    u32 number = 0;
    bool has = false, more = true;
    for (;;) {
        if (__popc(__ballot_sync(WARP, !has && more)) >= REFILL || !__ballot_sync(WARP, has)) {
            if (!has && more) {
                number = atomicAdd(next, 1);
                more = number < count;
                has = more && source(number, walk.ray);
                if (has) {
                    walk.before = walk.step = 0.0f, walk.steps = 0;
                    orbit = orbit_of(walk.ray);
                }
            }
            if (!__ballot_sync(WARP, has || more)) return;
        }
        iterate<false>(s, orbit, none, __popc(__ballot_sync(WARP, has)) / 2);
        if (has && !going(orbit)) {
            float place;
            if (settle(way, walk, distance(orbit), place)) {
                target(number, place);
                has = false;
                orbit = no_orbit();
            } else {
                orbit = orbit_of(walk.ray);
            }
        }
    }
}
