/** Runs a simulation's programs as the things happen that they are attached to. */
import type { ProgSpec } from "../../elf/spec.ts";
import { BPF_ATTACH_TYPE } from "../../uapi/attach-types.ts";
import { BPF_PROG_TYPE } from "../../uapi/prog-types.ts";
import type { Simulation } from "../simulation.ts";
import type { Fields } from "../world/types.ts";
import { type Actor, type Happening, STORY_NS, happenings } from "./happenings.ts";

const PACKETS: ReadonlySet<number> = new Set([
  BPF_PROG_TYPE.XDP,
  BPF_PROG_TYPE.SCHED_CLS,
  BPF_PROG_TYPE.SCHED_ACT,
  BPF_PROG_TYPE.CGROUP_SKB,
  BPF_PROG_TYPE.SOCKET_FILTER,
  BPF_PROG_TYPE.LWT_IN,
  BPF_PROG_TYPE.LWT_OUT,
  BPF_PROG_TYPE.LWT_XMIT,
]);

/** What has to happen for the program to run, in the words of `Happening.what`. */
export function occasionOf(prog: ProgSpec): string {
  const target = (prog.attachTo ?? "").replace(/\+.*$/, "");
  if (PACKETS.has(prog.type)) return "packet";
  switch (prog.type) {
    case BPF_PROG_TYPE.TRACEPOINT:
      return `trace:${target.replace("/", ":")}`;
    case BPF_PROG_TYPE.RAW_TRACEPOINT:
    case BPF_PROG_TYPE.RAW_TRACEPOINT_WRITABLE:
      return `tp:${target}`;
    case BPF_PROG_TYPE.PERF_EVENT:
      return "tick";
    case BPF_PROG_TYPE.KPROBE: {
      const [, kind = "", ret] = /^\??(u|k|ksyscall|usdt)(ret)?(?:probe)?(?:\.|\/|$)/.exec(prog.section) ?? [];
      if (kind === "u") return `user:${target.replace(/.*:/, "")}`;
      const name = prog.section.includes("ksyscall") ? `__x64_sys_${target}` : target;
      return `${ret === undefined ? "call" : "return"}:${name}`;
    }
    case BPF_PROG_TYPE.TRACING:
      if (prog.expectedAttachType === BPF_ATTACH_TYPE.TRACE_RAW_TP) return `tp:${target}`;
      return `${prog.expectedAttachType === BPF_ATTACH_TYPE.TRACE_FEXIT ? "return" : "call"}:${target}`;
    default:
      return "";
  }
}

export interface Played {
  /** Since the story began, in nanoseconds. */
  readonly at: bigint;
}

/**
 * Plays the story once. Between two moments it yields, so that the caller can look at maps and samples; the last comes
 * when it is over.
 */
export function* play(sim: Simulation, progs: readonly ProgSpec[], fieldsOf: FieldsOf): Generator<Played> {
  const begin = sim.now;
  const byOccasion = new Map<string, ProgSpec[]>();
  for (const prog of progs) {
    const occasion = occasionOf(prog);
    byOccasion.set(occasion, [...(byOccasion.get(occasion) ?? []), prog]);
  }
  let current: Actor | undefined;
  for (const h of happenings()) {
    const due = byOccasion.get(h.what);
    if (due === undefined) continue;
    if (begin + h.at > sim.now) sim.advance(begin + h.at - sim.now);
    sim.cpu = h.cpu;
    if (current !== h.task) sim.task((current = h.task));
    for (const prog of due) sim.run(prog.name, contextFor(prog, h, fieldsOf));
    yield { at: h.at };
  }
  if (begin + STORY_NS > sim.now) sim.advance(begin + STORY_NS - sim.now);
  yield { at: STORY_NS };
}

/** Fields that an event's record has on the simulated kernel; undefined when that is not known. */
export type FieldsOf = (event: string) => readonly string[] | undefined;

/** Kernels differ in the fields of their events: what this one does not have is left out. */
function contextFor(prog: ProgSpec, { what, ctx }: Happening, fieldsOf: FieldsOf): Fields {
  if (!what.startsWith("trace:"))
    return prog.type === BPF_PROG_TYPE.RAW_TRACEPOINT && what.startsWith("tp:sys_") ? {} : ctx;
  const known = fieldsOf(what.slice("trace:".length));
  return known === undefined ? ctx : Object.fromEntries(Object.entries(ctx).filter(([name]) => known.includes(name)));
}

/** Programs that the story has nothing for. */
export function strangers(progs: readonly ProgSpec[]): readonly ProgSpec[] {
  const known = new Set([...happenings()].map((h) => h.what));
  return progs.filter((p) => !known.has(occasionOf(p)));
}
