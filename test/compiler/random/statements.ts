/** Random statements over the expressions of `expressions.ts`. */
import type { Callable, MapDecl, Place, Variable } from "./expressions.ts";
import { bytesOf, calculate, LETTERS } from "./expressions.ts";
import { Literals } from "./literals.ts";
import type { End, IntShape, Machine, SignOf, Spot } from "./machine.ts";
import { intShape, isDense, narrow, readInt, readText, sizeOf, wrap, writeInt, writeText } from "./machine.ts";

export interface St {
  readonly text: string;
  readonly run: (m: Machine) => End;
}
const plain = (text: string, run: (m: Machine) => void): St => ({
  text,
  run: (m) => {
    run(m);
    return "go";
  },
});

/** What `break` and `continue` can leave. */
interface Frame {
  readonly kind: "loop" | "switch";
  readonly label: string | undefined;
}
interface Scope {
  readonly vars: Statements["vars"];
  readonly flags: Statements["flags"];
  readonly roots: Statements["roots"];
  readonly callables: Statements["callables"];
  readonly maps: Statements["maps"];
}

/** Variables of every width that the programs store to: where narrowing happens. */
export const NARROW = [
  intShape("u8", 8, "u"),
  intShape("u16", 16, "u"),
  intShape("u32", 32, "u"),
  intShape("u64", 64, "u"),
  intShape("s8", 8, "s"),
  intShape("s16", 16, "s"),
  intShape("s32", 32, "s"),
  intShape("s64", 64, "s"),
  intShape("be16", 16, "u", true),
  intShape("be32", 32, "u", true),
] as const;

export class Statements extends Literals {
  frames: readonly Frame[] = [];
  /** Sign of what `return` gives; undefined where there is none. */
  returns: SignOf | undefined = "u";
  /** Loops and callbacks around this place: their bodies run often. */
  nesting = 0;
  packets = false;
  ring: string | undefined;

  scope(): Scope {
    const { vars, flags, roots, callables, maps } = this;
    return { vars, flags, roots, callables, maps };
  }
  leave(s: Scope): void {
    Object.assign(this, s);
  }

  block(depth: number, size: number): St {
    const outer = this.scope();
    const list: St[] = [];
    for (let i = 0; i < size && this.budget > 0; i++) list.push(this.statement(depth));
    this.leave(outer);
    return { text: `{ ${list.map((s) => s.text).join(" ")} }`, run: (m) => runAll(list, m) };
  }

  /** Statements are numbered; those in `without` become empty ones, which is how a failing program shrinks. */
  without: ReadonlySet<number> = new Set();
  count = 0;
  statement(depth: number): St {
    const number = this.count++;
    const made = this.anyStatement(depth);
    return this.without.has(number) ? { text: "", run: () => "go" } : made;
  }
  private anyStatement(depth: number): St {
    this.budget--;
    const kind = depth <= 0 ? this.upTo(5) : this.upTo(17);
    switch (kind) {
      case 0:
        return this.declare(depth);
      case 1:
      case 2:
        return this.assign(depth);
      case 3:
      case 4:
        return this.store(depth);
      case 5:
        return this.mapStatement(depth) ?? this.assign(depth);
      case 6:
      case 7:
      case 8: {
        const c = this.cond(depth - 1);
        const yes = this.block(depth - 1, 2);
        const no = this.chance(50) ? this.block(depth - 1, 2) : undefined;
        return {
          text: `if (${c.text}) ${yes.text}${no === undefined ? "" : ` else ${no.text}`}`,
          run: (m) => (c.run(m) ? yes.run(m) : (no?.run(m) ?? "go")),
        };
      }
      case 9:
      case 10:
        return this.nesting === 0 || (this.nesting === 1 && this.chance(35)) ? this.loop(depth) : this.assign(depth);
      case 11:
        return this.choose(depth);
      case 12:
        return this.entryBlock(depth) ?? this.store(depth);
      case 13:
        return this.packetBlock(depth) ?? this.store(depth);
      case 14:
        return this.localStruct(depth);
      case 15:
        return this.nesting === 0 && this.chance(60) ? this.closure(depth) : this.localStruct(depth);
      default:
        return this.jump(depth) ?? this.assign(depth);
    }
  }

  jump(depth: number): St | undefined {
    const c = this.cond(depth - 1);
    const loops = this.frames.filter((f) => f.kind === "loop");
    if (this.chance(25) && this.returns !== undefined) {
      const x = this.value(this.returns, depth - 1);
      return { text: `if (${c.text}) return ${x.text};`, run: (m) => (c.run(m) ? { value: x.run(m) } : "go") };
    }
    const labels = this.frames.flatMap((f) => (f.label === undefined ? [] : [f.label]));
    const label = labels.length > 0 && this.chance(40) ? this.pick(...labels) : undefined;
    const jump = loops.length > 0 && this.chance(50) ? "continue" : "break";
    if (label === undefined && (jump === "break" ? this.frames.length === 0 : loops.length === 0)) return undefined;
    const end: End = { jump, label };
    return {
      text: `if (${c.text}) ${jump}${label === undefined ? "" : ` ${label}`};`,
      run: (m) => (c.run(m) ? end : "go"),
    };
  }

  // Variables

  declared(v: Variable): void {
    this.vars = [...this.vars, v];
  }
  declare(depth: number): St {
    switch (this.upTo(7)) {
      case 0: {
        const name = this.name("t");
        const c = this.cond(depth);
        this.flags = [...this.flags, name];
        return plain(`let ${name} = ${c.text};`, (m) => m.set(name, c.run(m) ? 1n : 0n));
      }
      case 1: {
        const [s, t] = [this.sign(), this.sign()];
        const [x, y] = [this.value(s, depth), this.value(t, depth)];
        const [p, q] = [this.name("v"), this.name("v")];
        const text = this.pick(
          `let [${p}, ${q}] = [${x.text}, ${y.text}];`,
          `let { l: ${p}, r: ${q} } = { l: ${x.text}, r: ${y.text} };`,
        );
        this.declared({ name: p, sign: s, bits: 64, mutable: true });
        this.declared({ name: q, sign: t, bits: 64, mutable: true });
        return plain(text, (m) => {
          const [a, b] = [x.run(m), y.run(m)];
          m.set(p, a);
          m.set(q, b);
        });
      }
      case 2: {
        const p = this.place((s) => s.k === "struct" || s.k === "packed", 0);
        if (p === undefined || !("fields" in p.shape) || p.indexed) return this.declareOne(depth);
        const names = p.shape.fields.flatMap((f) =>
          f.shape.k === "int" && this.chance(70) ? [{ f, shape: f.shape, name: this.name("v") }] : [],
        );
        if (names.length === 0) return this.declareOne(depth);
        for (const { shape, name } of names) this.declared({ name, sign: shape.sign, bits: 64, mutable: false });
        return plain(`const { ${names.map(({ f, name }) => `${f.name}: ${name}`).join(", ")} } = ${p.text};`, (m) => {
          const s = p.at(m)!;
          for (const { f, shape, name } of names) m.set(name, readInt(shape, { bytes: s.bytes, off: s.off + f.off }));
        });
      }
      default:
        return this.declareOne(depth);
    }
  }
  declareOne(depth: number): St {
    const sign = this.sign();
    const name = this.name("v");
    const init = this.chance(20) ? this.literal("u") : this.expr(sign, depth);
    // A literal initial value leaves the sign open: the cast says it.
    const x = init.literal === true ? this.literal("u") : init;
    // What is known when it is compiled may turn out to be a division by zero.
    const mutable = x.literal === true || this.chance(80);
    this.declared({ name, sign, bits: 64, mutable });
    return plain(
      `${mutable ? "let" : "const"} ${name} = ${x.literal === true ? `${sign}64(${x.text})` : x.text};`,
      (m) => m.set(name, wrap(x.run(m), sign)),
    );
  }

  /** A first store to a global of some width, which the program uses from then on. */
  narrowStore(): St {
    const free = NARROW.map((s, i) => ({ s, name: `n${i}.value` })).filter(
      ({ name }) => !this.vars.some((v) => v.name === name),
    );
    const { s, name } = this.pick(...free);
    const x = this.expr(s.sign, 2);
    this.declared({ name, sign: s.sign, bits: s.bits, mutable: true });
    return plain(`${name} = ${x.literal === true ? `${s.sign}${s.bits}(${x.text})` : x.text};`, (m) =>
      m.set(name, narrow(x.run(m), s.sign, s.bits)),
    );
  }

  assign(depth: number): St {
    const list = this.vars.filter((v) => v.mutable);
    if (this.flags.length > 0 && this.chance(12)) {
      const name = this.pick(...this.flags);
      const c = this.chance(30) ? { text: `!${name}`, run: (m: Machine) => m.get(name) === 0n } : this.cond(depth);
      return plain(`${name} = ${c.text};`, (m) => m.set(name, c.run(m) ? 1n : 0n));
    }
    if (list.length === 0) return this.declareOne(depth);
    const { name, sign, bits } = this.pick(...list);
    if (bits === 64 && this.chance(8)) {
      const others = list.filter((v) => v.sign === sign && v.bits === 64 && v.name !== name);
      if (others.length > 0) {
        const other = this.pick(...others).name;
        if (this.chance(50))
          return plain(`[${name}, ${other}] = [${other}, ${name}];`, (m) => {
            const [a, b] = [m.get(name), m.get(other)];
            m.set(name, b);
            m.set(other, a);
          });
        const x = this.value(sign, depth);
        return plain(`${name} = ${other} = ${x.text};`, (m) => {
          const v = x.run(m);
          m.set(name, v);
          m.set(other, v);
        });
      }
    }
    const { text, apply } = this.update(sign, bits, depth);
    return plain(`${name}${text};`, (m) =>
      m.set(
        name,
        apply(m, () => m.get(name)),
      ),
    );
  }
  /** ` += x` and its kin: the text behind the name, and the new value from the old one. */
  update(
    sign: SignOf,
    bits: number,
    depth: number,
  ): { text: string; apply: (m: Machine, old: () => bigint) => bigint } {
    if (this.chance(15)) {
      const up = this.chance(50);
      return { text: up ? "++" : "--", apply: (_m, old) => narrow(old() + (up ? 1n : -1n), sign, bits) };
    }
    const op = this.pick(
      "=",
      "=",
      "+",
      "-",
      "*",
      "^",
      "|",
      "&",
      "<<",
      ">>",
      "/",
      "%",
      ...(sign === "u" ? [">>>"] : []),
    );
    if (op === "<<" || op === ">>" || op === ">>>") {
      const n = BigInt(this.upTo(bits - 1));
      return { text: ` ${op}= ${n}`, apply: (_m, old) => narrow(wrap(calculate(op, old(), n), sign), sign, bits) };
    }
    const x = op === "/" || op === "%" ? this.value(sign, depth) : this.expr(sign, depth);
    if (op === "=")
      return {
        text: ` = ${x.literal === true && bits < 64 ? `${sign}${bits}(${x.text})` : x.text}`,
        apply: (m) => narrow(x.run(m), sign, bits),
      };
    return {
      text: ` ${op}= ${x.text}`,
      apply: (m, old) => {
        const p = old();
        return narrow(wrap(calculate(op, p, x.run(m)), sign), sign, bits);
      },
    };
  }

  // Memory

  /** An assignment to a field, an element or a whole struct. */
  store(depth: number): St {
    const p = this.place((s) => s.k !== "union" && (s.k !== "array" || this.chance(30)), depth > 1 ? 1 : 0);
    if (p === undefined) return this.assign(depth);
    const { shape } = p;
    switch (shape.k) {
      case "int": {
        const { text, apply } = this.update(shape.sign, shape.bits, depth);
        return plain(`${p.text}${text};`, (m) => {
          const s = p.at(m);
          const v = apply(m, () => readInt(shape, s));
          writeInt(shape, s, v);
        });
      }
      case "char": {
        if (p.indexed) return this.assign(depth);
        const word = this.pick(...LETTERS.filter((w) => w.length < shape.length));
        return plain(`${p.text} = "${word}";`, (m) => writeText(shape, p.at(m)!, word));
      }
      default: {
        // A variable that names a struct is not assigned as a whole: that would be another name.
        if (p.indexed || !/[.[]/.test(p.text)) return this.assign(depth);
        const f =
          "fields" in shape && this.chance(40) ? this.wholeStruct(shape, depth) : this.filling(shape, depth, false);
        return plain(`${p.text} = ${f.text};`, (m) => f.run(m)(p.at(m)!));
      }
    }
  }
  /** A local struct, or another name for a place. */
  localStruct(depth: number): St {
    if (this.chance(30)) {
      const p = this.place((s) => s.k === "struct" || s.k === "packed", 0);
      if (p !== undefined && "fields" in p.shape && !p.indexed) {
        const name = this.name("r");
        this.root(name, p);
        return plain(`const ${name} = ${p.text};`, (m) => m.memory.set(name, p.at(m)!));
      }
    }
    const locals = this.roots.filter((r) => r.text.startsWith("st")).length;
    if (this.structs.length === 0 || locals > 1) return this.declareOne(depth);
    const shape = this.pick(...this.structs);
    const name = this.name("st");
    const copied = this.chance(30) ? this.copyOf(shape) : undefined;
    const f =
      copied === undefined || shape.k === "union"
        ? this.wholeStruct(shape, depth)
        : { text: `{ ...${copied.text} }`, run: copied.run };
    this.root(name, { shape });
    return plain(`${this.pick("let", "const")} ${name} = ${f.text};`, (m) => {
      const write = f.run(m);
      const to = { bytes: new Uint8Array(sizeOf(shape)), off: 0 };
      write(to);
      m.memory.set(name, to);
    });
  }
  root(name: string, like: Pick<Place, "shape">): void {
    this.roots = [...this.roots, { text: name, shape: like.shape, indexed: false, at: (m) => m.at(name) }];
  }

  // Maps, packets, samples

  mapStatement(depth: number): St | undefined {
    if (this.ring !== undefined && this.structs.length > 0 && this.chance(25)) {
      const { ring } = this;
      const shape = this.structs[0]!;
      const f = this.wholeStruct(shape, depth);
      return plain(`${ring}.emit(${f.text});`, (m) => {
        const to = { bytes: new Uint8Array(shape.size), off: 0 };
        f.run(m)(to);
        m.samples.push(to);
      });
    }
    if (this.maps.length === 0) return undefined;
    const map = this.pick(...this.maps);
    const key = this.key(map, depth);
    const shape = map.value;
    if (shape.k === "int" && this.chance(40)) {
      const x = this.value(shape.sign, depth);
      return plain(`${map.name}.add(${key.text}, ${x.text});`, (m) => {
        const k = key.run(m);
        const v = x.run(m);
        const old = m.map(map.name).get(k);
        if (old !== undefined) old.set(bytesOf(shape, readInt(shape, { bytes: old, off: 0 }) + v));
        else if (map.length === undefined) m.map(map.name).set(k, bytesOf(shape, v));
      });
    }
    if (shape.k === "int" && this.chance(25)) {
      const name = this.name("e");
      const { text, apply } = this.update(shape.sign, shape.bits, depth);
      return plain(`const ${name} = ${map.name}.ref(${key.text}); if (${name}) ${name}.value${text};`, (m) => {
        const bytes = m.map(map.name).get(key.run(m));
        if (bytes === undefined) return;
        const at = { bytes, off: 0 };
        writeInt(
          shape,
          at,
          apply(m, () => readInt(shape, at)),
        );
      });
    }
    const f = this.filling(shape, depth, false);
    return plain(`${map.name}.set(${key.text}, ${f.text});`, (m) => {
      const k = key.run(m);
      const to = { bytes: new Uint8Array(sizeOf(shape)), off: 0 };
      f.run(m)(to);
      put(m, map, k, to.bytes);
    });
  }
  /** `const e = map.get(key); if (e) { … }`: the entry is there, and live. */
  entryBlock(depth: number): St | undefined {
    const list = this.maps.filter((x) => x.value.k !== "int" || this.chance(30));
    if (list.length === 0) return undefined;
    const map = this.pick(...list);
    const key = this.key(map, depth);
    const name = this.name("e");
    const outer = this.scope();
    const { value } = map;
    const created =
      map.length === undefined && value.k !== "int" && this.chance(30) ? this.filling(value, depth, false) : undefined;
    // While a reference is held, nothing may replace or delete its entry.
    this.maps = this.maps.filter((x) => x !== map);
    this.callables = this.callables.filter((c) => !c.name.startsWith("c"));
    if (value.k === "int") this.declared({ name, sign: value.sign, bits: 64, mutable: false });
    else this.root(name, { shape: value });
    const yes = this.block(depth - 1, 2);
    this.leave(outer);
    const no = this.chance(40) ? this.block(depth - 1, 1) : undefined;
    const method = created === undefined ? `get(${key.text})` : `getOrInsert(${key.text}, ${created.text})`;
    const test = value.k === "int" ? `${name} !== undefined` : name;
    return {
      text: `{ const ${name} = ${map.name}.${method}; if (${test}) ${yes.text}${no === undefined ? "" : ` else ${no.text}`} }`,
      run: (m) => {
        const k = key.run(m);
        let bytes = m.map(map.name).get(k);
        if (bytes === undefined && created !== undefined) {
          bytes = new Uint8Array(sizeOf(value));
          created.run(m)({ bytes, off: 0 });
          m.map(map.name).set(k, bytes);
        }
        if (bytes === undefined) return no?.run(m) ?? "go";
        if (value.k === "int") m.set(name, readInt(value, { bytes, off: 0 }));
        else m.memory.set(name, { bytes, off: 0 });
        return yes.run(m);
      },
    };
  }
  packetBlock(depth: number): St | undefined {
    if (
      !this.packets ||
      this.structs.length === 0 ||
      this.roots.some((r) => r.text.startsWith("h")) ||
      this.frames.some((f) => f.kind === "loop")
    )
      return undefined;
    const shapes = this.structs.filter(isDense);
    if (shapes.length === 0) return undefined;
    const shape = this.pick(...shapes);
    const name = this.name("h");
    const at = this.chance(50) ? this.value("u", 1) : undefined;
    const start = BigInt(this.upTo(40));
    const outer = this.scope();
    this.root(name, { shape });
    const yes = this.block(depth - 1, 2);
    this.leave(outer);
    const offset = at === undefined ? String(start) : `${start} + (${at.text} & 31)`;
    return {
      text: `{ const ${name} = ctx.packet(${shape.text}, ${offset}); if (${name}) ${yes.text} }`,
      run: (m) => {
        const off = Number(at === undefined ? start : start + (at.run(m) & 31n));
        if (off + shape.size > m.packet.length) return "go";
        m.memory.set(name, { bytes: m.packet, off });
        return yes.run(m);
      },
    };
  }

  // Control flow

  /** Statements of a loop body, which `frames` can leave. `kernel`: labels outside cannot be reached. */
  body(depth: number, label: string | undefined, kernel: boolean): St {
    const { frames } = this;
    this.frames = [...(kernel ? [] : frames), { kind: "loop", label }];
    this.nesting++;
    // Branches in loops multiply for the verifier, which gives up after a million instructions and many seconds.
    const b = this.block(Math.min(depth - 1, 1), 2);
    this.nesting--;
    this.frames = frames;
    return b;
  }
  loop(depth: number): St {
    const outer = this.scope();
    const label = this.chance(25) ? this.name("l") : undefined;
    const s = this.loopForm(depth, label);
    this.leave(outer);
    const prefix = label === undefined ? "" : `${label}: `;
    return {
      text: s.text.startsWith("{ ") ? s.text.replace(/(?=do \{|while \()/, prefix) : prefix + s.text,
      run: s.run,
    };
  }
  counter(prefix: string, sign: SignOf): string {
    const name = this.name(prefix);
    this.declared({ name, sign, bits: 64, mutable: false });
    return name;
  }
  private loopForm(depth: number, label: string | undefined): St {
    const n = 1 + this.upTo(3);
    const up = Array.from({ length: n }, (_, i) => BigInt(i));
    switch (this.upTo(11)) {
      case 0: {
        // Bounded at run time.
        const mask = this.pick(1n, 3n);
        const x = this.value("u", 1);
        const i = this.counter("i", "u");
        const body = this.body(depth, label, false);
        return {
          text: `for (const ${i} of range(${x.text} & ${mask})) ${body.text}`,
          run: (m) => iterate(m, i, upTo(x.run(m) & mask), body, label),
        };
      }
      case 1:
      case 2: {
        // Without a bound that can be seen: the kernel loops.
        const i = this.counter("i", "u");
        const body = this.body(depth, label, true);
        return {
          text: `for (const ${i} of range(lim.value)) ${body.text}`,
          run: (m) => iterate(m, i, upTo(m.get("lim")), body, label),
        };
      }
      case 3: {
        const [from, step] = [this.upTo(5), 1 + this.upTo(2)];
        const to = from + n * step;
        const i = this.name("i");
        const typed = this.counter("i", "u");
        const body = this.body(depth, label, false);
        const values = up.map((k) => BigInt(from + Number(k) * step));
        return {
          text: `for (const ${i} of range(${from}, ${to}, ${step})) { const ${typed} = u64(${i}); ${body.text} }`,
          run: (m) => iterate(m, typed, values, body, label),
        };
      }
      case 4: {
        const sign = this.sign();
        const step = 1 + this.upTo(2);
        const from = sign === "s" ? -this.upTo(3) : this.upTo(3);
        const i = this.counter("i", sign);
        const body = this.body(depth, label, false);
        const values = up.map((k) => BigInt(from + Number(k) * step));
        const test = this.pick(`< ${from + n * step}`, `<= ${from + (n - 1) * step}`, `!== ${from + n * step}`);
        return {
          text: `for (let ${i} = ${sign}64(${from}); ${i} ${test}; ${i} += ${step}) ${body.text}`,
          run: (m) => iterate(m, i, values, body, label),
        };
      }
      case 5: {
        const i = this.counter("i", "u");
        const j = this.counter("j", "u");
        const body = this.body(depth, label, false);
        return {
          text: `for (let ${i} = u64(0), ${j} = u64(${n}); ${i} < ${j}; ${i}++, ${j}--) ${body.text}`,
          run: (m) => {
            for (let k = 0n; k < BigInt(n) - k; k++) {
              m.set(i, k);
              m.set(j, BigInt(n) - k);
              const end = after(body.run(m), label);
              if (end === "leave") break;
              if (end !== "next") return end;
            }
            return "go";
          },
        };
      }
      case 6: {
        const i = this.counter("i", "u");
        const body = this.body(depth, label, false);
        return {
          text: `{ let ${i} = u64(${n}); while (${i} > 0) { ${i} -= 1; ${body.text} } }`,
          run: (m) => iterate(m, i, up.toReversed(), body, label),
        };
      }
      case 7: {
        const i = this.counter("i", "u");
        const body = this.body(depth, label, false);
        const c = this.chance(40) ? this.cond(1) : undefined;
        return {
          text: `{ let ${i} = u64(0); do { ${i} += 1; ${body.text} } while (${i} < ${n}${c === undefined ? "" : ` && ${c.text}`}); }`,
          run: (m) => {
            for (let k = 1; k <= n; k++) {
              m.set(i, BigInt(k));
              const end = after(body.run(m), label);
              if (end === "leave") break;
              if (end !== "next") return end;
              if (k < n && c !== undefined && !c.run(m)) break;
            }
            return "go";
          },
        };
      }
      case 8: {
        const sign = this.sign();
        const items = Array.from({ length: n }, () => this.value(sign, 1));
        const x = this.counter("x", sign);
        const body = this.body(depth, label, false);
        return {
          text: `for (const ${x} of [${items.map((v) => v.text).join(", ")}]) ${body.text}`,
          run: (m) =>
            iterate(
              m,
              x,
              items.map((v) => v.run(m)),
              body,
              label,
            ),
        };
      }
      case 9:
        return this.overArray(depth, label) ?? this.simple(depth, n, label);
      case 10:
        return this.overMap(depth, label) ?? this.simple(depth, n, label);
      default:
        return this.simple(depth, n, label);
    }
  }
  private simple(depth: number, n: number, label: string | undefined): St {
    const i = this.name("i");
    const typed = this.counter("i", "u");
    const body = this.body(depth, label, false);
    return {
      text: `for (const ${i} of range(${n})) { const ${typed} = u64(${i}); ${body.text} }`,
      run: (m) => iterate(m, typed, upTo(BigInt(n)), body, label),
    };
  }
  private overArray(depth: number, label: string | undefined): St | undefined {
    const p = this.place((s) => s.k === "array", 0);
    if (p === undefined || p.shape.k !== "array" || p.indexed) return undefined;
    const { of, length } = p.shape;
    if (of.k !== "int" && of.k !== "struct" && of.k !== "packed") return undefined;
    const size = sizeOf(of);
    const name = of.k === "int" ? this.counter("x", of.sign) : this.name("x");
    if (of.k !== "int") this.root(name, { shape: of });
    const body = this.body(depth, label, false);
    return {
      text: `for (const ${name} of ${p.text}) ${body.text}`,
      run: (m) => {
        const base = p.at(m)!;
        for (let k = 0; k < length; k++) {
          const at: Spot = { bytes: base.bytes, off: base.off + k * size };
          if (of.k === "int") m.set(name, readInt(of, at));
          else m.memory.set(name, at);
          const end = after(body.run(m), label);
          if (end === "leave") break;
          if (end !== "next") return end;
        }
        return "go";
      },
    };
  }
  /** Entries of an array map, in their order. */
  private overMap(depth: number, label: string | undefined): St | undefined {
    const list = this.maps.filter((x) => x.length !== undefined && x.value.k === "int");
    if (list.length === 0) return undefined;
    const map = this.pick(...list);
    const value = map.value as IntShape;
    const k = this.counter("k", "u");
    const v = this.counter("x", value.sign);
    const body = this.body(depth, label, true);
    return {
      text: `for (const [${k}, ${v}] of ${map.name}) ${body.text}`,
      run: (m) => {
        for (let i = 0n; i < BigInt(map.length!); i++) {
          m.set(k, i);
          m.set(v, readInt(value, { bytes: m.map(map.name).get(i)!, off: 0 }));
          const end = after(body.run(m), label);
          if (end === "leave") break;
          if (end !== "next") return end;
        }
        return "go";
      },
    };
  }

  choose(depth: number): St {
    const text = this.chance(20) ? this.place((s) => s.k === "char", 0) : undefined;
    const { frames } = this;
    this.frames = [...frames, { kind: "switch", label: undefined }];
    let made: St;
    if (text !== undefined && text.shape.k === "char" && !text.indexed) {
      const shape = text.shape;
      const words = LETTERS.filter((w) => w.length < shape.length && this.chance(40));
      made = this.cases(
        `switch (${text.text})`,
        words.map((w) => `"${w}"`),
        (m) => words.indexOf(readText(shape, text.at(m)!) as (typeof words)[number]),
        depth,
      );
    } else {
      const sign = this.sign();
      const x = this.value(sign, depth - 1);
      const mask = this.pick(3n, 7n, 15n, undefined);
      const pool =
        mask === undefined
          ? sign === "u"
            ? [0n, 1n, 0x7fn, 0xffn, 0x8000n, 0xffff_ffffn, 0x8000_0000n, 0x1_0000_0000n]
            : [0n, 1n, -1n, -128n, 127n, -0x8000n, 0x7fff_ffffn, -0x8000_0000n, -0x1_0000_0000n]
          : upTo(mask + 1n);
      const keep = this.pick(30, 70);
      const values = pool.filter(() => this.chance(keep));
      made = this.cases(
        `switch (${mask === undefined ? x.text : `${x.text} & ${mask}`})`,
        values.map(String),
        (m) => {
          const v = x.run(m);
          return values.indexOf(mask === undefined ? v : v & mask);
        },
        depth,
      );
    }
    this.frames = frames;
    return made;
  }
  private cases(head: string, labels: readonly string[], find: (m: Machine) => number, depth: number): St {
    const bodies = labels.map((label) => ({
      label,
      body: this.chance(15) ? undefined : this.block(depth - 1, 1),
      falls: this.chance(25),
    }));
    const rest = this.chance(60) ? this.block(depth - 1, 1) : undefined;
    const cases = bodies.map((b) =>
      b.body === undefined ? `case ${b.label}:` : `case ${b.label}: ${b.body.text}${b.falls ? "" : " break;"}`,
    );
    return {
      text: `${head} { ${cases.join(" ")}${rest === undefined ? (bodies.at(-1)?.body === undefined && bodies.length > 0 ? " break;" : "") : ` default: ${rest.text}`} }`,
      run: (m) => {
        const at = find(m);
        for (let i = at < 0 ? bodies.length : at; i < bodies.length; i++) {
          const { body, falls } = bodies[i]!;
          if (body === undefined) continue;
          const end = body.run(m);
          if (end !== "go") return leaveSwitch(end);
          if (!falls) return "go";
        }
        return leaveSwitch(rest?.run(m) ?? "go");
      },
    };
  }

  // Functions

  /** A closure over the variables that are in scope. */
  closure(depth: number): St {
    const name = this.name("c");
    const made = this.makeFunction(name, depth - 1, 1 + this.upTo(2));
    this.callables = [...this.callables, made.callable];
    return plain(made.text, () => undefined);
  }
  makeFunction(name: string, depth: number, size: number): { text: string; callable: Callable } {
    const outer = this.scope();
    const { frames, returns, packets, nesting } = this;
    const params = Array.from({ length: 1 + this.upTo(2) }, () => ({ name: this.name("p"), sign: this.sign() }));
    for (const p of params) this.declared({ ...p, bits: 64, mutable: false });
    const sign = (this.returns = this.sign());
    this.frames = [];
    this.packets = false;
    this.nesting = 1;
    const list: St[] = [];
    for (let i = 0; i < size && this.budget > 0; i++) list.push(this.statement(depth));
    const result = this.value(sign, 2);
    Object.assign(this, { frames, returns, packets, nesting });
    this.leave(outer);
    return {
      text: `const ${name} = (${params.map((p) => p.name).join(", ")}) => { ${list.map((s) => s.text).join(" ")} return ${result.text}; };`,
      callable: {
        name,
        params: params.map((p) => p.sign),
        sign,
        call: (m, args) => {
          params.forEach((p, i) => m.set(p.name, args[i]!));
          const end = runAll(list, m);
          return typeof end === "object" && "value" in end ? end.value : result.run(m);
        },
      },
    };
  }
}

export function put(m: Machine, map: MapDecl, key: bigint, bytes: Uint8Array): void {
  const old = m.map(map.name).get(key);
  if (map.length === undefined) m.map(map.name).set(key, bytes);
  // An array's entries stay where they are.
  else old?.set(bytes);
}

const upTo = (n: bigint): bigint[] => Array.from({ length: Number(n) }, (_, i) => BigInt(i));

export function runAll(list: readonly St[], m: Machine): End {
  for (const s of list) {
    const end = s.run(m);
    if (end !== "go") return end;
  }
  return "go";
}
function leaveSwitch(end: End): End {
  return typeof end === "object" && "jump" in end && end.jump === "break" && end.label === undefined ? "go" : end;
}
/** What a loop with this label does after its body ended so. */
function after(end: End, label: string | undefined): "next" | "leave" | Exclude<End, "go"> {
  if (end === "go") return "next";
  if ("value" in end || (end.label !== undefined && end.label !== label)) return end;
  return end.jump === "break" ? "leave" : "next";
}
function iterate(m: Machine, name: string, values: readonly bigint[], body: St, label: string | undefined): End {
  for (const v of values) {
    m.set(name, v);
    const end = after(body.run(m), label);
    if (end === "leave") break;
    if (end !== "next") return end;
  }
  return "go";
}
