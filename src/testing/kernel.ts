/** The kernel that a test is for: whose rules verify, whose types are relocated against. */
import type { Btf } from "../btf/btf.ts";
import { Btf as BtfReader } from "../btf/btf.ts";
import { parseTracepointFormat, tracepointFormatOfBtf } from "../btf/tracepoint-format.ts";
import type { TracepointFormat } from "../compiler/front/targets.ts";
import { ArgumentError } from "../core/errors.ts";
import { runningKernel } from "../host/running-kernel.ts";
import { LATEST_KERNEL, kernelProfile } from "../verifier/kernel-profile.ts";
import { PACKAGED_KERNELS, kernelTypesOf, packagedKernel } from "./world/kernel-types.ts";
import type { KernelTypes } from "./world/types.ts";
import { shown } from "./world/values.ts";

export interface TestKernel {
  /** As the test named it. */
  readonly name: string;
  /** Version for the verifier's rules. */
  readonly rules: string;
  /** undefined: nothing is known of its types, and programs that need them cannot be compiled. */
  readonly types: KernelTypes | undefined;
}

/** The running kernel's types are read once (6 ms). */
let live: KernelTypes | undefined;

/**
 * @param choice a version ("6.1", "6.1.90"), "live", or types that were made elsewhere; default the newest packaged one
 * @param btf types instead of the packaged ones
 * @throws BpfkitError code "KERNEL_VERSION" for what is no version, NotSupportedError for "live" where no kernel can be read
 */
export function testKernel(choice: string | KernelTypes = LATEST_KERNEL, btf?: Btf): TestKernel {
  if (typeof choice === "object") {
    if (typeof choice?.tracepointFormat !== "function")
      throw new ArgumentError("kernel", `expected a version such as "6.1", "live", or the types of a kernel`);
    return { name: choice.name, rules: versionOf(choice.release), types: choice };
  }
  if (typeof choice !== "string") {
    throw new ArgumentError("kernel", `expected a version such as "6.1" or "live", got ${shown(choice)}`);
  }
  if (choice === "live") {
    const types = liveTypes();
    return {
      name: types.release,
      rules: versionOf(types.release),
      types: btf === undefined ? types : given(btf, choice),
    };
  }
  kernelProfile(choice);
  const series = /^v?(\d+\.\d+)/.exec(choice)?.[1] ?? choice;
  const packaged = (PACKAGED_KERNELS as readonly string[]).includes(series);
  const types = btf === undefined ? (packaged ? packagedKernel(series) : undefined) : given(btf, choice);
  return { name: choice, rules: choice, types };
}

/** "6.1" of "6.1.0-56-cloud-amd64": distributions' patch levels are their own. */
function versionOf(release: string): string {
  const [, version, patch, rest] = /^v?(\d+\.\d+)(?:\.(\d+))?(.*)$/.exec(release) ?? [];
  if (version === undefined) return LATEST_KERNEL;
  return patch === undefined || rest !== "" ? version : `${version}.${patch}`;
}

function given(btf: Btf, name: string): KernelTypes {
  return kernelTypesOf(btf, { name, formats: (event) => ofBtf(btf, event) });
}

function liveTypes(): KernelTypes {
  if (live === undefined) {
    const { btf: bytes, release, format } = runningKernel();
    const btf = BtfReader.parse(bytes, { what: "BTF of the running kernel" });
    live = kernelTypesOf(btf, {
      name: "live",
      release,
      formats: (event) => {
        const [category = "", name = ""] = event.split(":");
        const text = format(category, name);
        return text === undefined ? ofBtf(btf, event) : parseTracepointFormat(text, category);
      },
    });
  }
  return live;
}

/** From the types where they say it; else as the newest packaged kernel has it: arguments of system calls do not change. */
function ofBtf(btf: Btf, event: string): TracepointFormat | undefined {
  const [category = "", name = ""] = event.split(":");
  const format = tracepointFormatOfBtf(btf, category, name);
  if (format !== undefined || category !== "syscalls") return format;
  return packagedKernel(LATEST_KERNEL).tracepointFormat(event);
}
