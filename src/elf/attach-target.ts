/** What a tracing or LSM program attaches to, as a type to look up in the kernel's BTF. */
import { BpfkitError } from "../core/errors.ts";
import { BPF_ATTACH_TYPE } from "../uapi/attach-types.ts";
import { BPF_PROG_TYPE } from "../uapi/prog-types.ts";
import type { ProgSpec } from "./spec.ts";

interface TargetRow {
  readonly prefix: string;
  readonly kind: "func" | "typedef";
  /** For messages. */
  readonly what: string;
}

const TRACE: Readonly<Record<number, TargetRow>> = {
  [BPF_ATTACH_TYPE.TRACE_RAW_TP]: { prefix: "btf_trace_", kind: "typedef", what: "tracepoint" },
  [BPF_ATTACH_TYPE.TRACE_FENTRY]: { prefix: "", kind: "func", what: "function" },
  [BPF_ATTACH_TYPE.TRACE_FEXIT]: { prefix: "", kind: "func", what: "function" },
  [BPF_ATTACH_TYPE.MODIFY_RETURN]: { prefix: "", kind: "func", what: "function" },
  [BPF_ATTACH_TYPE.TRACE_ITER]: { prefix: "bpf_iter_", kind: "func", what: "iterator" },
  [BPF_ATTACH_TYPE.LSM_MAC]: { prefix: "bpf_lsm_", kind: "func", what: "LSM hook" },
  [BPF_ATTACH_TYPE.LSM_CGROUP]: { prefix: "bpf_lsm_", kind: "func", what: "LSM hook" },
};

/**
 * The BTF type whose id is the program's attach_btf_id; undefined for programs that have none.
 *
 * @throws BpfkitError code "ATTACH" when the section does not say what to attach to
 */
export function attachTargetOf(
  prog: ProgSpec,
): { readonly name: string; readonly kind: "func" | "typedef"; readonly what: string } | undefined {
  if (prog.type !== BPF_PROG_TYPE.TRACING && prog.type !== BPF_PROG_TYPE.LSM) return undefined;
  const row = TRACE[prog.expectedAttachType];
  if (row === undefined) return undefined;
  const name = prog.attachTo ?? "";
  if (name === "")
    throw new BpfkitError(
      "ATTACH",
      `program ${prog.name}: its section ${JSON.stringify(prog.section)} does not say what to attach to`,
    );
  return { name: `${row.prefix}${name}`, kind: row.kind, what: row.what };
}
