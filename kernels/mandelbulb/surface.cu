// Draw Mandelbulb variations: march rays to the surface, shade it, and march on to the lamp.
// Twin: fracgen/rendering/cpu/mandelbulb/surface.py.
//
// One block a tile of TILE_WIDTH x TILE_HEIGHT pixels of an object's canvas, a warp on 8 x 4 of them, so
// that its rays take similar ways; a thread takes the rays of its pixel one after the other. Bound by
// issue; how often the rays of a warp disagree decides how well.
#include "mandelbulb/orbit.cuh"

#define TILES ((PARAM_CANVAS + TILE_WIDTH - 1) / TILE_WIDTH)
#define EACH (PARAM_SAMPLES * PARAM_SAMPLES)
#define SURFACE_BLOCKS 5  // a multiprocessor: registers enough that none is spilt

// The ray of a sample of the canvas from its entry into the bounding sphere; false where it misses that.
__device__ __forceinline__ bool aim(const float* view, float radius, int row, int column, Ray& ray) {
    const float u = FMA((float)column, PARAM_RAY_STEP, PARAM_RAY_FIRST);
    const float w = -FMA((float)row, PARAM_RAY_STEP, PARAM_RAY_FIRST);
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

// The colour of what a ray hit, a byte a channel, added to `sums`.
__device__ __forceinline__ void shade(const Shape& s, const float* view, float radius, const Ray& ray, float place,
                                      u32* sums) {
    const float x = FMA(ray.dx, place, ray.x), y = FMA(ray.dy, place, ray.y), z = FMA(ray.dz, place, ray.z);
    float lx = SUB(LAMP_X, x), ly = SUB(LAMP_Y, y), lz = SUB(LAMP_Z, z);
    const float scale = DIV(1.0f, SQRT(FMA(lx, lx, FMA(ly, ly, MUL(lz, lz)))));
    lx = MUL(lx, scale), ly = MUL(ly, scale), lz = MUL(lz, scale);

    // Differences of this width span several bands of orbits that escape after equally many steps, as those of
    // the published pictures do; the exact gradient of one band points elsewhere.
    float g[3] = {0.0f, 0.0f, 0.0f};
#pragma unroll 1
    for (int side = 0; side < 6; ++side) {
        const float step = side & 1 ? -GRADIENT_STEP : GRADIENT_STEP;
        const int axis = side >> 1;
        const float found = distance(s, axis == 0 ? ADD(x, step) : x, axis == 1 ? ADD(y, step) : y,
                                     axis == 2 ? ADD(z, step) : z);
#pragma unroll
        for (int k = 0; k < 3; ++k)
            if (axis == k) g[k] = side & 1 ? SUB(g[k], found) : found;
    }
    const float length = FMA(g[0], g[0], FMA(g[1], g[1], MUL(g[2], g[2])));
    float diffuse = DIV(-FMA(lx, g[0], FMA(ly, g[1], MUL(lz, g[2]))), SQRT(length));
    if (!(length > 0.0f && diffuse > 0.0f)) diffuse = 0.0f;

    const Traps traps = trap(s, x, y, z);
    float taxi = MUL(traps.taxi, (float)(2.0 / 3.0));
    taxi = MUL(taxi, taxi);
    const float fourth = MUL(taxi, taxi), tenth = MUL(MUL(fourth, fourth), taxi);
    float fifth = MUL(traps.r2, traps.r2);
    fifth = MUL(MUL(fifth, fifth), traps.r2);
    const float first = share(traps.z), second = share(tenth), third = share(fifth);

    const float r2 = FMA(x, x, FMA(y, y, MUL(z, z)));
    const float bright = MUL(FMA(diffuse, DIFFUSE, AMBIENT), r2);
    const float middle = -FMA(x, lx, FMA(y, ly, MUL(z, lz)));
    const float square = FMA(middle, middle, FMA(radius, radius, -r2));
    const Ray shadow = {x, y, z, lx, ly, lz, 0.0f, ADD(middle, SQRT(square > 0.0f ? square : 0.0f))};
    const float lit = march(s, shadow, SHADOW_THRESHOLD, SHADOW_STEPS, false) < 0.0f ? LIT : 0.0f;
#pragma unroll
    for (int k = 0; k < 3; ++k) {
        const float mixed = FMA(view[VIEW_COLOURS + k], first,
                                FMA(view[VIEW_COLOURS + 3 + k], second, MUL(view[VIEW_COLOURS + 6 + k], third)));
        sums[k] += byte(ADD(MUL(mixed, bright), lit));
    }
    sums[3] += 255;
}

extern "C" __global__ void __launch_bounds__(TILE_WIDTH * TILE_HEIGHT, SURFACE_BLOCKS) surface(
    const int* powers, const int* rules, const float* radii, const int* objects, const float* views, u32* textures
) {
    __shared__ float view[VIEW_FIELDS];
    const u32 number = blockIdx.x, tid = threadIdx.x;
    const int code = objects[number * OBJECT_FIELDS + OBJECT_CODE];
    if (code < 0) return;
    for (u32 i = tid; i < VIEW_FIELDS; i += TILE_WIDTH * TILE_HEIGHT) view[i] = views[number * VIEW_FIELDS + i];
    __syncthreads();

    const int warp = (int)tid / 32, lane = (int)tid % 32;
    const int column = (int)blockIdx.y % TILES * TILE_WIDTH + warp % (TILE_WIDTH / 8) * 8 + lane % 8;
    const int row = (int)blockIdx.y / TILES * TILE_HEIGHT + warp / (TILE_WIDTH / 8) * 4 + lane / 8;
    if (column >= PARAM_CANVAS || row >= PARAM_CANVAS) return;
    const Shape s = shape_of(powers[code], rules[code]);
    const float radius = radii[code];
    u32 sums[4] = {0, 0, 0, 0};
#pragma unroll 1
    for (int sample = 0; sample < EACH; ++sample) {
        Ray ray;
        if (!aim(view, radius, row * PARAM_SAMPLES + sample / PARAM_SAMPLES,
                 column * PARAM_SAMPLES + sample % PARAM_SAMPLES, ray))
            continue;
        const float place = march(s, ray, THRESHOLD, MARCH_STEPS, true);
        if (place >= 0.0f) shade(s, view, radius, ray, place, sums);
    }
    u32 texel = 0;
#pragma unroll
    for (int k = 0; k < 4; ++k) texel |= (sums[k] + EACH / 2) / EACH << (8 * k);
    textures[(u64)number * PARAM_CANVAS * PARAM_CANVAS + row * PARAM_CANVAS + column] = texel;
}
