/** What only the data can show to be wrong rejects the read of what was computed from it, and nothing else. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { ErrorCode } from '../../lib/errors.js';
import { fails } from '../data-fixtures.js';
import { devices } from '../support/devices.js';
import { blank, integers } from '../support/reference.js';
import { type Case, call, run, withActivations } from '../support/reference-case.js';

interface Fault {
  case: Case;
  code: ErrorCode;
  /** Which value, and where. */
  message: RegExp;
}

const fault = (test: Case, code: ErrorCode, message: RegExp): Fault => ({ case: test, code, message });

const embedding = (ids: number[]) =>
  call('embedding_forward', `ids=${ids}`, (draw) => ({
    y: blank([2, ids.length, 3]),
    table: draw.members(2, [7, 3]),
    ids: integers(ids),
    scale: 1,
  }));

const embeddingGradient = (ids: number[]) =>
  call('embedding_backward', `ids=${ids}`, (draw) => ({
    dtable: draw.members(2, [7, 3]),
    dy: draw.normal([2, ids.length, 3]),
    ids: integers(ids),
    scale: 1,
  }));

const loss = (targets: number[]) =>
  call('cross_entropy_forward', `targets=${targets}`, (draw) => ({
    losses: blank([targets.length]),
    logits: draw.normal([targets.length, 7]),
    targets: integers(targets),
  }));

const lossGradient = (targets: number[]) =>
  call('cross_entropy_backward', `targets=${targets}`, (draw) => ({
    dlogits: blank([targets.length, 7]),
    dlosses: draw.normal([targets.length]),
    logits: draw.normal([targets.length, 7]),
    targets: integers(targets),
    softcap: 0,
  }));

const gather = (rows: number[]) =>
  call('gather_rows', `rows=${rows}`, (draw) => ({
    y: blank([rows.length, 3]),
    x: draw.normal([5, 3]),
    rows: integers(rows),
  }));

const rope = (T: number, starts?: number[]) =>
  call('rope', `T=${T} starts=${starts}`, (draw) => {
    const B = starts?.length ?? 1;
    return {
      y: blank([1, B, T, 2, 4]),
      x: draw.normal([1, B, T, 2, 4]),
      table: [draw.normal([6, 4])],
      starts: starts && integers(starts),
      inverse: false,
    };
  });

const append = (T: number, starts: number[]) =>
  call('cache_append', `T=${T} starts=${starts}`, (draw) => ({
    cache: draw.normal([1, starts.length, 6, 2, 4]),
    x: draw.normal([1, starts.length, T, 2, 4]),
    starts: integers(starts),
  }));

const attention = (T: number, starts?: number[]) =>
  call('attention_forward', `T=${T} starts=${starts}`, (draw) => {
    const B = starts?.length ?? 1;
    return {
      out: blank([1, B, T, 2, 4]),
      lse: undefined,
      q: draw.normal([1, B, T, 2, 4]),
      k: draw.normal([1, B, 6, 2, 4]),
      v: draw.normal([1, B, 6, 2, 4]),
      starts: starts && integers(starts),
      window: 0,
      scale: 0.5,
      softcap: 0,
    };
  });

const faults: Fault[] = [
  fault(embedding([0, 1, 7]), 'BAD_TOKEN', /^embedding_forward: ids\[2\] is 7, .* 0\.\.6$/),
  fault(embedding([-1]), 'BAD_TOKEN', /^embedding_forward: ids\[0\] is -1/),
  fault(embedding([2 ** 31 - 1]), 'BAD_TOKEN', /^embedding_forward: ids\[0\] is 2147483647/),
  fault(embeddingGradient([6, -(2 ** 31)]), 'BAD_TOKEN', /^embedding_backward: ids\[1\] is -2147483648/),
  fault(loss([-1, 3, 7]), 'BAD_TOKEN', /^cross_entropy_forward: targets\[2\] is 7, .* 0\.\.6/),
  fault(lossGradient([8, 0]), 'BAD_TOKEN', /^cross_entropy_backward: targets\[0\] is 8/),
  fault(gather([4, 5]), 'BAD_SHAPE', /^gather_rows: rows\[1\] is 5, .* 0\.\.4$/),
  fault(gather([-3]), 'BAD_SHAPE', /^gather_rows: rows\[0\] is -3/),
  fault(rope(7), 'BAD_SHAPE', /^rope: sequence 0 has 7 tokens from position 0/),
  fault(rope(3, [3, 4]), 'BAD_SHAPE', /^rope: sequence 1 has 3 tokens from position 4/),
  fault(rope(3, [-1]), 'BAD_SHAPE', /^rope: sequence 0 has 3 tokens from position -1/),
  fault(append(2, [0, 5]), 'BAD_SHAPE', /^cache_append: sequence 1 has 2 tokens from position 5/),
  fault(append(1, [-1]), 'BAD_SHAPE', /^cache_append: sequence 0 has 1 tokens from position -1/),
  fault(append(1, [2 ** 31 - 1]), 'BAD_SHAPE', /^cache_append: sequence 0 has 1 tokens from position 2147483647/),
  fault(attention(7), 'BAD_SHAPE', /^attention_forward: sequence 0 has 7 tokens from position 0/),
  fault(attention(1, [0, 6]), 'BAD_SHAPE', /^attention_forward: sequence 1 has 1 tokens from position 6/),
  fault(attention(5, [2]), 'BAD_SHAPE', /^attention_forward: sequence 0 has 5 tokens from position 2/),
  fault(attention(1, [-5]), 'BAD_SHAPE', /^attention_forward: sequence 0 has 1 tokens from position -5/),
];

for (const device of devices()) {
  for (const { case: plain, code, message } of faults) {
    const each = withActivations(plain, device.activations);
    test(`${device.label}: ${each.op} with ${each.label} rejects the read of its outputs alone`, async () => {
      const outputs = new Set(['y', 'dtable', 'losses', 'dlogits', 'cache', 'out']);
      const written = new Set(
        Object.entries(each.args).flatMap(([name, arg]) => (outputs.has(name) ? [arg].flat() : [])),
      );
      assert.ok(written.size > 0);
      await run(device, each, async (tensors) => {
        for (const [values, tensor] of tensors) {
          if (written.has(values)) await fails(() => tensor.readBytes(), code, message);
          else await tensor.readBytes();
        }
      });
    });
  }

  test.after(() => device.dispose());
}

test.run();
