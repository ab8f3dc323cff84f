// Runs a kernel (kernel.cpp) over a grid, block after block, thread after thread. See cuda_on_host.h.
#include "cuda_on_host.h"

#include <link.h>
#include <setjmp.h>
#include <stdio.h>
#include <sys/mman.h>
#include <ucontext.h>

#include <vector>

void host_call(void** arguments);
void host_touch_shared();

dim3 threadIdx, blockIdx, blockDim, gridDim;

namespace {

constexpr size_t STACK = 64 * 1024, GUARD = 4096;
enum State { READY, AT_BARRIER, IN_WARP, DONE };

struct Fiber {
    ucontext_t context;  // to begin
    jmp_buf place;  // to go on: swapcontext would ask the system about signals each time
    bool begun;
    State state;
    int line, result;
};

struct Warp {
    uint32_t arrived, generation, values[2][32];
    int line;
};

std::vector<Fiber> fibers;
std::vector<Warp> warps;
ucontext_t scheduler_begin;
jmp_buf scheduler;
unsigned current;
int any;
char fault[256];
void** call_arguments;
char* stacks;

void yield() {
    if (!_setjmp(fibers[current].place)) _longjmp(scheduler, 1);
}

void resume() {
    Fiber& f = fibers[current];
    if (_setjmp(scheduler)) return;
    if (f.begun) _longjmp(f.place, 1);
    f.begun = true;
    swapcontext(&scheduler_begin, &f.context);
}

void entry() {
    host_call(call_arguments);
    fibers[current].state = DONE;
    _longjmp(scheduler, 1);
}

// Shared memory starts a block with rubbish on a GPU; here with 0xCD, so that reading before
// writing shows. It is all of this library's thread-local storage.
void poison() {
    host_touch_shared();  // the storage exists from its first use on
    dl_iterate_phdr([](dl_phdr_info* info, size_t, void*) {
        bool ours = false;
        size_t size = 0;
        for (int i = 0; i < info->dlpi_phnum; ++i) {
            const auto& p = info->dlpi_phdr[i];
            uintptr_t begin = info->dlpi_addr + p.p_vaddr, at = (uintptr_t)&fault;
            if (p.p_type == PT_LOAD && at >= begin && at < begin + p.p_memsz) ours = true;
            if (p.p_type == PT_TLS) size = p.p_memsz;
        }
        if (ours && info->dlpi_tls_data && size) memset(info->dlpi_tls_data, 0xCD, size);
        return 0;
    }, nullptr);
}

unsigned nth(unsigned i, unsigned count, int order) {
    if (order == 1) return count - 1 - i;
    if (order == 2) return (unsigned)((i * 2654435761ull + 12345) % count);  // a permutation for powers of two
    return i;
}

bool run_block(unsigned threads, int order) {
    poison();
    for (unsigned i = 0; i < threads; ++i) {
        Fiber& f = fibers[i];
        getcontext(&f.context);
        f.context.uc_stack.ss_sp = stacks + i * (STACK + GUARD) + GUARD;
        f.context.uc_stack.ss_size = STACK;
        f.context.uc_link = nullptr;
        makecontext(&f.context, entry, 0);
        f.state = READY, f.begun = false;
    }
    memset(warps.data(), 0, warps.size() * sizeof(Warp));
    any = 0;
    for (;;) {
        bool moved = false;
        for (unsigned i = 0; i < threads; ++i) {
            current = nth(i, threads, order);
            if (fibers[current].state != READY) continue;
            threadIdx = {current, 0, 0};
            resume();
            if (fault[0]) return false;
            moved = true;
        }
        unsigned waiting = 0, done = 0;
        int line = 0;
        for (const Fiber& f : fibers) {
            done += f.state == DONE;
            if (f.state != AT_BARRIER) continue;
            if (waiting++ && f.line != line) {
                snprintf(fault, sizeof fault, "divergent barrier: lines %d and %d", line, f.line);
                return false;
            }
            line = f.line;
        }
        if (done == threads) return true;
        if (waiting == threads) {
            for (Fiber& f : fibers) f.state = READY, f.result = any;
            any = 0;
        } else if (!moved) {
            snprintf(fault, sizeof fault, "deadlock: %u of %u threads wait at line %d, %u are done", waiting, threads,
                     line, done);
            return false;
        }
    }
}

}  // namespace

int host_barrier(int line, int predicate) {
    any |= predicate != 0;
    Fiber& f = fibers[current];
    f.state = AT_BARRIER, f.line = line;
    yield();
    return f.result;
}

// What every lane of a warp hands in, once all of `mask` have.
static const uint32_t* exchange(int line, uint32_t mask, uint32_t value) {
    const unsigned lane = current % 32;
    Warp& w = warps[current / 32];
    if (w.arrived && w.line != line) {
        snprintf(fault, sizeof fault, "divergent collective: lines %d and %d", w.line, line);
        yield();
    }
    w.line = line;
    const uint32_t generation = w.generation;
    if (!w.arrived) memset(w.values[generation & 1], 0, sizeof w.values[0]);
    w.values[generation & 1][lane] = value;
    w.arrived |= 1u << lane;
    if (w.arrived == mask) {
        w.arrived = 0, ++w.generation;
        for (unsigned i = current - lane; i < current - lane + 32 && i < fibers.size(); ++i)
            if (fibers[i].state == IN_WARP) fibers[i].state = READY;
    } else {
        fibers[current].state = IN_WARP;
        yield();
    }
    return w.values[generation & 1];
}

uint32_t host_shuffle_xor(int line, uint32_t mask, uint32_t value, int lane_mask) {
    return exchange(line, mask, value)[current % 32 ^ lane_mask];
}

uint32_t host_ballot(int line, uint32_t mask, bool yes) {
    const uint32_t* said = exchange(line, mask, yes);
    uint32_t result = 0;
    for (int lane = 0; lane < 32; ++lane) result |= said[lane] << lane;
    return result;
}

// Returns null, or what went wrong.
extern "C" const char* launch(unsigned grid_x, unsigned grid_y, unsigned threads, int order, void** arguments) {
    fibers = std::vector<Fiber>(threads);
    warps = std::vector<Warp>((threads + 31) / 32);
    call_arguments = arguments;
    fault[0] = 0;
    const size_t size = threads * (STACK + GUARD);
    stacks = (char*)mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (stacks == MAP_FAILED) return "no memory for the fibers' stacks";
    for (unsigned i = 0; i < threads; ++i) mprotect(stacks + i * (STACK + GUARD), GUARD, PROT_NONE);
    gridDim = {grid_x, grid_y, 1}, blockDim = {threads, 1, 1};
    bool good = true;
    for (unsigned y = 0; good && y < grid_y; ++y) {
        for (unsigned x = 0; good && x < grid_x; ++x) {
            blockIdx = {order == 1 ? grid_x - 1 - x : x, y, 0};
            good = run_block(threads, order);
        }
    }
    munmap(stacks, size);
    return good ? nullptr : fault;
}
