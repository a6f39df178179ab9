/** bpf_str*: strings in kernel memory, at most 4096 bytes of each (kernel/bpf/helpers.c). */
import { ERRNO } from "../../uapi/index.ts";
import type { Helper } from "../helpers/table.ts";
import type { Run } from "../run.ts";

const MAX = 4096;
const EFAULT = -ERRNO.EFAULT;
const E2BIG = -ERRNO.E2BIG;
const ENOENT = -ERRNO.ENOENT;

/** The string at r<n> without its NUL, up to `limit` bytes, or -errno. */
function text(run: Run, n: number, limit = MAX): Uint8Array | number {
  const at = run.lo(n) >>> 0;
  const region = run.hi(n) === 0 ? run.memory.regionAt(at) : 0;
  if (region === 0) return limit === 0 ? new Uint8Array(0) : EFAULT;
  const end = run.memory.regEnd[region]!;
  for (let i = 0; i < limit; i++) {
    if (at + i >= end) return EFAULT;
    if (run.memory.u8[at + i] === 0) return run.memory.bytes(at, i);
  }
  return limit < MAX ? run.memory.bytes(at, limit) : E2BIG;
}

const lower = (c: number): number => (c >= 0x41 && c <= 0x5a ? c + 0x20 : c);
const index = (run: Run, at: number): void => run.ret(at < 0 ? ENOENT : at);

function one(limitAt: number | undefined, of: (run: Run, s: Uint8Array) => void): Helper {
  return (run) => {
    const limit = limitAt === undefined || run.hi(limitAt) !== 0 ? MAX : Math.min(MAX, run.lo(limitAt) >>> 0);
    const s = text(run, 1, limit);
    if (typeof s === "number") return run.ret(s);
    return of(run, s);
  };
}
function two(of: (run: Run, a: Uint8Array, b: Uint8Array) => void): Helper {
  return (run) => {
    const a = text(run, 1);
    const b = text(run, 2);
    if (typeof a === "number") return run.ret(a);
    if (typeof b === "number") return run.ret(b);
    return of(run, a, b);
  };
}

/** The first difference decides, so that what comes behind it may be unreadable. */
function compare(fold: (c: number) => number): Helper {
  return (run) => {
    const [a, b] = [run.lo(1) >>> 0, run.lo(2) >>> 0];
    const end = (n: number, at: number): number => {
      const region = run.hi(n) === 0 ? run.memory.regionAt(at) : 0;
      return region === 0 ? 0 : run.memory.regEnd[region]!;
    };
    const [endA, endB] = [end(1, a), end(2, b)];
    for (let i = 0; i < MAX; i++) {
      if (a + i >= endA || b + i >= endB) return run.ret(EFAULT);
      const x = fold(run.memory.u8[a + i]!);
      const y = fold(run.memory.u8[b + i]!);
      if (x !== y) return run.ret(x < y ? -1 : 1);
      if (x === 0) return run.ret(0);
    }
    return run.ret(E2BIG);
  };
}

function find(haystack: Uint8Array, needle: Uint8Array): number {
  outer: for (let i = 0; i + needle.length <= haystack.length; i++) {
    for (let k = 0; k < needle.length; k++) if (haystack[i + k] !== needle[k]) continue outer;
    return i;
  }
  return -1;
}
const spanOf = (s: Uint8Array, set: Uint8Array, inside: boolean): number => {
  let n = 0;
  while (n < s.length && set.includes(s[n]!) === inside) n++;
  return n;
};
/** strchr finds the NUL, too. */
const chr = (s: Uint8Array, c: number): number => (c === 0 ? s.length : s.indexOf(c));

export const STRING_KFUNCS: Readonly<Record<string, Helper>> = {
  bpf_strcmp: compare((c) => c),
  bpf_strcasecmp: compare(lower),
  bpf_strlen: one(undefined, (run, s) => run.ret(s.length)),
  bpf_strnlen: one(2, (run, s) => run.ret(s.length)),
  bpf_strchr: one(undefined, (run, s) => index(run, chr(s, run.lo(2) & 0xff))),
  bpf_strnchr: one(2, (run, s) => {
    const c = run.lo(3) & 0xff;
    const at = s.indexOf(c);
    // A NUL is found only when it is within the limit.
    const nul = c === 0 && (run.hi(2) !== 0 || s.length < run.lo(2) >>> 0) ? s.length : -1;
    index(run, at < 0 ? nul : at);
  }),
  bpf_strchrnul: one(undefined, (run, s) => {
    const at = chr(s, run.lo(2) & 0xff);
    run.ret(at < 0 ? s.length : at);
  }),
  bpf_strrchr: one(undefined, (run, s) => {
    const c = run.lo(2) & 0xff;
    index(run, c === 0 ? s.length : s.lastIndexOf(c));
  }),
  bpf_strspn: two((run, a, b) => run.ret(spanOf(a, b, true))),
  bpf_strcspn: two((run, a, b) => run.ret(spanOf(a, b, false))),
  bpf_strstr: two((run, a, b) => index(run, find(a, b))),
  bpf_strnstr: two((run, a, b) => {
    const limit = run.hi(3) === 0 ? run.lo(3) >>> 0 : MAX;
    index(run, find(a.subarray(0, limit), b));
  }),
};
