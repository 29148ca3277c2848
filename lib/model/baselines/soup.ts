import { join } from 'node:path';
import { throwIfAborted } from '../../base/errors.js';
import { writeJson } from '../../base/file.js';
import { replaceFolder } from '../../base/folder.js';
import { expectOptions } from '../../base/options-check.js';
import { configToJson, type ModelConfig } from '../../checkpoint/config.js';
import { parameterNames } from '../../checkpoint/names.js';
import { writeCheckpoint } from '../../checkpoint/shards.js';
import type { FloatType } from '../../tensor/addon.js';
import type { Device } from '../../tensor/device.js';
import { Parameter } from '../../tensor/parameter.js';
import { FAMILY_OPTIONS, type Family, openFamily } from '../members/member-files.js';
import { expectSameWeights } from '../members/same-weights.js';
import { copyTokenizer, FILE_DTYPES, MEMORY_DTYPES, tensorSource } from '../save.js';
import { averageWeight } from './average.js';

export interface SoupOptions extends Family {
  /** Of the weights written; default what the hub has. */
  dtype?: FloatType | undefined;
}

/**
 * Model Soup: the mean of all weights of the hub and the experts, written to `folder` as an ordinary Hugging Face
 * checkpoint. One weight is in memory at a time. Throws MEMBERS_DIFFER, ABORTED, and what opening checkpoints and writing throw.
 *
 * @param folder a new folder
 */
export async function writeSoup(device: Device, folder: string, options: SoupOptions): Promise<void> {
  expectOptions('writeSoup', options, { ...FAMILY_OPTIONS, dtype: true });
  const members = await openFamily(options);
  expectSameWeights(members);
  const { signal } = options;
  const { config } = members[0]!;
  const dtype = options.dtype ?? MEMORY_DTYPES[config.dtype]!;
  const written: ModelConfig = { ...config, dtype: FILE_DTYPES[dtype] };
  await replaceFolder(folder, async (temporary) => {
    await writeJson(join(temporary, 'config.json'), configToJson(written));
    await writeCheckpoint(
      temporary,
      parameterNames(config).map((spec) => ({
        name: spec.name,
        dtype: FILE_DTYPES[dtype],
        shape: spec.shape,
        data: async () => {
          throwIfAborted(signal, 'averaging models');
          using mean = new Parameter(spec.name, await averageWeight(device, members, spec));
          const source = tensorSource(mean, dtype);
          return await source.data();
        },
      })),
    );
    await copyTokenizer(options.hub, temporary);
  });
}
