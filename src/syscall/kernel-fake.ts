/**
 * A kernel played from memory: maps that hold entries, programs that are accepted
 * unread, links and perf events that only exist. It counts what is open, fails at the
 * nth acquisition when told to, and so proves without root that what was acquired
 * before a failure is released.
 */
import { BPF_CMD } from "../uapi/commands.ts";
import { ERRNO } from "../uapi/errno.ts";
import { hostEndian } from "../core/bytes.ts";
import { ATTR_LAYOUTS, type AttrCommand } from "./attr-layout.ts";
import { layoutOf } from "./attr.ts";
import type { Kernel, PollHandle } from "./kernel.ts";

const LITTLE = hostEndian === "little";
/** Every byte array is put into a 4 GiB slot of its own, so that an address says which it is. */
const SLOT = 2 ** 32;
const ARRAY_TYPES: ReadonlySet<number> = new Set([2, 6]);

export interface FakeCall {
  /** Such as "BPF_MAP_CREATE", "perf_event_open" or "close". */
  readonly name: string;
  readonly result: number;
}
export interface FakeOptions {
  readonly release?: string;
  /** Files by path: what /proc and /sys would say. */
  readonly files?: Readonly<Record<string, string | Uint8Array>>;
  /** The nth call that would acquire something (from 1) fails with `errno` (ENOMEM by default). */
  readonly failAt?: number;
  readonly errno?: number;
  /** Verdict on a program: 0 accepts, -errno refuses; the log goes to the caller. */
  readonly verify?: (insns: Uint8Array) => { readonly result: number; readonly log?: string };
  /** Commands that this kernel does not know (EINVAL), such as "LINK_CREATE" before 5.7. */
  readonly lacks?: readonly AttrCommand[];
}

interface FakeMap {
  readonly kind: "map";
  readonly type: number;
  readonly keySize: number;
  readonly valueSize: number;
  readonly maxEntries: number;
  readonly entries: Map<string, Uint8Array>;
  frozen: boolean;
}
interface FakeObject {
  readonly kind: "prog" | "btf" | "link" | "perf" | "file" | "mount";
}

export class FakeKernel implements Kernel {
  readonly release: string;
  readonly pageSize = 4096;
  readonly calls: FakeCall[] = [];
  readonly #options: FakeOptions;
  readonly #files: Map<string, Uint8Array>;
  readonly #fds = new Map<number, FakeMap | FakeObject>();
  readonly #slots = new Map<number, Uint8Array>();
  readonly #bases = new WeakMap<ArrayBufferLike, number>();
  readonly #mappings = new Map<number, number>();
  #nextFd = 10;
  #nextSlot = 1;
  #acquired = 0;

  constructor(options: FakeOptions = {}) {
    this.#options = options;
    this.release = options.release ?? "6.18.0-fake";
    const encode = (x: string | Uint8Array): Uint8Array => (typeof x === "string" ? new TextEncoder().encode(x) : x);
    this.#files = new Map(
      Object.entries({ ...DEFAULT_FILES, ...options.files }).map(([path, text]) => [path, encode(text)]),
    );
  }

  /** What is open now: kinds of descriptors and mappings. Empty when everything was given back. */
  get held(): string[] {
    return [...[...this.#fds.values()].map((o) => o.kind), ...[...this.#mappings.keys()].map(() => "mapping")];
  }
  /** How many acquisitions there were, failed ones included. */
  get acquisitions(): number {
    return this.#acquired;
  }

  #log(name: string, result: number): number {
    this.calls.push({ name, result });
    return result;
  }

  /** Gives out a descriptor, or fails when it is this one's turn. */
  #acquire(object: FakeMap | FakeObject): number {
    if (++this.#acquired === this.#options.failAt) return -(this.#options.errno ?? ERRNO.ENOMEM);
    const fd = this.#nextFd++;
    this.#fds.set(fd, object);
    return fd;
  }

  bpf(cmd: number, attr: Uint8Array): number {
    const name = COMMAND_NAMES.get(cmd);
    if (name === undefined || this.#options.lacks?.includes(name) === true)
      return this.#log(`BPF_${name ?? cmd}`, -ERRNO.EINVAL);
    return this.#log(`BPF_${name}`, this.#command(name, new Attr(name, attr)));
  }
  bpfAt(cmd: number, attrAddress: number, size: number): number {
    return this.bpf(cmd, this.#bytesAt(attrAddress, size));
  }

  #command(name: AttrCommand, attr: Attr): number {
    switch (name) {
      case "MAP_CREATE":
        return this.#createMap(attr);
      case "PROG_LOAD":
        return this.#loadProg(attr);
      case "BTF_LOAD":
        return this.#acquire({ kind: "btf" });
      case "LINK_CREATE":
      case "RAW_TRACEPOINT_OPEN":
        if (!this.#has(attr.u32("prog_fd"), "prog")) return -ERRNO.EBADF;
        return this.#acquire({ kind: "link" });
      case "MAP_LOOKUP_ELEM":
      case "MAP_LOOKUP_AND_DELETE_ELEM":
      case "MAP_UPDATE_ELEM":
      case "MAP_DELETE_ELEM":
      case "MAP_GET_NEXT_KEY":
      case "MAP_FREEZE":
        return this.#element(name, attr);
      case "OBJ_PIN":
        return 0;
      default:
        return -ERRNO.EINVAL;
    }
  }

  #createMap(attr: Attr): number {
    const map: FakeMap = {
      kind: "map",
      type: attr.u32("map_type"),
      keySize: attr.u32("key_size"),
      valueSize: attr.u32("value_size"),
      maxEntries: attr.u32("max_entries"),
      entries: new Map(),
      frozen: false,
    };
    if (ARRAY_TYPES.has(map.type)) {
      if (map.keySize !== 4 || map.maxEntries === 0 || map.valueSize === 0) return -ERRNO.EINVAL;
      for (let i = 0; i < map.maxEntries; i++)
        map.entries.set(hex(new Uint8Array(new Uint32Array([i]).buffer)), new Uint8Array(map.valueSize));
    }
    return this.#acquire(map);
  }

  #loadProg(attr: Attr): number {
    const insns = this.#bytesAt(attr.u64("insns"), attr.u32("insn_cnt") * 8).slice();
    const verdict = this.#options.verify?.(insns) ?? { result: 0 };
    const logSize = attr.u32("log_size");
    if (logSize > 0 && verdict.log !== undefined) {
      const text = new TextEncoder().encode(`${verdict.log}\0`);
      if (text.length > logSize) return -ERRNO.ENOSPC;
      this.#bytesAt(attr.u64("log_buf"), logSize).set(text);
    }
    return verdict.result < 0 ? verdict.result : this.#acquire({ kind: "prog" });
  }

  #element(name: AttrCommand, attr: Attr): number {
    const map = this.#fds.get(attr.u32("map_fd"));
    if (map?.kind !== "map") return -ERRNO.EBADF;
    if (name === "MAP_FREEZE") {
      map.frozen = true;
      return 0;
    }
    if (name === "MAP_GET_NEXT_KEY") return this.#nextKey(map, attr);
    const key = hex(this.#bytesAt(attr.u64("key"), map.keySize));
    const there = map.entries.get(key);
    switch (name) {
      case "MAP_UPDATE_ELEM": {
        if (map.frozen) return -ERRNO.EPERM;
        const mode = attr.u32("flags");
        if (mode === 1 && there !== undefined) return -ERRNO.EEXIST;
        if (mode === 2 && there === undefined) return -ERRNO.ENOENT;
        if (there === undefined && map.entries.size >= map.maxEntries) return -ERRNO.E2BIG;
        map.entries.set(key, this.#bytesAt(attr.u64("value"), map.valueSize).slice());
        return 0;
      }
      case "MAP_DELETE_ELEM":
        if (ARRAY_TYPES.has(map.type)) return -ERRNO.EINVAL;
        return map.entries.delete(key) ? 0 : -ERRNO.ENOENT;
      default:
        if (there === undefined) return -ERRNO.ENOENT;
        this.#bytesAt(attr.u64("value"), map.valueSize).set(there);
        if (name === "MAP_LOOKUP_AND_DELETE_ELEM") map.entries.delete(key);
        return 0;
    }
  }

  #nextKey(map: FakeMap, attr: Attr): number {
    const keys = [...map.entries.keys()];
    const at = attr.u64("key");
    const index = at === 0 ? -1 : keys.indexOf(hex(this.#bytesAt(at, map.keySize)));
    const next = keys[index + 1];
    if (next === undefined) return -ERRNO.ENOENT;
    this.#bytesAt(attr.u64("next_key"), map.keySize).set(
      Uint8Array.from(next.match(/../g) ?? [], (b) => Number.parseInt(b, 16)),
    );
    return 0;
  }

  perfEventOpen(): number {
    return this.#log("perf_event_open", this.#acquire({ kind: "perf" }));
  }
  ioctl(fd: number): number {
    return this.#log("ioctl", this.#fds.has(fd) ? 0 : -ERRNO.EBADF);
  }
  mmap(length: number, _prot: number, _flags: number, fd: number): number {
    if (!this.#fds.has(fd)) return this.#log("mmap", -ERRNO.EBADF);
    if (++this.#acquired === this.#options.failAt) return this.#log("mmap", -(this.#options.errno ?? ERRNO.ENOMEM));
    const address = this.address(new Uint8Array(length));
    this.#mappings.set(address, length);
    return this.#log("mmap", address);
  }
  munmap(address: number): number {
    return this.#log("munmap", this.#mappings.delete(address) ? 0 : -ERRNO.EINVAL);
  }
  close(fd: number): number {
    return this.#log("close", this.#fds.delete(fd) ? 0 : -ERRNO.EBADF);
  }
  dup(fd: number): number {
    const object = this.#fds.get(fd);
    return this.#log("dup", object === undefined ? -ERRNO.EBADF : this.#acquire(object));
  }
  open(path: string): number {
    return this.#log("open", this.#files.has(path) ? this.#acquire({ kind: "file" }) : -ERRNO.ENOENT);
  }
  read(): number {
    return this.#log("read", 0);
  }
  readFile(path: string): Uint8Array | number {
    return this.#files.get(path) ?? -ERRNO.ENOENT;
  }
  fileSize(path: string): number {
    return this.#files.get(path)?.length ?? -ERRNO.ENOENT;
  }
  readDir(path: string): readonly string[] | number {
    const names = new Set<string>();
    for (const file of this.#files.keys()) {
      if (file.startsWith(`${path}/`)) names.add(file.slice(path.length + 1).split("/")[0] ?? "");
    }
    return names.size === 0 ? -ERRNO.ENOENT : [...names];
  }
  setMemlock(): number {
    return this.#log("prlimit64", 0);
  }
  detachedMount(): number {
    return this.#log("fsmount", this.#acquire({ kind: "mount" }));
  }
  pollOnce(): number {
    return 0;
  }
  watch(): PollHandle {
    return { close: () => {}, ref: () => {}, unref: () => {} };
  }

  address(bytes: Uint8Array): number {
    let base = this.#bases.get(bytes.buffer);
    if (base === undefined) {
      base = this.#nextSlot++ * SLOT;
      this.#bases.set(bytes.buffer, base);
      this.#slots.set(base, new Uint8Array(bytes.buffer));
    }
    return base + bytes.byteOffset;
  }
  view(address: number, length: number): ArrayBuffer {
    const bytes = this.#bytesAt(address, length);
    return bytes.buffer as ArrayBuffer;
  }

  #bytesAt(address: number, length: number): Uint8Array {
    const base = Math.floor(address / SLOT) * SLOT;
    const slot = this.#slots.get(base);
    const at = address - base;
    if (slot === undefined || at + length > slot.length)
      throw new RangeError(`the fake kernel was given a bad address 0x${address.toString(16)} for ${length} bytes`);
    return slot.subarray(at, at + length);
  }
  #has(fd: number, kind: string): boolean {
    return this.#fds.get(fd)?.kind === kind;
  }
}

const DEFAULT_FILES: Readonly<Record<string, string>> = {
  "/sys/devices/system/cpu/possible": "0-1\n",
  "/sys/devices/system/cpu/online": "0-1\n",
  "/sys/bus/event_source/devices/uprobe/type": "8\n",
  "/sys/bus/event_source/devices/kprobe/type": "6\n",
  "/sys/kernel/tracing/events/sched/sched_switch/id": "372\n",
};

const COMMAND_NAMES: ReadonlyMap<number, AttrCommand> = new Map(
  (Object.keys(ATTR_LAYOUTS) as AttrCommand[]).map((name) => [BPF_CMD[name], name]),
);

/** The fields of an attr that came; those past its end are zero. */
class Attr {
  readonly #view: DataView;
  readonly #fields: ReturnType<typeof layoutOf>["fields"];

  constructor(name: AttrCommand, bytes: Uint8Array) {
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.#fields = layoutOf(ATTR_LAYOUTS[name]).fields;
  }
  u32(field: string): number {
    const offset = this.#fields.get(field)?.offset ?? 0;
    return offset + 4 <= this.#view.byteLength ? this.#view.getUint32(offset, LITTLE) : 0;
  }
  u64(field: string): number {
    const offset = this.#fields.get(field)?.offset ?? 0;
    return offset + 8 <= this.#view.byteLength ? Number(this.#view.getBigUint64(offset, LITTLE)) : 0;
  }
}

function hex(bytes: Uint8Array): string {
  return Array.from(bytes, (b) => b.toString(16).padStart(2, "0")).join("");
}
