// A kernel as `disassembly.py` hands it over: one record an instruction, in the order of addresses.
#pragma once
#include <cstdint>

typedef uint8_t u8;
typedef uint16_t u16;
typedef uint32_t u32;
typedef uint64_t u64;
typedef int32_t i32;
typedef int64_t i64;

enum Kind : u8 { NONE, REGISTER, UNIFORM, IMMEDIATE, CONSTANT, ADDRESS };
enum Flag : u8 {  // of a source operand
    NEGATED = 1, ABSOLUTE = 2, INVERTED = 4, FLOAT_SIGN = 8,  // the sign is a float's, of either half in packed code
    LOW_HALF = 16, HIGH_HALF = 32, WIDE = 64,
};

struct Operand {
    u8 kind, index;  // number of the register, or of the constant bank; 255: RZ
    u8 flags, second;  // uniform register added to an address, 255: none
    u32 value;  // immediate, offset in a bank or address
};

enum Guard : u8 { PREDICATE = 7, NOT = 8, FROM_UNIFORM = 16 };

struct Instruction {
    u64 modifiers[2];  // one bit a modifier, as numbered in the generated names.hpp
    Operand source[4];
    u16 code;            // see names.hpp
    u8 target_kind, target;  // REGISTER, UNIFORM or NONE
    u8 predicate_target[2];  // 7: none; FROM_UNIFORM where uniform
    u8 predicate_source[3];
    u8 guard;
    u8 stall, write_barrier, read_barrier, wait;
    u8 pipe, busy;   // unit, and the cycles that it is taken for
    u16 latency;     // cycles from the end of service to the release of the write barrier
    u32 extra;       // LUT, barrier register or special register
    u32 extra_second;
    i32 jump;        // instruction jumped to, -1: none
};

enum { BANKS = 4 };

struct Launch {
    const Instruction* code;
    const u8* banks[BANKS];  // constant banks: 0 arguments, 2 tables of jumps, 3 constant arrays
    const u8* arena;       // what global memory may be touched: [arena, arena + arena_bytes)
    u8* touched;           // one byte a 32-byte sector of the arena: 1 read, 2 written
    const u32* order;      // [blocks] which block of the grid each is
    u64 arena_bytes;
    u32 bank_bytes[BANKS];
    u32 instructions, registers, shared_bytes, threads;
    u32 grid_x, grid_y;
    u32 blocks;            // run in all
    u32 resident;          // at a time
    u32 cache_bytes;       // of L1
};

// What the multiprocessor is taken to be; see machine.py, which explains every number.
struct Machine {
    u32 branch_cycles, barrier_cycles, queue_length, issue_interval, operand_cycles;
    u32 cache_latency, l2_latency, memory_latency;
    u32 merge_wide_loads, merge_equal_atomics;
    double sector_cycles, global_atomic_cycles;
};

enum { PIPES = 8, MAX_SPANS = 4096 };

struct Span { u32 from, to, count; u32 unused; u64 cycles; };  // between two barriers of a block

struct Report {
    u64 cycles, issued, wavefronts, atomic_instructions, atomic_wavefronts, read_sectors, written_sectors;
    u64 pipe_busy[PIPES];      // cycles, summed over the four schedulers where each has one
    u64* executed;             // [instructions] warp instructions issued
    u64* waited;               // [instructions] cycles that warps stood before it
    u64* lanes;                // [instructions] threads that took part
    u64* started;              // [blocks] cycle
    u64* ended;                // [blocks] cycle
    Span* spans;               // [MAX_SPANS]
    u32 span_count;
    char fault[256];
};
