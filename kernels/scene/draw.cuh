// The numbers of a scene, and of its objects whatever their formula. Twin: fracgen/rendering/cpu/scene.py.
// One thread does this.
#pragma once
#include "arithmetic.cuh"
#include "parameters.cuh"

// The code that object `slot` of a sample is made from.
__device__ inline u32 choose_code(u32 classes, u32 per_class, u32 index, u32 slot, u32 word) {
    const u32 label = index % classes;
    if (PARAM_SOURCE == SOURCE_CLASS) return label * per_class + below(word, per_class);
    if (PARAM_SOURCE == SOURCE_BANK && slot > 0) return below(word, classes * per_class);
    return label * per_class + (index / classes) % per_class;
}

// Side and place of an object, from three of four random words.
__device__ inline void draw_place(const int* scene, const Words& r, int* out) {
    int side = PARAM_SIZE, left = 0, top = 0;
    if (PARAM_PLACED) {
        side = (int)MUL(uniform(r.w[1], PARAM_SIDE_LOW, PARAM_SIDE_HIGH), (float)PARAM_SCENE);
        side = side < 1 ? 1 : side;
        left = (int)below(r.w[2], PARAM_SCENE) - side / 2 - scene[SCENE_CROP_LEFT];
        top = (int)below(r.w[3], PARAM_SCENE) - side / 2 - scene[SCENE_CROP_TOP];
    }
    out[OBJECT_SIDE] = side, out[OBJECT_LEFT] = left, out[OBJECT_TOP] = top;
}

// Whether an object's square reaches into the image.
__device__ inline bool in_view(const int* obj) {
    const int side = obj[OBJECT_SIDE], left = obj[OBJECT_LEFT], top = obj[OBJECT_TOP];
    return left < PARAM_SIZE && left + side > 0 && top < PARAM_SIZE && top + side > 0;
}

// Code and place of an object; whether it is there and in view. Its code is -1 where it is not.
__device__ inline bool draw_object(
    u32 classes, u32 per_class, const int* scene, u32 slot, u32 view, const Sample& sample, int* out
) {
    out[OBJECT_CODE] = -1;
    if ((int)slot >= scene[SCENE_OBJECTS]) return false;
    draw_place(scene, draw(2, PURPOSE_OBJECT, slot, view, sample), out);
    if (!in_view(out)) return false;
    const u32 word = draw(3, PURPOSE_OBJECT, slot, 0, sample).w[0];
    out[OBJECT_CODE] = (int)choose_code(classes, per_class, sample.index, slot, word);
    return true;
}

__device__ inline void draw_scene(u32 view, const Sample& sample, int* out) {
    const float scale = 255.0f * 256.0f, shift = 255.0f * 1048576.0f;
    Words r = draw(0, PURPOSE_SCENE, 0, view, sample);
    out[SCENE_OBJECTS] = PARAM_MIN_OBJECTS + below(r.w[0], PARAM_MAX_OBJECTS - PARAM_MIN_OBJECTS + 1);
    out[SCENE_BLUR] = 0;
    if (unit(r.w[1]) < PARAM_BLUR_PROBABILITY) {
        float s = uniform(r.w[2], PARAM_BLUR_LOW, PARAM_BLUR_HIGH);
        float g = exp_negative(DIV(-0.5f, MUL(s, s)));
        out[SCENE_BLUR] = (int)FMA(256.0f, DIV(g, FMA(g, 2.0f, 1.0f)), 0.5f);
    }
    float ratio = exp_negative(-uniform(r.w[3], 0.4f, 0.8f)), amplitude = 32768.0f;
    for (int level = 0; level < PARAM_LEVELS; ++level) {
        out[SCENE_AMPLITUDES + level] = (int)amplitude;
        amplitude = MUL(amplitude, ratio);
    }
    r = draw(1, PURPOSE_SCENE, 0, view, sample);
    out[SCENE_HUE_SCALE] = (int)MUL(uniform(r.w[0], 0.25f, 1.0f), scale);
    out[SCENE_HUE_SHIFT] = (int)MUL(unit(r.w[1]), shift);
    out[SCENE_SATURATION_SCALE] = (int)MUL(uniform(r.w[2], 0.1f, 0.3f), scale);
    out[SCENE_SATURATION_SHIFT] = (int)MUL(uniform(r.w[3], 0.4f, 0.6f), shift);
    r = draw(2, PURPOSE_SCENE, 0, view, sample);
    out[SCENE_VALUE_SCALE] = (int)MUL(uniform(r.w[0], 0.3f, 0.6f), scale);
    out[SCENE_VALUE_SHIFT] = (int)MUL(uniform(r.w[1], 0.4f, 0.6f), shift);
    const u32 spare = (PARAM_PLACED ? PARAM_SCENE : PARAM_CANVAS) - PARAM_SIZE;
    out[SCENE_CROP_LEFT] = below(r.w[2], spare + 1);
    out[SCENE_CROP_TOP] = below(r.w[3], spare + 1);
    r = draw(3, PURPOSE_SCENE, 0, view, sample);
    for (int k = 0; k < 4; ++k) out[SCENE_CORNERS + k] = (int)MUL(ADD(unit(r.w[k]), 2.25f), 2048.0f);
}
