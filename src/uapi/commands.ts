/**
 * Commands of bpf(2): `enum bpf_cmd`, and of `union bpf_attr` what each reads and writes. Numbers, offsets and sizes
 * are those of include/uapi/linux/bpf.h of 6.18; `since` of a field is the release that first has it there
 * (for LINK_CREATE etc. not before the command's own).
 */
import type { FieldRow } from "./layout.ts";

/** `BPF_*` of `enum bpf_cmd` without `BPF_`, by name. PROG_RUN is another name of PROG_TEST_RUN. */
export const BPF_CMD = {
  MAP_CREATE: 0,
  MAP_LOOKUP_ELEM: 1,
  MAP_UPDATE_ELEM: 2,
  MAP_DELETE_ELEM: 3,
  MAP_GET_NEXT_KEY: 4,
  PROG_LOAD: 5,
  OBJ_PIN: 6,
  OBJ_GET: 7,
  PROG_ATTACH: 8,
  PROG_DETACH: 9,
  PROG_TEST_RUN: 10,
  PROG_RUN: 10,
  PROG_GET_NEXT_ID: 11,
  MAP_GET_NEXT_ID: 12,
  PROG_GET_FD_BY_ID: 13,
  MAP_GET_FD_BY_ID: 14,
  OBJ_GET_INFO_BY_FD: 15,
  PROG_QUERY: 16,
  RAW_TRACEPOINT_OPEN: 17,
  BTF_LOAD: 18,
  BTF_GET_FD_BY_ID: 19,
  TASK_FD_QUERY: 20,
  MAP_LOOKUP_AND_DELETE_ELEM: 21,
  MAP_FREEZE: 22,
  BTF_GET_NEXT_ID: 23,
  MAP_LOOKUP_BATCH: 24,
  MAP_LOOKUP_AND_DELETE_BATCH: 25,
  MAP_UPDATE_BATCH: 26,
  MAP_DELETE_BATCH: 27,
  LINK_CREATE: 28,
  LINK_UPDATE: 29,
  LINK_GET_FD_BY_ID: 30,
  LINK_GET_NEXT_ID: 31,
  ENABLE_STATS: 32,
  ITER_CREATE: 33,
  LINK_DETACH: 34,
  PROG_BIND_MAP: 35,
  TOKEN_CREATE: 36,
  PROG_STREAM_READ_BY_FD: 37,
} as const;

export type CommandName = keyof typeof BPF_CMD;

/** One command. */
export interface CommandRow {
  readonly name: CommandName;
  readonly id: number;
  readonly since: string;
  /** Bytes of `union bpf_attr` up to the command's last field on 6.18. A kernel refuses non-zero bytes past what it knows (E2BIG). */
  readonly size: number;
  readonly attr: readonly FieldRow[];
}

/** Every command of 6.18, by id. Fields a kernel is older than must be 0 or left out. */
export const COMMANDS: readonly CommandRow[] = [
  {
    name: "MAP_CREATE", id: 0, since: "3.18", size: 92,
    attr: [
      { name: "map_type", offset: 0, size: 4, type: "u32", since: "3.18" },
      { name: "key_size", offset: 4, size: 4, type: "u32", since: "3.18" },
      { name: "value_size", offset: 8, size: 4, type: "u32", since: "3.18" },
      { name: "max_entries", offset: 12, size: 4, type: "u32", since: "3.18" },
      { name: "map_flags", offset: 16, size: 4, type: "u32", since: "4.6" },
      { name: "inner_map_fd", offset: 20, size: 4, type: "u32", since: "4.12" },
      { name: "numa_node", offset: 24, size: 4, type: "u32", since: "4.14" },
      { name: "map_name", offset: 28, size: 16, type: "char[16]", since: "4.15" },
      { name: "map_ifindex", offset: 44, size: 4, type: "u32", since: "4.16" },
      { name: "btf_fd", offset: 48, size: 4, type: "u32", since: "4.18" },
      { name: "btf_key_type_id", offset: 52, size: 4, type: "u32", since: "4.18" },
      { name: "btf_value_type_id", offset: 56, size: 4, type: "u32", since: "4.18" },
      { name: "btf_vmlinux_value_type_id", offset: 60, size: 4, type: "u32", since: "5.6" },
      { name: "map_extra", offset: 64, size: 8, type: "u64", since: "5.16" },
      { name: "value_type_btf_obj_fd", offset: 72, size: 4, type: "s32", since: "6.9" },
      { name: "map_token_fd", offset: 76, size: 4, type: "s32", since: "6.9" },
      { name: "excl_prog_hash", offset: 80, size: 8, type: "u64", pointer: true, since: "6.18" },
      { name: "excl_prog_hash_size", offset: 88, size: 4, type: "u32", since: "6.18" },
    ],
  },
  {
    name: "MAP_LOOKUP_ELEM", id: 1, since: "3.18", size: 32,
    attr: [
      { name: "map_fd", offset: 0, size: 4, type: "u32", since: "3.18" },
      { name: "key", offset: 8, size: 8, type: "u64", pointer: true, since: "3.18" },
      { name: "value", offset: 16, size: 8, type: "u64", pointer: true, since: "3.18" },
      { name: "flags", offset: 24, size: 8, type: "u64", since: "5.1" },
    ],
  },
  {
    name: "MAP_UPDATE_ELEM", id: 2, since: "3.18", size: 32,
    attr: [
      { name: "map_fd", offset: 0, size: 4, type: "u32", since: "3.18" },
      { name: "key", offset: 8, size: 8, type: "u64", pointer: true, since: "3.18" },
      { name: "value", offset: 16, size: 8, type: "u64", pointer: true, since: "3.18" },
      { name: "flags", offset: 24, size: 8, type: "u64", since: "3.18" },
    ],
  },
  {
    name: "MAP_DELETE_ELEM", id: 3, since: "3.18", size: 16,
    attr: [
      { name: "map_fd", offset: 0, size: 4, type: "u32", since: "3.18" },
      { name: "key", offset: 8, size: 8, type: "u64", pointer: true, since: "3.18" },
    ],
  },
  {
    name: "MAP_GET_NEXT_KEY", id: 4, since: "3.18", size: 24,
    attr: [
      { name: "map_fd", offset: 0, size: 4, type: "u32", since: "3.18" },
      { name: "key", offset: 8, size: 8, type: "u64", pointer: true, since: "3.18" },
      { name: "next_key", offset: 16, size: 8, type: "u64", pointer: true, since: "3.18" },
    ],
  },
  {
    name: "PROG_LOAD", id: 5, since: "3.18", size: 168,
    attr: [
      { name: "prog_type", offset: 0, size: 4, type: "u32", since: "3.18" },
      { name: "insn_cnt", offset: 4, size: 4, type: "u32", since: "3.18" },
      { name: "insns", offset: 8, size: 8, type: "u64", pointer: true, since: "3.18" },
      { name: "license", offset: 16, size: 8, type: "u64", pointer: true, since: "3.18" },
      { name: "log_level", offset: 24, size: 4, type: "u32", since: "3.18" },
      { name: "log_size", offset: 28, size: 4, type: "u32", since: "3.18" },
      { name: "log_buf", offset: 32, size: 8, type: "u64", pointer: true, since: "3.18" },
      { name: "kern_version", offset: 40, size: 4, type: "u32", since: "4.1" },
      { name: "prog_flags", offset: 44, size: 4, type: "u32", since: "4.12" },
      { name: "prog_name", offset: 48, size: 16, type: "char[16]", since: "4.15" },
      { name: "prog_ifindex", offset: 64, size: 4, type: "u32", since: "4.16" },
      { name: "expected_attach_type", offset: 68, size: 4, type: "u32", since: "4.17" },
      { name: "prog_btf_fd", offset: 72, size: 4, type: "u32", since: "5.0" },
      { name: "func_info_rec_size", offset: 76, size: 4, type: "u32", since: "5.0" },
      { name: "func_info", offset: 80, size: 8, type: "u64", pointer: true, since: "5.0" },
      { name: "func_info_cnt", offset: 88, size: 4, type: "u32", since: "5.0" },
      { name: "line_info_rec_size", offset: 92, size: 4, type: "u32", since: "5.0" },
      { name: "line_info", offset: 96, size: 8, type: "u64", pointer: true, since: "5.0" },
      { name: "line_info_cnt", offset: 104, size: 4, type: "u32", since: "5.0" },
      { name: "attach_btf_id", offset: 108, size: 4, type: "u32", since: "5.5" },
      { name: "attach_prog_fd", offset: 112, size: 4, type: "u32", since: "5.5" },
      { name: "attach_btf_obj_fd", offset: 112, size: 4, type: "u32", since: "5.11" },
      { name: "core_relo_cnt", offset: 116, size: 4, type: "u32", since: "5.17" },
      { name: "fd_array", offset: 120, size: 8, type: "u64", pointer: true, since: "5.14" },
      { name: "core_relos", offset: 128, size: 8, type: "u64", pointer: true, since: "5.17" },
      { name: "core_relo_rec_size", offset: 136, size: 4, type: "u32", since: "5.17" },
      { name: "log_true_size", offset: 140, size: 4, type: "u32", out: true, since: "6.4" },
      { name: "prog_token_fd", offset: 144, size: 4, type: "s32", since: "6.9" },
      { name: "fd_array_cnt", offset: 148, size: 4, type: "u32", since: "6.14" },
      { name: "signature", offset: 152, size: 8, type: "u64", pointer: true, since: "6.18" },
      { name: "signature_size", offset: 160, size: 4, type: "u32", since: "6.18" },
      { name: "keyring_id", offset: 164, size: 4, type: "s32", since: "6.18" },
    ],
  },
  {
    name: "OBJ_PIN", id: 6, since: "4.4", size: 20,
    attr: [
      { name: "pathname", offset: 0, size: 8, type: "u64", pointer: true, since: "4.4" },
      { name: "bpf_fd", offset: 8, size: 4, type: "u32", since: "4.4" },
      { name: "file_flags", offset: 12, size: 4, type: "u32", since: "4.15" },
      { name: "path_fd", offset: 16, size: 4, type: "s32", since: "6.5" },
    ],
  },
  {
    name: "OBJ_GET", id: 7, since: "4.4", size: 20,
    attr: [
      { name: "pathname", offset: 0, size: 8, type: "u64", pointer: true, since: "4.4" },
      { name: "bpf_fd", offset: 8, size: 4, type: "u32", since: "4.4" },
      { name: "file_flags", offset: 12, size: 4, type: "u32", since: "4.15" },
      { name: "path_fd", offset: 16, size: 4, type: "s32", since: "6.5" },
    ],
  },
  {
    name: "PROG_ATTACH", id: 8, since: "4.10", size: 32,
    attr: [
      { name: "target_fd", offset: 0, size: 4, type: "u32", since: "4.10" },
      { name: "target_ifindex", offset: 0, size: 4, type: "u32", since: "6.6" },
      { name: "attach_bpf_fd", offset: 4, size: 4, type: "u32", since: "4.10" },
      { name: "attach_type", offset: 8, size: 4, type: "u32", since: "4.10" },
      { name: "attach_flags", offset: 12, size: 4, type: "u32", since: "4.10" },
      { name: "replace_bpf_fd", offset: 16, size: 4, type: "u32", since: "5.6" },
      { name: "relative_fd", offset: 20, size: 4, type: "u32", since: "6.6" },
      { name: "relative_id", offset: 20, size: 4, type: "u32", since: "6.6" },
      { name: "expected_revision", offset: 24, size: 8, type: "u64", since: "6.6" },
    ],
  },
  {
    name: "PROG_DETACH", id: 9, since: "4.10", size: 32,
    attr: [
      { name: "target_fd", offset: 0, size: 4, type: "u32", since: "4.10" },
      { name: "target_ifindex", offset: 0, size: 4, type: "u32", since: "6.6" },
      { name: "attach_bpf_fd", offset: 4, size: 4, type: "u32", since: "4.10" },
      { name: "attach_type", offset: 8, size: 4, type: "u32", since: "4.10" },
      { name: "attach_flags", offset: 12, size: 4, type: "u32", since: "4.10" },
      { name: "relative_fd", offset: 20, size: 4, type: "u32", since: "6.6" },
      { name: "relative_id", offset: 20, size: 4, type: "u32", since: "6.6" },
      { name: "expected_revision", offset: 24, size: 8, type: "u64", since: "6.6" },
    ],
  },
  {
    name: "PROG_TEST_RUN", id: 10, since: "4.12", size: 76,
    attr: [
      { name: "prog_fd", offset: 0, size: 4, type: "u32", since: "4.12" },
      { name: "retval", offset: 4, size: 4, type: "u32", out: true, since: "4.12" },
      { name: "data_size_in", offset: 8, size: 4, type: "u32", since: "4.12" },
      { name: "data_size_out", offset: 12, size: 4, type: "u32", out: true, since: "4.12" },
      { name: "data_in", offset: 16, size: 8, type: "u64", pointer: true, since: "4.12" },
      { name: "data_out", offset: 24, size: 8, type: "u64", pointer: true, since: "4.12" },
      { name: "repeat", offset: 32, size: 4, type: "u32", since: "4.12" },
      { name: "duration", offset: 36, size: 4, type: "u32", out: true, since: "4.12" },
      { name: "ctx_size_in", offset: 40, size: 4, type: "u32", since: "5.2" },
      { name: "ctx_size_out", offset: 44, size: 4, type: "u32", out: true, since: "5.2" },
      { name: "ctx_in", offset: 48, size: 8, type: "u64", pointer: true, since: "5.2" },
      { name: "ctx_out", offset: 56, size: 8, type: "u64", pointer: true, since: "5.2" },
      { name: "flags", offset: 64, size: 4, type: "u32", since: "5.10" },
      { name: "cpu", offset: 68, size: 4, type: "u32", since: "5.10" },
      { name: "batch_size", offset: 72, size: 4, type: "u32", since: "5.18" },
    ],
  },
  {
    name: "PROG_GET_NEXT_ID", id: 11, since: "4.13", size: 8,
    attr: [
      { name: "start_id", offset: 0, size: 4, type: "u32", since: "4.13" },
      { name: "next_id", offset: 4, size: 4, type: "u32", out: true, since: "4.13" },
    ],
  },
  {
    name: "MAP_GET_NEXT_ID", id: 12, since: "4.13", size: 8,
    attr: [
      { name: "start_id", offset: 0, size: 4, type: "u32", since: "4.13" },
      { name: "next_id", offset: 4, size: 4, type: "u32", out: true, since: "4.13" },
    ],
  },
  {
    name: "PROG_GET_FD_BY_ID", id: 13, since: "4.13", size: 4,
    attr: [
      { name: "prog_id", offset: 0, size: 4, type: "u32", since: "4.13" },
    ],
  },
  {
    name: "MAP_GET_FD_BY_ID", id: 14, since: "4.13", size: 12,
    attr: [
      { name: "map_id", offset: 0, size: 4, type: "u32", since: "4.13" },
      { name: "open_flags", offset: 8, size: 4, type: "u32", since: "4.15" },
    ],
  },
  {
    name: "OBJ_GET_INFO_BY_FD", id: 15, since: "4.13", size: 16,
    attr: [
      { name: "bpf_fd", offset: 0, size: 4, type: "u32", since: "4.13" },
      { name: "info_len", offset: 4, size: 4, type: "u32", out: true, since: "4.13" },
      { name: "info", offset: 8, size: 8, type: "u64", pointer: true, since: "4.13" },
    ],
  },
  {
    name: "PROG_QUERY", id: 16, since: "4.15", size: 64,
    attr: [
      { name: "target_fd", offset: 0, size: 4, type: "u32", since: "4.15" },
      { name: "target_ifindex", offset: 0, size: 4, type: "u32", since: "6.6" },
      { name: "attach_type", offset: 4, size: 4, type: "u32", since: "4.15" },
      { name: "query_flags", offset: 8, size: 4, type: "u32", since: "4.15" },
      { name: "attach_flags", offset: 12, size: 4, type: "u32", out: true, since: "4.15" },
      { name: "prog_ids", offset: 16, size: 8, type: "u64", pointer: true, since: "4.15" },
      { name: "prog_cnt", offset: 24, size: 4, type: "u32", out: true, since: "4.15" },
      { name: "count", offset: 24, size: 4, type: "u32", out: true, since: "6.6" },
      { name: "prog_attach_flags", offset: 32, size: 8, type: "u64", pointer: true, since: "6.0" },
      { name: "link_ids", offset: 40, size: 8, type: "u64", pointer: true, since: "6.6" },
      { name: "link_attach_flags", offset: 48, size: 8, type: "u64", pointer: true, since: "6.6" },
      { name: "revision", offset: 56, size: 8, type: "u64", out: true, since: "6.6" },
    ],
  },
  {
    name: "RAW_TRACEPOINT_OPEN", id: 17, since: "4.17", size: 24,
    attr: [
      { name: "name", offset: 0, size: 8, type: "u64", pointer: true, since: "4.17" },
      { name: "prog_fd", offset: 8, size: 4, type: "u32", since: "4.17" },
      { name: "cookie", offset: 16, size: 8, type: "u64", since: "6.10" },
    ],
  },
  {
    name: "BTF_LOAD", id: 18, since: "4.18", size: 40,
    attr: [
      { name: "btf", offset: 0, size: 8, type: "u64", pointer: true, since: "4.18" },
      { name: "btf_log_buf", offset: 8, size: 8, type: "u64", pointer: true, since: "4.18" },
      { name: "btf_size", offset: 16, size: 4, type: "u32", since: "4.18" },
      { name: "btf_log_size", offset: 20, size: 4, type: "u32", since: "4.18" },
      { name: "btf_log_level", offset: 24, size: 4, type: "u32", since: "4.18" },
      { name: "btf_log_true_size", offset: 28, size: 4, type: "u32", out: true, since: "6.4" },
      { name: "btf_flags", offset: 32, size: 4, type: "u32", since: "6.9" },
      { name: "btf_token_fd", offset: 36, size: 4, type: "s32", since: "6.9" },
    ],
  },
  {
    name: "BTF_GET_FD_BY_ID", id: 19, since: "4.18", size: 16,
    attr: [
      { name: "btf_id", offset: 0, size: 4, type: "u32", since: "4.18" },
      { name: "fd_by_id_token_fd", offset: 12, size: 4, type: "s32", since: "6.17" },
    ],
  },
  {
    name: "TASK_FD_QUERY", id: 20, since: "4.18", size: 48,
    attr: [
      { name: "pid", offset: 0, size: 4, type: "u32", since: "4.18" },
      { name: "fd", offset: 4, size: 4, type: "u32", since: "4.18" },
      { name: "flags", offset: 8, size: 4, type: "u32", since: "4.18" },
      { name: "buf_len", offset: 12, size: 4, type: "u32", out: true, since: "4.18" },
      { name: "buf", offset: 16, size: 8, type: "u64", pointer: true, since: "4.18" },
      { name: "prog_id", offset: 24, size: 4, type: "u32", out: true, since: "4.18" },
      { name: "fd_type", offset: 28, size: 4, type: "u32", out: true, since: "4.18" },
      { name: "probe_offset", offset: 32, size: 8, type: "u64", out: true, since: "4.18" },
      { name: "probe_addr", offset: 40, size: 8, type: "u64", out: true, since: "4.18" },
    ],
  },
  {
    name: "MAP_LOOKUP_AND_DELETE_ELEM", id: 21, since: "4.20", size: 32,
    attr: [
      { name: "map_fd", offset: 0, size: 4, type: "u32", since: "4.20" },
      { name: "key", offset: 8, size: 8, type: "u64", pointer: true, since: "4.20" },
      { name: "value", offset: 16, size: 8, type: "u64", pointer: true, since: "4.20" },
      { name: "flags", offset: 24, size: 8, type: "u64", since: "5.14" },
    ],
  },
  {
    name: "MAP_FREEZE", id: 22, since: "5.2", size: 4,
    attr: [
      { name: "map_fd", offset: 0, size: 4, type: "u32", since: "5.2" },
    ],
  },
  {
    name: "BTF_GET_NEXT_ID", id: 23, since: "5.4", size: 8,
    attr: [
      { name: "start_id", offset: 0, size: 4, type: "u32", since: "5.4" },
      { name: "next_id", offset: 4, size: 4, type: "u32", out: true, since: "5.4" },
    ],
  },
  {
    name: "MAP_LOOKUP_BATCH", id: 24, since: "5.6", size: 56,
    attr: [
      { name: "in_batch", offset: 0, size: 8, type: "u64", pointer: true, since: "5.6" },
      { name: "out_batch", offset: 8, size: 8, type: "u64", pointer: true, since: "5.6" },
      { name: "keys", offset: 16, size: 8, type: "u64", pointer: true, since: "5.6" },
      { name: "values", offset: 24, size: 8, type: "u64", pointer: true, since: "5.6" },
      { name: "count", offset: 32, size: 4, type: "u32", out: true, since: "5.6" },
      { name: "map_fd", offset: 36, size: 4, type: "u32", since: "5.6" },
      { name: "elem_flags", offset: 40, size: 8, type: "u64", since: "5.6" },
      { name: "flags", offset: 48, size: 8, type: "u64", since: "5.6" },
    ],
  },
  {
    name: "MAP_LOOKUP_AND_DELETE_BATCH", id: 25, since: "5.6", size: 56,
    attr: [
      { name: "in_batch", offset: 0, size: 8, type: "u64", pointer: true, since: "5.6" },
      { name: "out_batch", offset: 8, size: 8, type: "u64", pointer: true, since: "5.6" },
      { name: "keys", offset: 16, size: 8, type: "u64", pointer: true, since: "5.6" },
      { name: "values", offset: 24, size: 8, type: "u64", pointer: true, since: "5.6" },
      { name: "count", offset: 32, size: 4, type: "u32", out: true, since: "5.6" },
      { name: "map_fd", offset: 36, size: 4, type: "u32", since: "5.6" },
      { name: "elem_flags", offset: 40, size: 8, type: "u64", since: "5.6" },
      { name: "flags", offset: 48, size: 8, type: "u64", since: "5.6" },
    ],
  },
  {
    name: "MAP_UPDATE_BATCH", id: 26, since: "5.6", size: 56,
    attr: [
      { name: "in_batch", offset: 0, size: 8, type: "u64", pointer: true, since: "5.6" },
      { name: "out_batch", offset: 8, size: 8, type: "u64", pointer: true, since: "5.6" },
      { name: "keys", offset: 16, size: 8, type: "u64", pointer: true, since: "5.6" },
      { name: "values", offset: 24, size: 8, type: "u64", pointer: true, since: "5.6" },
      { name: "count", offset: 32, size: 4, type: "u32", out: true, since: "5.6" },
      { name: "map_fd", offset: 36, size: 4, type: "u32", since: "5.6" },
      { name: "elem_flags", offset: 40, size: 8, type: "u64", since: "5.6" },
      { name: "flags", offset: 48, size: 8, type: "u64", since: "5.6" },
    ],
  },
  {
    name: "MAP_DELETE_BATCH", id: 27, since: "5.6", size: 56,
    attr: [
      { name: "in_batch", offset: 0, size: 8, type: "u64", pointer: true, since: "5.6" },
      { name: "out_batch", offset: 8, size: 8, type: "u64", pointer: true, since: "5.6" },
      { name: "keys", offset: 16, size: 8, type: "u64", pointer: true, since: "5.6" },
      { name: "values", offset: 24, size: 8, type: "u64", pointer: true, since: "5.6" },
      { name: "count", offset: 32, size: 4, type: "u32", out: true, since: "5.6" },
      { name: "map_fd", offset: 36, size: 4, type: "u32", since: "5.6" },
      { name: "elem_flags", offset: 40, size: 8, type: "u64", since: "5.6" },
      { name: "flags", offset: 48, size: 8, type: "u64", since: "5.6" },
    ],
  },
  {
    name: "LINK_CREATE", id: 28, since: "5.7", size: 60,
    attr: [
      { name: "prog_fd", offset: 0, size: 4, type: "u32", since: "5.7" },
      { name: "map_fd", offset: 0, size: 4, type: "u32", since: "6.4" },
      { name: "target_fd", offset: 4, size: 4, type: "u32", since: "5.7" },
      { name: "target_ifindex", offset: 4, size: 4, type: "u32", since: "5.9" },
      { name: "attach_type", offset: 8, size: 4, type: "u32", since: "5.7" },
      { name: "flags", offset: 12, size: 4, type: "u32", since: "5.7" },
      { name: "target_btf_id", offset: 16, size: 4, type: "u32", since: "5.11" },
      { name: "iter_info", offset: 16, size: 8, type: "u64", pointer: true, since: "5.9" },
      { name: "iter_info_len", offset: 24, size: 4, type: "u32", since: "5.9" },
      { name: "perf_event.bpf_cookie", offset: 16, size: 8, type: "u64", since: "5.15" },
      { name: "kprobe_multi.flags", offset: 16, size: 4, type: "u32", since: "5.18" },
      { name: "kprobe_multi.cnt", offset: 20, size: 4, type: "u32", since: "5.18" },
      { name: "kprobe_multi.syms", offset: 24, size: 8, type: "u64", pointer: true, since: "5.18" },
      { name: "kprobe_multi.addrs", offset: 32, size: 8, type: "u64", pointer: true, since: "5.18" },
      { name: "kprobe_multi.cookies", offset: 40, size: 8, type: "u64", pointer: true, since: "5.18" },
      { name: "tracing.target_btf_id", offset: 16, size: 4, type: "u32", since: "5.19" },
      { name: "tracing.cookie", offset: 24, size: 8, type: "u64", since: "5.19" },
      { name: "netfilter.pf", offset: 16, size: 4, type: "u32", since: "6.4" },
      { name: "netfilter.hooknum", offset: 20, size: 4, type: "u32", since: "6.4" },
      { name: "netfilter.priority", offset: 24, size: 4, type: "s32", since: "6.4" },
      { name: "netfilter.flags", offset: 28, size: 4, type: "u32", since: "6.4" },
      { name: "tcx.relative_fd", offset: 16, size: 4, type: "u32", since: "6.6" },
      { name: "tcx.relative_id", offset: 16, size: 4, type: "u32", since: "6.6" },
      { name: "tcx.expected_revision", offset: 24, size: 8, type: "u64", since: "6.6" },
      { name: "uprobe_multi.path", offset: 16, size: 8, type: "u64", pointer: true, since: "6.6" },
      { name: "uprobe_multi.offsets", offset: 24, size: 8, type: "u64", pointer: true, since: "6.6" },
      { name: "uprobe_multi.ref_ctr_offsets", offset: 32, size: 8, type: "u64", pointer: true, since: "6.6" },
      { name: "uprobe_multi.cookies", offset: 40, size: 8, type: "u64", pointer: true, since: "6.6" },
      { name: "uprobe_multi.cnt", offset: 48, size: 4, type: "u32", since: "6.6" },
      { name: "uprobe_multi.flags", offset: 52, size: 4, type: "u32", since: "6.6" },
      { name: "uprobe_multi.pid", offset: 56, size: 4, type: "u32", since: "6.6" },
      { name: "netkit.relative_fd", offset: 16, size: 4, type: "u32", since: "6.7" },
      { name: "netkit.relative_id", offset: 16, size: 4, type: "u32", since: "6.7" },
      { name: "netkit.expected_revision", offset: 24, size: 8, type: "u64", since: "6.7" },
      { name: "cgroup.relative_fd", offset: 16, size: 4, type: "u32", since: "6.17" },
      { name: "cgroup.relative_id", offset: 16, size: 4, type: "u32", since: "6.17" },
      { name: "cgroup.expected_revision", offset: 24, size: 8, type: "u64", since: "6.17" },
    ],
  },
  {
    name: "LINK_UPDATE", id: 29, since: "5.7", size: 16,
    attr: [
      { name: "link_fd", offset: 0, size: 4, type: "u32", since: "5.7" },
      { name: "new_prog_fd", offset: 4, size: 4, type: "u32", since: "5.7" },
      { name: "new_map_fd", offset: 4, size: 4, type: "u32", since: "6.4" },
      { name: "flags", offset: 8, size: 4, type: "u32", since: "5.7" },
      { name: "old_prog_fd", offset: 12, size: 4, type: "u32", since: "5.7" },
      { name: "old_map_fd", offset: 12, size: 4, type: "u32", since: "6.4" },
    ],
  },
  {
    name: "LINK_GET_FD_BY_ID", id: 30, since: "5.8", size: 4,
    attr: [
      { name: "link_id", offset: 0, size: 4, type: "u32", since: "5.8" },
    ],
  },
  {
    name: "LINK_GET_NEXT_ID", id: 31, since: "5.8", size: 8,
    attr: [
      { name: "start_id", offset: 0, size: 4, type: "u32", since: "5.8" },
      { name: "next_id", offset: 4, size: 4, type: "u32", out: true, since: "5.8" },
    ],
  },
  {
    name: "ENABLE_STATS", id: 32, since: "5.8", size: 4,
    attr: [
      { name: "type", offset: 0, size: 4, type: "u32", since: "5.8" },
    ],
  },
  {
    name: "ITER_CREATE", id: 33, since: "5.8", size: 8,
    attr: [
      { name: "link_fd", offset: 0, size: 4, type: "u32", since: "5.8" },
      { name: "flags", offset: 4, size: 4, type: "u32", since: "5.8" },
    ],
  },
  {
    name: "LINK_DETACH", id: 34, since: "5.9", size: 4,
    attr: [
      { name: "link_fd", offset: 0, size: 4, type: "u32", since: "5.9" },
    ],
  },
  {
    name: "PROG_BIND_MAP", id: 35, since: "5.10", size: 12,
    attr: [
      { name: "prog_fd", offset: 0, size: 4, type: "u32", since: "5.10" },
      { name: "map_fd", offset: 4, size: 4, type: "u32", since: "5.10" },
      { name: "flags", offset: 8, size: 4, type: "u32", since: "5.10" },
    ],
  },
  {
    name: "TOKEN_CREATE", id: 36, since: "6.9", size: 8,
    attr: [
      { name: "flags", offset: 0, size: 4, type: "u32", since: "6.9" },
      { name: "bpffs_fd", offset: 4, size: 4, type: "u32", since: "6.9" },
    ],
  },
  {
    name: "PROG_STREAM_READ_BY_FD", id: 37, since: "6.17", size: 20,
    attr: [
      { name: "stream_buf", offset: 0, size: 8, type: "u64", pointer: true, since: "6.17" },
      { name: "stream_buf_len", offset: 8, size: 4, type: "u32", since: "6.17" },
      { name: "stream_id", offset: 12, size: 4, type: "u32", since: "6.17" },
      { name: "prog_fd", offset: 16, size: 4, type: "u32", since: "6.17" },
    ],
  },
];

/** Name of command `id` without `BPF_` ("PROG_LOAD"), or undefined when 6.18 has none. */
export function commandName(id: number): CommandName | undefined {
  return COMMANDS[id]?.name;
}
