(clamp) => {
  // s = clamp * tanh(raw / clamp) stays between -clamp and clamp, so a step stretches by at most e^clamp.
  const middle = [320, 120], unit = [36, 18];
  const at = (raw, s) => [middle[0] + unit[0] * raw, middle[1] - unit[1] * s];
  const raws = Array.from({length: 161}, (_, k) => -8 + k / 10);
  line([at(-8, 0), at(8, 0)], data.axis, false);
  line([at(0, -6), at(0, 6)], data.axis, false);
  line([at(-6, -6), at(6, 6)], data.second, false);
  for (const bound of [-clamp, clamp]) line([at(-8, bound), at(8, bound)], data.axis, false);
  line(raws.map((raw) => at(raw, clamp * Math.tanh(raw / clamp))), data.first, false);
  text("s with clamp", 40, 142 + 18 * clamp, data.first);
  text("s = raw, no clamp", 500, 60, data.second);
  text("raw, the output of the sub-net", 380, 252, data.axis);
  return `clamp ${clamp.toFixed(1)}: one step stretches by at most e^${clamp.toFixed(1)} = ` +
    `${Math.exp(clamp).toFixed(1)}, twelve steps by at most ${Math.exp(12 * clamp).toExponential(1)}`;
}
