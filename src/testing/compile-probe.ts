/** From a module's namespace to programs for one kernel: compiled, relocated, verified. */
import { Btf } from "../btf/btf.ts";
import { type CompileInput, type CompileResult, compile } from "../compiler/compile.ts";
import type { CoverTable } from "../compiler/front/cover.ts";
import { createCapture } from "../compiler/capture/capture.ts";
import { ArgumentError, BpfkitError, DiagnosticError } from "../core/errors.ts";
import { CoreResolver } from "../btf/core.ts";
import { LoadMaker, type MadeLoad } from "../elf/prog-loads.ts";
import type { CollectionSpec, MapSpec } from "../elf/spec.ts";
import { nodeCaptureHost } from "../host/capture-host.ts";
import { loadedModules } from "../host/loaded-modules.ts";
import type { MapHandle } from "../probe/map-types.ts";
import type { AnyProgram } from "../probe/program-types.ts";
import type { Schema } from "../probe/schema-types.ts";
import { schemaOfSize } from "../values/btf-schema.ts";
import { explain } from "../verifier/explain/explain.ts";
import { type Verdict, verify } from "../verifier/verify.ts";
import { CompileError, RejectedError } from "./errors.ts";
import type { TestKernel } from "./kernel.ts";

/** What a simulation is made of, whichever way it came. */
export interface Subject {
  /** The programs that are verified. */
  readonly spec: CollectionSpec;
  /** The same with counters in them, to run; undefined for objects. */
  readonly counted: { readonly spec: CollectionSpec; readonly table: CoverTable } | undefined;
  readonly schemas: ReadonlyMap<string, { readonly key: Schema | undefined; readonly value: Schema | undefined }>;
  readonly globals: ReadonlyMap<string, Schema>;
  /** Maps, globals and programs by handle. */
  readonly names: ReadonlyMap<object, string>;
  readonly handles: ReadonlyMap<string, MapHandle>;
  /** Kernel types that it was compiled with. */
  readonly madeFor: Btf | undefined;
}

type Exports = Readonly<Record<string, unknown>>;

/** Compiled once for each kernel: a namespace does not change, and what a program captures of it is constant. */
const compiled = new WeakMap<object, Map<string, Subject>>();

export interface ProbeOptions {
  readonly name: string;
  readonly license: string | undefined;
  readonly coverage: boolean;
}

/** Is it what `readObject` gives? */
export function isSpec(value: object): value is CollectionSpec {
  const { progs, maps, endian } = value as Partial<CollectionSpec>;
  return Array.isArray(progs) && Array.isArray(maps) && typeof endian === "string";
}

/**
 * @throws CompileError with every mistake of the module
 * @throws ArgumentError when it exports no program
 */
export function compileProbe(exports: Exports, kernel: TestKernel, options: ProbeOptions): Subject {
  const { name, license, coverage } = options;
  const key = JSON.stringify([kernel.name, name, license, coverage]);
  const known = kernel.types === undefined || isNamespace(exports) ? compiled.get(exports) : undefined;
  const found = known?.get(key);
  if (found !== undefined && found.madeFor === kernel.types?.btf) return found;
  const subject = compileAnew(exports, kernel, options);
  if (isNamespace(exports)) {
    if (known === undefined) compiled.set(exports, new Map([[key, subject]]));
    else known.set(key, subject);
  }
  return subject;
}

/** Of a plain object other exports may be there the next time. */
function isNamespace(exports: Exports): boolean {
  return (exports as { readonly [Symbol.toStringTag]?: unknown })[Symbol.toStringTag] === "Module";
}

function compileAnew(exports: Exports, kernel: TestKernel, { name, license, coverage }: ProbeOptions): Subject {
  const input: CompileInput = {
    name,
    exports,
    capture: createCapture(nodeCaptureHost(loadedModules())),
    ...(kernel.types === undefined ? {} : { btf: kernel.types.btf }),
    tracepointFormat: (event) => kernel.types?.tracepointFormat(event),
    arch: "x64",
    ...(license === undefined ? {} : { license }),
  };
  const result = compiledOrReported(input);
  if (result.programs.size === 0) {
    throw new ArgumentError(
      "module",
      "it exports no program: give the namespace of a probe file (`import * as probe from …`), or an object with handles",
    );
  }
  const covered = coverage ? compiledOrReported({ ...input, cover: true }) : undefined;
  const names = new Map<object, string>();
  const handles = new Map<string, MapHandle>();
  for (const [map, { handle }] of result.schemas) {
    names.set(handle, map);
    handles.set(map, handle);
  }
  for (const [variable, handle] of result.globals) names.set(handle, variable);
  for (const [program, handle] of result.programs) names.set(handle, program);
  return {
    spec: result.spec,
    counted: covered?.cover === undefined ? undefined : { spec: covered.spec, table: covered.cover },
    schemas: result.schemas,
    globals: new Map([...result.globals].map(([variable, { schema }]) => [variable, schema])),
    names,
    handles,
    madeFor: kernel.types?.btf,
  };
}

function compiledOrReported(input: CompileInput): CompileResult {
  try {
    return compile(input);
  } catch (error) {
    if (!(error instanceof DiagnosticError)) throw error;
    throw new CompileError(error, `${input.name} cannot be compiled`, sourcesOf(error, input));
  }
}

/** Texts of the files that the diagnostics are about. */
function sourcesOf(error: DiagnosticError, input: CompileInput): ReadonlyMap<string, string> {
  const sources = new Map<string, string>();
  for (const value of Object.values(input.exports)) {
    if (typeof value !== "object" || value === null || (value as AnyProgram).kind !== "program") continue;
    const captured = input.capture.capture((value as AnyProgram).fn, (value as AnyProgram).site);
    if (captured.ok) sources.set(captured.fn.file, captured.fn.text);
  }
  return new Map(
    error.diagnostics.flatMap((d) =>
      d.labels.flatMap(({ span }) => {
        const text = sources.get(span.file);
        return text === undefined ? [] : [[span.file, text] as const];
      }),
    ),
  );
}

/** An object that another compiler made. What its BTF does not describe is bytes. */
export function subjectOfSpec(spec: CollectionSpec, local: Btf | undefined): Subject {
  const globals = new Map<string, Schema>();
  for (const variable of spec.maps.flatMap((m) => m.variables)) {
    const schema = schemaOfSize(local, variable.btfTypeId, variable.size);
    if (schema !== undefined) globals.set(variable.name, schema);
  }
  return {
    spec,
    counted: undefined,
    schemas: new Map(
      spec.maps.map((m) => [
        m.name,
        {
          key: schemaOfSize(local, m.btfKeyTypeId, m.keySize),
          value: schemaOfSize(local, m.btfValueTypeId, m.valueSize),
        },
      ]),
    ),
    globals,
    names: new Map(),
    handles: new Map(),
    madeFor: undefined,
  };
}

export interface Judged {
  readonly made: MadeLoad;
  readonly verdict: Verdict;
}

/**
 * Every program, as the kernel would judge it. `reject` false: rejections are left to the caller.
 *
 * @throws RejectedError for the first program that is rejected, with the explanation
 * @throws CompileError code "CORE" when the kernel's types do not fit
 */
export function judge(
  spec: CollectionSpec,
  kernel: TestKernel,
  options: {
    readonly madeFor: Btf | undefined;
    readonly cpus: number;
    readonly reject: boolean;
  },
): ReadonlyMap<string, Judged> {
  const maker = new LoadMaker(spec, {
    vmlinux: kernel.types?.btf ?? null,
    madeFor: options.madeFor,
    possibleCpus: options.cpus,
    data: (map: MapSpec) => map.data,
  });
  const judged = new Map<string, Judged>();
  for (const prog of spec.progs) {
    if (!prog.autoload) continue;
    const made = makeLoad(maker, prog, spec);
    const verdict = verify(made.load, { logLevel: 0, kernel: kernel.rules });
    judged.set(prog.name, { made, verdict });
    if (verdict.verdict === "reject" && options.reject) {
      const explanation = explain(made.load, { lines: prog.lines, poisoned: made.poisoned, kernel: kernel.rules });
      throw new RejectedError(
        prog.name,
        kernel.name,
        explanation?.verdict ?? verdict,
        explanation === null ? [] : [explanation.diagnostic],
        spec.sources,
      );
    }
  }
  return judged;
}

function makeLoad(maker: LoadMaker, prog: CollectionSpec["progs"][number], spec: CollectionSpec): MadeLoad {
  try {
    return maker.make(prog);
  } catch (error) {
    if (error instanceof DiagnosticError) {
      throw new CompileError(error, `${prog.name} does not fit this kernel`, spec.sources);
    }
    if (error instanceof BpfkitError && error.code === "NO_KERNEL_BTF") {
      throw new BpfkitError(
        error.code,
        `program ${prog.name} needs kernel types: choose a kernel that comes with the package (6.1, 6.12, 6.18), or give its BTF as \`btf\``,
        { cause: error },
      );
    }
    throw error;
  }
}

const resolvers = new WeakMap<Btf, CoreResolver>();

/** The same collection with its CO-RE accesses as the kernel's types have them: what a VM runs. */
export function relocated(spec: CollectionSpec, kernel: TestKernel, madeFor: Btf | undefined): CollectionSpec {
  if (spec.btf === undefined || kernel.types === undefined || spec.progs.every((p) => p.coreRelos.length === 0))
    return spec;
  const { btf } = kernel.types;
  let resolver = resolvers.get(btf);
  if (resolver === undefined) resolvers.set(btf, (resolver = new CoreResolver([btf])));
  const local = Btf.parse(spec.btf, { what: `${spec.name} BTF` });
  if (madeFor === btf) resolver.madeFrom(local);
  return {
    ...spec,
    progs: spec.progs.map((prog) => {
      if (prog.coreRelos.length === 0) return prog;
      return {
        ...prog,
        insns: resolver.relocate({ insns: prog.insns, relos: prog.coreRelos, local }).insns,
        coreRelos: [],
      };
    }),
  };
}
