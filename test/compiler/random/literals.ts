/** Random struct types, and literals that fill them. */
import type { Place } from "./expressions.ts";
import { Expressions, LETTERS } from "./expressions.ts";
import type { Machine, Shape, SignOf, Spot, StructShape } from "./machine.ts";
import { intShape, isDense, layOut, sizeOf, writeInt, writeText } from "./machine.ts";

const INTS = [
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
  intShape("be64", 64, "u", true),
] as const;

/** A value that fills a place: first everything is evaluated, then written. */
export interface Filling {
  readonly text: string;
  readonly run: (m: Machine) => (to: Spot) => void;
}

export class Literals extends Expressions {
  /** Struct types of the program. */
  structs: readonly StructShape[] = [];
  /** Declarations in front of the program. */
  readonly decls: string[] = [];
  /** Numbers the program in its module. */
  id = 0;

  int(): (typeof INTS)[number] {
    return this.pick(...INTS);
  }
  struct(): StructShape {
    const name = this.name(`S${this.id}_`);
    const fields: { name: string; shape: Shape }[] = [];
    const union = this.structs.length > 0 && this.chance(12);
    const count = union ? 2 : 2 + this.upTo(3);
    for (let k = 0; k < count; k++) {
      const shape = this.fieldShape(union);
      // What one member of a union leaves open would be seen through another.
      fields.push({ name: `f${k}`, shape: union && !isDense(shape) ? this.int() : shape });
    }
    const k = union ? "union" : this.chance(20) ? "packed" : "struct";
    const shape = layOut(k, name, fields);
    this.decls.push(`const ${name} = ${k}({ ${fields.map((f) => `${f.name}: ${f.shape.text}`).join(", ")} });`);
    this.structs = [...this.structs, shape];
    return shape;
  }
  private fieldShape(inUnion: boolean): Shape {
    const kind = this.upTo(inUnion ? 3 : 9);
    if (kind === 3) return this.array(this.int(), 2 + this.upTo(3));
    if (kind === 4) return { k: "bool", text: "bool" };
    if (kind === 5) {
      const length = this.pick(4, 8);
      return { k: "char", text: `char(${length})`, length };
    }
    const small = this.structs.filter((s) => s.size <= 16);
    if (kind === 6 && small.length > 0) return this.pick(...small);
    if (kind === 7 && small.length > 0) return this.array(this.pick(...small), 2);
    return this.int();
  }
  private array(of: Shape, length: number): Shape {
    return { k: "array", text: `array(${of.text}, ${length})`, of, length };
  }

  /** Text that fills a place of this type. `partial`: fields may be left out, they are zero. */
  filling(s: Shape, depth: number, partial: boolean): Filling {
    switch (s.k) {
      case "int": {
        if (this.chance(25)) {
          const v = this.upTo(100);
          return { text: String(v), run: () => (to) => writeInt(s, to, BigInt(v)) };
        }
        const x = this.value(s.sign, depth);
        return {
          text: x.text,
          run: (m) => {
            const v = x.run(m);
            return (to) => writeInt(s, to, v);
          },
        };
      }
      case "bool": {
        const c = this.cond(depth);
        return {
          text: c.text,
          run: (m) => {
            const v = c.run(m) ? 1 : 0;
            return (to) => (to.bytes[to.off] = v);
          },
        };
      }
      case "char": {
        const word = this.pick(...LETTERS.filter((w) => w.length < s.length));
        return { text: `"${word}"`, run: () => (to) => writeText(s, to, word) };
      }
      case "array": {
        const copy = this.chance(25) ? this.copyOf(s) : undefined;
        if (copy !== undefined) return copy;
        const size = sizeOf(s.of);
        const items = Array.from({ length: s.length }, () => this.filling(s.of, depth - 1, partial));
        return {
          text: `[${items.map((i) => i.text).join(", ")}]`,
          run: (m) => {
            const writes = items.map((i) => i.run(m));
            return (to) => writes.forEach((w, i) => w({ bytes: to.bytes, off: to.off + i * size }));
          },
        };
      }
      default:
        return (this.chance(25) ? this.copyOf(s) : undefined) ?? this.object(s, depth, partial);
    }
  }
  /** Another place of the same type. */
  copyOf(s: Shape): Filling | undefined {
    const p = this.place((x) => x.text === s.text, 0);
    if (p === undefined || p.shape.text !== s.text || p.indexed) return undefined;
    return { text: p.text, run: (m) => copying(p, m) };
  }
  private object(s: StructShape, depth: number, partial: boolean): Filling {
    const spread = s.k !== "union" && this.chance(20) ? this.copyOf(s) : undefined;
    const chosen =
      s.k === "union" ? [s.fields[0]!] : s.fields.filter(() => !(partial || spread !== undefined) || this.chance(70));
    const parts = chosen.map((f) => ({ f, v: this.filling(f.shape, depth - 1, partial) }));
    const items = [
      ...(spread === undefined ? [] : [`...${spread.text}`]),
      ...parts.map(({ f, v }) => `${f.name}: ${v.text}`),
    ];
    return {
      text: `{ ${items.join(", ")} }`,
      run: (m) => {
        const base = spread?.run(m);
        const writes = parts.map(({ f, v }) => ({ off: f.off, write: v.run(m) }));
        return (to) => {
          to.bytes.fill(0, to.off, to.off + s.size);
          base?.(to);
          for (const { off, write } of writes) write({ bytes: to.bytes, off: to.off + off });
        };
      },
    };
  }
  /** `S({ … })` or, for all fields, `{ … }` where the type is known from the place. */
  wholeStruct(s: StructShape, depth: number): Filling {
    const f = this.object(s, depth, true);
    return { text: `${s.text}(${f.text})`, run: f.run };
  }
}

/** What lies at `p` now. */
export function copying(p: Place, m: Machine): (to: Spot) => void {
  const from = p.at(m)!;
  const size = sizeOf(p.shape);
  const bytes = from.bytes.slice(from.off, from.off + size);
  return (to) => to.bytes.set(bytes, to.off);
}

/** Integer fields of a value, by constant paths. */
export function leaves(p: Place, out: { place: Place; sign: SignOf }[] = []): { place: Place; sign: SignOf }[] {
  const { shape } = p;
  if (shape.k === "int") out.push({ place: p, sign: shape.sign });
  else if (shape.k === "array") {
    const size = sizeOf(shape.of);
    for (let i = 0; i < shape.length; i++) leaves(part(p, `[${i}]`, shape.of, i * size), out);
  } else if ("fields" in shape) for (const f of shape.fields) leaves(part(p, `.${f.name}`, f.shape, f.off), out);
  return out;
}
export function part(p: Place, text: string, shape: Shape, off: number): Place {
  return {
    text: p.text + text,
    shape,
    indexed: p.indexed,
    at: (m) => {
      const s = p.at(m);
      return s === undefined ? undefined : { bytes: s.bytes, off: s.off + off };
    },
  };
}
