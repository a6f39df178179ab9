/** Kernel objects from BTF: every kind of member, written and read back. */
import fc from "fast-check";
import { Btf } from "../../../src/btf/btf.ts";
import { findMember, resolve, sizeOf } from "../../../src/btf/layout.ts";
import type { BtfMember } from "../../../src/btf/types.ts";
import { ArgumentError, BpfkitError } from "../../../src/core/errors.ts";
import { pathAt } from "../../../src/testing/world/files.ts";
import { PACKAGED_KERNELS, packagedKernel } from "../../../src/testing/world/kernel-types.ts";
import { PlainMemory } from "../../../src/testing/world/memory.ts";
import { KernelObjects } from "../../../src/testing/world/objects.ts";
import { cgroupId, cgroupLine, makeTask } from "../../../src/testing/world/tasks.ts";
import type { FieldValue } from "../../../src/testing/world/types.ts";
import { KernelWorld } from "../../../src/testing/world/world.ts";
import { assert, suite } from "../../harness.ts";
import { runs } from "./runs.ts";

const test = suite("world objects");
const objectsOf = (name: string): KernelObjects => new KernelObjects(packagedKernel(name).btf, new PlainMemory());

for (const name of PACKAGED_KERNELS) {
  test(`${name}: nested structs, pointers, text, enumerators, bit-fields, arrays and lists`, () => {
    const kernel = objectsOf(name);
    const task = kernel.struct("task_struct", {
      pid: 42,
      comm: "bash",
      static_prio: -5,
      in_execve: 1,
      real_parent: { tgid: 1, comm: "init" },
      mm: { exe_file: { f_inode: { i_ino: 77n, i_mode: 0o100755 } } },
      cred: { uid: { val: 1000 } },
      se: { vruntime: 2n ** 63n },
    });
    assert.is(task.type, "struct task_struct");
    assert.is(task.get("pid"), 42);
    assert.is(task.get("comm"), "bash");
    assert.is(task.get("static_prio"), -5);
    assert.is(task.get("in_execve"), 1);
    assert.is(task.get("real_parent.comm"), "init");
    assert.is(task.get("mm.exe_file.f_inode.i_ino"), 77n);
    assert.is(task.get("cred.uid.val"), 1000);
    assert.is(task.get("se.vruntime"), 2n ** 63n);
    assert.ok((task.get("mm") as bigint) >= 0xffff_8000_0000_0000n, "kernel addresses look like the kernel's");
    task.set({ pid: 43 });
    assert.equal([task.get("pid"), task.get("comm")], [43, "bash"]);
    const sock = kernel.struct("sock", {
      __sk_common: { skc_family: 2, skc_state: 10 },
      sk_kern_sock: 1,
      sk_protocol: 6,
    });
    assert.equal([sock.get("__sk_common.skc_state"), sock.get("sk_kern_sock"), sock.get("sk_protocol")], [10, 1, 6]);
    const map = kernel.struct("bpf_map", { map_type: "BPF_MAP_TYPE_HASH", name: "counts" });
    assert.equal([map.get("map_type"), map.get("name")], [1, "counts"]);
    assert.throws(
      () => kernel.struct("bpf_map", { map_type: "BPF_MAP_TYPE_HSAH" }),
      /did you mean BPF_MAP_TYPE_HASH\?/,
    );
  });

  test(`${name}: list heads are empty until objects are linked into them`, () => {
    const kernel = objectsOf(name);
    const parent = kernel.struct("task_struct", { pid: 1 });
    const at = kernel.addressOf(parent, "children");
    assert.equal(parent.get("children"), { next: at, prev: at });
    const children = [2, 3, 4].map((pid) => kernel.struct("task_struct", { pid }));
    kernel.list(parent, "children", children, "sibling");
    const offset = kernel.addressOf(children[0]!, "sibling") - children[0]!.address;
    const pids: unknown[] = [];
    for (
      let node = parent.get("children.next") as bigint;
      node !== at;
      node = kernel.at("list_head", node).get("next") as bigint
    )
      pids.push(kernel.at("task_struct", node - offset).get("pid"));
    assert.equal(pids, [2, 3, 4]);
    assert.is(parent.get("children.prev"), kernel.addressOf(children[2]!, "sibling"));
  });

  test(`${name}: a task has what tools follow: parents, arguments, files, cgroups, namespaces`, () => {
    const kernel = objectsOf(name);
    const task = makeTask(kernel, {
      pid: 42,
      tgid: 40,
      uid: 1000,
      argv: ["bash", "-l"],
      exe: { path: "/usr/bin/bash", ino: 9 },
      cwd: "/home/u",
      parent: { pid: 7, parent: { pid: 1 } },
      namespaces: { pid: 4026531836, mnt: 11, net: 12, uts: 13 },
      cgroup: { id: 55, name: "app", parent: { id: 2, name: "user", parent: { id: 1 } } },
    });
    assert.equal([task.get("real_parent.pid"), task.get("real_parent.real_parent.pid")], [7, 1]);
    assert.equal([task.get("cred.euid.val"), task.get("tgid")], [1000, 40]);
    const start = task.get("mm.arg_start") as bigint;
    assert.ok(start < 1n << 47n, "arguments are in user memory");
    assert.is(Buffer.from(kernel.memory.read(start, 8)!).toString(), "bash\0-l\0");
    assert.is(task.get("mm.exe_file.f_inode.i_ino"), 9n);
    assert.is(pathAt(kernel, kernel.addressOf(task, "mm.exe_file.f_path")), "/usr/bin/bash");
    assert.is(pathAt(kernel, kernel.addressOf(task, "fs.pwd")), "/home/u");
    assert.is(task.get("nsproxy.pid_ns_for_children.ns.inum"), 4026531836);
    assert.is(task.get("cgroups.dfl_cgrp.kn.id"), 55n);
    const css = kernel.at("struct css_set", task.get("cgroups") as bigint);
    const line = cgroupLine(kernel, kernel.at("struct cgroup", css.get("dfl_cgrp") as bigint));
    assert.equal(
      line.map((a) => cgroupId(kernel, a)),
      [1n, 2n, 55n],
    );
  });

  test(`${name}: sockets look the same from both sides of the interface`, () => {
    const world = new KernelWorld(objectsOf(name));
    const tcp = world.socket({
      local: "10.0.0.1",
      localPort: 443,
      remote: "192.0.2.7",
      remotePort: 50_000,
      tcp: { srtt_us: 8000 },
    });
    const sk = "inet_conn.icsk_inet.sk.__sk_common";
    assert.equal(
      [
        tcp.kernel.get(`${sk}.skc_num`),
        tcp.kernel.get(`${sk}.skc_dport`),
        tcp.kernel.get(`${sk}.skc_daddr`),
        tcp.kernel.get("srtt_us"),
      ],
      [443, ((50_000 & 0xff) << 8) | (50_000 >> 8), 0x070200c0, 8000],
    );
    const six = world.socket({ protocol: "udp", local: "fd00::1", localPort: 53 });
    assert.equal(
      [...(six.kernel.get("inet.sk.__sk_common.skc_v6_rcv_saddr.in6_u.u6_addr8") as Uint8Array).subarray(0, 2)],
      [0xfd, 0],
    );
    assert.is(world.socketAt(tcp.kernel.address), tcp);
    assert.throwsCode(
      () => world.socket({ local: "10.0.0.1", remote: "fd00::1" }),
      "ARGUMENT",
      /socket\.remote: expected an address of the same family/,
    );
  });
}

test("what does not fit is refused with its path, and nothing is left behind", () => {
  const kernel = objectsOf("6.18");
  const cases: [() => unknown, string | RegExp][] = [
    [() => kernel.struct("task_strukt"), /^type: this kernel has no type "task_strukt"; did you mean task_struct\?/],
    [
      () => kernel.struct("task_struct", { pidd: 1 }),
      "pidd: struct task_struct of this kernel has no member pidd; did you mean pid?",
    ],
    [() => kernel.struct("task_struct", { pid: 2 ** 32 }), /^pid: expected an integer of 32 bits/],
    [
      () => kernel.struct("task_struct", { mm: { exe_file: { f_inode: { i_inoo: 1 } } } }),
      /^mm\.exe_file\.f_inode\.i_inoo: struct inode/,
    ],
    [() => kernel.struct("task_struct", { comm: "x".repeat(17) }), "comm: expected at most 16 bytes, got 17"],
    [() => kernel.struct("task_struct", { in_execve: 2 }), "in_execve: expected an integer of 1 bits (0 or 1), got 2"],
    [
      () => kernel.struct("task_struct", { mm: kernel.struct("file") }),
      "mm: expected a struct mm_struct, got a struct file",
    ],
    [() => kernel.struct("task_struct").get("mm.owner"), "mm.owner: the pointer before it is NULL"],
    [() => kernel.struct("task_struct").get("comm[99]"), "comm[99]: the array has 16 elements"],
    [() => kernel.list(kernel.struct("task_struct"), "comm", [], "sibling"), /^comm: expected a list_head/],
  ];
  for (const [make, message] of cases) assert.throwsCode(make, "ARGUMENT", message);
});

test("every member of every struct that contexts lead to takes a value and gives it back", () => {
  const kernel = objectsOf("6.18");
  const { btf } = kernel;
  const structs = [
    "task_struct",
    "mm_struct",
    "file",
    "inode",
    "sk_buff",
    "sock",
    "tcp_sock",
    "net_device",
    "cgroup",
    "bpf_map",
    "linux_binprm",
    "cred",
  ];
  let checked = 0;
  fc.assert(
    fc.property(fc.constantFrom(...structs), fc.nat(), fc.bigInt(0n, 2n ** 64n - 1n), (struct, index, bits) => {
      const type = btf.findByName(struct, "struct")!;
      const members = type.members.filter((m) => m.name !== "");
      const member: BtfMember = members[index % members.length]!;
      const target = resolve(btf, member.type);
      if (target.kind !== "int" && target.kind !== "ptr" && target.kind !== "enum") return;
      const size = member.bitSize === 0 ? sizeOf(btf, member.type) * 8 : member.bitSize;
      if (size > 64) return;
      const raw = BigInt.asUintN(size, bits);
      const bool = target.kind === "int" && target.bool;
      const signed = "signed" in target && target.signed;
      const value = bool ? (raw & 1n) === 1n : signed ? BigInt.asIntN(size, raw) : raw;
      const object = kernel.struct(struct, { [member.name]: value });
      const got = object.get(member.name);
      assert.is(bool ? got : BigInt(got as number | bigint), value, `${struct}.${member.name}`);
      const found = findMember(btf, type.id, member.name)!;
      // Nothing else was written, but for the list heads.
      if (member.bitSize === 0 && raw !== 0n && !bool) {
        const bytes = kernel.memory.read(object.address + BigInt(found.bitOffset / 8), size / 8)!;
        assert.is(
          bytes.reduceRight((sum, b) => (sum << 8n) | BigInt(b), 0n),
          raw,
        );
      }
      kernel.memory.free(object.address);
      checked++;
    }),
    { numRuns: runs(600) },
  );
  assert.ok(checked > 100);
});

test("arbitrary values for arbitrary members: taken, or an ArgumentError", () => {
  const kernel = objectsOf("6.12");
  const value: fc.Arbitrary<FieldValue> = fc.letrec<{ value: FieldValue }>((tie) => ({
    value: fc.oneof(
      { depthSize: "small" },
      fc.integer(),
      fc.bigInt(),
      fc.double(),
      fc.string(),
      fc.boolean(),
      fc.constant(null),
      fc.uint8Array({ maxLength: 40 }),
      fc.array(tie("value"), { maxLength: 3 }),
      fc.dictionary(fc.constantFrom("pid", "comm", "mm", "val", "next", "f_path", "flags", "name", "x"), tie("value"), {
        maxKeys: 3,
      }),
    ) as fc.Arbitrary<FieldValue>,
  })).value;
  const names = packagedKernel("6.12")
    .btf.findByName("task_struct", "struct")!
    .members.map((m) => m.name)
    .filter((n) => n !== "");
  fc.assert(
    fc.property(
      fc.dictionary(fc.constantFrom(...names, "nonsense"), value, { maxKeys: 4 }),
      fc.string(),
      (fields, path) => {
        for (const act of [
          () => kernel.struct("task_struct", fields),
          () => kernel.struct("task_struct").get(path),
          () => kernel.struct(path, fields),
        ]) {
          try {
            act();
          } catch (error) {
            if (!(error instanceof ArgumentError) && !(error instanceof BpfkitError)) throw error;
          }
        }
      },
    ),
    { numRuns: runs(300) },
  );
});

test("damaged types give typed errors, whatever is built by them", () => {
  const whole = packagedKernel("6.1").btf.bytes;
  const types = packagedKernel("6.1").btf.typeSectionOffset;
  const struct = packagedKernel("6.1").btf.findId("task_struct", "struct");
  const start = types + packagedKernel("6.1").btf.wordOf(struct) * 4;
  fc.assert(
    fc.property(
      fc.array(
        fc.tuple(
          fc.oneof(
            fc.nat(3000).map((n) => start + n),
            fc.nat(whole.length - 1),
          ),
          fc.integer({ min: 0, max: 255 }),
        ),
        { minLength: 1, maxLength: 30 },
      ),
      (edits) => {
        const damaged = new Uint8Array(whole);
        for (const [at, value] of edits) damaged[at] = value;
        try {
          const kernel = new KernelObjects(Btf.parse(damaged), new PlainMemory());
          const task = makeTask(kernel, {
            pid: 3,
            argv: ["x"],
            exe: "/bin/x",
            cwd: "/",
            cgroup: { id: 1 },
            parent: { pid: 1 },
          });
          for (const path of [
            "pid",
            "comm",
            "real_parent.tgid",
            "mm.exe_file.f_inode.i_ino",
            "se",
            "children",
            "thread",
          ])
            task.get(path);
          task.set({ comm: "y", prio: 3, in_execve: 1 });
        } catch (error) {
          if (!(error instanceof BpfkitError)) throw error;
        }
      },
    ),
    { numRuns: Math.min(runs(60), 20_000) },
  );
});
