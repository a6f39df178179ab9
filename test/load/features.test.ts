import { execFileSync } from "node:child_process";
import { existsSync, mkdtempSync, rmdirSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { BTF_KIND, Btf, BtfBuilder } from "../../src/btf/index.ts";
import { BtfImage } from "../../src/elf/btf-image.ts";
import { ALL_BTF_FEATURES } from "../../src/elf/btf-image.ts";
import {
  btfFeatures,
  hasHelper,
  hasMapType,
  hasObjectNames,
  hasPerfLink,
  hasProgType,
  type KvMap,
  load,
  openPinnedLink,
  openPinnedMap,
} from "../../src/load/index.ts";
import { btfLoad, FakeKernel, realKernel } from "../../src/syscall/index.ts";
import { BPF_MAP_TYPE, BPF_PROG_TYPE, MAP_TYPES, PROG_TYPES } from "../../src/uapi/index.ts";
import { assert, suite } from "../harness.ts";
import { kernelAtLeast, requires } from "../kernel.ts";
import { bss, collectionSpec, countingProg, mapSpec, u32, u64 } from "./specs.ts";

const test = suite("load features");
const kernel = realKernel();

test("program types: every one this kernel's version has, but those it was built without", () => {
  requires({ root: true, kernel: "5.8" });
  const optional = new Set(["LIRC_MODE2", "EXT", "STRUCT_OPS", "LSM", "NETFILTER"]);
  for (const row of PROG_TYPES) {
    if (row.id === 0 || optional.has(row.name)) continue;
    assert.is(hasProgType(kernel, row.id), kernelAtLeast(row.since), row.name);
  }
  assert.is(hasProgType(kernel, 1000), false);
});

test("map types: every one this kernel's version has, but those it was built without", () => {
  requires({ root: true, kernel: "5.8" });
  const optional = new Set([
    "STRUCT_OPS",
    "XSKMAP",
    "ARENA",
    "INODE_STORAGE",
    "CGROUP_STORAGE",
    "PERCPU_CGROUP_STORAGE",
  ]);
  for (const row of MAP_TYPES) {
    if (row.id === 0 || optional.has(row.name)) continue;
    assert.is(hasMapType(kernel, row.id), kernelAtLeast(row.since), row.name);
  }
  assert.is(hasMapType(kernel, 1000), false);
});

test("helpers by program type: the verifier is asked, not the version", () => {
  requires({ root: true, kernel: "6.18" });
  const count = (type: number): number =>
    Array.from({ length: 211 }, (_, i) => i + 1).filter((id) => hasHelper(kernel, type, id)).length;
  // Figures that real program loads gave on 6.18; grepping for an old message would say 209 for each.
  assert.is(count(BPF_PROG_TYPE.NETFILTER), 74);
  assert.is(count(BPF_PROG_TYPE.CGROUP_DEVICE), 78);
});

test("what one kernel lacks is found by trying; the fake kernel of old lacks links", () => {
  assert.is(hasPerfLink(new FakeKernel({ lacks: ["LINK_CREATE"] })), false);
  assert.is(hasObjectNames(new FakeKernel()), true);
});

test("this kernel's BTF features follow its version", () => {
  requires({ root: true, kernel: "5.8" });
  const f = btfFeatures(kernel);
  assert.equal(f, {
    func: true,
    datasec: true,
    globalFunc: true,
    float: kernelAtLeast("5.13"),
    declTag: kernelAtLeast("5.16"),
    typeTag: kernelAtLeast("5.17"),
    enum64: kernelAtLeast("6.0"),
  });
});

/** One of everything that older kernels do not know. */
function rich(): { bytes: Uint8Array; ids: Record<string, number> } {
  const b = new BtfBuilder();
  const int = b.int("int", 4, { signed: true });
  const proto = b.add({
    kind: "func_proto",
    type: int,
    params: [
      { name: "a", type: int },
      { name: "b", type: int },
    ],
  });
  const x = b.add({ kind: "var", name: "x", type: int, linkage: "global" });
  const ids = {
    int,
    proto,
    x,
    func: b.add({ kind: "func", name: "f", type: proto, linkage: "global" }),
    float: b.add({ kind: "float", name: "double", size: 8 }),
    tag: b.add({ kind: "decl_tag", name: "note", type: x, componentIdx: -1, attribute: false }),
    typeTag: b.add({ kind: "type_tag", name: "user", type: int, attribute: false }),
    enum64: b.add({
      kind: "enum64",
      name: "big",
      size: 8,
      signed: false,
      values: [
        { name: "A", value: 1n << 40n },
        { name: "B", value: 2n },
      ],
    }),
    data: b.add({ kind: "datasec", name: ".data", size: 4, vars: [{ type: x, offset: 0, size: 4 }] }),
  };
  return { bytes: b.encode(), ids };
}

test("BTF for older kernels: unknown kinds become ones of the same length, ids and sizes stay", () => {
  const { bytes, ids } = rich();
  const same = new BtfImage(Btf.parse(bytes));
  assert.equal(same.sanitize(ALL_BTF_FEATURES), []);
  assert.bytes(same.encode(), bytes);

  const old = new BtfImage(Btf.parse(bytes));
  const notes = old.sanitize({
    func: false,
    datasec: false,
    globalFunc: false,
    float: false,
    declTag: false,
    typeTag: false,
    enum64: false,
  });
  assert.is(notes.length, 8);
  const btf = Btf.parse(old.encode());
  btf.validate();
  const kind = (id: number | undefined): number => btf.kindOf(id ?? 0);
  assert.equal(
    [ids["proto"], ids["func"], ids["float"], ids["tag"], ids["typeTag"], ids["enum64"], ids["data"], ids["x"]].map(
      kind,
    ),
    [
      BTF_KIND.ENUM,
      BTF_KIND.TYPEDEF,
      BTF_KIND.STRUCT,
      BTF_KIND.INT,
      BTF_KIND.CONST,
      BTF_KIND.UNION,
      BTF_KIND.STRUCT,
      BTF_KIND.INT,
    ],
  );
  const float = btf.typeById(ids["float"] ?? 0);
  assert.ok(float.kind === "struct" && float.size === 8 && float.members.length === 0);
  assert.is(btf.nameOf(ids["data"] ?? 0), "_data");
  // Only the linkage of functions is new.
  const global = new BtfImage(Btf.parse(bytes));
  assert.equal(global.sanitize({ ...ALL_BTF_FEATURES, globalFunc: false }), ["global functions (Linux 5.6)"]);
});

test("the kernel takes every sanitised form", () => {
  requires({ root: true, kernel: "4.18" });
  const { bytes } = rich();
  for (const missing of Object.keys(ALL_BTF_FEATURES)) {
    const image = new BtfImage(Btf.parse(bytes));
    const features = { ...ALL_BTF_FEATURES, [missing]: false, ...(missing === "datasec" ? { declTag: false } : {}) };
    image.string("added text");
    image.sanitize(features);
    const { result, log } = btfLoad(kernel, image.encode(), 8192);
    // A FUNC that became a typedef leaves FUNC_PROTO an enum: each form by itself is what an old kernel sees.
    assert.ok(result >= 0, `${missing}: ${log}`);
    kernel.close(result);
  }
});

test("maps and links are pinned, found again and outlive their collection", () => {
  requires({ root: true, kernel: "5.15", package: "/bin/mount" });
  const dir = mkdtempSync(join(tmpdir(), "bpfkit-bpffs-"));
  // In a mount namespace of its own this would be invisible to the machine; a private directory is as good.
  execFileSync("mount", ["-t", "bpf", "bpf", dir]);
  try {
    const schemas = new Map([["counts", { key: u32, value: u64 }]]);
    const spec = collectionSpec(
      [bss(), mapSpec("counts", BPF_MAP_TYPE.HASH, 4, 8, 10, { pinning: "by-name" })],
      [countingProg("probe", "tracepoint/syscalls/sys_enter_getpgid", BPF_PROG_TYPE.TRACEPOINT)],
    );
    const c = load(spec, { schemas, pinDirectory: dir });
    c.map<number, bigint>("counts").set(1, 100n);
    const [link] = c.attach();
    link?.pin(join(dir, "link"));
    c.close();
    assert.ok(existsSync(join(dir, "counts")));
    const map = openPinnedMap(join(dir, "counts"), { key: u32, value: u64 }) as KvMap<number, bigint>;
    assert.is(map.get(1), 100n);
    map.close();
    // Loading again uses the map that is there.
    const again = load(spec, { schemas, pinDirectory: dir });
    assert.is(again.map<number, bigint>("counts").get(1), 100n);
    again.close();
    const other = collectionSpec([mapSpec("counts", BPF_MAP_TYPE.HASH, 8, 8, 10, { pinning: "by-name" })], []);
    assert.throwsCode(() => load(other, { pinDirectory: dir }), "PINNED_MAP", /another shape \(type 1, key 4/);
    const pinned = openPinnedLink(join(dir, "link"));
    assert.ok((pinned.fd ?? -1) >= 0);
    pinned.close();
    assert.throwsCode(() => openPinnedMap(join(dir, "none")), "SYSCALL", /ENOENT.*nothing is pinned there/);
    assert.throwsCode(() => load(spec, { pinDirectory: tmpdir() }), "SYSCALL", /mounted BPF file system/);
  } finally {
    execFileSync("umount", [dir]);
    rmdirSync(dir);
  }
});
