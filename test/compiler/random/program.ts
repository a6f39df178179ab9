/** Whole random programs: declarations, a body, and what a machine says it does. */
import type { MapDecl, Place } from "./expressions.ts";
import { leaves } from "./literals.ts";
import type { IntShape, Shape, StructShape } from "./machine.ts";
import { Machine, readInt, sizeOf } from "./machine.ts";
import type { St } from "./statements.ts";
import { runAll, Statements } from "./statements.ts";

export interface RandomProgram {
  /** Schemas, maps, globals and functions of its own. */
  readonly decls: readonly string[];
  /** Statements of an XDP program: reads `a.value` … `h.value`, writes `out<id>.value`. */
  readonly body: string;
  /** Globals that hold structs, by name. */
  readonly globals: readonly { readonly name: string; readonly shape: StructShape }[];
  readonly maps: readonly MapDecl[];
  readonly ring: { readonly name: string; readonly shape: StructShape } | undefined;
  /** The state before the first run. */
  readonly machine: () => Machine;
  /** Runs once: what the program returns. */
  readonly run: (m: Machine) => bigint;
  /** How many statements it has; the number of each may be given to `randomProgram` to leave it out. */
  readonly statements: number;
}

/** Program number `id` of its module, from `seed`. */
export function randomProgram(seed: number, id: number, without: ReadonlySet<number> = new Set()): RandomProgram {
  const g = new Statements(seed, 110);
  g.without = without;
  g.id = id;
  const globals: { name: string; shape: StructShape }[] = [];
  const initial: ((m: Machine) => void)[] = [];
  if (g.chance(65)) {
    for (let k = 1 + g.upTo(1); k >= 0; k--) g.struct();
    for (let k = g.upTo(1); k >= 0; k--) {
      const shape = g.pick(...g.structs);
      const name = `gs${id}_${k}`;
      g.decls.push(`export const ${name} = global(${shape.text}, ${zeros(shape)});`);
      globals.push({ name, shape });
      initial.push((m) => m.memory.set(name, { bytes: new Uint8Array(shape.size), off: 0 }));
      const root: Place = { text: `${name}.value`, shape, indexed: false, at: (m) => m.at(name) };
      g.roots = [...g.roots, root];
    }
  }
  const functions = g.chance(35) ? 1 + g.upTo(1) : 0;
  for (let k = 0; k < functions; k++) {
    const made = g.makeFunction(`f${id}_${k}`, 2, 1 + g.upTo(4));
    g.decls.push(made.text);
    g.callables = [...g.callables, made.callable];
  }
  const maps: MapDecl[] = [];
  if (g.chance(40)) {
    for (let k = g.upTo(1); k >= 0; k--) {
      const array = g.chance(40);
      const name = `m${id}_${k}`;
      const value: Shape =
        g.structs.length > 0 && g.chance(50)
          ? g.structs[0]!
          : g.pick(
              ...(
                [
                  ["u64", 64, "u"],
                  ["u32", 32, "u"],
                  ["s64", 64, "s"],
                  ["s32", 32, "s"],
                ] as const
              ).map(([text, bits, sign]) => ({ k: "int", text, bits, sign, be: false }) as const),
            );
      const length = array ? 3 : undefined;
      g.decls.push(
        `export const ${name} = ${array ? `arrayMap(${value.text}, 3)` : `hash(u32, ${value.text}, { maxEntries: 16 })`};`,
      );
      maps.push({ name, length, value });
      initial.push((m) => {
        const entries = new Map<bigint, Uint8Array>();
        for (let i = 0; i < (length ?? 0); i++) entries.set(BigInt(i), new Uint8Array(sizeOf(value)));
        m.maps.set(name, entries);
      });
    }
  }
  g.maps = maps;
  const ring = g.structs.length > 0 && g.chance(12) ? { name: `rb${id}`, shape: g.structs[0]! } : undefined;
  if (ring !== undefined) {
    g.decls.push(`export const ${ring.name} = ringbuf(${ring.shape.text}, { size: 4096 });`);
    g.ring = ring.name;
  }
  g.packets = true;
  g.budget = 20 + g.upTo(30);
  const list: St[] = [g.narrowStore(), g.narrowStore(), g.declareOne(2)];
  const count = 1 + g.upTo(5);
  for (let i = 0; i < count && g.budget > 0; i++) list.push(g.statement(3));
  const result = g.expr(g.sign(), 3);
  const numbers = [
    ...g.vars.map((v) => ({ text: v.name, run: (m: Machine) => m.get(v.name) })),
    ...g.flags.map((f) => ({ text: `(${f} ? u64(1) : u64(2))`, run: (m: Machine) => (m.get(f) === 0n ? 2n : 1n) })),
    ...g.roots
      .filter((r) => r.text.startsWith("st"))
      .flatMap((r) => leaves(r))
      .map(({ place }) => ({
        text: place.text,
        run: (m: Machine) => readInt(place.shape as IntShape, place.at(m)),
      })),
  ];
  const returned = g.value("u", 1);
  const body = [
    ...list.map((s) => s.text),
    `let result = u64(${result.text});`,
    ...numbers.map((n) => `result = (result * 31) ^ u64(${n.text});`),
    `out${id}.value = result;`,
    `return ${returned.text};`,
  ].join("\n  ");
  return {
    decls: g.decls,
    body,
    globals,
    maps,
    ring,
    statements: g.count,
    machine: () => {
      const m = new Machine();
      m.set("out", 1n);
      for (const i of initial) i(m);
      return m;
    },
    run: (m) => {
      const end = runAll(list, m);
      if (typeof end === "object" && "value" in end) return BigInt.asUintN(32, end.value);
      let r = BigInt.asUintN(64, result.run(m));
      for (const n of numbers) r = BigInt.asUintN(64, r * 31n) ^ BigInt.asUintN(64, n.run(m));
      m.set("out", r);
      return BigInt.asUintN(32, returned.run(m));
    },
  };
}

/** A literal of zeros. */
function zeros(s: Shape): string {
  switch (s.k) {
    case "int":
      return "0";
    case "bool":
      return "false";
    case "char":
      return '""';
    case "array":
      return "[]";
    default:
      return `{ ${(s.k === "union" ? s.fields.slice(0, 1) : s.fields).map((f) => `${f.name}: ${zeros(f.shape)}`).join(", ")} }`;
  }
}
