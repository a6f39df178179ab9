/** BPF_PROG_LOAD on the running kernel, with flags, program type and maps. */
import { encodeInsns } from "../../src/asm/index.ts";
import type { Insn } from "../../src/asm/index.ts";
import { hostEndian } from "../../src/core/bytes.ts";
import { realKernel } from "../../src/syscall/index.ts";

const kernel = realKernel();
const little = hostEndian === "little";
const LOG_SIZE = 1 << 22;
const EAGAIN = 11;
const log = new Uint8Array(LOG_SIZE);
const license = new TextEncoder().encode("GPL\0");
/** Referenced, so that no collection frees the bytes before the call has read them. */
export let kept: Uint8Array;

export interface KernelVerdict {
  /** 0, or -errno. */
  readonly errno: number;
  readonly log: string;
}

/** A map without BTF: its fd. */
export function createMap(type: number, keySize: number, valueSize: number, maxEntries: number): number {
  const attr = new Uint8Array(72);
  const v = new DataView(attr.buffer);
  [type, keySize, valueSize, maxEntries].forEach((n, i) => v.setUint32(4 * i, n, little));
  const fd = kernel.bpf(0, attr);
  if (fd < 0) throw new Error(`map_create: ${fd}`);
  return fd;
}

export function closeFd(fd: number): void {
  kernel.close(fd);
}

/** Loads at `logLevel` and closes at once. ld_imm64 of maps (src 1, 2) name `fds` by index. */
export function kernelVerdict(
  insns: readonly Insn[],
  options: {
    progType?: number;
    attachType?: number;
    attachBtfId?: number;
    flags?: number;
    logLevel?: number;
    fds?: readonly number[];
    btfFd?: number;
    /** Records of 8 bytes: insn, BTF id. */
    funcInfo?: Uint8Array;
  } = {},
): KernelVerdict {
  const { progType = 1, attachType = 0, attachBtfId = 0, flags = 0, logLevel = 2, fds = [] } = options;
  const code = encodeInsns(
    insns.map((i) => (i.opcode === 0x18 && (i.src === 1 || i.src === 2) ? { ...i, imm: fds[i.imm] ?? -1 } : i)),
    hostEndian,
  );
  kept = code;
  const attr = new Uint8Array(152);
  const v = new DataView(attr.buffer);
  v.setUint32(0, progType, little);
  v.setUint32(4, insns.length, little);
  v.setBigUint64(8, BigInt(kernel.address(code)), little);
  v.setBigUint64(16, BigInt(kernel.address(license)), little);
  v.setUint32(24, logLevel, little);
  v.setUint32(28, LOG_SIZE, little);
  v.setBigUint64(32, BigInt(kernel.address(log)), little);
  v.setUint32(44, flags, little);
  v.setUint32(68, attachType, little);
  v.setUint32(108, attachBtfId, little);
  const { btfFd = 0, funcInfo } = options;
  v.setUint32(72, btfFd, little);
  if (funcInfo !== undefined && funcInfo.length > 0) {
    v.setUint32(76, 8, little);
    v.setBigUint64(80, BigInt(kernel.address(funcInfo)), little);
    v.setUint32(88, funcInfo.length / 8, little);
  }
  let fd = -EAGAIN;
  // A signal that arrives in the middle ends the verification.
  for (let i = 0; fd === -EAGAIN && i < 5; i++) {
    log[0] = 0;
    fd = kernel.bpf(5, attr);
  }
  const text = new TextDecoder().decode(log.subarray(0, log.indexOf(0)));
  if (fd >= 0) kernel.close(fd);
  return { errno: fd >= 0 ? 0 : fd, log: text };
}

/** Addresses of maps differ from load to load. */
export const maskAddresses = (text: string): string => text.replace(/(\(18\) r\d+ = )0x[0-9a-f]{16}/g, "$1ADDR");

/** What differs first between two logs, with the lines before it; null when they are alike. */
export function logDifference(theirs: string, ours: string): string | null {
  const a = maskAddresses(theirs).split("\n");
  const b = maskAddresses(ours).split("\n");
  const at = a.findIndex((l, i) => l !== b[i]);
  if (at < 0 && a.length === b.length) return null;
  const k = at < 0 ? a.length : at;
  return `line ${k + 1}\n${a.slice(Math.max(0, k - 6), k).join("\n")}\nkernel ${a.slice(k, k + 3).join("\n")}\nours   ${b.slice(k, k + 3).join("\n")}`;
}
