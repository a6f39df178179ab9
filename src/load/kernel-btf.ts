/** The running kernel's BTF and its modules', opened once per kernel. */
import { Btf } from "../btf/btf.ts";
import { CoreResolver } from "../btf/core.ts";
import { NotSupportedError } from "../core/errors.ts";
import { Fd } from "../syscall/fd.ts";
import type { Kernel } from "../syscall/kernel.ts";
import { MAP, PROT } from "../syscall/mmap.ts";
import { objectIds, objectInfo, openById } from "../syscall/bpf.ts";

const DIRECTORY = "/sys/kernel/btf";

/** Where a type was found. `module` is undefined for the kernel proper. */
export interface FoundType {
  readonly btf: Btf;
  readonly id: number;
  readonly module: string | undefined;
}

export class KernelBtf {
  readonly vmlinux: Btf;
  readonly #kernel: Kernel;
  readonly #modules = new Map<string, Btf | undefined>();
  #resolver: CoreResolver | undefined;

  constructor(kernel: Kernel, vmlinux: Btf) {
    this.#kernel = kernel;
    this.vmlinux = vmlinux;
  }

  /** CO-RE candidates of vmlinux; its caches serve every program that is loaded. */
  get resolver(): CoreResolver {
    return (this.#resolver ??= new CoreResolver([this.vmlinux]));
  }

  /** The first type with this name and kind: in vmlinux, else in a module. */
  find(name: string, kind: "func" | "typedef" | "var" | "struct"): FoundType | undefined {
    const id = this.vmlinux.findId(name, kind);
    if (id !== 0) return { btf: this.vmlinux, id, module: undefined };
    for (const module of this.moduleNames()) {
      const btf = this.module(module);
      const found = btf?.findId(name, kind) ?? 0;
      if (btf !== undefined && found >= btf.firstId) return { btf, id: found, module };
    }
    return undefined;
  }

  moduleNames(): readonly string[] {
    const names = this.#kernel.readDir(DIRECTORY);
    return typeof names === "number" ? [] : names.filter((n) => n !== "vmlinux");
  }

  /** Split BTF of a loaded module, or undefined. */
  module(name: string): Btf | undefined {
    if (!this.#modules.has(name)) {
      const bytes = this.#kernel.readFile(`${DIRECTORY}/${name}`);
      this.#modules.set(
        name,
        typeof bytes === "number" ? undefined : Btf.parse(bytes, { base: this.vmlinux, what: `BTF of module ${name}` }),
      );
    }
    return this.#modules.get(name);
  }

  /** An owned fd of a module's BTF, as BPF_PROG_LOAD wants it. Undefined when the module is gone. */
  moduleFd(name: string): Fd | undefined {
    for (const id of objectIds(this.#kernel, "BTF")) {
      const fd = openById(this.#kernel, "BTF", id);
      const nameBytes = new Uint8Array(64);
      const info = objectInfo(this.#kernel, fd.fd, 32, (v) => {
        v.setBigUint64(16, BigInt(this.#kernel.address(nameBytes)), true);
        v.setUint32(24, nameBytes.length, true);
      });
      const kernelBtf = new DataView(info.buffer).getUint32(28, true) !== 0;
      const text = new TextDecoder().decode(nameBytes.subarray(0, Math.max(0, nameBytes.indexOf(0))));
      if (kernelBtf && text === name) return fd;
      fd.close();
    }
    return undefined;
  }
}

const opened = new WeakMap<Kernel, KernelBtf>();

/**
 * The kernel's BTF: mapped where the kernel allows it (Linux 6.16), read else. It stays
 * for the life of the process. Throws `NotSupportedError` when the kernel has none.
 *
 * @example
 * const { vmlinux } = kernelBtf(realKernel());
 * console.log(vmlinux.findByName("task_struct", "struct")?.size);
 */
export function kernelBtf(kernel: Kernel): KernelBtf {
  let btf = opened.get(kernel);
  if (btf === undefined) {
    btf = new KernelBtf(
      kernel,
      Btf.parse(readVmlinux(kernel), { what: "vmlinux BTF", trusted: true, find: findBytes }),
    );
    opened.set(kernel, btf);
  }
  return btf;
}

/** Node searches bytes as fast as text; decoding 2.3 MB of names first would cost 2 ms and the memory. */
function findBytes(bytes: Uint8Array, text: string, from: number): number {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).indexOf(text, from);
}

function readVmlinux(kernel: Kernel): Uint8Array {
  const path = `${DIRECTORY}/vmlinux`;
  const size = kernel.fileSize(path);
  if (size > 0) {
    using fd = openOwned(kernel, path);
    if (fd !== undefined) {
      const address = kernel.mmap(size, PROT.READ, MAP.PRIVATE, fd.fd, 0);
      if (address > 0) return new Uint8Array(kernel.view(address, size));
    }
  }
  const bytes = kernel.readFile(path);
  if (typeof bytes === "number") {
    throw new NotSupportedError(
      "kernel BTF",
      `this kernel has no BTF at ${path}: it is built without CONFIG_DEBUG_INFO_BTF (or older than 5.4). Give a BTF file of this kernel with the option btf`,
      { minKernel: "5.4" },
    );
  }
  return bytes;
}

function openOwned(kernel: Kernel, path: string): Fd | undefined {
  const fd = kernel.open(path, 0);
  return fd < 0 ? undefined : new Fd(kernel, fd, path);
}
