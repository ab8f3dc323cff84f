// Instructions that CUDA C++ has no good words for. A host build brings its own version of these.
#pragma once

#ifndef HOST_BUILD
// Byte offset of a shared variable, by which the functions below address shared memory.
__device__ __forceinline__ unsigned shared_offset(const void* p) { return (unsigned)__cvta_generic_to_shared(p); }

// Add to a word of shared memory, whatever the predicate: from `if (on) atomicAdd(...)` the compiler makes a branch
// and looks up the block's cluster every time.
__device__ __forceinline__ void shared_add(unsigned offset, unsigned value) {
    asm volatile("red.shared.add.u32 [%0], %1;" :: "r"(offset), "r"(value) : "memory");
}

// The larger of each of two unsigned halves.
__device__ __forceinline__ unsigned max_halves(unsigned a, unsigned b) { return __vmaxu2(a, b); }

// Bytes of a word, picked by the hexadecimal digits of `order`; digit 4 is a zero byte.
__device__ __forceinline__ unsigned pick_bytes(unsigned word, unsigned order) { return __byte_perm(word, 0, order); }

// The same of two words; digits 4 to 7 are the second's bytes.
__device__ __forceinline__ unsigned merge_bytes(unsigned a, unsigned b, unsigned order) { return __byte_perm(a, b, order); }

// The halves of a word times the two lowest bytes of `weights`, summed, plus c.
__device__ __forceinline__ unsigned dot_halves(unsigned word, unsigned weights, unsigned c) { return __dp2a_lo(word, weights, c); }
#endif
