/**
 * Which kernel's arithmetic applies. The functions here work on bare registers, thousands of times a
 * program, so what they ask is set once a run (a run never waits, so runs never mix).
 */
import { type KernelFeatures, LATEST_KERNEL, kernelProfile } from "../kernel-profile.ts";

export let has: KernelFeatures = kernelProfile(LATEST_KERNEL).has;

export function useScalarRules(features: KernelFeatures): void {
  has = features;
}
