/** Of many calls before the next frame, one is made: tokens come faster than anybody sees them. */
export function onceAFrame(/** @type {() => void} */ draw) {
  let isDue = false;
  return () => {
    if (isDue) return;
    isDue = true;
    requestAnimationFrame(() => {
      isDue = false;
      draw();
    });
  };
}
