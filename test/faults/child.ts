/** One save in a process of its own, to be killed: child.ts ROOT NAME FOLDER. */
import { openSaves } from './saves.js';

const [root = '', name = '', folder = ''] = process.argv.slice(2);
const save = (await openSaves(root)).find((save) => save.name === name)!;
await save.save(folder);
