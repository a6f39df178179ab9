/** bpf_cpumask_*: masks with a bit for each of up to 8192 CPUs. */
import type { Helper } from "../helpers/table.ts";
import { retAddress } from "../helpers/region.ts";
import type { Block } from "../memory.ts";
import type { Run } from "../run.ts";

/** sizeof(struct bpf_cpumask) with NR_CPUS 8192, its reference count at the end. */
const BYTES = 1024;
const SIZE = BYTES + 8;

const at = (run: Run, n: number): number => run.readable(n, BYTES, "CPU mask");
const cpuOf = (run: Run, n: number): number => run.lo(n) >>> 0;
const bit = (run: Run, mask: number, cpu: number): boolean =>
  ((run.memory.u8[mask + (cpu >> 3)]! >> (cpu & 7)) & 1) !== 0;

/** The first CPU for which `is`; the number of CPUs when there is none. */
function first(run: Run, is: (cpu: number) => boolean): void {
  const { cpus } = run.vm.world;
  let cpu = 0;
  while (cpu < cpus && !is(cpu)) cpu++;
  run.retU32(cpu);
}
function every(run: Run, is: (cpu: number) => boolean): void {
  for (let cpu = 0; cpu < run.vm.world.cpus; cpu++) if (!is(cpu)) return run.retU32(0);
  return run.retU32(1);
}
function fill(run: Run, mask: number, is: (cpu: number) => boolean): void {
  run.memory.u8.fill(0, mask, mask + BYTES);
  for (let cpu = 0; cpu < run.vm.world.cpus; cpu++) if (is(cpu)) run.memory.u8[mask + (cpu >> 3)]! |= 1 << (cpu & 7);
}
function change(run: Run, to: boolean | undefined): boolean {
  const cpu = cpuOf(run, 1);
  const mask = run.writable(2, BYTES, "CPU mask");
  if (cpu >= run.vm.world.cpus) return false;
  const before = bit(run, mask, cpu);
  if (to === true) run.memory.u8[mask + (cpu >> 3)]! |= 1 << (cpu & 7);
  else if (to === false) run.memory.u8[mask + (cpu >> 3)]! &= ~(1 << (cpu & 7));
  return before;
}
function combine(of: (a: boolean, b: boolean) => boolean): Helper {
  return (run) => {
    const to = run.writable(1, BYTES, "CPU mask");
    const [a, b] = [at(run, 2), at(run, 3)];
    const result = Array.from({ length: run.vm.world.cpus }, (_, cpu) => of(bit(run, a, cpu), bit(run, b, cpu)));
    fill(run, to, (cpu) => result[cpu]!);
    run.retU32(result.includes(true) ? 1 : 0);
  };
}

const blocks = new WeakMap<Run["vm"], Map<number, Block>>();
function masksOf(run: Run): Map<number, Block> {
  let masks = blocks.get(run.vm);
  if (masks === undefined) blocks.set(run.vm, (masks = new Map()));
  return masks;
}

export const CPUMASK_KFUNCS: Readonly<Record<string, Helper>> = {
  bpf_cpumask_create: (run) => {
    const block = run.memory.alloc(SIZE, "mem", "a CPU mask");
    run.memory.view.setUint32(block.base + BYTES, 1, true);
    masksOf(run).set(block.base, block);
    run.acquired.set(block.base, { what: "the CPU mask", insn: run.insn });
    retAddress(run, block.base);
  },
  bpf_cpumask_acquire: (run) => {
    const mask = at(run, 1);
    run.memory.view.setUint32(mask + BYTES, run.memory.view.getUint32(mask + BYTES, true) + 1, true);
    run.acquired.set(mask, { what: "the CPU mask", insn: run.insn });
    retAddress(run, mask);
  },
  bpf_cpumask_release: (run) => {
    const mask = at(run, 1);
    run.acquired.delete(mask);
    const left = run.memory.view.getUint32(mask + BYTES, true) - 1;
    run.memory.view.setUint32(mask + BYTES, left, true);
    const block = masksOf(run).get(mask);
    if (left !== 0 || block === undefined) return;
    masksOf(run).delete(mask);
    run.memory.release(block);
  },
  bpf_cpumask_first: (run) => {
    const mask = at(run, 1);
    first(run, (cpu) => bit(run, mask, cpu));
  },
  bpf_cpumask_first_zero: (run) => {
    const mask = at(run, 1);
    first(run, (cpu) => !bit(run, mask, cpu));
  },
  bpf_cpumask_first_and: (run) => {
    const [a, b] = [at(run, 1), at(run, 2)];
    first(run, (cpu) => bit(run, a, cpu) && bit(run, b, cpu));
  },
  // Any will do: the first is the same in every run.
  bpf_cpumask_any_distribute: (run) => {
    const mask = at(run, 1);
    first(run, (cpu) => bit(run, mask, cpu));
  },
  bpf_cpumask_any_and_distribute: (run) => {
    const [a, b] = [at(run, 1), at(run, 2)];
    first(run, (cpu) => bit(run, a, cpu) && bit(run, b, cpu));
  },
  bpf_cpumask_set_cpu: (run) => void change(run, true),
  bpf_cpumask_clear_cpu: (run) => void change(run, false),
  bpf_cpumask_test_cpu: (run) => {
    const mask = at(run, 2);
    const cpu = cpuOf(run, 1);
    run.retU32(cpu < run.vm.world.cpus && bit(run, mask, cpu) ? 1 : 0);
  },
  bpf_cpumask_test_and_set_cpu: (run) => run.retU32(change(run, true) ? 1 : 0),
  bpf_cpumask_test_and_clear_cpu: (run) => run.retU32(change(run, false) ? 1 : 0),
  bpf_cpumask_setall: (run) => fill(run, run.writable(1, BYTES, "CPU mask"), () => true),
  bpf_cpumask_clear: (run) => fill(run, run.writable(1, BYTES, "CPU mask"), () => false),
  bpf_cpumask_and: combine((a, b) => a && b),
  bpf_cpumask_or: combine((a, b) => a || b),
  bpf_cpumask_xor: combine((a, b) => a !== b),
  bpf_cpumask_equal: (run) => {
    const [a, b] = [at(run, 1), at(run, 2)];
    every(run, (cpu) => bit(run, a, cpu) === bit(run, b, cpu));
  },
  bpf_cpumask_intersects: (run) => {
    const [a, b] = [at(run, 1), at(run, 2)];
    every(run, (cpu) => !(bit(run, a, cpu) && bit(run, b, cpu)));
    run.retU32(run.lo(0) === 0 ? 1 : 0);
  },
  bpf_cpumask_subset: (run) => {
    const [a, b] = [at(run, 1), at(run, 2)];
    every(run, (cpu) => !bit(run, a, cpu) || bit(run, b, cpu));
  },
  bpf_cpumask_empty: (run) => {
    const mask = at(run, 1);
    every(run, (cpu) => !bit(run, mask, cpu));
  },
  bpf_cpumask_full: (run) => {
    const mask = at(run, 1);
    every(run, (cpu) => bit(run, mask, cpu));
  },
  bpf_cpumask_copy: (run) => {
    const to = run.writable(1, BYTES, "CPU mask");
    const from = at(run, 2);
    run.memory.u8.copyWithin(to, from, from + BYTES);
  },
  bpf_cpumask_weight: (run) => {
    const mask = at(run, 1);
    let count = 0;
    for (let cpu = 0; cpu < run.vm.world.cpus; cpu++) if (bit(run, mask, cpu)) count++;
    run.retU32(count);
  },
};
