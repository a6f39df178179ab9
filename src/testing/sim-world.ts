/** The world of one simulation: tasks, kernel objects and contexts in the VM's memory. */
import { ArgumentError, NotSupportedError } from "../core/errors.ts";
import type { ProgSpec } from "../elf/spec.ts";
import type { Vm } from "../vm/vm.ts";
import type { TestKernel } from "./kernel.ts";
import { VmWorldMemory } from "./world-memory.ts";
import type { ContextEnv } from "./world/contexts/env.ts";
import { makeContext } from "./world/contexts/make.ts";
import { KernelObjects } from "./world/objects.ts";
import { type CgroupSpec, type TaskSpec, makeTask } from "./world/tasks.ts";
import type { ContextValue, KernelObject, KernelTypes, MadeContext, Space } from "./world/types.ts";
import { isKernelObject, shown } from "./world/values.ts";
import { KernelWorld } from "./world/world.ts";

/** A context by the names of its fields, or bytes. */
export type RunInput = ContextValue;

/** A task, and what its stacks hold. */
export interface TaskFields extends TaskSpec {
  /** Instruction addresses, innermost first. */
  readonly userStack?: readonly bigint[];
  readonly kernelStack?: readonly bigint[];
}

export interface SimTask {
  readonly pid: number;
  readonly tgid: number;
  /** Its struct task_struct. @throws NotSupportedError without kernel types */
  readonly struct: KernelObject;
}

export class SimWorld {
  readonly #vm: Vm;
  readonly #kernel: TestKernel;
  readonly #memory: VmWorldMemory;
  #objects: KernelObjects | undefined;
  #kernelWorld: KernelWorld | undefined;
  #task: SimTask | undefined;

  constructor(vm: Vm, kernel: TestKernel) {
    this.#vm = vm;
    this.#kernel = kernel;
    this.#memory = new VmWorldMemory(vm.memory);
  }

  /** @throws NotSupportedError without kernel types */
  get #types(): KernelTypes {
    if (this.#kernel.types !== undefined) return this.#kernel.types;
    throw new NotSupportedError(
      "kernel types",
      `nothing is known of the types of Linux ${this.#kernel.name}: choose a kernel that comes with the package, or give its BTF as \`btf\``,
    );
  }
  get objects(): KernelObjects {
    return (this.#objects ??= new KernelObjects(this.#types.btf, this.#memory));
  }

  /** Sockets, files, devices and routes, and the current task. @throws NotSupportedError without kernel types */
  get kernel(): KernelWorld {
    const world = (this.#kernelWorld ??= new KernelWorld(this.objects));
    world.current = this.current.struct;
    return world;
  }

  memory(contents: Uint8Array | string, space: Space): bigint {
    const bytes = typeof contents === "string" ? new TextEncoder().encode(`${contents}\0`) : contents;
    if (!(bytes instanceof Uint8Array))
      throw new ArgumentError("contents", `expected bytes or text, got ${shown(bytes)}`);
    if (space !== "kernel" && space !== "user")
      throw new ArgumentError("space", `expected "kernel" or "user", got ${shown(space)}`);
    const at = this.#memory.alloc(bytes.length, space, `${space} memory`);
    this.#memory.write(at, bytes);
    return at;
  }

  /** Makes a task and lets programs run in it. */
  task(fields: TaskFields): SimTask {
    if (typeof fields !== "object" || fields === null)
      throw new ArgumentError("task", `expected its fields, got ${shown(fields)}`);
    const task = new MadeTask(this, fields);
    const { comm, uid = 0, gid = 0, userStack = [], kernelStack = [] } = fields;
    this.#vm.world.setTask({
      pid: task.pid,
      tgid: task.tgid,
      uid,
      gid,
      comm: comm ?? "test",
      userStack,
      kernelStack,
      ...(fields.cgroup === undefined ? {} : { cgroupId: idOf(fields.cgroup) }),
    });
    return (this.#task = task);
  }
  /** The task that programs run in. */
  get current(): SimTask {
    return this.#task ?? this.task({});
  }

  context(prog: ProgSpec, input: RunInput): MadeContext {
    return makeContext(prog, input, new Env(this, () => this.#types, this.#vm.world.task.pid));
  }
}

/** Contexts of the uapi need no types: those that do ask for them. */
class Env implements ContextEnv {
  readonly pid: number;
  readonly #world: SimWorld;
  readonly #types: () => KernelTypes;

  constructor(world: SimWorld, types: () => KernelTypes, pid: number) {
    this.#world = world;
    this.#types = types;
    this.pid = pid;
  }
  get kernel(): KernelTypes {
    return this.#types();
  }
  get objects(): KernelObjects {
    return this.#world.objects;
  }
}

const COMM_LENGTH = 15;

class MadeTask implements SimTask {
  readonly pid: number;
  readonly tgid: number;
  readonly #world: SimWorld;
  readonly #fields: TaskFields;
  #struct: KernelObject | undefined;

  constructor(world: SimWorld, fields: TaskFields) {
    const id = (name: "pid" | "tgid" | "uid" | "gid", otherwise: number): number => {
      const value = fields[name] ?? otherwise;
      if (!Number.isInteger(value) || value < 0 || value > 0xffff_ffff)
        throw new ArgumentError(`task.${name}`, `expected an integer from 0 to 2^32-1, got ${shown(value)}`);
      return value;
    };
    this.#world = world;
    this.#fields = fields;
    this.pid = id("pid", fields.tgid ?? 1);
    this.tgid = id("tgid", this.pid);
    id("uid", 0);
    id("gid", 0);
    const { comm = "" } = fields;
    if (typeof comm !== "string" || new TextEncoder().encode(comm).length > COMM_LENGTH)
      throw new ArgumentError("task.comm", `expected at most ${COMM_LENGTH} bytes, got ${shown(comm)}`);
  }

  get struct(): KernelObject {
    return (this.#struct ??= makeTask(this.#world.objects, { ...this.#fields, pid: this.pid, tgid: this.tgid }));
  }
}

const idOf = (cgroup: CgroupSpec | KernelObject): bigint =>
  BigInt(isKernelObject(cgroup) ? (cgroup.get("kn.id") as bigint | number) : cgroup.id);
