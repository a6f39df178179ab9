import { Vm, collectionOf } from "../../src/vm/index.ts";
import { createMap, kernelUpdate, loadProg, testRun, kernelLookup } from "./kernel-run.ts";
import { Random } from "./random.ts";
import { CTX_SIZE, TABLE, VALUES, VALUE_SIZE, randomProgram } from "./random-programs.ts";
const hex = (x: Uint8Array | number | undefined) => x instanceof Uint8Array ? Buffer.from(x).toString("hex") : String(x);
const random = new Random(104000850);
const prog = randomProgram(random, 10 + random.below(70));
const fds = { [VALUES.name]: createMap(VALUES), [TABLE.name]: createMap(TABLE) };
const { fd } = loadProg(prog, fds);
const vms = (["interp", "jit"] as const).map((engine) => new Vm(collectionOf([prog], [VALUES, TABLE]), { engine }));
for (let k = 0; k < 3; k++) {
  const ctx = new Uint8Array(CTX_SIZE); const view = new DataView(ctx.buffer);
  for (let off = 0; off < CTX_SIZE; off += 8) view.setBigUint64(off, random.u64(), true);
  const value = new Uint8Array(VALUE_SIZE).map(() => random.below(256));
  kernelUpdate(fds[VALUES.name]!, new Uint8Array(4), value);
  const e = testRun(fd, prog.type, { ctx });
  const entries = (f: (k: Uint8Array) => Uint8Array | number | undefined) => [0,1,2,3,4,5].map((n) => { const key = new Uint8Array(8); key[0] = n; return hex(f(key)); }).join(" ");
  console.log("kernel", e.returnValue, hex(e.ctx), entries((key) => kernelLookup(fds[TABLE.name]!, key, 8)));
  for (const vm of vms) { vm.map(VALUES.name).update(new Uint8Array(4), value); const g = vm.run(prog.name, { ctx }); console.log(vm.engine, g.returnValue, hex(g.ctx), entries((key) => vm.map(TABLE.name).lookup(key))); }
}
