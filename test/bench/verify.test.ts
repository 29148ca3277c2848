/** What benchmarks are verified with must see what is wrong, and nothing else. */
import { suite } from 'uvu';
import { verifyDecoding, verifyGradients } from '../../bench/verify.js';
import type { Device } from '../../lib/tensor/device.js';
import type { OpArguments } from '../../lib/tensor/native-ops.js';
import { devices } from '../support/devices.js';
import { refuses, replaced } from '../support/replaced.js';

const verification = suite('verification of benchmarks');

const SHAPE = {
  width: 64,
  layers: 8,
  feedForwardWidth: 160,
  heads: 4,
  keyValueHeads: 2,
  vocabularySize: 128,
  batch: 2,
  tokens: 24,
};

type Args<O extends keyof OpArguments> = OpArguments[O];

for (const device of devices()) {
  const gradients = () => verifyGradients(device, SHAPE, 'f32');
  const decoding = () => verifyDecoding(device, SHAPE, 'f32');

  verification(`${device.label}: right gradients and right logits pass`, async () => {
    await gradients();
    await decoding();
  });

  verification(`${device.label}: a projection's gradient that is a tenth too small is noticed`, async () => {
    const shrink = ({ ...args }: Args<'hub_into_experts_backward'>, run: Device['run']) => {
      run('hub_into_experts_backward', args);
      const [first] = args.dproj;
      run('add_scaled', { y: first!, x: first!, scale: -0.1 });
    };
    await replaced(device, 'hub_into_experts_backward', shrink, () => refuses(gradients, /gradient/));
  });

  verification(`${device.label}: a gradient that loses what came by the residual is noticed`, async () => {
    const forget = (args: Args<'rms_norm_backward_input'>, run: Device['run']) =>
      run('rms_norm_backward_input', { ...args, accumulate: false });
    await replaced(device, 'rms_norm_backward_input', forget, () => refuses(gradients, /gradient/));
  });

  verification(`${device.label}: a gradient that never comes is noticed`, async () => {
    const skip = ({ ...args }: Args<'experts_into_hub_backward'>, run: Device['run']) => {
      run('experts_into_hub_backward', args);
      run('fill', { y: args.dgateWeight, value: 0 });
    };
    await replaced(device, 'experts_into_hub_backward', skip, () => refuses(gradients, /gradient/));
  });

  verification(`${device.label}: keys of tokens that come one by one and are never kept are noticed`, async () => {
    const lose = (args: Args<'cache_append'>, run: Device['run']) => {
      if (args.x.shape[2]! > 1) run('cache_append', args);
    };
    await replaced(device, 'cache_append', lose, () => refuses(decoding, /logits/));
  });
}

verification.run();
