/** Packets: built, read, compared, and judged by the kernel. */
import { spawnSync } from "node:child_process";
import fc from "fast-check";
import { BpfkitError } from "../../../src/core/errors.ts";
import * as addresses from "../../../src/testing/world/packet/addresses.ts";
import {
  type Layer,
  arp,
  eth,
  icmp,
  icmpv6,
  ipv4,
  ipv6,
  ipv6Ext,
  ipv6Fragment,
  packet,
  tcp,
  udp,
  vlan,
} from "../../../src/testing/world/packet/build.ts";
import { internetChecksum } from "../../../src/testing/world/packet/headers.ts";
import { parsePacket } from "../../../src/testing/world/packet/parse.ts";
import { describeChanges, describePacket, packetChanges } from "../../../src/testing/world/packet/print.ts";
import { assert, suite } from "../../harness.ts";
import { requires } from "../../kernel.ts";
import { runs } from "./runs.ts";

const test = suite("world packets");

const bytes = (max: number): fc.Arbitrary<Uint8Array> => fc.uint8Array({ maxLength: max });
const u16 = fc.integer({ min: 0, max: 0xffff });
const ip4 = fc.uint8Array({ minLength: 4, maxLength: 4 }).map(addresses.ipv4Text);
const ip6 = fc.uint8Array({ minLength: 16, maxLength: 16 }).map(addresses.ipv6Text);

/** Layers that belong together, from Ethernet in. */
const layers: fc.Arbitrary<(Layer | Uint8Array)[]> = fc
  .record({
    tags: fc.array(fc.integer({ min: 0, max: 4095 }), { maxLength: 2 }),
    ip: fc.oneof(
      fc.record({ src: ip4, dst: ip4, options: bytes(40), id: u16 }).map((f): Layer[] => [ipv4(f)]),
      fc
        .record({ src: ip6, dst: ip6, ext: bytes(30), chain: fc.integer({ min: 0, max: 7 }) })
        .map(({ src, dst, ext, chain }): Layer[] => [
          ipv6({ src, dst }),
          ...((chain & 1) === 0 ? [] : [ipv6Ext({ data: ext })]),
          ...((chain & 2) === 0 ? [] : [ipv6Fragment({ id: 7 })]),
          ...((chain & 4) === 0 ? [] : [ipv6Ext({ header: "destination" })]),
        ]),
    ),
    transport: fc.oneof(
      fc
        .record({ sport: u16, dport: u16, options: bytes(40), flags: fc.integer({ min: 0, max: 511 }) })
        .map((f) => tcp(f)),
      fc.record({ sport: u16, dport: u16 }).map((f) => udp(f)),
      fc.record({ id: u16, sequence: u16 }).map((f) => icmpv6(f)),
    ),
    payload: bytes(64),
  })
  .map(({ tags, ip, transport, payload }) => [eth(), ...tags.map((id) => vlan({ id })), ...ip, transport, payload]);

test("a packet is read as it was built: the same bytes come out of its layers, and every checksum is right", () => {
  fc.assert(
    fc.property(layers, (parts) => {
      const built = packet(...parts);
      const parsed = parsePacket(built);
      const kinds = parts.filter((p): p is Layer => !(p instanceof Uint8Array)).map((p) => p.kind);
      const payload = parts.at(-1) as Uint8Array;
      assert.equal(
        parsed.map((l) => l.kind),
        payload.length === 0 ? kinds : [...kinds, "payload"],
      );
      for (const layer of parsed) assert.is.not(layer.checksumOk, false, `${layer.kind}: ${describePacket(built)}`);
      assert.bytes(packet(...parsed), built);
    }),
    { numRuns: runs(300) },
  );
});

test("fields that are given stay: wrong lengths, checksums and versions can be built", () => {
  const wrong = packet(eth(), ipv4({ length: 9, checksum: 1, version: 5 }), udp({ length: 3, checksum: 2 }), "x");
  assert.is(wrong[14], 0x55);
  assert.equal([...wrong.subarray(16, 18)], [0, 9]);
  assert.equal([...wrong.subarray(24, 26)], [0, 1]);
  assert.equal([...wrong.subarray(38, 42)], [0, 3, 0, 2]);
  assert.match(describePacket(packet(eth(), ipv4({ checksum: 1 }), udp())), "checksum 0x0001 (wrong)");
});

test("QinQ, ARP, fragments and padding have their places", () => {
  const tagged = packet(
    eth(),
    vlan({ id: 100, priority: 5 }),
    vlan({ id: 200 }),
    arp({ operation: 2, senderIp: "10.1.2.3" }),
  );
  assert.equal([...tagged.subarray(12, 22)], [0x88, 0xa8, 0xa0, 100, 0x81, 0, 0, 200, 8, 6]);
  assert.is(tagged.length, 14 + 8 + 28);
  const middle = parsePacket(packet(eth(), ipv4({ fragmentOffset: 185, moreFragments: true, protocol: 17 }), "middle"));
  assert.equal(
    middle.map((l) => l.kind),
    ["eth", "ipv4", "payload"],
  );
  const short = packet(eth(), ipv4(), udp(), "hi");
  const onWire = new Uint8Array(60);
  onWire.set(short);
  const parsed = parsePacket(onWire);
  assert.equal(
    parsed.map((l) => [l.kind, l.size]),
    [
      ["eth", 14],
      ["ipv4", 20],
      ["udp", 8],
      ["payload", 2],
      ["payload", 16],
    ],
  );
  assert.is(parsed[2]!.checksumOk, true);
});

test("a packet prints as one line a layer, its changes as one line a field", () => {
  const before = packet(
    eth(),
    ipv4({ src: "192.0.2.1", dst: "192.0.2.2" }),
    tcp({ dport: 443, flags: ["syn"], seq: 5 }),
    "GET",
  );
  assert.is(
    describePacket(before),
    `eth   02:00:00:00:00:01 > 02:00:00:00:00:02 type 0x0800
ipv4  192.0.2.1 > 192.0.2.2 length 43 id 0 ttl 64 protocol 6 checksum 0xf6c9
tcp   40000 > 443 seq 5 ack 0 flags syn window 65535 checksum 0xf295
payload 3 bytes 47 45 54 "GET"`,
  );
  const after = packet(
    eth(),
    vlan({ id: 9 }),
    ipv4({ src: "192.0.2.1", dst: "198.51.100.7", ttl: 63 }),
    tcp({ dport: 443, flags: ["syn"], seq: 5 }),
    "PUT",
  );
  assert.equal(
    packetChanges(before, after).map((c) => c.field),
    ["eth.type", "vlan", "ipv4.ttl", "ipv4.checksum", "ipv4.dst", "tcp.checksum", "payload"],
  );
  assert.match(describeChanges(before, after), "~ ipv4.dst: 192.0.2.2 > 198.51.100.7");
  assert.match(describeChanges(before, after), "+ vlan");
  assert.is(describeChanges(before, before), "");
});

test("wrong values are named by layer and field", () => {
  assert.throwsCode(
    () => packet(ipv4({ ttl: 256 })),
    "ARGUMENT",
    "ipv4.ttl: expected an integer from 0 to 255, got 256",
  );
  assert.throwsCode(() => packet(ipv4({ src: "10.0.0" })), "ARGUMENT", /^ipv4\.src: expected an IPv4 address/);
  assert.throwsCode(() => packet(ipv6({ dst: "fd00:::1" })), "ARGUMENT", /^ipv6\.dst: expected an IPv6 address/);
  assert.throwsCode(() => packet(eth({ src: "nonsense" })), "ARGUMENT", /^eth\.src: expected a MAC address/);
  assert.throwsCode(() => tcp({ flags: ["sin" as "syn"] }), "ARGUMENT", /^tcp\.flags: expected fin, syn/);
  assert.throwsCode(() => ipv4({ options: new Uint8Array(41) }), "ARGUMENT", /^ipv4\.options: expected at most 40/);
});

test("addresses are the same as text and as bytes", () => {
  fc.assert(
    fc.property(fc.uint8Array({ minLength: 16, maxLength: 16 }), (b) => {
      assert.bytes(addresses.ipv6Bytes(addresses.ipv6Text(b)), b);
    }),
    { numRuns: runs(300) },
  );
  for (const [text, again] of [
    ["::", "::"],
    ["::ffff:192.0.2.1", "::ffff:c000:201"],
    ["1:0:0:2:0:0:0:3", "1:0:0:2::3"],
    ["FE80::1", "fe80::1"],
  ] as const)
    assert.is(addresses.ipv6Text(addresses.ipv6Bytes(text)), again);
});

test("any bytes have layers, and any change of a packet can be told", () => {
  fc.assert(
    fc.property(
      layers.map((parts) => packet(...parts)),
      fc.array(fc.tuple(fc.nat(), fc.integer({ min: 0, max: 255 })), { maxLength: 8 }),
      fc.nat(200),
      (built, edits, length) => {
        const mutated = built.slice(0, Math.max(0, built.length - (length % 40)));
        for (const [at, value] of edits) if (mutated.length > 0) mutated[at % mutated.length] = value;
        const parsed = parsePacket(mutated);
        assert.is(
          parsed.reduce((sum, l) => sum + l.size, 0),
          mutated.length,
        );
        assert.ok(describePacket(mutated).length >= 0);
        const same = mutated.length === built.length && mutated.every((b, i) => b === built[i]);
        assert.is(packetChanges(built, mutated).length === 0, same);
        parsePacket(mutated, "ip");
      },
    ),
    { numRuns: runs(500) },
  );
});

test("arbitrary fields are taken or refused by an ArgumentError", () => {
  const wild = fc.oneof(fc.integer(), fc.double(), fc.string(), fc.boolean(), fc.constant(null), bytes(60));
  fc.assert(
    fc.property(
      fc.constantFrom(eth, vlan, arp, ipv4, ipv6, ipv6Ext, ipv6Fragment, tcp, udp, icmp),
      fc.dictionary(
        fc.constantFrom(
          "src",
          "dst",
          "id",
          "ttl",
          "options",
          "data",
          "flags",
          "length",
          "header",
          "type",
          "headerWords",
        ),
        wild,
      ),
      (make, fields) => {
        try {
          packet(eth(), (make as (f: object) => Layer)(fields), "x");
        } catch (error) {
          if (!(error instanceof BpfkitError)) throw error;
        }
      },
    ),
    { numRuns: runs(500) },
  );
});

/** In a network of its own, whose loopback takes packets that do not come from this host's own stack. */
const RECEIVER = `
import socket, subprocess, sys
subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
for knob in ("accept_local", "route_localnet"):
    open("/proc/sys/net/ipv4/conf/lo/" + knob, "w").write("1")
lines = [l.split() for l in sys.stdin.read().split("\\n") if l]
raw = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
raw.bind(("lo", 0))
got = {}
for port, family in ((45111, socket.AF_INET), (45112, socket.AF_INET6)):
    s = socket.socket(family, socket.SOCK_DGRAM)
    s.bind(("::1" if family == socket.AF_INET6 else "127.0.0.1", port))
    s.settimeout(0.05)
    got[port] = s
for port, frame in lines:
    raw.send(bytes.fromhex(frame))
    try: print(got[int(port)].recv(2000).hex() or "-")
    except socket.timeout: print("none")
`;

test("the kernel takes what is built, and drops it when a checksum is wrong", () => {
  requires({ root: true, package: "python3" });
  const zero = "00:00:00:00:00:00";
  const v4 = (payload: string, wrong: { checksum?: number } = {}): Uint8Array =>
    packet(
      eth({ src: zero, dst: zero }),
      ipv4({ src: "127.0.0.1", dst: "127.0.0.1" }),
      udp({ dport: 45111, ...wrong }),
      payload,
    );
  const v6 = (payload: string, more: Layer[] = []): Uint8Array =>
    packet(eth({ src: zero, dst: zero }), ipv6({ src: "::1", dst: "::1" }), ...more, udp({ dport: 45112 }), payload);
  const frames: [number, Uint8Array, string][] = [
    [45111, v4("hello"), "hello"],
    [45111, v4("odd"), "odd"],
    [45111, v4("wrong", { checksum: 0x1234 }), "none"],
    [
      45111,
      packet(
        eth({ src: zero, dst: zero }),
        ipv4({ src: "127.0.0.1", dst: "127.0.0.1", checksum: 1 }),
        udp({ dport: 45111 }),
        "ip",
      ),
      "none",
    ],
    [45112, v6("six"), "six"],
    [45112, v6("extended", [ipv6Ext({ header: "destination", data: Uint8Array.of(1, 0) })]), "extended"],
  ];
  const result = spawnSync("unshare", ["-n", "python3", "-c", RECEIVER], {
    input: frames.map(([port, f]) => `${port} ${Buffer.from(f).toString("hex")}`).join("\n"),
    encoding: "utf8",
  });
  assert.is(result.status, 0, result.stderr);
  const got = result.stdout
    .trim()
    .split("\n")
    .map((l) => (l === "none" ? l : Buffer.from(l, "hex").toString()));
  assert.equal(
    got,
    frames.map(([, , expected]) => expected),
  );
  // RFC 1071's own example.
  assert.is(internetChecksum(Uint8Array.of(0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7)), ~0xddf2 & 0xffff);
});
