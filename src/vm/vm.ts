/** Programs and maps of a collection in user space: no kernel, no privilege, any platform. */
import { CoreResolver } from "../btf/index.ts";
import { Btf } from "../btf/btf.ts";
import { BTF_KIND } from "../btf/kinds.ts";
import { ArgumentError } from "../core/errors.ts";
import type { CollectionSpec, MapSpec, ProgSpec } from "../elf/spec.ts";
import { BPF_FUNC, BPF_PROG_TYPE } from "../uapi/index.ts";
import { type RunInput, packetOut, prepare, release } from "./context.ts";
import { FAULT } from "./fault.ts";
import { HELPERS_BY_ID, type Helper } from "./helpers/index.ts";
import { History } from "./history.ts";
import { type Image, makeImage } from "./image.ts";
import { Interp } from "./interp.ts";
import { type Compiled, type JitRun, compileImage } from "./jit/jit.ts";
import { KFUNCS } from "./kfuncs/index.ts";
import { Objects } from "./kfuncs/objects.ts";
import { type Block, FUNC_BASE, MAP_STRIDE, MAX_MAPS, READ, VmMemory } from "./memory.ts";
import { ArenaMap, ArrayMap, ArrayOfMaps, HashOfMaps, ProgArrayMap, type VmMap, createVmMap } from "./maps/index.ts";
import type { Run, UninitRule } from "./run.ts";
import type { Trace } from "./trace.ts";
import { showMap } from "./maps/object.ts";
import { Timers } from "./timers.ts";
import { type TraceOptions, Tracing } from "./tracing.ts";
import { World, type WorldOptions } from "./world.ts";

/** Answers a helper or kfunc call: r1-r5 unsigned in, r0 out (0 when nothing is returned). */
export type Mock = (args: readonly bigint[], run: Run) => bigint | number | undefined;

export interface VmOptions {
  readonly world?: World | WorldOptions;
  /** By name without `bpf_` for helpers, as it is for kfuncs. */
  readonly mocks?: Readonly<Record<string, Mock>>;
  /** Types to relocate CO-RE accesses against. */
  readonly btf?: Btf;
  /** Default "interp": everything checked. "jit" checks bounds of memory and the budget only. */
  readonly engine?: "interp" | "jit";
  /** Instructions that one run may execute. Default 100,000,000. */
  readonly budget?: number;
  /** Stack bytes that were never written: reading them is a fault in instructions ("insns", the default), in helpers too ("strict"), or never ("allow"). */
  readonly uninit?: UninitRule;
  /** Addresses of kernel variables by name, into memory of `vm.kernelMemory()`. */
  readonly ksyms?: Readonly<Record<string, number>>;
}

export interface RunResult {
  /** r0 as the kernel reports it: 32 bits, unsigned. */
  readonly returnValue: number;
  /** All 64 bits of r0, unsigned. */
  readonly r0: bigint;
  /** The packet afterwards; empty without one. */
  readonly data: Uint8Array;
  readonly ctx: Uint8Array;
  /** Instructions executed, by the last of several runs; 0 by the JIT, which does not count them. */
  readonly executed: number;
  /** Nanoseconds that one run took, the mean when `repeat` asks for several. */
  readonly durationNs: number;
}

const DEFAULT_BUDGET = 100_000_000;
const EXCEPTION_TAG = "exception_callback:";
const DEFAULT_TRACE = 1 << 16;
/** Programs that read kernel memory through typed pointers: a bad address reads as zero. */
const NULL_READS: ReadonlySet<number> = new Set([BPF_PROG_TYPE.TRACING, BPF_PROG_TYPE.LSM, BPF_PROG_TYPE.STRUCT_OPS]);

/**
 * Maps and programs of a collection, ready to run. Runs share the maps, as in the kernel.
 *
 * @example
 * const vm = new Vm(readObject(bytes, { name: "count" }), { world: { cpus: 2 } });
 * const { returnValue } = vm.run("count", { data: new Uint8Array(64) });
 * vm.map("packets").entries();
 */
export class Vm {
  readonly memory = new VmMemory();
  readonly world: World;
  readonly spec: CollectionSpec;
  readonly budget: number;
  readonly engine: "interp" | "jit";
  readonly helpers: readonly (Helper | undefined)[];
  readonly uninit: UninitRule;
  /** What `bpf_get_attach_cookie` gives. */
  cookie = 0n;
  /** What `bpf_get_func_ip` gives. */
  funcIp = 0n;
  /** How many of the context's words are arguments of the traced function; all of them when undefined. */
  funcArgs: number | undefined;
  readonly mapList: VmMap[] = [];
  /** What programs allocated by bpf_obj_new. */
  readonly objects = new Objects(this);
  readonly timers = new Timers();
  /** Copies that bpf_iter_bits iterators work on, by the iterator's address. */
  readonly iterators = new Map<number, Block>();
  readonly #maps = new Map<string, VmMap>();
  readonly #images = new Map<string, Image>();
  readonly #compiled = new Map<Image, Compiled>();
  readonly #mocks: Readonly<Record<string, Mock>>;
  readonly #btf: Btf | undefined;
  readonly #ksyms: Readonly<Record<string, number>>;
  #zeros: Block | undefined;
  #key: Block | undefined;
  #tracing: Tracing | undefined;

  constructor(spec: CollectionSpec, options: VmOptions = {}) {
    if (spec.endian !== "little") throw new ArgumentError("spec.endian", "the VM runs little-endian programs only");
    this.spec = spec;
    this.world = options.world instanceof World ? options.world : new World(options.world);
    this.budget = options.budget ?? DEFAULT_BUDGET;
    this.engine = options.engine ?? "interp";
    this.uninit = options.uninit ?? "insns";
    this.#mocks = options.mocks ?? {};
    this.#btf = options.btf;
    this.#ksyms = options.ksyms ?? {};
    const helpers = [...HELPERS_BY_ID];
    for (const [name, mock] of Object.entries(this.#mocks)) {
      const id = (BPF_FUNC as Readonly<Record<string, number>>)[name];
      if (id !== undefined) helpers[id] = mocked(mock);
    }
    this.helpers = helpers;
    for (const map of spec.maps) if (map.structOps === undefined) this.#addMap(map);
    for (const map of spec.maps) this.#fillSlots(map);
  }

  #addMap(spec: MapSpec): VmMap {
    if (this.mapList.length >= MAX_MAPS) {
      throw new ArgumentError("spec.maps", `the VM has at most ${MAX_MAPS} maps`);
    }
    const map = createVmMap(this, spec, this.mapList.length);
    this.mapList.push(map);
    if (this.#btf !== undefined) showMap(this.memory, this.#btf, map);
    this.#maps.set(spec.name, map);
    if (spec.data !== undefined && map instanceof ArrayMap)
      this.memory.u8.set(spec.data.subarray(0, spec.valueSize), map.block.base);
    return map;
  }

  /** A map that is not in the collection: what goes into maps of maps. */
  createMap(spec: MapSpec): VmMap {
    if (this.#maps.has(spec.name)) throw new ArgumentError("spec.name", `there is a map ${spec.name} already`);
    return this.#addMap(spec);
  }

  #fillSlots(spec: MapSpec): void {
    for (const { key, target } of spec.initialSlots) {
      const map = this.#maps.get(spec.name);
      if (map instanceof ProgArrayMap) map.set(key, this.image(target));
      else if (map instanceof ArrayOfMaps) map.set(key, this.map(target));
      else if (map instanceof HashOfMaps) {
        const bytes = new Uint8Array(spec.keySize);
        new DataView(bytes.buffer).setUint32(0, key, true);
        map.set(bytes, this.map(target));
      }
    }
  }

  /** @throws ArgumentError when there is no map of this name. */
  map(name: string): VmMap {
    const map = this.#maps.get(name);
    if (map === undefined) {
      throw new ArgumentError(
        "name",
        `there is no map ${name}; there are ${[...this.#maps.keys()].join(", ") || "none"}`,
      );
    }
    return map;
  }
  /**
   * Lets time pass on the world's clock, and runs the callbacks of timers that are due.
   *
   * @throws VmFault when one misbehaves
   */
  advance(ns: bigint | number): void {
    const until = this.world.now + BigInt(ns);
    for (let timer = this.timers.next(until); timer !== undefined; timer = this.timers.next(until)) {
      const { map, at, value, callback, due } = timer;
      if (due! > this.world.now) this.world.now = due!;
      timer.due = undefined;
      if (callback === undefined) continue;
      const run = this.engine === "jit" ? this.#jit(callback.image) : this.#interp(callback.image);
      const key = this.memory.alloc(8, "mem", "the key of the timer's entry");
      map.keyOfValue(value, key.base);
      const args = [
        { value: map.pointer, region: 0 },
        { value: key.base, region: key.region },
        { value, region: map.regionAt(at) },
      ];
      try {
        run.invoke(callback.slot, args, this.budget);
      } finally {
        this.memory.release(key);
      }
    }
    this.world.now = until;
  }

  /** Slot of the function that gets what `image`'s program throws; undefined when it has none. */
  exceptionCallback(image: Image): number | undefined {
    if (this.spec.btf === undefined) return undefined;
    const btf = Btf.parse(this.spec.btf);
    for (let id = btf.firstId; id < btf.typeCount; id++) {
      if (btf.kindOf(id) !== BTF_KIND.DECL_TAG) continue;
      const tag = btf.typeById(id);
      if (tag.kind !== "decl_tag" || !tag.name.startsWith(EXCEPTION_TAG)) continue;
      if (btf.nameOf(tag.type) !== image.spec.name) continue;
      const name = tag.name.slice(EXCEPTION_TAG.length);
      return image.spec.funcs.find((f) => f.name === name)?.insn;
    }
    return undefined;
  }
  /** The map whose pointer is this far from the first one's. */
  mapAt(offset: number): VmMap | undefined {
    return offset % MAP_STRIDE === 0 ? this.mapList[offset / MAP_STRIDE] : undefined;
  }
  functionAt(image: Image, pointer: number): number | undefined {
    const slot = (pointer >>> 0) - FUNC_BASE;
    return image.functions.has(slot) ? slot : undefined;
  }

  /** A program, ready to run. @throws ArgumentError, DecodeError */
  image(name: string): Image {
    let image = this.#images.get(name);
    if (image === undefined) {
      const prog = this.spec.progs.find((p) => p.name === name);
      if (prog === undefined) {
        throw new ArgumentError(
          "name",
          `there is no program ${name}; there are ${this.spec.progs.map((p) => p.name).join(", ") || "none"}`,
        );
      }
      image = makeImage(this.#relocated(prog), {
        mapPointer: (map) => this.map(map).pointer,
        mapValue: (map) => {
          const array = this.map(map);
          if (array instanceof ArenaMap) return { address: array.block.base, region: array.block.region };
          if (!(array instanceof ArrayMap))
            throw new ArgumentError("spec", `map ${map} of type ${array.typeName} has no value to point into`);
          const address = array.addressOf(0);
          return { address, region: array.regionAt(address) };
        },
        ksym: (symbol) => this.#ksyms[symbol],
      });
      this.#images.set(name, image);
    }
    return image;
  }

  #relocated(prog: ProgSpec): ProgSpec {
    if (prog.coreRelos.length === 0 || this.#btf === undefined || this.spec.btf === undefined) return prog;
    const resolver = new CoreResolver([this.#btf]);
    const { insns } = resolver.relocate({ insns: prog.insns, relos: prog.coreRelos, local: Btf.parse(this.spec.btf) });
    return { ...prog, insns, coreRelos: [] };
  }

  /** The program's WebAssembly, compiled when first asked for. */
  compiled(image: Image, traced = false): Compiled {
    const known = traced ? this.#tracing!.compiled : this.#compiled;
    let compiled = known.get(image);
    if (compiled === undefined) {
      compiled = compileImage(
        this,
        image,
        NULL_READS.has(image.spec.type),
        traced ? this.#tracing!.site(image) : undefined,
      );
      known.set(image, compiled);
    }
    return compiled;
  }

  /**
   * Runs a program once and tells what it executed, in order. Compiled code does it, whatever the engine: it checks no
   * more than the engine "jit" does.
   *
   * @throws VmFault when the program misbehaves
   * @throws ArgumentError for a limit that is no power of two from 16 to 2^22
   */
  trace(name: string, input: RunInput & TraceOptions = {}): RunResult & { readonly trace: Trace } {
    const image = this.image(name);
    const limit = input.limit ?? this.#tracing?.limit ?? DEFAULT_TRACE;
    if (this.#tracing?.limit !== limit) this.#tracing = new Tracing(this.memory, limit);
    const tracing = this.#tracing;
    const run = this.compiled(image, true).start();
    run.uninit = this.uninit;
    tracing.reset();
    const result = this.#execute(run, image, input);
    return { ...result, executed: tracing.executed, trace: tracing.trace() };
  }

  /**
   * Runs a program once.
   *
   * @throws VmFault when the program misbehaves
   * @throws ArgumentError for a packet or context that the kernel would not take
   */
  run(name: string, input: RunInput = {}): RunResult {
    const image = this.image(name);
    return this.#execute(this.engine === "jit" ? this.#jit(image) : this.#interp(image), image, input);
  }

  #execute(run: JitRun | Interp, image: Image, input: RunInput): RunResult {
    const repeat = input.repeat ?? 1;
    if (!Number.isInteger(repeat) || repeat < 1) throw new ArgumentError("repeat", `expected 1 or more, got ${repeat}`);
    const prepared = prepare(run, image.spec.type, input);
    try {
      const start = performance.now();
      run.run(this.budget);
      for (let i = 1; i < repeat; i++) {
        run.restart();
        run.run(this.budget);
      }
      return this.#result(run, prepared.ctx, ((performance.now() - start) * 1e6) / repeat);
    } finally {
      release(run, prepared);
    }
  }

  #jit(image: Image): JitRun {
    const run = this.compiled(image).start();
    run.uninit = this.uninit;
    return run;
  }

  #interp(image: Image): Interp {
    const run = new Interp(this, image, { nullReads: NULL_READS.has(image.spec.type) });
    run.uninit = this.uninit;
    return run;
  }

  #result(run: Run, ctx: Block, durationNs: number): RunResult {
    const r0 = run.u64(0);
    return {
      returnValue: Number(r0 & 0xffff_ffffn),
      r0,
      data: packetOut(run),
      ctx: this.memory.copy(ctx.base, ctx.size),
      executed: run instanceof Interp ? run.executed : 0,
      durationNs,
    };
  }

  /** A run that stops wherever the caller wants: see `Interp.step`, `exec`, `breakAt`. */
  interpret(name: string, input: RunInput = {}): Interp {
    const image = this.image(name);
    const run = this.#interp(image);
    prepare(run, image.spec.type, input);
    return run;
  }

  /**
   * The same, with a way back: see `History`. `limit` is how many steps are kept, the last ones; default 1,048,576.
   *
   * @throws ArgumentError for a limit below 1
   */
  history(name: string, input: RunInput = {}, limit?: number): History {
    return new History(this.interpret(name, input), limit);
  }

  /** Address of 8 bytes for a key that no program sees. */
  get keyBuffer(): number {
    return (this.#key ??= this.memory.alloc(8, "mem", "a key", 0)).base;
  }

  /** `size` zero bytes, good until the next call. */
  zeros(size: number): number {
    if (this.#zeros === undefined || this.#zeros.size < size)
      this.#zeros = this.memory.alloc(Math.max(64, size), "mem", "zeros");
    this.memory.u8.fill(0, this.#zeros.base, this.#zeros.base + size);
    return this.#zeros.base;
  }

  /** Kernel memory that programs read directly or by `bpf_probe_read_kernel`: its address. */
  kernelMemory(bytes: Uint8Array, name = "kernel memory"): number {
    const block = this.memory.alloc(bytes.length, "kernel", name, READ);
    this.memory.u8.set(bytes, block.base);
    return block.base;
  }
  /** User memory that programs read by `bpf_probe_read_user`: its address. */
  userMemory(bytes: Uint8Array, name = "user memory"): number {
    const block = this.memory.alloc(bytes.length, "user", name, 0);
    this.memory.u8.set(bytes, block.base);
    return block.base;
  }

  /** Notes what a program asked the kernel to do. */
  record(run: Run, helper: string, args: number): void {
    this.world.actions.push({ helper, args: Array.from({ length: args }, (_, i) => run.u64(i + 1)) });
  }

  /** Calls a kernel function by name. */
  kfunc(run: Run, name: string | undefined): void {
    const mock = name === undefined ? undefined : this.#mocks[name];
    const call = mock === undefined ? (name === undefined ? undefined : KFUNCS[name]) : mocked(mock);
    if (call === undefined) {
      throw run.fault(FAULT.NOT_MODELLED, `the kernel function ${name ?? "(unnamed)"} is not modelled here`, {
        help: `give the test a mock: { mocks: { ${name ?? "NAME"}: (args) => 0n } }`,
      });
    }
    call(run);
  }
}

function mocked(mock: Mock): Helper {
  return (run) => {
    const result = mock([run.u64(1), run.u64(2), run.u64(3), run.u64(4), run.u64(5)], run);
    run.ret64(BigInt(result ?? 0));
  };
}
