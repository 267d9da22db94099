(threshold) => {
  // An image is an alarm if its score is at or above the threshold.
  const ground = 220, bins = 24, span = data.high - data.low;
  const across = (score) => 20 + 340 * (score - data.low) / span;
  const groups = [[data.normal, data.first], [data.anomalous, data.second]];
  const counted = groups.map(([scores]) => {
    const bars = Array(bins).fill(0);
    scores.forEach((s) => { bars[Math.min(bins - 1, Math.floor(bins * (s - data.low) / span))] += 1; });
    return bars;
  });
  const top = Math.max(...counted.flat());
  counted.forEach((bars, which) => bars.forEach((count, k) => {
    const [left, right, y] = [20 + 340 * k / bins, 20 + 340 * (k + 1) / bins, ground - 180 * count / top];
    if (count) line([[left, ground], [left, y], [right, y], [right, ground]], groups[which][1], true);
  }));
  line([[across(threshold), 20], [across(threshold), ground]], data.axis, false);
  line([[20, ground], [360, ground]], data.axis, false);
  text("image score", 150, 244, data.axis);
  const alarms = groups.map(([scores]) => (t) => scores.filter((s) => s >= t).length / Math.max(1, scores.length));
  const point = (t) => [410 + 190 * alarms[0](t), ground - 190 * alarms[1](t)];
  const cuts = [...data.normal, ...data.anomalous, data.high + 1].sort((a, b) => b - a);
  line([[410, 30], [410, ground], [600, ground]], data.axis, false);
  line(cuts.map(point), data.axis, false);
  const [x, y] = point(threshold);
  line(Array.from({length: 25}, (_, k) => [x + 6 * Math.cos(k / 4), y + 6 * Math.sin(k / 4)]), data.second, true);
  text("false alarm rate (up: found)", 415, 244, data.axis);
  const [wrong, found] = groups.map(([scores]) => scores.filter((s) => s >= threshold).length);
  return `threshold ${threshold.toFixed(3)}: ${wrong} of ${data.normal.length} normal images are false alarms, ` +
    `${data.anomalous.length - found} of ${data.anomalous.length} anomalous images are missed`;
}
