/** Puts Vega into dist/plots/vega.js, so that users need not install it, and its licences and those of what it uses beside it. */
import { readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { build } from 'esbuild';

const file = 'dist/plots/vega.js';
const { metafile } = await build({
  entryPoints: [file],
  outfile: file,
  allowOverwrite: true,
  bundle: true,
  minify: true,
  format: 'esm',
  platform: 'node',
  target: 'node20',
  external: ['./style.js', './text-width.js'],
  metafile: true,
  logLevel: 'warning',
});

// It is of the file that was bundled.
rmSync(`${file}.map`);

const packages = new Set(
  Object.keys(metafile.inputs).flatMap((path) => /^node_modules\/(?:@[^/]+\/)?[^/]+/.exec(path) ?? []),
);
const texts = [...packages].sort().map((folder) => {
  const { name, version, license } = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8'));
  const files = readdirSync(folder).filter((entry) => /^licen[cs]e/i.test(entry));
  const own = files.map((entry) => readFileSync(join(folder, entry), 'utf8').trim());
  return [`${name} ${version}, ${license}`, ...own].join('\n\n');
});
writeFileSync('dist/plots/vega.LICENSES.txt', `${texts.join(`\n\n${'-'.repeat(80)}\n\n`)}\n`);
