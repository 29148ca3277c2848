import { readdir } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import type { z } from 'zod';
import { check } from '../../base/check.js';
import { BtsError } from '../../base/errors.js';
import { readJson } from '../../base/file.js';
import { readRows } from './read-rows.js';

/** Where a part of a benchmark may lie. */
export interface Location {
  /** What it is, for people: 'the test questions of MMLU'. */
  what: string;
  /** Paths below the data folder, the first that exists is taken. The last part may have a `*`, for files in shards. */
  paths: readonly string[];
  /** Where to fetch it. */
  source: string;
}

/** The paths at which Hugging Face's layout may have a split, as .jsonl or .parquet, in shards or not. */
export function huggingFacePaths(folder: string, config: string, ...splits: string[]): string[] {
  return splits.flatMap((split) =>
    [`${folder}/${config}`, `${folder}/data/${config}`, `${folder}/data`, folder].flatMap((base) => [
      `${base}/${split}.jsonl`,
      `${base}/${split}.parquet`,
      `${base}/${split}-*.parquet`,
    ]),
  );
}

/** '10.json' comes after '9.json'. */
const inOrder = new Intl.Collator('en', { numeric: true }).compare;

/** Local files of benchmarks, read once each. */
export class DataFolder {
  /** What was read, by schema and files. */
  private readonly known = new Map<z.ZodType, Map<string, Promise<unknown[]>>>();

  constructor(
    /** The folder that holds them. */
    readonly root: string,
  ) {}

  /**
   * The rows at a location, each checked and turned into a document by `schema`.
   * Throws FILE_NOT_FOUND saying what to fetch and where it must lie; BAD_DATA naming file and row.
   */
  async read<Schema extends z.ZodType>(location: Location, schema: Schema): Promise<z.output<Schema>[]> {
    const files = await this.expectFiles(location);
    const read = async () => {
      const rows = (await Promise.all(files.map(readRows))).flat();
      return rows.map(({ value, source }) =>
        check(
          schema,
          value,
          (reason) => new BtsError('BAD_DATA', `${source} is no row of ${location.what}: ${reason}.`),
        ),
      );
    };
    const known = this.known.get(schema) ?? new Map<string, Promise<unknown[]>>();
    this.known.set(schema, known);
    const key = files.join('\n');
    if (!known.has(key)) known.set(key, read());
    return (await known.get(key)!) as z.output<Schema>[];
  }

  /** A .json file as one value, checked by `schema`. Throws as `read` does. */
  async readWhole<Schema extends z.ZodType>(location: Location, schema: Schema): Promise<z.output<Schema>> {
    const [path] = await this.expectFiles(location);
    const fail = (reason: string) => new BtsError('BAD_DATA', `'${path}' is not ${location.what}: ${reason}.`);
    return check(schema, await readJson(path!, 'BAD_DATA'), fail);
  }

  /** Whether there is a file at a location. @throws FILE_IO */
  async has(location: Location): Promise<boolean> {
    return (await this.find(location)).length > 0;
  }

  private async expectFiles(location: Location): Promise<string[]> {
    const files = await this.find(location);
    if (files.length > 0) return files;
    const places = location.paths.filter((path) => !path.includes('/data/')).slice(0, 6);
    throw new BtsError(
      'FILE_NOT_FOUND',
      `${location.what} were not found in '${this.root}'. Fetch them from ${location.source} and put them there as ` +
        `${places.map((path) => `'${path}'`).join(' or ')}; another folder is named by --data or $BTS_EVAL_DATA.`,
    );
  }

  private async find({ paths }: Location): Promise<string[]> {
    for (const path of paths) {
      const matches = await this.matches(join(this.root, path));
      if (matches.length > 0) return matches;
    }
    return [];
  }

  private async matches(path: string): Promise<string[]> {
    const [before, after] = basename(path).split('*');
    const names = await this.names(dirname(path));
    const fits = (name: string) =>
      after === undefined ? name === before : name.startsWith(before!) && name.endsWith(after);
    return names
      .filter(fits)
      .sort(inOrder)
      .map((name) => join(dirname(path), name));
  }

  private async names(folder: string): Promise<string[]> {
    try {
      return await readdir(folder);
    } catch {
      // No folder, no file in it.
      return [];
    }
  }
}
