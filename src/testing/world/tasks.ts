/** Tasks: struct task_struct and what hangs on it. */
import { encodeUtf8 } from "../../core/bytes.ts";
import { ArgumentError } from "../../core/errors.ts";
import { type FileSpec, makeFile, makePath } from "./files.ts";
import type { KernelObjects } from "./objects.ts";
import type { Fields, KernelObject } from "./types.ts";
import { isKernelObject } from "./values.ts";

/** A control group of version 2. */
export interface CgroupSpec {
  /** What `bpf_get_current_cgroup_id` gives: the inode number of its directory. */
  readonly id: number | bigint;
  /** Name of its directory; "" for the root. */
  readonly name?: string;
  readonly parent?: CgroupSpec | KernelObject;
}

/** A task. What is not named is 0 or empty; members of the struct may be given by their own names. */
export interface TaskSpec {
  /** Thread id; default that of the process, or 1. */
  readonly pid?: number;
  /** Process id; default that of the thread. */
  readonly tgid?: number;
  readonly uid?: number;
  readonly gid?: number;
  /** Effective ids; default the real ones. */
  readonly euid?: number;
  readonly egid?: number;
  /** At most 15 bytes; default "test". */
  readonly comm?: string;
  readonly parent?: TaskSpec | KernelObject;
  /** Nanoseconds since boot. */
  readonly startTime?: number | bigint;
  readonly exitCode?: number;
  /** Arguments and environment, in user memory where `mm->arg_start` and `env_start` point. */
  readonly argv?: readonly string[];
  readonly env?: readonly string[];
  /** The program's file: `mm->exe_file`. */
  readonly exe?: string | FileSpec;
  /** Current directory: `fs->pwd`. */
  readonly cwd?: string;
  readonly cgroup?: CgroupSpec | KernelObject;
  /** Inode numbers of namespaces: `{ pid: 4026531836, mnt: …, net: … }`. */
  readonly namespaces?: Readonly<Partial<Record<"pid" | "mnt" | "net" | "uts" | "ipc" | "user", number>>>;
  /** Other members of struct task_struct, and those above in another way. */
  readonly struct?: Fields;
}

const COMM_LENGTH = 15;
const MAX_PARENTS = 64;

/**
 * A `struct task_struct` with credentials, parents, memory map, working directory, control group and namespaces, as far as
 * this kernel has them.
 *
 * @throws ArgumentError with the field's path
 * @example
 * const task = makeTask(kernel, { pid: 42, comm: "bash", argv: ["bash", "-l"], exe: "/bin/bash", parent: { pid: 1 } });
 */
export function makeTask(objects: KernelObjects, spec: TaskSpec, depth = 0): KernelObject {
  if (depth > MAX_PARENTS) throw new ArgumentError("task.parent", `expected at most ${MAX_PARENTS} generations`);
  const { pid = spec.tgid ?? 1, tgid = pid, uid = 0, gid = 0, comm = "test", parent } = spec;
  if (typeof comm !== "string" || encodeUtf8(comm).length > COMM_LENGTH)
    throw new ArgumentError("task.comm", `expected at most ${COMM_LENGTH} bytes, got ${JSON.stringify(comm)}`);
  const cred = objects.struct("cred", {
    uid: { val: uid },
    gid: { val: gid },
    suid: { val: uid },
    sgid: { val: gid },
    euid: { val: spec.euid ?? uid },
    egid: { val: spec.egid ?? gid },
    fsuid: { val: spec.euid ?? uid },
    fsgid: { val: spec.egid ?? gid },
  });
  const above =
    parent === undefined ? undefined : isKernelObject(parent) ? parent : makeTask(objects, parent, depth + 1);
  const usual = objects.known("task_struct", {
    pid,
    tgid,
    comm,
    cred,
    real_cred: cred,
    start_time: spec.startTime ?? 0,
    start_boottime: spec.startTime ?? 0,
    exit_code: spec.exitCode ?? 0,
    // The default priority, as `nice 0` has it.
    prio: 120,
    static_prio: 120,
    normal_prio: 120,
    ...(above === undefined ? {} : { real_parent: above, parent: above }),
    mm: memoryMap(objects, spec),
    ...(spec.cwd === undefined
      ? {}
      : { fs: objects.struct("fs_struct", { pwd: makePath(objects, spec.cwd), root: makePath(objects, "/") }) }),
    ...(spec.cgroup === undefined ? {} : { cgroups: cssSet(objects, spec.cgroup) }),
    nsproxy: namespaces(objects, spec),
  });
  const task = objects.struct("task_struct", { ...usual, ...spec.struct });
  if (pid === tgid && spec.struct?.["group_leader"] === undefined) task.set({ group_leader: task });
  // The first task is its own parent.
  if (above === undefined && spec.struct?.["real_parent"] === undefined) task.set({ real_parent: task, parent: task });
  return task;
}

/** Texts one behind the other, each with its NUL, in user memory: where they start and end. */
function block(objects: KernelObjects, texts: readonly string[]): { start: bigint; end: bigint } {
  const bytes = encodeUtf8(texts.map((text) => `${text}\0`).join(""));
  const start = bytes.length === 0 ? 0n : objects.bytes(bytes, "user", "arguments or environment");
  return { start, end: start + BigInt(bytes.length) };
}

function memoryMap(objects: KernelObjects, spec: TaskSpec): KernelObject {
  const args = block(objects, spec.argv ?? []);
  const env = block(objects, spec.env ?? []);
  return objects.struct("mm_struct", {
    arg_start: args.start,
    arg_end: args.end,
    env_start: env.start,
    env_end: env.end,
    ...(spec.exe === undefined ? {} : { exe_file: makeFile(objects, spec.exe) }),
  });
}

function namespaces(objects: KernelObjects, spec: TaskSpec): KernelObject {
  const { namespaces: ns = {} } = spec;
  const made = (struct: string, inum: number | undefined): KernelObject | null =>
    inum === undefined ? null : objects.struct(struct, objects.known(struct, { ns: { inum } }));
  return objects.struct(
    "nsproxy",
    objects.known("nsproxy", {
      uts_ns: made("uts_namespace", ns.uts),
      ipc_ns: made("ipc_namespace", ns.ipc),
      mnt_ns: made("mnt_namespace", ns.mnt),
      net_ns: made("net", ns.net),
      pid_ns_for_children: made("pid_namespace", ns.pid),
    }),
  );
}

function cssSet(objects: KernelObjects, cgroup: CgroupSpec | KernelObject): KernelObject {
  return objects.struct("css_set", { dfl_cgrp: isKernelObject(cgroup) ? cgroup : makeCgroup(objects, cgroup) });
}

/** A `struct cgroup` with its node in the file system and its ancestors. */
export function makeCgroup(objects: KernelObjects, spec: CgroupSpec, depth = 0): KernelObject {
  if (depth > MAX_PARENTS) throw new ArgumentError("cgroup.parent", `expected at most ${MAX_PARENTS} generations`);
  const { parent } = spec;
  const above =
    parent === undefined ? undefined : isKernelObject(parent) ? parent : makeCgroup(objects, parent, depth + 1);
  const line = above === undefined ? [] : cgroupLine(objects, above);
  const kn = objects.struct("kernfs_node", {
    ...objects.known("kernfs_node", { id: spec.id, name: spec.name ?? "" }),
    ...(above === undefined
      ? {}
      : objects.known("kernfs_node", { parent: above.get("kn"), __parent: above.get("kn") } as Fields)),
  });
  const known = objects.known("cgroup", { kn, level: line.length });
  // Room for the ancestors and itself at the struct's end.
  const ancestors = objects.known("cgroup", { ancestors: [...line, 0n] });
  const cgroup = objects.struct("cgroup", { ...known, ...ancestors });
  cgroup.set({ self: { cgroup } });
  if (ancestors["ancestors"] !== undefined) {
    const at = objects.place(cgroup.typeId, cgroup.address, `ancestors[${line.length}]`).address;
    objects.memory.write(at, new Uint8Array(BigUint64Array.of(cgroup.address).buffer));
  }
  return cgroup;
}

/** Addresses of a cgroup's ancestors from the root on, itself the last. */
export function cgroupLine(objects: KernelObjects, cgroup: KernelObject): bigint[] {
  const level = Number(cgroup.get("level"));
  const known = objects.known("cgroup", { ancestors: null });
  if (!("ancestors" in known)) return [cgroup.address];
  return Array.from({ length: level + 1 }, (_, i) => cgroup.get(`ancestors[${i}]`) as bigint);
}

/** The id of the cgroup at `address`. */
export function cgroupId(objects: KernelObjects, address: bigint): bigint {
  return BigInt(objects.at("struct cgroup", address).get("kn.id") as bigint | number);
}
