// One multiprocessor, cycle by cycle: four schedulers, each with its pipes and a share of the warps, and
// one load-store unit for all. Instructions are carried out as they issue, so that branches, addresses and
// collisions are those of real data, and what the kernel writes can be held against the CPU renderer.
//
// A warp issues in order. The compiler's control codes say how long to wait after each instruction
// (stall) and which of six scoreboards an instruction of unknown duration releases or waits for.
#include <cstdio>
#include <deque>
#include <map>
#include <memory>
#include "execute.hpp"

enum Pipe : u8 { NO_PIPE, INTEGER, FLOAT_EITHER, FLOAT_HEAVY, LOAD_STORE, SPECIAL, UNIFORM_PATH, CONTROL };

namespace {

struct Scheduler {
    std::vector<Warp*> warps;
    size_t last = 0;
    u64 integer = 0, heavy = 0, light = 0, special = 0, uniform = 0, load_store = 0;  // free from this cycle on
    std::deque<u64> queue;  // starts of service of what waits for the load-store unit
};

class Multiprocessor {
public:
    Multiprocessor(const Launch& launch, const Machine& machine, Report& report)
        : launch_(launch), machine_(machine), report_(report), memory_(launch, machine, report), blocks_(launch.resident) {
        const u32 each = (launch.threads + LANES - 1) / LANES;
        for (u32 slot = 0; slot < launch.resident; ++slot)
            for (u32 k = 0; k < each; ++k) {
                warps_.push_back(std::make_unique<Warp>());
                Warp& w = *warps_.back();
                w.registers.resize((size_t)std::max(launch.registers, 1u) * LANES + 4 * LANES);
                w.block = slot, w.first_thread = k * LANES, w.done = true;
                w.scheduler = (u8)((slot * each + k) % 4);
                schedulers_[w.scheduler].warps.push_back(&w);
            }
        for (u32 slot = 0; slot < launch.resident && started_ < launch.blocks; ++slot) start_block(slot);
    }

    void run() {
        while (running_ > 0) {
            u64 next = ~0ull;
            bool any = false;
            for (Scheduler& s : schedulers_) any = issue_from(s, next) || any;
            now_ = any ? now_ + 1 : std::max(now_ + 1, next);
            if (now_ > 2'000'000'000ull) throw std::runtime_error("no end after two thousand million cycles");
        }
        report_.cycles = now_;
    }

    const Warp* at = nullptr;  // where an error happened

private:
    void start_block(u32 slot) {
        Block& b = blocks_[slot];
        b = Block();
        b.shared.assign(launch_.shared_bytes, 0xCD);  // rubbish, as on a device
        b.index = launch_.order[started_];
        b.used = true, b.last_barrier = now_;
        b.last_pc = 0;
        numbers_.resize(launch_.resident);
        numbers_[slot] = started_;
        report_.started[started_++] = now_;
        const u32 each = (launch_.threads + LANES - 1) / LANES;
        for (u32 k = 0; k < each; ++k) {
            Warp& w = *warps_[slot * each + k];
            std::fill(w.registers.begin(), w.registers.end(), 0xCDCDCDCDu);
            std::fill(std::begin(w.predicates), std::end(w.predicates), 0u);
            std::fill(std::begin(w.uniform_predicates), std::end(w.uniform_predicates), (u8)0);
            w.predicates[7] = ALL, w.uniform_predicates[7] = 1;
            const u32 left = launch_.threads - w.first_thread;
            w.active = left >= LANES ? ALL : (1u << left) - 1;
            w.exited = ~w.active;
            w.pc = 0, w.ready.clear(), w.waiting.clear();
            std::fill(std::begin(w.barrier), std::end(w.barrier), 0ull);
            w.ready_at = w.issued_at = now_;
            w.at_block_barrier = w.done = false;
            ++b.warps, ++b.live, ++running_;
        }
    }

    // The first warp from the last one on that can issue, does. True if one did; else `next` may sink.
    bool issue_from(Scheduler& s, u64& next) {
        while (!s.queue.empty() && s.queue.front() <= now_) s.queue.pop_front();
        const size_t n = s.warps.size();
        for (size_t k = 0; k < n; ++k) {
            const size_t which = s.last + k < n ? s.last + k : s.last + k - n;
            Warp& w = *s.warps[which];
            if (w.done || w.at_block_barrier) continue;
            u64 free = w.ready_at;
            if (free <= now_) free = pipe_free(s, launch_.code[w.pc]);
            if (free > now_) { next = std::min(next, free); continue; }
            s.last = which;
            at = &w;
            issue(s, w);
            return true;
        }
        return false;
    }

    u64 pipe_free(const Scheduler& s, const Instruction& in) const {
        switch (in.pipe) {
            case INTEGER: return s.integer;
            case FLOAT_EITHER: return std::min(s.heavy, s.light);
            case FLOAT_HEAVY: return s.heavy;
            case SPECIAL: return s.special;
            case UNIFORM_PATH: return s.uniform;
            case LOAD_STORE:
                return s.queue.size() < machine_.queue_length ? s.load_store : std::max(s.load_store, s.queue.front());
            default: return 0;
        }
    }

    void issue(Scheduler& s, Warp& w) {
        const Instruction& in = launch_.code[w.pc];
        const u32 number = (u32)w.pc;
        Context x = {launch_, w, in, w.active};
        x.mask &= x.predicate(in.guard);
        ++report_.issued, ++report_.executed[number];
        report_.waited[number] += now_ - w.issued_at;
        report_.lanes[number] += (u32)__builtin_popcount(x.mask);
        w.issued_at = now_;
        w.ready_at = now_ + std::max<u32>(1, in.stall);
        if (in.pipe == CONTROL) {
            control(x);
        } else {
            Cost cost;
            if (x.mask) {
                const u32 index = blocks_[w.block].index;
                cost = execute(x, memory_, blocks_[w.block], {w.first_thread, index % launch_.grid_x, index / launch_.grid_x, now_});
            } else cost.wavefronts = 0;
            take(s, w, in, cost);
            ++w.pc;
        }
        if (w.done || w.at_block_barrier) return;
        wait_for_scoreboards(w);
    }

    void wait_for_scoreboards(Warp& w) {
        if ((u32)w.pc >= launch_.instructions) throw std::runtime_error("ran past the end of the code");
        const u8 wait = launch_.code[w.pc].wait;
        for (int b = 0; b < 6; ++b)
            if (wait >> b & 1) w.ready_at = std::max(w.ready_at, w.barrier[b]);
    }

    void take(Scheduler& s, Warp& w, const Instruction& in, const Cost& cost) {
        u64 done = now_ + in.latency, read = now_ + machine_.operand_cycles;
        switch (in.pipe) {
            case INTEGER: s.integer = now_ + in.busy; break;
            case FLOAT_EITHER: (s.light <= now_ ? s.light : s.heavy) = now_ + in.busy; break;
            case FLOAT_HEAVY: s.heavy = now_ + in.busy; break;
            case UNIFORM_PATH: s.uniform = now_ + in.busy; break;
            case SPECIAL: s.special = now_ + in.busy; read = now_ + in.busy; break;
            case LOAD_STORE: load_store(s, in, cost, done, read); break;
            default: break;
        }
        report_.pipe_busy[in.pipe] += in.pipe == LOAD_STORE ? cost.wavefronts : in.busy;
        if (in.write_barrier < 6) w.barrier[in.write_barrier] = std::max(w.barrier[in.write_barrier], done);
        if (in.read_barrier < 6) w.barrier[in.read_barrier] = std::max(w.barrier[in.read_barrier], read);
    }

    void load_store(Scheduler& s, const Instruction& in, const Cost& cost, u64& done, u64& read) {
        s.load_store = now_ + machine_.issue_interval;
        const u64 start = std::max(unit_free_, now_ + machine_.operand_cycles + 2);
        unit_free_ = start + cost.wavefronts;
        s.queue.push_back(start);
        report_.wavefronts += cost.wavefronts;
        if (cost.atomics) ++report_.atomic_instructions, report_.atomic_wavefronts += cost.wavefronts;
        u64 end = start + cost.wavefronts;
        if (cost.sectors) {
            const double each = cost.global_atomic ? machine_.global_atomic_cycles : machine_.sector_cycles;
            port_free_ = std::max(port_free_, (double)end) + cost.sectors * each;
            end = (u64)port_free_;
        }
        done = end + in.latency + cost.latency;
        read = start + 2;
    }

    void control(const Context& x) {
        Warp& w = x.warp;
        const Instruction& in = x.in;
        switch (in.code) {
            case I_BRA:  // .DIV: where not all threads of the warp are here, to code that waits for the others
                branch(w, x.has(M_DIV) && w.active == w.live() ? 0 : x.mask & x.predicate(in.predicate_source[0]), in.jump);
                break;
            case I_CALL: branch(w, x.mask, in.jump); break;
            case I_RET: case I_BRX: {
                if (!x.mask) { ++w.pc; break; }
                u32 room[LANES];
                const u32* to = x.get(in.source[0], room);
                const u32 first = to[__builtin_ctz(x.mask)];
                const i32 pc = (i32)(first + (in.code == I_BRX ? in.extra + 16 * ((u32)w.pc + 1) : 0)) / 16;
                u32 same = 0;  // those who go elsewhere come here again
                EACH same |= (u32)(x.mask >> l & 1 && to[l] == first) << l;
                branch(w, same, pc, x.mask & ~same);
                break;
            }
            case I_BSSY:
                EACH if (w.active >> l & 1) w.convergence[in.extra][l] = w.active;
                ++w.pc;
                break;
            case I_BREAK:
                EACH w.convergence[in.extra][l] &= ~x.mask;
                ++w.pc;
                break;
            case I_BSYNC:
                if (!x.mask) ++w.pc;
                else if (w.stop(Wait::CONVERGENCE, (u8)in.extra)) w.ready_at = now_ + std::max<u32>(in.stall, w.pc == (i32)(&in - launch_.code) + 1 ? 1 : machine_.branch_cycles);
                else throw std::runtime_error("threads wait for others that never come (BSYNC)");
                break;
            case I_WARPSYNC:
                if (w.active == w.live()) ++w.pc;
                else if (!w.stop(Wait::WARP)) throw std::runtime_error("threads wait for others that never come (WARPSYNC)");
                break;
            case I_BAR: block_barrier(x); break;
            case I_EXIT: leave(x); break;
            default: throw std::runtime_error("control flow without a meaning here");
        }
    }

    void branch(Warp& w, u32 taken, i32 to, u32 again = 0) {
        if (!taken) { ++w.pc; return; }
        w.ready_at = std::max<u64>(w.ready_at, now_ + machine_.branch_cycles);
        if (again) w.ready.push_back({again, w.pc}), w.active &= ~again;
        const u32 stay = w.active & ~taken;
        if (stay) {  // the jumpers wait: what falls through comes first, as it does on a card mostly
            w.ready.push_back({taken, to});
            w.active = stay, ++w.pc;
        } else w.pc = to;
    }

    void block_barrier(const Context& x) {
        Warp& w = x.warp;
        Block& b = blocks_[w.block];
        if (x.has(M_RED)) {
            const u32 p = x.predicate(x.in.predicate_source[0]) & x.mask;
            b.barrier_or |= p != 0;
            b.barrier_and &= p == x.mask;
            b.barrier_count += (u32)__builtin_popcount(p);
        }
        const u8 kind = x.has(M_AND) ? 1 : x.has(M_POPC) ? 2 : 0;
        w.waiting.push_back({w.active, w.pc, Wait::BLOCK, kind});
        w.active = 0;
        if (w.at_barrier() != w.live()) {
            if (!w.switch_group()) throw std::runtime_error("threads wait at a block's barrier for others of their warp");
            return;
        }
        w.at_block_barrier = true;
        ++b.arrived;
        release_block(w.block);
    }

    void release_block(u32 slot) {
        Block& b = blocks_[slot];
        if (b.live == 0 || b.arrived < b.live) return;
        const u32 each = (launch_.threads + LANES - 1) / LANES;
        bool marked = false;
        for (u32 k = 0; k < each; ++k) {
            Warp& w = *warps_[slot * each + k];
            if (w.done) continue;
            const u8 kind = w.waiting[0].barrier;
            w.barrier_result = kind == 1 ? b.barrier_and : kind == 2 ? b.barrier_count : b.barrier_or;
            if (!marked) mark(b, (u32)w.waiting[0].pc), marked = true;
            w.pass_barrier();
            w.ready_at = now_ + machine_.barrier_cycles;
            wait_for_scoreboards(w);
        }
        b.arrived = b.barrier_or = b.barrier_count = 0, b.barrier_and = 1;
    }

    // The time since the block's last barrier, under the pair of both.
    void mark(Block& b, u32 pc) {
        Span*& span = span_of_[{b.last_pc, pc}];
        if (!span) {
            if (report_.span_count == MAX_SPANS) return;
            span = &report_.spans[report_.span_count++];
            *span = {b.last_pc, pc, 0, 0, 0};
        }
        ++span->count, span->cycles += now_ - b.last_barrier;
        b.last_barrier = now_, b.last_pc = pc;
    }

    void leave(const Context& x) {
        Warp& w = x.warp;
        w.exited |= x.mask;
        w.active &= ~x.mask;
        if (w.active) { ++w.pc; return; }
        if (w.live() && w.at_barrier() == w.live()) {
            Block& b = blocks_[w.block];
            w.at_block_barrier = true;
            ++b.arrived;
            return release_block(w.block);
        }
        if (w.live()) {
            if (!w.switch_group()) throw std::runtime_error("threads wait for others that have left");
            w.ready_at = now_ + machine_.branch_cycles;
            return;
        }
        Block& b = blocks_[w.block];
        w.done = true;
        --running_, --b.live;
        if (b.live) return release_block(w.block);
        mark(b, launch_.instructions);
        report_.ended[numbers_[w.block]] = now_;
        b.used = false;
        if (started_ < launch_.blocks) start_block(w.block);
    }

    const Launch& launch_;
    const Machine& machine_;
    Report& report_;
    Memory memory_;
    std::vector<Block> blocks_;
    std::vector<u32> numbers_;
    std::vector<std::unique_ptr<Warp>> warps_;
    Scheduler schedulers_[4];
    std::map<std::pair<u32, u32>, Span*> span_of_;
    u64 now_ = 0, unit_free_ = 0;
    double port_free_ = 0;
    u32 started_ = 0, running_ = 0;
};

}  // namespace

extern "C" int simulate(const Launch* launch, const Machine* machine, Report* report) {
    std::unique_ptr<Multiprocessor> sm;
    try {
        sm = std::make_unique<Multiprocessor>(*launch, *machine, *report);
        sm->run();
        return 0;
    } catch (const std::exception& error) {
        const long pc = sm && sm->at ? (long)sm->at->pc : -1;
        snprintf(report->fault, sizeof report->fault, "%s, at instruction %ld", error.what(), pc);
        return 1;
    }
}

extern "C" unsigned sizes(int which) {  // held against the ctypes structures
    return which == 0 ? sizeof(Instruction) : which == 1 ? sizeof(Launch) : which == 2 ? sizeof(Machine) : sizeof(Report);
}
