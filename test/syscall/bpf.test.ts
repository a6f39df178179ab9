import { exit, encodeInsns, ldxMem, mov64Imm, ldImm64 } from "../../src/asm/index.ts";
import {
  bpf,
  check,
  cstring,
  fdFrom,
  mapCreateRaw,
  mapInfo,
  objectIds,
  openById,
  progInfo,
  progLoad,
  progTestRun,
  progXlated,
  realKernel,
} from "../../src/syscall/index.ts";
import { BPF_MAP_TYPE, BPF_PROG_TYPE, ERRNO } from "../../src/uapi/index.ts";
import { assert, suite } from "../harness.ts";
import { requires } from "../kernel.ts";

const test = suite("syscall bpf");
const kernel = realKernel();

test("a program is loaded and run by PROG_TEST_RUN, with data changed and returned", () => {
  requires({ root: true, kernel: "4.12" });
  const insns = encodeInsns([mov64Imm(0, 2), exit()]);
  using prog = fdFrom(
    kernel,
    progLoad(kernel, { type: BPF_PROG_TYPE.XDP, insns, name: "pass it" }).result,
    "BPF_PROG_LOAD",
    "prog",
  );
  const packet = Uint8Array.from({ length: 64 }, (_, i) => i);
  const run = progTestRun(kernel, prog.fd, { data: packet, repeat: 10 });
  assert.is(run.returnValue, 2);
  assert.bytes(run.data, packet);
  const info = progInfo(kernel, prog.fd);
  assert.is(info.type, BPF_PROG_TYPE.XDP);
  assert.is(info.name, "pass_it");
  assert.bytes(progXlated(kernel, prog.fd), insns);
  assert.ok([...objectIds(kernel, "PROG")].includes(info.id));
  using again = openById(kernel, "PROG", info.id);
  assert.is(progInfo(kernel, again.fd).id, info.id);
});

test("a rejection gives the verifier's whole log, however small the first buffer", () => {
  requires({ root: true, kernel: "4.12" });
  const { result, log } = progLoad(kernel, {
    type: BPF_PROG_TYPE.SOCKET_FILTER,
    insns: encodeInsns([ldxMem("dw", 0, 3, 0), exit()]),
    logLevel: 1,
    logSize: 128,
  });
  assert.is(result, -ERRNO.EACCES);
  assert.match(log, /R3 !read_ok/);
  assert.match(log, /processed \d+ insns/);
});

test("map facts, an errno that names what is wrong, and the id that is gone", () => {
  requires({ root: true, kernel: "4.13" });
  const map = fdFrom(
    kernel,
    mapCreateRaw(kernel, { type: BPF_MAP_TYPE.HASH, keySize: 4, valueSize: 8, maxEntries: 10, name: "counts" }),
    "BPF_MAP_CREATE",
    "map",
  );
  const info = mapInfo(kernel, map.fd);
  assert.equal([info.type, info.keySize, info.valueSize, info.maxEntries, info.name], [1, 4, 8, 10, "counts"]);
  map.close();
  map.close();
  assert.throwsCode(() => map.fd, "CLOSED");
  const gone = bpf(kernel, "MAP_GET_FD_BY_ID", { id: 0x7fff_fff0 });
  assert.throwsCode(
    () => check(kernel, gone, "BPF_MAP_GET_FD_BY_ID", { subject: "map 5" }),
    "SYSCALL",
    /^BPF_MAP_GET_FD_BY_ID of map 5: ENOENT \(No such file or directory\): no such key, id/,
  );
  const bad = mapCreateRaw(kernel, { type: BPF_MAP_TYPE.RINGBUF, keySize: 0, valueSize: 0, maxEntries: 100 });
  assert.throwsCode(
    () => check(kernel, bad, "BPF_MAP_CREATE", { mapType: BPF_MAP_TYPE.RINGBUF }),
    "SYSCALL",
    /power of two and a multiple of the page size/,
  );
});

test("map elements travel through addresses in the attr", () => {
  requires({ root: true });
  using map = fdFrom(
    kernel,
    mapCreateRaw(kernel, { type: BPF_MAP_TYPE.HASH, keySize: 4, valueSize: 8, maxEntries: 10 }),
    "BPF_MAP_CREATE",
    "map",
  );
  const key = Uint8Array.of(1, 2, 3, 4);
  const value = Uint8Array.of(8, 7, 6, 5, 4, 3, 2, 1);
  check(kernel, bpf(kernel, "MAP_UPDATE_ELEM", { map_fd: map.fd, key, value }), "BPF_MAP_UPDATE_ELEM");
  const out = new Uint8Array(8);
  check(kernel, bpf(kernel, "MAP_LOOKUP_ELEM", { map_fd: map.fd, key, value: out }), "BPF_MAP_LOOKUP_ELEM");
  assert.bytes(out, value);
});

test("argument ranges are checked before the kernel sees them", () => {
  assert.throwsCode(
    () => bpf(kernel, "MAP_FREEZE", { map_fd: -1 }),
    "ARGUMENT",
    /^BPF_MAP_FREEZE\.map_fd: expected an integer in \[0, 4294967295\], got -1/,
  );
  assert.throwsCode(() => bpf(kernel, "MAP_FREEZE", { map_fd: 1.5 }), "ARGUMENT");
  assert.throwsCode(() => bpf(kernel, "RAW_TRACEPOINT_OPEN", { name: cstring("x"), cookie: -1n }), "ARGUMENT");
});

test("a program with ld_imm64 round-trips through the kernel", () => {
  requires({ root: true });
  const insns = encodeInsns([...ldImm64(0, 0x1122_3344_5566_7788n), exit()]);
  using prog = fdFrom(
    kernel,
    progLoad(kernel, { type: BPF_PROG_TYPE.SCHED_CLS, insns }).result,
    "BPF_PROG_LOAD",
    "prog",
  );
  assert.is(progTestRun(kernel, prog.fd, { data: new Uint8Array(64) }).returnValue, 0x5566_7788);
});
