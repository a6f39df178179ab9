/** Random programs in batches: one module, loaded once, each program run with several inputs and compared. */
import { Choices } from "./choices.ts";
import { INPUTS } from "./expressions.ts";
import { decode } from "./machine.ts";
import type { RandomProgram } from "./program.ts";
import { randomProgram } from "./program.ts";
import { NARROW } from "./statements.ts";
import type { Collection } from "../../../src/load/index.ts";
import type { Target } from "../../../src/compiler/codegen/index.ts";
import { loaded } from "../compile-text.ts";

/** Programs in one module: loading is most of the cost. */
export const BATCH = 16;
/** Runs of each program; what its globals and maps hold goes on from one to the next. */
const RUNS = 3;
const PACKET = 64;

export interface Report {
  /** Programs that were compared. */
  ran: number;
  /** Programs that the verifier gave up on, or that need too much stack: they say nothing. */
  dropped: number;
}

interface Input {
  readonly values: Readonly<Record<string, bigint>>;
  readonly packet: Uint8Array;
}
function randomInput(c: Choices): Input {
  const values: Record<string, bigint> = { lim: BigInt(c.upTo(4)) };
  for (const [name, , bits, sign] of INPUTS) {
    const min = sign === "s" ? -(1n << BigInt(bits - 1)) : 0n;
    const max = (1n << BigInt(sign === "s" ? bits - 1 : bits)) - 1n;
    const any = sign === "u" ? BigInt.asUintN(bits, c.wide()) : BigInt.asIntN(bits, c.wide());
    values[name] = c.chance(60) ? any : c.pick(min, max, 0n, 1n, 2n, min + 1n, max - 1n, max >> 1n);
  }
  return { values, packet: Uint8Array.from({ length: PACKET }, () => (c.chance(30) ? 0 : c.upTo(255))) };
}

const TARGETS: readonly (Target & { level: 0 | 1 | 2 })[] = [
  { isa: 3, endian: "little", level: 2 },
  { isa: 3, endian: "little", level: 2 },
  { isa: 3, endian: "little", level: 2 },
  { isa: 4, endian: "little", level: 2 },
  { isa: 4, endian: "little", level: 2 },
  { isa: 2, endian: "little", level: 2 },
  { isa: 1, endian: "little", level: 2 },
  { isa: 3, endian: "little", level: 0 },
];

function source(programs: readonly (readonly [number, RandomProgram])[]): string {
  return [
    'import { array, arrayMap, be16, be32, be64, bool, char, global, hash, packed, range, ringbuf, s8, s16, s32, s64, struct, u16, u32, u64, u8, union, xdp } from "bpfkit";',
    ...INPUTS.map(([name, schema]) => `export const ${name} = global(${schema}, 1n);`),
    "export const lim = global(u32, 1n);",
    ...NARROW.map((s, i) => `export const n${i} = global(${s.text}, 0);`),
    ...programs.flatMap(([id, p]) => [
      ...p.decls,
      `export const out${id} = global(u64, 1n);`,
      `export const p${id} = xdp((ctx) => {\n  ${p.body}\n});`,
    ]),
  ].join("\n");
}

/** Runs the programs of `seed`; throws with the shrunk text of one that computes something else. */
export function runBatch(seed: number, report: Report, maxIsa: Target["isa"] = 4): void {
  const c = new Choices(seed);
  const options = c.pick(...TARGETS.filter((t) => t.isa <= maxIsa));
  const seeds = Array.from({ length: BATCH }, () => c.bits());
  const inputs = Array.from({ length: RUNS }, () => randomInput(c));
  let programs = seeds.map((s, id) => [id, randomProgram(s, id)] as const);
  while (programs.length > 0) {
    const outcome = runPrograms(programs, inputs, options);
    if (outcome === undefined) {
      report.ran += programs.length;
      return;
    }
    const { message } = outcome;
    const id = outcome.id ?? programs.find((p) => runPrograms([p], inputs, options) !== undefined)?.[0];
    if (outcome.id !== undefined && TOO_MUCH.test(message)) {
      report.dropped++;
      programs = programs.filter((p) => p[0] !== outcome.id);
      continue;
    }
    const where = `seed ${seed}, v${options.isa}, level ${options.level}`;
    throw new Error(`${where}: ${id === undefined ? message : shrink(seeds[id]!, id, inputs, options, message)}`);
  }
}
const TOO_MUCH = /too large|too complex|STACK_TOO_LARGE|bytes of stack|BPF5001/;

interface Outcome {
  /** The program that fails, when it is known. */
  readonly id: number | undefined;
  readonly message: string;
}
type Programs = readonly (readonly [number, RandomProgram])[];

/** undefined when all programs compute what they must. */
function runPrograms(
  programs: Programs,
  inputs: readonly Input[],
  { level, ...target }: Target & { level: 0 | 1 | 2 },
): Outcome | undefined {
  const text = source(programs);
  let collection: Collection;
  try {
    collection = loaded(text, { target, optLevel: level });
  } catch (error) {
    const { message, log } = error as Error & { log?: string };
    const name = /program p(\d+)/.exec(message)?.[1] ?? /\bp(\d+)\S* (?:and|needs)/.exec(message)?.[1];
    const tail = log?.split("\n").slice(-30).join("\n") ?? "";
    return { id: name === undefined ? undefined : Number(name), message: `${message}\n${tail}\n${text}` };
  }
  try {
    for (const [id, p] of programs) {
      const message = compare(collection, id, p, inputs);
      if (message !== undefined) return { id, message };
    }
    return undefined;
  } finally {
    collection.close();
  }
}

/** Leaves out statements as long as the program still fails: the message of what is left. */
function shrink(
  seed: number,
  id: number,
  inputs: readonly Input[],
  options: Target & { level: 0 | 1 | 2 },
  message: string,
): string {
  const kind = (m: string): string =>
    / is .*, expected /.test(m)
      ? "wrong"
      : (/BPF\d{4}/.exec(m)?.[0] ?? /^[^\n]{0,40}/.exec(m)?.[0].replace(/\d+/g, "") ?? "");
  let best = message;
  let without: ReadonlySet<number> = new Set();
  for (let again = true; again;) {
    again = false;
    for (let k = randomProgram(seed, id).statements - 1; k >= 0; k--) {
      if (without.has(k)) continue;
      const fewer = new Set([...without, k]);
      const outcome = runPrograms([[id, randomProgram(seed, id, fewer)]], inputs, options);
      if (outcome === undefined || kind(outcome.message) !== kind(message)) continue;
      without = fewer;
      best = outcome.message;
      again = true;
    }
  }
  return best;
}

const show = (v: unknown): string => JSON.stringify(v, (_, x: unknown) => (typeof x === "bigint" ? `${x}n` : x));

function compare(c: Collection, id: number, p: RandomProgram, inputs: readonly Input[]): string | undefined {
  const m = p.machine();
  const prog = c.prog(`p${id}`);
  for (const [run, { values, packet }] of inputs.entries()) {
    let wrong: string | undefined;
    const check = (what: string, got: unknown, expected: unknown): void => {
      if (wrong !== undefined || show(got) === show(expected)) return;
      wrong = `program p${id}, run ${run}: ${what} is ${show(got)}, expected ${show(expected)}\ninputs ${show(values)}\n${[...p.decls, p.body].join("\n")}`;
    };
    for (const [name, v] of Object.entries(values)) {
      const bits = name === "lim" ? 32 : INPUTS.find(([n]) => n === name)![2];
      c.variable(name).value = bits === 64 ? v : Number(v);
      m.set(name, v);
    }
    m.packet = packet.slice();
    m.samples = [];
    const result = prog.testRun({ data: packet });
    const returned = p.run(m);
    check("the result", c.variable<bigint>(`out${id}`).value, m.get("out"));
    check("what it returns", result.returnValue, Number(returned));
    check("the packet", Array.from(result.data ?? []), Array.from(m.packet));
    for (const { name, shape } of p.globals) check(name, c.variable(name).value, decode(shape, m.at(name)));
    for (const { name, value } of p.maps) {
      const got = c
        .map<number>(name)
        .toArray()
        .sort((x, y) => x[0] - y[0]);
      const expected = [...m.map(name)].map(([k, bytes]) => [Number(k), decode(value, { bytes, off: 0 })] as const);
      check(
        name,
        got,
        expected.sort((x, y) => x[0] - y[0]),
      );
    }
    if (p.ring !== undefined) {
      const samples: unknown[] = [];
      c.events(p.ring.name).drain((s) => void samples.push(s));
      const { shape } = p.ring;
      check(
        p.ring.name,
        samples,
        m.samples.map((s) => decode(shape, s)),
      );
    }
    if (wrong !== undefined) return wrong;
  }
  return undefined;
}
