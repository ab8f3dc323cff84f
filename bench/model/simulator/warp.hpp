// A warp's state: registers, and the groups that its threads have split into.
#pragma once
#include <algorithm>
#include <stdexcept>
#include <string>
#include <vector>
#include "program.hpp"

enum { LANES = 32 };
constexpr u32 ALL = 0xFFFFFFFFu;
enum class Wait : u8 { CONVERGENCE, WARP, BLOCK };

struct Group { u32 lanes; i32 pc; };
struct Waiting { u32 lanes; i32 pc; Wait why; u8 barrier; };

struct alignas(64) Warp {
    std::vector<u32> registers;      // [registers][LANES]
    u32 zeros[LANES] = {};
    u32 uniform[64] = {};
    u32 predicates[8] = {};          // a bit a lane; [7] is always true
    u8 uniform_predicates[8] = {};
    u32 convergence[16][LANES] = {}; // who meets at B0..B15, as each lane has it
    u32 active = 0, exited = 0;
    i32 pc = 0;
    u32 barrier_result = 0;
    std::vector<Group> ready;
    std::vector<Waiting> waiting;

    // For the clock.
    u64 ready_at = 0, issued_at = 0;
    u64 barrier[6] = {};             // when a scoreboard is next free
    u8 scheduler = 0;
    bool at_block_barrier = false, done = false;
    u32 block = 0, first_thread = 0;

    u32* reg(u32 index) { return &registers[index * LANES]; }
    u32 live() const { return ~exited; }

    // Go on with another group of threads; the present one has stopped. False if all wait.
    bool switch_group() {
        for (size_t i = 0; i < waiting.size(); ++i)
            if (release(i)) return true;
        if (ready.empty()) return false;
        active = ready.back().lanes, pc = ready.back().pc;
        ready.pop_back();
        return true;
    }

    // Whether everyone whom the i-th waiting group waits for has come; then they go on as one.
    bool release(size_t i) {
        const Waiting own = waiting[i];
        if (own.why == Wait::BLOCK) return false;
        u32 needed = own.why == Wait::WARP ? live() : convergence[own.barrier][__builtin_ctz(own.lanes)] & live();
        u32 there = 0;
        for (const Waiting& w : waiting)
            if (w.why == own.why && w.barrier == own.barrier && w.pc == own.pc) there |= w.lanes;
        if ((there & needed) != needed) return false;
        needed |= own.lanes;
        u32 together = 0;
        for (size_t k = waiting.size(); k-- > 0;) {
            const Waiting& w = waiting[k];
            if (w.why == own.why && w.barrier == own.barrier && w.pc == own.pc && (w.lanes & needed)) {
                together |= w.lanes;
                waiting.erase(waiting.begin() + (long)k);
            }
        }
        active = together, pc = own.pc + 1;
        return true;
    }

    // The present group waits at its instruction. True if a group can go on.
    bool stop(Wait why, u8 which = 0) {
        waiting.push_back({active, pc, why, which});
        active = 0;
        return switch_group();
    }

    // How many lanes stand at a block's barrier, and the move past it.
    u32 at_barrier() const {
        u32 there = 0;
        for (const Waiting& w : waiting)
            if (w.why == Wait::BLOCK) there |= w.lanes;
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
