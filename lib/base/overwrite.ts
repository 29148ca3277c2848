import { mkdir, rename, writeFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import { fileError } from './errors.js';

/** Writes a result in one piece: whoever looks finds the old one or the new one. @throws FILE_IO */
export async function overwrite(path: string, text: string): Promise<void> {
  try {
    await mkdir(dirname(path), { recursive: true });
    await writeFile(`${path}.new`, text);
    await rename(`${path}.new`, path);
  } catch (error) {
    throw fileError(error, path, 'writing a result');
  }
}
