/** Constructs of the language on the running kernel: what they leave in globals and maps. */
import { assert, suite } from "../../harness.ts";
import { requires } from "../../kernel.ts";
import { loaded, runningBtf } from "../compile-text.ts";

const test = suite("compiler language");

interface Case {
  readonly text: string;
  /** What the program returns; default 2. */
  readonly returns?: number;
  /** Values of globals afterwards. */
  readonly globals: Readonly<Record<string, unknown>>;
  readonly kernel?: string;
}

/** Runs program `p` once on a packet of 64 zeros. */
function runs(title: string, { text, returns = 2, globals, kernel = "5.8" }: Case): void {
  test(title, () => {
    requires({ root: true, capability: ["CAP_BPF", "CAP_NET_ADMIN"], kernel });
    using c = loaded(text, { btf: runningBtf() });
    assert.is(c.prog("p").testRun({ data: new Uint8Array(64) }).returnValue, returns);
    for (const [name, value] of Object.entries(globals)) assert.equal([name, c.variable(name).value], [name, value]);
  });
}

runs("a look-up may stand for another one, and a function may give one or nothing", {
  text: `import { global, hash, struct, u32, u64, xdp } from "bpfkit";
const V = struct({ a: u64, b: u32 });
export const m = hash(u32, u64);
export const s = hash(u32, V);
export const out = global(u64, 0);
export const bits = global(u32, 0);
const find = (n: number) => {
  if (n === 5) return m.get(1);
  if (n > 5) return 3;
  return undefined;
};
export const p = xdp((ctx) => {
  const zero = ctx.rx_queue_index;
  m.set(1, 77);
  s.set(2, { a: 5, b: 6 });
  const first = m.get(9) ?? m.get(1);
  if (first === undefined) return 1;
  out.value = first + (m.get(8) ?? m.get(9) ?? 100);
  const entry = s.get(1) ?? s.get(2);
  if (!entry) return 1;
  entry.a += 1;
  const other = zero === 0 ? s.get(2) : s.get(3);
  if (other) out.value += other.a;
  const found = find(zero + 5);
  if (found === undefined) return 1;
  out.value += found + (find(6) ?? 1000) + (find(0) ?? 10_000);
  if (find(0) === undefined) bits.value |= 1;
  return 2;
});`,
  globals: { out: 77n + 100n + 6n + 77n + 3n + 10_000n, bits: 1 },
});

runs("unions of string literals are numbers until they are stored as text", {
  text: `import { char, enumOf, global, struct, u32, u64, xdp } from "bpfkit";
const State = enumOf({ OPEN: 1, CLOSED: 7 }, { name: "state" });
const E = struct({ kind: char(8), state: State });
export const e = global(E, { kind: "", state: 0 });
export const out = global(u64, 0);
type Kind = "tcp" | "udp" | "other";
const classify = (n: number): Kind => (n === 6 ? "tcp" : n === 17 ? "udp" : "other");
export const p = xdp((ctx, bpf) => {
  const kind = classify(ctx.rx_queue_index + 6);
  let last: Kind | "" = "";
  if (!last) out.value += 1000;
  if (kind === "tcp") {
    out.value += 1;
    last = kind;
  } else if (kind === "udp") {
    out.value += 2;
  }
  switch (last) {
    case "tcp":
      out.value += 10;
      break;
    default:
      out.value += 30;
  }
  e.value.kind = kind;
  e.value.state = ctx.rx_queue_index === 0 ? "CLOSED" : "OPEN";
  bpf.printk(\`kind \${kind} \${bpf.cpu()}\`);
  bpf.printk("%s %s", "literal", last);
  return 2;
});`,
  globals: { out: 1011n, e: { kind: "tcp", state: "CLOSED" } },
});

runs("object literals from several ways are merged field by field", {
  text: `import { char, global, struct, u32, xdp } from "bpfkit";
const S = struct({ a: u32, b: char(4) });
export const out = global(S, { a: 0, b: "" });
const pick = (n: number) => {
  if (n === 0) return { a: n + 1, b: "x" };
  if (n === 1) return { a: n, b: "yy" };
  return { a: 9, b: "z" };
};
export const p = xdp((ctx) => {
  const { a, b } = pick(ctx.rx_queue_index);
  const twice = ctx.rx_queue_index > 0 ? { a: 0, b } : { a: a * 2, b };
  out.value = twice;
  return 2;
});`,
  globals: { out: { a: 2, b: "x" } },
});

runs("rest parameters, spread, and lists known at compile time", {
  text: `import { array, char, global, u32, u64, xdp } from "bpfkit";
const sum = (first: number, ...more: number[]) => {
  let total = first;
  for (const x of more) total += x;
  return total + more.length * 1000;
};
const pair = [3, 4] as const;
const ports = [22, 80];
const allowed = new Set([22, 443]);
const names = ["bash", "sh", "kworker"];
export const shell = global(char(16), "sh");
export const out = global(u64, 0);
export const arr = global(array(u32, 4), []);
export const bits = global(u64, 0);
export const p = xdp((ctx) => {
  const zero = ctx.rx_queue_index;
  out.value = sum(...pair) + sum(1, 2, zero);
  arr.value = [...pair, zero + 9];
  if (ports.includes(zero + 22)) bits.value |= 1;
  if (!ports.includes(zero + 23)) bits.value |= 2;
  if (allowed.has(zero + 443)) bits.value |= 4;
  if (ports.indexOf(zero + 80) === 1) bits.value |= 8;
  if (ports.indexOf(zero + 81) === -1) bits.value |= 16;
  if (ports.some((x) => x === zero + 80)) bits.value |= 32;
  if (ports.every((x) => x > zero + 20)) bits.value |= 64;
  const doubled = ports.map((x, i) => x * 2 + i + zero);
  if (doubled[1] === 161) bits.value |= 128;
  if (names.includes(shell.value)) bits.value |= 256;
  ports.forEach((x) => {
    out.value += x;
  });
  if (allowed.size === 2) bits.value |= 512;
  return 2;
});`,
  globals: { out: 1007n + 2003n + 102n, bits: 1023n, arr: [3, 4, 9, 0] },
});

runs("text is compared with a prefix that is set at load", {
  text: `import { char, config, global, struct, u32, u64, xdp } from "bpfkit";
const S = struct({ name: char(8), long: char(32) });
export const s = global(S, { name: "kworker", long: "kworker/0:1" });
export const prefix = config(char(16), "kwork");
export const whole = config(char(16), "kworker/0:1");
export const other = config(char(16), "kworkers");
export const none = config(char(4), "");
export const bits = global(u32, 0);
export const p = xdp(() => {
  const { name, long } = s.value;
  if (name.startsWith(prefix.value)) bits.value |= 1;
  if (long.startsWith(prefix.value)) bits.value |= 2;
  if (long.startsWith(whole.value)) bits.value |= 4;
  if (!name.startsWith(whole.value)) bits.value |= 8;
  if (!name.startsWith(other.value)) bits.value |= 16;
  if (name.startsWith(none.value)) bits.value |= 32;
  if (long === whole.value) bits.value |= 64;
  return 2;
});`,
  globals: { bits: 127 },
});

runs("atomic operations give the value before", {
  text: `import { array, global, hash, s32, s64, struct, u32, u64, xdp } from "bpfkit";
const V = struct({ a: u64, b: s32, arr: array(u32, 4) });
export const m = hash(u32, V);
export const c = hash(u32, u64);
export const g = global(u32, 5);
export const out = global(array(s64, 10), []);
export const p = xdp((ctx, bpf) => {
  const zero = ctx.rx_queue_index;
  m.set(1, { a: 10, b: -5, arr: [1, 2, 3, 4] });
  c.set(1, 100);
  const v = m.get(1);
  const r = c.ref(1);
  if (!v || !r) return 0;
  bpf.atomicAdd(v.a, 5);
  out.value[0] = bpf.atomicAdd(v.b, 3);
  out.value[1] = bpf.atomicExchange(g.value, 77);
  out.value[2] = bpf.atomicCompareExchange(r.value, 100, 200);
  out.value[3] = bpf.atomicSub(v.arr[zero + 2], 1);
  out.value[4] = bpf.atomicOr(v.a, 0x100);
  out.value[5] = v.a;
  out.value[6] = r.value;
  out.value[7] = v.arr[2] + v.b;
  out.value[8] = bpf.atomicAdd(v.arr[zero + 9], 1);
  out.value[9] = bpf.atomicCompareExchange(r.value, 1, 2);
  return 2;
});`,
  globals: { g: 77, out: [-5n, 5n, 100n, 3n, 15n, 271n, 200n, 0n, 0n, 200n] },
  kernel: "5.12",
});

runs("memory behind a pointer that a kernel function gave is a struct in place", {
  text: `import { be16, dynptr, global, packed, u32, u64, xdp } from "bpfkit";
const H = packed({ a: u32, b: be16 });
export const out = global(u64, 0);
export const p = xdp((ctx, bpf) => {
  const d = dynptr();
  if (bpf.dynptrFromXdp(ctx, 0, d) !== 0) return 1;
  const buffer = H();
  const h = bpf.at(H, bpf.dynptrSlice(d, 0, buffer, H.size));
  const beyond = bpf.at(H, bpf.dynptrSlice(d, 60, buffer, H.size));
  if (!h || beyond) return 1;
  out.value = h.a + h.b + 5;
  return 2;
});`,
  globals: { out: 5n },
  kernel: "6.4",
});
