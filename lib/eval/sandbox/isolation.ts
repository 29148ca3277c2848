import { dirname } from 'node:path';

/** Bytes of files that a program may keep at a time. */
const SCRATCH_BYTES = 64 << 20;

/** Where an interpreter lies. */
export interface Interpreter {
  /** Its file. */
  path: string;
  /** The folder of its libraries, mostly /usr. */
  prefix: string;
}

/** A way to run a program apart from the system. */
export interface Isolation {
  name: string;
  /** The command that runs `python` with `args` in it. */
  command(python: Interpreter, args: readonly string[]): readonly [string, ...string[]];
}

/** What programs see of the system, read-only; links of a merged /usr stay links. */
const SYSTEM = ['/usr', '/bin', '/sbin', '/lib', '/lib32', '/lib64', '/etc/ld.so.cache'];
const DEVICES = ['/dev/null', '/dev/zero', '/dev/urandom'];

/** All that the program needs: the system's libraries and the interpreter's own. */
const visible = ({ path, prefix }: Interpreter) =>
  [...new Set([...SYSTEM, prefix, dirname(dirname(path))])].filter(
    (folder) => folder !== '/' && (SYSTEM.includes(folder) || !folder.startsWith('/usr')),
  );

/** https://github.com/containers/bubblewrap */
const bubblewrap: Isolation = {
  name: 'bubblewrap',
  command: (python, args) => [
    'bwrap',
    ...['--unshare-all', '--die-with-parent', '--new-session', '--clearenv', '--cap-drop', 'ALL'],
    ...['--uid', '65534', '--gid', '65534', '--hostname', 'sandbox'],
    ...visible(python).flatMap((path) => ['--ro-bind-try', path, path]),
    ...DEVICES.flatMap((path) => ['--dev-bind', path, path]),
    ...['--size', `${SCRATCH_BYTES}`, '--tmpfs', '/tmp', '--chdir', '/tmp', '--setenv', 'HOME', '/tmp', '--'],
    ...[python.path, ...args],
  ],
};

/**
 * Builds a root of its own out of read-only views of the system, and gives up every capability, without which there is no
 * way back out of it: in a changed root, no new user namespace may give them again. The paths to show come as arguments
 * before '--', the command after it.
 */
const ENTER = `
set -eu
root=/tmp
mount -t tmpfs -o size=${SCRATCH_BYTES},mode=755,nosuid,nodev root $root
cd $root
while [ "$1" != -- ]; do
  path=$1; shift
  [ -e "$path" ] || continue
  parent=.\${path%/*}
  [ -d "$parent" ] || mkdir -p "$parent"
  if [ -L "$path" ]; then cp -P "$path" ".$path"; continue; fi
  if [ -d "$path" ]; then mkdir ".$path"; else : > ".$path"; fi
  case $path in
    /dev/*) mount --bind "$path" ".$path" ;;
    *) mount -o bind,ro,nosuid,nodev "$path" ".$path" ;;
  esac
done
shift
mkdir tmp
mount -t tmpfs -o size=${SCRATCH_BYTES},mode=700,nosuid,nodev scratch tmp
mount -o remount,bind,ro,nosuid,nodev $root
exec chroot . setpriv --no-new-privs --bounding-set=-all --inh-caps=-all -- env -i --chdir=/tmp HOME=/tmp "$@"
`;

/** The same with util-linux alone. */
const namespaces: Isolation = {
  name: 'namespaces',
  command: (python, args) => [
    'unshare',
    ...[
      '--user',
      '--map-root-user',
      '--mount',
      '--net',
      '--pid',
      '--ipc',
      '--uts',
      '--cgroup',
      '--fork',
      '--kill-child',
    ],
    ...['--', 'sh', '-c', ENTER, 'enter'],
    ...[...visible(python), ...DEVICES, '--', python.path, ...args],
  ],
};

/** Only limits, a scratch folder and an empty environment: files and network are open. */
export const none: Isolation = { name: 'none', command: ({ path }, args) => [path, ...args] };

/** In the order in which they are tried. */
export const ISOLATIONS: readonly Isolation[] = [bubblewrap, namespaces];
