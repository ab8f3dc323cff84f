// What the device can do at most, measured: instructions issued, shared memory atomics.

// 128 fused multiply-adds a turn in eight chains: the pipe that can take one every cycle from every
// scheduler, so this is how fast instructions can be issued at all. Loop overhead is 3 in 131.
extern "C" __global__ void issue(int turns, float* out) {
    float f[8];
    for (int k = 0; k < 8; ++k) f[k] = threadIdx.x * 0.001f + k;
    for (int turn = 0; turn < turns; ++turn) {
#pragma unroll
        for (int part = 0; part < 16; ++part) {
#pragma unroll
            for (int k = 0; k < 8; ++k) f[k] = __fmaf_rn(f[k], 0.999f, 0.001f);
        }
    }
    float sum = 0;
    for (int k = 0; k < 8; ++k) sum += f[k];
    if (sum == 123.456f) out[0] = sum;
}

// Adds to pseudo-random words of a 132 KB histogram, one a thread and turn.
extern "C" __global__ void atomics(int turns, unsigned* out) {
    extern __shared__ unsigned histogram[];
    for (int i = threadIdx.x; i < 33280; i += blockDim.x) histogram[i] = 0;
    __syncthreads();
    // The value depends on the word, as in the attractor: a constant 1 would become another instruction.
    unsigned base = (unsigned)__cvta_generic_to_shared(histogram), at = threadIdx.x * 2654435761u;
    for (int turn = 0; turn < turns; ++turn) {
        at = at * 747796405u + 2891336453u;
        unsigned word = (unsigned)(((unsigned long long)at * 33280u) >> 32);
        asm volatile("red.shared.add.u32 [%0], %1;" ::"r"(base + word * 4), "r"(at & 1 ? 0x10000u : 1u) : "memory");
    }
    __syncthreads();
    if (histogram[threadIdx.x] == 0xFFFFFFFFu) out[0] = 1;
}
