(slope) => {
  // z = slope * x: a strip of x becomes slope times as wide, and its density is divided by the slope.
  const bell = (x) => Math.exp(-x * x / 2) / Math.sqrt(2 * Math.PI);
  const ground = 220, unit = 34, tall = 190, width = Math.abs(slope);
  const ways = [[160, 1, "x", data.first], [480, width, "z = slope · x", data.second]];
  for (const [middle, stretch, name, color] of ways) {
    const at = (z) => [middle + unit * z, ground - tall * bell(z / stretch) / stretch];
    const steps = (low, high) => Array.from({length: 121}, (_, k) => at(low + (high - low) * k / 120));
    const reach = 150 / unit, [low, high] = [0.5 * stretch, Math.min(1.5 * stretch, reach)];
    line([[middle + unit * low, ground], ...steps(low, high), [middle + unit * high, ground]], color, true);
    line(steps(-reach, reach), color, false);
    line([[middle - 150, ground], [middle + 150, ground]], data.axis, false);
    text("density of " + name, middle - 70, 248, data.axis);
  }
  return `slope ${slope.toFixed(2)}: the strip is ${width.toFixed(2)} times as wide and the density divided by ` +
    `${width.toFixed(2)}; its mass stays the same. log |slope| = ${Math.log(width).toFixed(2)}`;
}
