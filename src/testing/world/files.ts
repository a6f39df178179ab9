/** Files, their inodes and the dentries that lead to them. */
import { ArgumentError } from "../../core/errors.ts";
import type { KernelObjects } from "./objects.ts";
import type { Fields, KernelObject } from "./types.ts";

export interface FileSpec {
  /** Absolute: "/etc/passwd". */
  readonly path: string;
  /** Inode number; default 2. */
  readonly ino?: number | bigint;
  /** Kind and permissions, as stat(2) has them; default 0o100644. */
  readonly mode?: number;
  /** Bytes. */
  readonly size?: number | bigint;
  readonly uid?: number;
  readonly gid?: number;
  readonly nlink?: number;
  /** O_* of open(2). */
  readonly flags?: number;
  readonly pos?: number | bigint;
  /** Device number of the file system, as the kernel has it: major << 20 | minor. */
  readonly dev?: number;
  /** Other members of struct file. */
  readonly struct?: Fields;
  /** Other members of struct inode. */
  readonly inode?: Fields;
}

const DEFAULT_MODE = 0o100644;
/** Longest chain of dentries that is followed. */
const MAX_DEPTH = 256;

/**
 * A `struct file` with inode, dentries up to the root, and mount: `bpf_d_path` gives its path.
 *
 * @throws ArgumentError for a path that is not absolute, or members that do not fit
 */
export function makeFile(objects: KernelObjects, spec: FileSpec | string): KernelObject {
  const file: FileSpec = typeof spec === "string" ? { path: spec } : spec;
  if (typeof file.path !== "string" || !file.path.startsWith("/"))
    throw new ArgumentError("file.path", `expected an absolute path, got ${JSON.stringify(file.path)}`);
  const sb = objects.struct("super_block", objects.known("super_block", { s_dev: file.dev ?? 0x80_0001 }));
  const inode = objects.struct("inode", {
    ...objects.known("inode", {
      i_ino: file.ino ?? 2,
      i_mode: file.mode ?? DEFAULT_MODE,
      i_size: file.size ?? 0,
      i_uid: { val: file.uid ?? 0 },
      i_gid: { val: file.gid ?? 0 },
      i_nlink: file.nlink ?? 1,
      i_sb: sb,
    }),
    ...file.inode,
  });
  const path = makePath(objects, file.path, inode, sb);
  return objects.struct("file", {
    ...objects.known("file", { f_inode: inode, f_flags: file.flags ?? 0, f_pos: file.pos ?? 0, f_path: path }),
    ...file.struct,
  });
}

/** The members of a `struct path`: a mount, and a dentry for each component. */
export function makePath(objects: KernelObjects, path: string, inode?: KernelObject, sb?: KernelObject): Fields {
  const names = path.split("/").filter((name) => name !== "");
  const dentry = (name: string, parent: KernelObject | undefined, last: boolean): KernelObject => {
    const made = objects.struct("dentry", {
      d_name: { name, len: new TextEncoder().encode(name).length },
      ...(parent === undefined ? {} : { d_parent: parent }),
      ...(last && inode !== undefined ? { d_inode: inode } : {}),
      ...(sb === undefined ? {} : { d_sb: sb }),
    });
    // The root is its own parent.
    if (parent === undefined) made.set({ d_parent: made });
    return made;
  };
  const root = dentry("/", undefined, names.length === 0);
  let leaf = root;
  names.forEach((name, i) => {
    leaf = dentry(name, leaf, i === names.length - 1);
  });
  const mount = objects.struct("mount", { mnt: { mnt_root: root, ...(sb === undefined ? {} : { mnt_sb: sb }) } });
  mount.set({ mnt_parent: mount, mnt_mountpoint: root });
  return { mnt: objects.addressOf(mount, "mnt"), dentry: leaf };
}

/** The path of the `struct path` at `address`, as d_path makes it; undefined when that leads nowhere. */
export function pathAt(objects: KernelObjects, address: bigint): string | undefined {
  const names: string[] = [];
  try {
    let at = objects.at("struct path", address).get("dentry") as bigint;
    for (let depth = 0; depth < MAX_DEPTH && at !== 0n; depth++) {
      const dentry = objects.at("struct dentry", at);
      const parent = dentry.get("d_parent") as bigint;
      if (parent === at || parent === 0n) return `/${names.join("/")}`;
      const text = objects.textAt(dentry.get("d_name.name") as bigint);
      if (text === undefined) return undefined;
      names.unshift(text);
      at = parent;
    }
  } catch (error) {
    // A pointer that leads nowhere: the kernel would have crashed, or given an error.
    if (!(error instanceof ArgumentError)) throw error;
  }
  return undefined;
}
