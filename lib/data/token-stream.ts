import { createHash } from 'node:crypto';
import { type FileHandle, open } from 'node:fs/promises';
import { BtsError, expectAlive, fileError } from '../base/errors.js';

/** A long sequence of token ids, each document followed by end-of-text, of which any stretch can be read. */
export interface TokenStream extends AsyncDisposable {
  /** Tokens in the stream, end-of-text included. */
  readonly length: number;
  /** Texts in the stream, that is, how many of its tokens are the end-of-text that was put behind one. */
  readonly documents: number;
  /** Names the content, where it is known: equal names mean equal tokens. */
  readonly contentHash?: string | undefined;
  /**
   * The `count` tokens from `offset` on.
   * @param offset tokens before them
   * @param count how many
   * @throws BAD_OPTION beyond the stream's ends, DISPOSED after `dispose`, BAD_DATA or FILE_IO if its files were damaged
   */
  read(offset: number, count: number): Promise<Int32Array>;
  /** Frees what the stream holds; twice is harmless. */
  dispose(): Promise<void>;
}

function checkRange(stream: TokenStream, offset: number, count: number): void {
  const valid = Number.isSafeInteger(offset) && Number.isSafeInteger(count) && offset >= 0 && count >= 0;
  if (!valid || offset + count > stream.length) {
    throw new BtsError('BAD_OPTION', `Cannot read ${count} tokens at ${offset} of a stream of ${stream.length}.`);
  }
}

/** A token stream that lies in memory. */
export class ArrayTokens implements TokenStream {
  #disposed = false;
  readonly #tokens: Int32Array;
  #contentHash: string | undefined;

  constructor(
    tokens: ArrayLike<number>,
    readonly documents = 1,
  ) {
    this.#tokens = Int32Array.from(tokens);
  }

  get length(): number {
    return this.#tokens.length;
  }

  get contentHash(): string {
    this.#contentHash ??= createHash('sha256').update(this.#tokens).digest('hex');
    return this.#contentHash;
  }

  // biome-ignore lint/suspicious/useAwait: errors must reject, as they do where the tokens are in files
  async read(offset: number, count: number): Promise<Int32Array> {
    expectAlive(this.#disposed, 'a token stream');
    checkRange(this, offset, count);
    return this.#tokens.slice(offset, offset + count);
  }

  dispose(): Promise<void> {
    this.#disposed = true;
    return Promise.resolve();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.dispose();
  }
}

/** Bytes of a token id in a shard: little-endian unsigned integers of 16 or 32 bits. */
export type TokenBytes = 2 | 4;

interface Shard {
  path: string;
  handle: FileHandle;
  start: number;
  end: number;
}

/** A token stream that lies in files, one after another; what is asked for is read from them and not kept. */
export class FileTokens implements TokenStream {
  #disposed = false;

  private constructor(
    readonly documents: number,
    readonly tokenBytes: TokenBytes,
    readonly shards: readonly Shard[],
    readonly contentHash?: string,
  ) {}

  /** @throws FILE_NOT_FOUND, FILE_IO */
  static async open(
    files: readonly { path: string; tokens: number }[],
    tokenBytes: TokenBytes,
    documents: number,
    contentHash?: string,
  ): Promise<FileTokens> {
    const shards: Shard[] = [];
    for (const { path, tokens } of files) {
      try {
        const start = shards.at(-1)?.end ?? 0;
        shards.push({ path, handle: await open(path), start, end: start + tokens });
      } catch (error) {
        for (const shard of shards) await shard.handle.close();
        throw fileError(error, path, 'Opening tokens');
      }
    }
    return new FileTokens(documents, tokenBytes, shards, contentHash);
  }

  get length(): number {
    return this.shards.at(-1)?.end ?? 0;
  }

  async read(offset: number, count: number): Promise<Int32Array> {
    expectAlive(this.#disposed, 'a token stream');
    checkRange(this, offset, count);
    const tokens = new Int32Array(count);
    for (const shard of this.shards) {
      const start = Math.max(offset, shard.start);
      const end = Math.min(offset + count, shard.end);
      if (start < end) tokens.set(await this.#readShard(shard, start - shard.start, end - start), start - offset);
    }
    return tokens;
  }

  async #readShard({ path, handle }: Shard, offset: number, count: number): Promise<Uint16Array | Uint32Array> {
    const tokens = this.tokenBytes === 2 ? new Uint16Array(count) : new Uint32Array(count);
    const bytes = new Uint8Array(tokens.buffer);
    const position = offset * this.tokenBytes;
    try {
      for (let filled = 0; filled < bytes.length; ) {
        const { bytesRead } = await handle.read(bytes, filled, bytes.length - filled, position + filled);
        if (bytesRead === 0) {
          throw new BtsError('BAD_DATA', `${path} became shorter since it was opened. Prepare the data again.`);
        }
        filled += bytesRead;
      }
    } catch (error) {
      throw fileError(error, path, 'Reading tokens');
    }
    return tokens;
  }

  async dispose(): Promise<void> {
    if (this.#disposed) return;
    this.#disposed = true;
    await Promise.all(this.shards.map((shard) => shard.handle.close()));
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.dispose();
  }
}
