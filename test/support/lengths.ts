/** Lengths of elementwise ops: longer ones than 16384 are cut into chunks for the threads. */
export const lengths = [0, 1, 3, 31, 33, 123, 16385, 40000];

/** Work for five threads. */
export const long = 100_001;
