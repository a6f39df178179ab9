/**
 * The local copies of kernel structs that go into the object's BTF: only the
 * members that the program touches, at the offsets of the BTF it was compiled
 * with. Loaders match them with the running kernel's types by name.
 */
import type { CoreAccess, TypeRef } from "../ir/ir.ts";

/** `bpf_core_relo_kind` */
export const CORE = {
  FIELD_BYTE_OFFSET: 0,
  FIELD_BYTE_SIZE: 1,
  FIELD_EXISTS: 2,
  FIELD_SIGNED: 3,
  FIELD_LSHIFT_U64: 4,
  FIELD_RSHIFT_U64: 5,
  TYPE_ID_LOCAL: 6,
  TYPE_ID_TARGET: 7,
  TYPE_EXISTS: 8,
  TYPE_SIZE: 9,
  ENUMVAL_EXISTS: 10,
  ENUMVAL_VALUE: 11,
  TYPE_MATCHES: 12,
} as const;

/** A member that the given BTF lacks, asked for by `exists()`. Its index follows those of the kernel's members. */
export interface AbsentMember {
  readonly name: string;
}

/** A kernel struct, union or enum as far as it is used. */
export class LocalType implements TypeRef {
  readonly name: string;
  /** Id in the kernel's BTF; 0 when the type is not there. */
  readonly id: number;
  readonly kind: "struct" | "union" | "enum";
  /** Indices of the used members (or enumerators) in the kernel's BTF, ascending once `order()` ran. */
  readonly #used = new Set<number>();
  readonly absent: AbsentMember[] = [];
  #order: readonly number[] | undefined;

  constructor(name: string, id: number, kind: LocalType["kind"]) {
    this.name = name;
    this.id = id;
    this.kind = kind;
  }

  use(index: number): void {
    if (!this.#used.has(index)) {
      this.#used.add(index);
      this.#order = undefined;
    }
  }

  /** Used members in the kernel's order: the members of the local copy. */
  order(): readonly number[] {
    this.#order ??= [...this.#used].sort((a, b) => a - b);
    return this.#order;
  }

  /** Where kernel member `index` is in the local copy. */
  localIndex(index: number): number {
    return this.order().indexOf(index);
  }
}

export type LocalStruct = LocalType;

/** The local types of one module, one for each kernel type id. */
export class LocalTypes {
  readonly #byId = new Map<number, LocalType>();
  readonly #missing = new Map<string, LocalType>();

  get(id: number, name: string, kind: LocalType["kind"]): LocalType {
    let t = this.#byId.get(id);
    if (t === undefined) {
      t = new LocalType(name, id, kind);
      this.#byId.set(id, t);
    }
    return t;
  }

  /** A type that the given BTF lacks (`exists("name")`). */
  missing(name: string, kind: LocalType["kind"]): LocalType {
    let t = this.#missing.get(`${kind} ${name}`);
    if (t === undefined) {
      t = new LocalType(name, 0, kind);
      this.#missing.set(`${kind} ${name}`, t);
    }
    return t;
  }

  find(id: number): LocalType | undefined {
    return this.#byId.get(id);
  }

  *all(): Generator<LocalType> {
    yield* this.#byId.values();
    yield* this.#missing.values();
  }
}

/** One step of an access: a member of `owner`, or an array index when `owner` is undefined. */
export interface AccessStep {
  readonly owner: LocalType | undefined;
  readonly index: number;
  /** The member is one of `owner.absent`. */
  readonly absent?: boolean;
}

/**
 * The access of a field. Its text depends on which members the whole module uses,
 * so it is made when it is read: after the last function was compiled.
 */
export class FieldAccess implements CoreAccess {
  readonly type: LocalType;
  readonly kind: number;
  readonly #steps: readonly AccessStep[];

  constructor(type: LocalType, kind: number, steps: readonly AccessStep[]) {
    this.type = type;
    this.kind = kind;
    this.#steps = steps;
    for (const s of steps) if (s.absent !== true) s.owner?.use(s.index);
  }

  get access(): string {
    let text = "0";
    for (const s of this.#steps) {
      const at =
        s.owner === undefined
          ? s.index
          : s.absent === true
            ? s.owner.order().length + s.index
            : s.owner.localIndex(s.index);
      text += `:${at}`;
    }
    return text;
  }
}

/** The access of an enumerator: its index alone. */
export class EnumAccess implements CoreAccess {
  readonly type: LocalType;
  readonly kind: number;
  readonly #index: number;

  constructor(type: LocalType, kind: number, index: number) {
    this.type = type;
    this.kind = kind;
    this.#index = index;
    type.use(index);
  }

  get access(): string {
    return String(this.type.localIndex(this.#index));
  }
}

/** The access of a whole type. */
export class TypeAccess implements CoreAccess {
  readonly type: LocalType;
  readonly kind: number;
  readonly access = "0";

  constructor(type: LocalType, kind: number) {
    this.type = type;
    this.kind = kind;
  }
}
