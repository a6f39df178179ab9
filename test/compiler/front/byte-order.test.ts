/** Context fields that the kernel keeps in network byte order are plain numbers: `ctx.user_port === 80`. */
import { existsSync, mkdirSync, rmdirSync } from "node:fs";
import { createServer, type Server } from "node:net";
import { spawn } from "node:child_process";
import { assert, suite } from "../../harness.ts";
import { requires } from "../../kernel.ts";
import { loaded, runningBtf } from "../compile-text.ts";

const test = suite("compiler byte order");
const LOOPBACK = 0x7f00_0001;

test("__sk_buff.protocol", () => {
  requires({ root: true, capability: ["CAP_BPF", "CAP_NET_ADMIN"], kernel: "5.8" });
  const text = `import { tc } from "bpfkit";
export const p = tc((ctx) => ctx.protocol);`;
  const c = loaded(text, { btf: runningBtf() });
  try {
    for (const protocol of [0x0800, 0x86dd, 0x0806, 0x88a8]) {
      const data = new Uint8Array(64);
      data.set([protocol >> 8, protocol & 255], 12);
      assert.is(c.prog("p").testRun({ data }).returnValue, protocol);
    }
  } finally {
    c.close();
  }
});

test("ports and addresses of sockets, as bpf_sock_addr and bpf_sock_ops have them", async () => {
  requires({ root: true, capability: ["CAP_BPF", "CAP_NET_ADMIN", "CAP_SYS_ADMIN"], kernel: "5.8" });
  const unified = "/sys/fs/cgroup/unified";
  const cgroup = `${existsSync(`${unified}/cgroup.procs`) ? unified : "/sys/fs/cgroup"}/bpfkit-order-${process.pid}`;
  const text = `import { cgroupSockAddr, global, sockOps, struct, u32 } from "bpfkit";
const Peer = struct({ address: u32, port: u32 });
export const asked = global(Peer, { address: 0, port: 0 });
export const got = global(Peer, { address: 0, port: 0 });
export const own = global(Peer, { address: 0, port: 0 });
export const to = global(u32, 0);
export const connect = cgroupSockAddr("connect4", (ctx) => {
  asked.value = { address: ctx.user_ip4, port: ctx.user_port };
  if (ctx.user_port === 80) return 0;
  ctx.user_port = to.value;
  return 1;
});
export const ops = sockOps((ctx) => {
  if (ctx.op !== 4) return 1;
  got.value = { address: ctx.remote_ip4, port: ctx.remote_port };
  own.value = { address: ctx.local_ip4, port: ctx.local_port };
  return 1;
});`;
  const accepted: number[] = [];
  const server: Server = createServer((s) => {
    accepted.push(s.remotePort!);
    s.end();
  });
  mkdirSync(cgroup);
  try {
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    const { port } = server.address() as { port: number };
    const c = loaded(text, { btf: runningBtf() });
    try {
      c.variable("to").value = port;
      c.attach({ cgroup });
      const connect = (to: number): Promise<number | null> => {
        const code = `echo $$ > ${cgroup}/cgroup.procs; exec 3<>/dev/tcp/127.0.0.1/${to} && cat <&3 && exit 7`;
        const child = spawn("bash", ["-c", code], { stdio: "ignore" });
        return new Promise((resolve) => child.on("exit", resolve));
      };
      assert.is.not(await connect(80), 7);
      assert.equal(c.variable("asked").value, { address: LOOPBACK, port: 80 });
      assert.is(await connect(12_345), 7);
      assert.equal(c.variable("asked").value, { address: LOOPBACK, port: 12_345 });
      assert.equal(c.variable("got").value, { address: LOOPBACK, port });
      assert.equal(c.variable("own").value, { address: LOOPBACK, port: accepted[0] });
    } finally {
      c.close();
    }
  } finally {
    server.close();
    rmdirSync(cgroup);
  }
});
