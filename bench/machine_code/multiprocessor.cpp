// One multiprocessor, cycle by cycle: four schedulers, each with its units and a share of the warps, and one load-store
// unit for all. Instructions are carried out as they issue, so branches, addresses and collisions are those of real data,
// and what the kernel writes can be compared with the CPU renderer's bytes.
//
// A warp issues in order. The compiler's control codes give the cycles to wait after each instruction (stall) and which of
// six scoreboards an instruction of unknown duration releases or waits for.
#include <cstdio>
#include <deque>
#include <memory>
#include "memory.hpp"

namespace {

struct Block {
    std::vector<u8> shared;
    u32 index = 0, arrived = 0, live = 0, barrier_or = 0;
};

struct Scheduler {
    std::vector<Warp*> warps;
    size_t last = 0;
    u64 free[U_COUNT] = {}, other_float = 0;  // cycle from which each unit is free; products take the first float unit
    std::deque<u64> queue;  // starts of service of what waits for the load-store unit
};

class Multiprocessor {
public:
    explicit Multiprocessor(Launch& launch)
        : launch_(launch), memory_(launch), each_((launch.threads + LANES - 1) / LANES), blocks_(launch.resident) {
        for (u32 k = 0; k < launch.resident * each_; ++k) {
            warps_.push_back(std::make_unique<Warp>());
            Warp& w = *warps_.back();
            w.registers.resize((size_t)std::max(launch.registers, 1u) * LANES + 4 * LANES);
            w.block = k / each_, w.first_thread = k % each_ * LANES;
            schedulers_[k % 4].warps.push_back(&w);
        }
        for (u32 slot = 0; slot < launch.resident && started_ < launch.blocks; ++slot) start_block(slot);
    }

    void run() {
        while (running_ > 0) {
            u64 next = ~0ull;
            bool any = false;
            for (Scheduler& s : schedulers_) any = issue_from(s, next) || any;
            now_ = any ? now_ + 1 : std::max(now_ + 1, next);
            if (now_ > 2'000'000'000ull) fault("no end after two thousand million cycles");
        }
        launch_.cycles = now_;
    }

    const Warp* at = nullptr;  // the last to issue

private:
    void start_block(u32 slot) {
        Block& b = blocks_[slot] = Block();
        b.shared.assign(launch_.shared_bytes, 0xCD);  // rubbish, as on a device
        b.index = started_++ % (launch_.grid_x * launch_.grid_y);
        b.live = each_, running_ += each_;
        for (u32 k = 0; k < each_; ++k) warps_[slot * each_ + k]->start(now_, launch_.threads);
    }

    // The first warp from the last one on that can issue does so. True if one did; else `next` may sink.
    bool issue_from(Scheduler& s, u64& next) {
        while (!s.queue.empty() && s.queue.front() <= now_) s.queue.pop_front();
        for (size_t k = 0, n = s.warps.size(); k < n; ++k) {
            const size_t which = s.last + k < n ? s.last + k : s.last + k - n;
            Warp& w = *s.warps[which];
            if (w.done || w.at_block_barrier) continue;
            u64 free = w.ready_at;
            if (free <= now_) free = unit_free(s, launch_.code[w.pc].unit);
            if (free > now_) { next = std::min(next, free); continue; }
            s.last = which;
            at = &w;
            issue(s, w);
            return true;
        }
        return false;
    }

    static u64 unit_free(const Scheduler& s, u8 unit) {
        if (unit == U_FLOAT) return std::min(s.free[U_PRODUCT], s.other_float);
        if (unit == U_LOAD_STORE && s.queue.size() >= QUEUE_LENGTH) return std::max(s.free[unit], s.queue.front());
        return s.free[unit];
    }

    void issue(Scheduler& s, Warp& w) {
        const Instruction& in = launch_.code[w.pc];
        Context x = {launch_, w, in, w.active};
        x.mask &= x.predicate(in.guard);
        w.ready_at = now_ + std::max<u32>(1, in.stall);
        if (in.unit == U_CONTROL) {
            control(x);
        } else {
            Cost cost;
            const u32 index = blocks_[w.block].index;
            if (!x.mask) cost.passes = 0;
            else if (in.unit == U_LOAD_STORE && in.code != I_SHFL) cost = memory_.access(x, blocks_[w.block].shared);
            else compute(x, w.first_thread, index % launch_.grid_x, index / launch_.grid_x);
            take(s, w, in, cost);
            ++w.pc;
        }
        if (!w.done && !w.at_block_barrier) wait_for_scoreboards(w);
    }

    void wait_for_scoreboards(Warp& w) {
        if ((u32)w.pc >= launch_.instructions) fault("ran past the end of the code");
        for (int b = 0; b < 6; ++b)
            if (launch_.code[w.pc].wait >> b & 1) w.ready_at = std::max(w.ready_at, w.scoreboard[b]);
    }

    void take(Scheduler& s, Warp& w, const Instruction& in, const Cost& cost) {
        u64 done = now_ + in.latency, read = now_ + (in.unit == U_SPECIAL ? in.busy : OPERAND_CYCLES);
        if (in.unit == U_LOAD_STORE) {
            s.free[U_LOAD_STORE] = now_ + ISSUE_INTERVAL;
            const u64 start = std::max(unit_free_, now_ + OPERAND_CYCLES + 2);
            u64 end = unit_free_ = start + cost.passes;
            s.queue.push_back(start);
            if (cost.sectors) {
                const double each = in.code == I_REDG ? GLOBAL_ATOMIC_CYCLES : SECTOR_CYCLES;
                port_free_ = std::max(port_free_, (double)end) + cost.sectors * each;
                end = (u64)port_free_;
            }
            done = end + in.latency + cost.latency, read = start + 2;
        } else if (in.unit == U_FLOAT && s.other_float <= now_) {
            s.other_float = now_ + in.busy;
        } else if (in.unit != U_NONE) {
            s.free[in.unit == U_FLOAT ? (u8)U_PRODUCT : in.unit] = now_ + in.busy;
        }
        if (in.write_barrier < 6) w.scoreboard[in.write_barrier] = std::max(w.scoreboard[in.write_barrier], done);
        if (in.read_barrier < 6) w.scoreboard[in.read_barrier] = std::max(w.scoreboard[in.read_barrier], read);
    }

    void control(const Context& x) {
        Warp& w = x.warp;
        const Instruction& in = x.in;
        const u32 barrier = in.source[0].value & 15;
        switch (in.code) {
            case I_BRA:  // .DIV: where not all threads of the warp are here, to code that waits for the others
                return branch(w, x.has(M_DIV) && w.active == w.live() ? 0 : x.mask & x.condition(0), in.jump);
            case I_CALL: return branch(w, x.mask, in.jump);
            case I_RET: case I_BRX: {
                if (!x.mask) break;
                u32 room[LANES], same = 0;
                const u32* to = x.get(0, room);
                const u32 first = to[__builtin_ctz(x.mask)];
                EACH same |= (u32)(x.mask >> l & 1 && to[l] == first) << l;
                return branch(w, same, (i32)(first + in.source[1].value) / 16, x.mask & ~same);
            }
            case I_BSSY: EACH if (w.active >> l & 1) w.convergence[barrier][l] = w.active; break;
            case I_BREAK: EACH w.convergence[barrier][l] &= ~x.mask; break;
            case I_BSYNC: {
                if (!x.mask) break;
                const i32 next = w.pc + 1;
                w.stop(Wait::CONVERGENCE, (u8)barrier);
                w.ready_at = now_ + std::max<u32>(in.stall, w.pc == next ? 1 : BRANCH_CYCLES);
                return;
            }
            case I_WARPSYNC:
                if (w.active == w.live()) break;
                return w.stop(Wait::WARP);
            case I_BAR: return block_barrier(x);
            case I_EXIT: return leave(x);
            default: fault("control flow without a meaning here");
        }
        ++w.pc;
    }

    // Threads that jump, and those that carry out the instruction again afterwards as they jump elsewhere.
    void branch(Warp& w, u32 taken, i32 to, u32 again = 0) {
        if (!taken) { ++w.pc; return; }
        w.ready_at = std::max<u64>(w.ready_at, now_ + BRANCH_CYCLES);
        if (again) w.ready.push_back({again, w.pc}), w.active &= ~again;
        const u32 stay = w.active & ~taken;
        if (stay) {  // the jumpers wait: what falls through comes first, as it mostly does on a card
            w.ready.push_back({taken, to});
            w.active = stay, ++w.pc;
        } else w.pc = to;
    }

    void block_barrier(const Context& x) {
        Warp& w = x.warp;
        if (x.has(M_RED) && !x.has(M_OR)) fault("reduction at a barrier of an unknown kind");
        if (x.has(M_RED)) blocks_[w.block].barrier_or |= (x.condition(0) & x.mask) != 0;
        w.waiting.push_back({w.active, w.pc, Wait::BLOCK, 0});
        w.active = 0;
        if (w.at_barrier() == w.live()) arrive(w);
        else if (!w.switch_group()) fault("threads wait at a block's barrier for others of their warp");
    }

    void arrive(Warp& w) {
        w.at_block_barrier = true;
        ++blocks_[w.block].arrived;
        release_block(w.block);
    }

    void release_block(u32 slot) {
        Block& b = blocks_[slot];
        if (b.live == 0 || b.arrived < b.live) return;
        for (u32 k = 0; k < each_; ++k) {
            Warp& w = *warps_[slot * each_ + k];
            if (w.done) continue;
            w.barrier_result = b.barrier_or;
            w.pass_barrier();
            w.ready_at = now_ + BARRIER_CYCLES;
            wait_for_scoreboards(w);
        }
        b.arrived = b.barrier_or = 0;
    }

    void leave(const Context& x) {
        Warp& w = x.warp;
        w.exited |= x.mask;
        w.active &= ~x.mask;
        if (w.active) { ++w.pc; return; }
        if (w.live()) {
            if (w.at_barrier() == w.live()) return arrive(w);
            if (!w.switch_group()) fault("threads wait for others that have left");
            w.ready_at = now_ + BRANCH_CYCLES;
            return;
        }
        w.done = true;
        --running_;
        if (--blocks_[w.block].live) release_block(w.block);
        else if (started_ < launch_.blocks) start_block(w.block);
    }

    Launch& launch_;
    Memory memory_;
    const u32 each_;  // warps of a block
    std::vector<Block> blocks_;
    std::vector<std::unique_ptr<Warp>> warps_;
    Scheduler schedulers_[4];
    u64 now_ = 0, unit_free_ = 0;
    double port_free_ = 0;
    u32 started_ = 0, running_ = 0;
};

}  // namespace

extern "C" void simulate(Launch* launch) {
    std::unique_ptr<Multiprocessor> sm;
    try {
        sm = std::make_unique<Multiprocessor>(*launch);
        sm->run();
    } catch (const std::exception& error) {
        const long pc = sm && sm->at ? (long)sm->at->pc : -1;
        snprintf(launch->fault, sizeof launch->fault, "%s, at instruction %ld", error.what(), pc);
    }
}

extern "C" unsigned size_of(int which) { return which ? sizeof(Launch) : sizeof(Instruction); }  // checked by simulator.py
