/** Fills in what is only known at load: map descriptors, kernel functions and variables, CO-RE offsets. */
import type { Insn } from "../asm/insn.ts";
import type { Btf } from "../btf/btf.ts";
import type { CoreResolver, CoreResult } from "../btf/core.ts";
import type { Diagnostic } from "../core/diagnostic.ts";
import { BpfkitError, DiagnosticError } from "../core/errors.ts";
import { lineAt } from "./lines.ts";
import type { InsnRef, ProgSpec } from "./spec.ts";

/** Source register of ld_imm64 and calls: what `imm` means. */
const PSEUDO = { MAP_FD: 1, MAP_VALUE: 2, BTF_ID: 3, FUNC: 4, KFUNC_CALL: 2 } as const;
/** A call of a helper that does not exist: loads only where it is never reached (libbpf uses a number like this too). */
const POISONED_CALL = 0x0bad_f0ec;

/** The kernel's types, as far as fix-ups need them. */
export interface TargetTypes {
  /** CO-RE candidates. */
  readonly resolver: CoreResolver;
  /** The first type with this name and kind: in vmlinux (`module` undefined), else in a module. */
  find(
    name: string,
    kind: "func" | "typedef" | "var" | "struct",
  ): { readonly id: number; readonly module: string | undefined } | undefined;
}

export interface FixupContext {
  /** What a ld_imm64 of the map holds: its fd, or its index in a capture. */
  mapFd(name: string): number;
  /** The kernel's types; throws where there are none. */
  kernelBtf(): TargetTypes;
  /** The collection's own BTF. */
  localBtf(): Btf;
  /** Address of an untyped kernel symbol. */
  symbolAddress(name: string): bigint | undefined;
  /** BTF fd of a module (or its index in a capture); undefined when the module is gone. */
  moduleFd(module: string): number | undefined;
  note(text: string): void;
}

export interface Fixed {
  readonly insns: readonly Insn[];
  /** Modules that kfunc calls refer to, in the order of their index in fd_array, from 1. */
  readonly modules: readonly string[];
  /** Why instructions were poisoned: what to say when the verifier reaches one. */
  readonly poisoned: ReadonlyMap<number, Diagnostic>;
}

/** The program's instructions as this kernel takes them. Throws `DiagnosticError` for CO-RE, code "KSYM" for kernel symbols. */
export function fixup(prog: ProgSpec, context: FixupContext): Fixed {
  let insns: Insn[];
  const poisoned = new Map<number, Diagnostic>();
  if (prog.coreRelos.length > 0) {
    const { resolver } = context.kernelBtf();
    const relocated = resolver.relocate({ insns: prog.insns, relos: prog.coreRelos, local: context.localBtf() });
    reportCore(prog, relocated.results, context, poisoned);
    insns = relocated.insns;
  } else {
    insns = [...prog.insns];
  }
  const modules: string[] = [];
  for (const ref of prog.refs) applyRef(prog, insns, ref, context, modules);
  return { insns, modules, poisoned };
}

function reportCore(
  prog: ProgSpec,
  results: readonly CoreResult[],
  context: FixupContext,
  poisoned: Map<number, Diagnostic>,
): void {
  const errors: Diagnostic[] = [];
  for (const result of results) {
    if (result.status === "ok" || result.diagnostic === undefined) continue;
    const line = lineAt(prog.lines, result.relo.insn);
    const span =
      line?.span ??
      (line === undefined
        ? undefined
        : {
            file: line.file,
            line: line.line,
            col: Math.max(1, line.col),
            endLine: line.line,
            endCol: line.text.length + 1,
          });
    const located =
      span === undefined
        ? result.diagnostic
        : { ...result.diagnostic, labels: [{ span }, ...result.diagnostic.labels] };
    if (result.status === "error") errors.push(located);
    else {
      poisoned.set(result.relo.insn, located);
      context.note(`${prog.name}: ${result.diagnostic.message}; the code that uses it must not be reached`);
    }
  }
  if (errors.length > 0) throw new DiagnosticError("CORE", errors);
}

function applyRef(prog: ProgSpec, insns: Insn[], ref: InsnRef, context: FixupContext, modules: string[]): void {
  const at = ref.insn;
  const insn = insns[at];
  if (insn === undefined)
    throw new BpfkitError("SPEC", `program ${prog.name}: a reference points at instruction ${at} of ${insns.length}`);
  const next = insns[at + 1];
  const set = (first: Partial<Insn>, second?: Partial<Insn>): void => {
    insns[at] = { ...insn, ...first };
    if (second !== undefined && next !== undefined) insns[at + 1] = { ...next, ...second };
  };
  switch (ref.kind) {
    case "map":
      set({ src: PSEUDO.MAP_FD, imm: context.mapFd(ref.map) }, { imm: 0 });
      return;
    case "map-value":
      set({ src: PSEUDO.MAP_VALUE, imm: context.mapFd(ref.map) }, { imm: ref.offset | 0 });
      return;
    case "func":
      set({ src: PSEUDO.FUNC, imm: ref.target - at - 1 }, { imm: 0 });
      return;
    case "subprog":
      return;
    case "kfunc": {
      const found = context.kernelBtf().find(ref.name, "func");
      if (found === undefined) {
        if (!ref.weak) throw missing(prog, `function ${ref.name}`);
        // Never reached: programs test for a weak function first.
        set({ src: 0, off: 0, imm: POISONED_CALL });
        return;
      }
      let off = 0;
      if (found.module !== undefined) {
        off = modules.indexOf(found.module) + 1;
        if (off === 0) off = modules.push(found.module);
      }
      set({ src: PSEUDO.KFUNC_CALL, off, imm: found.id });
      return;
    }
    case "ksym":
      ksym(prog, ref, set, context);
      return;
  }
}

function ksym(
  prog: ProgSpec,
  ref: Extract<InsnRef, { kind: "ksym" }>,
  set: (first: Partial<Insn>, second: Partial<Insn>) => void,
  context: FixupContext,
): void {
  if (ref.typed) {
    const btf = context.kernelBtf();
    const found = btf.find(ref.name, "var") ?? btf.find(ref.name, "func");
    if (found !== undefined) {
      const fd = found.module === undefined ? 0 : (context.moduleFd(found.module) ?? 0);
      set({ src: PSEUDO.BTF_ID, imm: found.id }, { imm: fd });
      return;
    }
  } else {
    const address = context.symbolAddress(ref.name);
    if (address !== undefined) {
      set({ src: 0, imm: Number(BigInt.asIntN(32, address)) }, { imm: Number(BigInt.asIntN(32, address >> 32n)) });
      return;
    }
  }
  if (!ref.weak) throw missing(prog, `${ref.typed ? "variable" : "symbol"} ${ref.name}`);
  set({ src: 0, imm: 0 }, { imm: 0 });
}

function missing(prog: ProgSpec, what: string): BpfkitError {
  return new BpfkitError(
    "KSYM",
    `program ${prog.name} needs the kernel's ${what}, which this kernel does not have (or not in its BTF). Declare it weak and test for it, or use a newer kernel`,
  );
}
