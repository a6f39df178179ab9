/** Names of special fields (btf_field_type_name). */
import * as f from "./map.ts";

const NAMES: readonly (readonly [number, string])[] = [
  [f.BPF_SPIN_LOCK, "bpf_spin_lock"],
  [f.BPF_RES_SPIN_LOCK, "bpf_res_spin_lock"],
  [f.BPF_TIMER, "bpf_timer"],
  [f.BPF_WORKQUEUE, "bpf_wq"],
  [f.BPF_KPTR_UNREF, "kptr"],
  [f.BPF_KPTR_REF, "kptr"],
  [f.BPF_KPTR_PERCPU, "percpu_kptr"],
  [f.BPF_UPTR, "uptr"],
  [f.BPF_LIST_HEAD, "bpf_list_head"],
  [f.BPF_LIST_NODE, "bpf_list_node"],
  [f.BPF_RB_ROOT, "bpf_rb_root"],
  [f.BPF_RB_NODE, "bpf_rb_node"],
  [f.BPF_REFCOUNT, "bpf_refcount"],
  [f.BPF_TASK_WORK, "bpf_task_work"],
];

export function fieldTypeName(type: number): string {
  return NAMES.find(([t]) => t === type)?.[1] ?? "unknown";
}
