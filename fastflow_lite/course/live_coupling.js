(scale) => {
  // z_a = x_a, z_b = x_b * exp(s) + t with s = 2 tanh(scale * x_a / 2) and t = 0.4 x_a, on a grid of the plane.
  const unit = 32, s = (a) => 2 * Math.tanh(scale * a / 2);
  const before = (a, b) => [160 + unit * a, 110 - unit * b];
  const after = (a, b) => [480 + unit * a, 110 - unit * (b * Math.exp(s(a)) + 0.4 * a)];
  const along = Array.from({length: 101}, (_, k) => -2.5 + k / 20);
  const squares = [[-1.5, data.first], [1, data.second]];
  for (const to of [before, after]) {
    for (let k = -5; k <= 5; k += 1) {
      line(along.map((t) => to(k / 2, t)), data.axis, false);
      line(along.map((t) => to(t, k / 2)), data.axis, false);
    }
    for (const [a, color] of squares) {
      line([[a, 0], [a + 0.5, 0], [a + 0.5, 0.5], [a, 0.5]].map(([x, y]) => to(x, y)), color, true);
    }
  }
  text("x: half a across, half b up", 70, 252, data.words);
  text("z after the coupling", 415, 252, data.words);
  const areas = squares.map(([a]) => Math.exp(s(a + 0.25)).toFixed(2));
  return `scale ${scale.toFixed(1)}: the left square gets about ${areas[0]} times its area, the right one ` +
    `${areas[1]} times; log |det| is s(x_a) at each point`;
}
