/**
 * Makes of what tsc wrote into dist/ what is published: packages of which users need a small part are bundled, the types of
 * the API are one file that stands by itself, and what a build from source includes lies beside them.
 */
import { chmodSync, copyFileSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { build, type Plugin } from 'esbuild';
import { rollup } from 'rollup';
import { dts } from 'rollup-plugin-dts';
import { manifest } from './manifest.js';
import { root } from './root.js';

const dist = join(root, 'dist');
const IMPORTED = /(?<=^(?:import|export|\}) .*\bfrom ')[^'.][^']*(?=';$)/gm;
/** Nobody asks zod for messages in other languages. */
const englishAlone: Plugin = {
  name: 'english-alone',
  setup: ({ onLoad }) => onLoad({ filter: /zod\/v4\/locales\/index\.js$/ }, () => ({ contents: 'export {};' })),
};
const HEADERS = ['node-addon-api/napi.h', 'node-addon-api/napi-inl.h', 'node-addon-api/napi-inl.deprecated.h'].concat(
  ['js_native_api.h', 'js_native_api_types.h', 'node_api.h', 'node_api_types.h'].map(
    (name) => `node-api-headers/include/${name}`,
  ),
);

/** Packages of which something is in dist/, by their folders. */
const used = new Set<string>();

function use(paths: Iterable<string>): void {
  for (const path of paths) {
    const [folder] = /node_modules\/(?:@[^/]+\/)?[^/]+/.exec(path) ?? [];
    if (folder) used.add(folder);
  }
}

/** Vega in the place of the module that calls it. */
async function bundleVega(): Promise<void> {
  const file = 'dist/plots/vega.js';
  const { metafile } = await build({
    absWorkingDir: root,
    entryPoints: [file],
    outfile: file,
    allowOverwrite: true,
    bundle: true,
    minify: true,
    format: 'esm',
    platform: 'node',
    target: 'node20',
    external: ['./style.js', './text-width.js'],
    // What is for Node.js looks for a canvas while it is loaded, which a require() of modules cannot wait for.
    alias: { 'vega-canvas': './node_modules/vega-canvas/build/vega-canvas.browser.js' },
    metafile: true,
    logLevel: 'warning',
  });
  use(Object.keys(metafile.inputs));
}

/** What modules import of packages that users do not have: all of these would be four times as large as this one. */
function toBundle(): string[] {
  const theirs = Object.keys(manifest().dependencies ?? {});
  const all = modules('.js').flatMap((file) => readFileSync(file, 'utf8').match(IMPORTED) ?? []);
  const isTheirs = (specifier: string) => theirs.some((name) => `${specifier}/`.startsWith(`${name}/`));
  return [...new Set(all)].filter((specifier) => !specifier.startsWith('node:') && !isTheirs(specifier)).sort();
}

/** dist/bundled/, and the imports of all other modules turned to it. */
async function bundlePackages(): Promise<void> {
  const bundled = toBundle();
  const nameOf = (specifier: string) => specifier.replace('@', '').replaceAll('/', '-');
  const { metafile } = await build({
    absWorkingDir: root,
    entryPoints: Object.fromEntries(bundled.map((specifier) => [nameOf(specifier), specifier])),
    outdir: 'dist/bundled',
    bundle: true,
    splitting: true,
    minify: true,
    format: 'esm',
    platform: 'node',
    target: 'node20',
    plugins: [englishAlone],
    metafile: true,
    logLevel: 'warning',
  });
  use(Object.keys(metafile.inputs));
  for (const file of modules('.js')) {
    const text = readFileSync(file, 'utf8');
    const turned = text.replace(IMPORTED, (specifier) =>
      bundled.includes(specifier)
        ? relative(dirname(file), join(dist, 'bundled', `${nameOf(specifier)}.js`)).replace(/^(?!\.)/, './')
        : specifier,
    );
    if (turned !== text) writeFileSync(file, turned);
  }
}

function modules(extension: string): string[] {
  const names = readdirSync(dist, { recursive: true, encoding: 'utf8' });
  return names
    .filter((name) => name.endsWith(extension) && !name.startsWith('bundled'))
    .map((name) => join(dist, name));
}

/** One file of types for modules, and the same for CommonJS, which Node.js gives the very same objects. */
async function rollUpTypes(): Promise<void> {
  const bundle = await rollup({
    input: join(dist, 'index.d.ts'),
    external: /^node:/,
    plugins: [dts({ respectExternal: true })],
  });
  const { output } = await bundle.generate({ format: 'es' });
  use(bundle.watchFiles);
  await bundle.close();
  for (const file of modules('.d.ts')) rmSync(file);
  for (const name of ['index.d.ts', 'index.d.cts']) writeFileSync(join(dist, name), output[0].code);
  writeFileSync(join(dist, 'index.cjs'), "module.exports = require('./index.js');\n");
}

/** Node's headers and their C++ wrapper, for CMakeLists.txt. */
function copyHeaders(): void {
  mkdirSync(join(dist, 'include'));
  for (const header of HEADERS) {
    copyFileSync(join(root, 'node_modules', header), join(dist, 'include', header.replace(/.*\//, '')));
    use([`node_modules/${header}`]);
  }
}

/** The licences of all that is in dist/ and is not ours. */
function writeLicences(): void {
  const texts = [...used].sort().map((folder) => {
    const { name, version, license } = JSON.parse(readFileSync(join(root, folder, 'package.json'), 'utf8'));
    const files = readdirSync(join(root, folder)).filter((entry) => /^licen[cs]e/i.test(entry));
    const own = files.map((entry) => readFileSync(join(root, folder, entry), 'utf8').trim());
    return [`${name} ${version}, ${license}`, ...own].join('\n\n');
  });
  writeFileSync(join(dist, 'LICENSES.txt'), `${texts.join(`\n\n${'-'.repeat(80)}\n\n`)}\n`);
}

await bundleVega();
await bundlePackages();
await rollUpTypes();
copyHeaders();
writeLicences();
chmodSync(join(dist, 'cli', 'main.js'), 0o755);
