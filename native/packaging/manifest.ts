import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { root } from './root.js';

/** A package.json. */
export type Manifest = Record<string, unknown> & {
  name: string;
  version: string;
  dependencies?: Record<string, string>;
};

const path = join(root, 'package.json');

/** This package's own. */
export function manifest(): Manifest {
  return JSON.parse(readFileSync(path, 'utf8'));
}

export function writeManifest(manifest: Manifest): void {
  writeFileSync(path, `${JSON.stringify(manifest, null, 2)}\n`);
}
