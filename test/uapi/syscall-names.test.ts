import { readFileSync } from "node:fs";
import { SYSCALLS, syscallName, syscallNumbers } from "../../src/uapi/index.ts";
import { assert, suite } from "../harness.ts";
import { requires } from "../kernel.ts";

const test = suite("uapi system call names");

test("agree with the numbers that bpfkit itself uses, on every architecture", () => {
  for (const [arch, calls] of Object.entries(SYSCALLS)) {
    const numbers = syscallNumbers(arch);
    for (const [name, number] of Object.entries(calls)) assert.is(numbers[name], number, `${arch}: ${name}`);
    const values = Object.values(numbers);
    assert.is(new Set(values).size, values.length, `${arch}: a number occurs twice`);
    assert.is(numbers["file_setattr"], 469, arch);
    assert.ok(values.length > 320, arch);
  }
});

test("a number gives its name; what is unknown gives undefined", () => {
  assert.is(syscallName("x64", 59), "execve");
  assert.is(syscallName("arm64", 221), "execve");
  assert.is(syscallName("s390x", 351), "bpf");
  assert.is(syscallName("x64", 9999), undefined);
  assert.equal(syscallNumbers("toString"), {});
});

test("contain every call of this machine's C headers", () => {
  requires({ package: "linux-libc-dev" });
  if (process.arch !== "x64") return;
  const header = readFileSync("/usr/include/x86_64-linux-gnu/asm/unistd_64.h", "utf8");
  const numbers = syscallNumbers("x64");
  const calls = [...header.matchAll(/^#define __NR_(\w+) (\d+)$/gm)];
  assert.ok(calls.length > 330);
  for (const [, name = "", number] of calls) assert.is(numbers[name], Number(number), name);
});
