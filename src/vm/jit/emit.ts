/** One BPF function as a WebAssembly function body: everything but control flow. */
import { FORM, FORM_OF } from "../../asm/index.ts";
import * as op from "../../asm/opcode.ts";
import { BPF_FUNC, helperById } from "../../uapi/index.ts";
import { ArrayMap } from "../maps/array.ts";
import type { VmMap } from "../maps/map.ts";
import { FRAMES, FRAME_SIZE, FRAME_STRIDE, LOW, MAP_BASE, REGS, TRACE_AT, TRACE_COUNT } from "../memory.ts";
import { pathEntry } from "../trace.ts";
import {
  IMPORTS,
  FUEL,
  SPAN,
  REG,
  T0,
  T1,
  SPAN_NOW,
  FP,
  FUEL_LEFT,
  LOOPS_LEFT,
  A0,
  A1,
  CHECKED,
  MAX_CHECKED,
  LOCALS,
  ALU64,
  ALU32,
  COMPARE,
  LOAD_U,
  LOAD_S,
  STORE,
  SIZE_SHIFT,
} from "./layout.ts";
import type { CheckSite, EmitContext } from "./context.ts";
import { EMPTY, I32, I64, W, WasmBytes } from "./bytes.ts";
import { ADDRESS, FRAME, Facts, accessOf } from "./facts.ts";

export class InsnEmitter {
  readonly out = new WasmBytes();
  readonly context: EmitContext;

  facts = new Facts();
  #kept = 0;

  constructor(context: EmitContext) {
    this.context = context;
  }

  /** The declaration of the locals that were used. */
  locals(): WasmBytes {
    const types = [...LOCALS, [this.#kept, I32] as const].filter(([count]) => count > 0);
    const out = new WasmBytes().u(types.length);
    for (const [count, type] of types) out.u(count).op(type);
    return out;
  }

  get(reg: number): WasmBytes {
    return this.out.get(REG[reg]!);
  }
  set(reg: number): WasmBytes {
    return this.out.set(REG[reg]!);
  }
  #get32(reg: number): void {
    this.get(reg).op(W.i32_wrap_i64);
  }
  #set32(reg: number): void {
    this.out.op(W.i64_extend_i32_u);
    this.set(reg);
  }

  prologue(): void {
    const { out } = this;
    out.get(REG[10]!).op(W.i32_wrap_i64).i32(FRAME_SIZE).op(W.i32_sub).set(FP);
    this.#loadFuel();
    out.i32(8 * 1024 * 1024).set(LOOPS_LEFT);
  }

  /** Notes that code from `slot` on runs, up to the block's end or behind the next call. */
  traceFrom(slot: number): void {
    const { image, trace } = this.context;
    if (trace === undefined || slot >= this.blockEnd) return;
    let end = slot;
    let count = 0;
    while (end < this.blockEnd) {
      const form = FORM_OF[image.columns.opcode[end]!]!;
      end += form === FORM.LD_IMM64 ? 2 : 1;
      count++;
      if (form === FORM.CALL) break;
    }
    trace.ends[slot] = end;
    const { out } = this;
    out.i32(0).access(W.i32_load, TRACE_AT).tee(A0).i32(pathEntry(trace.program, slot)).access(W.i32_store, trace.base);
    out.i32(0).get(A0).i32(4).op(W.i32_add);
    out
      .i32(trace.bytes - 1)
      .op(W.i32_and)
      .access(W.i32_store, TRACE_AT);
    out.i32(0).i32(0).access(W.i64_load, TRACE_COUNT).i64(count).op(W.i64_add).access(W.i64_store, TRACE_COUNT);
  }

  /** Puts `cost` instructions back. */
  refund(cost: number): void {
    this.out.get(FUEL_LEFT).i32(cost).op(W.i32_add).set(FUEL_LEFT);
  }

  /** Takes `cost` instructions off the fuel. */
  burn(cost: number, slot: number): void {
    const { out } = this;
    out.get(FUEL_LEFT).i32(cost).op(W.i32_sub).tee(FUEL_LEFT).i32(0).op(W.i32_lt_s, W.if, EMPTY);
    out.i32(slot).call(IMPORTS.budget).op(W.unreachable, W.end);
  }
  #saveFuel(): void {
    this.out.get(FUEL_LEFT).op(W.global_set).u(FUEL);
  }
  /** After a call: what it used up, and how far the memory reaches now. */
  #loadFuel(): void {
    this.out.op(W.global_get).u(FUEL).set(FUEL_LEFT).op(W.global_get).u(SPAN).set(SPAN_NOW);
  }

  return(): void {
    this.#saveFuel();
    this.get(0).op(W.return);
  }

  /** Leaves on the stack whether the branch at `slot` is taken. */
  condition(slot: number): void {
    const { out } = this;
    const { opcode, dst, src, imm } = this.context.image.columns;
    const code = opcode[slot]!;
    const form = FORM_OF[code]!;
    if (form === FORM.MAY_GOTO) {
      out.get(LOOPS_LEFT).op(W.i32_eqz).tee(A0);
      out.get(LOOPS_LEFT).i32(1).op(W.i32_sub).get(LOOPS_LEFT).get(LOOPS_LEFT).op(W.select).set(LOOPS_LEFT);
      return;
    }
    const wide = op.classOf(code) === op.BPF_JMP;
    const x = form === FORM.BRANCH_X;
    if (wide) {
      this.get(dst[slot]!);
      if (x) this.get(src[slot]!);
      else out.i64(imm[slot]!);
    } else {
      this.#get32(dst[slot]!);
      if (x) this.#get32(src[slot]!);
      else out.i32(imm[slot]!);
    }
    if (op.codeOf(code) === op.BPF_JSET) {
      if (wide) out.op(W.i64_and).i64(0).op(W.i64_ne);
      else out.op(W.i32_and).i32(0).op(W.i32_ne);
    } else out.op(COMPARE[op.codeOf(code)]![wide ? 0 : 1]!);
  }

  /** An instruction that is neither jump nor exit. */
  insn(slot: number): void {
    const { out } = this;
    const { opcode, dst, src, off, imm } = this.context.image.columns;
    const code = opcode[slot]!;
    const d = dst[slot]!;
    const s = src[slot]!;
    const is64 = op.classOf(code) === op.BPF_ALU64;
    const form = FORM_OF[code]!;
    switch (form) {
      case FORM.ILLEGAL:
        out.i32(slot).call(IMPORTS.illegal).op(W.unreachable);
        break;
      case FORM.MOV_K:
        if (is64) out.i64(imm[slot]!);
        else out.op(W.i64_const).s64(BigInt(imm[slot]! >>> 0));
        this.set(d);
        break;
      case FORM.ALU_K:
      case FORM.ALU_X:
        if (is64) {
          this.get(d);
          if (form === FORM.ALU_X) this.get(s);
          else out.i64(imm[slot]!);
          out.op(ALU64[op.codeOf(code)]!);
          this.set(d);
        } else {
          this.#get32(d);
          if (form === FORM.ALU_X) this.#get32(s);
          else out.i32(imm[slot]!);
          out.op(ALU32[op.codeOf(code)]!);
          this.#set32(d);
        }
        break;
      case FORM.MOV_X:
        this.#move(is64, d, s, off[slot]!);
        break;
      case FORM.DIV_K:
      case FORM.DIV_X:
        this.#divide(
          is64,
          d,
          form === FORM.DIV_X ? s : undefined,
          imm[slot]!,
          op.codeOf(code) === op.BPF_MOD,
          off[slot] === 1,
        );
        break;
      case FORM.NEG:
        if (is64) {
          out.i64(0);
          this.get(d).op(W.i64_sub);
          this.set(d);
        } else {
          out.i32(0);
          this.#get32(d);
          out.op(W.i32_sub);
          this.#set32(d);
        }
        break;
      case FORM.END:
        if ((code & op.BPF_TO_BE) !== 0) this.#swap(d, imm[slot]!);
        else if (imm[slot] !== 64) {
          this.get(d)
            .op(W.i64_const)
            .s64(imm[slot] === 16 ? 0xffffn : 0xffff_ffffn)
            .op(W.i64_and);
          this.set(d);
        }
        break;
      case FORM.BSWAP:
        this.#swap(d, imm[slot]!);
        break;
      case FORM.LDX:
      case FORM.LDSX: {
        const shift = SIZE_SHIFT[(code >> 3) & 3]!;
        this.#load(slot, s, off[slot]!, shift, (form === FORM.LDX ? LOAD_U : LOAD_S)[shift]!);
        this.set(d);
        break;
      }
      case FORM.ST:
      case FORM.STX: {
        const shift = SIZE_SHIFT[(code >> 3) & 3]!;
        const at = this.#address(slot, d, off[slot]!, 1 << shift, true);
        if (form === FORM.STX) this.get(s);
        else out.i64(imm[slot]!);
        out.access(STORE[shift]!, at);
        break;
      }
      case FORM.ATOMIC:
        this.#atomic(slot, d, s, off[slot]!, imm[slot]!, SIZE_SHIFT[(code >> 3) & 3]!);
        break;
      case FORM.LD_IMM64: {
        const { wideLo, wideHi } = this.context.image;
        out.op(W.i64_const).s64((BigInt(wideHi[slot]!) << 32n) | BigInt(wideLo[slot]! >>> 0));
        this.set(d);
        break;
      }
      case FORM.LD_ABS:
      case FORM.LD_IND:
        if (form === FORM.LD_IND) {
          this.#get32(s);
          out.i32(imm[slot]!).op(W.i32_add);
        } else out.i32(imm[slot]!);
        out
          .i32(1 << SIZE_SHIFT[(code >> 3) & 3]!)
          .i32(slot)
          .call(IMPORTS.packet)
          .op(W.i32_eqz, W.if, EMPTY);
        out.i64(0);
        this.set(0);
        this.return();
        out.op(W.end);
        this.#result();
        break;
      default:
        this.#call(slot, s, imm[slot]!);
    }
  }

  #move(is64: boolean, d: number, s: number, bits: number): void {
    const { out } = this;
    if (bits === op.BPF_ADDR_SPACE_CAST && is64) {
      this.#get32(s);
      this.#set32(d);
      return;
    }
    if (is64) {
      this.get(s);
      if (bits !== 0) out.op(bits === 8 ? W.i64_extend8_s : bits === 16 ? W.i64_extend16_s : W.i64_extend32_s);
      this.set(d);
    } else {
      this.#get32(s);
      if (bits !== 0) out.op(bits === 8 ? W.i32_extend8_s : W.i32_extend16_s);
      this.#set32(d);
    }
  }

  /** Division by zero gives 0, its remainder the dividend; the smallest number by -1 is itself. */
  #divide(is64: boolean, d: number, s: number | undefined, imm: number, mod: boolean, signed: boolean): void {
    const { out } = this;
    const type = is64 ? I64 : I32;
    const dividend = (): void => (is64 ? void this.get(d) : this.#get32(d));
    const divisor = (): void => {
      if (s !== undefined) {
        if (is64) this.get(s);
        else this.#get32(s);
      } else if (is64) out.i64(imm);
      else out.i32(imm);
    };
    const opcode = is64
      ? mod
        ? signed
          ? W.i64_rem_s
          : W.i64_rem_u
        : signed
          ? W.i64_div_s
          : W.i64_div_u
      : mod
        ? signed
          ? W.i32_rem_s
          : W.i32_rem_u
        : signed
          ? W.i32_div_s
          : W.i32_div_u;
    const zero = (): void => void (is64 ? out.i64(0) : out.i32(0));
    const divide = (): void => {
      dividend();
      divisor();
      out.op(opcode);
    };
    const negate = (): void => {
      zero();
      dividend();
      out.op(is64 ? W.i64_sub : W.i32_sub);
    };
    const byMinusOne = signed && !mod;
    if (s === undefined) {
      if (imm === 0) {
        if (mod) dividend();
        else zero();
      } else if (imm === -1 && byMinusOne) negate();
      else divide();
    } else {
      divisor();
      out.op(is64 ? W.i64_eqz : W.i32_eqz, W.if, type);
      if (mod) dividend();
      else zero();
      out.op(W.else);
      if (byMinusOne) {
        divisor();
        if (is64) out.i64(-1).op(W.i64_eq);
        else out.i32(-1).op(W.i32_eq);
        out.op(W.if, type);
        negate();
        out.op(W.else);
        divide();
        out.op(W.end);
      } else divide();
      out.op(W.end);
    }
    if (is64) this.set(d);
    else this.#set32(d);
  }

  #swap32(local: number): void {
    this.out.get(local).i32(8).op(W.i32_rotl).i32(0x00ff_00ff).op(W.i32_and);
    this.out
      .get(local)
      .i32(8)
      .op(W.i32_rotr)
      .i32(0xff00_ff00 | 0)
      .op(W.i32_and, W.i32_or);
  }
  #swap(d: number, width: number): void {
    const { out } = this;
    this.#get32(d);
    out.set(A0);
    if (width === 64) {
      this.get(d).i64(32).op(W.i64_shr_u, W.i32_wrap_i64).set(A1);
      this.#swap32(A0);
      out.op(W.i64_extend_i32_u).i64(32).op(W.i64_shl);
      this.#swap32(A1);
      out.op(W.i64_extend_i32_u, W.i64_or);
      this.set(d);
      return;
    }
    this.#swap32(A0);
    if (width === 16) out.i32(16).op(W.i32_shr_u);
    this.#set32(d);
  }

  /** Leaves a checked address on the stack; gives the offset to access it with. */
  #address(slot: number, reg: number, off: number, size: number, write: boolean): number {
    const { out, facts } = this;
    const { image, top } = this.context;
    const origin = facts.origin[reg]!;
    const at = facts.delta[reg]! + off;
    if (origin === FRAME && at >= -FRAME_SIZE && at + size <= 0) {
      out.get(FP);
      return at + FRAME_SIZE;
    }
    if (origin === ADDRESS && at >= LOW && at + size <= top) {
      out.i32(at);
      return 0;
    }
    const before = facts.checked.get(origin);
    if (before !== undefined && at >= before.min && at + size <= before.max) {
      out.get(before.local);
      return LOW + at - before.min;
    }
    const keep = this.#kept < MAX_CHECKED && !this.context.nullReads && accessOf(image, slot) !== undefined;
    const accesses = keep
      ? facts.accessesFrom(image, slot, this.blockStart, this.blockEnd, this.again)
      : [{ slot, off: at, size, write }];
    const min = accesses.reduce((least, a) => Math.min(least, a.off), at);
    const max = accesses.reduce((most, a) => Math.max(most, a.off + a.size), at + size);
    // One addition takes the address to what is compared and, by its low half, accessed.
    this.get(reg)
      .i64(min - facts.delta[reg]! - LOW)
      .op(W.i64_add)
      .tee(T0)
      .get(SPAN_NOW)
      .op(W.i64_ge_u, W.if, EMPTY);
    this.#fault(accesses.map((a) => ({ ...a, off: a.off - min })));
    out.op(W.end).get(T0).op(W.i32_wrap_i64);
    if (keep) {
      const local = CHECKED + this.#kept++;
      facts.checked.set(origin, { min, max, local });
      out.tee(local);
    }
    return LOW + at - min;
  }
  #fault(accesses: CheckSite): void {
    const { out } = this;
    out.i32(this.context.checks.push(accesses) - 1);
    out.get(T0).op(W.i32_wrap_i64).get(T0).i64(32).op(W.i64_shr_u, W.i32_wrap_i64);
    out.call(IMPORTS.fault).op(W.unreachable);
  }

  /** Leaves the loaded value on the stack. */
  #load(slot: number, reg: number, off: number, shift: number, opcode: number): void {
    const { out } = this;
    if (!this.context.nullReads || reg === 10) {
      out.access(opcode, this.#address(slot, reg, off, 1 << shift, false));
      return;
    }
    // Typed kernel pointers: what cannot be read is zero.
    this.get(reg);
    if (off !== 0) out.i64(off).op(W.i64_add);
    out.tee(T0).i64(LOW).op(W.i64_sub).get(SPAN_NOW).op(W.i64_ge_u, W.if, I64).i64(0).op(W.else);
    out.get(T0).op(W.i32_wrap_i64).access(opcode, 0).op(W.end);
  }

  #atomic(slot: number, d: number, s: number, off: number, kind: number, shift: number): void {
    const { out } = this;
    if (kind === op.BPF_LOAD_ACQ) {
      this.#load(slot, s, off, shift, LOAD_U[shift]!);
      this.set(d);
      return;
    }
    const at = this.#address(slot, d, off, 1 << shift, true);
    if (kind === op.BPF_STORE_REL) {
      this.get(s).access(STORE[shift]!, at);
      return;
    }
    out.tee(A0).access(LOAD_U[shift]!, at).set(T0);
    if (kind === op.BPF_CMPXCHG) {
      out.get(T0);
      this.get(0);
      if (shift === 2) out.op(W.i64_const).s64(0xffff_ffffn).op(W.i64_and);
      out.op(W.i64_eq, W.if, EMPTY).get(A0);
      this.get(s).access(STORE[shift]!, at).op(W.end).get(T0);
      this.set(0);
      return;
    }
    out.get(A0);
    const code = kind & ~op.BPF_FETCH;
    if (kind === op.BPF_XCHG) this.get(s);
    else {
      out.get(T0);
      this.get(s).op(ALU64[code]!);
    }
    out.access(STORE[shift]!, at);
    if ((kind & op.BPF_FETCH) !== 0) {
      out.get(T0);
      this.set(s);
    }
  }

  /** r0 = what a helper left in memory. */
  #result(): void {
    this.out.i32(0).access(W.i64_load, REGS);
    this.set(0);
  }
  #spill(last: number): void {
    for (let reg = 1; reg <= last; reg++) {
      this.out.i32(0);
      this.get(reg).access(W.i64_store, REGS + reg * 8);
    }
    this.out.i32(0);
    this.get(10).access(W.i64_store, REGS + 80);
  }

  #call(slot: number, kind: number, id: number): void {
    const { out } = this;
    if (kind === op.BPF_PSEUDO_CALL) {
      this.get(10).i64(FRAME_STRIDE).op(W.i64_add).tee(T1).i64(this.context.stackEnd).op(W.i64_gt_u, W.if, EMPTY);
      out.i32(slot).call(IMPORTS.depth).op(W.unreachable, W.end);
      this.#saveFuel();
      for (let reg = 1; reg <= 5; reg++) this.get(reg);
      out.get(T1).call(this.context.functions.get(this.context.image.target[slot]!)!);
      this.set(0);
      this.#loadFuel();
      return;
    }
    if (kind === op.BPF_PSEUDO_KFUNC_CALL) {
      this.#spill(5);
      this.#saveFuel();
      out.i32(slot).call(IMPORTS.kfunc);
      this.#loadFuel();
      this.#result();
      return;
    }
    const map = this.#mapOf(slot);
    if (id === BPF_FUNC.map_lookup_elem && map !== undefined) {
      this.#lookup(slot, map);
      return;
    }
    if (id === BPF_FUNC.map_update_elem && map !== undefined) {
      out.i32(map.pointer);
      for (const reg of [2, 3]) {
        const offset = this.#address(slot, reg, 0, 1, false);
        if (offset !== 0) out.i32(offset).op(W.i32_add);
      }
      // Flags beyond 32 bits are refused like any unknown one.
      this.#get32(4);
      out.i32(-1);
      this.get(4).i64(32).op(W.i64_shr_u, W.i64_eqz, W.select);
      out.call(IMPORTS.update).op(W.i64_extend_i32_s);
      this.set(0);
      out.op(W.global_get).u(SPAN).set(SPAN_NOW);
      return;
    }
    const row = helperById(id);
    this.#spill(row === undefined || row.variadic === true ? 5 : row.args.length);
    this.#saveFuel();
    if (id === BPF_FUNC.tail_call) {
      out.i32(slot).call(IMPORTS.tail).op(W.if, EMPTY).i32(0).access(W.i64_load, REGS).op(W.return, W.end);
      this.#loadFuel();
      return;
    }
    out.i32(id).i32(slot).call(IMPORTS.helper);
    this.#loadFuel();
    if (row?.ret.type !== "RET_VOID") this.#result();
  }

  #lookup(slot: number, map: VmMap): void {
    const { out } = this;
    const key = this.#address(slot, 2, 0, map.spec.keySize, false);
    if (!(map instanceof ArrayMap) || map.constructor !== ArrayMap) {
      if (key !== 0) out.i32(key).op(W.i32_add);
      const own = this.context.lookupOf(map);
      if (own === undefined) out.set(A0).i32(map.pointer).get(A0).call(IMPORTS.lookup);
      else out.call(own);
      out.op(W.i64_extend_i32_u);
      this.set(0);
      return;
    }
    // An array: its address is arithmetic.
    out.access(W.i32_load, key).tee(A0).i32(map.spec.maxEntries).op(W.i32_lt_u, W.if, I64);
    out.get(A0).i32(map.stride).op(W.i32_mul).i32(map.block.base).op(W.i32_add, W.i64_extend_i32_u);
    out.op(W.else).i64(0).op(W.end);
    this.set(0);
  }

  /** The map that r1 certainly points to at `slot`: its ld_imm64 stands before, in the same straight code. */
  #mapOf(slot: number): VmMap | undefined {
    const { image } = this.context;
    for (let i = slot - 1; i >= this.blockStart; i--) {
      const form = FORM_OF[image.columns.opcode[i]!]!;
      if (form === FORM.CALL) return undefined;
      if (form === FORM.LD_IMM64 && image.columns.dst[i] === 1) {
        const pointer = image.wideLo[i]! >>> 0;
        return image.wideHi[i] === 0 ? this.context.mapAt(pointer - MAP_BASE) : undefined;
      }
      if ((image.writes[i]! & 2) !== 0) return undefined;
    }
    return undefined;
  }
  /** Slots of the block that is being emitted. */
  blockStart = 0;
  blockEnd = 0;
  /** How often its code comes again behind itself. */
  again = 0;
}

export const STACK_LIMIT = (stackBase: number): number => stackBase + (FRAMES - 1) * FRAME_STRIDE + FRAME_SIZE;
