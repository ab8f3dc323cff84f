// Which samples a batch holds, and their classes. Twin: fracgen/order.py.
#include "arithmetic.cuh"

__device__ __forceinline__ u32 mix(u32 x) {
    x = (x ^ x >> 16) * 0x7FEB352Du;
    x = (x ^ x >> 15) * 0x846CA68Bu;
    return x ^ x >> 16;
}

extern "C" __global__ void order(
    u64 first, u32 stride, u32 count, u64 size, u32 bits, u32 key0, u32 key1, u32 key2, u32 key3, u32 key4, u32 key5,
    u32 classes, u32* indices, long long* labels
) {
    const u32 i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= count) return;
    const u32 keys[6] = {key0, key1, key2, key3, key4, key5};
    const u64 low = ((u64)1 << bits) - 1;
    u64 x = first + (u64)i * stride;
    do {
        u64 a = x >> bits, b = x & low;
#pragma unroll
        for (int round = 0; round < 6; ++round) {
            u64 next = a ^ (mix((u32)b ^ keys[round]) & low);
            a = b, b = next;
        }
        x = a << bits | b;
    } while (x >= size);
    indices[i] = (u32)x;
    labels[i] = (long long)((u32)x % classes);
}
