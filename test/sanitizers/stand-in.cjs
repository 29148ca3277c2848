/** Where the ordinary binary of the CPU backend is loaded, loads that of $BTS_SANITIZED. Processes and threads inherit it. */
const { dlopen } = process;
process.dlopen = (module, path, ...flags) => {
  const isOrdinary = path.endsWith('build/Release/branch_train_stitch.node');
  return dlopen.call(process, module, isOrdinary ? process.env.BTS_SANITIZED : path, ...flags);
};
