/** `simulate()`: a probe file's programs without a kernel. */
import { Btf } from "../btf/btf.ts";
import { closest } from "../core/edit-distance.ts";
import { ArgumentError, BpfkitError } from "../core/errors.ts";
import type { CollectionSpec, MapSpec } from "../elf/spec.ts";
import type { Schema } from "../probe/schema-types.ts";
import { type VariableValue, putVariable, valueOfText } from "../values/variables.ts";
import { Vm } from "../vm/vm.ts";
import { type Subject, compileProbe, isSpec, judge, relocated, subjectOfSpec } from "./compile-probe.ts";
import { type CoverageTotal, coverageTotals } from "./coverage.ts";
import { type TestKernel, testKernel } from "./kernel.ts";
import { type Mocks, vmMocks } from "./mocks.ts";
import { SimWorld } from "./sim-world.ts";
import { Simulation } from "./simulation.ts";
import { worldHelpers } from "./world/helpers.ts";
import type { KernelTypes } from "./world/types.ts";
import { shown } from "./world/values.ts";

export interface SimulateOptions {
  /**
   * Whose rules verify and whose types are relocated against: "6.1", "6.12" and "6.18" come with the package; "live" is
   * the running kernel; any version from "5.4" on with types of its own (`btf`), or without for programs that need none. Default "6.18".
   */
  readonly kernel?: string | KernelTypes;
  /** Types of the kernel instead of the packaged ones. */
  readonly btf?: Btf | Uint8Array;
  /** Values of `config()` constants and `global()` variables by name. */
  readonly config?: Readonly<Record<string, VariableValue>>;
  /** Run what the verifier rejects: in the interpreter, which finds what it does wrong. Default false. */
  readonly unverified?: boolean;
  /** Count what runs of the source. Default true, for modules that are verified. */
  readonly coverage?: boolean;
  /** "jit" (the default) compiles to WebAssembly; "interp" checks every access, and counts instructions. */
  readonly engine?: "jit" | "interp";
  /** Answers of helpers and kfuncs by name. */
  readonly mocks?: Mocks;
  /** Of `bpf.random()` and what else is random. Default 1. */
  readonly seed?: number;
  /** Possible CPUs. Default 1. */
  readonly cpus?: number;
  /** Nanoseconds since boot at the start. Default 1 s. */
  readonly now?: bigint;
  /** Instructions that one run may execute. Default 100,000,000. */
  readonly budget?: number;
  /** Name of the collection. Default "probe". */
  readonly name?: string;
  /** Default "GPL". */
  readonly license?: string;
}

/**
 * Compiles the programs of a module for a kernel, lets that kernel's rules verify them, and gives them a world to run in. No
 * privilege, no Linux needed. The same options give the same runs.
 *
 * @param module the namespace of a probe file, an object with handles, or what `readObject` gives
 * @throws CompileError for mistakes in the module
 * @throws RejectedError when the kernel's verifier says no, with the explanation
 * @throws NotSupportedError for a kernel whose types are needed and not there
 * @throws ArgumentError for options that make no sense
 * @example
 * import { XDP, percpuArray, u64, xdp } from "bpfkit";
 * import { simulate } from "bpfkit/testing";
 * const packets = percpuArray(u64, 1);
 * const count = xdp(() => {
 *   packets.add(0, 1);
 *   return XDP.PASS;
 * });
 * const sim = simulate({ packets, count }, { kernel: "6.1" });
 * sim.run(count, new Uint8Array(64)).returnValue === XDP.PASS;
 * sim.get(packets, 0); // [1n]
 */
export function simulate(module: object, options: SimulateOptions = {}): Simulation {
  if (typeof module !== "object" || module === null)
    throw new ArgumentError("module", `expected the namespace of a module, got ${shown(module)}`);
  checkOptions(options);
  const btf = options.btf instanceof Uint8Array ? Btf.parse(options.btf, { what: "btf" }) : options.btf;
  const kernel = testKernel(options.kernel, btf);
  const unverified = options.unverified ?? false;
  const coverage = options.coverage ?? !unverified;
  const subject = configured(subjectOf(module, kernel, coverage, options), options.config ?? {});
  const cpus = options.cpus ?? 1;
  const judged = judge(subject.spec, kernel, { madeFor: subject.madeFor, cpus, reject: !unverified });
  const running = subject.counted?.spec ?? subject.spec;
  const vm = new Vm(relocated(running, kernel, subject.madeFor), {
    engine: options.engine ?? (unverified ? "interp" : "jit"),
    world: {
      cpus,
      ...(options.seed === undefined ? {} : { seed: options.seed }),
      ...(options.now === undefined ? {} : { now: options.now }),
    },
    mocks: {
      ...(kernel.types === undefined ? {} : worldHelpers(() => world.kernel)),
      ...vmMocks(options.mocks ?? {}, () => (kernel.types === undefined ? undefined : world.objects)),
    },
    ...(options.budget === undefined ? {} : { budget: options.budget }),
  });
  const world = new SimWorld(vm, kernel);
  return new Simulation({
    kernel: kernel.name,
    subject,
    verdicts: new Map([...judged].map(([name, { verdict }]) => [name, verdict])),
    vm,
    world,
    total: totalOf(subject),
  });
}

const INTEGER = ["an integer", (v: unknown) => Number.isSafeInteger(v)] as const;
const COUNT = ["an integer from 1 on", (v: unknown) => Number.isSafeInteger(v) && (v as number) > 0] as const;
const BOOLEAN = ["true or false", (v: unknown) => typeof v === "boolean"] as const;
const TEXT = ["text", (v: unknown) => typeof v === "string"] as const;
const VALUES = [
  "an object with values by name",
  (v: unknown) => typeof v === "object" && v !== null && !Array.isArray(v),
] as const;

const OPTIONS: Readonly<Record<keyof SimulateOptions, readonly [expected: string, fits: (value: unknown) => boolean]>> =
  {
    // `testKernel` says what is wrong with it.
    kernel: ["", () => true],
    btf: ["a Btf or its bytes", (v) => v instanceof Btf || v instanceof Uint8Array],
    config: VALUES,
    unverified: BOOLEAN,
    coverage: BOOLEAN,
    engine: ['"jit" or "interp"', (v) => v === "jit" || v === "interp"],
    mocks: VALUES,
    seed: INTEGER,
    cpus: COUNT,
    now: ["nanoseconds as a bigint from 0 on", (v) => typeof v === "bigint" && v >= 0n && v < 1n << 63n],
    budget: COUNT,
    name: TEXT,
    license: TEXT,
  };

function checkOptions(options: SimulateOptions): void {
  if (typeof options !== "object" || options === null)
    throw new ArgumentError("options", `expected an object, got ${shown(options)}`);
  for (const [name, value] of Object.entries(options)) {
    if (!Object.hasOwn(OPTIONS, name)) {
      const near = closest(name, Object.keys(OPTIONS));
      throw new ArgumentError(
        `options.${name}`,
        `there is no such option${near === undefined ? `: there are ${Object.keys(OPTIONS).join(", ")}` : `; did you mean ${near}?`}`,
      );
    }
    const [expected, fits] = OPTIONS[name as keyof SimulateOptions];
    if (value !== undefined && !fits(value))
      throw new ArgumentError(`options.${name}`, `expected ${expected}, got ${shown(value)}`);
  }
}

function subjectOf(module: object, kernel: TestKernel, coverage: boolean, options: SimulateOptions): Subject {
  if (isSpec(module))
    return subjectOfSpec(module, module.btf === undefined ? undefined : Btf.parse(module.btf, { what: module.name }));
  return compileProbe(module as Readonly<Record<string, unknown>>, kernel, {
    name: options.name ?? "probe",
    license: options.license,
    coverage,
  });
}

/** The subject with other constants and initial values. */
function configured(subject: Subject, config: Readonly<Record<string, VariableValue>>): Subject {
  const names = Object.keys(config);
  if (names.length === 0) return subject;
  const known = subject.spec.maps.flatMap((m) => m.variables.map((v) => v.name));
  for (const name of names) {
    if (!known.includes(name)) {
      throw new BpfkitError(
        "CONFIG",
        `there is no global variable ${name} to set; there are ${known.filter((n) => !n.startsWith("__")).join(", ") || "none"}`,
      );
    }
  }
  const set = (spec: CollectionSpec): CollectionSpec => ({
    ...spec,
    maps: spec.maps.map((map) => withValues(map, config, subject.globals)),
  });
  return {
    ...subject,
    spec: set(subject.spec),
    counted: subject.counted === undefined ? undefined : { ...subject.counted, spec: set(subject.counted.spec) },
  };
}

function withValues(
  map: MapSpec,
  config: Readonly<Record<string, VariableValue>>,
  globals: ReadonlyMap<string, Schema>,
): MapSpec {
  const given = map.variables.filter((v) => config[v.name] !== undefined);
  if (given.length === 0) return map;
  const data = map.data?.slice() ?? new Uint8Array(map.valueSize);
  for (const variable of given) {
    const value = config[variable.name]!;
    putVariable(
      data,
      variable,
      typeof value === "string" ? valueOfText(variable.name, value, globals.get(variable.name)) : value,
    );
  }
  return { ...map, data };
}

/** Counters of a compiled module over all its simulations; by its table, which is made once. */
const totals = new WeakMap<object, CoverageTotal>();

function totalOf({ counted, spec }: Subject): CoverageTotal | undefined {
  if (counted === undefined) return undefined;
  let total = totals.get(counted.table);
  if (total === undefined) {
    total = { table: counted.table, counters: new Float64Array(counted.table.counters), sources: spec.sources };
    totals.set(counted.table, total);
    coverageTotals().push(total);
  }
  return total;
}
