/** Helper calls of every program type against the running kernel: verdict, errno and level-2 log. `FUZZ_RUNS` sets how many. */
import { readFileSync } from "node:fs";
import fc from "fast-check";
import { mov64Imm, callHelper, exit } from "../../../src/asm/index.ts";
import { Btf } from "../../../src/btf/index.ts";
import { verify } from "../../../src/verifier/index.ts";
import { assert, suite } from "../../harness.ts";
import { requires } from "../../kernel.ts";
import { arrayMap, bare } from "../bare.ts";
import { closeFd, createMap, kernelVerdict, logDifference } from "../kernel-load.ts";
import { TYPES } from "./prog-types.ts";
import { MAPS, helperCalls, helperProgram } from "./helper-programs.ts";

const test = suite("verifier helper calls");
const RUNS = Number(process.env["FUZZ_RUNS"] ?? 600);
const SEED = process.env["FUZZ_SEED"] === undefined ? {} : { seed: Number(process.env["FUZZ_SEED"]) };
const SLEEPABLE = 16;
/** probe_write_user and override_return: there or not by lockdown and configuration. */
const BY_CONFIG: ReadonlySet<number> = new Set([36, 58]);

/** prog array, devmap, cpumap */
const OWNED: ReadonlySet<number> = new Set([3, 14, 16]);

/** Maps of 6.18 as the simulator is told of them. */
const loadMaps = MAPS.map(([type, key, value, entries]) => arrayMap(type, key, value, entries));

function cpus(): number {
  const last = /(\d+)\s*$/.exec(readFileSync("/sys/devices/system/cpu/possible", "utf8"));
  return Number(last?.[1] ?? 0) + 1;
}

interface Host {
  readonly btf: Btf;
  readonly fds: readonly number[];
  readonly possibleCpus: number;
}

/** Runs `use` with the kernel's BTF and one map of each kind. */
function withHost(use: (host: Host) => void): void {
  const fds: number[] = [];
  try {
    for (const [type, key, value, entries] of MAPS) fds.push(createMap(type, key, value, entries));
    use({ btf: Btf.parse(new Uint8Array(readFileSync("/sys/kernel/btf/vmlinux"))), fds, possibleCpus: cpus() });
  } finally {
    for (const fd of fds) closeFd(fd);
  }
}

function compare(host: Host, insns: ReturnType<typeof helperProgram>, progType: number, attachType: number): boolean {
  const flags = progType === 31 ? SLEEPABLE : 0;
  const kernel = kernelVerdict(insns, { progType, attachType, flags, fds: host.fds });
  const ours = verify(
    {
      ...bare(insns, progType),
      expectedAttachType: attachType,
      progFlags: flags,
      maps: loadMaps,
      vmlinuxBtf: host.btf,
      possibleCpus: host.possibleCpus,
    },
    { logLevel: 2 },
  );
  const where = `type ${progType} attach ${attachType}: `;
  assert.is(where + (logDifference(kernel.log, ours.log) ?? "same"), `${where}same`);
  // Maps that hold programs belong to the type of program that used them first, which is no matter of the verifier.
  const owned = insns.some((i) => i.opcode === 0x18 && i.src === 1 && OWNED.has(MAPS[i.imm]?.[0] ?? 0));
  if (!(owned && ours.errno === 0 && kernel.errno === -22)) assert.is(-ours.errno, kernel.errno);
  return kernel.errno === 0;
}

test(
  "which program type may call which helper",
  () => {
    requires({ root: true, kernel: "6.18" });
    withHost((host) => {
      const call = (id: number): ReturnType<typeof helperProgram> => [
        ...[1, 2, 3, 4, 5].map((reg) => mov64Imm(reg, 0)),
        callHelper(id),
        mov64Imm(0, 0),
        exit(),
      ];
      for (const [progType, attachType] of TYPES)
        for (let id = 0; id <= 212; id++) if (!BY_CONFIG.has(id)) compare(host, call(id), progType, attachType);
    });
  },
  { timeoutMs: 180_000 },
);

test(
  "random arguments",
  () => {
    requires({ root: true, kernel: "6.18" });
    withHost((host) => {
      let accepted = 0;
      fc.assert(
        fc.property(fc.constantFrom(...TYPES), helperCalls, ([progType, attachType], call) => {
          if (compare(host, helperProgram(call), progType, attachType)) accepted++;
        }),
        { numRuns: RUNS, ...SEED },
      );
      assert.ok(accepted > RUNS / 50, `only ${accepted} of ${RUNS} programs were accepted`);
    });
  },
  { timeoutMs: 60_000 + RUNS * 60 },
);
