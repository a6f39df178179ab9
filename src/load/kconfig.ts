/** Values of `.kconfig` externs: the kernel's version and configuration. */
import type { Btf } from "../btf/btf.ts";
import { BpfkitError } from "../core/errors.ts";
import type { MapSpec, VariableSpec } from "../elf/spec.ts";
import type { Kernel } from "../syscall/kernel.ts";
import { type VariableValue, putVariable } from "../values/variables.ts";
import { hasPerfLink } from "./features.ts";
import { kallsyms } from "./kallsyms.ts";

/** `KERNEL_VERSION(a, b, c)` of a release such as "6.18.44-foo"; the last part stops at 255. */
export function versionCode(release: string): number {
  const [a = 0, b = 0, c = 0] = release.split(/[^0-9]+/).map(Number);
  return (a << 16) | (b << 8) | Math.min(c, 255);
}

/** The data of a `.kconfig` map, filled for this kernel. Throws code "KCONFIG" for what it lacks. */
export function kconfigData(kernel: Kernel, spec: MapSpec, btf: Btf | undefined): Uint8Array {
  const data = new Uint8Array(spec.valueSize);
  let config: ReadonlyMap<string, string> | undefined;
  for (const variable of spec.variables) {
    if (variable.name.startsWith("CONFIG_")) {
      config ??= readConfig(kernel);
      const text = config.get(variable.name);
      if (text === undefined) {
        // Options that are off are not in the file, but then the file must be there.
        if (config.size > 0 || variable.weak === true) continue;
        throw new BpfkitError(
          "KCONFIG",
          `the value of ${variable.name} is unknown: this kernel publishes its configuration neither at /proc/config.gz nor at /boot/config-${kernel.release}`,
        );
      }
      putVariable(data, variable, optionValue(text, variable, btf));
      continue;
    }
    const value = virtual(kernel, variable.name);
    if (value === undefined) {
      if (variable.weak === true) continue;
      throw new BpfkitError(
        "KCONFIG",
        `the extern variable ${variable.name} has no value: expected LINUX_KERNEL_VERSION, LINUX_HAS_…, or a CONFIG_… option`,
      );
    }
    putVariable(data, variable, value);
  }
  return data;
}

function virtual(kernel: Kernel, name: string): VariableValue | undefined {
  switch (name) {
    case "LINUX_KERNEL_VERSION":
      return versionCode(kernel.release);
    case "LINUX_HAS_BPF_COOKIE":
      return hasPerfLink(kernel);
    case "LINUX_HAS_SYSCALL_WRAPPER":
      return (
        kallsyms(kernel).addressOf("__x64_sys_bpf") !== undefined ||
        kallsyms(kernel).addressOf("__arm64_sys_bpf") !== undefined ||
        kallsyms(kernel).addressOf("__s390x_sys_bpf") !== undefined
      );
    default:
      return undefined;
  }
}

function readConfig(kernel: Kernel): ReadonlyMap<string, string> {
  const packed = kernel.readFile("/proc/config.gz");
  const plain =
    typeof packed === "number"
      ? kernel.readFile(`/boot/config-${kernel.release}`)
      : process.getBuiltinModule("node:zlib").gunzipSync(packed);
  const text = typeof plain === "number" ? "" : new TextDecoder().decode(plain);
  return new Map([...text.matchAll(/^(CONFIG_\w+)=(.*)$/gm)].map((m) => [m[1] ?? "", m[2] ?? ""]));
}

/** TRI_NO, TRI_YES, TRI_MODULE of bpf_helpers.h. */
const TRISTATE: Readonly<Record<string, number>> = { n: 0, y: 1, m: 2 };

function optionValue(text: string, variable: VariableSpec, btf: Btf | undefined): VariableValue {
  if (text.startsWith('"'))
    return text
      .slice(1, -1)
      .replaceAll('\\"', '"')
      .slice(0, Math.max(0, variable.size - 1));
  if (Object.hasOwn(TRISTATE, text)) {
    // A char variable holds the letter itself; bool and enum libbpf_tristate the number.
    const isChar =
      variable.size === 1 && btf !== undefined && /^char$/.test(btf.nameOf(typeOf(btf, variable.btfTypeId)));
    return isChar ? text : (TRISTATE[text] ?? 0);
  }
  return BigInt(text);
}

function typeOf(btf: Btf, id: number): number {
  const type = btf.typeById(id);
  return type.kind === "var" || type.kind === "const" || type.kind === "volatile" ? typeOf(btf, type.type) : id;
}
