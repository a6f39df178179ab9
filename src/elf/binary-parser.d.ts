// The package has declarations, but its export map hides them from ES module resolution.
declare module "binary-parser" {
  /** Only what the record declarations use. */
  export class Parser {
    endianness(endianness: "little" | "big"): this;
    seek(bytes: number): this;
    uint16(name: string): this;
    uint32(name: string): this;
    uint64(name: string): this;
    parse(bytes: Uint8Array): unknown;
  }
}
