// Draw Mandelbulb variations: march rays to the surface and on to the lamp, and shade what they hit.
// Twin: fracgen/formulas/mandelbulb/surface.py and rays.py.
//
// One block a region of REGION_WIDTH x REGION_HEIGHT pixels of an object's canvas, in phases: cones around tiles of
// pixels, cones around pixels, the rays of pixels, their gradients, their rays to the lamp. Each has a pool of work,
// which the phase before has filled; a lane that is done with one takes the next.
// Bound by issue; how many lanes of a warp have an orbit that still goes decides how well.
#include "mandelbulb/march.cuh"

#define S PARAM_SAMPLES
#define EACH (S * S)
#define COLUMNS (REGION_WIDTH / TILE)  // tiles of a region
#define ROWS (REGION_HEIGHT / TILE)
#define TILES (COLUMNS * ROWS)
#define TILE_PIXELS (TILE * TILE)
#define PIXELS (REGION_WIDTH * REGION_HEIGHT)
#define LINES (PIXELS * S)  // rows of pixels' rays
#define REGIONS ((PARAM_CANVAS + REGION_WIDTH - 1) / REGION_WIDTH)

#define SEES_LAMP 0x80000000u

struct Vector { float x, y, z; };

__device__ __forceinline__ float dot(const Vector& a, const Vector& b) {
    return FMA(a.x, b.x, FMA(a.y, b.y, MUL(a.z, b.z)));
}

__device__ __forceinline__ float share(float v) { return v < 1.0f ? v : 1.0f; }

// What is known of a row of a pixel's rays: where the first that hits does so, and the distance it told, then the
// diffuse light, in the place of this.
struct Line { float place, told; };

// Where cones and rays go: columns and rows are those of rays, `pixel` and `pixels` are pixels.
__device__ __forceinline__ float middle(int pixel, int pixels) {
    return ADD((float)(pixel * S), 0.5f * (float)(pixels * S - 1));
}

__device__ __forceinline__ float across(float column) { return FMA(column, PARAM_RAY_STEP, PARAM_RAY_FIRST); }

// Length of the part of a ray that is one unit ahead, turned over.
__device__ __forceinline__ float scale_of(float column, float row) {
    const float u = across(column), w = across(row);
    return inverse_root(FMA(u, u, FMA(w, w, 1.0f)));
}

// Give a ray from the camera the direction of a column and a row.
__device__ __forceinline__ void direct(const float* view, float scale, float column, float row, Ray& ray) {
    const float u = across(column), w = -across(row);
    ray.dx = MUL(FMA(view[VIEW_SIDE], u, FMA(view[VIEW_UP], w, view[VIEW_FORWARD])), scale);
    ray.dy = MUL(FMA(view[VIEW_SIDE + 1], u, FMA(view[VIEW_UP + 1], w, view[VIEW_FORWARD + 1])), scale);
    ray.dz = MUL(FMA(view[VIEW_SIDE + 2], u, FMA(view[VIEW_UP + 2], w, view[VIEW_FORWARD + 2])), scale);
}

// The ray of a column and a row from its entry into a sphere to its exit; false where it misses that.
__device__ __forceinline__ bool aim(const float* view, float radius, float column, float row, Ray& ray) {
    const float scale = scale_of(column, row), ahead = MUL(CAMERA, scale);
    const float square = FMA(ahead, ahead, FMA(radius, radius, -CAMERA * CAMERA));
    if (!(square > 0.0f)) return false;
    const float half = MUL(square, inverse_root(square)), nearest = SUB(ahead, half);
    ray.x = MUL(-CAMERA, view[VIEW_FORWARD]), ray.y = MUL(-CAMERA, view[VIEW_FORWARD + 1]);
    ray.z = MUL(-CAMERA, view[VIEW_FORWARD + 2]);
    direct(view, scale, column, row, ray);
    ray.at = nearest > 0.0f ? nearest : 0.0f, ray.end = ADD(ahead, half);
    return true;
}

#define PIXEL_STEP MUL((float)S, PARAM_RAY_STEP)
#define TILE_SPREAD MUL(TILE_CONE, PIXEL_STEP)
#define PIXEL_SPREAD MUL(PIXEL_CONE, PIXEL_STEP)

// How cones march: an orbit spread so far apart is as near as they go.
__device__ __forceinline__ Way cone_way(float spread, float reach) {
    const float threshold = MUL(NEAR, spread), steep = DIV(CONE_SLOPE, FMA(spread, CONE_NEAREST, threshold));
    const Ends ends = {MARCH_BAIL_OUT, steep > CONE_STEEP ? steep : CONE_STEEP};
    return {threshold, spread, 0.0f, 0.0f, reach, MARCH_STEPS, true, ends};
}

__device__ __forceinline__ u32 level(float sum, float factor) { return (u32)(int)FMA(sum, factor, 0.5f); }

// The ray through sample k of a pixel of the canvas.
__device__ __forceinline__ void direct_sample(const float* view, float scale, int column, int row, u32 k, Ray& ray) {
    direct(view, scale, (float)(column * S + (int)(k % S)), (float)(row * S + (int)(k / S)), ray);
}

// The rays of a pixel, one after another, in a lane.
struct Samples {
    int column, row;
    u32 k, hits;
    bool shown;  // whether a ray of this row hit
    float start, scale, sums[3];

    // Begin with the first ray of the pixel at a column and a row of the canvas.
    __device__ __forceinline__ bool begin(
        const float* view, float radius, float from, int pixel_column, int pixel_row, Ray& ray
    ) {
        const float c = middle(pixel_column, 1), r = middle(pixel_row, 1);
        column = pixel_column, row = pixel_row;
        k = hits = 0, shown = false, sums[0] = sums[1] = sums[2] = 0.0f;
        start = from, scale = scale_of(c, r);
        const bool meets = aim(view, radius, c, r, ray);
        next(view, ray);
        return meets;  // as its cone did
    }
    __device__ __forceinline__ void next(const float* view, Ray& ray) const {
        direct_sample(view, scale, column, row, k, ray);
        ray.at = start;
    }
    // Take in where a ray ended: true where that was the last. `first()` is called for the first of a row that hits.
    template <class First> __device__ __forceinline__ bool take(float place, const Traps& traps, const First& first) {
        if (place >= 0.0f) {
            if (!shown) first(), shown = true;
            float taxi = MUL(traps.taxi, (float)(2.0 / 3.0));
            taxi = MUL(taxi, taxi);
            const float fourth = MUL(taxi, taxi), tenth = MUL(MUL(fourth, fourth), taxi);
            float fifth = MUL(traps.r2, traps.r2);
            fifth = MUL(MUL(fifth, fifth), traps.r2);
            sums[0] = ADD(sums[0], share(traps.z)), sums[1] = ADD(sums[1], share(tenth));
            sums[2] = ADD(sums[2], share(fifth));
            ++hits;
        }
        if (++k % S == 0) shown = false;
        return k == EACH;
    }
    // The mean shares of the three colours, ten bits each.
    __device__ __forceinline__ u32 shares() const {
        const float factor = DIV(1023.0f, (float)hits);
        return level(sums[0], factor) | level(sums[1], factor) << 10 | level(sums[2], factor) << 20;
    }
};

// The lamp's light on rows 0 .. count - 1 of a pool by their gradients, from orbits of points beside the hit along each
// axis. Differences of this width span several bands of orbits that escape after equally many steps, as those of the
// published pictures do; the exact gradient of one band points elsewhere.
template <class Source, class Target> __device__ __forceinline__ void shade_all(
    const Shape& s, u32 count, u32* next, Line* lines, const Source& source, const Target& target
) {
    const Ends ends = {BAIL_OUT, STEEP};
    Vector point = {}, gradient = {};
    float here = 0.0f;
    Orbit orbit = no_orbit();
    Traps none;
    u32 line = 0;
    int axis = 0;
    bool has = false, more = true;
    for (;;) {
        if (__popc(__ballot_sync(WARP, !has && more)) >= REFILL || !__ballot_sync(WARP, has)) {
            if (!has && more) {
                const u32 number = atomicAdd(next, 1);
                has = more = number < count;
                if (has) {
                    point = source(number, line), here = lines[line].told, axis = 0;
                    orbit = begin(ADD(point.x, GRADIENT_STEP), point.y, point.z);
                }
            }
            if (!__ballot_sync(WARP, has || more)) return;
        }
        iterate<LIGHT>(s, ends, orbit, none, __popc(__ballot_sync(WARP, has)) * 3 / 8);
        if (has && !going<LIGHT>(orbit, ends)) {
            const float found = SUB(distance(orbit.r2, orbit.dr), here);
            gradient = {axis == 0 ? found : gradient.x, axis == 1 ? found : gradient.y, axis == 2 ? found : gradient.z};
            if (++axis < 3) {
                orbit = begin(point.x, axis == 1 ? ADD(point.y, GRADIENT_STEP) : point.y,
                              axis == 2 ? ADD(point.z, GRADIENT_STEP) : point.z);
            } else {
                const Vector l = {SUB(LAMP_X, point.x), SUB(LAMP_Y, point.y), SUB(LAMP_Z, point.z)};
                const float part = -dot(l, gradient), square = MUL(dot(gradient, gradient), dot(l, l));
                lines[line].told = part > 0.0f && square > 0.0f ? MUL(part, inverse_root(square)) : 0.0f;
                target(line);
                has = false;
                orbit = no_orbit();
            }
        }
    }
}

// The ray from a point to the lamp.
__device__ __forceinline__ Ray to_lamp(const Vector& p, float radius) {
    const Vector l = {SUB(LAMP_X, p.x), SUB(LAMP_Y, p.y), SUB(LAMP_Z, p.z)};
    const float scale = inverse_root(dot(l, l));
    Ray ray = {p.x, p.y, p.z, MUL(l.x, scale), MUL(l.y, scale), MUL(l.z, scale), SHADOW_START, 0.0f};
    const float ahead = -dot(p, {ray.dx, ray.dy, ray.dz});
    const float square = FMA(ahead, ahead, FMA(radius, radius, -dot(p, p)));
    ray.end = ADD(ahead, square > 0.0f ? MUL(square, inverse_root(square)) : 0.0f);
    return ray;
}

// The colour of a pixel, times coverage, and that.
__device__ __forceinline__ u32 paint(const float* view, u32 shares, float bright, u32 hits) {
    const float lit = shares & SEES_LAMP ? LIT : 0.0f;
    const float one = (float)(shares & 1023), two = (float)(shares >> 10 & 1023), three = (float)(shares >> 20 & 1023);
    u32 texel = (hits * 255 + EACH / 2) / EACH << 24;
#pragma unroll
    for (int k = 0; k < 3; ++k) {
        const float mixed = FMA(view[VIEW_COLOURS + k], one,
                                FMA(view[VIEW_COLOURS + 3 + k], two, MUL(view[VIEW_COLOURS + 6 + k], three)));
        const float light = share(FMA(MUL(mixed, 1.0f / 1023.0f), bright, lit));
        texel |= (u32)(int)FMA(light, MUL((float)hits, 255.0f / EACH), 0.5f) << (8 * k);
    }
    return texel;
}

extern "C" __global__ void __launch_bounds__(SURFACE_THREADS, SURFACE_BLOCKS) surface(
    const int* powers, const int* rules, const float* radii, const int* objects, const float* views, u32* textures
) {
    __shared__ float view[VIEW_FIELDS];
    __shared__ float starts[TILES];  // of cones around pixels
    __shared__ Line lines[LINES];
    __shared__ u32 shares[PIXELS];  // ten bits of each colour, and whether a pixel sees the lamp
    __shared__ unsigned short even[LINES], odd[PIXELS];  // pools of work, one of the phase, one of the next
    __shared__ u8 first[LINES], hits[PIXELS];  // of a row, which ray is the first that hits, from 1 on; how many hit
    __shared__ u32 next[5], found[5];  // of each phase: work that was taken, work that it left for the next

    const u32 number = blockIdx.x, tid = threadIdx.x;
    const int code = objects[number * OBJECT_FIELDS + OBJECT_CODE];
    if (code < 0) return;
    for (u32 i = tid; i < VIEW_FIELDS; i += SURFACE_THREADS) view[i] = views[number * VIEW_FIELDS + i];
    for (u32 i = tid; i < PIXELS; i += SURFACE_THREADS) hits[i] = 0;
    for (u32 i = tid; i < LINES; i += SURFACE_THREADS) first[i] = 0;
    if (tid < 5) next[tid] = found[tid] = 0;
    __syncthreads();

    const Shape s = shape_of(powers[code], rules[code]);
    const float radius = radii[code];
    const int left = (int)blockIdx.y % REGIONS * REGION_WIDTH, top = (int)blockIdx.y / REGIONS * REGION_HEIGHT;

    march_all<MARCH>(
        s, cone_way(TILE_SPREAD, 1.0f), TILES, next,
        [&](u32 i, Ray& ray) {
            const int column = left + (int)(i % COLUMNS) * TILE, row = top + (int)(i / COLUMNS) * TILE;
            return aim(view, FMA(TILE_SPREAD, WIDER, radius), middle(column, TILE), middle(row, TILE), ray);
        },
        [&](u32 i, float place, const Orbit&, const Traps&, Ray&) {
            starts[i] = place;
            if (place >= 0.0f) even[atomicAdd(found, 1)] = (unsigned short)i;
            return false;
        });
    __syncthreads();

    const auto cone_pixel = [&](u32 i) {  // of the region
        const u32 tile = even[i / TILE_PIXELS];
        return (tile / COLUMNS * TILE + i / TILE % TILE) * REGION_WIDTH + tile % COLUMNS * TILE + i % TILE;
    };
    march_all<MARCH>(
        s, cone_way(PIXEL_SPREAD, s.reach), found[0] * TILE_PIXELS, next + 1,
        [&](u32 i, Ray& ray) {
            const u32 pixel = cone_pixel(i);
            const int column = left + (int)(pixel % REGION_WIDTH), row = top + (int)(pixel / REGION_WIDTH);
            if (column >= PARAM_CANVAS || row >= PARAM_CANVAS) return false;
            if (!aim(view, FMA(PIXEL_SPREAD, WIDER, radius), middle(column, 1), middle(row, 1), ray)) return false;
            const float start = starts[even[i / TILE_PIXELS]];
            if (ray.at < start) ray.at = start;
            return true;
        },
        [&](u32 i, float place, const Orbit&, const Traps&, Ray&) {
            const u32 pixel = cone_pixel(i);
            lines[pixel * S].place = place;
            if (place >= 0.0f) odd[atomicAdd(found + 1, 1)] = (unsigned short)pixel;
            return false;
        });
    __syncthreads();

    Samples samples;
    march_all<SAMPLE>(
        s, {THRESHOLD, 0.0f, RAY_STRIDE, 0.0f, s.reach, MARCH_STEPS, true, {s.power > FRAIL ? MARCH_BAIL_OUT : BAIL_OUT, STEEP}},
        found[1], next + 2,
        [&](u32 i, Ray& ray) {
            const u32 pixel = odd[i];
            return samples.begin(view, FMA(PIXEL_SPREAD, WIDER, radius), lines[pixel * S].place,
                                 left + (int)(pixel % REGION_WIDTH), top + (int)(pixel / REGION_WIDTH), ray);
        },
        [&](u32 i, float place, const Orbit& orbit, const Traps& traps, Ray& ray) {
            const u32 pixel = odd[i];
            const auto keep = [&] {
                const u32 line = pixel * S + samples.k / S;
                lines[line] = {place, distance(orbit.r2, orbit.dr)}, first[line] = (u8)(samples.k % S + 1);
                even[atomicAdd(found + 2, 1)] = (unsigned short)line;
            };
            if (!samples.take(place, traps, keep)) {
                samples.next(view, ray);
                return true;
            }
            if (samples.hits) shares[pixel] = samples.shares(), hits[pixel] = (u8)samples.hits;
            return false;
        });
    __syncthreads();

    const auto hit = [&](u32 line) {  // where the first ray of a row does
        const u32 pixel = line / S;
        const int column = left + (int)(pixel % REGION_WIDTH), row = top + (int)(pixel / REGION_WIDTH);
        Ray ray;
        const float scale = scale_of(middle(column, 1), middle(row, 1)), at = lines[line].place;
        direct_sample(view, scale, column, row, line % S * S + first[line] - 1, ray);
        const float* forward = view + VIEW_FORWARD;
        return Vector{FMA(ray.dx, at, MUL(-CAMERA, forward[0])), FMA(ray.dy, at, MUL(-CAMERA, forward[1])),
                      FMA(ray.dz, at, MUL(-CAMERA, forward[2]))};
    };
    const auto first_line = [&](u32 pixel) {  // of a pixel, that has a hit
        u32 line = pixel * S;
        while (!first[line]) ++line;
        return line;
    };
    shade_all(
        s, found[2], next + 3, lines,
        [&](u32 number, u32& line) {
            line = even[number];
            return hit(line);
        },
        [&](u32 line) {
            if (line == first_line(line / S)) odd[atomicAdd(found + 3, 1)] = (unsigned short)(line / S);
        });
    __syncthreads();

    const Ends lamp_ends = {MARCH_BAIL_OUT, SHADOW_STEEP};
    march_all<MARCH>(
        s, {SHADOW_THRESHOLD, 0.0f, SHADOW_STRIDE, SHADOW_GROWTH, s.reach, SHADOW_STEPS, false, lamp_ends}, found[3], next + 4,
        [&](u32 i, Ray& ray) {
            ray = to_lamp(hit(first_line(odd[i])), radius);
            return true;
        },
        [&](u32 i, float place, const Orbit&, const Traps&, Ray&) {
            if (place < 0.0f) shares[odd[i]] |= SEES_LAMP;
            return false;
        });
    __syncthreads();

    for (u32 i = tid; i < PIXELS; i += SURFACE_THREADS) {
        const int column = left + (int)(i % REGION_WIDTH), row = top + (int)(i / REGION_WIDTH);
        if (column >= PARAM_CANVAS || row >= PARAM_CANVAS) continue;
        u32 texel = 0;
        if (hits[i]) {
            float sum = 0.0f, rows = 0.0f;
            for (u32 line = i * S; line < i * S + S; ++line)
                if (first[line]) sum = ADD(sum, lines[line].told), rows = ADD(rows, 1.0f);
            const Vector p = hit(first_line(i));
            texel = paint(view, shares[i], MUL(FMA(DIV(sum, rows), DIFFUSE, AMBIENT), dot(p, p)), hits[i]);
        }
        textures[(u64)number * PARAM_CANVAS * PARAM_CANVAS + row * PARAM_CANVAS + column] = texel;
    }
}
