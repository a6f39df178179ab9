// Which system calls are made, by whom, and how often.      sudo npx bpfkit run examples/syscount.ts --duration 5
import { char, config, enumOf, hash, struct, tracepoint, u32, u64 } from "bpfkit";
import { syscallNumbers } from "bpfkit/syscall";

const Syscall = enumOf(syscallNumbers(process.arch)); // decoded to "read", "openat", …
const Process = struct({ pid: u32, comm: char(16) });

export const calls = hash(Syscall, u64, { maxEntries: 1024 });
export const processes = hash(Process, u64);
export const onlyPid = config(u32, 0); // --set onlyPid=1234

export const onSyscall = tracepoint("raw_syscalls:sys_enter", (ctx, bpf) => {
  const pid = bpf.pid();
  if (onlyPid.value !== 0 && pid !== onlyPid.value) return;
  calls.add(ctx.id, 1);
  processes.add({ pid, comm: bpf.comm() }, 1);
});
