import { mkdir, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { BtsError, type ErrorCode } from '../../lib/base/errors.js';

/** What is fuzzed: whatever the bytes, there is a value, or an error that tells what is wrong. */
export interface Target {
  /** Inputs to begin with, made by code. */
  seeds(): Uint8Array[];
  /** Writes the files into a folder that are the same for all inputs. */
  prepare?(folder: string): Promise<void>;
  /** Reads one input; throws where it finds something else. */
  run(data: Uint8Array, folder: string): Promise<void>;
  /** Words of the format, for the fuzzer to try. */
  words?: readonly string[];
}

/** Passes where `action` ends with a value, or with a BtsError of one of these codes. What else it throws goes on. */
export async function expectTyped(codes: readonly ErrorCode[], action: () => unknown): Promise<void> {
  try {
    await action();
  } catch (error) {
    if (!(error instanceof BtsError && codes.includes(error.code) && isReadable(error.message))) throw error;
  }
}

/** Messages are for people: what a file holds may not make them endless. */
export const isReadable = (message: string): boolean => message.length <= 4000;

/** Writes a file into a folder and returns its path. */
export async function put(folder: string, name: string, content: Uint8Array | string): Promise<string> {
  const path = join(folder, name);
  await mkdir(dirname(path), { recursive: true });
  await writeFile(path, content);
  return path;
}
