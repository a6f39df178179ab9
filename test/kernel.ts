/**
 * The one door by which a test may skip. `requires()` ends the running test as
 * skipped when this machine lacks the privilege, kernel version or package it
 * names, and *fails* it when the kernel is new enough but the feature is missing:
 * a feature that silently went away must not look like an old kernel.
 */
import { accessSync, constants, existsSync, readFileSync } from "node:fs";
import { release } from "node:os";
import { delimiter, join } from "node:path";
import { gunzipSync } from "node:zlib";
import { skip } from "./harness.ts";

/** Capabilities that the tests ask for, by bit number (include/uapi/linux/capability.h). */
const CAPABILITIES = {
  CAP_NET_ADMIN: 12,
  CAP_SYS_ADMIN: 21,
  CAP_SYS_RESOURCE: 24,
  CAP_PERFMON: 38,
  CAP_BPF: 39,
} as const;
export type Capability = keyof typeof CAPABILITIES;

/** Debian package of an oracle → what shows that it is there (a command, or a file when it starts with "/"). */
const PACKAGES: Readonly<Record<string, string>> = {
  bpftool: "bpftool",
  bpftrace: "bpftrace",
  "clang-19": "clang-19",
  "llvm-19": "llvm-objdump-19",
  "libbpf-dev": "/usr/include/bpf/bpf_helpers.h",
  gcc: "gcc",
  "linux-libc-dev": "/usr/include/x86_64-linux-gnu/asm/unistd_64.h",
  binutils: "readelf",
  bash: "bash",
  bsdutils: "script",
  python3: "/usr/bin/python3",
  "qemu-system-x86": "qemu-system-x86_64",
};

export interface KernelFeature {
  readonly name: string;
  /** The version that brought it, like "5.15": older kernels skip, others must have it. */
  readonly since: string;
  /** Kernel options it depends on: a kernel built without one skips (and names it). */
  readonly config?: readonly string[];
  readonly available: () => boolean;
}

export interface Requirements {
  readonly root?: boolean;
  readonly capability?: Capability | readonly Capability[];
  /** The oldest kernel on which the test can pass, like "5.8". */
  readonly kernel?: string;
  /** Debian packages whose programs the test uses as an oracle. */
  readonly package?: string | readonly string[];
  readonly feature?: KernelFeature;
  /** Environment variables that name a directory of test data, like "CORPUS". */
  readonly env?: string;
}

/** Ends the running test as skipped when something in `needs` is missing; the reason names it. */
export function requires(needs: Requirements): void {
  const kernelNeeded =
    needs.root === true || needs.capability !== undefined || needs.kernel !== undefined || needs.feature !== undefined;
  if (kernelNeeded && process.platform !== "linux") skip(`needs Linux, this is ${process.platform}`);
  if (needs.kernel !== undefined && !kernelAtLeast(needs.kernel)) {
    skip(`needs Linux ${needs.kernel}, this is ${release()}`);
  }
  if (needs.root === true && process.geteuid?.() !== 0) skip("needs root (run the tests with sudo)");
  for (const capability of list(needs.capability)) {
    if (!hasCapability(capability)) skip(`needs ${capability}`);
  }
  for (const name of list(needs.package)) {
    if (!hasPackage(name)) skip(`needs the package ${name}`);
  }
  if (needs.env !== undefined && !existsSync(process.env[needs.env] ?? "")) {
    skip(`needs the environment variable ${needs.env} (a directory)`);
  }
  if (needs.feature !== undefined) requireFeature(needs.feature);
}

function requireFeature(feature: KernelFeature): void {
  if (!kernelAtLeast(feature.since)) {
    skip(`needs ${feature.name} (Linux ${feature.since}), this is ${release()}`);
  }
  if (feature.available()) return;
  for (const option of feature.config ?? []) {
    const built = kernelConfig(option);
    if (built !== "y" && built !== "m") {
      skip(
        `needs ${feature.name}: this kernel is built without ${option}${built === undefined ? " (its configuration cannot be read)" : ""}`,
      );
    }
  }
  throw new Error(`Linux ${release()} should have ${feature.name} (since ${feature.since}), but the probe says no`);
}

function list<T>(value: T | readonly T[] | undefined): readonly T[] {
  if (value === undefined) return [];
  return Array.isArray(value) ? (value as readonly T[]) : [value as T];
}

/** Is the running kernel `version` ("6.1") or newer? */
export function kernelAtLeast(version: string, running = release()): boolean {
  const have = running.split(/[^0-9]+/).map(Number);
  const want = version.split(".").map(Number);
  for (let i = 0; i < want.length; i++) {
    const d = (have[i] ?? 0) - (want[i] ?? 0);
    if (d !== 0) return d > 0;
  }
  return true;
}

export function hasCapability(capability: Capability): boolean {
  const line = /^CapEff:\s*([0-9a-f]+)$/m.exec(readFileSync("/proc/self/status", "utf8"));
  return ((BigInt(`0x${line?.[1] ?? "0"}`) >> BigInt(CAPABILITIES[capability])) & 1n) === 1n;
}

/** Full path of a command, or undefined. */
export function which(command: string): string | undefined {
  const path = [...(process.env["PATH"] ?? "").split(delimiter), "/usr/sbin", "/sbin"];
  for (const dir of path) {
    const file = join(dir, command);
    try {
      accessSync(file, constants.X_OK);
      return file;
    } catch {
      continue;
    }
  }
  return undefined;
}

export function hasPackage(name: string): boolean {
  const evidence = PACKAGES[name] ?? name;
  return evidence.startsWith("/") ? existsSync(evidence) : which(evidence) !== undefined;
}

let config: ReadonlyMap<string, string> | undefined;

/** Value of a kernel option ("y", "m", "n"), or undefined when the configuration is not published. */
export function kernelConfig(option: string): string | undefined {
  config ??= new Map(
    [...readConfig().matchAll(/^(?:(CONFIG_\w+)=(.*)|# (CONFIG_\w+) is not set)$/gm)].map((m) =>
      m[3] === undefined ? [m[1] ?? "", m[2] ?? ""] : [m[3], "n"],
    ),
  );
  return config.get(option) ?? (config.size === 0 ? undefined : "n");
}

function readConfig(): string {
  if (existsSync("/proc/config.gz")) return gunzipSync(readFileSync("/proc/config.gz")).toString();
  const file = `/boot/config-${release()}`;
  return existsSync(file) ? readFileSync(file, "utf8") : "";
}
