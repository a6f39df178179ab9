/**
 * `union bpf_attr` as the commands here use it: fields in order, `__aligned_u64`
 * aligned to 8. Source: include/uapi/linux/bpf.h of 6.18; the tests compare every
 * offset with the running kernel's BTF. A field that newer kernels added stands last,
 * so a shorter attr is what older kernels know.
 */

/** `ptr`: a u64 that holds an address; encoders take the bytes themselves. `name`: char[16]. */
export type FieldType = "u32" | "s32" | "u64" | "ptr" | "name";
type Layout = readonly (readonly [name: string, type: FieldType])[];

const ELEM = [
  ["map_fd", "u32"],
  ["key", "ptr"],
  ["value", "ptr"],
  ["flags", "u64"],
] as const satisfies Layout;
const BATCH = [
  ["in_batch", "ptr"],
  ["out_batch", "ptr"],
  ["keys", "ptr"],
  ["values", "ptr"],
  ["count", "u32"],
  ["map_fd", "u32"],
  ["elem_flags", "u64"],
  ["flags", "u64"],
] as const satisfies Layout;
const OBJ = [
  ["pathname", "ptr"],
  ["bpf_fd", "u32"],
  ["file_flags", "u32"],
  ["path_fd", "s32"],
] as const satisfies Layout;
const NEXT_ID = [
  ["id", "u32"],
  ["next_id", "u32"],
] as const satisfies Layout;
const BY_ID = [
  ["id", "u32"],
  ["next_id", "u32"],
  ["open_flags", "u32"],
] as const satisfies Layout;
const LINK = [
  ["prog_fd", "u32"],
  ["target_fd", "u32"],
  ["attach_type", "u32"],
  ["flags", "u32"],
] as const satisfies Layout;

export const ATTR_LAYOUTS = {
  MAP_CREATE: [
    ["map_type", "u32"],
    ["key_size", "u32"],
    ["value_size", "u32"],
    ["max_entries", "u32"],
    ["map_flags", "u32"],
    ["inner_map_fd", "u32"],
    ["numa_node", "u32"],
    ["map_name", "name"],
    ["map_ifindex", "u32"],
    ["btf_fd", "u32"],
    ["btf_key_type_id", "u32"],
    ["btf_value_type_id", "u32"],
    ["btf_vmlinux_value_type_id", "u32"],
    ["map_extra", "u64"],
    ["value_type_btf_obj_fd", "s32"],
    ["map_token_fd", "s32"],
  ],
  MAP_LOOKUP_ELEM: ELEM,
  MAP_UPDATE_ELEM: ELEM,
  MAP_DELETE_ELEM: [
    ["map_fd", "u32"],
    ["key", "ptr"],
  ],
  MAP_LOOKUP_AND_DELETE_ELEM: ELEM,
  MAP_GET_NEXT_KEY: [
    ["map_fd", "u32"],
    ["key", "ptr"],
    ["next_key", "ptr"],
  ],
  MAP_FREEZE: [["map_fd", "u32"]],
  MAP_LOOKUP_BATCH: BATCH,
  MAP_LOOKUP_AND_DELETE_BATCH: BATCH,
  MAP_UPDATE_BATCH: BATCH,
  MAP_DELETE_BATCH: BATCH,
  PROG_LOAD: [
    ["prog_type", "u32"],
    ["insn_cnt", "u32"],
    ["insns", "ptr"],
    ["license", "ptr"],
    ["log_level", "u32"],
    ["log_size", "u32"],
    ["log_buf", "ptr"],
    ["kern_version", "u32"],
    ["prog_flags", "u32"],
    ["prog_name", "name"],
    ["prog_ifindex", "u32"],
    ["expected_attach_type", "u32"],
    ["prog_btf_fd", "u32"],
    ["func_info_rec_size", "u32"],
    ["func_info", "ptr"],
    ["func_info_cnt", "u32"],
    ["line_info_rec_size", "u32"],
    ["line_info", "ptr"],
    ["line_info_cnt", "u32"],
    ["attach_btf_id", "u32"],
    ["attach_prog_fd", "u32"],
    ["core_relo_cnt", "u32"],
    ["fd_array", "ptr"],
    ["core_relos", "ptr"],
    ["core_relo_rec_size", "u32"],
    ["log_true_size", "u32"],
  ],
  PROG_TEST_RUN: [
    ["prog_fd", "u32"],
    ["retval", "u32"],
    ["data_size_in", "u32"],
    ["data_size_out", "u32"],
    ["data_in", "ptr"],
    ["data_out", "ptr"],
    ["repeat", "u32"],
    ["duration", "u32"],
    ["ctx_size_in", "u32"],
    ["ctx_size_out", "u32"],
    ["ctx_in", "ptr"],
    ["ctx_out", "ptr"],
    ["flags", "u32"],
    ["cpu", "u32"],
    ["batch_size", "u32"],
  ],
  PROG_ATTACH: [
    ["target_fd", "u32"],
    ["attach_bpf_fd", "u32"],
    ["attach_type", "u32"],
    ["attach_flags", "u32"],
    ["replace_bpf_fd", "u32"],
    ["relative_fd", "u32"],
    ["expected_revision", "u64"],
  ],
  PROG_DETACH: [
    ["target_fd", "u32"],
    ["attach_bpf_fd", "u32"],
    ["attach_type", "u32"],
  ],
  PROG_BIND_MAP: [
    ["prog_fd", "u32"],
    ["map_fd", "u32"],
    ["flags", "u32"],
  ],
  OBJ_PIN: OBJ,
  OBJ_GET: OBJ,
  OBJ_GET_INFO_BY_FD: [
    ["bpf_fd", "u32"],
    ["info_len", "u32"],
    ["info", "ptr"],
  ],
  PROG_GET_NEXT_ID: NEXT_ID,
  MAP_GET_NEXT_ID: NEXT_ID,
  BTF_GET_NEXT_ID: NEXT_ID,
  LINK_GET_NEXT_ID: NEXT_ID,
  PROG_GET_FD_BY_ID: BY_ID,
  MAP_GET_FD_BY_ID: BY_ID,
  BTF_GET_FD_BY_ID: BY_ID,
  LINK_GET_FD_BY_ID: BY_ID,
  RAW_TRACEPOINT_OPEN: [
    ["name", "ptr"],
    ["prog_fd", "u32"],
    ["cookie", "u64"],
  ],
  BTF_LOAD: [
    ["btf", "ptr"],
    ["btf_log_buf", "ptr"],
    ["btf_size", "u32"],
    ["btf_log_size", "u32"],
    ["btf_log_level", "u32"],
    ["btf_log_true_size", "u32"],
  ],
  LINK_CREATE: LINK,
  LINK_UPDATE: [
    ["link_fd", "u32"],
    ["new_prog_fd", "u32"],
    ["flags", "u32"],
    ["old_prog_fd", "u32"],
  ],
  LINK_DETACH: [["link_fd", "u32"]],
  ITER_CREATE: [
    ["link_fd", "u32"],
    ["flags", "u32"],
  ],
  ENABLE_STATS: [["type", "u32"]],
} as const satisfies Record<string, Layout>;

/** LINK_CREATE by what follows its common fields (`link_create.perf_event`, …). */
export const LINK_VARIANTS = {
  target_btf: [...LINK, ["target_btf_id", "u32"]],
  iter: [...LINK, ["iter_info", "ptr"], ["iter_info_len", "u32"]],
  perf_event: [...LINK, ["bpf_cookie", "u64"]],
  kprobe_multi: [
    ...LINK,
    ["multi_flags", "u32"],
    ["cnt", "u32"],
    ["syms", "ptr"],
    ["addrs", "ptr"],
    ["cookies", "ptr"],
  ],
  tracing: [...LINK, ["target_btf_id", "u32"], ["cookie", "u64"]],
  netfilter: [...LINK, ["pf", "u32"], ["hooknum", "u32"], ["priority", "s32"], ["nf_flags", "u32"]],
  tcx: [...LINK, ["relative_fd", "u32"], ["expected_revision", "u64"]],
  uprobe_multi: [
    ...LINK,
    ["path", "ptr"],
    ["offsets", "ptr"],
    ["ref_ctr_offsets", "ptr"],
    ["cookies", "ptr"],
    ["cnt", "u32"],
    ["multi_flags", "u32"],
    ["pid", "u32"],
  ],
} as const satisfies Record<string, Layout>;

export type AttrCommand = keyof typeof ATTR_LAYOUTS;
export type LinkVariant = keyof typeof LINK_VARIANTS;

type ValueOf<T extends FieldType> = T extends "ptr"
  ? Uint8Array | number
  : T extends "name"
    ? string
    : T extends "u64"
      ? number | bigint
      : number;
/** The fields of a layout; those not given are zero. */
export type AttrFields<L extends Layout> = { [F in L[number] as F[0]]?: ValueOf<F[1]> | undefined };
export type AttrOf<C extends AttrCommand> = AttrFields<(typeof ATTR_LAYOUTS)[C]>;
export type LinkAttrOf<V extends LinkVariant> = AttrFields<(typeof LINK_VARIANTS)[V]>;
