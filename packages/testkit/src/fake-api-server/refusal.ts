/** What becomes a Kubernetes `Status` answer. */
export class ApiRefusal extends Error {
  readonly httpStatus: number;
  readonly reason: string;
  readonly retryAfterSeconds: number | undefined;

  constructor(httpStatus: number, reason: string, message: string, retryAfterSeconds?: number) {
    super(message);
    this.httpStatus = httpStatus;
    this.reason = reason;
    this.retryAfterSeconds = retryAfterSeconds;
  }

  toStatus(): Record<string, unknown> {
    return {
      apiVersion: "v1",
      kind: "Status",
      status: "Failure",
      code: this.httpStatus,
      reason: this.reason,
      message: this.message,
    };
  }
}
