import type { Parameter } from '../../tensor/parameter.js';

/** A weight of the gates of all members, and the views of it that compositions multiply with. It ends before the weight does. */
export class GateWeight implements Disposable {
  private readonly views: Parameter[] = [];
  private stack: Parameter | undefined;
  private single: readonly Parameter[] | undefined;

  constructor(
    /** [M, ...] */
    readonly whole: Parameter,
    /** The first member with a gate. */
    private readonly first: number,
  ) {}

  /** Those of the members with a gate below each other: one matrix, or one vector. */
  get stacked(): Parameter {
    this.stack ??= this.view(this.first, this.members);
    return this.stack;
  }

  /** One for each member with a gate. */
  get each(): readonly Parameter[] {
    this.single ??= Array.from({ length: this.members - this.first }, (_, i) =>
      this.view(this.first + i, this.first + i + 1),
    );
    return this.single;
  }

  private get members(): number {
    return this.whole.value.shape[0]!;
  }

  private view(first: number, last: number): Parameter {
    const [, rows = 0, ...columns] = this.whole.value.shape;
    using slice = this.whole.slice(first, last);
    const view = slice.reshape((last - first) * rows, ...columns);
    this.views.push(view);
    return view;
  }

  [Symbol.dispose](): void {
    for (const view of this.views) view.dispose();
  }
}
