/** What the live tests load: one target per program type and attach type. */
import { readFileSync } from "node:fs";
import { Btf } from "../../src/btf/index.ts";
import { ATTACH_TYPES, BPF_ATTACH_TYPE, BPF_PROG_TYPE } from "../../src/uapi/index.ts";
import type { AttachTypeName, ProgTypeName } from "../../src/uapi/index.ts";
import { tryLoad } from "./raw-bpf.ts";

let btf: Btf | undefined;

/** The running kernel's BTF. */
export function vmlinux(): Btf {
  btf ??= Btf.parse(readFileSync("/sys/kernel/btf/vmlinux"), { what: "vmlinux" });
  return btf;
}

export interface Target {
  readonly progType: ProgTypeName;
  readonly attachType: AttachTypeName | undefined;
  readonly type: number;
  readonly attach: number;
  readonly btfId: number;
  readonly flags: number;
}

/** Types whose attach type never matters at load. */
const PLAIN: readonly ProgTypeName[] = [
  "SOCKET_FILTER",
  "SCHED_CLS",
  "SCHED_ACT",
  "TRACEPOINT",
  "PERF_EVENT",
  "LWT_IN",
  "LWT_OUT",
  "LWT_XMIT",
  "LWT_SEG6LOCAL",
  "RAW_TRACEPOINT",
  "RAW_TRACEPOINT_WRITABLE",
  "KPROBE",
];
const BY_ATTACH: readonly ProgTypeName[] = [
  "XDP",
  "CGROUP_SKB",
  "CGROUP_SOCK",
  "CGROUP_SOCK_ADDR",
  "CGROUP_SOCKOPT",
  "CGROUP_SYSCTL",
  "CGROUP_DEVICE",
  "SOCK_OPS",
  "SK_SKB",
  "SK_MSG",
  "SK_REUSEPORT",
  "SK_LOOKUP",
  "FLOW_DISSECTOR",
  "NETFILTER",
];

/** Targets that this kernel loads: an empty program of each was tried. */
export function targets(): Target[] {
  const all: Target[] = [];
  const add = (progType: ProgTypeName, attachType: AttachTypeName | undefined, btfId = 0, flags = 0): void => {
    all.push({
      progType,
      attachType,
      type: BPF_PROG_TYPE[progType],
      attach: attachType === undefined ? 0 : BPF_ATTACH_TYPE[attachType],
      btfId,
      flags,
    });
  };
  for (const progType of PLAIN) add(progType, undefined);
  for (const progType of BY_ATTACH) {
    for (const row of ATTACH_TYPES) if (row.progTypes.includes(progType)) add(progType, row.name);
  }
  add("SYSCALL", undefined, 0, 16);
  const named = (kind: "func" | "typedef", name: string): number => vmlinux().findByName(name, kind)?.id ?? 0;
  add("TRACING", "TRACE_RAW_TP", named("typedef", "btf_trace_sched_switch"));
  add("TRACING", "TRACE_ITER", named("func", "bpf_iter_tcp"));
  add("TRACING", "TRACE_FENTRY", named("func", "vfs_read"));
  add("TRACING", "TRACE_FEXIT", named("func", "vfs_read"));
  add("TRACING", "MODIFY_RETURN", named("func", "security_file_open"));
  add("LSM", "LSM_MAC", named("func", "bpf_lsm_file_open"));
  add("LSM", "LSM_CGROUP", named("func", "bpf_lsm_socket_post_create"));
  const ops = vmlinux().findByName("tcp_congestion_ops", "struct");
  if (ops?.kind === "struct") {
    // For struct_ops, expected_attach_type is the number of the member.
    const attach = ops.members.findIndex((m) => m.name === "ssthresh");
    all.push({
      progType: "STRUCT_OPS",
      attachType: undefined,
      type: BPF_PROG_TYPE.STRUCT_OPS,
      attach,
      btfId: ops.id,
      flags: 0,
    });
  }
  return all.filter((t) => [0, 1].some((value) => tryLoad({ ...load(t), insns: returns(value) }).result === 0));
}

/** The PROG_LOAD fields of a target. */
export function load(t: Target): { type: number; attachType: number; btfId: number; flags: number } {
  return { type: t.type, attachType: t.attach, btfId: t.btfId, flags: t.flags };
}

/** "XDP/XDP_DEVMAP", for messages. */
export function label(t: Target): string {
  return t.attachType === undefined ? t.progType : `${t.progType}/${t.attachType}`;
}

export function insn(opcode: number, dst: number, src: number, off: number, imm: number): Uint8Array {
  const bytes = new Uint8Array(8);
  const v = new DataView(bytes.buffer);
  bytes[0] = opcode;
  bytes[1] = dst | (src << 4);
  v.setInt16(2, off, true);
  v.setInt32(4, imm, true);
  return bytes;
}

export function insns(...parts: Uint8Array[]): Uint8Array {
  return Uint8Array.from(parts.flatMap((p) => [...p]));
}

/** `r0 = value; exit` */
export function returns(value: number): Uint8Array {
  return insns(insn(0xb7, 0, 0, 0, value), insn(0x95, 0, 0, 0, 0));
}

/** `call helper; exit` */
export function callHelper(id: number): Uint8Array {
  return insns(insn(0x85, 0, 0, 0, id), insn(0x95, 0, 0, 0, 0));
}
