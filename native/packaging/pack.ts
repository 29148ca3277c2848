/**
 * What npm runs before and after it packs: `add` gives package.json the packages with binaries as optional dependencies, and
 * refuses where one is not made; `remove` takes them out again. In a clone they would be looked for in the registry.
 */
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { PUBLISHED } from '../../lib/tensor/binary.js';
import { manifest, writeManifest } from './manifest.js';
import { root } from './root.js';

const { optionalDependencies: _, ...plain } = manifest();

function isMade(name: string): boolean {
  const path = join(root, 'prebuilds', name, 'package.json');
  return existsSync(path) && JSON.parse(readFileSync(path, 'utf8')).version === plain.version;
}

if (process.argv[2] === 'add') {
  const missing = PUBLISHED.filter((name) => !isMade(name));
  if (missing.length > 0) {
    console.error(
      `There are no binaries of version ${plain.version} for ${missing.join(', ')} in prebuilds/: make them with ` +
        `'npm run prebuild -- ${missing.join(' ')}', then pack.`,
    );
    process.exit(1);
  }
  const optionalDependencies = Object.fromEntries(
    PUBLISHED.map((name) => [`@branch-train-stitch/${name}`, plain.version]),
  );
  writeManifest({ ...plain, optionalDependencies } as typeof plain);
} else writeManifest(plain as typeof plain);
