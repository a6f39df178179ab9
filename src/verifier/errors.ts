/** Why verification stopped. */
import { BpfkitError } from "../core/errors.ts";

/**
 * The program is rejected. The kernel-worded text is already in the log (`reject` in env.ts
 * writes it, then throws this); `errno` is positive.
 */
export class VerifierReject extends BpfkitError {
  override readonly name = "VerifierReject";
  readonly errno: number;
  constructor(errno: number, message = "") {
    super("VERIFIER_REJECT", message === "" ? `rejected with errno ${errno}` : message);
    this.errno = errno;
  }
}

/** A budget given by the caller (instructions, AbortSignal) ran out: there is no verdict. */
export class VerifierAborted extends BpfkitError {
  override readonly name = "VerifierAborted";
  constructor(message: string) {
    super("VERIFIER_ABORTED", message);
  }
}
