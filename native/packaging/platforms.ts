import type { PUBLISHED } from '../../lib/tensor/binary.js';

/** A platform and a backend that are published as a binary, in a package of their own. */
export interface Platform {
  os: 'linux';
  cpu: 'x64' | 'arm64';
  libc: 'glibc';
  /** CMake's name of the target, and its file below the folder that it builds into. */
  target: string;
  file: string;
  compiler: string;
  /** Options for CMake beside those of every platform. */
  options: readonly string[];
  sysroot: Sysroot;
}

/** Where the C library comes from that a binary is linked with: glibc 2.17, of napi-rs' toolchains. */
export interface Sysroot {
  package: string;
  integrity: string;
  /** In the archive of xz that the package holds. */
  folder: string;
}

const x64Sysroot: Sysroot = {
  package: '@napi-rs/cross-toolchain-x64-target-x86_64@1.0.0',
  integrity: 'sha512-lecoghCfoTAX9MLFcIx9/nL9M8xdkZ9n8Pki8qjKUNzjiq1zbECdEbzIZAMMHRtrXxifK9dAyYuh8gSxNbr2og==',
  folder: 'x86_64-unknown-linux-gnu/sysroot',
};
const arm64Sysroot: Sysroot = {
  package: '@napi-rs/cross-toolchain-x64-target-aarch64@1.0.3',
  integrity: 'sha512-EMFcy/ahFsmCY3BI1tMC3wRUYZ+cDuILg7nP1micaKXW1tO1+RvUB1CC6QYe+cv2W4Tuz9wr3qcFExWyjgWf2w==',
  folder: 'aarch64-unknown-linux-gnu/sysroot',
};

const x64 = { os: 'linux', cpu: 'x64', libc: 'glibc', compiler: 'g++', sysroot: x64Sysroot } as const;
const cpuTarget = { target: 'branch_train_stitch', file: 'Release/branch_train_stitch.node' };

export const PLATFORMS: Readonly<Record<(typeof PUBLISHED)[number], Platform>> = {
  'linux-x64': { ...x64, ...cpuTarget, options: [] },
  'linux-arm64': {
    ...cpuTarget,
    os: 'linux',
    cpu: 'arm64',
    libc: 'glibc',
    compiler: 'aarch64-linux-gnu-g++',
    options: ['-DCMAKE_SYSTEM_NAME=Linux', '-DCMAKE_SYSTEM_PROCESSOR=aarch64'],
    sysroot: arm64Sysroot,
  },
  'linux-x64-cuda': {
    ...x64,
    target: 'branch_train_stitch_cuda',
    file: 'cuda/branch_train_stitch_cuda.node',
    options: ['-DBTS_CUDA=ON'],
  },
};
