/** A bare bpf(2) for these tests: bytes in, result or -errno out. Nothing of `src/` is under it. */
import koffi from "koffi";
import { BPF_CMD, syscallNumber } from "../../src/uapi/index.ts";

const libc = koffi.load(null);
const NR = syscallNumber(process.arch, "bpf") ?? 0;
const syscall = libc.func("long syscall(long nr, long cmd, void *attr, unsigned long size)") as (
  nr: number,
  cmd: number,
  attr: Uint8Array,
  size: number,
) => number;
const closeFd = libc.func("int close(int fd)") as (fd: number) => number;

/** Result of bpf(cmd, attr), or -errno. */
export function bpf(cmd: number, attr: Uint8Array): number {
  const result = Number(syscall(NR, cmd, attr, attr.length));
  return result < 0 ? -koffi.errno() : result;
}

export function close(fd: number): void {
  closeFd(fd);
}

export interface ProgLoad {
  readonly type: number;
  readonly insns: Uint8Array;
  readonly attachType?: number;
  readonly btfId?: number;
  readonly license?: string;
  readonly flags?: number;
  /** 0 gives no log. */
  readonly logLevel?: number;
}

/** Loads a program and closes it again: the result (0 or -errno) and the verifier's log. */
export function tryLoad(prog: ProgLoad): { result: number; log: string } {
  const attr = new Uint8Array(152);
  const v = new DataView(attr.buffer);
  const license = new TextEncoder().encode(`${prog.license ?? "GPL"}\0`);
  const log = new Uint8Array(16384);
  v.setUint32(0, prog.type, true);
  v.setUint32(4, prog.insns.length / 8, true);
  v.setBigUint64(8, BigInt(koffi.address(prog.insns)), true);
  v.setBigUint64(16, BigInt(koffi.address(license)), true);
  if (prog.logLevel !== 0) {
    v.setUint32(24, prog.logLevel ?? 1, true);
    v.setUint32(28, log.length, true);
    v.setBigUint64(32, BigInt(koffi.address(log)), true);
  }
  v.setUint32(40, 0xff_ff_ff, true);
  v.setUint32(44, prog.flags ?? 0, true);
  v.setUint32(68, prog.attachType ?? 0, true);
  v.setUint32(108, prog.btfId ?? 0, true);
  const fd = bpf(BPF_CMD.PROG_LOAD, attr);
  if (fd >= 0) closeFd(fd);
  const end = log.indexOf(0);
  return { result: Math.min(fd, 0), log: new TextDecoder().decode(log.subarray(0, end < 0 ? log.length : end)) };
}
