import { type FileHandle, open } from 'node:fs/promises';
import { BtsError, fileError } from '../../base/errors.js';
import { exists } from '../../base/file.js';
import { overwrite } from '../../base/overwrite.js';
import { readLines } from '../../data/text-reader.js';
import type { Sample, SampleStore } from '../run/run-task.js';

const MAX_LINE_CHARACTERS = 2 ** 26;

/**
 * Samples in a file, one line of JSON each, written as they come in whatever order. A run that was killed leaves at most its
 * last line unfinished, which does not count.
 */
export class SampleFile implements SampleStore, AsyncDisposable {
  private file: FileHandle | undefined;
  /** Lines are written one after the other. */
  private writing: Promise<void> = Promise.resolve();

  constructor(readonly path: string) {}

  /** The samples in the file that belong to these hashes, and what lies beyond them stays; others are dropped. */
  async open(hashes: readonly string[]): Promise<ReadonlyMap<number, Sample>> {
    const kept = [...(await readSamples(this.path)).values()].filter(
      ({ document, hash }) => document >= hashes.length || hashes[document] === hash,
    );
    await overwrite(this.path, kept.map(toLine).join(''));
    try {
      this.file = await open(this.path, 'a');
    } catch (error) {
      throw fileError(error, this.path, 'writing samples');
    }
    return new Map(kept.filter(({ document }) => document < hashes.length).map((sample) => [sample.document, sample]));
  }

  append(sample: Sample): Promise<void> {
    this.writing = this.writing.then(async () => {
      try {
        await this.file!.appendFile(toLine(sample));
      } catch (error) {
        throw fileError(error, this.path, 'writing samples');
      }
    });
    return this.writing;
  }

  /** Flushes to the disk. What could not be written was told where it was appended. Throws FILE_IO. */
  async [Symbol.asyncDispose](): Promise<void> {
    const { file } = this;
    this.file = undefined;
    const isWritten = await this.writing.then(
      () => true,
      () => false,
    );
    try {
      await file?.sync();
    } catch (error) {
      if (isWritten) throw fileError(error, this.path, 'writing samples');
    } finally {
      await file?.close().catch(() => {});
    }
  }
}

/** The samples in a file by document, the last of each; none where there is no file. Throws BAD_DATA, FILE_IO. */
export async function readSamples(path: string): Promise<Map<number, Sample>> {
  const samples = new Map<number, Sample>();
  if (!(await exists(path))) return samples;
  let faulty: number | undefined;
  let number = 0;
  for await (const line of readLines(path, MAX_LINE_CHARACTERS)) {
    number++;
    const sample = parse(line);
    // Only the last line may be unfinished.
    if (faulty !== undefined)
      throw new BtsError('BAD_DATA', `${path}:${faulty} is no sample of an evaluation. Remove it.`);
    if (sample) samples.set(sample.document, sample);
    else faulty = number;
  }
  return samples;
}

function parse(line: string): Sample | undefined {
  try {
    const sample = JSON.parse(line) as Sample;
    return typeof sample.document === 'number' && typeof sample.hash === 'string' ? sample : undefined;
  } catch {
    return undefined;
  }
}

const toLine = (sample: Sample) => `${JSON.stringify(sample)}\n`;
