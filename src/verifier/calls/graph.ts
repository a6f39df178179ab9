/** Linked lists and rbtrees of allocated objects: roots, nodes, owning and non-owning references. */
import { typeById } from "../btf/types.ts";
import { structIdsMatch } from "../btf/walk.ts";
import * as c from "../constants.ts";
import { type Env, reject, verifierBug } from "../env.ts";
import * as f from "../map.ts";
import { fieldTypeName } from "../map-fields.ts";
import { changeRegs, findLock } from "../refs.ts";
import { type RegState, markRegKnownZero } from "../reg-state.ts";
import type { CalleeStateSetter } from "../types.ts";
import { markRegNotInit } from "../reg-state.ts";
import { VerifierReject } from "../errors.ts";
import type { KfuncMeta } from "./kfunc-meta.ts";
import { regBtfRecord } from "./kptr.ts";

/** ref_set_non_owning: valid as long as the lock is held. */
export function refSetNonOwning(env: Env, r: RegState): void {
  if (env.state.activeLocks === 0) verifierBug(env, "ref_set_non_owning w/o active lock");
  if (r.type & c.NON_OWN_REF) verifierBug(env, "NON_OWN_REF already set");
  r.type |= c.NON_OWN_REF;
  const rec = regBtfRecord(env, r);
  if (rec !== null && rec.refcountOff >= 0) r.type |= c.MEM_RCU;
}

/** ref_convert_owning_non_owning: the object now belongs to a list or tree. */
export function refConvertOwningNonOwning(env: Env, refObjId: number): void {
  if (refObjId === 0) verifierBug(env, "ref_obj_id is zero for owning -> non-owning conversion");
  if (!env.state.refs.some((r) => r.id === refObjId)) verifierBug(env, "ref state missing for ref_obj_id");
  changeRegs(
    env.state,
    (r) => r.refObjId === refObjId,
    (r) => {
      r.refObjId = 0;
      refSetNonOwning(env, r);
    },
  );
}

/** mark_reg_graph_node: a pointer to the object that a node is part of, at the node. */
export function markRegGraphNode(r: RegState, field: f.BtfField): void {
  const root = field.graphRoot!;
  markRegKnownZero(r);
  r.type = c.PTR_TO_BTF_ID | c.MEM_ALLOC;
  r.btf = root.btf;
  r.btfId = root.valueBtfId;
  r.off = root.nodeOffset;
}

/** check_reg_allocation_locked: the lock of the very allocation that `r` points into is held. */
function allocationLocked(env: Env, r: RegState): boolean {
  const ptr: unknown = r.type === c.PTR_TO_MAP_VALUE ? r.map : r.btf;
  if (env.state.activeLocks === 0) return false;
  if (findLock(env.state, c.REF_TYPE_LOCK_MASK, r.id, ptr) !== null) return true;
  env.log.write("held lock and object are not in the same allocation\n");
  return false;
}

/** process_kf_arg_ptr_to_list_head, …_rbtree_root */
export function processGraphRoot(env: Env, r: RegState, regno: number, headType: number): f.BtfField {
  const name = fieldTypeName(headType);
  if (!r.isConst())
    reject(env, c.EINVAL, `R${regno} doesn't have constant offset. ${name} has to be at the constant offset\n`);
  const rec = regBtfRecord(env, r);
  const off = r.off + r.valLo;
  const field = f.recordFind(rec, off, headType);
  if (field === null) return reject(env, c.EINVAL, `${name} not found at offset=${off >>> 0}\n`);
  if (!allocationLocked(env, r))
    reject(env, c.EINVAL, `bpf_spin_lock at off=${rec!.spinLockOff} must be held for ${name}\n`);
  return field;
}

/** process_kf_arg_ptr_to_list_node, …_rbtree_node: `root` is the field of the list or tree. */
export function processGraphNode(
  env: Env,
  r: RegState,
  regno: number,
  meta: KfuncMeta,
  headType: number,
  nodeType: number,
  root: f.BtfField | null,
): void {
  const name = fieldTypeName(nodeType);
  if (!r.isConst())
    reject(env, c.EINVAL, `R${regno} doesn't have constant offset. ${name} has to be at the constant offset\n`);
  const off = r.off + r.valLo;
  if (f.recordFind(regBtfRecord(env, r), off, nodeType) === null)
    reject(env, c.EINVAL, `${name} not found at offset=${off >>> 0}\n`);
  if (root === null) {
    // rbtree_left and _right take a node alone, which tells of no tree.
    return verifierBug(env, `no root for ${name}`);
  }
  const g = root.graphRoot!;
  const wanted = typeById(g.btf, g.valueBtfId)?.name ?? "";
  if (!structIdsMatch(env, r.btf!, r.btfId, 0, g.btf, g.valueBtfId, true)) {
    const have = typeById(r.btf!, r.btfId)?.name ?? "";
    reject(
      env,
      c.EINVAL,
      `operation on ${fieldTypeName(headType)} expects arg#1 ${name} at offset=${g.nodeOffset} in struct ${wanted}, but arg is at offset=${off} in struct ${have}\n`,
    );
  }
  meta.argBtf = r.btf;
  meta.argBtfId = r.btfId;
  if (off !== g.nodeOffset)
    reject(env, c.EINVAL, `arg#1 offset=${off}, but expected ${name} at offset=${g.nodeOffset} in struct ${wanted}\n`);
}

/** set_rbtree_add_callback_state */
export const setRbtreeAddCallback: CalleeStateSetter = (env, caller, callee) => {
  const root = caller.regs[1]!;
  const field = f.recordFind(regBtfRecord(env, root), root.off, f.BPF_RB_ROOT);
  if (field === null || field.graphRoot === undefined) throw new VerifierReject(c.EFAULT);
  for (const i of [1, 2]) {
    markRegGraphNode(callee.regs[i]!, field);
    refSetNonOwning(env, callee.regs[i]!);
  }
  for (let i = 3; i <= 5; i++) markRegNotInit(callee.regs[i]!, env.bpfCapable);
  callee.inCallbackFn = true;
  callee.callbackRetMin = 0;
  callee.callbackRetMax = 1;
};
