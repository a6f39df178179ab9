/** The recorded loads of the kernel's selftests as `ProgLoad`: see the conformance runner. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { decodeInsns } from "../../src/asm/decode.ts";
import { Btf } from "../../src/btf/btf.ts";
import type { LoadMap, ProgLoad } from "../../src/verifier/capture.ts";

export interface JsonMap {
  name: string;
  type: number;
  key_size: number;
  value_size: number;
  max_entries: number;
  map_flags: number;
  map_extra: number;
  btf_key_type_id: number;
  btf_value_type_id: number;
  btf_vmlinux_value_type_id: number;
  btf_is_program_btf?: boolean;
  btf?: string;
  frozen?: boolean;
  data?: string;
  initial_data?: string;
  inner?: JsonMap;
}

export interface JsonLoad {
  prog_name: string;
  prog_type: number;
  expected_attach_type: number;
  attach_btf_id: number;
  attach_name: string | null;
  prog_flags: number;
  prog_ifindex: number;
  license: string;
  kern_version: number;
  insns: string;
  maps: JsonMap[];
  bad_map_fds: { insn: number; fd: number }[];
  ksyms: { insn: number; btf_id: number; name: string }[];
  btf: string | null;
  func_info_rec_size: number;
  func_info: string | null;
  line_info_rec_size: number;
  line_info: string | null;
}

/** A line of truth.jsonl, as far as it is used. */
export interface Truth {
  suite: string;
  object: string;
  program: string;
  prog_type: number;
  verdict: "accept" | "reject" | "env";
  env_reason: string | null;
  verifier_ran: boolean;
  errno: number;
  msg: string;
  msg_last: string;
  insns_processed: number | null;
  total_states: number | null;
  peak_states: number | null;
  max_states_per_insn: number | null;
  stack_depth: string | null;
  verification_us: number | null;
  load_path: string | null;
  log_level1_path: string | null;
  log_level2_path: string | null;
  log1_truncated?: boolean;
  log2_truncated?: boolean;
}

/** nr_cpu_ids of this machine, which recorded the corpus. */
export const POSSIBLE_CPUS =
  1 + Number(/(\d+)\s*$/.exec(readFileSync("/sys/devices/system/cpu/possible", "utf8"))?.[1] ?? 0);

const bytes = (base64: string | null): Uint8Array =>
  base64 === null ? new Uint8Array(0) : new Uint8Array(Buffer.from(base64, "base64"));

function toMap(m: JsonMap, programBtf: Btf | null): LoadMap {
  const own = m.btf === undefined || m.btf === null ? null : Btf.parse(bytes(m.btf), { what: `BTF of map ${m.name}` });
  return {
    name: m.name,
    type: m.type,
    keySize: m.key_size,
    valueSize: m.value_size,
    maxEntries: m.max_entries,
    flags: m.map_flags,
    extra: BigInt(m.map_extra),
    btfKeyTypeId: m.btf_key_type_id,
    btfValueTypeId: m.btf_value_type_id,
    btfVmlinuxValueTypeId: m.btf_vmlinux_value_type_id,
    btf: m.btf_is_program_btf === true ? programBtf : own,
    inner: m.inner === undefined || m.inner === null ? null : toMap(m.inner, programBtf),
    frozen: m.frozen === true,
    data: m.data === undefined || m.data === null ? null : new Uint8Array(Buffer.from(m.data, "hex")),
  };
}

export class Corpus {
  readonly dir: string;
  readonly vmlinux: Btf;
  readonly truth: readonly Truth[];

  constructor(dir: string) {
    this.dir = dir;
    this.vmlinux = Btf.parse(new Uint8Array(readFileSync(join(dir, "vmlinux.btf"))), { what: "vmlinux" });
    this.truth = readFileSync(join(dir, "truth.jsonl"), "utf8")
      .split("\n")
      .filter((l) => l !== "")
      .map((l) => JSON.parse(l) as Truth);
  }

  load(t: Truth): ProgLoad {
    return this.toLoad(JSON.parse(readFileSync(join(this.dir, t.load_path!), "utf8")) as JsonLoad);
  }

  toLoad(j: JsonLoad): ProgLoad {
    const btf = j.btf === null ? null : Btf.parse(bytes(j.btf), { what: "program BTF" });
    return {
      name: j.prog_name,
      progType: j.prog_type,
      expectedAttachType: j.expected_attach_type,
      attachBtfId: j.attach_btf_id,
      attachProg: null,
      progFlags: j.prog_flags,
      progIfindex: j.prog_ifindex,
      license: j.license,
      insns: decodeInsns(new Uint8Array(Buffer.from(j.insns, "hex")), { endian: "little" }),
      maps: j.maps.map((m) => toMap(m, btf)),
      badMapFds: new Map(j.bad_map_fds.map((b) => [b.insn, b.fd])),
      btf,
      vmlinuxBtf: this.vmlinux,
      moduleBtfs: new Map(),
      funcInfoRecSize: j.func_info_rec_size,
      funcInfo: bytes(j.func_info),
      lineInfoRecSize: j.line_info_rec_size,
      lineInfo: bytes(j.line_info),
      possibleCpus: POSSIBLE_CPUS,
      ksyms: j.ksyms.map((k) => ({ insn: k.insn, btfId: k.btf_id, name: k.name })),
    };
  }
}
