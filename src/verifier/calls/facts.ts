/** What the call checks keep for one verification beside `Env`: names of the program's types, prototypes, the attach target. */
import type { Btf } from "../../btf/btf.ts";
import { BPF_ATTACH_TYPE, type AttachTypeName } from "../../uapi/attach-types.ts";
import { BPF_PROG_TYPE, type ProgTypeName } from "../../uapi/prog-types.ts";
import type { Env } from "../env.ts";
import type { Kfunc } from "./kfunc-ids.ts";
import type { HelperFn } from "./protos.ts";

/** One pointer argument whose type a subsystem dictates (bpf_ctx_arg_aux). */
export interface CtxArgAux {
  /** Bytes from the start of ctx. */
  readonly offset: number;
  readonly regType: number;
  readonly btf: Btf;
  readonly btfId: number;
  /** The argument carries a reference that the program has to release. */
  readonly refcounted: boolean;
  refObjId: number;
}

export class CallFacts {
  readonly progTypeName: ProgTypeName;
  readonly attachTypeName: AttachTypeName | undefined;
  /** The licence is GPL compatible. */
  readonly gpl: boolean;
  readonly protos: (HelperFn | null | undefined)[] = [];

  /** Tracepoint arguments: the first one of the prototype is not passed. */
  attachTrace = false;
  /** The target is a BPF program whose BTF cannot be relied on. */
  conservative = false;
  ctxArgs: CtxArgAux[] = [];
  /** Kernel functions by insn of the call. */
  readonly kfuncs: (Kfunc | null | undefined)[] = [];
  /** struct_ops: name of the struct. */
  structOps = "";

  constructor(env: Env, progType: number, attachType: number) {
    this.progTypeName = PROG_NAMES[progType] ?? "UNSPEC";
    this.attachTypeName = progType === BPF_PROG_TYPE.STRUCT_OPS ? undefined : ATTACH_NAMES[attachType];
    this.gpl = isGplCompatible(env.load.license);
  }
}

const PROG_NAMES: Record<number, ProgTypeName> = Object.fromEntries(
  Object.entries(BPF_PROG_TYPE).map(([name, id]) => [id, name as ProgTypeName]),
);
const ATTACH_NAMES: Record<number, AttachTypeName> = Object.fromEntries(
  Object.entries(BPF_ATTACH_TYPE).map(([name, id]) => [id, name as AttachTypeName]),
);

/** license_is_gpl_compatible */
export function isGplCompatible(license: string): boolean {
  return ["GPL", "GPL v2", "GPL and additional rights", "Dual BSD/GPL", "Dual MIT/GPL", "Dual MPL/GPL"].includes(
    license,
  );
}

const factsByEnv = new WeakMap<Env, CallFacts>();

/** The facts of this verification, made at the first call. */
export function factsOf(env: Env): CallFacts {
  let facts = factsByEnv.get(env);
  if (facts === undefined) {
    facts = new CallFacts(env, env.progType, env.expectedAttachType);
    factsByEnv.set(env, facts);
  }
  return facts;
}
