/** What a program needs of a kernel by its parts alone: types, helpers, kernel functions, instructions, with the release that first has each. */
import {
  BPF_ADD,
  BPF_ADDR_SPACE_CAST,
  BPF_ALU,
  BPF_ALU64,
  BPF_ATOMIC,
  BPF_CALL,
  BPF_DIV,
  BPF_END,
  BPF_JA,
  BPF_JCOND,
  BPF_JMP,
  BPF_JMP32,
  BPF_LDX,
  BPF_LOAD_ACQ,
  BPF_MEMSX,
  BPF_MOD,
  BPF_MOV,
  BPF_PSEUDO_BTF_ID,
  BPF_PSEUDO_FUNC,
  BPF_PSEUDO_KFUNC_CALL,
  BPF_PSEUDO_MAP_IDX,
  BPF_PSEUDO_MAP_IDX_VALUE,
  BPF_STORE_REL,
  BPF_STX,
  LD_IMM64,
  classOf,
  codeOf,
  modeOf,
} from "../asm/opcode.ts";
import type { Insn } from "../asm/insn.ts";
import { ATTACH_TYPES } from "../uapi/attach-types.ts";
import { helperById } from "../uapi/helpers.ts";
import { KERNEL_CHANGES, type KernelChangeName } from "../uapi/kernel-changes.ts";
import { kfuncByName } from "../uapi/kfuncs.ts";
import { MAP_TYPES } from "../uapi/map-types.ts";
import { BPF_PROG_TYPE, PROG_TYPES } from "../uapi/prog-types.ts";
import type { ProgLoad } from "./capture.ts";
import type { KernelProfile } from "./kernel-profile.ts";

export interface Requirement {
  /** "helper bpf_loop", "maps of type ringbuf", "signed division" */
  readonly what: string;
  /** "5.17" */
  readonly since: string;
  /** First insn that needs it; undefined: the program as a whole. */
  readonly insn: number | undefined;
  /** An older kernel refuses before it looks at an insn, without a word. */
  readonly silent: boolean;
}

const BPF_F_SLEEPABLE = 16;
const BPF_F_XDP_HAS_FRAGS = 32;
const BPF_F_XDP_DEV_BOUND_ONLY = 64;
const JCOND = BPF_JMP | BPF_JCOND;

/** The change that brought an instruction, and what to call that; undefined: every kernel from 5.4 on has it. */
function ofInsn(insn: Insn): readonly [KernelChangeName, string] | undefined {
  const { opcode } = insn;
  const cls = classOf(opcode);
  if (opcode === LD_IMM64) {
    if (insn.src === BPF_PSEUDO_BTF_ID) return ["kernelSymbols", "addresses of kernel variables"];
    if (insn.src === BPF_PSEUDO_FUNC) return ["callbackFuncs", "callbacks"];
    const byIndex = insn.src === BPF_PSEUDO_MAP_IDX || insn.src === BPF_PSEUDO_MAP_IDX_VALUE;
    return byIndex ? ["mapIndexes", "maps named by index"] : undefined;
  }
  if (opcode === JCOND) return ["mayGoto", "may_goto"];
  if (opcode === (BPF_JMP32 | BPF_JA)) return ["longJumps", "jumps with a 32-bit offset"];
  if (opcode === (BPF_ALU64 | BPF_END)) return ["isaV4", "bswap"];
  if (cls === BPF_LDX && modeOf(opcode) === BPF_MEMSX) return ["isaV4", "sign-extending loads"];
  if (cls === BPF_STX && modeOf(opcode) === BPF_ATOMIC) {
    if (insn.imm === BPF_LOAD_ACQ || insn.imm === BPF_STORE_REL)
      return ["loadAcquire", "load_acquire and store_release"];
    return insn.imm === BPF_ADD ? undefined : ["atomicOps", "atomic operations beside addition"];
  }
  if ((cls !== BPF_ALU && cls !== BPF_ALU64) || insn.off === 0) return undefined;
  const op = codeOf(opcode);
  if (op === BPF_MOV) {
    return insn.off === BPF_ADDR_SPACE_CAST ? ["mayGoto", "addr_space_cast"] : ["isaV4", "sign-extending moves"];
  }
  return op === BPF_DIV || op === BPF_MOD ? ["isaV4", "signed division"] : undefined;
}

/** Types whose expected_attach_type every kernel looks at. */
const ATTACH_CHECKED: ReadonlySet<number> = new Set([
  BPF_PROG_TYPE.CGROUP_SOCK,
  BPF_PROG_TYPE.CGROUP_SOCK_ADDR,
  BPF_PROG_TYPE.CGROUP_SKB,
  BPF_PROG_TYPE.CGROUP_SOCKOPT,
  BPF_PROG_TYPE.SK_LOOKUP,
  BPF_PROG_TYPE.NETFILTER,
  BPF_PROG_TYPE.TRACING,
  BPF_PROG_TYPE.LSM,
]);

const lower = (name: string): string => name.toLowerCase();

function ofProgram(load: ProgLoad): Requirement[] {
  const out: Requirement[] = [];
  const add = (what: string, since: string | undefined): void => {
    if (since !== undefined) out.push({ what, since, insn: undefined, silent: true });
  };
  const type = PROG_TYPES.find((row) => row.id === load.progType);
  add(`programs of type ${lower(type?.name ?? "")}`, type?.since);
  if (load.expectedAttachType !== 0 && ATTACH_CHECKED.has(load.progType)) {
    const attach = ATTACH_TYPES[load.expectedAttachType];
    add(`attach type ${lower(attach?.name ?? "")}`, attach?.since);
  }
  for (const map of load.maps) {
    const row = MAP_TYPES.find((m) => m.id === map.type);
    add(`maps of type ${lower(row?.name ?? "")}`, row?.since);
  }
  if ((load.progFlags & BPF_F_SLEEPABLE) !== 0) add("sleepable programs", KERNEL_CHANGES.sleepablePrograms.since);
  if ((load.progFlags & BPF_F_XDP_HAS_FRAGS) !== 0) add("XDP programs for multi-buffer packets", "5.18");
  if ((load.progFlags & BPF_F_XDP_DEV_BOUND_ONLY) !== 0) add("XDP programs bound to a device", "6.3");
  return out;
}

/** Everything that `load` needs and that came with a later release than 5.4 (or any, for types), oldest insn first. */
export function requirementsOf(load: ProgLoad): Requirement[] {
  const out = ofProgram(load);
  const seen = new Set<string>();
  const add = (what: string, since: string, insn: number): void => {
    if (seen.has(what)) return;
    seen.add(what);
    out.push({ what, since, insn, silent: false });
  };
  const kfuncs = new Map((load.kfuncs ?? []).map((k) => [k.insn, k.name]));
  load.insns.forEach((insn, i) => {
    if (insn.opcode === (BPF_JMP | BPF_CALL)) {
      const row = insn.src === 0 ? helperById(insn.imm) : undefined;
      if (row !== undefined) add(`helper bpf_${row.name}`, row.since, i);
      if (insn.src !== BPF_PSEUDO_KFUNC_CALL) return;
      add("calls of kernel functions", KERNEL_CHANGES.kernelFuncs.since, i);
      const name = kfuncs.get(i);
      const kfunc = name === undefined ? undefined : kfuncByName(name);
      if (kfunc !== undefined) add(`kernel function ${kfunc.name}`, kfunc.since, i);
      return;
    }
    const found = ofInsn(insn);
    if (found !== undefined) add(found[1], KERNEL_CHANGES[found[0]].since, i);
  });
  return out;
}

/** What of that the kernel does not have. */
export const newerThan = (load: ProgLoad, kernel: KernelProfile): Requirement[] =>
  requirementsOf(load).filter((r) => !kernel.atLeast(r.since));

/** "helper bpf_loop: since Linux 5.17" */
export const requirementText = (r: Requirement): string => `${r.what}: since Linux ${r.since}`;
