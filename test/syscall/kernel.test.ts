import { closeSync, openSync, readFileSync, readdirSync } from "node:fs";
import { execFileSync } from "node:child_process";
import {
  FakeKernel,
  check,
  closeTracefs,
  mapFile,
  onlineCpus,
  parseCpuList,
  parseTracepointFormat,
  possibleCpus,
  realKernel,
  syscallError,
  tracefsRoot,
  tracepointFormat,
  tracepointId,
} from "../../src/syscall/index.ts";
import { kernelBtf } from "../../src/load/kernel-btf.ts";
import { BPF_PROG_TYPE, BPF_MAP_TYPE, ERRNO } from "../../src/uapi/index.ts";
import { assert, suite } from "../harness.ts";
import { requires } from "../kernel.ts";

const test = suite("syscall kernel");
const kernel = realKernel();

const status = (caps: string, seccomp = 0): string => `Name:\tnode\nCapEff:\t${caps}\nSeccomp:\t${seccomp}\n`;
const explained = (
  files: Record<string, string>,
  errno: number,
  command = "BPF_PROG_LOAD",
  context = {},
  release = "6.1.0",
): string => syscallError(new FakeKernel({ files, release }), command, -errno, context).message;

test("EPERM names the missing capabilities, the sysctl, and how to get them", () => {
  const files = {
    "/proc/self/status": status("0000000000000000"),
    "/proc/sys/kernel/unprivileged_bpf_disabled": "2\n",
  };
  const message = explained(files, ERRNO.EPERM, "BPF_PROG_LOAD", {
    subject: "program p",
    progType: BPF_PROG_TYPE.TRACEPOINT,
  });
  assert.match(
    message,
    /^BPF_PROG_LOAD of program p: EPERM \(Operation not permitted\): the process lacks CAP_BPF and CAP_PERFMON; kernel\.unprivileged_bpf_disabled is 2/,
  );
  assert.match(message, /setcap cap_bpf,cap_perfmon\+ep/);
  assert.match(
    explained(files, ERRNO.EPERM, "BPF_PROG_LOAD", { progType: BPF_PROG_TYPE.XDP }),
    /CAP_BPF and CAP_NET_ADMIN/,
  );
  assert.match(explained(files, ERRNO.EPERM, "BPF_MAP_CREATE"), /lacks CAP_BPF;/);
  assert.match(explained(files, ERRNO.EPERM, "BPF_MAP_CREATE", {}, "5.4.0"), /lacks CAP_SYS_ADMIN/);
});

test("perf_event_paranoid, lockdown, seccomp, user namespaces and memlock are found", () => {
  const none = { "/proc/self/status": status("0000000000000000") };
  assert.match(
    explained({ ...none, "/proc/sys/kernel/perf_event_paranoid": "4\n" }, ERRNO.EACCES, "perf_event_open"),
    /lacks CAP_PERFMON; kernel\.perf_event_paranoid is 4.*sysctl kernel\.perf_event_paranoid=-1/,
  );
  const all = { "/proc/self/status": status("000001ffffffffff") };
  assert.match(
    explained({ ...all, "/sys/kernel/security/lockdown": "none integrity [confidentiality]\n" }, ERRNO.EPERM),
    /lockdown is in confidentiality mode/,
  );
  assert.match(
    explained({ "/proc/self/status": status("000001ffffffffff", 2) }, ERRNO.EPERM),
    /seccomp filter is active/,
  );
  assert.match(
    explained({ ...all, "/proc/self/uid_map": "         0       1000          1\n" }, ERRNO.EPERM),
    /user namespace/,
  );
  assert.match(
    explained(
      { ...all, "/proc/self/limits": "Max locked memory         65536                65536                bytes\n" },
      ERRNO.EPERM,
      "BPF_MAP_CREATE",
      {},
      "5.4.0",
    ),
    /RLIMIT_MEMLOCK is 65536 bytes.*ulimit -l unlimited/,
  );
});

test("what a kernel is too old for, or was built without", () => {
  assert.match(
    explained({}, ERRNO.EINVAL, "BPF_MAP_CREATE", { mapType: BPF_MAP_TYPE.RINGBUF }, "5.4.0"),
    /maps of type ringbuf need Linux 5\.8, this is 5\.4\.0/,
  );
  assert.match(
    explained({}, ERRNO.EINVAL, "BPF_PROG_LOAD", { progType: BPF_PROG_TYPE.TRACING }, "5.4.0"),
    /programs of type tracing need Linux 5\.5/,
  );
  assert.match(explained({}, ERRNO.ENOSYS), /CONFIG_BPF_SYSCALL/);
  assert.match(explained({}, ERRNO.ENOENT, "perf_event_open"), /no hardware counters.*cpu-clock/);
  assert.match(explained({}, ERRNO.EMFILE), /ulimit -n/);
});

test("the real explanation of a process that gave its privileges up", () => {
  requires({ root: true });
  const script = `
    const { realKernel, mapCreateRaw, check } = await import(${JSON.stringify(new URL("../../src/syscall/index.ts", import.meta.url).href)});
    process.setuid(65534);
    const kernel = realKernel();
    try { check(kernel, mapCreateRaw(kernel, { type: 1, keySize: 4, valueSize: 4, maxEntries: 1 }), "BPF_MAP_CREATE"); } catch (e) { console.log(e.message); }`;
  const output = execFileSync(process.execPath, ["--import", "tsx", "--input-type=module", "-e", script], {
    encoding: "utf8",
  });
  assert.match(output, /EPERM.*the process lacks CAP_BPF/);
});

test("files, directories, and errnos as negative numbers", () => {
  requires({ root: true });
  assert.is(kernel.readFile("/no/such/file"), -ERRNO.ENOENT);
  assert.is(kernel.readDir("/no/such/dir"), -ERRNO.ENOENT);
  assert.is(kernel.fileSize("/no/such/file"), -ERRNO.ENOENT);
  assert.is(kernel.open("/no/such/file", 0), -ERRNO.ENOENT);
  const fd = check(kernel, kernel.open("/proc/self/comm", 0), "open");
  const bytes = new Uint8Array(64);
  const n = kernel.read(fd, bytes);
  assert.is(new TextDecoder().decode(bytes.subarray(0, n)), readFileSync("/proc/self/comm", "utf8"));
  const copy = kernel.dup(fd);
  assert.ok(copy > fd);
  assert.equal([kernel.close(fd), kernel.close(copy), kernel.close(copy)], [0, 0, -ERRNO.EBADF]);
  assert.throwsCode(
    () => check(kernel, -ERRNO.EBADF, "close", { subject: "fd 9" }),
    "SYSCALL",
    /^close of fd 9: EBADF/,
  );
});

test("a mapping reads the file's bytes and is closed once", () => {
  requires({ root: true });
  const fd = openSync(process.execPath, "r");
  const mapping = mapFile(kernel, fd, 8192, 1, "node");
  closeSync(fd);
  assert.bytes(new Uint8Array(mapping.buffer, 0, 4), Uint8Array.of(0x7f, 0x45, 0x4c, 0x46));
  mapping.close();
  mapping.close();
  assert.throwsCode(() => mapping.buffer, "CLOSED");
});

test("a detached tracefs has the tracepoints and leaves nothing mounted", () => {
  requires({ root: true, kernel: "5.2" });
  const mounts = readFileSync("/proc/self/mounts", "utf8");
  const before = readdirSync("/proc/self/fd").length;
  closeTracefs(kernel);
  const format = tracepointFormat(kernel, "sched", "sched_switch");
  assert.is(format.id, tracepointId(kernel, "sched", "sched_switch"));
  const prev = format.fields.find((f) => f.name === "prev_comm");
  // (Whether char is signed depends on how the kernel was built.)
  assert.equal(
    { ...prev, signed: false },
    { name: "prev_comm", type: "char[16]", offset: 8, size: 16, signed: false, dynamic: undefined },
  );
  assert.is(readFileSync("/proc/self/mounts", "utf8"), mounts);
  assert.match(tracefsRoot(kernel), /^\/(proc\/self\/fd\/\d+|sys\/kernel\/(debug\/)?tracing)$/);
  closeTracefs(kernel);
  assert.ok(readdirSync("/proc/self/fd").length <= before);
  assert.throwsCode(() => tracepointId(kernel, "sched", "../../../etc"), "NO_TRACEPOINT", /letters, digits/);
});

test("tracefs that cannot be reached is explained", () => {
  const fake = (errno: number, release = "6.1.0") =>
    new FakeKernel({ failAt: 1, errno, release, files: { "/sys/kernel/tracing/events/sched/sched_switch/id": "" } });
  const unreachable = (errno: number, release?: string): (() => unknown) => {
    const k = fake(errno, release);
    k.readDir = () => -ERRNO.ENOENT;
    return () => tracepointId(k, "sched", "sched_switch");
  };
  assert.throwsCode(unreachable(ERRNO.EPERM), "NOT_SUPPORTED", /CAP_SYS_ADMIN.*mount -t tracefs/);
  assert.throwsCode(unreachable(ERRNO.ENODEV), "NOT_SUPPORTED", /CONFIG_TRACING/);
  assert.throwsCode(unreachable(ERRNO.ENOSYS, "5.1.0"), "NOT_SUPPORTED", /5\.1\.0.*Linux 5\.2/);
});

test("every tracepoint of this kernel parses, with fields that lie inside the record", () => {
  requires({ root: true, kernel: "5.2" });
  const root = tracefsRoot(kernel);
  let count = 0;
  for (const category of ["sched", "syscalls", "block", "tcp", "kmem", "irq", "timer"]) {
    const names = kernel.readDir(`${root}/events/${category}`);
    if (typeof names === "number") continue;
    for (const name of names.filter((n) => n !== "enable" && n !== "filter").slice(0, 40)) {
      const format = tracepointFormat(kernel, category, name);
      assert.is(format.name, name);
      assert.ok(format.fields.length >= 4, `${category}:${name}`);
      let end = 0;
      for (const f of format.fields) {
        assert.ok(f.offset >= end && f.size >= 0, `${category}:${name}.${f.name}`);
        end = f.offset + f.size;
      }
      count++;
    }
  }
  assert.ok(count > 50, `${count} tracepoints`);
  closeTracefs(kernel);
});

test("a format file that is none is refused", () => {
  assert.throwsCode(() => parseTracepointFormat("hello"), "TRACEPOINT_FORMAT");
  const f = parseTracepointFormat(
    'name: x\nID: 5\nformat:\n\tfield:__data_loc char[] name;\toffset:8;\tsize:4;\tsigned:0;\n\nprint fmt: "%s", a\n',
    "c",
  );
  assert.equal(f.fields, [{ name: "name", type: "char[]", offset: 8, size: 4, signed: false, dynamic: "data_loc" }]);
});

test("CPU lists", () => {
  assert.equal(parseCpuList("0-3,8\n"), [0, 1, 2, 3, 8]);
  assert.equal(parseCpuList("0\n"), [0]);
  assert.throwsCode(() => parseCpuList("zero"), "CPU_LIST");
  assert.is(possibleCpus(new FakeKernel()), 2);
  assert.equal(onlineCpus(new FakeKernel()), [0, 1]);
});

test("watching: libuv's poll and the thread both wake for a readable descriptor and stop when closed", async () => {
  requires({ root: true });
  const byThread = (kernel as unknown as { watchByThread: typeof kernel.watch }).watchByThread.bind(kernel);
  for (const watch of [kernel.watch.bind(kernel), byThread]) {
    const pipe = openPipe();
    let woken = 0;
    const handle = watch(pipe.read, () => {
      woken++;
      kernel.read(pipe.read, new Uint8Array(16));
    });
    await new Promise((resolve) => setTimeout(resolve, 20));
    assert.is(woken, 0);
    pipe.write();
    await new Promise((resolve) => setTimeout(resolve, 60));
    assert.is(woken, 1);
    handle.close();
    handle.close();
    pipe.write();
    await new Promise((resolve) => setTimeout(resolve, 40));
    assert.is(woken, 1);
    assert.is(kernel.pollOnce([pipe.read], 0), 1);
    pipe.close();
  }
});

test("the kernel's BTF is opened once and knows task_struct", () => {
  requires({ root: true, kernel: "5.4" });
  const btf = kernelBtf(kernel);
  assert.is(kernelBtf(kernel), btf);
  assert.ok((btf.vmlinux.findByName("task_struct", "struct")?.id ?? 0) > 0);
  assert.is(btf.find("btf_trace_sched_switch", "typedef")?.module, undefined);
  assert.is(btf.find("no_such_type_anywhere", "func"), undefined);
});

/** An anonymous fifo: written through /proc/self/fd. */
function openPipe(): { read: number; write: () => void; close: () => void } {
  const path = `/tmp/bpfkit-fifo-${process.pid}-${Math.random().toString(36).slice(2)}`;
  execFileSync("mkfifo", [path]);
  const fd = openSync(path, "r+");
  execFileSync("rm", [path]);
  return {
    read: fd,
    write: () => void execFileSync("/bin/sh", ["-c", "printf x >&3"], { stdio: ["ignore", "ignore", "ignore", fd] }),
    close: () => closeSync(fd),
  };
}
