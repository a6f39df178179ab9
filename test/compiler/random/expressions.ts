/** Random expressions, each with what it must give by the integer rules of the probe language. */
import { Choices } from "./choices.ts";
import type { IntShape, Machine, Shape, SignOf, Spot } from "./machine.ts";
import { narrow, readInt, readText, same, sizeOf, wrap } from "./machine.ts";

/** An integer. */
export interface Ex {
  readonly text: string;
  readonly sign: SignOf;
  readonly run: (m: Machine) => bigint;
  /** Only literals: must not be combined with other literals. */
  readonly literal?: boolean;
}
export interface Cond {
  readonly text: string;
  readonly run: (m: Machine) => boolean;
}
/** A place in memory. `at` is undefined where a run-time index is outside its array. */
export interface Place {
  readonly text: string;
  readonly shape: Shape;
  readonly at: (m: Machine) => Spot | undefined;
  /** Has a run-time index. */
  readonly indexed: boolean;
}
export interface Variable {
  readonly name: string;
  readonly sign: SignOf;
  readonly bits: number;
  /** Also assigned, not only read. */
  readonly mutable: boolean;
}
export interface Callable {
  readonly name: string;
  readonly params: readonly SignOf[];
  readonly sign: SignOf;
  readonly call: (m: Machine, args: readonly bigint[]) => bigint;
}
export interface MapDecl {
  readonly name: string;
  /** Entries of an array; undefined: a hash table. */
  readonly length: number | undefined;
  readonly value: Shape;
}

/** The inputs: name, schema, bits, sign. */
export const INPUTS = [
  ["a", "u8", 8, "u"],
  ["b", "u16", 16, "u"],
  ["c", "u32", 32, "u"],
  ["d", "u64", 64, "u"],
  ["e", "s8", 8, "s"],
  ["f", "s16", 16, "s"],
  ["g", "s32", 32, "s"],
  ["h", "s64", 64, "s"],
] as const;

export const LETTERS = ["", "a", "ab", "abc", "b", "zz", "hello", "he"] as const;
const RELATIONS = ["<", "<=", ">", ">=", "===", "!=="] as const;
function holds(op: (typeof RELATIONS)[number], p: bigint, q: bigint): boolean {
  switch (op) {
    case "<":
      return p < q;
    case "<=":
      return p <= q;
    case ">":
      return p > q;
    case ">=":
      return p >= q;
    case "===":
      return p === q;
    default:
      return p !== q;
  }
}

export class Expressions extends Choices {
  vars: readonly Variable[] = [];
  /** Boolean variables. */
  flags: readonly string[] = [];
  /** Structs and arrays that can be named here. */
  roots: readonly Place[] = [];
  callables: readonly Callable[] = [];
  maps: readonly MapDecl[] = [];
  budget: number;
  #next = 0;

  constructor(seed: number, budget: number) {
    super(seed);
    this.budget = budget;
  }
  name(prefix: string): string {
    return `${prefix}${this.#next++}`;
  }
  sign(): SignOf {
    return this.pick<SignOf>("u", "s");
  }

  literal(sign: SignOf): Ex {
    const v =
      this.upTo(2) === 0
        ? BigInt(this.upTo(20))
        : this.chance(50)
          ? BigInt(this.bits() >>> this.upTo(31))
          : this.chance(30)
            ? this.pick(
                0x7fn,
                0x80n,
                0xffn,
                0xffffn,
                0x7fff_ffffn,
                0x8000_0000n,
                0xffff_ffffn,
                0x1_0000_0000n,
                (1n << 63n) - 1n,
              )
            : this.wide() >> BigInt(1 + this.upTo(62));
    const value = sign === "s" && this.chance(25) ? -v : v;
    const big = v > 0x1f_ffff_ffff_ffffn || this.chance(20);
    const digits = this.chance(30) ? `0x${v.toString(16)}` : String(v);
    const text = `${digits}${big ? "n" : ""}`;
    return { text: value < 0n ? `(-${text})` : text, sign, run: () => value, literal: true };
  }

  // Places

  /** Integer, boolean or text fields below the roots that can be named. */
  place(want: (s: Shape) => boolean, depth: number): Place | undefined {
    if (this.roots.length === 0) return undefined;
    for (let attempt = 0; attempt < 4; attempt++) {
      const p = this.descend(this.pick(...this.roots), want, depth);
      if (p !== undefined) return p;
    }
    return undefined;
  }
  descend(p: Place, want: (s: Shape) => boolean, depth: number): Place | undefined {
    for (;;) {
      const { shape } = p;
      if (want(shape) && (this.chance(50) || shape.k === "int" || shape.k === "bool" || shape.k === "char")) return p;
      if (shape.k === "array") p = this.element(p, shape, depth);
      else if (shape.k === "struct" || shape.k === "packed" || shape.k === "union")
        p = field(p, this.pick(...shape.fields));
      else return undefined;
    }
  }
  element(p: Place, shape: Extract<Shape, { k: "array" }>, depth: number): Place {
    const size = sizeOf(shape.of);
    // The verifier wants a bounds check of its own behind a run-time index into a packet.
    if (depth <= 0 || p.text.startsWith("h") || this.chance(60)) {
      const i = this.upTo(shape.length - 1);
      return {
        ...p,
        text: `${p.text}[${i}]`,
        shape: shape.of,
        at: (m) => {
          const s = p.at(m);
          return s === undefined ? undefined : { bytes: s.bytes, off: s.off + i * size };
        },
      };
    }
    const x = this.expr("u", depth - 1);
    const index: Ex = x.literal === true ? this.leaf("u", 0) : x;
    const masked = this.chance(60);
    return {
      text: `${p.text}[${masked ? `${index.text} & ${shape.length > 4 ? 7 : 3}` : index.text}]`,
      shape: shape.of,
      indexed: true,
      at: (m) => {
        const s = p.at(m);
        let i = index.run(m);
        if (masked) i &= shape.length > 4 ? 7n : 3n;
        return s === undefined || i >= BigInt(shape.length)
          ? undefined
          : { bytes: s.bytes, off: s.off + Number(i) * size };
      },
    };
  }

  // Integers

  leaf(sign: SignOf, depth: number): Ex {
    const names = this.vars.filter((v) => v.sign === sign);
    if (names.length > 0 && this.chance(50)) {
      const { name } = this.pick(...names);
      return { text: name, sign, run: (m) => m.get(name) };
    }
    if (this.chance(30)) {
      const p = this.place((s) => s.k === "int" && s.sign === sign, depth > 1 ? 1 : 0);
      if (p !== undefined) return { text: p.text, sign, run: (m) => readInt(p.shape as IntShape, p.at(m)) };
    }
    if (depth > 0 && this.chance(20)) return this.cast(sign, depth - 1);
    const [name] = this.pick(...INPUTS.filter(([, , , s]) => s === sign));
    return { text: `${name}.value`, sign, run: (m) => m.get(name) };
  }

  cast(sign: SignOf, depth: number): Ex {
    const bits = this.pick(8, 16, 32, 64);
    const type = `${sign}${bits}`;
    const mixed = depth > 0 && this.chance(25);
    const inner = mixed ? this.mixed(depth) : this.expr(this.sign(), depth);
    return { text: `${type}(${inner.text})`, sign, run: (m) => narrow(inner.run(m), sign, bits) };
  }
  /** Both signs in one sum: only to be cast. */
  mixed(depth: number): Pick<Ex, "text" | "run"> {
    const [x, y] = this.chance(50)
      ? [this.leaf("u", depth), this.leaf("s", depth)]
      : [this.leaf("s", depth), this.leaf("u", depth)];
    const op = this.pick("+", "-", "*", "&", "|", "^");
    return { text: `${x.text} ${op} ${y.text}`, run: (m) => calculate(op, x.run(m), y.run(m)) };
  }

  expr(sign: SignOf, depth: number): Ex {
    this.budget--;
    if (depth <= 0 || this.budget <= 0) return this.leaf(sign, depth);
    switch (this.upTo(17)) {
      case 0:
      case 1:
      case 2:
        return this.binary(this.pick("+", "-", "*"), sign, depth);
      case 3:
      case 4:
        return this.binary(this.pick("&", "|", "^"), sign, depth);
      case 5:
        return this.binary(this.pick("/", "%"), sign, depth);
      case 6:
      case 7:
        return this.shift(sign, depth);
      case 8: {
        const x = this.expr(sign, depth - 1);
        if (x.literal === true) return x;
        return { text: `(~${x.text})`, sign, run: (m) => wrap(~x.run(m), sign) };
      }
      case 9: {
        if (sign === "u") return this.leaf(sign, depth);
        const x = this.expr(this.sign(), depth - 1);
        if (x.literal === true) return x.sign === sign ? x : this.leaf(sign, depth);
        return { text: `(-${x.text})`, sign, run: (m) => wrap(-x.run(m), "s") };
      }
      case 10: {
        const c = this.cond(depth - 1);
        const [x, y] = [this.expr(sign, depth - 1), this.expr(sign, depth - 1)];
        if (x.literal === true && y.literal === true) return this.leaf(sign, depth);
        return { text: `(${c.text} ? ${x.text} : ${y.text})`, sign, run: (m) => (c.run(m) ? x.run(m) : y.run(m)) };
      }
      case 11: {
        const which = this.pick("min", "max");
        const [x, y] = [this.leaf(sign, depth), this.operand(sign, depth - 1)];
        return {
          text: `Math.${which}(${x.text}, ${y.text})`,
          sign,
          run: (m) => {
            const [p, q] = [x.run(m), y.run(m)];
            return (which === "min" ? p < q : p > q) ? p : q;
          },
        };
      }
      case 12:
        return this.cast(sign, depth - 1);
      case 13:
      case 14:
        return this.called(sign, depth) ?? this.leaf(sign, depth);
      case 15:
        return this.entry(sign, depth) ?? this.leaf(sign, depth);
      case 16:
        return this.step(sign) ?? this.leaf(sign, depth);
      default:
        return this.leaf(sign, depth);
    }
  }

  /** The right side of an operator: may be a literal. */
  operand(sign: SignOf, depth: number): Ex {
    return this.chance(35) ? this.literal(sign) : this.expr(sign, depth);
  }
  /** Never only literals. */
  value(sign: SignOf, depth: number): Ex {
    const x = this.expr(sign, depth);
    return x.literal === true ? this.leaf(sign, 0) : x;
  }

  called(sign: SignOf, depth: number): Ex | undefined {
    const list = this.callables.filter((c) => c.sign === sign);
    if (list.length === 0) return undefined;
    const f = this.pick(...list);
    const args = f.params.map((p) => this.value(p, depth - 1));
    return {
      // What comes out of a loop of the kernel has an open sign.
      text: `${sign}64(${f.name}(${args.map((a) => a.text).join(", ")}))`,
      sign,
      run: (m) =>
        f.call(
          m,
          args.map((a) => a.run(m)),
        ),
    };
  }

  /** A number of a map, or a default. */
  entry(sign: SignOf, depth: number): Ex | undefined {
    const list = this.maps.filter(({ value: v }) => v.k !== "int" || v.sign === sign);
    if (list.length === 0) return undefined;
    const map = this.pick(...list);
    const key = this.key(map, depth);
    const fallback = this.value(sign, depth - 1);
    if (map.value.k === "int") {
      const shape = map.value;
      return {
        text: `(${map.name}.get(${key.text}) ?? ${fallback.text})`,
        sign,
        run: (m) => {
          const v = m.map(map.name).get(key.run(m));
          return v === undefined ? fallback.run(m) : readInt(shape, { bytes: v, off: 0 });
        },
      };
    }
    const p = this.descend(
      { text: `${map.name}.get(${key.text})?`, shape: map.value, indexed: false, at: () => undefined },
      (s) => s.k === "int" && s.sign === sign,
      0,
    );
    // An index behind `?.` is not compiled.
    if (p === undefined || p.text.slice(p.text.lastIndexOf("?")).includes("[")) return undefined;
    const root = { text: "", shape: map.value, indexed: false };
    // The same path again, on the bytes of the entry.
    const path = p.text.slice(p.text.lastIndexOf("?") + 1);
    return {
      text: `(${p.text} ?? ${fallback.text})`,
      sign,
      run: (m) => {
        const v = m.map(map.name).get(key.run(m));
        if (v === undefined) return fallback.run(m);
        const at = follow({ ...root, at: () => ({ bytes: v, off: 0 }) }, path);
        return readInt(at.shape as IntShape, at.at(m));
      },
    };
  }
  key(map: MapDecl, depth: number): { text: string; run: (m: Machine) => bigint } {
    const x = this.chance(30) ? this.leaf("u", 0) : this.value("u", depth - 1);
    const mask = map.length === undefined ? this.pick(1n, 3n, 7n) : this.pick(1n, 3n);
    if (this.chance(25)) {
      const k = BigInt(this.upTo(3));
      return { text: String(k), run: () => k };
    }
    return { text: `${x.text} & ${mask}`, run: (m) => x.run(m) & mask };
  }

  /** `x++` and its kin as a value. */
  step(sign: SignOf): Ex | undefined {
    const list = this.vars.filter((v) => v.sign === sign && v.mutable && v.bits === 64);
    if (list.length === 0) return undefined;
    const { name } = this.pick(...list);
    const [up, before] = [this.chance(50), this.chance(50)];
    const op = up ? "++" : "--";
    return {
      text: before ? `(${op}${name})` : `(${name}${op})`,
      sign,
      run: (m) => {
        const old = m.get(name);
        const now = wrap(old + (up ? 1n : -1n), sign);
        m.set(name, now);
        return before ? now : old;
      },
    };
  }

  binary(op: string, sign: SignOf, depth: number): Ex {
    const x = this.expr(sign, depth - 1);
    let y = this.operand(sign, depth - 1);
    if (x.literal === true && y.literal === true) y = this.leaf(sign, depth);
    // A literal divisor of zero is an error of its own.
    if ((op === "/" || op === "%") && y.literal === true && wrap(y.run(NO_MACHINE), sign) === 0n)
      y = this.leaf(sign, depth);
    return { text: `(${x.text} ${op} ${y.text})`, sign, run: (m) => wrap(calculate(op, x.run(m), y.run(m)), sign) };
  }

  shift(sign: SignOf, depth: number): Ex {
    const x = this.leaf(sign, depth);
    const n = this.upTo(63);
    const inner = this.chance(60) ? undefined : this.expr("u", depth - 1);
    const count =
      inner === undefined
        ? { text: String(n), run: () => BigInt(n) }
        : { text: `(${inner.text} & 63)`, run: (m: Machine) => inner.run(m) & 63n };
    const op = this.pick("<<", ">>", ...(sign === "u" ? [">>>"] : []));
    return {
      text: `(${x.text} ${op} ${count.text})`,
      sign,
      run: (m) => wrap(calculate(op, x.run(m), count.run(m)), sign),
    };
  }

  // Conditions

  cond(depth: number): Cond {
    const kind = depth <= 0 ? 0 : this.upTo(11);
    if (kind === 4 || kind === 5) {
      const [x, y] = [this.cond(depth - 1), this.cond(depth - 1)];
      const and = kind === 4;
      return {
        text: `(${x.text} ${and ? "&&" : "||"} ${y.text})`,
        run: (m) => (and ? x.run(m) && y.run(m) : x.run(m) || y.run(m)),
      };
    }
    if (kind === 6) {
      const x = this.cond(depth - 1);
      return { text: `!${x.text}`, run: (m) => !x.run(m) };
    }
    if (kind === 7 && this.flags.length > 0) {
      const name = this.pick(...this.flags);
      return { text: name, run: (m) => m.get(name) !== 0n };
    }
    if (kind === 8) {
      const p = this.place((s) => s.k === "bool" || s.k === "char", depth - 1);
      if (p !== undefined && !p.indexed) return p.shape.k === "bool" ? truth(p) : this.textual(p);
    }
    if (kind === 9) {
      const c = this.sameStructs();
      if (c !== undefined) return c;
    }
    if (kind === 10) {
      const c = this.mapTest(depth);
      if (c !== undefined) return c;
    }
    const sign = this.sign();
    const x = this.expr(sign, depth - 1);
    if (kind === 3 && x.literal !== true) return { text: `(${x.text} ? true : false)`, run: (m) => x.run(m) !== 0n };
    let y = this.operand(sign, depth - 1);
    if (x.literal === true && y.literal === true) y = this.leaf(sign, depth);
    const op = this.pick(...RELATIONS);
    return { text: `(${x.text} ${op} ${y.text})`, run: (m) => holds(op, x.run(m), y.run(m)) };
  }

  /** Comparing text with a literal or other text. */
  textual(p: Place): Cond {
    const shape = p.shape as Extract<Shape, { k: "char" }>;
    const read = (m: Machine): string => readText(shape, p.at(m)!);
    const word = this.pick(...LETTERS.filter((w) => w.length < shape.length));
    switch (this.upTo(4)) {
      case 0: {
        const other = this.place((s) => s.k === "char", 0);
        if (other !== undefined && other.shape.k === "char") {
          const o = other.shape;
          return { text: `(${p.text} === ${other.text})`, run: (m) => read(m) === readText(o, other.at(m)!) };
        }
        return { text: `(${p.text} === "${word}")`, run: (m) => read(m) === word };
      }
      case 1:
        return { text: `${p.text}.startsWith("${word}")`, run: (m) => read(m).startsWith(word) };
      case 2:
        return { text: `${p.text}.endsWith("${word}")`, run: (m) => read(m).endsWith(word) };
      case 3:
        return { text: `(${p.text} !== "${word}")`, run: (m) => read(m) !== word };
      default:
        return { text: `(${p.text} === "${word}")`, run: (m) => read(m) === word };
    }
  }
  sameStructs(): Cond | undefined {
    const composite = (s: Shape): boolean => s.k === "struct" || s.k === "packed" || s.k === "array";
    const p = this.place(composite, 0);
    if (p === undefined || !composite(p.shape)) return undefined;
    const q = this.place((s) => s.text === p.shape.text, 0);
    if (q === undefined || q.shape.text !== p.shape.text) return undefined;
    const equal = this.chance(50);
    return {
      text: `(${p.text} ${equal ? "===" : "!=="} ${q.text})`,
      run: (m) => same(p.shape, p.at(m)!, q.at(m)!) === equal,
    };
  }
  /** A map method that gives a truth value, perhaps changing the map. */
  mapTest(depth: number): Cond | undefined {
    const list = this.maps.filter((x) => x.length === undefined);
    if (list.length === 0) return undefined;
    const map = this.pick(...list);
    const key = this.key(map, depth);
    if (map.value.k !== "int" || this.chance(40))
      return { text: `${map.name}.has(${key.text})`, run: (m) => m.map(map.name).has(key.run(m)) };
    const shape = map.value;
    if (this.chance(40))
      return { text: `${map.name}.delete(${key.text})`, run: (m) => m.map(map.name).delete(key.run(m)) };
    const insert = this.chance(50);
    const v = this.value(shape.sign, depth - 1);
    return {
      text: `${map.name}.${insert ? "insert" : "replace"}(${key.text}, ${v.text})`,
      run: (m) => {
        const [k, x] = [key.run(m), v.run(m)];
        if (m.map(map.name).has(k) === insert) return false;
        m.map(map.name).set(k, bytesOf(shape, x));
        return true;
      },
    };
  }
}

const NO_MACHINE = undefined as unknown as Machine;

export function bytesOf(s: IntShape, v: bigint): Uint8Array {
  const out = new Uint8Array(s.bits / 8);
  let rest = BigInt.asUintN(s.bits, v);
  for (let k = 0; k < out.length; k++, rest >>= 8n) out[k] = Number(rest & 0xffn);
  return out;
}

export function field(p: Place, f: { readonly name: string; readonly shape: Shape; readonly off: number }): Place {
  return {
    text: `${p.text}.${f.name}`,
    shape: f.shape,
    indexed: p.indexed,
    at: (m) => {
      const s = p.at(m);
      return s === undefined ? undefined : { bytes: s.bytes, off: s.off + f.off };
    },
  };
}
/** `.x[2].y` from a place on. */
function follow(p: Place, path: string): Place {
  for (const [, name, index] of path.matchAll(/\.(\w+)|\[(\d+)\]/g)) {
    const { shape } = p;
    if (name !== undefined && "fields" in shape)
      p = field(
        p,
        shape.fields.find((f) => f.name === name)!,
      );
    else if (shape.k === "array") p = field(p, { name: "", shape: shape.of, off: Number(index) * sizeOf(shape.of) });
  }
  return p;
}
function truth(p: Place): Cond {
  return {
    text: p.text,
    run: (m) => {
      const s = p.at(m);
      return s !== undefined && s.bytes[s.off] !== 0;
    },
  };
}

/** Exact; the caller wraps. `>>>` reads the bits as unsigned. */
export function calculate(op: string, p: bigint, q: bigint): bigint {
  switch (op) {
    case "+":
      return p + q;
    case "-":
      return p - q;
    case "*":
      return p * q;
    case "&":
      return p & q;
    case "|":
      return p | q;
    case "^":
      return p ^ q;
    case "/":
      return q === 0n ? 0n : p / q;
    case "%":
      return q === 0n ? p : p % q;
    case "<<":
      return p << q;
    case ">>":
      return p >> q;
    default:
      return BigInt.asUintN(64, p) >> q;
  }
}
