import { setImmediate } from 'node:timers/promises';
import type { z } from 'zod';
import { type Abortable, throwIfAborted } from '../base/errors.js';
import { parseOptions } from '../base/options-check.js';
import { choice, text } from '../base/schema.js';
import { cutText } from './cut-text.js';
import { readJsonFile, readJsonLines, readParquetRows } from './records.js';
import { findTextFiles, type TextFile } from './text-files.js';
import { readText } from './text-reader.js';

/** A text, and where it came from. */
export interface Document {
  /** All of it, as it stands in its file. */
  text: string;
  /** The file, and within .jsonl, .json and .parquet the line or row counted from 1: `train.jsonl:12`. */
  source: string;
}

export const documentOptions = {
  /**
   * What one document is in a plain-text file: the whole file (the default), or each paragraph, that is what stands
   * between blank lines. Blank lines mostly stand inside documents (in books, source code, a problem and its solution),
   * and cutting there takes away context that a model could have learned from, while reading a file of short texts as
   * one document merely lacks some end-of-text marks.
   */
  documents: choice(['file', 'paragraph']).default('file').meta({
    description: 'What one document is in plain text: the file, or what stands between blank lines',
  }),
  /** The field of a .jsonl or .json record, or the column of a .parquet file, that holds the text; default 'text'. */
  textField: text('a name').default('text').meta({
    description: 'The field of .jsonl lines, or column of .parquet rows, with the text',
    argument: 'name',
  }),
};

export interface DocumentOptions extends z.input<z.ZodObject<typeof documentOptions>>, Abortable {}

/**
 * A longer text is cut, at a line end where there is one, into several documents: files of any size can be streamed,
 * and tokenizing one document never takes long.
 */
const MAX_CHARACTERS = 2 ** 18;
const BLANK_LINES = /\n(?:[ \t\r]*\n)+/;
/** The event loop gets a turn when reading has kept it for this long. */
const TURN_MS = 10;

/**
 * Reads the documents of files and folders (see `findTextFiles` for which files count, and in what order): .jsonl, .json
 * and .parquet hold one per record, other files are text. Either is UTF-8, or UTF-16 with a byte order mark, and may be
 * compressed with gzip or Zstandard. Text without anything but white space is skipped, and so are records whose text is
 * null. Memory holds one document, one chunk of a file or one Parquet row group at a time.
 *
 * @param paths files and folders
 * @throws BAD_DATA naming file and line; FILE_NOT_FOUND, FILE_IO; BAD_OPTION; ABORTED
 */
export async function* readDocuments(
  paths: readonly string[],
  options: DocumentOptions = {},
): AsyncGenerator<Document> {
  const { documents, textField } = parseOptions(documentOptions, options);
  const { signal } = options;
  let turnEnds = performance.now() + TURN_MS;
  for (const file of await findTextFiles(paths)) {
    for await (const { text, source } of readFileDocuments(file, documents, textField)) {
      for (const piece of cutText(text, MAX_CHARACTERS)) {
        if (performance.now() > turnEnds) {
          await setImmediate();
          turnEnds = performance.now() + TURN_MS;
        }
        throwIfAborted(signal, 'preparing the data');
        if (piece.trim()) yield { text: piece, source };
      }
    }
  }
}

function readFileDocuments(
  { path, format }: TextFile,
  documents: 'file' | 'paragraph',
  textField: string,
): AsyncGenerator<Document> {
  if (format === 'jsonl') return readJsonLines(path, textField);
  if (format === 'json') return readJsonFile(path, textField);
  if (format === 'parquet') return readParquetRows(path, textField);
  return documents === 'file' ? readWhole(path) : readParagraphs(path);
}

/** A file as one document, or as several where it is too long to be one. */
async function* readWhole(path: string): AsyncGenerator<Document> {
  let open = '';
  for await (const chunk of readText(path)) {
    const pieces = cutText(open + chunk, MAX_CHARACTERS);
    open = pieces.pop()!;
    for (const text of pieces) yield { text, source: path };
  }
  yield { text: open, source: path };
}

async function* readParagraphs(path: string): AsyncGenerator<Document> {
  let open = '';
  for await (const chunk of readText(path)) {
    const paragraphs = (open + chunk).split(BLANK_LINES);
    const pieces = cutText(paragraphs.pop()!, MAX_CHARACTERS);
    open = pieces.pop()!;
    for (const text of [...paragraphs, ...pieces]) yield { text: trimBlankLines(text), source: path };
  }
  yield { text: trimBlankLines(open), source: path };
}

function trimBlankLines(text: string): string {
  return text.replace(/^(?:[ \t\r]*\n)+/, '').trimEnd();
}
