/** Random programs of the probe language, each with what it must compute by design.md's integer rules. */
import fc from "fast-check";

export type SignOf = "u" | "s";
type Env = Map<string, bigint>;
interface Ex {
  readonly text: string;
  readonly sign: SignOf;
  readonly run: (env: Env) => bigint;
  /** Only literals: must not be combined with other literals. */
  readonly literal?: boolean;
}
interface Cond {
  readonly text: string;
  readonly run: (env: Env) => boolean;
}
/** How a statement ended. */
type End = "go" | "break" | "continue";
interface St {
  readonly text: string;
  readonly run: (env: Env) => End;
}

export interface RandomProgram {
  /** Body of a probe: reads `a.value` … `h.value`, writes `out.value`. */
  readonly body: string;
  readonly expected: (inputs: Readonly<Record<string, bigint>>) => bigint;
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

const wrap = (v: bigint, sign: SignOf): bigint => (sign === "u" ? BigInt.asUintN(64, v) : BigInt.asIntN(64, v));

/** What a place of `bits` holds after a store. */
const narrow = (v: bigint, sign: SignOf, bits: number): bigint =>
  sign === "u" ? BigInt.asUintN(bits, v) : BigInt.asIntN(bits, v);

/** Variables of every width that the programs store to: where narrowing happens. */
export const NARROW = [
  ["n0", "u8", 8, "u"],
  ["n1", "u16", 16, "u"],
  ["n2", "u32", 32, "u"],
  ["n3", "u64", 64, "u"],
  ["n4", "s8", 8, "s"],
  ["n5", "s16", 16, "s"],
  ["n6", "s32", 32, "s"],
  ["n7", "s64", 64, "s"],
  ["n8", "be16", 16, "u"],
  ["n9", "be32", 32, "u"],
] as const;

/** Values of all inputs: often at the edges of their types. */
export const inputs: fc.Arbitrary<Record<string, bigint>> = fc.record(
  Object.fromEntries(
    INPUTS.map(([name, , bits, sign]) => {
      const min = sign === "s" ? -(1n << BigInt(bits - 1)) : 0n;
      const max = (1n << BigInt(sign === "s" ? bits - 1 : bits)) - 1n;
      return [
        name,
        fc.oneof(
          { weight: 2, arbitrary: fc.bigInt({ min, max }) },
          fc.constantFrom(min, max, 0n, 1n, min + 1n, max - 1n, max >> 1n),
        ),
      ];
    }),
  ),
  { noNullPrototype: true },
);

type Draw = <T>(arb: fc.Arbitrary<T>) => T;

class Maker {
  readonly draw: Draw;
  /** Mutable variables in scope. */
  vars: { name: string; sign: SignOf; bits: number }[] = [];
  /** Loop counters: read only. */
  counters: { name: string; sign: SignOf }[] = [];
  #next = 0;
  budget: number;

  constructor(draw: Draw, budget: number) {
    this.draw = draw;
    this.budget = budget;
  }

  name(prefix: string): string {
    return `${prefix}${this.#next++}`;
  }
  pick<T>(...items: readonly T[]): T {
    return items[this.draw(fc.nat(items.length - 1))]!;
  }
  chance(percent: number): boolean {
    return this.draw(fc.nat(99)) < percent;
  }

  literal(sign: SignOf): Ex {
    const v = this.draw(
      fc.oneof(fc.nat(20).map(BigInt), fc.nat().map(BigInt), fc.bigInt({ min: 0n, max: (1n << 63n) - 1n })),
    );
    const value = sign === "s" && this.chance(25) ? -v : v;
    const big = v > 0x1f_ffff_ffff_ffffn || this.chance(20);
    const digits = this.chance(30) ? `0x${v.toString(16)}` : String(v);
    const text = `${digits}${big ? "n" : ""}`;
    return { text: value < 0n ? `(-${text})` : text, sign, run: () => value, literal: true };
  }

  leaf(sign: SignOf, depth: number): Ex {
    const names = [...this.vars, ...this.counters].filter((v) => v.sign === sign);
    if (names.length > 0 && this.chance(50)) {
      const { name } = this.pick(...names);
      return { text: name, sign, run: (env) => env.get(name)! };
    }
    if (depth > 0 && this.chance(20)) return this.cast(sign, depth - 1);
    const [name] = this.pick(...INPUTS.filter(([, , , s]) => s === sign));
    return { text: `${name}.value`, sign, run: (env) => env.get(name)! };
  }

  cast(sign: SignOf, depth: number): Ex {
    const bits = this.pick(8, 16, 32, 64);
    const inner = this.expr(this.pick<SignOf>("u", "s"), depth);
    const type = `${sign}${bits}`;
    return {
      text: `${type}(${inner.text})`,
      sign,
      run: (env) => (sign === "u" ? BigInt.asUintN(bits, inner.run(env)) : BigInt.asIntN(bits, inner.run(env))),
    };
  }

  expr(sign: SignOf, depth: number): Ex {
    this.budget--;
    if (depth <= 0 || this.budget <= 0) return this.leaf(sign, depth);
    switch (this.draw(fc.nat(13))) {
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
        return { text: `(~${x.text})`, sign, run: (env) => wrap(~x.run(env), sign) };
      }
      case 9: {
        if (sign === "u") return this.leaf(sign, depth);
        const x = this.expr(this.pick<SignOf>("u", "s"), depth - 1);
        if (x.literal === true) return x.sign === sign ? x : this.leaf(sign, depth);
        return { text: `(-${x.text})`, sign, run: (env) => wrap(-x.run(env), "s") };
      }
      case 10: {
        const c = this.cond(depth - 1);
        const [x, y] = [this.expr(sign, depth - 1), this.expr(sign, depth - 1)];
        if (x.literal === true && y.literal === true) return this.leaf(sign, depth);
        return {
          text: `(${c.text} ? ${x.text} : ${y.text})`,
          sign,
          run: (env) => (c.run(env) ? x.run(env) : y.run(env)),
        };
      }
      case 11: {
        const which = this.pick("min", "max");
        const [x, y] = [this.leaf(sign, depth), this.operand(sign, depth - 1)];
        return {
          text: `Math.${which}(${x.text}, ${y.text})`,
          sign,
          run: (env) => {
            const [p, q] = [x.run(env), y.run(env)];
            return (which === "min" ? p < q : p > q) ? p : q;
          },
        };
      }
      case 12:
        return this.cast(sign, depth - 1);
      default:
        return this.leaf(sign, depth);
    }
  }

  /** The right side of an operator: may be a literal. */
  operand(sign: SignOf, depth: number): Ex {
    return this.chance(35) ? this.literal(sign) : this.expr(sign, depth);
  }

  binary(op: string, sign: SignOf, depth: number): Ex {
    const x = this.expr(sign, depth - 1);
    let y = this.operand(sign, depth - 1);
    if (x.literal === true && y.literal === true) y = this.leaf(sign, depth);
    // A literal divisor of zero is an error of its own.
    if ((op === "/" || op === "%") && y.literal === true && y.run(new Map()) === 0n) y = this.leaf(sign, depth);
    const run = (env: Env): bigint => {
      const [p, q] = [x.run(env), y.run(env)];
      switch (op) {
        case "+":
          return wrap(p + q, sign);
        case "-":
          return wrap(p - q, sign);
        case "*":
          return wrap(p * q, sign);
        case "&":
          return wrap(p & q, sign);
        case "|":
          return wrap(p | q, sign);
        case "^":
          return wrap(p ^ q, sign);
        case "/":
          return q === 0n ? 0n : wrap(p / q, sign);
        default:
          return q === 0n ? p : wrap(p % q, sign);
      }
    };
    return { text: `(${x.text} ${op} ${y.text})`, sign, run };
  }

  shift(sign: SignOf, depth: number): Ex {
    const x = this.leaf(sign, depth);
    const fixed = this.chance(60);
    const n = this.draw(fc.nat(63));
    const inner = fixed ? undefined : this.expr("u", depth - 1);
    const count =
      inner === undefined
        ? { text: String(n), run: () => BigInt(n) }
        : { text: `(${inner.text} & 63)`, run: (env: Env) => inner.run(env) & 63n };
    const op = this.pick("<<", ">>", ...(sign === "u" ? [">>>"] : []));
    const run = (env: Env): bigint => {
      const [p, q] = [x.run(env), count.run(env)];
      return op === "<<" ? wrap(p << q, sign) : op === ">>" ? p >> q : BigInt.asUintN(64, p) >> q;
    };
    return { text: `(${x.text} ${op} ${count.text})`, sign, run };
  }

  cond(depth: number): Cond {
    const kind = depth <= 0 ? 0 : this.draw(fc.nat(6));
    if (kind === 4 || kind === 5) {
      const [x, y] = [this.cond(depth - 1), this.cond(depth - 1)];
      const and = kind === 4;
      return {
        text: `(${x.text} ${and ? "&&" : "||"} ${y.text})`,
        run: (env) => (and ? x.run(env) && y.run(env) : x.run(env) || y.run(env)),
      };
    }
    if (kind === 6) {
      const x = this.cond(depth - 1);
      return { text: `!${x.text}`, run: (env) => !x.run(env) };
    }
    const sign = this.pick<SignOf>("u", "s");
    const x = this.expr(sign, depth - 1);
    if (kind === 3 && x.literal !== true)
      return { text: `(${x.text} ? true : false)`, run: (env) => x.run(env) !== 0n };
    let y = this.operand(sign, depth - 1);
    if (x.literal === true && y.literal === true) y = this.leaf(sign, depth);
    const op = this.pick("<", "<=", ">", ">=", "===", "!==");
    const run = (env: Env): boolean => {
      const [p, q] = [x.run(env), y.run(env)];
      return op === "<"
        ? p < q
        : op === "<="
          ? p <= q
          : op === ">"
            ? p > q
            : op === ">="
              ? p >= q
              : op === "==="
                ? p === q
                : p !== q;
    };
    return { text: `(${x.text} ${op} ${y.text})`, run };
  }

  declare(depth: number): St {
    const sign = this.pick<SignOf>("u", "s");
    const name = this.name("v");
    const init = this.chance(20) ? undefined : this.expr(sign, depth);
    // A literal initial value leaves the sign open: the cast says it.
    const x = init === undefined || init.literal === true ? this.literal("u") : init;
    const text = x.literal === true ? `${sign}64(${x.text})` : x.text;
    this.vars = [...this.vars, { name, sign, bits: 64 }];
    return {
      text: `let ${name} = ${text};`,
      run: (env) => {
        env.set(name, wrap(x.run(env), sign));
        return "go";
      },
    };
  }

  /** A first store to a variable of some width, which the program uses from then on. */
  store(): St {
    const [short, , bits, sign] = this.pick(...NARROW.filter(([n]) => !this.vars.some((v) => v.name === `${n}.value`)));
    const name = `${short}.value`;
    const x = this.expr(sign, 2);
    this.vars = [...this.vars, { name, sign, bits }];
    return {
      text: `${name} = ${x.literal === true ? `${sign}${bits}(${x.text})` : x.text};`,
      run: (env) => {
        env.set(name, narrow(x.run(env), sign, bits));
        return "go";
      },
    };
  }

  assign(depth: number): St {
    const { name, sign, bits } = this.pick(...this.vars);
    if (this.chance(15)) {
      const up = this.chance(50);
      return {
        text: `${name}${up ? "++" : "--"};`,
        run: (env) => {
          env.set(name, narrow(env.get(name)! + (up ? 1n : -1n), sign, bits));
          return "go";
        },
      };
    }
    const x = this.expr(sign, depth);
    const op = this.pick("=", "+=", "-=", "*=", "^=", "|=", "&=");
    return {
      text: `${name} ${op} ${op === "=" && x.literal === true && bits < 64 ? `${sign}${bits}(${x.text})` : x.text};`,
      run: (env) => {
        const [p, q] = [env.get(name)!, x.run(env)];
        const v =
          op === "="
            ? q
            : op === "+="
              ? p + q
              : op === "-="
                ? p - q
                : op === "*="
                  ? p * q
                  : op === "^="
                    ? p ^ q
                    : op === "|="
                      ? p | q
                      : p & q;
        env.set(name, narrow(v, sign, bits));
        return "go";
      },
    };
  }

  block(depth: number, size: number, inLoop: boolean): St {
    const [vars, counters] = [this.vars, this.counters];
    const list: St[] = [];
    for (let i = 0; i < size && this.budget > 0; i++) list.push(this.statement(depth, inLoop));
    this.vars = vars;
    this.counters = counters;
    return { text: `{ ${list.map((s) => s.text).join(" ")} }`, run: (env) => runAll(list, env) };
  }

  statement(depth: number, inLoop: boolean): St {
    this.budget--;
    const kind = depth <= 0 ? this.draw(fc.nat(3)) : this.draw(fc.nat(8));
    switch (kind) {
      case 0:
        return this.declare(depth);
      case 1:
      case 2:
      case 3:
        return this.vars.length === 0 ? this.declare(depth) : this.assign(depth);
      case 4:
      case 5: {
        const c = this.cond(depth - 1);
        const yes = this.block(depth - 1, 2, inLoop);
        const no = this.chance(50) ? this.block(depth - 1, 2, inLoop) : undefined;
        return {
          text: `if (${c.text}) ${yes.text}${no === undefined ? "" : ` else ${no.text}`}`,
          run: (env) => (c.run(env) ? yes.run(env) : (no?.run(env) ?? "go")),
        };
      }
      case 6:
        return this.loop(depth);
      case 7:
        return this.choose(depth, inLoop);
      default: {
        if (!inLoop) return this.vars.length === 0 ? this.declare(depth) : this.assign(depth);
        const c = this.cond(depth - 1);
        const end = this.pick<End>("break", "continue");
        return { text: `if (${c.text}) ${end};`, run: (env) => (c.run(env) ? end : "go") };
      }
    }
  }

  loop(depth: number): St {
    const count = 1 + this.draw(fc.nat(5));
    const name = this.name("i");
    const counters = this.counters;
    this.counters = [...counters, { name, sign: "u" }];
    const body = this.block(depth - 1, 2, true);
    this.counters = counters;
    const form = this.draw(fc.nat(2));
    const text =
      form === 0
        ? `for (const ${name} of range(${count})) ${body.text}`
        : form === 1
          ? `for (let ${name} = u64(0); ${name} < ${count}; ${name}++) ${body.text}`
          : `{ let ${name} = u64(${count}); while (${name} > 0) { ${name} -= 1; ${body.text} } }`;
    const order = Array.from({ length: count }, (_, i) => BigInt(form === 2 ? count - 1 - i : i));
    return {
      text:
        form === 0
          ? text.replace(`const ${name} of`, `const ${name}_ of`).replace(/\{ /, `{ const ${name} = u64(${name}_); `)
          : text,
      run: (env) => {
        for (const i of order) {
          env.set(name, i);
          if (body.run(env) === "break") break;
        }
        return "go";
      },
    };
  }

  choose(depth: number, _inLoop: boolean): St {
    const sign = this.pick<SignOf>("u", "s");
    const mask = this.pick(3n, 7n);
    const x = this.leaf(sign, depth);
    const values = [0n, 1n, 2n].filter(() => this.chance(70));
    const bodies = values.map((value) => ({ value, body: this.block(depth - 1, 1, false), falls: this.chance(30) }));
    const rest = this.chance(60) ? this.block(depth - 1, 1, false) : undefined;
    const cases = bodies.map((b) => `case ${b.value}: ${b.body.text}${b.falls ? "" : " break;"}`).join(" ");
    return {
      text: `switch (${x.text} & ${mask}) { ${cases}${rest === undefined ? "" : ` default: ${rest.text}`} }`,
      run: (env) => {
        const at = bodies.findIndex((b) => b.value === (x.run(env) & mask));
        for (let i = at < 0 ? bodies.length : at; i < bodies.length; i++) {
          bodies[i]!.body.run(env);
          if (!bodies[i]!.falls) return "go";
        }
        rest?.run(env);
        return "go";
      },
    };
  }
}

function runAll(list: readonly St[], env: Env): End {
  for (const s of list) {
    const end = s.run(env);
    if (end !== "go") return end;
  }
  return "go";
}

/** `count` random programs: declarations, assignments, branches, loops, and a result. */
export function programs(count: number): fc.Arbitrary<RandomProgram[]> {
  return fc.gen().map((g) => {
    const draw: Draw = (arb) => g(() => arb as fc.Arbitrary<unknown>) as never;
    return Array.from({ length: count }, () => randomProgram(draw));
  });
}

function randomProgram(draw: Draw): RandomProgram {
  const m = new Maker(draw, 60);
  const list: St[] = [m.store(), m.store(), m.declare(2)];
  const count = 1 + draw(fc.nat(5));
  for (let i = 0; i < count && m.budget > 0; i++) list.push(m.statement(3, false));
  const result = m.expr(m.pick<SignOf>("u", "s"), 3);
  const names = m.vars.map((v) => v.name);
  const body = [
    ...list.map((s) => s.text),
    `let r = u64(${result.text});`,
    ...names.map((n) => `r = (r * 31) ^ u64(${n});`),
  ].join("\n  ");
  return {
    body,
    expected: (given) => {
      const env: Env = new Map(Object.entries(given));
      runAll(list, env);
      let r = BigInt.asUintN(64, result.run(env));
      for (const n of names) r = BigInt.asUintN(64, r * 31n) ^ BigInt.asUintN(64, env.get(n)!);
      return r;
    },
  };
}
