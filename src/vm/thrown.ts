/** bpf_throw unwinds a program this way; the engines end the run with `cookie`, or what the exception callback makes of it. */
export class Thrown {
  readonly cookie: bigint;
  constructor(cookie: bigint) {
    this.cookie = cookie;
  }
}
