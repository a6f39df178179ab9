/** CO-RE: rewriting a program's field offsets, sizes, type ids and enum values for the kernel at hand. */
import type { Insn } from "../asm/insn.ts";
import type { Diagnostic } from "../core/diagnostic.ts";
import { BpfkitError } from "../core/errors.ts";
import type { Btf } from "./btf.ts";
import { isAnyEnum, isComposite, kindsCompatible, CoreLimit } from "./core-compat.ts";
import {
  CORE_RELO,
  CORE_RELO_NAMES,
  essentialLength,
  essentialName,
  isEnumRelo,
  isFieldRelo,
  type CoreReloName,
  type CoreReloRecord,
} from "./core-kinds.ts";
import { patchCoreInsn } from "./core-patch.ts";
import { formatCoreSpec, matchCoreSpec, parseCoreSpec, type CoreSpec } from "./core-spec.ts";
import { candidateText, coreDisagreement, coreValue, type CoreValue } from "./core-value.ts";
import { findMember, resolve } from "./layout.ts";

/** A target type that shares the local type's name (flavour aside) and kind. */
export interface CoreCandidate {
  readonly btf: Btf;
  readonly id: number;
}

/** What became of one relocation. */
export interface CoreResult {
  readonly relo: CoreReloRecord;
  readonly kind: CoreReloName;
  /** `struct task_struct.se.vruntime`; "" when the record itself is malformed. */
  readonly path: string;
  /**
   * `ok`: resolved (an existence check that found nothing is 0, and ok). `poisoned`: nothing matched; the
   * program loads only if the instruction is never reached. `error`: the program must not be loaded.
   */
  readonly status: "ok" | "poisoned" | "error";
  /** The values; undefined when the record is malformed, ambiguous or unsatisfiable. */
  readonly value: CoreValue | undefined;
  /** The matching target type. */
  readonly target: CoreCandidate | undefined;
  /** Why it is not `ok`. */
  readonly diagnostic: Diagnostic | undefined;
}

export interface CoreRelocation {
  readonly insns: Insn[];
  readonly results: CoreResult[];
}

/**
 * Finds and matches target types, and remembers them for further programs. The first
 * target is the kernel's BTF; the others (its modules') are asked only where the first
 * has no type of that name.
 *
 * @example
 * const resolver = new CoreResolver([vmlinux]);
 * for (const prog of spec.progs) {
 *   const { insns, results } = resolver.relocate({ insns: prog.insns, relos: prog.coreRelos, local });
 *   console.log(insns.length, results.filter((r) => r.status !== "ok").map((r) => r.diagnostic?.message));
 * }
 */
export class CoreResolver {
  readonly targets: readonly Btf[];
  /** Ids by essential name, per target: names that are flavours of others. */
  readonly #flavours = new Map<Btf, Map<string, number[]>>();
  /** Candidates by local type; narrowed to those that matched, as libbpf does. */
  readonly #exact = new WeakSet<Btf>();
  readonly #candidates = new WeakMap<Btf, Map<number, CoreCandidate[]>>();

  constructor(targets: readonly Btf[]) {
    this.targets = targets;
  }

  /**
   * `local` was made from the first target: its names are that one's types, not flavours of others, which need not
   * be searched for (1-2 ms a name, cold).
   */
  madeFrom(local: Btf): void {
    this.#exact.add(local);
  }

  /** Target types that `typeId` of `local` could be. */
  candidates(local: Btf, typeId: number): readonly CoreCandidate[] {
    let byType = this.#candidates.get(local);
    if (byType === undefined) this.#candidates.set(local, (byType = new Map()));
    let found = byType.get(typeId);
    if (found === undefined) byType.set(typeId, (found = this.#find(local, typeId)));
    return found;
  }

  #find(local: Btf, typeId: number): CoreCandidate[] {
    const type = local.typeById(typeId);
    const name = essentialName(type.name);
    const found: CoreCandidate[] = [];
    if (name === "") return found;
    for (const [i, btf] of this.targets.entries()) {
      if (i === 1 && found.length > 0) break;
      const ids = i === 0 && this.#exact.has(local) ? btf.findIds(type.name) : this.#named(btf, name);
      for (const id of ids) {
        if (kindsCompatible(type, btf.typeById(id))) found.push({ btf, id });
      }
    }
    return found;
  }

  /** Own ids of `btf` (not of its base) whose essential name is `name`, ascending. */
  #named(btf: Btf, name: string): number[] {
    let flavours = this.#flavours.get(btf);
    if (flavours === undefined) {
      const searched = btf.searchFlavours(name);
      // `name____x` is a flavour of `name_`: the prefix found it all the same.
      if (searched !== undefined) return searched.filter((id) => essentialName(btf.nameOf(id)) === name);
    }
    if (flavours === undefined) this.#flavours.set(btf, (flavours = flavoursOf(btf)));
    const plain = btf.nameIndex.all(name, -1);
    const others = flavours.get(name);
    return others === undefined ? plain : [...plain, ...others].sort((a, b) => a - b);
  }

  /** Resolves one relocation without an instruction. */
  resolve(local: Btf, relo: CoreReloRecord): CoreResult {
    const kind = CORE_RELO_NAMES[relo.kind];
    let spec: CoreSpec | undefined;
    const end = (status: CoreResult["status"], rest: Partial<CoreResult>): CoreResult => ({
      relo,
      kind: kind ?? "field_byte_offset",
      path: spec === undefined ? "" : formatCoreSpec(spec, relo.kind),
      status,
      value: undefined,
      target: undefined,
      diagnostic: undefined,
      ...rest,
    });
    const error = (code: string, message: string, notes: string[] = [], help?: string): CoreResult =>
      end("error", { diagnostic: diagnostic(code, "error", message, notes, help) });
    if (kind === undefined) return error("BPF7001", `unknown CO-RE relocation kind ${relo.kind}`);
    try {
      spec = parseCoreSpec(local, relo);
      if (relo.kind === CORE_RELO.TYPE_ID_LOCAL) {
        const id = BigInt(relo.typeId);
        const value: CoreValue = {
          original: id,
          value: id,
          poison: false,
          validate: false,
          originalSize: 0,
          size: 0,
          sizeMismatch: false,
        };
        return end("ok", { value });
      }
      if (local.nameOf(relo.typeId) === "") {
        return error(
          "BPF7002",
          `${kind}: ${local.describe(relo.typeId)} has no name, so no target type can be found for it`,
        );
      }
      const candidates = this.candidates(local, relo.typeId);
      const matched: CoreCandidate[] = [];
      let first: { spec: CoreSpec; value: CoreValue } | undefined;
      for (const candidate of candidates) {
        const match = matchCoreSpec(spec, relo.kind, candidate.btf, candidate.id);
        if (match === undefined) continue;
        const value = coreValue(spec, match, relo.kind);
        matched.push(candidate);
        if (first === undefined) {
          first = { spec: match, value };
          continue;
        }
        const differ = coreDisagreement(first, { spec: match, value });
        if (differ !== undefined) {
          return error(
            "BPF7003",
            `${kind} of ${formatCoreSpec(spec, relo.kind)} is ambiguous: target types of that name disagree, ${differ}`,
            [...matched, ...candidates.slice(candidates.indexOf(candidate) + 1)].map(
              (c) => `candidate: ${candidateText(c)}`,
            ),
            "give the type a layout that only one of the candidates has, by accessing a member that only that one has",
          );
        }
      }
      if (first !== undefined) {
        if (matched.length < candidates.length) this.#candidates.get(local)?.set(relo.typeId, matched);
        return end("ok", { value: first.value, target: matched[0]! });
      }
      const value = coreValue(spec, undefined, relo.kind);
      if (!value.poison) return end("ok", { value });
      return end("poisoned", { value, diagnostic: explainMissing(spec, relo, kind, candidates, this.targets) });
    } catch (thrown) {
      if (thrown instanceof BpfkitError || thrown instanceof CoreLimit) {
        return error(
          "BPF7001",
          `${kind}${spec === undefined ? "" : ` of ${formatCoreSpec(spec, relo.kind)}`}: ${thrown.message}`,
        );
      }
      throw thrown;
    }
  }

  /**
   * Relocates one program: a copy of its instructions with every relocation applied.
   * Never throws for what the program or the BTF contain: look at `results`.
   */
  relocate(input: { insns: readonly Insn[]; relos: readonly CoreReloRecord[]; local: Btf }): CoreRelocation {
    const insns = input.insns.slice();
    const exact = this.#exact.has(input.local);
    const results = input.relos.map((relo): CoreResult => {
      if (exact && isFieldRelo(relo.kind)) {
        // What was compiled for the one type of that name is right as it is; proving it takes 1 ms, cold.
        const [target, ...others] = this.candidates(input.local, relo.typeId);
        if (target !== undefined && others.length === 0) return unchanged(relo, target);
      }
      const result = this.resolve(input.local, relo);
      if (result.value === undefined) return result;
      const outcome = patchCoreInsn(insns, relo.insn, result.value);
      if (outcome.kind === "patched") return result;
      if (outcome.kind === "refused") {
        const message = `${result.kind} of ${result.path}: ${outcome.reason}`;
        return { ...result, status: "error", diagnostic: diagnostic("BPF7005", "error", message, []) };
      }
      if (outcome.reason === undefined) return result;
      const message = `${result.kind} of ${result.path}: ${outcome.reason}`;
      const help = "read the field with a helper that copies its bytes, or declare it with the target's type";
      return { ...result, status: "poisoned", diagnostic: diagnostic("BPF7006", "warning", message, [], help) };
    });
    return { insns, results };
  }
}

function unchanged(relo: CoreReloRecord, target: CoreCandidate): CoreResult {
  const kind = CORE_RELO_NAMES[relo.kind] ?? "field_byte_offset";
  return { relo, kind, path: "", status: "ok", value: undefined, target, diagnostic: undefined };
}

/**
 * Relocates one program against `targets` (the kernel's BTF, then its modules').
 *
 * @example
 * const { insns, results } = relocate({ insns: prog.insns, relos: prog.coreRelos, local, targets: [vmlinux] });
 * if (results.some((r) => r.status === "error")) throw new Error("this kernel's types do not fit");
 */
export function relocate(input: {
  insns: readonly Insn[];
  relos: readonly CoreReloRecord[];
  local: Btf;
  targets: readonly Btf[];
}): CoreRelocation {
  return new CoreResolver(input.targets).relocate(input);
}

function diagnostic(
  code: string,
  severity: Diagnostic["severity"],
  message: string,
  notes: readonly string[],
  help?: string,
): Diagnostic {
  return { code, severity, message, labels: [], notes, ...(help === undefined ? {} : { help }) };
}

/** Own types of `btf` with a flavour suffix, by essential name. */
function flavoursOf(btf: Btf): Map<string, number[]> {
  const byName = new Map<string, number[]>();
  const names = new Set<string>();
  // A split BTF's type may take its name from the base's strings.
  for (let owner: Btf | undefined = btf; owner !== undefined; owner = owner.base) {
    const text = owner.strings.text();
    if (text === undefined) {
      // Not ASCII: every type's name is looked at.
      names.clear();
      for (let id = btf.firstId; id < btf.typeCount; id++) names.add(btf.nameOf(id));
      break;
    }
    for (let at = text.indexOf("___"); at >= 0;) {
      const end = text.indexOf("\0", at);
      names.add(text.slice(text.lastIndexOf("\0", at) + 1, end));
      at = text.indexOf("___", end);
    }
  }
  for (const name of names) {
    if (essentialLength(name) === name.length) continue;
    for (const id of btf.nameIndex.all(name, -1)) addFlavour(byName, name, id);
  }
  return byName;
}

function addFlavour(byName: Map<string, number[]>, name: string, id: number): void {
  const plain = essentialName(name);
  const ids = byName.get(plain);
  if (ids === undefined) byName.set(plain, [id]);
  else ids.push(id);
}

/** Names the first step that no candidate has, and what the candidates have instead. */
function explainMissing(
  spec: CoreSpec,
  relo: CoreReloRecord,
  kind: CoreReloName,
  candidates: readonly CoreCandidate[],
  targets: readonly Btf[],
): Diagnostic {
  const path = formatCoreSpec(spec, relo.kind);
  const root = spec.btf.describe(spec.rootId);
  const help = isFieldRelo(relo.kind)
    ? "check that the field exists before it is used (a field-exists test), so that this code is never reached where it does not"
    : "check that the value exists before it is used (an enum-value-exists test)";
  if (candidates.length === 0) {
    const where = targets.map((t) => t.what).join(", ");
    return diagnostic("BPF7004", "warning", `${kind} of ${path}: no ${root} in the target (${where})`, [], help);
  }
  const notes = candidates.map(
    (candidate) => `candidate: ${candidateText(candidate)} ${whyNot(spec, relo, candidate)}`,
  );
  return diagnostic("BPF7004", "warning", `${kind} of ${path}: no candidate has it`, notes, help);
}

function whyNot(spec: CoreSpec, relo: CoreReloRecord, candidate: CoreCandidate): string {
  const { btf } = candidate;
  let id = candidate.id;
  if (isEnumRelo(relo.kind)) return `has no value ${spec.accessors[0]?.name ?? "?"}`;
  for (const [i, accessor] of spec.accessors.entries()) {
    const type = resolve(btf, id);
    if (accessor.name === undefined) {
      if (i === 0) continue;
      if (type.kind !== "array") return `has ${btf.describe(type.id)} where an array is indexed`;
      if (accessor.index >= type.nelems) return `has only ${type.nelems} elements where [${accessor.index}] is taken`;
      id = type.type;
      continue;
    }
    if (!isComposite(type)) return `has ${isAnyEnum(type) ? "an enum" : type.kind} where .${accessor.name} is taken`;
    const found = findMember(btf, type.id, accessor.name);
    if (found === undefined) {
      const near = type.members.filter((m) => m.name !== "" && similar(m.name, accessor.name!)).slice(0, 3);
      const hint = near.length === 0 ? "" : ` (it has ${near.map((m) => m.name).join(", ")})`;
      return `has no member ${accessor.name}${hint}`;
    }
    id = found.member.type;
  }
  return "has members of other types";
}

function similar(a: string, b: string): boolean {
  return (
    a.replaceAll("_", "") === b.replaceAll("_", "") || a.includes(b) || b.includes(a) || a.slice(0, 5) === b.slice(0, 5)
  );
}
