import * as kit from "bpfkit";
import { type Bpf, char, config, hash, ringbuf, struct, tracepoint, u32, u64 } from "bpfkit";
import { LIMIT, parentPid } from "./helper.ts";

const Exec = struct({ pid: u32, ppid: u32, uid: u32, at: u64, comm: char(16), filename: char(128) });
export const events = ringbuf(Exec);
export const byUid = hash(u32, u64);
export const onlyUid = config(u32, 0xffff_ffff);

interface Settings {
  readonly name: string;
  readonly mask: bigint;
}
const settings: Settings = Object.freeze({ name: "probe", mask: 0xffff_ffff_ffff_ffffn });
const BIG = 0xffffffffffffffff; // oxlint-disable-line no-loss-of-precision
let late: number | undefined; // oxlint-disable-line no-unassigned-vars
let counter: number = 0;

const local = <T extends number>(value: T, bpf: Bpf<"tracepoint">): number => kit.u64(value) + bpf.pid(); // oxlint-disable-line typescript/no-unnecessary-type-parameters

export const onExec = tracepoint("syscalls:sys_enter_execve", (ctx, bpf) => {
  const uid = bpf.uid();
  if (onlyUid.value !== 0xffff_ffff && uid !== onlyUid.value) return;
  byUid.add(uid as number, 1);
  if (uid > BIG || settings.mask! > LIMIT) return;
  events.emit({
    pid: local<number>(bpf.pid(), bpf),
    ppid: parentPid(bpf),
    uid,
    at: bpf.nsecs(),
    comm: bpf.comm(),
    filename: bpf.str(ctx.filename),
  });
});

// Two programs with the same text and different closures.
function make(limit: number) {
  return tracepoint("sched:sched_switch", (ctx, bpf) => {
    if (bpf.pid() > limit) return 1;
    return 0;
  });
}
export const low = make(10);
export const high = make(1000);

export const wrong = tracepoint("sched:sched_switch", (ctx, bpf) => {
  if (bpf.pid() > counter) return late;
  return 0;
});
export function bump(): void {
  counter++;
}
export class Holder {
  #secret = 1;
  readonly usesThis = tracepoint("sched:sched_switch", () => this.#secret);
}
export const usesThis = new Holder().usesThis;
export const bound = tracepoint("sched:sched_switch", onExec.fn.bind(undefined) as () => number);
