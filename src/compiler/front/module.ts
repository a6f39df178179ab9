/** What all functions of one module share while they are compiled. */
import type { GlobalHandle } from "../../probe/globals.ts";
import type { MapHandle } from "../../probe/map-types.ts";
import type { AnyProgram } from "../../probe/program-types.ts";
import { isHandle } from "../../probe/handle.ts";
import { isSchema } from "../../probe/schema.ts";
import { range } from "../../probe/range.ts";
import type { Capture } from "../capture/types.ts";
import type { Func, Slot } from "../ir/ir.ts";
import type { Ast, FunctionNode } from "./ast.ts";
import type { Fn } from "./context.ts";
import { Cover } from "./cover.ts";
import { constInt } from "./ops.ts";
import type { KernelTypes } from "./kernel.ts";
import { LocalTypes } from "./local-types.ts";
import { kernelMember, readKernel } from "./kernel-access.ts";
import { Reporter } from "./report.ts";
import type { FunctionSource } from "./source.ts";
import { Sections } from "./sections.ts";
import type { Arch, TracepointFormat } from "./targets.ts";
import type { Subprogram } from "./subprogram.ts";
import { intType, sizeOf } from "./types.ts";
import type { FunctionVal, KernelPlace, PlaceVal, Val } from "./value.ts";
import { ERROR } from "./value.ts";

export interface ModuleOptions {
  readonly kernel: KernelTypes | undefined;
  readonly arch: Arch;
  readonly littleEndian: boolean;
  readonly capture: Capture;
  readonly tracepointFormat: ((name: string) => TracepointFormat | undefined) | undefined;
  /** Names of handles: export keys, else what the caller knows. */
  readonly names: ReadonlyMap<object, string>;
  /** Put counters into the code. */
  readonly cover?: boolean | undefined;
}

export class ModuleContext {
  readonly options: ModuleOptions;
  readonly reporter = new Reporter();
  readonly locals = new LocalTypes();
  readonly cover: Cover | undefined;
  readonly sections: Sections;
  readonly kernel: KernelTypes | undefined;
  readonly arch: Arch;
  readonly littleEndian: boolean;
  /** Maps in order of appearance, with their names. */
  readonly maps = new Map<MapHandle, string>();
  /** Files that functions came from, with their text. */
  readonly sources = new Map<string, string>();
  /** What the source calls struct schemas that have no name of their own. */
  readonly schemaNames = new Map<object, string>();
  /** Per-CPU scratch memory by program. */
  readonly scratch = new Map<string, { readonly map: string; size: number; readonly slot: Slot }>();
  /** Subprograms of the program being compiled. */
  subprogs: Func[] = [];
  /** Names of the arguments of subprograms and callbacks, for BTF. */
  readonly paramNames = new Map<string, readonly string[]>();
  /** Calls of each function in the program being compiled, and the subprograms made of it. */
  readonly calls = new Map<FunctionNode, number>();
  readonly subprograms = new Map<FunctionNode, Map<string, Subprogram | null>>();
  readonly #identities = new Map<object, number>();
  readonly #functions = new Map<unknown, FunctionVal | undefined>();
  readonly #tables = new Map<string, number>();
  /** Numbers of texts that are values; the empty one is 0, as false as it is. */
  readonly #texts = new Map([["", 0]]);
  readonly #lines = new Map<string, string[]>();
  readonly #taken = new Set<string>();

  constructor(options: ModuleOptions) {
    this.options = options;
    this.kernel = options.kernel;
    this.arch = options.arch;
    this.littleEndian = options.littleEndian;
    for (const [value, name] of options.names) if (isSchema(value)) this.schemaNames.set(value, name);
    this.sections = new Sections(options.littleEndian);
    if (options.cover === true) this.cover = new Cover();
  }

  /** The name of a map in the object; `seen` is what the program calls it. */
  mapName(map: MapHandle, seen: string): string {
    let name = this.maps.get(map);
    if (name === undefined) {
      name = this.unique(map.name ?? this.options.names.get(map) ?? seen);
      this.maps.set(map, name);
    }
    return name;
  }

  /** Where a global is: its section's map and its offset in it. */
  global(handle: GlobalHandle, seen: string): { readonly map: string; readonly off: number } {
    return this.sections.place(handle, () => this.unique(handle.name ?? this.options.names.get(handle) ?? seen));
  }

  /** `name` as a C identifier that nothing else in the object has. */
  unique(name: string): string {
    const base = name.replace(/\W/g, "_").replace(/^(?=\d|$)/, "_");
    let unique = base;
    for (let i = 1; this.#taken.has(unique); i++) unique = `${base}_${i}`;
    this.#taken.add(unique);
    return unique;
  }

  /** A JavaScript value that exists when the program is compiled. */
  constant(fn: Fn, name: string, value: unknown, node: Ast): Val {
    switch (typeof value) {
      case "number":
      case "bigint":
        return constInt(fn, value, node);
      case "string":
      case "boolean":
      case "undefined":
        return { k: "js", value };
      case "function":
        if (isSchema(value)) return { k: "handle", name, value: value as object };
        if (value === range) return { k: "handle", name: "range", value };
        return this.functionOf(fn, name, value as (...args: never[]) => unknown, node) ?? ERROR;
      case "object":
        if (value === null) return { k: "js", value: null };
        return { k: "handle", name, value };
      default:
        return fn.report("BPF1015", node, {
          name,
          why: "a symbol has no meaning in a probe",
          instead: "use a number or string",
        });
    }
  }

  /** A number for an object, the same each time. */
  identity(value: object): number {
    let id = this.#identities.get(value);
    if (id === undefined) {
      id = this.#identities.size;
      this.#identities.set(value, id);
    }
    return id;
  }

  /** The number that stands for a text in a register. */
  textNumber(text: string): number {
    const known = this.#texts.get(text);
    if (known !== undefined) return known;
    this.#texts.set(text, this.#texts.size);
    return this.#texts.size - 1;
  }

  /** A new program: its subprograms are its own. */
  startProgram(): void {
    this.subprogs = [];
    this.calls.clear();
    this.subprograms.clear();
  }

  /** Learns the names of schemas from their declarations in a file that a captured function came from. */
  learnNames(source: FunctionSource): void {
    if (this.sources.has(source.file)) return;
    this.sources.set(source.file, source.text);
    for (const [, name] of source.text.matchAll(
      /\b(?:const|let)\s+(\w+)\s*=\s*(?:\w+\.)?(?:struct|packed|union|enumOf)\s*\(/g,
    )) {
      if (name === undefined) continue;
      const r = source.resolve(name, source.node);
      if (r.k === "value" && isSchema(r.value) && !this.schemaNames.has(r.value)) this.schemaNames.set(r.value, name);
    }
  }

  /** Text of a line (from 1) of a file that functions came from. */
  line(file: string, line: number): string {
    let lines = this.#lines.get(file);
    if (lines === undefined) {
      lines = (this.sources.get(file) ?? "").split("\n");
      this.#lines.set(file, lines);
    }
    return lines[line - 1] ?? "";
  }

  /** The source of a captured function; undefined when reported. */
  functionOf(fn: Fn, name: string, value: (...args: never[]) => unknown, node: Ast): FunctionVal | undefined {
    if (this.#functions.has(value)) return this.#functions.get(value);
    const captured = this.options.capture.capture(value);
    let result: FunctionVal | undefined;
    if (captured.ok) {
      this.learnNames(captured.fn);
      result = {
        k: "function",
        name: name === "" ? captured.fn.name : name,
        node: captured.fn.node,
        source: captured.fn,
        scope: undefined,
      };
    } else {
      const [first] = captured.diagnostics;
      fn.report("BPF1015", node, {
        name,
        why: first?.message ?? "its source is not known",
        instead: first?.help ?? "",
      });
    }
    this.#functions.set(value, result);
    return result;
  }

  /** A field of a kernel struct; undefined when `val` is no kernel struct. */
  kernelField(fn: Fn, val: Val, name: string, node: Ast): Val | undefined {
    return kernelMember(fn, val, name, node);
  }

  /** A captured array of integers as a read-only table. */
  integerTable(fn: Fn, values: readonly (number | bigint)[], name: string): PlaceVal {
    const wide = values.map((v) => BigInt(v));
    const signed = wide.some((v) => v < 0n);
    const bits =
      ([8, 16, 32, 64] as const).find((n) =>
        wide.every((v) => (signed ? BigInt.asIntN(n, v) : BigInt.asUintN(n, v)) === v),
      ) ?? 64;
    const key = `${signed}${bits}:${wide.join()}`;
    let off = this.#tables.get(key);
    if (off === undefined) {
      off = this.sections.table(wide, (bits / 8) as 1 | 2 | 4 | 8, this.unique(name));
      this.#tables.set(key, off);
    }
    const type = { k: "array" as const, element: intType(bits, signed), length: values.length };
    return {
      k: "place",
      type,
      base: fn.b.mapValue(".rodata", off),
      off: 0,
      space: "global",
      readonly: `the array ${name}`,
      invariant: true,
    };
  }

  /** A constant `type` of zeros. */
  zeros(fn: Fn, type: PlaceVal["type"]): PlaceVal {
    const words = Math.ceil(sizeOf(type) / 8);
    const key = `zeros:${words}`;
    let off = this.#tables.get(key);
    if (off === undefined) {
      off = this.sections.table(
        Array.from({ length: words }, () => 0n),
        8,
        this.unique("zeros"),
      );
      this.#tables.set(key, off);
    }
    const base = fn.b.mapValue(".rodata", off);
    return { k: "place", type, base, off: 0, space: "global", readonly: "a constant", invariant: true };
  }

  loadKernel(fn: Fn, place: KernelPlace, node: Ast): Val {
    return readKernel(fn, place, node);
  }
}

export function isMap(value: object): value is MapHandle {
  return isHandle(value) && value.kind === "map";
}
export function isGlobal(value: object): value is GlobalHandle {
  return isHandle(value) && value.kind === "global";
}
export function isProgram(value: object): value is AnyProgram {
  return isHandle(value) && value.kind === "program";
}

export type { FunctionNode };
