// Loads, stores and atomics: what they do, and how much of the memory units they take.
#pragma once
#include "arithmetic.hpp"

struct Cost {
    u32 wavefronts = 1;  // passes through the load-store unit
    u32 sectors = 0;     // of 32 bytes, that go past L1
    u32 latency = 0;     // added to the instruction's own
    u32 atomics = 0;     // threads that add, in shared memory
    bool global_atomic = false;
};

struct Addresses { u64 at[LANES]; };

// What one block sees.
struct Block {
    std::vector<u8> shared;
    u32 index = 0, warps = 0, arrived = 0, live = 0, barrier_or = 0, barrier_count = 0;
    u32 barrier_and = 1;
    u64 last_barrier = 0;
    u32 last_pc = 0;
    bool used = false;
};

inline u32 width_of(const Context& x) {
    return x.has(M_128) ? 16 : x.has(M_64) ? 8 : x.has(M_U16) || x.has(M_S16) || x.has(M_16) ? 2
         : x.has(M_U8) || x.has(M_S8) || x.has(M_8) ? 1 : 4;
}

inline Addresses addresses(const Context& x, const Operand& o) {
    if (o.kind != ADDRESS) throw std::runtime_error("memory instruction without an address");
    Addresses r;
    const u32* low = o.index == 255 ? x.warp.zeros : x.warp.reg(o.index);
    const u32* high = o.flags & WIDE && o.index != 255 ? x.warp.reg(o.index + 1u) : x.warp.zeros;
    const u32 scale = o.flags & 15;
    u64 uniform = o.second == 255 ? 0 : x.warp.uniform[o.second];
    if (o.second != 255 && x.in.source[3].kind == UNIFORM) uniform |= (u64)x.warp.uniform[o.second + 1] << 32;
    EACH r.at[l] = (((u64)high[l] << 32 | low[l]) << scale) + uniform + (u64)(i64)(i32)o.value;
    return r;
}

// Most accesses to one bank; equal words count once unless `serial`.
inline u32 bank_conflicts(const u64* at, u32 mask, int first, int last, u32 width, bool serial) {
    // Neighbours in neighbouring words, and all in one word, are the usual cases.
    if (mask == ALL && width <= 4 && !serial && first == 0 && last == LANES) {
        u64 apart = 0, spread = 0;
        for (u32 l = 0; l < LANES; ++l) apart |= (at[l] >> 2) ^ ((at[0] >> 2) + l), spread |= (at[l] ^ at[0]) >> 2;
        if (!apart || !spread) return 1;
    }
    u32 count[32] = {}, most = 0;
    u64 words[32][LANES];
    for (int l = first; l < last; ++l) {
        if (!(mask >> l & 1)) continue;
        for (u64 w = at[l] >> 2; w <= (at[l] + width - 1) >> 2; ++w) {
            const u32 bank = (u32)w & 31;
            bool seen = false;
            for (u32 k = 0; k < count[bank] && !serial; ++k) seen = seen || words[bank][k] == w;
            if (seen || count[bank] == LANES) continue;
            words[bank][count[bank]++] = w;
            most = std::max(most, count[bank]);
        }
    }
    return most;
}

inline u32 shared_wavefronts(const Addresses& a, u32 mask, u32 width, bool merge_wide) {
    if (width <= 4 || merge_wide) return std::max(1u, bank_conflicts(a.at, mask, 0, LANES, width, false));
    const int step = width == 8 ? 16 : 8;  // halves and quarters of a warp go one after another
    u32 sum = 0;
    for (int l = 0; l < LANES; l += step) sum += bank_conflicts(a.at, mask, l, l + step, width, false);
    return std::max(1u, sum);
}

class Memory {
public:
    Memory(const Launch& launch, const Machine& machine, Report& report)
        : launch_(launch), machine_(machine), report_(report), cache_(std::max(1u, launch.cache_bytes / 32), ~0ull) {}

    Cost shared(const Context& x, Block& block) {
        const bool load = x.in.code == I_LDS;
        const Addresses a = addresses(x, x.in.source[0]);
        const u32 width = width_of(x);
        u8* base = block.shared.data();
        EACH if (x.mask >> l & 1) {
            if (a.at[l] + width > block.shared.size() || a.at[l] % width) fault("shared", a.at[l]);
        }
        if (load) load_lanes(x, a, width, base, 0);
        else store_lanes(x, a, width, base, 0);
        Cost c;
        c.wavefronts = shared_wavefronts(a, x.mask, width, machine_.merge_wide_loads);
        return c;
    }

    Cost shared_atomic(const Context& x, Block& block) {
        const Addresses a = addresses(x, x.in.source[0]);
        u32 room[LANES], old[LANES] = {};
        const u32* v = x.get(x.in.source[1], room);
        EACH if (x.mask >> l & 1) {
            if (a.at[l] + 4 > block.shared.size() || a.at[l] % 4) fault("shared", a.at[l]);
            old[l] = combine(x, block.shared.data() + a.at[l], v, l);
        }
        x.put(old);
        Cost c;
        c.wavefronts = std::max(1u, bank_conflicts(a.at, x.mask, 0, LANES, 4, !machine_.merge_equal_atomics));
        c.atomics = (u32)__builtin_popcount(x.mask);
        return c;
    }

    Cost global(const Context& x, bool load, bool atomic) {
        const Addresses a = addresses(x, x.in.source[0]);
        const u32 width = width_of(x);
        u8* base = const_cast<u8*>(launch_.arena);
        const u64 low = (u64)launch_.arena;
        EACH if (x.mask >> l & 1) {
            if (a.at[l] < low || a.at[l] + width > low + launch_.arena_bytes || a.at[l] % width) fault("global", a.at[l]);
        }
        if (atomic) {
            u32 room[LANES], old[LANES] = {};
            const u32* v = x.get(x.in.source[1], room);
            EACH if (x.mask >> l & 1) old[l] = combine(x, base + (a.at[l] - low), v, l);
            x.put(old);
        } else if (load) load_lanes(x, a, width, base, low);
        else store_lanes(x, a, width, base, low);
        return global_cost(x, a, width, load, atomic);
    }

private:
    [[noreturn]] static void fault(const char* which, u64 at) {
        throw std::runtime_error(std::string(which) + " memory access out of bounds or misaligned at " + std::to_string(at));
    }

    static void load_lanes(const Context& x, const Addresses& a, u32 width, const u8* base, u64 low) {
        u32 out[4][LANES] = {};
        const bool sign = x.has(M_S16) || x.has(M_S8);
        EACH if (x.mask >> l & 1) {
            u32 v[4] = {};
            memcpy(v, base + (a.at[l] - low), width);
            if (sign) v[0] = width == 2 ? (u32)(i32)(int16_t)v[0] : (u32)(i32)(int8_t)v[0];
            for (int k = 0; k < 4; ++k) out[k][l] = v[k];
        }
        for (u32 k = 0; k < std::max(1u, width / 4); ++k) x.put(out[k], (int)k);
    }

    static void store_lanes(const Context& x, const Addresses& a, u32 width, u8* base, u64 low) {
        u32 room[4][LANES];
        const u32* v[4] = {};
        for (u32 k = 0; k < std::max(1u, width / 4); ++k) v[k] = x.get(x.in.source[1], room[k], (int)k);
        EACH if (x.mask >> l & 1) {
            u32 word[4];
            for (u32 k = 0; k < std::max(1u, width / 4); ++k) word[k] = v[k][l];
            memcpy(base + (a.at[l] - low), word, width);
        }
    }

    static u32 combine(const Context& x, u8* at, const u32* v, int l) {
        u32 old, room[LANES];
        memcpy(&old, at, 4);
        const bool is_signed = x.has(M_S32);
        u32 now = x.has(M_ADD) ? old + v[l] : x.has(M_MAX) ? extreme(old, v[l], false, !is_signed)
                : x.has(M_MIN) ? extreme(old, v[l], true, !is_signed) : x.has(M_OR) ? old | v[l] : x.has(M_AND) ? old & v[l]
                : x.has(M_XOR) ? old ^ v[l] : x.has(M_EXCH) ? v[l] : x.has(M_POPC) ? old + 1
                : x.has(M_CAS) ? (old == v[l] ? x.get(x.in.source[2], room)[l] : old)
                : throw std::runtime_error("atomic operation of an unknown kind");
        memcpy(at, &now, 4);
        return old;
    }

    Cost global_cost(const Context& x, const Addresses& a, u32 width, bool load, bool atomic) {
        u64 lines[LANES * 4], sectors[LANES * 4];
        int line_count = 0, sector_count = 0;
        auto add = [](u64* list, int& n, u64 v) {
            for (int k = n; k-- > 0;) if (list[k] == v) return;
            list[n++] = v;
        };
        EACH if (x.mask >> l & 1) {
            add(lines, line_count, a.at[l] >> 7);
            add(sectors, sector_count, a.at[l] >> 5);
        }
        Cost c;
        u32 missed = 0;
        for (int k = 0; k < sector_count; ++k) {
            const u64 sector = sectors[k];
            u8& touched = launch_.touched[sector - ((u64)launch_.arena >> 5)];
            u64& cached = cache_[sector % cache_.size()];
            if (load) {
                const bool first = !touched;
                if (!(touched & 1)) ++report_.read_sectors;
                touched |= 1;
                if (cached == sector) continue;
                cached = sector;
                ++missed;
                c.latency = std::max(c.latency, first ? machine_.memory_latency : machine_.l2_latency);
            } else {
                if (!(touched & 2)) ++report_.written_sectors;
                touched |= 2;
                ++missed;
            }
        }
        if (load && c.latency == 0) c.latency = machine_.cache_latency;
        c.sectors = missed;
        c.global_atomic = atomic;
        // A pass serves one 128-byte line, and 32 banks of four bytes.
        const u32 banks = load && !atomic && width <= 4 ? bank_conflicts(a.at, x.mask, 0, LANES, width, false) : 1;
        c.wavefronts = std::max({1u, (u32)line_count, banks});
        return c;
    }

    const Launch& launch_;
    const Machine& machine_;
    Report& report_;
    std::vector<u64> cache_;
};

inline void shuffle(const Context& x) {  // SHFL
    u32 ra[LANES], rb[LANES], rc[LANES], out[LANES], valid = 0;
    const u32 *a = x.get(x.in.source[0], ra), *b = x.get(x.in.source[1], rb), *c = x.get(x.in.source[2], rc);
    EACH {
        const int clamp = (int)(c[l] & 31), segment = (int)(c[l] >> 8 & 31);
        const int low = l & segment, high = low | (clamp & ~segment);
        const int by = (int)(b[l] & 31);
        int from; bool ok;
        if (x.has(M_UP)) from = l - by, ok = from >= (low | (clamp & ~segment));
        else if (x.has(M_DOWN)) from = l + by, ok = from <= high;
        else if (x.has(M_BFLY)) from = l ^ by, ok = from <= high;
        else from = low | (by & ~segment), ok = from <= high;
        out[l] = a[ok ? from : l];
        valid |= (u32)ok << l;
    }
    x.put(out);
    x.set_predicate(x.in.predicate_target[0], valid);
}

inline void vote(const Context& x) {  // VOTE, VOTEU
    const u32 p = x.predicate(x.in.predicate_source[0]) & x.mask;
    const bool r = x.has(M_ALL) ? p == x.mask : x.has(M_EQ) ? p == x.mask || p == 0 : p != 0;
    u32 out[LANES];
    EACH out[l] = p;
    x.put(out);
    x.set_predicate(x.in.predicate_target[0], r ? ALL : 0);
}

inline void reduce(const Context& x) {  // REDUX
    u32 room[LANES], out[LANES];
    const u32* a = x.get(x.in.source[0], room);
    bool begun = false;
    u32 r = 0;
    EACH if (x.mask >> l & 1) {
        r = !begun ? a[l] : x.has(M_MAX) ? extreme(r, a[l], false, !x.has(M_S32)) : x.has(M_MIN) ? extreme(r, a[l], true, !x.has(M_S32))
          : x.has(M_SUM) ? r + a[l] : x.has(M_OR) ? r | a[l] : x.has(M_XOR) ? r ^ a[l] : r & a[l];
        begun = true;
    }
    EACH out[l] = r;
    x.put(out);
}
