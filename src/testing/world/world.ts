/** What programs find in the kernel besides their maps: tasks, cgroups, files, devices, sockets, routes. */
import { ArgumentError } from "../../core/errors.ts";
import { type FileSpec, makeFile } from "./files.ts";
import {
  type DeviceSpec,
  type MadeSocket,
  type Route,
  type RouteSpec,
  type SocketSpec,
  makeDevice,
  makeRoute,
  makeSocket,
} from "./net.ts";
import type { KernelObjects, PerCpuObjects } from "./objects.ts";
import { type CgroupSpec, type TaskSpec, makeCgroup, makeTask } from "./tasks.ts";
import type { FieldValue, KernelObject } from "./types.ts";

/** The sysctl that somebody reads or writes while a CGROUP_SYSCTL program runs. */
export interface SysctlSpec {
  /** With slashes: "net/ipv4/ip_forward". */
  readonly name: string;
  readonly current: string;
  /** What is written; absent: it is read. */
  readonly next?: string;
}

/** What a look-up asks for. */
export interface SocketQuery {
  readonly protocol: number;
  readonly local: Uint8Array;
  readonly localPort: number;
  readonly remote: Uint8Array;
  readonly remotePort: number;
}

/**
 * The kernel's side of a test. Objects are made in the memory of `objects`; helpers find them there (`worldHelpers`).
 *
 * @example
 * const world = new KernelWorld(new KernelObjects(packagedKernel("6.1").btf, new PlainMemory()));
 * world.current = world.task({ pid: 42, comm: "bash", cgroup: { id: 7 } });
 * world.socket({ local: "10.0.0.1", localPort: 80 });
 * world.route({ to: "0.0.0.0/0", ifindex: 2, dmac: "02:00:00:00:00:09" });
 */
export class KernelWorld {
  readonly objects: KernelObjects;
  readonly sockets: MadeSocket[] = [];
  readonly devices: { readonly spec: DeviceSpec; readonly struct: KernelObject }[] = [];
  readonly routes: Route[] = [];
  readonly perCpu: PerCpuObjects[] = [];
  /** Addresses of kernel symbols, for `bpf_kallsyms_lookup_name`. */
  readonly symbols = new Map<string, bigint>();
  /** Options of sockets, by socket, level and name. */
  readonly options = new Map<string, Uint8Array>();
  /** The sysctl that is read or written; a program may change what is written. */
  sysctl: SysctlSpec | undefined;
  readonly #regs = new Map<bigint, KernelObject>();
  #current: KernelObject | undefined;

  constructor(objects: KernelObjects) {
    this.objects = objects;
  }

  /** The task that programs run in: process 1 until another is set. */
  get current(): KernelObject {
    return (this.#current ??= this.task({}));
  }
  set current(task: KernelObject) {
    this.#current = task;
  }

  task(spec: TaskSpec): KernelObject {
    return makeTask(this.objects, spec);
  }
  cgroup(spec: CgroupSpec): KernelObject {
    return makeCgroup(this.objects, spec);
  }
  file(spec: FileSpec | string): KernelObject {
    return makeFile(this.objects, spec);
  }

  /** A socket that look-ups find: the connected one, else the one that listens at the address and port. */
  socket(spec: SocketSpec): MadeSocket {
    const socket = makeSocket(this.objects, spec);
    this.sockets.push(socket);
    return socket;
  }

  device(spec: DeviceSpec): KernelObject {
    if (this.devices.some((d) => d.spec.ifindex === spec.ifindex || d.spec.name === spec.name))
      throw new ArgumentError("device", `there is a device ${spec.ifindex} (${spec.name}) already`);
    const struct = makeDevice(this.objects, spec);
    this.devices.push({ spec, struct });
    return struct;
  }

  route(spec: RouteSpec): void {
    this.routes.push(makeRoute(spec));
  }

  /** The user registers of a task, all 0 until they are set. */
  regsOf(task: bigint): KernelObject {
    let regs = this.#regs.get(task);
    if (regs === undefined) this.#regs.set(task, (regs = this.objects.struct("pt_regs")));
    return regs;
  }

  /** A per-CPU variable, whose address `bpf_per_cpu_ptr` takes. */
  perCpuVariable(type: string, cpus: readonly FieldValue[]): PerCpuObjects {
    const made = this.objects.perCpu(type, cpus);
    this.perCpu.push(made);
    return made;
  }

  /** The socket by its `struct bpf_sock`, `bpf_tcp_sock` or kernel struct. */
  socketAt(address: bigint): MadeSocket | undefined {
    return this.sockets.find(
      (s) => s.address === address || (s.tcp === address && s.tcp !== 0n) || s.kernel.address === address,
    );
  }

  /** The connected socket of these addresses; `listening` too: one that is bound to this end, to the address rather than to any. */
  lookup(query: SocketQuery, listening: boolean): MadeSocket | undefined {
    const same = (a: Uint8Array, b: Uint8Array): boolean =>
      a.length === b.length && a.every((byte, i) => byte === b[i]);
    let best: MadeSocket | undefined;
    for (const socket of this.sockets) {
      if (socket.protocol !== query.protocol || (socket.spec.localPort ?? 0) !== query.localPort) continue;
      if (socket.remote !== undefined) {
        const connected =
          same(socket.remote, query.remote) &&
          same(socket.local, query.local) &&
          (socket.spec.remotePort ?? 0) === query.remotePort;
        if (connected) return socket;
        continue;
      }
      const any = socket.local.every((b) => b === 0);
      if (!listening || socket.local.length !== query.local.length || !(any || same(socket.local, query.local)))
        continue;
      if (best === undefined || !any) best = socket;
    }
    return best;
  }
}
