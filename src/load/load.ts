/** From a spec, which is the same on every machine, to a collection in this kernel. */
import { Btf } from "../btf/btf.ts";
import { BpfkitError } from "../core/errors.ts";
import { BtfImage, encodeFuncInfo, encodeLineInfo } from "../elf/btf-image.ts";
import { preparedBtf } from "../elf/fix-btf.ts";
import type { CollectionSpec, MapSpec, ProgSpec } from "../elf/spec.ts";
import type { Schema } from "../probe/schema-types.ts";
import { btfLoad } from "../syscall/bpf.ts";
import { check } from "../syscall/errors.ts";
import { olderThan } from "../syscall/explain.ts";
import { Fd, Owned } from "../syscall/fd.ts";
import type { Kernel } from "../syscall/kernel.ts";
import { PROT, mapFile } from "../syscall/mmap.ts";
import { realKernel } from "../syscall/kernel-real.ts";
import { BPF_MAP_TYPE } from "../uapi/map-types.ts";
import { bpf } from "../syscall/attr.ts";
import { schemaOfSize } from "../values/btf-schema.ts";
import { Collection, type LazyMap, type VariableHome } from "./collection.ts";
import { type VariableValue, putVariable, valueOfText } from "../values/variables.ts";
import { createMap, writeData } from "./create-map.ts";
import { btfFeatures, hasBtf } from "./features.ts";
import { DataSection } from "./global.ts";
import { kconfigData } from "./kconfig.ts";
import { KernelBtf, kernelBtf } from "./kernel-btf.ts";
import { loadProgram, type ProgContext } from "./load-prog.ts";
import type { BpfMap, MapSchemas } from "./map.ts";
import { mapObject } from "./map-kinds.ts";
import type { CaptureSink } from "./prog-capture.ts";
import { Program } from "./program.ts";

export interface LoadOptions {
  /** The running kernel by default. */
  readonly kernel?: Kernel;
  /** Keys and values of maps by name. Others are typed by the object's BTF; without that they take and give bytes. */
  readonly schemas?: ReadonlyMap<string, MapSchemas>;
  /** Types of global variables by name; others are typed by BTF, too. */
  readonly globals?: ReadonlyMap<string, Schema>;
  /** Values of constants and initial values of variables, by name. */
  readonly config?: Readonly<Record<string, VariableValue>>;
  /** Sizes of maps by name, instead of those in the spec. */
  readonly maxEntries?: Readonly<Record<string, number>>;
  /** Maps that exist already, to be used instead of new ones. They stay the caller's. */
  readonly maps?: Readonly<Record<string, { readonly fd: number }>>;
  /** Load only these programs. */
  readonly programs?: readonly string[];
  /** CO-RE target instead of the kernel's own BTF, for kernels without one. */
  readonly btf?: Btf;
  /** @internal kernel types that the programs were compiled with: where they are the target's, a name means that one type. */
  readonly madeFor?: Btf;
  /** Directory in a mounted bpffs for maps that are pinned by name. */
  readonly pinDirectory?: string;
  /** Gets each program's load before it is tried, as the JSON that `bpfkit verify` reads (docs/verifier.md). */
  readonly capture?: CaptureSink;
  /** 1 or 2: keep the verifier's log of accepted programs too (`collection.logs`). */
  readonly logLevel?: 0 | 1 | 2;
}

/**
 * Loads maps and programs into the kernel. Nothing is attached yet. Everything acquired
 * before a failure is released.
 *
 * @throws VerifierError when the kernel refuses a program, with its log and the source line
 * @throws SyscallError explained, DiagnosticError code "CORE" when the kernel's types do not fit
 * @example
 * using collection = load(readObject(bytes, { name: "execsnoop" }));
 * collection.attach();
 */
export function load(spec: CollectionSpec | readonly CollectionSpec[], options: LoadOptions = {}): Collection {
  const specs = Array.isArray(spec) ? (spec as readonly CollectionSpec[]) : [spec as CollectionSpec];
  const kernel = options.kernel ?? realKernel();
  const owned = new Owned();
  try {
    const loader = new Loader(kernel, owned, options);
    for (const s of specs) loader.load(s);
    return loader.finish(specs.map((s) => s.name).join("+"));
  } catch (error) {
    owned.close();
    throw error;
  }
}

class Loader {
  readonly #kernel: Kernel;
  readonly #owned: Owned;
  readonly #options: LoadOptions;
  readonly #notes: string[] = [];
  readonly #logs = new Map<string, string>();
  readonly #fds = new Map<string, { readonly fd: number }>();
  readonly #maps = new Map<string, LazyMap>();
  readonly #progs = new Map<string, Program>();
  readonly #variables = new Map<string, VariableHome>();
  readonly #used = new Set<string>();
  #kernelBtf: KernelBtf | undefined;

  constructor(kernel: Kernel, owned: Owned, options: LoadOptions) {
    this.#kernel = kernel;
    this.#owned = owned;
    this.#options = options;
  }

  #note(text: string): void {
    if (!this.#notes.includes(text)) this.#notes.push(text);
  }

  load(spec: CollectionSpec): void {
    // Kernels before 5.11 count BPF memory against RLIMIT_MEMLOCK, which is small; a refusal shows up later, explained.
    if (olderThan(this.#kernel.release, "5.11")) this.#kernel.setMemlock(Infinity);

    const wanted = this.#select(spec);
    const btf = new CollectionBtf(this.#kernel, this.#owned, spec, wanted, (text) => this.#note(text));
    for (const map of spec.maps) if (!this.#fds.has(map.name)) this.#createMap(map, btf);
    for (const prog of wanted) this.#loadProgram(prog, spec, btf);
    for (const map of spec.maps) this.#fillSlots(map);
    // Programs and maps hold the BTF now.
    btf.close();
  }

  #select(spec: CollectionSpec): readonly ProgSpec[] {
    const only = this.#options.programs;
    return only === undefined ? spec.progs.filter((p) => p.autoload) : spec.progs.filter((p) => only.includes(p.name));
  }

  #createMap(given: MapSpec, btf: CollectionBtf): void {
    const kernel = this.#kernel;
    const reused = this.#options.maps?.[given.name];
    const maxEntries = this.#options.maxEntries?.[given.name];
    const spec: MapSpec = maxEntries === undefined ? given : { ...given, maxEntries };
    const chosen = this.#options.schemas?.get(given.name);
    const schemas = (): MapSchemas =>
      chosen ?? {
        key: schemaOfSize(btf.parsed, spec.btfKeyTypeId, spec.keySize),
        value: schemaOfSize(btf.parsed, spec.btfValueTypeId, spec.valueSize),
      };
    let fd: Fd;
    if (reused === undefined) {
      const context = {
        kernel,
        btfFd: btf.fd,
        pinDirectory: this.#options.pinDirectory ?? "/sys/fs/bpf",
        note: (text: string) => this.#note(text),
      };
      fd = this.#owned.own(createMap(spec, context));
      if (spec.type === BPF_MAP_TYPE.ARENA) this.#mapArena(fd, spec);
      else writeData(kernel, fd, spec, this.#data(spec, btf), (text) => this.#note(text));
    } else {
      // A descriptor of our own, so that closing the collection leaves the caller's open.
      fd = this.#owned.own(
        new Fd(
          kernel,
          check(kernel, kernel.dup(reused.fd), "dup", { subject: `map ${given.name}` }),
          `map ${given.name}`,
        ),
      );
    }
    this.#fds.set(given.name, fd);
    let made: BpfMap | undefined;
    let section: DataSection | undefined;
    const make = (): BpfMap =>
      (made ??= mapObject(
        kernel,
        fd,
        {
          name: spec.name,
          type: spec.type,
          keySize: spec.keySize,
          valueSize: spec.valueSize,
          maxEntries: effectiveEntries(spec, kernel),
          flags: spec.flags,
        },
        schemas(),
      ));
    this.#maps.set(spec.name, { name: spec.name, make });
    const open = (): DataSection => (section ??= this.#owned.own(new DataSection(make(), spec)));
    for (const variable of spec.variables) {
      this.#variables.set(variable.name, {
        map: spec.name,
        spec: variable,
        section: open,
        schema: () =>
          this.#options.globals?.get(variable.name) ?? schemaOfSize(btf.parsed, variable.btfTypeId, variable.size),
      });
    }
  }

  /** An arena has its user address before programs that use it are loaded. Its globals are at its start. */
  #mapArena(fd: Fd, spec: MapSpec): void {
    const length = spec.maxEntries * this.#kernel.pageSize;
    const mapping = this.#owned.own(
      mapFile(this.#kernel, fd.fd, length, PROT.READ | PROT.WRITE, `map ${spec.name}`, { at: Number(spec.mapExtra) }),
    );
    if (spec.data !== undefined) new Uint8Array(mapping.buffer).set(spec.data);
  }

  /** Initial bytes of a data section, with the options' values put in. */
  #data(spec: MapSpec, btf: CollectionBtf): Uint8Array | undefined {
    if (spec.variables.length === 0 && spec.data === undefined) return undefined;
    const kconfig = spec.name === ".kconfig" || spec.name.endsWith(".kconfig");
    let data = kconfig ? kconfigData(this.#kernel, spec, btf.parsed) : spec.data;
    for (const variable of spec.variables) {
      const value = this.#options.config?.[variable.name];
      if (value === undefined) continue;
      data = data === spec.data ? (spec.data?.slice() ?? new Uint8Array(spec.valueSize)) : data;
      const schema = this.#options.globals?.get(variable.name);
      putVariable(
        data ?? new Uint8Array(0),
        variable,
        typeof value === "string" ? valueOfText(variable.name, value, schema) : value,
      );
      this.#used.add(variable.name);
    }
    return data;
  }

  #loadProgram(prog: ProgSpec, spec: CollectionSpec, btf: CollectionBtf): void {
    if (this.#progs.has(prog.name)) throw new BpfkitError("SPEC", `two programs are called ${prog.name}`);
    const context: ProgContext = {
      kernel: this.#kernel,
      owned: this.#owned,
      license: spec.license,
      kernelVersion: spec.kernelVersion,
      btfFd: btf.fd,
      records: (p) => btf.records(p),
      logLevel: this.#options.logLevel ?? 0,
      log: (name, text) => void this.#logs.set(name, text),
      mapFd: (name) => this.#mapFd(name),
      kernelBtf: () => this.#targetBtf(),
      localBtf: () => this.#local(btf),
      note: (text) => this.#note(text),
    };
    this.#options.capture?.(prog, spec, {
      kernel: this.#kernel,
      kernelBtf: () => this.#targetBtf(),
      madeFor: this.#options.madeFor,
      data: (map) => this.#data(map, btf),
    });
    const fd = this.#owned.own(loadProgram(prog, context));
    this.#progs.set(prog.name, new Program(this.#kernel, prog, fd));
  }

  #mapFd(name: string): number {
    const map = this.#fds.get(name);
    if (map === undefined)
      throw new BpfkitError("SPEC", `a program uses the map ${name}, which the collection does not define`);
    return map.fd;
  }

  #local(btf: CollectionBtf): Btf {
    const local = btf.local();
    const target = this.#targetBtf();
    if (this.#options.madeFor === target.vmlinux) target.resolver.madeFrom(local);
    return local;
  }

  #targetBtf(): KernelBtf {
    const given = this.#options.btf;
    return (this.#kernelBtf ??= given === undefined ? kernelBtf(this.#kernel) : new KernelBtf(this.#kernel, given));
  }

  /** Programs of program arrays and maps of maps, known only now. */
  #fillSlots(spec: MapSpec): void {
    for (const slot of spec.initialSlots) {
      const target = this.#progs.get(slot.target) ?? this.#fds.get(slot.target);
      if (target === undefined) {
        // A program that was not selected leaves its slot empty.
        if (spec.type === BPF_MAP_TYPE.PROG_ARRAY) continue;
        throw new BpfkitError(
          "SPEC",
          `map ${spec.name}: slot ${slot.key} refers to ${slot.target}, which does not exist`,
        );
      }
      const key = new Uint8Array(new Uint32Array([slot.key]).buffer);
      const value = new Uint8Array(new Uint32Array([target.fd]).buffer);
      check(
        this.#kernel,
        bpf(this.#kernel, "MAP_UPDATE_ELEM", { map_fd: this.#mapFd(spec.name), key, value }),
        "BPF_MAP_UPDATE_ELEM",
        { subject: `slot ${slot.key} of map ${spec.name}` },
      );
    }
  }

  finish(name: string): Collection {
    for (const variable of Object.keys(this.#options.config ?? {})) {
      if (!this.#used.has(variable)) {
        throw new BpfkitError(
          "CONFIG",
          `there is no global variable ${variable} to set; there are ${[...this.#variables.keys()].filter((v) => !v.startsWith("__")).join(", ") || "none"}`,
        );
      }
    }
    for (const wanted of this.#options.programs ?? []) {
      if (!this.#progs.has(wanted)) throw new BpfkitError("NO_PROGRAM", `there is no program ${wanted} to load`);
    }
    return new Collection({
      name,
      kernel: this.#kernel,
      owned: this.#owned,
      maps: this.#maps,
      progs: this.#progs,
      variables: this.#variables,
      notes: this.#notes,
      logs: this.#logs,
    });
  }
}

function effectiveEntries(spec: MapSpec, kernel: Kernel): number {
  if (spec.type !== BPF_MAP_TYPE.RINGBUF && spec.type !== BPF_MAP_TYPE.USER_RINGBUF) return spec.maxEntries;
  let size = kernel.pageSize;
  while (size < spec.maxEntries) size *= 2;
  return size;
}

/** The collection's BTF: encoded with the records of the programs, loaded when it is first needed. */
class CollectionBtf {
  readonly #image: BtfImage | undefined;
  readonly #records = new Map<ProgSpec, { funcs: Uint8Array; lines: Uint8Array }>();
  readonly #spec: CollectionSpec;
  readonly #fd: Fd | undefined;
  #local: Btf | undefined;

  constructor(
    kernel: Kernel,
    owned: Owned,
    spec: CollectionSpec,
    progs: readonly ProgSpec[],
    note: (text: string) => void,
  ) {
    this.#spec = spec;
    const prepared = preparedBtf(spec);
    if (prepared === undefined) return;
    const image = new BtfImage(prepared);
    this.#image = image;
    // The strings of line_info live in the BTF: they must be there before it is loaded.
    for (const prog of progs) {
      this.#records.set(prog, { funcs: encodeFuncInfo(prog.funcs), lines: encodeLineInfo(prog.lines, image) });
    }
    const result = this.#loadInto(kernel, image, note);
    if (result >= 0) this.#fd = owned.own(new Fd(kernel, result, `BTF of ${spec.name}`));
  }

  /** Undefined where this kernel takes no BTF. */
  get fd(): number | undefined {
    return this.#fd?.fd;
  }

  close(): void {
    this.#fd?.close();
  }

  #loadInto(kernel: Kernel, image: BtfImage, note: (text: string) => void): number {
    const first = btfLoad(kernel, image.encode());
    if (first.result >= 0) return first.result;
    if (!hasBtf(kernel)) {
      note("this kernel takes no BTF (Linux 4.18): programs have no line information");
      return first.result;
    }
    const left = image.sanitize(btfFeatures(kernel));
    const second = btfLoad(kernel, image.encode(), 64 * 1024);
    if (second.result >= 0) {
      if (left.length > 0) note(`left out of the BTF, which this kernel does not know: ${left.join(", ")}`);
      return second.result;
    }
    const why =
      second.log
        .split("\n")
        .filter((l) => l !== "")
        .at(-1) ?? "";
    note(`the kernel refused the BTF, so programs have no line information: ${why}`);
    return second.result;
  }

  get parsed(): Btf | undefined {
    return this.#image?.btf;
  }

  records(prog: ProgSpec): { funcs: Uint8Array; lines: Uint8Array } {
    return this.#records.get(prog) ?? { funcs: new Uint8Array(0), lines: new Uint8Array(0) };
  }

  /** The unchanged BTF of the spec: what CO-RE records refer to. */
  local(): Btf {
    if (this.#spec.btf === undefined)
      throw new BpfkitError("SPEC", `${this.#spec.name}: its programs have CO-RE relocations but it has no BTF`);
    if (this.#image?.btf.bytes === this.#spec.btf) return this.#image.btf;
    return (this.#local ??= Btf.parse(this.#spec.btf, { what: `${this.#spec.name} BTF` }));
  }
}
