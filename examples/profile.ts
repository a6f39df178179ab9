// Where the CPUs spend their time: stacks, folded as flame graph tools read them.
//     sudo npx bpfkit run examples/profile.ts --duration 5 > out.folded && flamegraph.pl out.folded > out.svg
import { basename } from "node:path";
import { char, config, hash, profile, ringbuf, s32, stackTrace, struct, u32, u64 } from "bpfkit";
import type { App, Frame } from "bpfkit/load";

const Stack = struct({ pid: u32, kernel: s32, user: s32, comm: char(16) });

export const traces = stackTrace({ maxEntries: 16_384 });
export const counts = hash(Stack, u64);
export const fresh = ringbuf(Stack); // stacks that occur for the first time
export const onlyPid = config(u32, 0); // --set onlyPid=1234

export const onTick = profile({ hz: 99 }, (_ctx, bpf) => {
  const pid = bpf.pid();
  if (pid === 0 || (onlyPid.value !== 0 && pid !== onlyPid.value)) return; // 0: idle
  const stack = { pid, kernel: bpf.kernelStack(traces), user: bpf.userStack(traces), comm: bpf.comm() };
  if (!counts.has(stack)) fresh.emit(stack);
  counts.add(stack, 1);
});

const nameOf = (f: Frame): string => f.name ?? `[${basename(f.module) || "unknown"}]`;

export default async (app: App): Promise<void> => {
  const folded = new Map<string, string>();
  app.symbols.kernelSymbol(0n); // reads the kernel's symbols now, not while processes come and go
  // Names are looked up at once: when a process is gone, nobody knows any more what was where in its memory.
  for await (const stack of app.stream(fresh)) {
    const user = app.symbols.userStack(stack.pid, app.stackTraces(traces).get(stack.user) ?? []);
    const kernel = app.symbols.kernelStack(app.stackTraces(traces).get(stack.kernel) ?? []);
    const names = [...kernel.map((f) => `${nameOf(f)}_[k]`), ...user.map(nameOf)];
    folded.set(JSON.stringify(stack), [stack.comm, ...names.reverse()].join(";"));
  }
  for (const [stack, count] of app.map(counts))
    console.log(folded.get(JSON.stringify(stack)) ?? stack.comm, `${count}`);
};
