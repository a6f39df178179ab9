import { createSocket } from "node:dgram";
import { readFileSync } from "node:fs";
import { promisify } from "node:util";
import { bpfkit, example, jsonLines, start } from "../cli/bpfkit.ts";
import { assert, suite } from "../harness.ts";
import { requires } from "../kernel.ts";

const test = suite("examples xdpcount");

interface Row {
  protocol: string;
  packets: number;
  bytes: number;
}
const byProtocol = (text: string): Map<string, Row> => new Map(jsonLines<Row>(text).map((r) => [r.protocol, r]));

test("without a device it counts sample packets by PROG_TEST_RUN", async () => {
  requires({ root: true, kernel: "5.18" });
  const { code, stdout } = await bpfkit(["run", "--json", example("xdpcount")]);
  assert.is(code, 0);
  const rows = byProtocol(stdout);
  assert.equal([...rows.keys()].toSorted(), ["TCP", "UDP", "notIp"]);
  for (const { packets, bytes } of rows.values()) assert.equal([packets, bytes], [1000, 64_000]);
});

const received = (): number => Number(/^ *lo: *\d+ +(\d+)/m.exec(readFileSync("/proc/net/dev", "utf8"))?.[1]);

test("on a network interface it counts every packet that passes", async () => {
  requires({ root: true, kernel: "5.18", capability: "CAP_NET_ADMIN" });
  const running = start(["run", "-v", "--json", example("xdpcount"), "--device", "lo"]);
  await running.until("stderr", /^attached count to XDP on lo$/m);
  const before = received();
  const [four, six] = [createSocket("udp4"), createSocket("udp6")];
  await Promise.all(
    [four, six].map((s) => new Promise<void>((resolve) => s.bind(0, s === four ? "127.0.0.1" : "::1", resolve))),
  );
  const send = async (socket: typeof four, address: string, size: number, times: number): Promise<void> => {
    const one = promisify((done: (error: Error | null) => void) =>
      socket.send(new Uint8Array(size), socket.address().port, address, done),
    );
    for (let i = 0; i < times; i++) await one();
  };
  await send(four, "127.0.0.1", 100, 300);
  await send(six, "::1", 50, 200);
  const passed = received() - before;
  four.close();
  six.close();
  running.kill("SIGTERM");
  const { code, stdout } = await running.done;
  assert.is(code, 0);
  const rows = byProtocol(stdout);
  const udp = rows.get("UDP");
  // Ethernet header, IP header, UDP header, data.
  const bytes = 300 * (14 + 20 + 8 + 100) + 200 * (14 + 40 + 8 + 50);
  assert.ok(udp !== undefined && udp.packets >= 500 && udp.bytes >= bytes, JSON.stringify(udp));
  if (udp?.packets === 500) assert.is(udp.bytes, bytes);
  const all = [...rows.values()].reduce((sum, r) => sum + r.packets, 0);
  assert.ok(all >= passed, `${all} packets counted, the interface says ${passed}`);
});

test("a device that does not exist is named, with those that do", async () => {
  requires({ root: true, kernel: "5.18" });
  const { code, stderr } = await bpfkit(["run", example("xdpcount"), "--device", "nosuch0"]);
  assert.is(code, 1);
  assert.match(stderr, /^error: there is no network interface nosuch0; there are .*\blo\b/);
});
