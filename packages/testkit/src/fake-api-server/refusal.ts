/** What becomes a Kubernetes `Status` answer. */
export class ApiRefusal extends Error {
  readonly httpStatus: number;
  readonly reason: string;
  readonly options: RefusalOptions;

  constructor(httpStatus: number, reason: string, message: string, options: RefusalOptions = {}) {
    super(message);
    this.httpStatus = httpStatus;
    this.reason = reason;
    this.options = options;
  }

  toStatus(): Record<string, unknown> {
    const { name } = this.options;
    return {
      apiVersion: "v1",
      kind: "Status",
      status: "Failure",
      code: this.httpStatus,
      reason: this.reason,
      message: this.message,
      details: name === undefined ? {} : { name },
    };
  }
}

export interface RefusalOptions {
  /** The object that the refusal is about; none when there is no such kind. */
  readonly name?: string;
  readonly retryAfterSeconds?: number;
}
