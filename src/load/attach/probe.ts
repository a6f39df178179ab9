/** kprobes and uprobes through their perf PMUs (Linux 4.17): no text goes through tracefs, and closing the event removes the probe. */
import { ArgumentError, BpfkitError, NotSupportedError } from "../../core/errors.ts";
import { cstring } from "../../syscall/attr.ts";
import { Owned } from "../../syscall/fd.ts";
import type { Kernel } from "../../syscall/kernel.ts";
import { perfEventOpen, pmuType, retprobeBit } from "../../syscall/perf.ts";
import { type Attachable, type Link, attachToPerfEvent } from "../link.ts";
import { resolveBinary, symbolOffset } from "./binary.ts";
import type { CookieOption } from "./trace.ts";

/** Where to put a kprobe: at a function (plus `offset` bytes) or at an address. */
export interface KprobeTarget extends CookieOption {
  readonly symbol?: string;
  readonly offset?: number;
  readonly address?: bigint;
  /** Run when the function returns instead. */
  readonly ret?: boolean;
}

/** Attaches to a kernel function. Needs CONFIG_KPROBE_EVENTS. */
export function attachKprobe(prog: Attachable, target: KprobeTarget): Link {
  const { kernel } = prog;
  const place = target.symbol ?? (target.address === undefined ? undefined : `0x${target.address.toString(16)}`);
  if (place === undefined) throw new ArgumentError("target", "expected a symbol or an address");
  const what = `${target.ret === true ? "kretprobe" : "kprobe"} ${place}${target.offset === undefined || target.offset === 0 ? "" : `+${target.offset}`}`;
  const type = pmuOf(kernel, "kprobe", "CONFIG_KPROBE_EVENTS");
  const owned = new Owned();
  const event = owned.own(
    perfEventOpen(
      kernel,
      what,
      {
        type,
        config: target.ret === true ? 1n << BigInt(retprobeBit(kernel, "kprobe")) : 0,
        ...(target.symbol === undefined
          ? { config2: target.address ?? 0n }
          : { config1: cstring(target.symbol), config2: target.offset ?? 0 }),
        cpu: 0,
        disabled: true,
      },
      [`the function may not exist, be inlined, or be forbidden to probe (see /sys/kernel/debug/kprobes/blacklist)`],
    ),
  );
  return attachToPerfEvent(prog, event, what, owned, target.cookie);
}

/** Where to put a uprobe. */
export interface UprobeTarget extends CookieOption {
  /** Path of an executable or library, the name of a command ("bash") or of a library ("c", "libssl.so.3"). */
  readonly binary: string;
  /** A function of the binary; `offset` counts from its start. */
  readonly symbol?: string;
  /** Virtual address as the symbol table has it (before relocation). */
  readonly address?: bigint;
  /** Without a symbol: the byte offset in the file. */
  readonly offset?: number;
  /** Only this process; every process that maps the file by default. */
  readonly pid?: number;
  readonly ret?: boolean;
  /** File offset of a USDT semaphore to count up while attached. */
  readonly refCountOffset?: number;
}

/**
 * Attaches to a function of a program or library.
 *
 * @example
 * const link = attachUprobe(prog, { binary: "bash", symbol: "readline", ret: true });
 */
export function attachUprobe(prog: Attachable, target: UprobeTarget): Link {
  const { kernel } = prog;
  const path = resolveBinary(target.binary, target.pid);
  const offset = symbolOffset(path, target);
  const place =
    target.symbol ?? (target.address === undefined ? `0x${offset.toString(16)}` : `0x${target.address.toString(16)}`);
  const what = `${target.ret === true ? "uretprobe" : "uprobe"} ${path}:${place}${target.symbol !== undefined && (target.offset ?? 0) !== 0 ? `+${target.offset}` : ""}`;
  const type = pmuOf(kernel, "uprobe", "CONFIG_UPROBE_EVENTS");
  const ret = target.ret === true ? 1n << BigInt(retprobeBit(kernel, "uprobe")) : 0n;
  const owned = new Owned();
  const event = owned.own(
    perfEventOpen(kernel, what, {
      type,
      // The upper half of config is the offset of the reference counter.
      config: ret | (BigInt(target.refCountOffset ?? 0) << 32n),
      config1: cstring(path),
      config2: offset,
      pid: target.pid ?? -1,
      cpu: target.pid === undefined ? 0 : -1,
      disabled: true,
    }),
  );
  return attachToPerfEvent(prog, event, what, owned, target.cookie);
}

function pmuOf(kernel: Kernel, name: "kprobe" | "uprobe", option: string): number {
  const type = pmuType(kernel, name);
  if (type === undefined) {
    throw new NotSupportedError(
      `${name}s`,
      `this kernel has no ${name} events: it is built without ${option}, or older than 4.17${name === "kprobe" ? ". Tracepoints, tp_btf and uprobes work without" : ""}`,
      { minKernel: "4.17" },
    );
  }
  return type;
}

/** Splits "function+0x10" or "function". */
export function parseSymbol(text: string): { symbol: string; offset: number } {
  const match = /^([^+]+?)(?:\+(0x[0-9a-fA-F]+|\d+))?$/.exec(text);
  if (match === null)
    throw new BpfkitError("ATTACH", `expected a function name, perhaps with +offset, got ${JSON.stringify(text)}`);
  return { symbol: match[1] ?? "", offset: Number(match[2] ?? 0) };
}
