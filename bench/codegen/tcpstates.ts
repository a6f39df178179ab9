import { bytes, char, config, hash, ringbuf, struct, tracepoint, u16, u32, u64 } from "bpfkit";

const Event = struct({
  skaddr: u64,
  delta: u64,
  at: u64,
  pid: u32,
  from: u32,
  to: u32,
  family: u16,
  sport: u16,
  dport: u16,
  saddr: bytes(16),
  daddr: bytes(16),
  comm: char(16),
});
const CLOSE = 7;
export const since = hash(u64, u64);
export const events = ringbuf(Event, { countLost: false }); // as the C twin
export const onlyFamily = config(u32, 0);

export const onState = tracepoint("sock:inet_sock_set_state", (ctx, bpf) => {
  if (ctx.protocol !== 6) return;
  if (onlyFamily.value !== 0 && onlyFamily.value !== ctx.family) return;
  const skaddr = u64(ctx.skaddr);
  const now = bpf.nsecs();
  const before = since.get(skaddr);
  const e = events.reserve();
  if (e) {
    e.skaddr = skaddr;
    e.delta = before === undefined ? 0 : (now - before) / 1000;
    e.at = now / 1000;
    e.pid = bpf.pid();
    e.from = ctx.oldstate;
    e.to = ctx.newstate;
    e.family = ctx.family;
    e.sport = ctx.sport;
    e.dport = ctx.dport;
    e.saddr = ctx.saddr_v6; // of IPv4: mapped
    e.daddr = ctx.daddr_v6;
    e.comm = bpf.comm();
    events.submit(e);
  }
  if (ctx.newstate === CLOSE) since.delete(skaddr);
  else since.set(skaddr, now);
});
