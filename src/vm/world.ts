/** What the programs of a test see of the world: time, CPU, task, random numbers; and what they put into it. */
import { encodeUtf8 } from "../core/bytes.ts";
import { ArgumentError } from "../core/errors.ts";

/** The current task. */
export interface Task {
  /** Thread id, what the kernel calls pid. */
  readonly pid: number;
  /** Process id. */
  readonly tgid: number;
  readonly uid: number;
  readonly gid: number;
  /** At most 15 bytes. */
  readonly comm: string;
  readonly cgroupId: bigint;
  /** Instruction addresses, innermost first. */
  readonly userStack: readonly bigint[];
  readonly kernelStack: readonly bigint[];
}

export interface WorldOptions {
  /** Possible CPUs: per-CPU maps have a value for each. Default 1. */
  readonly cpus?: number;
  /** Seed of `bpf_get_prandom_u32`. Default 1. */
  readonly seed?: number;
  /** Nanoseconds since boot at the start. Default 1 s. */
  readonly now?: bigint;
  /** What CLOCK_REALTIME-like helpers add to it, in nanoseconds. */
  readonly bootTime?: bigint;
  readonly task?: Partial<Task>;
}

/** A signal, redirect and the like: what a program asked the kernel to do. */
export interface Action {
  readonly helper: string;
  readonly args: readonly bigint[];
}

const DEFAULT_TASK: Task = {
  pid: 1,
  tgid: 1,
  uid: 0,
  gid: 0,
  comm: "test",
  cgroupId: 1n,
  userStack: [],
  kernelStack: [],
};

/**
 * The fake world. Everything in it is fixed by its options, so that the same test is the same run.
 *
 * @example
 * const world = new World({ cpus: 4, task: { pid: 42, tgid: 42, comm: "bash" } });
 * world.now += 1_000_000n;
 */
export class World {
  readonly cpus: number;
  /** The CPU that programs run on. */
  cpu = 0;
  now: bigint;
  bootTime: bigint;
  task: Task;
  /** Lines of `bpf_trace_printk`, without newlines at their end. */
  readonly printed: string[] = [];
  readonly actions: Action[] = [];
  /** Bytes that iterator programs wrote by `bpf_seq_write` and `bpf_seq_printf`. */
  readonly seq: number[] = [];
  #random: number;

  constructor(options: WorldOptions = {}) {
    const cpus = options.cpus ?? 1;
    if (!Number.isInteger(cpus) || cpus < 1 || cpus > 8192) {
      throw new ArgumentError("cpus", `expected a number of CPUs from 1 to 8192, got ${cpus}`);
    }
    this.cpus = cpus;
    this.now = options.now ?? 1_000_000_000n;
    this.bootTime = options.bootTime ?? 0n;
    this.task = { ...DEFAULT_TASK, ...options.task };
    if (encodeUtf8(this.task.comm).length > 15) {
      throw new ArgumentError("task.comm", `expected at most 15 bytes, got ${JSON.stringify(this.task.comm)}`);
    }
    this.#random = (options.seed ?? 1) | 0;
  }

  /** Changes the current task; what is not named stays. */
  setTask(task: Partial<Task>): void {
    this.task = { ...this.task, ...task };
  }

  /** The next random number (a splitmix32 generator), as s32. */
  random(): number {
    this.#random = (this.#random + 0x9e37_79b9) | 0;
    let z = this.#random;
    z = Math.imul(z ^ (z >>> 16), 0x21f0_aaad);
    z = Math.imul(z ^ (z >>> 15), 0x735a_2d97);
    return (z ^ (z >>> 15)) | 0;
  }
}
