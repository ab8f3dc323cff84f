// Loads, stores and atomics: what they do, and for how long they take the memory units.
#pragma once
#include "arithmetic.hpp"

struct Cost {
    u32 passes = 1;   // through the load-store unit
    u32 sectors = 0;  // of 32 bytes, that go past L1
    u32 latency = 0;  // beside the instruction's own
};

// Most accesses to one of 32 banks by some of the lanes; equal words count once unless `serial`.
inline u32 bank_conflicts(const u64* at, u32 mask, int first, int last, u32 width, bool serial) {
    if (mask == ALL && width <= 4 && !serial) {  // usual: neighbours, or one word for all
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
        const u16 code = x.in.code;
        const bool in_shared = code == I_LDS || code == I_STS || code == I_ATOMS;
        const u64 low = in_shared ? 0 : (u64)launch_.memory, high = low + (in_shared ? shared.size() : launch_.memory_bytes);
        const Operand& o = x.in.source[0];
        const u32 *low_half = o.index == 255 ? x.warp.zeros : x.warp.reg(o.index);
        const u32 *high_half = o.flags & WIDE && o.index != 255 ? x.warp.reg(o.index + 1u) : x.warp.zeros;
        const u64 more = (o.second == 255 ? 0 : x.warp.uniform[o.second]) + (u64)(i64)(i32)o.value;
        const u32 width = x.has(M_128) ? 16 : x.has(M_64) ? 8 : x.has(M_U16) ? 2 : x.has(M_U8) ? 1 : 4;
        u64 at[LANES];
        EACH {
            at[l] = ((u64)high_half[l] << 32 | low_half[l]) + more;
            if (x.mask >> l & 1 && (at[l] < low || at[l] + width > high || at[l] % width))
                fault(std::string(in_shared ? "shared" : "global") + " memory access out of bounds or misaligned at " + std::to_string(at[l]));
        }
        carry_out(x, at, width, in_shared ? shared.data() : nullptr);
        if (!in_shared) return of_global(x, at, width);
        Cost c;
        c.passes = 0;
        for (int l = 0, step = width == 16 ? 8 : width == 8 ? 16 : LANES; l < LANES; l += step)
            c.passes += bank_conflicts(at, x.mask, l, l + step, width, code == I_ATOMS);
        c.passes = std::max(1u, c.passes);
        return c;
    }

private:
    Cost of_global(const Context& x, const u64* at, u32 width) {
        const bool load = x.in.code == I_LDG;
        u64 lines[LANES], sectors[LANES];
        u32 line_count = 0, sector_count = 0;
        auto add = [](u64* list, u32& n, u64 v) { if (std::find(list, list + n, v) == list + n) list[n++] = v; };
        EACH if (x.mask >> l & 1) add(lines, line_count, at[l] >> 7), add(sectors, sector_count, at[l] >> 5);
        Cost c;
        for (u32 k = 0; k < sector_count; ++k) {
            u8& touched = touched_[sectors[k] - ((u64)launch_.memory >> 5)];
            u64& cached = cache_[sectors[k] % cache_.size()];
            if (load && cached == sectors[k]) continue;
            if (load) cached = sectors[k], c.latency = std::max<u32>(c.latency, touched ? L2_LATENCY : MEMORY_LATENCY);
            touched = 1;
            ++c.sectors;
        }
        if (load && c.latency == 0) c.latency = CACHE_LATENCY;
        // A pass serves one line of 128 bytes, and 32 banks of four bytes.
        c.passes = std::max(1u, line_count);
        if (load && width <= 4) c.passes = std::max(c.passes, bank_conflicts(at, x.mask, 0, LANES, width, false));
        return c;
    }

    static void carry_out(const Context& x, const u64* at, u32 width, u8* base) {
        const u32 words = std::max(1u, width / 4);
        const bool load = x.in.code == I_LDS || x.in.code == I_LDG, store = x.in.code == I_STS || x.in.code == I_STG;
        u32 room[4][LANES], old[4][LANES] = {};
        const u32* v[4] = {};
        for (u32 k = 0; k < words && !load; ++k) v[k] = x.get(1, room[k], (int)k);
        EACH if (x.mask >> l & 1) {
            u32 word[4] = {};
            if (!store) memcpy(word, base + at[l], width);
            for (u32 k = 0; k < words; ++k) {
                old[k][l] = word[k];
                if (!load) word[k] = store ? v[k][l] : x.has(M_ADD) ? word[k] + v[k][l] : extreme(word[k], v[k][l], false, x.has(M_S32));
            }
            if (!load) memcpy(base + at[l], word, width);
        }
        for (u32 k = 0; k < words && !store; ++k) x.put(old[k], (int)k);
    }

    const Launch& launch_;
    std::vector<u64> cache_;
    std::vector<u8> touched_;
};
