/** One rank: rank-main.ts PROGRAM DEVICE FOLDER. What the program returns or throws is written to FOLDER/RANK.json. */
import { renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { findLaunch } from '../../lib/base/launch.js';
import { Device } from '../../lib/tensor/device.js';
import { openCommunicator } from '../../lib/tensor/open-communicator.js';
import * as memberPrograms from './member-programs.js';
import * as tensorPrograms from './programs.js';
import type { Report } from './ranks.js';

const programs = { ...tensorPrograms, members: memberPrograms.members };
const [program = '', deviceName = '', folder = ''] = process.argv.slice(2);
const launch = findLaunch();
const report = (what: Report) => {
  const path = join(folder, `${launch?.rank ?? 0}.json`);
  writeFileSync(`${path}.part`, JSON.stringify(what));
  renameSync(`${path}.part`, path);
};

const [name, precision] = deviceName.split('/') as [string, ('f32' | 'bf16')?];
const device = Device.open(name, { ...(precision ? { precision } : {}), ...(name === 'cpu' ? { threads: 1 } : {}) });
try {
  const communicator = await openCommunicator(device, launch);
  report({ value: await programs[program as keyof typeof programs](communicator) });
  communicator.dispose();
} catch (error) {
  const { code = 'none', message } = error as Error & { code?: string };
  report({ error: { code, message } });
  process.exitCode = 1;
} finally {
  device.dispose();
}
