// One instruction, done: dispatch by its code. Control flow is the multiprocessor's.
#pragma once
#include "memory.hpp"

struct Special { u32 thread_x, block_x, block_y; u64 clock; };

inline void special_register(const Context& x, const Special& s) {
    u32 out[LANES], high[LANES] = {};
    EACH switch (x.in.extra) {
        case R_TID_X: out[l] = s.thread_x + (u32)l; break;
        case R_CTAID_X: out[l] = s.block_x; break;
        case R_CTAID_Y: out[l] = s.block_y; break;
        case R_LANEID: out[l] = (u32)l; break;
        case R_LTMASK: out[l] = (1u << l) - 1; break;
        case R_CLOCKLO: out[l] = (u32)s.clock; break;
        default: out[l] = 0;  // the second dimensions of threads, clusters of one block, zero
    }
    x.put(out);
    if (x.in.code == I_CS2R && !x.has(M_32)) x.put(high, 1);
}

inline void load_constant(const Context& x) {  // LDC, ULDC
    u32 out[LANES], low[LANES] = {};
    const Operand& o = x.in.source[0];
    const u32 bank = o.kind == ADDRESS ? x.in.extra : o.index;
    if (o.kind == ADDRESS && o.index != 255) memcpy(low, x.warp.reg(o.index), sizeof low);
    const u32 more = o.kind == ADDRESS && o.second != 255 ? x.warp.uniform[o.second] : 0;
    for (int word = 0; word < (x.has(M_64) ? 2 : 1); ++word) {
        EACH out[l] = x.mask >> l & 1 ? x.constant(bank, low[l] + more + o.value + 4u * (u32)word) : 0;
        x.put(out, word);
    }
}

inline Cost execute(const Context& x, Memory& memory, Block& block, const Special& special) {
    u32 room[LANES], out[LANES];
    const Instruction& in = x.in;
    switch (in.code) {
        case I_NOP: case I_ERRBAR: case I_CCTL: case I_MEMBAR: case I_FENCE: case I_DEPBAR: case I_YIELD: case I_ENDCOLLECTIVE: break;
        case I_MOV: x.put(x.get(in.source[0], room)); break;
        case I_R2UR: x.put(x.get(in.source[0], room)); break;
        case I_IADD3: case I_VIADD: case I_IADD: add_three(x); break;
        case I_LEA: shift_add(x); break;
        case I_IMAD: multiply_add(x); break;
        case I_LOP3: logic(x); break;
        case I_PLOP3: predicate_logic(x); break;
        case I_SHF: funnel_shift(x); break;
        case I_PRMT: permute_bytes(x); break;
        case I_ISETP: compare_integers(x); break;
        case I_FSETP: compare_floats(x); break;
        case I_SEL: case I_FSEL: select(x); break;
        case I_VIMNMX: case I_IMNMX: extremes(x, false, false); break;
        case I_VIMNMX3: extremes(x, true, false); break;
        case I_VIADDMNMX: extremes(x, false, true); break;
        case I_IABS: bitwise(x, [](u32 v) { return (i32)v < 0 ? 0u - v : v; }); break;
        case I_POPC: bitwise(x, [](u32 v) { return (u32)__builtin_popcount(v); }); break;
        case I_BREV: bitwise(x, [](u32 v) { u32 r = 0; for (int k = 0; k < 32; ++k) r |= (v >> k & 1) << (31 - k); return r; }); break;
        case I_FLO: bitwise(x, [&](u32 v) { return v ? x.has(M_SH) ? (u32)__builtin_clz(v) : 31u - (u32)__builtin_clz(v) : ALL; }); break;
        case I_IDP: dot_bytes(x); break;
        case I_FADD: floats(x, FloatOp::ADD); break;
        case I_FMUL: floats(x, FloatOp::MULTIPLY); break;
        case I_FFMA: floats(x, FloatOp::FUSED); break;
        case I_FMNMX: float_extreme(x); break;
        case I_HADD2: halves(x, FloatOp::ADD); break;
        case I_HMUL2: halves(x, FloatOp::MULTIPLY); break;
        case I_HFMA2: halves(x, FloatOp::FUSED); break;
        case I_F2FP: pack_halves(x); break;
        case I_MUFU: special_function(x); break;
        case I_FCHK: check_division(x); break;
        case I_I2F: case I_I2FP: integer_to_float(x); break;
        case I_F2I: float_to_integer(x); break;
        case I_S2R: case I_S2UR: case I_CS2R: special_register(x, special); break;
        case I_LDC: load_constant(x); break;
        case I_SHFL: shuffle(x); break;
        case I_VOTE: vote(x); break;
        case I_REDUX: reduce(x); break;
        case I_P2R:
            EACH {
                out[l] = 0;
                for (int k = 0; k < 7; ++k) out[l] |= (x.warp.predicates[k] >> l & 1) << k;
                out[l] &= in.source[1].value;
                out[l] |= x.get(in.source[0], room)[l] & ~in.source[1].value;
            }
            x.put(out);
            break;
        case I_R2P: {
            const u32* v = x.get(in.source[0], room);
            for (u8 k = 0; k < 7; ++k) {
                u32 bits = 0;
                EACH bits |= (v[l] >> k & 1) << l;
                if (in.source[1].value >> k & 1) x.set_predicate(k, bits);
            }
            break;
        }
        case I_B2R:
            EACH out[l] = x.warp.barrier_result;
            x.put(out);
            x.set_predicate(in.predicate_target[0], x.warp.barrier_result ? ALL : 0);
            break;
        case I_LDS: case I_STS: return memory.shared(x, block);
        case I_ATOMS: return memory.shared_atomic(x, block);
        case I_LDG: return memory.global(x, true, false);
        case I_STG: return memory.global(x, false, false);
        case I_REDG: case I_ATOMG: case I_RED: case I_ATOM: return memory.global(x, false, true);
        default: throw std::runtime_error("instruction without a meaning here");
    }
    return {};
}
