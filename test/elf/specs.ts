/** Collections as a compiler makes them: their BTF has types and functions only. */
import fc from "fast-check";
import {
  callHelper,
  callSubprog,
  exit,
  type Insn,
  ldFunc,
  ldMapFd,
  ldMapValue,
  mov64Imm,
  mov64Reg,
  stMem,
} from "../../src/asm/index.ts";
import { BtfBuilder } from "../../src/btf/index.ts";
import type { Endian } from "../../src/core/index.ts";
import type { CollectionSpec, CoreRelo, FuncInfo, InsnRef, LineInfo, MapSpec, ProgSpec } from "../../src/elf/index.ts";
import { BPF_F, BPF_MAP_TYPE, BPF_PROG_TYPE } from "../../src/uapi/index.ts";

export const mapSpec = (over: Partial<MapSpec> & { name: string; type: number }): MapSpec => ({
  keySize: 0,
  valueSize: 0,
  maxEntries: 0,
  flags: 0,
  mapExtra: 0n,
  numaNode: undefined,
  btfKeyTypeId: 0,
  btfValueTypeId: 0,
  structOps: undefined,
  inner: undefined,
  initialSlots: [],
  data: undefined,
  frozen: false,
  pinning: "none",
  variables: [],
  section: ".maps",
  ...over,
});

/** One function of a made-up program. */
export interface Fn {
  readonly name: string;
  readonly global: boolean;
  /** Indexes of functions called; `address` takes the address instead. */
  readonly calls: readonly { readonly to: number; readonly address: boolean }[];
  readonly maps: readonly number[];
  readonly globals: readonly number[];
  readonly fill: number;
}

export interface Made {
  readonly endian: Endian;
  readonly entries: readonly Fn[];
  readonly subs: readonly Fn[];
  readonly maps: readonly MapSpec[];
}

const LINE = (n: number): string => `  const x${n} = events.emit({ pid: bpf.pid() });`;

/** A collection with these functions, laid out as linking lays them out. */
export function makeSpec(
  made: Made,
  section: (i: number) => string = () => "raw_tp/sys_enter",
  order: "depth-first" | "breadth-first" = "depth-first",
): CollectionSpec {
  const b = new BtfBuilder({ endian: made.endian });
  const u32 = b.int("unsigned int", 4);
  const u64 = b.int("unsigned long long", 8);
  const task = b.add({
    kind: "struct",
    name: "task_struct",
    size: 4,
    members: [{ name: "pid", type: u32, bitOffset: 0, bitSize: 0 }],
  });
  const proto = b.add({ kind: "func_proto", type: u32, params: [{ name: "ctx", type: u64 }] });
  const ids = new Map(
    [...made.entries, ...made.subs].map((f) => [
      f,
      b.add({ kind: "func", name: f.name, type: proto, linkage: f.global ? "global" : "static" }),
    ]),
  );
  const data = mapSpec({
    name: "probe.data",
    type: BPF_MAP_TYPE.ARRAY,
    keySize: 4,
    valueSize: 16,
    maxEntries: 1,
    flags: BPF_F.MMAPABLE,
    data: Uint8Array.from({ length: 16 }, (_, i) => i),
    variables: [
      { name: "seen", offset: 0, size: 8, btfTypeId: u64 },
      { name: "limit", offset: 8, size: 4, btfTypeId: u32 },
    ],
    section: ".data",
  });
  const maps = [...made.maps, data];
  const progs = made.entries.map((entry, i): ProgSpec => {
    const insns: Insn[] = [];
    const refs: InsnRef[] = [];
    const funcs: FuncInfo[] = [];
    const lines: LineInfo[] = [];
    const coreRelos: CoreRelo[] = [];
    const placed = new Map<Fn, number>();
    const place = (f: Fn): void => {
      const start = insns.length;
      placed.set(f, start);
      funcs.push({ insn: start, typeId: ids.get(f)!, name: f.name });
      lines.push({ insn: start, file: "execsnoop.ts", text: LINE(f.fill), line: f.fill + 1, col: 3 });
      for (let k = 0; k < f.fill; k++) insns.push(mov64Imm(0, k));
      coreRelos.push({ insn: insns.length, typeId: task, access: "0:0", kind: 0 });
      insns.push(mov64Imm(2, 4));
      for (const m of f.maps) {
        const target = made.maps[m % Math.max(1, made.maps.length)];
        if (target === undefined) continue;
        refs.push({ kind: "map", insn: insns.length, map: target.name });
        insns.push(...ldMapFd(1, 0));
      }
      for (const g of f.globals) {
        refs.push({ kind: "map-value", insn: insns.length, map: "probe.data", offset: g });
        insns.push(...ldMapValue(3, 0, g));
      }
      const jumps: { at: number; address: boolean; to: Fn }[] = [];
      for (const c of f.calls) {
        const to = made.subs[c.to]!;
        jumps.push({ at: insns.length, address: c.address, to });
        insns.push(...(c.address ? ldFunc(2, 0) : [callSubprog(0)]));
      }
      lines.push({ insn: insns.length, file: "execsnoop.ts", text: "});", line: 99, col: 0 });
      insns.push(mov64Imm(0, 0), exit());
      const link = (): void => {
        for (const j of jumps) {
          if (!placed.has(j.to)) place(j.to);
          const target = placed.get(j.to)!;
          const imm = target - j.at - 1;
          insns[j.at] = { ...insns[j.at]!, imm };
          refs.push({ kind: j.address ? "func" : "subprog", insn: j.at, target });
        }
      };
      if (order === "depth-first") link();
      else later.push(link);
    };
    const later: (() => void)[] = [];
    place(entry);
    for (let link = later.shift(); link !== undefined; link = later.shift()) link();
    refs.sort((x, y) => x.insn - y.insn);
    return {
      name: entry.name,
      section: section(i),
      type: BPF_PROG_TYPE.RAW_TRACEPOINT,
      expectedAttachType: 0,
      attachTo: section(i).slice("raw_tp/".length),
      autoload: true,
      flags: 0,
      insns,
      refs,
      funcs,
      lines,
      coreRelos,
    };
  });
  return {
    name: "probe",
    endian: made.endian,
    license: "GPL",
    kernelVersion: 0,
    btf: b.encode(),
    maps,
    progs,
    sources: new Map(),
  };
}

const fn = (name: string, count: number, from: number): fc.Arbitrary<Fn> =>
  fc.record(
    {
      name: fc.constant(name),
      global: fc.boolean(),
      // Calls go to later functions only: no recursion, as the kernel wants it.
      calls:
        from >= count
          ? fc.constant([])
          : fc.array(
              fc.record(
                { to: fc.integer({ min: from, max: count - 1 }), address: fc.boolean() },
                { noNullPrototype: true },
              ),
              { maxLength: 4 },
            ),
      maps: fc.array(fc.nat(7), { maxLength: 3 }),
      globals: fc.array(fc.constantFrom(0, 8), { maxLength: 2 }),
      fill: fc.nat(6),
    },
    { noNullPrototype: true },
  );

const mapArbitrary = (i: number): fc.Arbitrary<MapSpec> => {
  const name = `map${i}`;
  const sized = fc.record(
    {
      type: fc.constantFrom(BPF_MAP_TYPE.HASH, BPF_MAP_TYPE.ARRAY, BPF_MAP_TYPE.LRU_HASH, BPF_MAP_TYPE.PERCPU_ARRAY),
      keySize: fc.integer({ min: 1, max: 64 }),
      valueSize: fc.integer({ min: 1, max: 4096 }),
      maxEntries: fc.nat(0x7fff_ffff),
      flags: fc.nat(0x7fff),
      numaNode: fc.option(fc.nat(8), { nil: undefined }),
      mapExtra: fc.oneof(fc.constant(0n), fc.bigInt({ min: 0n, max: 0xffff_ffff_ffff_ffffn })),
      pinning: fc.constantFrom("none" as const, "by-name" as const),
    },
    { noNullPrototype: true },
  );
  return fc.oneof(
    sized.map((s) => mapSpec({ name, ...s })),
    sized.map((s) =>
      mapSpec({
        name,
        type: BPF_MAP_TYPE.ARRAY,
        keySize: 4,
        valueSize: 4,
        btfKeyTypeId: 1,
        btfValueTypeId: 1,
        maxEntries: s.maxEntries,
      }),
    ),
    sized.map((s) =>
      mapSpec({
        name,
        type: BPF_MAP_TYPE.ARRAY_OF_MAPS,
        keySize: 4,
        valueSize: 4,
        maxEntries: 8,
        inner: mapSpec({
          name: `${name}.inner`,
          type: BPF_MAP_TYPE.HASH,
          keySize: s.keySize,
          valueSize: s.valueSize,
          maxEntries: 7,
        }),
        initialSlots: [
          { key: 1, target: "map0" },
          { key: 6, target: "map0" },
        ],
      }),
    ),
    fc.constant(
      mapSpec({
        name,
        type: BPF_MAP_TYPE.PROG_ARRAY,
        keySize: 4,
        valueSize: 4,
        maxEntries: 8,
        initialSlots: [{ key: 3, target: "entry0" }],
      }),
    ),
    fc.constant(mapSpec({ name, type: BPF_MAP_TYPE.RINGBUF, maxEntries: 4096 })),
  );
};

/** Up to 3 programs that share up to 5 subprograms and 4 maps. */
export const anyMade: fc.Arbitrary<Made> = fc
  .tuple(fc.constantFrom<Endian>("little", "big"), fc.integer({ min: 1, max: 3 }), fc.nat(5), fc.nat(4))
  .chain(([endian, entries, subs, maps]) =>
    fc.record(
      {
        endian: fc.constant(endian),
        entries: fc.tuple(...Array.from({ length: entries }, (_, i) => fn(`entry${i}`, subs, 0))),
        subs:
          subs === 0
            ? fc.constant([])
            : fc.tuple(...Array.from({ length: subs }, (_, i) => fn(`sub${i}`, subs, i + 1))),
        maps: maps === 0 ? fc.constant([]) : fc.tuple(...Array.from({ length: maps }, (_, i) => mapArbitrary(i))),
      },
      { noNullPrototype: true },
    ),
  )
  .map((made) => made as Made);

export const sectionOf = (i: number): string => (i === 2 ? "raw_tp/sys_exit" : "raw_tp/sys_enter");

/** Two programs that share a ring buffer, a hash and a subprogram: loads on any kernel since 5.8. */
export function sharedSpec(): CollectionSpec {
  const b = new BtfBuilder({ endian: "little" });
  const u32 = b.int("unsigned int", 4);
  const u64 = b.int("unsigned long long", 8);
  const ptr = b.add({ kind: "ptr", type: 0 });
  const task = b.add({
    kind: "struct",
    name: "task_struct",
    size: 8,
    members: [{ name: "pid", type: u32, bitOffset: 32, bitSize: 0 }],
  });
  const entryProto = b.add({ kind: "func_proto", type: u32, params: [{ name: "ctx", type: ptr }] });
  const helperProto = b.add({ kind: "func_proto", type: u32, params: [{ name: "x", type: u32 }] });
  const onExec = b.add({ kind: "func", name: "onExec", type: entryProto, linkage: "global" });
  const onExit = b.add({ kind: "func", name: "onExit", type: entryProto, linkage: "global" });
  const add = b.add({ kind: "func", name: "addOne", type: helperProto, linkage: "static" });
  const maps: MapSpec[] = [
    mapSpec({ name: "events", type: BPF_MAP_TYPE.RINGBUF, maxEntries: 4096 }),
    mapSpec({
      name: "byUid",
      type: BPF_MAP_TYPE.HASH,
      keySize: 4,
      valueSize: 8,
      maxEntries: 64,
      btfKeyTypeId: u32,
      btfValueTypeId: u64,
    }),
    mapSpec({
      name: "probe.rodata",
      type: BPF_MAP_TYPE.ARRAY,
      keySize: 4,
      valueSize: 4,
      maxEntries: 1,
      flags: BPF_F.RDONLY_PROG | BPF_F.MMAPABLE,
      frozen: true,
      data: Uint8Array.of(0xff, 0xff, 0xff, 0xff),
      variables: [{ name: "onlyUid", offset: 0, size: 4, btfTypeId: u32 }],
      section: ".rodata",
    }),
    mapSpec({
      name: "probe.bss",
      type: BPF_MAP_TYPE.ARRAY,
      keySize: 4,
      valueSize: 8,
      maxEntries: 1,
      flags: BPF_F.MMAPABLE,
      variables: [{ name: "seen", offset: 0, size: 8, btfTypeId: u64 }],
      section: ".bss",
    }),
  ];
  const program = (name: string, funcId: number, target: string, line: number, withTask: boolean): ProgSpec => {
    const body: Insn[] = [
      stMem("w", 10, -4, 7),
      ...ldMapFd(1, 0),
      mov64Reg(2, 10),
      { ...mov64Imm(2, -4), opcode: 0x07 },
      callHelper(1),
      ...ldMapFd(1, 0),
      mov64Reg(2, 10),
      { ...mov64Imm(2, -4), opcode: 0x07 },
      mov64Imm(3, 4),
      mov64Imm(4, 0),
      callHelper(130),
      ...ldMapValue(1, 0, 0),
      { opcode: 0x61, dst: 1, src: 1, off: 0, imm: 0 },
      ...ldMapValue(2, 0, 0),
      stMem("dw", 2, 0, 1),
    ];
    const refs: InsnRef[] = [
      { kind: "map", insn: 1, map: "byUid" },
      { kind: "map", insn: 6, map: "events" },
      { kind: "map-value", insn: 13, map: "probe.rodata", offset: 0 },
      { kind: "map-value", insn: 16, map: "probe.bss", offset: 0 },
    ];
    const coreRelos: CoreRelo[] = [];
    if (withTask) {
      coreRelos.push({ insn: body.length, typeId: task, access: "0:0", kind: 0 });
      body.push(mov64Imm(3, 4));
    }
    const call = body.length;
    body.push(callSubprog(0), exit());
    const sub = body.length;
    body[call] = { ...body[call]!, imm: sub - call - 1 };
    refs.push({ kind: "subprog", insn: call, target: sub });
    body.push(mov64Reg(0, 1), exit());
    return {
      name,
      section: `raw_tp/${target}`,
      type: BPF_PROG_TYPE.RAW_TRACEPOINT,
      expectedAttachType: 0,
      attachTo: target,
      autoload: true,
      flags: 0,
      insns: body,
      refs,
      funcs: [
        { insn: 0, typeId: funcId, name },
        { insn: sub, typeId: add, name: "addOne" },
      ],
      lines: [
        {
          insn: 0,
          file: "/src/execsnoop.ts",
          text: `export const ${name} = rawTracepoint("${target}", (ctx, bpf) => {`,
          line,
          col: 14,
        },
        { insn: 6, file: "/src/execsnoop.ts", text: "  events.emit(7);", line: line + 1, col: 3 },
        { insn: sub, file: "/src/execsnoop.ts", text: "const addOne = (x: number) => x;", line: 3, col: 7 },
      ],
      coreRelos,
    };
  };
  return {
    name: "probe",
    endian: "little",
    license: "GPL",
    kernelVersion: 0,
    btf: b.encode(),
    maps,
    progs: [program("onExec", onExec, "sys_enter", 10, true), program("onExit", onExit, "sys_exit", 20, false)],
    sources: new Map(),
  };
}
