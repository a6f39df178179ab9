/** Constant strings in read-only maps, and printf formats in them. */
import * as c from "../constants.ts";
import { type Env, reject } from "../env.ts";
import { VerifierReject } from "../errors.ts";
import type { VMap } from "../map.ts";
import { checkMapAccess } from "../mem.ts";
import type { RegState } from "../reg-state.ts";

const BPF_MAP_TYPE_ARRAY = 2;
const BPF_F_RDONLY_PROG = 1 << 7;

/** bpf_map_is_rdonly: nobody can change the values any more. */
export const isRdonlyMap = (map: VMap): boolean => (map.flags & BPF_F_RDONLY_PROG) !== 0 && map.frozen;

function bytesAt(map: VMap, off: number): Uint8Array {
  const data = new Uint8Array(map.valueSize);
  if (map.data !== null) data.set(map.data.subarray(0, map.valueSize));
  return data.subarray(off);
}

/** check_reg_const_str: a zero-terminated string at a known place of a frozen read-only array. */
export function checkRegConstStr(env: Env, r: RegState, regno: number): void {
  if (r.type !== c.PTR_TO_MAP_VALUE) throw new VerifierReject(c.EINVAL);
  const map = r.map!;
  if (!isRdonlyMap(map)) reject(env, c.EACCES, `R${regno} does not point to a readonly map'\n`);
  if (!r.isConst()) reject(env, c.EACCES, `R${regno} is not a constant address'\n`);
  if (map.type !== BPF_MAP_TYPE_ARRAY) reject(env, c.EACCES, "no direct value access support for this map type\n");
  checkMapAccess(env, regno, r.off, map.valueSize - r.off, false, true);
  const off = r.off + r.valLo;
  if (map.maxEntries !== 1) reject(env, c.ENOTSUPP, "direct value access on string failed\n");
  if (off >= map.valueSize) reject(env, c.EINVAL, "direct value access on string failed\n");
  if (!bytesAt(map, off).includes(0)) reject(env, c.EINVAL, "string is not zero-terminated\n");
}

const isSpace = (ch: number): boolean => ch === 32 || (ch >= 9 && ch <= 13);
const isPunct = (ch: number): boolean =>
  (ch >= 33 && ch <= 47) || (ch >= 58 && ch <= 64) || (ch >= 91 && ch <= 96) || (ch >= 123 && ch <= 126);
const isPrint = (ch: number): boolean => ch >= 32 && ch <= 126;
const isDigit = (ch: number, from: number): boolean => ch >= from && ch <= 57;
const code = (s: string): number => s.charCodeAt(0);

/** Index of the last character of a %p conversion that starts at `i` (the 'p'); -1 when it is none. */
function pointerSpec(at: (i: number) => number, i: number): number {
  const n = at(i + 1);
  if (n === 0 || isSpace(n) || isPunct(n)) return i;
  if ((n === code("k") || n === code("u")) && at(i + 2) === code("s")) return stringSpec(at, i + 2);
  if (n === code("K") || n === code("x") || n === code("s") || n === code("S") || n === code("B")) return i + 1;
  if (n !== code("i") && n !== code("I")) return -1;
  const version = at(i + 2);
  return version === code("4") || version === code("6") ? i + 2 : -1;
}

function stringSpec(at: (i: number) => number, i: number): number {
  const n = at(i + 1);
  return n === 0 || isSpace(n) || isPunct(n) ? i : -1;
}

/** bpf_bprintf_prepare: is the format one that takes at most `numArgs` arguments of supported kinds? */
export function formatIsValid(fmt: Uint8Array, numArgs: number): boolean {
  const end = fmt.indexOf(0);
  if (end < 0) return false;
  const at = (i: number): number => (i < end ? fmt[i]! : 0);
  let specs = 0;
  for (let i = 0; i < end; i++) {
    const ch = at(i);
    if (ch >= 0x80 || (!isPrint(ch) && !isSpace(ch))) return false;
    if (ch !== code("%")) continue;
    if (at(i + 1) === code("%")) {
      i++;
      continue;
    }
    if (specs >= numArgs) return false;
    i++;
    while (at(i) === code("0") || at(i) === code("+") || at(i) === code("-") || at(i) === code(" ")) i++;
    if (isDigit(at(i), 49)) while (isDigit(at(i), 48)) i++;
    if (at(i) === code("p")) i = pointerSpec(at, i);
    else if (at(i) === code("s")) i = stringSpec(at, i);
    else if (at(i) !== code("c")) {
      if (at(i) === code("l")) i++;
      if (at(i) === code("l")) i++;
      if (!"iduxX".includes(String.fromCharCode(at(i)))) return false;
    }
    if (i < 0) return false;
    specs++;
  }
  return true;
}

/** check_bpf_snprintf_call: format in r3, bytes of u64 arguments in r5. */
export function checkSnprintfCall(env: Env): void {
  const fmt = env.regs[3]!;
  const len = env.regs[5]!.valLo >>> 0;
  if (len % 8 !== 0) throw new VerifierReject(c.EINVAL);
  const map = fmt.map!;
  if (map.maxEntries !== 1) reject(env, c.EFAULT, "failed to retrieve map value address\n");
  if (!formatIsValid(bytesAt(map, fmt.off + fmt.valLo), len / 8)) reject(env, c.EINVAL, "Invalid format string\n");
}
