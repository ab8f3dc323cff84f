// Colours of backgrounds. Twin: fracgen/rendering/cpu/backdrop.py.
//
// A palette's entry is red | green << 8 | blue << 16.
#pragma once
#include "arithmetic.cuh"
#include "parameters.cuh"

// Value darkened by saturation * t / 30, rounded down.
__device__ __forceinline__ u32 shade(u32 saturation, u32 value, u32 t) { return value * (7650 - saturation * t) / 7650; }

// HSV to RGB. The hue is a byte of steps of 2 degrees; from 180 on it goes round once more. In every sixth of
// the circle one channel is the value, one fully darkened and one on the way.
__device__ inline u32 rgb(int hue, u32 saturation, u32 value) {
    u32 h = hue & 255;
    h = h >= 180 ? h - 180 : h;
    const u32 sixth = h / 30, along = h - 30 * sixth;
    const u32 middle = shade(saturation, value, sixth & 1 ? along : 30 - along), low = shade(saturation, value, 30);
    // Which byte of (value, middle, low) is red, green and blue.
    const u32 order = sixth == 0 ? 0x4210u : sixth == 1 ? 0x4201u : sixth == 2 ? 0x4102u
                    : sixth == 3 ? 0x4012u : sixth == 4 ? 0x4021u : 0x4120u;
    return pick_bytes(value | middle << 8 | low << 16, order);
}

__device__ __forceinline__ u32 byte_of(int v) { return (u32)max(0, min(v, 255)); }

// Entry i of a background's palette: a noise value's upper bits, 512ths; the middle of it, in 4096ths, counts.
__device__ inline u32 background_colour(const int* scene, int i) {
    const int x = 8 * i - 9212;
    return rgb((x * scene[SCENE_HUE_SCALE] + scene[SCENE_HUE_SHIFT]) >> 20,
               byte_of((x * scene[SCENE_SATURATION_SCALE] + scene[SCENE_SATURATION_SHIFT]) >> 20),
               byte_of((x * scene[SCENE_VALUE_SCALE] + scene[SCENE_VALUE_SHIFT]) >> 20));
}
