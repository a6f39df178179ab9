/** What a few small programs become, instruction by instruction. */
import { assert, suite } from "../../harness.ts";
import { compiled, listing } from "../compile-text.ts";

const test = suite("compiler listings");

/** Without the numbers and opcodes at the start of the lines. */
function code(text: string): string {
  return listing(compiled(text))
    .split("\n")
    .map((line) => line.replace(/^\s*\d+: \(\w+\) /, ""))
    .filter((line) => line !== "")
    .join("\n");
}

test("a packet is checked once and read in place", () => {
  assert.is(
    code(`import { XDP, array, be16, packed, u8, xdp } from "bpfkit";
const Ethernet = packed({ destination: array(u8, 6), source: array(u8, 6), type: be16 });
export const p = xdp((ctx) => {
  const eth = ctx.packet(Ethernet);
  if (!eth) return XDP.DROP;
  return eth.type === 0x0800 ? XDP.PASS : XDP.DROP;
});`),
    `r2 = *(u32 *)(r1 +0)
r3 = *(u32 *)(r1 +4)
r1 = r2
r1 += 14
if r1 > r3 goto pc+3
r1 = *(u16 *)(r2 +12)
r0 = 2
if r1 == 0x8 goto pc+1
r0 = 1
exit`,
  );
});

test("a key's text is cleared before it is filled: kernels differ in what they leave behind the NUL", () => {
  assert.is(
    code(`import { char, hash, struct, tracepoint, u64 } from "bpfkit";
const counts = hash(struct({ comm: char(16) }), u64);
export const p = tracepoint("sched:sched_switch", (ctx, bpf) => {
  counts.delete({ comm: bpf.comm() });
});`),
    `*(u64 *)(r10 -16) = 0
*(u64 *)(r10 -8) = 0
r1 = r10
r1 += -16
r2 = 16
call bpf_get_current_comm#16
r1 = map[id:0]
r2 = r10
r2 += -16
call bpf_map_delete_elem#3
r0 = 0
exit`,
  );
});

test("a sample is filled where the reader finds it", () => {
  assert.is(
    code(`import { char, ringbuf, struct, tracepoint, u32 } from "bpfkit";
const Open = struct({ pid: u32, dfd: u32, file: char(64) });
export const opens = ringbuf(Open);
export const p = tracepoint("syscalls:sys_enter_openat", (ctx, bpf) => {
  opens.emit({ pid: bpf.pid(), dfd: ctx.dfd, file: bpf.str(ctx.filename) });
});`),
    `r7 = r1
r1 = map[id:0]
r2 = 72
r3 = 0
call bpf_ringbuf_reserve#131
r6 = r0
if r6 == 0x0 goto pc+15
call bpf_get_current_pid_tgid#14
r0 >>= 32
*(u32 *)(r6 +0) = r0
r1 = *(u32 *)(r7 +16)
*(u32 *)(r6 +4) = r1
r3 = *(u64 *)(r7 +24)
r1 = r6
r1 += 8
r2 = 64
call bpf_probe_read_user_str#114
r1 = r6
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

test("an entry is counted in place", () => {
  assert.is(
    code(`import { percpuArray, u64, xdp } from "bpfkit";
export const n = percpuArray(u64, 4);
export const p = xdp(() => { n.add(2, 10); return 2; });`),
    `*(u32 *)(r10 -4) = 2
r1 = map[id:0]
r2 = r10
r2 += -4
call bpf_map_lookup_elem#1
if r0 == 0x0 goto pc+3
r1 = *(u64 *)(r0 +0)
r1 += 10
*(u64 *)(r0 +0) = r1
r0 = 2
exit`,
  );
});

test("a lock is taken and given back around its function, nothing else", () => {
  assert.is(
    code(`import { arrayMap, spinLock, struct, u64, xdp } from "bpfkit";
const V = struct({ lock: spinLock, n: u64 });
export const m = arrayMap(V, 1);
export const p = xdp((_, bpf) => {
  const v = m.get(0);
  if (!v) return 0;
  bpf.locked(v.lock, () => { v.n++; });
  return 2;
});`),
    `*(u32 *)(r10 -4) = 0
r1 = map[id:0]
r2 = r10
r2 += -4
call bpf_map_lookup_elem#1
r6 = r0
r0 = 0
if r6 == 0x0 goto pc+8
r1 = r6
call bpf_spin_lock#93
r1 = *(u64 *)(r6 +8)
r1 += 1
*(u64 *)(r6 +8) = r1
r1 = r6
call bpf_spin_unlock#94
r0 = 2
exit`,
  );
});

test("text of a known end is compared from its NUL", () => {
  assert.is(
    code(`import { char, global, xdp } from "bpfkit";
export const name = global(char(64), "");
export const p = xdp(() => (name.value.endsWith("ab") ? 1 : 0));`),
    `r3 = map[id:0][0]+0
r1 = 0
r2 = r1
r2 += r3
r2 = *(u8 *)(r2 +0)
if r2 == 0x0 goto pc+2
r1 += 1
if r1 < 0x40 goto pc-6
if r1 < 0x2 goto pc+8
r2 = map[id:0][0]+0
r1 += r2
r2 = *(u8 *)(r1 -2)
if r2 != 0x61 goto pc+3
r1 = *(u8 *)(r1 -1)
r0 = 1
if r1 == 0x62 goto pc+1
r0 = 0
exit`,
  );
});

test("structs are compared field by field, by words where fields are arrays", () => {
  assert.is(
    code(`import { array, global, struct, u32, u8, xdp } from "bpfkit";
const S = struct({ a: u8, b: u32, c: array(u8, 12) });
export const x = global(S, { a: 0, b: 0, c: [] });
export const y = global(S, { a: 0, b: 0, c: [] });
export const p = xdp(() => (x.value === y.value ? 1 : 0));`),
    `r1 = map[id:0][0]+0
r1 = *(u8 *)(r1 +0)
r2 = map[id:0][0]+24
r2 = *(u8 *)(r2 +0)
if r1 != r2 goto pc+22
r1 = map[id:0][0]+0
r1 = *(u32 *)(r1 +4)
r2 = map[id:0][0]+24
r2 = *(u32 *)(r2 +4)
if r1 != r2 goto pc+15
r1 = map[id:0][0]+0
r1 = *(u64 *)(r1 +8)
r2 = map[id:0][0]+24
r2 = *(u64 *)(r2 +8)
if r1 != r2 goto pc+8
r1 = map[id:0][0]+0
r1 = *(u32 *)(r1 +16)
r2 = map[id:0][0]+24
r2 = *(u32 *)(r2 +16)
r0 = 1
if r1 == r2 goto pc+1
r0 = 0
exit`,
  );
});
