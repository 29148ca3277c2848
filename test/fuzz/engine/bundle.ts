import { readFile } from 'node:fs/promises';
import { dirname, extname } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build, type Plugin } from 'esbuild';
import { Instrumenter, PRELUDE } from './instrument.js';

/** What is under test: lib, and the readers of strangers' bytes among its dependencies. */
const UNDER_TEST = /\/lib\/.*\.ts$|\/node_modules\/(hyparquet|hyparquet-compressors|hysnappy|fzstd)\/.*\.js$/;

const FILES = fileURLToPath(new URL('memory-files.cts', import.meta.url));

/** Writes a target with all that it needs as one instrumented file. Returns how many edges that has. */
export async function bundle(target: string, outfile: string): Promise<number> {
  const instrumenter = new Instrumenter();
  const plugin: Plugin = {
    name: 'instrument',
    setup: ({ onLoad, onResolve }) => {
      onResolve({ filter: /^node:fs\/promises$/ }, () => ({ path: FILES }));
      onLoad({ filter: UNDER_TEST }, async ({ path }) => ({
        contents: instrumenter.instrument(await readFile(path, 'utf8'), path),
        loader: extname(path) === '.ts' ? 'ts' : 'js',
      }));
    },
  };
  await build({
    // Schemas that are made for one check alone would be compiled for it.
    stdin: {
      contents: `import { config } from 'zod'; config({ jitless: true }); export { target } from ${JSON.stringify(target)};`,
      resolveDir: dirname(target),
    },
    outfile,
    bundle: true,
    platform: 'node',
    format: 'cjs',
    target: 'node20',
    sourcemap: 'inline',
    plugins: [plugin],
    define: { 'import.meta.url': '__url' },
    banner: { js: `const __url = require('node:url').pathToFileURL(__filename).href; ${PRELUDE}` },
    logLevel: 'error',
  });
  return instrumenter.edges;
}
