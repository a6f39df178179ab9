/** How many cases a property test runs: FUZZ_RUNS, or a modest number. */
export const runs = (modest: number): number => Number(process.env["FUZZ_RUNS"] ?? modest);
