import type { Placement } from '../../../checkpoint/stitch-manifest.js';
import type { Direction } from './direction.js';
import { expertsIntoHub } from './experts-into-hub.js';
import { hubIntoExperts } from './hub-into-experts.js';

/** Which way a stitch leads, by the name that a plan has for it. */
export const DIRECTIONS: Record<Placement['kind'], Direction> = {
  experts_into_hub: expertsIntoHub,
  hub_into_experts: hubIntoExperts,
};
