/** Wrong programs and what the compiler says: code, place, what is underlined, message, help. */
import { assert, suite } from "../../harness.ts";
import { compileText, show } from "../compile-text.ts";

const test = suite("compiler messages");

const HEAD = `import { XDP, tc, rawTracepoint, spinLock, timer, userRingbuf, array, be16, char, config, fentry, global, hash, histogram, percpuArray, range, ringbuf, stackTrace, struct, tpBtf, tracepoint, u16, u32, u64, u8, s32, s64, xdp, kretprobe, kprobe } from "bpfkit";
const E = struct({ pid: u32, at: u64, comm: char(16) });
const m = hash(u32, u64);
const jobs = hash(u32, struct({ n: u64, lock: spinLock, job: timer }));
const commands = userRingbuf(u64);
const perCpu = percpuArray(struct({ n: u64, job: timer }), 1);
const ms = hash(u32, E);
const events = ringbuf(E);
const g = global(u32, 0);
const sg = global(s32, 0);
const ug = global(u64, 0);
const lim = config(u32, 1);
const settings = Object.freeze({ scale: 10, ratio: 0.5 });
const list = [1, 2, 3];
`;
const LINES = HEAD.split("\n").length - 1;

/** What compiling `body` in a program says; lines count from the program's. */
function say(body: string, program = "xdp((ctx, bpf) =>"): string {
  const text = `${HEAD}export const p = ${program} {\n${body}\n});`;
  const { diagnostics } = compileText(text);
  return show(diagnostics, text).replace(
    /^(BPF\d+ )(\d+)/gm,
    (_, code: string, line: string) => `${code}${Number(line) - LINES - 1}`,
  );
}

const CASES: readonly (readonly [body: string, expected: string, program?: string])[] = [
  // Atomics
  [
    "return bpf.atomicAdd(bpf.pid(), 1);",
    "BPF2006 1:22 «bpf.pid()» expected an integer of 32 or 64 bits in a map, a global or a variable of a struct type, found a u32",
    'rawTracepoint("sys_exit", (ctx, bpf) =>',
  ],
  [
    "return bpf.atomicAdd(m.get(1), 1);",
    "BPF2007 1:22 «m.get(1)» the entry of m may be undefined here\n  help: check it first: `const v = …; if (!v) return;`, or give a default with `??`",
  ],
  ["return bpf.atomicOr(lim.value, 1);", "BPF2012 1:21 «lim.value» the constant lim is read-only"],
  [
    "return bpf.atomicAdd(g.value);",
    "BPF1010 1:8 «bpf.atomicAdd(g.value)» 'bpf.atomicAdd' takes a place and a value, 1 given",
  ],
  [
    "return bpf.atomicAdd(g.value, 5_000_000_000);",
    "BPF2011 1:31 «5_000_000_000» 5000000000 does not fit u32 (0 to 4294967295)\n  help: cast it if the truncation is meant: `u32(5000000000)`",
  ],
  [
    "const v = ctx.packet(E); return v ? bpf.atomicAdd(v.pid, 1) : 0;",
    "BPF2006 1:51 «v.pid» expected an integer of 32 or 64 bits in a map, a global or a variable of a struct type, found a field of the packet",
  ],
  // Maps that hold no locks and timers
  [
    "const slots = 1; const e = perCpu.get(0); return e ? slots : 0;",
    "BPF3014 1:28 «perCpu.get(0)» the map perCpu cannot hold a timer: maps of its type have none\n  help: use a hash, an lruHash or an arrayMap",
  ],
  // Pointers that helpers and kernel functions give
  [
    "const sk = ctx.sk; return sk.family;",
    "BPF2007 1:27 «sk» the context's sk may be undefined here\n  help: check it first: `if (!sk) return;`, or give a default with `??`",
    "tc((ctx, bpf) =>",
  ],
  [
    "const sk = ctx.sk; if (!sk) return 0; return sk.mark;",
    "BPF3004 1:49 «mark» a socket that may not be a full one has no field 'mark'; `bpf.skFullsock(sk)` gives the full one, if it is",
    "tc((ctx, bpf) =>",
  ],
  [
    "return bpf.skFullsock(5) ? 1 : 0;",
    "BPF3007 1:23 «5» argument sk of bpf_sk_fullsock must be a pointer that the kernel gave, found the number 5",
    "tc((ctx, bpf) =>",
  ],
  [
    "return bpf.at(E, 5) ? 1 : 0;",
    "BPF2006 1:18 «5» expected a pointer that a helper or kernel function gave, found the number 5",
  ],
  ["return bpf.at(5, ctx.data) ? 1 : 0;", "BPF2006 1:15 «5» expected a schema, found the number 5"],
  // Iterators
  [
    "for (const v of bpf.vmas()) g.value++; return 0;",
    "BPF1010 1:17 «bpf.vmas()» 'bpf.vmas' takes 1 to 2 arguments, 0 given",
  ],
  [
    "for (const v of bpf.tasks()) g.value++; return 0;",
    "BPF4002 1:17 «bpf.tasks()» kernel types need BTF, and none was given\n  help: run on Linux with /sys/kernel/btf/vmlinux, or pass `--btf FILE`",
  ],
  [
    "bpf.xdpAdjustHead(ctx, -8); return XDP.PASS;",
    "BPF6004 1:1 «bpf.xdpAdjustHead(ctx, -8)» bpf.xdpAdjustHead can fail, and its result is dropped\n  help: check it: `if (bpf.xdpAdjustHead(…) < 0) return;`",
  ],
  ["const b = E({}); bpf.probeReadKernel(b, 32, 5); return 0;", ""],
  ["if (bpf.xdpAdjustHead(ctx, -8) < 0) return 0; return XDP.PASS;", ""],
  [
    "bpf.redirect(3, 0); return XDP.PASS;",
    "BPF6005 1:1 «bpf.redirect(3, 0)» bpf.redirect only prepares the redirection: the program has to return its result\n  help: write `return bpf.redirect(…)`",
    "xdp((ctx, bpf) =>",
  ],
  ["return bpf.redirect(3, 0);", "", "xdp((ctx, bpf) =>"],
  [
    "const x = bpf.kernelRead(u32, ctx.filename); return x;",
    "BPF6003 1:31 «ctx.filename» this is an address in user memory, read as kernel memory\n  help: use `bpf.userRead`",
    'tracepoint("syscalls:sys_enter_openat", (ctx, bpf) =>',
  ],
  [
    "const b = E({}); return bpf.probeReadKernel(b, 8, ctx.filename) < 0 ? 1 : 0;",
    "BPF6003 1:51 «ctx.filename» this is an address in user memory, read as kernel memory\n  help: use `bpf.probeReadUser`",
    'tracepoint("syscalls:sys_enter_openat", (ctx, bpf) =>',
  ],
  ["const x = bpf.userRead(u32, ctx.filename); return x;", "", 'tracepoint("syscalls:sys_enter_openat", (ctx, bpf) =>'],
  [
    "const pid = bpf.pid(); events.emit({ pid, at: 1, comm: bpf.comm() }); return 0;",
    "BPF6006 1:24 «events.emit({ pid, at: 1, comm: bpf.comm() })» every sys_enter sends a sample, and there are very many\n  help: filter first, for example `if (bpf.pid() !== target.value) return;`, or count in a map",
    'rawTracepoint("sys_enter", (ctx, bpf) =>',
  ],
  [
    "bpf.printk(`hello`); return 0;",
    "BPF6006 1:1 «bpf.printk(`hello`)» every kfree prints a line, and there are very many\n  help: filter first, for example `if (bpf.pid() !== target.value) return;`, or count in a map",
    'kprobe("kfree", (ctx, bpf) =>',
  ],
  [
    "if (bpf.pid() !== g.value) return 0; events.emit({ pid: 1, at: 1, comm: bpf.comm() }); return 0;",
    "",
    'rawTracepoint("sys_enter", (ctx, bpf) =>',
  ],
  ["events.emit({ pid: 1, at: 1, comm: bpf.comm() }); return 0;", "", 'kprobe("do_unlinkat", (ctx, bpf) =>'],
  [
    "const j = jobs.get(1); if (!j) return 0; bpf.locked(j.lock, () => { j.n = bpf.nsecs(); }); return 0;",
    "BPF3012 1:61 «() => { j.n = bpf.nsecs(); }» nothing can be called while a spin lock is held\n  help: compute before `bpf.locked`, and only read and write fields in it",
  ],
  [
    "const j = jobs.get(1); bpf.locked(j.lock, () => 1); return 0;",
    "BPF2007 1:35 «j» the entry of jobs may be undefined here\n  help: check it first: `if (!j) return;`, or give a default with `??`",
  ],
  [
    "const j = jobs.get(1); if (!j) return 0; bpf.locked(j.n, () => 1); return 0;",
    "BPF2006 1:53 «j.n» expected a spinLock in a map value, found a u64",
  ],
  [
    "const j = jobs.get(1); if (!j) return 0; bpf.locked(j.lock, () => { j.n++; }); return 0;",
    "BPF3013 1:42 «bpf.locked(j.lock, () => { j.n++; })» a spin lock cannot be used in kprobe programs\n  help: the kernel refuses it in programs that trace",
    'kprobe("do_nanosleep", (ctx, bpf) =>',
  ],
  [
    "jobs.set(1, { n: 5, lock: 1 }); return 0;",
    "BPF2012 1:21 «lock: 1» the field lock, which only the kernel writes, is read-only",
  ],
  [
    "const j = jobs.get(1); if (!j) return 0; const x = j.n; jobs.startTimer(j.job, 10, (v) => { v.n = x; }); return 0;",
    "BPF2006 1:99 «x» expected u64, found 'x', which is gone when the timer fires",
  ],
  [
    "const j = jobs.get(1); if (!j) return 0; jobs.startTimer(j.job, 10, 5); return 0;",
    "BPF2006 1:69 «5» expected a function, found the number 5",
  ],
  [
    "const j = jobs.get(1); if (!j) return 0; jobs.startTimer(j.job, 10, (v) => { v.n = 1; }); return 0;",
    "BPF3013 1:42 «jobs.startTimer(j.job, 10, (v) => { v.n = 1; })» a timer cannot be used in tracepoint programs\n  help: the kernel refuses it in programs that trace",
    'tracepoint("syscalls:sys_enter_openat", (ctx, bpf) =>',
  ],
  [
    "for (const t of bpf.tasks()) return 1; return 0;",
    "BPF4002 1:17 «bpf.tasks()» kernel types need BTF, and none was given\n  help: run on Linux with /sys/kernel/btf/vmlinux, or pass `--btf FILE`",
  ],
  ["commands.drain(5); return 0;", "BPF2006 1:16 «5» expected a function, found the number 5"],
  [
    "const r = events.reserve(); if (!r) return 0; for (const i of range(g.value)) events.submit(r); return 0;",
    "BPF3011 1:93 «r» this room was reserved outside of the function that would submit it\n  help: call `events.submit()` in the function that called `events.reserve()`",
  ],
  ["return nothing;", "BPF1002 1:8 «nothing» the name 'nothing' is not defined here"],
  ["return m.gte(1) ? 1 : 0;", "BPF3001 1:10 «gte» the map m has no method 'gte'; did you mean 'get'?"],
  [
    "const v = m.get(1); return v + 1;",
    "BPF2007 1:28 «v» the entry of m may be undefined here\n  help: check it first: `if (!v) return;`, or give a default with `??`",
  ],
  [
    "const v = ms.get(1); return v.pid;",
    "BPF2007 1:29 «v» the entry of ms may be undefined here\n  help: check it first: `if (!v) return;`, or give a default with `??`",
  ],
  [
    "const v = ms.get(1); v.pid = 3; return 0;",
    "BPF2007 1:22 «v» the entry of ms may be undefined here\n  help: check it first: `if (!v) return;`, or give a default with `??`",
  ],
  [
    "events.emit({ pid: 1, at: 2 }); return 0;",
    "BPF2010 1:13 «{ pid: 1, at: 2 }» the field 'comm' of struct E is missing",
  ],
  [
    'events.emit({ pid: 1, at: 2, comm: "x", extra: 1 }); return 0;',
    "BPF2009 1:41 «extra» struct E has no field 'extra'",
  ],
  [
    "events.emit({ pid: 1, at: 2, comm: 5 }); return 0;",
    "BPF2006 1:36 «5» expected a string for char(16), found the number 5",
  ],
  [
    'events.emit({ pid: 1, at: 2, comm: "a string that is too long" }); return 0;',
    'BPF2018 1:36 «"a string that is too long"» the string of 25 bytes does not fit char(16) with its NUL',
  ],
  [
    "return g.value < sg.value ? 1 : 0;",
    "BPF2001 1:8 «g.value < sg.value» `<` mixes a signed and an unsigned integer\n  help: cast one side, for example `s64(x)`",
  ],
  [
    "return ug.value / sg.value;",
    "BPF2001 1:8 «ug.value / sg.value» this division mixes a signed and an unsigned integer\n  help: cast one side, for example `s64(x)`",
  ],
  [
    "const x = ug.value + sg.value; return x > 5 ? 1 : 0;",
    "BPF2001 1:39 «x > 5» `>` mixes a signed and an unsigned integer\n  help: cast one side, for example `s64(x)`",
  ],
  [
    "const x = ug.value ^ sg.value; return x >> 1;",
    "BPF2001 1:39 «x >> 1» shifting right mixes a signed and an unsigned integer\n  help: cast one side, for example `s64(x)`",
  ],
  [
    "return 7 / 2;",
    "BPF2002 1:8 «7 / 2» JavaScript gives 3.5 here, 64-bit integer arithmetic gives 3\n  help: write the number that is meant, or `7n / 2n` for the 64-bit result",
  ],
  [
    "return 1 << 31;",
    "BPF2002 1:8 «1 << 31» JavaScript gives -2147483648 here, 64-bit integer arithmetic gives 2147483648\n  help: write the number that is meant, or `1n << 31n` for the 64-bit result",
  ],
  [
    "return 1 << 40;",
    "BPF2002 1:8 «1 << 40» JavaScript gives 256 here, 64-bit integer arithmetic gives 1099511627776\n  help: write the number that is meant, or `1n << 40n` for the 64-bit result",
  ],
  [
    "return ~5 >>> 0;",
    "BPF2002 1:8 «~5 >>> 0» JavaScript gives 4294967290 here, 64-bit integer arithmetic gives 18446744073709551610\n  help: write the number that is meant, or `-6n >>> 0n` for the 64-bit result",
  ],
  ["return 0.5;", "BPF2003 1:8 «0.5» 0.5 is not a whole number: probes compute with integers"],
  [
    "return settings.ratio * g.value;",
    "BPF2003 1:8 «settings.ratio» 0.5 is not a whole number: probes compute with integers",
  ],
  [
    "return 9007199254740993;",
    "BPF2005 1:8 «9007199254740993» the number 9007199254740993 is above 2^53 and not exact in JavaScript\n  help: write it as a bigint literal: `9007199254740993n`",
  ],
  ["return 0x1ffffffffffffffffn;", "BPF2004 1:8 «0x1ffffffffffffffffn» 36893488147419103231 does not fit 64 bits"],
  [
    "g.value = 0x1ffffffff; return 0;",
    "BPF2011 1:11 «0x1ffffffff» 8589934591 does not fit u32 (0 to 4294967295)\n  help: cast it if the truncation is meant: `u32(8589934591)`",
  ],
  ["return g.value / 0;", "BPF2013 1:8 «g.value / 0» division by zero"],
  ["return g.value << 64;", "BPF2014 1:8 «g.value << 64» the shift count 64 is outside 0-63"],
  ["lim.value = 3; return 0;", "BPF2012 1:1 «lim.value» the constant lim is read-only"],
  ["const x = 1; x = 2; return x;", "BPF1003 1:14 «x» 'x' is a constant and cannot be assigned"],
  [
    "list = 3; return 0;",
    "BPF1004 1:1 «list» the captured value 'list' cannot be assigned from a probe\n  help: use a global: `export const list = global(u64, 0)` and assign `list.value`",
  ],
  ["settings.scale = 3; return 0;", "BPF2012 1:1 «settings.scale» settings.scale is read-only"],
  ["return list[3];", "BPF2016 1:13 «3» index 3 is outside the 3 elements"],
  ["return settings.scal;", "BPF3004 1:17 «scal» the object settings has no field 'scal'; did you mean 'scale'?"],
  [
    "for (;;) { g.value += 1; } return 0;",
    "BPF1006 1:1 «for (;;) { g.value += 1; }» this loop has no bound that the kernel could prove\n  help: use `for (const i of range(n))`, or count with a variable that is compared with a constant",
  ],
  [
    "while (true) g.value++; return 0;",
    "BPF1006 1:1 «while (true) g.value++;» this loop has no bound that the kernel could prove\n  help: use `for (const i of range(n))`, or count with a variable that is compared with a constant",
  ],
  [
    "let i = 0; while (i < 10) { g.value++; } return 0;",
    "BPF1006 1:12 «while (i < 10) { g.value++; }» this loop has no bound that the kernel could prove\n  help: use `for (const i of range(n))`, or count with a variable that is compared with a constant",
  ],
  [
    "for (const i of range(1, g.value)) { ug.value += i; } return 0;",
    "BPF1006 1:17 «range(1, g.value)» this loop has no bound that the kernel could prove\n  note: without a constant bound a range starts at 0 and steps by 1; or bound it: `range(a, Math.min(b, 64))`\n  help: use `for (const i of range(n))`, or count with a variable that is compared with a constant",
  ],
  [
    "for (const k in settings) {} return 0;",
    "BPF1001 1:1 «for (const k in settings) {}» `for … in` cannot be compiled to BPF\n  help: name the fields, or use `for … of` over an array",
  ],
  [
    "try { g.value = 1; } catch {} return 0;",
    "BPF1001 1:1 «try { g.value = 1; } catch {}» `try` cannot be compiled to BPF\n  help: nothing in a probe throws: check results instead",
  ],
  [
    'throw new Error("x");',
    'BPF1001 1:1 «throw new Error("x");» `throw` cannot be compiled to BPF\n  help: return from the probe',
  ],
  [
    "return new Map();",
    "BPF1001 1:8 «new Map()» `new` cannot be compiled to BPF\n  help: declare a `struct` and write an object literal, or use a map",
  ],
  [
    "return typeof g.value;",
    "BPF1001 1:8 «typeof g.value» `typeof` cannot be compiled to BPF\n  help: types are known when the probe is compiled",
  ],
  [
    "delete settings.scale; return 0;",
    "BPF1001 1:1 «delete settings.scale» `delete` cannot be compiled to BPF\n  help: use `map.delete(key)`",
  ],
  [
    "return g.value ** 2;",
    "BPF1001 1:8 «g.value ** 2» `**` with a run-time operand cannot be compiled to BPF\n  help: multiply, or shift left for powers of two",
  ],
  ["return bpf.pidd();", "BPF3002 1:12 «pidd» bpf.pidd does not exist; did you mean 'pid'?"],
  [
    "return bpf.kernelStack(m);",
    "BPF3003 1:12 «kernelStack» bpf.kernelStack cannot be used in xdp programs\n  help: it is available in kprobe, tracepoint, perf_event, raw_tracepoint, raw_tracepoint_writable, tracing, … programs",
  ],
  ["return bpf.pid(1);", "BPF1010 1:8 «bpf.pid(1)» 'bpf.pid' takes no arguments, 1 given"],
  [
    "return bpf.ret();",
    "BPF3003 1:8 «bpf.ret()» bpf.ret cannot be used in xdp programs\n  help: it is available in kretprobe, uretprobe and fexit programs",
  ],
  [
    'return bpf.str(g.value) === "x" ? 1 : 0;',
    "BPF3006 1:16 «g.value» the memory behind this pointer could be user's or kernel's\n  help: say it: `bpf.userStr(p)` or `bpf.kernelStr(p)`",
  ],
  [
    "return ctx.data_ned;",
    "BPF3004 1:12 «data_ned» the context of xdp has no field 'data_ned'; did you mean 'data_end'?",
  ],
  ["return ctx.packet(g) ? 1 : 0;", "BPF2006 1:19 «g» expected a schema, found the global g"],
  ["var x = 1; return x;", "BPF1001 1:1 «var x = 1;» `var` cannot be compiled to BPF\n  help: use `let` or `const`"],
  [
    "let x: u32 = 5; return x;",
    "BPF1014 1:8 «u32» the annotation 'u32' would have to change the code, but types never do\n  help: convert the value: `u32(…) for x`",
  ],
  ["const { a } = g.value; return a;", "BPF3004 1:9 «a» a u32 has no field 'a'"],
  ["const [a] = settings; return a;", "BPF1020 1:8 «a» only arrays can be destructured"],
  [
    "function f(n) { return n > 0 ? f(n - 1) : 0; } return f(3);",
    "BPF1007 1:32 «f(n - 1)» recursion is not possible in BPF: f → f\n  help: write a loop with a bound instead",
  ],
  ["const f = (a) => a; return f(1, 2);", "BPF1010 1:28 «f(1, 2)» 'f' takes 1 argument, 2 given"],
  ["const f = (a, b) => a; return f(1);", "BPF1010 1:31 «f(1)» 'f' takes 2 arguments, 1 given"],
  ['return "text";', 'BPF1017 1:1 «return "text";» a program returns an integer, not a string'],
  ["return E;", "BPF1017 1:1 «return E;» a program returns an integer, not the schema E"],
  [
    'return g.value ? "a" : 1;',
    "BPF1016 1:24 «1» a function's paths return different things: a string and the number 1\n  help: return numbers, or one kind of value, from every path",
  ],
  [
    'const k = g.value ? "a" : "b"; return k;',
    'BPF1017 1:32 «return k;» a program returns an integer, not one of "a" | "b"',
  ],
  ['const k = g.value ? "a" : "b"; g.value = k; return 0;', 'BPF2006 1:42 «k» expected u32, found one of "a" | "b"'],
  ['const k = g.value ? "a" : "b"; return k + 1;', 'BPF2017 1:39 «k» \'+\' is not defined for one of "a" | "b"'],
  [
    'const k = g.value ? "a" : "b"; return k < "b" ? 1 : 0;',
    'BPF2015 1:39 «k < "b"» one of "a" | "b" cannot be compared with a string',
  ],
  [
    'let k = "a"; for (const i of range(3)) { ms.set(1, { pid: i, at: 0, comm: k }); k = "b"; } return 0;',
    'BPF2008 1:81 «k = "b"» \'k\' holds "a" and cannot take a string\n  help: it was stored as text above, when it could only be "a": give it this text before',
  ],
  [
    "const f = (x) => { if (x) return 1; return E({}); }; return f(g.value);",
    "BPF1016 1:37 «return E({});» a function's paths return different things: the number 1 and struct\n  help: return numbers, or one kind of value, from every path",
  ],
  ["g.value = true; return 0;", "BPF2006 1:11 «true» expected u32, found true"],
  ['return g.value === "x" ? 1 : 0;', 'BPF2015 1:8 «g.value === "x"» a u32 cannot be compared with a string'],
  ["return g.value === true ? 1 : 0;", "BPF2015 1:8 «g.value === true» a u32 cannot be compared with true"],
  [
    "if (g.value < 0) return 1; return 0;",
    "BPF6001 1:5 «g.value < 0» this comparison is always false: the left side is unsigned",
  ],
  ["return 0; g.value = 1;", "BPF6002 1:11 «g.value = 1;» unreachable code"],
  [
    "return `n ${g.value}`;",
    "BPF1001 1:8 «`n ${g.value}`» a template string with run-time values (outside of bpf.printk) cannot be compiled to BPF\n  help: emit the values as fields and format them in user space",
  ],
  [
    'bpf.printk("%d"); return 0;',
    "BPF1010 1:1 «bpf.printk(\"%d\")» 'bpf.printk' takes 1 values for its format, 0 given",
  ],
  ["bpf.printk(g.value); return 0;", "BPF2006 1:12 «g.value» expected a format string, found a u32"],
  ["m.set(1); return 0;", "BPF1010 1:1 «m.set(1)» 'm.set' takes 2 arguments, 1 given"],
  ['m.set("a", 1); return 0;', 'BPF2006 1:7 «"a"» expected u32, found a string'],
  ['m.add(1, "x"); return 0;', 'BPF2006 1:10 «"x"» expected an integer, found a string'],
  ["return m[0];", "BPF2006 1:8 «m» expected an array, found the map m"],
  ["return g.pid;", "BPF3004 1:10 «pid» the global g has no field 'pid'"],
  [
    "return bpf.mapLookupElem(g, 1) ? 1 : 0;",
    "BPF3007 1:26 «g» argument map of bpf_map_lookup_elem must be a map, found the global g",
  ],
  [
    "return bpf.getStackid(ctx);",
    "BPF3003 1:12 «getStackid» bpf.getStackid cannot be used in xdp programs\n  help: it is available in kprobe, tracepoint, perf_event, raw_tracepoint, raw_tracepoint_writable, tracing, … programs",
  ],
  ['let x; x = "a"; return 0;', 'BPF2006 1:8 «x = "a"» expected number, found a string'],
  [
    "let v = 1; v = true; return 0;",
    "BPF2008 1:12 «v = true» 'v' holds number and cannot take true\n  help: use a second variable",
  ],
  [
    "let s = bpf; return 0;",
    "BPF2006 1:5 «s» expected a number, boolean or reference for a variable that changes (use `const`), found bpf",
  ],
  [
    "return xdp(() => 1);",
    "BPF1015 1:8 «xdp» 'xdp' cannot be captured: the values that this function uses cannot be read in this process\n  help: start the file with `bpfkit run FILE.ts`, which needs no inspector",
  ],
  ["return Math.sqrt(4);", "BPF3004 1:13 «sqrt» Math has no field 'sqrt'"],
  ["return Math.min();", "BPF1010 1:8 «Math.min()» 'Math.min' takes at least one value, 0 given"],
  ["return (1, 2, nope);", "BPF1002 1:15 «nope» the name 'nope' is not defined here"],
  [
    "let v = m.get(1); v ||= 1; return 0;",
    "BPF2007 1:19 «v» the entry of m may be undefined here\n  help: check it first: `if (!v) return;`, or give a default with `??`",
  ],
  [
    "m ??= 1; return 0;",
    "BPF1004 1:1 «m» the captured value 'm' cannot be assigned from a probe\n  help: use a global: `export const m = global(u64, 0)` and assign `m.value`",
  ],
  ["return -true;", "BPF2017 1:8 «-true» '-' is not defined for true"],
  [
    "const a = [1, , 2]; return 0;",
    "BPF1001 1:11 «[1, , 2]» a hole in an array cannot be compiled to BPF\n  help: write the elements",
  ],
  ['return [..."ab"];', 'BPF2006 1:12 «"ab"» expected an array of at most 256 elements, found a string'],
  [
    "return ms.get(1)?.pid;",
    "BPF1017 1:1 «return ms.get(1)?.pid;» a program returns an integer, not ms.get()?.pid that may be undefined",
  ],
  [
    "return g.value > -1 ? 1 : 0;",
    "BPF2001 1:8 «g.value > -1» `>` mixes a signed and an unsigned integer\n  help: cast one side, for example `s64(x)`",
  ],
  [
    "return /x/ ? 1 : 0;",
    "BPF1001 1:8 «/x/» a regular expression cannot be compiled to BPF\n  help: use `===` or `startsWith`",
  ],
  [
    "const v = array(u8, 4); return 0;",
    "BPF1015 1:11 «array» 'array' cannot be captured: the values that this function uses cannot be read in this process\n  help: start the file with `bpfkit run FILE.ts`, which needs no inspector",
  ],
  ["return ctx.data = 1;", "BPF2012 1:8 «ctx.data» ctx.data is read-only"],
  [
    "switch (g.value) { case sg.value: return 1; } return 0;",
    "BPF2001 1:25 «sg.value» `===` mixes a signed and an unsigned integer\n  help: cast one side, for example `s64(x)`",
  ],
  ["return E({ pid: 1, oops: 2 }).pid;", "BPF2009 1:20 «oops» struct E has no field 'oops'"],
  ["return u32();", "BPF1010 1:8 «u32()» 'u32' takes one value, 0 given"],
  ["return u32(1, 2);", "BPF1010 1:8 «u32(1, 2)» 'u32' takes one value, 2 given"],
  ["for (const x of g.value) {} return 0;", "BPF2006 1:17 «g.value» expected `range(n)` or an array, found a u32"],
  [
    "for (let i = 0; i < 3; i++) { let i2 = nope2; } return 0;",
    "BPF1002 1:40 «nope2» the name 'nope2' is not defined here",
  ],
  [
    "return bpf.task().pid;",
    "BPF4002 1:8 «bpf.task()» kernel types need BTF, and none was given\n  help: run on Linux with /sys/kernel/btf/vmlinux, or pass `--btf FILE`",
  ],
  [
    "return be16(5) === -1 ? 1 : 0;",
    "BPF2001 1:8 «be16(5) === -1» `===` mixes a signed and an unsigned integer\n  help: cast one side, for example `s64(x)`",
  ],
  [
    "return ctx.filenam ? 1 : 0;",
    "BPF3004 1:12 «filenam» the context of tracepoint/syscalls/sys_enter_openat has no field 'filenam'; did you mean 'filename'?",
    'tracepoint("syscalls:sys_enter_openat", (ctx, bpf) =>',
  ],
  [
    "return ctx.prev ? 1 : 0;",
    "BPF3005 1:12 «prev» the format of tracepoint sched:sched_switch is not known\n  help: run as root on the kernel that has it, so that its format can be read from tracefs",
    'tracepoint("sched:sched_switch", (ctx, bpf) =>',
  ],
  [
    'if (ctx.filename === "x") return 1; return 0;',
    'BPF2015 1:5 «ctx.filename === "x"» a user pointer to char cannot be compared with a string',
    'tracepoint("syscalls:sys_enter_openat", (ctx, bpf) =>',
  ],
  [
    "events.emit({ pid: bpf.pid(), at: 1, comm: ctx.filename }); return 0;",
    "BPF2006 1:44 «ctx.filename» expected a string for char(16), found a user pointer to char",
    'tracepoint("syscalls:sys_enter_openat", (ctx, bpf) =>',
  ],
  [
    "ctx.flags = 1; return 0;",
    "BPF2012 1:1 «ctx.flags» the context is read-only",
    'tracepoint("syscalls:sys_enter_openat", (ctx, bpf) =>',
  ],
  [
    "return ctx.filename.length;",
    "BPF3004 1:21 «length» a user pointer to char has no field 'length'",
    'tracepoint("syscalls:sys_enter_openat", (ctx, bpf) =>',
  ],
  [
    "return ctx.p.pid;",
    "BPF4002 1:12 «p» kernel types need BTF, and none was given\n  help: run on Linux with /sys/kernel/btf/vmlinux, or pass `--btf FILE`",
    'tpBtf("sched_wakeup", (ctx, bpf) =>',
  ],
  [
    "return bpf.arg(9);",
    "BPF2006 1:16 «9» expected an index from 0 to 5 known at compile time, found the number 9",
    'kprobe("do_exit", (ctx, bpf) =>',
  ],
  [
    "return bpf.arg(g.value);",
    "BPF2006 1:16 «g.value» expected an index from 0 to 5 known at compile time, found a u32",
    'kprobe("do_exit", (ctx, bpf) =>',
  ],
  [
    "return bpf.ret();",
    "BPF3003 1:8 «bpf.ret()» bpf.ret cannot be used in kprobe programs\n  help: it is available in kretprobe, uretprobe and fexit programs",
    'kprobe("do_exit", (ctx, bpf) =>',
  ],
  [
    'return bpf.str(bpf.arg(0)) === "x" ? 1 : 0;',
    "BPF3006 1:16 «bpf.arg(0)» the memory behind this pointer could be user's or kernel's\n  help: say it: `bpf.userStr(p)` or `bpf.kernelStr(p)`",
    'kprobe("do_exit", (ctx, bpf) =>',
  ],
  ["return ctx.dx.pid;", "BPF3004 1:15 «pid» a u64 has no field 'pid'", 'kprobe("do_exit", (ctx, bpf) =>'],
  [
    "return ctx.rdi;",
    "BPF3004 1:12 «rdi» the context of kprobe/do_exit has no field 'rdi'; did you mean 'di'?",
    'kprobe("do_exit", (ctx, bpf) =>',
  ],
  [
    "return 0;",
    "BPF1013 0:33 «more» a probe is called by the kernel with (ctx, bpf): 3 parameters are too many",
    "xdp((ctx, bpf, more) =>",
  ],
  ["return other;", "BPF1002 1:8 «other» the name 'other' is not defined here", "xdp((ctx, ...rest) =>"],
  ["return async () => 1;", "BPF1017 1:1 «return async () => 1;» a program returns an integer, not a function"],
  [
    "const f = async (x) => x; return f(1);",
    "BPF1001 1:34 «f(1)» an async or generator function cannot be compiled to BPF\n  help: write a plain function",
  ],
  [
    "return Math.max(...list);",
    "BPF1001 1:17 «...list» a spread argument here cannot be compiled to BPF\n  help: write the arguments",
  ],
  [
    "const f = ({ pid }) => pid; return f(ms.get(1));",
    "BPF2007 1:14 «pid» the entry of ms may be undefined here\n  help: check it first: `const v = …; if (!v) return;`, or give a default with `??`",
  ],
  [
    "const f = (e) => e.at; const e = ms.get(3); return f(e);",
    "BPF2007 1:18 «e» the entry of ms may be undefined here\n  help: check it first: `if (!e) return;`, or give a default with `??`",
  ],
  [
    "const e = ms.get(3); if (e === undefined) g.value = 1; return e.pid;",
    "BPF2007 1:63 «e» the entry of ms may be undefined here\n  help: check it first: `if (!e) return;`, or give a default with `??`",
  ],
  [
    "let e = ms.get(3); if (!e) return 0; e = ms.get(4); return e.pid;",
    "BPF2007 1:60 «e» the entry of ms may be undefined here\n  help: check it first: `if (!e) return;`, or give a default with `??`",
  ],
  [
    "let e = ms.get(3); if (!e) return 0; for (const i of range(3)) { g.value += e.pid; e = ms.get(i); } return 0;",
    "BPF2007 1:77 «e» the entry of ms may be undefined here\n  help: check it first: `if (!e) return;`, or give a default with `??`",
  ],
  [
    "const e = events.reserve(); e.pid = 1; return 0;",
    "BPF2007 1:29 «e» room in events may be undefined here\n  help: check it first: `if (!e) return;`, or give a default with `??`",
  ],
  ["events.submit(g); return 0;", "BPF2006 1:15 «g» expected what events.reserve() gave, found the global g"],
  [
    "events.discard(events.reserve()); return 0;",
    "BPF2007 1:16 «events.reserve()» room in events may be undefined here\n  help: check it first: `const v = …; if (!v) return;`, or give a default with `??`",
  ],
  ["events.set(1, 2); return 0;", "BPF3001 1:8 «set» the map events has no method 'set'"],
  ["m.emit({}); return 0;", "BPF3001 1:3 «emit» the map m has no method 'emit'"],
  ["return m.get(1, 2) ?? 0;", "BPF1010 1:8 «m.get(1, 2)» 'm.get' takes 1 argument, 2 given"],
  ["m.set(1, { pid: 1 }); return 0;", "BPF2006 1:10 «{ pid: 1 }» expected u64, found an object literal"],
  ["ms.set(1, 5); return 0;", "BPF2006 1:11 «5» expected struct E, found the number 5"],
  [
    'ms.set(1, { pid: 1, at: 2, comm: "x", ...settings }); return 0;',
    "BPF2006 1:42 «settings» expected struct E, found the object settings",
  ],
  ['ms.set(1, { pid: "x", at: 2, comm: "x" }); return 0;', 'BPF2006 1:18 «"x"» expected u32, found a string'],
  [
    'ms.set(1, { pid: 1, at: undefined, comm: "x" }); return 0;',
    "BPF2006 1:25 «undefined» expected u64, found undefined",
  ],
  [
    'ms.set(1, { get pid() { return 1; }, at: 1, comm: "x" }); return 0;',
    "BPF1001 1:13 «get pid() { return 1; }» a computed, accessor or method property cannot be compiled to BPF\n  help: write `name: value`\nBPF2010 1:11 «{ get pid() { return 1; }, at: 1, comm: \"x\" }» the field 'pid' of struct E is missing",
  ],
  [
    "const e = E({ pid: 1 }); if (e === 5) return 1; return 0;",
    "BPF2015 1:30 «e === 5» struct cannot be compared with the number 5",
  ],
  [
    "const e = E({ pid: 1 }); e.comm = 5; return 0;",
    "BPF2006 1:35 «5» expected a string for char(16), found the number 5",
  ],
  [
    'const e = E({ pid: 1 }); e.comm = "0123456789abcdef"; return 0;',
    'BPF2018 1:35 «"0123456789abcdef"» the string of 16 bytes does not fit char(16) with its NUL',
  ],
  [
    'const e = E({ pid: 1 }); e.commm = "x"; return 0;',
    "BPF2009 1:28 «commm» struct E has no field 'commm'; did you mean 'comm'?",
  ],
  [
    "const e = E({ pid: 1 }); return e.comm.startsWith(g) ? 1 : 0;",
    "BPF2006 1:51 «g» expected a string, found the global g",
  ],
  [
    'const e = E({ pid: 1 }); return e.comm.endsWith("a suffix that is too long") ? 1 : 0;',
    'BPF2018 1:33 «e.comm.endsWith("a suffix that is too long")» the string of 25 bytes does not fit char(16) with its NUL',
  ],
  [
    "const e = E({ pid: 1 }); return e.comm.endsWith(e.comm) ? 1 : 0;",
    "BPF2006 1:49 «e.comm» expected a string literal, found char(16)",
  ],
  ["const e = E({ pid: 1 }); return e + 1;", "BPF2017 1:33 «e» '+' is not defined for struct"],
  ["const e = E({ pid: 1 }); return -e;", "BPF2017 1:33 «-e» '-' is not defined for struct"],
  ["return bpf;", "BPF1017 1:1 «return bpf;» a program returns an integer, not bpf"],
  ["return bpf.comm;", "BPF1017 1:1 «return bpf.comm;» a program returns an integer, not bpf.comm"],
  ["return bpf.comm() + 1;", "BPF2017 1:8 «bpf.comm()» '+' is not defined for a string"],
  ["return ctx;", "BPF1017 1:1 «return ctx;» a program returns an integer, not the context of xdp"],
  ["return ctx + 1;", "BPF2017 1:8 «ctx» '+' is not defined for the context of xdp"],
  [
    "return ctx.data.foo;",
    'BPF4003 1:17 «foo» the value is a pointer without a type\n  help: say what it points to: `bpf.cast(p, "struct_name")`',
  ],
  ["return range(3);", "BPF1017 1:1 «return range(3);» a program returns an integer, not a range"],
  [
    "const r = range(3); for (const i of r) { i = 2; } return 0;",
    "BPF1003 1:42 «i» 'i' is a constant and cannot be assigned",
  ],
  ["for (const i of range(0, 10, 0)) {} return 0;", "BPF2006 1:30 «0» expected a step other than 0, found 0"],
  [
    "for (const i of range(1, 2, 3, 4)) {} return 0;",
    "BPF1010 1:17 «range(1, 2, 3, 4)» 'range' takes 1 to 3 arguments, 4 given",
  ],
  ['for (const i of range("x")) {} return 0;', 'BPF2006 1:17 «range("x")» expected a number, found a string'],
  [
    "for (i of list) {} return 0;",
    "BPF1001 1:6 «i» a loop variable that exists already cannot be compiled to BPF\n  help: write `for (const x of …)`",
  ],
  [
    "do { g.value = 1; } while (true); return 0;",
    "BPF1006 1:1 «do { g.value = 1; } while (true);» this loop has no bound that the kernel could prove\n  help: use `for (const i of range(n))`, or count with a variable that is compared with a constant",
  ],
  [
    "for (let i = 0; i < 10; g.value++) {} return 0;",
    "BPF1006 1:1 «for (let i = 0; i < 10; g.value++) {}» this loop has no bound that the kernel could prove\n  help: use `for (const i of range(n))`, or count with a variable that is compared with a constant",
  ],
  ["return g.value << -1;", "BPF2014 1:8 «g.value << -1» the shift count -1 is outside 0-63"],
  ["return list[g.value].x;", "BPF3004 1:22 «x» a u8 has no field 'x'"],
  ["return settings[g.value];", "BPF2006 1:8 «settings» expected an array, found the object settings"],
  ["return list.map((x) => x)[7];", "BPF2016 1:27 «7» index 7 is outside the 3 elements"],
  [
    "return list.reduce((a, b) => a + b);",
    "BPF1001 1:8 «list.reduce» the method reduce of an array cannot be compiled to BPF\n  help: compute the value outside the probe",
  ],
  ["return list.some(1) ? 1 : 0;", "BPF2006 1:18 «1» expected a function, found the number 1"],
  ["return list.includes() ? 1 : 0;", "BPF1010 1:8 «list.includes()» 'includes' takes one argument, 0 given"],
  [
    'return list.includes("a") ? 1 : 0;',
    'BPF2015 1:8 «list.includes("a")» a string cannot be compared with the number 1\nBPF2015 1:8 «list.includes("a")» a string cannot be compared with the number 2\nBPF2015 1:8 «list.includes("a")» a string cannot be compared with the number 3',
  ],
  [
    "return JSON.stringify(1);",
    "BPF1015 1:8 «JSON.stringify» 'JSON.stringify' cannot be captured: 'stringify' is a native function or a proxy: it has no source to compile\n  help: write it as a function in TypeScript, or use what `bpf` offers",
  ],
  [
    "return g.value in list;",
    "BPF1001 1:8 «g.value in list» `in` cannot be compiled to BPF\n  help: use `map.has(key)`",
  ],
  [
    "return g.value instanceof Map;",
    "BPF1001 1:8 «g.value instanceof Map» `instanceof` cannot be compiled to BPF\n  help: use `map.has(key)`",
  ],
  [
    "return this.x;",
    "BPF7005 1:8 «this» `this` cannot be used in a program: the kernel runs it, no object does\n  help: capture what it holds in a constant outside of the function",
  ],
  ["debugger; return 0;", "BPF1001 1:1 «debugger;» `debugger` cannot be compiled to BPF\n  help: use `bpf.printk(…)`"],
  [
    "class X {} return 0;",
    "BPF1001 1:1 «class X {}» a class cannot be compiled to BPF\n  help: use `if`, `for`, `while` and `switch`",
  ],
  [
    "return (class {}) ? 1 : 0;",
    "BPF1001 1:9 «class {}» a class cannot be compiled to BPF\n  help: use functions and structs",
  ],
  ["with_: { break with_; } return nope3;", "BPF1002 1:32 «nope3» the name 'nope3' is not defined here"],
  [
    "return String.raw`x`;",
    "BPF1001 1:8 «String.raw`x`» a tagged template cannot be compiled to BPF\n  help: call `bpf.printk(`…`)` with a plain template",
  ],
  [
    'return import("x");',
    'BPF1001 1:8 «import("x")» `import()` cannot be compiled to BPF\n  help: import at the top of the file',
  ],
  ['return u8("x");', 'BPF2006 1:11 «"x"» expected something that u8() can convert, found a string'],
  ["return u8(m);", "BPF2006 1:11 «m» expected something that u8() can convert, found the map m"],
  [
    "return u32(ms.get(1));",
    "BPF2007 1:12 «ms.get(1)» the entry of ms may be undefined here\n  help: check it first: `const v = …; if (!v) return;`, or give a default with `??`",
  ],
  [
    "return char(16);",
    "BPF1015 1:8 «char» 'char' cannot be captured: the values that this function uses cannot be read in this process\n  help: start the file with `bpfkit run FILE.ts`, which needs no inspector",
  ],
  [
    "return config(u32, 1).value;",
    "BPF1015 1:8 «config» 'config' cannot be captured: the values that this function uses cannot be read in this process\n  help: start the file with `bpfkit run FILE.ts`, which needs no inspector",
  ],
  ["return 10 ** 40;", "BPF2004 1:8 «10 ** 40» 10000000000000000000000000000000000000000 does not fit 64 bits"],
  ["return -9223372036854775809n;", "BPF2004 1:8 «-9223372036854775809n» -9223372036854775809 does not fit 64 bits"],
  ["return 5n + 0.5;", "BPF2003 1:13 «0.5» 0.5 is not a whole number: probes compute with integers"],
  [
    "return 3 - 5 >>> 1;",
    "BPF2002 1:8 «3 - 5 >>> 1» JavaScript gives 2147483647 here, 64-bit integer arithmetic gives 9223372036854775807\n  help: write the number that is meant, or `-2n >>> 1n` for the 64-bit result",
  ],
  ["return 5 % 0;", "BPF2013 1:8 «5 % 0» division by zero"],
  ["return g.value % 0n;", "BPF2013 1:8 «g.value % 0n» division by zero"],
  ["if (g) return 1; return g;", "BPF1017 1:18 «return g;» a program returns an integer, not the global g"],
  ["return g > 1 ? 1 : 0;", "BPF2015 1:8 «g > 1» the global g cannot be compared with the number 1"],
  ["return m.size;", "BPF3001 1:10 «size» the map m has no method 'size'"],
  ["return E.pid;", "BPF3004 1:10 «pid» the schema E has no field 'pid'"],
  ["return E.sizee;", "BPF3004 1:10 «sizee» the schema E has no field 'sizee'; did you mean 'size'?"],
  ["return XDP.PAS;", "BPF3004 1:12 «PAS» the object XDP has no field 'PAS'; did you mean 'PASS'?"],
  [
    'return bpf.kernelStr(ctx.filename) === "x" ? 1 : 0;',
    "BPF6003 1:22 «ctx.filename» this is an address in user memory, read as kernel memory\n  help: `bpf.str(p)` reads it where it is",
    'tracepoint("syscalls:sys_enter_openat", (ctx, bpf) =>',
  ],
];

for (const [body, expected, program] of CASES) {
  test(body.length > 90 ? `${body.slice(0, 87)}...` : body, () => assert.is(say(body, program), expected));
}

test("all errors of a file at once, each once", () => {
  const text = `${HEAD}const twice = (n: number) => n + nope;
export const p = xdp(() => { g.value = twice(1) + twice(2); return missing; });
export const q = xdp(() => { const v = m.get(1); return v * 2; });`;
  const { result, diagnostics } = compileText(text);
  assert.is(result, undefined);
  assert.equal(
    diagnostics.map((d) => [d.code, d.labels.length]),
    [
      ["BPF1002", 2],
      ["BPF1002", 1],
      ["BPF2007", 1],
    ],
  );
  assert.match(diagnostics[0]?.labels[1]?.message ?? "", /in twice, called here/);
});

test("warnings do not stop the compiler", () => {
  const { result, diagnostics } = compileText(
    `${HEAD}export const p = xdp(() => { if (g.value < 0) return 1; return 2; });`,
  );
  assert.ok(result);
  assert.equal(
    diagnostics.map((d) => [d.code, d.severity]),
    [["BPF6001", "warning"]],
  );
});
