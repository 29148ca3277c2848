import { loadAddon, typed } from './addon.js';
import { findMpi } from './binary.js';

/** Which MPI or NCCL there is, as a person would name it. Throws ADDON_NOT_LOADED. */
export function describeEngine(name: 'mpi' | 'nccl'): string {
  try {
    return name === 'nccl' ? `NCCL ${loadAddon().nccl()}` : loadAddon().mpi(findMpi());
  } catch (error) {
    throw typed(error);
  }
}
