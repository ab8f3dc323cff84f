// Reading and writing what an instruction names, for all 32 lanes at once.
#pragma once
#include <cstring>
#include "warp.hpp"

inline float as_float(u32 bits) { float f; memcpy(&f, &bits, 4); return f; }
inline u32 as_bits(float f) { u32 bits; memcpy(&bits, &f, 4); return bits; }

struct Context {
    const Launch& launch;
    Warp& warp;
    const Instruction& in;
    u32 mask;  // lanes that take part

    bool has(int modifier) const { return in.modifiers[modifier >> 6] >> (modifier & 63) & 1; }

    u32 constant(u32 bank, u32 offset) const {
        if (bank >= BANKS || (u64)offset + 4 > launch.bank_bytes[bank])
            throw std::runtime_error("constant bank " + std::to_string(bank) + " read past its end");
        u32 value;
        memcpy(&value, launch.banks[bank] + offset, 4);
        return value;
    }

    // The lanes' values of a source; `word` 1 is the upper half of a 64-bit one. `room` holds them if need be.
    const u32* get(const Operand& o, u32* room, int word = 0) const {
        const u32* from = nullptr;
        u32 same = 0;
        switch (o.kind) {
            case REGISTER: from = o.index == 255 ? warp.zeros : warp.reg(o.index + (u32)word); break;
            case UNIFORM: same = o.index == 63 ? 0 : warp.uniform[o.index + word]; break;
            case IMMEDIATE: same = word ? (u32)((i32)o.value >> 31) : o.value; break;
            case CONSTANT: same = constant(o.index, o.value + 4u * (u32)word); break;
            case NONE: break;
            default: throw std::runtime_error("operand of an unexpected kind");
        }
        const u32 flags = o.flags & (NEGATED | ABSOLUTE | INVERTED | LOW_HALF | HIGH_HALF);
        if (from && !flags) return from;
        for (int l = 0; l < LANES; ++l) room[l] = from ? from[l] : same;
        if (flags & (NEGATED | ABSOLUTE | INVERTED)) modify(o.flags, room);
        return room;
    }

    static void modify(u32 flags, u32* v) {
        if (flags & FLOAT_SIGN) {
            const u32 sign = flags & WIDE ? 0x80008000u : 0x80000000u;  // WIDE: two halves
            if (flags & ABSOLUTE) for (int l = 0; l < LANES; ++l) v[l] &= ~sign;
            if (flags & NEGATED) for (int l = 0; l < LANES; ++l) v[l] ^= sign;
        } else {
            if (flags & ABSOLUTE) for (int l = 0; l < LANES; ++l) v[l] = (i32)v[l] < 0 ? 0u - v[l] : v[l];
            if (flags & NEGATED) for (int l = 0; l < LANES; ++l) v[l] = 0u - v[l];
            if (flags & INVERTED) for (int l = 0; l < LANES; ++l) v[l] = ~v[l];
        }
    }

    u32 predicate(u8 p) const {
        const u32 bits = p & FROM_UNIFORM ? (warp.uniform_predicates[p & 7] ? ALL : 0) : warp.predicates[p & 7];
        return p & NOT ? ~bits : bits;
    }

    void set_predicate(u8 p, u32 bits) const {
        if ((p & 7) == 7) return;
        if (p & FROM_UNIFORM) warp.uniform_predicates[p & 7] = (bits & mask) != 0;
        else warp.predicates[p & 7] = (warp.predicates[p & 7] & ~mask) | (bits & mask);
    }

    void put(const u32* v, int word = 0) const {
        if (in.target_kind == UNIFORM) {
            if (in.target != 63 && mask) warp.uniform[in.target + word] = v[__builtin_ctz(mask)];
        } else if (in.target_kind == REGISTER && in.target != 255) {
            u32* d = warp.reg(in.target + (u32)word);
            if (mask == ALL) memcpy(d, v, LANES * 4);
            else for (int l = 0; l < LANES; ++l) d[l] = mask >> l & 1 ? v[l] : d[l];
        }
    }
};
