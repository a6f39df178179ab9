export { foldedStacks } from "./folded.ts";
export { type LineCost, lineCosts } from "./lines.ts";
