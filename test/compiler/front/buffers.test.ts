/** Samples that find a buffer full, reservations that are left behind, samples from user space. */
import { assert, suite } from "../../harness.ts";
import { requires } from "../../kernel.ts";
import { compiled, listing, loaded } from "../compile-text.ts";

const test = suite("compiler buffers");
const needs = { root: true, capability: ["CAP_BPF", "CAP_NET_ADMIN"], kernel: "5.8" } as const;
const packet = { data: new Uint8Array(64) };

test("what finds a ring buffer full is counted, exactly and per buffer", () => {
  requires(needs);
  using c = loaded(`import { array, global, range, ringbuf, struct, u32, u64, xdp } from "bpfkit";
const S = struct({ n: u32, pad: array(u64, 7) });
export const events = ringbuf(S, { size: 4096 });
export const reserved = ringbuf(S, { size: 4096 });
export const ample = ringbuf(S);
export const uncounted = ringbuf(S, { size: 4096, countLost: false });
export const failed = global(u32, 0);
export const p = xdp(() => {
  for (const i of range(200)) {
    if (!events.emit({ n: i, pad: [] })) failed.value++;
    ample.emit({ n: i, pad: [] });
    uncounted.emit({ n: i, pad: [] });
    const r = reserved.reserve();
    if (!r) continue;
    r.n = i;
    reserved.submit(r);
  }
  return 2;
});`);
  const readers = ["events", "reserved", "ample", "uncounted"].map((name) => c.events<{ n: number }>(name));
  assert.is(c.prog("p").testRun(packet).returnValue, 2);
  const seen = readers.map((reader) => {
    let n = 0;
    reader.drain(() => void n++);
    return n;
  });
  // A record is 8 bytes of header and 64 of sample; the ring is never filled to the last byte.
  assert.equal(seen, [56, 56, 200, 56]);
  assert.equal(
    readers.map((r) => r.lost),
    [144n, 144n, 0n, 0n],
  );
  assert.is(c.variable<number>("failed").value, 144);
  // Of no interest to a user.
  assert.equal(c.variableNames, ["failed"]);
  c.prog("p").testRun(packet);
  assert.is(readers[0]?.lost, 288n);
});

test("counting costs nothing where there is room", () => {
  const text = (options: string): string => `import { ringbuf, u64, xdp } from "bpfkit";
export const events = ringbuf(u64${options});
export const p = xdp(() => {
  events.emit(7);
});`;
  const code = (options: string): string =>
    listing(compiled(text(options)))
      .split("\n")
      .map((line) => line.replace(/^\s*\d+: \(\w+\) /, ""))
      .join("\n")
      .trim();
  assert.not.match(code(", { countLost: false }"), "lock");
  assert.is(
    code(""),
    `r1 = map[id:0]
r2 = 8
r3 = 0
call bpf_ringbuf_reserve#131
if r0 == 0x0 goto pc+6
*(u64 *)(r0 +0) = 7
r1 = r0
r2 = 0
call bpf_ringbuf_submit#132
r0 = 0
exit
r1 = map[id:0][0]+0
r2 = 1
lock *(u64 *)(r1 +0) += r2
goto pc-7`,
  );
});

test("a program drains what user space sends, in order, and may stop", () => {
  requires({ ...needs, kernel: "6.1" });
  using c = loaded(`import { char, global, hash, struct, u32, u64, userRingbuf, xdp } from "bpfkit";
const Command = struct({ key: u32, by: u64, what: char(8) });
export const commands = userRingbuf(Command, { size: 4096 });
export const totals = hash(u32, u64);
export const taken = global(u32, 0);
export const p = xdp(() => {
  let sum = 0;
  const n = commands.drain((c) => {
    if (c.what === "stop") return true;
    totals.add(c.key, c.by);
    sum += c.by;
  });
  taken.value = u32(n);
  return sum === 60 ? 2 : 1;
});`);
  const sender = c.sender<{ key: number; by: bigint; what: string }>("commands");
  for (const [key, by] of [
    [1, 10n],
    [2, 20n],
    [1, 30n],
  ] as const)
    assert.ok(sender.send({ key, by, what: "add" }));
  assert.ok(sender.send({ key: 0, by: 0n, what: "stop" }));
  assert.ok(sender.send({ key: 9, by: 9n, what: "add" }));
  assert.is(c.prog("p").testRun(packet).returnValue, 2);
  assert.equal(c.map("totals").get(1), 40n);
  assert.equal(c.map("totals").get(2), 20n);
  assert.is(c.map("totals").get(9), undefined);
  assert.is(c.variable<number>("taken").value, 4);
  // Many rounds, over the end of the buffer; it is full when the program does not come.
  let sent = 0;
  while (sender.send({ key: 3, by: 1n, what: "add" })) sent++;
  // 32 bytes each, of which one from before is still there.
  assert.is(sent, 4096 / 32 - 1);
  for (let i = 0; i < 300; i++) {
    c.prog("p").testRun(packet);
    assert.ok(sender.send({ key: 3, by: 1n, what: "add" }));
    sent++;
  }
  c.prog("p").testRun(packet);
  assert.is(c.map("totals").get(3), BigInt(sent));
});
