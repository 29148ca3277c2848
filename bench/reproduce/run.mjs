// npm run reproduce [-- --smoke] [-- options of `bts reproduce`]: the table of full.yaml, or in minutes that of smoke.yaml.
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const at = (path) => fileURLToPath(new URL(path, import.meta.url));
const given = process.argv.slice(2);
const name = given.includes('--smoke') ? 'smoke' : 'full';
const rest = given.filter((argument) => argument !== '--smoke');
const main = at('../../dist/cli/main.js');
if (!existsSync(main)) {
  console.error("The program is not built: run 'npm run build' first.");
  process.exit(1);
}
const out = rest.includes('--out') ? [] : ['--out', at(`../../build/reproduce/${name}`)];
process.argv.splice(2, given.length, 'reproduce', at(`${name}.yaml`), ...out, ...rest);
await import(main);
