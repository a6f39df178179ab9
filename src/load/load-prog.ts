/** Loading one program: fix-ups, attach target, what older kernels lack, and the log when the kernel refuses. */
import { encodeInsns } from "../asm/encode.ts";
import type { Diagnostic } from "../core/diagnostic.ts";
import { BpfkitError, NotSupportedError } from "../core/errors.ts";
import { attachTargetOf } from "../elf/attach-target.ts";
import { FUNC_INFO_SIZE, LINE_INFO_SIZE } from "../elf/btf-image.ts";
import { type FixupContext, fixup } from "../elf/fixups.ts";
import type { ProgSpec } from "../elf/spec.ts";
import { type ProgLoadOptions, progLoad } from "../syscall/bpf.ts";
import { syscallError } from "../syscall/errors.ts";
import { Fd, type Owned } from "../syscall/fd.ts";
import type { Kernel } from "../syscall/kernel.ts";
import { BPF_ATTACH_TYPE } from "../uapi/attach-types.ts";
import { ERRNO } from "../uapi/errno.ts";
import { BPF_PROG_TYPE, progTypeName } from "../uapi/prog-types.ts";
import { hasExpectedAttachType, hasObjectNames } from "./features.ts";
import { kallsyms } from "./kallsyms.ts";
import type { KernelBtf } from "./kernel-btf.ts";
import { versionCode } from "./kconfig.ts";
import { VerifierError } from "./verifier-error.ts";

export interface ProgContext extends Pick<FixupContext, "mapFd" | "localBtf" | "note"> {
  readonly kernel: Kernel;
  readonly owned: Owned;
  /** The kernel's BTF; throws where there is none. */
  kernelBtf(): KernelBtf;
  readonly license: string;
  readonly kernelVersion: number;
  /** fd of the collection's BTF and the records that go with it; undefined where this kernel takes none. */
  readonly btfFd: number | undefined;
  records(prog: ProgSpec): { readonly funcs: Uint8Array; readonly lines: Uint8Array };
  /** 1 or 2: fetch the verifier's log of accepted programs too. */
  readonly logLevel: 0 | 1 | 2;
  log(prog: string, text: string): void;
}

/** Loads `prog`. Throws `VerifierError` with the kernel's log, or `SyscallError`. */
export function loadProgram(prog: ProgSpec, context: ProgContext): Fd {
  const { kernel } = context;
  if (prog.type === BPF_PROG_TYPE.UNSPEC) {
    throw new BpfkitError(
      "SECTION",
      `program ${prog.name}: its section ${JSON.stringify(prog.section)} names no program type`,
    );
  }
  if (prog.type === BPF_PROG_TYPE.EXT) {
    throw new NotSupportedError(
      "freplace",
      `program ${prog.name}: replacing functions of other programs (freplace) is not supported`,
    );
  }
  const moduleFd = (module: string): number | undefined => {
    const fd = context.kernelBtf().moduleFd(module);
    return fd === undefined ? undefined : context.owned.own(fd).fd;
  };
  const { insns, modules, poisoned } = fixup(prog, {
    mapFd: (name) => context.mapFd(name),
    kernelBtf: () => context.kernelBtf(),
    localBtf: () => context.localBtf(),
    symbolAddress: (name) => kallsyms(kernel).addressOf(name),
    moduleFd,
    note: (text) => context.note(text),
  });
  const fdArray = moduleFds(modules, moduleFd);
  const target = attachTarget(prog, context);
  const records = context.btfFd === undefined ? undefined : context.records(prog);
  const options: ProgLoadOptions = {
    type: prog.type,
    insns: encodeInsns(insns),
    license: context.license,
    name: prog.name,
    flags: prog.flags,
    expectedAttachType: prog.expectedAttachType,
    // Checked for kprobes only, and only before 5.0.
    kernelVersion: context.kernelVersion || versionCode(kernel.release),
    ...(target === undefined
      ? {}
      : { attachBtfId: target.id, ...(target.fd === undefined ? {} : { attachFd: target.fd }) }),
    ...(fdArray === undefined ? {} : { fdArray }),
    ...(records === undefined || records.funcs.length === 0
      ? {}
      : {
          btfFd: context.btfFd ?? 0,
          funcInfo: { bytes: records.funcs, recordSize: FUNC_INFO_SIZE },
          ...(records.lines.length === 0 ? {} : { lineInfo: { bytes: records.lines, recordSize: LINE_INFO_SIZE } }),
        }),
  };
  const first = progLoad(kernel, context.logLevel === 0 ? options : { ...options, logLevel: context.logLevel });
  if (context.logLevel !== 0) context.log(prog.name, first.log);
  if (first.result >= 0) return new Fd(kernel, first.result, `program ${prog.name}`);
  return retry(prog, options, first.result, context, poisoned);
}

/** The program was refused without a word being asked for: ask, and leave out what this kernel does not know. */
function retry(
  prog: ProgSpec,
  given: ProgLoadOptions,
  firstResult: number,
  context: ProgContext,
  poisoned: ReadonlyMap<number, Diagnostic>,
): Fd {
  const { kernel } = context;
  let options = given;
  let { result, log } = progLoad(kernel, { ...options, logLevel: 1 });
  const again = (next: ProgLoadOptions, note: string): void => {
    context.note(`${prog.name}: ${note}`);
    options = next;
    ({ result, log } = progLoad(kernel, { ...options, logLevel: 1 }));
  };
  if (result < 0 && log === "" && (result === -ERRNO.EINVAL || result === -ERRNO.E2BIG)) {
    if (!hasObjectNames(kernel)) again(omit(options, "name"), "loaded without its name (Linux 4.15)");
    if (
      result < 0 &&
      options.expectedAttachType !== undefined &&
      options.expectedAttachType !== 0 &&
      !hasExpectedAttachType(kernel)
    ) {
      again(omit(options, "expectedAttachType"), "loaded without its attach type (Linux 4.17)");
    }
  }
  if (result < 0 && options.btfFd !== undefined && /(func|line)_info|btf/i.test(log)) {
    // Records that the kernel finds fault with are no reason to do without the program.
    const bare = omit(omit(omit(options, "funcInfo"), "lineInfo"), "btfFd");
    const attempt = progLoad(kernel, { ...bare, logLevel: 1 });
    if (attempt.result >= 0) {
      context.note(
        `${prog.name}: loaded without func_info and line_info: ${log.split("\n").find((l) => l !== "") ?? ""}`,
      );
      return new Fd(kernel, attempt.result, `program ${prog.name}`);
    }
  }
  if (result >= 0) return new Fd(kernel, result, `program ${prog.name}`);
  const type = progTypeName(prog.type)?.toLowerCase() ?? `type ${prog.type}`;
  if (log === "") {
    throw syscallError(kernel, "BPF_PROG_LOAD", firstResult, {
      subject: `program ${prog.name} (${type}, ${prog.insns.length} instructions)`,
      progType: prog.type,
      reasons: loadReasons(prog, firstResult),
    });
  }
  throw new VerifierError(prog, -result, log, poisoned);
}

/** Attach types that need the kernel to patch functions: without that support it says EPERM. */
const PATCHING: ReadonlySet<number> = new Set([
  BPF_ATTACH_TYPE.TRACE_FENTRY,
  BPF_ATTACH_TYPE.TRACE_FEXIT,
  BPF_ATTACH_TYPE.MODIFY_RETURN,
  BPF_ATTACH_TYPE.LSM_MAC,
]);

function loadReasons(prog: ProgSpec, result: number): readonly string[] {
  if (result === -ERRNO.E2BIG)
    return ["the program has more instructions than this process may load (4096 without CAP_BPF, a million with)"];
  if (
    result === -ERRNO.EPERM &&
    PATCHING.has(prog.expectedAttachType) &&
    (prog.type === BPF_PROG_TYPE.TRACING || prog.type === BPF_PROG_TYPE.LSM)
  ) {
    return [
      "either a capability is lacking, or this kernel cannot attach to functions (it needs CONFIG_FUNCTION_TRACER with CONFIG_DYNAMIC_FTRACE, and CONFIG_BPF_LSM for lsm programs); tracepoints, tp_btf and uprobes work without",
    ];
  }
  return [];
}

function omit(options: ProgLoadOptions, key: keyof ProgLoadOptions): ProgLoadOptions {
  return Object.fromEntries(Object.entries(options).filter(([k]) => k !== key)) as unknown as ProgLoadOptions;
}

/** Index 0 stands for vmlinux; the others are modules in the order of their first use. */
function moduleFds(modules: readonly string[], fdOf: (module: string) => number | undefined): Int32Array | undefined {
  if (modules.length === 0) return undefined;
  const fds = new Int32Array(modules.length + 1);
  modules.forEach((module, i) => {
    const fd = fdOf(module);
    if (fd === undefined) throw new BpfkitError("KSYM", `the kernel module ${module} was unloaded meanwhile`);
    fds[i + 1] = fd;
  });
  return fds;
}

/** BTF id of what a tracing program attaches to: the verifier types its arguments by it. */
function attachTarget(prog: ProgSpec, context: ProgContext): { id: number; fd: number | undefined } | undefined {
  const target = attachTargetOf(prog);
  if (target === undefined) return undefined;
  const btf = context.kernelBtf();
  const found = btf.find(target.name, target.kind);
  if (found === undefined) {
    throw new BpfkitError(
      "ATTACH",
      `program ${prog.name}: this kernel (${context.kernel.release}) has no ${target.what} ${prog.attachTo ?? ""} in its BTF`,
    );
  }
  if (found.module === undefined) return { id: found.id, fd: undefined };
  const fd = btf.moduleFd(found.module);
  return { id: found.id, fd: fd === undefined ? undefined : context.owned.own(fd).fd };
}
