/** Values that cross between ranks, and their gradients, which cross back. */
import type { Communicator } from '../communicator.js';
import { detached, needsGradient } from '../gradient.js';
import type { Scope } from '../scope.js';
import { GradientNode, type Tensor } from '../tensor.js';

/**
 * Sends x to a rank, which receives it. What is returned is `carrier`, with which this rank goes on: when its gradient comes,
 * that of x is fetched from there.
 */
export function send(scope: Scope, x: Tensor, communicator: Communicator, to: number, carrier = x): Tensor {
  communicator.send(x, to);
  if (!scope.tape || !needsGradient(x)) return scope.track(carrier.share().withNode(carrier.node));
  const y = scope.track(carrier.share().withNode(new GradientNode()));
  const [sent, carried] = [detached(x), detached(carrier)];
  scope.tape.record(y, [], (dy, _, known) => {
    if (carried.node !== sent.node) known.give(carried, dy);
    using dx = scope.device.empty(sent.shape, sent.dtype);
    communicator.receive(dx, to);
    if (carried.node === sent.node) scope.device.run('add', { y: dx, a: dx, b: dy });
    known.give(sent, dx);
  });
  return y;
}

/** What ranks send, side by side [ranks, ...shape]; `differentiable`: whether they wait for its gradient. */
export function receive(
  scope: Scope,
  shape: readonly number[],
  communicator: Communicator,
  from: readonly number[],
  differentiable: boolean,
): Tensor {
  const y = scope.empty([from.length, ...shape], differentiable);
  for (const [i, rank] of from.entries()) {
    using part = y.slice(i);
    communicator.receive(part, rank);
  }
  if (y.node) {
    scope.tape!.record(y, [], (dy) => {
      for (const [i, rank] of from.entries()) {
        using part = dy.slice(i);
        communicator.send(part, rank);
      }
    });
  }
  return y;
}
