/**
 * `npm run test:install [-- WORD...]`: the packed packages as strangers meet them, a line for each way to install and to use
 * them, of those whose names hold one of the words. Needs `npm run prebuild`; exits 1 where something failed.
 */
import './managers.js';
import './systems.js';
import './languages.js';
import { tryAll } from '../support/lines.js';

if (!(await tryAll(process.argv.slice(2)))) process.exitCode = 1;
process.exit();
