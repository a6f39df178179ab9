/**
 * Link types: `enum bpf_link_type`. Ids from include/uapi/linux/bpf.h of 6.18; `since` is
 * the release whose bpf.h first has the name.
 */

/** `BPF_LINK_TYPE_*` without the prefix, by name. */
export const BPF_LINK_TYPE = {
  UNSPEC: 0,
  RAW_TRACEPOINT: 1,
  TRACING: 2,
  CGROUP: 3,
  ITER: 4,
  NETNS: 5,
  XDP: 6,
  PERF_EVENT: 7,
  KPROBE_MULTI: 8,
  STRUCT_OPS: 9,
  NETFILTER: 10,
  TCX: 11,
  UPROBE_MULTI: 12,
  NETKIT: 13,
  SOCKMAP: 14,
} as const;

export type LinkTypeName = keyof typeof BPF_LINK_TYPE;

/** One link type. `since` is a kernel release such as "5.15". */
export interface LinkTypeRow {
  readonly id: number;
  readonly name: LinkTypeName;
  readonly since: string;
}

/** Every link type of 6.18, by id. */
export const LINK_TYPES: readonly LinkTypeRow[] = [
  { id: 0, name: "UNSPEC", since: "5.8" },
  { id: 1, name: "RAW_TRACEPOINT", since: "5.8" },
  { id: 2, name: "TRACING", since: "5.8" },
  { id: 3, name: "CGROUP", since: "5.8" },
  { id: 4, name: "ITER", since: "5.8" },
  { id: 5, name: "NETNS", since: "5.8" },
  { id: 6, name: "XDP", since: "5.9" },
  { id: 7, name: "PERF_EVENT", since: "5.15" },
  { id: 8, name: "KPROBE_MULTI", since: "5.18" },
  { id: 9, name: "STRUCT_OPS", since: "5.6" },
  { id: 10, name: "NETFILTER", since: "6.4" },
  { id: 11, name: "TCX", since: "6.6" },
  { id: 12, name: "UPROBE_MULTI", since: "6.6" },
  { id: 13, name: "NETKIT", since: "6.7" },
  { id: 14, name: "SOCKMAP", since: "6.10" },
];

/** Name of link type `id` without its prefix ("PERF_EVENT"), or undefined when 6.18 has none. */
export function linkTypeName(id: number): LinkTypeName | undefined {
  return LINK_TYPES[id]?.name;
}
