import { z } from 'zod';
import { folder } from '../../base/schema.js';
import { MemberName } from '../../checkpoint/stitch-manifest.js';

/** The members of a stitched model. */
export const memberOptions = {
  hub: folder().meta({ description: 'The seed model that the experts descend from', argument: 'folder' }),
  expert: z
    .record(MemberName, folder())
    .refine((experts) => Object.keys(experts).length > 0, 'expected at least one')
    .refine((experts) => !Object.hasOwn(experts, 'hub'), "'hub' is the name of the hub")
    .meta({ description: 'An expert and its folder. Repeatable', argument: 'name=folder' }),
};
