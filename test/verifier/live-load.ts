/** Recorded loads (corpus.ts) given to the running kernel: maps, BTF and program made anew from the record alone. */
import { type Kernel, btfLoad, check, mapCreateRaw, progLoad } from "../../src/syscall/index.ts";
import type { JsonLoad, JsonMap } from "./corpus.ts";

const BPF_MAP_TYPE_ARENA = 33;
const PAGE = 4096;
const LD_IMM64 = 0x18;
const PSEUDO_MAP_FD = 1;
const PSEUDO_MAP_VALUE = 2;

const bytes = (base64: string | null): Uint8Array => new Uint8Array(Buffer.from(base64 ?? "", "base64"));

export interface LiveVerdict {
  /** 0 or -errno. */
  readonly result: number;
  readonly log: string;
}

/** One recorded load, its maps and BTF alive until `close`. */
export class LiveLoad {
  readonly #kernel: Kernel;
  readonly #json: JsonLoad;
  readonly #fds: number[] = [];
  readonly #arenas: { readonly address: number; readonly length: number }[] = [];
  readonly #btfFd: number = 0;
  readonly #insns: Uint8Array;

  constructor(kernel: Kernel, json: JsonLoad) {
    this.#kernel = kernel;
    this.#json = json;
    try {
      if (json.btf !== null) this.#btfFd = this.#own(btfLoad(kernel, bytes(json.btf)).result, "BPF_BTF_LOAD");
      const maps = json.maps.map((m) => this.#map(m));
      this.#insns = this.#resolve(maps);
    } catch (error) {
      this.close();
      throw error;
    }
  }

  #own(result: number, command: string): number {
    const fd = check(this.#kernel, result, command);
    this.#fds.push(fd);
    return fd;
  }

  #map(m: JsonMap): number {
    const innerMapFd = m.inner === undefined || m.inner === null ? 0 : this.#map(m.inner);
    let btfFd = 0;
    if (m.btf_is_program_btf === true) btfFd = this.#btfFd;
    else if (m.btf !== undefined && m.btf !== null)
      btfFd = this.#own(btfLoad(this.#kernel, bytes(m.btf)).result, "BPF_BTF_LOAD");
    const fd = this.#own(
      mapCreateRaw(this.#kernel, {
        type: m.type,
        keySize: m.key_size,
        valueSize: m.value_size,
        maxEntries: m.max_entries,
        name: m.name.slice(0, 15),
        flags: m.map_flags,
        mapExtra: BigInt(m.map_extra),
        innerMapFd,
        btfFd,
        btfKeyTypeId: m.btf_key_type_id,
        btfValueTypeId: m.btf_value_type_id,
        btfVmlinuxValueTypeId: m.btf_vmlinux_value_type_id,
      }),
      "BPF_MAP_CREATE",
    );
    const data = m.data ?? m.initial_data;
    if (data !== undefined && data !== null && m.type === 2) this.#update(fd, new Uint8Array(Buffer.from(data, "hex")));
    if (m.type === BPF_MAP_TYPE_ARENA) {
      const length = m.max_entries * PAGE;
      const at = m.map_extra;
      const address = this.#kernel.mmap(length, 3, at === 0 ? 1 : 0x11, fd, 0, at);
      this.#arenas.push({ address: check(this.#kernel, address, "mmap"), length });
    }
    if (m.frozen === true) {
      const attr = new Uint8Array(4);
      new DataView(attr.buffer).setUint32(0, fd, true);
      check(this.#kernel, this.#kernel.bpf(22, attr), "BPF_MAP_FREEZE");
    }
    return fd;
  }

  #update(fd: number, value: Uint8Array): void {
    const key = new Uint8Array(4);
    const attr = new Uint8Array(32);
    const v = new DataView(attr.buffer);
    v.setUint32(0, fd, true);
    v.setBigUint64(8, BigInt(this.#kernel.address(key)), true);
    v.setBigUint64(16, BigInt(this.#kernel.address(value)), true);
    check(this.#kernel, this.#kernel.bpf(2, attr), "BPF_MAP_UPDATE_ELEM");
  }

  #resolve(maps: readonly number[]): Uint8Array {
    const code = new Uint8Array(Buffer.from(this.#json.insns, "hex"));
    const v = new DataView(code.buffer);
    const bad = new Map(this.#json.bad_map_fds.map((b) => [b.insn, b.fd]));
    for (let at = 0; at < code.length; at += 8) {
      if (code[at] !== LD_IMM64) continue;
      const src = code[at + 1]! >> 4;
      const imm = v.getInt32(at + 4, true);
      if (src === PSEUDO_MAP_FD || src === PSEUDO_MAP_VALUE)
        v.setInt32(at + 4, maps[imm] ?? bad.get(at / 8) ?? -1, true);
      at += 8;
    }
    return code;
  }

  /** BPF_PROG_LOAD, closed at once. */
  verify(logLevel: 1 | 2 | 4): LiveVerdict {
    const j = this.#json;
    const funcs = bytes(j.func_info);
    const lines = bytes(j.line_info);
    const { result, log } = progLoad(this.#kernel, {
      type: j.prog_type,
      insns: this.#insns,
      license: j.license,
      name: j.prog_name.slice(0, 15),
      expectedAttachType: j.expected_attach_type,
      flags: j.prog_flags,
      attachBtfId: j.attach_btf_id,
      ifindex: j.prog_ifindex,
      kernelVersion: j.kern_version,
      btfFd: this.#btfFd,
      ...(funcs.length === 0 ? {} : { funcInfo: { bytes: funcs, recordSize: j.func_info_rec_size } }),
      ...(lines.length === 0 ? {} : { lineInfo: { bytes: lines, recordSize: j.line_info_rec_size } }),
      logLevel,
    });
    if (result >= 0) this.#kernel.close(result);
    return { result: Math.min(result, 0), log };
  }

  close(): void {
    for (const { address, length } of this.#arenas) this.#kernel.munmap(address, length);
    for (const fd of this.#fds) this.#kernel.close(fd);
    this.#fds.length = 0;
    this.#arenas.length = 0;
  }
}
