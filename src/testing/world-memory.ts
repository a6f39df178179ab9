/** The world's memory inside a VM: programs read it directly or by `bpf_probe_read_*`. */
import { ArgumentError } from "../core/errors.ts";
import { type Block, READ, WRITE, type VmMemory } from "../vm/memory.ts";
import type { Space, WorldMemory } from "./world/types.ts";

export class VmWorldMemory implements WorldMemory {
  readonly #memory: VmMemory;
  readonly #blocks = new Map<bigint, Block>();

  constructor(memory: VmMemory) {
    this.#memory = memory;
  }

  alloc(size: number, space: Space, name: string, writable = false): bigint {
    // User memory is reached by helpers only.
    const access = space === "user" ? 0 : writable ? READ | WRITE : READ;
    const block = this.#memory.alloc(size, space, name, access);
    const address = BigInt(block.base);
    this.#blocks.set(address, block);
    return address;
  }

  free(address: bigint): void {
    const block = this.#blocks.get(address);
    if (block === undefined) return;
    this.#blocks.delete(address);
    this.#memory.release(block);
  }

  read(address: bigint, size: number): Uint8Array | undefined {
    const at = this.#at(address, size);
    return at === undefined ? undefined : this.#memory.copy(at, size);
  }

  write(address: bigint, bytes: Uint8Array): void {
    const at = this.#at(address, bytes.length);
    if (at === undefined) {
      throw new ArgumentError(
        "address",
        `expected ${bytes.length} bytes of the world's memory, got 0x${address.toString(16)}`,
      );
    }
    this.#memory.u8.set(bytes, at);
  }

  #at(address: bigint, size: number): number | undefined {
    if (address < 0n || address > 0x7fff_ffffn) return undefined;
    const at = Number(address);
    const block = this.#memory.blockAt(at);
    if (block === undefined || (block.kind !== "kernel" && block.kind !== "user")) return undefined;
    return at + size <= block.base + block.size && this.#blocks.has(BigInt(block.base)) ? at : undefined;
  }
}
