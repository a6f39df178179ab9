/**
 * The address space of a VM: one WebAssembly memory that interpreter and JIT share.
 *
 * ```text
 *  0x000100  register file (r0-r10, 8 bytes each); nothing below 0x10000 is ever in a region
 *  0x010000  stack: frames of 512 bytes, a gap behind each
 *  0x040000  struct bpf_map of each map, 512 bytes apart: what map pointers point to
 *  0x0c0000  blocks, ascending: ctx, packet, map values, ring buffers, memory of the test's world
 *  0xf0000000 + slot         what a function pointer looks like
 * ```
 *
 * A block is allocated at once; a region is what one pointer may reach: a whole block, or one
 * map value in it. Region ids are the provenance that the interpreter keeps for registers and spilled slots.
 */
import { BpfkitError } from "../core/errors.ts";

export const REGS = 0x100;
/** Where traced code keeps its place in the path (u32) and the number of executed instructions (u64). */
export const TRACE_AT = 0x200;
export const TRACE_COUNT = 0x208;
export const LOW = 0x1_0000;
/** Calls that one program may nest, itself included. */
export const MAX_CALL_FRAMES = 8;
/** Frames there are: each of 33 tail calls may come from the last of a program's calls. */
export const FRAMES = 34 * MAX_CALL_FRAMES;
export const FRAME_SIZE = 512;
/** From one frame to the next: the gap catches what runs over. */
export const FRAME_STRIDE = FRAME_SIZE + 64;
/** Where the map objects lie that map pointers point to, and how far apart. */
export const MAP_BASE = 0x4_0000;
export const MAP_STRIDE = 512;
export const MAX_MAPS = 1024;
export const FUNC_BASE = 0xf000_0000;
const PAGE = 0x1_0000;
const GAP = 64;
/** Bytes behind the top that exist: compiled code compares the first byte of several accesses only. */
const SLACK = 0x1000;
/** Addresses stay positive as 32-bit numbers. */
const LIMIT = 0x7fff_0000;

export type RegionKind =
  | "stack"
  | "ctx"
  | "packet"
  | "packet-meta"
  | "map value"
  | "ring buffer record"
  | "mem"
  | "kernel"
  | "user";

/** Flags of a region. */
export const LIVE = 1;
export const READ = 2;
export const WRITE = 4;

/** Finds the region of an address in a block that holds several. */
export interface BlockOwner {
  /** Region id of the object that holds `address`; 0 when it lies in none. */
  regionAt(address: number): number;
}

export interface Block {
  readonly base: number;
  readonly size: number;
  kind: RegionKind;
  name: string;
  /** The block's only region, or 0 when `owner` tells. */
  region: number;
  /** A second region that its owner keeps with it, or 0. */
  second: number;
  owner: BlockOwner | undefined;
}

export class VmMemory {
  readonly memory: WebAssembly.Memory;
  u8!: Uint8Array;
  view!: DataView;
  /** Registers as pairs: `regs[2 * i]` is the low half of r<i>, the next one the high half. */
  regs!: Int32Array;
  /** The same registers, for what needs all 64 bits at once. */
  regs64!: BigUint64Array;
  regBase = new Int32Array(64);
  regEnd = new Int32Array(64);
  regFlags = new Uint8Array(64);
  readonly #names: string[] = ["nothing"];
  readonly #kinds: RegionKind[] = ["mem"];
  #regions = 1;
  readonly #blocks: Block[] = [];
  readonly #free = new Map<number, Block[]>();
  #top = LOW;
  /** First byte of the stack, and one bit for each of its bytes that was written. */
  readonly stackBase: number;
  readonly stackEnd: number;
  readonly stackInit: Uint8Array;
  /** Regions of the map objects that programs can read. */
  readonly mapRegions: number[] = [];
  /** Region of the pointer in each 8-byte slot of the stack; 0 when it holds none. */
  readonly stackRegion: Int32Array;

  constructor(pages = 64) {
    this.memory = new WebAssembly.Memory({ initial: pages, maximum: 65536 });
    this.#views();
    this.stackBase = LOW;
    this.stackEnd = LOW + FRAMES * FRAME_STRIDE;
    this.#top = MAP_BASE + MAX_MAPS * MAP_STRIDE;
    for (let f = 0; f < FRAMES; f++) {
      const base = this.stackBase + f * FRAME_STRIDE;
      const region = this.addRegion(
        base,
        FRAME_SIZE,
        "stack",
        f === 0 ? "the stack" : `the stack of call ${f}`,
        READ | WRITE,
      );
      this.#blocks.push({ base, size: FRAME_SIZE, kind: "stack", name: "", region, second: 0, owner: undefined });
    }
    this.#blocks.push({
      base: MAP_BASE,
      size: MAX_MAPS * MAP_STRIDE,
      kind: "kernel",
      name: "the maps",
      region: 0,
      second: 0,
      owner: { regionAt: (address) => this.mapRegions[Math.floor((address - MAP_BASE) / MAP_STRIDE)] ?? 0 },
    });
    this.stackInit = new Uint8Array((FRAMES * FRAME_STRIDE) / 8);
    this.stackRegion = new Int32Array((FRAMES * FRAME_STRIDE) / 8);
  }

  #views(): void {
    const { buffer } = this.memory;
    this.u8 = new Uint8Array(buffer);
    this.view = new DataView(buffer);
    this.regs = new Int32Array(buffer, REGS, 24);
    this.regs64 = new BigUint64Array(buffer, REGS, 12);
  }

  /** End of what is allocated: every valid address is below. */
  get top(): number {
    return this.#top;
  }

  /** A new region: the provenance of pointers to one object. */
  addRegion(base: number, size: number, kind: RegionKind, name: string, access: number): number {
    const id = this.#regions++;
    if (id >= this.regBase.length) {
      this.regBase = grown(this.regBase);
      this.regEnd = grown(this.regEnd);
      const flags = new Uint8Array(this.regBase.length);
      flags.set(this.regFlags);
      this.regFlags = flags;
    }
    this.regBase[id] = base;
    this.regEnd[id] = base + size;
    this.regFlags[id] = LIVE | access;
    this.#names[id] = name;
    this.#kinds[id] = kind;
    return id;
  }

  /** A dead region becomes that of a new object, so that long series of runs need no more of them. */
  reviveRegion(id: number, base: number, size: number, kind: RegionKind, name: string, access: number): void {
    this.moveRegion(id, base, size);
    this.regFlags[id] = LIVE | access;
    this.#names[id] = name;
    this.#kinds[id] = kind;
  }

  regionName(id: number): string {
    return this.#names[id] ?? "nothing";
  }
  regionKind(id: number): RegionKind {
    return this.#kinds[id] ?? "mem";
  }
  /** Changes what region `id` covers; its pointers keep their provenance. */
  moveRegion(id: number, base: number, size: number): void {
    this.regBase[id] = base;
    this.regEnd[id] = base + size;
  }

  /**
   * Zeroed memory of `size` bytes, 16-byte aligned, with a gap behind it.
   *
   * @throws BpfkitError code "VM_MEMORY" beyond 2 GiB.
   */
  alloc(size: number, kind: RegionKind, name: string, access = READ | WRITE): Block {
    const reuse = this.#free.get(size)?.pop();
    if (reuse !== undefined) {
      this.u8.fill(0, reuse.base, reuse.base + size);
      reuse.kind = kind;
      reuse.name = name;
      reuse.owner = undefined;
      this.reviveRegion(reuse.region, reuse.base, size, kind, name, access);
      return reuse;
    }
    const base = this.#take(size);
    const region = this.addRegion(base, size, kind, name, access);
    const block: Block = { base, size, kind, name, region, second: 0, owner: undefined };
    this.#blocks.push(block);
    return block;
  }

  /** Memory whose regions `owner` makes. */
  allocOwned(size: number, kind: RegionKind, name: string, owner: BlockOwner): Block {
    const base = this.#take(size);
    const block: Block = { base, size, kind, name, region: 0, second: 0, owner };
    this.#blocks.push(block);
    return block;
  }

  #take(size: number): number {
    const base = Math.ceil(this.#top / 16) * 16;
    const end = base + size + GAP;
    if (end > LIMIT) {
      throw new BpfkitError("VM_MEMORY", `the program's maps and data need more than the VM's 2 GiB of address space`);
    }
    this.#top = end;
    if (end + SLACK > this.u8.length) {
      this.memory.grow(Math.ceil((end + SLACK - this.u8.length) / PAGE) + 16);
      this.#views();
    }
    return base;
  }

  /** Gives a block back: its region is dead, its memory is used again. */
  release(block: Block): void {
    this.regFlags[block.region] = 0;
    const list = this.#free.get(block.size);
    if (list === undefined) this.#free.set(block.size, [block]);
    else list.push(block);
  }

  /** The block that holds `address`, or the last one before it. */
  blockAt(address: number): Block | undefined {
    const blocks = this.#blocks;
    let low = 0;
    let high = blocks.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (blocks[middle]!.base <= address) low = middle + 1;
      else high = middle;
    }
    return blocks[low - 1];
  }

  /** Region of an address without provenance; 0 when there is none. */
  regionAt(address: number): number {
    const block = this.blockAt(address);
    if (block === undefined || address >= block.base + block.size) return 0;
    return block.owner === undefined ? block.region : block.owner.regionAt(address);
  }

  /** May `size` bytes at `address` be accessed this way (`READ`, `WRITE`)? */
  allows(address: number, size: number, access: number): boolean {
    const region = this.regionAt(address);
    return (
      region !== 0 &&
      address + size <= this.regEnd[region]! &&
      (this.regFlags[region]! & (access | LIVE)) === (access | LIVE)
    );
  }

  /** Forgets what was written to stack frame `frame`. */
  clearFrame(frame: number): void {
    const from = (frame * FRAME_STRIDE) >> 3;
    this.stackInit.fill(0, from, from + (FRAME_SIZE >> 3));
    this.stackRegion.fill(0, from, from + (FRAME_SIZE >> 3));
  }

  /** Bytes at `address` were written by something other than a store of the program. */
  markWritten(address: number, size: number): void {
    if (address < this.stackBase || address >= this.stackEnd) return;
    for (let a = address - this.stackBase, end = a + size; a < end; a++) {
      this.stackInit[a >> 3]! |= 1 << (a & 7);
      this.stackRegion[a >> 3] = 0;
    }
  }

  /** Were all these bytes of the stack written? True for addresses elsewhere. */
  isWritten(address: number, size: number): boolean {
    if (address < this.stackBase || address >= this.stackEnd) return true;
    for (let a = address - this.stackBase, end = a + size; a < end; a++) {
      if ((this.stackInit[a >> 3]! & (1 << (a & 7))) === 0) return false;
    }
    return true;
  }

  bytes(address: number, size: number): Uint8Array {
    return this.u8.subarray(address, address + size);
  }
  copy(address: number, size: number): Uint8Array {
    return this.u8.slice(address, address + size);
  }
}

function grown(old: Int32Array): Int32Array<ArrayBuffer> {
  const next = new Int32Array(old.length * 2);
  next.set(old);
  return next;
}
