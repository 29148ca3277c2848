import { existsSync } from 'node:fs';
import { constants } from 'node:os';

/**
 * Every error this package throws on purpose is a `BtsError` with one of these codes. Codes are stable: programs may
 * match on them. Messages are for people: what was expected, what came, what to do.
 */
export type ErrorCode =
  /** An argument or option has a value outside what it allows. */
  | 'BAD_OPTION'
  /** An op received tensors whose shapes or element types do not fit together. */
  | 'BAD_SHAPE'
  /** A tensor, model or device was used after it was disposed. */
  | 'DISPOSED'
  /** The requested device does not exist here. */
  | 'NO_DEVICE'
  /** A GPU or its driver failed: the message names the call. Nothing more can be expected of that device. */
  | 'DEVICE_FAILED'
  /** Ranks that compute together lost one another: the message names the call and the rank. */
  | 'COMMUNICATION'
  /** Memory ran out, on the host or the device. */
  | 'OUT_OF_MEMORY'
  /** The compiled addon could not be loaded. */
  | 'ADDON_NOT_LOADED'
  /** A token id lies outside the vocabulary. */
  | 'BAD_TOKEN'
  /** A file or folder that is needed does not exist. */
  | 'FILE_NOT_FOUND'
  /** The operating system refused to read or write a file (permissions, full disk, I/O error). */
  | 'FILE_IO'
  /** A safetensors file or index breaks the format. */
  | 'BAD_SAFETENSORS'
  /** A config.json is malformed or describes a model this package cannot run. */
  | 'BAD_CONFIG'
  /** A checkpoint lacks a tensor, has one too many, or one of the wrong shape. */
  | 'BAD_CHECKPOINT'
  /** An adapter's folder is malformed, means something that is not supported, or belongs to another base. */
  | 'BAD_ADAPTER'
  /** A tokenizer.json is malformed or uses something that cannot be reproduced exactly. */
  | 'BAD_TOKENIZER'
  /** Training or evaluation text is empty, malformed or too short. */
  | 'BAD_DATA'
  /** An evaluation task is unknown, or the file that describes one is malformed. */
  | 'BAD_TASK'
  /** Programs cannot be run in isolation on this system. */
  | 'NO_SANDBOX'
  /** Hub and experts cannot be stitched: their shapes, tokenizers or layouts differ. */
  | 'MEMBERS_DIFFER'
  /** A stitched model's folder is malformed. */
  | 'BAD_STITCH'
  /** A member's files changed since they were stitched. */
  | 'MEMBER_CHANGED'
  /** The loss became NaN, infinite or exploded. */
  | 'LOSS_NOT_FINITE'
  /** As many requests wait as may, or nothing new is begun any more: try again later. */
  | 'BUSY'
  /** Another process is working in the same folder. */
  | 'FOLDER_IN_USE'
  /** The caller's AbortSignal fired, or the user pressed Ctrl-C. */
  | 'ABORTED';

/**
 * An error with a stable `code`; `cause` holds the underlying error where there is one. Its `name` is 'BtsError', but
 * 'AbortError', as everywhere on the platform, with the code ABORTED: `cause` is then the signal's reason.
 */
export class BtsError extends Error {
  /** `AbortError` where a signal fired, as the platform's own errors of signals are called. */
  override readonly name: 'BtsError' | 'AbortError';

  /**
   * @param code what went wrong, for programs
   * @param message what was expected, what came, what to do; one of more than 4,000 characters loses its middle
   * @param options what is behind it
   */
  constructor(
    /** What went wrong, for programs; stays from version to version. */
    readonly code: ErrorCode,
    message: string,
    options?: { cause?: unknown },
  ) {
    super(readable(message), options);
    this.name = code === 'ABORTED' ? 'AbortError' : 'BtsError';
  }
}

/** A message has at most so many characters: what it quotes of a file may be as long as the file. */
const MOST_CHARACTERS = 4000;
/** Of these, at the end: there stands what to do. */
const AT_THE_END = 1000;

function readable(message: string): string {
  if (message.length <= MOST_CHARACTERS) return message;
  return `${message.slice(0, MOST_CHARACTERS - AT_THE_END - 3)} … ${message.slice(-AT_THE_END)}`;
}

/** What can be stopped takes a signal. */
export interface Abortable {
  /** Stops the work with an error of the code ABORTED. */
  signal?: AbortSignal | undefined;
}

/** Throws ABORTED once the signal has fired; `what` was stopped. */
export function throwIfAborted(signal: AbortSignal | undefined, what: string): void {
  if (signal?.aborted) throw new BtsError('ABORTED', `${what} was stopped.`, { cause: signal.reason });
}

/** Throws DISPOSED; `what` has an article. */
export function expectAlive(disposed: boolean, what: string): void {
  if (disposed) throw new BtsError('DISPOSED', `${what} was used after it was disposed.`);
}

/** Turns an error of Node's file system into a `BtsError` that says which path and what to do; others pass through. */
export function fileError(error: unknown, path: string, doing: string): unknown {
  const code = systemCode(error as NodeJS.ErrnoException);
  if (error instanceof BtsError || typeof code !== 'string') return error;
  // No path has a zero byte; Node does not even ask the system.
  const isImpossible = code === 'ERR_INVALID_ARG_VALUE' && path.includes('\0');
  // Node's other ERR_ codes are no file's fault.
  if (code.startsWith('ERR_') && !isImpossible) return error;
  if (code === 'ENOENT' || code === 'ENOTDIR' || isImpossible) {
    const message = `${doing}: '${path}' does not exist. Check the path.${downloadAdvice(path)}`;
    return new BtsError('FILE_NOT_FOUND', message, { cause: error });
  }
  const advice = ADVICE.find(({ codes }) => codes.includes(code))?.advice ?? 'The operating system refused.';
  const kind = code === 'ENOMEM' ? 'OUT_OF_MEMORY' : 'FILE_IO';
  return new BtsError(kind, `${doing}: '${path}' failed with ${code}. ${advice}`, { cause: error });
}

/** Node.js calls some errors, ESTALE and ENOLCK among them, by their number alone. */
function systemCode({ code, errno }: Partial<NodeJS.ErrnoException> = {}): string | undefined {
  if (!code?.startsWith('Unknown system error')) return code;
  return Object.entries(constants.errno).find(([, number]) => number === -errno!)?.[0] ?? code;
}

/** What to do about the errors of operating systems. */
const ADVICE: readonly { codes: readonly string[]; advice: string }[] = [
  {
    codes: ['ENOSPC', 'EDQUOT', 'EFBIG'],
    advice:
      'The disk is full, or a quota or size limit reached: make room and run it again; what was there before is unchanged.',
  },
  { codes: ['EACCES', 'EPERM', 'EROFS'], advice: 'Permission was denied: check who owns the file and folder.' },
  {
    codes: ['EIO', 'ENXIO', 'ENODEV', 'EUCLEAN', 'EBADMSG'],
    advice: "The disk failed, or the way to it: look at the system's log (dmesg) before you run it again.",
  },
  {
    codes: ['ESTALE', 'ETIMEDOUT', 'ENOTCONN', 'ECONNRESET', 'EREMOTEIO', 'EHOSTDOWN'],
    advice: 'The file server lost it, or does not answer: run it again once others see the folder.',
  },
  {
    codes: ['EXDEV'],
    advice: 'Parts of the folder lie on several disks: choose one that lies on one, with all beside it.',
  },
  {
    codes: ['ENOLCK', 'ENOTSUP', 'EOPNOTSUPP', 'ENOSYS'],
    advice: 'This file system cannot do that: choose a folder on another.',
  },
  {
    codes: ['EMFILE', 'ENFILE'],
    advice: 'Too many files are open: raise the limit (ulimit -n), or run fewer programs at a time.',
  },
  { codes: ['EBUSY', 'ETXTBSY'], advice: 'Another program uses it: run it again when that is done.' },
  { codes: ['ENOMEM'], advice: 'The system has no memory left: end other programs.' },
];

/** A file of a model that is called as on the Hugging Face Hub, or by its address there. */
const HUB_FILE =
  /^(?:https?:\/+(?:www\.)?(?:huggingface\.co|hf\.co)\/+|hf:\/+)?(\w[\w.-]*\/\w[\w.-]*)\/+(?:(?:config|tokenizer|bts|baseline)\.json|stitch\.safetensors)$/;

/** How to get a model that is missing in a folder with such a name. */
function downloadAdvice(path: string): string {
  const model = HUB_FILE.exec(path)?.[1];
  if (model === undefined || existsSync(model)) return '';
  return ` If '${model}' is a model of the Hugging Face Hub, download it first: hf download ${model} --local-dir ${model}`;
}
