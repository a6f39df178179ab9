/** One random program given to the running kernel and to the verifier. */
import { readFileSync } from "node:fs";
import { Btf } from "../../../src/btf/btf.ts";
import type { ProgLoad } from "../../../src/verifier/capture.ts";
import { VerifierAborted } from "../../../src/verifier/errors.ts";
import { type Verdict, verify } from "../../../src/verifier/verify.ts";
import { btfLoad, check, realKernel } from "../../../src/syscall/index.ts";
import { bare } from "../bare.ts";
import { POSSIBLE_CPUS } from "../corpus.ts";
import { closeFd, createMap, kernelVerdict, logDifference } from "../kernel-load.ts";
import { type Generated, type KfuncIds, generate } from "./generate.ts";
import { Rng } from "./rng.ts";
import { MAPS, PROG_ARRAY, type ProgTypes, TARGETS, type Target, progTypes } from "./targets.ts";

const KFUNCS = [
  "bpf_iter_num_new",
  "bpf_iter_num_next",
  "bpf_iter_num_destroy",
  "bpf_rcu_read_lock",
  "bpf_rcu_read_unlock",
  "bpf_preempt_disable",
  "bpf_preempt_enable",
  "bpf_task_acquire",
  "bpf_task_release",
];
const LOG_LEVEL2 = 6;
const STATS = 4;
const ENOSPC = 28;

const NOTHING = { opcode: 0x05, dst: 0, src: 0, off: 0, imm: 0 };

/** What kind of difference it is: texts without numbers. */
function kindOf({ difference }: Outcome): string {
  if (difference === null) return "";
  const line = (who: string): string => new RegExp(`^${who} (.*)`, "m").exec(difference)?.[1] ?? "";
  return `${line("kernel")}/${line("ours")}/${/errno.*/.exec(difference)?.[0] ?? ""}`.replace(/\d+/g, "N");
}

/** Without times, and without a position in code that the kernel has rewritten by then. */
const masked = (log: string): string =>
  log
    .replace(/verification time \d+ usec/, "verification time 0 usec")
    .replace(/(No program to jit at insn) \d+/, "$1 N");

export interface Outcome {
  readonly accepted: boolean;
  /** Insns that the kernel processed. */
  readonly processed: number;
  /** What differs; null: nothing. */
  readonly difference: string | null;
  readonly falseAccept: boolean;
  /** Nothing was compared: too long a run, or a log that did not fit. */
  readonly passedOver: boolean;
  readonly kernelLog: string;
}

export interface Made {
  readonly target: Target;
  readonly load: ProgLoad;
  readonly program: Generated;
}

/** Everything that programs share: maps, BTF, ids of kernel functions. */
export class Comparison {
  readonly #types: ProgTypes = progTypes();
  readonly #vmlinux: Btf;
  readonly #kfuncs: KfuncIds;
  readonly #attachIds = new Map<string, number>();
  readonly #fds: readonly number[];
  /** An array of programs takes the type of the first that uses it: one for each target. */
  readonly #progArrays = new Map<Target, number>();
  readonly #btfFd: number;

  constructor() {
    const bytes = new Uint8Array(readFileSync("/sys/kernel/btf/vmlinux"));
    this.#vmlinux = Btf.parse(bytes, { what: "vmlinux" });
    const ids = KFUNCS.map((name) => [name, this.#vmlinux.findByName(name, "func")?.id ?? 0] as const);
    this.#kfuncs = new Map(ids.filter(([, id]) => id !== 0));
    for (const { attachTo } of TARGETS) {
      if (attachTo !== null) this.#attachIds.set(attachTo, this.#vmlinux.findByName(attachTo, "typedef")?.id ?? 0);
    }
    this.#fds = MAPS.map((m) => createMap(m.type, m.keySize, m.valueSize, m.maxEntries));
    const kernel = realKernel();
    this.#btfFd = check(kernel, btfLoad(kernel, this.#types.bytes).result, "BPF_BTF_LOAD");
  }

  /** The program of `seed`. */
  make(seed: number): Made {
    const rng = new Rng(seed);
    const target = rng.pick(TARGETS);
    const program = generate(rng, target, this.#types, this.#kfuncs);
    const funcInfo = new Uint8Array(program.funcs.length * 8);
    const v = new DataView(funcInfo.buffer);
    program.funcs.forEach((f, i) => {
      v.setUint32(8 * i, f.insn, true);
      v.setUint32(8 * i + 4, f.typeId, true);
    });
    const load: ProgLoad = {
      ...bare(program.insns, target.progType),
      expectedAttachType: target.attachType,
      attachBtfId: target.attachTo === null ? 0 : (this.#attachIds.get(target.attachTo) ?? 0),
      progFlags: program.flags,
      maps: MAPS,
      btf: program.funcs.length > 0 ? this.#types.btf : null,
      vmlinuxBtf: this.#vmlinux,
      funcInfoRecSize: program.funcs.length > 0 ? 8 : 0,
      funcInfo,
      possibleCpus: POSSIBLE_CPUS,
    };
    return { target, load, program };
  }

  #fdsFor(target: Target): number[] {
    let own = this.#progArrays.get(target);
    if (own === undefined) {
      const m = MAPS[PROG_ARRAY]!;
      own = createMap(m.type, m.keySize, m.valueSize, m.maxEntries);
      this.#progArrays.set(target, own);
    }
    return this.#fds.with(PROG_ARRAY, own);
  }

  /** `budget`: a program that takes more insns is passed over; 0: none is. */
  compare({ target, load, program }: Made, whole: boolean, budget = 0): Outcome {
    const logLevel = whole ? LOG_LEVEL2 : STATS;
    let ours: Verdict;
    try {
      ours = verify(load, budget === 0 ? { logLevel } : { logLevel, budget });
    } catch (error) {
      if (!(error instanceof VerifierAborted)) throw error;
      return { accepted: false, processed: 0, difference: null, falseAccept: false, passedOver: true, kernelLog: "" };
    }
    const kernel = kernelVerdict(program.insns, {
      progType: target.progType,
      attachType: target.attachType,
      attachBtfId: load.attachBtfId,
      flags: program.flags,
      logLevel,
      fds: this.#fdsFor(target),
      btfFd: load.btf === null ? 0 : this.#btfFd,
      funcInfo: load.funcInfo,
    });
    const accepted = kernel.errno === 0;
    const processed = Number(/processed (\d+) insns/.exec(kernel.log)?.[1] ?? 0);
    // A log that did not fit says nothing.
    if (kernel.errno === -ENOSPC)
      return { accepted: false, processed, difference: null, falseAccept: false, passedOver: true, kernelLog: "" };
    const errno = -ours.errno === kernel.errno ? "" : `errno: kernel ${kernel.errno}, ours ${-ours.errno}\n`;
    const text = logDifference(masked(kernel.log), masked(ours.log));
    return {
      accepted,
      processed,
      difference: errno === "" && text === null ? null : `${errno}${text ?? ""}`,
      falseAccept: ours.errno === 0 && !accepted,
      passedOver: false,
      kernelLog: kernel.log,
    };
  }

  /** The same program with as many insns as possible made into `goto +0` while it still differs in verdict or message. */
  minimize(made: Made): Made {
    const insns = [...made.program.insns];
    const made_ = (list: typeof insns): Made => ({
      ...made,
      program: { ...made.program, insns: list },
      load: { ...made.load, insns: list },
    });
    const first = kindOf(this.compare(made, false));
    for (let n = insns.length >> 1; n > 0; n >>= 1) {
      for (let i = 0; i < insns.length; i += n) {
        const tried = insns.map((old, k) => (k >= i && k < i + n ? NOTHING : old));
        if (kindOf(this.compare(made_(tried), false)) === first) insns.splice(0, insns.length, ...tried);
      }
    }
    return made_(insns);
  }

  close(): void {
    for (const fd of [...this.#fds, ...this.#progArrays.values()]) closeFd(fd);
    closeFd(this.#btfFd);
  }
}
