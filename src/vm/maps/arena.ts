/**
 * BPF_MAP_TYPE_ARENA. Its pages lie in one piece, and a pointer into it is the same number for programs and for user
 * space: casts between the address spaces change nothing but the high half.
 */
import { NotSupportedError } from "../../core/errors.ts";
import type { MapSpec } from "../../elf/spec.ts";
import { ERRNO } from "../../uapi/index.ts";
import type { Block } from "../memory.ts";
import { type MapHost, VmMap } from "./map.ts";

const PAGE = 4096;
/** 64 MiB of the VM's 2 GiB. */
const MAX_PAGES = 1 << 14;

export class ArenaMap extends VmMap {
  readonly block: Block;
  /** Pages in use, by index. */
  readonly #taken: Uint8Array;

  constructor(host: MapHost, spec: MapSpec, id: number) {
    super(host, spec, id);
    if (spec.maxEntries > MAX_PAGES) {
      throw new NotSupportedError(
        `arenas of ${spec.maxEntries} pages`,
        `map ${spec.name}: an arena of the VM has ${MAX_PAGES} pages at most, this one has ${spec.maxEntries}`,
      );
    }
    this.block = this.memory.alloc(Math.max(1, spec.maxEntries) * PAGE, "map value", `arena ${spec.name}`);
    this.#taken = new Uint8Array(spec.maxEntries);
    const data = spec.data ?? new Uint8Array(0);
    this.memory.u8.set(data.subarray(0, this.block.size), this.block.base);
    this.#taken.fill(1, 0, Math.ceil(data.length / PAGE));
  }

  addressOf(offset: number): number {
    return this.block.base + offset;
  }

  /** bpf_arena_alloc_pages: the address of `count` pages in a row, at `at` unless that is 0; 0 when there are none. */
  allocate(at: number, count: number): number {
    if (count === 0 || count > this.#taken.length) return 0;
    const fits = (first: number): boolean => {
      for (let i = 0; i < count; i++) if (this.#taken[first + i] !== 0) return false;
      return true;
    };
    let first = at === 0 ? 0 : (at - this.block.base) / PAGE;
    if (at === 0) while (first + count <= this.#taken.length && !fits(first)) first++;
    if (!Number.isInteger(first) || first < 0 || first + count > this.#taken.length || !fits(first)) return 0;
    this.#taken.fill(1, first, first + count);
    return this.block.base + first * PAGE;
  }

  /** bpf_arena_free_pages: what lay there reads as zero. */
  free(at: number, count: number): void {
    const first = Math.floor((at - this.block.base) / PAGE);
    for (let page = Math.max(0, first); page < Math.min(first + count, this.#taken.length); page++) {
      this.#taken[page] = 0;
      this.memory.u8.fill(0, this.block.base + page * PAGE, this.block.base + (page + 1) * PAGE);
    }
  }

  override lookupAt(_key: number): number {
    return 0;
  }
  override updateAt(_key: number, _value: number, _flags: number): number {
    return -ERRNO.EOPNOTSUPP;
  }
  override deleteAt(_key: number): number {
    return -ERRNO.EOPNOTSUPP;
  }
}
