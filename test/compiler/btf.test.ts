/** The BTF of compiled programs, as `bpftool` and debuggers show it. */
import { Btf } from "../../src/btf/index.ts";
import { assert, suite } from "../harness.ts";
import { compiled } from "./compile-text.ts";

const test = suite("compiler BTF");

test("functions of an object have the names of their arguments", () => {
  const busy = Array.from(
    { length: 12 },
    (_, i) => `if (value % ${i + 2} === 0 && flags !== ${i}) n += value * ${i + 3};`,
  ).join("\n");
  const { spec } = compiled(`import { global, hash, u32, u64, xdp } from "bpfkit";
export const m = hash(u32, u64);
export const g = global(u64, 0);
const mix = (value: number, flags = 0) => {
  let n = u64(0);
  ${busy}
  return n;
};
export const p = xdp((ctx) => {
  g.value = mix(u64(ctx.data_end - ctx.data), u64(ctx.ingress_ifindex));
  g.value += mix(g.value, u64(ctx.ingress_ifindex));
  g.value += mix(g.value + 1, u64(ctx.rx_queue_index));
  g.value += mix(g.value + 2, u64(ctx.rx_queue_index));
  for (const [k, v] of m) g.value += v;
  return 2;
});`);
  const btf = Btf.parse(spec.btf!);
  const names = spec.progs[0]!.funcs.map(({ name, typeId }) => {
    const func = btf.typeById(typeId);
    const proto = func.kind === "func" ? btf.typeById(func.type) : undefined;
    return [name, proto?.kind === "func_proto" ? proto.params.map((p) => p.name) : []];
  });
  assert.equal(names, [
    ["p", ["ctx"]],
    ["p__mix", ["ctx", "value", "flags"]],
    ["p__loop", ["map", "key", "value", "context"]],
  ]);
});
