import { readdir, realpath, stat } from 'node:fs/promises';
import { extname, join } from 'node:path';
import { BtsError, fileError } from '../base/errors.js';
import { uncompressedName } from './compressed.js';

/** How the documents of a file are found. */
export type TextFormat = 'text' | 'jsonl' | 'json' | 'parquet';

export interface TextFile {
  path: string;
  format: TextFormat;
}

const RECORD_FORMATS = new Map<string, TextFormat>([
  ['.jsonl', 'jsonl'],
  ['.ndjson', 'jsonl'],
  ['.parquet', 'parquet'],
]);

/**
 * The plain-text extensions that are read when a folder is given: prose, markup and source code. Data files such as
 * .json, .csv, .yaml or .log are left out, as most of them in a source tree are machine-made; name such a file itself
 * to have it read: .json as records, others as text.
 */
const TEXT_EXTENSIONS: ReadonlySet<string> = new Set(
  `.txt .text .md .markdown .rst .adoc .org .tex .html .htm
   .py .pyi .js .mjs .cjs .jsx .ts .mts .cts .tsx .java .kt .scala .groovy .c .h .cc .cpp .cxx .hh .hpp .hxx .cu .cuh
   .m .mm .cs .fs .vb .go .rs .swift .dart .zig .d .nim .rb .php .pl .pm .lua .r .jl .hs .ml .mli .ex .exs .erl .clj
   .lisp .scm .el .f .f90 .f95 .pas .ada .asm .s .v .sv .vhd .sql .sh .bash .zsh .ps1 .css .scss .lean .coq`.split(
    /\s+/,
  ),
);

/**
 * The files that `paths` stand for: a file stands for itself whatever its extension, a folder for all text files below
 * it (`TEXT_EXTENSIONS`, .jsonl, .ndjson, .parquet, all of them also with the ending of a compression, such as .gz) but for
 * names that begin with a dot. Paths keep their order, the entries of a folder are sorted by name, links are followed, and
 * what is reached twice is read once.
 *
 * @throws FILE_NOT_FOUND, FILE_IO; BAD_DATA where nothing is found or a path is neither file nor folder
 */
export async function findTextFiles(paths: readonly string[]): Promise<TextFile[]> {
  const files: TextFile[] = [];
  const seen = new Set<string>();
  for (const path of paths) await visit(path, true, seen, files);
  if (files.length === 0) {
    throw new BtsError(
      'BAD_DATA',
      `No text was found in [${paths.join(', ')}]. Name text files, or folders with some. Of a folder, .json, .csv and other files of data are read only if they are named themselves.`,
    );
  }
  return files;
}

function formatOf(path: string, named: boolean): TextFormat | undefined {
  const extension = extname(uncompressedName(path)).toLowerCase();
  if (named && extension === '.json') return 'json';
  return RECORD_FORMATS.get(extension) ?? (named || TEXT_EXTENSIONS.has(extension) ? 'text' : undefined);
}

async function visit(path: string, named: boolean, seen: Set<string>, files: TextFile[]): Promise<void> {
  try {
    const format = formatOf(path, named);
    const status = await stat(path);
    if (!status.isDirectory() && !status.isFile()) {
      if (!named) return;
      throw new BtsError('BAD_DATA', `'${path}' is neither a file nor a folder. Write its text to a file first.`);
    }
    if (status.isFile() && !format) return;

    // By its real path, so that a link to a folder above ends here instead of going round.
    const real = await realpath(path);
    if (seen.has(real)) return;
    seen.add(real);

    if (status.isFile()) {
      files.push({ path, format: format! });
      return;
    }
    const names = (await readdir(path)).filter((name) => !name.startsWith('.')).sort();
    for (const name of names) await visit(join(path, name), false, seen, files);
  } catch (error) {
    throw fileError(error, path, 'Looking for training text');
  }
}
