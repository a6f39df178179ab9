/** elfy, an independent ELF reader, as an oracle. */
import { createRequire } from "node:module";
import { Elf, SHT } from "../../src/elf/index.ts";
import { assert } from "../harness.ts";

interface ElfySection {
  readonly name: string;
  readonly size: number;
  readonly off: number;
  readonly link: number;
  readonly info: number;
  readonly data: Uint8Array;
}
export const elfy = createRequire(import.meta.url)("elfy") as {
  parse(b: Buffer): {
    endian: string;
    body: { sections: ElfySection[]; programs: { offset: number; filesz: number; vaddr: number }[] };
  };
};

/** elfy gives wrong bytes for NOBITS and wrong alignments; all else must agree. */
export function agreesWithElfy(bytes: Uint8Array): void {
  const ours = Elf.open(bytes);
  const theirs = elfy.parse(Buffer.from(bytes));
  assert.is(ours.endian, theirs.endian === "lsb" ? "little" : "big");
  assert.is(ours.sections.length, theirs.body.sections.length);
  ours.sections.forEach((s, i) => {
    const t = theirs.body.sections[i]!;
    assert.equal([s.name, s.size, s.offset, s.link, s.info], [t.name, t.size, t.off, t.link, t.info], `section ${i}`);
    if (s.type !== SHT.NOBITS && s.type !== SHT.NULL)
      assert.ok(Buffer.from(ours.data(s)).equals(Buffer.from(t.data)), s.name);
  });
}
