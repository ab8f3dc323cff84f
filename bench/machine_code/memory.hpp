// Loads, stores and atomics: what they do, and for how long they take the memory units.
#pragma once
#include "arithmetic.hpp"

struct Cost {
    u32 passes = 1;   // through the load-store unit
    u32 sectors = 0;  // of 32 bytes, that go past L1
    u32 latency = 0;  // beside the instruction's own
    bool global_atomic = false;
};

// Most accesses to one of 32 banks by some of the lanes; equal words count once unless `serial`.
inline u32 bank_conflicts(const u64* at, u32 mask, int first, int last, u32 width, bool serial) {
    if (mask == ALL && width <= 4 && !serial && first == 0 && last == LANES) {  // usual: neighbours, or one word for all
        u64 apart = 0, spread = 0;
        EACH apart |= (at[l] >> 2) ^ ((at[0] >> 2) + (u64)l), spread |= (at[l] ^ at[0]) >> 2;
        if (!apart || !spread) return 1;
    }
    u32 count[32] = {}, most = 0;
    u64 words[32][LANES];
    for (int l = first; l < last; ++l) {
        if (!(mask >> l & 1)) continue;
        for (u64 w = at[l] >> 2; w <= (at[l] + width - 1) >> 2; ++w) {
            u32& n = count[w & 31];
            u64* known = words[w & 31];
            if (n == LANES || (!serial && std::find(known, known + n, w) != known + n)) continue;
            known[n++] = w;
            most = std::max(most, n);
        }
    }
    return most;
}

class Memory {
public:
    explicit Memory(const Launch& launch)
        : launch_(launch), cache_(std::max(1u, launch.cache_bytes / 32), ~0ull), touched_(launch.memory_bytes / 32 + 1) {}

    Cost access(const Context& x, std::vector<u8>& shared) {
        switch (x.in.code) {
            case I_LDS: case I_STS: case I_ATOMS: return of_shared(x, shared);
            default: return of_global(x);
        }
    }

private:
    struct Access { u64 at[LANES]; u32 width; };

    Access accessed(const Context& x, u64 low, u64 bytes) const {
        const Operand& o = x.in.source[0];
        if (o.kind != ADDRESS) throw std::runtime_error("memory instruction without an address");
        Access r;
        r.width = x.has(M_128) ? 16 : x.has(M_64) ? 8 : x.has(M_U16) ? 2 : x.has(M_U8) ? 1 : 4;
        const u32* low_half = o.index == 255 ? x.warp.zeros : x.warp.reg(o.index);
        const u32* high_half = o.flags & WIDE && o.index != 255 ? x.warp.reg(o.index + 1u) : x.warp.zeros;
        const u64 more = (o.second == 255 ? 0 : x.warp.uniform[o.second]) + (u64)(i64)(i32)o.value;
        EACH {
            r.at[l] = ((u64)high_half[l] << 32 | low_half[l]) + more;
            if (x.mask >> l & 1 && (r.at[l] < low || r.at[l] + r.width > low + bytes || r.at[l] % r.width))
                throw std::runtime_error(std::string(low ? "global" : "shared") +
                                         " memory access out of bounds or misaligned at " + std::to_string(r.at[l]));
        }
        return r;
    }

    Cost of_shared(const Context& x, std::vector<u8>& shared) {
        const Access a = accessed(x, 0, shared.size());
        carry_out(x, a, shared.data());
        const bool atomic = x.in.code == I_ATOMS;
        const int step = a.width == 16 ? 8 : a.width == 8 ? 16 : LANES;
        Cost c;
        c.passes = 0;
        for (int l = 0; l < LANES; l += step) c.passes += bank_conflicts(a.at, x.mask, l, l + step, a.width, atomic);
        c.passes = std::max(1u, c.passes);
        return c;
    }

    Cost of_global(const Context& x) {
        const Access a = accessed(x, (u64)launch_.memory, launch_.memory_bytes);
        carry_out(x, a, nullptr);
        const bool load = x.in.code == I_LDG, atomic = x.in.code == I_REDG;
        u64 lines[LANES], sectors[LANES];
        int line_count = 0, sector_count = 0;
        auto add = [](u64* list, int& n, u64 v) { if (std::find(list, list + n, v) == list + n) list[n++] = v; };
        EACH if (x.mask >> l & 1) add(lines, line_count, a.at[l] >> 7), add(sectors, sector_count, a.at[l] >> 5);
        Cost c;
        for (int k = 0; k < sector_count; ++k) {
            u8& touched = touched_[sectors[k] - ((u64)launch_.memory >> 5)];
            u64& cached = cache_[sectors[k] % cache_.size()];
            if (load && cached == sectors[k]) continue;
            if (load) cached = sectors[k], c.latency = std::max<u32>(c.latency, touched ? L2_LATENCY : MEMORY_LATENCY);
            touched = 1;
            ++c.sectors;
        }
        if (load && c.latency == 0) c.latency = CACHE_LATENCY;
        c.global_atomic = atomic;
        // A pass serves one line of 128 bytes, and 32 banks of four bytes.
        const u32 banks = load && a.width <= 4 ? bank_conflicts(a.at, x.mask, 0, LANES, a.width, false) : 1;
        c.passes = std::max({1u, (u32)line_count, banks});
        return c;
    }

    static void carry_out(const Context& x, const Access& a, u8* base) {
        const u32 words = std::max(1u, a.width / 4);
        u32 room[4][LANES], out[4][LANES] = {};
        if (x.in.code == I_LDS || x.in.code == I_LDG) {
            EACH if (x.mask >> l & 1) {
                u32 v[4] = {};
                memcpy(v, base + a.at[l], a.width);
                for (u32 k = 0; k < words; ++k) out[k][l] = v[k];
            }
            for (u32 k = 0; k < words; ++k) x.put(out[k], (int)k);
            return;
        }
        const u32* v[4] = {};
        for (u32 k = 0; k < words; ++k) v[k] = x.get(1, room[k], (int)k);
        const bool store = x.in.code == I_STS || x.in.code == I_STG;
        if (!store && !x.has(M_ADD) && !x.has(M_MAX)) throw std::runtime_error("atomic operation of an unknown kind");
        EACH if (x.mask >> l & 1) {
            u32 now[4];
            for (u32 k = 0; k < words; ++k) now[k] = v[k][l];
            if (!store) {
                memcpy(&out[0][l], base + a.at[l], 4);
                now[0] = x.has(M_ADD) ? out[0][l] + now[0] : extreme(out[0][l], now[0], false, x.has(M_S32));
            }
            memcpy(base + a.at[l], now, a.width);
        }
        if (!store) x.put(out[0]);
    }

    const Launch& launch_;
    std::vector<u64> cache_;
    std::vector<u8> touched_;
};
