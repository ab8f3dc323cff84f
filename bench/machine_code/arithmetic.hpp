// What arithmetic and the movement of data do. a, b, c are an instruction's sources in order.
#pragma once
#include <cfenv>
#include <cmath>
#include "warp.hpp"

inline float as_float(u32 bits) { float f; memcpy(&f, &bits, 4); return f; }
inline u32 as_bits(float f) { u32 bits; memcpy(&bits, &f, 4); return bits; }
inline float flushed(float f) { return std::fpclassify(f) == FP_SUBNORMAL ? std::copysign(0.0f, f) : f; }

template <class F> inline void each(const Context& x, F f) {  // target = f(a, b, c, lane)
    u32 ra[LANES], rb[LANES], rc[LANES], out[LANES];
    const u32 *a = x.get(0, ra), *b = x.get(1, rb), *c = x.get(2, rc);
    EACH out[l] = f(a[l], b[l], c[l], l);
    x.put(out);
}

template <class F> inline void each_float(const Context& x, F f) {
    const bool flush = x.has(M_FTZ);
    each(x, [&](u32 a, u32 b, u32 c, int) {
        const float r = f(as_float(a), as_float(b), as_float(c));
        return as_bits(flush ? flushed(r) : r);
    });
}

inline void add_three(const Context& x) {  // IADD3
    u32 ra[LANES], rb[LANES], rc[LANES], out[LANES], once = 0, twice = 0, n[3], in[2] = {};
    const u32 *a = x.raw(0, ra), *b = x.raw(1, rb), *c = x.raw(2, rc);
    u64 ones = 0;
    for (int k = 0; k < 3; ++k) {  // the negative of v is ~v + 1, whose carry counts
        n[k] = x.in.source[k].flags & (NEGATED | INVERTED) ? ALL : 0;
        ones += x.in.source[k].flags & NEGATED ? 1 : 0;
    }
    if (x.has(M_X)) in[0] = x.condition(0), in[1] = x.condition(1);
    EACH {
        const u64 sum = (u64)(a[l] ^ n[0]) + (b[l] ^ n[1]) + (c[l] ^ n[2]) + ones + (in[0] >> l & 1) + (in[1] >> l & 1);
        out[l] = (u32)sum;
        once |= (u32)(sum >> 32 >= 1) << l, twice |= (u32)(sum >> 32 >= 2) << l;
    }
    x.put(out);
    x.set_predicate(0, once), x.set_predicate(1, twice);
}

inline void shift_add(const Context& x) {  // LEA; the shift is the fourth source
    const bool high = x.has(M_HI), sign = x.has(M_SX32);
    const u32 shift = x.in.source[3].value & 31, carry = x.has(M_X) ? x.condition(0) : 0;
    u32 over = 0;
    each(x, [&](u32 a, u32 b, u32 c, int l) {
        const u64 wide = sign ? (u64)(i64)(i32)a : (u64)(high ? c : 0) << 32 | a;
        const u64 sum = (u64)(high ? (u32)(wide << shift >> 32) : (u32)wide << shift) + b + (carry >> l & 1);
        over |= (u32)(sum >> 32) << l;
        return (u32)sum;
    });
    x.set_predicate(0, over);
}

inline void multiply_add(const Context& x) {  // IMAD
    const u32 carry = x.has(M_X) ? x.condition(0) : 0;
    if (!x.has(M_WIDE) && !x.has(M_HI))
        return each(x, [&](u32 a, u32 b, u32 c, int l) { return a * b + c + (carry >> l & 1); });
    u32 ra[LANES], rb[LANES], rc[LANES], rh[LANES], out[LANES], high[LANES], over = 0;
    const u32 *a = x.get(0, ra), *b = x.get(1, rb), *c = x.get(2, rc), *h = x.get(2, rh, 1);
    EACH {
        const u64 product = x.has(M_U32) ? (u64)a[l] * b[l] : (u64)((i64)(i32)a[l] * (i32)b[l]);
        const u64 add = (u64)h[l] << 32 | c[l], sum = product + add + (carry >> l & 1);
        out[l] = (u32)sum, high[l] = (u32)(sum >> 32);
        over |= (u32)(sum < add) << l;
    }
    if (x.has(M_WIDE)) x.put(out), x.put(high, 1);
    else x.put(high);
    x.set_predicate(0, over);
}

inline u32 looked_up(u32 table, u32 a, u32 b, u32 c) {  // a truth table of three bits, for all bits at once
    u32 r = 0;
    for (u32 k = 0; k < 8; ++k)
        r |= (k & 4 ? a : ~a) & (k & 2 ? b : ~b) & (k & 1 ? c : ~c) & (0u - (table >> k & 1));
    return r;
}

inline u32 permuted(u32 a, u32 selector, u32 c) {  // PRMT
    const u64 v = (u64)c << 32 | a;
    u32 r = 0;
    for (u32 k = 0; k < 4; ++k) {
        const u32 nibble = selector >> (4 * k) & 15, byte = (u32)(v >> (8 * (nibble & 7))) & 255;
        r |= (nibble & 8 ? (byte & 128 ? 255 : 0) : byte) << (8 * k);
    }
    return r;
}

inline u32 shifted(const Context& x, u32 a, u32 b, u32 c) {  // SHF: the 64 bits c:a
    const u32 most = x.has(M_U64) || x.has(M_S64) ? 63 : 32, s = x.has(M_W) ? b & (most == 63 ? 63 : 31) : std::min(b, most);
    const u64 v = (u64)c << 32 | a;
    const u64 r = x.has(M_L) ? v << s : x.has(M_S32) || x.has(M_S64) ? (u64)((i64)v >> s) : v >> s;
    return (u32)(x.has(M_HI) ? r >> 32 : r);
}

enum Outcome { LESS = 1, SAME = 2, MORE = 4, UNORDERED = 8 };

template <class F> inline void compare(const Context& x, F outcome) {  // ISETP, FSETP
    const struct { int modifier; u32 outcomes; } kinds[] = {
        {M_LT, LESS}, {M_EQ, SAME}, {M_LE, LESS | SAME}, {M_GT, MORE}, {M_NE, LESS | MORE}, {M_GE, MORE | SAME},
        {M_LTU, LESS | UNORDERED}, {M_EQU, SAME | UNORDERED}, {M_LEU, LESS | SAME | UNORDERED},
        {M_GTU, MORE | UNORDERED}, {M_NEU, LESS | MORE | UNORDERED}, {M_GEU, MORE | SAME | UNORDERED},
    };
    u32 ra[LANES], rb[LANES], yes = 0, wanted = 0;
    for (const auto& kind : kinds) wanted |= x.has(kind.modifier) ? kind.outcomes : 0;
    const u32 *a = x.get(0, ra), *b = x.get(1, rb), other = x.condition(0);
    const u32 lower = x.has(M_EX) ? x.condition(1) : 0;  // of 64 bits: equal upper halves leave it to the lower ones
    EACH {
        const u32 o = outcome(a[l], b[l]);
        yes |= (x.has(M_EX) && o == SAME ? lower >> l & 1 : (u32)((wanted & o) != 0)) << l;
    }
    for (int t = 0; t < 2; ++t, yes = ~yes)
        x.set_predicate(t, x.has(M_OR) ? yes | other : x.has(M_XOR) ? yes ^ other : yes & other);
}

inline u32 extreme(u32 a, u32 b, bool least, bool is_signed) {
    const u32 flip = is_signed ? 0x80000000u : 0;
    return ((a ^ flip) < (b ^ flip)) == least ? a : b;
}

inline void extremes(const Context& x, bool third, bool add_first) {  // VIMNMX, VIMNMX3, VIADDMNMX: least if predicated
    const u32 p = x.condition(0);
    const bool halves = x.has(M_U16X2), is_signed = !halves && !x.has(M_U32);
    auto one = [&](u32 a, u32 b, u32 c, bool least) {
        const u32 r = extreme(a, b, least, is_signed);
        return third ? extreme(r, c, least, is_signed) : r;
    };
    each(x, [&](u32 a, u32 b, u32 c, int l) {
        const bool least = p >> l & 1;
        if (halves) return one(a & 0xFFFF, b & 0xFFFF, c & 0xFFFF, least) | one(a >> 16, b >> 16, c >> 16, least) << 16;
        const u32 r = add_first ? extreme(a + b, c, least, is_signed) : one(a, b, c, least);
        return x.has(M_RELU) && (i32)r < 0 ? 0u : r;
    });
}

__attribute__((noinline)) inline float fused_in_mode(float a, float b, float c, int mode) {
    std::fesetround(mode);
    volatile float x = a, y = b, z = c;
    volatile float r = std::fma(x, y, z);
    std::fesetround(FE_TONEAREST);
    return r;
}

inline void fused(const Context& x) {  // FFMA
    const int mode = x.has(M_RZ) ? FE_TOWARDZERO : x.has(M_RM) ? FE_DOWNWARD : x.has(M_RP) ? FE_UPWARD : FE_TONEAREST;
    if (mode == FE_TONEAREST) return each_float(x, [](float a, float b, float c) { return std::fma(a, b, c); });
    each_float(x, [&](float a, float b, float c) { return fused_in_mode(a, b, c, mode); });
}

inline void check_division(const Context& x) {  // FCHK: whether a / b needs the long way, for exponents far out
    u32 ra[LANES], rb[LANES], slow = 0;
    const u32 *a = x.get(0, ra), *b = x.get(1, rb);
    EACH {
        const int p = (int)(a[l] >> 23 & 255), q = (int)(b[l] >> 23 & 255);
        slow |= (u32)!(p >= 24 && p < 255 && q > 1 && q < 253 && p - q > -126 && p - q < 126) << l;
    }
    x.set_predicate(0, slow);
}

inline u32 to_float(const Context& x, u32 a) {  // I2F, I2FP
    const double d = x.has(M_U16) ? (double)(a & 0xFFFF) : x.has(M_U32) ? (double)a : (double)(i32)a;
    const float f = (float)d;
    return as_bits(x.has(M_RP) && (double)f < d ? std::nextafter(f, INFINITY) : f);
}

inline u32 to_integer(const Context& x, float f) {  // F2I
    const double d = x.has(M_TRUNC) ? std::trunc((double)f) : std::nearbyint((double)f);
    if (d != d) return 0;
    if (x.has(M_U32)) return (u32)std::min(std::max(d, 0.0), 4294967295.0);
    return (u32)(i32)std::min(std::max(d, -2147483648.0), 2147483647.0);
}

inline void shuffle(const Context& x) {  // SHFL.BFLY and SHFL.IDX
    u32 room[LANES], valid = 0;
    const u32* from = x.get(0, room);
    each(x, [&](u32 a, u32 b, u32 c, int l) {
        const int segment = (int)(c >> 8 & 31), low = l & segment, high = low | ((int)(c & 31) & ~segment);
        const int by = (int)(b & 31), at = x.has(M_BFLY) ? l ^ by : low | (by & ~segment);
        valid |= (u32)(at <= high) << l;
        return at <= high ? from[at] : a;
    });
    x.set_predicate(0, valid);
}

inline void reduce(const Context& x) {  // REDUX.MAX
    u32 room[LANES];
    const u32* a = x.get(0, room);
    u32 r = a[__builtin_ctz(x.mask)];
    EACH if (x.mask >> l & 1) r = extreme(r, a[l], false, x.has(M_S32));
    each(x, [&](u32, u32, u32, int) { return r; });
}

inline void register_to_predicates(const Context& x) {  // R2P
    u32 room[LANES];
    const u32* v = x.get(0, room);
    for (int k = 0; k < 7; ++k) {
        u32 bits = 0;
        EACH bits |= (v[l] >> k & 1) << l;
        if (x.in.source[1].value >> k & 1) x.warp.predicates[k] = (x.warp.predicates[k] & ~x.mask) | (bits & x.mask);
    }
}

// Anything that neither jumps nor touches memory. The thread is the first lane's.
inline void compute(const Context& x, u32 thread, u32 block_x, u32 block_y) {
    u32 room[LANES];
    const u32 p = x.condition(0), constant = x.in.source[1].value, zeros[LANES] = {};
    switch (x.in.code) {
        case I_NOP: case I_YIELD: case I_ENDCOLLECTIVE: break;
        case I_MOV: case I_R2UR: case I_HFMA2: x.put(x.get(0, room)); break;
        case I_LDC: x.put(x.get(0, room)); if (x.has(M_64)) x.put(x.get(0, room, 1), 1); break;
        case I_CS2R: x.put(zeros), x.put(zeros, 1); break;  // only ever the register of zeros
        case I_S2R: case I_S2UR: {
            const u32 which = x.in.source[0].value;
            each(x, [&](u32, u32, u32, int l) {
                return which == R_TID_X ? thread + (u32)l : which == R_CTAID_X ? block_x : which == R_CTAID_Y ? block_y
                     : which == R_LANEID ? (u32)l : which == R_LTMASK ? (1u << l) - 1 : 0;
            });
            break;
        }
        case I_IADD3: case I_VIADD: add_three(x); break;
        case I_LEA: shift_add(x); break;
        case I_IMAD: multiply_add(x); break;
        case I_LOP3: {
            const u32 table = x.in.source[3].value;
            u32 any = p;
            each(x, [&](u32 a, u32 b, u32 c, int l) {
                const u32 r = table == 0x96 ? a ^ b ^ c : table == 0xC0 ? a & b : looked_up(table, a, b, c);
                any |= (u32)(r != 0) << l;
                return r;
            });
            x.set_predicate(0, any);
            break;
        }
        case I_PLOP3:
            for (int t = 0; t < 2; ++t) x.set_predicate(t, looked_up(x.in.source[t].value, p, x.condition(1), x.condition(2)));
            break;
        case I_SHF: each(x, [&](u32 a, u32 b, u32 c, int) { return shifted(x, a, b, c); }); break;
        case I_PRMT: each(x, [](u32 a, u32 b, u32 c, int) { return permuted(a, b, c); }); break;
        case I_ISETP: {
            const u32 flip = x.has(M_U32) ? 0 : 0x80000000u;
            compare(x, [&](u32 a, u32 b) { return (a ^ flip) < (b ^ flip) ? LESS : a == b ? SAME : MORE; });
            break;
        }
        case I_FSETP:
            compare(x, [&](u32 a, u32 b) {
                float f = as_float(a), g = as_float(b);
                if (x.has(M_FTZ)) f = flushed(f), g = flushed(g);
                return f < g ? LESS : f == g ? SAME : f > g ? MORE : UNORDERED;
            });
            break;
        case I_SEL: case I_FSEL: each(x, [&](u32 a, u32 b, u32, int l) { return p >> l & 1 ? a : b; }); break;
        case I_FMNMX:
            each(x, [&](u32 a, u32 b, u32, int l) {
                return as_bits(p >> l & 1 ? std::fmin(as_float(a), as_float(b)) : std::fmax(as_float(a), as_float(b)));
            });
            break;
        case I_VIMNMX: extremes(x, false, false); break;
        case I_VIMNMX3: extremes(x, true, false); break;
        case I_VIADDMNMX: extremes(x, false, true); break;
        case I_IABS: each(x, [](u32 a, u32, u32, int) { return (i32)a < 0 ? 0u - a : a; }); break;
        case I_POPC: each(x, [](u32 a, u32, u32, int) { return (u32)__builtin_popcount(a); }); break;
        case I_FLO: each(x, [](u32 a, u32, u32, int) { return a ? 31u - (u32)__builtin_clz(a) : ALL; }); break;
        case I_IDP:  // 2A.LO.U16.U8: halves of a with the lower bytes of b
            each(x, [](u32 a, u32 b, u32 c, int) { return c + (a & 0xFFFF) * (b & 255) + (a >> 16) * (b >> 8 & 255); });
            break;
        case I_FADD: each_float(x, [](float a, float b, float) { return a + b; }); break;
        case I_FMUL: each_float(x, [](float a, float b, float) { return a * b; }); break;
        case I_FFMA: fused(x); break;
        case I_MUFU:  // RCP or RSQ: correctly rounded here, to about an ulp on a card
            each_float(x, [&](float a, float, float) { return (float)(1.0 / (x.has(M_RCP) ? (double)a : std::sqrt((double)a))); });
            break;
        case I_FCHK: check_division(x); break;
        case I_I2F: case I_I2FP: each(x, [&](u32 a, u32, u32, int) { return to_float(x, a); }); break;
        case I_F2I: each(x, [&](u32 a, u32, u32, int) { return to_integer(x, as_float(a)); }); break;
        case I_SHFL: shuffle(x); break;
        case I_VOTE:
            each(x, [&](u32, u32, u32, int) { return p & x.mask; });
            x.set_predicate(0, (x.has(M_ALL) ? (p & x.mask) == x.mask : (p & x.mask) != 0) ? ALL : 0);
            break;
        case I_REDUX: reduce(x); break;
        case I_P2R:
            each(x, [&](u32 a, u32, u32, int l) {
                u32 r = a & ~constant;
                for (int k = 0; k < 7; ++k) r |= (x.warp.predicates[k] >> l & 1) << k & constant;
                return r;
            });
            break;
        case I_R2P: register_to_predicates(x); break;
        case I_B2R:
            each(x, [&](u32, u32, u32, int) { return x.warp.barrier_result; });
            x.set_predicate(0, x.warp.barrier_result ? ALL : 0);
            break;
        default: fault("instruction without a meaning here");
    }
}
