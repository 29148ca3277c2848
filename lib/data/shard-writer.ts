import { createHash } from 'node:crypto';
import { type FileHandle, open } from 'node:fs/promises';
import { BtsError, fileError } from '../base/errors.js';
import type { TokenBytes } from './token-stream.js';

const SHARD_TOKENS = 2 ** 26;
const BUFFER_TOKENS = 2 ** 20;

export interface WrittenShard {
  path: string;
  tokens: number;
  sha256: string;
}

/**
 * Writes a sequence of tokens to files `path(0)`, `path(1)` and so on. A file ends with the write of `bufferTokens` that
 * takes it to `shardTokens`.
 */
export class ShardWriter {
  readonly shards: WrittenShard[] = [];
  documents = 0;
  tokens = 0;
  readonly #shardTokens: number;
  readonly #buffer: Uint16Array | Uint32Array;
  #buffered = 0;
  #open: { handle: FileHandle; path: string; hash: ReturnType<typeof createHash>; tokens: number } | undefined;

  constructor(
    readonly path: (shard: number) => string,
    readonly vocabularySize: number,
    tokenBytes: TokenBytes,
    { shardTokens = SHARD_TOKENS, bufferTokens = BUFFER_TOKENS } = {},
  ) {
    this.#shardTokens = shardTokens;
    this.#buffer = tokenBytes === 2 ? new Uint16Array(bufferTokens) : new Uint32Array(bufferTokens);
  }

  /** Appends a document and the end-of-text behind it. @throws BAD_TOKEN, FILE_IO */
  async writeDocument(tokens: readonly number[], endOfText: number): Promise<void> {
    await this.#write(tokens);
    await this.#write([endOfText]);
    this.documents++;
  }

  /** Writes what is left, flushes it to the disk and closes the files. */
  async finish(): Promise<void> {
    await this.#flush();
    await this.#closeShard();
  }

  /** Closes the open file without finishing it. */
  async abandon(): Promise<void> {
    await this.#open?.handle.close();
    this.#open = undefined;
  }

  async #write(tokens: readonly number[]): Promise<void> {
    for (const token of tokens) {
      // A typed array would wrap it around silently.
      if (!(Number.isInteger(token) && token >= 0 && token < this.vocabularySize)) {
        throw new BtsError(
          'BAD_TOKEN',
          `The tokenizer gave token ${token}; its vocabulary has ${this.vocabularySize}.`,
        );
      }
      this.#buffer[this.#buffered++] = token;
      this.tokens++;
      if (this.#buffered === this.#buffer.length) await this.#flush();
    }
  }

  async #flush(): Promise<void> {
    if (this.#buffered === 0) return;
    const path = this.#open?.path ?? this.path(this.shards.length);
    try {
      this.#open ??= { handle: await open(path, 'wx'), path, hash: createHash('sha256'), tokens: 0 };
      const bytes = new Uint8Array(this.#buffer.buffer, 0, this.#buffered * this.#buffer.BYTES_PER_ELEMENT);
      this.#open.hash.update(bytes);
      await this.#open.handle.appendFile(bytes);
    } catch (error) {
      throw fileError(error, path, 'Writing tokens');
    }
    this.#open.tokens += this.#buffered;
    this.#buffered = 0;
    if (this.#open.tokens >= this.#shardTokens) await this.#closeShard();
  }

  async #closeShard(): Promise<void> {
    if (!this.#open) return;
    const { handle, path, hash, tokens } = this.#open;
    try {
      await handle.sync();
    } catch (error) {
      throw fileError(error, path, 'Writing tokens');
    }
    await this.abandon();
    this.shards.push({ path, tokens, sha256: hash.digest('hex') });
  }
}
