/** A global variable of a loaded program: read and written while the program runs. */
import { BpfkitError } from "../core/errors.ts";
import type { MapSpec, VariableSpec } from "../elf/spec.ts";
import type { Schema } from "../probe/schema-types.ts";
import { bpf } from "../syscall/attr.ts";
import { check } from "../syscall/errors.ts";
import { type Mapping, PROT, mapFile } from "../syscall/mmap.ts";
import { BPF_F } from "../uapi/flags.ts";
import { type VariableValue, putVariable } from "../values/variables.ts";
import { codecOf } from "../values/codec.ts";
import type { BpfMap } from "./map.ts";

/** The value of one data section, mapped where the kernel can (Linux 5.5): reading and writing touch only the variable. */
export class DataSection {
  readonly #map: BpfMap;
  readonly #spec: MapSpec;
  #mapping: Mapping | undefined;

  constructor(map: BpfMap, spec: MapSpec) {
    this.#map = map;
    this.#spec = spec;
  }

  /** Bytes of the section now; live when it is mapped, a copy else. */
  bytes(): { bytes: Uint8Array; live: boolean } {
    const { kernel } = this.#map;
    if ((this.#map.flags & BPF_F.MMAPABLE) !== 0) {
      const length = Math.ceil(this.#spec.valueSize / kernel.pageSize) * kernel.pageSize;
      const prot = this.#spec.frozen ? PROT.READ : PROT.READ | PROT.WRITE;
      this.#mapping ??= mapFile(kernel, this.#map.fd, length, prot, `map ${this.#spec.name}`);
      return { bytes: new Uint8Array(this.#mapping.buffer, 0, this.#spec.valueSize), live: true };
    }
    const bytes = new Uint8Array(this.#spec.valueSize);
    check(
      kernel,
      bpf(kernel, "MAP_LOOKUP_ELEM", { map_fd: this.#map.fd, key: new Uint8Array(4), value: bytes }),
      "BPF_MAP_LOOKUP_ELEM",
      { subject: `map ${this.#spec.name}` },
    );
    return { bytes, live: false };
  }

  /** Writes the whole section back; only needed for copies. */
  write(bytes: Uint8Array): void {
    const { kernel } = this.#map;
    check(
      kernel,
      bpf(kernel, "MAP_UPDATE_ELEM", { map_fd: this.#map.fd, key: new Uint8Array(4), value: bytes }),
      "BPF_MAP_UPDATE_ELEM",
      { subject: `map ${this.#spec.name}` },
    );
  }

  get frozen(): boolean {
    return this.#spec.frozen;
  }

  close(): void {
    this.#mapping?.close();
    this.#mapping = undefined;
  }
}

/** One variable. With a schema its value is typed, without one it is bytes. */
export class GlobalVariable<T = Uint8Array> {
  readonly name: string;
  readonly #section: DataSection;
  readonly #spec: VariableSpec;
  readonly #schema: Schema | undefined;

  constructor(section: DataSection, spec: VariableSpec, schema: Schema | undefined) {
    this.name = spec.name;
    this.#section = section;
    this.#spec = spec;
    this.#schema = schema;
    if (schema !== undefined && schema.size !== spec.size) {
      throw new BpfkitError(
        "SCHEMA_SIZE",
        `global ${spec.name}: the schema has ${schema.size} bytes, the variable ${spec.size}`,
      );
    }
  }

  get value(): T {
    const { bytes } = this.#section.bytes();
    const copy = bytes.slice(this.#spec.offset, this.#spec.offset + this.#spec.size);
    return (this.#schema === undefined ? copy : codecOf(this.#schema).decoder(copy.buffer)(0)) as T;
  }

  /**
   * Writes it. Where the kernel cannot map the section (before 5.5) the whole section is
   * rewritten, and what the program stored meanwhile in other variables is lost.
   */
  set value(value: T) {
    if (this.#section.frozen)
      throw new BpfkitError("FROZEN", `${this.name} is a constant: set it when loading, with the option config`);
    const { bytes, live } = this.#section.bytes();
    if (this.#schema === undefined) {
      putVariable(bytes, this.#spec, value as VariableValue);
    } else {
      const encoded = new Uint8Array(this.#spec.size);
      codecOf(this.#schema).encoder(encoded.buffer, this.name)(value as never, 0);
      bytes.set(encoded, this.#spec.offset);
    }
    if (!live) this.#section.write(bytes);
  }
}
