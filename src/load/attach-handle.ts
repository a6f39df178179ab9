/** Attaching a program as its declaration says, which knows more than a section name. */
import type { AnyProgram, BinaryPlace } from "../probe/program-types.ts";
import { attachUprobe } from "./attach/probe.ts";
import { attachPerfEvent } from "./attach/trace.ts";
import type { Link } from "./link.ts";
import type { AttachOptions, Program } from "./program.ts";

/**
 * Attaches `program` where its declaration says. Undefined when it says nothing: packet and
 * cgroup programs need a device or cgroup in `options`, others are only ever run or called.
 */
export function attachHandle(program: Program, handle: AnyProgram, options: AttachOptions = {}): Link | undefined {
  const { attach } = handle;
  const cookie = options.cookie === undefined ? {} : { cookie: options.cookie };
  switch (attach.how) {
    case "none":
      return undefined;
    case "target":
      return options.device === undefined && options.cgroup === undefined ? undefined : program.attach(options);
    case "perf_event":
      return attachPerfEvent(program, {
        event: { type: attach.type, config: attach.config },
        ...(attach.hz === undefined ? { period: Number(attach.period ?? 1) } : { freq: attach.hz }),
        ...(attach.cpu < 0 ? {} : { cpus: [attach.cpu] }),
        ...(attach.pid === undefined ? {} : { pid: attach.pid }),
        ...cookie,
      });
    case "uprobe":
      return attachUprobe(program, {
        binary: attach.binary,
        ...placeOf(attach),
        ret: attach.ret,
        ...pidOf(attach, options),
        ...cookie,
      });
    default:
      return program.attach(options);
  }
}

function placeOf(place: BinaryPlace): { symbol?: string; offset?: number; address?: bigint } {
  if (place.symbol !== undefined) return { symbol: place.symbol, offset: place.plus ?? 0 };
  if (place.address !== undefined) return { address: BigInt(place.address) };
  return { offset: Number(place.offset ?? 0) };
}

function pidOf(place: BinaryPlace, options: AttachOptions): { pid?: number } {
  const pid = options.pid ?? place.pid;
  return pid === undefined ? {} : { pid };
}
