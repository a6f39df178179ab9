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
