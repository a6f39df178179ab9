/** Loads and stores through typed kernel pointers (check_ptr_to_btf_access, check_ptr_to_map_access). */
import type { Btf } from "../../btf/btf.ts";
import { BPF_MAP_TYPE } from "../../uapi/map-types.ts";
import { BPF_PROG_TYPE } from "../../uapi/prog-types.ts";
import { isTrustedReg } from "../branch.ts";
import { factsOf } from "../calls/facts.ts";
import { isNonOwningRef, isPtrAllocObj } from "../calls/kptr.ts";
import { inRcuCs } from "../calls/meta.ts";
import { structRecord } from "../btf/fields.ts";
import { btfTypeName, isKernelBtf, skipModifiers, structId, typeById } from "../btf/types.ts";
import { WALK_PTR, WALK_PTR_UNTRUSTED, WALK_SCALAR, type Walk, structWalk } from "../btf/walk.ts";
import * as c from "../constants.ts";
import { type Env, reject, verifierBug } from "../env.ts";
import { VerifierReject } from "../errors.ts";
import { fieldTypeName } from "../map-fields.ts";
import { varOffText } from "../mem.ts";
import type { RegState } from "../reg-state.ts";
import { markBtfLdReg } from "./ld-reg.ts";
import { conntrackWrite, structOpsWrite } from "./struct-ops.ts";

const P = BPF_PROG_TYPE;
const CLEARED = c.PTR_TRUSTED | c.MEM_RCU | c.NON_OWN_REF | c.MEM_ALLOC;

interface Field {
  /** PTR_TO_BTF_ID, SCALAR_VALUE, or PTR_TO_MEM for pointers to what is no struct. */
  regType: number;
  id: number;
  flag: number;
  name: string;
}

/** btf_struct_access: what [off, off + size) of the struct is. */
function structAccess(env: Env, btf: Btf, btfId: number, regType: number, offIn: number, size: number): Field {
  const alloc = (regType & c.MEM_ALLOC) !== 0;
  if (alloc) {
    const rec = structRecord(btf, env.vmlinuxBtf, btfId);
    for (const f of rec?.fields ?? []) {
      if (offIn < f.offset + f.size && f.offset < offIn + size)
        reject(env, c.EACCES, `direct access to ${fieldTypeName(f.type)} is disallowed\n`);
    }
  }
  const out: Walk = { kind: 0, id: btfId, flag: 0, field: "" };
  let off = offIn;
  for (;;) {
    const t = typeById(btf, out.id);
    if (t === undefined) throw new VerifierReject(c.EINVAL);
    structWalk(env, btf, t, off, size, out, !alloc);
    if (out.kind === WALK_SCALAR || (out.kind === WALK_PTR && alloc))
      return { regType: c.SCALAR_VALUE, id: 0, flag: 0, name: "" };
    if (out.kind === WALK_PTR_UNTRUSTED && !env.has.untrustedMem)
      return { regType: c.SCALAR_VALUE, id: 0, flag: 0, name: "" };
    if (out.kind === WALK_PTR_UNTRUSTED)
      return { regType: c.PTR_TO_MEM, id: 0, flag: c.MEM_RDONLY | c.PTR_UNTRUSTED, name: "" };
    if (out.kind === WALK_PTR) return { regType: c.PTR_TO_BTF_ID, id: out.id, flag: out.flag, name: out.field };
    off = 0;
  }
}

/** btf_nested_type_is_trusted: the kernel's lists of fields whose pointers stay trusted, kept as structs named NAME + suffix. */
function nestedTrusted(r: RegState, field: Field, suffix: string): boolean {
  const btf = r.btf!;
  const t = typeById(btf, r.btfId);
  if (t === undefined || (t.kind !== "struct" && t.kind !== "union")) return false;
  const safe = typeById(
    btf,
    t.kind === "struct" ? structId(btf, t.name + suffix) : btf.findId(t.name + suffix, "union"),
  );
  if (safe === undefined || (safe.kind !== "struct" && safe.kind !== "union")) return false;
  return safe.members.some((m) => {
    const mt = typeById(btf, m.type);
    return mt?.kind === "ptr" && m.name === field.name && skipModifiers(btf, mt.type).id === field.id;
  });
}

/** Flags of a pointer found by walking `r`. */
function walkedFlags(env: Env, r: RegState, field: Field): number {
  let { flag } = field;
  if (!env.has.trustedPointers) return (flag | (r.type & c.PTR_UNTRUSTED)) & ~c.MEM_RCU;
  if (r.type & c.PTR_UNTRUSTED) return c.PTR_UNTRUSTED;
  if (!isTrustedReg(r) && (r.type & c.MEM_RCU) === 0) return flag & ~CLEARED;
  if (nestedTrusted(r, field, "__safe_trusted")) return flag | c.PTR_TRUSTED;
  if (nestedTrusted(r, field, "__safe_trusted_or_null")) return flag | c.PTR_TRUSTED | c.PTR_MAYBE_NULL;
  if (!inRcuCs(env) || c.typeMayBeNull(r.type)) return c.PTR_UNTRUSTED;
  if (nestedTrusted(r, field, "__safe_rcu")) return flag | c.MEM_RCU;
  const rcuOrNull = nestedTrusted(r, field, "__safe_rcu_or_null");
  if ((flag & c.MEM_RCU) !== 0 || rcuOrNull) {
    flag |= c.MEM_RCU | c.PTR_MAYBE_NULL;
    return rcuOrNull ? flag & ~c.PTR_UNTRUSTED : flag;
  }
  return (flag & (c.MEM_PERCPU | c.MEM_USER)) !== 0 ? flag : flag & ~CLEARED;
}

/** env->ops->btf_struct_access is set. */
function hasBtfStructAccess(env: Env): boolean {
  switch (env.progType) {
    case P.XDP:
    case P.SCHED_CLS:
    case P.SCHED_ACT:
      return true;
    case P.STRUCT_OPS: {
      const st = factsOf(env).structOps;
      return st === "tcp_congestion_ops" || st === "bpf_dummy_ops";
    }
    default:
      return false;
  }
}

/** check_ptr_to_btf_access; `off` includes the register's own. valueRegno -1: nothing is loaded. */
export function checkPtrToBtfAccess(
  env: Env,
  regno: number,
  off: number,
  size: number,
  access: number,
  valueRegno: number,
): void {
  const r = env.regs[regno]!;
  const btf = r.btf!;
  const name = btfTypeName(btf, r.btfId);
  if (!env.allowPtrLeaks)
    reject(env, c.EPERM, `'struct ${name}' access is allowed only to CAP_PERFMON and CAP_SYS_ADMIN\n`);
  if (env.has.kernelTypesGpl && !factsOf(env).gpl && isKernelBtf(env, btf))
    reject(env, c.EINVAL, `Cannot access kernel 'struct ${name}' from non-GPL compatible program\n`);
  if (off < 0) reject(env, c.EACCES, `R${regno} is ptr_${name} invalid negative access: off=${off}\n`);
  if (!r.isConst() || (r.valLo | r.valHi) !== 0) {
    reject(env, c.EACCES, `R${regno} is ptr_${name} invalid variable offset: off=${off}, var_off=${varOffText(r)}\n`);
  }
  if (r.type & c.MEM_USER) reject(env, c.EACCES, `R${regno} is ptr_${name} access user memory: off=${off}\n`);
  if (r.type & c.MEM_PERCPU) reject(env, c.EACCES, `R${regno} is ptr_${name} access percpu memory: off=${off}\n`);
  let field: Field;
  if (hasBtfStructAccess(env) && (r.type & c.MEM_ALLOC) === 0 && access === c.BPF_WRITE) {
    if (!isKernelBtf(env, btf)) verifierBug(env, "reg->btf must be kernel btf");
    if (env.progType === P.STRUCT_OPS) structOpsWrite(env, r, off, size);
    else conntrackWrite(env, r, off, size);
    field = { regType: c.SCALAR_VALUE, id: 0, flag: 0, name: "" };
  } else {
    if (access !== c.BPF_READ && !isPtrAllocObj(r.type)) reject(env, c.EACCES, "only read is supported\n");
    if ((r.type & c.MEM_ALLOC) !== 0 && !isNonOwningRef(r.type) && (r.type & c.MEM_RCU) === 0 && r.refObjId === 0) {
      verifierBug(env, "allocated object must have a referenced id");
    }
    field = structAccess(env, btf, r.btfId, r.type, off, size);
  }
  const flag = field.regType === c.PTR_TO_BTF_ID ? walkedFlags(env, r, field) : field.flag;
  if (access === c.BPF_READ && valueRegno >= 0) markBtfLdReg(env, valueRegno, field.regType, btf, field.id, flag);
}

/** Kernel structs behind map pointers (map_btf_id). */
const MAP_STRUCTS: ReadonlyMap<number, string> = new Map([
  [BPF_MAP_TYPE.HASH, "bpf_htab"],
  [BPF_MAP_TYPE.ARRAY, "bpf_array"],
  [BPF_MAP_TYPE.PROG_ARRAY, "bpf_array"],
  [BPF_MAP_TYPE.PERF_EVENT_ARRAY, "bpf_array"],
  [BPF_MAP_TYPE.PERCPU_HASH, "bpf_htab"],
  [BPF_MAP_TYPE.PERCPU_ARRAY, "bpf_array"],
  [BPF_MAP_TYPE.STACK_TRACE, "bpf_stack_map"],
  [BPF_MAP_TYPE.CGROUP_ARRAY, "bpf_array"],
  [BPF_MAP_TYPE.LRU_HASH, "bpf_htab"],
  [BPF_MAP_TYPE.LRU_PERCPU_HASH, "bpf_htab"],
  [BPF_MAP_TYPE.LPM_TRIE, "lpm_trie"],
  [BPF_MAP_TYPE.ARRAY_OF_MAPS, "bpf_array"],
  [BPF_MAP_TYPE.HASH_OF_MAPS, "bpf_htab"],
  [BPF_MAP_TYPE.DEVMAP, "bpf_dtab"],
  [BPF_MAP_TYPE.SOCKMAP, "bpf_stab"],
  [BPF_MAP_TYPE.CPUMAP, "bpf_cpu_map"],
  [BPF_MAP_TYPE.XSKMAP, "xsk_map"],
  [BPF_MAP_TYPE.SOCKHASH, "bpf_shtab"],
  [BPF_MAP_TYPE.CGROUP_STORAGE, "bpf_cgroup_storage_map"],
  [BPF_MAP_TYPE.REUSEPORT_SOCKARRAY, "reuseport_array"],
  [BPF_MAP_TYPE.PERCPU_CGROUP_STORAGE, "bpf_cgroup_storage_map"],
  [BPF_MAP_TYPE.QUEUE, "bpf_queue_stack"],
  [BPF_MAP_TYPE.STACK, "bpf_queue_stack"],
  [BPF_MAP_TYPE.SK_STORAGE, "bpf_local_storage_map"],
  [BPF_MAP_TYPE.DEVMAP_HASH, "bpf_dtab"],
  [BPF_MAP_TYPE.STRUCT_OPS, "bpf_struct_ops_map"],
  [BPF_MAP_TYPE.RINGBUF, "bpf_ringbuf_map"],
  [BPF_MAP_TYPE.INODE_STORAGE, "bpf_local_storage_map"],
  [BPF_MAP_TYPE.TASK_STORAGE, "bpf_local_storage_map"],
  [BPF_MAP_TYPE.BLOOM_FILTER, "bpf_bloom_filter"],
  [BPF_MAP_TYPE.USER_RINGBUF, "bpf_ringbuf_map"],
  [BPF_MAP_TYPE.CGRP_STORAGE, "bpf_local_storage_map"],
  [BPF_MAP_TYPE.ARENA, "bpf_arena"],
]);

/** check_ptr_to_map_access: reads of struct bpf_map and its kind through a map pointer. */
export function checkPtrToMapAccess(
  env: Env,
  regno: number,
  off: number,
  size: number,
  access: number,
  valueRegno: number,
): void {
  const r = env.regs[regno]!;
  const btf = env.vmlinuxBtf;
  if (btf === null) return reject(env, c.ENOTSUPP, "map_ptr access not supported without CONFIG_DEBUG_INFO_BTF\n");
  const mapType = r.map!.type;
  const name = MAP_STRUCTS.get(mapType) ?? "";
  const id = structId(btf, name);
  if (id === 0) reject(env, c.ENOTSUPP, `map_ptr access not supported for map type ${mapType}\n`);
  if (!env.allowPtrLeaks)
    reject(env, c.EPERM, `'struct ${name}' access is allowed only to CAP_PERFMON and CAP_SYS_ADMIN\n`);
  if (off < 0) reject(env, c.EACCES, `R${regno} is ${name} invalid negative access: off=${off}\n`);
  if (access !== c.BPF_READ) reject(env, c.EACCES, `only read from ${name} is supported\n`);
  const field = structAccess(env, btf, id, c.PTR_TO_BTF_ID, off, size);
  if (valueRegno >= 0) markBtfLdReg(env, valueRegno, field.regType, btf, field.id, field.flag);
}
