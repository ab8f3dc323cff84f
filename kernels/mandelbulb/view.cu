// Everything that must be known before rays are marched: scenes, objects' codes and places, cameras, colours.
// Twin: fracgen/formulas/mandelbulb/view.py. One thread an object; next to nothing.
#include "scene/draw.cuh"

// Cosine and sine of a uniform angle: those of an eighth of it, doubled three times.
__device__ inline void turn(u32 word, float& cosine, float& sine) {
    const float eighth = 0.78539816f;
    sin_cos(FMA(unit(word), eighth, MUL(-0.5f, eighth)), sine, cosine);
    for (int i = 0; i < 3; ++i) {
        const float twice = MUL(ADD(sine, sine), cosine);
        cosine = FMA(cosine, cosine, -MUL(sine, sine));
        sine = twice;
    }
}

__device__ inline void draw_view(u32 slot, u32 view, const Sample& sample, float* out) {
    const Words r = draw(0, PURPOSE_VIEW, slot, view, sample);
    float cosine, sine, cosine_long, sine_long;
    turn(r.w[0], cosine, sine);
    turn(r.w[1], cosine_long, sine_long);
    const float axes[9] = {MUL(sine_long, cosine), -MUL(cosine_long, cosine), -sine,  // forward
                           MUL(sine_long, sine), -MUL(cosine_long, sine), cosine,     // up
                           -cosine_long, -sine_long, 0.0f};                           // side
    for (int k = 0; k < 9; ++k) out[VIEW_FORWARD + k] = axes[k];
    for (int k = 0; k < 3; ++k) {
        const Words colour = draw(1 + k, PURPOSE_VIEW, slot, view, sample);
        for (int channel = 0; channel < 3; ++channel) out[VIEW_COLOURS + 3 * k + channel] = unit(colour.w[channel]);
    }
}

extern "C" __global__ void __launch_bounds__(VIEW_THREADS) view(
    u32 classes, u32 per_class, u32 key0, u32 key1, u32 epoch, u32 stream, const u32* indices, u32 count, int* scenes,
    int* objects, float* views
) {
    const u32 number = blockIdx.x * VIEW_THREADS + threadIdx.x;
    if (number >= count) return;
    const u32 slot = number % PARAM_MAX_OBJECTS, image = number / PARAM_MAX_OBJECTS, view = image % PARAM_VIEWS;
    const Sample sample = {key0, key1, indices[image / PARAM_VIEWS], epoch, stream};
    int scene[SCENE_FIELDS];
    for (int k = 0; k < SCENE_FIELDS; ++k) scene[k] = 0;
    draw_scene(view, sample, scene);
    if (slot == 0)
        for (int k = 0; k < SCENE_FIELDS; ++k) scenes[image * SCENE_FIELDS + k] = scene[k];
    int* object = objects + (u64)number * OBJECT_FIELDS;
    for (int k = 0; k < OBJECT_FIELDS; ++k) object[k] = 0;
    if (draw_object(classes, per_class, scene, slot, view, sample, object))
        draw_view(slot, view, sample, views + (u64)number * VIEW_FIELDS);
}
