/** The running kernel as the judge of instructions: loads, logs, dumps. */
import { execFileSync } from "node:child_process";
import { encodeInsns } from "../../src/asm/index.ts";
import type { Insn } from "../../src/asm/index.ts";
import { hostEndian } from "../../src/core/bytes.ts";
import { realKernel } from "../../src/syscall/index.ts";
import type { Kernel } from "../../src/syscall/index.ts";
import { which } from "../kernel.ts";

const kernel: Kernel = realKernel();
const little = hostEndian === "little";
const LOG_SIZE = 1 << 20;
const log = new Uint8Array(LOG_SIZE);
const license = new TextEncoder().encode("GPL\0");

/** Referenced, so that no collection frees the bytes before the call has read them. */
export let kept: Uint8Array;

const MAP_CREATE = 0;
const PROG_LOAD = 5;
const OBJ_GET_INFO_BY_FD = 15;
export const SOCKET_FILTER = 1;
export const TRACEPOINT = 5;

export interface Load {
  /** Program fd, or -errno. */
  readonly fd: number;
  readonly log: string;
}

function view(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

/** BPF_PROG_LOAD with log_level 2: the log has the text of every instruction the verifier looks at. */
export function load(insns: readonly Insn[], progType = SOCKET_FILTER): Load {
  const code = encodeInsns(insns, hostEndian);
  kept = code;
  const attr = new Uint8Array(152);
  const v = view(attr);
  v.setUint32(0, progType, little);
  v.setUint32(4, insns.length, little);
  v.setBigUint64(8, BigInt(kernel.address(code)), little);
  v.setBigUint64(16, BigInt(kernel.address(license)), little);
  v.setUint32(24, 2, little);
  v.setUint32(28, LOG_SIZE, little);
  v.setBigUint64(32, BigInt(kernel.address(log)), little);
  log[0] = 0;
  const fd = kernel.bpf(PROG_LOAD, attr);
  const text = new TextDecoder().decode(log.subarray(0, log.indexOf(0)));
  return { fd, log: text };
}

/** Text of the instruction at each slot, as the log has it. */
export function logTexts(text: string): Map<number, string> {
  const texts = new Map<number, string>();
  for (const line of text.split("\n")) {
    const m = /^(\d+): \([0-9a-f]{2}\) (.*?)\s*(?:;.*)?$/.exec(line);
    if (m !== null && !texts.has(Number(m[1]))) texts.set(Number(m[1]), m[2]!);
  }
  return texts;
}

/** An array map with one entry of `valueSize` bytes: its fd. */
export function arrayMap(valueSize: number): number {
  const attr = new Uint8Array(72);
  const v = view(attr);
  v.setUint32(0, 2, little);
  v.setUint32(4, 4, little);
  v.setUint32(8, valueSize, little);
  v.setUint32(12, 1, little);
  const fd = kernel.bpf(MAP_CREATE, attr);
  if (fd < 0) throw new Error(`map_create: ${fd}`);
  return fd;
}

function info(fd: number, fill: (v: DataView) => void = () => {}): DataView {
  const data = new Uint8Array(232);
  fill(view(data));
  const attr = new Uint8Array(16);
  const v = view(attr);
  v.setUint32(0, fd, little);
  v.setUint32(4, data.length, little);
  v.setBigUint64(8, BigInt(kernel.address(data)), little);
  const got = kernel.bpf(OBJ_GET_INFO_BY_FD, attr);
  if (got < 0) throw new Error(`obj_get_info_by_fd: ${got}`);
  return view(data);
}

/** Bytes of the program after the kernel's rewrites. */
export function xlated(fd: number): Uint8Array {
  const length = info(fd).getUint32(20, little);
  const bytes = new Uint8Array(length);
  info(fd, (v) => {
    v.setUint32(20, length, little);
    v.setBigUint64(32, BigInt(kernel.address(bytes)), little);
  });
  return bytes;
}

/** What `bpftool prog dump xlated` prints. */
export function bpftoolDump(fd: number): string {
  const id = info(fd).getUint32(4, little);
  return execFileSync(which("bpftool")!, ["prog", "dump", "xlated", "id", String(id)], { encoding: "utf8" });
}

export function close(fd: number): void {
  kernel.close(fd);
}
