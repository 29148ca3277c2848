/** What ranks compute with. */

/** Shapes of lists that are summed: none, one of each kind of size, several at once. */
export const SHAPES: readonly (readonly number[])[] = [[5], [0], [3, 4], [1], [70_001]];

/** Whole numbers, whose sums are exact in f32, and in bf16 up to 8 ranks: other ones for each rank and tensor. */
export const wholeNumber = (rank: number, tensor: number, i: number) => ((i * 7 + tensor * 3) % 13) - 6 + rank;

/** Numbers that are rounded when they are summed. */
export const fraction = (rank: number, i: number) => Math.fround(Math.sin(rank * 1000 + i) * 10 ** ((i % 7) - 3));

export const sizeOf = (shape: readonly number[]) => shape.reduce((product, size) => product * size, 1);

/** How many of them are summed. */
export const ROUNDED = 30_011;
