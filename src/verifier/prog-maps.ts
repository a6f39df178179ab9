/** Which maps a program may use (check_map_prog_compatibility). */
import { BPF_MAP_TYPE } from "../uapi/map-types.ts";
import { BPF_PROG_TYPE } from "../uapi/prog-types.ts";
import { EINVAL } from "./constants.ts";
import { type Env, reject } from "./env.ts";
import {
  BPF_LIST_HEAD,
  BPF_RB_ROOT,
  BPF_RES_SPIN_LOCK,
  BPF_SPIN_LOCK,
  BPF_TIMER,
  BPF_WORKQUEUE,
  type VMap,
  recordHas,
} from "./map.ts";

const P = BPF_PROG_TYPE;
const M = BPF_MAP_TYPE;

const TRACING: ReadonlySet<number> = new Set([
  P.KPROBE,
  P.TRACEPOINT,
  P.PERF_EVENT,
  P.RAW_TRACEPOINT,
  P.RAW_TRACEPOINT_WRITABLE,
]);

const SLEEPABLE: ReadonlySet<number> = new Set([
  M.HASH,
  M.LRU_HASH,
  M.ARRAY,
  M.PERCPU_HASH,
  M.PERCPU_ARRAY,
  M.LRU_PERCPU_HASH,
  M.ARRAY_OF_MAPS,
  M.HASH_OF_MAPS,
  M.RINGBUF,
  M.USER_RINGBUF,
  M.INODE_STORAGE,
  M.SK_STORAGE,
  M.TASK_STORAGE,
  M.CGRP_STORAGE,
  M.QUEUE,
  M.STACK,
  M.ARENA,
]);

/** Rejects a map whose special fields or type the program's type cannot use. */
export function checkMapProgCompatibility(env: Env, map: VMap): void {
  const rec = map.record;
  const tracing = TRACING.has(env.progType);
  const socketFilter = env.progType === P.SOCKET_FILTER;
  if (tracing && recordHas(rec, BPF_LIST_HEAD | BPF_RB_ROOT)) {
    reject(env, EINVAL, "tracing progs cannot use bpf_{list_head,rb_root} yet\n");
  }
  if (recordHas(rec, BPF_SPIN_LOCK | BPF_RES_SPIN_LOCK)) {
    if (socketFilter) reject(env, EINVAL, "socket filter progs cannot use bpf_spin_lock yet\n");
    if (tracing) reject(env, EINVAL, "tracing progs cannot use bpf_spin_lock yet\n");
  }
  if (tracing && recordHas(rec, BPF_TIMER)) reject(env, EINVAL, "tracing progs cannot use bpf_timer yet\n");
  if (tracing && recordHas(rec, BPF_WORKQUEUE)) reject(env, EINVAL, "tracing progs cannot use bpf_wq yet\n");
  if (map.type === M.STRUCT_OPS) reject(env, EINVAL, "bpf_struct_ops map cannot be used in prog\n");
  if (env.sleepable && !SLEEPABLE.has(map.type)) {
    reject(env, EINVAL, "Sleepable programs can only use array, hash, ringbuf and local storage maps\n");
  }
}
