/** What the verifier simulator accepts never faults here: random programs, most with a few fields changed. `FUZZ_RUNS` sets how many. */
import fc from "fast-check";
import { type Insn, disassemble } from "../../src/asm/index.ts";
import type { InsnRef, MapSpec, ProgSpec } from "../../src/elf/spec.ts";
import { BPF_PROG_TYPE } from "../../src/uapi/index.ts";
import { VerifierAborted, verify } from "../../src/verifier/index.ts";
import { Vm, collectionOf } from "../../src/vm/index.ts";
import { assert, suite } from "../harness.ts";
import { arrayMap, bare } from "../verifier/bare.ts";
import { mutated, programs, xdpPrograms } from "../verifier/programs.ts";
import { mapSpec, progSpec } from "./kernel-run.ts";
import { Random } from "./random.ts";
import { TABLE, VALUES, randomProgram } from "./random-programs.ts";

const test = suite("vm soundness");
const RUNS = Number(process.env["FUZZ_RUNS"] ?? 600);
const SEED = Number(process.env["FUZZ_SEED"] ?? 1);
const BATCH = 50;
const INPUTS = Number(process.env["FUZZ_INPUTS"] ?? 3);
const SLEEPABLE = 0x10;
/** The kernel runs a syscall program only on a context that has every byte it may access. */
const SYSCALL_CTX = 1024;
const LD_IMM64 = 0x18;
/** Offsets, immediates and registers that a change puts in. */
const SMALL = [0, 1, -1, 2, 4, 7, 8, -4, -8, 16, 60, 64, -60, -64, -72, -80, 255, 512, -512];

/** Up to three fields changed; what names a map stays. */
function changed(prog: ProgSpec, r: Random): ProgSpec {
  const insns = [...prog.insns];
  const fixed = new Set(prog.refs.flatMap((ref) => [ref.insn, ref.insn + 1]));
  for (let n = r.below(4); n > 0; n--) {
    const i = r.below(insns.length);
    const old = insns[i]!;
    if (fixed.has(i) || old.opcode === LD_IMM64 || old.opcode === 0) continue;
    const field = r.below(5);
    insns[i] =
      field === 0
        ? { ...old, dst: r.below(11) }
        : field === 1
          ? { ...old, src: r.below(11) }
          : field === 2
            ? { ...old, off: r.pick(SMALL) }
            : field === 3
              ? { ...old, imm: r.pick(SMALL) }
              : { ...old, opcode: insns[r.below(insns.length)]!.opcode };
  }
  return { ...prog, insns };
}

/** Does the simulator accept it, with these maps? */
function accepted(prog: ProgSpec, maps: readonly MapSpec[]): boolean {
  const insns = prog.insns.map((insn, i) => {
    const ref = prog.refs.find((x) => x.insn === i);
    return ref !== undefined && "map" in ref ? { ...insn, imm: maps.findIndex((m) => m.name === ref.map) } : insn;
  });
  const load = {
    ...bare(insns, prog.type),
    progFlags: prog.flags,
    maps: maps.map((m) => arrayMap(m.type, m.keySize, m.valueSize, m.maxEntries)),
  };
  try {
    return verify(load, { logLevel: 0, kernel: "6.18", budget: 200_000 }).verdict === "accept";
  } catch (error) {
    if (error instanceof VerifierAborted) return false;
    throw error;
  }
}

interface Counts {
  tried: number;
  accepted: number;
  runs: number;
}

/** Runs what is accepted of `progs` in both engines with random inputs. */
function check(progs: readonly ProgSpec[], maps: readonly MapSpec[], r: Random, counts: Counts, label: string): void {
  const good = progs.filter((p) => accepted(p, maps)).map((p, i) => ({ ...p, name: `p${i}` }));
  counts.tried += progs.length;
  counts.accepted += good.length;
  // Privileged programs may read stack that they never wrote.
  const vms = (["interp", "jit"] as const).map(
    (engine) => new Vm(collectionOf(good, maps), { engine, uninit: "allow", budget: 2_000_000 }),
  );
  for (const prog of good) {
    for (let k = 0; k < INPUTS; k++) {
      const bytes = new Uint8Array(prog.type === BPF_PROG_TYPE.SYSCALL ? SYSCALL_CTX : 14 + r.below(120));
      for (let i = 0; i < bytes.length; i++) bytes[i] = r.below(256);
      const input = prog.type === BPF_PROG_TYPE.SYSCALL ? { ctx: bytes } : { data: bytes };
      counts.runs++;
      for (const vm of vms) {
        try {
          vm.run(prog.name, input);
        } catch (error) {
          throw new Error(
            `${label}, ${vm.engine}, input ${Buffer.from(bytes).toString("hex")}: ${(error as Error).message}\n${disassemble(prog.insns)}`,
            { cause: error },
          );
        }
      }
    }
  }
}

const report = (what: string, { tried, accepted: good, runs }: Counts): void => {
  if (process.env["FUZZ_RUNS"] !== undefined) console.log(`${what}: ${good} of ${tried} accepted, ${runs} runs`);
};
const options = { timeoutMs: 60_000 + RUNS * 40 };

test(
  "arithmetic, memory, loops, subprograms and maps",
  () => {
    const counts: Counts = { tried: 0, accepted: 0, runs: 0 };
    for (let from = 0; from < RUNS; from += BATCH) {
      const seed = SEED * 1_000_003 + from;
      const r = new Random(seed);
      const progs = Array.from({ length: BATCH }, () =>
        changed({ ...randomProgram(r, 4 + r.below(40), { callbacks: false }), flags: SLEEPABLE }, r),
      );
      check(progs, [VALUES, TABLE], r, counts, `seed ${seed}`);
      if ((from / BATCH) % 400 === 399) report("so far", counts);
    }
    report("programs", counts);
    assert.ok(counts.accepted > counts.tried / 4, `only ${counts.accepted} of ${counts.tried} were accepted`);
  },
  options,
);

const XDP_MAPS = [mapSpec("array", 2, 4, 64, 1), mapSpec("hash", 1, 4, 64, 8)];

/** Pseudo map fds are indexes here. */
function withRefs(insns: readonly Insn[], type: number): ProgSpec | undefined {
  const refs: InsnRef[] = [];
  for (const [i, insn] of insns.entries()) {
    if (insn.opcode !== LD_IMM64 || insn.src === 0) continue;
    const map = XDP_MAPS[insn.imm]?.name;
    if (map === undefined || insn.src > 2) return undefined;
    refs.push(
      insn.src === 1
        ? { kind: "map", insn: i, map }
        : { kind: "map-value", insn: i, map, offset: insns[i + 1]?.imm ?? 0 },
    );
  }
  return progSpec("p", type, insns, { refs, flags: 0 });
}

test(
  "packets, contexts and helpers",
  () => {
    const { XDP, SOCKET_FILTER } = BPF_PROG_TYPE;
    const kinds: readonly (readonly [number, fc.Arbitrary<Insn[]>])[] = [
      [XDP, xdpPrograms(20)],
      [XDP, mutated(xdpPrograms(12))],
      [SOCKET_FILTER, programs(24)],
      [SOCKET_FILTER, mutated(programs(16))],
    ];
    for (const [type, arbitrary] of kinds) {
      const counts: Counts = { tried: 0, accepted: 0, runs: 0 };
      const r = new Random(SEED);
      for (let from = 0; from < RUNS / kinds.length; from += BATCH) {
        const seed = SEED * 1_000_003 + from;
        const list = fc.sample(arbitrary, { seed, numRuns: BATCH });
        check(
          list.flatMap((insns) => withRefs(insns, type) ?? []),
          XDP_MAPS,
          r,
          counts,
          `seed ${seed}`,
        );
      }
      report(`type ${type}`, counts);
      assert.ok(counts.accepted > counts.tried / 100, `only ${counts.accepted} of ${counts.tried} were accepted`);
    }
  },
  options,
);
