// Every file that is opened, by whom, and whether that worked.      sudo npx bpfkit run examples/opensnoop.ts
import { constants } from "node:os";
import { type Bpf, type CString, char, config, enumOf, hash, ringbuf, s32, struct, tracepoint, u32, u64 } from "bpfkit";

const Errno = enumOf({ ok: 0, ...constants.errno }); // decoded to "ENOENT", "EACCES", …
const Open = struct({ pid: u32, uid: u32, comm: char(16), fd: s32, error: Errno, file: char(256) });

const names = hash(u32, u64); // by thread: where the name is that it opens
export const opens = ringbuf(Open, { size: 8 * 1024 * 1024 });
export const onlyFailed = config(u32, 0); // --set onlyFailed=1
export const onlyPid = config(u32, 0);

const enter = (bpf: Bpf<"tracepoint">, name: CString) => {
  if (onlyPid.value === 0 || bpf.pid() === onlyPid.value) names.set(bpf.tid(), u64(name));
};

const exit = (bpf: Bpf<"tracepoint">, ret: number) => {
  // Only now the kernel has surely read the name, so it is in memory.
  const name = names.get(bpf.tid());
  if (name === undefined) return; // opened before we were attached
  names.delete(bpf.tid());
  if (ret >= 0 && onlyFailed.value !== 0) return;
  opens.emit({
    pid: bpf.pid(),
    uid: bpf.uid(),
    comm: bpf.comm(),
    fd: ret < 0 ? -1 : ret,
    error: ret < 0 ? -ret : 0,
    file: bpf.userStr(name),
  });
};

export const enterOpenat = tracepoint("syscalls:sys_enter_openat", (ctx, bpf) => enter(bpf, ctx.filename));
export const exitOpenat = tracepoint("syscalls:sys_exit_openat", (ctx, bpf) => exit(bpf, ctx.ret));
export const enterOpenat2 = tracepoint("syscalls:sys_enter_openat2", (ctx, bpf) => enter(bpf, ctx.filename));
export const exitOpenat2 = tracepoint("syscalls:sys_exit_openat2", (ctx, bpf) => exit(bpf, ctx.ret));
