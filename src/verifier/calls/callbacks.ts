/** Registers that callbacks start with (set_*_callback_state). */
import * as c from "../constants.ts";
import { type Env, reject } from "../env.ts";
import type { VMap } from "../map.ts";
import { type RegState, markRegKnownZero, markRegNotInit } from "../reg-state.ts";
import type { FuncState } from "../state.ts";
import { passReg } from "../frames.ts";
import type { CalleeStateSetter } from "../types.ts";
import { structId } from "../btf/types.ts";
import { markDynptrCbReg } from "./dynptr.ts";

const M_HASH = 1;
/** Maps that bpf_for_each_map_elem walks: hashes and arrays. */
const FOR_EACH: ReadonlySet<number> = new Set([M_HASH, 2, 5, 6, 9, 10]);

function setMapReg(r: RegState, type: number, map: VMap | null): void {
  markRegKnownZero(r);
  r.type = type;
  r.map = map;
}

function unused(env: Env, callee: FuncState, from: number): void {
  for (let i = from; i <= 5; i++) markRegNotInit(callee.regs[i]!, env.bpfCapable);
}

function inCallback(callee: FuncState, min: number, max: number): void {
  callee.inCallbackFn = true;
  callee.callbackRetMin = min;
  callee.callbackRetMax = max;
}

function inAsyncCallback(callee: FuncState, min: number, max: number): void {
  callee.inAsyncCallbackFn = true;
  callee.callbackRetMin = min;
  callee.callbackRetMax = max;
}

export const setMapElemCallback: CalleeStateSetter = (env, caller, callee, insnIdx) => {
  const state = env.aux[insnIdx]!.mapPtrState;
  if (state?.poison === true && !env.has.forEachManyMaps) reject(env, c.EINVAL, "tail_call abusing map_ptr\n");
  const map = state?.map ?? null;
  if (map === null || !FOR_EACH.has(map.type)) reject(env, c.ENOTSUPP, "callback function not allowed for map\n");
  const argMap = caller.regs[1]!.map;
  passReg(callee, 1, caller, 1);
  setMapReg(callee.regs[2]!, c.PTR_TO_MAP_KEY, argMap);
  setMapReg(callee.regs[3]!, c.PTR_TO_MAP_VALUE, argMap);
  passReg(callee, 4, caller, 3);
  unused(env, callee, 5);
  inCallback(callee, 0, 1);
};

export const setLoopCallback: CalleeStateSetter = (env, caller, callee) => {
  callee.regs[1]!.type = c.SCALAR_VALUE;
  passReg(callee, 2, caller, 3);
  unused(env, callee, 3);
  inCallback(callee, 0, 1);
};

function mapCallbackArgs(env: Env, callee: FuncState, map: VMap | null): void {
  setMapReg(callee.regs[1]!, c.CONST_PTR_TO_MAP, map);
  setMapReg(callee.regs[2]!, c.PTR_TO_MAP_KEY, map);
  setMapReg(callee.regs[3]!, c.PTR_TO_MAP_VALUE, map);
  unused(env, callee, 4);
}

export const setTimerCallback: CalleeStateSetter = (env, caller, callee) => {
  mapCallbackArgs(env, callee, caller.regs[1]!.map);
  inAsyncCallback(callee, 0, 0);
};

export const setTaskWorkCallback: CalleeStateSetter = (env, caller, callee) => {
  mapCallbackArgs(env, callee, caller.regs[3]!.map);
  inAsyncCallback(callee, -0x8000_0000, 0x7fff_ffff);
};

export const setFindVmaCallback: CalleeStateSetter = (env, caller, callee) => {
  passReg(callee, 1, caller, 1);
  const vma = callee.regs[2]!;
  markRegKnownZero(vma);
  vma.type = c.PTR_TO_BTF_ID;
  vma.btf = env.vmlinuxBtf;
  vma.btfId = structId(env.vmlinuxBtf, "vm_area_struct");
  passReg(callee, 3, caller, 4);
  unused(env, callee, 4);
  inCallback(callee, 0, 1);
};

export const setUserRingbufCallback: CalleeStateSetter = (env, caller, callee) => {
  markRegNotInit(callee.regs[0]!, env.bpfCapable);
  markDynptrCbReg(env, callee.regs[1]!, c.BPF_DYNPTR_TYPE_LOCAL);
  passReg(callee, 2, caller, 3);
  unused(env, callee, 3);
  inCallback(callee, 0, 1);
};
