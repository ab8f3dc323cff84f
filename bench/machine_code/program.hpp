// A kernel as program.py decodes it, one record an instruction, and what one launch of it needs.
#pragma once
#include <cstdint>
#include "names.hpp"  // generated from program.py: codes I_, modifiers M_, special registers R_, units U_, kinds and flags

typedef uint8_t u8;
typedef uint16_t u16;
typedef uint32_t u32;
typedef uint64_t u64;
typedef int32_t i32;
typedef int64_t i64;

struct Operand {
    u8 kind, index;    // number of the register (255: zero), or of the constant bank
    u8 flags, second;  // another register that is added to an address or offset; 255: none
    u32 value;         // immediate value, or offset
};

struct Instruction {
    u64 modifiers;  // one bit each
    Operand target, source[4];
    u16 code, latency;  // cycles from the end of service until the write barrier is released
    u8 predicate_target[2], predicate_source[3], guard;
    u8 stall, write_barrier, read_barrier, wait;
    u8 unit, busy;  // cycles for which the unit is taken
    i32 jump;       // number of the instruction that is jumped to
};

enum { BANKS = 4 };

struct Launch {
    const Instruction* code;
    const u8* banks[BANKS];  // constant banks: 0 arguments, 2 tables of jumps, 3 constant arrays
    u8* memory;              // all that may be touched: [memory, memory + memory_bytes)
    u64 memory_bytes;
    u32 bank_bytes[BANKS];
    u32 instructions, registers, shared_bytes, threads, grid_x, grid_y;
    u32 blocks, resident;  // run in all, and at a time
    u32 cache_bytes;       // of L1
    u64 cycles;            // result
    char fault[256];       // result: empty where nothing went wrong
};

// What a Hopper multiprocessor is taken to be. Nothing here was measured by this project: throughput follows the CUDA
// programming guide's table for compute capability 9.0 (see UNITS in program.py), latencies the microbenchmark studies of
// Luo et al. (arXiv 2402.13499, 2501.12084), rounded. Assumed: a 64 or 128-bit access to shared memory is served by
// halves or quarters of a warp, an atomic there takes one pass for every lane that meets another in its bank, and
// instructions are in their caches.
enum {
    BRANCH_CYCLES = 12,   // from a taken branch to the warp's next instruction
    BARRIER_CYCLES = 10,  // from the last arrival at a barrier to the first instruction after it
    QUEUE_LENGTH = 8,     // instructions of a scheduler that may wait for the load-store unit
    ISSUE_INTERVAL = 2,   // between two instructions of one scheduler to that unit
    OPERAND_CYCLES = 4,   // until an instruction has read its registers
    CACHE_LATENCY = 30, L2_LATENCY = 240, MEMORY_LATENCY = 500,
};
constexpr double SECTOR_CYCLES = 32.0 / 24;  // 32 bytes between L2 and a multiprocessor, with all of them busy
constexpr double GLOBAL_ATOMIC_CYCLES = 1.5;  // the same for a reduction in L2
