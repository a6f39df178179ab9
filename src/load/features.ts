/**
 * What this kernel can do, found by trying: versions lie (distributions backport).
 * Every probe runs at most once per kernel, and only when its answer is needed.
 */
import { exit, callHelper, mov64Imm } from "../asm/build.ts";
import { encodeInsns } from "../asm/encode.ts";
import { BtfBuilder } from "../btf/builder.ts";
import type { BtfTypeSpec } from "../btf/types.ts";
import { bpf } from "../syscall/attr.ts";
import { btfLoad, mapCreateRaw, progLoad } from "../syscall/bpf.ts";
import type { Kernel } from "../syscall/kernel.ts";
import { BPF_F } from "../uapi/flags.ts";
import { ERRNO } from "../uapi/errno.ts";
import { BPF_MAP_TYPE } from "../uapi/map-types.ts";
import { BPF_PROG_TYPE } from "../uapi/prog-types.ts";
import type { BtfFeatures } from "../elf/btf-image.ts";

const answers = new WeakMap<Kernel, Map<string, boolean>>();

function once(kernel: Kernel, name: string, probe: () => boolean): boolean {
  let known = answers.get(kernel);
  if (known === undefined) answers.set(kernel, (known = new Map()));
  let answer = known.get(name);
  if (answer === undefined) known.set(name, (answer = probe()));
  return answer;
}

/** Closes what the probe made and says whether it could be made. */
function made(kernel: Kernel, result: number): boolean {
  if (result >= 0) kernel.close(result);
  return result >= 0;
}

/** Names of maps and programs. Linux 4.15. */
export function hasObjectNames(kernel: Kernel): boolean {
  return once(kernel, "names", () =>
    made(
      kernel,
      mapCreateRaw(kernel, { type: BPF_MAP_TYPE.ARRAY, keySize: 4, valueSize: 4, maxEntries: 1, name: "bpfkit_probe" }),
    ),
  );
}

/** `BPF_F_MMAPABLE` arrays. Linux 5.5. */
export function hasMmapableArrays(kernel: Kernel): boolean {
  return once(kernel, "mmapable", () =>
    made(
      kernel,
      mapCreateRaw(kernel, {
        type: BPF_MAP_TYPE.ARRAY,
        keySize: 4,
        valueSize: 4,
        maxEntries: 1,
        flags: BPF_F.MMAPABLE,
      }),
    ),
  );
}

/** `expected_attach_type` of a program. Linux 4.17. */
export function hasExpectedAttachType(kernel: Kernel): boolean {
  return once(kernel, "expected_attach_type", () => {
    const insns = encodeInsns([mov64Imm(0, 0), exit()]);
    return made(kernel, progLoad(kernel, { type: BPF_PROG_TYPE.CGROUP_SOCK, insns, expectedAttachType: 2 }).result);
  });
}

/**
 * Links of perf events (BPF_LINK_TYPE_PERF_EVENT), with cookies. Linux 5.15. A link with
 * a file descriptor that is none must be refused for that, not for being unknown.
 */
export function hasPerfLink(kernel: Kernel): boolean {
  return once(kernel, "perf_link", () => {
    const insns = encodeInsns([mov64Imm(0, 0), exit()]);
    const prog = progLoad(kernel, { type: BPF_PROG_TYPE.TRACEPOINT, insns }).result;
    if (prog < 0) return false;
    try {
      const perfEvent = 41;
      const result = bpf(kernel, "LINK_CREATE", { prog_fd: prog, target_fd: 0xffff_ffff, attach_type: perfEvent });
      return result === -ERRNO.EBADF;
    } finally {
      kernel.close(prog);
    }
  });
}

function btfAccepts(kernel: Kernel, name: string, build: (b: BtfBuilder, int: number) => void): boolean {
  return once(kernel, `btf ${name}`, () => {
    const builder = new BtfBuilder();
    const int = builder.int("int", 4, { signed: true });
    build(builder, int);
    return made(kernel, btfLoad(kernel, builder.encode()).result);
  });
}
const add =
  (...types: BtfTypeSpec[]) =>
  (b: BtfBuilder): void =>
    types.forEach((t) => void b.add(t));

/** BTF at all. Linux 4.18. */
export function hasBtf(kernel: Kernel): boolean {
  return btfAccepts(kernel, "", () => {});
}

/** Which BTF kinds the kernel loads. */
export function btfFeatures(kernel: Kernel): BtfFeatures {
  const func =
    (linkage: "static" | "global") =>
    (b: BtfBuilder, int: number): void => {
      const proto = b.add({ kind: "func_proto", type: 0, params: [{ name: "a", type: int }] });
      b.add({ kind: "func", name: "f", type: proto, linkage });
    };
  return {
    func: btfAccepts(kernel, "func", func("static")),
    globalFunc: btfAccepts(kernel, "global func", func("global")),
    datasec: btfAccepts(kernel, "datasec", (b, int) => {
      const v = b.add({ kind: "var", name: "x", type: int, linkage: "static" });
      b.add({ kind: "datasec", name: ".data", size: 4, vars: [{ type: v, offset: 0, size: 4 }] });
    }),
    float: btfAccepts(kernel, "float", add({ kind: "float", name: "float", size: 4 })),
    declTag: btfAccepts(kernel, "decl_tag", (b, int) => {
      const v = b.add({ kind: "var", name: "x", type: int, linkage: "static" });
      b.add({ kind: "decl_tag", name: "tag", type: v, componentIdx: -1, attribute: false });
    }),
    typeTag: btfAccepts(kernel, "type_tag", (b, int) => {
      const t = b.add({ kind: "type_tag", name: "tag", type: int, attribute: false });
      b.add({ kind: "ptr", type: t });
    }),
    enum64: btfAccepts(
      kernel,
      "enum64",
      add({ kind: "enum64", name: "e", size: 8, signed: false, values: [{ name: "A", value: 1n << 40n }] }),
    ),
  };
}

/** Can programs of `type` (`BPF_PROG_TYPE_*`) be loaded? Types that need an attach target are judged by the kernel's errno. */
export function hasProgType(kernel: Kernel, type: number): boolean {
  return once(kernel, `prog ${type}`, () => {
    const insns = encodeInsns([mov64Imm(0, 0), exit()]);
    const result = progLoad(kernel, { type, insns, ...PROG_EXTRAS[type] }).result;
    if (result >= 0) return made(kernel, result);
    // Known types complain about what is missing (a BTF id), unknown ones are EINVAL.
    return NEEDS_TARGET.has(type) && result !== -ERRNO.EPERM;
  });
}
const NEEDS_TARGET: ReadonlySet<number> = new Set([
  BPF_PROG_TYPE.EXT,
  BPF_PROG_TYPE.LSM,
  BPF_PROG_TYPE.TRACING,
  BPF_PROG_TYPE.STRUCT_OPS,
]);
/** What a program type wants before it is accepted: an attach type, the sleepable flag. */
const PROG_EXTRAS: Readonly<Record<number, { expectedAttachType?: number; flags?: number }>> = {
  // Some helpers (get_retval) depend on it, and 0 would mean ingress.
  [BPF_PROG_TYPE.CGROUP_DEVICE]: { expectedAttachType: 6 },
  [BPF_PROG_TYPE.CGROUP_SYSCTL]: { expectedAttachType: 18 },
  [BPF_PROG_TYPE.CGROUP_SOCK_ADDR]: { expectedAttachType: 10 },
  [BPF_PROG_TYPE.CGROUP_SOCKOPT]: { expectedAttachType: 21 },
  [BPF_PROG_TYPE.SK_LOOKUP]: { expectedAttachType: 36 },
  [BPF_PROG_TYPE.SYSCALL]: { flags: BPF_F.SLEEPABLE },
  [BPF_PROG_TYPE.NETFILTER]: { expectedAttachType: 45 },
};

/** Can maps of `type` (`BPF_MAP_TYPE_*`) be made? */
export function hasMapType(kernel: Kernel, type: number): boolean {
  return once(kernel, `map ${type}`, () => {
    const T = BPF_MAP_TYPE;
    const keyless = [T.QUEUE, T.STACK, T.BLOOM_FILTER, T.RINGBUF, T.USER_RINGBUF, T.ARENA].includes(type as never);
    const storage = [T.SK_STORAGE, T.INODE_STORAGE, T.TASK_STORAGE, T.CGRP_STORAGE].includes(type as never);
    const inner = type === T.ARRAY_OF_MAPS || type === T.HASH_OF_MAPS;
    let innerFd = -1;
    let btfFd = -1;
    try {
      if (inner) innerFd = mapCreateRaw(kernel, { type: T.ARRAY, keySize: 4, valueSize: 4, maxEntries: 1 });
      if (storage) {
        const builder = new BtfBuilder();
        builder.int("int", 4, { signed: true });
        btfFd = btfLoad(kernel, builder.encode()).result;
      }
      const ring = type === T.RINGBUF || type === T.USER_RINGBUF;
      const result = mapCreateRaw(kernel, {
        type,
        keySize: keyless
          ? 0
          : type === T.LPM_TRIE
            ? 8
            : type === T.CGROUP_STORAGE || type === T.PERCPU_CGROUP_STORAGE
              ? 8
              : 4,
        valueSize: ring || type === T.ARENA ? 0 : type === T.STACK_TRACE ? 8 : 4,
        maxEntries: ring
          ? kernel.pageSize
          : storage || type === T.CGROUP_STORAGE || type === T.PERCPU_CGROUP_STORAGE
            ? 0
            : 1,
        flags: type === T.LPM_TRIE || storage ? BPF_F.NO_PREALLOC : type === T.ARENA ? BPF_F.MMAPABLE : 0,
        ...(innerFd >= 0 ? { innerMapFd: innerFd } : {}),
        ...(btfFd >= 0 ? { btfFd, btfKeyTypeId: 1, btfValueTypeId: 1 } : {}),
      });
      // A known type whose value type is missing (struct_ops) complains about that.
      return result >= 0
        ? made(kernel, result)
        : type === T.STRUCT_OPS && result !== -ERRNO.EPERM && result !== -ERRNO.EINVAL;
    } finally {
      if (innerFd >= 0) kernel.close(innerFd);
      if (btfFd >= 0) kernel.close(btfFd);
    }
  });
}

/**
 * May programs of `type` call helper `id`? Judged by what the verifier says: a helper
 * that exists but got wrong arguments may be called.
 */
export function hasHelper(kernel: Kernel, type: number, id: number): boolean {
  return once(kernel, `helper ${type} ${id}`, () => {
    const insns = encodeInsns([callHelper(id), mov64Imm(0, 0), exit()]);
    const { result, log } = progLoad(kernel, { type, insns, logLevel: 1, logSize: 4096, ...PROG_EXTRAS[type] });
    if (result >= 0) return made(kernel, result);
    return log !== "" && !/cannot use helper|invalid func|unknown func/.test(log);
  });
}
