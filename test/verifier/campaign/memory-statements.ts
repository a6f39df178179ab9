/** Statements of a random function that compute, and that touch memory: stack, map values, packets, records. */
import * as t from "./targets.ts";
import {
  ALU,
  ATOMICS,
  LOAD_ACQUIRE,
  NONE,
  NUMBERS,
  SCALAR,
  SIZE_BITS,
  STORE_RELEASE,
  WriterState,
} from "./writer-state.ts";

export abstract class MemoryStatements extends WriterState {
  protected alu(): void {
    const rng = this.rng;
    const cls = rng.chance(55) ? 0x07 : 0x04;
    const op = rng.pick(ALU);
    const dst = op === 0xb0 ? this.freeRegister() : this.scalar();
    if (rng.chance(6)) {
      this.emit(rng.pick([0xd4, 0xdc, 0xd7]), dst === -1 ? 0 : this.scalar(), 0, 0, rng.pick([16, 32, 64]));
      return;
    }
    if (rng.chance(5)) {
      this.emit(cls | 0x80, this.scalar(), 0, 0, 0);
      return;
    }
    const divide = op === 0x30 || op === 0x90;
    if (rng.chance(40)) {
      const src = this.scalar();
      const off =
        op === 0xb0 && rng.chance(30)
          ? rng.pick(cls === 0x07 ? [8, 16, 32] : [8, 16])
          : divide && rng.chance(30)
            ? 1
            : 0;
      this.emit(cls | op | 0x08, dst, src, off, 0);
      this.set(dst, SCALAR);
      return;
    }
    let imm = rng.pick(NUMBERS);
    if (op === 0x60 || op === 0x70 || op === 0xc0) imm = rng.below(cls === 0x07 ? 64 : 32);
    if (divide && imm === 0) imm = 3;
    this.emit(cls | op, dst, 0, divide && rng.chance(30) ? 1 : 0, imm);
    this.set(dst, op === 0x50 && imm > 0 ? { kind: "small", max: imm + 1 } : SCALAR);
  }

  protected stack(): void {
    const rng = this.rng;
    const size = rng.pick([1, 2, 4, 8, 8, 8]);
    const spi = rng.below(10);
    const within = size === 8 ? 0 : rng.below(8 / size) * size;
    const off = -8 * (spi + 1) + within;
    const bits = SIZE_BITS[size]!;
    switch (rng.below(4)) {
      case 0:
        this.emit(0x62 | bits, 10, 0, off, rng.pick(NUMBERS));
        if (size === 8) this.slots[spi] = SCALAR;
        return;
      case 1:
        this.emit(0x63 | bits, 10, this.scalar(), off, 0);
        if (size === 8) this.slots[spi] = SCALAR;
        return;
      default: {
        if (this.slots[spi]!.kind !== "scalar" && rng.chance(85)) {
          this.emit(0x7b, 10, this.scalar(), -8 * (spi + 1), 0);
          this.slots[spi] = SCALAR;
        }
        const dst = this.freeRegister();
        const sx = size < 8 && rng.chance(25);
        this.emit((sx ? 0x81 : 0x61) | bits, dst, 10, off, 0);
        this.set(dst, SCALAR);
      }
    }
  }

  protected pureHelper(): void {
    this.call(this.rng.pick([5, 7, 8, 8, 7, 118, 14, 125]), SCALAR);
  }

  protected lookup(): void {
    const rng = this.rng;
    const map = rng.pick([t.ARRAY, t.ARRAY, t.HASH, t.PERCPU, t.BIG]);
    const { keySize, valueSize } = t.MAPS[map]!;
    const key = this.buffer(keySize);
    this.stackPtr(2, key);
    this.loadMap(1, map);
    this.call(1, { kind: "valueNull", size: valueSize });
    if (rng.chance(30)) this.mov(this.kept(), 0);
    if (rng.chance(20)) return;
    const at = this.emit(0x15, 0, 0, 0, 0);
    const before = this.save();
    this.set(0, { kind: "value", size: valueSize });
    for (const r of [7, 8, 9])
      if (this.regs[r]!.kind === "valueNull" && rng.chance(80)) this.set(r, { kind: "value", size: valueSize });
    if (rng.chance(70)) this.mov(this.kept(), 0);
    this.useValue();
    this.nested(1 + rng.below(3));
    this.land(at);
    this.merge(before);
    this.set(0, NONE);
  }

  /** Reads or writes behind a pointer whose size is known. */
  protected useValue(): void {
    const rng = this.rng;
    const r = this.find("value", "mem8", "record");
    if (r < 0 || r > 9) return this.alu();
    const v = this.regs[r]!;
    const room = "size" in v ? v.size : 8;
    const size = rng.pick([1, 2, 4, 8]);
    const bits = SIZE_BITS[size]!;
    if (rng.chance(45) && room > 16) {
      // A variable index, bounded in one of several ways.
      const p = this.freeRegister();
      const i = this.scalar();
      if (p === i || p === r) return;
      this.emit(0xbf, p, r, 0, 0);
      this.bound(i, room - size + (rng.chance(6) ? 1 : 0));
      this.emit(0x0f, p, i, 0, 0);
      this.set(p, { kind: "any" });
      this.access(p, 0, size, bits);
      return;
    }
    const slack = rng.chance(3) ? 2 : 0;
    this.access(r, Math.floor(rng.below(room - size + 1 + slack) / size) * size, size, bits);
  }

  protected mapUpdate(): void {
    const rng = this.rng;
    const map = rng.pick([t.ARRAY, t.HASH, t.HASH, t.QUEUE]);
    const { keySize, valueSize } = t.MAPS[map]!;
    const value = this.buffer(Math.min(valueSize, 64));
    if (map === t.QUEUE) {
      this.stackPtr(2, value);
      this.loadMap(1, map);
      this.emit(0xb7, 3, 0, 0, 0);
      this.call(rng.pick([87, 88, 89]), SCALAR);
      return;
    }
    this.stackPtr(3, value);
    this.stackPtr(2, this.buffer(keySize));
    this.loadMap(1, map);
    this.emit(0xb7, 4, 0, 0, rng.below(3));
    this.call(rng.chance(70) ? 2 : 3, SCALAR);
  }

  protected packet(): void {
    const rng = this.rng;
    const { packet } = this.target;
    if (packet === null) return this.target.ldAbs ? this.ldAbs() : this.context();
    const ctx = this.find("ctx");
    if (ctx < 0) return this.alu();
    const [data, end, meta] = packet;
    const [p, e] = rng.pick([
      [2, 3],
      [7, 8],
      [4, 5],
      [7, 3],
    ] as const);
    if (p === ctx || e === ctx || this.counters.has(p) || this.counters.has(e)) return;
    const start = meta >= 0 && rng.chance(15) ? meta : data;
    this.emit(0x61, p, ctx, start, 0);
    this.emit(0x61, e, ctx, start === meta ? data : end, 0);
    this.set(p, { kind: "packet" });
    this.set(e, { kind: "packetEnd" });
    const n = rng.pick([1, 2, 4, 8, 14, 20, 34, 64]);
    const q = rng.pick([1, 0, 9].filter((r) => r !== ctx && !this.counters.has(r)));
    this.emit(0xbf, q, p, 0, 0);
    if (rng.chance(25)) {
      const i = this.scalar();
      if (i === q || i === p || i === e) return;
      this.bound(i, rng.pick([3, 15, 60, 255]));
      this.emit(0x0f, q, i, 0, 0);
      if (rng.chance(50)) this.emit(0xbf, p, q, 0, 0);
    }
    this.emit(0x07, q, 0, 0, n);
    this.set(q, { kind: "any" });
    // Any of the comparisons, either way round.
    const [op, swapped] = rng.pick([
      [0x2d, false],
      [0x3d, false],
      [0xad, true],
      [0xbd, true],
    ] as const);
    const at = swapped ? this.emit(op === 0xad ? 0xad : 0xbd, e, q, 0, 0) : this.emit(op, q, e, 0, 0);
    const before = this.save();
    const size = rng.pick([1, 2, 4, 8].filter((s) => s <= n));
    this.access(p, rng.below(n - size + 1 + (rng.chance(3) ? 1 : 0)), size, SIZE_BITS[size]!);
    this.nested(rng.below(3));
    this.land(at);
    this.merge(before);
    if (rng.chance(15) && this.regs[ctx]!.kind === "ctx") {
      // The packet may move: its pointers are gone.
      this.emit(0xbf, 1, ctx, 0, 0);
      this.emit(0xb7, 2, 0, 0, rng.below(8));
      this.call(this.target.progType === 6 ? rng.pick([44, 54, 65]) : 39, SCALAR);
    }
  }

  protected ldAbs(): void {
    const rng = this.rng;
    if (this.regs[6]!.kind !== "ctx" || this.spec.role !== "main") return this.alu();
    if (rng.chance(50)) this.emit(rng.pick([0x20, 0x28, 0x30]), 0, 0, 0, rng.below(64));
    else this.emit(rng.pick([0x40, 0x48, 0x50]), 0, this.scalar(), 0, rng.below(64));
    this.callDone();
    this.set(0, SCALAR);
  }

  protected atomic(): void {
    const rng = this.rng;
    const wide = rng.chance(60);
    const size = wide ? 8 : 4;
    let base = 10;
    let off = -8 * (1 + rng.below(8));
    const value = this.find("value");
    if (value >= 0 && value < 10 && rng.chance(50)) {
      base = value;
      off = rng.pick([0, 8, 8, 4]);
    } else if (rng.chance(90)) {
      this.emit(0x7a, 10, 0, off, rng.pick(NUMBERS));
      this.slots[-off / 8 - 1] = SCALAR;
    }
    if (off % size !== 0 && rng.chance(90)) off = 0;
    if (base === 10 && off === 0) off = -8;
    const code = wide ? 0xdb : 0xc3;
    if (rng.chance(15)) {
      const acquire = rng.chance(50);
      const r = this.scalar();
      if (acquire) this.emit(code, r, base, off, LOAD_ACQUIRE);
      else this.emit(code, base, r, off, STORE_RELEASE);
      return;
    }
    const imm = rng.pick(ATOMICS);
    const src = this.scalar();
    if (imm === 0xf1 && !["scalar", "small"].includes(this.regs[0]!.kind)) this.movImm(0, rng.pick(NUMBERS));
    if (base === 0 && imm === 0xf1) return;
    this.emit(code, base, src, off, imm);
    if ((imm & 1) !== 0 && src < 10) this.set(imm === 0xf1 ? 0 : src, SCALAR);
  }

  protected context(): void {
    const rng = this.rng;
    const ctx = this.find("ctx");
    const { fields, writable } = this.target;
    if (ctx < 0 || fields.length === 0) return this.alu();
    if (writable.length > 0 && rng.chance(20)) {
      const [off, size] = rng.pick(writable);
      this.emit(0x63 | SIZE_BITS[size]!, ctx, this.scalar(), off, 0);
      return;
    }
    const [off, size] = rng.pick(fields);
    const dst = this.freeRegister();
    if (dst === ctx) return;
    const s = rng.chance(96) ? size : rng.pick([1, 2, 4, 8]);
    this.emit(0x61 | SIZE_BITS[s]!, dst, ctx, rng.chance(98) ? off : off + rng.below(9) - 4, 0);
    this.set(dst, SCALAR);
  }

  protected ringbuf(): void {
    const rng = this.rng;
    const size = rng.pick([8, 16, 24, 64]);
    if (rng.chance(30)) {
      this.stackPtr(2, this.buffer(size));
      this.loadMap(1, t.RINGBUF);
      this.emit(0xb7, 3, 0, 0, size);
      this.emit(0xb7, 4, 0, 0, rng.below(3));
      this.call(130, SCALAR);
      return;
    }
    this.loadMap(1, t.RINGBUF);
    this.emit(0xb7, 2, 0, 0, size);
    this.emit(0xb7, 3, 0, 0, 0);
    this.call(131, { kind: "recordNull", size });
    const at = this.emit(0x15, 0, 0, 0, 0);
    const before = this.save();
    const keep = this.kept();
    this.set(0, { kind: "record", size });
    this.mov(keep, 0);
    for (let i = rng.below(3); i > 0; i--) this.useValue();
    if (rng.chance(40)) this.nested(1);
    if (this.regs[keep]!.kind === "record" && rng.chance(96)) {
      this.emit(0xbf, 1, keep, 0, 0);
      this.emit(0xb7, 2, 0, 0, 0);
      this.call(rng.pick([132, 133]), NONE);
    }
    this.regs = this.regs.map((v) => (v.kind === "record" ? NONE : v));
    this.land(at);
    this.merge(before);
    this.set(0, NONE);
  }

  protected spillPointer(): void {
    const rng = this.rng;
    const r = this.find("ctx", "value", "stack", "packet", "packetEnd", "valueNull", "record", "task");
    if (r < 0 || r > 9) return this.stack();
    const spi = rng.below(12);
    const v = this.regs[r]!;
    this.emit(0x7b, 10, r, -8 * (spi + 1), 0);
    this.slots[spi] = NONE;
    if (rng.chance(50)) this.nested(1);
    const dst = rng.pick([0, 1, 2, 3, 4, 5, this.kept()]);
    this.emit(rng.chance(96) ? 0x79 : 0x61, dst, 10, -8 * (spi + 1), 0);
    this.set(dst, this.slots[spi]!.kind === "none" && v.kind !== "packet" ? v : { kind: "any" });
  }

  protected variableStack(): void {
    const rng = this.rng;
    const i = this.scalar();
    const p = rng.pick([1, 2, 3, 4, 5].filter((r) => r !== i));
    if (i > 9) return;
    const off = this.buffer(32);
    this.emit(0x57, i, 0, 0, rng.pick([7, 8, 15, 24, 31]));
    this.set(i, SCALAR);
    this.stackPtr(p, off);
    this.emit(0x0f, p, i, 0, 0);
    this.set(p, { kind: "any" });
    const size = rng.pick([1, 1, 2, 4, 8]);
    this.access(p, rng.chance(90) ? 0 : rng.below(16) - 8, size, SIZE_BITS[size]!);
    this.set(p, NONE);
  }

  /** Helpers that take memory and a size. */
  protected memHelper(): void {
    const rng = this.rng;
    const tracing = [2, 5, 7, 17, 26].includes(this.target.progType);
    const off = this.buffer(32);
    if (rng.chance(tracing ? 2 : 30)) {
      this.stackPtr(1, off);
      this.emit(0xb7, 2, 0, 0, rng.pick([8, 16, 32]));
      this.stackPtr(3, off);
      this.emit(0xb7, 4, 0, 0, rng.pick([4, 8, 32, 0]));
      this.emit(0xb7, 5, 0, 0, 0);
      this.call(28, SCALAR);
      return;
    }
    const ctx = this.find("ctx");
    if (!tracing && ctx >= 0 && [1, 3, 8, 12, 14].includes(this.target.progType)) {
      this.emit(0xbf, 1, ctx, 0, 0);
      this.emit(0xb7, 2, 0, 0, rng.below(64));
      this.stackPtr(3, off);
      this.emit(0xb7, 4, 0, 0, rng.pick([1, 4, 16, 32, 33, 0]));
      this.call(26, SCALAR);
      return;
    }
    const size = this.scalar();
    if (size <= 1 || size > 9) return;
    if (rng.chance(50)) this.bound(size, 32);
    else this.emit(0xb7, size, 0, 0, rng.pick([1, 8, 16, 32]));
    this.emit(0xbf, 2, size, 0, 0);
    this.stackPtr(1, off);
    this.emit(0xb7, 3, 0, 0, 0);
    this.call(tracing ? rng.pick([113, 115, 4]) : 113, SCALAR);
  }

  protected wild(): void {
    const rng = this.rng;
    this.emit(rng.below(256), rng.below(11), rng.below(11), rng.below(32) - 16, rng.pick(NUMBERS));
  }
}
