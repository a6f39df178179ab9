/** MAC, IPv4 and IPv6 addresses between text and bytes. */
import { ArgumentError } from "../../../core/errors.ts";

/** "02:00:00:00:00:01" as 6 bytes. @throws ArgumentError */
export function macBytes(text: string, argument = "mac"): Uint8Array {
  if (!/^[0-9a-f]{1,2}([:-][0-9a-f]{1,2}){5}$/i.test(text))
    throw new ArgumentError(argument, `expected a MAC address like "02:00:00:00:00:01", got ${JSON.stringify(text)}`);
  return Uint8Array.from(text.split(/[:-]/), (part) => Number.parseInt(part, 16));
}

export function macText(bytes: Uint8Array): string {
  return Array.from(bytes, (b) => b.toString(16).padStart(2, "0")).join(":");
}

/** "10.0.0.1" as 4 bytes. @throws ArgumentError */
export function ipv4Bytes(text: string, argument = "address"): Uint8Array {
  const parts = /^(\d{1,3})\.(\d{1,3})\.(\d{1,3})\.(\d{1,3})$/.exec(text)?.slice(1).map(Number);
  if (parts === undefined || parts.some((p) => p > 255))
    throw new ArgumentError(argument, `expected an IPv4 address like "10.0.0.1", got ${JSON.stringify(text)}`);
  return Uint8Array.from(parts);
}

export function ipv4Text(bytes: Uint8Array): string {
  return Array.from(bytes).join(".");
}

/** "fd00::1" as 16 bytes. @throws ArgumentError */
export function ipv6Bytes(text: string, argument = "address"): Uint8Array {
  const wrong = (): ArgumentError =>
    new ArgumentError(argument, `expected an IPv6 address like "fd00::1", got ${JSON.stringify(text)}`);
  const halves = text.split("::");
  if (halves.length > 2) throw wrong();
  const [head = [], tail = []] = halves.map((half) => (half === "" ? [] : words(half, argument, wrong)));
  const missing = 8 - head.length - tail.length;
  if (halves.length === 1 ? missing !== 0 : missing < 1) throw wrong();
  const all = [...head, ...Array.from({ length: missing }, () => 0), ...tail];
  return Uint8Array.from(all.flatMap((word) => [word >> 8, word & 0xff]));
}

function words(half: string, argument: string, wrong: () => ArgumentError): number[] {
  return half.split(":").flatMap((part, i, parts) => {
    if (part.includes(".") && i === parts.length - 1) {
      const [a = 0, b = 0, c = 0, d = 0] = ipv4Bytes(part, argument);
      return [(a << 8) | b, (c << 8) | d];
    }
    if (!/^[0-9a-f]{1,4}$/i.test(part)) throw wrong();
    return [Number.parseInt(part, 16)];
  });
}

/** As RFC 5952 writes it: the longest run of zero words, the first of equals, is "::". */
export function ipv6Text(bytes: Uint8Array): string {
  const all = Array.from({ length: 8 }, (_, i) => (bytes[i * 2]! << 8) | bytes[i * 2 + 1]!);
  let best = { at: -1, length: 1 };
  for (let i = 0; i < 8; i++) {
    let length = 0;
    while (i + length < 8 && all[i + length] === 0) length++;
    if (length > best.length) best = { at: i, length };
  }
  const hex = (part: readonly number[]): string => part.map((w) => w.toString(16)).join(":");
  if (best.at < 0) return hex(all);
  return `${hex(all.slice(0, best.at))}::${hex(all.slice(best.at + best.length))}`;
}

/** IPv4 or IPv6 text as its bytes. @throws ArgumentError */
export function ipBytes(text: string, argument = "address"): Uint8Array {
  return text.includes(":") ? ipv6Bytes(text, argument) : ipv4Bytes(text, argument);
}

/** 4 or 16 bytes as text. */
export function ipText(bytes: Uint8Array): string {
  return bytes.length === 4 ? ipv4Text(bytes) : ipv6Text(bytes);
}
