import { execFile } from 'node:child_process';
import { mkdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { clang, root } from '../../sanitizers/build.js';

const run = promisify(execFile);

/** Where all goes that is made: bundles, what was covered before, inputs that were found. */
export const folder = join(root, 'build/fuzz');

/** Compiles engine.cc with clang's libFuzzer, where it is not yet. Returns its path. */
export async function buildEngine(): Promise<string> {
  const source = fileURLToPath(new URL('engine.cc', import.meta.url));
  const engine = join(folder, 'engine.node');
  await mkdir(folder, { recursive: true });
  const built = await stat(engine).catch(() => undefined);
  if (built && built.mtimeMs > (await stat(source)).mtimeMs) return engine;
  const { stdout } = await run(clang, ['-print-file-name=libclang_rt.fuzzer_no_main-x86_64.a']);
  const headers = ['node-api-headers/include', 'node-addon-api'].flatMap((path) => [
    '-isystem',
    join(root, 'node_modules', path),
  ]);
  const defines = ['-DNAPI_VERSION=8', '-DNODE_ADDON_API_CPP_EXCEPTIONS'];
  const flags = ['-std=c++20', '-O2', '-fPIC', '-shared', '-pthread', '-Wall', '-Wextra'];
  await run(clang, [...flags, ...defines, ...headers, source, stdout.trim(), '-o', engine]);
  return engine;
}
