// What arithmetic and data movement instructions do. Names of operands are those of the disassembly:
// a, b, c are the sources in order.
#pragma once
#include <cfenv>
#include <cmath>
#include <immintrin.h>
#include "names.hpp"
#include "operands.hpp"

#define EACH for (int l = 0; l < LANES; ++l)

inline float flush(float f) { return std::fpclassify(f) == FP_SUBNORMAL ? std::copysign(0.0f, f) : f; }
inline float half_to_float(u16 h) { return _cvtsh_ss(h); }
inline u16 float_to_half(float f) { return _cvtss_sh(f, _MM_FROUND_TO_NEAREST_INT); }

__attribute__((noinline)) inline float fused_in_mode(float a, float b, float c, int mode) {
    std::fesetround(mode);
    volatile float x = a, y = b, z = c;
    volatile float r = std::fma(x, y, z);
    std::fesetround(FE_TONEAREST);
    return r;
}

// Sums with their carries: IADD3, LEA, the 64-bit products.
inline void add_three(const Context& x) {
    u32 ra[LANES], rb[LANES], rc[LANES], out[LANES];
    u32 once = 0, twice = 0;
    const Operand* s = x.in.source;
    auto plain = [](Operand o) { o.flags &= (u8)~NEGATED; return o; };
    const Operand oa = plain(s[0]), ob = plain(s[1]), oc = plain(s[2]);
    const u32 *a = x.get(oa, ra), *b = x.get(ob, rb), *c = x.get(oc, rc);
    // The negative of v is ~v + 1, whose carry counts.
    const u32 na = s[0].flags & NEGATED ? ALL : 0, nb = s[1].flags & NEGATED ? ALL : 0, nc = s[2].flags & NEGATED ? ALL : 0;
    const u64 ones = (na & 1) + (nb & 1) + (nc & 1);
    const u32 in0 = x.has(M_X) ? x.predicate(x.in.predicate_source[0]) : 0;
    const u32 in1 = x.has(M_X) ? x.predicate(x.in.predicate_source[1]) : 0;
    EACH {
        const u64 sum = (u64)(a[l] ^ na) + (b[l] ^ nb) + (c[l] ^ nc) + ones + (in0 >> l & 1) + (in1 >> l & 1);
        out[l] = (u32)sum;
        const u32 carry = (u32)(sum >> 32);
        once |= (u32)(carry >= 1) << l, twice |= (u32)(carry >= 2) << l;
    }
    x.put(out);
    x.set_predicate(x.in.predicate_target[0], once);
    x.set_predicate(x.in.predicate_target[1], twice);
}

inline void shift_add(const Context& x) {  // LEA
    u32 ra[LANES], rb[LANES], rc[LANES], out[LANES];
    const bool high = x.has(M_HI), sign = x.has(M_SX32);
    const u32 *a = x.get(x.in.source[0], ra), *b = x.get(x.in.source[1], rb);
    const u32* c = high && !sign ? x.get(x.in.source[2], rc) : x.warp.zeros;
    const u32 shift = x.in.extra & 31;
    const u32 carry = x.has(M_X) ? x.predicate(x.in.predicate_source[0]) : 0;
    u32 over = 0;
    EACH {
        const u64 wide = sign ? (u64)(i64)(i32)a[l] : (u64)c[l] << 32 | a[l];
        const u32 part = high ? (u32)(wide << shift >> 32) : (u32)wide << shift;
        const u64 sum = (u64)part + b[l] + (carry >> l & 1);
        out[l] = (u32)sum;
        over |= (u32)(sum >> 32) << l;
    }
    x.put(out);
    x.set_predicate(x.in.predicate_target[0], over);
}

inline void multiply_add(const Context& x) {  // IMAD
    u32 ra[LANES], rb[LANES], rc[LANES], rh[LANES], out[LANES], high[LANES];
    const u32 *a = x.get(x.in.source[0], ra), *b = x.get(x.in.source[1], rb), *c = x.get(x.in.source[2], rc);
    const u32 carry = x.has(M_X) ? x.predicate(x.in.predicate_source[0]) : 0;
    if (!x.has(M_WIDE) && !x.has(M_HI)) {
        EACH out[l] = a[l] * b[l] + c[l] + (carry >> l & 1);
        return x.put(out);
    }
    const u32* h = x.get(x.in.source[2], rh, 1);
    const bool is_unsigned = x.has(M_U32);
    u32 over = 0;
    EACH {
        const u64 product = is_unsigned ? (u64)a[l] * b[l] : (u64)((i64)(i32)a[l] * (i32)b[l]);
        const u64 add = (u64)h[l] << 32 | c[l], sum = product + add + (carry >> l & 1);
        out[l] = (u32)sum, high[l] = (u32)(sum >> 32);
        over |= (u32)(sum < add) << l;
    }
    if (x.has(M_WIDE)) x.put(out), x.put(high, 1);
    else x.put(high);
    x.set_predicate(x.in.predicate_target[0], over);
}

inline void logic(const Context& x) {  // LOP3
    u32 ra[LANES], rb[LANES], rc[LANES], out[LANES];
    const u32 *a = x.get(x.in.source[0], ra), *b = x.get(x.in.source[1], rb), *c = x.get(x.in.source[2], rc);
    const u32 table = x.in.extra;
    switch (table) {
        case 0xC0: EACH out[l] = a[l] & b[l]; break;
        case 0x3C: EACH out[l] = a[l] ^ b[l]; break;
        case 0xFC: EACH out[l] = a[l] | b[l]; break;
        case 0x96: EACH out[l] = a[l] ^ b[l] ^ c[l]; break;
        default:
            EACH out[l] = 0;
            for (u32 k = 0; k < 8; ++k)
                if (table >> k & 1) {
                    const u32 na = k & 4 ? 0 : ALL, nb = k & 2 ? 0 : ALL, nc = k & 1 ? 0 : ALL;
                    EACH out[l] |= (a[l] ^ na) & (b[l] ^ nb) & (c[l] ^ nc);
                }
    }
    u32 any = x.predicate(x.in.predicate_source[0]);
    EACH any |= (u32)(out[l] != 0) << l;
    x.put(out);
    x.set_predicate(x.in.predicate_target[0], any);
}

inline void predicate_logic(const Context& x) {  // PLOP3
    u32 p[3];
    for (int k = 0; k < 3; ++k) p[k] = x.predicate(x.in.predicate_source[k]);
    for (int t = 0; t < 2; ++t) {
        const u32 table = t ? x.in.extra_second : x.in.extra;
        u32 out = 0;
        for (u32 k = 0; k < 8; ++k)
            if (table >> k & 1) out |= (k & 4 ? p[0] : ~p[0]) & (k & 2 ? p[1] : ~p[1]) & (k & 1 ? p[2] : ~p[2]);
        x.set_predicate(x.in.predicate_target[t], out);
    }
}

inline void funnel_shift(const Context& x) {  // SHF: of the 64 bits c:a
    u32 ra[LANES], rb[LANES], rc[LANES], out[LANES];
    const u32 *a = x.get(x.in.source[0], ra), *b = x.get(x.in.source[1], rb), *c = x.get(x.in.source[2], rc);
    const bool left = x.has(M_L), high = x.has(M_HI), is_signed = x.has(M_S32) || x.has(M_S64), wrap = x.has(M_W);
    const u32 most = x.has(M_U64) || x.has(M_S64) ? 63 : 32;
    EACH {
        const u64 v = (u64)c[l] << 32 | a[l];
        const u32 s = wrap ? b[l] & (most == 63 ? 63 : 31) : std::min(b[l], most);
        const u64 r = left ? v << s : is_signed ? (u64)((i64)v >> s) : v >> s;
        out[l] = (u32)(high ? r >> 32 : r);
    }
    x.put(out);
}

inline void permute_bytes(const Context& x) {  // PRMT a, selector, c
    u32 ra[LANES], rb[LANES], rc[LANES], out[LANES];
    const u32 *a = x.get(x.in.source[0], ra), *s = x.get(x.in.source[1], rb), *c = x.get(x.in.source[2], rc);
    EACH {
        const u64 v = (u64)c[l] << 32 | a[l];
        u32 r = 0;
        for (u32 k = 0; k < 4; ++k) {
            const u32 nibble = s[l] >> (4 * k) & 15;
            u32 byte = (u32)(v >> (8 * (nibble & 7))) & 255;
            if (nibble & 8) byte = byte & 128 ? 255 : 0;
            r |= byte << (8 * k);
        }
        out[l] = r;
    }
    x.put(out);
}

enum Order { LESS = 1, SAME = 2, MORE = 4, UNORDERED = 8 };

// Which outcomes of a comparison make it true, by its modifier.
inline u32 outcomes(const Context& x) {
    u32 r = x.has(M_LT) ? LESS : x.has(M_EQ) ? SAME : x.has(M_LE) ? LESS | SAME : x.has(M_GT) ? MORE
          : x.has(M_NE) ? LESS | MORE : x.has(M_GE) ? MORE | SAME : x.has(M_NUM) ? LESS | SAME | MORE
          : x.has(M_LTU) ? LESS | UNORDERED : x.has(M_EQU) ? SAME | UNORDERED : x.has(M_LEU) ? LESS | SAME | UNORDERED
          : x.has(M_GTU) ? MORE | UNORDERED : x.has(M_NEU) ? LESS | MORE | UNORDERED
          : x.has(M_GEU) ? MORE | SAME | UNORDERED : x.has(M_NAN) ? UNORDERED : 0u;
    if (!r) throw std::runtime_error("comparison of an unknown kind");
    return r;
}

inline void set_compared(const Context& x, u32 yes) {
    const u32 p = x.predicate(x.in.predicate_source[0]);
    auto join = [&](u32 v) { return x.has(M_OR) ? v | p : x.has(M_XOR) ? v ^ p : v & p; };
    x.set_predicate(x.in.predicate_target[0], join(yes));
    x.set_predicate(x.in.predicate_target[1], join(~yes));
}

inline void compare_integers(const Context& x) {  // ISETP
    u32 ra[LANES], rb[LANES], yes = 0;
    const u32 *a = x.get(x.in.source[0], ra), *b = x.get(x.in.source[1], rb);
    const u32 good = outcomes(x), flip = x.has(M_U32) ? 0 : 0x80000000u;
    // Of 64 bits: equal upper halves leave it to the lower ones, compared before.
    const u32 lower = x.has(M_EX) ? x.predicate(x.in.predicate_source[1]) : 0;
    EACH {
        const u32 p = a[l] ^ flip, q = b[l] ^ flip;
        const bool tie = p == q && x.has(M_EX);
        const bool r = tie ? lower >> l & 1 : (good & (p < q ? LESS : p == q ? SAME : MORE)) != 0;
        yes |= (u32)r << l;
    }
    set_compared(x, yes);
}

inline void compare_floats(const Context& x) {  // FSETP
    u32 ra[LANES], rb[LANES], yes = 0;
    const u32 *a = x.get(x.in.source[0], ra), *b = x.get(x.in.source[1], rb);
    const u32 good = outcomes(x);
    EACH {
        float p = as_float(a[l]), q = as_float(b[l]);
        if (x.has(M_FTZ)) p = flush(p), q = flush(q);
        const u32 o = p < q ? LESS : p == q ? SAME : p > q ? MORE : UNORDERED;
        yes |= (u32)((good & o) != 0) << l;
    }
    set_compared(x, yes);
}

inline void select(const Context& x) {  // SEL, FSEL
    u32 ra[LANES], rb[LANES], out[LANES];
    const u32 *a = x.get(x.in.source[0], ra), *b = x.get(x.in.source[1], rb);
    const u32 p = x.predicate(x.in.predicate_source[0]);
    EACH out[l] = p >> l & 1 ? a[l] : b[l];
    x.put(out);
}

inline u32 extreme(u32 a, u32 b, bool least, bool is_unsigned) {
    const u32 flip = is_unsigned ? 0 : 0x80000000u;
    return ((a ^ flip) < (b ^ flip)) == least ? a : b;
}

// VIMNMX, VIMNMX3, VIADDMNMX: the smaller where the predicate is true. 16x2 works on halves.
inline void extremes(const Context& x, bool third, bool add_first) {
    u32 ra[LANES], rb[LANES], rc[LANES], out[LANES];
    const u32 *a = x.get(x.in.source[0], ra), *b = x.get(x.in.source[1], rb), *c = x.get(x.in.source[2], rc);
    const u32 p = x.predicate(x.in.predicate_source[0]);
    const bool halves = x.has(M_U16X2) || x.has(M_S16X2), is_unsigned = x.has(M_U32) || x.has(M_U16X2);
    auto one = [&](u32 u, u32 v, u32 w, bool least, bool sign) {
        u32 r = add_first ? extreme(u + v, w, least, !sign) : extreme(u, v, least, !sign);
        if (third) r = extreme(r, w, least, !sign);
        return x.has(M_RELU) && (i32)r < 0 ? 0u : r;
    };
    EACH {
        const bool least = p >> l & 1;
        if (!halves) { out[l] = one(a[l], b[l], c[l], least, !is_unsigned); continue; }
        u32 r = 0;
        for (int k = 0; k < 32; k += 16) {
            auto half = [&](u32 v) { return is_unsigned ? v >> k & 0xFFFF : (u32)(i32)(int16_t)(v >> k); };
            u32 h;
            if (add_first) {
                const u32 sum = half(a[l]) + half(b[l]);
                h = extreme(is_unsigned ? sum & 0xFFFF : (u32)(i32)(int16_t)sum, half(c[l]), least, is_unsigned);
                if (x.has(M_RELU) && (i32)h < 0) h = 0;
            } else h = one(half(a[l]), half(b[l]), half(c[l]), least, !is_unsigned);
            r |= (h & 0xFFFF) << k;
        }
        out[l] = r;
    }
    x.put(out);
}

enum class FloatOp { ADD, MULTIPLY, FUSED };

inline void floats(const Context& x, FloatOp op) {  // FADD, FMUL, FFMA
    u32 ra[LANES], rb[LANES], rc[LANES], out[LANES];
    const u32 *a = x.get(x.in.source[0], ra), *b = x.get(x.in.source[1], rb), *c = x.get(x.in.source[2], rc);
    const int mode = x.has(M_RZ) ? FE_TOWARDZERO : x.has(M_RM) ? FE_DOWNWARD : x.has(M_RP) ? FE_UPWARD : FE_TONEAREST;
    if (mode != FE_TONEAREST) {
        EACH out[l] = as_bits(op == FloatOp::FUSED ? fused_in_mode(as_float(a[l]), as_float(b[l]), as_float(c[l]), mode)
                            : op == FloatOp::ADD ? fused_in_mode(as_float(a[l]), 1.0f, as_float(b[l]), mode)
                                                 : fused_in_mode(as_float(a[l]), as_float(b[l]), -0.0f, mode));
    } else if (op == FloatOp::FUSED) {
        EACH out[l] = as_bits(std::fma(as_float(a[l]), as_float(b[l]), as_float(c[l])));
    } else if (op == FloatOp::ADD) {
        EACH out[l] = as_bits(as_float(a[l]) + as_float(b[l]));
    } else {
        EACH out[l] = as_bits(as_float(a[l]) * as_float(b[l]));
    }
    if (x.has(M_FTZ)) EACH out[l] = as_bits(flush(as_float(out[l])));
    if (x.has(M_SAT)) EACH { const float f = as_float(out[l]); out[l] = as_bits(f > 0 ? (f < 1 ? f : 1.0f) : 0.0f); }
    x.put(out);
}

// HADD2, HMUL2, HFMA2: two halves; HADD2.F32 widens one half.
inline void halves(const Context& x, FloatOp op) {
    u32 ra[LANES], rb[LANES], rc[LANES], out[LANES];
    const Operand* s = x.in.source;
    const u32 *a = x.get(s[0], ra), *b = x.get(s[1], rb), *c = x.get(s[2], rc);
    auto part = [](const Operand& o, u32 v, int k) {
        const bool upper = o.flags & HIGH_HALF ? true : o.flags & LOW_HALF ? false : k == 1;
        return half_to_float((u16)(upper ? v >> 16 : v));
    };
    EACH {
        u32 r = 0;
        for (int k = 0; k < 2; ++k) {
            const float p = part(s[0], a[l], k), q = part(s[1], b[l], k);
            float f = op == FloatOp::ADD ? p + q : op == FloatOp::MULTIPLY ? p * q : std::fma(p, q, part(s[2], c[l], k));
            if (x.has(M_SAT)) f = f > 0 ? (f < 1 ? f : 1.0f) : 0.0f;
            if (x.has(M_F32)) { r = as_bits(f); break; }
            r |= (u32)float_to_half(f) << (16 * k);
        }
        out[l] = r;
    }
    x.put(out);
}

inline void pack_halves(const Context& x) {  // F2FP.F16.F32.PACK_AB: a above, b below
    u32 ra[LANES], rb[LANES], out[LANES];
    const u32 *a = x.get(x.in.source[0], ra), *b = x.get(x.in.source[1], rb);
    auto narrow = [&](u32 v) -> u32 {
        if (!x.has(M_BF16)) return float_to_half(as_float(v));
        return (v + 0x7FFF + (v >> 16 & 1)) >> 16;  // nearest even, for numbers
    };
    EACH out[l] = narrow(a[l]) << 16 | narrow(b[l]);
    x.put(out);
}

inline void float_extreme(const Context& x) {  // FMNMX
    u32 ra[LANES], rb[LANES], out[LANES];
    const u32 *a = x.get(x.in.source[0], ra), *b = x.get(x.in.source[1], rb);
    const u32 p = x.predicate(x.in.predicate_source[0]);
    EACH out[l] = as_bits(p >> l & 1 ? std::fmin(as_float(a[l]), as_float(b[l])) : std::fmax(as_float(a[l]), as_float(b[l])));
    x.put(out);
}

inline void special_function(const Context& x) {  // MUFU: correctly rounded here, to about an ulp on a card
    u32 ra[LANES], out[LANES];
    const u32* a = x.get(x.in.source[0], ra);
    EACH {
        const double v = as_float(a[l]);
        out[l] = as_bits((float)(x.has(M_RCP) ? 1.0 / v : x.has(M_RSQ) ? 1.0 / std::sqrt(v) : x.has(M_SQRT) ? std::sqrt(v)
               : x.has(M_EX2) ? std::exp2(v) : x.has(M_LG2) ? std::log2(v) : x.has(M_SIN) ? std::sin(v)
               : x.has(M_COS) ? std::cos(v) : throw std::runtime_error("special function of an unknown kind")));
    }
    x.put(out);
}

// FCHK: whether the quotient a / b needs the long way, for exponents far out.
inline void check_division(const Context& x) {
    u32 ra[LANES], rb[LANES], slow = 0;
    const u32 *a = x.get(x.in.source[0], ra), *b = x.get(x.in.source[1], rb);
    EACH {
        const int p = (int)(a[l] >> 23 & 255), q = (int)(b[l] >> 23 & 255);
        const bool fast = p >= 24 && p < 255 && q > 1 && q < 253 && p - q > -126 && p - q < 126;
        slow |= (u32)!fast << l;
    }
    x.set_predicate(x.in.predicate_target[0], slow);
}

inline void integer_to_float(const Context& x) {  // I2F, I2FP
    u32 ra[LANES], out[LANES];
    const u32* a = x.get(x.in.source[0], ra);
    const bool is_unsigned = x.has(M_U32) || x.has(M_U16) || x.has(M_U8);
    EACH {
        u32 v = x.in.extra < 4 ? a[l] >> (8 * x.in.extra) : a[l];  // byte of a register
        v = x.has(M_U16) ? v & 0xFFFF : x.has(M_S16) ? (u32)(i32)(int16_t)v : x.has(M_U8) ? v & 255
          : x.has(M_S8) ? (u32)(i32)(int8_t)v : v;
        const double d = is_unsigned ? (double)v : (double)(i32)v;
        float f = (float)d;
        if (x.has(M_RP) && (double)f < d) f = std::nextafter(f, INFINITY);
        if (x.has(M_RM) && (double)f > d) f = std::nextafter(f, -INFINITY);
        out[l] = as_bits(f);
    }
    x.put(out);
}

inline void float_to_integer(const Context& x) {  // F2I
    u32 ra[LANES], out[LANES];
    const u32* a = x.get(x.in.source[0], ra);
    EACH {
        double d = as_float(a[l]);
        d = x.has(M_TRUNC) ? std::trunc(d) : x.has(M_FLOOR) ? std::floor(d) : x.has(M_CEIL) ? std::ceil(d) : std::nearbyint(d);
        if (d != d) out[l] = 0;
        else if (x.has(M_U32)) out[l] = (u32)std::min(std::max(d, 0.0), 4294967295.0);
        else out[l] = (u32)(i32)std::min(std::max(d, -2147483648.0), 2147483647.0);
    }
    x.put(out);
}

inline void dot_bytes(const Context& x) {  // IDP.4A, IDP.2A
    u32 ra[LANES], rb[LANES], rc[LANES], out[LANES];
    const u32 *a = x.get(x.in.source[0], ra), *b = x.get(x.in.source[1], rb), *c = x.get(x.in.source[2], rc);
    const bool bytes = x.has(M_4A);
    EACH {
        u32 sum = c[l];
        for (int k = 0; k < (bytes ? 4 : 2); ++k) {
            const u32 q = b[l] >> (8 * (x.has(M_HI) && !bytes ? k + 2 : k)) & 255, p = bytes ? a[l] >> (8 * k) & 255 : a[l] >> (16 * k) & 0xFFFF;
            const i32 sp = x.has(M_S8) ? (i32)(int8_t)p : x.has(M_S16) ? (i32)(int16_t)p : (i32)p;
            sum += (u32)(sp * (x.has(M_S8) ? (i32)(int8_t)q : (i32)q));
        }
        out[l] = sum;
    }
    x.put(out);
}

template <class Function> inline void bitwise(const Context& x, Function f) {
    u32 ra[LANES], out[LANES];
    const u32* a = x.get(x.in.source[0], ra);
    EACH out[l] = f(a[l]);
    x.put(out);
}
