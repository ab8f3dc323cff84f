// A warp: its registers, the groups that its threads have split into, and how an instruction reads and writes them.
#pragma once
#include <algorithm>
#include <cstring>
#include <stdexcept>
#include <string>
#include <vector>
#include "program.hpp"

enum { LANES = 32 };
constexpr u32 ALL = 0xFFFFFFFFu;
#define EACH for (int l = 0; l < LANES; ++l)

[[noreturn]] inline void fault(const std::string& what) { throw std::runtime_error(what); }

enum class Wait : u8 { CONVERGENCE, WARP, BLOCK };
struct Group { u32 lanes; i32 pc; };
struct Waiting {
    u32 lanes; i32 pc; Wait why; u8 barrier;
    bool with(const Waiting& w) const { return w.why == why && w.barrier == barrier && w.pc == pc; }
};

struct alignas(64) Warp {
    std::vector<u32> registers;  // [registers][LANES]
    u32 zeros[LANES] = {}, uniform[64] = {};
    u32 predicates[8] = {};  // one bit a lane
    u8 uniform_predicates[8] = {};
    u32 convergence[16][LANES] = {};  // the threads that meet at B0 to B15, as each lane knows it
    u32 active = 0, exited = 0, barrier_result = 0;
    i32 pc = 0;
    std::vector<Group> ready;
    std::vector<Waiting> waiting;
    u64 ready_at = 0, scoreboard[6] = {};  // cycles
    bool at_block_barrier = false, done = true;
    u32 block = 0, first_thread = 0;

    u32* reg(u32 index) { return &registers[index * LANES]; }
    u32 live() const { return ~exited; }

    void start(u64 now, u32 threads) {
        std::fill(registers.begin(), registers.end(), 0xCDCDCDCDu);  // rubbish, as on a device
        std::fill(predicates, predicates + 7, 0u), predicates[7] = ALL;
        std::fill(uniform_predicates, uniform_predicates + 7, (u8)0), uniform_predicates[7] = 1;
        std::fill(scoreboard, scoreboard + 6, 0ull);
        const u32 left = threads - first_thread;
        active = left >= LANES ? ALL : (1u << left) - 1, exited = ~active;
        pc = 0, ready_at = now, at_block_barrier = done = false;
        ready.clear(), waiting.clear();
    }

    // Continue with another group of threads, as the present one has stopped. False if all wait.
    bool switch_group() {
        for (size_t i = 0; i < waiting.size(); ++i)
            if (release(waiting[i])) return true;
        if (ready.empty()) return false;
        active = ready.back().lanes, pc = ready.back().pc;
        ready.pop_back();
        return true;
    }

    // If everyone whom a group waits for has come, they continue as one.
    bool release(const Waiting own) {
        if (own.why == Wait::BLOCK) return false;
        u32 needed = live(), there = 0, together = 0;
        if (own.why == Wait::CONVERGENCE) needed &= convergence[own.barrier][__builtin_ctz(own.lanes)];
        for (const Waiting& w : waiting) there |= own.with(w) ? w.lanes : 0;
        if ((there & needed) != needed) return false;
        needed |= own.lanes;
        for (size_t k = waiting.size(); k-- > 0;)
            if (own.with(waiting[k]) && (waiting[k].lanes & needed))
                together |= waiting[k].lanes, waiting.erase(waiting.begin() + (long)k);
        active = together, pc = own.pc + 1;
        return true;
    }

    // The present group waits at its instruction until others come.
    void stop(Wait why, u8 which = 0) {
        waiting.push_back({active, pc, why, which});
        active = 0;
        if (!switch_group()) fault("threads wait for others that never come");
    }

    u32 at_barrier() const {  // lanes that stand at a block's barrier
        u32 there = 0;
        for (const Waiting& w : waiting) there |= w.why == Wait::BLOCK ? w.lanes : 0;
        return there;
    }

    void pass_barrier() {
        active = at_barrier();
        for (const Waiting& w : waiting)
            if (w.why == Wait::BLOCK) pc = w.pc + 1;
        waiting.clear();
        at_block_barrier = false;
    }
};

// An instruction of a warp, about to be carried out.
struct Context {
    const Launch& launch;
    Warp& warp;
    const Instruction& in;
    u32 mask;  // lanes that take part

    bool has(int modifier) const { return in.modifiers >> modifier & 1; }

    // A source without its sign, a value a lane, which `room` may hold; `word` 1 is the upper half of a 64-bit one.
    const u32* raw(int number, u32* room, int word = 0) const {
        const Operand& o = in.source[number];
        u32 same = 0;
        switch (o.kind) {
            case NONE: return warp.zeros;
            case REGISTER: return o.index == 255 ? warp.zeros : warp.reg(o.index + (u32)word);
            case UNIFORM: same = o.index == 255 ? 0 : warp.uniform[o.index + word]; break;
            case IMMEDIATE: same = word ? (u32)((i32)o.value >> 31) : o.value; break;
            case CONSTANT: {
                const u32* at = o.second == 255 ? warp.zeros : warp.reg(o.second);
                EACH if (mask >> l & 1) {
                    const u64 offset = at[l] + o.value + 4u * (u32)word;
                    if (o.index >= BANKS || offset + 4 > launch.bank_bytes[o.index]) fault("constant bank read past its end");
                    memcpy(&room[l], launch.banks[o.index] + offset, 4);
                }
                return room;
            }
            default: fault("operand of an unexpected kind");
        }
        std::fill(room, room + LANES, same);
        return room;
    }

    const u32* get(int number, u32* room, int word = 0) const {  // with its sign
        const u32* v = raw(number, room, word);
        const u32 flags = in.source[number].flags, sign = 0x80000000u;
        if (!(flags & (NEGATED | ABSOLUTE | INVERTED))) return v;
        const bool is_float = flags & FLOAT_SIGN;
        EACH {
            u32 r = v[l];
            if (flags & ABSOLUTE) r = is_float ? r & ~sign : (i32)r < 0 ? 0u - r : r;
            if (flags & NEGATED) r = is_float ? r ^ sign : 0u - r;
            room[l] = flags & INVERTED ? ~r : r;
        }
        return room;
    }

    u32 predicate(u8 p) const {
        const u32 bits = p & FROM_UNIFORM ? (warp.uniform_predicates[p & 7] ? ALL : 0) : warp.predicates[p & 7];
        return p & NOT ? ~bits : bits;
    }
    u32 condition(int number) const { return predicate(in.predicate_source[number]); }

    void set_predicate(int number, u32 bits) const {
        const u8 p = in.predicate_target[number];
        if ((p & 7) == 7) return;
        if (p & FROM_UNIFORM) warp.uniform_predicates[p & 7] = (bits & mask) != 0;
        else warp.predicates[p & 7] = (warp.predicates[p & 7] & ~mask) | (bits & mask);
    }

    void put(const u32* v, int word = 0) const {
        if (in.target.index == 255) return;
        if (in.target.kind == UNIFORM) {
            if (mask) warp.uniform[in.target.index + word] = v[__builtin_ctz(mask)];
        } else if (in.target.kind == REGISTER) {
            u32* d = warp.reg(in.target.index + (u32)word);
            EACH d[l] = mask >> l & 1 ? v[l] : d[l];
        }
    }
};
