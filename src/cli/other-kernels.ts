/** What a compiled file needs of kernel types that other kernels do not have. */
import { CoreResolver } from "../btf/core.ts";
import { Btf } from "../btf/btf.ts";
import type { Diagnostic } from "../core/diagnostic.ts";
import type { CollectionSpec } from "../elf/spec.ts";

/**
 * A warning for every field, type and enumerator that `target` lacks, where the source uses it. What the same program asks
 * for with `bpf.exists()` is its author's business.
 *
 * @param name how messages call that kernel
 */
export function absentIn(spec: CollectionSpec, target: Btf, name: string): Diagnostic[] {
  if (spec.btf === undefined) return [];
  const local = Btf.parse(spec.btf, { what: spec.name, endian: spec.endian });
  const resolver = new CoreResolver([target]);
  const found = new Map<string, Diagnostic>();
  for (const prog of spec.progs) {
    if (prog.coreRelos.length === 0) continue;
    const { results } = resolver.relocate({ insns: prog.insns, relos: prog.coreRelos, local });
    const asked = new Set(results.filter((r) => r.kind.endsWith("_exists")).map((r) => r.path));
    for (const { relo, path, status, diagnostic } of results) {
      if (status === "ok" || asked.has(path)) continue;
      const span = prog.lines.findLast((l) => l.insn <= relo.insn)?.span;
      const key = `${path} ${span?.file}:${span?.line}:${span?.col}`;
      found.set(key, {
        code: "BPF6007",
        severity: "warning",
        message: `${path} is not in the kernel types of ${name}: the program is refused there`,
        labels: span === undefined ? [] : [{ span }],
        notes: diagnostic?.notes ?? [],
        help: "use what both have, `a.x ?? a.y`, or ask first with `bpf.exists(a.x)`",
      });
    }
  }
  return [...found.values()];
}
