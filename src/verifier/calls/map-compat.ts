/** Which helper takes which map type (check_map_func_compatibility), asked from both sides. */
import { BPF_FUNC } from "../../uapi/helpers.ts";
import { BPF_MAP_TYPE } from "../../uapi/map-types.ts";
import { BPF_PROG_TYPE } from "../../uapi/prog-types.ts";
import { BPF_ATTACH_TYPE } from "../../uapi/attach-types.ts";
import { EINVAL } from "../constants.ts";
import { type Env, reject } from "../env.ts";
import type { VMap } from "../map.ts";
import { funcIdName } from "./protos.ts";

const F = BPF_FUNC;
const M = BPF_MAP_TYPE;
const P = BPF_PROG_TYPE;

const STORAGE = (get: number, del: number): ReadonlySet<number> => new Set([get, del, F.kptr_xchg]);
const RINGBUF = [
  F.ringbuf_output,
  F.ringbuf_reserve,
  F.ringbuf_query,
  F.ringbuf_reserve_dynptr,
  F.ringbuf_submit_dynptr,
  F.ringbuf_discard_dynptr,
];
const PERF = [F.perf_event_read, F.perf_event_output, F.skb_output, F.perf_event_read_value, F.xdp_output];

/** Helpers that a map of this type may be given to; a type that is not here goes to any. */
const OF_MAP: ReadonlyMap<number, ReadonlySet<number>> = new Map([
  [M.PROG_ARRAY, new Set([F.tail_call])],
  [M.PERF_EVENT_ARRAY, new Set(PERF)],
  [M.RINGBUF, new Set(RINGBUF)],
  [M.USER_RINGBUF, new Set([F.user_ringbuf_drain])],
  [M.STACK_TRACE, new Set([F.get_stackid])],
  [M.CGROUP_ARRAY, new Set([F.skb_under_cgroup, F.current_task_under_cgroup])],
  [M.CGROUP_STORAGE, new Set([F.get_local_storage])],
  [M.PERCPU_CGROUP_STORAGE, new Set([F.get_local_storage])],
  [M.DEVMAP, new Set([F.redirect_map, F.map_lookup_elem])],
  [M.DEVMAP_HASH, new Set([F.redirect_map, F.map_lookup_elem])],
  [M.CPUMAP, new Set([F.redirect_map])],
  [M.XSKMAP, new Set([F.redirect_map, F.map_lookup_elem])],
  [M.ARRAY_OF_MAPS, new Set([F.map_lookup_elem])],
  [M.HASH_OF_MAPS, new Set([F.map_lookup_elem])],
  [
    M.SOCKMAP,
    new Set([F.sk_redirect_map, F.sock_map_update, F.msg_redirect_map, F.sk_select_reuseport, F.map_lookup_elem]),
  ],
  [
    M.SOCKHASH,
    new Set([F.sk_redirect_hash, F.sock_hash_update, F.msg_redirect_hash, F.sk_select_reuseport, F.map_lookup_elem]),
  ],
  [M.REUSEPORT_SOCKARRAY, new Set([F.sk_select_reuseport])],
  [M.QUEUE, new Set([F.map_peek_elem, F.map_pop_elem, F.map_push_elem])],
  [M.STACK, new Set([F.map_peek_elem, F.map_pop_elem, F.map_push_elem])],
  [M.SK_STORAGE, STORAGE(F.sk_storage_get, F.sk_storage_delete)],
  [M.INODE_STORAGE, STORAGE(F.inode_storage_get, F.inode_storage_delete)],
  [M.TASK_STORAGE, STORAGE(F.task_storage_get, F.task_storage_delete)],
  [M.CGRP_STORAGE, STORAGE(F.cgrp_storage_get, F.cgrp_storage_delete)],
  [M.BLOOM_FILTER, new Set([F.map_peek_elem, F.map_push_elem])],
]);

/** Map types that a helper takes; a helper that is not here takes any. */
const OF_FUNC: ReadonlyMap<number, ReadonlySet<number>> = new Map<number, ReadonlySet<number>>([
  [F.tail_call, new Set([M.PROG_ARRAY])],
  ...PERF.map((id): [number, ReadonlySet<number>] => [id, new Set([M.PERF_EVENT_ARRAY])]),
  ...RINGBUF.map((id): [number, ReadonlySet<number>] => [id, new Set([M.RINGBUF])]),
  [F.user_ringbuf_drain, new Set([M.USER_RINGBUF])],
  [F.get_stackid, new Set([M.STACK_TRACE])],
  [F.current_task_under_cgroup, new Set([M.CGROUP_ARRAY])],
  [F.skb_under_cgroup, new Set([M.CGROUP_ARRAY])],
  [F.redirect_map, new Set([M.DEVMAP, M.DEVMAP_HASH, M.CPUMAP, M.XSKMAP])],
  [F.sk_redirect_map, new Set([M.SOCKMAP])],
  [F.msg_redirect_map, new Set([M.SOCKMAP])],
  [F.sock_map_update, new Set([M.SOCKMAP])],
  [F.sk_redirect_hash, new Set([M.SOCKHASH])],
  [F.msg_redirect_hash, new Set([M.SOCKHASH])],
  [F.sock_hash_update, new Set([M.SOCKHASH])],
  [F.get_local_storage, new Set([M.CGROUP_STORAGE, M.PERCPU_CGROUP_STORAGE])],
  [F.sk_select_reuseport, new Set([M.REUSEPORT_SOCKARRAY, M.SOCKMAP, M.SOCKHASH])],
  [F.map_pop_elem, new Set([M.QUEUE, M.STACK])],
  [F.map_peek_elem, new Set([M.QUEUE, M.STACK, M.BLOOM_FILTER])],
  [F.map_push_elem, new Set([M.QUEUE, M.STACK, M.BLOOM_FILTER])],
  [F.map_lookup_percpu_elem, new Set([M.PERCPU_ARRAY, M.PERCPU_HASH, M.LRU_PERCPU_HASH])],
  [F.sk_storage_get, new Set([M.SK_STORAGE])],
  [F.sk_storage_delete, new Set([M.SK_STORAGE])],
  [F.inode_storage_get, new Set([M.INODE_STORAGE])],
  [F.inode_storage_delete, new Set([M.INODE_STORAGE])],
  [F.task_storage_get, new Set([M.TASK_STORAGE])],
  [F.task_storage_delete, new Set([M.TASK_STORAGE])],
  [F.cgrp_storage_get, new Set([M.CGRP_STORAGE])],
  [F.cgrp_storage_delete, new Set([M.CGRP_STORAGE])],
]);

/** may_update_sockmap: programs that cannot run under a socket's lock may change sockmaps. */
function mayUpdateSockmap(env: Env, id: number): boolean {
  if (id !== F.map_update_elem && id !== F.map_delete_elem) return false;
  switch (env.progType) {
    case P.TRACING:
      if (env.expectedAttachType === BPF_ATTACH_TYPE.TRACE_ITER) return true;
      break;
    case P.SOCK_OPS:
      if (id === F.map_delete_elem) return true;
      break;
    case P.SOCKET_FILTER:
    case P.SCHED_CLS:
    case P.SCHED_ACT:
    case P.XDP:
    case P.SK_REUSEPORT:
    case P.FLOW_DISSECTOR:
    case P.SK_LOOKUP:
      return true;
    default:
  }
  env.log.write("cannot update sockmap in this context\n");
  return false;
}

/** check_map_func_compatibility */
export function checkMapFuncCompatibility(env: Env, map: VMap | null, id: number): void {
  if (map === null) return;
  const funcs = OF_MAP.get(map.type);
  const sock = map.type === M.SOCKMAP || map.type === M.SOCKHASH;
  const types = OF_FUNC.get(id);
  const bad =
    (funcs !== undefined && !funcs.has(id) && !(sock && mayUpdateSockmap(env, id))) ||
    (types !== undefined && !types.has(map.type));
  if (bad) reject(env, EINVAL, `cannot pass map_type ${map.type} into func ${funcIdName(id)}#${id}\n`);
}
