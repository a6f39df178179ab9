export {
  Coverage,
  type FileCoverage,
  type Reached,
  type ReachedBranch,
  type ReachedFunction,
  type Totals,
} from "./coverage.ts";
export { coverage } from "./coverage.ts";
export { CompileError, FaultError, RejectedError } from "./errors.ts";
export type { MockArg, MockCall, MockFunction, MockMemory, MockResult, Mocks } from "./mocks.ts";
export { simulate, type SimulateOptions } from "./simulate.ts";
export type { Given, Outcome, SimVariable, Simulation } from "./simulation.ts";
export type { RunInput, SimTask, TaskFields } from "./sim-world.ts";
export type { UpdateMode } from "./typed-map.ts";
export {
  type KernelFiles,
  PACKAGED_KERNELS,
  type PackagedKernel,
  kernelTypesOf,
  packagedKernel,
  provideKernel,
} from "./world/kernel-types.ts";
export * from "./world/packet/build.ts";
export { type ParsedLayer, parsePacket } from "./world/packet/parse.ts";
export { type CapturedPacket, LINKTYPE, readPcap, writePcap } from "./world/packet/pcap.ts";
export { type PacketChange, describeChanges, describePacket, packetChanges } from "./world/packet/print.ts";
export type { FileSpec } from "./world/files.ts";
export type { DeviceSpec, MadeSocket, RouteSpec, SocketSpec } from "./world/net.ts";
export type { CgroupSpec, TaskSpec } from "./world/tasks.ts";
export type { SysctlSpec } from "./world/world.ts";
export type { FieldList, FieldValue, Fields, KernelObject, KernelTypes } from "./world/types.ts";
