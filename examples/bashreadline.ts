// What is typed into every bash on this machine.      sudo npx bpfkit run examples/bashreadline.ts
import { char, ringbuf, struct, u32, uretprobe } from "bpfkit";

const Line = struct({ pid: u32, uid: u32, text: char(256) });
export const lines = ringbuf(Line);

export const onReadline = uretprobe({ binary: "bash", symbol: "readline" }, (_ctx, bpf) => {
  const line = bpf.ret();
  if (!line) return; // end of input
  lines.emit({ pid: bpf.pid(), uid: bpf.uid(), text: bpf.userStr(line) });
});
