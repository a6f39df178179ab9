/** From a collection to what BPF_PROG_LOAD would be given for each of its programs, without a kernel. */
import { Btf } from "../btf/btf.ts";
import { CoreResolver } from "../btf/core.ts";
import type { Diagnostic } from "../core/diagnostic.ts";
import { BpfkitError } from "../core/errors.ts";
import { BPF_F } from "../uapi/flags.ts";
import { BPF_MAP_TYPE } from "../uapi/map-types.ts";
import { BPF_PROG_TYPE } from "../uapi/prog-types.ts";
import { attachTargetOf } from "./attach-target.ts";
import { BtfImage, FUNC_INFO_SIZE, LINE_INFO_SIZE, encodeFuncInfo, encodeLineInfo } from "./btf-image.ts";
import { preparedBtf } from "./fix-btf.ts";
import { type FixupContext, type TargetTypes, fixup } from "./fixups.ts";
import type { LoadKfunc, LoadKsym, LoadMap, ProgLoad } from "./prog-load.ts";
import type { CollectionSpec, MapSpec, ProgSpec } from "./spec.ts";

/** The kernel that the programs are for, as far as it can be known without one. */
export interface LoadTarget {
  /** The kernel's BTF; null: none, and programs that need it are refused. */
  readonly vmlinux: Btf | null;
  /** Split BTF of modules by name, searched after vmlinux. */
  readonly modules?: ReadonlyMap<string, Btf>;
  /** Addresses of untyped kernel symbols (kallsyms). Default: every name has one. */
  readonly symbolAddress?: (name: string) => bigint | undefined;
  /** Default 4096. */
  readonly pageSize?: number;
  /** nr_cpu_ids. Default: what the verifier assumes. */
  readonly possibleCpus?: number;
  /** Kernel types that the programs were compiled with: where they are `vmlinux`, a name means that one type. */
  readonly madeFor?: Btf | undefined;
  /** Contents of a data section's entry instead of the spec's (constants that were set). */
  readonly data?: (map: MapSpec) => Uint8Array | undefined;
}

export interface MadeLoad {
  readonly prog: ProgSpec;
  readonly load: ProgLoad;
  /** Why instructions were poisoned, by index: CO-RE found nothing. */
  readonly poisoned: ReadonlyMap<number, Diagnostic>;
}

/** Any address in the kernel's half. */
const SOME_ADDRESS = 0xffff_ffff_8100_0000n;

const NEEDS_BTF =
  "kernel types are needed (CO-RE, kernel functions or an attach target), and there are none: run it on a kernel with BTF, or name a BTF file";

/** Makes the captures of one collection; what programs share (BTF, maps) is made once. */
export class LoadMaker {
  readonly #spec: CollectionSpec;
  readonly #target: LoadTarget;
  readonly #image: BtfImage | undefined;
  readonly #records = new Map<ProgSpec, { readonly funcs: Uint8Array; readonly lines: Uint8Array }>();
  #btf: Btf | null | undefined;
  #local: Btf | undefined;
  #types: TargetTypes | undefined;
  #maps: LoadMap[] | undefined;

  constructor(spec: CollectionSpec, target: LoadTarget) {
    this.#spec = spec;
    this.#target = target;
    const prepared = preparedBtf(spec);
    if (prepared === undefined) return;
    this.#image = new BtfImage(prepared);
    // The strings of every program's line_info are in the one BTF.
    for (const prog of spec.progs) {
      if (prog.autoload) this.#add(prog, this.#image);
    }
  }

  #add(prog: ProgSpec, image: BtfImage): { readonly funcs: Uint8Array; readonly lines: Uint8Array } {
    const records = { funcs: encodeFuncInfo(prog.funcs), lines: encodeLineInfo(prog.lines, image) };
    this.#records.set(prog, records);
    return records;
  }

  /**
   * @throws BpfkitError code "SECTION" for a program without a type, "NO_KERNEL_BTF" where kernel types are needed and
   * missing, "KSYM" for a kernel symbol that is not there; DiagnosticError code "CORE"
   */
  make(prog: ProgSpec): MadeLoad {
    if (prog.type === BPF_PROG_TYPE.UNSPEC) {
      throw new BpfkitError(
        "SECTION",
        `program ${prog.name}: its section ${JSON.stringify(prog.section)} names no program type`,
      );
    }
    const image = this.#image;
    const added = image !== undefined && !this.#records.has(prog);
    const records = image === undefined ? undefined : (this.#records.get(prog) ?? this.#add(prog, image));
    if (added) this.#btf = undefined;
    const btf = this.#programBtf();
    const maps = (this.#maps ??= this.#spec.maps.map((m) => this.#map(m, btf)));
    const moduleBtfs = new Map<number, Btf>();
    const moduleNames = new Map<number, string>();
    const context: FixupContext = {
      mapFd: (name) => {
        const index = this.#spec.maps.findIndex((m) => m.name === name);
        if (index < 0)
          throw new BpfkitError("SPEC", `a program uses the map ${name}, which the collection does not define`);
        return index;
      },
      kernelBtf: () => this.#kernelTypes(prog),
      localBtf: () => this.#localBtf(),
      symbolAddress: this.#target.symbolAddress ?? (() => SOME_ADDRESS),
      moduleFd: (module) => {
        const names = [...(this.#target.modules?.keys() ?? [])];
        const found = this.#target.modules?.get(module);
        if (found === undefined) return undefined;
        // Beyond the indexes of kfunc calls, which count from 1 in order of use.
        const index = 1000 + names.indexOf(module);
        moduleBtfs.set(index, found);
        moduleNames.set(index, module);
        return index;
      },
      note: () => {},
    };
    const fixed = fixup(prog, context);
    fixed.modules.forEach((module, i) => {
      const found = this.#target.modules?.get(module);
      if (found === undefined) return;
      moduleBtfs.set(i + 1, found);
      moduleNames.set(i + 1, module);
    });
    const ksyms: LoadKsym[] = [];
    const kfuncs: LoadKfunc[] = [];
    for (const ref of prog.refs) {
      const insn = fixed.insns[ref.insn];
      if (insn === undefined) continue;
      if (ref.kind === "kfunc")
        kfuncs.push({
          insn: ref.insn,
          btfId: insn.imm,
          name: ref.name,
          module: insn.off === 0 ? undefined : moduleNames.get(insn.off),
        });
      else if (ref.kind === "ksym" && insn.src !== 0) ksyms.push({ insn: ref.insn, btfId: insn.imm, name: ref.name });
    }
    const attach = this.#attach(prog);
    const hasRecords = records !== undefined && records.funcs.length > 0;
    const load: ProgLoad = {
      name: kernelName(prog.name),
      progType: prog.type,
      expectedAttachType: prog.expectedAttachType,
      attachBtfId: attach?.id ?? 0,
      attachProg: null,
      progFlags: prog.flags,
      progIfindex: 0,
      license: this.#spec.license,
      insns: fixed.insns,
      maps,
      badMapFds: new Map(),
      btf: hasRecords ? btf : null,
      vmlinuxBtf: this.#target.vmlinux,
      moduleBtfs,
      moduleNames,
      funcInfoRecSize: hasRecords ? FUNC_INFO_SIZE : 0,
      funcInfo: hasRecords ? records.funcs : new Uint8Array(0),
      lineInfoRecSize: hasRecords && records.lines.length > 0 ? LINE_INFO_SIZE : 0,
      lineInfo: hasRecords ? records.lines : new Uint8Array(0),
      ksyms,
      kfuncs,
      possibleCpus: this.#target.possibleCpus,
      attachName: attach?.name,
    };
    return { prog, load, poisoned: fixed.poisoned };
  }

  #programBtf(): Btf | null {
    if (this.#btf === undefined) {
      this.#btf =
        this.#image === undefined ? null : Btf.parse(this.#image.encode(), { what: `${this.#spec.name} BTF` });
      this.#maps = undefined;
    }
    return this.#btf;
  }

  #localBtf(): Btf {
    const { btf, name } = this.#spec;
    if (btf === undefined)
      throw new BpfkitError("SPEC", `${name}: its programs have CO-RE relocations but it has no BTF`);
    if (this.#local === undefined) {
      this.#local = Btf.parse(btf, { what: `${name} BTF` });
      const { vmlinux, madeFor } = this.#target;
      if (vmlinux !== null && madeFor === vmlinux) resolverOf(vmlinux).madeFrom(this.#local);
    }
    return this.#local;
  }

  #kernelTypes(prog: ProgSpec): TargetTypes {
    const { vmlinux, modules } = this.#target;
    if (vmlinux === null) throw new BpfkitError("NO_KERNEL_BTF", `program ${prog.name}: ${NEEDS_BTF}`);
    return (this.#types ??= {
      resolver: resolverOf(vmlinux),
      find: (name, kind) => {
        const id = vmlinux.findId(name, kind);
        if (id !== 0) return { id, module: undefined };
        for (const [module, btf] of modules ?? []) {
          const found = btf.findId(name, kind);
          if (found >= btf.firstId) return { id: found, module };
        }
        return undefined;
      },
    });
  }

  #attach(prog: ProgSpec): { readonly id: number; readonly name: string } | undefined {
    const target = attachTargetOf(prog);
    if (target === undefined) return undefined;
    const found = this.#kernelTypes(prog).find(target.name, target.kind);
    if (found === undefined)
      throw new BpfkitError(
        "ATTACH",
        `program ${prog.name}: the kernel's BTF has no ${target.what} ${prog.attachTo ?? ""}`,
      );
    if (found.module !== undefined)
      throw new BpfkitError(
        "ATTACH",
        `program ${prog.name}: ${prog.attachTo ?? ""} is in the module ${found.module}, and attaching to modules is not simulated`,
      );
    return { id: found.id, name: target.name };
  }

  #map(spec: MapSpec, btf: Btf | null): LoadMap {
    const typed = btf !== null && (spec.btfKeyTypeId !== 0 || spec.btfValueTypeId !== 0);
    const data = this.#target.data?.(spec) ?? spec.data;
    const inner = spec.inner === undefined ? null : this.#map({ ...spec.inner, name: `${spec.name}.inner` }, btf);
    return {
      name: kernelName(spec.name),
      type: spec.type,
      keySize: spec.keySize,
      valueSize: spec.valueSize,
      maxEntries: this.#entries(spec),
      flags: spec.flags | (spec.numaNode === undefined ? 0 : BPF_F.NUMA_NODE),
      extra: spec.mapExtra,
      btfKeyTypeId: typed ? spec.btfKeyTypeId : 0,
      btfValueTypeId: typed ? spec.btfValueTypeId : 0,
      btfVmlinuxValueTypeId: 0,
      btf: typed ? btf : null,
      inner,
      frozen: spec.frozen,
      data:
        spec.frozen && spec.type === BPF_MAP_TYPE.ARRAY && spec.maxEntries === 1
          ? (data ?? new Uint8Array(spec.valueSize))
          : null,
    };
  }

  #entries(spec: MapSpec): number {
    if (spec.type === BPF_MAP_TYPE.RINGBUF || spec.type === BPF_MAP_TYPE.USER_RINGBUF) {
      let size = this.#target.pageSize ?? 4096;
      while (size < spec.maxEntries) size *= 2;
      return size;
    }
    return spec.maxEntries === 0 && spec.type === BPF_MAP_TYPE.PERF_EVENT_ARRAY
      ? (this.#target.possibleCpus ?? 1)
      : spec.maxEntries;
  }
}

const resolvers = new WeakMap<Btf, CoreResolver>();

function resolverOf(vmlinux: Btf): CoreResolver {
  let resolver = resolvers.get(vmlinux);
  if (resolver === undefined) resolvers.set(vmlinux, (resolver = new CoreResolver([vmlinux])));
  return resolver;
}

/** Names in the kernel have 15 characters of [A-Za-z0-9_.]. */
const kernelName = (name: string): string => name.slice(0, 15).replace(/[^A-Za-z0-9_.]/g, "_");

/**
 * What BPF_PROG_LOAD would be given for each program of `spec` that is loaded by default.
 *
 * @throws as `LoadMaker.make`
 * @example
 * import { progLoads, readObject } from "bpfkit/elf";
 * // for (const { prog, load } of progLoads(readObject(bytes, { name: "x" }), { vmlinux })) console.log(prog.name, load.insns.length);
 */
export function progLoads(spec: CollectionSpec, target: LoadTarget): MadeLoad[] {
  const maker = new LoadMaker(spec, target);
  return spec.progs.filter((p) => p.autoload).map((p) => maker.make(p));
}
