import { cgroupSockAddr, config, hash, ringbuf, struct, u16, u32 } from "bpfkit";

const Service = struct({ address: u32, port: u32 });
const Connect = struct({ pid: u32, uid: u32, address: u32, port: u16, rewritten: u16 });
export const services = hash(Service, Service, { maxEntries: 256 });
export const connects = ringbuf(Connect);
export const deniedUid = config(u32, 0xffff_ffff);

export const connect = cgroupSockAddr("connect4", (ctx, bpf) => {
  const uid = bpf.uid();
  if (deniedUid.value !== 0xffff_ffff && uid === deniedUid.value) return 0;
  if (ctx.protocol !== 6) return 1;
  const wanted = { address: ctx.user_ip4, port: ctx.user_port };
  const to = services.get(wanted);
  connects.emit({ pid: bpf.pid(), uid, ...wanted, rewritten: to ? 1 : 0 });
  if (to) {
    ctx.user_ip4 = to.address;
    ctx.user_port = to.port;
  }
  return 1;
});
