/** The tables against other people's: libbpf's look-up of section names, the C headers of this machine. */
import fc from "fast-check";
import koffi from "koffi";
import { execFileSync } from "node:child_process";
import { assert, suite } from "../harness.ts";
import { requires } from "../kernel.ts";
import {
  BPF_ATTACH_TYPE,
  BPF_PROG_TYPE,
  HELPERS,
  PERF_IOCTLS,
  PERF_SAMPLE,
  SECTIONS,
  SYSCALLS,
  perfIoctl,
  sectionFor,
} from "../../src/uapi/index.ts";
import * as linux from "../../src/uapi/linux.ts";

const test = suite("uapi oracles");

/** Values of C expressions, as gcc computes them. */
function evaluate(includes: readonly string[], expressions: readonly string[]): Map<string, bigint> {
  const lines = expressions.map((e) => `long long value_of_${expressions.indexOf(e)} = (long long)(${e});`);
  const source = ["#define _GNU_SOURCE", ...includes.map((i) => `#include <${i}>`), ...lines].join("\n");
  const assembly = execFileSync("gcc", ["-S", "-O0", "-x", "c", "-o", "-", "-"], { input: source, encoding: "utf8" });
  const values = new Map<string, bigint>();
  for (const m of assembly.matchAll(/^value_of_(\d+):\s+\.(quad|zero)\s+(-?\d+)/gm)) {
    values.set(expressions[Number(m[1])] ?? "", m[2] === "zero" ? 0n : BigInt.asUintN(64, BigInt(m[3] ?? 0)));
  }
  return values;
}

test("system call numbers and perf ioctls are those of this machine's C headers", () => {
  requires({ package: "gcc" });
  if (process.arch !== "x64") return;
  const calls = Object.entries(SYSCALLS.x64);
  const ioctls = PERF_IOCTLS.map((row) => row.name);
  const values = evaluate(
    ["asm/unistd.h", "linux/perf_event.h", "sys/ioctl.h"],
    [...calls.map(([name]) => `__NR_${name}`), ...ioctls.map((name) => `PERF_EVENT_IOC_${name}`)],
  );
  for (const [name, number] of calls) assert.is(values.get(`__NR_${name}`), BigInt(number), name);
  for (const name of ioctls) {
    assert.is(values.get(`PERF_EVENT_IOC_${name}`), BigInt(perfIoctl("x64", name)), name);
  }
});

test("constants of mmap, open, poll, epoll, mount and perf are those of this machine's C headers", () => {
  requires({ package: "gcc" });
  if (process.arch !== "x64") return;
  const names: [string, number][] = [];
  const add = (prefix: string, object: Readonly<Record<string, number>>): void => {
    for (const [name, value] of Object.entries(object)) names.push([prefix + name, value]);
  };
  add("PROT_", linux.PROT);
  add("MAP_", linux.MAP);
  add("O_", linux.O);
  add("AT_", linux.AT);
  add("POLL", linux.POLL);
  add("EPOLL", linux.EPOLL);
  add("EPOLL_CTL_", linux.EPOLL_CTL);
  add("EFD_", linux.EFD);
  add("MOUNT_ATTR_", linux.MOUNT_ATTR);
  add("MOVE_MOUNT_", linux.MOVE_MOUNT);
  add("PERF_SAMPLE_", PERF_SAMPLE);
  names.push(
    ["EPOLL_CLOEXEC", linux.EPOLL_CLOEXEC],
    ["FSOPEN_CLOEXEC", linux.FSOPEN_CLOEXEC],
    ["FSMOUNT_CLOEXEC", linux.FSMOUNT_CLOEXEC],
    ["FSCONFIG_SET_STRING", linux.FSCONFIG.SET_STRING],
    ["FSCONFIG_SET_FD", linux.FSCONFIG.SET_FD],
    ["FSCONFIG_CMD_CREATE", linux.FSCONFIG.CMD_CREATE],
    ["OPEN_TREE_CLONE", linux.OPEN_TREE.CLONE],
    ["OPEN_TREE_CLOEXEC", linux.OPEN_TREE.CLOEXEC],
    ["RLIMIT_MEMLOCK", linux.RLIMIT_MEMLOCK],
    ["RLIMIT_NOFILE", linux.RLIMIT_NOFILE],
    ["sizeof(struct epoll_event)", linux.EPOLL_EVENT_SIZE.x64],
  );
  const values = evaluate(
    [
      "fcntl.h",
      "sys/mman.h",
      "poll.h",
      "sys/epoll.h",
      "sys/eventfd.h",
      "sys/mount.h",
      "sys/resource.h",
      "linux/perf_event.h",
    ],
    names.map(([name]) => name),
  );
  for (const [name, value] of names) assert.is(values.get(name), BigInt.asUintN(64, BigInt(value)), name);
});

test("sectionFor finds what libbpf finds", () => {
  requires({ package: "libbpf-dev" });
  let libbpf;
  try {
    libbpf = koffi.load("libbpf.so.1");
  } catch {
    requires({ package: "libbpf1" });
    return;
  }
  // Its complaints about unknown names would fill the output.
  (libbpf.func("void *libbpf_set_print(void *fn)") as (fn: null) => unknown)(null);
  const byName = libbpf.func("int libbpf_prog_type_by_name(const char *name, void *prog, void *attach)") as (
    name: string,
    prog: Uint8Array,
    attach: Uint8Array,
  ) => number;
  const ask = (name: string): { type: number; attach: number } | undefined => {
    const type = new Uint32Array(1);
    const attach = new Uint32Array(1);
    const result = byName(name, new Uint8Array(type.buffer), new Uint8Array(attach.buffer));
    return result < 0 ? undefined : { type: type[0] ?? 0, attach: attach[0] ?? 0 };
  };
  const mine = (name: string): { type: number; attach: number } | undefined => {
    const row = sectionFor(name)?.row;
    if (row === undefined) return undefined;
    return {
      type: BPF_PROG_TYPE[row.progType],
      attach: row.attachType === undefined ? 0 : BPF_ATTACH_TYPE[row.attachType],
    };
  };
  // The oracle may be older than the table: compare the rows it knows.
  const known = SECTIONS.filter((row) => ask(row.name) !== undefined);
  assert.ok(known.length >= 80, `libbpf knows ${known.length} of the names`);
  // libbpf 1.1 gives tc/ingress and tc/egress no attach type, and has sleepable or session rows fewer.
  const differs = new Set(
    known.filter((row) => JSON.stringify(ask(row.name)) !== JSON.stringify(mine(row.name))).map((row) => row.name),
  );
  assert.equal(
    [...differs].filter((name) => !name.startsWith("tc/") && name !== "struct_ops.s"),
    [],
  );
  const base = fc.constantFrom(...known.map((row) => row.name).filter((name) => !differs.has(name)));
  const tail = fc.constantFrom("", "/", "/x", "/x/y", "x", ".s", "+", ".multi", " ", "//");
  fc.assert(
    fc.property(base, tail, (name, end) => {
      const found = sectionFor(name + end);
      if (found !== undefined && !known.includes(found.row)) return;
      assert.equal(mine(name + end), ask(name + end), name + end);
    }),
    { numRuns: 300 },
  );
});

test("helpers have the ids and parameter counts of libbpf's header", () => {
  requires({ package: ["libbpf-dev", "gcc"] });
  const header = execFileSync(
    "gcc",
    ["-E", "-P", "-x", "c", "-include", "linux/bpf.h", "-include", "bpf/bpf_helpers.h", "-"],
    {
      input: "",
      encoding: "utf8",
    },
  ).replaceAll(/\s+/g, " ");
  let seen = 0;
  for (const m of header.matchAll(/static [^;{}]*?\(\* ?(?:const )?bpf_(\w+)\)\(([^;]*?)\) = \(void \*\) (\d+);/g)) {
    const row = HELPERS[Number(m[3]) - 1];
    assert.ok(row !== undefined && row.name === m[1], `${m[3]} is ${m[1]}`);
    const params = m[2] === "void" ? [] : (m[2] ?? "").split(",").filter((p) => p.trim() !== "...");
    // get_cgroup_classid takes no argument in most program types; map_for_each's callbacks have commas of their own.
    if (row.name === "get_cgroup_classid" || /\(\*/.test(m[2] ?? "")) continue;
    assert.is(row.args.length, params.length, row.name);
    row.args.forEach((arg, i) => assert.match(params[i] ?? "", new RegExp(`\\b${arg.name}$`), row.name));
    seen++;
  }
  assert.ok(seen > 200, `${seen}`);
});
