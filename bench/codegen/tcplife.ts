import { bytes, char, config, hash, ringbuf, struct, tracepoint, u16, u32, u64 } from "bpfkit";

const Id = struct({ pid: u32, comm: char(16) });
const Life = struct({
  microseconds: u64,
  rx: u64,
  tx: u64,
  pid: u32,
  sport: u16,
  dport: u16,
  family: u16,
  saddr: bytes(4),
  daddr: bytes(4),
  comm: char(16),
});
const State = Object.freeze({ SYN_SENT: 2, FIN_WAIT1: 4, CLOSE: 7, LAST_ACK: 9 });
export const birth = hash(u64, u64);
export const idents = hash(u64, Id);
export const lives = ringbuf(Life, { countLost: false }); // as the C twin
export const onlyPort = config(u32, 0);

export const onState = tracepoint("sock:inet_sock_set_state", (ctx, bpf) => {
  if (ctx.protocol !== 6) return;
  if (onlyPort.value !== 0 && ctx.dport !== onlyPort.value) return;
  const sk = u64(ctx.skaddr);
  const state = ctx.newstate;
  if (state < State.FIN_WAIT1) birth.set(sk, bpf.nsecs());
  if (state === State.SYN_SENT || state === State.LAST_ACK) idents.set(sk, { pid: bpf.pid(), comm: bpf.comm() });
  if (state !== State.CLOSE) return;
  const start = birth.get(sk);
  const id = idents.get(sk);
  if (start !== undefined) {
    const tcp = bpf.cast(sk, "tcp_sock");
    const e = lives.reserve();
    if (e) {
      e.microseconds = (bpf.nsecs() - start) / 1000;
      e.rx = tcp.bytes_received;
      e.tx = tcp.bytes_acked;
      e.sport = ctx.sport;
      e.dport = ctx.dport;
      e.family = ctx.family;
      e.saddr = ctx.saddr;
      e.daddr = ctx.daddr;
      if (id) {
        e.pid = id.pid;
        e.comm = id.comm;
      } else {
        e.pid = bpf.pid();
        e.comm = bpf.comm();
      }
      lives.submit(e);
    }
  }
  birth.delete(sk);
  idents.delete(sk);
});
