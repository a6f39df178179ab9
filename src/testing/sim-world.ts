/** The world of one simulation: tasks, kernel objects and contexts in the VM's memory. */
import { ArgumentError, NotSupportedError } from "../core/errors.ts";
import type { ProgSpec } from "../elf/spec.ts";
import type { Vm } from "../vm/vm.ts";
import type { TestKernel } from "./kernel.ts";
import { VmWorldMemory } from "./world-memory.ts";
import { KernelObjects } from "./world/objects.ts";
import type { ContextValue, Fields } from "./world/types.ts";

export type RunInput = ContextValue | (Fields & { readonly packet?: Uint8Array });

export interface TaskFields {
  readonly pid?: number;
  readonly tgid?: number;
  readonly uid?: number;
  readonly gid?: number;
  readonly comm?: string;
  readonly parent?: TaskFields;
}
export interface SimTask {
  readonly pid: number;
}

export interface MadeInput {
  readonly ctx?: Uint8Array;
  readonly data?: Uint8Array;
  read(ctx: Uint8Array): Readonly<Record<string, unknown>>;
}

export class SimWorld {
  readonly #vm: Vm;
  readonly #kernel: TestKernel;
  readonly #memory: VmWorldMemory;
  #objects: KernelObjects | undefined;

  constructor(vm: Vm, kernel: TestKernel) {
    this.#vm = vm;
    this.#kernel = kernel;
    this.#memory = new VmWorldMemory(vm.memory);
  }

  /** @throws NotSupportedError without kernel types */
  get objects(): KernelObjects {
    if (this.#kernel.types === undefined) {
      throw new NotSupportedError(
        "kernel types",
        `nothing is known of the types of Linux ${this.#kernel.name}: choose a kernel that comes with the package, or give its BTF as \`btf\``,
      );
    }
    return (this.#objects ??= new KernelObjects(this.#kernel.types.btf, this.#memory));
  }

  task(fields: TaskFields): SimTask {
    const pid = fields.pid ?? fields.tgid ?? this.#vm.world.task.pid;
    this.#vm.world.setTask({
      pid,
      tgid: fields.tgid ?? pid,
      ...(fields.uid === undefined ? {} : { uid: fields.uid }),
      ...(fields.comm === undefined ? {} : { comm: fields.comm }),
    });
    return { pid };
  }

  context(prog: ProgSpec, input: RunInput): MadeInput {
    if (input instanceof Uint8Array) return { data: input, read: () => ({}) };
    if (Object.keys(input).length > 0) throw new ArgumentError("input", `${prog.name}: not yet`);
    return { read: () => ({}) };
  }
}
