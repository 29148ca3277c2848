import { readdir, readFile, stat } from 'node:fs/promises';
import { basename, dirname, extname, join, relative, sep } from 'node:path';
import { BtsError, fileError } from '../../base/errors.js';
import { readJson } from '../../base/file.js';

/** A package, and the paths of its files relative to `folder`, with `/`, sorted. */
export interface InstalledPackage {
  name: string;
  folder: string;
  files: string[];
}

/**
 * The package at `packageRoot`, with the files that it is published with, those in the folders `others`, and those in every
 * `node_modules` of these, and of the first and above it, sorted by folder. Of several copies of a package the outermost counts;
 * symbolic links (workspaces) do not.
 */
export async function findPackages(
  packageRoot: string,
  others: readonly string[],
  signal?: AbortSignal,
): Promise<InstalledPackage[]> {
  const own = await publishedPackage(packageRoot, signal);
  const packages = new Map([[own.name, own]]);
  const pending = await modulesAbove(packageRoot);
  const add = async (name: string, folder: string) => {
    const files: string[] = [];
    await walk(folder, folder, files, pending, signal);
    if (!packages.has(name)) packages.set(name, { name, folder, files: files.sort() });
  };
  for (const folder of others) await add(basename(folder), folder);
  for (let folder = pending.shift(); folder !== undefined; folder = pending.shift())
    for (const name of await packagesIn(folder)) await add(name, join(folder, name));
  return [...packages.values()];
}

/** The text of one file of a package without byte order mark, with Unix line ends. */
export async function readText(pkg: InstalledPackage, file: string): Promise<string> {
  const path = join(pkg.folder, file);
  try {
    return (await readFile(path, 'utf8')).replace(/^\uFEFF/, '').replaceAll('\r\n', '\n');
  } catch (error) {
    throw fileError(error, path, 'Reading an installed package');
  }
}

/** The size of one file of a package in bytes. */
export async function fileBytes(pkg: InstalledPackage, file: string): Promise<number> {
  const path = join(pkg.folder, file);
  try {
    return (await stat(path)).size;
  } catch (error) {
    throw fileError(error, path, 'Reading an installed package');
  }
}

/** @throws BtsError `ABORTED` if the signal fired. */
export function stopIfAborted(signal: AbortSignal | undefined): void {
  if (signal?.aborted) throw new BtsError('ABORTED', 'Collecting texts was stopped.', { cause: signal.reason });
}

/** The folder of npm, which comes with Node.js. */
export async function findNpm(): Promise<string | undefined> {
  const folder = dirname(process.execPath);
  for (const npm of [join(folder, '..', 'lib', 'node_modules', 'npm'), join(folder, 'node_modules', 'npm')])
    if (await stat(npm).catch(() => undefined)) return npm;
  return undefined;
}

async function modulesAbove(packageRoot: string): Promise<string[]> {
  const found: string[] = [];
  for (let folder = packageRoot; ; folder = dirname(folder)) {
    const modules = join(folder, 'node_modules');
    if ((await stat(modules).catch(() => undefined))?.isDirectory()) found.push(modules);
    if (folder === dirname(folder)) return found;
  }
}

/** The package at `folder` as npm publishes it, so that a clone and an installed copy have the same text. */
async function publishedPackage(folder: string, signal?: AbortSignal): Promise<InstalledPackage> {
  const manifest = await readJson(join(folder, 'package.json'), 'BAD_DATA');
  const { name = '', files: published = [] } = manifest as { name?: string; files?: string[] };
  const all: string[] = [];
  await walk(folder, folder, all, [], signal);
  const files = all.filter((file) => file === 'README.md' || isPublished(file, published));
  return { name, folder, files: files.sort() };
}

/** Whether npm publishes a file where package.json has these `files`: the last entry decides that is about it. */
function isPublished(file: string, entries: readonly string[]): boolean {
  const entry = entries.findLast((entry) => pattern(entry.replace(/^!/, '')).test(file));
  return entry !== undefined && !entry.startsWith('!');
}

/** A path with what lies below it; `*` is any part of a name, and a whole name of two any folders. */
function pattern(entry: string): RegExp {
  const literal = (text: string) => text.replace(/[.+?^${}()|[\]\\]/g, '\\$&');
  const names = entry.split('**/').map((part) => part.split('*').map(literal).join('[^/]*'));
  return new RegExp(`^${names.join('(.*/)?')}(/|$)`);
}

async function packagesIn(modules: string): Promise<string[]> {
  const names: string[] = [];
  for (const entry of await entries(modules)) {
    if (!entry.isDirectory() || entry.name.startsWith('.')) continue;
    if (!entry.name.startsWith('@')) names.push(entry.name);
    else {
      for (const scoped of await entries(join(modules, entry.name))) {
        if (scoped.isDirectory()) names.push(`${entry.name}/${scoped.name}`);
      }
    }
  }
  return names.sort();
}

async function walk(
  root: string,
  folder: string,
  files: string[],
  nestedModules: string[],
  signal?: AbortSignal,
): Promise<void> {
  stopIfAborted(signal);
  for (const entry of await entries(folder)) {
    const path = join(folder, entry.name);
    if (entry.isFile() && extname(entry.name) !== '') files.push(relative(root, path).split(sep).join('/'));
    else if (!entry.isDirectory() || entry.name.startsWith('.')) continue;
    else if (entry.name === 'node_modules') nestedModules.push(path);
    else await walk(root, path, files, nestedModules, signal);
  }
}

async function entries(folder: string) {
  try {
    // The file system's order differs between machines.
    return (await readdir(folder, { withFileTypes: true })).sort((a, b) => (a.name < b.name ? -1 : 1));
  } catch (error) {
    throw fileError(error, folder, 'Listing installed packages');
  }
}
