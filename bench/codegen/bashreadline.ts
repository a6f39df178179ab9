import { char, ringbuf, struct, u32, uretprobe } from "bpfkit";

const Line = struct({ pid: u32, comm: char(16), text: char(80) });
export const lines = ringbuf(Line, { countLost: false }); // as the C twin

export const onReadline = uretprobe({ binary: "/bin/bash", symbol: "readline" }, (_ctx, bpf) => {
  const line = bpf.ret();
  if (!line) return;
  const comm = bpf.comm();
  if (comm !== "bash") return;
  lines.emit({ pid: bpf.pid(), comm, text: bpf.userStr(line) });
});
