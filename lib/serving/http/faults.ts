import { BtsError, type ErrorCode } from '../../base/errors.js';

/** What only a server says, beside the codes of BtsError. */
type HttpCode =
  | 'UNAUTHORIZED'
  | 'BAD_HOST'
  | 'NOT_FOUND'
  | 'TOO_LARGE'
  | 'BAD_REQUEST'
  | 'TIMED_OUT'
  | 'STOPPING'
  | 'UNEXPECTED';

/** A request that is answered with an error. Codes are stable; `param` is the field that is to blame. */
export class Fault extends Error {
  constructor(
    readonly status: number,
    readonly code: ErrorCode | HttpCode,
    message: string,
    readonly param: string | null = null,
  ) {
    super(message);
  }

  /** As OpenAI's API tells errors. */
  toJSON(): object {
    const { message, param, code } = this;
    return { error: { message, type: this.type, param, code } };
  }

  toResponse(): Response {
    const headers = this.status === 429 || this.status === 503 ? { 'Retry-After': '1' } : undefined;
    return Response.json(this.toJSON(), { status: this.status, ...(headers && { headers }) });
  }

  private get type(): string {
    if (this.status === 401) return 'authentication_error';
    if (this.status === 429) return 'rate_limit_error';
    return this.status < 500 ? 'invalid_request_error' : 'server_error';
  }
}

const STATUSES: Partial<Record<ErrorCode, number>> = {
  BAD_OPTION: 400,
  BAD_TOKEN: 400,
  BAD_DATA: 400,
  // The model has no tokenizer or no chat template, or the template refuses the conversation.
  BAD_TOKENIZER: 400,
  BUSY: 429,
  OUT_OF_MEMORY: 503,
  DEVICE_FAILED: 503,
};

export function toFault(error: unknown): Fault {
  if (error instanceof Fault) return error;
  if (error instanceof BtsError) return new Fault(STATUSES[error.code] ?? 500, error.code, error.message);
  return new Fault(500, 'UNEXPECTED', 'the server failed: its log says how.');
}
