/** One function of a random program, written statement by statement. */
import { MemoryStatements } from "./memory-statements.ts";
import * as t from "./targets.ts";
import { type FuncSpec, type Value, NONE, NUMBERS, SCALAR, SIZE_BITS, insn } from "./writer-state.ts";

export class FunctionWriter extends MemoryStatements {
  write(statements: number): void {
    const rng = this.rng;
    this.spec.args.forEach((v, i) => this.set(i + 1, v));
    // What came in r1 is kept, often.
    if (this.spec.args.length > 0 && rng.chance(92)) this.mov(6, 1);
    this.statements(statements);
    this.end();
  }

  protected end(): void {
    const rng = this.rng;
    const { role } = this.spec;
    if (rng.chance(role === "main" ? 85 : 60)) {
      this.movImm(0, role === "loop" || role === "each" ? rng.below(2) : rng.pick(this.target.returns));
    } else if (this.regs[0]!.kind === "none") this.emit(0xbf, 0, this.scalar(), 0, 0);
    this.emit(0x95, 0, 0, 0, 0);
  }

  protected statements(count: number): void {
    for (let i = 0; i < count; i++) this.statement();
  }

  protected statement(): void {
    const rng = this.rng;
    switch (rng.below(34)) {
      case 0:
      case 1:
      case 2:
      case 3:
        return this.alu();
      case 4:
      case 5:
        return this.stack();
      case 6:
        return this.pureHelper();
      case 7:
      case 8:
        return this.lookup();
      case 9:
        return this.mapUpdate();
      case 10:
      case 11:
        return this.packet();
      case 12:
      case 13:
      case 14:
        return this.branch();
      case 15:
      case 16:
        return this.loop();
      case 17:
      case 18:
        return this.callFunction();
      case 19:
      case 20:
        return this.atomic();
      case 21:
      case 22:
        return this.context();
      case 23:
        return this.ringbuf();
      case 24:
        return this.spillPointer();
      case 25:
        return this.variableStack();
      case 26:
        return this.memHelper();
      case 27:
        return this.callback();
      case 28:
        return this.iterator();
      case 29:
        return this.btfPointer();
      case 30:
        return this.useValue();
      case 31:
        return this.dynptr();
      case 32:
        return this.misc();
      default:
        if (rng.chance(12)) this.wild();
        else this.alu();
    }
  }

  protected branch(): void {
    const rng = this.rng;
    const at = this.condition();
    const before = this.save();
    this.nested(1 + rng.below(2));
    if (rng.chance(10) && this.depth > 0) this.end();
    if (rng.chance(60)) {
      this.land(at);
      this.merge(before);
      return;
    }
    const skip = this.emit(0x05, 0, 0, 0, 0);
    this.land(at);
    const then = this.save();
    this.regs = before.regs.slice();
    this.slots = before.slots.slice();
    this.nested(1);
    this.land(skip);
    this.merge(then);
  }

  protected loop(): void {
    const rng = this.rng;
    if (this.loops >= 2 || this.depth >= 2) return this.branch();
    this.loops++;
    const counter = this.kept();
    const bound = 1 + rng.below(rng.chance(6) ? 40 : 5);
    const mayGoto = rng.chance(25);
    if (!mayGoto || rng.chance(50)) this.movImm(counter, 0);
    const top = this.insns.length;
    const before = this.save();
    const exit = mayGoto ? this.emit(0xe5, 0, 0, 0, 0) : -1;
    this.counters.add(counter);
    this.nested(1 + rng.below(2));
    this.counters.delete(counter);
    // The counter must have survived; its uses inside are part of the fun.
    if (!mayGoto) {
      this.emit(0x07, counter, 0, 0, 1);
      const x = rng.chance(20);
      const limit = x ? rng.pick([1, 2, 3, 4, 5]) : 0;
      if (x && limit !== counter) this.emit(0xb7, limit, 0, 0, bound);
      const at = this.emit(
        x ? 0xad : rng.pick([0xa5, 0xa5, 0xa5, 0xa5, 0x55, 0xa6, 0xc5]),
        counter,
        x ? limit : 0,
        0,
        x ? 0 : bound,
      );
      this.insns[at] = { ...this.insns[at]!, off: top - at - 1 };
    } else {
      const at = this.emit(0x05, 0, 0, 0, 0);
      this.insns[at] = { ...this.insns[at]!, off: top - at - 1 };
      this.land(exit);
    }
    this.merge(before);
    this.loops--;
  }

  /** Values in r1… for the function `spec`, or for a new one. */
  protected callFunction(): void {
    const rng = this.rng;
    const old = this.specs.filter((s) => (s.role === "static" || s.role === "global") && s.index > this.spec.index);
    let spec: FuncSpec | null = old.length > 0 && rng.chance(60) ? rng.pick(old) : null;
    if (spec === null) {
      const offered: Value[] = [];
      for (let i = rng.below(4); i > 0; i--) {
        offered.push(
          rng.pick<Value>([
            SCALAR,
            SCALAR,
            { kind: "stack", room: 16 },
            { kind: "ctx" },
            { kind: "value", size: 16 },
            { kind: "small", max: 16 },
          ]),
        );
      }
      spec = this.request(rng.chance(25) ? "global" : "static", offered);
    }
    if (spec === null) return this.alu();
    const wanted = spec.args;
    for (let i = 0; i < wanted.length; i++) this.argument(i + 1, wanted[i]!);
    this.callees.set(this.emit(0x85, 0, 1, 0, 0), spec.index);
    this.callDone();
    this.set(0, SCALAR);
  }

  protected argument(r: number, v: Value): void {
    const rng = this.rng;
    const later = (reg: number): boolean => reg > r || reg > 5;
    switch (v.kind) {
      case "ctx":
      case "value": {
        const have = [...Array(10).keys()].find((k) => later(k) && this.regs[k]!.kind === v.kind);
        if (have !== undefined) return this.mov(r, have);
        this.emit(0xb7, r, 0, 0, 0);
        return this.set(r, SCALAR);
      }
      case "stack":
      case "mem8null":
        this.stackPtr(r, this.buffer(16));
        return;
      case "small":
        this.emit(0xb7, r, 0, 0, rng.below(16));
        return this.set(r, v);
      default: {
        const have = [...Array(10).keys()].find((k) => later(k) && this.regs[k]!.kind === "scalar");
        if (have !== undefined && rng.chance(70)) return this.mov(r, have);
        this.movImm(r, rng.pick(NUMBERS));
      }
    }
  }

  protected callback(): void {
    const rng = this.rng;
    if (!this.withBtf) return this.loop();
    const each = rng.chance(30);
    const spec = each
      ? this.request("each", [NONE, { kind: "any" }, { kind: "value", size: 16 }, { kind: "stack", room: 16 }])
      : this.request("loop", [{ kind: "scalar" }, { kind: "stack", room: 16 }]);
    if (spec === null) return this.loop();
    this.stackPtr(3, this.buffer(16));
    this.callees.set(this.insns.length, spec.index);
    this.emit(0x18, 2, 4, 0, 0);
    this.insns.push(insn(0, 0, 0, 0, 0));
    this.emit(0xb7, 4, 0, 0, 0);
    if (each) this.loadMap(1, t.ARRAY);
    else if (rng.chance(60)) this.emit(0xb7, 1, 0, 0, 1 + rng.below(20));
    else {
      const r = this.scalar();
      if (r > 9 || (r >= 2 && r <= 4)) this.emit(0xb7, 1, 0, 0, 4);
      else this.emit(0xbf, 1, r, 0, 0);
    }
    this.call(each ? 164 : 181, SCALAR);
  }

  protected iterator(): void {
    const rng = this.rng;
    if (!this.kfuncs.has("bpf_iter_num_new") || this.depth >= 2) return this.loop();
    const off = -8 * (13 + rng.below(3));
    const it = (): void => this.stackPtr(1, off);
    it();
    this.emit(0xb7, 2, 0, 0, rng.below(4));
    this.emit(0xb7, 3, 0, 0, 4 + rng.below(60));
    this.kfunc("bpf_iter_num_new", SCALAR);
    const top = this.insns.length;
    it();
    this.kfunc("bpf_iter_num_next", { kind: "any" });
    const out = this.emit(0x15, 0, 0, 0, 0);
    const before = this.save();
    if (rng.chance(70)) {
      const dst = this.freeRegister();
      this.emit(0x61, dst, 0, 0, 0);
      this.set(dst, SCALAR);
    }
    this.nested(1 + rng.below(2));
    const back = this.emit(0x05, 0, 0, 0, 0);
    this.insns[back] = { ...this.insns[back]!, off: top - back - 1 };
    this.land(out);
    this.merge(before);
    this.set(0, NONE);
    if (rng.chance(3)) return;
    it();
    this.kfunc("bpf_iter_num_destroy", NONE);
  }

  protected btfPointer(): void {
    const rng = this.rng;
    const { pointers } = this.target;
    const ctx = this.find("ctx");
    let r: number;
    if (pointers.length > 0 && ctx >= 0 && rng.chance(70)) {
      r = rng.pick([this.kept(), 2, 3]);
      this.emit(0x79, r, ctx, rng.pick(pointers), 0);
    } else {
      this.call(158, { kind: "task" });
      r = 0;
    }
    this.set(r, { kind: "task" });
    if (rng.chance(20)) {
      const at = this.emit(0x15, r, 0, 0, 0);
      this.emit(0x79, rng.pick([1, 2, 3]), r, rng.below(64) * 8, 0);
      this.land(at);
      return;
    }
    const dst = rng.pick([1, 2, 3, 4, 5]);
    const size = rng.chance(20) ? rng.pick([1, 2, 4]) : 8;
    this.emit(0x61 | SIZE_BITS[size]!, dst, r, rng.below(300) * size, 0);
    this.set(dst, { kind: "any" });
    if (rng.chance(40)) {
      const d2 = rng.pick([1, 2, 3, 4, 5]);
      this.emit(0x79, d2, dst, rng.below(40) * 8, 0);
      this.set(d2, { kind: "any" });
    }
    if (rng.chance(15) && this.kfuncs.has("bpf_task_acquire")) {
      this.emit(0xbf, 1, r, 0, 0);
      this.kfunc("bpf_task_acquire", { kind: "any" });
      const at = this.emit(0x15, 0, 0, 0, 0);
      this.emit(0xbf, 1, 0, 0, 0);
      this.kfunc("bpf_task_release", NONE);
      this.land(at);
    }
  }

  protected dynptr(): void {
    const rng = this.rng;
    const off = -8 * (13 + rng.below(2)) - 16;
    if (this.depth >= 3) return this.alu();
    const ringbuf = rng.chance(40);
    if (ringbuf) {
      this.loadMap(1, t.RINGBUF);
      this.emit(0xb7, 2, 0, 0, rng.pick([8, 32, 64]));
      this.emit(0xb7, 3, 0, 0, 0);
      this.stackPtr(4, off);
      this.call(198, SCALAR);
    } else {
      const value = this.find("value");
      if (value < 0 || value > 9) return this.lookup();
      this.emit(0xbf, 1, value, 0, 0);
      this.emit(0xb7, 2, 0, 0, rng.pick([8, 16]));
      this.emit(0xb7, 3, 0, 0, 0);
      this.stackPtr(4, off);
      this.call(197, SCALAR);
    }
    for (let i = rng.below(3); i > 0; i--) {
      if (rng.chance(50)) {
        this.stackPtr(1, off);
        this.emit(0xb7, 2, 0, 0, rng.below(8));
        this.emit(0xb7, 3, 0, 0, rng.pick([1, 4, 8]));
        this.call(203, { kind: "any" });
        const at = this.emit(0x15, 0, 0, 0, 0);
        this.emit(0x71, rng.pick([1, 2, 3]), 0, rng.pick([0, 0, 3, 7]), 0);
        this.land(at);
      } else {
        this.stackPtr(3, off);
        this.stackPtr(1, this.buffer(8));
        this.emit(0xb7, 2, 0, 0, 8);
        this.emit(0xb7, 4, 0, 0, 0);
        this.emit(0xb7, 5, 0, 0, 0);
        this.call(201, SCALAR);
      }
    }
    if (!ringbuf || rng.chance(4)) return;
    this.stackPtr(1, off);
    this.emit(0xb7, 2, 0, 0, 0);
    this.call(rng.pick([199, 200]), NONE);
  }

  protected misc(): void {
    const rng = this.rng;
    switch (rng.below(7)) {
      case 0: {
        // Tail call.
        const ctx = this.find("ctx");
        if (ctx < 0) return this.alu();
        this.emit(0xbf, 1, ctx, 0, 0);
        this.loadMap(2, t.PROG_ARRAY);
        this.emit(0xb7, 3, 0, 0, rng.below(2));
        return this.call(12, SCALAR);
      }
      case 1: {
        const lock = rng.chance(50);
        this.kfunc(lock ? "bpf_rcu_read_lock" : "bpf_preempt_disable", NONE);
        this.nested(1);
        if (rng.chance(95)) this.kfunc(lock ? "bpf_rcu_read_unlock" : "bpf_preempt_enable", NONE);
        return;
      }
      case 2: {
        // Arithmetic of pointers.
        const r = this.find("value", "stack", "packet");
        if (r < 0) return this.alu();
        const dst = rng.pick([1, 2, 3, 4, 5]);
        this.mov(dst, r);
        this.emit(rng.pick([0x07, 0x17, 0x0f, 0x1f]), dst, rng.chance(50) ? 0 : this.scalar(), 0, 0);
        return this.set(dst, { kind: "any" });
      }
      case 3: {
        const ctx = this.find("ctx");
        if (ctx < 0) return this.alu();
        const off = this.buffer(16);
        this.emit(0xbf, 1, ctx, 0, 0);
        this.loadMap(2, t.PERF_ARRAY);
        this.emit(0x18, 3, 0, 0, -1);
        this.insns.push(insn(0, 0, 0, 0, 0));
        this.stackPtr(4, off);
        this.emit(0xb7, 5, 0, 0, 16);
        return this.call(25, SCALAR);
      }
      case 4: {
        // A sub-register spill and a wider fill.
        const spi = rng.below(8);
        this.emit(rng.pick([0x63, 0x6b, 0x73]), 10, this.scalar(), -8 * (spi + 1) + rng.pick([0, 0, 4]), 0);
        const dst = this.freeRegister();
        this.emit(rng.pick([0x79, 0x61, 0x69, 0x71]), dst, 10, -8 * (spi + 1), 0);
        return this.set(dst, SCALAR);
      }
      case 5: {
        const dst = this.freeRegister();
        this.emit(0x18, dst, 0, 0, rng.pick(NUMBERS));
        this.insns.push(insn(0, 0, 0, 0, rng.pick(NUMBERS)));
        return this.set(dst, SCALAR);
      }
      default: {
        // Comparison of pointers, or of a pointer with zero.
        const r = this.find("valueNull", "recordNull", "value", "ctx", "task");
        if (r < 0) return this.branch();
        const at = this.emit(rng.pick([0x15, 0x55]), r, 0, 0, 0);
        this.nested(1);
        this.land(at);
      }
    }
  }
}
