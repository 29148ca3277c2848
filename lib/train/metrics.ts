import { type FileHandle, open } from 'node:fs/promises';
import { join } from 'node:path';
import { BtsError, fileError } from '../base/errors.js';
import { exists, readAt, withFile } from '../base/file.js';
import { makeFolders } from '../base/folder.js';

const FILE = 'metrics.jsonl';
/** More than a row has. */
const TAIL_BYTES = 1 << 20;

/** The step that the last row of a run's metrics is of; undefined where there are none. @throws FILE_IO */
export async function lastStep(folder: string): Promise<number | undefined> {
  const path = join(folder, FILE);
  if (!(await exists(path))) return undefined;
  const tail = await withFile(path, (file, bytes) => readAt(file, Math.max(0, bytes - TAIL_BYTES), TAIL_BYTES));
  const row = tail.toString('utf8').trimEnd().split('\n').at(-1)!;
  // A run that was killed may have left half a row.
  const step = /"step":(\d+)/.exec(row)?.[1];
  return step === undefined ? undefined : Number(step);
}

/** metrics.jsonl of a run: one JSON object a line. A resumed run goes on where its checkpoint stood. */
export class Metrics implements AsyncDisposable {
  private constructor(
    private readonly file: FileHandle,
    private readonly path: string,
    private length: number,
  ) {}

  /** Opens the file and cuts it to its first `bytes`: what came after the checkpoint will be written again. */
  static async open(folder: string, bytes: number): Promise<Metrics> {
    const path = join(folder, FILE);
    let metrics: Metrics | undefined;
    try {
      await makeFolders(folder);
      const file = await open(path, 'a');
      metrics = new Metrics(file, path, bytes);
      const { size } = await file.stat();
      if (size < bytes) {
        throw new BtsError(
          'BAD_CHECKPOINT',
          `'${path}' has ${size} bytes, its checkpoint saw ${bytes}: restore the file.`,
        );
      }
      await file.truncate(bytes);
      return metrics;
    } catch (error) {
      await metrics?.[Symbol.asyncDispose]();
      throw fileError(error, path, 'opening the metrics');
    }
  }

  async write(row: object): Promise<void> {
    const line = `${JSON.stringify(row)}\n`;
    try {
      await this.file.appendFile(line);
    } catch (error) {
      throw fileError(error, this.path, 'writing metrics');
    }
    this.length += Buffer.byteLength(line);
  }

  /** Flushes to the disk and returns the length in bytes. */
  async flush(): Promise<number> {
    try {
      await this.file.sync();
    } catch (error) {
      throw fileError(error, this.path, 'writing metrics');
    }
    return this.length;
  }

  /** What matters was flushed, and what is thrown here would hide why the run ended. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.file.close().catch(() => {});
  }
}
