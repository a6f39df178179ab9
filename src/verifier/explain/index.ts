export { type CauseStep, type ExplainOptions, type Explanation, explain } from "./explain.ts";
