//     npx bpfkit test examples/xdpcount.test.ts
import { strict as assert } from "node:assert";
import { XDP } from "bpfkit";
import { arp, eth, icmpv6, ipv4, ipv6, packet, simulate, tcp, udp } from "bpfkit/testing";
import * as xdpcount from "./xdpcount.ts";

for (const kernel of ["6.1", "6.12", "6.18"]) {
  const sim = simulate(xdpcount, { kernel, cpus: 2 });
  const web = packet(eth(), ipv4(), tcp(), "GET /");
  for (const [cpu, data] of [
    [0, web],
    [1, web],
    [1, packet(eth(), ipv4(), udp(), "query")],
    [1, packet(eth(), ipv6(), icmpv6())],
    [1, packet(eth(), arp())],
    [1, new Uint8Array(14)], // neither
    [0, packet(eth(), ipv4()).subarray(0, 20)], // cut off
    [0, packet(eth(), ipv6()).subarray(0, 53)],
  ] as const) {
    sim.cpu = cpu;
    const { returnValue, packet: after } = sim.run(xdpcount.count, data);
    assert.equal(returnValue, XDP.PASS);
    assert.deepEqual(after, data);
  }
  assert.deepEqual(
    new Map(sim.entries(xdpcount.packets)),
    new Map([
      ["TCP", [1n, 1n]],
      ["UDP", [0n, 1n]],
      ["ICMPv6", [0n, 1n]],
      ["notIp", [0n, 2n]],
      ["tooShort", [2n, 0n]],
    ]),
  );
  const size = BigInt(web.length);
  assert.deepEqual(sim.get(xdpcount.bytes, "TCP"), [size, size]);
}
