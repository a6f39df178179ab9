/** Kernel pointers kept in map values and allocated objects: loads, stores, exchange. */
import { BPF_LDX, BPF_MEM, BPF_STX, classOf, modeOf } from "../../asm/opcode.ts";
import type { Btf } from "../../btf/btf.ts";
import { structRecord } from "../btf/fields.ts";
import { btfTypeName, isKernelBtf, typeById } from "../btf/types.ts";
import { structIdsMatch } from "../btf/walk.ts";
import * as c from "../constants.ts";
import { type Env, reject } from "../env.ts";
import { VerifierReject } from "../errors.ts";
import { regTypeStr } from "../log-state.ts";
import {
  BPF_KPTR,
  BPF_KPTR_PERCPU,
  BPF_KPTR_REF,
  BPF_KPTR_UNREF,
  BPF_LIST_NODE,
  BPF_RB_NODE,
  BPF_UPTR,
  type BtfField,
  type BtfRecord,
  recordFind,
  recordHas,
} from "../map.ts";
import { checkPtrOffReg } from "../mem.ts";
import { type RegState, markRegKnownZero } from "../reg-state.ts";
import { markBtfLdReg } from "../ctx/ld-reg.ts";
import { type CallMeta, inRcuCs } from "./meta.ts";

/** Kernel structs whose last reference is dropped after an RCU grace period. */
const RCU_PROTECTED = new Set(["prog_test_ref_kfunc", "cgroup", "bpf_cpumask", "task_struct", "bpf_crypto_ctx"]);

/** type_is_ptr_alloc_obj */
export const isPtrAllocObj = (type: number): boolean =>
  c.baseType(type) === c.PTR_TO_BTF_ID && (type & c.MEM_ALLOC) !== 0;
/** type_is_non_owning_ref */
export const isNonOwningRef = (type: number): boolean => isPtrAllocObj(type) && (type & c.NON_OWN_REF) !== 0;

/** reg_btf_record: special fields of what the register points to. */
export function regBtfRecord(env: Env, r: RegState): BtfRecord | null {
  if (r.type === c.PTR_TO_MAP_VALUE) return r.map!.record;
  if (isPtrAllocObj(r.type) && r.btf !== null) return structRecord(r.btf, env.vmlinuxBtf, r.btfId);
  return null;
}

/** map_kptr_match_type: may this register be stored into the field? */
export function mapKptrMatchType(env: Env, field: BtfField, r: RegState, regno: number): void {
  const kptr = field.kptr!;
  const target = btfTypeName(kptr.btf, kptr.btfId);
  let regName = "";
  const bad = (): never => {
    env.log.write(`invalid kptr access, R${regno} type=${regTypeStr(r.type)}${regName} `);
    env.log.write(`expected=${regTypeStr(c.PTR_TO_BTF_ID)}${target}`);
    const end =
      field.type === BPF_KPTR_UNREF ? ` or ${regTypeStr(c.PTR_TO_BTF_ID | c.PTR_UNTRUSTED)}${target}\n` : "\n";
    return reject(env, c.EACCES, end);
  };
  if (c.baseType(r.type) !== c.PTR_TO_BTF_ID || r.btf === null) return bad();
  let allowed: number;
  if (isKernelBtf(env, r.btf)) {
    allowed = c.PTR_MAYBE_NULL | c.PTR_TRUSTED | c.MEM_RCU;
    if (field.type === BPF_KPTR_UNREF) allowed |= c.PTR_UNTRUSTED;
  } else {
    allowed = c.PTR_MAYBE_NULL | c.MEM_ALLOC;
    if (field.type === BPF_KPTR_PERCPU) allowed |= c.MEM_PERCPU;
  }
  if ((c.typeFlag(r.type) & ~allowed) !== 0) bad();
  regName = btfTypeName(r.btf, r.btfId);
  try {
    checkPtrOffReg(env, r, regno, true);
  } catch (e) {
    if (e instanceof VerifierReject) throw new VerifierReject(c.EACCES, e.message);
    throw e;
  }
  if (!structIdsMatch(env, r.btf, r.btfId, r.off, kptr.btf, kptr.btfId, field.type !== BPF_KPTR_UNREF)) bad();
}

function pointeeRecord(env: Env, kptr: { readonly btf: Btf; readonly btfId: number }): BtfRecord | null {
  return isKernelBtf(env, kptr.btf) ? null : structRecord(kptr.btf, env.vmlinuxBtf, kptr.btfId);
}

function rcuSafe(env: Env, field: BtfField): boolean {
  const { btf, btfId } = field.kptr!;
  if (field.type === BPF_KPTR_PERCPU) return true;
  return field.type === BPF_KPTR_REF && (!isKernelBtf(env, btf) || RCU_PROTECTED.has(btfTypeName(btf, btfId)));
}

/** btf_ld_kptr_type: flags of a loaded kptr. */
function ldKptrType(env: Env, field: BtfField): number {
  const kptr = field.kptr!;
  if (!rcuSafe(env, field) || !inRcuCs(env)) return c.PTR_MAYBE_NULL | c.PTR_UNTRUSTED;
  let flags = c.PTR_MAYBE_NULL | c.MEM_RCU;
  if (field.type === BPF_KPTR_PERCPU) flags |= c.MEM_PERCPU;
  else if (!isKernelBtf(env, kptr.btf)) flags |= c.MEM_ALLOC;
  if (recordHas(pointeeRecord(env, kptr), BPF_LIST_NODE | BPF_RB_NODE)) flags |= c.NON_OWN_REF;
  return flags;
}

/** check_map_kptr_access: load or store of exactly a kptr or uptr field. */
export function checkMapKptrAccess(
  env: Env,
  _regno: number,
  valueRegno: number,
  insnIdx: number,
  field: BtfField,
): void {
  const code = env.code[insnIdx]!;
  const cls = classOf(code);
  if (modeOf(code) !== BPF_MEM)
    reject(env, c.EACCES, "kptr in map can only be accessed using BPF_MEM instruction mode\n");
  if (cls !== BPF_LDX && (field.type === BPF_KPTR_REF || field.type === BPF_KPTR_PERCPU)) {
    reject(env, c.EACCES, "store to referenced kptr disallowed\n");
  }
  if (cls !== BPF_LDX && field.type === BPF_UPTR) reject(env, c.EACCES, "store to uptr disallowed\n");
  const kptr = field.kptr!;
  if (cls === BPF_LDX) {
    if (field.type === BPF_UPTR) {
      const r = env.regs[valueRegno]!;
      const t = typeById(kptr.btf, kptr.btfId);
      markRegKnownZero(r);
      r.type = c.PTR_TO_MEM | c.PTR_MAYBE_NULL;
      r.memSize = t?.kind === "struct" ? t.size : 0;
      r.id = env.newId();
      return;
    }
    markBtfLdReg(env, valueRegno, c.PTR_TO_BTF_ID, kptr.btf, kptr.btfId, ldKptrType(env, field));
  } else if (cls === BPF_STX) {
    const val = env.regs[valueRegno]!;
    if (val.isNull()) return;
    mapKptrMatchType(env, field, val, valueRegno);
  } else if (env.imm[insnIdx] !== 0) {
    reject(env, c.EACCES, `BPF_ST imm must be 0 when storing to kptr at off=${field.offset}\n`);
  }
}

/** process_kptr_func: the destination of bpf_kptr_xchg. */
export function processKptrFunc(env: Env, regno: number, meta: CallMeta): void {
  const r = env.regs[regno]!;
  let rec: BtfRecord | null;
  if (isPtrAllocObj(r.type)) rec = regBtfRecord(env, r);
  else {
    const map = r.map!;
    if (map.btf === null) reject(env, c.EINVAL, `map '${map.name}' has to have BTF in order to use bpf_kptr_xchg\n`);
    rec = map.record;
    meta.map = map;
  }
  if (!r.isConst())
    reject(env, c.EINVAL, `R${regno} doesn't have constant offset. kptr has to be at the constant offset\n`);
  if (!recordHas(rec, BPF_KPTR)) {
    const what = env.has.specialFieldRecords ? `R${regno}` : `map '${r.map?.name ?? ""}'`;
    reject(env, c.EINVAL, `${what} has no valid kptr\n`);
  }
  const off = r.off + r.valLo;
  const field = recordFind(rec, off, BPF_KPTR);
  if (field === null) reject(env, c.EACCES, `off=${off} doesn't point to kptr\n`);
  if (field!.type !== BPF_KPTR_REF && field!.type !== BPF_KPTR_PERCPU)
    reject(env, c.EACCES, `off=${off} kptr isn't referenced kptr\n`);
  meta.kptrField = field;
}
