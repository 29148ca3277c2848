/** One rank: rank-main.ts PROGRAM DEVICE FOLDER. What the program returns or throws is written to FOLDER/RANK.json. */
import { renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { findLaunch } from '../../lib/base/launch.js';
import { openCommunicator } from '../../lib/tensor/open-communicator.js';
import { members } from './member-programs.js';
import { openDevice } from './open-device.js';
import { programs } from './programs.js';
import type { Report } from './ranks.js';

const [program = '', deviceName = '', folder = ''] = process.argv.slice(2);
const launch = findLaunch();
const report = (what: Report) => {
  const path = join(folder, `${launch?.rank ?? 0}.json`);
  writeFileSync(`${path}.part`, JSON.stringify(what));
  renameSync(`${path}.part`, path);
};

const device = openDevice(deviceName);
try {
  const communicator = await openCommunicator(device, launch);
  const run = { ...programs, members }[program]!;
  report({ value: await run(communicator) });
  communicator.dispose();
} catch (error) {
  const { code = 'none', message } = error as Error & { code?: string };
  report({ error: { code, message } });
  process.exitCode = 1;
} finally {
  device.dispose();
}
