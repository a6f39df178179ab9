/** Exit codes of the command, documented in the README. */
export const EXIT = {
  OK: 0,
  /** The user's program or input is at fault: diagnostics, a rejection, a malformed file. */
  FAILED: 1,
  USAGE: 2,
  /** A privilege is missing; the message names it. */
  NOT_PERMITTED: 3,
  /** This kernel or platform lacks something; the message names it. */
  NOT_SUPPORTED: 4,
  /** A bug in bpfkit. */
  INTERNAL: 70,
} as const;
