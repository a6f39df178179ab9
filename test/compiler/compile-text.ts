/** Compiles a module given as text, as `bpfkit run` would: types blanked, names resolved by a thunk. */
import { readFileSync } from "node:fs";
import { runInThisContext } from "node:vm";
import { Btf } from "../../src/btf/index.ts";
import type { Diagnostic } from "../../src/core/diagnostic.ts";
import type { CaptureHost, LoadedModule } from "../../src/compiler/capture/types.ts";
import { createCapture } from "../../src/compiler/capture/index.ts";
import { type CompileInput, type CompileResult, tryCompile } from "../../src/compiler/compile.ts";
import { blankTypes } from "../../src/compiler/syntax/blank.ts";
import { parseModule } from "../../src/compiler/syntax/parse.ts";
import * as probe from "../../src/probe/index.ts";
import type { Collection, LoadOptions } from "../../src/load/index.ts";
import { load } from "../../src/load/index.ts";
import { parseTracepointFormat } from "../../src/syscall/index.ts";
import { disassemble } from "../../src/asm/index.ts";

const URL = "file:///t/probe.ts";

export interface TextModule {
  readonly exports: Readonly<Record<string, unknown>>;
  readonly host: CaptureHost;
}

/** Runs `text`. It imports from "bpfkit" only, on its first line; declarations may be exported. */
export function runText(text: string): TextModule {
  const parsed = parseModule(text, "probe.ts");
  if (!parsed.ok) throw new Error(parsed.diagnostic.message);
  const blanked = blankTypes(text, parsed.node, "probe.ts");
  if (!blanked.ok) throw new Error(blanked.diagnostics[0]?.message ?? "not blanked");
  const names: string[] = [];
  const code = blanked.code
    .replace(/^import \{([^}]*)\} from "bpfkit";/m, (_, list: string) => `const {${list}} = __probe;     `)
    .replace(/^export (const|let|function) (\w+)/gm, (_, kind: string, name: string) => {
      names.push(name);
      return `       ${kind} ${name}`;
    });
  const wrapped = `(function (__probe) {\n${code}\nreturn { exports: { ${names.join(", ")} }, lookup: (__name) => { try { return { value: eval(__name) }; } catch (e) { if (e instanceof ReferenceError && /is not defined/.test(e.message)) return undefined; throw e; } } };\n})`;
  const run = runInThisContext(wrapped, { filename: URL, lineOffset: -1 }) as (p: typeof probe) => {
    exports: Record<string, unknown>;
    lookup: LoadedModule["lookup"];
  };
  const { exports, lookup } = run(probe);
  const module: LoadedModule = { url: URL, text, code, lookup };
  const host: CaptureHost = {
    module: (url) => (url === URL ? module : undefined),
    modules: () => [module],
    readText: (url) => (url === URL ? text : undefined),
    sourceMap: () => undefined,
    displayPath: () => "probe.ts",
    inspector: undefined,
  };
  return { exports, host };
}

let vmlinux: Btf | undefined;
/** Types of the running kernel. */
export function runningBtf(): Btf {
  vmlinux ??= Btf.parse(readFileSync("/sys/kernel/btf/vmlinux"));
  return vmlinux;
}

/** Formats that the tests use, so that they need no privilege. */
const FORMATS: Readonly<Record<string, string>> = {
  "syscalls:sys_enter_openat":
    'name: sys_enter_openat\nID: 1\nformat:\n\tfield:unsigned short common_type;\toffset:0;\tsize:2;\tsigned:0;\n\tfield:unsigned char common_flags;\toffset:2;\tsize:1;\tsigned:0;\n\tfield:unsigned char common_preempt_count;\toffset:3;\tsize:1;\tsigned:0;\n\tfield:int common_pid;\toffset:4;\tsize:4;\tsigned:1;\n\n\tfield:int __syscall_nr;\toffset:8;\tsize:4;\tsigned:1;\n\tfield:int dfd;\toffset:16;\tsize:8;\tsigned:0;\n\tfield:const char * filename;\toffset:24;\tsize:8;\tsigned:0;\n\tfield:int flags;\toffset:32;\tsize:8;\tsigned:0;\n\tfield:umode_t mode;\toffset:40;\tsize:8;\tsigned:0;\n\nprint fmt: ""\n',
  "syscalls:sys_exit_openat":
    'name: sys_exit_openat\nID: 2\nformat:\n\tfield:unsigned short common_type;\toffset:0;\tsize:2;\tsigned:0;\n\tfield:unsigned char common_flags;\toffset:2;\tsize:1;\tsigned:0;\n\tfield:unsigned char common_preempt_count;\toffset:3;\tsize:1;\tsigned:0;\n\tfield:int common_pid;\toffset:4;\tsize:4;\tsigned:1;\n\n\tfield:int __syscall_nr;\toffset:8;\tsize:4;\tsigned:1;\n\tfield:long ret;\toffset:16;\tsize:8;\tsigned:1;\n\nprint fmt: ""\n',
  "sched:sched_process_exec":
    'name: sched_process_exec\nID: 3\nformat:\n\tfield:unsigned short common_type;\toffset:0;\tsize:2;\tsigned:0;\n\tfield:unsigned char common_flags;\toffset:2;\tsize:1;\tsigned:0;\n\tfield:unsigned char common_preempt_count;\toffset:3;\tsize:1;\tsigned:0;\n\tfield:int common_pid;\toffset:4;\tsize:4;\tsigned:1;\n\n\tfield:__data_loc char[] filename;\toffset:8;\tsize:4;\tsigned:0;\n\tfield:pid_t pid;\toffset:12;\tsize:4;\tsigned:1;\n\tfield:pid_t old_pid;\toffset:16;\tsize:4;\tsigned:1;\n\nprint fmt: ""\n',
};

export type TextOptions = Partial<Omit<CompileInput, "exports" | "capture">>;

export function compileText(
  text: string,
  options: TextOptions = {},
): { result: CompileResult | undefined; diagnostics: readonly Diagnostic[] } {
  const { exports, host } = runText(text);
  return tryCompile({
    name: "probe",
    exports,
    capture: createCapture(host),
    tracepointFormat: (name) => {
      const format = FORMATS[name];
      return format === undefined ? undefined : parseTracepointFormat(format);
    },
    ...options,
  });
}

/** Compiles what must compile. */
export function compiled(text: string, options: TextOptions = {}): CompileResult {
  const { result, diagnostics } = compileText(text, options);
  if (result === undefined) throw new Error(`does not compile:\n${show(diagnostics)}`);
  return result;
}

/** Compiles, loads and gives the collection. */
export function loaded(text: string, options: TextOptions & { config?: LoadOptions["config"] } = {}): Collection {
  const result = compiled(text, options);
  const globals = new Map([...result.globals].map(([name, handle]) => [name, handle.schema]));
  const schemas = new Map(
    [...result.schemas].map(([name, s]) => [
      name,
      { ...(s.key === undefined ? {} : { key: s.key }), ...(s.value === undefined ? {} : { value: s.value }) },
    ]),
  );
  return load(result.spec, { schemas, globals, ...(options.config === undefined ? {} : { config: options.config }) });
}

/** Each diagnostic in one line: code, place, message, what is underlined, notes and help below. */
export function show(diagnostics: readonly Diagnostic[], text?: string): string {
  return diagnostics
    .map((d) => {
      const span = d.labels[0]?.span;
      const line = span === undefined ? undefined : text?.split("\n")[span.line - 1];
      const under =
        span === undefined || line === undefined
          ? ""
          : ` «${line.slice(span.col - 1, span.endLine === span.line ? span.endCol - 1 : undefined)}»`;
      return [
        `${d.code} ${span?.line ?? 0}:${span?.col ?? 0}${under} ${d.message}`,
        ...d.notes.map((n) => `  note: ${n}`),
        ...(d.help === undefined ? [] : [`  help: ${d.help}`]),
      ].join("\n");
    })
    .join("\n");
}

/** The instructions of program `name` (the first one by default) as text. */
export function listing(result: CompileResult, name?: string): string {
  const prog = name === undefined ? result.spec.progs[0] : result.spec.progs.find((p) => p.name === name);
  return disassemble(prog?.insns ?? []);
}
