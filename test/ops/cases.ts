/** All cases of all ops. */
import type { Case } from '../support/reference-case.js';
import { attention } from './attention.js';
import { elementwise } from './elementwise.js';
import { linear } from './linear.js';
import { mix } from './mix.js';
import { optimizer } from './optimizer.js';
import { rows } from './rows.js';
import { sampling } from './sample.js';
import { stitch } from './stitch.js';

export const cases: Case[] = [
  ...linear,
  ...attention,
  ...rows,
  ...stitch,
  ...mix,
  ...sampling,
  ...elementwise,
  ...optimizer,
];
