import { resolve } from 'node:path';
import { styleText } from 'node:util';
import type { Command } from 'commander';
