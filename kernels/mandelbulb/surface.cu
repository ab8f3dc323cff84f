// Draw Mandelbulb variations: march rays to the surface and on to the lamp, and shade what they hit.
// Twin: fracgen/rendering/cpu/mandelbulb/surface.py.
//
// One block a region of REGION_WIDTH x REGION_HEIGHT pixels of an object's canvas. It takes all tiles of rays through
// cones first, then all rays, then those to the lamp, then the shading; a lane that is done with one takes the next.
// Bound by issue; how many lanes of a warp have an orbit that still goes decides how well.
#include "mandelbulb/march.cuh"

#define S PARAM_SAMPLES
#define EACH (S * S)
#define SIDE (PARAM_CANVAS * S)  // rays along a side of the canvas
#define COLUMNS (REGION_WIDTH * S / TILE)  // tiles of a region
#define ROWS (REGION_HEIGHT * S / TILE)
#define TILES (COLUMNS * ROWS)
#define TILE_RAYS (TILE * TILE)
#define RAYS (TILES * TILE_RAYS)
#define PIXELS (REGION_WIDTH * REGION_HEIGHT)
#define REGIONS ((PARAM_CANVAS + REGION_WIDTH - 1) / REGION_WIDTH)

#define HIT 0x1000000u

// The ray of a column and a row of rays from its entry into the bounding sphere; false where it misses that.
__device__ __forceinline__ bool aim(const float* view, float radius, float column, float row, Ray& ray) {
    const float u = FMA(column, PARAM_RAY_STEP, PARAM_RAY_FIRST), w = -FMA(row, PARAM_RAY_STEP, PARAM_RAY_FIRST);
    const float scale = DIV(1.0f, SQRT(FMA(u, u, FMA(w, w, 1.0f))));
    const float middle = MUL(CAMERA, scale);
    const float square = FMA(middle, middle, FMA(radius, radius, -CAMERA * CAMERA));
    if (!(square > 0.0f)) return false;
    const float half = SQRT(square), nearest = SUB(middle, half);
    float way[3];
#pragma unroll
    for (int k = 0; k < 3; ++k)
        way[k] = MUL(FMA(view[VIEW_SIDE + k], u, FMA(view[VIEW_UP + k], w, view[VIEW_FORWARD + k])), scale);
    ray = {MUL(-CAMERA, view[VIEW_FORWARD]), MUL(-CAMERA, view[VIEW_FORWARD + 1]), MUL(-CAMERA, view[VIEW_FORWARD + 2]),
           way[0], way[1], way[2], nearest > 0.0f ? nearest : 0.0f, ADD(middle, half)};
    return true;
}

__device__ __forceinline__ float share(float v) { return v < 1.0f ? v : 1.0f; }

__device__ __forceinline__ u32 byte(float v) { return (u32)(int)FMA(share(v), 255.0f, 0.5f); }

struct Vector { float x, y, z; };

__device__ __forceinline__ float dot(const Vector& a, const Vector& b) {
    return FMA(a.x, b.x, FMA(a.y, b.y, MUL(a.z, b.z)));
}

__device__ __forceinline__ Vector to_lamp(const Vector& p) {
    const Vector l = {SUB(LAMP_X, p.x), SUB(LAMP_Y, p.y), SUB(LAMP_Z, p.z)};
    const float scale = DIV(1.0f, SQRT(dot(l, l)));
    return {MUL(l.x, scale), MUL(l.y, scale), MUL(l.z, scale)};
}

// A region: which rays it has and what is known of them, in shared memory.
struct Region {
    const float* view;
    float radius;
    int column, row;  // of its first ray
    float* starts;  // [TILES], where rays of a tile may begin, or GONE
    u32* places;  // [RAYS], tile by tile: places of hits or GONE, then colours with HIT
    unsigned short* casts;  // [PIXELS]: pixels that cast a ray to the lamp
    u8* seen;  // [PIXELS]: whether the lamp sees it

    __device__ __forceinline__ int ray_column(u32 i) const {
        return column + (int)(i / TILE_RAYS % COLUMNS * TILE + i % TILE);
    }
    __device__ __forceinline__ int ray_row(u32 i) const {
        return row + (int)(i / TILE_RAYS / COLUMNS * TILE + i / TILE % TILE);
    }
    __device__ __forceinline__ u32 pixel(u32 i) const {
        return (u32)((ray_row(i) - row) / S * REGION_WIDTH + (ray_column(i) - column) / S);
    }
    // Number of a pixel's ray.
    __device__ __forceinline__ u32 sample(u32 pixel, int k) const {
        const u32 r = pixel / REGION_WIDTH * S + k / S, c = pixel % REGION_WIDTH * S + k % S;
        return (r / TILE * COLUMNS + c / TILE) * TILE_RAYS + r % TILE * TILE + c % TILE;
    }
    __device__ __forceinline__ float place(u32 i) const { return __int_as_float((int)places[i]); }

    __device__ __forceinline__ bool ray(u32 i, Ray& ray) const {
        const int c = ray_column(i), r = ray_row(i);
        return c < SIDE && r < SIDE && aim(view, radius, (float)c, (float)r, ray);
    }
    __device__ __forceinline__ Vector hit(u32 i) const {
        Ray r;
        ray(i, r);
        const float at = place(i);
        return {FMA(r.dx, at, r.x), FMA(r.dy, at, r.y), FMA(r.dz, at, r.z)};
    }
    // The first of a pixel's rays that hit, or RAYS.
    __device__ __forceinline__ u32 first_hit(u32 pixel) const {
        for (int k = 0; k < EACH; ++k)
            if (place(sample(pixel, k)) >= 0.0f) return sample(pixel, k);
        return RAYS;
    }
};

enum { CONES, CAMERA_RAYS, LAMP_RAYS };

__device__ __forceinline__ bool source(const Region& g, int phase, u32 i, Ray& ray) {
    if (phase == CONES) {
        const float column = ADD((float)(g.column + (int)(i % COLUMNS) * TILE), 0.5f * (TILE - 1));
        const float row = ADD((float)(g.row + (int)(i / COLUMNS) * TILE), 0.5f * (TILE - 1));
        return aim(g.view, FMA(MUL(CONE, PARAM_RAY_STEP), 4.0f, g.radius), column, row, ray);
    }
    if (phase == CAMERA_RAYS) {
        const float start = g.starts[i / TILE_RAYS];
        if (!(start >= 0.0f && g.ray(i, ray))) return false;
        if (ray.at < start) ray.at = start;
        return true;
    }
    const Vector p = g.hit(g.first_hit(g.casts[i])), l = to_lamp(p);
    const float middle = -dot(p, l), square = FMA(middle, middle, FMA(g.radius, g.radius, -dot(p, p)));
    ray = {p.x, p.y, p.z, l.x, l.y, l.z, 0.0f, ADD(middle, SQRT(square > 0.0f ? square : 0.0f))};
    return true;
}

__device__ __forceinline__ Way way_of(int phase) {
    const float spread = MUL(CONE, PARAM_RAY_STEP);
    if (phase == CONES) return {spread, spread, 0.0f, MARCH_STEPS, true};
    if (phase == CAMERA_RAYS) return {THRESHOLD, 0.0f, 0.0f, MARCH_STEPS, true};
    return {SHADOW_THRESHOLD, 0.0f, SHADOW_STRIDE, SHADOW_STEPS, false};
}

// A hit's colour, from orbits of the point and of one beside it along each axis. Differences of this width span
// several bands of orbits that escape after equally many steps, as those of the published pictures do; the exact
// gradient of one band points elsewhere.
struct Shading {
    Vector point, gradient;
    float here, shares[3];
    int stage;  // 0: the point itself, else an axis

    __device__ __forceinline__ Orbit orbit() const {
        return begin(stage == 1 ? ADD(point.x, GRADIENT_STEP) : point.x,
                     stage == 2 ? ADD(point.y, GRADIENT_STEP) : point.y,
                     stage == 3 ? ADD(point.z, GRADIENT_STEP) : point.z);
    }
    // Take in what an orbit told: true where that was the last.
    __device__ __forceinline__ bool take(float found, const Traps& traps) {
        if (stage == 0) {
            here = found;
            float taxi = MUL(traps.taxi, (float)(2.0 / 3.0));
            taxi = MUL(taxi, taxi);
            const float fourth = MUL(taxi, taxi), tenth = MUL(MUL(fourth, fourth), taxi);
            float fifth = MUL(traps.r2, traps.r2);
            fifth = MUL(MUL(fifth, fifth), traps.r2);
            shares[0] = share(traps.z), shares[1] = share(tenth), shares[2] = share(fifth);
        }
        if (stage == 1) gradient.x = SUB(found, here);
        if (stage == 2) gradient.y = SUB(found, here);
        if (stage == 3) gradient.z = SUB(found, here);
        return ++stage > 3;
    }
    __device__ __forceinline__ u32 colour(const float* view, float lit) const {
        const Vector l = to_lamp(point);
        const float length = dot(gradient, gradient);
        float diffuse = DIV(-dot(l, gradient), SQRT(length));
        if (!(length > 0.0f && diffuse > 0.0f)) diffuse = 0.0f;
        const float bright = MUL(FMA(diffuse, DIFFUSE, AMBIENT), dot(point, point));
        u32 result = HIT;
#pragma unroll
        for (int k = 0; k < 3; ++k) {
            const float mixed = FMA(view[VIEW_COLOURS + k], shares[0],
                                    FMA(view[VIEW_COLOURS + 3 + k], shares[1], MUL(view[VIEW_COLOURS + 6 + k], shares[2])));
            result |= byte(ADD(MUL(mixed, bright), lit)) << (8 * k);
        }
        return result;
    }
};

// Colours of all hits of a region, to `places`.
__device__ __forceinline__ void shade_all(const Region& g, const Shape& s, u32* next) {
    Shading shading;
    Orbit orbit = no_orbit();
    Traps traps;
    u32 number = 0;
    bool has = false, more = true;
    for (;;) {
        if (!has && more) {
            do number = atomicAdd(next, 1); while (number < RAYS && !(g.place(number) >= 0.0f));
            has = more = number < RAYS;
            if (has) {
                shading.point = g.hit(number), shading.stage = 0;
                orbit = shading.orbit(), traps = {1e20f, 1e20f, 1e20f};
            }
        }
        const u32 busy = __ballot_sync(WARP, has);
        if (!busy) return;
        iterate<true>(s, orbit, traps, __popc(busy) / 2);
        if (has && !going(orbit)) {
            if (shading.take(distance(orbit), traps)) {
                g.places[number] = shading.colour(g.view, g.seen[g.pixel(number)] ? LIT : 0.0f);
                has = false;
                orbit = no_orbit();
            } else {
                orbit = shading.orbit();
            }
        }
    }
}

extern "C" __global__ void __launch_bounds__(SURFACE_THREADS, SURFACE_BLOCKS) surface(
    const int* powers, const int* rules, const float* radii, const int* objects, const float* views, u32* textures
) {
    __shared__ float view[VIEW_FIELDS];
    __shared__ float starts[TILES];
    __shared__ u32 places[RAYS];
    __shared__ unsigned short casts[PIXELS];
    __shared__ u8 seen[PIXELS];
    __shared__ u32 next[4], shadows;

    const u32 number = blockIdx.x, tid = threadIdx.x;
    const int code = objects[number * OBJECT_FIELDS + OBJECT_CODE];
    if (code < 0) return;
    for (u32 i = tid; i < VIEW_FIELDS; i += SURFACE_THREADS) view[i] = views[number * VIEW_FIELDS + i];
    for (u32 i = tid; i < TILES; i += SURFACE_THREADS) starts[i] = GONE;
    for (u32 i = tid; i < RAYS; i += SURFACE_THREADS) places[i] = (u32)__float_as_int(GONE);
    if (tid < 4) next[tid] = 0;
    if (tid == 0) shadows = 0;
    __syncthreads();

    const Shape s = shape_of(powers[code], rules[code]);
    const int left = (int)blockIdx.y % REGIONS * REGION_WIDTH, top = (int)blockIdx.y / REGIONS * REGION_HEIGHT;
    const Region g = {view, radii[code], left * S, top * S, starts, places, casts, seen};
#pragma unroll 1
    for (int phase = CONES; phase <= LAMP_RAYS; ++phase) {
        if (phase == LAMP_RAYS) {
            for (u32 pixel = tid; pixel < PIXELS; pixel += SURFACE_THREADS)
                if (g.first_hit(pixel) < RAYS) casts[atomicAdd(&shadows, 1)] = (unsigned short)pixel;
            __syncthreads();
        }
        const u32 count = phase == CONES ? TILES : phase == CAMERA_RAYS ? RAYS : shadows;
        march_all(
            s, way_of(phase), count, next + phase, [&](u32 i, Ray& ray) { return source(g, phase, i, ray); },
            [&](u32 i, float place) {
                if (phase == CONES) starts[i] = place;
                else if (phase == CAMERA_RAYS) places[i] = (u32)__float_as_int(place);
                else seen[casts[i]] = place < 0.0f;
            });
        __syncthreads();
    }
    shade_all(g, s, next + 3);
    __syncthreads();

    for (u32 pixel = tid; pixel < PIXELS; pixel += SURFACE_THREADS) {
        const int column = left + (int)(pixel % REGION_WIDTH), row = top + (int)(pixel / REGION_WIDTH);
        if (column >= PARAM_CANVAS || row >= PARAM_CANVAS) continue;
        u32 sums[4] = {0, 0, 0, 0};
        for (int k = 0; k < EACH; ++k) {
            const u32 colour = places[g.sample(pixel, k)];
            if (colour >> 24 != HIT >> 24) continue;
#pragma unroll
            for (int channel = 0; channel < 3; ++channel) sums[channel] += colour >> (8 * channel) & 255;
            sums[3] += 255;
        }
        u32 texel = 0;
#pragma unroll
        for (int k = 0; k < 4; ++k) texel |= (sums[k] + EACH / 2) / EACH << (8 * k);
        textures[(u64)number * PARAM_CANVAS * PARAM_CANVAS + row * PARAM_CANVAS + column] = texel;
    }
}
