/** Options that a constructor does not have are refused: `hash(u32, u64, 4096)` would else be a map of 10240 entries. */
import { closest } from "../core/edit-distance.ts";
import { ArgumentError } from "../core/errors.ts";

const MAP = ["maxEntries", "flags", "name", "pinned"];
const SIZED = ["flags", "name", "pinned"];
const PROGRAM = ["name"];
const SLEEPABLE = ["name", "sleepable"];
const FUNCTION = [...SLEEPABLE, "module"];

/** By constructor; the other maps have the options `MAP`, the other programs and the globals `name`. */
const OPTIONS: Readonly<Record<string, readonly string[]>> = {
  arrayMap: SIZED,
  percpuArray: SIZED,
  arena: SIZED,
  ringbuf: [...SIZED, "size", "countLost"],
  userRingbuf: [...SIZED, "size"],
  stackTrace: [...MAP, "depth"],
  bloomFilter: [...MAP, "hashes"],
  arrayOfMaps: [...MAP, "slots"],
  taskStorage: SIZED,
  cgrpStorage: SIZED,
  skStorage: SIZED,
  inodeStorage: SIZED,
  histogram: [...MAP, "min", "max", "step"],
  fentry: FUNCTION,
  fexit: FUNCTION,
  fmodRet: FUNCTION,
  kprobe: [...PROGRAM, "plus"],
  kprobeMulti: [...PROGRAM, "at"],
  uprobe: SLEEPABLE,
  uretprobe: SLEEPABLE,
  usdt: SLEEPABLE,
  lsm: SLEEPABLE,
  iter: SLEEPABLE,
  // Every program of this type may sleep: the constructor says so itself.
  syscallProg: [...SLEEPABLE, "context"],
  freplace: [...PROGRAM, "args", "returns"],
  xdp: [...PROGRAM, "frags", "at"],
  tc: [...PROGRAM, "at"],
  structOps: [...PROGRAM, "link"],
  skReuseport: [...PROGRAM, "migrate"],
};

/** @throws ArgumentError if `options` is no object or has an option that `constructor` does not. */
export function checkOptions(constructor: string, kind: "map" | "program" | "global", options: unknown): void {
  const known = OPTIONS[constructor] ?? (kind === "map" ? MAP : PROGRAM);
  if (typeof options !== "object" || options === null || Array.isArray(options)) {
    const got = typeof options === "object" ? (options === null ? "null" : "an array") : String(options);
    throw new ArgumentError(`${constructor}(options)`, `expected an object such as { ${known[0]}: … }, got ${got}`);
  }
  for (const name of Object.keys(options)) {
    if (known.includes(name)) continue;
    const near = closest(name, known);
    const hint = near === undefined ? `it has ${known.join(", ")}` : `did you mean '${near}'?`;
    throw new ArgumentError(`${constructor}(options)`, `there is no option '${name}'; ${hint}`);
  }
}
