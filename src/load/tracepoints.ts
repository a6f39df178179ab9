/** Every tracepoint of the running kernel. */
import type { Kernel } from "../syscall/kernel.ts";
import type { TracepointField } from "../btf/tracepoint-format.ts";
import { tracepointFormat, tracefsRoot } from "../syscall/tracefs.ts";

/** Names as "category:name", sorted. Throws `NotSupportedError` when tracefs cannot be reached. */
export function tracepointNames(kernel: Kernel): string[] {
  const root = tracefsRoot(kernel);
  const list = (path: string): readonly string[] => {
    const names = kernel.readDir(path);
    return typeof names === "number" ? [] : names;
  };
  return list(`${root}/events`)
    .flatMap((category) => list(`${root}/events/${category}`).map((name) => `${category}:${name}`))
    .filter((name) => typeof kernel.readDir(`${root}/events/${name.replace(":", "/")}`) !== "number")
    .sort();
}

/** Fields of every tracepoint whose layout can be read, by "category:name". */
export function tracepointFields(kernel: Kernel): Record<string, readonly TracepointField[]> {
  const out: Record<string, readonly TracepointField[]> = {};
  for (const name of tracepointNames(kernel)) {
    const [category = "", event = ""] = name.split(":");
    try {
      out[name] = tracepointFormat(kernel, category, event).fields;
    } catch {
      // Events of the function tracer ("ftrace:…") have a format of another shape, and modules come and go.
    }
  }
  return out;
}
