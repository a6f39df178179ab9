/** pcap and pcapng files: of either byte order, cut off, damaged. */
import fc from "fast-check";
import { BpfkitError } from "../../../src/core/errors.ts";
import { LINKTYPE, readPcap, writePcap } from "../../../src/testing/world/packet/pcap.ts";
import { eth, ipv4, packet, udp } from "../../../src/testing/world/packet/build.ts";
import { assert, suite } from "../../harness.ts";
import { runs } from "./runs.ts";

const test = suite("world pcap");
const PACKET = packet(eth(), ipv4(), udp(), "captured");

/** Words and bytes of a file in one byte order. */
class File {
  readonly bytes: number[] = [];
  readonly little: boolean;
  constructor(little: boolean) {
    this.little = little;
  }
  u(size: 2 | 4, ...values: number[]): this {
    for (const value of values)
      for (let i = 0; i < size; i++) this.bytes.push((value >>> (8 * (this.little ? i : size - 1 - i))) & 0xff);
    return this;
  }
  add(bytes: ArrayLike<number>): this {
    this.bytes.push(...Array.from(bytes));
    while (this.bytes.length % 4 !== 0) this.bytes.push(0);
    return this;
  }
}

function pcapFile(little: boolean, nanoseconds: boolean): Uint8Array {
  const file = new File(little)
    .u(4, nanoseconds ? 0xa1b23c4d : 0xa1b2c3d4)
    .u(2, 2, 4)
    .u(4, 0, 0, 65535, 1);
  file.u(4, 1_700_000_000, nanoseconds ? 123_456_789 : 123_456, PACKET.length, 1514);
  return Uint8Array.from([...file.bytes, ...PACKET]);
}

function block(little: boolean, type: number, body: readonly number[]): number[] {
  const length = 12 + Math.ceil(body.length / 4) * 4;
  return new File(little).u(4, type, length).add(body).u(4, length).bytes;
}

function pcapngFile(little: boolean, resolution: number | undefined): Uint8Array {
  const f = (): File => new File(little);
  const section = f().u(4, 0x1a2b3c4d).u(2, 1, 0).u(4, 0xffff_ffff, 0xffff_ffff).bytes;
  const options = resolution === undefined ? [] : f().u(2, 9, 1).add([resolution]).u(2, 0, 0).bytes;
  const ethernet = [...f().u(2, LINKTYPE.ETHERNET, 0).u(4, 0).bytes, ...options];
  const raw = f().u(2, LINKTYPE.RAW, 0).u(4, 0).bytes;
  const units = 1_700_000_000n * (resolution === undefined ? 1_000_000n : 10n ** BigInt(resolution)) + 5n;
  const enhanced = f()
    .u(4, 0, Number(units >> 32n), Number(units & 0xffff_ffffn), PACKET.length, 1514)
    .add(PACKET).bytes;
  const simple = f().u(4, PACKET.length).add(PACKET).bytes;
  const onRaw = f().u(4, 1, 0, 0, 4, 4).add([0x45, 0, 0, 0]).bytes;
  return Uint8Array.from([
    ...block(little, 0x0a0d0d0a, section),
    ...block(little, 1, ethernet),
    ...block(little, 1, raw),
    ...block(little, 0x0bad, [1, 2, 3, 4]),
    ...block(little, 6, enhanced),
    ...block(little, 3, simple),
    ...block(little, 6, onRaw),
  ]);
}

test("what is written is read: packets and their times", () => {
  fc.assert(
    fc.property(
      fc.array(
        fc.record({ data: fc.uint8Array({ maxLength: 100 }), time: fc.bigInt(0n, 4_000_000_000_000_000_000n) }),
        { maxLength: 5 },
      ),
      (packets) => {
        const read = readPcap(writePcap(packets));
        assert.equal(
          read.map((p) => [[...p.data], p.time]),
          packets.map((p) => [[...p.data], p.time]),
        );
      },
    ),
    { numRuns: runs(100) },
  );
});

test("pcap: either byte order, micro- and nanoseconds, what the capture cut off", () => {
  for (const little of [true, false]) {
    for (const nanoseconds of [true, false]) {
      const [p, ...more] = readPcap(pcapFile(little, nanoseconds));
      assert.is(more.length, 0);
      assert.bytes(p!.data, PACKET);
      assert.equal(
        [p!.time, p!.wireLength, p!.linkType],
        [1_700_000_000_000_000_000n + (nanoseconds ? 123_456_789n : 123_456_000n), 1514, LINKTYPE.ETHERNET],
      );
    }
  }
});

test("pcapng: sections, interfaces with their link types and resolutions, blocks that are unknown", () => {
  for (const little of [true, false]) {
    for (const resolution of [undefined, 9, 3]) {
      const read = readPcap(pcapngFile(little, resolution));
      assert.equal(
        read.map((p) => [p.data.length, p.linkType, p.interfaceId]),
        [
          [PACKET.length, LINKTYPE.ETHERNET, 0],
          [PACKET.length, LINKTYPE.ETHERNET, 0],
          [4, LINKTYPE.RAW, 1],
        ],
      );
      const unit = 1_000_000_000n / 10n ** BigInt(resolution ?? 6);
      assert.is(read[0]!.time, 1_700_000_000_000_000_000n + 5n * unit);
    }
  }
  const two = Uint8Array.from([...pcapngFile(true, 9), ...pcapngFile(false, 6)]);
  assert.is(readPcap(two).length, 6);
});

test("what is no capture, or is cut off, is a DecodeError that says where", () => {
  assert.throwsCode(() => readPcap(new Uint8Array(3)), "DECODE", /expected a pcap or pcapng file, got 3 bytes/);
  assert.throwsCode(() => readPcap(new TextEncoder().encode("GIF89a")), "DECODE", /starts with 0x47494638/);
  assert.throwsCode(() => readPcap(pcapFile(true, false).subarray(0, 50)), "DECODE", /packets\[0\].*does not fit/);
  const file = pcapngFile(true, 9);
  assert.throwsCode(() => readPcap(file.subarray(0, file.length - 2)), "DECODE", /blocks\[6\]/);
});

test("damaged captures give packets or a DecodeError, in bounded time", () => {
  const files = [pcapFile(true, true), pcapFile(false, false), pcapngFile(true, 9), pcapngFile(false, undefined)];
  fc.assert(
    fc.property(
      fc.constantFrom(...files),
      fc.array(fc.tuple(fc.nat(400), fc.integer({ min: 0, max: 255 })), { maxLength: 6 }),
      fc.nat(400),
      (file, edits, length) => {
        const damaged = file.slice(0, Math.max(0, file.length - (length % 60)));
        for (const [at, value] of edits) if (damaged.length > 0) damaged[at % damaged.length] = value;
        try {
          readPcap(damaged);
        } catch (error) {
          if (!(error instanceof BpfkitError)) throw error;
        }
      },
    ),
    { numRuns: runs(2000) },
  );
});
