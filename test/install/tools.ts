import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { root } from '../../native/packaging/root.js';
import { Skipped } from '../support/lines.js';

/** A file of a package of the npm registry that is a tool here, installed once below build/. Throws Skipped without a registry. */
export function tool(spec: string, file: string): string {
  const folder = join(root, 'build', 'install-tools', spec.replaceAll('/', '-'));
  const path = join(folder, 'node_modules', spec.replace(/(?<=.)@.*/, ''), file);
  if (existsSync(path)) return path;
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, 'package.json'), '{ "private": true }');
  try {
    execFileSync('npm', ['install', '--ignore-scripts', '--no-audit', '--no-fund', '--no-save', '--force', spec], {
      cwd: folder,
      stdio: 'pipe',
    });
  } catch (error) {
    const lines = `${(error as { stderr?: Buffer }).stderr ?? error}`.trim().split('\n');
    throw new Skipped(`npm cannot install ${spec}: ${lines[0]}`);
  }
  return path;
}

/** The newest Node.js of a major version. */
export const nodeOf = (major: number, platform = 'linux-x64') => tool(`node-${platform}@${major}`, 'bin/node');
