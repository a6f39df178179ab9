// Which system calls are made, by whom, and how often.      sudo npx bpfkit run examples/syscount.ts --duration 5
import { config, hash, tracepoint, u32, u64 } from "bpfkit";

export const bySyscall = hash(u32, u64, { maxEntries: 1024 });
export const byProcess = hash(u32, u64);
export const onlyPid = config(u32, 0); // --set onlyPid=1234

export const onSyscall = tracepoint("raw_syscalls:sys_enter", (ctx, bpf) => {
  const pid = bpf.pid();
  if (onlyPid.value !== 0 && pid !== onlyPid.value) return;
  bySyscall.add(ctx.id, 1);
  byProcess.add(pid, 1);
});
