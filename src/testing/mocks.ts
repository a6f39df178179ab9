/** Helpers and kfuncs that the test answers: their arguments as the kernel's headers and types describe them. */
import { decodeCString } from "../core/bytes.ts";
import { ArgumentError } from "../core/errors.ts";
import type { BtfFuncProto } from "../btf/types.ts";
import { resolve, sizeOf } from "../btf/layout.ts";
import { BPF_FUNC, helperById } from "../uapi/helpers.ts";
import type { HelperArg, HelperRow } from "../uapi/helper-types.ts";
import { MAP_BASE } from "../vm/memory.ts";
import type { Run } from "../vm/run.ts";
import type { Mock } from "../vm/vm.ts";
import type { KernelObjects } from "./world/objects.ts";
import type { KernelObject } from "./world/types.ts";
import { shown } from "./world/values.ts";

/** Memory that an argument points to. */
export interface MockMemory {
  readonly address: bigint;
  /** As the call says it; 0 when nothing does. */
  readonly size: number;
  /** A copy. */
  read(size?: number): Uint8Array;
  write(bytes: Uint8Array): void;
}

/** Integers of 64 bits are bigint, shorter ones number; text of constant strings and names of maps are strings. */
export type MockArg = number | bigint | string | null | MockMemory | KernelObject;

export interface MockCall {
  /** By the names of the kernel's headers: `{ dst, size, unsafe_ptr }` of probe_read_user. */
  readonly args: Readonly<Record<string, MockArg>>;
  /** r1 to r5, unsigned. */
  readonly registers: readonly bigint[];
  /** The program that calls. */
  readonly program: string;
}

/** What the call gives: an integer, a truth, an object's address; undefined is 0. */
export type MockResult = number | bigint | boolean | KernelObject | null | undefined | void;
export type MockFunction = (call: MockCall) => MockResult;
/** By name: helpers with or without "bpf_", kfuncs as they are called. */
export type Mocks = Readonly<Record<string, MockFunction>>;

/** @throws ArgumentError for a value that is no function */
export function vmMocks(mocks: Mocks, kernel: () => KernelObjects | undefined): Record<string, Mock> {
  const out: Record<string, Mock> = {};
  for (const [name, fn] of Object.entries(mocks)) {
    if (typeof fn !== "function")
      throw new ArgumentError(`mocks.${name}`, `expected a function (call) => result, got ${typeof fn}`);
    const plain = name.replace(/^bpf_/, "");
    const id = (BPF_FUNC as Readonly<Record<string, number>>)[plain];
    const row = id === undefined ? undefined : helperById(id);
    // A kfunc may be called like a helper; what no kernel has as a helper is a kfunc.
    if (row === undefined) out[name] = mocked(name, fn, () => kfuncArgs(name, kernel()));
    else out[plain] = mocked(plain, fn, () => helperArgs(row));
  }
  return out;
}

type Decode = (run: Run, value: bigint, registers: readonly bigint[]) => MockArg;
type Params = readonly { readonly name: string; readonly decode: Decode }[];

function mocked(name: string, fn: MockFunction, describe: () => Params): Mock {
  let params: Params | undefined;
  return (registers, run) => {
    params ??= describe();
    const args: Record<string, MockArg> = {};
    params.forEach((p, i) => {
      args[p.name] = p.decode(run, registers[i] ?? 0n, registers);
    });
    return resultOf(name, fn({ args, registers, program: run.image.spec.name }));
  };
}

function resultOf(name: string, result: MockResult): bigint {
  switch (typeof result) {
    case "bigint":
      return result;
    case "boolean":
      return result ? 1n : 0n;
    case "undefined":
      return 0n;
    case "number":
      if (Number.isSafeInteger(result)) return BigInt(result);
      break;
    case "object":
      if (result === null) return 0n;
      if (typeof result.address === "bigint") return result.address;
      break;
    default:
  }
  throw new ArgumentError(
    `mocks.${name}`,
    `expected it to give an integer, boolean or kernel object, got ${shown(result)}`,
  );
}

// Helpers

function helperArgs(row: HelperRow): Params {
  return row.args.map((arg, i) => ({ name: arg.name, decode: helperArg(row, arg, i) }));
}

function helperArg(row: HelperRow, arg: HelperArg, index: number): Decode {
  switch (arg.type) {
    case "ARG_CONST_MAP_PTR":
      return (run, value) => mapOf(run, value)?.name ?? null;
    case "ARG_PTR_TO_CONST_STR":
      return (run, value) => decodeCString(run.memory.copy(Number(value), 4096));
    case "ARG_PTR_TO_MAP_KEY":
      return (run, value, registers) => memory(run, value, mapOf(run, registers[0] ?? 0n)?.spec.keySize ?? 0);
    case "ARG_PTR_TO_MAP_VALUE":
      return (run, value, registers) => memory(run, value, mapOf(run, registers[0] ?? 0n)?.spec.valueSize ?? 0);
    case "ARG_PTR_TO_MEM": {
      const next = row.args[index + 1];
      const sized = next?.type === "ARG_CONST_SIZE" || next?.type === "ARG_CONST_SIZE_OR_ZERO";
      return (run, value, registers) =>
        memory(run, value, arg.size ?? (sized ? Number(BigInt.asUintN(32, registers[index + 1] ?? 0n)) : 0));
    }
    case "ARG_PTR_TO_CTX":
    case "ARG_PTR_TO_STACK":
    case "ARG_PTR_TO_TIMER":
    case "ARG_PTR_TO_SPIN_LOCK":
    case "ARG_PTR_TO_DYNPTR":
    case "ARG_PTR_TO_RINGBUF_MEM":
      return (run, value) => memory(run, value, arg.size ?? 0);
    default: {
      const [, sign, bits] = /^([us])(8|16|32)$/.exec(arg.c) ?? (arg.c === "int" ? ["", "s", "32"] : []);
      if (bits === undefined) return (_run, value) => value;
      return (_run, value) =>
        Number(sign === "s" ? BigInt.asIntN(Number(bits), value) : BigInt.asUintN(Number(bits), value));
    }
  }
}

function mapOf(
  run: Run,
  value: bigint,
): { readonly name: string; readonly spec: { keySize: number; valueSize: number } } | undefined {
  return run.vm.mapAt(Number(BigInt.asUintN(32, value)) - MAP_BASE);
}

function memory(run: Run, value: bigint, size: number): MockMemory | null {
  if (value === 0n) return null;
  const at = Number(BigInt.asUintN(32, value));
  const inside = (bytes: number): void => {
    const region = run.memory.regionAt(at);
    if (value > 0xffff_ffffn || region === 0 || at + bytes > run.memory.regEnd[region]!)
      throw new ArgumentError("mock", `0x${value.toString(16)} is no memory of ${bytes} bytes`);
  };
  return {
    address: value,
    size,
    read: (bytes = size) => {
      inside(bytes);
      return run.memory.copy(at, bytes);
    },
    write: (bytes) => {
      inside(bytes.length);
      run.memory.u8.set(bytes, at);
      run.memory.markWritten(at, bytes.length);
    },
  };
}

// Kfuncs: typed by the kernel's BTF.

function kfuncArgs(name: string, kernel: KernelObjects | undefined): Params {
  const id = kernel?.btf.findId(name, "func") ?? 0;
  if (kernel === undefined || id === 0) return [];
  const { btf } = kernel;
  const func = btf.typeById(id);
  const proto = func.kind === "func" ? (btf.typeById(func.type) as BtfFuncProto) : undefined;
  return (proto?.params ?? []).map((p, i) => ({
    name: p.name === "" ? `arg${i + 1}` : p.name,
    decode: kfuncArg(kernel, p.type),
  }));
}

function kfuncArg(kernel: KernelObjects, typeId: number): Decode {
  const { btf } = kernel;
  const type = typeId === 0 ? undefined : resolve(btf, typeId);
  if (type === undefined) return (_run, value) => value;
  if (type.kind === "ptr") {
    const target = type.type === 0 ? undefined : resolve(btf, type.type);
    if (target?.kind === "struct" && target.size > 0 && !target.name.startsWith("bpf_")) {
      return (_run, value) => (value === 0n ? null : kernel.at(`struct ${target.name}`, value));
    }
    return (run, value) => memory(run, value, target === undefined ? 0 : sizeOf(btf, target.id));
  }
  const signed = type.kind === "int" && type.signed;
  const bits = "size" in type && typeof type.size === "number" ? type.size * 8 : 64;
  if (bits >= 64) return (_run, value) => (signed ? BigInt.asIntN(64, value) : value);
  return (_run, value) => Number(signed ? BigInt.asIntN(bits, value) : BigInt.asUintN(bits, value));
}
